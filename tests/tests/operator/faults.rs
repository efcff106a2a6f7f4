//! Faults beside an operator that goes on in one process: an API server that is away and forgets what happened meanwhile, rights that are taken away, a
//! leader that is paused in the middle of a step, a policy that is deleted there, and policies that want the same records.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::retention::{RouteKey, Routes};
use cordwood_crds::LogRetentionPolicy;
use cordwood_tests::env::proxy::{Fault, Proxy};
use cordwood_tests::env::wait_for;
use futures::StreamExt as _;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use rustix::process::Signal;
use serde_json::json;

use super::operator_world::{World, policy, retention};

const PATIENCE: Duration = Duration::from_secs(60);
const PENDING: &str = "select count(*) from pg_inherits where inhdetachpending";

async fn route_of(world: &World, policy: &str) -> Result<i64> {
    let sql =
        format!("select count(*) from routes, jsonb_array_elements(body) r where r->>'policy' = '{policy}'");
    world.sql_count(&sql).await
}

/// Faults 28 and 29: objects come, change and go while the operator cannot ask, and the API server has forgotten from where its watches would go
/// on. Nothing is missed, and no restart is needed.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_api_server_forgot_meanwhile_is_not_missed() -> Result<()> {
    let mut world = World::start(15).await?;
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], world.server.port()))).await?;
    world.start_operator_through(&format!("https://{}", proxy.address())).await?;
    let process = world.operator.as_ref().context("an operator")?.process.id();
    let policies = world.api();
    for name in ["shop", "gone"] {
        policies.create(&PostParams::default(), &policy(name, "1h", "1m")).await?;
        wait_for("the policy to be Ready", PATIENCE, || world.condition(name, "Ready", "True")).await?;
    }
    let version = policies.list(&Default::default()).await?.metadata.resource_version.context("a version")?;
    proxy.set(Fault::Cut);
    wait_for("the probe to say so", PATIENCE, || world.unready("the API server cannot be reached")).await?;
    policies.delete("gone", &DeleteParams::default()).await?;
    policies.create(&PostParams::default(), &policy("late", "1h", "1m")).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("2h"))).await?;
    // What it knows of changes begins again with its process.
    world.server.restart().await?;
    wait_for("the version to be forgotten", PATIENCE, || is_forgotten(&policies, &version)).await?;
    ensure!(route_of(&world, "gone").await? == 1 && route_of(&world, "late").await? == 0, "it was not away");

    proxy.set(Fault::None);
    wait_for("the deletion to be seen", PATIENCE, || async {
        ensure!(route_of(&world, "gone").await? == 0);
        Ok(())
    })
    .await?;
    for name in ["late", "shop"] {
        wait_for("the policy to be Ready", PATIENCE, || world.condition(name, "Ready", "True")).await?;
    }
    let longer = "select count(*) from classes where policy = 'shop' and retention_us = 7200000000";
    ensure!(world.sql_count(longer).await? == 4, "the edit was missed");
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    ensure!(world.operator_runs(), "the operator ended");
    ensure!(world.operator.as_ref().context("an operator")?.process.id() == process);
    Ok(())
}

/// The API server answers 410 to a watch from this version.
async fn is_forgotten(policies: &Api<LogRetentionPolicy>, version: &str) -> Result<()> {
    let parameters = WatchParams::default().timeout(5);
    let mut stream = match policies.watch(&parameters, version).await {
        Ok(stream) => stream.boxed(),
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
        Err(error) => return Err(error).context("watch"),
    };
    match stream.next().await {
        Some(Ok(WatchEvent::Error(status))) if status.code == 410 => Ok(()),
        Some(Err(kube::Error::Api(status))) if status.code == 410 => Ok(()),
        other => anyhow::bail!("it goes on with {other:?}"),
    }
}

/// Fault 30: rights are taken away from an operator that runs. It says which, drops nothing, makes what records wait for, and goes on when it has
/// them again.
#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_revoked_stop_what_takes_away_and_nothing_else() -> Result<()> {
    let mut world = World::start(15).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(world.client.clone());
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    }))?;
    bindings.create(&PostParams::default(), &binding).await?;
    world.start_operator_as("nobody").await?;
    let process = world.operator.as_ref().context("an operator")?.process.id();
    let policies = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "2m")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;

    bindings.delete("operator", &DeleteParams::default()).await?;
    wait_for("the missing right to be named", PATIENCE, || world.unready("missing permission: ")).await?;
    let table = world.leaf(classes[0], "desc").await?;
    world.execute(&format!("alter table blocks_c{} detach partition {table}", classes[0])).await?;
    wait_for("what is missing to be attached again", PATIENCE, || async {
        let sql = format!("select count(*) from pg_inherits where inhrelid = '{table}'::regclass");
        ensure!(world.sql_count(&sql).await? == 1);
        Ok(())
    })
    .await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    // Watches that are open stay so: it learns of the edit, and cannot show what it would do.
    let short = "select count(*) from classes where policy = 'shop' and retention_us = 1800000000";
    wait_for("the shorter retention to be in force", PATIENCE, || async {
        ensure!(world.sql_count(short).await? == 4);
        Ok(())
    })
    .await?;
    let since = world.sql_count("select extract(epoch from clock_at)::bigint from horizon").await?;
    wait_for("more passes", PATIENCE, || async {
        let at = world.sql_count("select extract(epoch from clock_at)::bigint from horizon").await?;
        ensure!(at > since + 2, "{at}");
        Ok(())
    })
    .await?;
    ensure!(world.visible(&classes).await? == stored, "records went although nobody could see the plan");

    bindings.create(&PostParams::default(), &binding).await?;
    wait_for("what has expired to go", PATIENCE, || world.at_least("detach", "shop", 20)).await?;
    wait_for("readiness to come back", PATIENCE, || world.ready()).await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    ensure!(world.operator.as_ref().context("an operator")?.process.id() == process);
    Ok(())
}

/// Fault 31: a leader is stopped in the middle of a detach, and another one leads. As long as the first one's sessions live the second does nothing; when
/// they have ended it goes on; when the first wakes up it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_paused_in_mid_step_does_no_harm_when_it_wakes_up() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let policies = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    let reader = world.postgres.client().await?;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from blocks").await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("a detach to be under way", PATIENCE, || async {
        ensure!(world.sql_count(PENDING).await? > 0);
        Ok(())
    })
    .await?;
    let first = world.operator.as_ref().context("an operator")?;
    first.process.signal(Signal::STOP)?;
    let mut second = world.another_operator()?;
    let first = world.operator.as_ref().context("an operator")?;
    wait_for("the second to have the lease", PATIENCE, || second.standing("leader")).await?;
    wait_for("the second to say that it is locked out", PATIENCE, || async {
        let (_, body) = second.get("/readyz").await?;
        ensure!(body.contains("another session holds the advisory lock"), "{body}");
        Ok(())
    })
    .await?;
    reader.batch_execute("commit").await?;
    let before = world.steps("", "").await?;
    ensure!(world.sql_count(PENDING).await? > 0, "the step of the first was over");
    // As a server does that has lost a client.
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'cordwood operator%'";
    world.sql_count(end).await?;
    wait_for("the second to finish the step and to go on", PATIENCE, || async {
        ensure!(world.sql_count(PENDING).await? == 0);
        world.at_least("detach", "shop", 20).await
    })
    .await?;
    ensure!(world.steps("", "").await? > before);
    first.process.signal(Signal::CONT)?;
    wait_for("the first to follow", PATIENCE, || first.standing("follower")).await?;
    wait_for("the rows of leaves to be right", PATIENCE, || world.leaves_are_right()).await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    let twice = "select count(*) from (select from ledger where step = 'detach' and outcome = 'done' group by subject having count(*) > 1) twice";
    ensure!(world.sql_count(twice).await? == 0, "a step was done twice");
    ensure!(world.operator_runs(), "the first ended");
    second.process.kill();
    Ok(())
}

/// Fault 32: a policy is deleted while one of its partitions is being detached. What had begun ends, nothing young goes, and the policy that is
/// there again within the grace period has all its records. Fault 33: two that want the same records say so, and the longer, then the higher wins.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_deleted_in_mid_drop_and_two_of_one_mind() -> Result<()> {
    let mut world = World::start(18).await?;
    world.start_operator().await?;
    let policies = world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    let stored = world.fill(&classes, 55).await?;
    let reader = world.postgres.client().await?;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from blocks").await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("a detach to be under way", PATIENCE, || async {
        ensure!(world.sql_count(PENDING).await? > 0);
        Ok(())
    })
    .await?;
    policies.delete("shop", &DeleteParams::default()).await?;
    wait_for("the deletion to be seen", PATIENCE, || async {
        ensure!(route_of(&world, "shop").await? == 0);
        Ok(())
    })
    .await?;
    ensure!(world.sql_count(PENDING).await? > 0, "the step was over before the deletion");
    reader.batch_execute("commit").await?;
    wait_for("the step to end", PATIENCE, || async {
        ensure!(world.sql_count(PENDING).await? == 0);
        Ok(())
    })
    .await?;
    world.nothing_young_is_gone(&classes, stored, 30).await?;
    policies.create(&PostParams::default(), &policy("shop", "1h", "1h")).await?;
    wait_for("all records to be back", PATIENCE, || async {
        let visible = world.visible(&classes).await?;
        ensure!(visible == stored, "{visible} of {stored}");
        Ok(())
    })
    .await?;
    let dropped = "select count(*) from ledger where step = 'drop' and policy = 'shop' and bytes > 0";
    ensure!(world.sql_count(dropped).await? == 0, "records were dropped");
    wait_for("the rows of leaves to be right", PATIENCE, || world.leaves_are_right()).await?;

    let rival = |name: &str, kept: &str| {
        let mut rival = policy(name, kept, "1h");
        rival.spec.matches.tenants = vec!["both-*".to_owned()];
        rival
    };
    policies.create(&PostParams::default(), &rival("short", "1h")).await?;
    policies.create(&PostParams::default(), &rival("long", "2h")).await?;
    for (name, other) in [("short", "long"), ("long", "short")] {
        wait_for("both to say so", PATIENCE, || async {
            world.condition(name, "Conflict", "True").await?;
            let conditions = policies.get(name).await?.status.context("a status")?.conditions;
            let said = conditions.iter().find(|one| one.type_ == "Conflict").context("Conflict")?;
            ensure!(said.message.contains(other), "{}", said.message);
            Ok(())
        })
        .await?;
    }
    wait_for("the longer to win", PATIENCE, || wins(&world, "long")).await?;
    let higher = json!({"spec": {"priority": 11}});
    policies.patch("short", &PatchParams::default(), &Patch::Merge(higher)).await?;
    wait_for("the higher to win", PATIENCE, || wins(&world, "short")).await?;
    for name in ["short", "long"] {
        wait_for("nobody to complain", PATIENCE, || world.condition(name, "Conflict", "False")).await?;
    }
    Ok(())
}

/// Records of the tenant that both match go to this policy's class.
async fn wins(world: &World, policy: &str) -> Result<()> {
    let client = world.postgres.client().await?;
    let body: String = client.query_one("select body::text from routes", &[]).await?.get(0);
    let routes: Routes = serde_json::from_str(&body)?;
    let key = RouteKey { tenant: "both-eu", namespace: "n", service: "s", audit: false };
    let class = routes.class_of(&key, Level::Info).context("no class")?.0;
    let sql = "select policy from classes where id = $1";
    let winner: String = client.query_one(sql, &[&class]).await?.get(0);
    ensure!(winner == policy, "{winner}");
    Ok(())
}
