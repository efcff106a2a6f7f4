//! The ground that a search stands on: the retention classes that can hold what is wanted, and how the time is cut into windows
//! of a bounded number of table partitions, because PostgreSQL plans and locks each of a statement.
//!
//! Table partitions bound windows only: windows follow each other without a hole, whatever lies in them.

use std::ops::Range;

use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use super::index::{ByIndexes, Indexed, Told};
use super::wanted::{Wanted, timestamp};
use crate::contents::{LeafKey, WIDTH_US};
use crate::error::StoreError;

/// Classes of one statement at the most: each has a table partition at any time.
const CLASSES_MAX: usize = 64;

/// A table partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub class: i32,
    pub from_us: i64,
    /// Exclusive.
    pub to_us: i64,
    /// No block of it ends later after its begin.
    pub width_us: i64,
    /// Blocks of it are in an index.
    pub index: Option<Indexed>,
}

impl Span {
    /// `width_us`: of its widest block, if that is known.
    pub fn new(class: i32, (from_us, to_us): (i64, i64), width_us: Option<i64>) -> Span {
        let all_us = to_us.saturating_sub(from_us);
        let width_us = width_us.map_or(all_us, |width_us| width_us.clamp(0, all_us));
        Span { class, from_us, to_us, width_us, index: None }
    }

    fn has(&self, time_us: i64) -> bool {
        (self.from_us..self.to_us).contains(&time_us)
    }
}

/// Some classes that are listed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub classes: Vec<i32>,
    pub leaves: Vec<Span>,
}

/// Where a statement looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ground {
    pub classes: Vec<i32>,
    /// In table partitions within these times (without their ends), ascending; none: wherever they are.
    pub within_us: Vec<(i64, i64)>,
    /// Table partitions that are known of.
    pub leaves: usize,
    pub told: ByIndexes,
    /// These table partitions alone, and of each the blocks that it is about, as a range of [`Told::ids`]; empty: as the rest says.
    pub named: Vec<(LeafKey, Range<usize>)>,
}

/// The classes whose table partitions reach into the wanted time.
pub(super) async fn chunks(transaction: &Transaction<'_>, wanted: &Wanted) -> Result<Vec<Chunk>, StoreError> {
    // What sealing noted tells which of them hold blocks, how wide ones, and of whom, unless an older version sealed last.
    let sql = format!(
        "select l.class, l.time_from, l.time_to, case when not noted.incomplete then {WIDTH_US} end, \
           case when s.indexed_blocks > 0 and to_regclass( \
             'blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') || '_index') is not null \
           then s.indexed_blocks end, coalesce(not noted.incomplete and s.indexed_blocks = s.blocks, false) \
         from leaves l join classes c on c.id = l.class \
         cross join (select n.round is distinct from r.round from ring_ctl r left join contents_of n on true) as noted (incomplete) \
         left join sealed_leaves s on s.class = l.class and s.time_from = l.time_from \
         where l.detached is null and c.level = any($1) and l.time_to > $2 and l.time_from <= $3 and case \
           when noted.incomplete then true \
           when $4 then s.class is not null \
           else exists (select from leaf_tenants t \
                        where t.tenant = any($5) and t.class = l.class and t.time_from = l.time_from) end \
         order by l.class, l.time_from"
    );
    let levels = wanted.class_levels();
    let (from, to) = (timestamp(wanted.from_us)?, timestamp(wanted.to_us)?);
    let (any_tenant, tenants) = (wanted.tenants.is_none(), wanted.tenants.as_deref().unwrap_or_default());
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&levels, Type::INT2_ARRAY),
        (&from, Type::TIMESTAMPTZ),
        (&to, Type::TIMESTAMPTZ),
        (&any_tenant, Type::BOOL),
        (&tenants, Type::TEXT_ARRAY),
    ];
    let rows = transaction
        .query_typed(&sql, &parameters)
        .await
        .map_err(StoreError::sql("read", "the table partitions"))?;
    let time =
        |row: &tokio_postgres::Row, column: usize| row.get::<_, jiff::Timestamp>(column).as_microsecond();
    let leaf = |row: &tokio_postgres::Row| {
        let (class, from_us): (i32, i64) = (row.get(0), time(row, 1));
        let indexed = |blocks| Indexed { leaf: (class, from_us), blocks, is_whole: row.get(5) };
        let index = row.get::<_, Option<i64>>(4).map(indexed);
        Span { index, ..Span::new(class, (from_us, time(row, 2)), row.get(3)) }
    };
    Ok(cut(rows.iter().map(leaf), wanted.to_us))
}

/// Classes whose blocks reach about as far above the upper bound are listed together: no statement reaches more than twice as far
/// as it has to, and there are few statements however many classes.
fn cut(leaves: impl Iterator<Item = Span>, to_us: i64) -> Vec<Chunk> {
    let mut classes: Vec<(u32, i32, Vec<Span>)> = Vec::new();
    for leaf in leaves {
        let (class, reach) = (leaf.class, reach(&leaf, to_us));
        match classes.last_mut() {
            Some((farthest, known, spans)) if *known == class => {
                *farthest = reach.max(*farthest);
                spans.push(leaf);
            }
            _ => classes.push((reach, class, vec![leaf])),
        }
    }
    classes.sort_by_key(|(reach, class, _)| (*reach, *class));
    let mut chunks: Vec<(u32, Chunk)> = Vec::new();
    for (reach, class, leaves) in classes {
        match chunks.last_mut() {
            Some((same, chunk)) if *same == reach && chunk.classes.len() < CLASSES_MAX => {
                chunk.classes.push(class);
                chunk.leaves.extend(leaves);
            }
            _ => chunks.push((reach, Chunk { classes: vec![class], leaves })),
        }
    }
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

/// Digits of the time by which its blocks may reach above `to_us`.
fn reach(leaf: &Span, to_us: i64) -> u32 {
    let above_us = end_above(std::slice::from_ref(leaf), to_us).saturating_sub(to_us);
    i64::BITS - above_us.leading_zeros()
}

/// Blocks with records at or before `time_us` end before this.
pub(super) fn end_above(leaves: &[Span], time_us: i64) -> i64 {
    let above = leaves.iter().filter(|leaf| leaf.has(time_us));
    let ends = above.map(|leaf| time_us.saturating_add(leaf.width_us).saturating_add(1).min(leaf.to_us));
    ends.max().unwrap_or(time_us.saturating_add(1))
}

/// Blocks that end at `time_us` or later begin at this or later.
pub(super) fn begin_below(leaves: &[Span], time_us: i64) -> i64 {
    let below = leaves.iter().filter(|leaf| leaf.has(time_us));
    let begins = below.map(|leaf| time_us.saturating_sub(leaf.width_us).max(leaf.from_us));
    begins.min().unwrap_or(time_us)
}

impl Chunk {
    /// Down from `to_us` (inclusive): where a window of so many table partitions begins, inclusive. `from_us`: the last begins here.
    pub fn window_down(&self, to_us: i64, from_us: i64, leaves_max: usize) -> i64 {
        let mut ends: Vec<i64> =
            self.leaves.iter().filter(|leaf| leaf.from_us <= to_us).map(|leaf| leaf.to_us).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(leaves_max).map_or(from_us, |end| (*end).max(from_us)).min(to_us)
    }

    /// Up from `from_us`: where a window of so many table partitions ends, without that.
    pub fn window_up(&self, from_us: i64, to_us: i64, leaves_max: usize) -> i64 {
        let mut begins: Vec<i64> =
            self.leaves.iter().filter(|leaf| leaf.to_us > from_us).map(|leaf| leaf.from_us).collect();
        begins.sort_unstable();
        let end = to_us.saturating_add(1);
        begins.get(leaves_max).map_or(end, |begin| (*begin).min(end)).max(from_us.saturating_add(1))
    }

    /// Where blocks that end between these times (inclusive) have to be looked for, as far as indexes `told`: each block is in one of these
    /// at the most.
    pub fn grounds(&self, from_us: i64, to_us: i64, told: Option<&Told>) -> Vec<Ground> {
        let Some(told) = told else {
            let leaves = self.between(from_us, to_us).count();
            return vec![Ground { classes: self.classes.clone(), leaves, ..Ground::default() }];
        };
        let by_indexes = |leaf: &Span| leaf.index.map_or(Some(ByIndexes::Some), |index| told.of(&index));
        let left =
            self.between(from_us, to_us).filter_map(|leaf| Some((leaf.class, by_indexes(leaf)?, leaf)));
        let mut left: Vec<(i32, ByIndexes, &Span)> = left.collect();
        left.sort_unstable_by_key(|(class, told, leaf)| (*class, *told, leaf.from_us));
        let mut few = Ground { told: ByIndexes::Few, ..Ground::default() };
        let mut grounds: Vec<Ground> = Vec::new();
        for leaves in left.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (class, by_indexes, _) = leaves[0];
            if by_indexes == ByIndexes::Few {
                let ids = |key| told.leaves.get(&key).map(|ids| (key, ids.clone()));
                let named = leaves.iter().filter_map(|(_, _, leaf)| ids((leaf.class, leaf.from_us)));
                few.named.extend(named);
                continue;
            }
            let mut within_us: Vec<(i64, i64)> = Vec::new();
            for (_, _, leaf) in leaves {
                match within_us.last_mut() {
                    Some((_, end_us)) if *end_us == leaf.from_us => *end_us = leaf.to_us,
                    _ => within_us.push((leaf.from_us, leaf.to_us)),
                }
            }
            // Classes of the same times are looked through together.
            match grounds.iter_mut().find(|known| known.told == by_indexes && known.within_us == within_us) {
                Some(known) => {
                    known.classes.push(class);
                    known.leaves += leaves.len();
                }
                None => {
                    let (classes, leaves, told) = (vec![class], leaves.len(), by_indexes);
                    grounds.push(Ground { classes, within_us, leaves, told, named: Vec::new() });
                }
            }
        }
        if !few.named.is_empty() {
            few.leaves = few.named.len();
            grounds.push(few);
        }
        grounds
    }

    /// The table partitions of these times (inclusive) that have an index.
    pub fn indexed_between(&self, from_us: i64, to_us: i64) -> Vec<Indexed> {
        self.between(from_us, to_us).filter_map(|leaf| leaf.index).collect()
    }

    pub fn has_indexes(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.index.is_some())
    }

    fn between(&self, from_us: i64, to_us: i64) -> impl Iterator<Item = &Span> {
        self.leaves.iter().filter(move |leaf| leaf.from_us <= to_us && leaf.to_us > from_us)
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::FEW_BLOCKS;
    use super::*;

    /// Hourly leaves of class 1, leaves of four hours of class 2.
    fn leaves() -> Vec<Span> {
        let hourly = (0..8).map(|hour| Span::new(1, (hour * 10, (hour + 1) * 10), None));
        let longer = (0..2).map(|part| Span::new(2, (part * 40, (part + 1) * 40), None));
        hourly.chain(longer).collect()
    }

    #[test]
    fn what_indexes_told_empty_is_not_looked_at() {
        let of_leaf = |mut leaf: Span| {
            leaf.index =
                Some(Indexed { leaf: (leaf.class, leaf.from_us), blocks: 1, is_whole: leaf.from_us != 50 });
            leaf
        };
        let leaves: Vec<Span> = leaves().into_iter().filter(|leaf| leaf.from_us != 20).map(of_leaf).collect();
        let chunk = Chunk { classes: vec![1, 2], leaves };
        let ground = |classes: &[i32], within_us: &[(i64, i64)], leaves, told| Ground {
            classes: classes.to_vec(),
            within_us: within_us.to_vec(),
            leaves,
            told,
            named: Vec::new(),
        };
        let told = |leaves: &[(i32, i64, bool)]| {
            let many = |holds: bool| if holds { 7..7 + FEW_BLOCKS + 1 } else { 7..7 };
            let leaves = leaves.iter().map(|&(class, from_us, holds)| ((class, from_us), many(holds)));
            Told { leaves: leaves.collect(), ..Told::default() }
        };
        use ByIndexes::{All, Nothing, Some as Few};
        assert_eq!(chunk.grounds(0, 79, None), [ground(&[1, 2], &[], 9, Few)]);
        // The one of 50 has blocks that no index speaks of; nobody told of that of 60 and of the second class' second.
        let all = [(0, false), (10, true), (30, true), (40, true), (50, false), (70, false)];
        let all: Vec<_> =
            all.map(|(from_us, holds)| (1, from_us, holds)).into_iter().chain([(2, 0, false)]).collect();
        assert_eq!(
            chunk.grounds(0, 79, Some(&told(&all))),
            [
                ground(&[1], &[(50, 60)], 1, Few),
                ground(&[1], &[(60, 70)], 1, Nothing),
                ground(&[1], &[(10, 20), (30, 50)], 3, All),
                ground(&[2], &[(40, 80)], 1, Nothing),
            ]
        );
        assert_eq!(chunk.grounds(70, 75, Some(&told(&[(1, 70, false), (2, 40, false)]))), []);
        let around = told(&[(1, 30, false), (1, 40, false), (2, 0, true), (2, 40, true)]);
        assert_eq!(chunk.grounds(35, 45, Some(&around)), [ground(&[2], &[(0, 80)], 2, All)]);
        // Classes of the same times together.
        let mut same = chunk.clone();
        same.leaves.iter_mut().filter(|leaf| leaf.from_us == 40).for_each(|leaf| leaf.to_us = 80);
        same.leaves.retain(|leaf| leaf.from_us == 40);
        let both = told(&[(1, 40, true), (2, 40, true)]);
        assert_eq!(same.grounds(0, 79, Some(&both)), [ground(&[1, 2], &[(40, 80)], 2, All)]);
        // Where few blocks are named, these are asked for, of all classes in one.
        let mut few = both.clone();
        few.leaves.insert((2, 40), 3..5);
        few.leaves.insert((1, 40), 5..6);
        let named = vec![((1, 40), 5..6), ((2, 40), 3..5)];
        assert_eq!(
            same.grounds(0, 79, Some(&few)),
            [Ground { leaves: 2, told: ByIndexes::Few, named, ..Ground::default() }]
        );
    }

    #[test]
    fn classes_that_reach_equally_far_are_listed_together() {
        // In the middle of an hour the longer leaf reaches further, unless its blocks are known to be narrow.
        let chunks = cut(leaves().into_iter(), 15);
        let classes: Vec<_> = chunks.iter().map(|chunk| chunk.classes.clone()).collect();
        assert_eq!(classes, [[1], [2]]);
        assert_eq!(end_above(&chunks[0].leaves, 15), 20);
        assert_eq!(end_above(&chunks[1].leaves, 15), 40);
        // At the end of both, and above all of them.
        for to_us in [35, 79, 500] {
            assert_eq!(cut(leaves().into_iter(), to_us).len(), 1, "{to_us}");
        }
        let narrow =
            leaves().into_iter().map(|leaf| Span::new(leaf.class, (leaf.from_us, leaf.to_us), Some(3)));
        let together = cut(narrow, 15);
        assert_eq!(together.len(), 1);
        assert_eq!(end_above(&together[0].leaves, 15), 19);
        let many = (0..130).map(|class| Span::new(class, (0, 10), None));
        let sizes: Vec<_> = cut(many, 5).iter().map(|chunk| chunk.classes.len()).collect();
        assert_eq!(sizes, [64, 64, 2]);
    }

    #[test]
    fn blocks_reach_no_farther_than_they_are_wide() {
        let leaves = [(0, 100, Some(7)), (100, 200, None), (0, 1000, Some(0))]
            .map(|(from_us, to_us, width_us)| Span::new(1, (from_us, to_us), width_us));
        for (time, end, begin) in [(0, 8, 0), (50, 58, 43), (97, 100, 90), (100, 200, 100), (150, 200, 100)] {
            assert_eq!((end_above(&leaves, time), begin_below(&leaves, time)), (end, begin), "{time}");
        }
        assert_eq!((end_above(&leaves, 1000), begin_below(&leaves, 1000)), (1001, 1000));
        // What cannot be is cut to what can.
        assert_eq!(Span::new(1, (0, 10), Some(i64::MAX)).width_us, 10);
        assert_eq!(Span::new(1, (0, 10), Some(-1)).width_us, 0);
    }

    /// Windows down and up tile the time, and hold no more table partitions than they may where that is possible.
    #[test]
    fn windows_tile_the_time() {
        let chunk = cut(leaves().into_iter(), 500).remove(0);
        for leaves_max in [1, 2, 3, 100] {
            let (mut to, mut seen) = (500, 0);
            loop {
                let from = chunk.window_down(to, -5, leaves_max);
                assert!(from <= to);
                assert!(chunk.between(from, to).count() <= leaves_max.max(2), "{from}..={to}");
                seen += to - from + 1;
                if from == -5 {
                    break;
                }
                to = from - 1;
            }
            assert_eq!(seen, 506);
            let (mut from, mut seen) = (-5, 0);
            while from <= 500 {
                let to = chunk.window_up(from, 500, leaves_max);
                assert!(to > from);
                assert!(chunk.between(from, to - 1).count() <= leaves_max.max(2), "{from}..{to}");
                seen += to - from;
                from = to;
            }
            assert_eq!(seen, 506);
        }
    }
}
