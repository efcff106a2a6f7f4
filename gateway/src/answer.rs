//! The types of answers, and their schemas for the OpenAPI document.

use std::collections::BTreeMap;

use cordwood_core::entry::{Column, Entry, FIELDS, timestamp};
use cordwood_core::origin::Origin;
use cordwood_core::scope::{Grant, Namespaces, Tenants};
use cordwood_store::search::{Direction, Found, OwnedRecord};
use cordwood_store::tasks::LoggedLine;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::access::Identity;
use crate::admin::Administers;
use crate::question::{From, Place};
use crate::scope::Caller;
use crate::words::{CategoryName, KnownByName, LevelName, StreamName, TaskLevel};

/// A record as it is shown: absent fields are left out.
#[derive(Debug)]
pub struct Record;

impl ToSchema for Record {}

impl PartialSchema for Record {
    fn schema() -> RefOr<Schema> {
        RefOr::T(record_schema().into())
    }
}

impl Record {
    pub fn json(record: &OwnedRecord, origin: &Origin) -> serde_json::Result<Box<RawValue>> {
        to_raw_value(&Entry::new(&record.as_record(), origin))
    }
}

/// What every record has.
const NEVER_ABSENT: [&str; 7] = ["id", "timestamp", "level", "category", "tenantId", "tenantSlug", "stream"];

fn record_schema() -> ObjectBuilder {
    let object = NEVER_ABSENT.into_iter().fold(ObjectBuilder::new(), ObjectBuilder::required);
    FIELDS.iter().fold(object, |object, (name, column)| {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let schema: Schema = match column {
            Column::Text => match *name {
                "level" => return object.property(*name, LevelName::schema()),
                "category" => return object.property(*name, CategoryName::schema()),
                "stream" => return object.property(*name, StreamName::schema()),
                _ => text().into(),
            },
            Column::Timestamp => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into(),
            Column::Number => ObjectBuilder::new().schema_type(Type::Integer).into(),
            Column::Json if *name == "data" => {
                ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
            }
            Column::Json => {
                ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).into()
            }
            Column::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        };
        object.property(*name, RefOr::T(schema))
    })
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsPage {
    #[schema(value_type = Vec<Record>)]
    pub items: Vec<Box<RawValue>>,
    /// Give it as `after` for the page that follows; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Give it as `before` for the page that leads up to this one; there may be nothing on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Whether the search came to the end of the page before its budget was over. If not, `next` (or `previous`) goes on from there.
    pub complete: bool,
    #[serde(flatten)]
    pub searched: Searched,
    /// What is asked for and no index knows: such a search reads more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unindexed: Vec<String>,
}

/// How far a search came; neither is there when it came to the end of the range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Searched {
    /// Older records were not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub searched_back_to: Option<String>,
    /// Newer records were not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub searched_forward_to: Option<String>,
}

impl Searched {
    pub fn back_to(time_us: Option<i64>) -> Searched {
        Searched { searched_back_to: time_us.map(timestamp), searched_forward_to: None }
    }

    fn to(direction: Direction, time_us: Option<i64>) -> Searched {
        match direction {
            Direction::NewestFirst => Searched::back_to(time_us),
            Direction::OldestFirst => {
                Searched { searched_back_to: None, searched_forward_to: time_us.map(timestamp) }
            }
        }
    }
}

pub fn items(records: &[OwnedRecord], found: &Found) -> serde_json::Result<Vec<Box<RawValue>>> {
    let nowhere = Origin::default();
    let json =
        |record: &OwnedRecord| Record::json(record, found.origins.get(&record.origin).unwrap_or(&nowhere));
    records.iter().map(json).collect()
}

impl LogsPage {
    pub fn of(place: Place, mut found: Found) -> serde_json::Result<LogsPage> {
        let mut records = std::mem::take(&mut found.records);
        let (direction, beyond) = (place.page(0).direction, found.cursor.map(|cursor| cursor.to_string()));
        let is_backwards = matches!(place.from, From::Before(_));
        if is_backwards {
            records.reverse();
        }
        let edge = |record: Option<&OwnedRecord>| record.map(|record| record.cursor().to_string());
        let (next, previous) = match is_backwards {
            false => (beyond, edge(records.first())),
            true => (edge(records.last()), beyond),
        };
        Ok(LogsPage {
            items: items(&records, &found)?,
            next,
            previous,
            complete: found.complete,
            searched: Searched::to(direction, found.searched_to_us),
            unindexed: found.unindexed,
        })
    }
}

/// The records around one, of the same container or file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Oldest first; the record itself is among them.
    #[schema(value_type = Vec<Record>)]
    pub items: Vec<Box<RawValue>>,
    /// The id of the record itself.
    pub id: String,
    /// Whether the searches came to their ends before their budget was over.
    pub complete: bool,
}

/// Counts over time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Histogram {
    #[schema(format = DateTime)]
    pub from: String,
    #[schema(format = DateTime)]
    pub to: String,
    pub bin_seconds: u64,
    /// From the oldest; those without a record are left out.
    pub bins: Vec<Bin>,
    pub records: u64,
    /// What was counted: the stored records themselves.
    pub counted: &'static str,
    /// So many of them by whole blocks all of whose records count alike, which were not read; left out when there are none. Exact, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_blocks: Option<u64>,
    /// False when the budget ended the count: what is older than `searchedBackTo` is missing.
    pub complete: bool,
    #[serde(flatten)]
    pub searched: Searched,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Bin {
    /// Its begin.
    #[schema(format = DateTime)]
    pub time: String,
    /// By level.
    #[schema(value_type = LevelCounts)]
    pub counts: BTreeMap<&'static str, u64>,
}

/// How many records of each level; absent: none.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "for the document")]
pub struct LevelCounts {
    trace: Option<u64>,
    debug: Option<u64>,
    info: Option<u64>,
    warn: Option<u64>,
    error: Option<u64>,
}

/// Values with counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facets {
    /// By field.
    pub facets: BTreeMap<&'static str, Facet>,
    pub records: u64,
    /// False when the budget ended the count: what is older than `searchedBackTo` is missing, and counts are "at least".
    pub complete: bool,
    #[serde(flatten)]
    pub searched: Searched,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facet {
    /// The most frequent first.
    pub values: Vec<ValueCount>,
    /// Records whose value is none of these.
    pub others: u64,
    /// Records without the field.
    pub missing: u64,
    /// There were more different values than are counted apart: those that came later are among the others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ValueCount {
    pub value: String,
    pub count: u64,
    /// `value` is the beginning of longer ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A line of a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskItem {
    id: i64,
    task_id: String,
    /// RFC 3339, microseconds, UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    #[schema(value_type = TaskLevel)]
    level: String,
    source: String,
    message: String,
    /// What else the line says; left out where it says nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    metadata: Option<Box<RawValue>>,
}

impl TaskItem {
    pub fn of(task_id: &str, line: LoggedLine) -> TaskItem {
        TaskItem {
            id: line.id,
            task_id: task_id.to_owned(),
            timestamp: timestamp(line.time_us),
            level: line.level,
            source: line.source,
            message: line.message,
            metadata: line.metadata.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

/// Who asks, and what they see.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    pub name: String,
    /// How the caller is known: `loopback`, `token`, `kubernetes` (by its API server) or `oidc` (by the identity provider).
    #[schema(value_type = KnownByName)]
    pub known_by: &'static str,
    /// In a cluster: the groups that count for what the caller may see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When the caller's token is over, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// Nothing of other tenants is seen. Absent: something of any may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Nothing of other namespaces is seen. Absent: something of any may be, also records without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Audit records too, of all or of some.
    pub audit: bool,
    /// Where it is not all of one kind: what any of these says is seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Part>,
    /// What would show more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    /// Absent: nothing is administered here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administration: Option<Administers>,
}

/// A part of what is seen: all three let a record through.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Absent: all, also records without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Audit records too.
    pub audit: bool,
    /// Nothing older.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub since: Option<String>,
}

impl Part {
    pub fn of(grant: &Grant) -> Part {
        Part {
            tenants: match &grant.tenants {
                Tenants::All(_) => None,
                Tenants::Only(slugs) => Some(slugs.clone()),
            },
            namespaces: match &grant.namespaces {
                Namespaces::All => None,
                Namespaces::Only(names) => Some(names.clone()),
            },
            audit: grant.audit,
            since: grant.since_us.map(timestamp),
        }
    }
}

impl WhoAmI {
    pub fn of(caller: &Caller) -> WhoAmI {
        let scope = &caller.scope;
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let parts: Vec<Part> = scope.grants().map(Part::of).collect();
        WhoAmI {
            name: caller.identity.name().to_owned(),
            known_by: caller.identity.known_by(),
            groups: match &caller.identity {
                Identity::Person(person, _) => person.groups.clone(),
                Identity::Local | Identity::Token(_) => Vec::new(),
            },
            ends_at: caller.identity.ends_s().and_then(|s| Some(timestamp(s.checked_mul(1_000_000)?))),
            tenants: scope.tenants_at_most().map(owned),
            namespaces: scope.namespaces_at_most().map(owned),
            audit: scope.sees_something() && scope.grants().any(|grant| grant.audit),
            any_of: if parts.len() > 1 { parts } else { Vec::new() },
            more: (!scope.is_everything()).then(|| caller.identity.how_to_see_more()),
            administration: None,
        }
    }
}
