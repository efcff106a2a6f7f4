//! A legal hold that is lifted: the ledger says who did it before anything goes, and so do an event and the auditor's report. And a policy that any
//! pod can choose says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::wait_for;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::operator_world::{World, kubectl, policy, retention, retention_report};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_who_let_records_go_before_they_do() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let policies = world.api();
    let mut shop = policy("shop", "1h", "2m");
    shop.spec.legal_hold = true;
    policies.create(&PostParams::default(), &shop).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    wait_for("the hold to be in the ledger", PATIENCE, || changed(&world, "Active -> LegalHold", "true"))
        .await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("what is held to be said", PATIENCE, || world.condition("shop", "Held", "True")).await?;
    ensure!(world.visible(&classes).await? == stored && world.steps("detach", "shop").await? == 0);

    let release = json!({"metadata": {"annotations": {"cordwood.dev/released-by": "anna"}}, "spec": {"legalHold": false}});
    kubectl(&world, &["patch", "lrp", "shop", "--type=merge", "-p", &release.to_string()])?;
    wait_for("what had expired to go", PATIENCE, || world.at_least("detach", "shop", 1)).await?;
    let first = "changed_by like 'anna (written by kubectl-patch, %'
                 and id < (select min(id) from ledger where step in ('detach', 'drop') and policy = 'shop')";
    changed(&world, "LegalHold -> Active", first).await?;
    let report = retention_report(&world, "shop")?;
    let by_anna =
        |row: &serde_json::Value| row["changedBy"].as_str().is_some_and(|by| by.starts_with("anna ("));
    let mut rows = report["changed"].as_array().context("changed")?.iter();
    ensure!(rows.any(|row| row["step"] == "put-state" && by_anna(row)), "{report}");
    wait_for("an event that says who", PATIENCE, || async {
        let events = kubectl(&world, &["get", "events", "--all-namespaces", "-o", "wide"])?;
        ensure!(
            events.contains("StateChanged") && events.contains("LegalHold -> Active, by anna ("),
            "{events}"
        );
        Ok(())
    })
    .await?;

    // A suspension ends with its policy, and nobody can be asked who deleted it.
    policies
        .patch("shop", &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": true}})))
        .await?;
    wait_for("the suspension", PATIENCE, || changed(&world, "Active -> Suspended", "changed_by is not null"))
        .await?;
    policies.delete("shop", &DeleteParams::default()).await?;
    let gone = "Suspended -> Active, the policy was deleted";
    wait_for("its end", PATIENCE, || changed(&world, gone, "changed_by is null")).await?;

    let mut pay = policy("pay", "1h", "2m");
    pay.spec.matches.services = std::mem::take(&mut pay.spec.matches.tenants);
    policies.create(&PostParams::default(), &pay).await?;
    wait_for("the warning", PATIENCE, || world.condition("pay", "ChosenByPods", "True")).await?;
    let shown = kubectl(&world, &["get", "lrp", "pay", "-o", "wide"])?;
    ensure!(shown.lines().all(|line| line.trim_end().len() <= 200), "{shown}");
    ensure!(shown.contains("PODS-CHOOSE"), "{shown}");
    let bounded = json!({"spec": {"match": {"namespaces": ["pay"]}}});
    policies.patch("pay", &PatchParams::default(), &Patch::Merge(bounded)).await?;
    wait_for("the warning to go", PATIENCE, || world.condition("pay", "ChosenByPods", "False")).await
}

/// One row of the ledger says it of one policy, and more.
async fn changed(world: &World, why: &str, more: &str) -> Result<()> {
    let sql = format!(
        "select count(*) from ledger where step = 'put-state' and subject = 'shop' and policy = 'shop' and outcome = 'done'
           and why = '{why}' and {more}"
    );
    let number = world.sql_count(&sql).await?;
    ensure!(number == 1, "{number} rows say {why}");
    Ok(())
}
