//! What has happened to log files, a case each (`cases.txt`): the folder as the agent knew it, the folder as it found it, and
//! what it makes of each name.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::FileCheckpoint;
use crate::identity::FileId;
use crate::limits::MARKER_BYTES;
use crate::log_names::older_suffix;
use crate::milestones::{Milestones, hash_of_line, last_line};

use super::cut::{Left, left_of};
use super::sequence::Open;
use super::*;

/// Nanoseconds of a second.
const S: i64 = 1_000_000_000;
const GRACE_NS: i64 = 2 * S;
/// The clock at the second look; files of the first were written to long before.
const NOW_NS: i64 = 1_000 * S;

/// A file: its inode, name, content, and when it was written to (seconds).
type File<'a> = (u64, &'a str, String, i64);

/// What the agent knew of the files of the first look at the second one. All of them were read to their last newlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It never looked before.
    Never,
    /// It holds them open.
    Open,
    /// It holds none open: it ended, or others needed the descriptors.
    Closed,
    /// The same. It had read them to their last bytes: nobody writes the ends of their last lines.
    ClosedToTheLastByte,
    /// The same, with a checkpoint that has no markers (version 1).
    ClosedWithoutMarkers,
    /// It read them to their ends and closed them.
    Done,
    /// It ended after that.
    DoneAndClosed,
}
use Since::*;

struct Log<'a> {
    names: Names<'a>,
    register: Register,
    /// With what the file holds, and whether its name is gone.
    open: Vec<(FileCheckpoint, String, bool)>,
    /// Files are read to their last bytes, and not to their last newlines.
    to_the_last_byte: bool,
}

/// What packed files hold stands in the table as it is unpacked.
struct Seen<'a> {
    text: &'a str,
    open: &'a [(FileCheckpoint, String, bool)],
}

fn before(text: &str, position: u64) -> Option<&[u8]> {
    let end = usize::try_from(position).ok()?;
    text.as_bytes().get(end.saturating_sub(MARKER_BYTES)..end)
}

impl Content for Seen<'_> {
    fn marker(&self, position: u64) -> Option<u64> {
        before(self.text, position).map(xxh3_64)
    }

    fn is_as_held(&self, held: usize, position: u64) -> Option<bool> {
        let held = before(&self.open[held].1, position);
        Some(held.is_some() && held == before(self.text, position))
    }
}

impl<'a> Log<'a> {
    fn new(live: &'a str) -> Log<'a> {
        let plain = live != "0.log";
        Log {
            names: Names { live, plain },
            register: Register::default(),
            open: Vec::new(),
            to_the_last_byte: false,
        }
    }

    /// Reads a file.
    fn read(&mut self, entry: &Listed, text: &str, id: FileId) {
        let position = match self.to_the_last_byte {
            true => text.len() as u64,
            false => text.rfind('\n').map_or(0, |at| at + 1) as u64,
        };
        let mut milestones = Milestones::default();
        for (at, _) in text.match_indices('\n') {
            let lines = &text.as_bytes()[..=at];
            if last_line(lines).is_some_and(|line| line.starts_with(b"@")) {
                milestones.add(at as u64 + 1, lines);
            }
        }
        let (name, (dev, ino)) = (entry.name.clone(), entry.inode);
        let marker = before(text, position).map_or(0, xxh3_64);
        let file = FileCheckpoint {
            file: id,
            name,
            dev,
            ino,
            position,
            marker,
            size: text.len() as u64,
            milestones,
            ..FileCheckpoint::default()
        };
        let opened: Vec<_> =
            self.open.iter().map(|(file, _, removed)| (file.name.clone(), *removed)).collect();
        let open = opened.iter().map(|(name, removed)| Open { name, removed: *removed });
        self.open.insert(self.names.place_of(entry, open), (file, text.to_owned(), false));
    }

    /// As the agent does at each look, for all names; says what it makes of each.
    fn look(&mut self, files: &[File<'_>], now_ns: i64) -> Vec<String> {
        let is_like = |name: &str| name == self.names.live || older_suffix(self.names.live, name).is_some();
        let listed = files.iter().filter(|(_, name, ..)| is_like(name)).map(|(ino, name, text, at)| Listed {
            name: (*name).to_owned(),
            inode: (1, *ino),
            size: text.len() as u64,
            mtime_ns: at * S,
            packed: name.ends_with(".gz"),
            live: *name == self.names.live,
        });
        let (open, mut known, mut told) = (&self.open, HashMap::new(), Vec::new());
        let is_open = |inode| open.iter().any(|(file, ..)| (file.dev, file.ino) == inode);
        let listed = self.names.in_order(listed.collect(), &mut self.register, is_open);
        for (file, _, removed) in &mut self.open {
            *removed = !listed.iter().any(|entry| entry.inode == (file.dev, file.ino));
        }
        for entry in &listed {
            let open = self.open.iter().map(|(file, ..)| Some((file.dev, file.ino)));
            let mut note = |id| {
                let as_it_is = Known { id, size: entry.size, mtime_ns: entry.mtime_ns };
                known.insert(entry.inode, as_it_is);
            };
            let what = match self.register.glance(entry, open) {
                Glance::Held(at) => {
                    self.open[at].0.name.clone_from(&entry.name);
                    note(self.open[at].0.file);
                    "is held".to_owned()
                }
                Glance::AsBefore(before) => {
                    note(before.id);
                    "is as before".to_owned()
                }
                Glance::Unknown => {
                    let text = &files.iter().find(|(_, name, ..)| *name == entry.name).unwrap().2;
                    let (what, id) = self.open(entry, text, now_ns);
                    id.map(note);
                    what
                }
            };
            told.push(format!("{}: {what}", entry.name));
        }
        self.register.set_known(known);
        if told.iter().all(|told| !told.ends_with("not yet")) {
            self.register.forget_gone(self.names.plain);
            for file in self.register.take_missing() {
                told.extend(
                    file.lost_when_gone("").map(|loss| format!("{}: lost from {}", file.name, loss.from)),
                );
            }
        }
        told.extend(
            self.open
                .iter()
                .filter(|(.., removed)| *removed)
                .map(|(file, ..)| format!("{}: nameless", file.name)),
        );
        told
    }

    fn open(&mut self, entry: &Listed, text: &str, now_ns: i64) -> (String, Option<FileId>) {
        let held: Vec<Held> = self
            .open
            .iter()
            .map(|(file, ..)| Held {
                id: file.file,
                inode: (file.dev, file.ino),
                position: file.position,
                marker: file.marker,
            })
            .collect();
        let appeared = Appeared {
            entry,
            size: entry.size,
            mtime_ns: entry.mtime_ns,
            head: text.as_bytes(),
            waited: false,
            now_ns,
            grace_ns: GRACE_NS,
        };
        let content = Seen { text, open: &self.open };
        let resume = match appeared.stands_for(self.names, &self.register, &held, &content) {
            Stands::New(line) => {
                let is_held = |id| held.iter().any(|file| file.id == id);
                let id = self.register.unused_id(line, self.names.plain, is_held);
                self.read(entry, text, id);
                let what = if id == line { "is new" } else { "is new, with a known first line" };
                return (what.to_owned(), Some(id));
            }
            Stands::Finished(at) => return ("was read".to_owned(), Some(self.register.finish_resumed(at))),
            Stands::Read(id) => {
                let is_held = held.iter().any(|file| file.id == id);
                return (if is_held { "is held" } else { "was read" }.to_owned(), Some(id));
            }
            Stands::Unnamed if self.to_the_last_byte => {
                self.read(entry, text, FileId::of_whole(text.as_bytes()));
                return ("is new".to_owned(), None);
            }
            Stands::Unnamed => return ("has no line".to_owned(), None),
            Stands::NotYet => return ("not yet".to_owned(), None),
            Stands::NotOurs => return ("is not ours".to_owned(), None),
            Stands::Resumed(at) => self.register.take_resumed(at),
            Stands::Grown(at) => self.register.take_grown(at),
        };
        let holds = |at, marker| Ok::<bool, ()>(content.marker(at) == Some(marker));
        let hash_at = |at: u64| hash_of_line(text.as_bytes().get(..at as usize)?, true);
        let what = match left_of(&resume, entry.inode, entry.size, holds, hash_at).unwrap() {
            Left::All { .. } => format!("goes on at {}", resume.position),
            Left::UpTo { at, unread } => {
                let lost = unread
                    .map_or_else(String::new, |unread| format!(", lost {}..{}", unread.start, unread.end));
                format!("was cut, goes on at {at}{lost}")
            }
        };
        self.read(entry, text, resume.file);
        (what, Some(resume.file))
    }

    /// What becomes of what it knows until the second look.
    fn pass(&mut self, since: Since) {
        if since == Open {
            return;
        }
        let (is_done, is_closed) = (matches!(since, Done | DoneAndClosed), since != Done);
        for (mut file, ..) in std::mem::take(&mut self.open) {
            file.done = is_done;
            if since == ClosedWithoutMarkers {
                file.marker = 0;
            }
            if is_done {
                let (size, mtime_ns) = (file.size, NOW_NS - 500 * S);
                self.register.finish(file, size, mtime_ns);
            } else {
                self.register.close(vec![file], Vec::new());
            }
        }
        if is_closed {
            let register = &self.register;
            let resume = register.remembered().cloned().collect();
            self.register = Register::new(resume, register.generations().to_vec(), register.since_ns());
        }
    }
}

/// One case of `cases.txt`.
struct Case<'a> {
    what: &'a str,
    live: &'a str,
    since: Since,
    before: Vec<File<'a>>,
    now: Vec<File<'a>>,
    expected: Vec<&'a str>,
}

fn case(block: &'static str) -> Case<'static> {
    let mut lines = block.lines();
    let what = lines.next().unwrap();
    let (live, since) = lines.next().unwrap().split_once(' ').unwrap();
    let since = match since {
        "never" => Never,
        "open" => Open,
        "closed" => Closed,
        "closed, without markers" => ClosedWithoutMarkers,
        "closed, to the last byte" => ClosedToTheLastByte,
        "done" => Done,
        "done, closed" => DoneAndClosed,
        other => panic!("{what}: {other:?}"),
    };
    let mut case = Case { what, live, since, before: Vec::new(), now: Vec::new(), expected: Vec::new() };
    for line in lines.filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "=" {
            case.expected.push(rest);
            continue;
        }
        let mut parts = rest.trim_start().splitn(4, ' ');
        let mut part = || parts.next().unwrap();
        let (inode, name, at, text) = (part().parse().unwrap(), part(), part().parse().unwrap(), part());
        let file = (inode, name, text.replace('|', "\n"), at);
        match kind {
            "before" => case.before.push(file),
            "now" => case.now.push(file),
            other => panic!("{what}: {other:?}"),
        }
    }
    case
}

#[test]
fn what_is_made_of_each_name() {
    let mut wrong = Vec::new();
    let cases: Vec<Case<'_>> = include_str!("cases.txt").split("\n# ").skip(1).map(case).collect();
    assert!(cases.len() > 50, "only {} cases found", cases.len());
    for Case { what, live, since, before, now, expected } in &cases {
        let mut log = Log::new(live);
        log.to_the_last_byte = *since == ClosedToTheLastByte;
        if *since != Never {
            log.look(before, NOW_NS - 400 * S);
            log.pass(*since);
        }
        let told = log.look(now, NOW_NS);
        if told != *expected {
            wrong.push(format!("{what}: {told:?}\n    instead of {expected:?}"));
        }
        // A second look finds nothing new, nor does it lose anything.
        let again = log.look(now, NOW_NS);
        let is_quiet = |told: &String| !["is new", "goes on", "lost"].iter().any(|word| told.contains(word));
        if !again.iter().all(is_quiet) {
            wrong.push(format!("{what}, looked at again: {again:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
