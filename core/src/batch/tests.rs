use super::*;

fn header() -> BatchHeader {
    BatchHeader {
        stream: StreamKey::of_container("uid", "app", 2, Io::Stderr),
        io: Io::Stderr,
        file: FileId(7),
        restart: 2,
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
    builder.push(2, Level::Info, Flags::default(), 99, b"\xff\x00");
    let message = Bytes::from(builder.finish(&header(), &Origin::default(), 5));
    let batches = decode(&message, Provenance::Agent).unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].header.as_ref(), Some(&header()));
    let record = &batches[0].records[1];
    assert_eq!((record.time_ns, record.level, record.position), (2, Level::Info, 99));
    assert_eq!(record.flags, Flags::STDERR);
    assert_eq!(&record.body[..], b"\xff\x00");
    assert_eq!(batches[0].records[0].flags, Flags::STDERR | Flags::AUDIT);
}
