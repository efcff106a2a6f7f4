//! Reads a resource from a request, checks it by the same rules as everywhere, and writes it into the answer.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use cordwood_core::limits::RESOURCE_BYTES_MAX;
use cordwood_crds::levels::Reach;
use cordwood_crds::{Document, document, is_name};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Kind, Place};
use crate::problem::Problem;

/// A resource as `kubectl get -o json` shows it, without the fields that tell who manages which of its fields. The document has it as
/// [`super::schemas`] says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: Value,
    /// What became of it; absent until somebody has looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
}

#[derive(Debug, Serialize)]
pub struct ResourceList {
    pub items: Vec<Resource>,
}

/// The metadata that somebody reads.
const SHOWN: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
];

impl From<Value> for Resource {
    fn from(mut object: Value) -> Resource {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut metadata = Map::new();
        for field in SHOWN {
            if let Some(value) = object["metadata"].get_mut(field) {
                metadata.insert(field.to_owned(), value.take());
            }
        }
        Resource {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            metadata: Value::Object(metadata),
            spec: object["spec"].take(),
            status: object.get_mut("status").map(Value::take).filter(|status| !status.is_null()),
        }
    }
}

/// The JSON object of a request.
#[derive(Debug)]
pub struct Body(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Body, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::not_json());
        }
        let bytes: Bytes = axum::body::to_bytes(request.into_body(), RESOURCE_BYTES_MAX)
            .await
            .map_err(|_| Problem::too_large(RESOURCE_BYTES_MAX))?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Body(fields)),
            Ok(_) => Err(Problem::body("must be an object of JSON")),
            Err(error) => Err(Problem::body(format!("is no JSON: {error}"))),
        }
    }
}

/// What somebody wants a resource to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub place: Place,
    /// With every default that was left out.
    pub spec: Value,
    /// What it must be now.
    pub version: Option<String>,
}

/// The resource that the body tells of, which must be of one of these kinds. `name` and `namespace`: as the address says it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn object(
    Body(fields): Body,
    kinds: &[Kind],
    name: Option<&str>,
    namespace: Option<&str>,
) -> Result<Wanted, Problem> {
    let one = |field: &str, message: String| Problem::invalid([(field.to_owned(), message)]);
    let mut fields = fields;
    // The status is the operator's, and of the metadata only this is read.
    fields.remove("status");
    let given = fields.remove("metadata").unwrap_or_else(|| json!({}));
    let Value::Object(given) = given else { return Err(one("metadata", "must be an object".to_owned())) };
    let text = |field: &str| match given.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(one(&format!("metadata.{field}"), "must be a text".to_owned())),
    };
    let version = text("resourceVersion")?.filter(|version| !version.is_empty());
    let name = same("metadata.name", text("name")?, name)?;
    let namespace = same("metadata.namespace", text("namespace")?, namespace)?;
    let name =
        name.filter(|name| !name.is_empty()).ok_or_else(|| one("metadata.name", "missing".to_owned()))?;
    if let Some(other) = fields.keys().find(|field| !["apiVersion", "kind", "spec"].contains(&field.as_str()))
    {
        let known = "unknown field; known are apiVersion, kind, metadata, spec".to_owned();
        return Err(one(other, known));
    }
    let kind = kinds.iter().find(|kind| fields.get("kind").is_some_and(|given| given == kind.name()));
    let Some(kind) = kind.copied() else {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        return Err(one("kind", format!("must be {}", names.join(" or "))));
    };
    let is_namespaced = kind == Kind::Levels;
    if !is_namespaced && namespace.as_deref().is_some_and(|namespace| !namespace.is_empty()) {
        return Err(one(
            "metadata.namespace",
            format!("a {} is of the whole cluster: leave it out", kind.name()),
        ));
    }
    let namespace = namespace.unwrap_or_default();
    let mut metadata = json!({"name": name});
    if is_namespaced && !namespace.is_empty() {
        if !is_name(&namespace) || namespace.len() > 63 || namespace.contains('.') {
            return Err(one("metadata.namespace", "no namespace has such a name".to_owned()));
        }
        metadata["namespace"] = json!(namespace);
    }
    fields.insert("metadata".to_owned(), metadata);
    let wrong = |problems: Vec<cordwood_crds::Problem>| {
        Problem::invalid(problems.into_iter().map(|problem| (problem.field, problem.message)))
    };
    let spec = match document(Value::Object(fields)).map_err(wrong)? {
        Document::Policy(policy) => serde_json::to_value(&policy.spec),
        Document::Levels(config) => serde_json::to_value(&config.fields).map(|mut spec| {
            if config.reach == Reach::Cluster {
                spec["default"] = json!(config.default);
            }
            spec
        }),
    };
    let spec = spec.map_err(|error| one("spec", error.to_string()))?;
    Ok(Wanted { place: Place { kind, namespace, name }, spec, version })
}

/// What the body says and what the address says, which is one thing.
fn same(field: &str, body: Option<String>, address: Option<&str>) -> Result<Option<String>, Problem> {
    match (body, address) {
        (Some(body), Some(address)) if body != address => {
            let message = format!("is {body:?}, and the address says {address:?}");
            Err(Problem::invalid([(field.to_owned(), message)]))
        }
        (body, address) => Ok(address.map(str::to_owned).or(body)),
    }
}

/// A name in an address that can be one.
///
/// # Errors
/// The same as for what is not there.
pub fn named(kind: Kind, namespace: String, name: String) -> Result<Place, Problem> {
    let is_namespace = namespace.is_empty() || (is_name(&namespace) && !namespace.contains('.'));
    if !is_name(&name) || !is_namespace {
        return Err(Problem::no_resource());
    }
    Ok(Place { kind, namespace, name })
}
