//! How the agents are: agents of their own program and of an older version, some that do not answer, seen through an operator and a gateway by
//! those who may, on a real API server.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_gateway::{
    Access, AdministrationConfig, AgentsSource, Cluster, Gateway, KubernetesAccess, Limits, Running,
};
use cordwood_store::{Settings, Store};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{Answer, ask};
use cordwood_tests::shipped::{agent, log_of};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::operator_world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const HOME: &str = "default";
const PATH: &str = "/api/admin/agents";
/// What an agent said before it told of its losses.
const OLDER: &str = r#"{"reader":{"node":"node-2","rules_generation":1,"runs":1,"files":3,"lag_bytes":5,"lag_seconds":1.5,"held_bytes":0,"files_left_out":0,"unfinished_bytes":0,"stalled":false,"minutes_until_loss":null,"streams":[]},"rules_generation":1,"conditions":{}}"#;

pub async fn token(client: &Client, name: &str, audience: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), HOME);
    if accounts.get_opt(name).await?.is_none() {
        let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts.create(&PostParams::default(), &account).await?;
    }
    let request: TokenRequest =
        serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": [audience]}}))?;
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    Ok(made.status.context("no token")?.token)
}

/// A pod as the kubelet of its node would tell of it.
pub async fn pod(client: &Client, name: &str, node: &str, status: Value) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), HOME);
    let pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "agent"}},
        "spec": {"nodeName": node, "containers": [{"name": "agent", "image": "agent"}], "serviceAccountName": "gateway",
                 "automountServiceAccountToken": false},
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await?;
    Ok(())
}

pub fn runs_at(ip: &str) -> Value {
    json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]})
}

/// Answers every request at this address with this text; `None`: takes it and says nothing.
async fn answering(address: String, text: Option<&'static str>) -> Result<()> {
    let listener = TcpListener::bind(&address).await.with_context(|| address.clone())?;
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match text {
                Some(text) => {
                    let _request = stream.read(&mut [0; 1024]).await;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        text.len()
                    );
                    let _gone = stream.write_all((head + text).as_bytes()).await;
                }
                None => silent.push(stream),
            }
        }
    });
    Ok(())
}

fn write_lines(path: &Path, count: usize) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let line = format!("{} stdout F {}\n", jiff::Timestamp::now(), "x".repeat(900));
    file.write_all(line.repeat(count).as_bytes())?;
    Ok(())
}

async fn gateway(world: &World, kubeconfig: PathBuf, operator: Option<(String, PathBuf)>) -> Result<Running> {
    let access = KubernetesAccess { kubeconfig_file: Some(kubeconfig), ..KubernetesAccess::default() };
    let access = Access::Cluster(Arc::new(Cluster::new(&access).await?));
    let store = Store::new(&Settings::url(world.postgres.url()))?;
    let (operator_url, operator_token_file) = operator.unzip();
    let administration = AdministrationConfig {
        enabled: true,
        operator_url,
        operator_token_file,
        ..AdministrationConfig::default()
    };
    let gateway = Gateway::new(store, access, &Limits::default(), &prometheus::Registry::new())?;
    let gateway = gateway.showing_agents(AgentsSource::of_operator(&administration));
    Ok(cordwood_gateway::start(gateway, "127.0.0.1:0".parse()?).await?)
}

async fn get_as(gateway: &Running, token: &str) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("X-Request-Id", "test")];
    ask(&gateway.address.to_string(), "GET", PATH, &headers).await
}

fn item<'a>(agents: &'a Value, node: &str) -> Result<&'a Value> {
    let items = agents["items"].as_array().context("items")?;
    items.iter().find(|item| item["node"] == node).with_context(|| format!("{node}: {agents}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn how_each_agent_is_is_seen_by_those_who_may_and_by_nobody_else() -> Result<()> {
    let mut world = World::start(15).await?;
    let client = world.client.clone();
    let port = Port::free()?;
    world.more = json!({
        "levels": {"agent_port": port.number()}, "agents_readers": [format!("system:serviceaccount:{HOME}:gateway")],
    });
    let home = Home::new("agents")?;
    let ours = token(&client, "gateway", "cordwood-operator").await?;
    let token_file = home.join("token");
    std::fs::write(&token_file, &ours)?;
    let (anna, nobody) =
        (token(&client, "anna", "cordwood").await?, token(&client, "nobody", "cordwood").await?);
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "sees-agents"},
        "rules": [{"apiGroups": ["cordwood.dev"], "resources": ["agents"], "verbs": ["get"]}],
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &role).await?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "anna-sees-agents"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sees-agents"},
        "subjects": [{"kind": "ServiceAccount", "name": "anna", "namespace": HOME}],
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &binding).await?;
    let rules: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "cordwood-level-rules"}, "data": {"rules.json": json!({"generation": 7, "rules": []}).to_string()},
    }))?;
    Api::namespaced(client.clone(), HOME).create(&PostParams::default(), &rules).await?;

    // One agent of our own program, without a Kafka; an older one; three of which nothing is heard.
    drop(log_of(&home.join("pods"), "web")?);
    let path = home.join("pods/shop_web_web-uid/app/0.log");
    write_lines(&path, 12_000)?;
    let little = json!({
        "batch": {"bytes_max": 65_536}, "read": {"memory_bytes_max": 1 << 20, "rotation_file_bytes": 64 << 20, "held_removed_bytes_max": 1},
    });
    let kafka = json!({"brokers": "127.0.0.1:1", "topic": "logs"});
    let _agent = agent(&home, &port, &kafka, &little)?.start()?;
    let at = |ip: &str| format!("{ip}:{}", port.number());
    answering(at("127.0.0.2"), Some(OLDER)).await?;
    answering(at("127.0.0.4"), None).await?;
    answering(at("127.0.0.5"), Some("<html>")).await?;
    for (name, node, status) in [
        ("agent-1", "node-1", runs_at("127.0.0.1")),
        ("agent-2", "node-2", runs_at("127.0.0.2")),
        ("agent-3", "node-3", runs_at("127.0.0.3")),
        ("agent-4", "node-4", runs_at("127.0.0.4")),
        ("agent-5", "node-5", runs_at("127.0.0.5")),
        ("agent-6", "node-6", json!({"phase": "Pending"})),
        ("agent-7", "node-7", json!({"phase": "Failed"})),
    ] {
        pod(&client, name, node, status).await?;
    }
    world.start_operator().await?;
    let operator = world.operator.as_ref().context("an operator")?.address();
    let kubeconfig = world.server.kubeconfig();
    let source = (format!("http://{operator}"), token_file.clone());
    let gateway_with = gateway(&world, kubeconfig.clone(), Some(source.clone())).await?;

    let seen = wait_for("an agent that lags to be seen", PATIENCE, || async {
        write_lines(&path, 10)?;
        let answer = get_as(&gateway_with, &anna).await?;
        ensure!(answer.code == 200, "{}", answer.text());
        let agents = answer.json()?;
        let lags = item(&agents, "node-1")?;
        ensure!(
            lags["lagBytes"].as_u64() > Some(1 << 20) && lags["minutesUntilLoss"].is_number(),
            "{agents}"
        );
        // What lay there at the start did not come in that second: 300 MiB of room are not filled by some lines.
        ensure!(lags["minutesUntilLoss"].as_f64() > Some(1.0), "{agents}");
        Ok(agents)
    })
    .await?;
    let one = item(&seen, "node-1")?;
    ensure!(one["pod"] == "agent-1" && one["reachable"] == true && one["version"].is_string(), "{one}");
    ensure!(
        one["heldBytes"].as_u64() > Some(0) && one["losses"] == 0 && one["startedAt"].is_string(),
        "{one}"
    );
    // The operator has written rules meanwhile: whatever is in the ConfigMap is wanted.
    ensure!(seen["rulesGeneration"].as_u64() >= Some(7) && one["rulesGeneration"] == 0, "{seen}");
    let two = json!({"node": "node-2", "pod": "agent-2", "reachable": true, "files": 3, "lagBytes": 5, "lagSeconds": 1.5,
                     "heldBytes": 0, "stalled": false, "rulesGeneration": 1});
    ensure!(*item(&seen, "node-2")? == two, "{seen}");
    for (node, reason) in [
        ("node-3", "refused"),
        ("node-4", "no answer within"),
        ("node-5", "no agent's status"),
        ("node-6", "the pod does not run: Pending"),
    ] {
        let silent = item(&seen, node)?;
        ensure!(
            silent["reachable"] == false && silent.as_object().context("an item")?.len() == 4,
            "{silent}"
        );
        ensure!(silent["reason"].as_str().is_some_and(|why| why.contains(reason)), "{silent}");
    }
    ensure!(seen["items"].as_array().context("items")?.len() == 6, "{seen}");
    // A pod goes of which nothing was read for want of room: it is told, and why.
    drop(log_of(&home.join("pods"), "job")?);
    write_lines(&home.join("pods/shop_job_job-uid/app/0.log"), 3_000)?;
    wait_for("the other file to be known", PATIENCE, || async {
        let agents = get_as(&gateway_with, &anna).await?.json()?;
        ensure!(item(&agents, "node-1")?["files"] == 2, "{agents}");
        Ok(())
    })
    .await?;
    std::fs::remove_dir_all(home.join("pods/shop_job_job-uid"))?;
    wait_for("the loss to be told", PATIENCE, || async {
        let agents = get_as(&gateway_with, &anna).await?.json()?;
        let one = item(&agents, "node-1")?;
        let reasons = one["lossReasons"].as_array().context("no reasons")?;
        ensure!(one["losses"].as_u64() > Some(0) && one["lostBytes"].as_u64() > Some(1 << 20), "{one}");
        ensure!(one["lastLossAt"].is_string() && reasons[0]["losses"].as_u64() > Some(0), "{one}");
        Ok(())
    })
    .await?;

    // Who may not see them, where there are some and where there are none.
    let without = gateway(&world, kubeconfig.clone(), None).await?;
    let refused = get_as(&gateway_with, &nobody).await?;
    ensure!(refused.code == 404, "{}", refused.text());
    for (gateway, token) in [(&without, &anna), (&without, &nobody)] {
        ensure!(get_as(gateway, token).await?.body == refused.body);
    }
    ensure!(get_as(&gateway_with, "x").await?.code == 401);
    who_may_ask_the_operator(&client, &operator, &ours).await?;

    // A gateway whose account the operator does not know, and one whose operator is away.
    let other_file = home.join("other-token");
    std::fs::write(&other_file, token(&client, "other", "cordwood-operator").await?)?;
    let other = gateway(&world, kubeconfig.clone(), Some((source.0.clone(), other_file))).await?;
    let answer = get_as(&other, &anna).await?;
    ensure!(answer.code == 503 && answer.text().contains("operator-refuses"), "{}", answer.text());
    world.kill_operator();
    wait_for("the operator to be missed", PATIENCE, || async {
        let answer = get_as(&gateway_with, &anna).await?;
        ensure!(answer.code == 503 && answer.text().contains("operator-away"), "{}", answer.text());
        ensure!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
        Ok(())
    })
    .await?;
    ensure!(get_as(&gateway_with, &nobody).await?.body == refused.body);
    for gateway in [gateway_with, without, other] {
        gateway.stop().await;
    }
    Ok(())
}

async fn who_may_ask_the_operator(client: &Client, operator: &str, ours: &str) -> Result<()> {
    let code = async |method: &str, path: &str, authorization: Option<&str>| -> Result<(u16, Vec<u8>)> {
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", *value)).collect();
        let answer = ask(operator, method, path, &headers).await?;
        Ok((answer.code, answer.body))
    };
    let nowhere = code("GET", "/nowhere", None).await?;
    ensure!(nowhere.0 == 404);
    let good = format!("Bearer {ours}");
    ensure!(code("GET", "/agents", Some(&good)).await?.0 == 200);
    let bearer = async |name: &str, audience: &str| -> Result<String> {
        Ok(format!("Bearer {}", token(client, name, audience).await?))
    };
    let long = format!("Bearer {}", "x".repeat(20_000));
    for authorization in [
        None,
        Some("Bearer "),
        Some("Bearer x"),
        Some(ours),
        Some(&*long),
        // For somebody else, also for the API server itself; of somebody else.
        Some(&*bearer("gateway", "cordwood").await?),
        Some(&*bearer("gateway", "https://kubernetes.default.svc").await?),
        Some(&*bearer("anna", "cordwood-operator").await?),
    ] {
        ensure!(code("GET", "/agents", authorization).await? == nowhere, "{authorization:?}");
    }
    ensure!(code("POST", "/agents", None).await? == nowhere);
    Ok(())
}
