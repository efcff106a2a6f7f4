//! The transaction of a search: one snapshot from its first statement to its last, and few locks at any time. Rolling back to a
//! savepoint lets go of the locks that were taken since, and keeps the snapshot.

use std::time::Duration;

use futures::future::join;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::list;
use crate::error::StoreError;

/// The budget is looked at between statements; a single one that takes this much longer is ended by PostgreSQL.
const STATEMENT_MS_MAX: u64 = 30_000;
/// How long one waits for a table that somebody changes: less than the budget, so that there is time for the others.
const LOCK_BUDGET_PARTS: u64 = 8;
const LOCK_MS_MIN: u64 = 200;
const LOCK_MS_MAX: u64 = 5_000;
/// PostgreSQL's settings are 32-bit.
const MS_MAX: u64 = i32::MAX as u64;

/// Table partitions of a window at the most, and those that a search holds locks of at a time.
pub(super) const LEAVES_MAX: usize = 128;

pub(super) struct Session<'t> {
    pub transaction: &'t Transaction<'t>,
    /// Table partitions that statements since the savepoint looked at, at the most.
    leaves: usize,
}

impl<'t> Session<'t> {
    pub fn new(transaction: &'t Transaction<'t>) -> Session<'t> {
        Session { transaction, leaves: 0 }
    }

    /// What is sent ahead of a search's first statement.
    pub fn settings(budget: Duration) -> String {
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(MS_MAX);
        let statement_ms = budget_ms.saturating_add(STATEMENT_MS_MAX).min(MS_MAX);
        let lock_ms = (budget_ms / LOCK_BUDGET_PARTS).clamp(LOCK_MS_MIN, LOCK_MS_MAX);
        format!(
            "set local statement_timeout = {statement_ms}; set local lock_timeout = {lock_ms}; {}; savepoint searched",
            list::SETTINGS
        )
    }

    /// Before a statement over so many table partitions.
    pub async fn make_room(&mut self, leaves: usize) -> Result<(), StoreError> {
        if self.leaves > 0 && self.leaves + leaves > LEAVES_MAX {
            self.let_go().await?;
        }
        self.leaves += leaves;
        Ok(())
    }

    /// Lets go of all locks; also after a statement has failed.
    pub async fn let_go(&mut self) -> Result<(), StoreError> {
        self.leaves = 0;
        self.transaction
            .batch_execute("rollback to savepoint searched")
            .await
            .map_err(StoreError::sql("let go of the locks of", "a search"))
    }
}

/// Two that were sent together. Of two errors the one that is no consequence of the other: what comes after a statement that failed
/// is refused in the same transaction.
pub(super) async fn both<A, B>(
    a: impl Future<Output = Result<A, StoreError>>,
    b: impl Future<Output = Result<B, StoreError>>,
) -> Result<(A, B), StoreError> {
    match join(a, b).await {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(error), Err(other)) if is_refused(&error) => Err(other),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn is_refused(error: &StoreError) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// The statement took too long, or waited too long for a table.
pub(super) fn is_too_slow(error: &StoreError) -> bool {
    error.code().is_some_and(|code| [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code))
}

/// A table partition was dropped between being listed and being read.
pub(super) fn is_gone(error: &StoreError) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
