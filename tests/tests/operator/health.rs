//! What people and tools see of the three kinds: `kubectl wait`, the health check of Flux and Argo CD (kstatus), and `get` and `describe` in a
//! terminal of 200 columns and 24 rows; by the text of the docs, what Argo CD and Flux see.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::levels::LevelRules;
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy};
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::wait_for;
use cordwood_tests::kstatus::{Kstatus, kstatus};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::agents::{pod, runs_at, token};
use super::gitops;
use super::operator_world::{World, kubectl, policy, retention};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a terminal shows without a break.
const COLUMNS: usize = 100;

/// An agent that has every rule as soon as it is written.
async fn agent(client: Client, port: &Port) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port.number())).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _request = stream.read(&mut [0; 1024]).await;
            let map = maps.get_opt("cordwood-level-rules").await.ok().flatten();
            let text = map.and_then(|map| map.data).and_then(|mut data| data.remove("rules.json"));
            let rules = text.and_then(|text| LevelRules::from_json(&text).ok()).unwrap_or_default();
            let body = json!({"rules_generation": rules.generation, "conditions": {}}).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(())
}

/// It becomes `wanted`, and Argo CD and Flux see the same in that very object by what the docs give them.
async fn is(world: &World, what: &str, wanted: Kstatus) -> Result<()> {
    // kstatus calls an object that the operator has not seen yet `Current`. The snippets for Argo CD and Flux know better, so the
    // wait is for all three to agree.
    wait_for(&format!("{what} to be {wanted:?}"), PATIENCE, || async {
        let object: Value = serde_json::from_str(&kubectl(world, &["get", what, "-o", "json"])?)?;
        let now = kstatus(&object);
        ensure!(now == wanted, "{now:?}");
        gitops::agree(&object, &wanted).with_context(|| what.to_owned())
    })
    .await?;
    println!("{what}: {wanted:?}");
    Ok(())
}

fn failed(reason: &str) -> Kstatus {
    Kstatus::Failed(reason.to_owned())
}

fn in_progress(reason: &str) -> Kstatus {
    Kstatus::InProgress(reason.to_owned())
}

/// The first 24 rows, cut at 200 columns.
fn screen(command: &str, text: &str) {
    println!("$ {command}");
    for line in text.lines().take(24) {
        println!("{}", line.chars().take(200).collect::<String>());
    }
}

fn level_config(name: &str, spec: Value) -> Result<LogLevelConfig> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": name}, "spec": spec,
    }))?)
}

fn cluster_config(name: &str, spec: Value) -> Result<ClusterLogLevelConfig> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "ClusterLogLevelConfig", "metadata": {"name": name}, "spec": spec,
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_force_is_no_success_for_anybody() -> Result<()> {
    let mut world = World::start(15).await?;
    let port = Port::free()?;
    world.more = json!({"levels": {"agent_port": port.number()}, "retention": {"notice_ms": 6_000}});
    let client = world.client.clone();
    agent(client.clone(), &port).await?;
    objects_of_another_version(&world).await?;
    world.start_operator().await?;
    let policies = world.api();

    // Policies.
    let mut shop = policy("shop", "1h", "2m");
    shop.spec.drop_limit.partitions = 20;
    policies.create(&PostParams::default(), &shop).await?;
    let wait = ["wait", "--for=condition=Ready", "lrp/shop", "--timeout=60s"];
    screen("kubectl wait --for=condition=Ready lrp/shop", &kubectl(&world, &wait)?);
    is(&world, "lrp/shop", Kstatus::Current).await?;
    is(&world, "lrp/odd", failed("Invalid")).await?;
    let wait = ["wait", "--for=condition=Ready", "lrp/odd", "--timeout=1s"];
    ensure!(kubectl(&world, &wait).is_err(), "what cannot be followed is Ready");
    screen(
        "kubectl wait --for=condition=Stalled lrp/odd",
        &kubectl(&world, &["wait", "--for=condition=Stalled", "lrp/odd", "--timeout=60s"])?,
    );
    let classes = world.classes("shop").await?;
    world.fill(&classes, 55).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1m"))).await?;
    is(&world, "lrp/shop", failed("AboveDropLimit")).await?;
    screen("kubectl get lrp", &kubectl(&world, &["get", "lrp"])?);
    screen("kubectl get lrp -o wide", &kubectl(&world, &["get", "lrp", "-o", "wide"])?);
    screen("kubectl describe lrp shop", &kubectl(&world, &["describe", "lrp", "shop"])?);
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("55m"))).await?;
    is(&world, "lrp/shop", in_progress("Announced")).await?;
    is(&world, "lrp/shop", Kstatus::Current).await?;
    let tried = json!({"spec": {"mode": "Plan"}});
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(tried)).await?;
    wait_for("a dry run", PATIENCE, || async {
        let shown = kubectl(&world, &["get", "lrp", "shop"])?;
        ensure!(shown.contains("DryRun"), "{shown}");
        Ok(())
    })
    .await?;
    is(&world, "lrp/shop", Kstatus::Current).await?;

    // Level configs, without an agent and with one.
    let configs: Api<LogLevelConfig> = Api::default_namespaced(client.clone());
    configs
        .create(
            &PostParams::default(),
            &level_config("quiet-checkout", json!({"level": "ERROR", "duration": "30m"}))?,
        )
        .await?;
    is(&world, "llc/quiet-checkout", in_progress("AgentsBehind")).await?;
    // (Its pod has a service account.)
    token(&client, "gateway", "cordwood").await?;
    pod(&client, "agent-1", "node-1", runs_at("127.0.0.1")).await?;
    let began = Instant::now();
    let wait = ["wait", "--for=condition=Ready", "llc/quiet-checkout", "--timeout=60s"];
    screen("kubectl wait --for=condition=Ready llc/quiet-checkout", &kubectl(&world, &wait)?);
    println!("the agent has it after {:?}", began.elapsed());
    is(&world, "llc/quiet-checkout", Kstatus::Current).await?;
    is(&world, "llc/odd", failed("Invalid")).await?;
    configs
        .create(&PostParams::default(), &level_config("short", json!({"level": "WARN", "duration": "4s"}))?)
        .await?;
    wait_for("an end", PATIENCE, || async {
        let shown = kubectl(&world, &["get", "llc", "short"])?;
        ensure!(shown.contains("Expired"), "{shown}");
        Ok(())
    })
    .await?;
    is(&world, "llc/short", Kstatus::Current).await?;
    let cluster: Api<ClusterLogLevelConfig> = Api::all(client.clone());
    let default = json!({"level": "INFO", "default": true, "scope": "task"});
    cluster.create(&PostParams::default(), &cluster_config("task-default", default.clone())?).await?;
    is(&world, "cllc/task-default", Kstatus::Current).await?;
    // Times of objects are whole seconds: the second default is one that came later.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    cluster.create(&PostParams::default(), &cluster_config("second", default)?).await?;
    is(&world, "cllc/second", failed("SecondDefault")).await?;

    for kind in ["lrp", "llc", "cllc"] {
        let shown = kubectl(&world, &["get", kind])?;
        screen(&format!("kubectl get {kind}"), &shown);
        let widest = shown.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or_default();
        ensure!(widest <= COLUMNS, "{kind}: {widest} columns\n{shown}");
        ensure!(
            shown.lines().next().is_some_and(|head| head.contains("READY") && head.contains("STATUS")),
            "{shown}"
        );
    }
    screen("kubectl describe llc quiet-checkout", &kubectl(&world, &["describe", "llc", "quiet-checkout"])?);
    every_condition_says_why(&world)
}

/// No condition of any object has an empty message or a reason that is no word.
fn every_condition_says_why(world: &World) -> Result<()> {
    let text = kubectl(world, &["get", "lrp,llc,cllc", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list["items"].as_array().context("items")?;
    ensure!(items.len() >= 7, "{} objects", items.len());
    let mut conditions = 0;
    for item in items {
        for condition in item["status"]["conditions"].as_array().context("conditions")? {
            let says = |field: &str| condition[field].as_str().is_some_and(|text| !text.is_empty());
            ensure!(says("message") && says("reason"), "{}: {condition}", item["metadata"]["name"]);
            ensure!(condition["observedGeneration"] == item["metadata"]["generation"], "{condition}");
            conditions += 1;
        }
    }
    println!("{conditions} conditions of {} objects, each with a message", items.len());
    Ok(())
}

/// A policy and a level config that cannot be followed, as an older definition let them in.
async fn objects_of_another_version(world: &World) -> Result<()> {
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
            Api::default_namespaced_with(world.client.clone(), &configs),
            odd(&configs, json!({"level": 30, "duration": "30m"})),
        ),
    ];
    for (api, object) in &objects {
        wait_for("the definition of another version", PATIENCE, || async {
            api.create(&PostParams::default(), object).await.map(drop).context("create")
        })
        .await?;
    }
    world.define(|_, _| ()).await
}
