//! Reads who approved which plan of a policy: from two annotations, and from what the API server remembers of who wrote them.

use cordwood_core::retention::{APPROVE_ANNOTATION, Approval};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

/// Whom a tool names that approves for a person. Anyone who may annotate a policy may write it: it is a claim.
pub const APPROVED_BY_ANNOTATION: &str = "cordwood.dev/approved-by";

/// Characters of such a claim that are kept.
const CLAIM_CHARS_MAX: usize = 128;

/// What the metadata of a policy approves.
pub fn approval(metadata: &ObjectMeta) -> Option<Approval> {
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).map(|text| text.trim());
    let plan = annotation(APPROVE_ANNOTATION).filter(|plan| !plan.is_empty())?;
    let claim = claim(metadata, APPROVED_BY_ANNOTATION);
    let entries = metadata.managed_fields.iter().flatten();
    let manager = entries.filter(|entry| writes(entry, APPROVE_ANNOTATION)).map(who).next_back();
    let by = match (claim, manager) {
        (Some(claim), Some(manager)) => format!("{claim} (written by {manager})"),
        (Some(claim), None) => claim,
        (None, Some(manager)) => manager,
        (None, None) => "somebody whom nobody names".to_owned(),
    };
    Some(Approval { plan: plan.to_owned(), by })
}

/// Whom an annotation names.
pub(crate) fn claim(metadata: &ObjectMeta, annotation: &str) -> Option<String> {
    let claim = metadata.annotations.as_ref()?.get(annotation)?.trim();
    (!claim.is_empty())
        .then(|| claim.chars().filter(|char| !char.is_control()).take(CLAIM_CHARS_MAX).collect())
}

fn writes(entry: &ManagedFieldsEntry, annotation: &str) -> bool {
    let field = format!("f:{annotation}");
    entry
        .fields_v1
        .as_ref()
        .and_then(|fields| fields.0.get("f:metadata")?.get("f:annotations")?.get(&field))
        .is_some()
}

/// The field manager, and since when. It names a program; the user is in the API server's audit log.
pub(crate) fn who(entry: &ManagedFieldsEntry) -> String {
    let manager = entry.manager.as_deref().unwrap_or("an unnamed field manager");
    match &entry.time {
        Some(time) => format!("{manager}, {}", time.0),
        None => manager.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn by(value: serde_json::Value) -> Option<Approval> {
        approval(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn the_approver_is_named_as_far_as_he_is_known() {
        let fields = json!({"f:metadata": {"f:annotations": {"f:cordwood.dev/approve-plan": {}}}});
        let other = json!({"f:metadata": {"f:annotations": {"f:a": {}}}, "f:spec": {}});
        let managed = json!([
            {"manager": "helm", "operation": "Apply", "time": "2026-11-01T00:00:00Z", "fieldsV1": other},
            {"manager": "kubectl-annotate", "operation": "Update", "time": "2026-11-29T10:00:00Z", "fieldsV1": fields},
        ]);
        let plan = json!({"cordwood.dev/approve-plan": " 0123456789abcdef\n"});
        let claimed =
            json!({"cordwood.dev/approve-plan": "0123456789abcdef", "cordwood.dev/approved-by": "ann\n"});
        let rows = [
            (json!({}), None),
            (json!({"annotations": {"cordwood.dev/approve-plan": ""}}), None),
            (json!({"annotations": {"cordwood.dev/approved-by": "ann"}}), None),
            (json!({"annotations": plan}), Some("somebody whom nobody names")),
            (
                json!({"annotations": plan, "managedFields": managed}),
                Some("kubectl-annotate, 2026-11-29T10:00:00Z"),
            ),
            (json!({"annotations": claimed}), Some("ann")),
            (
                json!({"annotations": claimed, "managedFields": managed}),
                Some("ann (written by kubectl-annotate, 2026-11-29T10:00:00Z)"),
            ),
        ];
        for (metadata, expected) in rows {
            let found = by(metadata.clone());
            assert_eq!(found.as_ref().map(|approval| approval.by.as_str()), expected, "{metadata}");
            assert!(found.is_none_or(|approval| approval.plan == "0123456789abcdef"), "{metadata}");
        }
    }

    #[test]
    fn a_long_claim_is_cut() {
        let claim = "x".repeat(1000);
        let annotations = json!({"cordwood.dev/approve-plan": "a", "cordwood.dev/approved-by": claim});
        assert_eq!(by(json!({"annotations": annotations})).unwrap().by.len(), CLAIM_CHARS_MAX);
    }
}
