//! The transaction of a search: one snapshot from its first statement to its last, and a bounded number of locks at any time. A rollback
//! to the savepoint releases the locks that the search took since, and keeps the snapshot.

use std::time::Duration;

use futures::future::join;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::list;
use crate::error::StoreError;

/// The search checks its budget between statements. PostgreSQL ends a single statement that runs this much longer than the budget.
const STATEMENT_GRACE_MS: u64 = 30_000;
/// A statement waits for a lock at most for the budget divided by this, so that time is left for the other tables.
const LOCK_BUDGET_PARTS: u64 = 8;
const LOCK_MS_MIN: u64 = 200;
const LOCK_MS_MAX: u64 = 5_000;
/// PostgreSQL's settings are 32-bit.
const MS_MAX: u64 = i32::MAX as u64;

/// The most table partitions of a window, and the most whose locks a search holds at a time.
pub(super) const LEAVES_MAX: usize = 128;

pub(super) struct Session<'t> {
    pub transaction: &'t Transaction<'t>,
    /// An upper bound of the table partitions that statements have locked since the savepoint.
    leaves: usize,
}

impl<'t> Session<'t> {
    pub fn new(transaction: &'t Transaction<'t>) -> Session<'t> {
        Session { transaction, leaves: 0 }
    }

    /// The statements that a search sends ahead of its first query: timeouts, planner settings and the savepoint.
    pub fn settings(budget: Duration) -> String {
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(MS_MAX);
        let statement_ms = budget_ms.saturating_add(STATEMENT_GRACE_MS).min(MS_MAX);
        let lock_ms = (budget_ms / LOCK_BUDGET_PARTS).clamp(LOCK_MS_MIN, LOCK_MS_MAX);
        format!(
            "set local statement_timeout = {statement_ms}; set local lock_timeout = {lock_ms}; {}; savepoint searched",
            list::SETTINGS
        )
    }

    /// Call it before a statement over so many table partitions. It releases the locks of earlier statements where the bound would be
    /// exceeded.
    pub async fn reserve_locks(&mut self, leaves: usize) -> Result<(), StoreError> {
        if self.leaves > 0 && self.leaves + leaves > LEAVES_MAX {
            self.rollback_to_savepoint().await?;
        }
        self.leaves += leaves;
        Ok(())
    }

    /// Releases all locks on tables. After a failed statement it also makes the transaction usable again.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.leaves = 0;
        self.transaction
            .batch_execute("rollback to savepoint searched")
            .await
            .map_err(StoreError::sql("roll back to the savepoint of", "a search"))
    }
}

/// Waits for two pipelined statements. If both fail, returns the cause: after a failed statement PostgreSQL refuses every later one of the
/// same transaction.
pub(super) async fn both<A, B>(
    a: impl Future<Output = Result<A, StoreError>>,
    b: impl Future<Output = Result<B, StoreError>>,
) -> Result<(A, B), StoreError> {
    match join(a, b).await {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(error), Err(other)) if is_aborted_transaction(&error) => Err(other),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn is_aborted_transaction(error: &StoreError) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// The statement exceeded `statement_timeout`, or `lock_timeout` while it waited for a table.
pub(super) fn is_timeout(error: &StoreError) -> bool {
    error.code().is_some_and(|code| [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code))
}

/// The operator dropped a table partition after the search had listed it and before it read it.
pub(super) fn is_dropped_table(error: &StoreError) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
