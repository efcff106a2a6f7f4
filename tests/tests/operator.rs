//! The operator against a real API server and a real PostgreSQL: policies become partitions and partitions go, through
//! edits, kills, long readers and outages. What needs a node is in `node.rs`.

#![allow(clippy::print_stdout)]

#[path = "operator/agents.rs"]
mod agents;
#[path = "operator/applications.rs"]
mod applications;
#[path = "operator/approval.rs"]
mod approval;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/gitops.rs"]
mod gitops;
#[path = "operator/health.rs"]
mod health;
#[path = "operator/holds.rs"]
mod holds;
#[path = "operator/horizon.rs"]
mod horizon;
#[path = "operator/level_configs.rs"]
mod level_configs;
mod operator_world;
#[path = "operator/push.rs"]
mod push;
#[path = "operator/released.rs"]
mod released;
#[path = "operator/status_writes.rs"]
mod status_writes;
#[path = "operator/tenants.rs"]
mod tenants;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::levels::LevelRules;
use cordwood_crds::retention::ApprovalStatus;
use cordwood_crds::{LogLevelConfig, LogRetentionPolicy};
use cordwood_tests::env::proxy::{Fault, Proxy};
use cordwood_tests::env::wait_for;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use operator_world::{World, kubectl, policy, retention, retention_report};
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// Without a node: class and partitions within 5 s; a shorter retention is in the status before anything is
/// detached; nothing younger goes; raised within the grace period everything is back; after it, partitions are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_becomes_partitions_that_go_and_come_back() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    world.settled().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    let began = Instant::now();
    policies.create(&PostParams::default(), &policy("shop", "1h", "2m")).await?;
    wait_for("class and partitions of the policy", Duration::from_secs(5), || world.has_leaf_now("shop"))
        .await?;
    println!("policy applied -> classes and partitions for now: {:?}", began.elapsed());
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;

    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    ensure!(stored > 200, "only {stored} blocks were stored");
    wait_for("what is kept to be counted and told", PATIENCE, || is_told(&world, stored)).await?;
    let shown = tokio::spawn(first_shown(policies.clone(), "1h -> 30m"));
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("partitions to be detached", PATIENCE, || world.at_least("detach", "shop", 20)).await?;
    let shown = shown.await??;
    let first = world.first_early_detach("shop", 60).await?;
    ensure!(shown < first, "the status showed the plan at {shown}, the first detach was at {first}");
    println!("plan in the status {} before the first detach", first.duration_since(shown));
    for _ in 0..20 {
        world.nothing_young_is_gone(&classes, stored, 30).await?;
    }
    println!("{}", kubectl(&world, &["get", "lrp"])?);
    println!("{}", kubectl(&world, &["describe", "lrp", "shop"])?);

    wait_for("leaves with records to be detached", PATIENCE, || world.take_postings_from_detached(20))
        .await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    wait_for("all records to be back", PATIENCE, || async {
        let visible = world.visible(&classes).await?;
        ensure!(visible == stored, "{visible} of {stored}");
        Ok(())
    })
    .await?;
    ensure!(world.steps("reattach", "shop").await? >= 20);
    // Empty partitions may go at once; of those with records none did.
    let dropped =
        "select count(*) from ledger where step = 'drop' and policy = 'shop' and why not like '%empty'";
    ensure!(world.sql_count(dropped).await? == 0, "records were dropped within the grace period");

    let patch = json!({"spec": {"gracePeriod": "1s", "retention": retention("30m")["spec"]["retention"]}});
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await?;
    wait_for("partitions to be dropped", PATIENCE, || async {
        let number = world.sql_count(dropped).await?;
        ensure!(number >= 20, "{number} partitions with records were dropped");
        Ok(())
    })
    .await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    // The last drops may be under way.
    wait_for("the rows of leaves to be right", PATIENCE, || world.leaves_are_right()).await?;
    // Each block held a record, and none went before its time.
    let report = retention_report(&world, "shop")?;
    let gone = report["dropped"].as_array().context("dropped")?;
    ensure!(gone.len() >= 20, "{} drops in the report", gone.len());
    for one in gone {
        let in_time = one["youngestSeconds"].as_i64().is_some_and(|seconds| seconds >= 1800);
        ensure!(one["records"].as_i64() > Some(0) && in_time, "{one}");
    }
    // What is done is not about to be done, and what was undone does not wait.
    wait_for("nothing to be left in the plan", PATIENCE, || async {
        let plan = policies.get("shop").await?.status.and_then(|status| status.plan).context("a plan")?;
        ensure!(plan.steps.is_empty() && plan.held.is_empty(), "{plan:?}");
        Ok(())
    })
    .await?;

    // Deleted: what is stored keeps its promise.
    let before = world.visible(&classes).await?;
    policies.delete("shop", &DeleteParams::default()).await?;
    wait_for("the routes to lose the policy", PATIENCE, || async {
        let routes = world.sql_count(
            "select count(*) from routes, jsonb_array_elements(body) r where r->>'policy' = 'shop'",
        );
        ensure!(routes.await? == 0);
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = world.visible(&classes).await?;
    ensure!(after + 20 >= before && after > 0, "{after} of {before} blocks are left after the deletion");
    Ok(())
}

/// The status and the metrics say how many records are kept, and what is owed.
async fn is_told(world: &World, stored: i64) -> Result<()> {
    let status = world.api().get("shop").await?.status.context("a status")?;
    ensure!(status.records == Some(stored), "{:?} records of {stored}", status.records);
    ensure!(status.newest_record > status.oldest_record, "{:?}", status.newest_record);
    for class in &status.classes {
        let is_kept = class.oldest_record.is_some() && class.oldest_record < class.newest_record;
        ensure!(is_kept && class.oldest_due < class.newest_record && class.overdue == 0, "{class:?}");
    }
    let (_, metrics) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let line = "cordwood_operator_class_records{level=\"info\",policy=\"shop\"}";
    let line = metrics.lines().find(|text| text.starts_with(line)).context("no such metric")?;
    ensure!(line.ends_with(&format!(" {}", stored / 4)), "{line} of {stored}");
    Ok(())
}

/// When the status first shows a plan that says `text`.
async fn first_shown(api: Api<LogRetentionPolicy>, text: &'static str) -> Result<jiff::Timestamp> {
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        if let Ok(Event::Apply(policy) | Event::InitApply(policy)) = event {
            let plan = policy.status.and_then(|status| status.plan);
            if plan.is_some_and(|plan| plan.held.iter().any(|held| held.what.contains(text))) {
                return Ok(jiff::Timestamp::now());
            }
        }
    }
    anyhow::bail!("the watch ended")
}

/// A typo (1h -> 1m) that would take more than `dropLimit` waits for approval, and is undone by undoing it. Partitions that
/// somebody dropped or detached by hand come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_typo_waits_and_drift_is_repaired() -> Result<()> {
    let mut world = World::start(18).await?;
    world.start_operator().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    let mut careful = policy("shop", "1h", "2m");
    careful.spec.drop_limit.partitions = 20;
    policies.create(&PostParams::default(), &careful).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1m"))).await?;
    wait_for("the plan to be held", PATIENCE, || world.condition("shop", "Held", "True")).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = policies.get("shop").await?.status.context("a status")?;
    let waits = status.waits.unwrap_or_default();
    ensure!(waits.contains("more than dropLimit allows (20 partitions"), "{waits}");
    ensure!(world.visible(&classes).await? == stored, "something went in spite of the limit");
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    wait_for("nothing to be held", PATIENCE, || world.condition("shop", "Held", "False")).await?;

    let dropped = world.leaf(classes[0], "desc").await?;
    world.execute(&format!("drop table {dropped}")).await?;
    let detached = world.leaf(classes[1], "desc").await?;
    world.execute(&format!("alter table blocks_c{} detach partition {detached}", classes[1])).await?;
    wait_for("drift to be repaired", PATIENCE, || world.leaves_are_right()).await?;
    let sql = format!(
        "select count(*) from pg_inherits where inhrelid in (to_regclass('{dropped}'), to_regclass('{detached}'))"
    );
    wait_for("both partitions to be attached", PATIENCE, || async {
        ensure!(world.sql_count(&sql).await? == 2);
        Ok(())
    })
    .await?;
    approved(&world, &classes).await
}

/// The approval of the plan that the status shows allows dropping what it named; that of a plan for an earlier spec does not.
async fn approved(world: &World, classes: &[i32]) -> Result<()> {
    let policies: Api<LogRetentionPolicy> = world.api();
    let waits = async |other: &str| {
        let status = policies.get("shop").await?.status.context("a status")?;
        let approval = status.approval.context("nothing waits for an approval")?;
        ensure!(approval.plan != other, "still the plan of the spec before");
        Ok(approval)
    };
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1m"))).await?;
    let first = wait_for("a plan to wait for its approval", PATIENCE, || waits("")).await?;
    // The spec changes, and the approval comes too late.
    let other = json!({"spec": {"retention": {"debug": "2m"}}});
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(other)).await?;
    let second = wait_for("another plan", PATIENCE, || waits(&first.plan)).await?;
    let approve = |approval: &ApprovalStatus| {
        let words: Vec<&str> = approval.command.split_whitespace().collect();
        ensure!(words[0] == "kubectl" && approval.partitions > 20 && approval.bytes > 0, "{approval:?}");
        kubectl(world, &words[1..])
    };
    approve(&first)?;
    wait_for("the approval to be said void", PATIENCE, || async {
        let waits = policies.get("shop").await?.status.and_then(|status| status.waits).unwrap_or_default();
        let void = format!("({}, which was approved, is another plan)", first.plan);
        ensure!(waits.ends_with(&void), "{waits}");
        Ok(())
    })
    .await?;
    ensure!(world.steps("detach", "shop").await? == 0, "something went under a void approval");

    approve(&second)?;
    let under = format!(
        "select count(*) from ledger where policy = 'shop' and step = 'detach' and outcome = 'done' and approval = '{}'
           and approved_by like 'kubectl-annotate, %' and generation = {}",
        second.plan,
        policies.get("shop").await?.metadata.generation.context("a generation")?
    );
    wait_for("what was approved to go", PATIENCE, || async {
        let gone = world.sql_count(&under).await?;
        // Some may have expired by the hour that was in force before.
        ensure!(gone >= second.partitions - 4, "{gone} of {}", second.partitions);
        Ok(())
    })
    .await?;
    let unnamed = "select count(*) from ledger where step = 'detach' and bytes > 0 and approval is null
                    and time_to < now() - interval '6 minutes'";
    ensure!(world.sql_count(unnamed).await? <= 4, "partitions go without naming the approval");
    world.nothing_young_is_gone(classes, i64::try_from(classes.len())? * 56, 1).await?;
    let status = policies.get("shop").await?.status.context("a status")?;
    let approved = status.approved.context("the status names no approval")?;
    ensure!(approved.plan == second.plan && approved.by.starts_with("kubectl-annotate, "), "{approved:?}");
    ensure!(status.approval.is_none(), "{:?}", status.approval);
    let report = retention_report(world, "shop")?;
    let by = |row: &serde_json::Value| row["approvedBy"].as_str().is_some_and(|by| by == approved.by);
    let mut changed = report["changed"].as_array().context("changed")?.iter();
    ensure!(changed.any(|row| row["approval"] == second.plan.as_str() && by(row)), "{report}");
    wait_for("an event that names it", PATIENCE, || async {
        let events = kubectl(world, &["get", "events", "--all-namespaces", "-o", "wide"])?;
        ensure!(events.contains("PlanApproved") && events.contains(&second.plan), "{events}");
        Ok(())
    })
    .await
}

/// A reader that stays keeps a partition from being detached; it keeps neither the writer nor new partitions waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_blocks_dropping_alone() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "2m")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    let reader = world.postgres.client().await?;
    reader.batch_execute("begin isolation level repeatable read").await?;
    let seen: i64 = reader.query_one("select count(*) from blocks", &[]).await?.get(0);
    ensure!(seen == stored);
    let writer = tokio::spawn(operator_world::write_loop(world.postgres.client().await?));
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    let pending = "select count(*) from pg_inherits where inhdetachpending";
    wait_for("a detach to be interrupted", PATIENCE, || async {
        ensure!(world.sql_count(pending).await? > 0);
        Ok(())
    })
    .await?;
    // New partitions are made all the same, while the other loop waits.
    let began = Instant::now();
    policies.create(&PostParams::default(), &policy("bank", "1h", "2m")).await?;
    wait_for("partitions of another policy", Duration::from_secs(30), || world.has_leaf_now("bank")).await?;
    println!("partitions of a new policy while a reader blocks a detach: {:?}", began.elapsed());
    let again: i64 = reader.query_one("select count(*) from blocks", &[]).await?.get(0);
    ensure!(again == stored, "the reader lost sight of {} blocks", stored - again);
    reader.batch_execute("commit").await?;
    wait_for("the detach to be finished", PATIENCE, || async {
        ensure!(world.sql_count(pending).await? == 0);
        world.at_least("detach", "shop", 4).await
    })
    .await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    writer.abort();
    let _ = writer.await;
    let (commits, longest) = operator_world::written();
    println!("writer beside DDL: {commits} commits, the longest {longest:?}");
    ensure!(commits > 50, "the writer made only {commits} commits");
    Ok(())
}

/// SIGKILL at random moments while policies change: afterwards the rows of `leaves` are right and nothing young is gone.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step() -> Result<()> {
    let seed = std::env::var("CORDWOOD_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("CORDWOOD_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let policies: Api<LogRetentionPolicy> = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    let (mut kills, before) = (0, world.steps("", "").await?);
    for round in 0.. {
        // At least so often, and until something was detached in spite of it.
        if round >= 40 || (round >= 12 && world.steps("detach", "shop").await? > 0) {
            break;
        }
        let wanted = if round % 2 == 0 { "30m" } else { "1h" };
        policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention(wanted))).await?;
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(random.random_range(200..3_000))).await;
            world.kill_operator();
            kills += 1;
            world.nothing_young_is_gone(&classes, stored, 30).await?;
            world.spawn_operator()?;
        }
    }
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    wait_for("all records to be back", PATIENCE, || async {
        ensure!(world.visible(&classes).await? == stored);
        Ok(())
    })
    .await?;
    wait_for("the rows of leaves to be right", PATIENCE, || world.leaves_are_right()).await?;
    let steps = world.steps("", "").await? - before;
    println!("{kills} kills, {steps} steps");
    ensure!(
        world.steps("detach", "shop").await? > 0 && world.steps("reattach", "shop").await? > 0,
        "nothing happened"
    );
    Ok(())
}

/// An API server that takes connections and never answers (a dead one behind a load balancer) keeps no loop waiting: what
/// PostgreSQL needs is made. When it answers again the operator goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_api_server_keeps_nothing_waiting() -> Result<()> {
    let mut world = World::start(18).await?;
    let proxy = Proxy::start(([127, 0, 0, 1], world.server.port()).into()).await?;
    world.start_operator_through(&format!("https://{}", proxy.address())).await?;
    world.api().create(&PostParams::default(), &policy("shop", "1h", "1m")).await?;
    world.api().create(&PostParams::default(), &policy("gone", "1h", "1m")).await?;
    for name in ["shop", "gone"] {
        wait_for("the policy to be Ready", PATIENCE, || world.condition(name, "Ready", "True")).await?;
    }
    let gone = world.classes("gone").await?;
    let stored = world.fill(&gone, 55).await?;
    world.api().delete("gone", &DeleteParams::default()).await?;
    world.settled().await?;
    let classes = world.classes("shop").await?;
    wait_for("partitions of the other policy", PATIENCE, || world.has_leaf_now("shop")).await?;
    proxy.set(Fault::Silence);
    // As time does: what a deleted policy keeps expires. It may be there again by now, with a legal hold, and nobody can tell.
    world.execute("update classes set retention_us = retention_us / 2 where policy = 'gone'").await?;
    // The first is made before the operator notices, while telling it; the second needs a loop that goes on.
    for class in &classes[..2] {
        let table = world.leaf(*class, "desc").await?;
        world.execute(&format!("alter table blocks_c{class} detach partition {table}")).await?;
        wait_for("the partition to be attached again", PATIENCE, || async {
            let sql = format!("select count(*) from pg_inherits where inhrelid = '{table}'::regclass");
            ensure!(world.sql_count(&sql).await? == 1);
            Ok(())
        })
        .await?;
    }
    wait_for("the probe to say so", PATIENCE, || world.unready("leases")).await?;
    ensure!(world.visible(&gone).await? == stored, "records went while nobody could be asked about them");
    proxy.set(Fault::None);
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    world.api().create(&PostParams::default(), &policy("late", "1h", "1m")).await?;
    wait_for("the statuses to be written", PATIENCE, || world.condition("late", "Ready", "True")).await?;
    wait_for("what has expired to go", PATIENCE, || async {
        let visible = world.visible(&gone).await?;
        ensure!(visible < stored, "all {visible} are there");
        Ok(())
    })
    .await?;
    Ok(())
}

/// Objects that another version of the definitions let in, with fields of another type: each is said to be wrong, and hides
/// no other. (One made list and watch fail for all of its kind.)
#[tokio::test(flavor = "multi_thread")]
async fn one_object_of_another_version_hides_no_other() -> Result<()> {
    let mut world = World::start(15).await?;
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    world
        .define(|kind, spec| {
            let field = if kind == "LogLevelConfig" { "level" } else { "suspend" };
            spec[field] = anything.clone();
        })
        .await?;
    let policies = ApiResource::erase::<LogRetentionPolicy>(&());
    let configs = ApiResource::erase::<LogLevelConfig>(&());
    let odd = |resource, spec| DynamicObject::new("odd", resource).data(json!({"spec": spec}));
    let objects: [(Api<DynamicObject>, DynamicObject); 2] = [
        (Api::all_with(world.client.clone(), &policies), odd(&policies, json!({"suspend": "perhaps"}))),
        (
            Api::namespaced_with(world.client.clone(), "default", &configs),
            odd(&configs, json!({"level": 30, "duration": "30m"})),
        ),
    ];
    for (api, object) in &objects {
        wait_for("the definition of another version", PATIENCE, || async {
            api.create(&PostParams::default(), object).await.map(drop).context("create")
        })
        .await?;
    }
    world.define(|_, _| ()).await?;

    world.start_operator().await?;
    world.api().create(&PostParams::default(), &policy("shop", "1h", "1m")).await?;
    wait_for("the policy beside it", PATIENCE, || world.has_leaf_now("shop")).await?;
    let configs: Api<LogLevelConfig> = Api::namespaced(world.client.clone(), "default");
    let quiet: LogLevelConfig = serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig",
        "metadata": {"name": "quiet"}, "spec": {"level": "ERROR", "duration": "5m"},
    }))?;
    configs.create(&PostParams::default(), &quiet).await?;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    wait_for("the rule beside it", PATIENCE, || async {
        let data = maps.get("cordwood-level-rules").await?.data.context("data")?;
        ensure!(data.get("rules.json").context("rules.json")?.contains("default/quiet"));
        Ok(())
    })
    .await?;
    for (api, _) in &objects {
        wait_for("what is wrong with it to be told", PATIENCE, || async {
            let object = api.get("odd").await?;
            let conditions = object.data["status"]["conditions"].as_array().context("conditions")?.clone();
            let accepted =
                conditions.iter().find(|condition| condition["type"] == "Accepted").context("Accepted")?;
            let message = accepted["message"].as_str().unwrap_or_default();
            ensure!(accepted["status"] == "False" && message.contains("spec: "), "{accepted}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// LogLevelConfig: compiled within a second, ends by itself, a restart does not extend it; and the outages: PostgreSQL and the
/// API server away are conditions, a second operator waits, a missing right is named.
#[tokio::test(flavor = "multi_thread")]
async fn levels_outages_and_a_second_operator() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let configs: Api<LogLevelConfig> = Api::namespaced(world.client.clone(), "default");
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let rules = async || -> Result<LevelRules> {
        let map = maps.get("cordwood-level-rules").await?;
        let text = map.data.context("data")?.remove("rules.json").context("rules.json")?;
        LevelRules::from_json(&text).map_err(anyhow::Error::msg)
    };
    wait_for("the first rules", PATIENCE, rules).await?;
    let config: LogLevelConfig = serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig",
        "metadata": {"name": "quiet"},
        "spec": {"selector": {"matchLabels": {"app": "checkout"}}, "level": "ERROR", "duration": "15s"},
    }))?;
    let began = Instant::now();
    configs.create(&PostParams::default(), &config).await?;
    wait_for("the rule", PATIENCE, || async {
        ensure!(rules().await?.rules.len() == 1);
        Ok(())
    })
    .await?;
    println!("LogLevelConfig applied -> rules published: {:?}", began.elapsed());
    let expires = rules().await?.rules[0].expires_at_ms.context("an end")?;
    world.kill_operator();
    let letter =
        "insert into dead_letters values (0, 0, now() - interval '90 days', 'older than any record', '')";
    world.execute(letter).await?;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    world.start_operator().await?;
    wait_for("the status", PATIENCE, || async {
        let status = configs.get("quiet").await?.status.context("a status")?;
        ensure!(
            status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Active" && condition.status == "True")
        );
        ensure!(status.agents.as_deref() == Some("0/0"));
        Ok(())
    })
    .await?;
    ensure!(rules().await?.rules[0].expires_at_ms == Some(expires), "a restart moved the end");
    wait_for("what is older than any record to go", PATIENCE, || async {
        ensure!(world.sql_count("select count(*) from dead_letters").await? == 0);
        Ok(())
    })
    .await?;
    println!("{}", kubectl(&world, &["get", "llc", "-n", "default"])?);
    wait_for("the rule to end", PATIENCE, || async {
        ensure!(rules().await?.rules.is_empty());
        Ok(())
    })
    .await?;
    ensure!(jiff::Timestamp::now().as_millisecond() >= expires, "it ended early");

    // A second operator stays behind until the first is gone.
    let policies: Api<LogRetentionPolicy> = world.api();
    let mut second = world.another_operator()?;
    wait_for("the second to follow", PATIENCE, || second.standing("follower")).await?;
    world.kill_operator();
    wait_for("the second to lead", PATIENCE, || second.standing("leader")).await?;
    policies.create(&PostParams::default(), &policy("late", "1h", "1m")).await?;
    wait_for("the second to work", PATIENCE, || world.has_leaf_now("late")).await?;
    second.process.kill();
    world.start_operator().await?;

    // PostgreSQL away, then back.
    world.postgres.stop();
    wait_for("the probe to say so", PATIENCE, || world.unready("PostgreSQL")).await?;
    world.postgres.restart().await?;
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    // The API server away, then back.
    world.server.kill();
    wait_for("the probe to say so", PATIENCE, || world.unready("API server")).await?;
    world.server.restart().await?;
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    ensure!(world.operator_runs(), "the operator ended");
    ensure!(policies.get("late").await?.name_any() == "late");

    // Without rights it says which.
    world.kill_operator();
    world.spawn_operator_as("nobody")?;
    wait_for("the missing right to be named", PATIENCE, || {
        world.unready("missing permission: list and watch logretentionpolicies.cordwood.dev")
    })
    .await?;
    Ok(())
}
