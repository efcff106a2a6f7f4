//! A primary that takes no writes for a while (`default_transaction_read_only`, as managed services set it when the disk is full): the
//! operator says so, does not flood anybody with events, and goes on without a restart.

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::wait_for;
use cordwood_tests::http;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::PostParams;

use super::operator_world::{World, policy};
use super::parts::PATIENCE;

/// How often anything was told in events.
async fn told(world: &World) -> Result<i32> {
    let events: Api<Event> = Api::all(world.client.clone());
    let events = events.list(&Default::default()).await?;
    Ok(events.iter().map(|event| event.series.as_ref().map_or(1, |series| series.count)).sum())
}

async fn is_waited_for(version: u32) -> Result<()> {
    let mut world = World::start(version).await?;
    world.start_operator().await?;
    let process = world.operator.as_ref().context("an operator")?.process.id();
    let policies = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    world.settled().await?;
    let before = told(&world).await?;
    world.execute("alter system set default_transaction_read_only = on").await?;
    world.execute("select pg_reload_conf()").await?;
    let text = "is read-only (default_transaction_read_only is on)";
    wait_for("readiness to say it", PATIENCE, || world.unready(text)).await?;
    wait_for("the policy to say it", PATIENCE, || async {
        let status = world.api().get("shop").await?.status.context("a status")?;
        let ready = status.conditions.iter().find(|known| known.type_ == "Ready").context("Ready")?;
        ensure!(ready.status == "False" && ready.reason == "DatabaseReadOnly", "{ready:?}");
        ensure!(ready.message.contains(text), "{ready:?}");
        Ok(())
    })
    .await?;
    policies.create(&PostParams::default(), &policy("late", "1h", "1h")).await?;
    let address = world.operator.as_ref().context("an operator")?.address();
    for pass in ["create", "drop"] {
        let failures = format!("cordwood_operator_pass_failures_total{{loop=\"{pass}\"}}");
        let first = http::metric(&address, &failures).await.unwrap_or(0.0);
        wait_for("more passes", PATIENCE, || async {
            let now = http::metric(&address, &failures).await?;
            ensure!(now >= first + 8.0, "{now}, {first} before");
            Ok(())
        })
        .await?;
    }
    let meanwhile = told(&world).await? - before;
    ensure!(meanwhile <= 2, "{meanwhile} events while nothing could be done");
    world.condition("late", "Ready", "False").await?;

    world.execute("alter system reset default_transaction_read_only").await?;
    world.execute("select pg_reload_conf()").await?;
    for name in ["shop", "late"] {
        wait_for("the policy to be Ready", PATIENCE, || world.condition(name, "Ready", "True")).await?;
    }
    wait_for("leaves of the late policy", PATIENCE, || world.has_leaf_now("late")).await?;
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    ensure!(world.operator_runs(), "the operator ended");
    ensure!(world.operator.as_ref().context("an operator")?.process.id() == process);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_takes_no_writes_is_waited_for_15() -> Result<()> {
    is_waited_for(15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_takes_no_writes_is_waited_for_18() -> Result<()> {
    is_waited_for(18).await
}
