//! A look at a log's folder, and what it does to the log's files: the kubelet renames `0.log` to `0.log.20261121-022431`, the
//! runtime makes a new `0.log`, later the kubelet packs older ones (`.gz`, through a `.tmp`) and removes the oldest
//! (kubernetes `pkg/kubelet/logs/container_log_manager.go`). What each name stands for is decided in
//! [`cordwood_core::rotation`]; here files are listed, opened and put in their place.
//! Promises: what is still on disk is read once, whatever happened to its name while we were away, because a file is known
//! by its inode while we hold it and by its first line always. What is gone unread becomes a loss, once.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::rotation::cut::Left;
use cordwood_core::rotation::gone::{Broken, id_of_unread, never_read};
use cordwood_core::rotation::sequence::Open;
use cordwood_core::rotation::{Appeared, Glance, Known, Listed, Stands};

use super::Files;
use crate::closed::{CUT_WHILE_CLOSED, GONE_WHILE_CLOSED};
use crate::folder::{Folder, Look, Looks, Stat, is_unlinked, stat_of};
use crate::log_file::LogFile;
use crate::log_id::LogId;
use crate::same_file::Opened;
use crate::tail::{Tail, read_head};
use crate::turn::Turn;

/// A look at the files of one log.
pub struct Rotation<'a, 't> {
    files: &'a mut Files,
    log: &'a LogId,
    turn: &'a mut Turn<'t>,
}

impl<'a, 't> Rotation<'a, 't> {
    pub fn new(files: &'a mut Files, log: &'a LogId, turn: &'a mut Turn<'t>) -> Rotation<'a, 't> {
        Rotation { files, log, turn }
    }

    /// Looks at the folder again. `None`: the folder is gone. `Ok(false)`: not everything could be looked at (it was renamed
    /// or packed meanwhile, or could not be opened), and what was not found is not missing yet: look again.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn refresh(&mut self, folder: Option<(&Folder, &Looks<'_>)>) -> io::Result<bool> {
        let Some((folder, looks)) = folder else {
            if self.files.gone_at_ms.is_none() {
                self.files.gone_at_ms = Some(self.turn.clock.mono_ms);
            }
            self.files.open.iter_mut().for_each(|file| file.stage.set_removed(true));
            self.files.register.forget_names();
            self.lose_unknown();
            self.lose_missing();
            self.files.closed = None;
            return Ok(true);
        };
        let (entries, mut complete) = self.listed(folder, looks.first);
        let had_files = match &self.files.unnamed {
            Some((_, handle)) => is_unlinked(handle),
            None => {
                !self.files.open.is_empty() || self.files.gone_at_ms.is_some() || self.files.closed.is_some()
            }
        };
        if entries.is_empty() && had_files {
            // Removed although its folder is still there: the kubelet clears away what a dead container left.
            self.files.gone_at_ms.get_or_insert(self.turn.clock.mono_ms);
        } else {
            self.files.gone_at_ms = None;
        }
        for file in &mut self.files.open {
            let is_there = entries.iter().any(|entry| entry.inode == file.inode());
            file.stage.set_removed(!is_there);
        }
        let mut known = HashMap::with_capacity(entries.len());
        // One that we began to read was passed: what follows is younger.
        let mut after_ours = false;
        for entry in &entries {
            let as_listed = |id| Known { id, size: entry.size, mtime_ns: entry.mtime_ns };
            let open = self.files.open.iter().map(|file| file.tail.is_there().then(|| file.inode()));
            match self.files.register.glance(entry, open) {
                Glance::Held(index) => {
                    let file = &mut self.files.open[index];
                    file.name.clone_from(&entry.name);
                    known.insert(entry.inode, Known { id: file.id(), size: 0, mtime_ns: 0 });
                    after_ours = true;
                    continue;
                }
                Glance::AsBefore(before) => {
                    after_ours |= self.files.has(before.id);
                    known.insert(entry.inode, before);
                    continue;
                }
                Glance::Unknown => {}
            }
            match self.appear(folder, entry) {
                Ok(Some(id)) => {
                    after_ours |= self.files.has(id);
                    known.insert(entry.inode, as_listed(id));
                }
                Ok(None) => {}
                // Renamed or removed between listing and opening, or its first line is still being written.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                    complete = false;
                }
                Err(error) if entry.packed && is_broken(&error) => {
                    if self.turn.clock.wall_ns - entry.mtime_ns
                        < self.turn.settings.gone_grace_ms() * 1_000_000
                    {
                        // It may still be written.
                        complete = false;
                        continue;
                    }
                    let broken = Broken { entry, listed: &entries, after_ours };
                    let held = self.files.open.iter().map(|file| (&*file.name, file.inode()));
                    let is_lost = !broken.is_of_known(self.log.names(), &self.files.register, held);
                    let id = self.broken_archive(entry, &error, is_lost);
                    known.insert(entry.inode, as_listed(id));
                }
                Err(error) => {
                    complete = false;
                    self.turn.tally.file_errors += 1;
                    tracing::warn!(log = self.log.key(), log_file = entry.name, %error, "open log file");
                }
            }
        }
        self.files.register.set_known(known);
        if !self.files.register.resume().is_empty() && complete {
            // What was renamed while we looked may have been passed over under both of its names.
            let (now, all) = self.listed(folder, looks.second(folder)?);
            complete = all && now.len() == entries.len() && now.iter().all(|entry| entries.contains(entry));
        }
        if complete {
            self.files.register.forget_gone(self.log.source().is_plain());
            self.lose_unknown();
            self.lose_missing();
            self.files.closed = None;
        }
        self.files.supersede(self.turn.clock);
        Ok(complete)
    }

    /// The log's names, older first, the live one last; and whether each could be looked at.
    fn listed(&mut self, folder: &Folder, look: &Look) -> (Vec<Listed>, bool) {
        let (mut listed, mut complete) = (Vec::new(), true);
        for name in look.names_like(self.log.live_name()) {
            let live = name == self.log.live_name();
            let Ok(stat) = folder.stat(name) else {
                complete = false;
                continue;
            };
            if stat.regular {
                let packed = name.ends_with(".gz") && !live;
                let Stat { size, mtime_ns, .. } = stat;
                let name = name.to_owned();
                listed.push(Listed { name, inode: stat.inode(), size, mtime_ns, packed, live });
            } else if stat.link && live && !std::mem::replace(&mut self.files.symlink_warned, true) {
                // (Anyone who may make links below /var/log would have us read and publish any file of the node.)
                tracing::warn!(
                    log = self.log.key(),
                    log_file = name,
                    "a symbolic link is not read: the agent follows only links into docker_dir, if that is set (chart: agent.docker)"
                );
            }
        }
        let Files { open, register, unnamed, .. } = self.files;
        let is_open = |inode| {
            let waits = |handle: &File| stat_of(handle).is_ok_and(|stat| stat.inode() == inode);
            open.iter().any(|file| file.inode() == inode)
                || unnamed.as_ref().is_some_and(|(_, handle)| waits(handle))
        };
        (self.log.names().in_order(listed, register, is_open), complete)
    }

    /// A name whose inode is not known. Gives the id of what it holds, when that can be told already.
    fn appear(&mut self, folder: &Folder, entry: &Listed) -> io::Result<Option<FileId>> {
        let handle = folder.open_file(&entry.name)?;
        let stat = stat_of(&handle)?;
        if stat.inode() != entry.inode {
            // The name stands for another file than when it was listed.
            return Err(io::ErrorKind::NotFound.into());
        }
        let waits = |handle: &File| stat_of(handle).is_ok_and(|other| other.inode() == entry.inode);
        let waited = self.files.unnamed.as_ref().is_some_and(|(_, handle)| waits(handle));
        if waited {
            // It waits for its first line (under the name that it had then): it is looked at again here.
            self.files.unnamed = None;
        } else if entry.live
            && let Some((name, before)) = self.files.unnamed.take()
            && is_unlinked(&before)
        {
            self.end_unnamed(name, before)?;
        }
        let head = read_head(&handle, entry.packed)?;
        let appeared = Appeared {
            entry,
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            head: &head,
            waited,
            now_ns: self.turn.clock.wall_ns,
            grace_ns: self.turn.settings.grace_ms * 1_000_000,
        };
        let held = self.files.held();
        let content = Opened { handle: &handle, packed: entry.packed, files: &self.files.open };
        let resume = match appeared.stands_for(self.log.names(), &self.files.register, &held, &content) {
            Stands::New(of_line) => {
                let id = self.files.unused_id(of_line, self.log.source().is_plain());
                self.begin(entry, stat, handle, id, &head);
                return Ok(Some(id));
            }
            Stands::Finished(at) => return Ok(Some(self.files.register.finish_resumed(at))),
            Stands::Read(id) => return Ok(Some(id)),
            Stands::Unnamed => {
                self.files.unnamed = Some((entry.name.clone(), handle));
                return Ok(None);
            }
            Stands::NotYet => return Err(io::ErrorKind::WouldBlock.into()),
            Stands::NotOurs => return Ok(None),
            Stands::Resumed(at) => self.files.register.take_resumed(at),
            Stands::Grown(at) => self.files.register.take_grown(at),
        };
        let id = resume.file;
        self.resume_at(entry, stat, handle, resume, &head)?;
        Ok(Some(id))
    }

    /// A file lost its name before its first line was whole, and another has the name now.
    fn end_unnamed(&mut self, name: String, handle: File) -> io::Result<()> {
        let head = read_head(&handle, false)?;
        if head.is_empty() {
            return Ok(());
        }
        let stat = stat_of(&handle)?;
        let id = FileId::of_head(&head).unwrap_or_else(|| FileId::of_whole(&head));
        if self.files.is_open(id) || self.files.register.remembers(id) {
            // It was packed meanwhile, and is known by its new name already.
            return Ok(());
        }
        let id = self.files.unused_id(id, self.log.source().is_plain());
        let index = self.begin(&live(name, stat), stat, handle, id, &head);
        self.files.open[index].stage.set_removed(true);
        Ok(())
    }

    /// A file that is read from its first byte. Gives its index.
    fn begin(&mut self, entry: &Listed, stat: Stat, handle: File, id: FileId, head: &[u8]) -> usize {
        let seq = self.files.take_seq();
        let format = self.log.format_of(head);
        let tail = if entry.packed { Tail::of_packed(handle) } else { Tail::of_file(handle, stat.size) };
        let file = LogFile::new(seq, id, &entry.name, stat, tail, format);
        tracing::debug!(log = self.log.key(), log_file = entry.name, %id, "new log file");
        let open =
            self.files.open.iter().map(|file| Open { name: &file.name, removed: file.stage.is_removed() });
        let at = self.log.names().place_of(entry, open);
        self.files.open.insert(at, file);
        at
    }

    /// A file that the checkpoint knows: go on where its acknowledged part ends, if the bytes there are the same.
    fn resume_at(
        &mut self,
        entry: &Listed,
        stat: Stat,
        handle: File,
        resume: FileCheckpoint,
        head: &[u8],
    ) -> io::Result<()> {
        let index = self.begin(entry, stat, handle, resume.file, head);
        let file = &mut self.files.open[index];
        // How far the key before goes is decided once: it is on the disk before anything is sent.
        if resume.key_before.as_ref().is_some_and(|before| before.until == u64::MAX) {
            self.turn.ship.wait_for_checkpoint();
        }
        // (How long it is unpacked nobody knows yet.)
        file.resume(&resume, if entry.packed { u64::MAX } else { stat.size })?;
        if entry.packed {
            file.tail.was_of_size(resume.size);
            return Ok(());
        }
        match file.compare_with(&resume)? {
            Left::All { known_size } => file.tail.was_of_size(known_size),
            Left::UpTo { at, unread } => {
                file.cuts.clear();
                let reason = match self.files.closed {
                    Some(_) => CUT_WHILE_CLOSED,
                    None => "cut short, emptied or rewritten in place while the agent was away",
                };
                self.go_on_as_another(index, at, unread, reason)?;
            }
        }
        Ok(())
    }

    /// Looks whether the live file has a whole first line now. True when it has become a file of the log. `nothing_follows`: its
    /// first line will not become whole, and it is named as that of a file that is gone.
    pub fn name_unnamed(&mut self, nothing_follows: bool) -> io::Result<bool> {
        let Some((name, handle)) = self.files.unnamed.take() else { return Ok(false) };
        let head = read_head(&handle, false)?;
        let stat = stat_of(&handle)?;
        let is_gone = self.files.gone_at_ms.is_some() || nothing_follows;
        let id = match FileId::of_head(&head) {
            Some(id) => id,
            None if is_gone && !head.is_empty() => FileId::of_whole(&head),
            None => {
                if !is_gone {
                    self.files.unnamed = Some((name, handle));
                }
                return Ok(false);
            }
        };
        let is_known = self.files.is_open(id) || self.files.register.remembers(id);
        if is_known && (!self.log.source().is_plain() || is_unlinked(&handle)) {
            // It was renamed or packed meanwhile, and is known by its new name already.
            return Ok(false);
        }
        let unique = self.files.unused_id(id, self.log.source().is_plain());
        self.begin(&live(name, stat), stat, handle, unique, &head);
        self.files.register.note(stat.inode(), Known { id: unique, size: 0, mtime_ns: 0 });
        self.files.supersede(self.turn.clock);
        Ok(true)
    }

    // ---- what is gone, broken or another than it was -----------------------------------------------------------------

    /// A live file that was closed before its first line came, or never opened, and that is not there any more: looked for
    /// after a look at all that there is.
    fn lose_unknown(&mut self) {
        let Files { open, register, closed, .. } = &*self.files;
        let Some(live) = closed.and_then(|closed| closed.never_read()) else { return };
        let resting = self.files.resting_handle().and_then(|handle| stat_of(handle).ok());
        let is_here = register.knows(live.inode())
            || open.iter().any(|file| file.inode() == live.inode())
            || register.is_remembered(live.inode())
            || resting.is_some_and(|now| now.ino == live.ino);
        // (Its packed copy, which is about to be read.)
        let is_packed = open.iter().any(|file| file.tail.is_packed() && file.tail.position() == 0);
        if is_here || is_packed {
            return;
        }
        let id = id_of_unread(live.inode(), live.mtime_ns);
        let gone = never_read(id, self.log.live_name(), live.inode());
        self.turn.tally.files_vanished += 1;
        self.lose_whole(gone, nothing_known(GONE_WHILE_CLOSED.to_owned()));
    }

    /// What the checkpoint knows and the disk does not hold any more.
    fn lose_missing(&mut self) {
        for resume in self.files.register.take_missing() {
            if self.files.was_all_read() {
                continue;
            }
            let reason = match self.files.closed {
                Some(_) => GONE_WHILE_CLOSED,
                None => "rotated away or deleted while the agent was away",
            };
            let Some(loss) = resume.lost_when_gone(reason) else { continue };
            self.turn.tally.files_vanished += 1;
            self.lose_whole(resume, loss);
        }
    }

    /// An archive of which not even the beginning can be unpacked. Gives the id under which it is known from now on.
    fn broken_archive(&mut self, entry: &Listed, error: &io::Error, is_lost: bool) -> FileId {
        let file = id_of_unread(entry.inode, entry.mtime_ns);
        self.turn.tally.file_errors += 1;
        tracing::warn!(log = self.log.key(), log_file = entry.name, %error, "read packed log file");
        if is_lost {
            let gone = never_read(file, &entry.name, entry.inode);
            self.lose_whole(gone, nothing_known(format!("it cannot be unpacked: {error}")));
        }
        file
    }

    /// A file of which only the loss is left to tell.
    fn lose_whole(&mut self, gone: FileCheckpoint, loss: LossRange) {
        let (seq, format) = (self.files.take_seq(), self.log.format_of(b""));
        let ghost = LogFile::gone(seq, gone, format, self.turn.clock.mono_ms);
        self.files.open.push_front(ghost);
        self.files.lose(0, loss);
    }

    /// A file was cut short, emptied or rewritten in place: what it holds from `at` on is read as another file's. What is left
    /// of it is not read again but for what lies behind its last milestone that is as it was, and no new line has the place of
    /// one that is stored. `unread` was cut off (empty: perhaps more was, nobody knows).
    pub fn go_on_as_another(
        &mut self,
        index: usize,
        at: u64,
        unread: Option<Range<u64>>,
        reason: &str,
    ) -> io::Result<()> {
        self.turn.tally.files_truncated += 1;
        let seq = self.files.take_seq();
        let file = &mut self.files.open[index];
        tracing::warn!(
            log_file = file.name,
            position = file.tail.position(),
            going_on_at = at,
            "the file was cut short, emptied or rewritten in place"
        );
        let handle = file.tail.close();
        file.stage.finish(self.turn.clock.mono_ms);
        let (id_before, name) = (file.id(), file.name.clone());
        let milestones = file.milestones_up_to(at);
        if let Some(unread) = unread {
            let (from, bytes, reason) = (unread.start, unread.end - unread.start, reason.to_owned());
            self.files.lose(index, LossRange { from, bytes, exact: false, reason });
        }
        let Some(handle) = handle else { return Ok(()) };
        let head = read_head(&handle, false)?;
        let id = match FileId::of_head(&head) {
            None if name == self.log.live_name() => {
                self.files.unnamed = Some((name, handle));
                return Ok(());
            }
            id => self.files.unused_id(id.unwrap_or(id_before), self.log.source().is_plain()),
        };
        let stat = stat_of(&handle)?;
        let tail = Tail::of_file(handle, stat.size);
        let mut another = LogFile::new(seq, id, &name, stat, tail, self.log.format_of(&head));
        another.begin_at(at, milestones)?;
        self.files.open.insert(index + 1, another);
        // Where it begins is decided once: it is on the disk before anything of it is sent.
        self.turn.ship.wait_for_checkpoint();
        Ok(())
    }
}

/// How much of it is lost nobody knows.
fn nothing_known(reason: String) -> LossRange {
    LossRange { from: 0, bytes: 0, exact: false, reason }
}

/// Whether a packed file cannot be unpacked, as opposed to: cannot be opened.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A live file, as a look at its folder would list it.
fn live(name: String, stat: Stat) -> Listed {
    let Stat { size, mtime_ns, .. } = stat;
    Listed { name, inode: stat.inode(), size, mtime_ns, packed: false, live: true }
}
