//! Bodies that must break nothing: each is read, shown as JSON that a strict parser takes, and read in linear time.

use super::*;

/// Reads it in every way there is.
fn survives(body: &[u8]) -> Option<serde_json::Value> {
    let fields = read(body);
    let seen = quick(body);
    assert_eq!((fields.level, fields.audit), (seen.level, seen.audit));
    let _ = fields.at("a.b.c");
    fields.data_json().map(|json| serde_json::from_str(&json).expect("data is strict JSON"))
}

#[test]
fn nesting_of_any_depth() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let body = format!("{{\"level\":\"error\",\"x\":{deep},\"msg\":\"m\"}}");
        let data = survives(body.as_bytes()).expect("x is data");
        assert_eq!(
            data["x"],
            serde_json::Value::String(deep.clone()),
            "too deep to be shown as JSON: a text"
        );
        assert_eq!(quick(body.as_bytes()).level, crate::level::Level::Error);
        survives(deep.as_bytes());
        survives(open.repeat(100_000).as_bytes());
        survives(format!("{{\"fields\":{deep}}}").as_bytes());
    }
}

#[test]
fn a_million_keys() {
    let mut body = String::from("{");
    for key in 0..1_000_000 {
        body.push_str(&format!("\"k{key}\":{key},"));
    }
    body.push_str("\"level\":\"warn\"}");
    let data = survives(body.as_bytes()).expect("data");
    assert_eq!(data.as_object().map(|object| object.len()), Some(1_000_000));
    // The same name again and again, and in a place where each is looked at twice.
    survives(format!("{{{}\"msg\":1}}", "\"msg\":\"x\",".repeat(300_000)).as_bytes());
    survives(format!("{{\"err\":{{{}\"type\":1}}}}", "\"type\":\"x\",".repeat(300_000)).as_bytes());
}

#[test]
fn values_that_strict_parsers_refuse_are_shown_as_texts() {
    for (value, shown) in [
        ("1e999", "1e999"),
        ("-1e999", "-1e999"),
        (&*"9".repeat(400), &*"9".repeat(400)),
        ("NaN", "NaN"),
        ("nulll", "nulll"),
        (r#""\ud800""#, "\u{fffd}"),
        (r#""\udc00x""#, "\u{fffd}x"),
        (r#""\ud83d\ude00""#, "\u{1f600}"),
        (r#""\u0000""#, "\0"),
        (r#""\q\u12""#, r"\q\u12"),
        ("\"a\nb\"", "a\nb"),
        (r#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#),
        (r#"[1,]"#, "[1,]"),
        (r#"{"a":[}}"#, r#"{"a":[}}"#),
    ] {
        let data = survives(format!("{{\"k\":{value},\"after\":1}}").as_bytes()).expect("data");
        assert_eq!(data["k"], serde_json::Value::String(shown.to_owned()), "{value}");
        assert_eq!(data["after"], 1, "the neighbour of {value}");
    }
}

#[test]
fn three_hundred_digits_stay_a_number() {
    let body = format!("{{\"n\":{}}}", "1".repeat(300));
    assert_eq!(read(body.as_bytes()).data()[0].value, "1".repeat(300));
    survives(body.as_bytes());
}

#[test]
fn bytes_that_are_not_utf8() {
    let data = survives(b"{\"k\xff\":\"\xff\",\"n\":[\"\xfe\"],\"msg\":\"\xff\"}").expect("data");
    assert_eq!(data["k\u{fffd}"], "\u{fffd}");
    assert_eq!(read(b"{\"msg\":\"a\xffb\"}").get(Field::Message), Some("a\u{fffd}b"));
    survives(b"\xff\xfe\x00");
    survives(b"{\"\xff");
}

#[test]
fn odd_names_are_data_as_they_are() {
    let body = r#"{"__proto__":{"x":1},"<b>":"\u001b]0;t\u0007","":1,"a.b":{"c.d":2}}"#;
    let fields = read(body.as_bytes());
    assert_eq!(fields.data_json().as_deref(), Some(body));
    assert_eq!(fields.at("__proto__.x").as_deref(), Some("1"));
    assert_eq!(fields.at("a.b").as_deref(), Some(r#"{"c.d":2}"#));
}

#[test]
fn long_strings_and_escapes_cost_one_pass() {
    survives(
        format!("{{\"level\":\"{}\",\"msg\":\"{}\"}}", "x".repeat(1 << 20), "\\\\".repeat(1 << 20))
            .as_bytes(),
    );
    survives(format!("{{{}", "\"a\":{\"b\":".repeat(200_000)).as_bytes());
    survives(format!("{{\"logger\":\"{}\"}}", "\\u0061".repeat(1 << 18)).as_bytes());
}
