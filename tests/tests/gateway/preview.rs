//! What a preview of a retention says is what is then done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::retention::{Policy, Step, Tuning};
use cordwood_gateway::{Access, Administration, Audit, Limits};
use cordwood_operator::retention::Standalone;
use cordwood_tests::http::send;
use prometheus::Registry;
use serde_json::{Value, json};

use super::world::{Line, World, container, line};

const MINUTE_US: i64 = 60_000_000;
const TUNING: Tuning = Tuning::with_notice(0);

fn body(info: &str) -> Value {
    json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy", "metadata": {"name": "shop"},
        "spec": {"retention": {"info": info}, "match": {"tenants": ["acme"]}, "gracePeriod": "0s"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_what_the_passes_then_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let now_us = jiff::Timestamp::now().as_microsecond();
    let lines: Vec<Line> = (0..100)
        .map(|minute| line(now_us - minute * MINUTE_US, Level::Info, format!("line {minute}")))
        .collect();
    let administration = Administration::of_folder(folder.path().to_owned(), TUNING, Arc::new(|_, _| None));
    let world = World::administered(
        18,
        &[(container("acme", "shop", 0), lines)],
        Access::Loopback,
        Limits::default(),
        Some(administration),
        Audit::none(),
    )
    .await?;
    let put = async |query: &str, info: &str| {
        let path = format!("/api/admin/retention{query}");
        let answer = send(&world.address, "PUT", &path, &[], &body(info).to_string()).await?;
        ensure!(answer.code < 300, "{}", answer.text());
        anyhow::Ok((answer.code, answer.json()?))
    };
    let in_force = || -> Result<Vec<Policy>> {
        let sources = cordwood_crds::in_force::sources(folder.path())?;
        let loaded = cordwood_crds::in_force::in_force(&sources, now_us / 1000);
        Ok(loaded.map_err(|problems| anyhow::anyhow!("{problems:?}"))?.policies)
    };
    // A new policy: nothing that is there goes, and nothing is written.
    let (_, new) = put("?preview=true", "2h").await?;
    ensure!(
        new["classes"].as_array().context("classes")?.len() == 4 && new["partitions"] == json!([]),
        "{new}"
    );
    ensure!(new["routes"]["after"] == json!(["default", "shop"]), "{new}");
    ensure!(std::fs::read_dir(folder.path())?.count() == 0);
    ensure!(put("", "2h").await?.0 == 201);
    let mut passes = Standalone::new(&world.store, TUNING);
    let metrics = cordwood_writer::Metrics::register(&Registry::new())?;
    let mut rounds = 0;
    while !passes.pass(&in_force()?).await?.catalogue.leaves.iter().any(|leaf| !leaf.empty) {
        ensure!(
            cordwood_writer::sealer::seal_now(&world.store, None, &metrics).await? && rounds < 20,
            "nothing is sealed"
        );
        rounds += 1;
    }
    let held = world.json("/api/admin/retention/shop").await?;
    ensure!(held["spec"]["retention"]["info"] == "2h", "{held}");
    let (_, nothing) = put("?preview=true", "2h").await?;
    ensure!(nothing["partitions"] == json!([]) && nothing["classes"] == json!([]), "{nothing}");
    let (code, shorter) = put("?preview=true", "40m").await?;
    ensure!(code == 200 && shorter["classes"][0]["after"]["retention"] == "40m", "{shorter}");
    let partitions = shorter["partitions"].as_array().context("partitions")?;
    // What has expired goes at once, in the passes' own pace: detached, then dropped.
    let soon = |now: jiff::Timestamp| now + jiff::SignedDuration::from_secs(30);
    let mut foreseen: BTreeMap<String, jiff::Timestamp> = BTreeMap::new();
    for partition in partitions {
        let table = partition["table"].as_str().context("table")?.to_owned();
        if let Some(at) = partition["after"]["dropped"].as_str() {
            foreseen.insert(table, at.parse()?);
        }
    }
    let at_once = soon(jiff::Timestamp::now());
    let goes: BTreeSet<&String> =
        foreseen.iter().filter(|(_, at)| **at < at_once).map(|(table, _)| table).collect();
    ensure!(!goes.is_empty() && goes.len() < partitions.len(), "{shorter}");
    ensure!(shorter["sooner"]["bytes"].as_i64() > Some(0), "{shorter}");
    let report = passes.pass(&in_force()?).await?;
    ensure!(
        report.done.iter().all(|planned| planned.step.creates()),
        "nothing was written: {:?}",
        report.done
    );
    ensure!(put("", "40m").await?.0 == 200);
    let mut dropped: BTreeSet<String> = BTreeSet::new();
    for _ in 0..60 {
        let report = passes.pass(&in_force()?).await?;
        ensure!(report.failed.is_empty(), "{:?}", report.failed);
        let full = report.done.iter().filter(|planned| planned.bytes > 0);
        dropped.extend(full.filter_map(|planned| match planned.step {
            Step::Drop(leaf) => Some(leaf.table()),
            _ => None,
        }));
        if goes.iter().all(|table| dropped.contains(*table)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // All that was to go has gone, and what has gone was to go by now.
    ensure!(goes.iter().all(|table| dropped.contains(*table)), "dropped {dropped:?}, foreseen {foreseen:?}");
    let now = soon(jiff::Timestamp::now());
    let is_foreseen = |table: &String| foreseen.get(table).is_some_and(|at| *at < now);
    ensure!(dropped.iter().all(is_foreseen), "dropped {dropped:?}, foreseen {foreseen:?}");
    Ok(())
}
