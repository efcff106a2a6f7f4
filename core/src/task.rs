//! Decides which records are lines of tasks, what of them a task's log shows, and which are hidden because their task was deleted.
//!
//! A task is of one namespace and one tenant: the same id of another tenant is another task, so that nobody deletes, or keeps from
//! being written, what is not theirs.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::fields::{self, Field};
use crate::level::Level;
use crate::limits::{TASK_ID_BYTES_MAX, TASK_MESSAGE_BYTES_MAX, TASK_METADATA_BYTES_MAX};
use crate::origin::{Origin, clean_name};
use crate::record::{Flags, Record};

/// The levels of a task's log, lowest first.
pub const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];
const SOURCE_BYTES_MAX: usize = 128;
/// Of itself a task ends so long after its last line was stored: 30 days.
pub const TASK_AGE_MS_DEFAULT: u64 = 30 * 86_400_000;

/// How a task's log writes a level. There is no TRACE.
pub const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Trace | Level::Debug => LEVELS[0],
        Level::Info => LEVELS[1],
        Level::Warn => LEVELS[2],
        Level::Error => LEVELS[3],
    }
}

/// The level that somebody names, in any case; `WARN` too.
pub fn level_named(text: &str) -> Option<&'static str> {
    let text = if text.eq_ignore_ascii_case("warn") { LEVELS[2] } else { text };
    LEVELS.into_iter().find(|word| word.eq_ignore_ascii_case(text))
}

/// A record as its task's log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLine {
    pub task_id: String,
    /// Of [`LEVELS`].
    pub level: &'static str,
    pub source: String,
    pub message: String,
    /// A JSON object or array that PostgreSQL takes.
    pub metadata: Option<String>,
    /// The message was longer than [`TASK_MESSAGE_BYTES_MAX`].
    pub is_message_cut: bool,
    /// The metadata was longer than [`TASK_METADATA_BYTES_MAX`], or cannot be stored as JSON, and was left out.
    pub is_metadata_cut: bool,
}

/// What a record is to the logs of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskRecord {
    /// Of no task.
    None,
    /// Its task's id is longer than [`TASK_ID_BYTES_MAX`]: cut, it could be another task's.
    IdTooLong,
    Line(TaskLine),
}

/// Whether these bytes, of one record or of many, may hold a field that names a task. Cheap, and right to say no.
pub fn may_name_a_task(bytes: &[u8]) -> bool {
    // A key may be written with escapes, in any of the usual cases.
    static NAMES: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| ["ask", "ASK", "\\u00"].map(Finder::new));
    NAMES.iter().any(|name| name.find(bytes).is_some())
}

/// The task whose deletion hides this record; its id has any length.
pub fn hiding_task(record: &Record<'_>) -> Option<String> {
    if record.flags.has(Flags::AUDIT) { None } else { task_id(record.body) }
}

/// A task's name as few bytes, for who keeps records in another form and may have to hide them later. Of another task it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskKey(u128);

impl TaskKey {
    /// Of the task whose deletion hides this record.
    pub fn of(record: &Record<'_>, origin: &Origin) -> Option<TaskKey> {
        hiding_task(record).map(|id| key(&origin.tenant, &origin.namespace, &id))
    }
}

/// The task that a body names.
fn task_id(body: &[u8]) -> Option<String> {
    if !fields::quick(body).task {
        return None;
    }
    fields::read(body).take(Field::TaskId).map(|id| storable_text(&id).into_owned())
}

impl TaskRecord {
    pub fn of(record: &Record<'_>, origin: &Origin) -> TaskRecord {
        if !may_name_a_task(record.body) || !fields::quick(record.body).task {
            return TaskRecord::None;
        }
        let fields = fields::read(record.body);
        let Some(task_id) = fields.get(Field::TaskId).map(|id| storable_text(id).into_owned()) else {
            return TaskRecord::None;
        };
        if task_id.len() > TASK_ID_BYTES_MAX {
            return TaskRecord::IdTooLong;
        }
        let mut source = fields.get(Field::Source).unwrap_or_default().to_owned();
        clean_name(&mut source, SOURCE_BYTES_MAX);
        if source.is_empty() {
            let is_plugins = !origin.plugin.is_empty() || fields.get(Field::Plugin).is_some();
            source = if is_plugins { "plugin" } else { "system" }.to_owned();
        }
        let own = fields.get(Field::Message).unwrap_or_default();
        let message = storable_text(&own[..own.floor_char_boundary(TASK_MESSAGE_BYTES_MAX)]).into_owned();
        let given = fields.at("metadata").filter(|json| json.starts_with(['{', '[']));
        let given = given.map(Cow::into_owned).or_else(|| fields.data_json());
        let metadata = given.as_deref().and_then(storable_json);
        TaskRecord::Line(TaskLine {
            task_id,
            level: level_word(record.level),
            source,
            is_message_cut: own.len() > TASK_MESSAGE_BYTES_MAX,
            message,
            is_metadata_cut: given.is_some() && metadata.is_none(),
            metadata,
        })
    }
}

/// PostgreSQL holds no NUL in a text.
fn storable_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The same JSON as `jsonb` takes it: no NUL, no number beyond its range, no half of a surrogate pair, no great depth.
fn storable_json(json: &str) -> Option<String> {
    if json.len() > TASK_METADATA_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_str(json).ok()?;
    // (Its parser refuses a depth long before PostgreSQL's stack ends.)
    Some(without_nul(value).to_string())
}

fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable_text(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| (storable_text(&key).into_owned(), without_nul(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

/// The tasks that were deleted: their records are shown nowhere, also those that come later. Audit records stay: who may delete a task
/// has no right to delete what the audit says of it.
#[derive(Clone, Debug, Default)]
pub struct DeletedTasks {
    keys: HashSet<TaskKey>,
    tenants: HashSet<String>,
}

impl DeletedTasks {
    pub fn insert(&mut self, tenant: &str, namespace: &str, task_id: &str) {
        self.keys.insert(key(tenant, namespace, task_id));
        if !self.tenants.contains(tenant) {
            self.tenants.insert(tenant.to_owned());
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of them is this tenant's.
    pub fn has_some_of(&self, tenant: &str) -> bool {
        self.tenants.contains(tenant)
    }

    /// Whether a record is of one of them.
    pub fn hide(&self, record: &Record<'_>, origin: &Origin) -> bool {
        !self.is_empty() && TaskKey::of(record, origin).is_some_and(|task| self.has(task))
    }

    pub fn has(&self, task: TaskKey) -> bool {
        self.keys.contains(&task)
    }
}

/// No two tasks share it: 128 bits of a good hash over parts that end where their lengths say.
fn key(tenant: &str, namespace: &str, task_id: &str) -> TaskKey {
    let mut hash = Xxh3::new();
    for part in [tenant, namespace, task_id] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    TaskKey(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::RecordId;
    use crate::origin::Origin;

    fn origin(tenant: &str, namespace: &str, plugin: &str) -> Origin {
        Origin {
            tenant: tenant.into(),
            namespace: namespace.into(),
            plugin: plugin.into(),
            ..Origin::default()
        }
    }

    fn record(level: Level, flags: Flags, body: &str) -> Record<'_> {
        let id = RecordId { topic_partition: 0, kafka_offset: 0, index: 0 };
        let origin = Origin::default().id();
        Record { time_us: 0, original_time_us: None, level, flags, origin, id, body: body.as_bytes() }
    }

    fn line(
        level: Level,
        plugin: &str,
        body: &str,
    ) -> Option<(String, String, String, String, Option<String>)> {
        match TaskRecord::of(&record(level, Flags::default(), body), &origin("t", "n", plugin)) {
            TaskRecord::Line(line) => {
                Some((line.task_id, line.level.to_owned(), line.source, line.message, line.metadata))
            }
            _ => None,
        }
    }

    #[test]
    fn a_line_is_what_its_record_says() {
        let rows = [
            (Level::Info, "", r#"{"taskId":"42","message":"m"}"#, Some(("42", "INFO", "system", "m", None))),
            (
                Level::Warn,
                "",
                r#"{"task_id":7,"msg":"m","source":"api"}"#,
                Some(("7", "WARNING", "api", "m", None)),
            ),
            (
                Level::Error,
                "",
                r#"{"task":{"id":"a b"},"msg":"m"}"#,
                Some(("a b", "ERROR", "system", "m", None)),
            ),
            (Level::Trace, "csv", r#"{"TASK_ID":"x","msg":"m"}"#, Some(("x", "DEBUG", "plugin", "m", None))),
            (Level::Debug, "", r#"{"task-id":"x","plugin":"csv"}"#, Some(("x", "DEBUG", "plugin", "", None))),
            (
                Level::Info,
                "",
                r#"{"\u0074askId":"x","msg":"m","metadata":{"progress":40},"other":1}"#,
                Some(("x", "INFO", "system", "m", Some(r#"{"progress":40}"#))),
            ),
            (
                Level::Info,
                "",
                r#"{"taskId":"x","msg":"a\u0000b","rows":12,"note":"\u0000"}"#,
                Some(("x", "INFO", "system", "a\u{fffd}b", Some("{\"rows\":12,\"note\":\"\u{fffd}\"}"))),
            ),
            // What jsonb would refuse is left out.
            (
                Level::Info,
                "",
                r#"{"taskId":"x","metadata":{"n":1e999}}"#,
                Some(("x", "INFO", "system", "", None)),
            ),
            (
                Level::Info,
                "",
                r#"{"taskId":"x","metadata":{"s":"\ud800"}}"#,
                Some(("x", "INFO", "system", "", None)),
            ),
            (Level::Info, "", r#"{"taskId":"","message":"m"}"#, None),
            (Level::Info, "", r#"{"message":"a task"}"#, None),
            (Level::Info, "", "taskId=42 in a plain line", None),
        ];
        for (level, plugin, body, expected) in rows {
            let expected =
                expected.map(|(id, level, source, message, metadata): (_, _, _, _, Option<&str>)| {
                    (
                        String::from(id),
                        String::from(level),
                        String::from(source),
                        String::from(message),
                        metadata.map(str::to_owned),
                    )
                });
            let found = line(level, plugin, body);
            let json = |line: &Option<(String, String, String, String, Option<String>)>| {
                let text = line.as_ref().and_then(|line| line.4.clone());
                text.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"))
            };
            assert_eq!(json(&found), json(&expected), "{body}");
            let rest = |line: Option<(String, String, String, String, Option<String>)>| {
                line.map(|(id, level, source, message, _)| (id, level, source, message))
            };
            assert_eq!(rest(found), rest(expected), "{body}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_said() {
        let long = "é".repeat(TASK_MESSAGE_BYTES_MAX);
        let body = serde_json::json!({"taskId": "x", "message": long, "metadata": {"blob": "b".repeat(TASK_METADATA_BYTES_MAX)}});
        let TaskRecord::Line(line) =
            TaskRecord::of(&record(Level::Info, Flags::default(), &body.to_string()), &origin("t", "n", ""))
        else {
            panic!("no line")
        };
        assert!(line.is_message_cut && line.is_metadata_cut && line.metadata.is_none());
        assert_eq!(line.message.len(), TASK_MESSAGE_BYTES_MAX);
        let of_id = |length: usize| {
            let body = serde_json::json!({"taskId": "i".repeat(length)}).to_string();
            TaskRecord::of(&record(Level::Info, Flags::default(), &body), &origin("t", "n", ""))
        };
        assert!(matches!(of_id(TASK_ID_BYTES_MAX), TaskRecord::Line(_)));
        assert_eq!(of_id(TASK_ID_BYTES_MAX + 1), TaskRecord::IdTooLong);
    }

    #[test]
    fn a_deleted_task_hides_its_own_records_alone() {
        let mut deleted = DeletedTasks::default();
        let body = r#"{"taskId":"42"}"#;
        let hidden = |deleted: &DeletedTasks, flags, tenant: &str, namespace: &str, body: &str| {
            deleted.hide(&record(Level::Info, flags, body), &origin(tenant, namespace, ""))
        };
        let system = Flags::default();
        assert!(!hidden(&deleted, system, "t", "n", body));
        deleted.insert("t", "n", "42");
        assert!(hidden(&deleted, system, "t", "n", body));
        assert!(hidden(&deleted, system, "t", "n", r#"{"task":{"id":42}}"#));
        for (tenant, namespace, body) in [
            ("t", "n", r#"{"taskId":"421"}"#),
            ("t", "n", r#"{"message":"42"}"#),
            ("t", "", body),
            ("tn", "", body),
            ("", "tn", body),
            ("u", "n", body),
        ] {
            assert!(!hidden(&deleted, system, tenant, namespace, body), "{tenant} {namespace} {body}");
        }
        assert!(!hidden(&deleted, Flags::AUDIT, "t", "n", body));
    }

    #[test]
    fn levels_are_named_in_any_case() {
        for (text, expected) in [
            ("WARN", Some("WARNING")),
            ("warning", Some("WARNING")),
            ("Info", Some("INFO")),
            ("error", Some("ERROR")),
            ("fatal", None),
            ("", None),
        ] {
            assert_eq!(level_named(text), expected, "{text}");
        }
    }
}
