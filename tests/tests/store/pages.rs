//! Pages of a search hold a bounded amount of memory, whatever was stored.

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_store::Store;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_tests::env::Postgres;

use super::support::{self, Lines};
use super::{ALL, start_writer};

/// Records of a MiB each: a page of as many as were asked for would not fit into memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_make_short_pages() -> Result<()> {
    const BYTES_MAX: usize = 32 << 20;
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "pages").await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    for padding in [1 << 20, 1 << 20, 100, 1 << 20, 9 << 20, 1 << 20, 1 << 20] {
        lines.padding = padding;
        let count = if padding > 1 << 20 { 1 } else { 12 };
        let message = lines.message(count);
        running.sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
    }
    let (mut page, mut seqs) = (Page::first(1000), Vec::new());
    loop {
        let found = search(&store, &ALL, &filter::parse("")?, TimeRange::default(), page, 20_000).await?;
        let bytes: usize = found.records.iter().map(|record| record.body.len()).sum();
        ensure!(bytes <= BYTES_MAX, "a page of {bytes} bytes");
        for record in &found.records {
            let body: serde_json::Value = serde_json::from_slice(&record.body)?;
            seqs.push(body["seq"].as_u64().unwrap_or(u64::MAX));
        }
        match found.cursor {
            Some(cursor) => page.after = Some(cursor),
            None => break,
        }
    }
    ensure!(seqs == (0..lines.next).rev().collect::<Vec<_>>(), "{seqs:?}");
    running.stop.cancel();
    running.task.await??;
    Ok(())
}

/// A search looks at the newest day first, then at more and more: nothing is lost between, whatever the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_come_after_new_ones() -> Result<()> {
    const DAY_US: i64 = 24 * support::HOUR_US;
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "ages").await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    for hours in [29 * 24, 22 * 24, 21 * 24, 10 * 24, 5 * 24 + 1, 5 * 24 - 1, 25, 23, 1, 0] {
        lines.age_us = hours * support::HOUR_US;
        let message = lines.message(30);
        running.sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
    }
    let newest_first: Vec<u64> = (0..10).rev().flat_map(|age| (age * 30..(age + 1) * 30).rev()).collect();
    for (limit, budget_ms) in [(1000, 20_000), (7, 20_000), (7, 0), (45, 0)] {
        let seqs = all_seqs(&store, "", TimeRange::default(), limit, budget_ms).await?;
        ensure!(seqs == newest_first, "pages of {limit} within {budget_ms} ms: {seqs:?}");
        let range = TimeRange {
            from_us: Some(support::now_us() - 12 * DAY_US),
            to_us: Some(support::now_us() - 2 * support::HOUR_US),
        };
        let seqs = all_seqs(&store, "", range, limit, budget_ms).await?;
        ensure!(seqs == newest_first[60..210], "of some days: {seqs:?}");
        let seqs = all_seqs(&store, "31", TimeRange::default(), limit, budget_ms).await?;
        ensure!(seqs == [31], "a word of an old record: {seqs:?}");
    }
    running.stop.cancel();
    running.task.await??;
    Ok(())
}

async fn all_seqs(
    store: &Store,
    text: &str,
    range: TimeRange,
    limit: usize,
    budget_ms: u64,
) -> Result<Vec<u64>> {
    let (filter, mut page, mut seqs) = (filter::parse(text)?, Page::first(limit), Vec::new());
    loop {
        let found = search(store, &ALL, &filter, range, page, budget_ms).await?;
        for record in &found.records {
            let body: serde_json::Value = serde_json::from_slice(&record.body)?;
            seqs.push(body["seq"].as_u64().context("no seq")?);
        }
        match found.cursor {
            Some(cursor) => page.after = Some(cursor),
            None => return Ok(seqs),
        }
    }
}
