//! Levels changed inside applications: real HTTP servers at the addresses of pods on a real API server, told by the operator's own program,
//! and put back at the end, also by an operator that was killed meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_crds::LogLevelConfig;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::wait_for;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::applications::{App, Gate, Kind, delete, namespace, pod};
use crate::operator_world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const PODS: &str = "/api/v1/namespaces/shop/pods";

async fn world() -> Result<World> {
    let mut world = World::start(15).await?;
    world.more =
        json!({"levels": {"ask_interval_ms": 300, "push": {"enabled": true, "allow_loopback": true}}});
    for name in ["shop", "bank"] {
        namespace(&world.client, name).await?;
    }
    Ok(world)
}

fn configs(client: &Client) -> Api<LogLevelConfig> {
    Api::namespaced(client.clone(), "shop")
}

/// For the pods with this label `app`, for an hour.
async fn config(client: &Client, name: &str, app: &str, level: &str, push: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": name},
        "spec": {"level": level, "duration": "1h", "selector": {"matchLabels": {"app": app}}, "push": push},
    });
    configs(client).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

async fn remove(client: &Client, name: &str) -> Result<()> {
    configs(client).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// The condition `Pushed` is this, and its message has these words.
async fn pushed(client: &Client, name: &str, wanted: &str, words: &[&str]) -> Result<()> {
    wait_for(&format!("{wanted} of {name}"), PATIENCE, || async {
        let conditions = configs(client).get(name).await?.status.context("a status")?.conditions;
        let found = conditions.iter().find(|one| one.type_ == "Pushed").context("no condition Pushed")?;
        ensure!(format!("{} {}", found.status, found.reason) == wanted, "{found:?}");
        ensure!(words.iter().all(|word| found.message.contains(word)), "{found:?}");
        Ok(())
    })
    .await
}

async fn has(app: &App, logger: &str, level: &str) -> Result<()> {
    wait_for(&format!("{level} of {logger:?}"), PATIENCE, || app.has(logger, level)).await
}

/// How often it was told a level.
fn told(app: &App) -> usize {
    app.requests().iter().filter(|request| request.starts_with("PUT ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_get_the_level_and_have_their_own_again_at_the_end() -> Result<()> {
    let mut world = world().await?;
    let client = world.client.clone();
    let port = Port::free()?;
    let port = port.number();
    let at = |ip: &str| format!("{ip}:{port}");
    let spring = App::start(Kind::Spring, &at("127.0.0.11"), &[("ROOT", "INFO")]).await?;
    let inherited = App::start(Kind::Spring, &at("127.0.0.12"), &[]).await?;
    let zap = App::start(Kind::Zap, &at("127.0.0.13"), &[("", "info")]).await?;
    let later = App::start(Kind::Zap, &at("127.0.0.14"), &[("", "debug")]).await?;
    let envoy =
        App::start(Kind::Envoy, &at("127.0.0.15"), &[("admin", "info"), ("http", "debug"), ("main", "info")])
            .await?;
    let text = App::start(Kind::Text, &at("127.0.0.16"), &[("", "WARN")]).await?;
    let own = cordwood_logger::Builder::new().service("shop").writer(std::io::sink()).start()?;
    own.serve_levels(at("127.0.0.17"))?;
    let own_level = || -> Result<Value> {
        let said: Value = serde_json::from_str(&own.levels().as_json())?;
        Ok(said["level"].clone())
    };
    let before = own_level()?;
    for (app, ip, push) in [
        ("spring", "127.0.0.11", json!({"springBoot": {"port": port}})),
        ("zap", "127.0.0.13", json!({"zap": {"port": port}})),
        ("envoy", "127.0.0.15", json!({"envoy": {"port": port}})),
        ("text", "127.0.0.16", json!({"http": {"port": port, "path": "/lvl", "body": "level=${LEVEL}"}})),
        ("own", "127.0.0.17", json!({"cordwood": {"port": port}})),
    ] {
        pod(&client, "shop", (app, app), ip, json!({})).await?;
        config(&client, app, app, "ERROR", push).await?;
    }
    pod(&client, "shop", ("inherited", "spring"), "127.0.0.12", json!({})).await?;
    // Of another namespace: nobody asks it.
    let bank = App::start(Kind::Zap, &at("127.0.0.18"), &[("", "info")]).await?;
    pod(&client, "bank", ("zap", "zap"), "127.0.0.18", json!({})).await?;

    world.start_operator().await?;
    has(&spring, "ROOT", "ERROR").await?;
    has(&inherited, "ROOT", "ERROR").await?;
    has(&zap, "", "error").await?;
    for logger in ["admin", "http", "main"] {
        has(&envoy, logger, "error").await?;
    }
    has(&text, "", "ERROR").await?;
    let is_own = |wanted: Value| {
        let found = own_level();
        async move {
            let found = found?;
            ensure!(found == wanted, "{found}");
            Ok(())
        }
    };
    wait_for("the logger's level", PATIENCE, || is_own(json!("ERROR"))).await?;
    pushed(&client, "spring", "True AllPods", &["2 of 2 pods have ERROR"]).await?;
    for name in ["zap", "envoy", "text", "own"] {
        pushed(&client, name, "True AllPods", &["1 of 1 pods have ERROR"]).await?;
    }

    // A pod that starts while nobody leads is told by the next operator, which tells nobody twice.
    world.kill_operator();
    pod(&client, "shop", ("later", "zap"), "127.0.0.14", json!({})).await?;
    world.start_operator().await?;
    has(&later, "", "error").await?;
    pushed(&client, "zap", "True AllPods", &["2 of 2 pods"]).await?;
    ensure!(told(&zap) == 1, "{:?}", zap.requests());

    // Three end while nobody leads, one by its time and two because they are deleted; then the others.
    world.kill_operator();
    let end = Timestamp::now().as_second() + 1;
    let ends = json!({"spec": {"duration": null, "expiresAt": Timestamp::from_second(end)?.to_string()}});
    configs(&client).patch("zap", &PatchParams::default(), &Patch::Merge(&ends)).await?;
    remove(&client, "spring").await?;
    remove(&client, "own").await?;
    world.start_operator().await?;
    has(&zap, "", "info").await?;
    has(&later, "", "debug").await?;
    has(&spring, "ROOT", "INFO").await?;
    wait_for("no level of its own", PATIENCE, || async {
        ensure!(inherited.levels().is_empty(), "{:?}", inherited.levels());
        Ok(())
    })
    .await?;
    wait_for("the logger's level before", PATIENCE, || is_own(before.clone())).await?;
    pushed(&client, "zap", "False NotInForce", &["no pod has its level"]).await?;
    configs(&client).patch("envoy", &PatchParams::default(), &Patch::Merge(&ends)).await?;
    remove(&client, "text").await?;
    for (logger, level) in [("admin", "info"), ("http", "debug"), ("main", "info")] {
        has(&envoy, logger, level).await?;
    }
    has(&text, "", "WARN").await?;
    pushed(&client, "envoy", "False NotInForce", &["no pod has its level"]).await?;
    ensure!(bank.connections() == 0, "{:?}", bank.requests());

    let operator = world.operator.as_ref().context("an operator")?;
    let (_, metrics) = operator.get("/metrics").await?;
    ensure!(metrics.contains("cordwood_operator_pushes_total{outcome=\"restored\"}"), "{metrics}");
    let log = operator.process.log_tail(100_000);
    let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let ended = |pod: &str| {
        let is_it = |one: &&Value| one["action"] == "level-push-ended" && one["metadata"]["pod"] == pod;
        records.iter().filter(is_it).count()
    };
    for pod in ["spring", "inherited", "zap", "later", "envoy", "text", "own"] {
        ensure!(ended(pod) == 1, "{pod}: {} records\n{log}", ended(pod));
    }
    Ok(())
}

/// Fault 36. The operator has listed pod `a` and is about to ask it; then the pod goes, and one of another namespace gets its address: before
/// the connection is made, and when it is there already.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_another_pod_has_got_sees_no_request() -> Result<()> {
    let mut world = world().await?;
    let client = world.client.clone();
    let port = Port::free()?;
    let port = port.number();
    let gate = Gate::start(client.clone()).await?;
    world.start_operator_through(&gate.url()).await?;
    let witness = App::start(Kind::Zap, &format!("127.0.0.30:{port}"), &[("", "info")]).await?;
    pod(&client, "shop", ("witness", "checkout"), "127.0.0.30", json!({})).await?;
    config(&client, "quiet", "checkout", "ERROR", json!({"zap": {"port": port}})).await?;
    has(&witness, "", "error").await?;
    for (name, ip, asked_before) in [("a-1", "127.0.0.31", 0), ("a-2", "127.0.0.32", 1)] {
        gate.hold(&format!("{PODS}/{name}"), asked_before);
        let other = App::start(Kind::Zap, &format!("{ip}:{port}"), &[("", "info")]).await?;
        let uid = pod(&client, "shop", (name, "checkout"), ip, json!({})).await?;
        tokio::time::timeout(PATIENCE, gate.held()).await.context("nobody asks for the pod")?;
        ensure!(gate.listed(PODS, &[&uid, ip]), "the operator has not listed {name} at {ip}");
        wait_for("as many connections as questions", PATIENCE, || async {
            ensure!(other.connections() == asked_before, "{} connections", other.connections());
            Ok(())
        })
        .await?;
        delete(&client, "shop", name).await?;
        let reused = pod(&client, "bank", (name, "checkout"), ip, json!({})).await?;
        ensure!(reused != uid);
        gate.let_go();
        let gone = "cordwood_operator_pushes_total{outcome=\"gone\"}";
        wait_for("the pod to be found gone", PATIENCE, || async {
            let (_, metrics) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
            let line = metrics.lines().find(|line| line.starts_with(gone)).context("none is gone")?;
            ensure!(line.ends_with(&format!(" {}", asked_before + 1)), "{line}");
            Ok(())
        })
        .await?;
        pushed(&client, "quiet", "True AllPods", &["1 of 1 pods have ERROR"]).await?;
        ensure!(other.requests().is_empty(), "{name}: {:?}", other.requests());
        other.has("", "info").await?;
    }
    // The way works: without the fault such a pod is told.
    let app = App::start(Kind::Zap, &format!("127.0.0.33:{port}"), &[("", "info")]).await?;
    pod(&client, "shop", ("a-3", "checkout"), "127.0.0.33", json!({})).await?;
    has(&app, "", "error").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_pushed_says_why_and_what_is_not_ours_stays() -> Result<()> {
    let mut world = world().await?;
    let client = world.client.clone();
    let (port, closed) = (Port::free()?, Port::free()?);
    let (port, closed) = (port.number(), closed.number());
    let at = |ip: &str| format!("{ip}:{port}");
    let zap = App::start(Kind::Zap, &at("127.0.0.41"), &[("", "info")]).await?;
    let victim = App::start(Kind::Zap, &at("127.0.0.42"), &[("", "info")]).await?;
    let elsewhere = Kind::Redirect(format!("http://{}/log/level", at("127.0.0.42")));
    let redirect = App::start(elsewhere, &at("127.0.0.43"), &[]).await?;
    let host = App::start(Kind::Zap, &at("127.0.0.44"), &[("", "info")]).await?;
    pod(&client, "shop", ("zap", "zap"), "127.0.0.41", json!({})).await?;
    pod(&client, "shop", ("redirect", "redirect"), "127.0.0.43", json!({})).await?;
    pod(&client, "shop", ("host", "host"), "127.0.0.44", json!({"hostNetwork": true})).await?;
    config(&client, "older", "zap", "WARN", json!({"zap": {"port": closed}})).await?;
    config(&client, "redirect", "redirect", "ERROR", json!({"zap": {"port": port}})).await?;
    config(&client, "host", "host", "ERROR", json!({"zap": {"port": port}})).await?;
    world.start_operator().await?;

    let refused = format!("shop/zap (port {closed}: connection refused)");
    pushed(&client, "older", "False PodsFailed", &["0 of 1 pods have WARN", &refused]).await?;
    pushed(&client, "redirect", "False PodsFailed", &["shop/redirect", "redirect is not followed"]).await?;
    pushed(&client, "host", "False PodsFailed", &["shop/host", "hostNetwork"]).await?;
    wait_for("it to be tried again", PATIENCE, || async {
        ensure!(redirect.requests().len() > 1, "{:?}", redirect.requests());
        Ok(())
    })
    .await?;
    ensure!(victim.connections() == 0 && host.connections() == 0);

    // Of two the newest decides; the next takes over, and at last what was there before.
    let right = json!({"spec": {"push": {"zap": {"port": port}}}});
    configs(&client).patch("older", &PatchParams::default(), &Patch::Merge(&right)).await?;
    has(&zap, "", "warn").await?;
    config(&client, "the-newer", "zap", "ERROR", json!({"zap": {"port": port}})).await?;
    has(&zap, "", "error").await?;
    pushed(&client, "older", "True AllPods", &["0 of 0 pods have WARN; in 1 another level config decides"])
        .await?;
    remove(&client, "the-newer").await?;
    has(&zap, "", "warn").await?;
    remove(&client, "older").await?;
    has(&zap, "", "info").await?;

    // Somebody changes the level meanwhile: it stays as they made it.
    config(&client, "again", "zap", "ERROR", json!({"zap": {"port": port}})).await?;
    has(&zap, "", "error").await?;
    pushed(&client, "again", "True AllPods", &["1 of 1 pods"]).await?;
    zap.set("", "debug");
    remove(&client, "again").await?;
    let left = "cordwood_operator_pushes_total{outcome=\"left\"} 1";
    wait_for("it to be left as it is", PATIENCE, || async {
        let (_, metrics) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
        ensure!(metrics.contains(left), "{metrics}");
        Ok(())
    })
    .await?;
    zap.has("", "debug").await?;

    // What was there before is lost: nothing wrong is put back, and the status says so.
    config(&client, "last", "zap", "ERROR", json!({"zap": {"port": port}})).await?;
    has(&zap, "", "error").await?;
    pushed(&client, "last", "True AllPods", &["1 of 1 pods"]).await?;
    world.kill_operator();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.delete("cordwood-pushes", &DeleteParams::default()).await?;
    let count = zap.requests().len();
    world.start_operator().await?;
    pushed(&client, "last", "False PodsFailed", &["which level it had before is lost"]).await?;
    let ends = json!({"spec": {"duration": null, "expiresAt": Timestamp::now().to_string()}});
    configs(&client).patch("last", &PatchParams::default(), &Patch::Merge(&ends)).await?;
    pushed(&client, "last", "False NotInForce", &["is lost"]).await?;
    ensure!(zap.requests().len() == count, "{:?}", zap.requests());
    Ok(())
}
