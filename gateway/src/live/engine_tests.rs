//! The engine against what it was given: whatever comes when, each record is shown once or counted in a gap, and each cursor says which.

use std::collections::BTreeSet;

use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_store::follow::Place;
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;
const ALL: u64 = u64::MAX;

fn at(time_us: i64, offset: u64) -> Cursor {
    Cursor { time_us, id: RecordId { topic_partition: 0, kafka_offset: offset, index: 0 } }
}

fn item(time_us: i64, offset: u64) -> Item {
    sized(time_us, offset, 10)
}

fn sized(time_us: i64, offset: u64, bytes: usize) -> Item {
    let json = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap();
    Item { at: at(time_us, offset), task: None, json }
}

fn upto(next: u64) -> Step {
    let lanes = vec![0, next.cast_signed()];
    Step { place: Place { lanes, offsets: [(0, next)].into() }, upto: None }
}

fn look(items: Vec<Item>, next: u64) -> Look {
    Look { items, reach: upto(next), ..Look::default() }
}

fn now(ms: u64) -> Now {
    Now { wall_us: 1_000 * SECOND + ms.cast_signed() * 1_000, ms }
}

/// One that has caught up.
fn engine(credit: u64) -> Engine {
    let mut engine = Engine::new(StreamCursor::of(upto(0), now(0).wall_us), credit);
    engine.take(look(Vec::new(), 0), now(0));
    assert!(matches!(engine.next(), Some(Out::CaughtUp { .. })));
    engine
}

/// As `offset`, `~offset` for a late one, `gap(count)`, `caughtUp`.
fn told(engine: &mut Engine) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(out) = engine.next() {
        match out {
            Out::Records { items, is_late, .. } => all.extend(
                items
                    .iter()
                    .map(|item| format!("{}{}", if is_late { "~" } else { "" }, item.at.id.kafka_offset)),
            ),
            Out::Gap { gap, .. } => {
                all.push(format!("gap({})", gap.count.map_or("?".into(), |count| count.to_string())))
            }
            Out::CaughtUp { .. } => all.push("caughtUp".into()),
        }
    }
    all
}

#[test]
fn a_record_goes_at_once_and_waits_for_older_ones_while_such_come() {
    let mut engine = engine(ALL);
    let at = |ms: i64| now(0).wall_us + ms * 1_000;
    engine.take(look(vec![item(at(-50), 0), item(at(-60), 1)], 2), now(0));
    assert_eq!(told(&mut engine), ["1", "0"], "of one look, by their times");
    assert_eq!(engine.due_ms(now(0)), None);
    engine.take(look(vec![item(at(-80), 2)], 3), now(20));
    engine.tick(now(30));
    assert_eq!(told(&mut engine), ["~2"], "nobody knew that one would come");
    // Now records wait until they are as old as that one was, and a little.
    engine.take(look(vec![item(at(30), 3)], 4), now(100));
    assert!(told(&mut engine).is_empty());
    assert_eq!(engine.due_ms(now(100)), Some(40));
    engine.take(look(vec![item(at(20), 4)], 5), now(120));
    engine.tick(now(139));
    assert_eq!(told(&mut engine), ["4"]);
    engine.tick(now(140));
    assert_eq!(told(&mut engine), ["3"]);
    // A clock that is ahead holds a record as long, and no longer.
    engine.take(look(vec![item(at(500_000), 5)], 6), now(1_000));
    assert_eq!(engine.due_ms(now(1_000)), Some(110));
    engine.tick(now(1_109));
    assert!(told(&mut engine).is_empty());
    engine.tick(now(1_110));
    assert_eq!(told(&mut engine), ["5"]);
}

#[test]
fn who_is_at_rest_has_nothing_that_waits() {
    let mut engine = engine(0);
    assert!(engine.is_at_rest());
    engine.take(look(vec![item(5, 0)], 1), now(0));
    assert!(!engine.is_at_rest(), "a record waits for credit");
    engine.credit(1);
    assert_eq!(told(&mut engine), ["0"]);
    assert!(engine.is_at_rest());
}

#[test]
fn what_waits_of_a_task_is_gone_with_the_task() {
    let of_task = |id: &str, time_us: i64, offset: u64| {
        let body = format!(r#"{{"taskId":"{id}"}}"#);
        let record = Record {
            time_us,
            original_time_us: None,
            level: Level::Info,
            flags: Flags::default(),
            origin: Origin::default().id(),
            id: at(time_us, offset).id,
            body: body.as_bytes(),
        };
        Item { task: TaskKey::of(&record, &Origin::default()), ..item(time_us, offset) }
    };
    let mut deleted = DeletedTasks::default();
    let origin = Origin::default();
    deleted.insert(&origin.tenant, &origin.namespace, "a");
    for credit in 0..=5 {
        let mut engine = engine(1);
        engine.take(look(vec![of_task("a", 1, 0), of_task("b", 2, 1), item(3, 2)], 3), now(0));
        engine.take(look(vec![of_task("a", 4, 3), of_task("a", 5, 4)], 5), now(1));
        engine.take(look(vec![of_task("b", 6, 5)], 6), now(2));
        engine.take(look(vec![of_task("a", 7, 6)], 7), now(3));
        assert!(engine.has_task());
        assert_eq!(told(&mut engine), ["0"], "before the deletion");
        engine.forget(&deleted);
        engine.credit(credit);
        let all = ["1", "2", "5"];
        let shown = all.len().min(credit as usize);
        assert_eq!(told(&mut engine), all[..shown]);
        // Who comes back with the cursor gets what is not shown yet, and what was to be shown only.
        let is_after = |time_us: i64, offset: u64| engine.cursor().has(at(time_us, offset));
        assert_eq!(
            [(2, 1), (3, 2), (6, 5)].map(|(time, offset)| is_after(time, offset)),
            [0, 1, 2].map(|n| n < shown)
        );
        assert_eq!(is_after(7, 6), shown == 3, "the place behind what is gone");
        assert_eq!(engine.has_task(), shown < 3);
    }
    // In the window, too.
    let mut engine = engine(ALL);
    engine.take(look(vec![item(now(0).wall_us, 0)], 1), now(0));
    assert_eq!(told(&mut engine), ["0"]);
    engine.take(look(vec![item(now(0).wall_us - 80_000, 1)], 2), now(20));
    engine.tick(now(30));
    assert_eq!(told(&mut engine), ["~1"]);
    engine.take(look(vec![of_task("a", now(100).wall_us, 2), item(now(100).wall_us, 3)], 4), now(100));
    assert!(told(&mut engine).is_empty() && engine.has_task());
    engine.forget(&deleted);
    engine.tick(now(1_000));
    assert_eq!(told(&mut engine), ["3"]);
}

#[test]
fn a_reader_without_credit_is_told_how_many_it_does_not_see() {
    let mut engine = engine(3);
    let mut offset = 0;
    let mut some = |count: u64| {
        let items = (offset..offset + count).map(|n| item(n.cast_signed(), n)).collect();
        offset += count;
        look(items, offset)
    };
    engine.take(some(2_500), now(0));
    assert_eq!(told(&mut engine), ["0", "1", "2"]);
    engine.take(some(10), now(10));
    engine.credit(1_999);
    assert_eq!(told(&mut engine).len(), 1_999);
    // Room is made, but what was told as a gap stays one, in one piece.
    engine.take(some(5), now(20));
    engine.credit(10);
    let rest = told(&mut engine);
    assert_eq!(rest, ["2002", "gap(507)", "2510", "2511", "2512", "2513", "2514"]);
    engine.credit(1);
    engine.take(some(1), now(30));
    assert_eq!(told(&mut engine), ["2515"]);
}

#[test]
fn what_waits_is_bounded_in_bytes_too_and_a_pause_takes_all_credit() {
    let mut engine = engine(ALL);
    engine.pause();
    let items = (0..10_u64).map(|n| sized(n.cast_signed(), n, 1 << 20)).collect();
    engine.take(look(items, 10), now(0));
    assert!(told(&mut engine).is_empty());
    engine.credit(100);
    assert_eq!(told(&mut engine), ["0", "1", "2", "gap(7)"]);
}

#[test]
fn a_frame_is_not_longer_than_its_bound_unless_one_record_is() {
    let mut engine = engine(ALL);
    let items = [100_000, 100_000, 100_000, 900_000, 10]
        .iter()
        .zip(0..)
        .map(|(bytes, n)| sized(n, n.cast_unsigned(), *bytes));
    engine.take(look(items.collect(), 5), now(0));
    let mut frames = Vec::new();
    while let Some(Out::Records { items, .. }) = engine.next() {
        frames.push(items.len());
    }
    assert_eq!(frames, [2, 1, 1, 1]);
}

#[test]
fn what_was_sealed_unseen_and_what_came_late_during_a_cut_is_told() {
    let mut engine = engine(ALL);
    engine.take(look(vec![item(5, 0)], 1), now(0));
    engine.take(Look { is_lost: true, ..look(vec![item(9, 3)], 4) }, now(10));
    assert_eq!(told(&mut engine), ["0", "gap(?)", "3"]);
    engine.take(Look { unknown_before: Some(at(7, 0)), ..look(vec![item(8, 5)], 6) }, now(20));
    let Some(Out::Gap { gap, .. }) = engine.next() else { panic!("no gap") };
    assert_eq!(gap, Gap { from_us: None, to_us: 7, count: None, why: Why::Restart });
}

#[derive(Clone, Debug)]
enum Act {
    /// So many records with these times, relative to the wall clock.
    Look(Vec<i64>),
    Wait(u64),
    Tick,
    Credit(u64),
    Pause,
    Show(usize),
    /// The stream is cut, and goes on from its last cursor.
    Cut,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => prop::collection::vec(-3 * SECOND..SECOND, 0..40).prop_map(Act::Look),
        4 => prop::collection::vec(-SECOND / 4..SECOND / 20, 0..40).prop_map(Act::Look),
        1 => prop::collection::vec(-3 * SECOND..SECOND, 1_500..3_000).prop_map(Act::Look),
        4 => (0_u64..400).prop_map(Act::Wait),
        2 => Just(Act::Tick),
        4 => (0_u64..700).prop_map(Act::Credit),
        1 => Just(Act::Pause),
        4 => (0_usize..5).prop_map(Act::Show),
        1 => Just(Act::Cut),
    ]
}

/// What a reader knows.
#[derive(Default)]
struct Reader {
    shown: BTreeSet<Cursor>,
    counted: u64,
    newest: Option<Cursor>,
}

impl Reader {
    fn sees(&mut self, out: Out, credit: &mut u64, stored: &[Item]) -> Result<(), TestCaseError> {
        let cursor = match out {
            Out::Records { items, is_late, cursor } => {
                prop_assert!(items.len() as u64 <= *credit, "more than there is credit for");
                prop_assert!(items.is_sorted_by_key(|item| item.at));
                *credit -= items.len() as u64;
                for item in &items {
                    prop_assert!(self.shown.insert(item.at), "{} comes twice", item.at);
                    prop_assert!(
                        is_late || self.newest.is_none_or(|newest| newest < item.at),
                        "late, and not told"
                    );
                    self.newest = self.newest.max(Some(item.at));
                }
                cursor
            }
            Out::Gap { gap, cursor } => {
                self.counted += gap.count.unwrap_or_default();
                cursor
            }
            Out::CaughtUp { cursor } => cursor,
        };
        let cursor: StreamCursor =
            cursor.to_string().parse().map_err(|_| TestCaseError::fail("no cursor"))?;
        let told = stored.iter().filter(|item| cursor.has(item.at)).count() as u64;
        prop_assert!(self.shown.iter().all(|at| cursor.has(*at)), "a cursor forgets what was shown");
        prop_assert_eq!(
            told,
            self.shown.len() as u64 + self.counted,
            "a cursor says more or less than was told"
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_record_is_shown_once_or_counted(acts in prop::collection::vec(act(), 1..60)) {
        let mut stored: Vec<Item> = Vec::new();
        let (mut ms, mut credit) = (0, 0);
        let mut reader = Reader::default();
        let mut engine = Engine::new(StreamCursor::of(upto(0), now(0).wall_us), 0);
        let end = [Act::Look(Vec::new()), Act::Wait(2_000), Act::Look(Vec::new()), Act::Credit(1_000_000), Act::Show(usize::MAX)];
        for act in acts.into_iter().chain(end) {
            match act {
                Act::Look(times) => {
                    let from = stored.len();
                    stored.extend(times.iter().zip(from as u64..).map(|(time, offset)| item(now(ms).wall_us + time, offset)));
                    engine.take(look(stored[from..].to_vec(), stored.len() as u64), now(ms));
                }
                Act::Wait(more) => ms += more,
                Act::Tick => engine.tick(now(ms)),
                Act::Credit(more) => {
                    engine.credit(more);
                    credit += more;
                }
                Act::Pause => {
                    engine.pause();
                    credit = 0;
                }
                Act::Show(frames) => {
                    for _ in 0..frames {
                        let Some(out) = engine.next() else { break };
                        reader.sees(out, &mut credit, &stored)?;
                    }
                }
                Act::Cut => {
                    let cursor: StreamCursor = engine.cursor().to_string().parse().unwrap();
                    let first = cursor.first().cloned().unwrap_or_default();
                    engine = Engine::new(cursor, 0);
                    credit = 0;
                    reader.newest = None;
                    // As the feed: what was stored since the first step's place, whatever was shown of it.
                    let since: Vec<Item> = stored.iter().filter(|item| !first.has(item.at)).cloned().collect();
                    engine.take(look(since, stored.len() as u64), now(ms));
                }
            }
        }
        prop_assert_eq!(reader.shown.len() as u64 + reader.counted, stored.len() as u64);
    }
}
