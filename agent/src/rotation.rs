//! Which files a run has, and in which order: the kubelet renames `0.log` to `0.log.20261121-022431`, the runtime makes
//! a new `0.log`, later the kubelet packs older ones (`.gz`, through a `.tmp`) and removes the oldest
//! (kubernetes `pkg/kubelet/logs/container_log_manager.go`).
//! Promises: what is still on disk is read once, whatever happened to its name while we were away, because a file is known
//! by its inode while we hold it and by its first line always. What is gone unread becomes a loss.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::rotation::cut::Left;
use cordwood_core::rotation::gone::Broken;
use cordwood_core::rotation::sequence::{Open, superseded_at_ms};
use cordwood_core::rotation::{Appeared, Glance, Held, Known, Listed, Names, Stands};

use crate::closed::CUT_WHILE_CLOSED;
use crate::container_log::ContainerLog;
use crate::cuts::Cuts;
use crate::folder::{Folder, Look, Looks, Stat, is_unlinked, stat_of};
use crate::gone::is_broken;
use crate::same_file::Opened;
use crate::tail::{Bytes, LogFile, gzip_reader, read_head};
use crate::turn::{Clock, Turn};

impl ContainerLog {
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
            self.register.forget_names();
            self.lose_unknown(turn);
            self.missing(turn);
            self.parked = None;
            return Ok(true);
        };
        let (entries, mut complete) = self.listed(folder, looks.first);
        let had_files = match &self.unnamed {
            Some((_, handle)) => is_unlinked(handle),
            None => !self.files.is_empty() || self.gone_at_ms.is_some() || self.parked.is_some(),
        };
        if entries.is_empty() && had_files {
            // Removed although its folder is still there: the kubelet clears away what a dead container left.
            self.gone_at_ms.get_or_insert(turn.clock.mono_ms);
        } else {
            self.gone_at_ms = None;
        }
        for file in &mut self.files {
            file.removed = !entries.iter().any(|entry| entry.inode == file.inode());
        }
        let mut known = HashMap::with_capacity(entries.len());
        // One that we began to read was passed: what follows is younger.
        let mut after_ours = false;
        for entry in &entries {
            let as_listed = |id| Known { id, size: entry.size, mtime_ns: entry.mtime_ns };
            let open = self.files.iter().map(|file| file.is_there().then(|| file.inode()));
            match self.register.glance(entry, open) {
                Glance::Held(index) => {
                    let file = &mut self.files[index];
                    file.name.clone_from(&entry.name);
                    known.insert(entry.inode, Known { id: file.id, size: 0, mtime_ns: 0 });
                    after_ours = true;
                    continue;
                }
                Glance::AsBefore(before) => {
                    after_ours |= self.has(before.id);
                    known.insert(entry.inode, before);
                    continue;
                }
                Glance::Unknown => {}
            }
            match self.appear(folder, entry, turn) {
                Ok(Some(id)) => {
                    after_ours |= self.has(id);
                    known.insert(entry.inode, as_listed(id));
                }
                Ok(None) => {}
                // Renamed or removed between listing and opening, or its first line is still being written.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                    complete = false;
                }
                Err(error) if entry.packed && is_broken(&error) => {
                    if turn.clock.wall_ns - entry.mtime_ns < turn.settings.gone_grace_ms() * 1_000_000 {
                        // It may still be written.
                        complete = false;
                        continue;
                    }
                    let broken = Broken { entry, listed: &entries, after_ours };
                    let held = self.files.iter().map(|file| (&*file.name, file.inode()));
                    let is_lost = !broken.is_of_known(self.names(), &self.register, held);
                    let id = self.broken_archive(entry, &error, is_lost, turn);
                    known.insert(entry.inode, as_listed(id));
                }
                Err(error) => {
                    complete = false;
                    turn.tally.file_errors += 1;
                    tracing::warn!(run = self.key, log_file = entry.name, %error, "open log file");
                }
            }
        }
        self.register.set_known(known);
        if !self.register.resume().is_empty() && complete {
            // What was renamed while we looked may have been passed over under both of its names.
            let (now, all) = self.listed(folder, looks.second(folder)?);
            complete = all && now.len() == entries.len() && now.iter().all(|entry| entries.contains(entry));
        }
        if complete {
            self.register.forget_gone(self.source.is_plain());
            self.lose_unknown(turn);
            self.missing(turn);
            self.parked = None;
        }
        self.supersede(turn.clock);
        Ok(complete)
    }

    fn names(&self) -> Names<'_> {
        Names { live: &self.live_name, plain: self.source.is_plain() }
    }

    /// The run's names, older first, the live one last; and whether each could be looked at.
    fn listed(&mut self, folder: &Folder, look: &Look) -> (Vec<Listed>, bool) {
        let (mut listed, mut complete) = (Vec::new(), true);
        for name in look.names_like(&self.live_name) {
            let live = name == self.live_name;
            let Ok(stat) = folder.stat(name) else {
                complete = false;
                continue;
            };
            if stat.regular {
                let packed = name.ends_with(".gz") && !live;
                let Stat { size, mtime_ns, .. } = stat;
                let name = name.to_owned();
                listed.push(Listed { name, inode: stat.inode(), size, mtime_ns, packed, live });
            } else if stat.link && live && !std::mem::replace(&mut self.symlink_warned, true) {
                // (Whoever may make links below /var/log would have us read and publish any file of the node.)
                tracing::warn!(
                    run = self.key,
                    log_file = name,
                    "not read: it is a symbolic link; only links into docker_dir are followed, where that is set (the chart: agent.docker)"
                );
            }
        }
        let ContainerLog { live_name, source, register, files, unnamed, .. } = self;
        let names = Names { live: live_name, plain: source.is_plain() };
        let is_open = |inode| {
            let waits = |handle: &File| stat_of(handle).is_ok_and(|stat| stat.inode() == inode);
            files.iter().any(|file| file.inode() == inode)
                || unnamed.as_ref().is_some_and(|(_, handle)| waits(handle))
        };
        (names.in_order(listed, register, is_open), complete)
    }

    /// A name whose inode is not known. Gives the id of what it holds, when that can be told already.
    fn appear(&mut self, folder: &Folder, entry: &Listed, turn: &mut Turn<'_>) -> io::Result<Option<FileId>> {
        let handle = folder.open_file(&entry.name)?;
        let stat = stat_of(&handle)?;
        if stat.inode() != entry.inode {
            // The name stands for another file than when it was listed.
            return Err(io::ErrorKind::NotFound.into());
        }
        let waits = |handle: &File| stat_of(handle).is_ok_and(|other| other.inode() == entry.inode);
        let waited = self.unnamed.as_ref().is_some_and(|(_, handle)| waits(handle));
        if waited {
            // It waits for its first line (under the name that it had then): it is looked at anew here.
            self.unnamed = None;
        } else if entry.live
            && let Some((name, before)) = self.unnamed.take()
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
            now_ns: turn.clock.wall_ns,
            grace_ns: turn.settings.grace_ms * 1_000_000,
        };
        let held: Vec<Held> = self.files.iter().map(LogFile::held).collect();
        let content = Opened { handle: &handle, packed: entry.packed, files: &self.files };
        let resume = match appeared.stands_for(self.names(), &self.register, &held, &content) {
            Stands::New(of_line) => {
                let id = self.unused_id(of_line);
                self.begin(entry, stat, handle, id, &head);
                return Ok(Some(id));
            }
            Stands::Finished(at) => return Ok(Some(self.register.finish_resumed(at))),
            Stands::Read(id) => return Ok(Some(id)),
            Stands::Unnamed => {
                self.unnamed = Some((entry.name.clone(), handle));
                return Ok(None);
            }
            Stands::NotYet => return Err(io::ErrorKind::WouldBlock.into()),
            Stands::NotOurs => return Ok(None),
            Stands::Resumed(at) => self.register.take_resumed(at),
            Stands::Grown(at) => self.register.take_grown(at),
        };
        let id = resume.file;
        self.resume_at(entry, stat, handle, resume, &head, turn)?;
        Ok(Some(id))
    }

    /// The id for a file that is read from its first byte.
    pub fn unused_id(&mut self, of_line: FileId) -> FileId {
        let ContainerLog { files, register, source, .. } = self;
        register.unused_id(of_line, source.is_plain(), |id| files.iter().any(|file| file.id == id))
    }

    /// Whether it is being read, or was.
    fn has(&self, id: FileId) -> bool {
        self.files.iter().any(|file| file.id == id) || self.register.has_finished(id)
    }

    /// A file lost its name before its first line was whole, and another has the name now.
    fn end_unnamed(&mut self, name: String, handle: File) -> io::Result<()> {
        let head = read_head(&handle, false)?;
        if head.is_empty() {
            return Ok(());
        }
        let stat = stat_of(&handle)?;
        let id = FileId::of_head(&head).unwrap_or_else(|| FileId::of_whole(&head));
        if self.files.iter().any(|file| file.id == id) || self.register.remembers(id) {
            // It was packed meanwhile, and is known by its new name already.
            return Ok(());
        }
        let id = self.unused_id(id);
        let index = self.begin(&live(name, stat), stat, handle, id, &head);
        self.files[index].removed = true;
        Ok(())
    }

    /// A file that is read from its first byte. Gives its index.
    fn begin(&mut self, entry: &Listed, stat: Stat, handle: File, id: FileId, head: &[u8]) -> usize {
        self.at_end = false;
        let seq = self.take_seq();
        let format = self.format_of(head);
        let bytes = if entry.packed {
            Bytes::Gzip { reader: Box::new(gzip_reader(handle)), at: 0, ahead: Vec::new() }
        } else {
            Bytes::File(handle)
        };
        let mut file = LogFile::new(seq, id, &entry.name, stat, bytes, format);
        file.size = if entry.packed { 0 } else { stat.size };
        tracing::debug!(run = self.key, log_file = entry.name, id = %file.id, "new log file");
        let open = self.files.iter().map(|file| Open { name: &file.name, removed: file.removed });
        let at = self.names().place_of(entry, open);
        self.files.insert(at, file);
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
        turn: &mut Turn<'_>,
    ) -> io::Result<()> {
        let index = self.begin(entry, stat, handle, resume.file, head);
        let file = &mut self.files[index];
        file.ends = resume.ends;
        file.acked_ends = resume.ends;
        // How far the key before goes is decided once: it is on the disk before anything is sent.
        turn.ship.wait_for_checkpoint |=
            resume.key_before.as_ref().is_some_and(|before| before.until == u64::MAX);
        file.key_before = resume.key_before.clone().map(|before| {
            // (How long it is unpacked nobody knows yet.)
            before.decided(resume.position, if entry.packed { u64::MAX } else { stat.size })
        });
        file.cuts = Cuts::new(resume.cuts.clone());
        file.milestones.clone_from(&resume.milestones);
        file.seek(resume.position)?;
        if entry.packed {
            file.size = file.size.max(resume.size);
            return Ok(());
        }
        match file.compare_with(&resume)? {
            Left::All { known_size } => file.size = file.size.max(known_size),
            Left::UpTo { at, unread } => {
                file.cuts.clear();
                let reason = match self.parked {
                    Some(_) => CUT_WHILE_CLOSED,
                    None => "cut short, emptied or rewritten in place while the agent was away",
                };
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
                let mtime_ns = file.stat().ok().map(|stat| stat.mtime_ns);
                let at_ms = superseded_at_ms(clock.mono_ms, clock.wall_ns, mtime_ns);
                file.superseded_at_ms = Some(at_ms);
            }
        }
    }

    /// Looks whether the live file has a whole first line now. True when it has become a file of the run.
    pub fn name_unnamed(&mut self, clock: Clock) -> io::Result<bool> {
        let Some((name, handle)) = self.unnamed.take() else { return Ok(false) };
        let head = read_head(&handle, false)?;
        let stat = stat_of(&handle)?;
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
        let is_known = self.files.iter().any(|file| file.id == id) || self.register.remembers(id);
        if is_known && (!self.source.is_plain() || is_unlinked(&handle)) {
            // It was renamed or packed meanwhile, and is known by its new name already.
            return Ok(false);
        }
        let unique = self.unused_id(id);
        self.begin(&live(name, stat), stat, handle, unique, &head);
        self.register.note(stat.inode(), Known { id: unique, size: 0, mtime_ns: 0 });
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
                tracing::info!(run = self.key, log_file = file.name, "a rotated file still grew");
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
            if let Ok(Stat { size, mtime_ns, dev, ino, .. }) = file.stat() {
                let done = FileCheckpoint {
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
                };
                self.register.finish(done, size, mtime_ns);
            }
        }
    }
}

/// A live file, as a look at its folder would list it.
fn live(name: String, stat: Stat) -> Listed {
    let Stat { size, mtime_ns, .. } = stat;
    Listed { name, inode: stat.inode(), size, mtime_ns, packed: false, live: true }
}
