use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity::RecordId;
use crate::origin::OriginId;

fn record(body: &[u8]) -> Record<'_> {
    Record {
        time_us: 1_795_227_871_123_456,
        original_time_us: None,
        level: crate::fields::quick(body).level,
        flags: if crate::fields::quick(body).audit { Flags::AUDIT } else { Flags::default() },
        origin: OriginId(1),
        id: RecordId { topic_partition: 2, kafka_offset: 255, index: 3 },
        body,
    }
}

fn shown(record: &Record<'_>, origin: &Origin) -> Value {
    let json = serde_json::to_string(&Entry::new(record, origin)).unwrap();
    serde_json::from_str(&json).expect("an entry is strict JSON")
}

#[test]
fn a_line_of_text_has_what_is_known_and_nothing_else() {
    let expected = json!({
        "id": "1795227871123456.2-ff-3", "timestamp": "2026-11-21T02:24:31.123456Z", "level": "INFO", "category": "system",
        "tenantId": "unassigned", "tenantSlug": "unassigned", "message": "hello", "stream": "stdout",
    });
    assert_eq!(shown(&record(b"hello"), &Origin::default()), expected);
}

#[test]
fn a_record_with_everything() {
    let body = br#"{"level":"error","msg":"m","is_audit":true,"action":"pay","metadata":{"a":[1]},"user_id":1,"session_id":"s",
        "impersonator_id":"i","request_id":"r","trace_id":"t","span_id":"p","source":"api","file":"a.rs","line":7,"function":"f",
        "logger":"l","task_id":"k","plugin":"g","pid":"12","error_type":"E","error_code":5,"stack":"at x","environment":"dev",
        "version":"2","region":"us","service":"body","k":{"n":1e2},"n":null}"#;
    let origin = Origin {
        tenant: "acme".into(),
        tenant_id: "42".into(),
        namespace: "ns".into(),
        pod: "pod".into(),
        pod_uid: "uid".into(),
        container: "c".into(),
        node: "n1".into(),
        service: "shop".into(),
        environment: "prod".into(),
        ..Origin::default()
    };
    let mut record = record(body);
    record.original_time_us = Some(0);
    record.flags = record.flags | Flags::STDERR | Flags::TRUNCATED;
    // What the cluster says otherwise stays visible, in data, as what the body said.
    let expected = r#"{
        "id": "1795227871123456.2-ff-3", "timestamp": "2026-11-21T02:24:31.123456Z", "originalTimestamp": "1970-01-01T00:00:00.000000Z",
        "level": "ERROR", "category": "audit", "tenantId": "42", "tenantSlug": "acme", "userId": "1", "sessionId": "s",
        "impersonatorId": "i", "requestId": "r", "traceId": "t", "spanId": "p", "service": "shop", "source": "api",
        "action": "pay", "file": "a.rs", "line": 7, "function": "f", "logger": "l", "taskId": "k", "plugin": "g", "pid": 12,
        "message": "m", "metadata": {"a": [1]}, "errorType": "E", "errorCode": "5", "errorStack": "at x",
        "environment": "prod", "version": "2", "region": "us", "namespace": "ns", "pod": "pod", "container": "c", "node": "n1",
        "stream": "stderr", "truncated": true,
        "data": {"environment": "dev", "service": "body", "k": {"n": 100.0}, "n": null}
    }"#;
    let mut expected: Value = serde_json::from_str(expected).unwrap();
    expected["signature"] = crate::signature::error_group(body).signature.to_string().into();
    assert_eq!(shown(&record, &origin), expected);
}

/// The line's own service, the container's name otherwise; what the cluster says goes before both.
#[test]
fn a_line_names_its_service_where_the_cluster_does_not() {
    let body = br#"{"msg":"m","service":"payments"}"#;
    let container = Origin {
        container: "app".into(),
        service: "app".into(),
        namespace: "shop".into(),
        ..Origin::default()
    };
    let labelled = Origin { service: "checkout".into(), ..container.clone() };
    let deployed = Origin { workload: "Deployment/app".into(), ..container.clone() };
    for (origin, body, service, data) in [
        (&container, &body[..], "payments", Value::Null),
        (&container, br#"{"msg":"m"}"#, "app", Value::Null),
        (&container, b"web-1 | {\"svc\":\"payments\"}", "payments", Value::Null),
        (&labelled, body, "checkout", json!({"service": "payments"})),
        (&deployed, body, "app", json!({"service": "payments"})),
    ] {
        let shown = shown(&record(body), origin);
        assert_eq!((&shown["service"], &shown["data"]), (&json!(service), &data), "{origin:?}");
        assert_eq!(service_shown(body, origin), service, "{origin:?}");
        let record = record(body);
        for (expression, matches) in [
            (format!("service={service}"), true),
            (format!("service:{}", service.to_uppercase()), true),
            ("service=nobody".to_owned(), false),
            (format!("service!={service}"), false),
            ("service:*".to_owned(), true),
            ("data.service=payments".to_owned(), body.starts_with(b"{\"msg\":\"m\",\"service")),
        ] {
            let filter = crate::filter::parse(&expression).unwrap();
            assert_eq!(filter.matches(&record, origin), matches, "{expression} of {origin:?}");
            let mut bloom = crate::tokens::BloomBuilder::new();
            crate::tokens::for_each_token(body, origin, record.flags, &mut |token| {
                bloom.insert(token.hash);
            });
            assert!(
                !matches || filter.plan().bloom_may_match(&bloom.finish()),
                "no filter hides {expression}"
            );
        }
    }
}

#[test]
fn every_field_that_is_shown_is_listed_once() {
    let body = br#"{"msg":"m","metadata":1,"is_audit":true,"x":1}"#;
    let value = shown(&record(body), &Origin::default());
    let object = value.as_object().unwrap();
    for name in object.keys() {
        assert_eq!(FIELDS.iter().filter(|(field, _)| field == name).count(), 1, "{name}");
    }
}

#[test]
fn times_that_no_calendar_has_are_its_end() {
    assert_eq!(timestamp(i64::MAX), "9999-12-30T22:00:00.999999Z");
    assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(timestamp_ms(-1), "1969-12-31T23:59:59.999Z");
    assert_eq!(timestamp_ms(1_735_572_645_123_999), "2024-12-30T15:30:45.123Z");
    assert_eq!(timestamp_ms(i64::MAX), "9999-12-30T22:00:00.999Z");
    assert!(timestamp(i64::MIN).starts_with("-00"));
}

proptest! {
    /// Whatever the body: an entry is one line of strict JSON.
    #[test]
    fn any_body_is_shown(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut object = b"{\"k\":".to_vec();
        object.extend_from_slice(&body);
        object.extend_from_slice(b"}");
        for body in [&body, &object] {
            let record = record(body);
            let json = serde_json::to_string(&Entry::new(&record, &Origin::default())).unwrap();
            serde_json::from_str::<Value>(&json).unwrap();
            prop_assert!(!json.contains('\n') || body.contains(&b'\n'));
        }
    }
}
