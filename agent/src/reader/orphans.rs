//! Finds logs of the checkpoint whose pods or files were deleted while the agent was not running. It looks for each log by itself, so a
//! folder that cannot be read delays no other log.
//! Promise: bytes of such a log that were not read, or may not have been, become a loss.

use std::io;
use std::path::Path;

use cordwood_core::rotation::gone::is_log_gone;

use super::folders::{Folders, log_of};
use super::logs::Logs;
use super::shared::Shared;
use crate::discover::FolderKey;
use crate::folder::Folder;
use crate::source::{Source, pod_folder};

/// Whether a log of the checkpoint still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// No file of the log has a name any more.
    Gone,
    /// The log exists, or its folder cannot be read. The next scan looks again.
    Unknown,
}

impl Place {
    /// Decides by the names in the log's folder, or by the error of listing them.
    fn of(names: io::Result<Vec<String>>, live: &str) -> Place {
        match names {
            Ok(names) if is_log_gone(live, names.iter().map(String::as_str)) => Place::Gone,
            Ok(_) => Place::Unknown,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Place::Gone,
                _ => Place::Unknown,
            },
        }
    }
}

/// Takes over logs of the checkpoint that are gone, so that their unread bytes become losses. `complete`: the last scan has read every
/// folder completely.
pub(super) fn adopt(complete: bool, logs: &mut Logs, folders: &Folders, shared: &mut Shared) {
    for key in logs.unseen_keys() {
        let Some(resume) = logs.unseen(&key) else { continue };
        let source = Source::of_checkpoint(resume);
        let is_gone = match &source {
            // A plain file that no setting names any more, or that its pattern leaves out, still exists.
            Some(source) if source.is_plain() => place_of(source, folders) == Place::Gone,
            Some(source) => complete || place_of(source, folders) == Place::Gone,
            None => complete,
        };
        if !is_gone {
            continue;
        }
        let unread = resume.files.iter().any(|file| !file.done);
        let Some(source) = source.filter(|_| unread) else {
            forget(&key, logs, shared);
            continue;
        };
        let id = log_of(source, logs, shared);
        if let Some(log) = logs.get_mut(id) {
            let _ = log.refresh(None, &mut shared.turn());
            logs.activate(id);
        }
        logs.set_changed();
    }
}

fn place_of(source: &Source, folders: &Folders) -> Place {
    let live = source.live_name();
    match source {
        Source::Container { namespace, pod, uid, container, .. } => {
            if !folders.has_root() {
                return Place::Unknown;
            }
            let pod_folder = pod_folder(namespace, pod, uid);
            let key = FolderKey::Container { pod_folder, container: container.clone() };
            Place::of(folders.open(&key).and_then(|folder| folder.names()), &live)
        }
        Source::File { path, .. } => {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
            Place::of(Folder::open_root(folder).and_then(|folder| folder.names()), &live)
        }
    }
}

/// Forgets a log of which no loss can be recorded: all of it was read, or a checkpoint of version 1 does not say whose it was.
fn forget(key: &str, logs: &mut Logs, shared: &mut Shared) {
    let Some(log) = logs.forget_unseen(key) else { return };
    let lost = log.files.iter().filter(|file| !file.done).count();
    if lost > 0 {
        tracing::error!(
            log = log.key,
            files = lost,
            "files were deleted before the agent had read them to their ends"
        );
    }
    shared.count_vanished(lost);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_run_is_by_a_look_at_its_folder() {
        let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(Place::of(names(&["0.log"]), "0.log"), Place::Unknown);
        assert_eq!(Place::of(names(&["0.log.20261121-022431"]), "0.log"), Place::Unknown);
        assert_eq!(Place::of(names(&["1.log", "10.log"]), "0.log"), Place::Gone);
        assert_eq!(Place::of(names(&[]), "0.log"), Place::Gone);
        assert_eq!(Place::of(Err(io::ErrorKind::NotFound.into()), "0.log"), Place::Gone);
        assert_eq!(Place::of(Err(io::ErrorKind::PermissionDenied.into()), "0.log"), Place::Unknown);
    }
}
