//! A legal hold over what another policy's class keeps, and a policy that is tried out: nothing of it goes, and the status says what stays or
//! would go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_crds::LogRetentionPolicy;
use cordwood_crds::retention::Mode;
use cordwood_tests::bin;
use cordwood_tests::env::wait_for;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::operator_world::{World, kubectl, policy, retention, retention_report};

const PATIENCE: Duration = Duration::from_secs(60);

/// As this version's sealer notes what `World::fill` stored: of the tenant `shop-eu`, in the namespace `pay`.
const NAMED: &str = "insert into leaf_tenants (tenant, class, time_from) select 'shop-eu', class, time_from from sealed_leaves
      on conflict do nothing;
    insert into leaf_namespaces (class, time_from, tenant, namespace, records)
      select class, time_from, 'shop-eu', 'pay', blocks from sealed_leaves on conflict do nothing;
    update sealed_leaves set named_blocks = blocks";

/// A hold over tenants and namespaces. It names no class: the records lie in those of `shop`.
fn hold(is_held: bool) -> LogRetentionPolicy {
    let mut hold = policy("case", "1h", "2m");
    hold.spec.priority = -1;
    hold.spec.matches.tenants = vec!["shop-*".to_owned()];
    hold.spec.matches.namespaces = vec!["pay".to_owned()];
    hold.spec.legal_hold = is_held;
    hold
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_what_another_policy_lets_go_of_until_it_is_lifted() -> Result<()> {
    let mut world = World::start(18).await?;
    world.start_operator().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    policies.create(&PostParams::default(), &policy("shop", "2h", "1s")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    world.execute(NAMED).await?;

    policies.create(&PostParams::default(), &hold(true)).await?;
    wait_for("the hold to say what it keeps", PATIENCE, || async {
        let held = held(&policies).await?;
        ensure!(held["records"] == stored && held["expired"] == 0, "{held}");
        ensure!(held["partitions"].as_i64() >= Some(16) && held["bytes"].as_i64() > Some(0), "{held}");
        ensure!(
            policies.get("case").await?.status.context("a status")?.state.as_deref() == Some("LegalHold")
        );
        Ok(())
    })
    .await?;
    // Its own class keeps little of it.
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("what has expired to be held", PATIENCE, || async {
        let status = policies.get("shop").await?.status.context("a status")?;
        let held = status.conditions.iter().find(|one| one.type_ == "Held").context("Held")?;
        ensure!(held.status == "True" && held.reason == "LegalHoldOfAnother", "{held:?}");
        ensure!(held.message.ends_with("waits while the legal hold of policy case lasts"), "{held:?}");
        ensure!(status.state.as_deref() == Some("Active"), "{:?}", status.state);
        Ok(())
    })
    .await?;
    passes(&world, 3).await?;
    nothing_is_gone(&world, &classes, stored).await?;
    let kept = held(&policies).await?;
    ensure!(kept["expired"].as_i64() >= Some(4) && kept["records"] == stored, "{kept}");
    let (_, metrics) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let said = format!("cordwood_operator_hold_records{{policy=\"case\"}} {stored}");
    ensure!(metrics.lines().any(|line| line == said), "no {said} in {metrics}");
    let plan = cordwood(&world, &["plan", "-o", "json"])?;
    ensure!(
        plan["holds"][0]["policy"] == "case" && plan["holds"][0]["records"] == stored,
        "{}",
        plan["holds"]
    );
    println!("{}", kubectl(&world, &["get", "lrp", "-o", "wide"])?);
    println!("{}", kubectl(&world, &["get", "lrp", "case", "-o", "jsonpath={.status.hold}"])?);

    // An operator that starts again, and a policy that is deleted: it holds.
    world.kill_operator();
    world.start_operator().await?;
    policies.delete("case", &DeleteParams::default()).await?;
    passes(&world, 3).await?;
    nothing_is_gone(&world, &classes, stored).await?;
    let report = retention_report(&world, "case")?;
    ensure!(
        report["holds"][0]["records"] == stored && report["holds"][0]["namespaces"] == json!(["pay"]),
        "{report}"
    );
    ensure!(
        report["kept"].as_array().context("kept")?.iter().all(|class| class["state"] == "LegalHold"),
        "{report}"
    );

    // The hold is lifted: what its own class does not keep goes.
    policies.create(&PostParams::default(), &hold(false)).await?;
    wait_for("what has expired to be dropped", PATIENCE, || async {
        let dropped = "select count(*) from ledger where step = 'drop' and outcome = 'done' and policy = 'shop' and records > 0";
        let dropped = world.sql_count(dropped).await?;
        ensure!(dropped >= 4, "{dropped} partitions with records were dropped");
        Ok(())
    })
    .await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    ensure!(policies.get("case").await?.status.and_then(|status| status.hold).is_none());
    let report = retention_report(&world, "case")?;
    let steps: Vec<&str> = report["changed"]
        .as_array()
        .context("changed")?
        .iter()
        .filter_map(|row| row["step"].as_str().filter(|step| step.ends_with("-hold")))
        .collect();
    ensure!(steps == ["put-hold", "lift-hold"], "{steps:?}");
    let before =
        "select count(*) from ledger where step in ('detach', 'drop') and records > 0 and outcome = 'done'
                  and id < (select id from ledger where step = 'lift-hold')";
    ensure!(world.sql_count(before).await? == 0, "something went before the hold was lifted");
    Ok(())
}

/// `mode: Plan`: nothing is done, the plan with records and bytes is in the status. Suspended, held and tried out are told apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_tried_out_does_nothing_and_says_what_it_would() -> Result<()> {
    let mut world = World::start(15).await?;
    // Longer than it is of itself: a preview has it from the operator.
    world.more = json!({"retention": {"notice_ms": 3_600_000}});
    world.start_operator().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    policies.create(&PostParams::default(), &policy("shop", "2h", "2m")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    world.execute(NAMED).await?;

    let mut tried = retention("30m");
    tried["spec"]["mode"] = json!("Plan");
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(tried)).await?;
    let mut other = hold(true);
    other.spec.mode = Mode::Plan;
    policies.create(&PostParams::default(), &other).await?;
    let first = wait_for("the plan with its records", PATIENCE, || async {
        let status = policies.get("shop").await?.status.context("a status")?;
        ensure!(status.state.as_deref() == Some("DryRun"), "{:?}", status.state);
        let held = status.conditions.iter().find(|one| one.type_ == "Held").context("Held")?;
        ensure!(held.status == "True" && held.reason == "DryRun", "{held:?}");
        let plan = status.plan.context("a plan")?;
        let takes: Vec<_> = plan.held.iter().filter(|held| held.partitions > 0).collect();
        ensure!(takes.len() == 4 && plan.steps.is_empty(), "{plan:?}");
        for held in &takes {
            ensure!(held.waits == "while its mode is Plan" && held.bytes > 0, "{held:?}");
            // A record was stored in each minute of the last 55; a table partition is of a quarter of an hour.
            ensure!(held.records.is_some_and(|records| (10..=26).contains(&records)), "{held:?}");
        }
        Ok(plan)
    })
    .await?;
    wait_for("the hold to say what it would keep", PATIENCE, || async {
        let status = policies.get("case").await?.status.context("a status")?;
        ensure!(status.state.as_deref() == Some("DryRun"), "{:?}", status.state);
        ensure!(status.hold.and_then(|hold| hold.records) == Some(stored));
        Ok(())
    })
    .await?;
    passes(&world, 3).await?;
    nothing_is_gone(&world, &classes, stored).await?;
    let class = "select count(*) from classes where policy = 'shop' and retention_us = 7200000000 and wanted_us is null";
    ensure!(world.sql_count(class).await? == 4, "its classes changed");
    ensure!(
        world.sql_count("select count(*) from holds").await? == 0,
        "a hold that is tried out is in force"
    );
    ensure!(world.classes("case").await?.is_empty(), "a new policy that is tried out has classes");
    // The same plan, pass after pass: no time that moves is in it.
    let again = policies.get("shop").await?.status.and_then(|status| status.plan).context("a plan")?;
    let texts = |plan: &cordwood_crds::retention::PlanStatus| -> Vec<(String, String)> {
        plan.held
            .iter()
            .filter(|held| held.what.starts_with("put-class"))
            .map(|held| (held.what.clone(), held.waits.clone()))
            .collect()
    };
    ensure!(texts(&first) == texts(&again), "{first:?}\n{again:?}");

    // Each state by its own name, everywhere.
    let told = async |state: &'static str, change: Value| -> Result<()> {
        policies.patch("shop", &PatchParams::default(), &Patch::Merge(change)).await?;
        wait_for("the state to be told everywhere", PATIENCE, || async {
            let status = policies.get("shop").await?.status.context("a status")?;
            ensure!(status.state.as_deref() == Some(state), "{:?}", status.state);
            let (_, metrics) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
            let line = format!("cordwood_operator_policies{{state=\"{state}\"}} ");
            let count = metrics.lines().find_map(|text| text.strip_prefix(&line)).context("no such state")?;
            ensure!(count.parse::<u32>()? >= 1, "{state}: {count}");
            let of_shop = |rows: &Value| -> Result<Vec<Value>> {
                let rows = rows.as_array().context("classes")?.iter().filter(|row| row["policy"] == "shop");
                Ok(rows.map(|row| row["state"].clone()).collect())
            };
            let planned = of_shop(&cordwood(&world, &["plan", "-o", "json"])?["classes"])?;
            let reported = of_shop(&retention_report(&world, "shop")?["kept"])?;
            ensure!(planned == vec![json!(state); 4] && reported == planned, "{planned:?} {reported:?}");
            Ok(())
        })
        .await
    };
    told("DryRun", json!({"spec": {"mode": "Plan"}})).await?;
    told("Suspended", json!({"spec": {"mode": "Apply", "suspend": true}})).await?;
    told("LegalHold", json!({"spec": {"legalHold": true}})).await?;
    told("Active", json!({"spec": {"legalHold": false, "suspend": false, "retention": retention("2h")["spec"]["retention"]}})).await?;
    nothing_is_gone(&world, &classes, stored).await?;

    // Who plans by himself goes by the operator's settings.
    world.kill_operator();
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    let plan = cordwood(&world, &["plan", "-o", "json"])?;
    let at: jiff::Timestamp = plan["at"].as_str().context("at")?.parse()?;
    let held = plan["held"].as_array().context("held")?;
    let until: jiff::Timestamp = held
        .iter()
        .filter(|held| held["policy"] == "shop")
        .find_map(|held| held["waits"].as_str()?.strip_prefix("until "))
        .with_context(|| format!("nothing is announced: {plan}"))?
        .parse()?;
    ensure!(until.duration_since(at).as_secs() == 3600, "{at} {until}");
    Ok(())
}

/// `status.hold` of the policy `case`.
async fn held(policies: &Api<LogRetentionPolicy>) -> Result<Value> {
    let status = policies.get("case").await?.status.context("a status")?;
    Ok(serde_json::to_value(status.hold.context("no hold in the status")?)?)
}

/// So many more passes of the dropping loop have begun.
async fn passes(world: &World, passes: usize) -> Result<()> {
    for _ in 0..passes {
        let at =
            world.sql_count("select (extract(epoch from clock_at) * 1000000)::bigint from horizon").await?;
        let later = format!(
            "select count(*) from horizon where (extract(epoch from clock_at) * 1000000)::bigint > {at}"
        );
        wait_for("another pass", PATIENCE, || async {
            ensure!(world.sql_count(&later).await? == 1);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn nothing_is_gone(world: &World, classes: &[i32], stored: i64) -> Result<()> {
    let seen = world.visible(classes).await?;
    ensure!(seen == stored, "{seen} of {stored}");
    let gone = "select count(*) from ledger where step in ('detach', 'drop') and records > 0";
    ensure!(world.sql_count(gone).await? == 0, "partitions with records went");
    Ok(())
}

/// The command line, on this cluster and database.
fn cordwood(world: &World, arguments: &[&str]) -> Result<Value> {
    let output = std::process::Command::new(bin("cordwood")?)
        .args(arguments)
        .env("CORDWOOD_DATABASE_URL", world.postgres.url())
        .env("KUBECONFIG", world.server.kubeconfig())
        .output()
        .context("run cordwood")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
