//! Which known file a name of another program's stands for, when its inode does not say: many files of such a program begin
//! with the same line, so more of their content must be the same.
//! Promises: a copy or an archive of what was read is not read again; a file that only begins like one that was is read.

use std::fs::File;
use std::io::{self, Read};

use cordwood_core::identity::FileId;
use cordwood_core::limits::MARKER_BYTES;
use xxhash_rust::xxh3::xxh3_64;

use crate::rotation::Entry;
use crate::run::Run;
use crate::tail::{Bytes, LogFile, gzip_reader, marker_before};

/// What a name stands for.
pub enum Same {
    /// The place in [`Run::resume`] of a file that is to be read on.
    Resume(usize),
    /// The place in [`Run::done`].
    Done(usize),
    Held(FileId),
}

/// A file that appeared, and how long its first line is.
pub struct Appeared<'a> {
    pub handle: &'a File,
    pub entry: &'a Entry,
    pub size: u64,
    pub of_line: FileId,
    pub line_bytes: u64,
}

impl Appeared<'_> {
    /// Whether the bytes before `position` are those of `marker`. `None`: so little lies before it that this says nothing.
    fn holds(&self, position: u64, marker: u64) -> Option<bool> {
        if position <= self.line_bytes {
            return None;
        }
        if !self.entry.gzip && self.size < position {
            return Some(false);
        }
        let before = if self.entry.gzip {
            unpacked_before(self.handle, position)
        } else {
            marker_before(self.handle, position)
        };
        Some(before.is_ok_and(|before| xxh3_64(&before) == marker))
    }

    /// Whether it is a copy of a file that is held, perhaps one that is still being made.
    fn is_copy_of(&self, file: &LogFile) -> bool {
        match &file.bytes {
            Bytes::File(held) if !self.entry.gzip => {
                let at = self.size.min(file.position);
                let (ours, its) = (marker_before(self.handle, at), marker_before(held, at));
                let same = matches!((ours, its), (Ok(ours), Ok(its)) if ours == its);
                same || self.holds(file.position, file.last_marker()) == Some(true)
            }
            _ => self.holds(file.position, file.last_marker()) == Some(true),
        }
    }
}

impl Run {
    /// The known file that this is, under a new name or as a copy; `None`: it is none of them.
    pub fn find_same(&self, appeared: &Appeared<'_>) -> Option<Same> {
        let of_line = |file: FileId| file == appeared.of_line || self.is_generation(appeared.of_line, file);
        let (gzip, live) = (appeared.entry.gzip, appeared.entry.live);
        let resume = self.resume.iter().enumerate().filter(|(_, file)| !file.done && of_line(file.file));
        let resume = resume.filter(|(_, file)| {
            let says_nothing = !live && (gzip || appeared.size >= file.size);
            file.marker == 0 || appeared.holds(file.position, file.marker).unwrap_or(says_nothing)
        });
        if let Some((at, _)) = resume.max_by_key(|(_, file)| file.position) {
            return Some(Same::Resume(at));
        }
        if let Some(file) = self.files.iter().find(|file| of_line(file.id) && appeared.is_copy_of(file)) {
            return Some(Same::Held(file.id));
        }
        let same_size = gzip || appeared.size == 0;
        let mut done = self.done.iter();
        let at = done.position(|file| {
            let says_nothing = same_size || appeared.size == file.size;
            of_line(file.file)
                && match file.marker {
                    0 => says_nothing,
                    marker => appeared.holds(file.position, marker).unwrap_or(says_nothing),
                }
        });
        at.map(Same::Done)
    }
}

/// The last bytes before `position` of what is packed.
fn unpacked_before(file: &File, position: u64) -> io::Result<Vec<u8>> {
    let mut clone = file.try_clone()?;
    io::Seek::rewind(&mut clone)?;
    let mut reader = gzip_reader(clone);
    let known = position.min(MARKER_BYTES as u64);
    let skipped = io::copy(&mut (&mut reader).take(position - known), &mut io::sink())?;
    let mut before = Vec::new();
    reader.take(known).read_to_end(&mut before)?;
    // The clone shares the place in the file: whoever reads on begins at its beginning.
    io::Seek::rewind(&mut &*file)?;
    if skipped + before.len() as u64 == position {
        Ok(before)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
