//! The table that all loggers run: `logger/conformance/cases.json`, by the language that its README defines.

#[path = "support/written.rs"]
mod written;

use std::time::Duration;

use cordwood_logger::{
    Builder, Cordwood, Failure, Fields, Level, Logger, TaskContext, Value as FieldValue, here, with_context,
};
use serde_json::{Map, Value, json};
use written::Written;

/// A value of the table as the logger takes it.
struct Given<'a>(&'a Value);

impl FieldValue for Given<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self.0 {
            Value::Object(members) if members.contains_key("$number") => match members["$number"].as_str() {
                Some("NaN") => f64::NAN.write(out),
                Some("Infinity") => f64::INFINITY.write(out),
                _ => f64::NEG_INFINITY.write(out),
            },
            Value::Object(members) if members.contains_key("$integer") => {
                members["$integer"].as_str().and_then(|text| text.parse::<i128>().ok()).write(out)
            }
            Value::Object(members) if members.contains_key("$absent") => None::<bool>.write(out),
            Value::Object(members) if members.contains_key("$repeat") => repeated(members).write(out),
            other => other.write(out),
        }
    }
}

fn repeated(members: &Map<String, Value>) -> String {
    let part = members["$repeat"][0].as_str().expect("a text to repeat");
    let times = members["$repeat"][1].as_u64().expect("how often") as usize;
    part.repeat(times) + members.get("$then").and_then(Value::as_str).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Object(members) => repeated(members),
        other => other.as_str().expect("a text").to_owned(),
    }
}

fn fields(value: &Value) -> Fields {
    let members = value.as_object().expect("fields");
    members.iter().fold(Fields::new(), |fields, (name, value)| fields.with(name, Given(value)))
}

fn failure(value: &Value) -> Failure {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let mut failure = Failure::new(text("type").expect("a type"), text("message").expect("a message"));
    if let Some(code) = text("code") {
        failure = failure.code(code);
    }
    let mut cause = value.get("cause");
    while let Some(one) = cause {
        failure = failure.caused_by(one["message"].as_str().expect("a message"));
        cause = one.get("cause");
    }
    failure
}

fn run(cordwood: &Cordwood, logger: &Logger, calls: &Value) {
    for call in calls.as_array().expect("calls") {
        one(cordwood, logger, call);
    }
}

fn one(cordwood: &Cordwood, logger: &Logger, call: &Value) {
    let inner = &call["calls"];
    let members = call.as_object().expect("a call");
    let given = |name: &str| members.get(name);
    if let Some(level) = given("log") {
        let level = Level::named(&text(level)).expect("a level");
        let mut record = logger.at_place(level, here!());
        for (name, value) in given("fields").and_then(Value::as_object).into_iter().flatten() {
            record = record.field(name, Given(value));
        }
        if let Some(error) = given("error") {
            record = record.failure(&failure(error));
        }
        record.send(text(&call["message"]));
    } else if let Some(message) = given("audit") {
        logger.audit(text(message), &text(&call["action"]), given("metadata"));
    } else if let Some(bound) = given("bind") {
        run(cordwood, &logger.with(&fields(bound)), inner);
    } else if let Some(context) = given("context") {
        with_context(&fields(context), || run(cordwood, logger, inner));
    } else if let Some(name) = given("logger") {
        run(cordwood, &logger.named(&text(name)), inner);
    } else if let Some(task) = given("task") {
        let mut context = TaskContext::new(text(task), logger, ());
        if let Some(source) = given("source") {
            context = context.with_source(&text(source));
        }
        run(cordwood, &context.logger, inner);
    } else if let Some(source) = given("source") {
        run(cordwood, &logger.with_source(&text(source)), inner);
    } else if let Some(headers) = given("request") {
        let headers = headers.as_object().expect("headers");
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        run(cordwood, &logger.for_request(&headers), inner);
    } else if let Some(name) = given("scope") {
        let name: &'static str = text(name).leak();
        let result = logger.scope(name, || {
            run(cordwood, logger, inner);
            given("fails").map_or(Ok(()), |why| Err(text(why)))
        });
        assert_eq!(result.err(), given("fails").map(text));
    } else if let Some(body) = given("put") {
        let answer = cordwood.levels().answer("PUT", body.to_string().as_bytes());
        let expected = given("status").and_then(Value::as_u64).unwrap_or(200);
        assert_eq!(u64::from(answer.status), expected, "{body}: {}", answer.body);
    } else {
        panic!("a call that this runner does not know: {call}");
    }
}

/// Whether what came out is what the table wants.
fn fits(expected: &Value, found: &Value) -> bool {
    let is_text = |test: &dyn Fn(&str) -> bool| found.as_str().is_some_and(test);
    match expected {
        Value::String(mark) if mark == "<time>" => is_text(&|text| is_time(text)),
        Value::String(mark) if mark == "<file>" || mark == "<function>" => is_text(&|text| !text.is_empty()),
        Value::String(mark) if mark == "<line>" => found.as_u64().is_some_and(|line| line > 0),
        Value::Object(members) if members.contains_key("$stack") => is_text(&|text| {
            let parts = members["$stack"].as_array().expect("parts").iter();
            let mut rest = text;
            parts.into_iter().all(|part| {
                let found = rest.split_once(part.as_str().expect("a text"));
                rest = found.map_or("", |(_, behind)| behind);
                found.is_some()
            })
        }),
        Value::Object(members) if members.contains_key("$repeat") => {
            is_text(&|text| text == repeated(members))
        }
        Value::Object(members) if members.contains_key("$integer") => {
            Some(found.to_string().as_str()) == members["$integer"].as_str()
        }
        Value::Object(members) => found.as_object().is_some_and(|found| {
            members.len() == found.len()
                && members.iter().all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }),
        other => other == found,
    }
}

fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["0000-00-00T00:00:00.000Z", "0000-00-00T00:00:00.000000Z"].contains(&shape.as_str())
}

/// The lines of one case, each read as JSON; duplicate keys and wrong beginnings are faults.
fn lines(case: &Value) -> Vec<Value> {
    let environment = case["env"].as_object().cloned().unwrap_or_default();
    let output = Written::default();
    let cordwood = Builder::new()
        .service(case["service"].as_str().unwrap_or("shop"))
        .environment(move |name| environment.get(name).map(text))
        .writer(output.clone())
        .start()
        .expect("a logger");
    run(&cordwood, &cordwood.logger(), &case["calls"]);
    assert!(cordwood.flush(Duration::from_secs(60)));
    let bytes = output.bytes();
    let written = String::from_utf8(bytes).expect("UTF-8");
    assert!(written.is_empty() || written.ends_with('\n'));
    let is_located = case["location"].as_bool().unwrap_or(false);
    written
        .lines()
        .map(|line| {
            assert!(line.starts_with("{\"timestamp\":\""), "{line}");
            let mut value: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(value.to_string().len(), line.len(), "a key comes twice, or there is a space: {line}");
            if !is_located {
                let members = value.as_object_mut().expect("an object");
                members.retain(|name, _| !["file", "line", "function"].contains(&name.as_str()));
            }
            value
        })
        .collect()
}

#[test]
fn the_table_holds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/cases.json");
    let table = std::fs::read_to_string(path).expect("the table");
    let table: Vec<Value> = serde_json::from_str(&table).expect("JSON");
    assert!(table.len() > 50, "only {} cases", table.len());
    let mut faults = Vec::new();
    for case in &table {
        let (expected, found) = (case["lines"].as_array().expect("lines"), lines(case));
        let is_right = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(wanted, line)| fits(wanted, line));
        if !is_right {
            faults.push(format!(
                "{}\n  wanted {}\n  found  {}",
                case["name"],
                short(&json!(expected)),
                short(&json!(found))
            ));
        }
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), table.len(), faults.join("\n"));
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text[..text.floor_char_boundary(2_000)].to_owned()
}

#[test]
fn the_runner_objects() {
    let line = json!({"timestamp": "2025-12-30T15:30:45.123Z", "message": "m", "line": 7});
    for (expected, is_right) in [
        (json!({"timestamp": "<time>", "message": "m", "line": "<line>"}), true),
        (json!({"timestamp": "<time>", "message": "m"}), false),
        (json!({"timestamp": "<time>", "message": "m", "line": 7, "more": 1}), false),
        (json!({"timestamp": "<time>", "message": "<time>", "line": 7}), false),
        (json!({"timestamp": "<time>", "message": {"$stack": ["m"]}, "line": 7}), true),
        (json!({"timestamp": "<time>", "message": {"$stack": ["m", "m"]}, "line": 7}), false),
    ] {
        assert_eq!(fits(&expected, &line), is_right, "{expected}");
    }
}
