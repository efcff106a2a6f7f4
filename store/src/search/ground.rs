//! The ground that a search stands on: the retention classes that can hold what is wanted, and how the time is cut into windows
//! of a bounded number of table partitions, because PostgreSQL plans and locks each of a statement.
//!
//! Table partitions bound windows only: windows follow each other without a hole, whatever lies in them.

use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use super::wanted::{Wanted, timestamp};
use crate::error::StoreError;

/// Classes of one statement at the most: each has a table partition at any time.
const CLASSES_MAX: usize = 64;

/// A table partition: from, and up to but without.
pub(super) type Span = (i64, i64);

/// Some classes that are listed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub classes: Vec<i32>,
    pub leaves: Vec<Span>,
}

/// The classes whose table partitions reach into the wanted time.
pub(super) async fn chunks(transaction: &Transaction<'_>, wanted: &Wanted) -> Result<Vec<Chunk>, StoreError> {
    // What sealing noted tells which of them hold blocks, and of whom, unless an older version sealed last.
    let sql = "select l.class, l.time_from, l.time_to from leaves l join classes c on c.id = l.class \
               where l.detached is null and c.level = any($1) and l.time_to > $2 and l.time_from <= $3 and case \
                 when (select n.round is distinct from r.round from ring_ctl r left join contents_of n on true) then true \
                 when $4 then exists (select from sealed_leaves s where s.class = l.class and s.time_from = l.time_from) \
                 else exists (select from leaf_tenants t \
                              where t.tenant = any($5) and t.class = l.class and t.time_from = l.time_from) end \
               order by l.class, l.time_from";
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
        .query_typed(sql, &parameters)
        .await
        .map_err(StoreError::sql("read", "the table partitions"))?;
    let time =
        |row: &tokio_postgres::Row, column: usize| row.get::<_, jiff::Timestamp>(column).as_microsecond();
    let leaves = rows.iter().map(|row| (row.get(0), (time(row, 1), time(row, 2))));
    Ok(cut(leaves, wanted.to_us))
}

/// Classes whose table partitions around the upper bound end together are listed together, so that no statement reaches further
/// above that bound than it has to.
fn cut(leaves: impl Iterator<Item = (i32, Span)>, to_us: i64) -> Vec<Chunk> {
    let mut classes: Vec<(i64, i32, Vec<Span>)> = Vec::new();
    for (class, leaf) in leaves {
        match classes.last_mut() {
            Some((end, known, spans)) if *known == class => {
                *end = end_above(std::slice::from_ref(&leaf), to_us).max(*end);
                spans.push(leaf);
            }
            _ => classes.push((end_above(std::slice::from_ref(&leaf), to_us), class, vec![leaf])),
        }
    }
    classes.sort_by_key(|(end, class, _)| (*end, *class));
    let mut chunks: Vec<(i64, Chunk)> = Vec::new();
    for (end, class, leaves) in classes {
        match chunks.last_mut() {
            Some((same, chunk)) if *same == end && chunk.classes.len() < CLASSES_MAX => {
                chunk.classes.push(class);
                chunk.leaves.extend(leaves);
            }
            _ => chunks.push((end, Chunk { classes: vec![class], leaves })),
        }
    }
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

/// Blocks with records at or before `time_us` end before this.
pub(super) fn end_above(leaves: &[Span], time_us: i64) -> i64 {
    let above = leaves.iter().filter(|(from, to)| *from <= time_us && *to > time_us);
    above.map(|(_, to)| *to).max().unwrap_or(time_us.saturating_add(1))
}

impl Chunk {
    /// Down from `to_us` (inclusive): where a window of so many table partitions begins, inclusive. `from_us`: the last begins here.
    pub fn window_down(&self, to_us: i64, from_us: i64, leaves_max: usize) -> i64 {
        let mut ends: Vec<i64> =
            self.leaves.iter().filter(|(from, _)| *from <= to_us).map(|(_, to)| *to).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(leaves_max).map_or(from_us, |end| (*end).max(from_us)).min(to_us)
    }

    /// Up from `from_us`: where a window of so many table partitions ends, without that.
    pub fn window_up(&self, from_us: i64, to_us: i64, leaves_max: usize) -> i64 {
        let mut begins: Vec<i64> =
            self.leaves.iter().filter(|(_, to)| *to > from_us).map(|(from, _)| *from).collect();
        begins.sort_unstable();
        let end = to_us.saturating_add(1);
        begins.get(leaves_max).map_or(end, |begin| (*begin).min(end)).max(from_us.saturating_add(1))
    }

    /// Table partitions that a statement over these times (inclusive) looks at.
    pub fn leaves_between(&self, from_us: i64, to_us: i64) -> usize {
        self.leaves.iter().filter(|(from, to)| *from <= to_us && *to > from_us).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hourly leaves of class 1, leaves of four hours of class 2.
    fn leaves() -> Vec<(i32, Span)> {
        let hourly = (0..8).map(|hour| (1, (hour * 10, (hour + 1) * 10)));
        let longer = (0..2).map(|part| (2, (part * 40, (part + 1) * 40)));
        hourly.chain(longer).collect()
    }

    #[test]
    fn classes_that_reach_equally_far_are_listed_together() {
        // In the middle of an hour the longer leaf reaches further.
        let chunks = cut(leaves().into_iter(), 15);
        let classes: Vec<_> = chunks.iter().map(|chunk| chunk.classes.clone()).collect();
        assert_eq!(classes, [[1], [2]]);
        assert_eq!(end_above(&chunks[0].leaves, 15), 20);
        assert_eq!(end_above(&chunks[1].leaves, 15), 40);
        // At the end of both, and above all of them.
        for to_us in [35, 79, 500] {
            assert_eq!(cut(leaves().into_iter(), to_us).len(), 1, "{to_us}");
        }
        let many = (0..130).map(|class| (class, (0, 10)));
        let sizes: Vec<_> = cut(many, 5).iter().map(|chunk| chunk.classes.len()).collect();
        assert_eq!(sizes, [64, 64, 2]);
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
                assert!(chunk.leaves_between(from, to) <= leaves_max.max(2), "{from}..={to}");
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
                assert!(chunk.leaves_between(from, to - 1) <= leaves_max.max(2), "{from}..{to}");
                seen += to - from;
                from = to;
            }
            assert_eq!(seen, 506);
        }
    }
}
