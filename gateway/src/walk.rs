//! Reads all records of a question, newest first, until its time budget is used up; for counting.

use std::time::{Duration, Instant};

use cordwood_core::origin::Origin;
use cordwood_store::scope::Scope;
use cordwood_store::search::{OwnedRecord, Page};

use crate::Gateway;
use crate::problem::Problem;
use crate::question::Which;

const PAGE_RECORDS: usize = 5_000;
/// Looked at before others have their turn.
const TURN_RECORDS: usize = 250;
/// What a page gets at the least.
const PAGE_BUDGET_MS_MIN: u64 = 10;

/// How far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    pub records: u64,
    /// What is older was not looked at; `None`: all was.
    pub searched_back_to_us: Option<i64>,
}

pub async fn walk(
    gateway: &Gateway,
    scope: &Scope,
    which: &Which,
    budget_ms: u64,
    each: &mut (dyn FnMut(&OwnedRecord, &Origin) + Send),
) -> Result<Walked, Problem> {
    let deadline = Instant::now() + Duration::from_millis(budget_ms);
    let mut page = Page::first(PAGE_RECORDS);
    let mut walked = Walked::default();
    let nowhere = Origin::default();
    loop {
        let left =
            u64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX);
        let budget_ms = left.max(PAGE_BUDGET_MS_MIN);
        let found = gateway.search(scope, &which.filter, which.range, page, budget_ms).await;
        let found = found.map_err(|error| Problem::store(&error))?;
        for records in found.records.chunks(TURN_RECORDS) {
            for record in records {
                each(record, found.origins.get(&record.origin).unwrap_or(&nowhere));
            }
            tokio::task::yield_now().await;
        }
        walked.records += found.records.len() as u64;
        page.after = found.cursor;
        if page.after.is_none() || Instant::now() >= deadline {
            walked.searched_back_to_us = page.after.and(found.searched_to_us);
            return Ok(walked);
        }
    }
}
