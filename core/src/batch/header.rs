//! Writes a batch's header and origin as OTLP attributes, and reads them back. Names on the resource follow OpenTelemetry's semantic
//! conventions where those have one; Cordwood's own begin with `cordwood.`.

use std::cell::OnceCell;
use std::sync::Arc;

use super::wire::{Value, field, put_attribute};
use super::{BatchHeader, LossRange};
use crate::identity::{FileId, OutputStream, StreamKey};
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};
use crate::origin::Origin;

pub const SCOPE_NAME: &str = "cordwood.agent";

/// Attribute names of a resource.
pub mod resource {
    pub const TENANT: &str = "cordwood.tenant";
    pub const TENANT_ID: &str = "cordwood.tenant.id";
    pub const NAMESPACE: &str = "k8s.namespace.name";
    pub const POD: &str = "k8s.pod.name";
    pub const POD_UID: &str = "k8s.pod.uid";
    pub const CONTAINER: &str = "k8s.container.name";
    pub const RESTART_COUNT: &str = "k8s.container.restart_count";
    pub const NODE: &str = "k8s.node.name";
    pub const SERVICE: &str = "service.name";
    pub const WORKLOAD: &str = "cordwood.workload";
    pub const ENVIRONMENT: &str = "deployment.environment.name";
    pub const VERSION: &str = "service.version";
    pub const REGION: &str = "cloud.region";
    pub const PLUGIN: &str = "cordwood.plugin";
    pub const PATH: &str = "log.file.path";
    pub const IO: &str = "log.iostream";
}

/// Attribute names of the scope.
pub mod scope {
    pub const STREAM: &str = "cordwood.stream";
    pub const FILE: &str = "cordwood.file";
    pub const PREV: &str = "cordwood.prev";
    pub const END: &str = "cordwood.end";
    pub const LINES: &str = "cordwood.lines";
    pub const BYTES: &str = "cordwood.bytes";
    pub const GATED: &str = "cordwood.gated";
    pub const LIMITED: &str = "cordwood.limited";
    pub const REJECTED: &str = "cordwood.rejected";
    pub const POSITIONS: &str = "cordwood.positions";
    pub const FLAGS: &str = "cordwood.flags";
    pub const LOSS_FROM: &str = "cordwood.loss.from";
    pub const LOSS_BYTES: &str = "cordwood.loss.bytes";
    pub const LOSS_EXACT: &str = "cordwood.loss.exact";
    pub const LOSS_REASON: &str = "cordwood.loss.reason";
}

/// Writes the content of the `Resource` message.
pub fn put_resource(out: &mut Vec<u8>, header: &BatchHeader, origin: &Origin) {
    let mut put = |key: &str, value: Value<'_>| put_attribute(out, field::RESOURCE_ATTRIBUTES, key, value);
    for (key, text) in [
        (resource::TENANT, &origin.tenant),
        (resource::TENANT_ID, &origin.tenant_id),
        (resource::NAMESPACE, &origin.namespace),
        (resource::POD, &origin.pod),
        (resource::POD_UID, &origin.pod_uid),
        (resource::CONTAINER, &origin.container),
        (resource::NODE, &origin.node),
        (resource::SERVICE, &origin.service),
        (resource::WORKLOAD, &origin.workload),
        (resource::ENVIRONMENT, &origin.environment),
        (resource::VERSION, &origin.version),
        (resource::REGION, &origin.region),
        (resource::PLUGIN, &origin.plugin),
        (resource::PATH, &origin.path),
    ] {
        if !text.is_empty() {
            put(key, Value::Text(text));
        }
    }
    put(resource::RESTART_COUNT, Value::Int(u64::from(header.restart_count)));
    put(resource::IO, Value::Text(header.io.as_str()));
}

/// Writes the content of the `InstrumentationScope` message. `positions` and `flags` are varints, one for each record; `flags` is `None`
/// when all are zero.
pub fn put_scope(out: &mut Vec<u8>, header: &BatchHeader, positions: &[u8], flags: Option<&[u8]>) {
    super::wire::put_bytes(out, field::SCOPE_NAME, SCOPE_NAME.as_bytes());
    super::wire::put_bytes(out, field::SCOPE_VERSION, env!("CARGO_PKG_VERSION").as_bytes());
    let mut put = |key: &str, value: Value<'_>| put_attribute(out, field::SCOPE_ATTRIBUTES, key, value);
    put(scope::STREAM, Value::Text(header.stream.as_str()));
    put(scope::FILE, Value::Text(&header.file.to_string()));
    put(scope::PREV, Value::Int(header.prev));
    put(scope::END, Value::Int(header.end));
    put(scope::LINES, Value::Int(header.lines));
    put(scope::BYTES, Value::Int(header.bytes));
    for (key, count) in
        [(scope::GATED, header.gated), (scope::LIMITED, header.limited), (scope::REJECTED, header.rejected)]
    {
        if count > 0 {
            put(key, Value::Int(count));
        }
    }
    if let Some(loss) = &header.loss {
        put(scope::LOSS_FROM, Value::Int(loss.from));
        put(scope::LOSS_BYTES, Value::Int(loss.bytes));
        put(scope::LOSS_EXACT, Value::Bool(loss.exact));
        put(scope::LOSS_REASON, Value::Text(&loss.reason));
    }
    put(scope::POSITIONS, Value::Bytes(positions));
    if let Some(flags) = flags {
        put(scope::FLAGS, Value::Bytes(flags));
    }
}

/// What was read of a resource.
#[derive(Debug, Default)]
pub struct ResourceRead {
    pub origin: Origin,
    shared: OnceCell<Arc<Origin>>,
    pub restart_count: Option<u32>,
    pub io: Option<OutputStream>,
}

impl ResourceRead {
    /// The cleaned origin, shared by all batches of the resource. Call once the resource is read completely.
    pub fn shared(&self) -> Arc<Origin> {
        self.shared.get_or_init(|| Arc::new(self.origin.clone().cleaned())).clone()
    }

    /// Takes over one attribute with a text. `believed`: the message is an agent's, so its tenant counts too.
    pub fn set(&mut self, key: &str, text: &str, believed: bool) {
        let origin = &mut self.origin;
        let to = match key {
            resource::TENANT if believed => &mut origin.tenant,
            resource::TENANT_ID if believed => &mut origin.tenant_id,
            resource::NAMESPACE => &mut origin.namespace,
            resource::POD => &mut origin.pod,
            resource::POD_UID => &mut origin.pod_uid,
            resource::CONTAINER => &mut origin.container,
            resource::NODE => &mut origin.node,
            resource::SERVICE => &mut origin.service,
            resource::WORKLOAD if believed => &mut origin.workload,
            resource::ENVIRONMENT => &mut origin.environment,
            // The name before semantic conventions 1.27.
            "deployment.environment" if origin.environment.is_empty() => &mut origin.environment,
            resource::VERSION => &mut origin.version,
            resource::REGION => &mut origin.region,
            resource::PLUGIN if believed => &mut origin.plugin,
            resource::PATH => &mut origin.path,
            "host.name" if !believed && origin.node.is_empty() => &mut origin.node,
            resource::IO => {
                self.io = match text {
                    "stdout" => Some(OutputStream::Stdout),
                    "stderr" => Some(OutputStream::Stderr),
                    _ => None,
                };
                return;
            }
            _ => return,
        };
        let bytes_max = match key {
            _ if believed => usize::MAX,
            resource::PATH => PATH_BYTES_MAX,
            _ => NAME_BYTES_MAX,
        };
        // PostgreSQL's text has no NUL.
        *to = text[..text.floor_char_boundary(bytes_max)].replace('\0', "\u{fffd}");
    }
}

/// What was read of an agent's scope; [`ScopeRead::header`] says what is missing.
#[derive(Debug, Default)]
pub struct ScopeRead<'a> {
    pub stream: Option<&'a str>,
    pub file: Option<&'a str>,
    pub prev: Option<u64>,
    pub end: Option<u64>,
    pub lines: Option<u64>,
    pub bytes: Option<u64>,
    pub gated: u64,
    pub limited: u64,
    pub rejected: u64,
    pub positions: &'a [u8],
    pub flags: Option<&'a [u8]>,
    pub loss_from: Option<u64>,
    pub loss_bytes: Option<u64>,
    pub loss_exact: Option<bool>,
    pub loss_reason: Option<&'a str>,
}

impl<'a> ScopeRead<'a> {
    pub fn set(&mut self, key: &str, value: Value<'a>) {
        match (key, value) {
            (scope::STREAM, Value::Text(text)) => self.stream = Some(text),
            (scope::FILE, Value::Text(text)) => self.file = Some(text),
            (scope::PREV, Value::Int(value)) => self.prev = Some(value),
            (scope::END, Value::Int(value)) => self.end = Some(value),
            (scope::LINES, Value::Int(value)) => self.lines = Some(value),
            (scope::BYTES, Value::Int(value)) => self.bytes = Some(value),
            (scope::GATED, Value::Int(value)) => self.gated = value,
            (scope::LIMITED, Value::Int(value)) => self.limited = value,
            (scope::REJECTED, Value::Int(value)) => self.rejected = value,
            (scope::POSITIONS, Value::Bytes(bytes)) => self.positions = bytes,
            (scope::FLAGS, Value::Bytes(bytes)) => self.flags = Some(bytes),
            (scope::LOSS_FROM, Value::Int(value)) => self.loss_from = Some(value),
            (scope::LOSS_BYTES, Value::Int(value)) => self.loss_bytes = Some(value),
            (scope::LOSS_EXACT, Value::Bool(value)) => self.loss_exact = Some(value),
            (scope::LOSS_REASON, Value::Text(text)) => self.loss_reason = Some(text),
            _ => {}
        }
    }

    /// The header, or the name of the attribute that is missing or wrong.
    pub fn header(&self, resource: &ResourceRead) -> Result<BatchHeader, &'static str> {
        let file = self.file.filter(|text| text.len() == 16).ok_or(scope::FILE)?;
        let loss = match (self.loss_from, self.loss_bytes) {
            (None, None) => None,
            (from, bytes) => Some(LossRange {
                from: from.ok_or(scope::LOSS_FROM)?,
                bytes: bytes.ok_or(scope::LOSS_BYTES)?,
                exact: self.loss_exact.unwrap_or(false),
                reason: self.loss_reason.unwrap_or("").to_owned(),
            }),
        };
        let header = BatchHeader {
            stream: StreamKey(self.stream.ok_or(scope::STREAM)?.to_owned()),
            io: resource.io.ok_or(resource::IO)?,
            file: FileId(u64::from_str_radix(file, 16).map_err(|_| scope::FILE)?),
            restart_count: resource.restart_count.ok_or(resource::RESTART_COUNT)?,
            prev: self.prev.ok_or(scope::PREV)?,
            end: self.end.ok_or(scope::END)?,
            lines: self.lines.ok_or(scope::LINES)?,
            bytes: self.bytes.ok_or(scope::BYTES)?,
            gated: self.gated,
            limited: self.limited,
            rejected: self.rejected,
            loss,
        };
        if header.prev > header.end {
            return Err(scope::END);
        }
        Ok(header)
    }
}
