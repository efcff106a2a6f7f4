//! Looks into a file that appeared under a name of a log, as far as it takes to tell which file it is
//! ([`cordwood_core::rotation::same`]).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};

use cordwood_core::limits::MARKER_BYTES;
use cordwood_core::rotation::Content;
use xxhash_rust::xxh3::xxh3_64;

use crate::log_file::LogFile;
use crate::tail::{gzip_reader, marker_before};

/// A file that appeared, beside those that are open.
pub struct Opened<'a> {
    pub handle: &'a File,
    pub packed: bool,
    pub files: &'a VecDeque<LogFile>,
}

impl Content for Opened<'_> {
    fn marker(&self, position: u64) -> Option<u64> {
        let before = if self.packed {
            unpacked_before(self.handle, position)
        } else {
            marker_before(self.handle, position)
        };
        before.ok().map(|before| xxh3_64(&before))
    }

    fn is_as_held(&self, held: usize, position: u64) -> Option<bool> {
        let held = self.files.get(held)?.tail.plain()?;
        let (ours, its) = (marker_before(self.handle, position), marker_before(held, position));
        Some(matches!((ours, its), (Ok(ours), Ok(its)) if ours == its))
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
    // The clone shares the place in the file: the next reader begins at its beginning.
    io::Seek::rewind(&mut &*file)?;
    if skipped + before.len() as u64 == position {
        Ok(before)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
