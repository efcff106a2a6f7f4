//! A body's fields, read when a filter first asks for one.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::names::BodyField;

/// The top level of a JSON object, values as written; empty for any other body.
pub(super) struct Body<'a> {
    line: &'a [u8],
    object: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

#[derive(serde::Deserialize)]
struct Object<'a>(#[serde(borrow)] HashMap<Key<'a>, &'a RawValue>);

#[derive(serde::Deserialize, PartialEq, Eq, Hash)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Body<'a> {
    pub fn read(line: &'a [u8]) -> Body<'a> {
        let object = serde_json::from_slice::<Object<'a>>(line).ok();
        Body { line, object: object.map(|object| object.0.into_iter().map(|(k, v)| (k.0, v)).collect()) }
    }

    /// Calls `each` with the field's value as text (of an array: with each element's); `true` when one said yes.
    pub fn any(&self, field: BodyField, each: &mut dyn FnMut(&str) -> bool) -> bool {
        match &self.object {
            Some(object) => {
                let found = keys(field).iter().find_map(|&key| object.get(key));
                found.is_some_and(|value| scalars(value.get(), each))
            }
            None => field == BodyField::Message && each(&String::from_utf8_lossy(self.line)),
        }
    }

    pub fn any_data(&self, path: &[String], each: &mut dyn FnMut(&str) -> bool) -> bool {
        let Some(object) = &self.object else { return false };
        match object.get(path.join(".").as_str()) {
            Some(value) => scalars(value.get(), each),
            None => object.get(path[0].as_str()).is_some_and(|value| nested(value.get(), &path[1..], each)),
        }
    }
}

fn nested(json: &str, path: &[String], each: &mut dyn FnMut(&str) -> bool) -> bool {
    let Some((key, rest)) = path.split_first() else { return scalars(json, each) };
    let object: Option<Object<'_>> = serde_json::from_str(json).ok();
    object
        .and_then(|object| {
            object.0.get(&Key(Cow::Borrowed(key.as_str()))).map(|value| nested(value.get(), rest, each))
        })
        .unwrap_or(false)
}

/// A scalar's text, or that of each element of an array of scalars. Other values have none.
fn scalars(json: &str, each: &mut dyn FnMut(&str) -> bool) -> bool {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Cow<'_, str>>(json).is_ok_and(|text| each(&text)),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(json).is_ok_and(|values| {
            !values.iter().any(|value| value.get().starts_with(['[', '{']))
                && values.iter().any(|value| scalars(value.get(), each))
        }),
        Some(b'{') | None => false,
        Some(_) => json != "null" && each(json),
    }
}

fn keys(field: BodyField) -> &'static [&'static str] {
    match field {
        BodyField::UserId => &["user_id", "userId"],
        BodyField::SessionId => &["session_id", "sessionId"],
        BodyField::ImpersonatorId => &["impersonator_id", "impersonatorId"],
        BodyField::RequestId => &["request_id", "requestId"],
        BodyField::TraceId => &["trace_id", "traceId"],
        BodyField::SpanId => &["span_id", "spanId"],
        BodyField::Source => &["source"],
        BodyField::Action => &["action"],
        BodyField::File => &["file"],
        BodyField::Line => &["line"],
        BodyField::Function => &["function", "func"],
        BodyField::Logger => &["logger"],
        BodyField::TaskId => &["task_id", "taskId"],
        BodyField::Pid => &["pid"],
        BodyField::Message => &["message", "msg", "_msg"],
        BodyField::ErrorType => &["error_type", "errorType"],
        BodyField::ErrorCode => &["error_code", "errorCode"],
        BodyField::ErrorStack => &["error_stack", "errorStack", "stack"],
    }
}
