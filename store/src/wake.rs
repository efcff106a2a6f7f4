//! Notifies followers of the store after a commit. No follower depends on it: without a notification it looks at an interval.

use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};

use crate::connect::Store;
use crate::error::StoreError;

const CHANNEL: &str = "cordwood_fresh";

/// Sent behind COMMIT, not within the transaction: PostgreSQL lets one transaction that notifies commit at a time.
pub(crate) const NOTIFY: &str = "notify cordwood_fresh";

/// Hears of commits, in a session of its own.
pub struct Wakes {
    /// The session ends with it.
    _client: Client,
    heard: mpsc::Receiver<()>,
}

impl Wakes {
    /// # Errors
    /// When PostgreSQL does not answer, or does not let this session listen (a replica does not).
    pub async fn listen(store: &Store) -> Result<Wakes, StoreError> {
        // One that waits stands for all.
        let (say, heard) = mpsc::channel(1);
        let told = move |message| {
            if matches!(message, AsyncMessage::Notification(_)) {
                say.try_send(()).ok();
            }
        };
        let client = store.session("cordwood wakes", told).await?;
        let listen = format!("listen {CHANNEL}");
        client.batch_execute(&listen).await.map_err(StoreError::sql("listen to", CHANNEL))?;
        Ok(Wakes { _client: client, heard })
    }

    /// When something was committed; `None` when the session has ended.
    pub async fn next(&mut self) -> Option<()> {
        self.heard.recv().await
    }
}
