//! Every block once, in order, whatever the statements' limits are and however often one took too long.

use cordwood_core::filter::Filter;
use proptest::prelude::*;

use super::*;
use crate::scope::{AdminReason, Scope};
use crate::search::page::{Page, TimeRange};

/// A block without anything but its place: class (none: fresh), begin and end.
type Placed = (Option<i32>, i64, i64);

/// Two classes with leaves of 10 and of 40.
fn leaves(class: i32) -> Vec<(i64, i64)> {
    let width = if class == 1 { 10 } else { 40 };
    (0..120 / width).map(|leaf| (leaf * width, (leaf + 1) * width)).collect()
}

fn blocks() -> impl Strategy<Value = Vec<Placed>> {
    let block = (prop_oneof![Just(None), Just(Some(1)), Just(Some(2))], 0..120i64, 0..60i64);
    let within_its_leaf = |(class, from, width): (Option<i32>, i64, i64)| {
        let end = class.map_or(i64::MAX, |class| end_above(&leaves(class), from));
        (class, from, (from + width).min(end - 1))
    };
    prop::collection::vec(block.prop_map(within_its_leaf), 0..60)
}

/// What PostgreSQL would answer.
fn answer(blocks: &[Placed], look: &Look<'_>, direction: Direction) -> Listed {
    let mut seen: Vec<(i64, i64, i64)> = Vec::new();
    for (id, (class, from, to)) in (0i64..).zip(blocks) {
        let listed = match (look.classes, class) {
            (None, None) => true,
            (Some(classes), Some(class)) => classes.contains(class),
            _ => false,
        };
        let beyond = look.beyond.is_none_or(|beyond| direction.is_before(beyond, (*to, id)));
        if listed && beyond && (look.ends_from_us..=look.ends_to_us).contains(to) {
            seen.push((*to, id, *from));
        }
    }
    seen.sort_unstable();
    if direction == Direction::NewestFirst {
        seen.reverse();
    }
    seen.truncate(look.rows);
    let stopped_at = seen.last().filter(|_| seen.len() == look.rows).map(|(to, id, _)| (*to, *id));
    let hits = seen.into_iter().filter(|(_, _, from)| *from <= look.begins_to_us);
    let candidates = hits.map(|(to, id, from)| Candidate {
        id,
        time_from_us: from,
        time_to_us: to,
        raw_bytes: 1,
        postings_bytes: 0,
        table: String::new(),
        ctid: String::new(),
    });
    Listed { candidates: candidates.collect(), stopped_at }
}

proptest! {
    #[test]
    fn every_block_comes_once_and_in_order(
        blocks in blocks(),
        rows in 1..5usize,
        (from, to) in (-10..130i64, -10..130i64),
        is_up in any::<bool>(),
        slow in prop::collection::vec(any::<bool>(), 0..12),
    ) {
        let direction = if is_up { Direction::OldestFirst } else { Direction::NewestFirst };
        let (from, to) = (from.min(to), from.max(to));
        let range = TimeRange { from_us: Some(from), to_us: Some(to + 1) };
        let page = Page { direction, ..Page::first(1) };
        let wanted = Wanted::new(&Scope::all(AdminReason::Audit), &Filter::all(), range, page).unwrap();
        let both = Chunk { classes: vec![1, 2], leaves: [leaves(1), leaves(2)].concat() };
        let mut order = Order::new(&wanted, vec![both]);
        order.streams.iter_mut().for_each(|stream| (stream.rows, stream.leaves_max) = (rows, 2));
        let (mut given, mut statements) = (Vec::<Candidate>::new(), 0);
        while let Some(place) = order.behind() {
            statements += 1;
            prop_assert!(statements < 3_000, "it does not end");
            if slow.get(statements % 13) == Some(&true) {
                order.shrink();
                order.streams[place].rows = rows;
                if statements % 2 == 0 {
                    continue;
                }
            }
            let stream = &mut order.streams[place];
            let answered = answer(&blocks, &stream.look(&wanted).0, direction);
            let listed = stream.saw(&wanted, answered);
            order.held.extend(listed);
            given.extend(order.ready());
            if let (Some(next), Some(last)) = (order.next_at_us(), given.last()) {
                prop_assert!(direction.is_before(last.edge_us(direction), next));
            }
        }
        prop_assert!(order.held.is_empty());
        let edges: Vec<i64> = given.iter().map(|block| block.edge_us(direction)).collect();
        prop_assert!(edges.windows(2).all(|pair| !direction.is_before(pair[1], pair[0])), "{edges:?}");
        let mut ids: Vec<i64> = given.iter().map(|block| block.id).collect();
        ids.sort_unstable();
        let overlapping = (0i64..).zip(&blocks).filter(|(_, (_, begin, end))| *begin <= to && *end >= from);
        prop_assert_eq!(ids, overlapping.map(|(id, _)| id).collect::<Vec<_>>());
    }
}
