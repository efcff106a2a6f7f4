//! Groups the names in a folder into logs: for containers by restart count, for other programs by live file (a name that is no
//! rotated file of another).

use std::collections::HashSet;

use cordwood_core::rotation::live::{live_files, restart_counts};

use crate::discover::{FolderKey, Pattern};
use crate::folder::Folder;
use crate::source::{Source, parse_pod_folder};

/// The logs that a folder's names belong to. `known`: keys of the logs that are read, or were before this start.
pub fn sources<'a>(
    key: &FolderKey,
    names: &[String],
    folder: Option<&Folder>,
    patterns: &[Pattern],
    known: impl Iterator<Item = &'a str>,
) -> Vec<Source> {
    match key {
        FolderKey::Container { pod_folder, container } => of_containers(pod_folder, container, names),
        FolderKey::Plain(index) => of_pattern(&patterns[..=*index], names, folder, known),
    }
}

/// Those of the last of these patterns: what an earlier one names is that one's.
fn of_pattern<'a>(
    patterns: &[Pattern],
    names: &[String],
    folder: Option<&Folder>,
    known: impl Iterator<Item = &'a str>,
) -> Vec<Source> {
    let Some((pattern, earlier)) = patterns.split_last() else { return Vec::new() };
    let path = |name: &str| format!("{}/{name}", pattern.folder.display()).replace("//", "/");
    let is_ours = |name: &str| {
        let path = path(name);
        pattern.matcher.is_match(&path) && !earlier.iter().any(|other| other.matcher.is_match(&path))
    };
    let prefix = format!("file:{}", path(""));
    let known: HashSet<&str> = known
        .filter_map(|key| key.strip_prefix(&prefix))
        .filter(|name| !name.contains('/') && is_ours(name))
        .collect();
    let is_file = |name: &str| folder.is_some_and(|folder| folder.stat(name).is_ok_and(|stat| stat.regular));
    let lives = live_files(names, &known, is_ours, is_file);
    lives.iter().map(|name| Source::File { path: path(name), input: pattern.input }).collect()
}

fn of_containers(pod_folder: &str, container: &str, names: &[String]) -> Vec<Source> {
    let Some((namespace, pod, uid)) = parse_pod_folder(pod_folder) else { return Vec::new() };
    let source = |restart_count| Source::Container {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: uid.to_owned(),
        container: container.to_owned(),
        restart_count,
    };
    restart_counts(names.iter().map(String::as_str)).into_iter().map(source).collect()
}
