//! Files that are cut short, emptied or rewritten in place while they are read, or while the agent is away.
//! Promises: what is left of such a file is not read again but for what lies behind its last milestone that is as it was;
//! what is written behind the cut is another file to the writer, so that no new line has the place of one that is stored;
//! what was cut off unread is told as a loss. A hole is no line.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::limits::MILESTONE_LINE_BYTES_MAX;
use cordwood_core::milestones::{Found, OnDisk, Read, compare, hash_of_line};
use cordwood_core::rotation::cut::{Left, left_of};
use memchr::memchr;
use rustix::fs::{SeekFrom, seek};
use xxhash_rust::xxh3::xxh3_64;

use crate::folder::stat_of;
use crate::tail::{Bytes, Changed, LogFile, bytes_before, marker_before};
use crate::telemetry::Tally;

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
    pub fn compare_with(&self, before: &FileCheckpoint) -> io::Result<Left> {
        let Bytes::File(file) = &self.bytes else { return Ok(Left::All { known_size: 0 }) };
        let holds = |at, marker| Ok(xxh3_64(&marker_before(file, at)?) == marker);
        left_of(before, self.inode(), stat_of(file)?.size, holds, |at| hash_at(file, at))
    }

    /// What is left of it, where it was seen to be another than it was.
    pub fn compare_now(&self) -> io::Result<Found> {
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
