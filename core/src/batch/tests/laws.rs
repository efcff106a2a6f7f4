//! Laws of the batch: what is encoded comes back; a decoder that is not ours reads the same; damage is an error, not a panic.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use proptest::prelude::*;
use prost::Message;

use super::*;

#[derive(Clone, Debug)]
struct Line {
    time_ns: i64,
    level: Level,
    flags: Flags,
    len: u64,
    body: Vec<u8>,
}

fn line() -> impl Strategy<Value = Line> {
    let body = prop_oneof![
        ".{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        (0usize..40_000).prop_map(|len| vec![b'x'; len]),
    ];
    let flags = prop_oneof![3 => Just(0u16), 1 => any::<u16>()];
    (any::<i64>(), 0u8..5, flags, 1u64..100_000, body).prop_map(|(time_ns, level, flags, len, body)| Line {
        time_ns,
        level: Level::from_u8(level).unwrap(),
        flags: Flags(flags & !Flags::STDERR.0),
        len,
        body,
    })
}

fn name() -> impl Strategy<Value = String> {
    "[^\u{0}]{0,12}"
}

fn origin() -> impl Strategy<Value = Origin> {
    prop::collection::vec(name(), 12).prop_flat_map(|names| {
        ("[^\u{0}]{1,9}", "[^\u{0}]{1,9}").prop_map(move |(tenant, tenant_id)| {
            let mut names = names.clone().into_iter();
            let mut next = || names.next().unwrap();
            Origin {
                tenant,
                tenant_id,
                namespace: next(),
                pod: next(),
                pod_uid: next(),
                container: next(),
                node: next(),
                service: next(),
                workload: next(),
                environment: next(),
                version: next(),
                region: next(),
                plugin: next(),
                path: next(),
            }
        })
    })
}

fn batch_header() -> impl Strategy<Value = BatchHeader> {
    let loss = prop::option::of((any::<u64>(), any::<u64>(), any::<bool>(), name()));
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let place = (name(), any::<bool>(), any::<u64>(), any::<u32>(), 0u64..u64::MAX / 2, 0u64..1000);
    (place, counts, loss).prop_map(|((stream, stderr, file, restart_count, prev, more), counts, loss)| {
        BatchHeader {
            stream: StreamKey(stream),
            io: if stderr { OutputStream::Stderr } else { OutputStream::Stdout },
            file: FileId(file),
            restart_count,
            prev,
            end: prev + more,
            lines: counts.0,
            bytes: counts.1,
            gated: counts.2,
            limited: counts.3,
            rejected: counts.4,
            loss: loss.map(|(from, bytes, exact, reason)| LossRange { from, bytes, exact, reason }),
        }
    })
}

/// The batch, its message, and the positions that it was given.
fn encode(header: &mut BatchHeader, origin: &Origin, lines: &[Line], observed_ns: i64) -> (Bytes, Vec<u64>) {
    let mut builder = BatchBuilder::new();
    let mut position = header.prev;
    let mut positions = Vec::new();
    for line in lines {
        position += line.len;
        positions.push(position);
        let before = builder.bytes();
        builder.push(line.time_ns, line.level, line.flags, position, &line.body);
        assert!(builder.bytes() - before <= line.body.len() + RECORD_EXTRA_BYTES_MAX);
    }
    header.end = header.end.max(position);
    let bytes_max = builder.bytes() + envelope_bytes_max(&header.stream, origin);
    let message = builder.finish(header, origin, observed_ns);
    let key = header.stream.as_str().len();
    assert!(message.len() + key <= bytes_max, "{} + {key} <= {bytes_max}", message.len());
    (Bytes::from(message), positions)
}

fn body_of(value: Option<AnyValue>) -> Vec<u8> {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text.into_bytes(),
        Some(any_value::Value::BytesValue(bytes)) => bytes,
        other => panic!("a body is text or bytes, not {other:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(
        mut header in batch_header(), origin in origin(), lines in prop::collection::vec(line(), 0..20), observed in any::<i64>(),
    ) {
        let (message, positions) = encode(&mut header, &origin, &lines, observed);
        let batches = decode(&message, Provenance::Agent).unwrap();
        prop_assert_eq!(batches.len(), 1);
        prop_assert_eq!(batches[0].header.as_ref(), Some(&header));
        prop_assert_eq!(&*batches[0].origin, &origin);
        let common = if header.io == OutputStream::Stderr { Flags::STDERR } else { Flags::default() };
        let expected: Vec<DecodedRecord> = lines.iter().zip(positions).map(|(line, position)| DecodedRecord {
            time_ns: line.time_ns,
            level: line.level,
            flags: line.flags | common,
            position,
            body: Bytes::from(line.body.clone()),
        }).collect();
        prop_assert_eq!(&batches[0].records, &expected);
    }

    #[test]
    fn another_decoder_reads_the_same(
        mut header in batch_header(), origin in origin(), lines in prop::collection::vec(line(), 0..10), observed in any::<i64>(),
    ) {
        let (message, _) = encode(&mut header, &origin, &lines, observed);
        let request = ExportLogsServiceRequest::decode(message.clone()).unwrap();
        prop_assert_eq!(request.encoded_len(), message.len(), "nothing is in it that OTLP does not know");
        let [resource_logs] = &request.resource_logs[..] else { panic!("one resource") };
        let attributes = &resource_logs.resource.as_ref().unwrap().attributes;
        let pod = attributes.iter().find(|attribute| attribute.key == "k8s.pod.name");
        prop_assert_eq!(pod.is_some(), !origin.pod.is_empty());
        let [scope_logs] = &resource_logs.scope_logs[..] else { panic!("one scope") };
        prop_assert_eq!(&scope_logs.scope.as_ref().unwrap().name, "cordwood.agent");
        prop_assert_eq!(scope_logs.log_records.len(), lines.len());
        for (record, line) in scope_logs.log_records.iter().zip(&lines) {
            prop_assert_eq!(record.time_unix_nano, line.time_ns as u64);
            prop_assert_eq!(record.observed_time_unix_nano, observed as u64);
            prop_assert_eq!(record.severity_number, line.level.otel_severity());
            prop_assert_eq!(&body_of(record.body.clone()), &line.body);
        }
        // And back: what that encoder writes of it is the same batch to us.
        let again = decode(&Bytes::from(request.encode_to_vec()), Provenance::Agent).unwrap();
        prop_assert_eq!(again, decode(&message, Provenance::Agent).unwrap());
    }

    #[test]
    fn a_builder_forgets_what_it_sent(
        mut first in batch_header(), mut second in batch_header(), lines in prop::collection::vec(line(), 1..5),
    ) {
        let origin = Origin::default();
        let (expected, _) = encode(&mut second, &origin, &lines[1..], 9);
        let mut builder = BatchBuilder::new();
        let mut position = first.prev;
        for line in &lines {
            position += line.len;
            builder.push(line.time_ns, line.level, line.flags, position, &line.body);
        }
        first.end = first.end.max(position);
        builder.finish(&first, &origin, 3);
        let mut position = second.prev;
        for line in &lines[1..] {
            position += line.len;
            builder.push(line.time_ns, line.level, line.flags, position, &line.body);
        }
        prop_assert_eq!(Bytes::from(builder.finish(&second, &origin, 9)), expected);
    }

    #[test]
    fn damage_is_an_error_or_another_batch_but_never_a_panic(
        mut header in batch_header(), lines in prop::collection::vec(line(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
    ) {
        let (message, _) = encode(&mut header, &Origin::default(), &lines, 1);
        let mut bytes = message.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [bytes[..cut.index(bytes.len() + 1)].to_vec(), bytes] {
            let bytes = Bytes::from(bytes);
            for provenance in [Provenance::Agent, Provenance::Foreign] {
                let _ = decode(&bytes, provenance).map_err(|error| error.to_string());
            }
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(bytes);
        let _ = decode(&bytes, Provenance::Agent);
        let _ = decode(&bytes, Provenance::Foreign);
    }
}

#[test]
fn every_beginning_of_a_message_is_refused() {
    let mut builder = BatchBuilder::new();
    for end in 11..=30 {
        builder.push(5, Level::Info, Flags::default(), end, b"a body of some length");
    }
    let message = Bytes::from(builder.finish(&header(), &Origin::default(), 5));
    for len in 1..message.len() {
        assert!(decode(&message.slice(..len), Provenance::Agent).is_err(), "cut at {len}");
    }
}
