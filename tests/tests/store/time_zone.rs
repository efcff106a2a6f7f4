//! A server in a time zone with summer time: the hour that comes twice and the one that does not come have partitions of their own, and each goes
//! for itself.

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::{ClassId, LeafRef, LeafState, Planned, Step};
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{Settings, Store, catalogue};
use cordwood_tests::env::Postgres;

use super::support::{self, HOUR_US};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hour_has_its_own_partition_also_where_clocks_are_put_back() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        drop(support::store(&postgres, "berlin").await?);
        let zone = "alter database berlin set timezone = 'Europe/Berlin'";
        postgres.client().await?.batch_execute(zone).await?;
        let client = postgres.client_of("berlin").await?;
        support::classes(&client).await?;
        let store = Store::connect(&Settings::url(postgres.url_of("berlin"))).await?;
        let mut creating = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
        // 2025-10-26T01:00Z is the second 02:00, 2026-03-29T01:00Z is 03:00.
        let hour = |text: &str| anyhow::Ok(text.parse::<jiff::Timestamp>()?.as_microsecond());
        let mut leaves = Vec::new();
        for begin in ["2025-10-25T23:00:00Z", "2026-03-28T23:00:00Z"] {
            for number in 0..4 {
                let from_us = hour(begin)? + number * HOUR_US;
                leaves.push(LeafRef { class: ClassId(1), from_us, to_us: from_us + HOUR_US });
            }
        }
        for leaf in &leaves {
            let planned = Planned::new(Step::CreateLeaf(*leaf), "default", "a test");
            ddl::apply(&mut creating, &planned, "").await.with_context(|| planned.step.to_string())?;
        }
        let found = catalogue::look(&client).await?;
        ensure!(found.drift.is_empty(), "{:?}", found.drift);
        let keys: Vec<LeafRef> = found.leaves_of(ClassId(1)).into_iter().map(|leaf| leaf.key()).collect();
        ensure!(keys == leaves, "{keys:?}");
        // A record in the middle of each hour lies in that hour's table.
        for leaf in &leaves {
            let at = jiff::Timestamp::from_microsecond(leaf.from_us + HOUR_US / 2)?;
            let sql = "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                       values (1, 1, 'shop', 1, $1, $1, 1, 1, '\\x00', '\\x00') returning tableoid::regclass::text";
            let table: String = client.query_one(sql, &[&at]).await?.get(0);
            ensure!(table == leaf.table(), "{at} is in {table}, not in {}", leaf.table());
        }
        // All of it has expired; the first of the two hours goes alone.
        let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        let (first, second) = (leaves[1], leaves[2]);
        for step in [Step::Detach(first), Step::Drop(first)] {
            ddl::apply(&mut dropping, &Planned::new(step, "default", "a test"), "").await?;
        }
        let left = catalogue::look(&client).await?;
        ensure!(left.leaf(first).is_none() && left.leaves.len() == leaves.len() - 1);
        ensure!(left.leaf(second).is_some_and(|leaf| leaf.state == LeafState::Attached));
        let records: i64 = client.query_one("select count(*) from blocks", &[]).await?.get(0);
        ensure!(records == 7, "{records} of 7");
    }
    Ok(())
}
