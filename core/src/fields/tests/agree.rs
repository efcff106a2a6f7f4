//! The law: [`quick`] agrees with [`read`], and both with an independent reading of the same JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::level::Level;

/// Texts that are nearly JSON: pieces that matter, put together at random.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "null", "true", "false", "1e999", "-", "\\u006c",
            "\\ud800", "\"level\"", "\"\\u006cevel\"", "\"LEVEL\"", "\"msg\"", "\"severity_number\"", "\"fields\"",
            "\"log\"", "\"logger\"", "\"is_audit\"", "\"[AUDIT] x\"", "\"audit.x\"", "\"error\"", "\"warn\"", "30", "17",
            "\"lvl\":\"debug\"", "\"level\":", "\"context\":{", "\"record\":{\"level\":{\"name\":\"ERROR\"}}",
            "\"is_audit\":true", "ERROR", "level=warn", "\"short_message\":\"x\"", "\"level\":3", "\"PRIORITY\":\"3\"",
            "\"task_id\":\"t\"", "\"task\":{\"id\":1}", "\"fields\":{\"task\":{\"id\":\"\"}}",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// What may stand before an object.
fn before() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\u{feff}",
            "\u{feff}\u{feff}",
            "[",
            " [ ",
            "web-1  | ",
            "[svc] ",
            "@cee: ",
            "ERROR\tpaid\t",
            "<14>app: ",
            "words of a text ",
            "[AUDIT] ",
            "{x} ",
            "{\"a\": ",
            "2026-11-27 09:45:01 info  ",
            "level=warn x=",
            "\u{1b}[31mWARN\u{1b}[0m ",
        ])
        .prop_map(str::to_owned),
        "[ -~\t]{0,12}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "level",
            "Level",
            "lvl",
            "severity",
            "log_level",
            "levelname",
            "severityNumber",
            "levelno",
            "syslog_severity",
            "PRIORITY",
            "priority",
            "msg",
            "message",
            "_msg",
            "event",
            "logger",
            "name",
            "target",
            "is_audit",
            "isAudit",
            "fields",
            "record",
            "log",
            "context",
            "mdc",
            "extra",
            "span",
            "err",
            "error",
            "trace_id",
            "user_id",
            "source",
            "caller",
            "metadata",
            "action",
            "short_message",
            "log.level",
            "line",
            "file",
            "pid",
            "process",
            "stack",
            "s",
            "v",
            "ts",
            "body",
            "errors",
            "errorType",
            "errorMessage",
            "logEvent",
            "task_id",
            "taskId",
            "task",
            "id",
        ])
        .prop_map(str::to_owned),
        "[a-z_.@\"\\\\\u{0}-\u{7}é]{0,6}",
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..70).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "error",
            "WARN",
            "Debug",
            "trace",
            "info",
            "critical",
            "[warn]",
            "30",
            "3",
            "audit.x",
            "[AUDIT] x",
            "true",
            "none",
            "E",
            "ERROR+2",
            "{\"level\":\"warn\",\"task_id\":1}",
            "KeyError",
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

/// An object as ordered members, so that names can repeat.
fn object() -> impl Strategy<Value = String> {
    let value = leaf().prop_map(|value| value.to_string()).prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((key(), inner), 0..5).prop_map(members),
        ]
    });
    prop::collection::vec((key(), value), 0..8).prop_map(members)
}

fn members(members: Vec<(String, String)>) -> String {
    let members: Vec<String> =
        members.into_iter().map(|(key, value)| format!("{} : {value}", Value::from(key))).collect();
    format!("{{ {} }}", members.join(" ,"))
}

/// Level and audit of a flat body, written again with nothing of the real code but the word table.
fn by_the_book(body: &str) -> Option<(Level, bool)> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(body).ok()?;
    let audit = object.get("is_audit") == Some(&Value::Bool(true))
        || object.get("logger").and_then(Value::as_str).is_some_and(|name| name.starts_with("audit."))
        || object.get("msg").and_then(Value::as_str).is_some_and(|text| text.starts_with("[AUDIT]"));
    let level = match object.get("level") {
        Some(Value::String(word)) => Level::from_word(word.as_bytes()),
        Some(Value::Number(number)) => number.as_i64().and_then(Level::from_number),
        _ => None,
    };
    Some((level.unwrap_or(Level::Info), audit))
}

fn agree(body: &[u8]) {
    let (full, seen) = (read(body), quick(body));
    let of_full = (full.level, full.level_given, full.audit, full.task);
    let of_seen = (seen.level, seen.level_given, seen.audit, seen.task);
    assert_eq!(of_full, of_seen, "{:?}", String::from_utf8_lossy(body));
    assert_eq!(full.get(Field::TaskId).is_some(), seen.task, "{:?}", String::from_utf8_lossy(body));
    if let Some(data) = full.data_json() {
        serde_json::from_str::<&serde_json::value::RawValue>(&data).expect("data is JSON");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn on_nearly_json(body in nasty()) {
        agree(&body);
    }

    #[test]
    fn on_json_and_on_all_its_beginnings(body in object()) {
        prop_assert!(read(body.as_bytes()).json, "valid JSON is read as such: {body}");
        for end in 0..=body.len() {
            agree(&body.as_bytes()[..end]);
        }
    }

    /// Marks, prefixes, arrays of one, and all their beginnings.
    #[test]
    fn on_json_inside_of_something(before in before(), body in object(), after in prop::sample::select(vec!["", "]", " ", "\r", " x"])) {
        let body = format!("{before}{body}{after}");
        agree(body.as_bytes());
        agree(&body.as_bytes()[..body.len() / 2]);
    }

    #[test]
    fn with_the_book(
        level in leaf(), audit in leaf(), logger in leaf(), msg in leaf(), more in leaf(), order in any::<u8>(),
    ) {
        let mut rows = vec![("level", level), ("is_audit", audit), ("logger", logger), ("msg", msg), ("other", more)];
        rows.rotate_left(usize::from(order) % 5);
        rows.retain(|(_, value)| {
            value.as_str().is_none_or(|text| text != "true" && text != "[warn]" && text != "30" && !text.starts_with('{'))
        });
        // The book says nothing of words in brackets or white space, nor of numbers or objects in quotes.
        rows.retain(|(name, value)| *name != "level" || value.as_str().is_none_or(|text| {
            text.bytes().all(|byte| byte.is_ascii_alphabetic())
        }));
        let body = members(rows.into_iter().map(|(key, value)| (key.to_owned(), value.to_string())).collect());
        let seen = quick(body.as_bytes());
        prop_assert_eq!(by_the_book(&body), Some((seen.level, seen.audit)), "{}", body);
    }

    /// Nothing that was sent disappears: each member is a field, or data, or says nothing.
    #[test]
    fn unknown_members_are_data_untouched(values in prop::collection::vec(leaf(), 0..6)) {
        let rows = values.iter().enumerate().map(|(i, value)| (format!("unknown {i}"), value.to_string())).collect();
        let body = members(rows);
        let fields = read(body.as_bytes());
        let data = fields.data();
        prop_assert_eq!(data.len(), values.len());
        for (datum, value) in data.iter().zip(&values) {
            prop_assert_eq!(&*datum.value, &value.to_string());
        }
    }

    #[test]
    fn strings_are_unescaped_as_serde_does(text in "\\PC{0,20}") {
        let body = serde_json::json!({"msg": text, "o": {"k": text}}).to_string();
        let fields = read(body.as_bytes());
        prop_assert_eq!(fields.get(Field::Message), Some(&*text));
        let nested = fields.at("o.k");
        prop_assert_eq!(nested.as_deref(), Some(&*text));
    }
}
