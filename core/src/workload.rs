//! Derives a pod's workload and service from what the API server says of the pod, the same for agent and operator.

use std::collections::BTreeMap;

/// The annotation or label that names a pod's service.
pub const SERVICE: &str = "cordwood.dev/service";
const NAME: &str = "app.kubernetes.io/name";

/// `Deployment/checkout` for a pod of one of its ReplicaSets, `CronJob/report` for one of its Jobs' pods, else the
/// controlling owner as it is; empty for a pod of its own. `owner`: kind and name of the controlling owner.
pub fn workload_of(labels: &BTreeMap<String, String>, owner: Option<(&str, &str)>) -> String {
    let Some((kind, name)) = owner else { return String::new() };
    let hash = labels.get("pod-template-hash");
    match kind {
        "ReplicaSet" => match hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-')) {
            Some(deployment) => format!("Deployment/{deployment}"),
            None => format!("ReplicaSet/{name}"),
        },
        // A CronJob names its Jobs by the minute they are for, since the epoch: eight digits until 2160.
        "Job" => match name.rsplit_once('-') {
            Some((cron, minute)) if minute.len() == 8 && minute.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("CronJob/{cron}")
            }
            _ => format!("Job/{name}"),
        },
        // A static pod: the node itself is its owner, which says nothing about its service.
        "Node" => String::new(),
        kind => format!("{kind}/{name}"),
    }
}

/// The annotation, else the label `cordwood.dev/service`, else the label `app.kubernetes.io/name`, else the workload's
/// name; what is empty does not count. `None`: each container is a service of its own name.
pub fn service_of(
    annotations: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
    workload: &str,
) -> Option<String> {
    let said = [annotations.get(SERVICE), labels.get(SERVICE), labels.get(NAME)];
    let said = said.into_iter().flatten().find(|value| !value.is_empty()).cloned();
    said.or_else(|| workload.split_once('/').map(|(_, name)| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn map(pairs: Pairs) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_workload_is_what_a_person_deployed() {
        let labels = map(&[("pod-template-hash", "5d9c")]);
        for (owner, workload) in [
            (Some(("ReplicaSet", "checkout-5d9c")), "Deployment/checkout"),
            (Some(("ReplicaSet", "bare")), "ReplicaSet/bare"),
            (Some(("Job", "report-29384756")), "CronJob/report"),
            (Some(("Job", "migrate-2")), "Job/migrate-2"),
            (Some(("StatefulSet", "db")), "StatefulSet/db"),
            (Some(("Node", "worker-1")), ""),
            (None, ""),
        ] {
            assert_eq!(workload_of(&labels, owner), workload, "{owner:?}");
        }
    }

    #[test]
    fn a_service_is_what_says_it_first() {
        let rows: [(Pairs, Pairs, &str, Option<&str>); 6] = [
            (&[(SERVICE, "a")], &[(SERVICE, "b")], "Deployment/d", Some("a")),
            (&[(SERVICE, "")], &[(SERVICE, "b"), (NAME, "c")], "Deployment/d", Some("b")),
            (&[], &[(SERVICE, ""), (NAME, "c")], "Deployment/d", Some("c")),
            (&[], &[(NAME, "")], "Deployment/d", Some("d")),
            (&[], &[], "CronJob/report", Some("report")),
            (&[], &[], "", None),
        ];
        for (annotations, labels, workload, service) in rows {
            assert_eq!(service_of(&map(annotations), &map(labels), workload).as_deref(), service);
        }
    }
}
