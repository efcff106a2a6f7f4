//! Opening files below a folder without ever being led out of it: no symbolic links, regular files only.
//! Docker keeps the logs of containers elsewhere and puts links to them: such a link is followed where that folder is named,
//! into it and nowhere else.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cordwood_core::log_names::older_suffix;
use cordwood_core::rotation::Inode;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, ResolveFlags};
use rustix::io::Errno;

/// A folder that log files lie in, held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    links: Option<Arc<Links>>,
}

/// The folder that links may lead into.
#[derive(Debug)]
pub struct Links {
    /// As links name it.
    path: PathBuf,
    fd: OwnedFd,
}

impl Links {
    pub fn open(path: &Path) -> io::Result<Arc<Links>> {
        Ok(Arc::new(Links { path: path.to_owned(), fd: open_folder_at(path)? }))
    }

    /// What a link's target is below the folder. (That nothing leads out of it is for the kernel to see to.)
    fn below<'a>(&self, target: &'a [u8]) -> Option<&'a [u8]> {
        let below = target.strip_prefix(self.path.as_os_str().as_bytes())?.strip_prefix(b"/")?;
        (!below.is_empty()).then_some(below)
    }
}

fn open_folder_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

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

impl Stat {
    pub fn inode(&self) -> Inode {
        (self.dev, self.ino)
    }
}

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Folder {
    /// The configured folder itself may be reached over symbolic links: the administrator who configured it meant it.
    pub fn open_root(path: &Path) -> io::Result<Folder> {
        Ok(Folder { fd: open_folder_at(path)?, links: None })
    }

    /// Links in it and below it may lead there.
    pub fn with_links(self, links: Option<Arc<Links>>) -> Folder {
        Folder { links, ..self }
    }

    pub fn open_folder(&self, below: &str) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat2(&self.fd, below, flags, Mode::empty(), INSIDE)?;
        Ok(Folder { fd, links: self.links.clone() })
    }

    /// A regular file. (A pipe is opened without waiting for its writer, and refused.)
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // A file that is written to all the time would get another time of access at nearly every look.
        let fd = match self.open_as(name, flags | OFlags::NOATIME) {
            // (That is for the file's owner to say.)
            Err(Errno::PERM) => self.open_as(name, flags)?,
            opened => opened?,
        };
        let file = File::from(fd);
        if stat_of(&file)?.regular {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }

    fn open_as(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), INSIDE) {
            Err(Errno::LOOP) if self.links.is_some() => self.follow(name, flags),
            opened => opened,
        }
    }

    /// What a link in this folder leads to, if that lies in the folder for it.
    fn follow(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let links = self.links.as_ref().ok_or(Errno::LOOP)?;
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new())?;
        let below = links.below(target.as_bytes()).ok_or(Errno::LOOP)?;
        rustix::fs::openat2(&links.fd, below, flags, Mode::empty(), INSIDE)
    }

    /// Of a link that may be followed what it leads to.
    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        let own = stat(&rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?);
        if own.link
            && self.links.is_some()
            && let Ok(led_to) = self.follow(name, OFlags::PATH | OFlags::CLOEXEC)
        {
            return Ok(stat(&rustix::fs::fstat(&led_to)?));
        }
        Ok(own)
    }

    /// When something in a folder below this one was made, renamed or removed last; `None` where there is no folder, or where links
    /// may be followed, of which a folder's own time says nothing. The folder is not opened: many are looked at that did not
    /// change. (Only the last part of `below` is looked at without following links: what is opened later is opened without.)
    pub fn changed_ns_of(&self, below: &str) -> Option<i64> {
        if self.links.is_some() {
            return None;
        }
        let found = rustix::fs::statat(&self.fd, below, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_folder = FileType::from_raw_mode(found.st_mode as RawMode) == FileType::Directory;
        is_folder.then(|| stat(&found).mtime_ns)
    }

    /// Changes when a link in it leads to another file than before: the folder itself tells nothing of that.
    pub fn linked_inodes(&self) -> u64 {
        if self.links.is_none() {
            return 0;
        }
        let names = self.names().unwrap_or_default();
        let inodes = names.iter().filter_map(|name| self.stat(name).ok()).map(|stat| stat.ino);
        inodes.fold(0, |sum, ino| sum.wrapping_mul(31).wrapping_add(ino))
    }

    /// Names of what lies in it, that are UTF-8 (no runtime and no kubelet makes others).
    pub fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.list()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Names and inodes, by name.
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push((name.to_owned(), entry.ino()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Lists it, once for all who ask for names in it.
    pub fn look(&self) -> io::Result<Look> {
        Ok(Look { names: self.list()? })
    }

    /// A folder that was removed while it is held open has no links left.
    pub fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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

/// What a folder held at one moment.
#[derive(Debug, Default)]
pub struct Look {
    /// By name.
    names: Vec<(String, u64)>,
}

impl Look {
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|(other, _)| other.as_str().cmp(name)).is_ok()
    }

    /// The name `live` and those of its older files.
    pub fn names_like(&self, live: &str) -> impl Iterator<Item = &str> {
        self.like(live).map(|(name, _)| name.as_str())
    }

    /// Another one when any of these names stands for another file.
    pub fn mark_of(&self, live: &str) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for (name, ino) in self.like(live) {
            hash.update(name.as_bytes());
            hash.update(&[0]);
            hash.update(&ino.to_le_bytes());
        }
        hash.digest()
    }

    fn like(&self, live: &str) -> impl Iterator<Item = &(String, u64)> {
        // All of them begin as the live one does before its extension: a date may stand there.
        let stem = live.rsplit_once('.').map_or(live, |(stem, _)| stem);
        let from = self.names.partition_point(|(name, _)| name.as_str() < stem);
        let rest = self.names[from..].iter().take_while(move |(name, _)| name.starts_with(stem));
        rest.filter(move |(name, _)| name == live || older_suffix(live, name).is_some())
    }
}

/// The looks at a folder of which all of its logs speak.
pub struct Looks<'a> {
    pub first: &'a Look,
    second: OnceCell<Look>,
}

impl<'a> Looks<'a> {
    pub fn new(first: &'a Look) -> Looks<'a> {
        Looks { first, second: OnceCell::new() }
    }

    /// Made when somebody asks for it: what differs from the first moved meanwhile.
    pub fn second(&self, folder: &Folder) -> io::Result<&Look> {
        if let Some(second) = self.second.get() {
            return Ok(second);
        }
        let second = folder.look()?;
        Ok(self.second.get_or_init(|| second))
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

    /// Docker's layout, and links that somebody put beside it.
    #[test]
    fn a_link_leads_into_the_folder_for_it_and_nowhere_else() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["pods/pod/app", "docker/containers/id", "docker/containers-of-another", "docker/other"]
        {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("docker/containers/id/id-json.log"), "{}\n").unwrap();
        for secret in ["docker/other/secret", "docker/containers-of-another/secret"] {
            std::fs::write(at(secret), "s").unwrap();
        }
        symlink(at("docker/other/secret"), at("docker/containers/id/link")).unwrap();
        symlink(at("docker/other"), at("docker/containers/out")).unwrap();
        let link =
            |target: &str, name: &str| symlink(at(target), at(&format!("pods/pod/app/{name}"))).unwrap();
        link("docker/containers/id/id-json.log", "0.log");
        let elsewhere = [
            ("docker/other/secret", "another folder"),
            ("docker/containers/../other/secret", "through the parent"),
            ("docker/containers-of-another/secret", "a folder whose name begins alike"),
            ("docker/containers/id/link", "over a second link"),
            ("docker/containers/out/secret", "over a linked folder"),
            ("docker/containers/id", "a folder"),
            ("docker/containers/none", "nothing"),
        ];
        for (place, (target, _)) in elsewhere.iter().enumerate() {
            link(target, &format!("{}.log", place + 1));
        }
        symlink("../../../docker/containers/id/id-json.log", at("pods/pod/app/relative.log")).unwrap();

        let links = Links::open(&at("docker/containers")).unwrap();
        let app = |links: Option<Arc<Links>>| {
            Folder::open_root(&at("pods")).unwrap().with_links(links).open_folder("pod/app").unwrap()
        };
        let followed = app(Some(links));
        assert!(followed.open_file("0.log").is_ok() && followed.stat("0.log").unwrap().regular);
        for (place, (_, what)) in elsewhere.iter().enumerate() {
            let name = format!("{}.log", place + 1);
            assert!(followed.open_file(&name).is_err(), "{what}");
            assert!(!followed.stat(&name).unwrap().regular, "{what}");
        }
        assert!(followed.open_file("relative.log").is_err(), "no runtime writes such links");
        let not_followed = app(None);
        assert!(not_followed.open_file("0.log").is_err(), "nobody asked for it");
        // Docker rotates behind the link.
        let before = followed.linked_inodes();
        assert_eq!(before, followed.linked_inodes());
        let log = at("docker/containers/id/id-json.log");
        std::fs::rename(&log, at("docker/containers/id/id-json.log.1")).unwrap();
        std::fs::write(&log, "{}\n").unwrap();
        assert_ne!(before, followed.linked_inodes());
    }

    /// Each of 10,000 files was compared with each of 10,000 names, and the folder was listed for each of them.
    #[test]
    fn a_look_gives_each_file_its_own_names() {
        let folder = tempfile::tempdir().unwrap();
        let others = ["ap.log", "app.log.offset", "app-1.log", "b.logs"];
        for name in
            ["app.log", "app.log.1", "app-20251230.log", "b.log", "b.log.1.gz", "c"].iter().chain(&others)
        {
            std::fs::write(folder.path().join(name), "line\n").unwrap();
        }
        let root = Folder::open_root(folder.path()).unwrap();
        let look = root.look().unwrap();
        let like = |live: &str| look.names_like(live).collect::<Vec<_>>();
        assert_eq!(like("app.log"), ["app-20251230.log", "app.log", "app.log.1"]);
        assert_eq!(like("b.log"), ["b.log", "b.log.1.gz"]);
        assert_eq!(like("c"), ["c"]);
        assert!(look.has("c") && !look.has("ca"));
        assert_eq!(like("d.log"), [""; 0]);
        std::fs::write(folder.path().join("b.log.2"), "line\n").unwrap();
        let later = root.look().unwrap();
        assert_eq!(later.mark_of("app.log"), look.mark_of("app.log"));
        assert_ne!(later.mark_of("b.log"), look.mark_of("b.log"));

        let names: Vec<(String, u64)> = (0..10_000).map(|n| (format!("request-{n:05}.log"), n)).collect();
        let look = Look { names };
        let compared: usize = look.names.iter().map(|(live, _)| look.names_like(live).count()).sum();
        assert_eq!(compared, 10_000, "each file with itself alone");
    }
}
