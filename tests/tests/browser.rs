//! The interface in a real browser, for people whom a real API server grants this and that: they log in at a real identity provider, before a
//! gateway on real PostgreSQL. `ui/tests-rights/` says what each must see.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::agents::{Agent, Agents};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_gateway::{
    Access, Administration, AdministrationConfig, AgentsSource, Cluster, Limits, Oidc, Seals,
};
use serde_json::json;

#[allow(dead_code, reason = "the tests of the gateway need more of it")]
#[path = "gateway/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the tests of the gateway need more of it")]
#[path = "gateway/people.rs"]
mod people;
#[allow(dead_code, reason = "the tests of the gateway need more of it")]
#[path = "gateway/world.rs"]
mod world;

use cluster::RESOURCES;
use people::{ORIGIN, People, user};
use world::{Line, World, container, line, now_us, put};

const INTERFACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui");
/// How often there is something new.
const TICK: Duration = Duration::from_millis(500);
/// 24 MB, of which half is left when it is packed.
const BULK_LINES: i64 = 12_000;
const BULK_WORDS: usize = 125;

#[tokio::test(flavor = "multi_thread")]
async fn people_see_in_the_browser_what_they_are_granted() -> Result<()> {
    let vitest = Path::new(INTERFACE).join("node_modules/.bin/vitest");
    ensure!(vitest.exists(), "the interface's packages are not installed: scripts/ui-test installs them");
    let chromium = std::env::var_os("CORDWOOD_CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    ensure!(
        Path::new(&chromium).exists(),
        "chromium is missing: scripts/setup test (or name one in CORDWOOD_CHROMIUM)"
    );
    let folder = tempfile::tempdir()?;
    let people = People::start(folder.path()).await?;
    cluster::install(&people.cluster).await?;
    grant(&people).await?;
    let sources = sources();
    let world = gateway(&people, &sources, folder.path()).await?;
    let about = json!({
        "origin": ORIGIN,
        "gateway": world.address,
        "certificate": people.provider.certificate(),
        "apiServer": people.cluster.server.url(),
        "apiToken": cordwood_tests::env::ADMIN_TOKEN,
        "reader": people.cluster.token("reader", "cordwood").await?,
        "metrics": folder.path().join("metrics"),
        "soon": people.provider.sign(&json!({"sub": "anna", "exp": now_us() / 1_000_000 + 20})).await?,
    });
    let file = folder.path().join("world.json");
    std::fs::write(&file, about.to_string())?;
    let metrics = folder.path().join("metrics");
    std::fs::write(&metrics, world.metrics()?)?;
    let mut tests = tokio::process::Command::new(vitest)
        .args(["run", "--config", "vitest.rights.config.ts"])
        .current_dir(INTERFACE)
        .env("CORDWOOD_RIGHTS", &file)
        .env("CORDWOOD_CHROMIUM", &chromium)
        .env("NODE_EXTRA_CA_CERTS", people.cluster.server.ca_file())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start vitest: scripts/setup test installs Node and Chromium")?;
    let ended = tokio::select! {
        ended = tests.wait() => ended?,
        failed = ticks(&world, &metrics) => return failed,
    };
    ensure!(ended.success(), "what vitest says above");
    Ok(())
}

async fn gateway(people: &People, sources: &[(Origin, Vec<Line>)], folder: &Path) -> Result<World> {
    let mut config = people.cluster.gateway().await?;
    // What is taken away is to be seen soon.
    (config.allow_ms, config.deny_ms) = (100, 100);
    people.cluster.bind("gateway", "administers", "").await?;
    let known = Cluster::new(&config).await?.with_oidc(Oidc::new(&people.config)?);
    let access = Access::Cluster(Arc::new(known));
    let switched_on = AdministrationConfig { enabled: true, ..AdministrationConfig::default() };
    let administration = Administration::of_cluster(&switched_on, &access);
    ensure!(administration.is_some());
    let agent =
        Agent { node: "node-1".to_owned(), unreachable: Some("no route".to_owned()), ..Agent::default() };
    let agents = AgentsSource::here(move || Agents { agents: vec![agent.clone()], ..Agents::default() });
    let key = folder.join("session-key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n")?;
    let seals = Seals::read(&key)?;
    let limits = Limits { stream_rights_ms: 200, ..Limits::default() };
    World::whose(18, sources, access, limits, |gateway| {
        gateway.with_session_keys(seals).administering(administration).showing_agents(Some(agents))
    })
    .await
}

/// anna sees one namespace; carl two, with their tasks; nina two, of which one is taken from her; ada everything, and she administers; vera sees what is
/// administered, and changes nothing; nils nothing.
async fn grant(people: &People) -> Result<()> {
    let cluster = &people.cluster;
    let rule = |resources: &[&str], verbs: &[&str]| json!([{"apiGroups": ["cordwood.dev"], "resources": resources, "verbs": verbs}]);
    for (role, resources, verbs) in [
        ("tasks", &["tasklogs"][..], &["get"][..]),
        ("administers", &RESOURCES, &["get", "list", "create", "patch", "delete"]),
        ("edits", &RESOURCES, &["get", "list", "create", "update", "delete"]),
        ("views", &RESOURCES, &["get", "list"]),
        ("agents", &["agents"], &["get"]),
    ] {
        cluster.cluster_role(role, rule(resources, verbs)).await?;
    }
    for (name, role, namespace) in [
        ("anna", "tasks", "shop"),
        ("carl", "logs", "shop"),
        ("carl", "logs", "bank"),
        ("carl", "tasks", "shop"),
        ("carl", "tasks", "bank"),
        ("nina", "logs", "shop"),
        ("nina", "logs", "bank"),
        ("ada", "audit", ""),
        ("ada", "edits", ""),
        ("ada", "agents", ""),
        ("vera", "views", ""),
        ("vera", "agents", ""),
    ] {
        cluster.bind_subject(&format!("{name}-{role}"), user(name), role, namespace).await?;
    }
    cluster.token("reader", "cordwood").await?;
    cluster.bind("reader", "logs", "shop").await
}

/// Of two namespaces of a tenant, and of one of another: lines, errors, a task of both, audit records, a plugin. Each names its namespace.
fn sources() -> Vec<(Origin, Vec<Line>)> {
    let begin_us = now_us();
    let places =
        [("acme", "shop", "checkout"), ("acme", "bank", "ledger"), ("umbrella", "lab", "centrifuge")];
    let of = |(number, (tenant, namespace, service)): (u32, (&str, &str, &str))| {
        let origin = Origin {
            service: service.into(),
            workload: format!("Deployment/{service}"),
            plugin: format!("{namespace}-plugin"),
            ..container(tenant, namespace, number)
        };
        let at = |n: i64| begin_us + i64::from(number) * 1000 + n;
        let mut lines: Vec<Line> =
            (0..20).map(|n| line(at(n), Level::Info, format!("{namespace}-line {n}"))).collect();
        let error = json!({"level": "error", "message": format!("{namespace}-error: refused"), "errorType": format!("{namespace}Refused"),
            "errorStack": format!("{namespace}Refused: no\n    at pay (/app/{namespace}.js:1:1)")});
        lines.push(line(at(20), Level::Error, error.to_string()));
        for task in ["4711".to_owned(), format!("{namespace}-task")] {
            let step = json!({"level": "info", "taskId": task, "source": format!("{namespace}-source"), "message": format!("{namespace}-step of {task}")});
            lines.push(line(at(21), Level::Info, step.to_string()));
        }
        let audit = json!({"is_audit": true, "action": "login", "message": format!("{namespace}-audit")});
        lines.push(Line { flags: Flags::AUDIT, ..line(at(23), Level::Info, audit.to_string()) });
        (origin, lines)
    };
    let mut sources: Vec<_> = (0..).zip(places).map(of).collect();
    sources.push(bulk(begin_us - 3_600_000_000));
    sources
}

/// More than the buffers between a gateway and a slow browser hold, and nothing that can be packed: what an export of takes its time.
fn bulk(begin_us: i64) -> (Origin, Vec<Line>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut word = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let text = |n: i64, word: &mut dyn FnMut() -> String| {
        let words: String = (0..BULK_WORDS).map(|_| word()).collect();
        line(begin_us + n, Level::Info, format!("bulk {words}"))
    };
    let lines = (0..BULK_LINES).map(|n| text(n, &mut word)).collect();
    (Origin { service: "bulk".into(), ..container("initech", "bulk", 9) }, lines)
}

/// A line of two namespaces again and again, each from a container of its own; and what the gateway's metrics say.
async fn ticks(world: &World, metrics: &Path) -> Result<()> {
    for number in 1000.. {
        // Whole, or as it was before.
        let next = metrics.with_extension("next");
        std::fs::write(&next, world.metrics()?)?;
        std::fs::rename(&next, metrics)?;
        let lines = |namespace: &str| {
            let origin = Origin { service: "ticker".into(), ..container("acme", namespace, number) };
            (origin, vec![line(now_us_exactly(), Level::Info, format!("{namespace}-tick {number}"))])
        };
        put(&world.store, &[lines("shop"), lines("bank")]).await?;
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

fn now_us_exactly() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
