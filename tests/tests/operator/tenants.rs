//! What the operator says for the record: each level rule that begins and ends, each namespace whose tenant changes, also while no operator runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::wait_for;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::operator_world::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// How many audit records of this operator say so.
fn records(world: &World, action: &str, message: &str) -> Result<usize> {
    let log = world.operator.as_ref().context("an operator")?.process.log_tail(100_000);
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let says = |line: &Value| {
        line["is_audit"] == true
            && line["logger"] == "audit.operator"
            && line["action"] == action
            && line["message"].as_str().is_some_and(|said| said.starts_with(message))
    };
    Ok(lines.filter(says).count())
}

async fn told(world: &World, action: &str, message: &str) -> Result<()> {
    wait_for(message, PATIENCE, || async {
        let found = records(world, action, message)?;
        let operator = world.operator.as_ref().context("an operator")?;
        ensure!(found == 1, "{found} records\n{}", operator.process.log_tail(20));
        Ok(())
    })
    .await
}

async fn label(world: &World, namespace: &str, labels: Value) -> Result<()> {
    let api: Api<Namespace> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    api.patch(namespace, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// After rules have come and gone in a world with the namespaces `shop` and `greedy`.
pub async fn and_rules_are_told(world: &mut World) -> Result<()> {
    told(world, "level-rule-began", "level rule shop/quiet began: lines below ERROR in namespace shop")
        .await?;
    told(world, "level-rule-began", "level rule emergency began: lines below WARN in all namespaces").await?;
    told(world, "level-rule-ended", "level rule greedy/large-00 was removed").await?;

    // (The first look is no change.)
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    wait_for("what is known of tenants", PATIENCE, || async { Ok(maps.get("cordwood-tenants").await?) })
        .await?;
    ensure!(records(world, "tenant-changed", "")? == 0);
    label(world, "shop", json!({"cordwood.dev/tenant": "acme"})).await?;
    told(world, "tenant-changed", "tenant of namespace shop changed: unassigned -> acme").await?;
    label(world, "shop", json!({"team": "x"})).await?;
    let knows = |tenant: &'static str| {
        let maps = maps.clone();
        move || {
            let maps = maps.clone();
            async move {
                let data = maps.get("cordwood-tenants").await?.data.context("data")?;
                let known: Value = serde_json::from_str(data.get("tenants.json").context("the key")?)?;
                ensure!(known["namespaces"]["shop"]["tenant"] == tenant, "{known}");
                Ok(())
            }
        }
    };
    wait_for("it to be known", PATIENCE, knows("acme")).await?;
    world.kill_operator();
    label(world, "shop", json!({"cordwood.dev/tenant": "bank", "cordwood.dev/level-rules": "deny"})).await?;
    world.start_operator().await?;
    told(world, "tenant-changed", "tenant of namespace shop changed: acme -> bank").await?;
    wait_for("it to be known", PATIENCE, knows("bank")).await?;
    let rules = ["default/quiet", "shop/quiet", "emergency"];
    for rule in rules {
        ensure!(
            records(world, "level-rule-began", &format!("level rule {rule} began"))? <= 1,
            "{rule} began twice"
        );
    }
    Ok(())
}
