//! One log file: which it is, how far it is read, how far it is acknowledged.
//! Promises: bytes come in order and once per reading; a file that was emptied or rewritten under us is noticed at the
//! next read, because the bytes before the position are read again and compared; the checkpointed position never passes
//! a byte that is not acknowledged.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use cordwood_core::checkpoint::{KeyBefore, MARKER_OF_OTHERS};
use cordwood_core::identity::{FileId, OutputStream, StreamKey};
use cordwood_core::limits::{FINGERPRINT_BYTES_MAX, MARKER_BYTES};
use cordwood_core::milestones::Milestones;
use cordwood_core::pipeline::Format;
use cordwood_core::rotation::{Held, Inode};
use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_64;

use crate::cuts::Cuts;
use crate::folder::{Stat, stat_of};
use crate::source::Source;

pub type GzipReader = MultiGzDecoder<io::BufReader<File>>;

/// Where a file's bytes come from.
pub enum Bytes {
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

/// One batch on its way: the file position must not pass `start` before it is acknowledged.
#[derive(Debug)]
pub struct Outstanding {
    pub ticket: u64,
    pub start: u64,
    pub end: u64,
    pub acknowledged: bool,
}

pub struct LogFile {
    /// Tells the files of a run apart in this process.
    pub seq: u64,
    pub id: FileId,
    pub name: String,
    pub dev: u64,
    pub ino: u64,
    pub bytes: Bytes,
    pub format: Format,
    /// Read up to here.
    pub position: u64,
    /// The largest end that reading has met.
    pub size: u64,
    /// The size that the system last told, for the lag alone: reading may not take it for what it has seen.
    pub size_on_disk: u64,
    /// The largest that the system ever told.
    pub size_told: u64,
    /// Nothing was written from the first place to the second, when it was looked at last.
    pub empty: Range<u64>,
    /// It no longer holds what was read from it, or was seen to be longer than it is: it is read on as another.
    pub changed: Option<Changed>,
    /// The last bytes before `position`.
    marker: Vec<u8>,
    /// What tells how much of it is left when it was cut short.
    pub milestones: Milestones,
    /// No milestone is looked for before this place.
    pub no_milestone_before: u64,
    /// Lines at the last place where one is due that name no time.
    pub untimed_lines: u32,
    /// End of the last batch that was cut, by output: `prev` of the next.
    pub ends: [u64; 2],
    pub acked_ends: [u64; 2],
    /// `ends` are those of an earlier stream key.
    pub key_before: Option<KeyBefore>,
    /// Where something went unfinished, behind what is acknowledged.
    pub cuts: Cuts,
    pub outstanding: [VecDeque<Outstanding>; 2],
    pub removed: bool,
    /// It begins with the rest of a record from the file before.
    pub continues: bool,
    pub read_errors: u32,
    /// When its successor was seen, or its folder was gone (milliseconds of the reader's clock).
    pub superseded_at_ms: Option<i64>,
    /// Read to its end, and nothing more is to be expected.
    pub finished_at_ms: Option<i64>,
    /// Where it was read to its end when the run that wrote it was over. It is still watched.
    pub over_at: Option<u64>,
}

/// How a file is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
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

impl LogFile {
    pub fn new(seq: u64, id: FileId, name: &str, stat: Stat, bytes: Bytes, format: Format) -> LogFile {
        LogFile {
            seq,
            id,
            name: name.to_owned(),
            dev: stat.dev,
            ino: stat.ino,
            bytes,
            format,
            position: 0,
            size: 0,
            size_on_disk: 0,
            size_told: 0,
            empty: 0..0,
            changed: None,
            marker: Vec::new(),
            milestones: Milestones::default(),
            no_milestone_before: 0,
            untimed_lines: 0,
            ends: [0; 2],
            acked_ends: [0; 2],
            key_before: None,
            cuts: Cuts::default(),
            outstanding: [VecDeque::new(), VecDeque::new()],
            removed: false,
            continues: false,
            read_errors: 0,
            superseded_at_ms: None,
            finished_at_ms: None,
            over_at: None,
        }
    }

    /// Device and inode.
    pub fn inode(&self) -> Inode {
        (self.dev, self.ino)
    }

    /// Something is left to read, or to be compared with.
    pub fn is_there(&self) -> bool {
        !matches!(self.bytes, Bytes::Gone)
    }

    /// As rotation knows it.
    pub fn held(&self) -> Held {
        let marker = self.last_marker();
        Held { id: self.id, inode: self.inode(), position: self.position, marker }
    }

    /// It is read to its end, and the run that wrote it was over then.
    pub fn is_over(&self) -> bool {
        self.over_at == Some(self.position)
    }

    /// What it is read through, while it is open.
    pub fn handle(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Gzip { reader, .. } => Some(reader.get_ref().get_ref()),
            Bytes::Gone => None,
        }
    }

    pub fn is_gzip(&self) -> bool {
        matches!(self.bytes, Bytes::Gzip { .. })
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
                self.size = self.size.max(self.position + (got - known) as u64);
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
                self.size = self.size.max(self.position + filled as u64);
                if buffer.len() < filled {
                    buffer.resize(filled, 0);
                }
                buffer[..filled].copy_from_slice(ahead);
                Ok(if filled == 0 { Chunk::End } else { Chunk::Bytes(0..filled) })
            }
            Bytes::Gone => Ok(Chunk::End),
        }
    }

    /// `taken` bytes of what [`LogFile::read`] gave are dealt with.
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

    /// The stream's key that holds at the position, where it is not that of now.
    pub fn stream_key(&self, source: &Source, io: OutputStream) -> Option<StreamKey> {
        self.key_before.as_ref().map(|before| source.stream_key(before.node.as_ref(), io))
    }

    /// What was begun under an earlier key is read; what follows goes under the key of now.
    pub fn is_at_handover(&self) -> bool {
        self.key_before.as_ref().is_some_and(|before| self.position >= before.until)
    }

    /// The part of what was read that goes under one key, and whether there is more that goes under another.
    pub fn under_one_key<'a>(&self, given: &'a [u8]) -> (&'a [u8], bool) {
        let share = self.key_before.as_ref().and_then(|before| before.share_of(given, self.position));
        let share = share.unwrap_or(given.len());
        (&given[..share], share < given.len())
    }

    /// Everything before it is acknowledged; `open` is what batches that are still open, or a record that is still
    /// unfinished, hold back.
    pub fn acknowledged_position(&self, open: u64) -> u64 {
        // (A record that began first may end last: the first batch is not always the lowest.)
        let waiting =
            self.outstanding.iter().flatten().filter(|batch| !batch.acknowledged).map(|batch| batch.start);
        waiting.min().unwrap_or(u64::MAX).min(open).min(self.position)
    }

    pub fn is_all_acknowledged(&self) -> bool {
        self.outstanding.iter().all(VecDeque::is_empty)
    }

    /// Marks a batch as safe, and moves the ends over all that are safe up to the first that is not.
    pub fn acknowledge(&mut self, io: OutputStream, ticket: u64) {
        let batches = &mut self.outstanding[io as usize];
        if let Some(batch) = batches.iter_mut().find(|batch| batch.ticket == ticket) {
            batch.acknowledged = true;
        }
        while batches.front().is_some_and(|batch| batch.acknowledged) {
            if let Some(batch) = batches.pop_front() {
                let end = &mut self.acked_ends[io as usize];
                *end = (*end).max(batch.end);
            }
        }
    }

    /// Goes back to `position`, as if what is behind it had never been read.
    pub fn go_back(&mut self, position: u64) -> io::Result<()> {
        self.forget_outstanding();
        self.finished_at_ms = None;
        self.milestones = self.milestones.up_to(position);
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

    /// No answer will come any more for what was sent.
    pub fn forget_outstanding(&mut self) {
        self.outstanding.iter_mut().for_each(VecDeque::clear);
        self.ends = self.acked_ends;
    }

    /// It no longer holds what was read from it.
    pub fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// The largest size that is known of it.
    pub fn known_size(&self) -> u64 {
        self.size.max(self.size_on_disk)
    }

    /// The largest size that it ever had, as far as was seen, without empty room behind its text.
    pub fn largest_size(&self) -> u64 {
        let largest = self.size.max(self.size_told);
        let is_empty = self.empty.start <= self.position && self.empty.end >= largest;
        if is_empty { self.position } else { largest }
    }

    /// It may be shorter than the empty room that was seen behind its text: that is given back, and nothing lay there.
    pub fn give_back_room(&mut self) {
        if self.empty.is_empty() || self.stat().is_ok_and(|stat| stat.size >= self.empty.end) {
            return;
        }
        if self.largest_size() == self.position {
            (self.size, self.size_told) = (self.position, self.position);
        }
        self.empty = 0..0;
    }

    /// The system told its size.
    pub fn has_size(&mut self, size: u64) {
        self.size_on_disk = size;
        self.size_told = self.size_told.max(size);
    }

    /// It has no name any more and lives on because we hold it open.
    pub fn is_removed(&self) -> bool {
        self.removed
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
    pub fn holds_marker(&self, file: &File) -> io::Result<bool> {
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
        // The clone shares the place in the file: whoever reads on begins at its beginning.
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
pub fn bytes_before(file: &File, position: u64, max: usize) -> io::Result<Vec<u8>> {
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
