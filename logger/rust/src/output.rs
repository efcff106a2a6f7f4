//! Writes lines to stdout or stderr by its file descriptor, or to any writer.
//! Promises: a pipe gets whole lines in writes that the kernel does not tear (a line of up to 4,096 bytes).

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Writes of this size to a pipe are all there or not at all (PIPE_BUF).
const PIPE_BYTES: usize = 4_096;
const FILE_BYTES: usize = 64 << 10;
/// How long a stdout that takes nothing and does not block is left alone.
const PAUSE: Duration = Duration::from_millis(5);

/// What takes the lines.
pub enum Output {
    Stdout,
    Stderr,
    Writer(Box<dyn Write + Send>),
    /// It is another process's.
    Gone,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Output::Stdout => "Stdout",
            Output::Stderr => "Stderr",
            Output::Writer(_) => "Writer",
            Output::Gone => "Gone",
        })
    }
}

/// An output that is being written to.
pub struct Open<'a> {
    to: To<'a>,
    pub piece_bytes: usize,
}

enum To<'a> {
    File(File),
    Writer(&'a mut (dyn Write + Send)),
}

impl Output {
    pub fn is_terminal(&self) -> bool {
        match self {
            Output::Stdout => io::stdout().is_terminal(),
            Output::Stderr => io::stderr().is_terminal(),
            Output::Writer(_) | Output::Gone => false,
        }
    }

    /// What a fork of the process has in its place: a writer may be in the middle of something, and its thread is not there.
    pub fn of_fork(&self) -> fn() -> Output {
        match self {
            Output::Stdout => || Output::Stdout,
            Output::Stderr => || Output::Stderr,
            Output::Writer(_) | Output::Gone => || Output::Gone,
        }
    }

    /// Opens it for a batch: stdout may have been redirected since.
    pub fn open(&mut self) -> io::Result<Open<'_>> {
        match self {
            Output::Writer(writer) => Ok(Open { to: To::Writer(writer), piece_bytes: FILE_BYTES }),
            Output::Gone => Err(io::Error::other("a fork of the process starts its own logger")),
            Output::Stdout | Output::Stderr => {
                let file = if matches!(self, Output::Stdout) { of(io::stdout())? } else { of(io::stderr())? };
                let is_file = file.metadata().is_ok_and(|found| found.is_file());
                Ok(Open { to: To::File(file), piece_bytes: if is_file { FILE_BYTES } else { PIPE_BYTES } })
            }
        }
    }
}

#[cfg(unix)]
fn of(stream: impl std::os::fd::AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

#[cfg(windows)]
fn of(stream: impl std::os::windows::io::AsHandle) -> io::Result<File> {
    Ok(File::from(stream.as_handle().try_clone_to_owned()?))
}

impl Open<'_> {
    /// Writes all of a piece, and counts the bytes that are out.
    pub fn write(&mut self, piece: &[u8], bytes: &mut usize) -> io::Result<()> {
        let writer: &mut dyn Write = match &mut self.to {
            To::File(file) => file,
            To::Writer(writer) => *writer,
        };
        let mut rest = piece;
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    *bytes += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody has made it non-blocking (a terminal shared with another program).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(_) => Ok(()),
            To::Writer(writer) => writer.flush(),
        }
    }
}
