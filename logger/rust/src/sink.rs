//! Writes a batch of lines to the output, and counts to the line what could not be written.
//! Promises: an output that is closed is asked no more; one whose disk is full is asked again with each batch, and what it did not take is told there when it takes
//! lines again; a line that was torn is ended before the next one.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fields::{Fields, Serialized};
use crate::line_queue::{Dropped, Lines};
use crate::output::Output;
use crate::settings::say;

/// Makes the line that tells of dropped ones.
pub(crate) type TellDropped = Box<dyn Fn(&Fields, u64) -> Vec<u8> + Send + Sync>;

pub(crate) struct Sink {
    output: Output,
    is_closed: bool,
    is_full: bool,
    /// What was written last ended within a line.
    is_torn: bool,
}

/// Lines of a batch that are not out.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    /// The output is closed.
    pub refused: Dropped,
    /// The output is to tell of them.
    pub untold: Dropped,
}

#[derive(Default)]
struct Progress {
    is_told: bool,
    /// Of the lines.
    bytes: usize,
}

impl Sink {
    pub fn new(output: Output) -> Sink {
        Sink { output, is_closed: false, is_full: false, is_torn: false }
    }

    /// Writes the lines, before them what tells of those that were dropped.
    pub fn write(&mut self, lines: &Lines, dropped: &Dropped, tell: &TellDropped) -> Unwritten {
        let mut progress = Progress::default();
        let written = if self.is_closed {
            Err(io::ErrorKind::BrokenPipe.into())
        } else {
            let work = AssertUnwindSafe(|| self.try_write(lines, dropped, tell, &mut progress));
            catch_unwind(work).unwrap_or_else(|_| Err(io::Error::other("it panicked")))
        };
        let Err(error) = written else {
            self.is_full = false;
            return Unwritten::default();
        };
        let (mut missing, mut end) = (Dropped::default(), 0);
        if !progress.is_told {
            missing.add_all(dropped);
        }
        for (line, holds) in lines.pieces(1) {
            end += line.len();
            if end > progress.bytes {
                missing.add_all(&holds);
            }
        }
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            if !self.is_full {
                say(&format!(
                    "the output is full, lines are counted and dropped until it takes some again: {error}"
                ));
            }
            self.is_full = true;
            return Unwritten { untold: missing, ..Unwritten::default() };
        }
        if !self.is_closed {
            say(&format!("the output takes no more lines, they are counted and dropped: {error}"));
        }
        self.is_closed = true;
        Unwritten { refused: missing, ..Unwritten::default() }
    }

    fn try_write(
        &mut self,
        lines: &Lines,
        dropped: &Dropped,
        tell: &TellDropped,
        progress: &mut Progress,
    ) -> io::Result<()> {
        let mut open = self.output.open()?;
        let (piece_bytes, was_torn, is_torn) = (open.piece_bytes, self.is_torn, &mut self.is_torn);
        let mut write = |piece: &[u8], bytes: &mut usize| {
            let begin = *bytes;
            let written = open.write(piece, bytes);
            if let Some(last) = piece[..*bytes - begin].last() {
                *is_torn = *last != b'\n';
            }
            written
        };
        let mut others = 0;
        if was_torn {
            write(b"\n", &mut others)?;
        }
        if dropped.total() > 0 {
            write(&told(dropped, tell), &mut others)?;
        }
        progress.is_told = true;
        for (piece, _) in lines.pieces(piece_bytes) {
            write(piece, &mut progress.bytes)?;
        }
        open.flush()
    }
}

fn told(dropped: &Dropped, tell: &TellDropped) -> Vec<u8> {
    let rows: BTreeMap<_, _> = dropped.rows().collect();
    tell(&Fields::new().with("dropped", Serialized(rows)), dropped.total())
}
