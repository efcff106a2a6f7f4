use cordwood_core::batch::{BatchBuilder, BatchHeader, Provenance};
use cordwood_core::block::Block;
use cordwood_core::identity::{FileId, OutputStream, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::limits::TIME_PAST_US_MAX;
use cordwood_core::record::Flags;
use cordwood_store::commit::StreamCounts;

use super::*;

const NOW_US: i64 = 1_790_000_000_000_000;

fn message(kafka_offset: u64, prev: u64, lines: &[(u64, i64, &str)]) -> Message {
    let mut builder = BatchBuilder::new();
    for (end, time_ns, body) in lines {
        builder.push(*time_ns, Level::Info, Flags::default(), *end, body.as_bytes());
    }
    let end = lines.last().map_or(prev, |line| line.0);
    let header = BatchHeader {
        stream: StreamKey::of_container("uid", "app", 0, OutputStream::Stdout),
        io: OutputStream::Stdout,
        file: FileId(7),
        restart_count: 0,
        prev,
        end,
        lines: lines.len() as u64 + 1,
        bytes: end - prev,
        gated: 1,
        limited: 0,
        rejected: 0,
        loss: None,
    };
    let origin = Origin {
        tenant: "shop\0eu".into(),
        namespace: "shop".into(),
        service: "api".into(),
        ..Origin::default()
    };
    let payload = builder.finish(&header, &origin, NOW_US * 1000).into();
    Message { topic_partition: 2, kafka_offset, provenance: Provenance::Agent, payload }
}

fn take(intake: &mut Intake, messages: Vec<Message>) -> Prepared {
    let decoded = Intake::decode(messages);
    let unknown = intake.unknown(&decoded);
    intake.learn(unknown.files, HashMap::new());
    assert!(intake.take(decoded, NOW_US, 4096).is_empty());
    intake.finish()
}

#[test]
fn what_finds_no_room_comes_back_in_order() {
    let messages = (0..4).map(|n| message(n, n * 10, &[(n * 10 + 10, NOW_US * 1000, "line")]));
    let decoded = Intake::decode(messages.collect());
    let mut intake = Intake::new(false);
    intake.learn(intake.unknown(&decoded).files, HashMap::new());
    let rest = intake.take(decoded, NOW_US, 1);
    assert_eq!(rest.iter().map(|message| message.kafka_offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((intake.blocks(), intake.messages()), (1, 1));
}

fn bodies(prepared: &Prepared) -> Vec<String> {
    let mut found = Vec::new();
    for block in &prepared.commit.blocks {
        let block = Block::open(&block.payload).unwrap();
        found.extend(
            (0..block.len()).map(|i| String::from_utf8(block.record(i).unwrap().body.to_vec()).unwrap()),
        );
    }
    found
}

#[test]
fn a_batch_that_comes_again_is_skipped_and_one_that_is_missing_is_told() {
    let now_ns = NOW_US * 1000;
    let mut intake = Intake::new(true);
    let first = message(10, 0, &[(5, now_ns, "one"), (9, now_ns, "two")]);
    let again = message(11, 0, &[(5, now_ns, "one"), (9, now_ns, "two"), (14, now_ns, "three")]);
    let prepared = take(&mut intake, vec![first.clone(), again]);
    assert_eq!(bodies(&prepared), ["one", "two", "three"]);
    assert_eq!(prepared.feed.len(), 3);
    assert_eq!(prepared.duplicates, 2);
    let [step] = &prepared.commit.watermarks[..] else { panic!("one stream") };
    assert_eq!(step.brought.iter().collect::<Vec<_>>(), [(0, 14)]);
    let expected =
        StreamCounts { lines: 4, bytes: 14, records: 3, gated: 1, duplicates: 2, ..StreamCounts::default() };
    assert_eq!(
        step.counts, expected,
        "lines = records + gated; the gated line that came again is not a second one"
    );
    let [position] = &prepared.commit.positions[..] else { panic!("one topic partition") };
    assert_eq!((position.from, position.to), (None, 12));
    assert_eq!(&*prepared.commit.blocks[0].tenant, "shop\u{fffd}eu", "PostgreSQL holds no NUL");

    // The next transaction: the first comes once more, then a hole.
    let prepared = take(&mut intake, vec![first, message(12, 20, &[(25, now_ns, "five")])]);
    let found = bodies(&prepared);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|body| body.contains(r#""cordwood":"loss""#)), "{found:?}");
    let [loss] = &prepared.commit.losses[..] else { panic!("one loss") };
    assert_eq!((loss.from, loss.bytes), (14, 6));
    let [position] = &prepared.commit.positions[..] else { panic!("one topic partition") };
    assert_eq!(
        (position.from, position.to),
        (Some(12), 13),
        "offset 10 was below the position: not even looked at"
    );
}

/// PostgreSQL may have come back as it was a while ago: the rows that it gave the ids of may be gone with the records.
#[test]
fn after_a_reset_nothing_that_postgresql_said_is_believed() {
    let mut intake = Intake::new(false);
    let decoded = || Intake::decode(vec![message(0, 0, &[(5, NOW_US * 1000, "one")])]);
    let unknown = intake.unknown(&decoded());
    assert_eq!((unknown.files.len(), unknown.origins.len()), (1, 1));
    intake.learn_origins(unknown.origins, vec![cordwood_core::origin::OriginId(7)]);
    intake.learn(unknown.files, HashMap::new());
    let unknown = intake.unknown(&decoded());
    assert_eq!((unknown.files.len(), unknown.origins.len()), (0, 0));
    intake.reset(&HashMap::new());
    let unknown = intake.unknown(&decoded());
    assert_eq!((unknown.files.len(), unknown.origins.len()), (1, 1));
}

#[test]
fn poison_is_a_dead_letter_and_its_neighbours_are_stored() {
    let now_ns = NOW_US * 1000;
    let mut intake = Intake::new(false);
    let poison = Message {
        topic_partition: 2,
        kafka_offset: 1,
        provenance: Provenance::Agent,
        payload: vec![0xff; 9].into(),
    };
    let messages = vec![message(0, 0, &[(5, now_ns, "one")]), poison, message(2, 5, &[(9, now_ns, "two")])];
    let prepared = take(&mut intake, messages);
    assert_eq!(bodies(&prepared), ["one", "two"]);
    let [letter] = &prepared.commit.dead_letters[..] else { panic!("one dead letter") };
    assert_eq!((letter.kafka_offset, letter.payload.len()), (1, 9));
    assert!(!letter.reason.is_empty());
    assert_eq!(prepared.commit.positions[0].to, 3);
}

#[test]
fn an_incredible_time_is_replaced_and_kept() {
    let old_us = NOW_US - TIME_PAST_US_MAX - 1;
    let mut intake = Intake::new(false);
    let prepared =
        take(&mut intake, vec![message(0, 0, &[(5, old_us * 1000, "old"), (6, NOW_US * 1000, "new")])]);
    let block = Block::open(&prepared.commit.blocks[0].payload).unwrap();
    let old = block.record(0).unwrap();
    assert_eq!((old.time_us, old.original_time_us), (NOW_US, Some(old_us)));
    assert!(old.flags.has(Flags::TIME_ADJUSTED));
    assert_eq!(block.record(1).unwrap().original_time_us, None);
}

#[test]
fn the_rollup_counts_by_minute_and_source() {
    let at = |minute: i64| (NOW_US + minute * 60_000_000) * 1000;
    let mut intake = Intake::new(false);
    let lines = [
        (10, at(0), r#"{"source":"db","msg":"a"}"#),
        (20, at(0), "plain"),
        (30, at(0), r#"{"source":"db","msg":"b"}"#),
        (40, at(1), "plain"),
    ];
    let prepared = take(&mut intake, vec![message(0, 0, &lines)]);
    assert!(prepared.commit.rollup.iter().all(|row| &*row.namespace == "shop"));
    let mut rows: Vec<_> =
        prepared.commit.rollup.iter().map(|row| (row.minute_us, row.source.to_string(), row.count)).collect();
    rows.sort();
    let minute = NOW_US - NOW_US % 60_000_000;
    let next = minute + 60_000_000;
    assert_eq!(rows, [(minute, String::new(), 1), (minute, "db".to_owned(), 2), (next, String::new(), 1)]);
}
