//! Groups of errors over HTTP: pages, what is asked for, what is refused; nothing of a deleted task; what they count is what searches and
//! exports find.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_tests::http::{Answer, ask};
use serde_json::Value;

use super::world::{Line, World, container, counted, ids, line, recent_us};

const GROUPS: &str = "/api/platform/logs/aggregates";

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn lists_go_on_and_records_are_found_by_their_group() -> Result<()> {
    let at = recent_us();
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"];
    let lines = |from: i64| -> Vec<Line> {
        let body = |n: usize| match n % 10 {
            9 => format!(r#"{{"taskId":"t","message":"{} is broken"}}"#, words[n % 10]),
            place => format!("{} is broken after {n} ms", words[place]),
        };
        (0..100)
            .map(|n| line(at + from + n as i64, if n % 10 < 5 { Level::Warn } else { Level::Error }, body(n)))
            .collect()
    };
    let sources = [(container("acme", "shop", 1), lines(0)), (container("acme", "bank", 2), lines(1_000))];
    let world = World::with(15, &sources).await?;
    for sort in ["count", "lastSeen", "firstSeen"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = world.json(&format!("{GROUPS}?sort={sort}&limit=3{after}")).await?;
            seen.extend(items(&page));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        let names: BTreeSet<&str> = seen.iter().filter_map(|group| group["signature"].as_str()).collect();
        ensure!(seen.len() == 10 && names.len() == 10, "{sort}: {seen:?}");
        let counts: Vec<u64> = seen.iter().filter_map(|group| group[sort].as_u64()).collect();
        let times: Vec<&str> = seen.iter().filter_map(|group| group[sort].as_str()).collect();
        ensure!(counts.is_sorted_by(|a, b| a >= b) && times.is_sorted_by(|a, b| a >= b), "{sort}: {seen:?}");
        ensure!(counts.len() + times.len() == 10);
    }
    let asked =
        async |query: &str| Ok::<_, anyhow::Error>(counted(&world.json(&format!("{GROUPS}?{query}")).await?));
    for (query, expected) in [
        ("", 200),
        ("level=error", 100),
        ("minLevel=error", 100),
        ("minLevel=debug", 200),
        ("namespace=shop", 100),
        ("namespace=shop&level=warn&tenant=acme&service=checkout", 50),
        ("service=mail", 0),
        ("text=GAMMA", 20),
        ("text=gamma+is+%25", 0),
        ("newSince=-1m", 0),
        ("newSince=-1h", 200),
        ("from=-3h&to=-2h", 0),
        ("from=-30d&to=now", 200),
        ("to=9999-01-01T00:00:00Z&from=-300d", 200),
    ] {
        ensure!(asked(query).await? == expected, "{query}: {}", asked(query).await?);
    }
    // What a group counts is found, wherever a filter is.
    let group = items(&world.json(&format!("{GROUPS}?text=gamma")).await?).pop().context("no group")?;
    let signature = group["signature"].as_str().context("no signature")?;
    let page = world.json(&format!("/api/platform/logs?signature={signature}")).await?;
    ensure!(ids(&page).len() == 20 && ids(&page)[0] == group["sample"]["id"], "{group} {page}");
    ensure!(items(&page).iter().all(|item| item["signature"] == signature), "{page}");
    let path = format!("/api/platform/logs?filter=signature%3D{signature}");
    let export = ask(&world.address, "GET", &path, &[("Accept", "application/x-ndjson")]).await?.text();
    ensure!(export.lines().count() == 21 && export.contains(signature), "{export}");
    let histogram = world.json(&format!("/api/platform/logs/histogram?signature={signature}")).await?;
    ensure!(histogram["records"] == 20, "{histogram}");

    // A deleted task is in no group.
    let deleted = ask(&world.address, "DELETE", "/api/tasks/t?namespace=shop", &[]).await?;
    ensure!(deleted.code == 204, "{}", deleted.text());
    ensure!(asked("").await? == 190 && asked("text=kappa").await? == 10);
    let kappa = items(&world.json(&format!("{GROUPS}?text=kappa")).await?).pop().context("no group")?;
    ensure!(kappa["sample"]["timestamp"].as_str() > Some(""), "{kappa}");
    let sample = world
        .json(&format!("/api/platform/logs/{}", kappa["sample"]["id"].as_str().unwrap_or_default()))
        .await?;
    ensure!(sample["namespace"] == "bank" && sample["signature"] == kappa["signature"], "{sample}");
    let deleted = ask(&world.address, "DELETE", "/api/tasks/t?namespace=bank", &[]).await?;
    ensure!(deleted.code == 204, "{}", deleted.text());
    let gone = world.get(&format!("{GROUPS}/{}", kappa["signature"].as_str().unwrap_or_default())).await?;
    let never = world.get(&format!("{GROUPS}/{}", super::world::NO_GROUP)).await?;
    let told = |answer: &Answer| {
        let mut problem = answer.json()?;
        problem.as_object_mut().context("no object")?.remove("requestId");
        Ok::<_, anyhow::Error>(problem)
    };
    ensure!(gone.code == 404 && told(&gone)? == told(&never)?, "{}", gone.text());

    for (path, at) in [
        (format!("{GROUPS}?level=info"), "level"),
        (format!("{GROUPS}?filter=x"), "filter"),
        (format!("{GROUPS}?sort=count&after=lastSeen.1.{signature}"), "after"),
        (format!("{GROUPS}?from=now&to=-1h"), "from"),
        (format!("{GROUPS}?newSince=soon"), "newSince"),
        (format!("{GROUPS}?limit=1001"), "limit"),
        (format!("{GROUPS}/payment"), "signature"),
        (format!("{GROUPS}/{signature}?text=x"), "text"),
        ("/api/platform/logs?signature=v1:other".to_owned(), "signature"),
        ("/api/platform/logs?signature=v2:other".to_owned(), "signature"),
        ("/api/platform/logs?signature=x".to_owned(), "signature"),
    ] {
        let answer = world.get(&path).await?;
        ensure!(answer.code == 400 && answer.json()?["parameter"] == at, "{path}: {}", answer.text());
    }
    Ok(())
}
