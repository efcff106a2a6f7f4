mod foreign;
mod laws;

use super::*;

pub(super) fn header() -> BatchHeader {
    BatchHeader {
        stream: StreamKey::of_container("uid", "app", 2, OutputStream::Stderr),
        io: OutputStream::Stderr,
        file: FileId(7),
        restart_count: 2,
        prev: 10,
        end: 99,
        lines: 3,
        bytes: 89,
        gated: 1,
        limited: 0,
        rejected: 0,
        loss: None,
    }
}

#[test]
fn a_batch_comes_back() {
    let mut builder = BatchBuilder::new();
    builder.push(1, Level::Warn, Flags::AUDIT, 20, b"hello");
    builder.push(2, Level::Info, Flags::AUDIT | Flags::AUDIT_CLAIMED, 99, b"\xff\x00");
    assert_eq!(builder.len(), 2);
    let message = Bytes::from(builder.finish(&header(), &Origin::default(), 5));
    assert!(builder.is_empty());
    let batches = decode(&message, Provenance::Agent).unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].header.as_ref(), Some(&header()));
    let record = &batches[0].records[1];
    assert_eq!((record.time_ns, record.level, record.position), (2, Level::Info, 99));
    assert_eq!(record.flags, Flags::STDERR | Flags::AUDIT | Flags::AUDIT_CLAIMED);
    assert_eq!(&record.body[..], b"\xff\x00");
    assert_eq!(batches[0].records[0].flags, Flags::STDERR | Flags::AUDIT);
}

/// When it was read is known when a batch is opened, or only when it is cut.
#[test]
fn the_time_of_reading_is_the_last_that_was_told() {
    let message = |expected: Option<i64>| {
        let mut builder = BatchBuilder::new();
        for _ in 0..2 {
            if let Some(observed_ns) = expected {
                builder.expect_observed(observed_ns);
            }
            for (at, body) in [(20, &b"hello"[..]), (50, &[b'x'; 300]), (99, &[0xff; 20_000])] {
                builder.push(1, Level::Warn, Flags::default(), at, body);
                builder.expect_observed(7);
            }
            let message = builder.finish(&header(), &Origin::default(), 5);
            assert_eq!(memchr::memmem::find_iter(&message, &[0x59, 5, 0, 0, 0, 0, 0, 0, 0, 0x09]).count(), 3);
            assert!(builder.is_empty());
        }
        builder.push(1, Level::Warn, Flags::default(), 20, b"again");
        builder.finish(&header(), &Origin::default(), 6)
    };
    assert_eq!(message(None), message(Some(5)));
    assert_eq!(message(None), message(Some(4)));
}

#[test]
fn an_empty_batch_carries_its_counters() {
    let message = Bytes::from(BatchBuilder::new().finish(&header(), &Origin::default(), 5));
    let batches = decode(&message, Provenance::Agent).unwrap();
    assert_eq!(batches[0].header.as_ref(), Some(&header()));
    assert!(batches[0].records.is_empty());
}

/// Two bytes each: the records of all before were counted for each, and each was kept. A message of a megabyte took minutes.
#[test]
fn batches_of_nothing_cost_nothing() {
    let scopes = 400_000_usize;
    let mut message = vec![0x0a];
    let mut length = scopes * 2;
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend([0x12, 0x00].repeat(scopes));
    assert_eq!(decode(&Bytes::from(message), Provenance::Foreign).unwrap(), []);
    // An agent's say what became of its lines, so they are kept, but not without end.
    let one = BatchBuilder::new().finish(&header(), &Origin::default(), 5);
    let many = Bytes::from(one.repeat(3));
    assert_eq!(decode(&many, Provenance::Agent).unwrap().len(), 3);
    let endless = Bytes::from(one.repeat(crate::limits::MESSAGE_BATCHES_MAX + 1));
    assert!(matches!(decode(&endless, Provenance::Agent), Err(DecodeError::Batches { .. })));
}

#[test]
fn only_the_right_header_makes_an_agents_message() {
    assert_eq!(Provenance::of_header(Some(b"1")), Provenance::Agent);
    assert_eq!(Provenance::of_header(Some(b"2")), Provenance::Foreign);
    assert_eq!(Provenance::of_header(None), Provenance::Foreign);
}

/// What an agent could not have written is refused with the reason; none of it is stored half.
#[test]
fn what_is_wrong_is_named() {
    let origin = Origin::default();
    let batch = |header: &BatchHeader, positions: &[u64]| {
        let mut builder = BatchBuilder::new();
        positions.iter().for_each(|end| builder.push(1, Level::Info, Flags::default(), *end, b"x"));
        Bytes::from(builder.finish(header, &origin, 0))
    };
    let error = |message: &Bytes| decode(message, Provenance::Agent).unwrap_err().to_string();

    let beyond = BatchHeader { end: 50, ..header() };
    assert_eq!(
        error(&batch(&beyond, &[20, 60])),
        "decode batch of an agent: record 1's position 20 does not rise, or lies outside of (10, 50]"
    );
    let backwards = BatchHeader { prev: 50, end: 20, ..header() };
    assert_eq!(
        error(&batch(&backwards, &[])),
        "decode batch of an agent: attribute cordwood.end is missing or wrong"
    );
    assert_eq!(
        error(&Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        "decode OTLP message: ExportLogsServiceRequest: has a number longer than 64 bits"
    );
    assert_eq!(
        error(&Bytes::from_static(b"{\"not\": \"protobuf\"}")),
        "decode OTLP message: ExportLogsServiceRequest: has a field key that does not exist"
    );
    // An agent's message without what an agent says.
    let foreign = Bytes::from_static(b"\x0a\x02\x12\x00");
    assert_eq!(error(&foreign), "decode batch of an agent: attribute cordwood.file is missing or wrong");
    assert!(decode(&foreign, Provenance::Foreign).is_ok());
}
