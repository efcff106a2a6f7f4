//! The primary is killed and its standby takes over under the same address. All parts go on without a restart; what the standby lacked is
//! read from Kafka again. For a moment the address leads to the old primary, which came back as a standby of nobody.

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::standby::{SYNCHRONOUS, Standby};
use cordwood_tests::env::{PostgresOptions, wait_for};
use kube::api::PostParams;

use super::operator_world::{World, policy};
use super::parts::{PATIENCE, Parts, RECORDS, Urls};

/// The operator's two sessions that change tables hold their locks.
const DDL_LOCKS: &str = "select count(distinct l.objid) from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and a.application_name like 'cordwood operator%'";
/// The writer's lane, and sealing.
const WRITER_LOCKS: &str = "select count(distinct l.objid) from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and a.application_name in ('cordwood writer', 'cordwood sealer')";

async fn ready_is(world: &World, name: &str, reason: &str, text: &str) -> Result<()> {
    let status = world.api().get(name).await?.status.context("a status")?;
    let ready = status.conditions.iter().find(|known| known.type_ == "Ready").context("Ready")?;
    ensure!(ready.status == "False" && ready.reason == reason && ready.message.contains(text), "{ready:?}");
    Ok(())
}

async fn goes_on(version: u32, is_synchronous: bool) -> Result<()> {
    let mut options = PostgresOptions::version(version);
    if is_synchronous {
        options.settings.push((SYNCHRONOUS.0.to_owned(), SYNCHRONOUS.1.to_owned()));
    }
    let world = World::start_with(options).await?;
    let mut standby = Standby::of(&world.postgres, version).await?;
    let url = standby.url(&world.postgres, "postgres");
    let urls = Urls { operator: url.clone(), writer: url.clone(), gateway: url };
    let mut parts = Parts::start(world, &urls).await?;
    let policies = parts.world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("the policy to be Ready", PATIENCE, || parts.world.condition("shop", "Ready", "True")).await?;
    parts.send().await?;
    parts.all_stored().await?;

    if !is_synchronous {
        standby.cut_off();
    }
    for _ in 0..5 {
        parts.send().await?;
    }
    let written = parts.written();
    wait_for("the primary to have what the standby may lack", PATIENCE, || async {
        let stored = parts.world.sql_count(RECORDS).await?;
        ensure!(stored == written, "{stored} of {written}");
        Ok(())
    })
    .await?;
    // On their way when it dies.
    parts.send().await?;
    standby.fail_over(&mut parts.world.postgres).await?;
    *parts.world.sql.lock().expect("no panic while it is held") = None;
    let kept = parts.world.sql_count(RECORDS).await?;
    println!("PostgreSQL {version}: {kept} of {written} committed records are on the new primary");
    match is_synchronous {
        true => ensure!(kept >= written, "a commit was lost"),
        false => ensure!(kept < written, "the standby had everything"),
    }

    // Away: each says so.
    parts.send().await?;
    let away = "connect to PostgreSQL";
    wait_for("the writer to say it", PATIENCE, || parts.writer_says(away)).await?;
    wait_for("the operator to say it", PATIENCE, || parts.world.unready(away)).await?;
    wait_for("the policy to say it", PATIENCE, || ready_is(&parts.world, "shop", "DatabaseUnavailable", ""))
        .await?;
    let answer = parts.ask("/api/platform/logs").await?;
    ensure!(answer.code == 503, "{} {}", answer.code, answer.text());

    // The old primary under the address: recognised and waited for.
    standby.other.restart_as_standby().await?;
    standby.lead_to_other().await?;
    let read_only = "is read-only (it is a standby)";
    wait_for("the writer to say it", PATIENCE, || parts.writer_says(read_only)).await?;
    wait_for("the operator to say it", PATIENCE, || parts.world.unready(read_only)).await?;
    wait_for("the policy to say it", PATIENCE, || {
        ready_is(&parts.world, "shop", "DatabaseReadOnly", read_only)
    })
    .await?;
    policies.create(&PostParams::default(), &policy("late", "1h", "1h")).await?;
    wait_for("the gateway to answer with what stands there", PATIENCE, || async {
        let answer = parts.ask("/api/platform/logs/histogram").await?;
        ensure!(answer.code == 200, "{}", answer.code);
        Ok(())
    })
    .await?;

    // Who is connected to the old one stays so: nobody may keep such a session.
    standby.turn_to(&parts.world.postgres);
    parts.send().await?;
    parts.all_stored().await?;
    for name in ["shop", "late"] {
        wait_for("the policies to be Ready", PATIENCE, || parts.world.condition(name, "Ready", "True"))
            .await?;
    }
    wait_for("all to be ready", PATIENCE, || parts.are_ready()).await?;
    wait_for("the operator to be ready", PATIENCE, || parts.world.ready()).await?;
    for locks in [DDL_LOCKS, WRITER_LOCKS] {
        wait_for("the locks to be taken again", PATIENCE, || async {
            let locks = parts.world.sql_count(locks).await?;
            ensure!(locks == 2, "{locks}");
            Ok(())
        })
        .await?;
    }
    wait_for("leaves of the late policy", PATIENCE, || parts.world.has_leaf_now("late")).await?;
    let resets = parts.writer_metric("cordwood_writer_resets_total{reason=\"postgres\"}").await?;
    ensure!(resets > 0.0, "the writer noticed nothing");
    parts.send().await?;
    parts.all_stored().await?;
    parts.check()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_with_a_synchronous_standby_15() -> Result<()> {
    goes_on(15, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_with_a_synchronous_standby_18() -> Result<()> {
    goes_on(18, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_lacked_is_read_from_kafka_again_15() -> Result<()> {
    goes_on(15, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_lacked_is_read_from_kafka_again_18() -> Result<()> {
    goes_on(18, false).await
}
