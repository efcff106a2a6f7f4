//! Measures first pages (the newest 100) and counts through Cordwood's own reader. It compares the number of records found with the number
//! that the corpus planted. Gives the table the median and slowest time, the blocks read, and a note in capitals where records are
//! missing.

use std::time::Instant;

use anyhow::{Context, Result};
use cordwood_core::filter::{self, Filter};
use cordwood_store::Store;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Found, Page, TimeRange, count, search};

use super::super::services::{Sought, Tally};
use super::table::Cell;

pub const PAGE: usize = 100;
pub const BIN_US: i64 = 3_600_000_000;
const BUDGET_MS: u64 = 60_000;

/// One search, and what it has to find.
#[derive(Clone, Debug)]
pub struct Question {
    pub sought: Sought,
    pub text: String,
    pub filter: Filter,
    pub range: TimeRange,
    /// All there are.
    pub matching: u64,
}

/// # Errors
/// A filter that cannot be read.
pub fn questions(trace: &str, range: TimeRange, tally: &Tally) -> Result<Vec<Question>> {
    let question = |sought: Sought| {
        let text = sought.filter(trace);
        let filter = filter::parse(&text).map_err(|error| anyhow::anyhow!("{text}: {error}"))?;
        Ok(Question { sought, text, filter, range, matching: tally.of(sought) })
    };
    Sought::ALL.into_iter().map(question).collect()
}

impl Question {
    /// Its first page, and milliseconds.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn page(&self, store: &Store) -> Result<(Found, f64)> {
        let began = Instant::now();
        let scope = Scope::all(AdminReason::Audit);
        let found = search(store, &scope, &self.filter, self.range, Page::first(PAGE), BUDGET_MS).await?;
        Ok((found, ms(began)))
    }

    /// The median of so many, after one that warms.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn warm(&self, store: &Store, times: usize) -> Result<Cell> {
        let (found, _) = self.page(store).await?;
        let mut all = Vec::new();
        for _ in 0..times {
            all.push(self.page(store).await?.1);
        }
        let (median, slowest) = median(all)?;
        Ok(Cell::new(median, format!("slowest {slowest:.1}, {}", self.story(&found))))
    }

    fn story(&self, found: &Found) -> String {
        let blocks = format!("{} blocks", found.blocks_read);
        let late = if found.complete { "" } else { ", OUT OF TIME" };
        format!("{blocks}{late}{}", is_wrong(found.records.len() as u64, self.matching))
    }

    /// Once, in a new session.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn once(&self, store: &Store) -> Result<Cell> {
        let (found, ms) = self.page(store).await?;
        Ok(Cell::new(ms, self.story(&found)))
    }

    /// All of them by hour and level: the median of so many.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn histogram(&self, store: &Store, times: usize) -> Result<Cell> {
        let (mut all, mut story) = (Vec::new(), String::new());
        for _ in 0..times {
            let began = Instant::now();
            let scope = Scope::all(AdminReason::Audit);
            let counts = count(store, &scope, &self.filter, self.range, BIN_US, BUDGET_MS).await?;
            all.push(ms(began));
            let (records, matching) = (counts.records(), self.matching);
            let wrong = if records == matching { "" } else { ", NOT ALL" };
            story = format!("{records} records{wrong}");
        }
        let (median, slowest) = median(all)?;
        Ok(Cell::new(median, format!("slowest {slowest:.1}, {story}")))
    }
}

/// Empty, unless a page has not as many records as it must.
pub fn is_wrong(records: u64, matching: u64) -> String {
    let expected = matching.min(PAGE as u64);
    if records == expected { String::new() } else { format!(", {records} RECORDS INSTEAD OF {expected}") }
}

pub fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

/// And the slowest.
///
/// # Errors
/// None were measured.
pub fn median(mut times: Vec<f64>) -> Result<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    let median = *times.get(times.len() / 2).context("a time")?;
    Ok((median, *times.last().context("a time")?))
}
