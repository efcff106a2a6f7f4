//! Decides whether an object is as its spec says, by the rules of kstatus (sigs.k8s.io/cli-utils, pkg/kstatus/status, for kinds that it does not know):
//! what Flux, kapp and `kubectl apply --prune` with waiting go by.

use serde_json::Value;

/// What kstatus makes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kstatus {
    Current,
    /// With the reason.
    InProgress(String),
    Failed(String),
    Terminating,
}

/// `object` as `kubectl get -o json` prints it.
pub fn kstatus(object: &Value) -> Kstatus {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Kstatus::Terminating;
    }
    let (observed, generation) = (&object["status"]["observedGeneration"], &object["metadata"]["generation"]);
    if observed.is_i64() && observed != generation {
        return Kstatus::InProgress("LatestGenerationNotObserved".to_owned());
    }
    let conditions: Vec<&Value> =
        object["status"]["conditions"].as_array().map(|all| all.iter().collect()).unwrap_or_default();
    let reason = |condition: &Value| condition["reason"].as_str().unwrap_or_default().to_owned();
    // In their order: the first that holds decides.
    for condition in &conditions {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return Kstatus::InProgress(reason(condition)),
            (Some("Stalled"), Some("True")) => return Kstatus::Failed(reason(condition)),
            _ => {}
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => Kstatus::InProgress(reason(ready)),
        // Also where nothing is said.
        _ => Kstatus::Current,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rules_of_kstatus() {
        let object = |observed: i64, conditions: &[(&str, &str)]| {
            let conditions: Vec<Value> = conditions
                .iter()
                .map(|(kind, status)| json!({"type": kind, "status": status, "reason": "Why"}))
                .collect();
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed, "conditions": conditions}})
        };
        let why = || "Why".to_owned();
        for (object, expected) in [
            (json!({"metadata": {"generation": 1}}), Kstatus::Current),
            (json!({"metadata": {"deletionTimestamp": "2026-11-18T12:00:00Z"}}), Kstatus::Terminating),
            (object(1, &[("Ready", "True")]), Kstatus::InProgress("LatestGenerationNotObserved".to_owned())),
            (object(2, &[("Ready", "True")]), Kstatus::Current),
            (object(2, &[("Ready", "False")]), Kstatus::InProgress(why())),
            (object(2, &[("Ready", "True"), ("Reconciling", "True")]), Kstatus::InProgress(why())),
            (
                object(2, &[("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")]),
                Kstatus::Failed(why()),
            ),
            (object(2, &[("Accepted", "False")]), Kstatus::Current),
        ] {
            assert_eq!(kstatus(&object), expected, "{object}");
        }
    }
}
