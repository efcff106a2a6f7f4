//! Deadlines for PostgreSQL's answers: a server that accepts bytes and never answers must not block the writer.

use std::time::Duration;

use cordwood_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// The server's own limit for a statement of the lane lies below, so that an abandoned session does not keep its locks.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a writer that is to end waits for an answer.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// # Errors
/// Those of `asked`, and that no answer came within `limit`.
pub async fn within<T>(
    store: &Store,
    limit: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(store.no_answer(limit)))
}

/// Within [`ANSWER_MAX`]; sooner where the writer is to end.
///
/// # Errors
/// Those of `asked`, and that no answer came.
pub async fn unless_ending<T>(
    store: &Store,
    shutdown: &CancellationToken,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let hurry = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_PATIENCE).await;
    };
    tokio::select! {
        biased;
        answer = within(store, ANSWER_MAX, asked) => answer,
        () = hurry => Err(store.no_answer(ANSWER_MAX)),
    }
}

/// False: the writer is to end.
pub async fn pause(shutdown: &CancellationToken, pause: Duration) -> bool {
    shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
}
