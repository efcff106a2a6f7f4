//! Pages of a search hold a bounded amount of memory, whatever was stored.

use anyhow::{Result, ensure};
use cordwood_core::filter;
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
