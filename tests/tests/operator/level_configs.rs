//! Level configs on a real API server: those for the whole cluster, those that have no room, and what an operator of the version
//! before left behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::levels::LevelRules;
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogLevelConfigStatus};
use cordwood_tests::env::wait_for;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::operator_world::World;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where the operator of the test runs.
const RELEASE: &str = "default";

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_takes_no_room_from_others_and_only_the_cluster_kind_is_for_all() -> Result<()> {
    let mut world = World::start(15).await?;
    left_by_the_version_before(&world).await?;
    for namespace in ["greedy", "shop"] {
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::all(world.client.clone()).create(&PostParams::default(), &object).await?;
    }
    // Each is as large as a valid one can be: twelve were more than the one object of all rules can hold.
    for number in 0..12 {
        own(&world, "greedy")
            .create(&PostParams::default(), &config(&format!("large-{number:02}"), large()))
            .await?;
    }
    let quiet =
        json!({"level": "ERROR", "duration": "30m", "selector": {"matchLabels": {"app": "checkout"}}});
    own(&world, "shop").create(&PostParams::default(), &config("quiet", quiet)).await?;
    let cluster: Api<ClusterLogLevelConfig> = Api::all(world.client.clone());
    for (name, spec) in [
        ("application-default", json!({"level": "INFO", "default": true})),
        ("task-default", json!({"level": "DEBUG", "default": true, "scope": "task"})),
        ("emergency", json!({"level": "WARN", "duration": "30m", "unleveled": "drop"})),
    ] {
        cluster.create(&PostParams::default(), &wide(name, spec)).await?;
    }
    // Times of objects are whole seconds: a second default is one that came later.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let second = json!({"level": "TRACE", "default": true, "scope": "task"});
    cluster.create(&PostParams::default(), &wide("another-task-default", second)).await?;

    world.start_operator().await?;
    let ids = ["application-default", "default/quiet", "emergency", "greedy/large-00", "shop/quiet"];
    wait_for("the rules", PATIENCE, || has_rules(&world, &ids)).await?;
    let rules = rules(&world).await?;
    ensure!(
        rules.task_rules.iter().map(|rule| rule.id.as_str()).eq(["task-default"]),
        "{:?}",
        rules.task_rules
    );
    ensure!(rules.version == 2 && rules.generation > 7, "version {}, {}", rules.version, rules.generation);
    let quiet = rules.get("default/quiet").context("the rule of the release's namespace")?;
    ensure!(quiet.namespace.as_deref() == Some(RELEASE), "it is for {:?}", quiet.namespace);

    let told = |status: Option<LogLevelConfigStatus>, kind: &str, wanted: &str| {
        let conditions = status.context("a status")?.conditions;
        let found = conditions.iter().find(|condition| condition.type_ == kind).context("the condition")?;
        ensure!(format!("{} {}", found.status, found.reason) == wanted, "{found:?}");
        Ok(())
    };
    for (namespace, name, kind, wanted) in [
        ("greedy", "large-00", "Accepted", "True Accepted"),
        ("greedy", "large-01", "Accepted", "False TooMany"),
        ("greedy", "large-11", "Active", "False TooMany"),
        (RELEASE, "quiet", "Accepted", "True OwnNamespaceOnly"),
        ("shop", "quiet", "Active", "True InForce"),
        ("shop", "quiet", "Conflict", "True SameRecords"),
    ] {
        wait_for(&format!("{kind} of {namespace}/{name}"), PATIENCE, || async {
            told(own(&world, namespace).get(name).await?.status, kind, wanted)
        })
        .await?;
    }
    for (name, kind, wanted) in [
        ("emergency", "Conflict", "True SameRecords"),
        ("application-default", "Active", "True InForce"),
        ("application-default", "Conflict", "False NoConflict"),
        ("another-task-default", "Accepted", "False SecondDefault"),
    ] {
        wait_for(&format!("{kind} of {name}"), PATIENCE, || async {
            told(cluster.get(name).await?.status, kind, wanted)
        })
        .await?;
    }

    // Room that is given back is used, and the default's place too.
    own(&world, "greedy").delete("large-00", &DeleteParams::default()).await?;
    cluster.delete("task-default", &DeleteParams::default()).await?;
    let ids = ["application-default", "default/quiet", "emergency", "greedy/large-01", "shop/quiet"];
    wait_for("the next in the place of what went", PATIENCE, || has_rules(&world, &ids)).await?;
    wait_for("the other default", PATIENCE, || async {
        let rules = self::rules(&world).await?;
        ensure!(rules.task_rules.iter().map(|rule| rule.id.as_str()).eq(["another-task-default"]));
        Ok(())
    })
    .await?;
    crate::tenants::and_rules_are_told(&mut world).await?;
    // A rule for the whole cluster says of how many namespaces it is not.
    wait_for("the namespace that is exempt", PATIENCE, || async {
        let conditions = cluster.get("emergency").await?.status.context("a status")?.conditions;
        let active = conditions.iter().find(|condition| condition.type_ == "Active").context("Active")?;
        ensure!(active.message.ends_with("1 namespace takes its own level configs alone"), "{active:?}");
        Ok(())
    })
    .await
}

/// A config in the namespace of the release and its rule, which was for the whole cluster.
async fn left_by_the_version_before(world: &World) -> Result<()> {
    let spec = json!({"level": "ERROR", "duration": "1h"});
    own(world, RELEASE).create(&PostParams::default(), &config("quiet", spec)).await?;
    let rules = json!({"generation": 7, "rules": [
        {"id": "default/quiet", "level": "ERROR", "sampleBelow": 0.0, "expiresAtMs": 99_999_999_999_999_i64, "createdAtMs": 1},
    ]});
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "cordwood-level-rules"}, "data": {"rules.json": rules.to_string()},
    }))?;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), RELEASE);
    maps.create(&PostParams::default(), &map).await?;
    Ok(())
}

async fn rules(world: &World) -> Result<LevelRules> {
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), RELEASE);
    let map = maps.get("cordwood-level-rules").await?;
    let text = map.data.context("data")?.remove("rules.json").context("rules.json")?;
    LevelRules::from_json(&text).map_err(anyhow::Error::msg)
}

async fn has_rules(world: &World, ids: &[&str]) -> Result<()> {
    let rules = rules(world).await?;
    let found: Vec<&str> = rules.rules.iter().map(|rule| rule.id.as_str()).collect();
    ensure!(found == ids, "{found:?}");
    Ok(())
}

fn own(world: &World, namespace: &str) -> Api<LogLevelConfig> {
    Api::namespaced(world.client.clone(), namespace)
}

fn config(name: &str, spec: Value) -> LogLevelConfig {
    object("LogLevelConfig", name, spec)
}

fn wide(name: &str, spec: Value) -> ClusterLogLevelConfig {
    object("ClusterLogLevelConfig", name, spec)
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    let object = json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).expect("a level config")
}

/// As many and as long labels as the definition allows.
fn large() -> Value {
    let name = |length: usize, number: usize| format!("n{number:0>width$}", width = length - 1);
    let key = |number| format!("{}/{}", name(253, number), name(63, number));
    let labels: serde_json::Map<String, Value> =
        (0..32).map(|number| (key(number), name(63, number).into())).collect();
    let expressions: Vec<Value> = (0..16)
        .map(|number| {
            let values: Vec<String> = (0..64).map(|value| name(63, value)).collect();
            json!({"key": key(number), "operator": "In", "values": values})
        })
        .collect();
    json!({
        "level": "ERROR", "duration": "1h",
        "selector": {"matchLabels": labels, "matchExpressions": expressions},
        "containers": (0..32).map(|number| name(63, number)).collect::<Vec<_>>(),
    })
}
