//! Writes the status of one object by server-side apply, as one field manager. A field that the operator no longer writes is removed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use cordwood_crds::Kind;

/// As `metadata.managedFields` names the operator.
pub const MANAGER: &str = "cordwood-operator";

/// Puts the status of the object `meta` in the place of the one before. Returns what the object's metadata is then.
///
/// # Errors
/// 409 when the object is no more what `meta` and its resource version say: a replica that leads no longer cannot write over what its
/// successor wrote.
pub async fn put<K: Kind>(
    client: &Client,
    meta: &ObjectMeta,
    status: &impl Serialize,
) -> Result<ObjectMeta, kube::Error> {
    // Without its type: the spec may be one that cannot be read.
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match &meta.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = meta.name.as_deref().unwrap_or_default();
    let wanted = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    let mut applied = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "status": wanted,
    });
    if let Some(version) = &meta.resource_version {
        applied["metadata"]["resourceVersion"] = version.as_str().into();
    }
    let parameters = PatchParams::apply(MANAGER).force();
    let after = match api.patch_status(name, &parameters, &Patch::Apply(&applied)).await {
        Ok(after) => after,
        // It applies nothing to an object whose spec another version of the definition let in.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 400 | 422 | 500) => {
            return replace(&api, name, meta.resource_version.as_deref(), &wanted).await;
        }
        Err(error) => return Err(error),
    };
    if is_part(&after.data["status"], &wanted) {
        return Ok(after.metadata);
    }
    // Apply leaves what another manager owns: an operator of an older version, or somebody by hand. (This patch only removes, so
    // the operator owns nothing by it.)
    replace(&api, name, after.metadata.resource_version.as_deref(), &wanted).await
}

/// Puts the whole status in the place of the one before, if the object still has this resource version.
async fn replace(
    api: &Api<DynamicObject>,
    name: &str,
    version: Option<&str>,
    wanted: &Value,
) -> Result<ObjectMeta, kube::Error> {
    // To add what is there already is to replace it.
    let mut whole = vec![json!({"op": "add", "path": "/status", "value": wanted})];
    if let Some(version) = version {
        whole.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    }
    let whole = serde_json::from_value(whole.into()).map_err(kube::Error::SerdeError)?;
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    Ok(api.patch_status(name, &parameters, &Patch::Json::<()>(whole)).await?.metadata)
}

/// Whether all that `there` says is said in `wanted`. (A definition of an older version leaves out fields that it does not know.)
fn is_part(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            there.iter().all(|(name, value)| wanted.get(name).is_some_and(|wanted| is_part(value, wanted)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.iter().all(|one| wanted.iter().any(|wanted| is_part(one, wanted)))
        }
        (there, wanted) => there == wanted,
    }
}

/// The resource version to write upon: the newer of what the watch has brought and what the last write answered.
pub fn newest<'a>(watched: Option<&'a str>, written: Option<&'a str>) -> Option<&'a str> {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    if number(written) > number(watched) { written } else { watched }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_manager_left_is_found_and_what_an_older_definition_leaves_out_is_no_matter() {
        let wanted = json!({"partitions": 3, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Accepted", "status": "True"},
        ]});
        let is = |there: Value| is_part(&there, &wanted);
        assert!(is(wanted.clone()));
        assert!(is(json!({"conditions": [{"type": "Accepted", "status": "True"}, {"type": "Ready"}]})));
        assert!(!is(json!({"partitions": 4})));
        assert!(!is(json!({"partitions": 3, "waits": "for nothing"})));
        assert!(!is(
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Valid", "status": "True"}]})
        ));
    }

    #[test]
    fn a_write_is_upon_the_newest_that_is_known() {
        assert_eq!(newest(Some("9"), Some("10")), Some("10"));
        assert_eq!(newest(Some("11"), Some("10")), Some("11"));
        assert_eq!(newest(Some("11"), None), Some("11"));
        assert_eq!(newest(None, None), None);
    }
}
