//! The field `push` of a level config: how the operator changes the level inside the application itself. `operator/src/push.rs` does it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

pub(super) const ONE_PUSH: &str = "give exactly one of springBoot, zap, envoy, cordwood, http";

/// How the level is changed inside the application. Exactly one way; only pods that the selector matches are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.springBoot), has(self.zap), has(self.envoy), has(self.cordwood), has(self.http)].filter(x, x).size() == 1",
    "message": ONE_PUSH
}]))]
pub struct PushSpec {
    /// Spring Boot's actuator: POST /actuator/loggers/<logger>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spring_boot: Option<SpringBootPush>,
    /// Zap's AtomicLevel as an HTTP handler: PUT of {"level": ...}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zap: Option<PathPush>,
    /// Envoy's admin interface: POST /logging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy: Option<PortPush>,
    /// The Cordwood logger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordwood: Option<PortPush>,
    /// Any other HTTP endpoint; GET of its path answers the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpPush>,
}

/// Spring Boot's actuator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpringBootPush {
    /// Number of the port on the pod's own address.
    #[schemars(schema_with = "schema::port")]
    pub port: u16,
    /// Name of the logger.
    #[serde(default = "root_logger")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_.$-]+$"))]
    pub logger: String,
}

/// An endpoint of which only the port is to be known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortPush {
    /// Number of the port on the pod's own address.
    #[schemars(schema_with = "schema::port")]
    pub port: u16,
}

/// An endpoint with a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathPush {
    /// Number of the port on the pod's own address.
    #[schemars(schema_with = "schema::port")]
    pub port: u16,
    /// Path on the pod itself.
    #[serde(default = "zap_path")]
    #[schemars(schema_with = "schema::http_path")]
    pub path: String,
}

/// Any HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpPush {
    /// Number of the port on the pod's own address.
    #[schemars(schema_with = "schema::port")]
    pub port: u16,
    /// Path on the pod itself.
    #[schemars(schema_with = "schema::http_path")]
    pub path: String,
    /// PUT or POST.
    #[serde(default)]
    pub method: MethodSpec,
    /// The request's body; ${LEVEL} and ${level} stand for the level in upper and lower case.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub body: String,
}

/// HTTP methods that change something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodSpec {
    Put,
    #[default]
    Post,
}

fn root_logger() -> String {
    "ROOT".to_owned()
}
fn zap_path() -> String {
    "/log/level".to_owned()
}
