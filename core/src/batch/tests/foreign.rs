//! What other producers write, built with another encoder.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::fields::{Field, read};

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
}

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn decoded(attributes: Vec<KeyValue>, records: Vec<LogRecord>) -> DecodedBatch {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    };
    let mut batches = decode(&Bytes::from(request.encode_to_vec()), Provenance::Foreign).unwrap();
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

fn body(record: LogRecord) -> String {
    String::from_utf8(decoded(vec![], vec![record]).records[0].body.to_vec()).unwrap()
}

#[test]
fn a_text_stays_as_it_is() {
    assert_eq!(body(LogRecord { body: text("plain"), ..LogRecord::default() }), "plain");
    assert_eq!(body(LogRecord { body: text(r#"{"a": 1}"#), ..LogRecord::default() }), r#"{"a": 1}"#);
    assert_eq!(body(LogRecord::default()), "");
    let bytes = LogRecord { body: any(Value::BytesValue(vec![0xff, 0])), ..LogRecord::default() };
    assert_eq!(&decoded(vec![], vec![bytes]).records[0].body[..], b"\xff\0");
}

#[test]
fn other_kinds_are_json() {
    let list = Value::ArrayValue(ArrayValue {
        values: vec![
            AnyValue { value: Some(Value::IntValue(-5)) },
            AnyValue { value: Some(Value::DoubleValue(1.5)) },
            AnyValue { value: Some(Value::DoubleValue(f64::NAN)) },
            AnyValue { value: Some(Value::BoolValue(true)) },
            AnyValue { value: Some(Value::BytesValue(b"\xff\xee".to_vec())) },
            AnyValue { value: None },
        ],
    });
    let shown = r#"[-5,1.5,"NaN",true,"/+4=",null]"#;
    assert_eq!(body(LogRecord { body: any(list.clone()), ..LogRecord::default() }), shown);
    assert_eq!(body(LogRecord { body: any(Value::IntValue(7)), ..LogRecord::default() }), "7");
    let object = Value::KvlistValue(KeyValueList {
        values: vec![attribute("msg", text("m\n")), attribute("list", any(list))],
    });
    assert_eq!(
        body(LogRecord { body: any(object), ..LogRecord::default() }),
        format!(r#"{{"msg":"m\n","list":{shown}}}"#)
    );
}

#[test]
fn attributes_and_trace_are_kept_with_the_body() {
    let record = |body: Option<AnyValue>| LogRecord {
        body,
        attributes: vec![attribute("user.id", text("u")), attribute("n", any(Value::IntValue(3)))],
        trace_id: vec![0xab; 16],
        span_id: vec![0x01; 8],
        event_name: "e".to_owned(),
        ..LogRecord::default()
    };
    let rest = r#""trace_id":"abababababababababababababababab","span_id":"0101010101010101","event_name":"e","attributes":{"user.id":"u","n":3}}"#;
    assert_eq!(body(record(text("hello \"x\""))), format!(r#"{{"message":"hello \"x\"",{rest}"#));
    assert_eq!(body(record(text(r#" {"a": 1} "#))), format!(r#"{{"a": 1,{rest}"#));
    assert_eq!(body(record(text("{}"))), format!("{{{rest}"));
    assert_eq!(body(record(text("{broken"))), format!(r#"{{"message":"{{broken",{rest}"#));
    assert_eq!(body(record(any(Value::IntValue(1)))), format!(r#"{{"message":1,{rest}"#));
    assert_eq!(body(record(None)), format!("{{{rest}"));

    let body = body(record(text("hello")));
    let fields = read(body.as_bytes());
    assert_eq!(fields.get(Field::Message), Some("hello"));
    assert_eq!(fields.get(Field::TraceId), Some("abababababababababababababababab"));
    assert_eq!(fields.get(Field::UserId), Some("u"));
}

#[test]
fn time_and_severity_as_far_as_they_are_given() {
    let record = LogRecord { time_unix_nano: 5, observed_time_unix_nano: 9, ..LogRecord::default() };
    let only_observed =
        LogRecord { observed_time_unix_nano: 9, body: text("[WARN] x"), ..LogRecord::default() };
    let neither = LogRecord { time_unix_nano: u64::MAX, severity_number: 17, ..LogRecord::default() };
    let odd = LogRecord { severity_number: 99, body: text(r#"{"level":"debug"}"#), ..LogRecord::default() };
    let word =
        LogRecord { severity_text: "Warn".to_owned(), body: text("[AUDIT] x"), ..LogRecord::default() };
    let custom = LogRecord { severity_text: "LOUD".to_owned(), severity_number: 13, ..LogRecord::default() };
    let records = decoded(vec![], vec![record, only_observed, neither, odd, word, custom]).records;
    let seen: Vec<(i64, Level)> = records.iter().map(|record| (record.time_ns, record.level)).collect();
    assert_eq!(
        seen,
        [
            (5, Level::Info),
            (9, Level::Warn),
            (0, Level::Error),
            (0, Level::Debug),
            (0, Level::Warn),
            (0, Level::Warn)
        ]
    );
    // Anyone who may write to the topic can say so: Cordwood shows it and does not believe it.
    assert_eq!(records[4].flags, Flags::AUDIT | Flags::AUDIT_CLAIMED);
    assert!(!records[4].flags.is_kept_as_audit());
    assert_eq!(&records[5].body[..], br#"{"severity_text":"LOUD"}"#);
}

#[test]
fn the_resource_is_believed_but_for_the_tenant() {
    let batch = decoded(
        vec![
            attribute("cordwood.tenant", text("evil")),
            attribute("cordwood.tenant.id", text("evil")),
            attribute("cordwood.plugin", text("evil")),
            attribute("service.name", text("shop\0")),
            attribute("k8s.namespace.name", text(&"é".repeat(200))),
            attribute("deployment.environment", text("prod")),
            attribute("host.name", text("node-1")),
            attribute("log.iostream", text("stderr")),
            attribute("process.pid", any(Value::IntValue(4))),
        ],
        vec![LogRecord::default()],
    );
    assert_eq!(batch.header, None);
    let expected = Origin {
        service: "shop\u{fffd}".to_owned(),
        namespace: "é".repeat(126),
        environment: "prod".to_owned(),
        node: "node-1".to_owned(),
        ..Origin::default()
    };
    assert_eq!(*batch.origin, expected);
    assert_eq!(batch.records[0].flags, Flags::STDERR | Flags::UNLEVELED);
}

#[test]
fn values_nested_too_deep_are_refused() {
    let mut value = Value::IntValue(1);
    for _ in 0..80 {
        value = Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] });
    }
    let record = LogRecord { body: any(value), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let error = decode(&Bytes::from(request.encode_to_vec()), Provenance::Foreign).unwrap_err();
    assert_eq!(error, DecodeError::Depth { depth_max: 64 });
}

#[test]
fn millions_of_empty_records_are_refused() {
    let mut scope_logs = Vec::new();
    (0..200_000).for_each(|_| scope_logs.extend_from_slice(b"\x12\x00"));
    let mut resource_logs = Vec::new();
    super::super::wire::put_bytes(&mut resource_logs, 2, &scope_logs);
    let mut message = Vec::new();
    super::super::wire::put_bytes(&mut message, 1, &resource_logs);
    let error = decode(&Bytes::from(message), Provenance::Foreign).unwrap_err();
    assert_eq!(error.to_string(), "decode OTLP message: it holds more than 131072 records");
}

/// Two bytes each: eight times as many were kept as a list, and as many again as text.
#[test]
fn a_record_of_millions_of_attributes_stays_small_and_says_so() {
    let many = 4_000_000_usize;
    let mut record = Vec::new();
    record.extend([0x32, 0x00].repeat(many));
    // In a body of its own kind: a list of as many nothings.
    let mut list = Vec::new();
    super::super::wire::put_bytes(&mut list, 5, &[0x0a, 0x00].repeat(many));
    let mut other = Vec::new();
    super::super::wire::put_bytes(&mut other, 5, &list);
    let mut scope = Vec::new();
    for record in [&record, &other, &record] {
        super::super::wire::put_bytes(&mut scope, 2, record);
    }
    let mut resource = Vec::new();
    super::super::wire::put_bytes(&mut resource, 2, &scope);
    let mut message = Vec::new();
    super::super::wire::put_bytes(&mut message, 1, &resource);
    let batches = decode(&Bytes::from(message), Provenance::Foreign).unwrap();
    let total: usize = batches[0].records.iter().map(|record| record.body.len()).sum();
    assert!(total <= crate::limits::MESSAGE_JSON_BYTES_MAX + 4096, "{total} bytes");
    assert_eq!(batches[0].cut_records, 3);
    for record in &batches[0].records {
        assert!(record.flags.has(Flags::TRUNCATED));
        assert!(serde_json::from_slice::<serde_json::Value>(&record.body).is_ok(), "valid although cut");
    }
}

#[test]
fn a_body_that_no_block_takes_is_cut_and_counted() {
    let bytes = vec![b'x'; crate::limits::RECORD_BYTES_MAX + 1];
    let record = LogRecord { body: any(Value::BytesValue(bytes)), ..LogRecord::default() };
    let batch = decoded(vec![], vec![record]);
    assert_eq!((batch.cut_records, batch.records[0].body.len()), (1, crate::limits::RECORD_BYTES_MAX));
    assert!(batch.records[0].flags.has(Flags::TRUNCATED));
    // What JSON must escape grows sixfold.
    let record = LogRecord {
        body: text("a"),
        attributes: vec![attribute("k", text(&"\u{1}".repeat(3 << 20)))],
        ..LogRecord::default()
    };
    let batch = decoded(vec![], vec![record]);
    assert_eq!(batch.cut_records, 1);
    assert!(batch.records[0].body.len() <= crate::limits::RECORD_BYTES_MAX + 8);
}
