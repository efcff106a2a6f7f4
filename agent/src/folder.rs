//! Opening files below a folder without ever being led out of it: no symbolic links, regular files only.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, ResolveFlags};

/// A folder that log files lie in, held open.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What a name stands for right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime_ns: i64,
    pub regular: bool,
    /// A symbolic link: it is not followed.
    pub link: bool,
}

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Folder {
    /// The configured folder itself may be reached over symbolic links: whoever configured it meant it.
    pub fn open_root(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder(rustix::fs::open(path, flags, Mode::empty())?))
    }

    pub fn open_folder(&self, below: &str) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder(rustix::fs::openat2(&self.0, below, flags, Mode::empty(), INSIDE)?))
    }

    /// A regular file. (A pipe is opened without waiting for its writer, and refused.)
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::openat2(&self.0, name, flags, Mode::empty(), INSIDE)?;
        let file = File::from(fd);
        if stat_of(&file)?.regular {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }

    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(stat(&rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Names of what lies in it, that are UTF-8 (no runtime and no kubelet makes others).
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// A folder that was removed while it is held open has no links left.
    pub fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.0).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub fn stat_of(file: &File) -> io::Result<Stat> {
    Ok(stat(&rustix::fs::fstat(file)?))
}

/// Whether an open file has no name any more.
pub fn is_unlinked(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

fn stat(stat: &rustix::fs::Stat) -> Stat {
    let kind = FileType::from_raw_mode(stat.st_mode as RawMode);
    Stat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64),
        regular: kind == FileType::RegularFile,
        link: kind == FileType::Symlink,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("pod")).unwrap();
        std::fs::write(inside.path().join("pod/0.log"), "line\n").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("pod/1.log")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        let root = Folder::open_root(inside.path()).unwrap();
        let pod = root.open_folder("pod").unwrap();
        assert!(pod.open_file("0.log").is_ok());
        assert!(pod.open_file("1.log").is_err(), "a symbolic link");
        assert!(!pod.stat("1.log").unwrap().regular);
        assert!(root.open_folder("link").is_err(), "a linked folder");
        assert!(root.open_folder("..").is_err(), "the parent");
        assert!(pod.open_file("../../secret").is_err());
        assert!(pod.open_file(outside.path().join("secret").to_str().unwrap()).is_err());
    }
}
