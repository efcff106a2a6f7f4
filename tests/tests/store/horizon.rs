//! Where retention stood is kept, bounds what goes, and is taken over from the version before, which kept none.

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::horizon::{PACE, STEP_US};
use cordwood_core::retention::{ClassId, Horizon, Planned, Step, Tuning, Waits};
use cordwood_operator::retention::Standalone;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{catalogue, horizon, migrate};
use cordwood_tests::env::Postgres;

use super::support::{self, HOUR_US};

const LONG_AGO_US: i64 = 90 * 24 * HOUR_US;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumped_is_followed_step_by_step() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "horizon", 15).await?;
        let client = postgres.client_of("horizon").await?;
        support::classes(&client).await?;
        // DEBUG is kept for a day: these are expired by the clock.
        support::leaves(&client, 72, -70).await?;
        client
            .batch_execute(
                "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                   select 1, 1, 'shop', 1, time_from, time_from, 1, 1, '\\x00', '\\x00' from leaves
                   where class = 1 order by time_from limit 1",
            )
            .await?;
        migrate::run(&store).await?;
        let before = catalogue::read(&client).await?;
        ensure!(before.horizon.is_none(), "{:?}", before.horizon);
        let leaf = before.leaves_of(ClassId(1)).first().context("no leaf")?.key();

        // The clock has jumped since the last pass. A step that is told to take records is refused by the table, too.
        let clock_us = catalogue::clock(&client).await? - LONG_AGO_US;
        let last = Horizon { at_us: clock_us, clock_us };
        let mut session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        horizon::keep(&session, last).await?;
        ensure!(horizon::read(&client).await? == Some(last));
        let detach = Planned::new(Step::Detach(leaf), "default", "a test");
        let refused = ddl::apply(&mut session, &detach, "").await.err().context("it was detached")?;
        ensure!(refused.to_string().contains("its class keeps it"), "{refused}");
        drop(session);

        let mut retention = Standalone::new(&store, Tuning::default());
        let report = retention.pass(&[]).await?;
        let first = horizon::read(&client).await?.context("no horizon is kept")?;
        ensure!(first.at_us == last.at_us + STEP_US && report.horizon == Some(first), "{first:?}");
        let waits = report.plan.held.iter().find(|held| matches!(held.waits, Waits::Horizon(_)));
        ensure!(
            waits.is_some_and(|held| held.class == Some(ClassId(1)) && held.partitions == 1),
            "{waits:?}"
        );
        let takes = |planned: &&Planned| planned.step.leaf() == Some(leaf);
        ensure!(report.done.iter().find(takes).is_none(), "{:?}", report.done);
        retention.pass(&[]).await?;
        let second = horizon::read(&client).await?.context("no horizon is kept")?;
        let pace_us = PACE * (second.clock_us - first.clock_us);
        ensure!(second.at_us == first.at_us + pace_us, "{first:?} {second:?}");

        // An operator that was away for an hour.
        let away = "update horizon set at = clock_timestamp() - interval '1 hour', clock_at = clock_timestamp() - interval '1 hour'";
        client.batch_execute(away).await?;
        let report = retention.pass(&[]).await?;
        ensure!(report.done.iter().any(|planned| planned.step == detach.step), "{}", report.plan);
        ensure!(report.horizon.is_some_and(|horizon| horizon.behind_us() == 0), "{:?}", report.horizon);
    }
    Ok(())
}
