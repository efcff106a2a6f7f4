//! One file of a log: which it is, and what of it is read, sent, acknowledged and over, each in a part of its own.
//! Promises: the checkpointed position never passes a byte that is not acknowledged; what lies behind it can be read again.

use std::io;

use cordwood_core::checkpoint::{FileCheckpoint, KeyBefore};
use cordwood_core::identity::{FileId, OutputStream, StreamKey};
use cordwood_core::milestones::{Found, Milestones};
use cordwood_core::pipeline::Format;
use cordwood_core::rotation::cut::Left;
use cordwood_core::rotation::{Held, Inode};

use crate::cuts::Cuts;
use crate::delivery::Delivery;
use crate::folder::Stat;
use crate::hole::Hole;
use crate::marks::Marks;
use crate::source::Source;
use crate::stage::Stage;
use crate::tail::Tail;

pub struct LogFile {
    seq: u64,
    id: FileId,
    inode: Inode,
    format: Format,
    pub name: String,
    pub tail: Tail,
    pub delivery: Delivery,
    pub stage: Stage,
    /// Places behind the acknowledged position at which an unfinished record was sent.
    pub cuts: Cuts,
    marks: Marks,
    /// The ends in [`LogFile::delivery`] are of an earlier stream key.
    key_before: Option<KeyBefore>,
    continues: bool,
}

impl LogFile {
    pub fn new(seq: u64, id: FileId, name: &str, stat: Stat, tail: Tail, format: Format) -> LogFile {
        LogFile {
            seq,
            id,
            inode: stat.inode(),
            format,
            name: name.to_owned(),
            tail,
            delivery: Delivery::default(),
            stage: Stage::default(),
            cuts: Cuts::default(),
            marks: Marks::default(),
            key_before: None,
            continues: false,
        }
    }

    /// A file that the checkpoint knows and the disk no longer has: only its loss is still to be sent.
    pub fn gone(seq: u64, gone: FileCheckpoint, format: Format, now_ms: i64) -> LogFile {
        LogFile {
            seq,
            id: gone.file,
            inode: (gone.dev, gone.ino),
            format,
            name: gone.name,
            tail: Tail::gone(gone.size),
            delivery: Delivery::behind(gone.ends),
            stage: Stage::finished(now_ms),
            cuts: Cuts::default(),
            marks: Marks::default(),
            key_before: gone.key_before,
            continues: false,
        }
    }

    /// Continues a file at the position of the checkpoint. `until`: where its part under an earlier stream key ends.
    pub fn resume(&mut self, before: &FileCheckpoint, until: u64) -> io::Result<()> {
        self.delivery = Delivery::behind(before.ends);
        self.key_before = before.key_before.clone().map(|key| key.decided(before.position, until));
        self.cuts = Cuts::new(before.cuts.clone());
        self.marks = Marks::new(before.milestones.clone());
        self.tail.seek(before.position)
    }

    /// Continues a file that was cut at `at`; from there on it is read as another file. `milestones`: those before `at`.
    pub fn begin_at(&mut self, at: u64, milestones: Milestones) -> io::Result<()> {
        self.tail.seek(at)?;
        self.tail.was_of_size(at);
        self.marks = Marks::new(milestones);
        Ok(())
    }

    /// The number of this file among the files of its log, in this process.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    /// Device and inode.
    pub fn inode(&self) -> Inode {
        self.inode
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// This file in the form that `core::rotation` takes.
    pub fn held(&self) -> Held {
        let (position, marker) = (self.tail.position(), self.tail.last_marker());
        Held { id: self.id, inode: self.inode, position, marker }
    }

    /// The file begins with the rest of a record from the file before it.
    pub fn continues(&self) -> bool {
        self.continues
    }

    /// Notes whether a record is unfinished when reading enters this file.
    pub fn begins_within_a_record(&mut self, continues: bool) {
        if self.tail.position() == 0 {
            self.continues = continues;
        }
    }

    /// The file is read to its end, and the process that wrote it had ended by then.
    pub fn is_over(&self) -> bool {
        self.stage.over_at() == Some(self.tail.position())
    }

    /// The earlier stream key, if the position still lies in its part of the file.
    pub fn stream_key(&self, source: &Source, io: OutputStream) -> Option<StreamKey> {
        self.key_before.as_ref().map(|before| source.stream_key(before.node.as_ref(), io))
    }

    /// The part under the earlier stream key is read: what follows is sent under the present key.
    pub fn is_at_handover(&self) -> bool {
        self.key_before.as_ref().is_some_and(|before| self.tail.position() >= before.until)
    }

    /// The part under the earlier stream key is acknowledged. The writer knows no position under the present key yet.
    pub fn hand_over(&mut self) {
        self.key_before = None;
        self.delivery = Delivery::default();
    }

    /// The part of the bytes that were read that may be taken at once (one stream key, up to the next cut), and what ended the part.
    pub fn share_of<'a>(&self, given: &'a [u8]) -> (&'a [u8], ShareEnd) {
        let (given, at_cut) = self.cuts.split(given, self.tail.position());
        let share = self.key_before.as_ref().and_then(|before| before.share_of(given, self.tail.position()));
        match share.filter(|share| *share < given.len()) {
            Some(share) => (&given[..share], ShareEnd::Key),
            None if at_cut => (given, ShareEnd::Cut),
            None => (given, ShareEnd::None),
        }
    }

    /// The part of these whole lines up to the end of the line that is the next milestone.
    pub fn up_to_milestone<'a>(&self, given: &'a [u8]) -> &'a [u8] {
        match self.tail.plain() {
            Some(_) => self.marks.up_to_next(given, self.tail.position()),
            None => given,
        }
    }

    /// The lines that were just taken end at a place where a milestone may be.
    pub fn note_milestone(&mut self, taken: &[u8], names_its_time: bool) {
        self.marks.note(self.tail.position(), taken, names_its_time);
    }

    /// Skips a hole at the position; `given` are the bytes that were read there. Also returns how many bytes were skipped.
    pub fn skip_hole(&mut self, given: &[u8]) -> io::Result<(Hole, u64)> {
        let stops_within = !self.cuts.is_empty() || self.key_before.is_some();
        if stops_within { Ok((Hole::None, 0)) } else { self.tail.skip_hole(given) }
    }

    /// Compares the file with what the checkpoint says of it.
    pub fn compare_with(&self, before: &FileCheckpoint) -> io::Result<Left> {
        self.tail.compare_with(before, self.inode)
    }

    /// What is left of the file, if it was found to be changed.
    pub fn compare_now(&self) -> io::Result<Found> {
        self.tail.compare_now(self.marks.milestones())
    }

    /// The milestones up to a place, for the file that begins there.
    pub fn milestones_up_to(&self, at: u64) -> Milestones {
        self.marks.milestones().up_to(at)
    }

    /// Everything before it is acknowledged; `open` is what batches that are still open, or a record that is still
    /// unfinished, hold back.
    pub fn acknowledged_position(&self, open: u64) -> u64 {
        self.delivery.held_from().unwrap_or(u64::MAX).min(open).min(self.tail.position())
    }

    /// Goes back to `position`, as if the bytes behind it had never been read.
    pub fn go_back(&mut self, position: u64) -> io::Result<()> {
        self.delivery.forget_outstanding();
        self.stage.read_on();
        self.marks.go_back(position);
        self.tail.go_back(position)
    }

    /// For the checkpoint: all before `position` is acknowledged. `done`: nothing more is to be expected of it.
    pub fn checkpoint(&self, position: u64, done: bool) -> FileCheckpoint {
        let is_ahead = position < self.tail.position() && !self.tail.is_packed() && !self.tail.is_changed();
        FileCheckpoint {
            file: self.id,
            name: self.name.clone(),
            dev: self.inode.0,
            ino: self.inode.1,
            position,
            marker: self.tail.marker_at(position),
            ends: self.delivery.acknowledged_ends(),
            size: self.tail.largest_size().max(position),
            done,
            key_before: self.key_before.clone(),
            cuts: self.cuts.behind(position),
            milestones: if done { Milestones::default() } else { self.milestones_up_to(position) },
            ahead: is_ahead.then(|| (self.tail.position(), self.tail.last_marker())),
        }
    }
}

/// What ended the part that may be taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareEnd {
    /// Nothing: the part is all that was read.
    None,
    /// A cut: an unfinished record was sent up to here.
    Cut,
    /// What follows is sent under another stream key.
    Key,
}
