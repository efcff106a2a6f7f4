//! Which files a run has, and in which order: the kubelet renames `0.log` to `0.log.20261121-022431`, the runtime makes
//! a new `0.log`, later the kubelet packs older ones (`.gz`, through a `.tmp`) and removes the oldest
//! (kubernetes `pkg/kubelet/logs/container_log_manager.go`).
//! Promises: what is still on disk is read once, whatever happened to its name while we were away, because a file is known
//! by its inode while we hold it and by its first line always. What is gone unread becomes a loss.

use std::fs::File;
use std::io;

use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::log_names::{has_date_inside, older_suffix};
use cordwood_core::milestones::Found;

use crate::folder::{Folder, Look, Looks, Stat};
use crate::gone::is_broken;
use crate::run::Run;
use crate::same_file::{Appeared, Same};
use crate::tail::{Bytes, LogFile, gzip_reader, read_head};
use crate::truncated::CUT_WHILE_CLOSED;
use crate::turn::{Clock, Turn};

/// First lines that are remembered of a path: of files that begin with a header it is one, else one per file.
const GENERATIONS_MAX: usize = 256;

/// Finished files of a path that are remembered though they are gone.
const DONE_MAX: usize = 32;

/// What an inode was seen to hold.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub id: FileId,
    size: u64,
    mtime_ns: i64,
}

/// One name of a run's files.
pub struct Entry {
    pub name: String,
    pub stat: Stat,
    pub gzip: bool,
    pub live: bool,
}

/// The same name for the same file: its size may have changed.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name == other.name && self.inode() == other.inode()
    }
}

impl Entry {
    pub fn inode(&self) -> (u64, u64) {
        (self.stat.dev, self.stat.ino)
    }
}

/// Whether the file was known before its first line had an end: by all that was in it.
fn is_beginning(known: &FileCheckpoint, head: &[u8]) -> bool {
    let whole = usize::try_from(known.position).ok().and_then(|position| head.get(..position));
    whole.is_some_and(|whole| !whole.is_empty() && FileId::of_whole(whole) == known.file)
}

impl Run {
    /// Looks at the folder anew. `None`: the folder is gone. `Ok(false)`: not everything could be looked at (it was renamed
    /// or packed meanwhile, or could not be opened), and what was not found is not missing yet: look again.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn refresh(
        &mut self,
        folder: Option<(&Folder, &Looks<'_>)>,
        turn: &mut Turn<'_>,
    ) -> io::Result<bool> {
        let Some((folder, looks)) = folder else {
            if self.gone_at_ms.is_none() {
                self.gone_at_ms = Some(turn.clock.mono_ms);
            }
            self.files.iter_mut().for_each(|file| file.removed = true);
            self.known.clear();
            self.done.clear();
            self.lose_unknown(turn);
            self.missing(turn);
            self.parked = None;
            return Ok(true);
        };
        let (entries, mut complete) = self.entries(folder, looks.first);
        let had_files = match &self.unnamed {
            Some((_, handle)) => crate::folder::is_unlinked(handle),
            None => !self.files.is_empty() || self.gone_at_ms.is_some() || self.parked.is_some(),
        };
        if entries.is_empty() && had_files {
            // Removed although its folder is still there: the kubelet clears away what a dead container left.
            self.gone_at_ms.get_or_insert(turn.clock.mono_ms);
        } else {
            self.gone_at_ms = None;
        }
        for file in &mut self.files {
            let inode = (file.dev, file.ino);
            file.removed = !entries.iter().any(|entry| entry.inode() == inode);
        }
        let mut known = std::collections::HashMap::with_capacity(entries.len());
        // One that we began to read was passed: what follows is younger.
        let mut after_ours = false;
        for entry in &entries {
            let inode = entry.inode();
            if let Some(file) = self.held(inode) {
                file.name.clone_from(&entry.name);
                known.insert(inode, Known { id: file.id, size: 0, mtime_ns: 0 });
                after_ours = true;
                continue;
            }
            if let Some(before) = self.known.get(&inode)
                && before.size == entry.stat.size
                && before.mtime_ns == entry.stat.mtime_ns
            {
                after_ours |= self.has(before.id);
                known.insert(inode, *before);
                continue;
            }
            match self.appear(folder, entry, turn) {
                Ok(Some(id)) => {
                    after_ours |= self.has(id);
                    let Stat { size, mtime_ns, .. } = entry.stat;
                    known.insert(inode, Known { id, size, mtime_ns });
                }
                Ok(None) => {}
                // Renamed or removed between listing and opening, or its first line is still being written.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                    complete = false;
                }
                Err(error) if entry.gzip && is_broken(&error) => {
                    if turn.clock.wall_ns - entry.stat.mtime_ns < turn.settings.gone_grace_ms() * 1_000_000 {
                        // It may still be written.
                        complete = false;
                        continue;
                    }
                    let of_others = !self.is_archive_of_ours(entry, &entries, after_ours);
                    let id = self.broken_archive(entry, &error, of_others, turn);
                    let Stat { size, mtime_ns, .. } = entry.stat;
                    known.insert(inode, Known { id, size, mtime_ns });
                }
                Err(error) => {
                    complete = false;
                    turn.tally.file_errors += 1;
                    tracing::warn!(run = self.key, file = entry.name, %error, "open log file");
                }
            }
        }
        self.known = known;
        if !self.resume.is_empty() && complete {
            // What was renamed while we looked may have been passed over under both of its names.
            let (now, all) = self.entries(folder, looks.second(folder)?);
            complete = all && now.len() == entries.len() && now.iter().all(|entry| entries.contains(entry));
        }
        if complete {
            let is_plain = self.source.is_plain();
            let on_disk: Vec<FileId> = self.known.values().map(|known| known.id).collect();
            let over = self.done.len().saturating_sub(DONE_MAX);
            let mut place = 0;
            self.done.retain(|done| {
                place += 1;
                // (A packed copy may come a while after its file has gone.)
                on_disk.contains(&done.file) || (is_plain && place > over)
            });
            self.lose_unknown(turn);
            self.missing(turn);
            self.parked = None;
        }
        self.supersede(turn.clock);
        Ok(complete)
    }

    /// The run's names, older first, the live one last; and whether each could be looked at.
    fn entries(&mut self, folder: &Folder, look: &Look) -> (Vec<Entry>, bool) {
        let (mut entries, mut complete) = (Vec::new(), true);
        for name in look.names_like(&self.live_name) {
            let live = name == self.live_name;
            let Ok(stat) = folder.stat(name) else {
                complete = false;
                continue;
            };
            if stat.regular {
                let gzip = name.ends_with(".gz") && !live;
                entries.push(Entry { name: name.to_owned(), stat, gzip, live });
            } else if stat.link && live && !std::mem::replace(&mut self.told_link, true) {
                // (Whoever may make links below /var/log would have us read and publish any file of the node.)
                tracing::warn!(
                    run = self.key,
                    file = name,
                    "not read: it is a symbolic link; only links into docker_dir are followed, where that is set (the chart: agent.docker)"
                );
            }
        }
        let by_time_of_writing = self.source.is_plain();
        entries.sort_by(|a, b| {
            a.live.cmp(&b.live).then_with(|| {
                if by_time_of_writing {
                    a.stat.mtime_ns.cmp(&b.stat.mtime_ns)
                } else {
                    older_suffix(&self.live_name, &a.name).cmp(&older_suffix(&self.live_name, &b.name))
                }
            })
        });
        if by_time_of_writing {
            // Of other programs' files only those count that are younger than what was there when we began: nobody asked for
            // the older ones. What we began and do not find by its inode may have been copied or packed while we were away.
            let since_ns = self.since_of(&entries);
            self.since_ns = Some(since_ns);
            let away = self.resume.iter().any(|file| !file.done);
            entries
                .retain(|entry| entry.live || away || entry.stat.mtime_ns > since_ns || self.is_ours(entry));
        }
        (entries, complete)
    }

    fn held(&mut self, inode: (u64, u64)) -> Option<&mut LogFile> {
        // While it is held open its inode cannot stand for another file.
        self.files.iter_mut().find(|file| (file.dev, file.ino) == inode && !matches!(file.bytes, Bytes::Gone))
    }

    /// A name whose inode is not known. Gives the id of what it holds, when that can be told already.
    fn appear(&mut self, folder: &Folder, entry: &Entry, turn: &mut Turn<'_>) -> io::Result<Option<FileId>> {
        let handle = folder.open_file(&entry.name)?;
        let stat = crate::folder::stat_of(&handle)?;
        if (stat.dev, stat.ino) != entry.inode() {
            // The name stands for another file than when it was listed.
            return Err(io::ErrorKind::NotFound.into());
        }
        let waits = |handle: &File| {
            crate::folder::stat_of(handle).is_ok_and(|other| (other.dev, other.ino) == entry.inode())
        };
        let waited = self.unnamed.as_ref().is_some_and(|(_, handle)| waits(handle));
        if waited {
            // It waits for its first line (under the name that it had then): it is looked at anew here.
            self.unnamed = None;
        } else if entry.live
            && let Some((name, before)) = self.unnamed.take()
            && crate::folder::is_unlinked(&before)
        {
            self.end_unnamed(name, before)?;
        }
        let head = read_head(&handle, entry.gzip)?;
        let begun =
            |known: &FileCheckpoint| (known.dev, known.ino) == entry.inode() && is_beginning(known, &head);
        let id = match FileId::of_head(&head) {
            Some(id) => id,
            // (What was sent of it without an end is not sent again.)
            None if entry.live && self.resume.iter().any(begun) => FileId::of_whole(&head),
            None if entry.live => {
                self.unnamed = Some((entry.name.clone(), handle));
                return Ok(None);
            }
            None if head.is_empty() => return Ok(Some(FileId::of_whole(&head))),
            // What was just renamed is still written to: which file it is will be known soon.
            None if !entry.gzip
                && turn.clock.wall_ns - stat.mtime_ns < turn.settings.grace_ms * 1_000_000 =>
            {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // It ended before its first line did.
            None => FileId::of_whole(&head),
        };
        let same = |known: &FileCheckpoint| {
            (known.dev, known.ino) == entry.inode()
                && (known.file == id || self.is_generation(id, known.file) || is_beginning(known, &head))
        };
        // One inode may have been several files, one after the other: the last counts.
        let resumed = self.resume.iter().rposition(same);
        if resumed.is_none()
            && let Some(at) =
                self.done.iter().rposition(|done| same(done) && !entry.gzip && stat.size > done.size)
        {
            // It was read to its end, and still it was written to.
            let grown = FileCheckpoint { done: false, ..self.done.remove(at) };
            let id = grown.file;
            self.resume_at(entry, stat, handle, grown, &head, turn)?;
            return Ok(Some(id));
        }
        if resumed.is_none() && !self.source.is_plain() && self.has(id) {
            // The first line of a container's file has a time in it: this is the file that we know, under another name.
            return Ok(Some(id));
        }
        let by_line = |resume: &FileCheckpoint| !self.source.is_plain() && resume.file == id;
        let mut resumed = resumed.or_else(|| self.resume.iter().position(by_line));
        if resumed.is_none() && self.source.is_plain() {
            let line_bytes =
                head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1) as u64;
            let appeared = Appeared { handle: &handle, entry, size: stat.size, of_line: id, line_bytes };
            match self.find_same(&appeared) {
                Some(Same::Resume(at)) => resumed = Some(at),
                Some(Same::Held(id)) if !entry.live => return Ok(Some(id)),
                Some(Same::Done(at)) if !entry.live => {
                    if entry.gzip || stat.size <= self.done[at].size {
                        return Ok(Some(self.done[at].file));
                    }
                    // A copy that has more than what was read.
                    self.resume.push(FileCheckpoint { done: false, ..self.done.remove(at) });
                    resumed = Some(self.resume.len() - 1);
                }
                // (A live file that only begins as one that is known was written anew.)
                _ => {}
            }
        }
        if let Some(at) = resumed {
            let resume = self.resume.remove(at);
            let id = resume.file;
            self.resume_at(entry, stat, handle, resume, &head, turn)?;
            return Ok(Some(id));
        }
        if self.source.is_plain() && !entry.live {
            // Nobody asked for what is older than ours: it was only looked at because a part of it may have been ours.
            if !waited && self.since_ns.is_some_and(|since| entry.stat.mtime_ns <= since) {
                return Ok(None);
            }
            // What begins as one that is known may be a copy that is being made.
            let begins_as_known = self.generations.iter().any(|(line, _)| *line == id);
            if begins_as_known && turn.clock.wall_ns - stat.mtime_ns < turn.settings.grace_ms * 1_000_000 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let id = self.unused_id(id);
        self.begin(entry, stat, handle, id, &head);
        Ok(Some(id))
    }

    /// The id for a file that is read from its first byte: that of its first line, unless another file began with the same
    /// line. Watermarks are kept by these ids: an id that is used again would make new lines look like old ones.
    pub fn unused_id(&mut self, of_line: FileId) -> FileId {
        let at = self.generations.iter().position(|(line, _)| *line == of_line);
        let last = at.map(|at| self.generations.remove(at).1);
        let mut id = last.map_or(of_line, FileId::successor);
        while self.files.iter().any(|file| file.id == id)
            || self.done.iter().chain(&self.resume).any(|known| known.file == id)
        {
            id = id.successor();
        }
        if self.source.is_plain() || id != of_line {
            // The ones that were used last stay.
            self.generations.push((of_line, id));
            let over = self.generations.len().saturating_sub(GENERATIONS_MAX);
            self.generations.drain(..over);
        }
        id
    }

    /// Whether `id` is of a file that begins with the line of `of_line`, as [`Run::unused_id`] gave it.
    pub fn is_generation(&self, of_line: FileId, id: FileId) -> bool {
        let Some((_, last)) = self.generations.iter().find(|(line, _)| *line == of_line) else {
            return false;
        };
        let chain = std::iter::successors(Some(of_line), |id| Some(id.successor()).filter(|_| id != last));
        chain.take(100_000).any(|generation| generation == id)
    }

    /// Whether it is being read, or was.
    fn has(&self, id: FileId) -> bool {
        self.files.iter().any(|file| file.id == id) || self.done.iter().any(|done| done.file == id)
    }

    /// Of other programs' files: whether we began to read it, or to wait for its first line.
    fn is_ours(&self, entry: &Entry) -> bool {
        let inode = entry.inode();
        let waits =
            |handle: &File| crate::folder::stat_of(handle).is_ok_and(|stat| (stat.dev, stat.ino) == inode);
        self.files.iter().any(|file| (file.dev, file.ino) == inode)
            || self.resume.iter().chain(&self.done).any(|file| (file.dev, file.ino) == inode)
            || self.unnamed.as_ref().is_some_and(|(_, handle)| waits(handle))
    }

    /// The time of writing up to which other programs' files are older than ours: decided at the first look. What comes after
    /// the file that is live then is written to later than that one was.
    fn since_of(&self, entries: &[Entry]) -> i64 {
        if let Some(since_ns) = self.since_ns {
            return since_ns;
        }
        // (A name with the date before its extension was asked for as the live one was.)
        let is_new = self.resume.is_empty() && self.generations.is_empty();
        let was_asked_for = |entry: &Entry| is_new && has_date_inside(&self.live_name, &entry.name);
        let live = entries.iter().find(|entry| entry.live).map(|entry| entry.stat.mtime_ns - 1);
        if is_new && let Some(live) = live.filter(|_| !entries.iter().any(was_asked_for)) {
            return live;
        }
        let ours = entries.iter().position(|entry| entry.live || self.is_ours(entry));
        let older = entries[..ours.unwrap_or(entries.len())].iter().filter(|entry| !was_asked_for(entry));
        older.map(|entry| entry.stat.mtime_ns).max().unwrap_or(i64::MIN)
    }

    /// A file lost its name before its first line was whole, and another has the name now.
    fn end_unnamed(&mut self, name: String, handle: File) -> io::Result<()> {
        let head = read_head(&handle, false)?;
        if head.is_empty() {
            return Ok(());
        }
        let stat = crate::folder::stat_of(&handle)?;
        let id = FileId::of_head(&head).unwrap_or_else(|| FileId::of_whole(&head));
        if self.has(id) || self.resume.iter().any(|resume| resume.file == id) {
            // It was packed meanwhile, and is known by its new name already.
            return Ok(());
        }
        let id = self.unused_id(id);
        let index = self.begin(&Entry { name, stat, gzip: false, live: true }, stat, handle, id, &head);
        self.files[index].removed = true;
        Ok(())
    }

    /// A file that is read from its first byte. Gives its index.
    fn begin(&mut self, entry: &Entry, stat: Stat, handle: File, id: FileId, head: &[u8]) -> usize {
        self.at_end = false;
        let seq = self.take_seq();
        let format = self.format_of(head);
        let bytes = if entry.gzip {
            Bytes::Gzip { reader: Box::new(gzip_reader(handle)), at: 0, ahead: Vec::new() }
        } else {
            Bytes::File(handle)
        };
        let mut file = LogFile::new(seq, id, &entry.name, stat, bytes, format);
        file.size = if entry.gzip { 0 } else { stat.size };
        tracing::debug!(run = self.key, file = entry.name, id = %file.id, "new log file");
        // Before the first that is younger; a file that was live and lost its name since is older than all that appear.
        let live_at = self.files.iter().position(|other| other.name == self.live_name && !other.removed);
        let at = match older_suffix(&self.live_name, &entry.name).filter(|_| !entry.live) {
            Some(suffix) if !self.source.is_plain() => self.files.iter().position(|other| {
                let others = older_suffix(&self.live_name, &other.name);
                others.is_some_and(|others| others > suffix)
            }),
            _ => None,
        };
        let at = at.or(live_at.filter(|_| !entry.live)).unwrap_or(self.files.len());
        self.files.insert(at, file);
        at
    }

    /// A file that the checkpoint knows: go on where its acknowledged part ends, if the bytes there are the same.
    fn resume_at(
        &mut self,
        entry: &Entry,
        stat: Stat,
        handle: File,
        resume: FileCheckpoint,
        head: &[u8],
        turn: &mut Turn<'_>,
    ) -> io::Result<()> {
        if resume.done && (entry.gzip || stat.size <= resume.size) {
            self.done.push(resume);
            return Ok(());
        }
        let index = self.begin(entry, stat, handle, resume.file, head);
        let file = &mut self.files[index];
        file.ends = resume.ends;
        file.acked_ends = resume.ends;
        // How far the key before goes is decided once: it is on the disk before anything is sent.
        turn.ship.wait_for_checkpoint |=
            resume.key_before.as_ref().is_some_and(|before| before.until == u64::MAX);
        file.key_before = resume.key_before.clone().map(|before| {
            // (How long it is unpacked nobody knows yet.)
            before.decided(resume.position, if entry.gzip { u64::MAX } else { stat.size })
        });
        file.cuts.clone_from(&resume.cuts);
        file.milestones.clone_from(&resume.milestones);
        file.seek(resume.position)?;
        if entry.gzip {
            file.size = file.size.max(resume.size);
            return Ok(());
        }
        match file.compare_with(&resume)? {
            Found::Same => {
                if (resume.dev, resume.ino) == entry.inode() {
                    file.size = file.size.max(resume.size);
                }
            }
            Found::Cut { at, unread } => {
                file.cuts.clear();
                let reason = match self.parked {
                    Some(_) => CUT_WHILE_CLOSED,
                    None => "cut short, emptied or rewritten in place while the agent was away",
                };
                // Where nothing is known to be cut off it may have been written to before the cut.
                let is_itself = (resume.dev, resume.ino) == entry.inode();
                let unread = Some(unread).filter(|unread| is_itself || !unread.is_empty());
                self.go_on_as_another(index, at, unread, reason, turn)?;
            }
        }
        Ok(())
    }

    /// Every file but the newest has a successor: it ends soon.
    fn supersede(&mut self, clock: Clock) {
        let newest_is_elsewhere = self.unnamed.is_some();
        let count = self.files.len();
        for (index, file) in self.files.iter_mut().enumerate() {
            if (index + 1 < count || newest_is_elsewhere) && file.superseded_at_ms.is_none() {
                // What was not written to for a while already will not be for that while again.
                let idle_ms =
                    file.stat().map_or(0, |stat| (clock.wall_ns - stat.mtime_ns).max(0) / 1_000_000);
                file.superseded_at_ms = Some(clock.mono_ms - idle_ms);
            }
        }
    }

    /// Looks whether the live file has a whole first line now. True when it has become a file of the run.
    pub fn name_unnamed(&mut self, clock: Clock) -> io::Result<bool> {
        let Some((name, handle)) = self.unnamed.take() else { return Ok(false) };
        let head = read_head(&handle, false)?;
        let stat = crate::folder::stat_of(&handle)?;
        let over = self.gone_at_ms.is_some() && !head.is_empty();
        let id = match FileId::of_head(&head) {
            Some(id) => id,
            None if over => FileId::of_whole(&head),
            None => {
                if self.gone_at_ms.is_none() {
                    self.unnamed = Some((name, handle));
                }
                return Ok(false);
            }
        };
        let is_known = self.files.iter().any(|file| file.id == id)
            || self.done.iter().chain(&self.resume).any(|known| known.file == id);
        if is_known && (!self.source.is_plain() || crate::folder::is_unlinked(&handle)) {
            // It was renamed or packed meanwhile, and is known by its new name already.
            return Ok(false);
        }
        let unique = self.unused_id(id);
        let entry = Entry { name, stat, gzip: false, live: true };
        self.begin(&entry, stat, handle, unique, &head);
        self.known.insert((stat.dev, stat.ino), Known { id: unique, size: 0, mtime_ns: 0 });
        self.supersede(clock);
        Ok(true)
    }

    /// Files that are read to their end and acknowledged leave memory; files that grew after all are read on.
    pub fn settle(&mut self, clock: Clock, linger_ms: i64) {
        let mut index = 0;
        while index < self.files.len() {
            let file = &mut self.files[index];
            let Some(finished_at) = file.finished_at_ms else {
                index += 1;
                continue;
            };
            if !file.is_gzip()
                && let Ok(stat) = file.stat()
                && stat.size > file.position
            {
                tracing::info!(run = self.key, file = file.name, "a rotated file still grew");
                file.finished_at_ms = None;
                index += 1;
                continue;
            }
            let file = &self.files[index];
            if clock.mono_ms - finished_at < linger_ms || !self.is_settled(file) {
                index += 1;
                continue;
            }
            let Some(file) = self.files.remove(index) else { return };
            let stat = file.stat().ok();
            if let Some(stat) = stat {
                let Stat { size, mtime_ns, dev, ino, .. } = stat;
                if let Some(known) = self.known.get_mut(&(dev, ino)) {
                    *known = Known { id: file.id, size, mtime_ns };
                }
                self.done.push(FileCheckpoint {
                    file: file.id,
                    name: file.name.clone(),
                    dev,
                    ino,
                    position: file.position,
                    marker: file.marker_at(file.position),
                    ends: file.acked_ends,
                    size: file.size.max(file.position),
                    done: true,
                    key_before: file.key_before,
                    ..FileCheckpoint::default()
                });
            }
        }
    }
}
