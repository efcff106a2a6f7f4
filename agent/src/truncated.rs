//! Files that are cut short, emptied or rewritten in place while they are read, or while the agent is away.
//! Promises: what is left of such a file is not read again but for what lies behind its last milestone that is as it was;
//! what is written behind the cut is another file to the writer, so that no new line has the place of one that is stored;
//! what was cut off unread is told as a loss. A hole is no line.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::limits::MILESTONE_LINE_BYTES_MAX;
use cordwood_core::milestones::{Found, OnDisk, Read, compare, distance, hash_of_line, last_line};
use cordwood_core::pipeline::{Now, names_its_time};
use memchr::memchr;
use rustix::fs::{SeekFrom, seek};
use xxhash_rust::xxh3::xxh3_64;

use crate::folder::stat_of;
use crate::run::{IOS, Run};
use crate::tail::{Bytes, Changed, LogFile, bytes_before, marker_before, read_head};
use crate::telemetry::Tally;
use crate::turn::{Clock, Turn};

/// What is told of files that were cut while they were closed.
pub const CUT_WHILE_CLOSED: &str =
    "cut short, emptied or rewritten in place while no file descriptor was left for it";

/// Lines without a time, one behind the other, of which none can be a milestone: then others are looked at further on.
const UNTIMED_LINES_MAX: u32 = 16;

/// What the usual file systems give to files at a time, or a part of it.
const BLOCK_BYTES: u64 = 4096;

/// What lies at the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    None,
    Skipped,
    /// Nothing was ever written from here to the end: room for what is to come.
    ToTheEnd(u64),
}

impl LogFile {
    /// The part of these whole lines up to the end of the one that is the next milestone.
    pub fn up_to_milestone<'a>(&self, given: &'a [u8]) -> &'a [u8] {
        if !matches!(self.bytes, Bytes::File(_)) {
            return given;
        }
        let due = self.milestones.due().max(self.no_milestone_before);
        let from = usize::try_from(due.saturating_sub(self.position + 1)).unwrap_or(usize::MAX);
        let end = given.get(from..).and_then(|rest| memchr(b'\n', rest)).map(|newline| from + newline + 1);
        &given[..end.unwrap_or(given.len())]
    }

    /// Notes that it was longer once, where it is. `rest`: what lies behind the position.
    pub fn is_shorter_than_it_was(&mut self, rest: &[u8]) -> bool {
        self.give_back_room();
        let read = rest.len();
        if read > 0 && rest.iter().all(|byte| *byte == 0) {
            self.empty = self.position..self.position + read as u64;
        }
        let largest = self.largest_size();
        if !matches!(self.bytes, Bytes::File(_)) || self.position + read as u64 >= largest {
            return false;
        }
        let is_shorter = self.stat().is_ok_and(|stat| stat.size < largest);
        if is_shorter {
            self.changed = Some(Changed::Size);
        }
        is_shorter
    }

    /// Compares it with what the checkpoint says of it.
    pub fn compare_with(&self, before: &FileCheckpoint) -> io::Result<Found> {
        let Bytes::File(file) = &self.bytes else { return Ok(Found::Same) };
        let size = stat_of(file)?.size;
        let is_itself = (before.dev, before.ino) == (self.dev, self.ino);
        let holds = |at: u64, marker: u64| -> io::Result<bool> {
            Ok(marker == 0 || (size >= at && xxh3_64(&marker_before(file, at)?) == marker))
        };
        let is_same_at_position = holds(before.position, before.marker)?;
        // (A copy may still be shorter than what it is made of.)
        let is_same = match before.ahead {
            Some((at, marker)) if is_itself || size >= at => holds(at, marker)?,
            _ => true,
        };
        let known_size = if is_itself || !is_same_at_position { before.size } else { 0 };
        let read = Read { position: before.position, size: known_size, milestones: &before.milestones };
        Ok(compare(read, OnDisk { size, is_same, is_same_at_position }, |at| hash_at(file, at)))
    }

    /// What is left of it, where it was seen to be another than it was.
    fn compare_now(&self) -> io::Result<Found> {
        let Bytes::File(file) = &self.bytes else {
            return Ok(Found::Cut { at: 0, unread: self.position.min(self.size)..self.size });
        };
        // (It may have changed again while what was read of it was waited for.)
        let is_same_at_position = self.changed == Some(Changed::Size) && self.holds_marker(file)?;
        let read = Read { position: self.position, size: self.largest_size(), milestones: &self.milestones };
        let disk = OnDisk { size: stat_of(file)?.size, is_same: false, is_same_at_position };
        Ok(compare(read, disk, |at| hash_at(file, at)))
    }

    /// Passes over a hole at the position; `given` is what was read there.
    pub fn skip_hole(&mut self, given: &[u8], tally: &mut Tally) -> io::Result<Hole> {
        let Bytes::File(file) = &self.bytes else { return Ok(Hole::None) };
        let stops_within = !self.cuts.is_empty() || self.key_before.is_some();
        if stops_within || given.iter().any(|byte| *byte != 0) {
            return Ok(Hole::None);
        }
        // A hole begins where a block does: what is read up to there was filled with NUL behind the text.
        let block = self.position.next_multiple_of(BLOCK_BYTES);
        let from = if block <= self.position + given.len() as u64 { block } else { self.position };
        // (The place in the file that this moves is used by nobody.)
        let found = seek(file, SeekFrom::Data(from));
        // (Text may have come into the block since it was read; a file that was cut there is looked at elsewhere.)
        let mut filled = [0; BLOCK_BYTES as usize];
        let filled = &mut filled[..(from - self.position) as usize];
        let count = file.read_at(filled, self.position)?;
        if filled[..count].iter().any(|byte| *byte != 0) {
            return Ok(Hole::None);
        }
        let data = match found {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => {
                let end = stat_of(file)?.size;
                // It may have been cut since it was read: what was seen to be empty was.
                let seen = end.max(self.position + given.len() as u64);
                let known = self.empty.start <= self.position && !self.empty.is_empty();
                self.empty = self.position..if known { self.empty.end.max(seen) } else { seen };
                return Ok(if end > self.position { Hole::ToTheEnd(end) } else { Hole::None });
            }
            Err(_) => return Ok(Hole::None),
        };
        if data <= from {
            return Ok(Hole::None);
        }
        self.pass_over(data, tally)?;
        Ok(Hole::Skipped)
    }

    /// Goes on at `to`: what lies before is a hole.
    pub fn pass_over(&mut self, to: u64, tally: &mut Tally) -> io::Result<()> {
        tally.nul_bytes += to.saturating_sub(self.position);
        self.size = self.size.max(to);
        self.seek(to)
    }
}

/// The hash of the line of the file that ends at a place, if one does.
fn hash_at(file: &File, at: u64) -> Option<u32> {
    let before = bytes_before(file, at, MILESTONE_LINE_BYTES_MAX + 1).ok()?;
    hash_of_line(&before, before.len() as u64 == at)
}

impl Run {
    /// The lines that were just taken end where a milestone may be.
    pub fn note_milestone(&mut self, index: usize, taken: &[u8], clock: Clock) {
        let Some(line) = last_line(taken) else { return };
        let file = &mut self.files[index];
        let is_begun = IOS.iter().any(|io| self.pipeline.pending_start(*io).is_some());
        let zone = self.context.as_ref().and_then(|context| context.zone.as_ref());
        let now = Now { format: file.format, gate: &self.gate, zone, time_ns: clock.wall_ns };
        if is_begun {
            // The next line's end may do.
            return;
        }
        if names_its_time(line, &now) {
            file.milestones.add(file.position, taken);
            file.untimed_lines = 0;
            return;
        }
        // Some lines belong to one with a time before them; some files have none with a time.
        file.untimed_lines += 1;
        if file.untimed_lines == UNTIMED_LINES_MAX {
            file.no_milestone_before = file.position + distance(file.position) / 2;
            file.untimed_lines = 0;
        }
    }

    /// The file no longer holds what was read from it, or is shorter than it was. False: not all that was read of it is
    /// acknowledged yet, and what is left of it may be needed again.
    pub fn replaced(&mut self, index: usize, turn: &mut Turn<'_>) -> io::Result<bool> {
        self.flush_unfinished(turn);
        self.cut_all(turn);
        if !self.is_settled(&self.files[index]) {
            return Ok(false);
        }
        let Found::Cut { at, unread } = self.files[index].compare_now()? else {
            self.files[index].changed = None;
            return Ok(true);
        };
        let reason = "cut short, emptied or rewritten in place before it was read";
        let unread = Some(unread).filter(|unread| !unread.is_empty());
        self.go_on_as_another(index, at, unread, reason, turn)?;
        Ok(true)
    }

    /// What the file holds from `at` on is read as another file's; `unread` was cut off (empty: perhaps more was, nobody
    /// knows).
    pub fn go_on_as_another(
        &mut self,
        index: usize,
        at: u64,
        unread: Option<Range<u64>>,
        reason: &str,
        turn: &mut Turn<'_>,
    ) -> io::Result<()> {
        turn.tally.files_truncated += 1;
        let seq = self.take_seq();
        let file = &mut self.files[index];
        tracing::warn!(
            file = file.name,
            position = file.position,
            going_on_at = at,
            "the file was cut short, emptied or rewritten in place"
        );
        let bytes = std::mem::replace(&mut file.bytes, Bytes::Gone);
        file.finished_at_ms = Some(turn.clock.mono_ms);
        let (id_before, name) = (file.id, file.name.clone());
        let milestones = std::mem::take(&mut file.milestones).up_to(at);
        if let Some(unread) = unread {
            let loss = LossRange {
                from: unread.start,
                bytes: unread.end - unread.start,
                exact: false,
                reason: reason.to_owned(),
            };
            self.lose(index, loss, turn);
        }
        let Bytes::File(handle) = bytes else { return Ok(()) };
        let head = read_head(&handle, false)?;
        let id = match FileId::of_head(&head) {
            None if name == self.live_name => {
                self.unnamed = Some((name, handle));
                return Ok(());
            }
            id => self.unused_id(id.unwrap_or(id_before)),
        };
        let stat = stat_of(&handle)?;
        let mut another = LogFile::new(seq, id, &name, stat, Bytes::File(handle), self.format_of(&head));
        another.seek(at)?;
        another.size = stat.size.max(at);
        another.milestones = milestones;
        self.files.insert(index + 1, another);
        // Where it begins is decided once: it is on the disk before anything of it is sent.
        turn.ship.wait_for_checkpoint = true;
        Ok(())
    }
}
