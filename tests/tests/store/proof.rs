//! How many records each table partition holds, and its newest, is known: of what this version seals, of what the version before sealed, and of
//! what is gone. Also of the version before.

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::catalogue::Leaf;
use cordwood_core::retention::{Approval, Planned};
use cordwood_core::retention::{ClassId, PolicyLevel, Step, proofs};
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::ledger::history;
use cordwood_store::{catalogue, counting, migrate};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support::{self, HOUR_US, Lines};
use super::{seal_once, start_writer};

/// A block of so many records in the leaf of DEBUG two hours ago, as a sealer of the version before adds it.
fn sealed_by_older(id: i32, records: i32) -> String {
    format!(
        "with leaf as (select * from leaves where class = 1 order by time_from limit 1),
              block as (insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                select {id}, 1, 'shop', {records}, time_from, time_from + interval '{id} minutes', 1, 1, '\\x00', '\\x00' from leaf)
         insert into sealed_leaves as s (class, time_from, blocks, bytes, oldest)
           select 1, time_from, 1, 8192, time_from from leaf
           on conflict (class, time_from) do update set blocks = s.blocks + 1"
    )
}

async fn oldest_leaf(client: &Client) -> Result<Leaf> {
    let catalogue = catalogue::read(client).await?;
    let leaf = catalogue.leaves_of(ClassId(1)).first().copied().cloned();
    leaf.context("no leaf")
}

/// Records and minutes from its begin to the newest.
fn known(leaf: &Leaf) -> Option<(i64, i64)> {
    leaf.records.zip(leaf.newest_us.map(|us| (us - leaf.from_us) / 60_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_counted_whichever_version_sealed_them() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "proof", 14).await?;
        let client = postgres.client_of("proof").await?;
        support::classes(&client).await?;
        support::leaves(&client, 2, 2).await?;
        client.batch_execute(&sealed_by_older(1, 5)).await?;
        migrate::run(&store).await?;
        let leaf = oldest_leaf(&client).await?;
        ensure!(known(&leaf).is_none() && leaf.oldest_us == Some(leaf.from_us), "{leaf:?}");
        let now_us = catalogue::clock(&client).await?;
        ensure!(proofs(&catalogue::read(&client).await?, now_us)[0].records.is_none());

        // A sealer of the version before goes on beside this one.
        let mut session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        ensure!(counting::count(&mut session).await? == 1);
        ensure!(known(&oldest_leaf(&client).await?) == Some((5, 1)));
        ensure!(counting::count(&mut session).await? == 0, "what is known is counted again");
        client.batch_execute(&sealed_by_older(2, 7)).await?;
        ensure!(known(&oldest_leaf(&client).await?).is_none());
        // One that seals at this moment is not waited for long, and nothing of it is lost.
        let sealing = postgres.client_of("proof").await?;
        sealing.batch_execute(&format!("begin; {}", sealed_by_older(3, 11))).await?;
        ensure!(counting::count(&mut session).await? == 0);
        sealing.batch_execute("commit").await?;
        ensure!(counting::count(&mut session).await? == 1);
        ensure!(known(&oldest_leaf(&client).await?) == Some((23, 3)));

        // This version's sealer counts as it seals: into an empty one, and into one that is counted.
        let running = start_writer(&store)?;
        let mut lines = Lines::new(1);
        for age_us in [0, HOUR_US, 0] {
            lines.age_us = age_us;
            running.sender.send(lines.message(50)).ok().context("the queue is closed")?.await?;
            let round = seal_once(&store).await?;
            ensure!(round.records == 50 && round.carried == 0, "{round:?}");
        }
        running.stop.cancel();
        running.task.await??;
        ensure!(counting::count(&mut session).await? == 0, "the sealer did not count");
        let after = catalogue::read(&client).await?;
        let truth = client
            .query(
                "select b.class, l.time_from, sum(b.count)::bigint, max(b.time_to) from blocks b
                 join leaves l on l.class = b.class and b.time_to >= l.time_from and b.time_to < l.time_to group by 1, 2",
                &[],
            )
            .await?;
        let mut records = 0;
        for row in &truth {
            let time = |at: usize| row.get::<_, jiff::Timestamp>(at).as_microsecond();
            let is_it = |leaf: &&Leaf| leaf.class.0 == row.get::<_, i32>(0) && leaf.from_us == time(1);
            let leaf = after.leaves.iter().find(is_it).context("no such leaf")?;
            ensure!((leaf.records, leaf.newest_us) == (Some(row.get(2)), Some(time(3))), "{leaf:?}");
            records += row.get::<_, i64>(2);
        }
        ensure!(records == 173, "{records} records");
        let now_us = catalogue::clock(&client).await?;
        let kept: Vec<Option<i64>> = proofs(&after, now_us).iter().map(|proof| proof.records).collect();
        ensure!(kept.iter().copied().sum::<Option<i64>>() == Some(173), "{kept:?}");

        // What is dropped is in the history with what it held; what was empty, or failed, or was of another policy is not.
        let leaf = oldest_leaf(&client).await?;
        ddl_fails_then_drops(&client, &mut session, &leaf).await?;
        let gone = history(&store, Some("default"), None).await?;
        ensure!(gone.len() == 1 && history(&store, Some("other"), None).await?.is_empty(), "{gone:?}");
        let gone = &gone[0];
        ensure!(
            gone.is_drop() && gone.level == Some(PolicyLevel::Debug) && gone.records == Some(23),
            "{gone:?}"
        );
        ensure!(gone.bounds_us == Some((leaf.from_us, leaf.to_us)) && gone.bytes == leaf.bytes, "{gone:?}");
        ensure!(gone.approved_by.as_deref() == Some("ann") && gone.plan == "plan-1", "{gone:?}");
        ensure!(history(&store, None, Some(gone.at_us + 1)).await?.is_empty());
        ensure!(history(&store, None, Some(gone.at_us)).await?.len() == 1);
    }
    Ok(())
}

async fn ddl_fails_then_drops(client: &Client, session: &mut DdlSession, leaf: &Leaf) -> Result<()> {
    let approval = Approval { plan: "0123456789abcdef".to_owned(), by: "ann".to_owned() };
    let planned = |step| Planned {
        bytes: leaf.bytes,
        records: leaf.records,
        approval: Some(approval.clone()),
        ..Planned::new(step, "default", "expired")
    };
    ensure!(ddl::apply(session, &planned(Step::Drop(leaf.key())), "plan-1").await.is_err());
    client.batch_execute("update classes set retention_us = 1 where id = 1").await?;
    for step in [Step::Detach(leaf.key()), Step::Drop(leaf.key())] {
        ddl::apply(session, &planned(step), "plan-1").await?;
    }
    let empty = catalogue::read(client).await?.leaves.into_iter().find(|leaf| leaf.empty);
    let empty = empty.context("all leaves have records")?;
    for step in [Step::Detach(empty.key()), Step::Drop(empty.key())] {
        let planned = Planned { records: Some(0), ..Planned::new(step, "default", "empty") };
        ddl::apply(session, &planned, "plan-2").await?;
    }
    Ok(())
}
