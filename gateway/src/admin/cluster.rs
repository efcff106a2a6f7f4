//! Reads and writes the resources in a cluster: objects of the API server, with one field manager.

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use super::{Kind, Place, version};
use crate::problem::Problem;

/// In whose name fields are written.
const FIELD_MANAGER: &str = "cordwood-gateway";
/// How the API server says that a policy of admission refuses, and what follows is the policy's own word.
const ADMISSION: &str = "ValidatingAdmissionPolicy";
const DENIED: &str = " denied request: ";
/// Objects in one answer of the API server.
const PAGE: u32 = 500;

pub struct Objects {
    client: Client,
}

impl Objects {
    pub fn new(client: Client) -> Objects {
        Objects { client }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "cordwood.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "cordwood.dev/v1alpha1".to_owned(),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        };
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Problem> {
        let api = self.api(kind, namespace.unwrap_or_default());
        let mut parameters = ListParams::default().limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = api.list(&parameters).await.map_err(|error| refusal("list", kind, error))?;
            let named = |mut object: Value| {
                // Items of a list do not say what they are.
                object["apiVersion"] = json!("cordwood.dev/v1alpha1");
                object["kind"] = json!(kind.name());
                object
            };
            found.extend(page.items.iter().filter_map(|item| serde_json::to_value(item).ok()).map(named));
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
                _ => return Ok(found),
            }
        }
    }

    pub async fn get(&self, place: &Place) -> Result<Option<Value>, Problem> {
        if place.kind == Kind::Levels && place.namespace.is_empty() {
            return Ok(None);
        }
        let api = self.api(place.kind, &place.namespace);
        let object = api.get_opt(&place.name).await.map_err(|error| refusal("get", place.kind, error))?;
        Ok(object.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// One write. What was not there is created: if somebody else made it meanwhile, theirs stays, since a caller who may create need not be one who
    /// may update. Else server-side apply takes the fields over; it cannot take a field away that another manager wrote, so that where one
    /// goes the spec is merged instead.
    pub async fn put(&self, place: &Place, spec: &Value, before: Option<&Value>) -> Result<Value, Problem> {
        let api = self.api(place.kind, &place.namespace);
        let mut metadata = json!({"name": place.name});
        if !place.namespace.is_empty() {
            metadata["namespace"] = json!(place.namespace);
        }
        if let Some(version) = before.and_then(version) {
            metadata["resourceVersion"] = json!(version);
        }
        let object = |metadata: Value, spec: Value| json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": place.kind.name(), "metadata": metadata, "spec": spec});
        let manager = PatchParams::apply(FIELD_MANAGER);
        let merged = before.and_then(|before| without_what_goes(&before["spec"], spec));
        let written = match (before, merged) {
            (Some(_), Some(merged)) => {
                api.patch(&place.name, &manager, &Patch::Merge(object(metadata, merged))).await
            }
            (Some(_), None) => {
                let whole = object(metadata, spec.clone());
                api.patch(&place.name, &manager.force(), &Patch::Apply(whole)).await
            }
            (None, _) => {
                let new = serde_json::from_value(object(metadata, spec.clone())).map_err(|error| {
                    tracing::error!(%error, "an object could not be written");
                    Problem::internal()
                })?;
                let field_manager = Some(FIELD_MANAGER.to_owned());
                api.create(&PostParams { field_manager, ..PostParams::default() }, &new).await
            }
        };
        read_back(written.map_err(|error| refusal("write", place.kind, error))?)
    }

    /// Of this very object, whatever else is written to it meanwhile.
    pub async fn annotate(
        &self,
        place: &Place,
        annotations: &Value,
        before: &Value,
    ) -> Result<Value, Problem> {
        let api = self.api(place.kind, &place.namespace);
        let whole = json!({"metadata": {"uid": before["metadata"]["uid"], "annotations": annotations}});
        let manager = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = api.patch(&place.name, &manager, &Patch::Merge(whole)).await;
        read_back(written.map_err(|error| refusal("write", place.kind, error))?)
    }

    pub async fn delete(&self, place: &Place, before: &Value) -> Result<(), Problem> {
        let text = |field: &str| before["metadata"][field].as_str().map(str::to_owned);
        let preconditions = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = self.api(place.kind, &place.namespace);
        let deleted = api.delete(&place.name, &parameters).await;
        deleted.map(|_| ()).map_err(|error| refusal("delete", place.kind, error))
    }
}

fn read_back(written: DynamicObject) -> Result<Value, Problem> {
    serde_json::to_value(written).map_err(|error| {
        tracing::error!(%error, "an object could not be read");
        Problem::internal()
    })
}

/// The spec as a merge patch that also takes away what it does not say; `None`: nothing goes.
fn without_what_goes(before: &Value, wanted: &Value) -> Option<Value> {
    fn goes(before: &Value, wanted: &Value) -> bool {
        match (before, wanted) {
            (Value::Object(before), Value::Object(wanted)) => {
                before.iter().any(|(field, value)| wanted.get(field).is_none_or(|wanted| goes(value, wanted)))
            }
            (Value::Array(before), Value::Array(wanted)) => before.iter().any(|item| !wanted.contains(item)),
            (Value::Object(before), _) => !before.is_empty(),
            _ => false,
        }
    }
    fn merge(before: &Value, wanted: &Value) -> Value {
        let (Value::Object(before), Value::Object(wanted)) = (before, wanted) else { return wanted.clone() };
        let mut merged: Map<String, Value> = Map::new();
        for (field, value) in wanted {
            merged.insert(field.clone(), merge(before.get(field).unwrap_or(&Value::Null), value));
        }
        for field in before.keys().filter(|field| !wanted.contains_key(*field)) {
            merged.insert(field.clone(), Value::Null);
        }
        Value::Object(merged)
    }
    goes(before, wanted).then(|| merge(before, wanted))
}

/// What the API server said, as an answer to the caller.
fn refusal(verb: &str, kind: Kind, error: kube::Error) -> Problem {
    let kube::Error::Api(status) = error else {
        tracing::warn!(%error, verb, kind = kind.plural(), "the API server does not answer");
        return Problem::cluster_away();
    };
    match status.code {
        // Gone meanwhile, or its namespace is not there, or the kinds are not installed.
        404 if verb == "list" => {
            tracing::warn!(error = status.message, "the custom resources are not installed");
            Problem::no_administration()
        }
        404 => Problem::no_resource(),
        409 => Problem::changed_meanwhile(),
        400 | 422 => {
            let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
            if causes.is_empty() {
                return Problem::invalid([("spec".to_owned(), status.message.clone())]);
            }
            Problem::invalid(causes.iter().map(|cause| {
                let field = if cause.field.is_empty() { "spec" } else { cause.field.as_str() };
                (field.to_owned(), cause.message.clone())
            }))
        }
        // Admission asked what the gateway may, not what its caller may.
        403 if status.message.contains(ADMISSION) => {
            let why = status.message.split_once(DENIED).map_or(status.message.as_str(), |(_, why)| why);
            let message = format!("{why}; the gateway may not: use kubectl");
            Problem::invalid([("spec".to_owned(), message)])
        }
        403 if status.message.contains("being terminated") || status.message.contains("quota") => {
            Problem::invalid([("metadata.namespace".to_owned(), status.message.clone())])
        }
        401 | 403 => {
            tracing::error!(error = status.message, verb, kind = kind.plural(), "the gateway lacks a right");
            Problem::gateway_may_not()
        }
        _ => {
            tracing::warn!(error = status.message, verb, kind = kind.plural(), "the API server refuses");
            Problem::cluster_away()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Method, Response, header};

    use super::*;

    /// Who may create and not update was let in because it was not there.
    #[tokio::test]
    async fn what_somebody_else_made_meanwhile_is_not_overwritten() {
        let methods = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&methods);
        let answer = move |method: Method| {
            seen.lock().unwrap().push(method.clone());
            let (code, body) = match method {
                Method::POST => (
                    409,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "AlreadyExists", "message": "is there", "code": 409}),
                ),
                _ => (
                    200,
                    json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": "a", "namespace": "shop"}}),
                ),
            };
            let answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
            std::future::ready(answer.body(Body::from(body.to_string())).unwrap_or_default())
        };
        let objects = Objects::new(Client::new(Router::new().fallback(answer), "default"));
        let place = Place { kind: Kind::Levels, namespace: "shop".to_owned(), name: "a".to_owned() };
        let refused = objects.put(&place, &json!({"level": "WARN"}), None).await.unwrap_err();
        assert_eq!(refused.status(), 409, "{refused:?}");
        assert_eq!(*methods.lock().unwrap(), [Method::POST]);
    }

    /// A legal hold is lifted only by those who may release it, and the gateway writes in its own name.
    #[tokio::test]
    async fn what_admission_refuses_is_told_in_its_words() {
        let answer = || {
            let message = "logretentionpolicies.cordwood.dev \"a\" is forbidden: ValidatingAdmissionPolicy 'x-holds' with binding 'x-holds' denied request: the legal hold of a is lifted only by those who may release it";
            let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "message": message, "code": 403});
            let answer = Response::builder().status(403).header(header::CONTENT_TYPE, "application/json");
            std::future::ready(answer.body(Body::from(body.to_string())).unwrap_or_default())
        };
        let objects = Objects::new(Client::new(Router::new().fallback(answer), "default"));
        let place = Place { kind: Kind::Retention, namespace: String::new(), name: "a".to_owned() };
        let before = json!({"metadata": {"resourceVersion": "1"}, "spec": {"legalHold": true}});
        let put = objects.put(&place, &json!({"legalHold": false}), Some(&before)).await.unwrap_err();
        let delete = objects.delete(&place, &before).await.unwrap_err();
        for refused in [put, delete] {
            let said = format!("{refused:?}");
            assert!(said.contains("the legal hold of a is lifted only by those who may release it; the gateway may not: use kubectl"), "{said}");
            assert!(!said.contains("binding"), "{said}");
        }
    }

    #[test]
    fn what_another_manager_wrote_goes_only_by_a_merge() {
        for (before, wanted, expected) in [
            (json!({"a": 1}), json!({"a": 2}), None),
            (json!({"a": 1}), json!({"a": 1, "b": {"c": 1}}), None),
            (json!({"a": {}}), json!({"a": {}}), None),
            (json!({"a": [1]}), json!({"a": [1, 2]}), None),
            (json!({"a": [1, 2]}), json!({"a": [2]}), Some(json!({"a": [2]}))),
            (json!({"a": 1, "b": 2}), json!({"a": 3}), Some(json!({"a": 3, "b": null}))),
            (
                json!({"a": {"b": 1, "c": {"d": 1}}, "e": 1}),
                json!({"a": {"b": 2}, "e": 1}),
                Some(json!({"a": {"b": 2, "c": null}, "e": 1})),
            ),
        ] {
            assert_eq!(without_what_goes(&before, &wanted), expected, "{before} {wanted}");
        }
    }
}
