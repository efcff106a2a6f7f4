//! What somebody did to table partitions by hand is repaired or said, and never fought: no step fails, and nothing of it goes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::{ClassId, LeafRef, Policy, Strange, Tuning, plan};
use cordwood_store::catalogue;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support;

const HOUR_US: i64 = 3_600_000_000;

/// Plans and applies until nothing is left to do. A step that fails is a fight.
async fn settle(client: &Client, creating: &mut DdlSession, dropping: &mut DdlSession) -> Result<()> {
    for _ in 0..20 {
        let catalogue = catalogue::look(client).await?;
        let now_us = catalogue::clock(client).await?;
        let plan = plan(&[Policy::builtin()], &catalogue, now_us, &Tuning::default());
        if plan.is_empty() {
            return Ok(());
        }
        for planned in &plan.steps {
            let session = if planned.step.creates() { &mut *creating } else { &mut *dropping };
            ddl::apply(session, planned, "drift").await.with_context(|| planned.step.to_string())?;
        }
    }
    anyhow::bail!("the plan does not become empty")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_is_mended_or_said() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "drift").await?;
        let client = postgres.client_of("drift").await?;
        support::classes(&client).await?;
        let this_hour = catalogue::clock(&client).await?.div_euclid(HOUR_US);
        // A record in each leaf, so that none goes because it is empty.
        support::leaves_between(&client, this_hour - 6, this_hour + 1).await?;
        let fill = "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                    select 1, class, 'shop', 1, time_from, time_from, 1, 1, '\\x00', '\\x00' from leaves";
        client.batch_execute(fill).await?;
        let leaf = |class: i32, hours_ago: i64| {
            let from_us = (this_hour - hours_ago) * HOUR_US;
            LeafRef { class: ClassId(class), from_us, to_us: from_us + HOUR_US }
        };
        let time = |us: i64| jiff::Timestamp::from_microsecond(us).map(|time| time.to_string());
        let mut creating = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
        let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        settle(&client, &mut creating, &mut dropping).await?;
        ensure!(catalogue::look(&client).await?.drift.is_empty());

        let foreign = leaf(1, 30);
        let [narrower, elsewhere, unindexed, lost_index, gone, by_hand] =
            [leaf(2, 5), leaf(3, 2), leaf(4, 3), leaf(4, 4), leaf(1, 4), leaf(1, 3)];
        let rows = format!("select count(*) from {}", gone.table());
        ensure!(client.query_one(&rows, &[]).await?.get::<_, i64>(0) == 1);
        client
            .batch_execute(&format!(
                // Made and attached by somebody; where records wait for a leaf of Cordwood's, too.
                "create table theirs (like blocks including all);
                 alter table blocks_c1 attach partition theirs for values from ('{}') to ('{}');
                 insert into wanted_leaves (class, time_from, time_to) values (1, '{}', '{}');
                 create table theirs_too (like blocks including all) partition by range (time_to);
                 alter table blocks attach partition theirs_too for values in (77);
                 alter table blocks_c2 detach partition {narrower};
                 alter table blocks_c2 attach partition {narrower} for values from ('{}') to ('{}');
                 alter table blocks_c3 detach partition {elsewhere};
                 update {elsewhere} set class = 2, time_to = time_to + interval '172 hours';
                 alter table blocks_c2 attach partition {elsewhere} for values from ('{}') to ('{}');
                 update pg_index set indisvalid = false where indrelid = '{unindexed}'::regclass;
                 alter table blocks_c4 detach partition {lost_index};
                 drop index {lost_index}_time_to_id_idx;
                 drop table {gone};
                 update leaves set detached = now() where class = 1 and time_from = '{}'",
                time(foreign.from_us)?,
                time(foreign.to_us)?,
                time(foreign.from_us)?,
                time(foreign.to_us)?,
                time(narrower.from_us)?,
                time(narrower.to_us - HOUR_US / 6)?,
                time(foreign.from_us + 200 * HOUR_US)?,
                time(foreign.to_us + 200 * HOUR_US)?,
                time(by_hand.from_us)?,
                narrower = narrower.table(),
                elsewhere = elsewhere.table(),
                unindexed = unindexed.table(),
                lost_index = lost_index.table(),
                gone = gone.table(),
            ))
            .await?;
        settle(&client, &mut creating, &mut dropping).await?;

        let after = catalogue::look(&client).await?;
        let said: BTreeSet<(&str, &'static str)> =
            after.drift.iter().map(|drift| (drift.table.as_str(), drift.what.reason())).collect();
        let tables = [narrower.table(), elsewhere.table(), unindexed.table()];
        let expected = BTreeSet::from([
            ("theirs", "ForeignPartition"),
            ("theirs_too", "ForeignPartition"),
            (tables[0].as_str(), "WrongBounds"),
            // Both classes are concerned: whose it is, and whose table has it.
            (tables[1].as_str(), "WrongParent"),
            (tables[1].as_str(), "ForeignPartition"),
            (tables[2].as_str(), "IndexMissing"),
        ]);
        ensure!(said == expected, "{said:?}");
        let missing = after.drift.iter().find_map(|drift| match drift.what {
            Strange::Indexes { missing } => Some(missing),
            _ => None,
        });
        ensure!(missing.is_some_and(|missing| missing >= 2), "{missing:?}");
        for key in [narrower, elsewhere] {
            ensure!(after.leaf(key).is_none(), "{} counts as a leaf", key.table());
        }
        // Repaired: made again, attached again with its index, and one that was attached by hand is one like any other.
        for key in [gone, lost_index, by_hand, unindexed] {
            let state = after.leaf(key).map(|leaf| leaf.state);
            ensure!(
                state == Some(cordwood_core::retention::LeafState::Attached),
                "{}: {state:?}",
                key.table()
            );
        }
        let indexes = format!(
            "select count(*) from pg_index where indrelid = '{}'::regclass and indisvalid",
            lost_index.table()
        );
        let whole = "select count(*) from pg_index where indrelid = 'blocks'::regclass";
        let count = async |sql: &str| anyhow::Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0));
        ensure!(count(&indexes).await? == count(whole).await?);

        // All of it has expired: what is strange stays, the rest goes.
        client.batch_execute("update classes set retention_us = 60000000, grace_us = 0").await?;
        let short = Policy {
            retention_us: cordwood_core::retention::PerLevel::of(|_| 60_000_000),
            grace_us: 0,
            ..Policy::builtin()
        };
        for _ in 0..20 {
            let catalogue = catalogue::look(&client).await?;
            let plan = plan(
                std::slice::from_ref(&short),
                &catalogue,
                catalogue::clock(&client).await?,
                &Tuning::default(),
            );
            if plan.dropping().next().is_none() {
                break;
            }
            for planned in plan.dropping() {
                ddl::apply(&mut dropping, planned, "drift")
                    .await
                    .with_context(|| planned.step.to_string())?;
            }
        }
        for table in ["theirs", "theirs_too", &tables[0], &tables[1]] {
            let there = format!("select count(*) from pg_class where relname = '{table}'");
            ensure!(count(&there).await? == 1, "{table} is gone");
        }
        let there = format!("select count(*) from pg_class where relname = '{}'", by_hand.table());
        ensure!(count(&there).await? == 0, "{} is still there", by_hand.table());
    }
    Ok(())
}
