//! The clocks of PostgreSQL and of the operator jump together by a year, by ten, and back by an hour: nothing goes, and it is said; the clock that
//! comes back leaves everything as it was; an operator that was away needs nobody.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::wait_for;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::operator_world::{World, kubectl, policy, retention};

const PATIENCE: Duration = Duration::from_secs(60);

/// PostgreSQL's clock as every session of the database sees it from now on: shifted by what the table says.
const SHIFTED: &str = "create schema shifted;
    create table shifted.clock (by interval not null);
    insert into shifted.clock values ('0');
    create function shifted.now() returns timestamptz language sql stable
      as $$ select pg_catalog.now() + by from shifted.clock $$;
    create function shifted.clock_timestamp() returns timestamptz language sql volatile
      as $$ select pg_catalog.clock_timestamp() + by from shifted.clock $$;
    do $$ begin
      execute format('alter database %I set search_path = public, shifted, pg_catalog', current_database());
    end $$";

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_by_a_year_take_nothing() -> Result<()> {
    let mut world = World::start(18).await?;
    // The operator's own clock cannot be set: here it does not have to agree.
    world.more =
        json!({"retention": {"clock_skew_ms_max": 1_000_000_000_000_u64, "horizon_step_ms_max": 60_000}});
    world.execute(SHIFTED).await?;
    world.start_operator().await?;
    let policies = world.api();
    let mut shop = policy("shop", "3h", "2m");
    shop.spec.drop_limit.partitions = 2;
    policies.create(&PostParams::default(), &shop).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    wait_for("a pass to be kept", PATIENCE, || passes(&world, "clock_at > now() - interval '1 minute'"))
        .await?;

    world.execute("update shifted.clock set by = '1 year'").await?;
    wait_for("what waits to be said", PATIENCE, || async {
        let status = policies.get("shop").await?.status.context("a status")?;
        let held = status.conditions.iter().find(|condition| condition.type_ == "Held").context("Held")?;
        ensure!(held.reason == "ClockJumped" && held.message.contains("for the horizon"), "{held:?}");
        ensure!(held.message.contains("partitions, "), "{held:?}");
        Ok(())
    })
    .await?;
    wait_for("the event", PATIENCE, || async {
        let events = kubectl(&world, &["get", "events", "--all-namespaces", "-o", "wide"])?;
        ensure!(events.contains("RetentionHeld") && events.contains("for the horizon"), "{events}");
        Ok(())
    })
    .await?;
    let operator = world.operator.as_ref().context("an operator")?;
    // A pass counts when it ends, after it has written statuses and events.
    wait_for("the metric of the horizon", PATIENCE, || async {
        let (_, metrics) = operator.get("/metrics").await?;
        let name = "cordwood_operator_horizon_behind_seconds ";
        let behind: i64 =
            metrics.lines().find_map(|line| line.strip_prefix(name)).context("no metric")?.parse()?;
        ensure!(behind > 300 * 86_400, "{behind} s");
        Ok(())
    })
    .await?;
    let (_, status) = operator.get("/status").await?;
    ensure!(status.contains("expiry goes by"), "{status}");
    // A shorter retention still sees what it would take away.
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1m"))).await?;
    wait_for("the shorter retention to need an approval", PATIENCE, || async {
        let approval = policies.get("shop").await?.status.and_then(|status| status.approval);
        let approval = approval.context("nothing waits for an approval")?;
        ensure!(approval.partitions > 2, "{approval:?}");
        Ok(())
    })
    .await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("3h"))).await?;
    wait_for("the old retention", PATIENCE, || async {
        let approval = policies.get("shop").await?.status.and_then(|status| status.approval);
        ensure!(approval.is_none(), "{approval:?}");
        Ok(())
    })
    .await?;
    let at = world.sql_count("select extract(epoch from clock_at)::bigint from horizon").await?;
    let since = format!("clock_at > to_timestamp({at} + 3)");
    wait_for("more passes", PATIENCE, || passes(&world, &since)).await?;
    nothing_is_gone(&world, &classes, stored).await?;

    // (The clock of these comparisons is the one that is not shifted.)
    for (by, kept) in [
        ("10 years", "clock_at > now() + interval '9 years'"),
        ("-1 hour", "clock_at < now() - interval '59 minutes'"),
    ] {
        world.execute(&format!("update shifted.clock set by = '{by}'")).await?;
        wait_for("a pass by that clock", PATIENCE, || passes(&world, kept)).await?;
        nothing_is_gone(&world, &classes, stored).await?;
    }
    wait_for("the policy to stay Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;

    world.execute("update shifted.clock set by = '0'").await?;
    wait_for("nothing to wait any more", PATIENCE, || world.condition("shop", "Held", "False")).await?;
    nothing_is_gone(&world, &classes, stored).await?;

    // Four hours without an operator, by default less than a step.
    world.kill_operator();
    world.more = json!({"retention": {"clock_skew_ms_max": 1_000_000_000_000_u64}});
    world.execute("update shifted.clock set by = '4 hours'").await?;
    world.start_operator().await?;
    wait_for("what has expired to go", PATIENCE, || async {
        let seen = world.visible(&classes).await?;
        ensure!(seen == 0, "{seen} of {stored} are still seen");
        Ok(())
    })
    .await
}

/// A pass was kept of which this holds; its clock is as it was shifted at the time.
async fn passes(world: &World, holds: &str) -> Result<()> {
    let kept = world.sql_count(&format!("select count(*) from horizon where {holds}")).await?;
    ensure!(kept == 1, "no pass of which {holds}");
    Ok(())
}

async fn nothing_is_gone(world: &World, classes: &[i32], stored: i64) -> Result<()> {
    let seen = world.visible(classes).await?;
    ensure!(seen == stored, "{seen} of {stored}");
    let gone =
        "select count(*) from ledger where step in ('detach', 'drop') and policy = 'shop' and bytes > 0";
    ensure!(world.sql_count(gone).await? == 0, "partitions with records went");
    Ok(())
}
