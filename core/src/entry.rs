//! Makes the entry of a record, which is how the record is shown: its fields as a JSON object, without absent ones.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::fields::{Field, Fields, read};
use crate::level::Level;
use crate::origin::Origin;
use crate::record::{Flags, Record};
use crate::signature::signature_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    System,
    Audit,
}

/// Everything that is known about a record. Serializes under the names that searches and exports use.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    /// The record's permanent name, `<time in microseconds>.<record id>`: what cursors are, and what `id=` takes.
    pub id: String,
    /// RFC 3339, microseconds, UTC.
    pub timestamp: String,
    /// Only when the runtime's time was replaced: what it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_timestamp: Option<String>,
    pub level: Level,
    pub category: Category,
    pub tenant_id: &'a str,
    pub tenant_slug: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonator_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// A JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Audit records: a JSON value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_stack: Option<Cow<'a, str>>,
    /// Of WARN and ERROR: which group of errors the record is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<&'a str>,
    pub stream: &'static str,
    /// The line did not parse as what it claimed to be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parse_error: bool,
    /// The record was cut at the size limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Beginning or end of the record was never seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The application's own bytes.
    #[serde(skip)]
    pub body: &'a [u8],
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// What the cluster says goes before what the body says; what the body says otherwise stays in `data`.
fn cluster_first<'a>(fields: &mut Fields<'a>, field: Field, cluster: &'a str) -> Option<Cow<'a, str>> {
    if cluster.is_empty() {
        return fields.take(field);
    }
    if fields.get(field).is_some_and(|own| own != cluster) {
        fields.give_back(field);
    }
    Some(Cow::Borrowed(cluster))
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}

/// The service of a record: the line's own where the cluster knows no better than the container's name.
fn service<'a>(fields: &mut Fields<'a>, origin: &'a Origin) -> Option<Cow<'a, str>> {
    let own = origin.service_is_a_guess().then(|| fields.take(Field::Service)).flatten();
    own.or_else(|| cluster_first(fields, Field::Service, &origin.service))
}

/// The service that an entry of this body shows; empty where nobody knows it.
pub fn service_shown<'a>(body: &'a [u8], origin: &'a Origin) -> Cow<'a, str> {
    if !origin.service.is_empty() && !origin.service_is_a_guess() {
        return Cow::Borrowed(&origin.service);
    }
    service(&mut read(body), origin).unwrap_or_default()
}

impl<'a> Entry<'a> {
    pub fn new(record: &Record<'a>, origin: &'a Origin) -> Entry<'a> {
        let mut fields = read(record.body);
        let service = service(&mut fields, origin);
        let plugin = cluster_first(&mut fields, Field::Plugin, &origin.plugin);
        let environment = cluster_first(&mut fields, Field::Environment, &origin.environment);
        let version = cluster_first(&mut fields, Field::Version, &origin.version);
        let region = cluster_first(&mut fields, Field::Region, &origin.region);
        let data = fields.data_json().and_then(raw);
        let mut own = |field: Field| fields.take(field);
        let number = |text: Option<Cow<'_, str>>| text.and_then(|text| text.parse().ok());
        Entry {
            id: format!("{}.{}", record.time_us, record.id),
            timestamp: timestamp(record.time_us),
            original_timestamp: record.original_time_us.map(timestamp),
            level: record.level,
            category: if record.flags.has(Flags::AUDIT) { Category::Audit } else { Category::System },
            tenant_id: &origin.tenant_id,
            tenant_slug: &origin.tenant,
            user_id: own(Field::UserId),
            session_id: own(Field::SessionId),
            impersonator_id: own(Field::ImpersonatorId),
            request_id: own(Field::RequestId),
            trace_id: own(Field::TraceId),
            span_id: own(Field::SpanId),
            service,
            source: own(Field::Source),
            action: own(Field::Action),
            file: own(Field::File),
            line: number(own(Field::Line)),
            function: own(Field::Function),
            logger: own(Field::Logger),
            task_id: own(Field::TaskId),
            plugin,
            pid: number(own(Field::Pid)),
            message: own(Field::Message),
            data,
            metadata: own(Field::Metadata).and_then(|json| raw(json.into_owned())),
            error_type: own(Field::ErrorType),
            error_code: own(Field::ErrorCode),
            error_stack: own(Field::ErrorStack),
            signature: signature_of(record).map(|signature| signature.to_string().into()),
            environment,
            version,
            region,
            namespace: present(&origin.namespace),
            pod: present(&origin.pod),
            container: present(&origin.container),
            node: present(&origin.node),
            stream: if record.flags.has(Flags::STDERR) { "stderr" } else { "stdout" },
            parse_error: record.flags.has(Flags::PARSE_ERROR),
            truncated: record.flags.has(Flags::TRUNCATED),
            incomplete: record.flags.has(Flags::INCOMPLETE),
            body: record.body,
        }
    }
}

/// RFC 3339, microseconds, UTC. A time outside of the calendar's years (-9999 to 9999) is shown as its nearer end.
pub fn timestamp(time_us: i64) -> String {
    let end = if time_us < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let time = jiff::Timestamp::from_microsecond(time_us).unwrap_or(end);
    format!("{time:.6}")
}

/// The same in milliseconds, cut: for clients that expect three digits.
pub fn timestamp_ms(time_us: i64) -> String {
    let end = if time_us < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let time = jiff::Timestamp::from_millisecond(time_us.div_euclid(1_000)).unwrap_or(end);
    format!("{time:.3}")
}

/// The type of a column when records are written as plain rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Text,
    Timestamp,
    Number,
    Json,
    /// Present and true, or absent.
    Flag,
}

/// Every field of an entry with its JSON name, in the order in which a table shows them.
pub const FIELDS: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("timestamp", Column::Timestamp),
    ("originalTimestamp", Column::Timestamp),
    ("level", Column::Text),
    ("category", Column::Text),
    ("tenantId", Column::Text),
    ("tenantSlug", Column::Text),
    ("userId", Column::Text),
    ("sessionId", Column::Text),
    ("impersonatorId", Column::Text),
    ("requestId", Column::Text),
    ("traceId", Column::Text),
    ("spanId", Column::Text),
    ("service", Column::Text),
    ("source", Column::Text),
    ("action", Column::Text),
    ("file", Column::Text),
    ("line", Column::Number),
    ("function", Column::Text),
    ("logger", Column::Text),
    ("taskId", Column::Text),
    ("plugin", Column::Text),
    ("pid", Column::Number),
    ("message", Column::Text),
    ("data", Column::Json),
    ("metadata", Column::Json),
    ("errorType", Column::Text),
    ("errorCode", Column::Text),
    ("errorStack", Column::Text),
    ("signature", Column::Text),
    ("environment", Column::Text),
    ("version", Column::Text),
    ("region", Column::Text),
    ("namespace", Column::Text),
    ("pod", Column::Text),
    ("container", Column::Text),
    ("node", Column::Text),
    ("stream", Column::Text),
    ("parseError", Column::Flag),
    ("truncated", Column::Flag),
    ("incomplete", Column::Flag),
];

#[cfg(test)]
mod tests;
