//! One open file: its bytes, how far they are read, and whether it still holds what was read.
//! Promises: bytes come in order and once per reading; a file that was emptied or rewritten under us is noticed at the
//! next read, because the bytes before the position are read again and compared.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use cordwood_core::checkpoint::{FileCheckpoint, MARKER_OF_OTHERS};
use cordwood_core::limits::{FINGERPRINT_BYTES_MAX, MARKER_BYTES, MILESTONE_LINE_BYTES_MAX};
use cordwood_core::milestones::{Found, Milestones, OnDisk, Read as ReadSoFar, compare, hash_of_line};
use cordwood_core::rotation::Inode;
use cordwood_core::rotation::cut::{Left, left_of};
use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_64;

use crate::folder::{Stat, stat_of};
use crate::hole::{self, Hole};
use crate::sizes::Sizes;

pub type GzipReader = MultiGzDecoder<io::BufReader<File>>;

/// Where a file's bytes come from.
enum Bytes {
    File(File),
    /// A gunzipped copy, read forward from `at`; what was read and not taken yet waits in `ahead`.
    Gzip {
        reader: Box<GzipReader>,
        at: u64,
        ahead: Vec<u8>,
    },
    /// There is nothing left to read; what was read may still wait for its acknowledgement.
    Gone,
}

/// How a file is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    /// The bytes before the position are others.
    Content,
    /// It is shorter than it was; what was read of it is there.
    Size,
}

/// What one reading gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes from `position` on: this part of the buffer.
    Bytes(Range<usize>),
    /// Nothing new.
    End,
    /// The file no longer holds what was read from it.
    Replaced,
}

pub struct Tail {
    bytes: Bytes,
    /// Read up to here.
    position: u64,
    /// The last bytes before `position`.
    marker: Vec<u8>,
    sizes: Sizes,
    /// It no longer holds what was read from it, or was seen to be longer than it is: it is read on as another.
    changed: Option<Changed>,
}

impl Tail {
    fn new(bytes: Bytes) -> Tail {
        Tail { bytes, position: 0, marker: Vec::new(), sizes: Sizes::default(), changed: None }
    }

    /// A file that is read from its first byte; `size`: what it has now.
    pub fn of_file(file: File, size: u64) -> Tail {
        let mut tail = Tail::new(Bytes::File(file));
        tail.sizes.reach(size);
        tail
    }

    pub fn of_packed(file: File) -> Tail {
        Tail::new(Bytes::Gzip { reader: Box::new(gzip_reader(file)), at: 0, ahead: Vec::new() })
    }

    /// A file of which nothing can be read any more; it had this size.
    pub fn gone(size: u64) -> Tail {
        let mut tail = Tail { position: size, ..Tail::new(Bytes::Gone) };
        tail.sizes.reach(size);
        tail
    }

    /// Up to where it is read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The largest file position that reading has reached, or that the file had when it was opened.
    pub fn size_seen(&self) -> u64 {
        self.sizes.read_end()
    }

    /// Notes how large the file was when an earlier process of the agent read it.
    pub fn was_of_size(&mut self, size: u64) {
        self.sizes.reach(size);
    }

    /// The largest size that is known of it.
    pub fn known_size(&self) -> u64 {
        self.sizes.known()
    }

    /// The largest size that it ever had, as far as was seen, without empty room behind its text.
    pub fn largest_size(&self) -> u64 {
        self.sizes.largest(self.position)
    }

    /// Asks the system for its size, for the lag.
    pub fn look_at_size(&mut self) {
        if !self.is_packed()
            && let Ok(stat) = self.stat()
        {
            self.sizes.report(stat.size);
        }
    }

    /// Something is left to read, or to be compared with.
    pub fn is_there(&self) -> bool {
        !matches!(self.bytes, Bytes::Gone)
    }

    pub fn is_packed(&self) -> bool {
        matches!(self.bytes, Bytes::Gzip { .. })
    }

    /// What it is read through, where it is not packed.
    pub fn plain(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Gzip { .. } | Bytes::Gone => None,
        }
    }

    /// What it is read through, while it is open.
    pub fn handle(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Gzip { reader, .. } => Some(reader.get_ref().get_ref()),
            Bytes::Gone => None,
        }
    }

    /// Nothing more is read of it: gives what it was read through, where it is not packed.
    pub fn close(&mut self) -> Option<File> {
        match std::mem::replace(&mut self.bytes, Bytes::Gone) {
            Bytes::File(file) => Some(file),
            Bytes::Gzip { .. } | Bytes::Gone => None,
        }
    }

    /// It is not what it was: read on as another.
    pub fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// It is what it was after all.
    pub fn is_as_before(&mut self) {
        self.changed = None;
    }

    /// Reads up to `max` bytes from the position on into `buffer`.
    pub fn read(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<Chunk> {
        if self.changed.is_some() {
            return Ok(Chunk::Replaced);
        }
        match &mut self.bytes {
            Bytes::File(file) => {
                let known = self.marker.len();
                let wanted = known + max;
                if buffer.len() < wanted {
                    buffer.resize(wanted, 0);
                }
                let got = read_once_at(file, &mut buffer[..wanted], self.position - known as u64)?;
                if got < known || buffer[..known] != self.marker[..] {
                    self.changed = Some(Changed::Content);
                    return Ok(Chunk::Replaced);
                }
                self.sizes.reach(self.position + (got - known) as u64);
                Ok(if got == known { Chunk::End } else { Chunk::Bytes(known..got) })
            }
            Bytes::Gzip { reader, at, ahead } => {
                let mut skip = self.position - *at;
                while skip > 0 {
                    let part = usize::try_from(skip).unwrap_or(usize::MAX).min(64 << 10);
                    if buffer.len() < part {
                        buffer.resize(part, 0);
                    }
                    let got = reader.read(&mut buffer[..part])?;
                    if got == 0 {
                        return Ok(Chunk::Replaced);
                    }
                    *at += got as u64;
                    skip -= got as u64;
                }
                let held = ahead.len();
                ahead.resize(max.max(held), 0);
                let mut filled = held;
                while filled < ahead.len() {
                    let got = reader.read(&mut ahead[filled..])?;
                    if got == 0 {
                        break;
                    }
                    filled += got;
                }
                ahead.truncate(filled);
                self.sizes.reach(self.position + filled as u64);
                if buffer.len() < filled {
                    buffer.resize(filled, 0);
                }
                buffer[..filled].copy_from_slice(ahead);
                Ok(if filled == 0 { Chunk::End } else { Chunk::Bytes(0..filled) })
            }
            Bytes::Gone => Ok(Chunk::End),
        }
    }

    /// `taken` bytes of what [`Tail::read`] gave are dealt with.
    pub fn advance(&mut self, given: &[u8], taken: usize) {
        if taken == 0 {
            return;
        }
        self.position += taken as u64;
        match &mut self.bytes {
            Bytes::File(_) => remember(&mut self.marker, &given[..taken]),
            Bytes::Gzip { at, ahead, .. } => {
                ahead.drain(..taken);
                *at += taken as u64;
            }
            Bytes::Gone => {}
        }
    }

    /// Goes back to `position`, as if what is behind it had never been read.
    pub fn go_back(&mut self, position: u64) -> io::Result<()> {
        if let Bytes::File(file) = &self.bytes
            && marker_before(file, self.position).is_ok_and(|marker| marker != self.marker)
        {
            // Emptied or rewritten since: the bytes there are not those that are to be read again.
            self.changed = Some(Changed::Content);
        }
        if self.changed.is_some() {
            self.changed = Some(Changed::Content);
            self.position = position;
            return Ok(());
        }
        self.seek(position)
    }

    /// Notes that it was longer once, where it is. `rest`: what lies behind the position.
    pub fn is_shorter_than_it_was(&mut self, rest: &[u8]) -> bool {
        if self.sizes.has_empty_room() {
            self.sizes.give_back_room(self.position, self.stat().map_or(0, |stat| stat.size));
        }
        let read = rest.len() as u64;
        if read > 0 && rest.iter().all(|byte| *byte == 0) {
            self.sizes.saw_empty(self.position..self.position + read);
        }
        let largest = self.largest_size();
        if !matches!(self.bytes, Bytes::File(_)) || self.position + read >= largest {
            return false;
        }
        let is_shorter = self.stat().is_ok_and(|stat| stat.size < largest);
        if is_shorter {
            self.changed = Some(Changed::Size);
        }
        is_shorter
    }

    /// Compares it with what the checkpoint says of it.
    pub fn compare_with(&self, before: &FileCheckpoint, inode: Inode) -> io::Result<Left> {
        let Bytes::File(file) = &self.bytes else { return Ok(Left::All { known_size: 0 }) };
        let holds = |at, marker| Ok(xxh3_64(&marker_before(file, at)?) == marker);
        left_of(before, inode, stat_of(file)?.size, holds, |at| hash_at(file, at))
    }

    /// What is left of it, where it was seen to be another than it was.
    pub fn compare_now(&self, milestones: &Milestones) -> io::Result<Found> {
        let Bytes::File(file) = &self.bytes else {
            let seen = self.sizes.read_end();
            return Ok(Found::Cut { at: 0, unread: self.position.min(seen)..seen });
        };
        // (It may have changed again while what was read of it was waited for.)
        let is_same_at_position = self.changed == Some(Changed::Size) && self.holds_marker(file)?;
        let read = ReadSoFar { position: self.position, size: self.largest_size(), milestones };
        let disk = OnDisk { size: stat_of(file)?.size, is_same: false, is_same_at_position };
        Ok(compare(read, disk, |at| hash_at(file, at)))
    }

    /// Passes over a hole at the position; `given` is what was read there. Gives also how many bytes were passed over.
    pub fn skip_hole(&mut self, given: &[u8]) -> io::Result<(Hole, u64)> {
        let Bytes::File(file) = &self.bytes else { return Ok((Hole::None, 0)) };
        match hole::find(file, given, self.position)? {
            hole::Found::None => Ok((Hole::None, 0)),
            hole::Found::UpTo(data) => Ok((Hole::Skipped, self.pass_over(data)?)),
            hole::Found::ToTheEnd(end) => {
                // It may have been cut since it was read: what was seen to be empty was.
                let seen = end.max(self.position + given.len() as u64);
                self.sizes.saw_empty_to_the_end(self.position, seen);
                Ok((if end > self.position { Hole::ToTheEnd(end) } else { Hole::None }, 0))
            }
        }
    }

    /// Goes on at `to`: what lies before is a hole. Gives how long it is.
    pub fn pass_over(&mut self, to: u64) -> io::Result<u64> {
        let passed = to.saturating_sub(self.position);
        self.sizes.reach(to);
        self.seek(to)?;
        Ok(passed)
    }

    /// Continues at `position`, with the bytes before it as they are now.
    pub fn seek(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        self.marker.clear();
        match &mut self.bytes {
            Bytes::File(file) => self.marker = marker_before(file, position)?,
            Bytes::Gzip { reader, at, ahead } => {
                // The unpacker is past what waits in `ahead`: going on without it would skip these bytes.
                if *at != position || !ahead.is_empty() {
                    let mut file = reader.get_ref().get_ref().try_clone()?;
                    io::Seek::rewind(&mut file)?;
                    **reader = gzip_reader(file);
                    (*at, *ahead) = (0, Vec::new());
                }
            }
            Bytes::Gone => {}
        }
        Ok(())
    }

    /// [`cordwood_core::checkpoint::FileCheckpoint::marker`] for `position`; 0 where it cannot be had, and [`MARKER_OF_OTHERS`] where
    /// the bytes there are not those that were read.
    pub fn marker_at(&self, position: u64) -> u64 {
        match &self.bytes {
            Bytes::File(_) if position == self.position && self.changed != Some(Changed::Content) => {
                xxh3_64(&self.marker)
            }
            Bytes::File(file) => {
                let marker = marker_before(file, position).map_or(0, |marker| xxh3_64(&marker));
                // (Looked at after it: what changed before is seen.)
                if self.holds_marker(file).unwrap_or(true) { marker } else { MARKER_OF_OTHERS }
            }
            Bytes::Gzip { .. } | Bytes::Gone => 0,
        }
    }

    /// Whether the last bytes before the position are in `file` as they were read.
    fn holds_marker(&self, file: &File) -> io::Result<bool> {
        Ok(marker_before(file, self.position)? == self.marker)
    }

    /// Of the last bytes before the position, as they were when they were read.
    pub fn last_marker(&self) -> u64 {
        xxh3_64(&self.marker)
    }

    /// The file as the system sees it now.
    pub fn stat(&self) -> io::Result<Stat> {
        match &self.bytes {
            Bytes::File(file) => stat_of(file),
            Bytes::Gzip { reader, .. } => stat_of(reader.get_ref().get_ref()),
            Bytes::Gone => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

/// The first bytes of a file, as many as its fingerprint may cover; for `.gz` of what is packed in it.
pub fn read_head(file: &File, gzip: bool) -> io::Result<Vec<u8>> {
    let mut head = vec![0; FINGERPRINT_BYTES_MAX];
    let got = if gzip {
        let mut clone = file.try_clone()?;
        io::Seek::rewind(&mut clone)?;
        let mut reader = gzip_reader(clone);
        let mut filled = 0;
        while filled < head.len() {
            let got = reader.read(&mut head[filled..])?;
            if got == 0 {
                break;
            }
            filled += got;
        }
        // The clone shares the place in the file: the next reader begins at its beginning.
        io::Seek::rewind(&mut &*file)?;
        filled
    } else {
        read_once_at(file, &mut head, 0)?
    };
    head.truncate(got);
    Ok(head)
}

pub fn gzip_reader(file: File) -> GzipReader {
    MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, file))
}

pub fn marker_before(file: &File, position: u64) -> io::Result<Vec<u8>> {
    bytes_before(file, position, MARKER_BYTES)
}

/// The last bytes before `position`, at most so many.
fn bytes_before(file: &File, position: u64, max: usize) -> io::Result<Vec<u8>> {
    let len = position.min(max as u64);
    let mut before = vec![0; usize::try_from(len).unwrap_or(max)];
    let got = read_once_at(file, &mut before, position - len)?;
    before.truncate(got);
    Ok(before)
}

fn remember(marker: &mut Vec<u8>, taken: &[u8]) {
    if taken.len() >= MARKER_BYTES {
        marker.clear();
        marker.extend_from_slice(&taken[taken.len() - MARKER_BYTES..]);
    } else {
        marker.extend_from_slice(taken);
        let over = marker.len().saturating_sub(MARKER_BYTES);
        marker.drain(..over);
    }
}

/// One read: of a regular file it gives all there is, up to the buffer's length.
fn read_once_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The hash of the line of the file that ends at a place, if one does.
fn hash_at(file: &File, at: u64) -> Option<u32> {
    let before = bytes_before(file, at, MILESTONE_LINE_BYTES_MAX + 1).ok()?;
    hash_of_line(&before, before.len() as u64 == at)
}
