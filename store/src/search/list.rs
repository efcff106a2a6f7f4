//! One statement that lists blocks without their payloads, in the order of time, under tenant scope, time, levels and the bloom
//! filters, or what the indexes of segments told. It looks at a bounded number of blocks, whatever it finds among them.

use std::ops::Range;
use std::sync::Arc;

use cordwood_core::level::Level;
use cordwood_core::retention::class::{ClassId, leaf_table};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use super::ground::Ground;
use super::index::{ByIndexes, Told};
use super::page::Direction;
use super::wanted::{Blocks, Wanted, timestamp};
use crate::contents::LeafKey;
use crate::error::StoreError;
use crate::ring::IS_FRESH;

/// For the transaction of a search. Blocks come in the order of the indexes, so that a list ends with its limit.
pub(super) const SETTINGS: &str =
    "set local enable_sort = off; set local max_parallel_workers_per_gather = 0; set local jit = off";
/// Fresh blocks of a ring that are looked for one by one.
const FRESH_MAX: usize = 512;

/// A block that may hold hits.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub id: i64,
    pub time_from_us: i64,
    pub time_to_us: i64,
    /// Unpacked.
    pub raw_bytes: u64,
    /// 0: it has none.
    pub postings_bytes: u64,
    /// The table that it lies in, quoted, and the place there.
    pub table: String,
    pub ctid: String,
    /// Where it [is asked for](Wanted::with_heads).
    pub head: Option<Head>,
    /// Which of its records may be hits, ascending, where an index [told](Told::records); `None`: each may.
    pub records: Option<Arc<[Range<u32>]>>,
}

/// What a block says of all of its records.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub tenant: String,
    /// `None`: they have several.
    pub level: Option<Level>,
    pub count: u64,
}

impl Head {
    fn of(row: &tokio_postgres::Row) -> Head {
        let mask = row.get::<_, i16>(11);
        let level = Level::ALL.into_iter().find(|level| i16::from(level.bit()) == mask);
        Head { tenant: row.get(9), level, count: row.get::<_, i32>(10).max(0).unsigned_abs().into() }
    }
}

impl Candidate {
    /// None of its records comes before this in the direction.
    pub fn edge_us(&self, direction: Direction) -> i64 {
        match direction {
            Direction::NewestFirst => self.time_to_us,
            Direction::OldestFirst => self.time_from_us,
        }
    }
}

/// Which blocks a statement looks at.
#[derive(Clone, Debug)]
pub(super) struct Look<'a> {
    /// Where sealed ones are; `None`: fresh ones.
    pub sealed: Option<Vec<Ground>>,
    /// They end between these times, inclusive.
    pub ends_from_us: i64,
    pub ends_to_us: i64,
    /// And begin at this time or before.
    pub begins_to_us: i64,
    /// Beyond this (time to, id) in the direction.
    pub beyond: Option<(i64, i64)>,
    /// So many of them.
    pub rows: usize,
    /// What indexes told of those of some tables.
    pub told: Option<&'a Told>,
}

/// `$9` and `$10` of a statement for which indexes told something.
const INDEXED: &str = "(tableoid <> all($9) or id = any($10))";
/// The same where they told of all blocks.
const TOLD: &str = "id = any($10)";

/// What a statement saw.
#[derive(Debug)]
pub(super) struct Listed {
    pub candidates: Vec<Candidate>,
    /// Where it stopped because it had looked at as many as it may; `None`: it saw all.
    pub stopped_at: Option<(i64, i64)>,
}

/// Which rows of a ring can be fresh. Rings hold obsolete rows long before they are emptied: unless the fresh ones are many,
/// nothing older than the oldest of them is looked at.
fn not_older_than_fresh(ring: i16) -> String {
    format!(
        "time_to >= (select case when count(*) < {FRESH_MAX} then coalesce(min(time_to), 'infinity') else '-infinity' end \
                     from (select few.time_to from seals s cross join lateral ( \
                             select time_to from ring_{ring} where lane = s.lane and seq > s.upto \
                             order by seq limit {FRESH_MAX}) few \
                           limit {FRESH_MAX}) few)"
    )
}

fn statement(wanted: &Wanted, look: &Look<'_>) -> Result<String, StoreError> {
    let (order, beyond) = match wanted.direction {
        Direction::NewestFirst => ("time_to desc, id desc", "time_to <= $5 and (time_to, id) < ($5, $6)"),
        Direction::OldestFirst => ("time_to, id", "time_to >= $5 and (time_to, id) > ($5, $6)"),
    };
    let mut place = "time_to >= $1 and time_to <= $7".to_owned();
    if look.beyond.is_some() {
        // The first half is for the planner, which then leaves out table partitions.
        place.push_str(&format!(" and {beyond}"));
    }
    if wanted.one_tenant() {
        place.push_str(" and tenant = ($4::text[])[1]");
    }
    let rows = look.rows;
    let heads = if wanted.heads { ", tenant, count, level_mask" } else { "" };
    // Whether a block is a hit is asked of each that the limit lets through, in the place where the limit counts: so much is read
    // and no more, also when nothing is hit.
    let branch = |table: &str, place: &str, postings: &str, hit: &str| {
        format!(
            "(select id, time_from, time_to, tableoid as relation, ctid as place, raw_bytes, {postings} as postings_bytes, \
             ({hit}) as hit{heads} from {table} where {place} order by {order} limit {rows})"
        )
    };
    // By the name of the table: PostgreSQL plans this faster than a statement that finds the table below its parent. If the table was dropped
    // since its index was read, the search begins again.
    let named = |(leaf, ids): &(LeafKey, Range<usize>)| {
        let table = leaf_table(ClassId(leaf.0), leaf.1);
        let conditions = wanted.conditions(Blocks::Told("true"));
        let (from, to) = (ids.start + 1, ids.end);
        format!(
            "select id, time_from, time_to, tableoid as relation, ctid as place, raw_bytes, \
             coalesce(octet_length(postings), 0) as postings_bytes, ({conditions}) as hit{heads} \
             from {table} where id = any(($10::bigint[])[{from}:{to}]) and {place}"
        )
    };
    let sealed = |ground: &Ground| {
        if !ground.named.is_empty() {
            return Ok(format!(
                "({})",
                ground.named.iter().map(named).collect::<Vec<_>>().join(" union all ")
            ));
        }
        // Blocks of an index have no filter, whose probes the planner would copy for each table partition.
        let conditions = wanted.conditions(match ground.told {
            ByIndexes::All | ByIndexes::Few => Blocks::Told(TOLD),
            ByIndexes::Nothing => Blocks::Told("true"),
            ByIndexes::Some => Blocks::Filtered(if look.told.is_some() { INDEXED } else { "true" }),
        });
        let place = format!("{} and {place}", of(ground)?);
        Ok(branch("blocks", &place, "coalesce(octet_length(postings), 0)", &conditions))
    };
    let fresh = |ring| {
        let place = format!("{} and {place}", not_older_than_fresh(ring));
        let conditions = wanted.conditions(Blocks::Filtered("true"));
        branch(&format!("ring_{ring}"), &place, "0", &format!("{IS_FRESH} and {conditions}"))
    };
    let branches: Vec<String> = match &look.sealed {
        Some(grounds) => grounds.iter().map(sealed).collect::<Result<_, StoreError>>()?,
        None => (0..crate::ring::RINGS).map(fresh).collect(),
    };
    Ok(format!(
        "select id, time_from, time_to, relation::regclass::text, place::text, raw_bytes, postings_bytes, hit, n{heads} \
         from (select *, row_number() over () as n from ({}) looked_at order by {order} limit {rows}) numbered \
         where hit or n = {rows}",
        match &branches[..] {
            [one] => format!("select * from {one} one"),
            all =>
                format!("select * from ({}) together order by {order} limit {rows}", all.join(" union all ")),
        }
    ))
}

/// As constants: the planner leaves out table partitions before it locks them. The statement names their parent, which is there whatever becomes
/// of them.
fn of(ground: &Ground) -> Result<String, StoreError> {
    let within = |&(from_us, to_us): &(i64, i64)| {
        let (from, to) = (timestamp(from_us)?, timestamp(to_us)?);
        Ok(format!("(time_to >= timestamptz '{from}' and time_to < timestamptz '{to}')"))
    };
    let within = ground.within_us.iter().map(within).collect::<Result<Vec<_>, StoreError>>()?.join(" or ");
    let classes = numbers(&ground.classes);
    Ok(if within.is_empty() {
        format!("class in ({classes})")
    } else {
        format!("class in ({classes}) and ({within})")
    })
}

fn numbers(classes: &[i32]) -> String {
    classes.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) async fn list(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    look: Look<'_>,
) -> Result<Listed, StoreError> {
    let sql = statement(wanted, &look)?;
    let (from, to) = (timestamp(look.ends_from_us)?, timestamp(look.ends_to_us)?);
    let begins_to = timestamp(look.begins_to_us)?;
    let mask = i16::from(wanted.level_mask);
    let tenants = wanted.tenants.clone().unwrap_or_default();
    let (time, id) = look.beyond.unwrap_or_default();
    let time = timestamp(time)?;
    let of_grants = wanted.tenants_of_grants();
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (&from, Type::TIMESTAMPTZ),
        (&begins_to, Type::TIMESTAMPTZ),
        (&mask, Type::INT2),
        (&tenants, Type::TEXT_ARRAY),
        (&time, Type::TIMESTAMPTZ),
        (&id, Type::INT8),
        (&to, Type::TIMESTAMPTZ),
        (&of_grants, Type::TEXT_ARRAY),
    ];
    if let Some(told) = look.told {
        parameters.extend([
            (&told.tables as &(dyn ToSql + Sync), Type::OID_ARRAY),
            (&told.ids as &(dyn ToSql + Sync), Type::INT8_ARRAY),
        ]);
    }
    let rows = transaction
        .query_typed(&sql, &parameters)
        .await
        .map_err(StoreError::sql("list", "candidate blocks"))?;
    let time = |row: &tokio_postgres::Row, column| row.get::<_, jiff::Timestamp>(column).as_microsecond();
    let last = rows.last().filter(|row| row.get::<_, i64>(8) == look.rows as i64);
    let stopped_at = last.map(|row| (time(row, 2), row.get(0)));
    let hits = rows.iter().filter(|row| row.get::<_, bool>(7));
    let candidates = hits.map(|row| Candidate {
        id: row.get(0),
        time_from_us: time(row, 1),
        time_to_us: time(row, 2),
        table: row.get(3),
        ctid: row.get(4),
        raw_bytes: row.get::<_, i64>(5).max(0).unsigned_abs(),
        postings_bytes: row.get::<_, i32>(6).max(0).unsigned_abs().into(),
        head: wanted.heads.then(|| Head::of(row)),
        records: look.told.and_then(|told| told.records.get(&row.get(0)).cloned()),
    });
    Ok(Listed { candidates: candidates.collect(), stopped_at })
}
