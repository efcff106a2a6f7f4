//! What PostgreSQL's errors mean to the writer: the causes that `cordwood_core::recovery` decides by.

use cordwood_core::recovery::{Cause, Failure};
use cordwood_store::StoreError;
use cordwood_store::commit::CommitError;

/// A transaction failed. `messages` and `next_offsets`: of what it holds. `late`: no answer came in time.
pub fn of_commit(error: &CommitError, late: bool, messages: u64, next_offsets: Vec<(u32, u64)>) -> Failure {
    let (cause, timed_out) = match error {
        CommitError::Fenced { .. } => (Cause::Fenced, false),
        CommitError::Overlap { .. } => (Cause::Overlap, false),
        CommitError::Lane { .. } => (Cause::Lane, false),
        CommitError::Unknown(store) => (Cause::Unknown, is_timeout(store)),
        CommitError::Store(store) => (cause(store), is_timeout(store)),
    };
    let took_too_long = late || timed_out;
    Failure { cause, why: error.to_string(), took_too_long, messages, next_offsets }
}

/// Watermarks and origins of messages could not be read.
pub fn of_read(error: &StoreError, messages: u64, next_offsets: Vec<(u32, u64)>) -> Failure {
    // It is not larger for a larger transaction.
    Failure { cause: cause(error), why: error.to_string(), took_too_long: false, messages, next_offsets }
}

fn cause(error: &StoreError) -> Cause {
    // PostgreSQL's classes 22 (data exception), 23 (constraint) and 54 (a limit of its own): what was sent is at fault. What the store
    // itself refuses was never sent: trying the same again is no use either.
    let is_refusal = error
        .code()
        .is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)));
    match is_refusal || matches!(error, StoreError::Invalid(_)) {
        true => Cause::Refused,
        false => Cause::Unavailable,
    }
}

/// PostgreSQL ended the statement by its own limit.
fn is_timeout(error: &StoreError) -> bool {
    error.code() == Some(&StoreError::STATEMENT_TIMEOUT)
}
