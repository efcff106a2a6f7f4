//! Which runs the names in a folder belong to: of containers their restarts, of other programs' files those that are no older
//! file of another.

use std::collections::{BTreeSet, HashSet};

use cordwood_core::log_names::{has_date_inside, live_names};

use crate::discover::FolderKey;
use crate::folder::Folder;
use crate::reader::Reader;
use crate::source::{Source, parse_pod_folder};

impl Reader {
    /// The runs that a folder's names belong to.
    pub fn sources(&self, key: &FolderKey, names: &[String], folder: Option<&Folder>) -> Vec<Source> {
        match key {
            FolderKey::Container { pod_folder, container } => of_containers(pod_folder, container, names),
            FolderKey::Plain(index) => self.plain_sources(*index, names, folder),
        }
    }

    fn plain_sources(&self, index: usize, names: &[String], folder: Option<&Folder>) -> Vec<Source> {
        let pattern = &self.discover.patterns[index];
        let earlier = &self.discover.patterns[..index];
        let path = |name: &str| format!("{}/{name}", pattern.folder.display()).replace("//", "/");
        let is_ours = |name: &str| {
            let path = path(name);
            pattern.matcher.is_match(&path) && !earlier.iter().any(|other| other.matcher.is_match(&path))
        };
        // A live file may just be renamed, its successor not made yet: then only we know of it.
        let prefix = format!("file:{}", path(""));
        let known = self.by_key.keys().chain(self.resume.keys());
        let known: HashSet<&str> = known
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|name| !name.contains('/') && is_ours(name))
            .collect();
        let here: HashSet<&str> = names.iter().map(String::as_str).collect();
        // (A folder `x` beside `x.1` is nobody's live file, nor is a link `app.log` to the file of today.)
        let is_live = |name: &str| {
            known.contains(name)
                || here.contains(name)
                    && is_ours(name)
                    && folder.is_some_and(|folder| folder.stat(name).is_ok_and(|stat| stat.regular))
        };
        let mut lives = BTreeSet::new();
        for name in names {
            let candidates = live_names(name);
            let live = candidates.iter().find(|live| is_live(live));
            // What was read as a file of its own stays one.
            match live.filter(|live| !(known.contains(name.as_str()) && has_date_inside(live, name))) {
                Some(live) if !here.contains(&**live) => {
                    lives.insert(path(live));
                }
                Some(_) => {}
                None if is_ours(name) => {
                    lives.insert(path(name));
                }
                None => {}
            }
        }
        lives.into_iter().map(|path| Source::File { path, input: pattern.input }).collect()
    }
}

fn of_containers(pod_folder: &str, container: &str, names: &[String]) -> Vec<Source> {
    let Some((namespace, pod, uid)) = parse_pod_folder(pod_folder) else { return Vec::new() };
    let number_of = |name: &String| {
        let (number, rest) = name.split_once('.')?;
        (rest == "log" || rest.starts_with("log.")).then(|| number.parse().ok())?
    };
    let restarts: BTreeSet<u32> = names.iter().filter_map(number_of).collect();
    let source = |restart| Source::Container {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: uid.to_owned(),
        container: container.to_owned(),
        restart,
    };
    restarts.into_iter().map(source).collect()
}
