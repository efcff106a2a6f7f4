//! Measures the first page (the newest 100 records) of nine typical queries over all sealed records. Each runs once to warm up and five times
//! more; nothing stands beside it. Prints the median, the first time, and how many records came from how many blocks.

use super::corpus::{COMMON_WORD, COMMON_WORDS, RARE_WORD, SELDOM_WORDS};
use super::{Figure, figure};
use anyhow::{Context, Result};
use cordwood_core::filter;
use cordwood_store::Store;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Page, TimeRange, search};
use std::time::Instant;

const BUDGET_MS: u64 = 30_000;

/// # Errors
/// PostgreSQL's.
pub async fn measure(store: &Store, records: u64) -> Result<Vec<Figure>> {
    let rows = [
        ("a rare word", RARE_WORD.0.to_owned()),
        ("a common word", COMMON_WORD.to_owned()),
        ("two common words that meet", "connection reset".to_owned()),
        ("two common words that never meet", format!("{} {}", COMMON_WORDS.0, COMMON_WORDS.1)),
        (
            "a common word and a seldom one that never meet",
            format!("{} {}", COMMON_WORDS.1, SELDOM_WORDS[0].0),
        ),
        ("two seldom words that never meet", format!("{} {}", SELDOM_WORDS[0].0, SELDOM_WORDS[1].0)),
        (
            "word, tenant, level and service",
            format!("{COMMON_WORD} tenant:tenant-3 level>=error service:payment"),
        ),
        ("a word that nobody wrote", "zzyzx".to_owned()),
        ("nothing but the newest", String::new()),
    ];
    let mut figures = Vec::new();
    for (name, text) in rows {
        let filter = match text.is_empty() {
            true => filter::Filter::all(),
            false => filter::parse(&text).map_err(|error| anyhow::anyhow!("{text}: {error}"))?,
        };
        let mut times = Vec::new();
        let mut story = String::new();
        for _ in 0..6 {
            let began = Instant::now();
            let found = search(
                store,
                &Scope::all(AdminReason::Audit),
                &filter,
                TimeRange::default(),
                Page::first(100),
                BUDGET_MS,
            )
            .await?;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            story = format!(
                "{} records from {} blocks{}",
                found.records.len(),
                found.blocks_read,
                if found.complete { "" } else { ", out of time" }
            );
        }
        let first = times.remove(0);
        times.sort_by(f64::total_cmp);
        let median = *times.get(times.len() / 2).context("a time")?;
        figures.push(figure(
            format!("first page over {:.0}M: {name}", records as f64 / 1e6),
            format!("{median:.0} ms"),
            format!("`{text}`: {story}; the first time {first:.0} ms"),
        ));
    }
    Ok(figures)
}
