//! A namespace that was deleted and made again: who was granted the new one is shown nothing of the old one, on no route, whatever the
//! gateway remembers of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::Limits;
use cordwood_tests::env::wait_for;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::cluster::{Kubernetes, access};
use super::world::{Line, World, container, ids, line, now_us, put};

const PATIENCE: Duration = Duration::from_secs(30);

/// Without the cluster's controllers nobody else takes the finalizer away.
pub(super) async fn delete(all: &Api<Namespace>, name: &str) -> Result<()> {
    all.delete(name, &DeleteParams::default()).await?;
    let mut namespace = all.get(name).await?;
    namespace.spec.get_or_insert_default().finalizers = None;
    all.replace_subresource("finalize", name, &PostParams::default(), &namespace).await?;
    wait_for("the namespace to be gone", PATIENCE, || async {
        ensure!(all.get_opt(name).await?.is_none());
        Ok(())
    })
    .await
}

fn lines(at: i64, word: &str) -> Vec<Line> {
    let task =
        |id: &str| format!(r#"{{"level":"error","taskId":"{id}","message":"{word} broke","plugin":"p"}}"#);
    let audit = format!(r#"{{"is_audit":true,"level":"info","taskId":"looked","message":"{word} looked"}}"#);
    let audit = Line { flags: cordwood_core::record::Flags::AUDIT, ..line(at + 1, Level::Info, audit) };
    vec![line(at, Level::Error, task(word)), audit]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_made_again_shows_nothing_of_the_one_before() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    let config = cluster.gateway().await?;
    let at = now_us();
    let world = World::start(
        15,
        &[(container("acme", "shop", 0), lines(at, "older"))],
        access(&config).await?,
        Limits::default(),
    )
    .await?;
    let token = async |name: &str, role: &str, namespace: &str| {
        let token = cluster.token(name, "cordwood").await?;
        cluster.bind(name, role, namespace).await?;
        anyhow::Ok(token)
    };
    let shown = async |token: &str, path: &str| {
        let answer = world.get_as(token, path).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        Ok(answer.text())
    };
    // What the gateway remembers: the right, and when the namespace was made.
    let before = token("before", "audit", "shop").await?;
    ensure!(ids(&serde_json::from_str(&shown(&before, "/api/platform/logs").await?)?).len() == 2);
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    delete(&namespaces, "shop").await?;
    wait_for("another second", PATIENCE, || async {
        ensure!(now_us() > at + 1_000_000);
        Ok(())
    })
    .await?;
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}}))?;
    namespaces.create(&PostParams::default(), &shop).await?;
    let (after, everywhere) = (token("after", "audit", "shop").await?, token("all", "audit", "").await?);
    let tenant = token("tenant", "acme", "").await?;
    let paths = [
        "/api/platform/logs",
        "/api/platform/logs?namespace=shop",
        "/api/platform/logs/histogram",
        "/api/platform/logs/facets?field=level&field=plugin",
        "/api/platform/logs/completion?text=plugin%3Dp",
        "/api/platform/logs/aggregates",
        "/api/plugins/p/logs",
    ];
    for path in paths {
        let (theirs, all) = (shown(&after, path).await?, shown(&everywhere, path).await?);
        let nothing = ["older", r#""ERROR""#, r#""records":1"#, r#""count":1"#, r#""text":"p""#];
        ensure!(!nothing.iter().any(|word| theirs.contains(word)), "{path}: {theirs}");
        ensure!(nothing.iter().any(|word| all.contains(word)), "{path}: {all}");
    }
    for (path, text) in [("/api/tasks/older/logs", "older broke"), ("/api/tasks/looked/logs", "older looked")]
    {
        for path in [path.to_owned(), format!("{path}/stats"), format!("{path}/sources")] {
            ensure!(world.get_as(&after, &path).await?.code == 404, "{path}");
        }
        ensure!(shown(&everywhere, path).await?.contains(text), "{path}");
    }
    // A task of which audit records alone tell is not there for a caller who sees none of them.
    ensure!(shown(&tenant, "/api/tasks/older/logs").await?.contains("older broke"));
    for path in ["logs", "logs/stats", "logs/sources"] {
        ensure!(world.get_as(&tenant, &format!("/api/tasks/looked/{path}")).await?.code == 404, "{path}");
    }
    // Nor for a caller who sees the records of all, and audit records of the new namespace alone.
    let reader = token("reader", "logs", "").await?;
    cluster.bind("reader", "audit", "shop").await?;
    let looked = |path: &str| format!("/api/tasks/looked/{path}?namespace=shop");
    ensure!(world.get_as(&reader, &looked("logs")).await?.code == 404);
    let me = world.get_as(&after, "/api/whoami").await?.json()?;
    ensure!(me["namespaces"] == json!(["shop"]), "{me}");
    // Its own are all there.
    let now = now_us();
    put(&world.store, &[(container("acme", "shop", 1), lines(now, "newer"))]).await?;
    for path in ["/api/platform/logs", "/api/platform/logs/aggregates"] {
        let theirs = shown(&after, path).await?;
        ensure!(theirs.contains("newer") && !theirs.contains("older"), "{path}: {theirs}");
    }
    ensure!(shown(&after, "/api/tasks/newer/logs").await?.contains("newer broke"));
    // Of the task that both have, the new one's line.
    let both = shown(&after, "/api/tasks/looked/logs").await?;
    ensure!(both.contains("newer looked") && !both.contains("older"), "{both}");
    let both = shown(&reader, &looked("logs")).await?;
    ensure!(both.contains("newer looked") && !both.contains("older"), "{both}");
    let metrics = world.metrics()?;
    ensure!(
        metrics.contains(r#"cordwood_gateway_reviews_total{answer="yes",kind="namespace"}"#),
        "{metrics}"
    );
    Ok(())
}
