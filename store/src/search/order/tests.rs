//! Every block once, in order, whatever the statements' limits are and however often one took too long.

use cordwood_core::filter::Filter;
use proptest::prelude::*;

use super::super::ground::Span;
use super::*;
use crate::scope::{AdminReason, Scope};
use crate::search::page::{Page, TimeRange};

/// A block without anything but its place: class (none: fresh), begin and end.
type Placed = (Option<i32>, i64, i64);

/// What is known of how wide the blocks of both classes are.
type Widths = [Option<i64>; 2];

/// Two classes with leaves of 10 and of 40.
fn leaves(class: i32, widths: Widths) -> Vec<Span> {
    let (leaf_us, width) = if class == 1 { (10, widths[0]) } else { (40, widths[1]) };
    (0..120 / leaf_us).map(|leaf| Span::new(class, (leaf * leaf_us, (leaf + 1) * leaf_us), width)).collect()
}

fn blocks() -> impl Strategy<Value = Vec<Placed>> {
    let block = (prop_oneof![Just(None), Just(Some(1)), Just(Some(2))], 0..120i64, 0..60i64);
    prop::collection::vec(block.prop_map(|(class, from, width)| (class, from, from + width)), 0..60)
}

fn widths() -> impl Strategy<Value = Widths> {
    [prop::option::of(0..10i64), prop::option::of(0..40i64)]
}

fn has(ground: &Ground, class: i32, to: i64) -> bool {
    if !ground.named.is_empty() {
        let all = leaves(class, [None; 2]);
        let of = all.iter().find(|leaf| (leaf.from_us..leaf.to_us).contains(&to));
        return of.is_some_and(|leaf| ground.named.iter().any(|(key, _)| *key == (class, leaf.from_us)));
    }
    let is_within = |&(from_us, to_us): &(i64, i64)| (from_us..to_us).contains(&to);
    ground.classes.contains(&class) && (ground.within_us.is_empty() || ground.within_us.iter().any(is_within))
}

/// What PostgreSQL would answer.
fn answer(blocks: &[Placed], look: &Look<'_>, direction: Direction) -> Listed {
    let mut seen: Vec<(i64, i64, i64)> = Vec::new();
    for (id, (class, from, to)) in (0i64..).zip(blocks) {
        let listed = match (&look.sealed, class) {
            (None, None) => true,
            (Some(grounds), Some(class)) => grounds.iter().any(|ground| has(ground, *class, *to)),
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
        head: None,
        records: None,
    });
    Listed { candidates: candidates.collect(), stopped_at }
}

proptest! {
    /// `indexed`: which table partitions have an index; those of them that hold no block are not looked at.
    #[test]
    fn every_block_comes_once_and_in_order(
        mut blocks in blocks(),
        indexed in prop::collection::vec(any::<bool>(), 16),
        widths in widths(),
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
        let mut both = Chunk { classes: vec![1, 2], leaves: [leaves(1, widths), leaves(2, widths)].concat() };
        for (leaf, is_indexed) in both.leaves.iter_mut().zip(indexed) {
            leaf.index = is_indexed.then_some(Indexed { leaf: (leaf.class, leaf.from_us), blocks: 0, is_whole: true });
        }
        for (class, from, to) in &mut blocks {
            *to = class.map_or(*to, |class| end_above(&leaves(class, widths), *from) - 1).min(*to);
        }
        let held = |leaf: &Span| blocks.iter().any(|(class, _, to)| *class == Some(leaf.class) && (leaf.from_us..leaf.to_us).contains(to));
        // Every other one that holds a block is asked for the blocks by their ids.
        let ids = |leaf: &Span| if held(leaf) { 0..if leaf.from_us % 20 == 0 { 1 } else { 1_000 } } else { 0..0 };
        let of_leaves = both.leaves.iter().filter_map(|leaf| Some((leaf.index?.leaf, ids(leaf))));
        let told = Told { leaves: of_leaves.collect(), ..Told::default() };
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
            stream.next_window(&wanted);
            let answered = answer(&blocks, &stream.look(Some(&told)).unwrap(), direction);
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

/// A leaf of many blocks that are known to be narrow: a page that begins within looks at few that it does not need, and its end can
/// come soon after its begin. Where nothing is known, all the later ones of the leaf are looked at.
#[test]
fn a_page_that_begins_within_a_large_leaf_looks_at_few_blocks() {
    const BLOCKS: i64 = 20_000;
    const NARROW: i64 = 30;
    let blocks: Vec<Placed> = (0..BLOCKS).map(|n| (Some(1), 10 * n, 10 * n + n % NARROW)).collect();
    let leaf_us = 20 * BLOCKS;
    // Rows until the search has made way since its begin, and until it is at its end.
    let looked_at = |direction: Direction, width: Option<i64>| {
        let page = Page { direction, ..Page::first(1) };
        let middle = 5 * BLOCKS;
        let range = match direction {
            Direction::NewestFirst => TimeRange { from_us: None, to_us: Some(middle) },
            Direction::OldestFirst => TimeRange { from_us: Some(middle), to_us: None },
        };
        let wanted = Wanted::new(&Scope::all(AdminReason::Audit), &Filter::all(), range, page).unwrap();
        let chunk = Chunk { classes: vec![1], leaves: vec![Span::new(1, (0, leaf_us), width)] };
        let mut order = Order::new(&wanted, vec![chunk]);
        let (mut begin, mut all) = (None, 0);
        while let Some(place) = order.behind() {
            if begin.is_none() && order.next_at_us().is_some_and(|time_us| wanted.is_past_begin(time_us)) {
                begin = Some(all);
            }
            let stream = &mut order.streams[place];
            stream.next_window(&wanted);
            let look = stream.look(None).unwrap();
            let sealed = look.sealed.is_some();
            let answered = answer(&blocks, &Look { begins_to_us: i64::MAX, ..look.clone() }, direction);
            all += if sealed { answered.candidates.len() } else { 0 };
            let candidates =
                answered.candidates.into_iter().filter(|block| block.time_from_us <= look.begins_to_us);
            let answered = Listed { candidates: candidates.collect(), ..answered };
            stream.saw(&wanted, answered);
        }
        (begin.unwrap_or(all), all)
    };
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let (begin, all) = looked_at(direction, Some(NARROW));
        assert!(begin <= 2 * ROWS_FIRST, "{direction:?}: {begin} rows before it has made way");
        assert!(all <= 12_000, "{direction:?}: {all} rows for half of {BLOCKS}");
        let (begin, _) = looked_at(direction, None);
        assert!(begin >= 9_000, "{direction:?}: {begin} rows where no width is known");
    }
}
