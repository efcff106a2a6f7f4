//! Paging against a brute-force reading: each record once, in both directions, with many equal times.

use anyhow::{Context, Result, ensure};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{Line, World, container, ids, line, recent_us};

/// A record as the oracle knows it.
struct Known {
    key: (i64, u32, u32),
    id: String,
    line: Line,
    source: u32,
}

async fn forward(world: &World, query: &str) -> Result<(Vec<Vec<String>>, Option<String>)> {
    let (mut pages, mut after, mut previous) = (Vec::new(), String::new(), None);
    loop {
        let page = world.json(&format!("/api/platform/logs?{query}{after}")).await?;
        ensure!(page["complete"] == true, "{page}");
        previous = page["previous"].as_str().map(str::to_owned).or(previous);
        pages.push(ids(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok((pages, previous)),
        }
    }
}

async fn backward(world: &World, query: &str, from: String) -> Result<Vec<Vec<String>>> {
    let (mut pages, mut before) = (Vec::new(), Some(from));
    while let Some(place) = before {
        let page = world.json(&format!("/api/platform/logs?{query}&before={place}")).await?;
        pages.insert(0, ids(&page));
        before = page["previous"].as_str().map(str::to_owned);
    }
    Ok(pages)
}

fn first_difference(found: &[String], expected: &[String]) -> String {
    let place =
        found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let (a, b) = (found.get(place), expected.get(place));
    format!(
        "{} found, {} expected; the first difference at {place}: {a:?}, {b:?}",
        found.len(),
        expected.len()
    )
}

async fn oracle(version: u32) -> Result<()> {
    let seed =
        std::env::var("CORDWOOD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let at = recent_us();
    let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    let mut sources = Vec::new();
    for source in 0..5u32 {
        let lines = (0..80).map(|n| {
            let level = levels[random.random_range(0..levels.len())];
            line(at + random.random_range(0..12), level, format!("line {n} of s{source} w{}", n % 7))
        });
        sources.push((container("acme", "shop", source), lines.collect::<Vec<_>>()));
    }
    let world = World::with(version, &sources).await?;
    let mut known = Vec::new();
    for (message, (_, lines)) in sources.iter().enumerate() {
        for (index, line) in lines.iter().enumerate() {
            let (message, index) = (u32::try_from(message)?, u32::try_from(index)?);
            let record = RecordId { topic_partition: 0, kafka_offset: message.into(), index };
            let id = format!("{}.{record}", line.time_us);
            known.push(Known {
                key: (line.time_us, message, index),
                id,
                line: line.clone(),
                source: message,
            });
        }
    }
    known.sort_by_key(|known| known.key);
    type Is = fn(&Known) -> bool;
    let filters: [(&str, Is); 4] = [
        ("", |_| true),
        ("minLevel=warn", |known| known.line.level >= Level::Warn),
        ("filter=w3", |known| known.line.body.ends_with("w3")),
        ("pod=pod-2&pod=pod-4&level=info", |known| {
            [2, 4].contains(&known.source) && known.line.level == Level::Info
        }),
    ];
    for (filter, is) in filters {
        for order in ["newest", "oldest"] {
            for limit in [7, 1_000] {
                let query =
                    format!("{filter}&order={order}&limit={limit}").trim_start_matches('&').to_owned();
                let mut expected: Vec<String> =
                    known.iter().filter(|known| is(known)).map(|known| known.id.clone()).collect();
                if order == "newest" {
                    expected.reverse();
                }
                ensure!(!expected.is_empty(), "seed {seed}: {query} asks for nothing");
                let told = format!("seed {seed}, {query}");
                let (pages, previous) = forward(&world, &query).await.context(told.clone())?;
                ensure!(
                    pages.concat() == expected,
                    "{told}: {}",
                    first_difference(&pages.concat(), &expected)
                );
                let last = pages.iter().rev().find(|page| !page.is_empty()).context("no page")?;
                let before =
                    backward(&world, &query, previous.context("no previous")?).await.context(told.clone())?;
                let all = [before.concat(), last.clone()].concat();
                ensure!(all == expected, "{told}, back: {}", first_difference(&all, &expected));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn pages_have_each_record_once_both_ways_15() -> Result<()> {
    oracle(15).await
}

#[tokio::test]
async fn pages_have_each_record_once_both_ways_18() -> Result<()> {
    oracle(18).await
}

#[tokio::test]
async fn a_search_that_its_budget_ends_says_how_far_it_came_and_goes_on() -> Result<()> {
    let at = recent_us();
    // Many messages: many blocks.
    let sources: Vec<_> = (0..60u32)
        .map(|n| {
            let lines = (0..200).map(|k| {
                line(at + i64::from(n) * 200 + k, Level::Info, format!("{} x{k}", "pad ".repeat(40)))
            });
            (container("acme", "shop", n), lines.collect::<Vec<_>>())
        })
        .collect();
    let world = World::with(15, &sources).await?;
    let (mut after, mut found, mut cut) = (String::new(), Vec::new(), 0);
    loop {
        let page =
            world.json(&format!("/api/platform/logs?filter=*x7&budgetMs=10&limit=1000{after}")).await?;
        found.extend(ids(&page));
        if page["complete"] == false {
            cut += 1;
            ensure!(page["searchedBackTo"].is_string(), "{page}");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    ensure!(found.len() == 60, "{} found, {cut} pages were cut", found.len());
    let unique: std::collections::BTreeSet<&String> = found.iter().collect();
    ensure!(unique.len() == 60);
    Ok(())
}
