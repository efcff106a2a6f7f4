//! The reconciler must be able to fail: each fault put in by hand is found, under its own law, and nothing else is.

use std::collections::HashMap;

use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_generator::{Format, Stream};

use super::{Counters, Law, Ledger, Reconciler, Report, WatermarkSum, Written};

const LINES: u64 = 3_000;
const KEY: &str = "uid-1/app/0/stdout";

/// What lies in the store: body and (topic partition, kafka offset, index), in any order.
#[derive(Clone)]
struct Stored {
    body: Vec<u8>,
    id: RecordId,
    origin: Origin,
    flags: Flags,
}

fn origin() -> Origin {
    Origin {
        tenant: "shop".to_owned(),
        namespace: "shop-eu".to_owned(),
        pod: "app-1".to_owned(),
        pod_uid: "uid-1".to_owned(),
        container: "app".to_owned(),
        ..Origin::default()
    }
}

/// All lines of one stream, 100 to a message.
fn stored() -> Vec<Stored> {
    let stream = Stream::new("r", "app-1.out", Format::Json);
    (1..=LINES)
        .map(|seq| {
            let mut body = Vec::new();
            stream.line(seq, &mut body);
            let id = RecordId { topic_partition: 2, kafka_offset: seq / 100, index: (seq % 100) as u32 };
            Stored { body, id, origin: origin(), flags: Flags::default() }
        })
        .collect()
}

fn ledger() -> Ledger {
    let written = Written {
        lines: LINES,
        complete: true,
        tenant: "shop".to_owned(),
        namespace: "shop-eu".to_owned(),
        pod: "app-1".to_owned(),
        stderr: false,
        stream_key: Some(KEY.to_owned()),
    };
    Ledger { run: "r".to_owned(), streams: [("app-1.out".to_owned(), written)].into(), others_allowed: false }
}

fn counters(records: u64) -> Counters {
    let sum = WatermarkSum { files: 1, lines: records, records, duplicates: 3, ..WatermarkSum::default() };
    Counters { watermarks: [(KEY.to_owned(), sum)].into(), positions: vec![(2, 31)], ..Counters::default() }
}

fn judge(stored: &[Stored], ledger: Ledger, counters: &Counters) -> Report {
    let origins: HashMap<_, _> =
        stored.iter().map(|stored| (stored.origin.id(), stored.origin.clone())).collect();
    let mut reconciler = Reconciler::new(ledger, origins);
    // Blocks come in any order.
    for stored in stored.iter().rev() {
        reconciler.record(&Record {
            time_us: 0,
            original_time_us: None,
            level: Level::Info,
            flags: stored.flags,
            origin: stored.origin.id(),
            id: stored.id,
            body: &stored.body,
        });
    }
    reconciler.finish(counters)
}

/// What a change to a good store breaks.
fn broken_by(change: impl FnOnce(&mut Vec<Stored>)) -> Vec<Law> {
    let mut stored = stored();
    change(&mut stored);
    let counters = counters(stored.len() as u64);
    judge(&stored, ledger(), &counters).counts.into_keys().collect()
}

#[test]
fn a_good_store_holds() {
    let report = judge(&stored(), ledger(), &counters(LINES));
    assert!(report.holds(), "{report}");
    assert_eq!((report.lines_found, report.lines_written, report.duplicates_skipped), (LINES, LINES, 3));
}

#[test]
fn each_fault_is_found() {
    let line = 1_500;
    assert_eq!(
        broken_by(|stored| drop(stored.remove(line))),
        [Law::ExactlyOnce, Law::Accounts],
        "a missing line is missed, by the bitmap and by the counts"
    );
    let double = |stored: &mut Vec<Stored>| {
        let mut again = stored[line].clone();
        again.id.kafka_offset = 30;
        again.id.index = 99;
        stored.push(again);
    };
    assert_eq!(broken_by(double), [Law::ExactlyOnce, Law::Order, Law::Accounts], "a double line");
    assert_eq!(broken_by(|stored| stored[line].body[60] ^= 1), [Law::Intact], "a flipped bit");
    assert_eq!(broken_by(|stored| _ = stored[line].body.pop()), [Law::Intact], "a cut line");
    assert_eq!(
        broken_by(|stored| {
            let id = stored[line].id;
            stored[line].id = stored[line + 1].id;
            stored[line + 1].id = id;
        }),
        [Law::Order],
        "two lines in each other's place"
    );
    assert_eq!(
        broken_by(|stored| stored[line].body = b"who wrote this?".to_vec()),
        [Law::ExactlyOnce, Law::NothingUnwritten],
        "a stranger's line in the place of one"
    );
    assert_eq!(
        broken_by(|stored| stored.iter_mut().for_each(|stored| stored.origin.tenant = "other".to_owned())),
        [Law::Tenant],
        "another tenant"
    );
    assert_eq!(
        broken_by(|stored| stored[line].origin.tenant = "other".to_owned()),
        [Law::Tenant],
        "one line under another tenant"
    );
    assert_eq!(
        broken_by(|stored| stored.iter_mut().for_each(|stored| stored.flags = Flags::STDERR)),
        [Law::Tenant],
        "the wrong output"
    );
    assert_eq!(
        broken_by(|stored| stored[line].id.kafka_offset = 99),
        [Law::Order, Law::Checkpoint],
        "not yet consumed"
    );
}

/// Lines without words: a missing empty line is noticed by what follows it, and one too many too.
#[test]
fn bare_lines_are_counted_by_their_place() {
    let bare = (0..LINES as usize).filter(|line| Stream::is_bare(*line as u64 + 1)).collect::<Vec<_>>();
    assert!(bare.len() >= 4, "the stream has bare lines: {bare:?}");
    for line in &bare {
        assert!(
            broken_by(|stored| drop(stored.remove(*line))).contains(&Law::ExactlyOnce),
            "bare line {line} gone"
        );
    }
    let one_more = |stored: &mut Vec<Stored>| {
        let mut again = stored[bare[2]].clone();
        again.id.kafka_offset += 1;
        stored.push(again);
    };
    assert!(broken_by(one_more).contains(&Law::NothingUnwritten));
}

#[test]
fn lines_that_nobody_wrote_and_counters_that_disagree() {
    let mut short = ledger();
    short.streams.get_mut("app-1.out").expect("the stream").lines = LINES - 10;
    let report = judge(&stored(), short, &counters(LINES));
    assert_eq!(report.counts.into_keys().collect::<Vec<_>>(), [Law::NothingUnwritten, Law::Accounts]);

    let report = judge(&stored(), ledger(), &counters(LINES - 1));
    assert_eq!(report.counts.into_keys().collect::<Vec<_>>(), [Law::Accounts]);

    let mut unaccounted = counters(LINES);
    unaccounted.watermarks.values_mut().for_each(|sum| sum.lines += 1);
    let report = judge(&stored(), ledger(), &unaccounted);
    assert_eq!(report.counts.into_keys().collect::<Vec<_>>(), [Law::Accounts]);

    // A stream that nobody's ledger names, and one of which nothing arrived.
    let mut other = ledger();
    let written = other.streams.remove("app-1.out").expect("the stream");
    other.streams.insert("app-2.out".to_owned(), Written { stream_key: None, ..written });
    let report = judge(&stored(), other, &counters(LINES));
    assert_eq!(report.counts.into_keys().collect::<Vec<_>>(), [Law::ExactlyOnce, Law::NothingUnwritten]);
}

#[test]
fn gated_lines_may_be_missing_only_as_many_as_were_counted() {
    let mut stored = stored();
    stored.drain(1_400..1_500);
    let mut counted = counters(LINES);
    counted.watermarks.values_mut().for_each(|sum| (sum.records, sum.gated) = (LINES - 100, 100));
    let report = judge(&stored, ledger(), &counted);
    assert!(report.holds(), "{report}");
    stored.remove(0);
    assert!(!judge(&stored, ledger(), &counted).holds());
}
