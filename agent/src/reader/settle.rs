//! Cleans up once a second: sends records whose ends do not come, closes files that are read and acknowledged, and removes logs that have
//! ended.
//! Promise: deleted files that the agent holds open take at most `read.held_removed_bytes_max`. Beyond that, the log that holds the most
//! closes its oldest one.

use super::folders::Folders;
use super::logs::Logs;
use super::shared::Shared;
use crate::container_log::ContainerLog;

/// How long a file that is read and acknowledged stays open in case it still grows, as a multiple of `read.rotation_grace_ms`.
const SETTLE_GRACES: i64 = 10;

pub(super) fn settle(logs: &mut Logs, folders: &mut Folders, shared: &mut Shared) {
    let (clock, read) = (shared.clock(), &shared.config().read);
    let linger_ms = SETTLE_GRACES * read.rotation_grace_ms as i64;
    let wait_ms = read.unfinished_wait_ms as i64;
    let ids: Vec<u64> = logs.active().iter().copied().collect();
    for id in ids {
        let Some(log) = logs.get_mut(id) else { continue };
        let before = log.files().len();
        log.flush_overdue(wait_ms, &mut shared.turn());
        log.settle(clock, linger_ms);
        let (has_changed, is_over) = (log.files().len() != before, log.is_over());
        if has_changed {
            logs.set_changed();
        }
        if is_over {
            logs.remove(id);
            folders.try_left_out();
        }
    }
    close_removed(logs, folders, shared);
}

fn close_removed(logs: &mut Logs, folders: &mut Folders, shared: &mut Shared) {
    loop {
        let held = |log: &ContainerLog| log.files().held_removed().map(|(_, bytes)| bytes).sum::<u64>();
        let total: u64 = logs.iter().map(held).sum();
        if total <= shared.config().read.held_removed_bytes_max {
            return;
        }
        let Some(log) = logs.iter_mut().max_by_key(|log| held(log)) else { return };
        if !log.close_oldest_removed(&mut shared.turn()) {
            return;
        }
        let id = log.number();
        logs.set_changed();
        // Looks at the folder again, to continue in the packed copy if there is one.
        let folder = logs.folders().find(|(_, ids)| ids.contains(&id)).map(|(key, _)| key.clone());
        if let Some(key) = folder {
            folders.refresh(&key, None, logs, shared);
        }
    }
}
