//! The ledger: what each step says of itself, done or failed; and what a class remembers of an approval. Also of the version before.

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::class::ApprovedFor;
use cordwood_core::retention::{Approval, LeafRef, Planned, Step};
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{catalogue, migrate};
use cordwood_tests::env::Postgres;

use super::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_says_for_which_spec_under_which_approval_and_how_it_ended() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "ledger", 13).await?;
        let client = postgres.client_of("ledger").await?;
        support::classes(&client).await?;
        support::leaves(&client, 2, 1).await?;
        // An older operator's row; it goes on beside this version until it is replaced.
        let older = "insert into ledger (policy, plan, step, subject, bytes, why) values ('shop', 'p', 'drop', 'blocks_c1_x', 7, 'expired')";
        client.batch_execute(older).await?;
        migrate::run(&store).await?;
        client.batch_execute(older).await?;
        let sql = "select count(*) from ledger where outcome = 'done' and generation is null and approval is null and bytes = 7";
        ensure!(client.query_one(sql, &[]).await?.get::<_, i64>(0) == 2);
        let before = catalogue::read(&client).await?;
        ensure!(before.classes.len() == 4 && before.classes.iter().all(|class| class.approved.is_none()));

        // An approval is kept with its class, and named by the step.
        let approval =
            Approval { plan: "0123456789abcdef".to_owned(), by: "ann; drop table ledger".to_owned() };
        let mut class = before.classes[0].clone();
        let before_us = 1_795_003_200_000_000;
        class.approved = Some(ApprovedFor { approval: approval.clone(), before_us });
        let mut session = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
        let step = Planned::new(Step::PutClass(class.clone()), "default", "retention 2d -> 1d");
        let step = Planned { generation: 7, approval: Some(approval.clone()), ..step };
        ddl::apply(&mut session, &step, "plan-1").await?;
        ensure!(catalogue::read(&client).await?.classes[0] == class);
        let sql = "select generation, outcome, approval, approved_by, started <= at, time_from is null from ledger where plan = 'plan-1'";
        let row = client.query_one(sql, &[]).await?;
        ensure!((row.get::<_, i64>(0), row.get::<_, &str>(1)) == (7, "done"), "{row:?}");
        ensure!(row.get::<_, &str>(2) == approval.plan && row.get::<_, &str>(3) == approval.by, "{row:?}");
        ensure!(row.get::<_, bool>(4) && row.get::<_, bool>(5), "{row:?}");
        // And taken away with it.
        class.approved = None;
        let step = Planned::new(Step::PutClass(class.clone()), "default", "undone");
        ddl::apply(&mut session, &step, "plan-2").await?;
        ensure!(catalogue::read(&client).await?.classes[0] == class);

        // A class keeps its leaf, whatever an old plan says: the step fails, and fails again, and one row says so.
        let leaf: LeafRef = before.leaves.first().context("no leaf")?.key();
        let class = leaf.class.0;
        let (table, parent) = (leaf.table(), format!("blocks_c{class}"));
        let fill = format!(
            "insert into {table} (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
             select 1, {class}, 'shop', 1, time_from, time_from, 1, 1, '\\x00', '\\x00' from leaves
              where class = {class} order by time_from limit 1"
        );
        client.batch_execute(&fill).await?;
        drop(session);
        let mut session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        for _ in 0..2 {
            let step = Planned::new(Step::Detach(leaf), "default", "expired");
            let failed = ddl::apply(&mut session, &step, "plan-3").await;
            ensure!(failed.is_err(), "{parent} detached what it keeps");
        }
        let sql = "select outcome, subject, time_from, time_to from ledger where plan = 'plan-3'";
        let rows = client.query(sql, &[]).await?;
        ensure!(rows.len() == 1, "{} rows", rows.len());
        let time = |at: usize| rows[0].get::<_, jiff::Timestamp>(at).as_microsecond();
        ensure!((time(2), time(3)) == (leaf.from_us, leaf.to_us), "{rows:?}");
        let outcome: &str = rows[0].get(0);
        ensure!(outcome.starts_with("failed: ") && outcome.contains("its class keeps it"), "{outcome}");
        ensure!(rows[0].get::<_, &str>(1) == table, "{rows:?}");
    }
    Ok(())
}
