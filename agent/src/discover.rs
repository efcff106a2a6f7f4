//! Which folders hold log files, and when something in them changes: inotify on the tree of pods, and a slow walk over it
//! in case an event was lost.
//! Promises: a new container's folder is reported at once. A lost event delays it by one scan interval. No symbolic link is
//! followed. Without inotify (no watches left) the walk alone finds everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use globset::GlobMatcher;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::config::FileInput;
use crate::folder::{Folder, Links};
use crate::look;

/// A folder whose files are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FolderKey {
    Container {
        pod_folder: String,
        container: String,
    },
    /// Place in the list of patterns.
    Plain(usize),
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub struct Changes {
    pub folders: BTreeSet<FolderKey>,
    /// Logs whose idle file was written to.
    pub logs: Vec<u64>,
    /// Logs whose idle file is not watched any more: it was written to, or is gone.
    pub unwatched: Vec<u64>,
    pub overflowed: bool,
    /// Something that is there could not be looked at.
    pub incomplete: bool,
}

#[derive(Clone, Debug)]
enum Watched {
    Root,
    Pod(String),
    Folder(FolderKey),
    Log(u64),
}

#[derive(Debug, Default)]
struct Seen {
    wd: Option<i32>,
    mtime_ns: i64,
}

#[derive(Debug, Default)]
struct PodFolder {
    seen: Seen,
    /// The scan that was the last one when it was looked into.
    changed_at: u64,
    containers: BTreeMap<String, Seen>,
}

/// One configured path: a folder and a pattern for names in it.
#[derive(Debug)]
pub struct Pattern {
    pub folder: PathBuf,
    pub matcher: GlobMatcher,
    pub input: usize,
    seen: Seen,
}

pub struct Discover {
    inotify: Option<OwnedFd>,
    watched: HashMap<i32, Watched>,
    root: Option<PathBuf>,
    /// Where links below the root may lead.
    docker: Option<PathBuf>,
    root_folder: Option<Folder>,
    root_seen: Seen,
    pods: BTreeMap<String, PodFolder>,
    /// How many scans there were.
    scans: u64,
    pub patterns: Vec<Pattern>,
    warned: bool,
}

impl Discover {
    /// `files` has been checked by [`crate::config::Config::resolve`].
    pub fn new(root: Option<PathBuf>, docker: Option<PathBuf>, files: &[FileInput]) -> Discover {
        let inotify = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(fd) => Some(fd),
            Err(error) => {
                tracing::warn!(%error, "inotify is unavailable: the agent lists the folders at every scan interval instead");
                None
            }
        };
        let mut patterns = Vec::new();
        for (input, file) in files.iter().enumerate() {
            for path in &file.paths {
                let Some(matcher) = globset::Glob::new(path).ok().map(|glob| glob.compile_matcher()) else {
                    continue;
                };
                let Some(folder) = crate::config::folder_of(path) else { continue };
                patterns.push(Pattern { folder, matcher, input, seen: Seen::default() });
            }
        }
        Discover {
            inotify,
            watched: HashMap::new(),
            root,
            docker,
            root_folder: None,
            root_seen: Seen::default(),
            pods: BTreeMap::new(),
            scans: 0,
            patterns,
            warned: false,
        }
    }

    /// For `poll`.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// The pods' folder is open, so that it is known what is in it; or none is read.
    pub fn has_root(&self) -> bool {
        self.root.is_none() || self.root_folder.is_some()
    }

    pub fn open(&self, key: &FolderKey) -> io::Result<Folder> {
        match key {
            FolderKey::Container { pod_folder, container } => self
                .root_folder
                .as_ref()
                .ok_or(io::ErrorKind::NotFound)?
                .open_folder(&format!("{pod_folder}/{container}")),
            FolderKey::Plain(index) => Folder::open_root(&self.patterns[*index].folder),
        }
    }

    /// Asks to be told once when the file is written to. False: nobody will tell.
    pub fn watch_file(&mut self, file: &std::fs::File, log: u64) -> bool {
        self.watch(file.as_fd(), WatchFlags::MODIFY | WatchFlags::ONESHOT, Watched::Log(log)).is_some()
    }

    /// Takes what inotify has to tell.
    pub fn events(&mut self, changes: &mut Changes) {
        let mut touched = Vec::new();
        if let Some(fd) = &self.inotify {
            let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
            let mut reader = inotify::Reader::new(fd, &mut buffer);
            while let Ok(event) = reader.next() {
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    changes.overflowed = true;
                } else if event.events().contains(ReadFlags::IGNORED) {
                    if let Some(Watched::Log(log)) = self.watched.remove(&event.wd()) {
                        changes.unwatched.push(log);
                    }
                } else if let Some(watched) = self.watched.get(&event.wd()) {
                    match watched {
                        Watched::Log(log) => changes.logs.push(*log),
                        Watched::Folder(FolderKey::Plain(_)) => {
                            // One folder is watched once, and several patterns may be about files in it.
                            let same = |pattern: &&Pattern| pattern.seen.wd == Some(event.wd());
                            let keys = self.patterns.iter().enumerate().filter(|(_, pattern)| same(pattern));
                            changes.folders.extend(keys.map(|(index, _)| FolderKey::Plain(index)));
                        }
                        Watched::Folder(key) => {
                            changes.folders.insert(key.clone());
                        }
                        Watched::Root | Watched::Pod(_) => touched.push(watched.clone()),
                    }
                }
            }
        }
        let mut done = BTreeSet::new();
        let mut root = false;
        for watched in touched {
            match watched {
                Watched::Pod(name) => {
                    if done.insert(name.clone()) {
                        self.scan_pod(&name, changes, true);
                    }
                }
                _ => root = true,
            }
        }
        if root {
            self.scan_root(changes, true);
        }
        if changes.overflowed
            && let Err(error) = self.scan(changes, true)
        {
            tracing::warn!(%error, "walk the folders after an overflow");
        }
    }

    /// Walks over everything whose time of change differs from the last look (or over everything, by `force`).
    ///
    /// # Errors
    /// When the pods' folder itself cannot be opened.
    pub fn scan(&mut self, changes: &mut Changes, force: bool) -> io::Result<()> {
        self.scans += 1;
        for index in 0..self.patterns.len() {
            let folder = match Folder::open_root(&self.patterns[index].folder) {
                Ok(folder) => folder,
                Err(error) => {
                    changes.incomplete |= error.kind() != io::ErrorKind::NotFound;
                    continue;
                }
            };
            let key = FolderKey::Plain(index);
            // A folder that was removed and made again took its watch with it.
            if self.patterns[index].seen.wd.is_none_or(|wd| !self.watched.contains_key(&wd)) {
                self.patterns[index].seen.wd = self.watch_folder(&folder, Watched::Folder(key.clone()));
            }
            let mtime_ns = mtime_of(&folder);
            let seen = &mut self.patterns[index].seen;
            if force || seen.mtime_ns != mtime_ns {
                seen.mtime_ns = mtime_ns;
                changes.folders.insert(key);
            }
        }
        if self.root.is_none() {
            return Ok(());
        }
        if let Some(root) = &self.root
            && self.root_folder.as_ref().is_none_or(Folder::is_removed)
        {
            self.root_folder = None;
            let folder = Folder::open_root(root)
                .map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", root.display())))?;
            let links = self.docker.as_deref().map(Links::open).transpose().map_err(|error| {
                let docker = self.docker.as_deref().unwrap_or(root);
                io::Error::new(error.kind(), format!("open {} (docker_dir): {error}", docker.display()))
            })?;
            let folder = folder.with_links(links);
            self.root_seen = Seen { wd: self.watch_folder(&folder, Watched::Root), mtime_ns: 0 };
            self.root_folder = Some(folder);
        }
        self.scan_root(changes, force);
        let changed = self.pods.iter().zip(0..).filter(|((name, pod), number)| {
            force || (self.is_due(*number, pod) && !self.is_as_seen(name, pod))
        });
        let changed: Vec<String> = changed.map(|((name, _), _)| name.clone()).collect();
        for name in changed {
            self.scan_pod(&name, changes, force);
        }
        Ok(())
    }

    fn scan_root(&mut self, changes: &mut Changes, force: bool) {
        let Some(folder) = &self.root_folder else { return };
        let mtime_ns = mtime_of(folder);
        if !force && self.root_seen.mtime_ns == mtime_ns {
            return;
        }
        let names = match folder.names() {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "list the pods' folder");
                changes.incomplete = true;
                return;
            }
        };
        self.root_seen.mtime_ns = mtime_ns;
        let names: BTreeSet<String> =
            names.into_iter().filter(|name| crate::source::parse_pod_folder(name).is_some()).collect();
        let gone: Vec<String> = self.pods.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(pod) = self.pods.remove(&name) {
                for container in pod.containers.into_keys() {
                    changes.folders.insert(FolderKey::Container { pod_folder: name.clone(), container });
                }
            }
        }
        for name in names {
            if !self.pods.contains_key(&name) {
                self.pods.insert(name.clone(), PodFolder::default());
                self.scan_pod(&name, changes, true);
            }
        }
    }

    /// Whether this scan looks at a pod's folder. One that is not watched, or of whose links nobody is told, is looked at in each.
    fn is_due(&self, number: u64, pod: &PodFolder) -> bool {
        let is_watched = |seen: &Seen| seen.wd.is_some_and(|wd| self.watched.contains_key(&wd));
        let is_told =
            self.docker.is_none() && is_watched(&pod.seen) && pod.containers.values().all(is_watched);
        !is_told || look::is_folder_due(number, pod.changed_at, self.scans)
    }

    /// Whether a look into a pod's folder can bring nothing new: it and its containers' folders are watched, and nothing in them was
    /// made, renamed or removed. (Most folders of most nodes, at every scan.)
    fn is_as_seen(&self, name: &str, pod: &PodFolder) -> bool {
        let Some(root) = &self.root_folder else { return false };
        let is_same = |seen: &Seen, path: &str| {
            seen.wd.is_some_and(|wd| self.watched.contains_key(&wd))
                && root.changed_ns_of(path) == Some(seen.mtime_ns)
        };
        let mut path = String::with_capacity(name.len() + 64);
        path.push_str(name);
        is_same(&pod.seen, &path)
            && pod.containers.iter().all(|(container, seen)| {
                path.truncate(name.len());
                path.push('/');
                path.push_str(container);
                is_same(seen, &path)
            })
    }

    fn scan_pod(&mut self, name: &str, changes: &mut Changes, force: bool) {
        let Some(root) = &self.root_folder else { return };
        let folder = match root.open_folder(name) {
            Ok(folder) => folder,
            Err(error) => {
                changes.incomplete |= error.kind() != io::ErrorKind::NotFound;
                return;
            }
        };
        // The watch comes before the look, so that nothing falls between them.
        if self.pods.get(name).is_some_and(|pod| pod.seen.wd.is_none_or(|wd| !self.watched.contains_key(&wd)))
        {
            let wd = self.watch_folder(&folder, Watched::Pod(name.to_owned()));
            if let Some(pod) = self.pods.get_mut(name) {
                pod.seen.wd = wd;
            }
        }
        let mtime_ns = mtime_of(&folder);
        let scans = self.scans;
        let Some(pod) = self.pods.get_mut(name) else { return };
        pod.changed_at = scans;
        let mut containers: Vec<String> = pod.containers.keys().cloned().collect();
        if force || pod.seen.mtime_ns != mtime_ns {
            let Ok(names) = folder.names() else {
                changes.incomplete = true;
                return;
            };
            pod.seen.mtime_ns = mtime_ns;
            for container in containers.iter().filter(|container| !names.contains(container)) {
                pod.containers.remove(container);
                let (pod_folder, container) = (name.to_owned(), container.clone());
                changes.folders.insert(FolderKey::Container { pod_folder, container });
            }
            containers = names;
        }
        for container in containers {
            let inner = match folder.open_folder(&container) {
                Ok(inner) => inner,
                Err(error) => {
                    // (A link is not followed; a file beside the containers' folders is none.)
                    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
                    let is_none =
                        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                    changes.incomplete |= !is_link && !is_none;
                    continue;
                }
            };
            let key = FolderKey::Container { pod_folder: name.to_owned(), container: container.clone() };
            let known = self.pods.get(name).and_then(|pod| pod.containers.get(&container));
            // A folder that was removed and made again took its watch with it.
            let wd = match known.and_then(|seen| seen.wd).filter(|wd| self.watched.contains_key(wd)) {
                Some(wd) => Some(wd),
                None => self.watch_folder(&inner, Watched::Folder(key.clone())),
            };
            // (A number to compare: the folder's own time, and what its links lead to.)
            let mtime_ns = mtime_of(&inner).wrapping_add(inner.linked_inodes().cast_signed());
            let Some(pod) = self.pods.get_mut(name) else { return };
            let seen = pod.containers.entry(container).or_default();
            seen.wd = wd;
            if force || seen.mtime_ns != mtime_ns {
                seen.mtime_ns = mtime_ns;
                changes.folders.insert(key);
            }
        }
    }

    fn watch_folder(&mut self, folder: &Folder, as_what: Watched) -> Option<i32> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        self.watch(folder.as_fd(), flags, as_what)
    }

    /// Watches what is open here, whatever its name is by now.
    fn watch(&mut self, fd: BorrowedFd<'_>, flags: WatchFlags, as_what: Watched) -> Option<i32> {
        let inotify = self.inotify.as_ref()?;
        match inotify::add_watch(inotify, format!("/proc/self/fd/{}", fd.as_raw_fd()), flags) {
            Ok(wd) => {
                self.watched.insert(wd, as_what);
                Some(wd)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(%error, "add inotify watch (fs.inotify.max_user_watches?): slower from here on");
                }
                None
            }
        }
    }
}

fn mtime_of(folder: &Folder) -> i64 {
    rustix::fs::fstat(folder).map_or(0, |stat| {
        stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
    })
}
