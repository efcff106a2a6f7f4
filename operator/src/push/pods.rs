//! Selects the pods that a push is about, and finds their addresses. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cordwood_core::levels::{GateTarget, LevelRule};
use cordwood_core::workload::{service_of, workload_of};
use k8s_openapi::api::core::v1::Pod;

/// A running pod, as the API server listed it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    labels: BTreeMap<String, String>,
    /// `None`: each container is a service of its own name.
    service: Option<String>,
    containers: Vec<String>,
    /// Starts of its containers: after one more the application may have its first level again.
    pub starts: i64,
    pub created_ms: i64,
    /// Where it answers, or why it is not asked.
    pub place: Result<IpAddr, &'static str>,
}

/// `None`: it does not run, or is about to go.
pub fn seen(pod: &Pod, allow_loopback: bool) -> Option<SeenPod> {
    if !runs(pod) {
        return None;
    }
    let meta = &pod.metadata;
    let labels = meta.labels.clone().unwrap_or_default();
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true));
    let workload = workload_of(&labels, owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())));
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|one| one.name.clone());
    let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    Some(SeenPod {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        service: service_of(meta.annotations.as_ref().unwrap_or(&BTreeMap::new()), &labels, &workload),
        labels,
        containers: containers.collect(),
        starts: statuses.map(|one| i64::from(one.restart_count)).sum(),
        created_ms: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond()),
        place: place(pod, allow_loopback),
    })
}

/// Whether it runs and is to go on.
pub fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// The pod's own address, or why there is none that is asked.
pub fn place(pod: &Pod, allow_loopback: bool) -> Result<IpAddr, &'static str> {
    const NODES: &str = "its address is its node's (hostNetwork), which is not asked";
    let status = pod.status.as_ref();
    if pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)) {
        return Err(NODES);
    }
    let text = status.and_then(|status| status.pod_ip.as_deref()).ok_or("it has no address")?;
    let address: IpAddr = text.parse().map_err(|_| "its address cannot be read")?;
    let address = address.to_canonical();
    let node = status.and_then(|status| status.host_ip.as_deref()).and_then(|ip| ip.parse::<IpAddr>().ok());
    if node.is_some_and(|node| node.to_canonical() == address) {
        return Err(NODES);
    }
    let is_local = match address {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if is_local
        || address.is_unspecified()
        || address.is_multicast()
        || (address.is_loopback() && !allow_loopback)
    {
        return Err("its address is none of a pod (loopback, link-local, multicast or unspecified)");
    }
    Ok(address)
}

impl SeenPod {
    /// Whether the rule is about one of its containers, as an agent would say.
    pub fn is_matched_by(&self, rule: &LevelRule, exempt: &BTreeSet<String>) -> bool {
        self.containers.iter().any(|container| {
            rule.matches(&GateTarget {
                namespace: &self.namespace,
                labels: Some(&self.labels),
                container,
                service: self.service.as_deref().unwrap_or(container),
                is_exempt: exempt.contains(&self.namespace),
            })
        })
    }

    /// As messages name it.
    pub fn said(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "u", "labels": {"app": "checkout"}},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_asked_at_its_own_address_alone() {
        let own = json!({"containers": [{"name": "c"}]});
        let host = json!({"containers": [{"name": "c"}], "hostNetwork": true});
        for (spec, ip, node, loopback, is_asked) in [
            (&own, "10.0.0.7", "10.0.0.1", false, true),
            (&own, "fd00::7", "10.0.0.1", false, true),
            (&own, "10.0.0.1", "10.0.0.1", false, false),
            (&host, "10.0.0.7", "10.0.0.1", true, false),
            (&own, "127.0.0.7", "10.0.0.1", false, false),
            (&own, "127.0.0.7", "10.0.0.1", true, true),
            (&own, "::ffff:127.0.0.1", "10.0.0.1", false, false),
            (&own, "::1", "10.0.0.1", false, false),
            (&own, "169.254.169.254", "10.0.0.1", true, false),
            (&own, "::ffff:169.254.169.254", "10.0.0.1", true, false),
            (&own, "fe80::1", "10.0.0.1", true, false),
            (&own, "0.0.0.0", "10.0.0.1", true, false),
            (&own, "224.0.0.1", "10.0.0.1", true, false),
            (&own, "255.255.255.255", "10.0.0.1", true, false),
            (&own, "evil.example.com", "10.0.0.1", true, false),
        ] {
            let pod = pod(spec.clone(), json!({"phase": "Running", "podIP": ip, "hostIP": node}));
            assert_eq!(place(&pod, loopback).is_ok(), is_asked, "{ip} {loopback}");
        }
        assert!(place(&pod(own, json!({"phase": "Running"})), true).is_err());
    }

    #[test]
    fn a_pod_that_does_not_run_or_goes_is_none() {
        let spec = json!({"containers": [{"name": "c"}]});
        for (phase, runs) in [("Running", true), ("Pending", false), ("Succeeded", false), ("Failed", false)]
        {
            let pod = pod(spec.clone(), json!({"phase": phase, "podIP": "10.0.0.7"}));
            assert_eq!(seen(&pod, false).is_some(), runs, "{phase}");
        }
        let mut going = pod(spec, json!({"phase": "Running", "podIP": "10.0.0.7"}));
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-30T00:00:00Z")).unwrap();
        assert_eq!(seen(&going, false), None);
    }

    #[test]
    fn a_rule_is_about_a_pod_as_an_agent_says() {
        let containers = json!({"containers": [{"name": "web"}, {"name": "proxy"}]});
        let seen = seen(&pod(containers, json!({"phase": "Running"})), false).unwrap();
        let none = BTreeSet::new();
        let deny = BTreeSet::from(["shop".to_owned()]);
        for (rule, exempt, matches) in [
            (json!({"namespace": "shop"}), &none, true),
            (json!({"namespace": "shop"}), &deny, true),
            (json!({"namespace": "bank"}), &none, false),
            (json!({}), &none, true),
            (json!({}), &deny, false),
            (json!({"matchLabels": {"app": "checkout"}}), &none, true),
            (json!({"matchLabels": {"app": "cart"}}), &none, false),
            (json!({"containers": ["proxy"]}), &none, true),
            (json!({"containers": ["other"]}), &none, false),
            (json!({"service": "web"}), &none, true),
            (json!({"service": "other"}), &none, false),
        ] {
            let mut rule = rule;
            (rule["id"], rule["level"]) = (json!("r"), json!("ERROR"));
            let rule: LevelRule = serde_json::from_value(rule).unwrap();
            assert_eq!(seen.is_matched_by(&rule, exempt), matches, "{rule:?}");
        }
    }
}
