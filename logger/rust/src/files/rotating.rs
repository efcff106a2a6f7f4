//! Rotates a file when it is full: `hello.log` becomes `hello-20251230-154522.log`, and a new `hello.log` begins.
//! Promises: each line is written whole by one call of the system, or is an error to its caller; rotation is a rename, so that a reader loses nothing;
//! no older file is ever overwritten; one process writes a file at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time;

/// A file that would become larger is rotated.
pub const FILE_BYTES_MAX: u64 = 10 << 20;
/// Rotated files that are kept: the newest.
pub const OLDER_FILES_MAX: usize = 5;

#[derive(Debug)]
pub struct Rotating {
    folder: PathBuf,
    /// The file's name without `.log`.
    stem: String,
    path: PathBuf,
    bytes_max: u64,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    /// The last write ended within a line.
    is_torn: bool,
}

impl Rotating {
    /// Opens or makes `<folder>/<stem>.log`. A line that a crash has cut short is ended, so that the next one stands by itself.
    ///
    /// # Errors
    /// When the folder or the file cannot be made, or another process writes it.
    pub fn open(folder: &Path, stem: &str, bytes_max: u64) -> io::Result<Rotating> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{stem}.log"));
        let open = open(&path)?;
        let rotating = Rotating {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            path,
            bytes_max,
            open: Mutex::new(Some(open)),
        };
        // (A crash may have come between a rotation and its end.)
        rotating.prune();
        Ok(rotating)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line, which ends with its newline. It is with the kernel when this returns.
    pub fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |open: &Open| open.bytes > 0 && open.bytes + line.len() as u64 > self.bytes_max;
        if slot.as_ref().is_some_and(is_full) {
            self.rotate(&mut slot)?;
        }
        let open = match &mut *slot {
            Some(open) => open,
            None => slot.insert(open(&self.path)?),
        };
        open.write(line)
    }

    fn rotate(&self, slot: &mut Option<Open>) -> io::Result<()> {
        let older = self.folder.join(self.older_name()?);
        // A file that somebody else has taken away is no longer ours to rename.
        match std::fs::rename(&self.path, older) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The old one is closed, and its lock given back, only now.
        *slot = None;
        *slot = Some(open(&self.path)?);
        self.prune();
        Ok(())
    }

    /// The name that the file gets: of this second, or of the next one behind the newest there is, so that names tell the order.
    fn older_name(&self) -> io::Result<String> {
        let known = self.older();
        let now = time::now();
        let names = || {
            let later = (0..86_400).map(move |more| time::compact(now + Duration::from_secs(more)));
            later.map(|stamp| format!("{}-{stamp}.log", self.stem))
        };
        // (The clock may have been set back by days.)
        let newest = known.last();
        let found = names()
            .find(|name| newest.is_none_or(|newest| name > newest))
            .or_else(|| names().find(|name| !known.contains(name)));
        found.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }

    /// The rotated files, the oldest first.
    fn older(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut older: Vec<String> = names.filter(|name| is_older(&self.stem, name)).collect();
        older.sort_unstable();
        older
    }

    /// Removes all but the newest rotated files. What cannot be removed is tried again at the next rotation.
    fn prune(&self) {
        let mut older = self.older();
        older.truncate(older.len().saturating_sub(OLDER_FILES_MAX));
        for name in older {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }
}

/// Whether `name` is `<stem>-YYYYMMDD-HHMMSS.log`.
fn is_older(stem: &str, name: &str) -> bool {
    let stamp = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".log"));
    stamp.is_some_and(|stamp| {
        stamp.len() == 15
            && stamp
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 8 { byte == b'-' } else { byte.is_ascii_digit() })
    })
}

fn open(path: &Path) -> io::Result<Open> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let what = format!("{}: another process writes it", path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        // A file system without locks.
        Err(TryLockError::Error(_)) => {}
    }
    let bytes = file.metadata()?.len();
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(Open { file, bytes, is_torn: last != [b'\n'] })
}

impl Open {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.append(b"\n")?;
            self.is_torn = false;
        }
        let before = self.bytes;
        let result = self.append(line);
        // (The disk is full, for example: what came through is part of a line.)
        self.is_torn = result.is_err() && self.bytes > before;
        result
    }

    fn append(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.bytes += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("the folder").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_rotated_and_five_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let rotating = Rotating::open(folder.path(), "hello", 30).expect("a file");
        let others = [
            "hello-20200101-000000.log.gz",
            "hello-world.log",
            "hello-2020010-1000000.log",
            "other-20200101-000000.log",
        ];
        for other in others {
            std::fs::write(folder.path().join(other), "x").expect("another file");
        }
        std::fs::write(folder.path().join("hello-20200101-000000.log"), "the oldest").expect("an older file");
        for n in 0..40 {
            rotating.write(format!("line {n:04}\n").as_bytes()).expect("a line");
        }
        let names = names(folder.path());
        assert!(others.iter().all(|other| names.contains(&(*other).to_owned())), "{names:?}");
        let older: Vec<_> = names.iter().filter(|name| is_older("hello", name)).collect();
        assert_eq!(older.len(), OLDER_FILES_MAX, "{names:?}");
        let mut all = String::new();
        for name in older.into_iter().map(String::as_str).chain(["hello.log"]) {
            let text = std::fs::read_to_string(folder.path().join(name)).expect("a file");
            assert!(text.len() <= 30 && text.ends_with('\n'), "{name}: {text:?}");
            all.push_str(&text);
        }
        // The newest lines, each once and in order.
        let expected: String = (40 - all.lines().count()..40).map(|n| format!("line {n:04}\n")).collect();
        assert_eq!(all, expected);
        assert!(all.lines().count() > 15);
    }

    #[test]
    fn a_torn_line_is_ended_and_a_second_writer_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.log"), "{\"whole\":1}\n{\"torn").expect("what a crash left");
        let rotating = Rotating::open(folder.path(), "a", 1_000).expect("a file");
        let second = Rotating::open(folder.path(), "a", 1_000).expect_err("a second writer");
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
        rotating.write(b"next\n").expect("a line");
        let text = std::fs::read_to_string(rotating.path()).expect("the file");
        assert_eq!(text, "{\"whole\":1}\n{\"torn\nnext\n");
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_for_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let rotating = Rotating::open(folder.path(), "a", 10).expect("a file");
        for line in ["short\n", "longer than ten\n", "short\n"] {
            rotating.write(line.as_bytes()).expect("a line");
        }
        assert_eq!(names(folder.path()).len(), 3);
    }
}
