//! Asks each agent for its `/status`, and asks the API server which workloads a rule matches. It only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use cordwood_core::agents::AgentStatus;
use cordwood_core::levels::{LabelOperator, LevelRule};
use cordwood_core::limits::AGENT_STATUS_BYTES_MAX;
use cordwood_core::workload::{service_of, workload_of};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An agent that has not answered by then counts as behind, and is asked again.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Who is not asked by then is not asked.
const ASK_ALL_MAX: Duration = Duration::from_secs(6);
/// Asked at a time.
const AT_ONCE: usize = 64;

/// An agent's pod and what it said, or why it said nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub pod: String,
    pub node: String,
    /// The pod runs, and is to go on.
    pub runs: bool,
    pub answer: Result<AgentStatus, String>,
}

impl Agent {
    /// Of the level rules that it has.
    pub fn generation(&self) -> Option<u64> {
        self.answer.as_ref().ok()?.rules_generation
    }
}

/// All agents' pods that have not ended for good.
///
/// # Errors
/// When the API server does not say which there are.
pub async fn ask(
    client: &Client,
    namespace: &str,
    selector: &str,
    port: u16,
) -> Result<Vec<Agent>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(selector)).await?;
    let until = tokio::time::Instant::now() + ASK_ALL_MAX;
    let asked = list.items.into_iter().filter(|pod| !has_ended(pod)).map(|pod| async move {
        let answer = match address(&pod) {
            Ok(ip) if tokio::time::Instant::now() < until => {
                match tokio::time::timeout(ASK_TIMEOUT, status(ip, port)).await {
                    Ok(answer) => answer.map_err(|error| format!("{ip}:{port}: {error}")),
                    Err(_) => Err(format!("{ip}:{port}: no answer within {} ms", ASK_TIMEOUT.as_millis())),
                }
            }
            Ok(_) => Err("not asked: other agents took too long".to_owned()),
            Err(why) => Err(why),
        };
        let runs = address(&pod).is_ok() && pod.metadata.deletion_timestamp.is_none();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        Agent { pod: pod.name_any(), node, runs, answer }
    });
    Ok(futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Where a pod that runs is; else why it does not.
fn address(pod: &Pod) -> Result<IpAddr, String> {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Pending");
    if phase != "Running" {
        let containers = status.container_statuses.unwrap_or_default();
        let waiting = containers
            .iter()
            .find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
        let unscheduled = status.conditions.as_deref().unwrap_or_default().iter().find_map(|condition| {
            let is_it = condition.type_ == "PodScheduled" && condition.status == "False";
            condition.reason.as_deref().filter(|_| is_it)
        });
        let why = waiting.or(unscheduled).map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(format!("the pod does not run: {phase}{why}"));
    }
    let ip = status.pod_ip.and_then(|ip| ip.parse().ok());
    ip.ok_or_else(|| "the pod has no address".to_owned())
}

async fn status(ip: IpAddr, port: u16) -> std::io::Result<AgentStatus> {
    let mut stream = TcpStream::connect((ip, port)).await?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(AGENT_STATUS_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| std::io::Error::other("the answer is no agent's status"))
}

/// What an HTTP answer says that is not chunked.
fn parse(answer: &[u8]) -> Option<AgentStatus> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    AgentStatus::read(&answer[end + 4..])
}

/// Workloads that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workloads {
    pub matched: i64,
    /// Of these: with a pod on a node whose agent does not have the rule.
    pub failed: i64,
}

/// How many workloads have a pod that the rule's labels (and service) match. `exempt`: namespaces in which a cluster-wide rule does
/// not apply. `behind`: nodes whose agents do not have the rule.
///
/// # Errors
/// When the API server does not say it.
pub async fn workloads(
    client: &Client,
    rule: &LevelRule,
    exempt: &BTreeSet<String>,
    behind: &[String],
) -> Result<Workloads, kube::Error> {
    let matched = workloads_of(client, rule, exempt, None).await?;
    let mut failed = BTreeSet::new();
    if !matched.is_empty() {
        for node in behind {
            failed.extend(workloads_of(client, rule, exempt, Some(node)).await?);
        }
    }
    let count = |found: usize| i64::try_from(found).unwrap_or(i64::MAX);
    Ok(Workloads { matched: count(matched.len()), failed: count(failed.len().min(matched.len())) })
}

async fn workloads_of(
    client: &Client,
    rule: &LevelRule,
    exempt: &BTreeSet<String>,
    node: Option<&str>,
) -> Result<BTreeSet<(String, String)>, kube::Error> {
    let pods: Api<Pod> = match &rule.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut parameters = ListParams::default().labels(&selector(rule)).limit(500);
    if let Some(node) = node {
        parameters = parameters.fields(&format!("spec.nodeName={node}"));
    }
    let mut found = BTreeSet::new();
    loop {
        let page = pods.list_metadata(&parameters).await?;
        found.extend(page.items.iter().filter_map(|pod| workload(rule, &pod.metadata)));
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
            _ => break,
        }
    }
    if rule.namespace.is_none() {
        found.retain(|(namespace, _)| !exempt.contains(namespace));
    }
    Ok(found)
}

/// Namespace and workload of a pod whose labels match, unless it is of another service; a pod of its own is one workload.
fn workload(rule: &LevelRule, pod: &ObjectMeta) -> Option<(String, String)> {
    let none = BTreeMap::new();
    let labels = pod.labels.as_ref().unwrap_or(&none);
    let owners = pod.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true));
    let workload = workload_of(labels, owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())));
    let service = service_of(pod.annotations.as_ref().unwrap_or(&none), labels, &workload);
    if rule.service.is_some() && rule.service != service {
        return None;
    }
    let workload = if workload.is_empty() { format!("Pod/{}", pod.name.as_deref()?) } else { workload };
    Some((pod.namespace.clone().unwrap_or_default(), workload))
}

/// The rule's label selector as the API takes it.
pub fn selector(rule: &LevelRule) -> String {
    let labels = rule.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = rule.match_expressions.iter().map(|expression| {
        let (key, values) = (&expression.key, expression.values.join(","));
        match expression.operator {
            LabelOperator::In => format!("{key} in ({values})"),
            LabelOperator::NotIn => format!("{key} notin ({values})"),
            LabelOperator::Exists => key.clone(),
            LabelOperator::DoesNotExist => format!("!{key}"),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use cordwood_core::levels::STATUS_GENERATION;
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_status_in_an_answer() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}",
            json!({"reader": {"node": "n"}, STATUS_GENERATION: 7})
        );
        let status = parse(answer.as_bytes()).unwrap();
        assert_eq!((status.node.as_deref(), status.rules_generation), (Some("n"), Some(7)));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() {
        let waiting = json!([{"name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                              "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
        let unscheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
        for (status, expected) in [
            (json!({"phase": "Running", "podIP": "10.0.0.1"}), Ok("10.0.0.1".parse().unwrap())),
            (json!({"phase": "Running", "podIP": "fd00::1"}), Ok("fd00::1".parse().unwrap())),
            (json!({"phase": "Running"}), Err("the pod has no address")),
            (json!({}), Err("the pod does not run: Pending")),
            (
                json!({"phase": "Pending", "conditions": unscheduled}),
                Err("the pod does not run: Pending (Unschedulable)"),
            ),
            (
                json!({"phase": "Pending", "containerStatuses": waiting}),
                Err("the pod does not run: Pending (CrashLoopBackOff)"),
            ),
        ] {
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
            assert_eq!(address(&pod), expected.map_err(str::to_owned), "{status}");
        }
    }

    /// Each Job of a CronJob counted as a workload, and the label of the service was overlooked.
    #[test]
    fn workloads_are_counted_as_the_gate_sees_them() {
        let rule = |service: &str| -> LevelRule {
            serde_json::from_value(json!({"id": "n/r", "level": "ERROR", "service": service})).unwrap()
        };
        let pod = |name: &str, labels: serde_json::Value, owner: serde_json::Value| -> ObjectMeta {
            serde_json::from_value(json!({
                "name": name, "namespace": "n", "labels": labels, "ownerReferences": owner,
            }))
            .unwrap()
        };
        let job = |number: u32| {
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": format!("report-2938475{number}"),
                    "uid": "u", "controller": true}])
        };
        let found: BTreeSet<_> = [
            pod("a", json!({}), job(1)),
            pod("b", json!({}), job(2)),
            pod("c", json!({"cordwood.dev/service": "report"}), json!([])),
            pod("d", json!({"cordwood.dev/service": "other"}), job(1)),
            pod("e", json!({"cordwood.dev/service": ""}), json!([])),
        ]
        .iter()
        .filter_map(|pod| workload(&rule("report"), pod))
        .map(|(_, workload)| workload)
        .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["CronJob/report", "Pod/c"]);
    }
}
