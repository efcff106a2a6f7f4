//! Asks the agents which level rules they have, and the cluster which workloads a rule matches. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use cordwood_core::levels::{LabelOperator, LevelRule, STATUS_GENERATION, generation_in_status};
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
/// An agent's `/status` at the most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Asked at a time.
const AT_ONCE: usize = 64;

/// An agent's pod and, when it answered, the generation of the rules it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub pod: String,
    pub generation: Option<u64>,
}

/// All agents' pods that run.
pub async fn ask(
    client: &Client,
    namespace: &str,
    selector: &str,
    port: u16,
) -> Result<Vec<Agent>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(selector)).await?;
    let running = list.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let running: Vec<(String, IpAddr)> = running
        .filter_map(|pod| {
            let status = pod.status.as_ref()?;
            let runs = status.phase.as_deref() == Some("Running");
            let ip = status.pod_ip.as_deref()?.parse().ok()?;
            runs.then(|| (pod.name_any(), ip))
        })
        .collect();
    let asked = running.into_iter().map(|(pod, ip)| async move {
        let generation = match tokio::time::timeout(ASK_TIMEOUT, generation(ip, port)).await {
            Ok(Ok(generation)) => Some(generation),
            Ok(Err(error)) => {
                tracing::debug!(pod, %error, "ask an agent");
                None
            }
            Err(_) => None,
        };
        Agent { pod, generation }
    });
    Ok(futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await)
}

async fn generation(ip: IpAddr, port: u16) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect((ip, port)).await?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| std::io::Error::other(format!("the answer has no {STATUS_GENERATION}")))
}

/// The generation in an HTTP answer that is not chunked.
fn parse(answer: &[u8]) -> Option<u64> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    generation_in_status(&answer[end + 4..])
}

/// How many workloads have a pod that the rule's labels (and service) match.
pub async fn workloads(client: &Client, rule: &LevelRule) -> Result<i64, kube::Error> {
    let pods: Api<Pod> = match &rule.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut parameters = ListParams::default().labels(&selector(rule)).limit(500);
    let mut found = BTreeSet::new();
    loop {
        let page = pods.list_metadata(&parameters).await?;
        found.extend(page.items.iter().filter_map(|pod| workload(rule, &pod.metadata)));
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
            _ => break,
        }
    }
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX))
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
fn selector(rule: &LevelRule) -> String {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_generation_in_an_answer() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}",
            json!({"reader": {"node": "n"}, STATUS_GENERATION: 7})
        );
        assert_eq!(parse(answer.as_bytes()), Some(7));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
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
