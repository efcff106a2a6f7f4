//! The state folder, held by one agent at a time: two agents with one checkpoint would each continue at the other's position and
//! skip lines.
//! Promises: the folder is held until the value is dropped, or until the process ends in whatever way.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "lock";
/// How long the agent before may take to end: one that was told to stop still sends what it has read.
const WAIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

/// Keeps the folder from every other agent.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// # Errors
/// When the folder cannot be made or written, or another process still holds it after ten seconds.
pub async fn hold(folder: &Path) -> io::Result<Held> {
    hold_within(folder, WAIT).await
}

async fn hold_within(folder: &Path, wait: Duration) -> io::Result<Held> {
    fs::create_dir_all(folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(NAME))?;
    let taken = async {
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(STEP).await,
                // (A file system without locks: it stays as it was before there was a lock.)
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!(folder = %folder.display(), "the file system has no locks; no second agent may use this folder");
                    return Ok(());
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    match tokio::time::timeout(wait, taken).await {
        Ok(taken) => taken.map(|()| Held { _lock: lock }),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "another agent holds it; each agent needs a state folder of its own",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_agent_at_a_time_holds_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let soon = Duration::from_millis(100);
        let first = hold_within(folder.path(), soon).await.unwrap();
        let refused = hold_within(folder.path(), soon).await.unwrap_err().to_string();
        assert!(refused.contains("another agent holds it"), "{refused}");
        let (second, ()) = tokio::join!(hold(folder.path()), async {
            tokio::time::sleep(soon).await;
            drop(first);
        });
        second.expect("the one before has ended");
    }
}
