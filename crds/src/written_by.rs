//! Reads who wrote the fields that keep a policy's records (`legalHold`, `suspend`, `mode`): from what the API server remembers of who
//! wrote each field, and from an annotation.

use cordwood_core::retention::WrittenBy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::approval::{claim, who};

/// Names who lifts a legal hold or a suspension. The chart's admission policy lets nobody write another name there than his own.
pub const RELEASED_BY_ANNOTATION: &str = "cordwood.dev/released-by";

/// What says whether a policy's records go.
const FIELDS: [&str; 3] = ["f:legalHold", "f:suspend", "f:mode"];

pub fn written_by(metadata: &ObjectMeta) -> WrittenBy {
    let entries = || metadata.managed_fields.iter().flatten().filter(|entry| spec_of(entry).is_some());
    let says = |entry: &&ManagedFieldsEntry| {
        spec_of(entry).is_some_and(|spec| FIELDS.iter().any(|field| spec.get(field).is_some()))
    };
    let latest = |entry: &&ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    // A field that somebody leaves out is his who wrote last.
    let manager = entries().filter(says).max_by_key(latest).or_else(|| entries().max_by_key(latest));
    WrittenBy { manager: manager.map(who), releaser: claim(metadata, RELEASED_BY_ANNOTATION) }
}

fn spec_of(entry: &ManagedFieldsEntry) -> Option<&serde_json::Value> {
    entry.fields_v1.as_ref()?.0.get("f:spec")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_last_program_that_wrote_the_field_is_named_and_who_names_himself() {
        let entry = |manager: &str, minute: u32, fields: Value| json!({"manager": manager, "operation": "Update", "time": format!("2026-11-29T10:{minute:02}:00Z"), "fieldsV1": fields});
        let helm = entry("helm", 1, json!({"f:spec": {"f:priority": {}, "f:suspend": {}}}));
        let edit = entry("kubectl-edit", 2, json!({"f:spec": {"f:legalHold": {}}}));
        let other = entry("kubectl-patch", 3, json!({"f:spec": {"f:match": {}}}));
        let status = entry("operator", 4, json!({"f:status": {"f:state": {}}}));
        let named = json!({"cordwood.dev/released-by": " anna\n"});
        for (metadata, manager, releaser) in [
            (json!({}), None, None),
            (json!({"managedFields": [status]}), None, None),
            (
                json!({"managedFields": [edit, helm, other, status]}),
                Some("kubectl-edit, 2026-11-29T10:02:00Z"),
                None,
            ),
            (json!({"managedFields": [other, status]}), Some("kubectl-patch, 2026-11-29T10:03:00Z"), None),
            (
                json!({"annotations": named, "managedFields": [helm]}),
                Some("helm, 2026-11-29T10:01:00Z"),
                Some("anna"),
            ),
            (json!({"annotations": {"cordwood.dev/released-by": " "}}), None, None),
        ] {
            let found = written_by(&serde_json::from_value(metadata.clone()).unwrap());
            assert_eq!(
                (found.manager.as_deref(), found.releaser.as_deref()),
                (manager, releaser),
                "{metadata}"
            );
        }
    }
}
