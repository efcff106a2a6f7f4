//! The topic is standard OTLP: a decoder that is not ours reads what the agent writes, and what a foreign producer writes is
//! stored.

use anyhow::Result;
use bytes::Bytes;
use cordwood_core::batch::{BatchBuilder, BatchHeader, Provenance, decode};
use cordwood_core::fields::{Field, read};
use cordwood_core::identity::{FileId, OutputStream, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, UNASSIGNED};
use cordwood_core::record::Flags;
use cordwood_tests::otlp::Otlp;
use serde_json::json;

#[test]
fn a_foreign_decoder_reads_our_batches() -> Result<()> {
    let otlp = Otlp::ready()?;
    let origin = Origin {
        tenant: "acme".into(),
        tenant_id: "42".into(),
        namespace: "shop".into(),
        pod: "cart-0".into(),
        service: "cart".into(),
        ..Origin::default()
    };
    let header = BatchHeader {
        stream: StreamKey::of_container("uid", "app", 1, OutputStream::Stderr),
        io: OutputStream::Stderr,
        file: FileId(9),
        restart_count: 1,
        prev: 0,
        end: 300,
        lines: 3,
        bytes: 300,
        gated: 0,
        limited: 0,
        rejected: 0,
        loss: None,
    };
    let mut builder = BatchBuilder::new();
    builder.push(1_000, Level::Warn, Flags::default(), 100, "{\"msg\":\"größer\"}".as_bytes());
    builder.push(2_000, Level::Trace, Flags::AUDIT, 200, b"");
    builder.push(3_000, Level::Error, Flags::default(), 300, b"\xff\0");
    let seen = otlp.read(&[builder.finish(&header, &origin, 77)])?;
    let rows: Vec<_> = seen.iter().map(|row| (row.time, row.observed, &*row.severity, &row.body)).collect();
    let bodies = [json!("{\"msg\":\"größer\"}"), json!(""), json!({"base64": "/wA="})];
    assert_eq!(
        rows,
        [
            (1_000, 77, "SEVERITY_NUMBER_WARN", &bodies[0]),
            (2_000, 77, "SEVERITY_NUMBER_TRACE", &bodies[1]),
            (3_000, 77, "SEVERITY_NUMBER_ERROR", &bodies[2]),
        ]
    );
    let resource = &seen[0].resource;
    for (key, value) in [
        ("k8s.namespace.name", json!("shop")),
        ("k8s.pod.name", json!("cart-0")),
        ("service.name", json!("cart")),
        ("cordwood.tenant", json!("acme")),
        ("log.iostream", json!("stderr")),
        ("k8s.container.restart_count", json!(1)),
    ] {
        assert_eq!(resource.get(key), Some(&value), "{key}");
    }
    assert_eq!(resource.get("k8s.node.name"), None, "what is absent is left out");
    assert_eq!(seen[0].scope["cordwood.end"], json!(300));
    Ok(())
}

#[test]
fn a_foreign_message_becomes_records_of_nobodys_tenant() -> Result<()> {
    let (message, wrote) = Otlp::ready()?.write("run-7")?;
    let batches = decode(&Bytes::from(message), Provenance::Foreign)?;
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    assert_eq!(batch.header, None);
    let Origin { tenant, tenant_id, service, namespace, pod, .. } = &*batch.origin;
    assert_eq!((&**tenant, &**tenant_id), (UNASSIGNED, UNASSIGNED));
    assert_eq!((&**service, &**namespace, &**pod), ("foreign-shop", "foreign", "foreign-0"));
    assert_eq!(batch.records.len(), wrote.len());
    for (record, wrote) in batch.records.iter().zip(&wrote) {
        let body = String::from_utf8_lossy(&record.body);
        assert!(body.contains(&wrote.contains), "{body}");
        assert_eq!(record.level.as_str(), wrote.level, "{body}");
        assert!(record.time_ns > 0, "{body}");
    }
    let fields = read(&batch.records[1].body);
    assert_eq!(fields.get(Field::TraceId), Some("000102030405060708090a0b0c0d0e0f"));
    assert_eq!(fields.get(Field::UserId), Some("u-1"));
    assert_eq!(fields.get(Field::Message), Some("run-7 a JSON text"));
    assert_eq!(fields.at("order").as_deref(), Some("7"));
    assert_eq!(&batch.records[3].body[..], b"run-7 octets \xff");
    Ok(())
}
