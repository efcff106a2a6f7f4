//! Asks the agents which level rules they have, and the cluster which workloads a rule matches. Reads only.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use cordwood_core::levels::{LabelOperator, LevelRule};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// An agent's `/status` at the most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Asked at a time.
const AT_ONCE: usize = 32;

/// An agent's address and, when it answered, the generation of the rules it has.
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
    let mut agents = Vec::new();
    let running: Vec<(String, IpAddr)> = list
        .items
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| {
            let status = pod.status.as_ref()?;
            let runs = status.phase.as_deref() == Some("Running");
            let ip = status.pod_ip.as_deref()?.parse().ok()?;
            runs.then(|| (pod.name_any(), ip))
        })
        .collect();
    for group in running.chunks(AT_ONCE) {
        let asked = group.iter().map(|(pod, ip)| async move {
            let answer = tokio::time::timeout(ASK_TIMEOUT, generation(*ip, port)).await;
            let generation = match answer {
                Ok(Ok(generation)) => Some(generation),
                Ok(Err(error)) => {
                    tracing::debug!(pod, %error, "ask an agent");
                    None
                }
                Err(_) => None,
            };
            Agent { pod: pod.clone(), generation }
        });
        agents.extend(futures::future::join_all(asked).await);
    }
    Ok(agents)
}

async fn generation(ip: IpAddr, port: u16) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect((ip, port)).await?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| std::io::Error::other("the answer has no rules_generation"))
}

/// `rules_generation` in the JSON body of an HTTP answer that is not chunked.
fn parse(answer: &[u8]) -> Option<u64> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body: serde_json::Value = serde_json::from_slice(&answer[end + 4..]).ok()?;
    body.get("rules_generation")?.as_u64()
}

/// How many workloads (owners of pods, or pods without one) have a pod that the rule's labels match.
pub async fn workloads(client: &Client, rule: &LevelRule) -> Result<i64, kube::Error> {
    let pods: Api<Pod> = match &rule.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut parameters = ListParams::default().labels(&selector(rule)).limit(500);
    let mut owners = BTreeSet::new();
    loop {
        let page = pods.list_metadata(&parameters).await?;
        for pod in page.items {
            let owner = owner(&pod);
            if service_matches(rule, &pod, &owner) {
                owners.insert((pod.namespace().unwrap_or_default(), owner));
            }
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
            _ => break,
        }
    }
    Ok(i64::try_from(owners.len()).unwrap_or(i64::MAX))
}

/// The owner's name; of a ReplicaSet the Deployment's, which is its name without the template's hash.
fn owner(pod: &PartialObjectMeta<Pod>) -> String {
    let Some(reference) = pod.owner_references().iter().find(|reference| reference.controller == Some(true))
    else {
        return pod.name_any();
    };
    match (reference.kind.as_str(), pod.labels().get("pod-template-hash")) {
        ("ReplicaSet", Some(hash)) => {
            reference.name.strip_suffix(&format!("-{hash}")).unwrap_or(&reference.name).to_owned()
        }
        _ => reference.name.clone(),
    }
}

fn service_matches(rule: &LevelRule, pod: &PartialObjectMeta<Pod>, owner: &str) -> bool {
    let Some(service) = &rule.service else { return true };
    let named =
        pod.annotations().get("cordwood.dev/service").or_else(|| pod.labels().get("app.kubernetes.io/name"));
    named.map_or(owner, String::as_str) == service
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
    use super::*;

    #[test]
    fn finds_the_generation_in_an_answer() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"node\":\"n\",\"rules_generation\":7}";
        assert_eq!(parse(answer), Some(7));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
