//! Which blocks can hold what is wanted: listed newest first without their payloads, under tenant scope, time, levels and
//! the bloom filters; of many, those whose postings say that it may meet in one record; then the payloads of a few, from
//! the table where each lies.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cordwood_core::block::postings::{Postings, level_token};
use cordwood_core::filter::Filter;
use cordwood_core::level::Level;
use cordwood_core::tokens::{Token, probes_of};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use crate::error::StoreError;
use crate::scope::TenantScope;
use crate::search::{Cursor, TimeRange};

/// Blocks listed at a time: few first. Planning a statement over hundreds of leaves costs more than running it.
pub const LIMITS: [usize; 3] = [256, 1024, 4096];
/// For the transaction of a search. Blocks come in the order of the indexes, so that a list ends with its limit: the planner
/// cannot know how much a bloom filter lets through, takes it for nearly nothing, and would read every block to sort a few.
pub const SETTINGS: &str =
    "set local enable_sort = off; set local max_parallel_workers_per_gather = 0; set local jit = off";

/// What a search asks of a block and of a record before the filter is asked.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `None`: every tenant.
    tenants: Option<Vec<String>>,
    from_us: i64,
    /// Inclusive.
    to_us: i64,
    pub level_mask: u8,
    tokens: Vec<Vec<Token>>,
    pub after: Option<Cursor>,
}

/// A block that may hold hits.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub id: i64,
    pub time_to_us: i64,
    /// Unpacked.
    pub raw_bytes: u64,
    has_postings: bool,
    /// The table that it lies in, quoted, and the place there.
    table: String,
    ctid: String,
}

/// What a block holds.
#[derive(Debug)]
pub struct Payload {
    pub block: i64,
    pub bytes: Bytes,
}

/// PostgreSQL's timestamps reach from 4713 BC to 294276; ours stay well within.
const TIME_MIN_US: i64 = -62_135_596_800_000_000;
const TIME_MAX_US: i64 = 253_402_207_200_000_000;

impl Wanted {
    /// `None`: nothing can match.
    pub fn new(
        scope: &TenantScope,
        filter: &Filter,
        range: TimeRange,
        after: Option<Cursor>,
    ) -> Option<Wanted> {
        let plan = filter.plan();
        let from_us = range.from_us.unwrap_or(i64::MIN).max(plan.time_from_us).max(TIME_MIN_US);
        let mut to_us =
            range.to_us.map_or(i64::MAX, |to| to.saturating_sub(1)).min(plan.time_to_us).min(TIME_MAX_US);
        if let Some(after) = after {
            to_us = to_us.min(after.time_us);
        }
        let tenants = match (scope.parameter(), plan.tenants) {
            (None, tenants) => tenants,
            (Some(allowed), None) => Some(allowed.to_vec()),
            (Some(allowed), Some(asked)) => Some(asked.into_iter().filter(|t| allowed.contains(t)).collect()),
        };
        if from_us > to_us || plan.level_mask == 0 || tenants.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        Some(Wanted { tenants, from_us, to_us, level_mask: plan.level_mask, tokens: plan.tokens, after })
    }

    /// The latest time that is wanted, inclusive.
    pub fn to_us(&self) -> i64 {
        self.to_us
    }

    pub fn has_time(&self, time_us: i64) -> bool {
        (self.from_us..=self.to_us).contains(&time_us)
    }

    /// Whether postings can tell more than bloom filters: several things have to meet.
    pub fn has_to_meet(&self) -> bool {
        self.tokens.len() + usize::from(self.levels().is_some()) >= 2
    }

    /// The clause of the levels, unless any will do.
    fn levels(&self) -> Option<Vec<Token>> {
        let asked = || Level::ALL.into_iter().filter(|level| self.level_mask & level.bit() != 0);
        (asked().count() < Level::ALL.len()).then(|| asked().map(level_token).collect())
    }

    /// The conditions on a block; `$n` are those of [`list`].
    fn conditions(&self, below: bool) -> String {
        let mut sql = "time_to >= $1 and time_from <= $2 and level_mask & $3 <> 0".to_owned();
        if let Some(tenants) = &self.tenants {
            // One tenant as an equality: the index on (tenant, time) then gives the order too.
            sql.push_str(if tenants.len() == 1 {
                " and tenant = ($4::text[])[1]"
            } else {
                " and tenant = any($4)"
            });
        }
        if below {
            sql.push_str(" and (time_to, id) < ($5, $6)");
        }
        for any in &self.tokens {
            let one = |token: &Token| {
                let bits: Vec<String> = probes_of(token.hash)
                    .iter()
                    .map(|probe| format!("get_bit(bloom, {probe} % (8 * octet_length(bloom))::bigint) = 1"))
                    .collect();
                format!("({})", bits.join(" and "))
            };
            let alternatives: Vec<String> = any.iter().map(one).collect();
            sql.push_str(&format!(" and ({})", alternatives.join(" or ")));
        }
        sql
    }
}

/// The next `limit` blocks below (time to, id), newest first: fresh ones and sealed ones in one statement.
pub async fn list(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    below: Option<(i64, i64)>,
    limit: usize,
) -> Result<Vec<Candidate>, StoreError> {
    let conditions = wanted.conditions(below.is_some());
    let newest = format!("order by time_to desc, id desc limit {limit}");
    let branch = |table: &str, fresh: &str, postings: &str| {
        format!(
            "(select id, time_to, tableoid as relation, ctid as place, raw_bytes, {postings} as has_postings \
             from {table} where {fresh}{conditions} {newest})"
        )
    };
    // The marks as an array that is made once: a look-up per row was a hundred times slower. Lanes are dense from 0.
    let fresh = "seq > ((select array_agg(upto order by lane) from seals))[lane + 1] and ";
    let branches: Vec<String> = (0..crate::ring::RINGS)
        .map(|ring| branch(&format!("ring_{ring}"), fresh, "false"))
        .chain([branch("blocks", "", "coalesce(octet_length(postings) > 0, false)")])
        .collect();
    let sql = format!(
        "select id, time_to, relation::regclass::text, place::text, raw_bytes, has_postings \
         from ({}) both_kinds {newest}",
        branches.join(" union all ")
    );
    let (from, to) = (timestamp(wanted.from_us)?, timestamp(wanted.to_us)?);
    let mask = i16::from(wanted.level_mask);
    let tenants = wanted.tenants.clone().unwrap_or_default();
    let below_time = timestamp(below.map_or(0, |(time_us, _)| time_us))?;
    let below_id = below.map_or(0, |(_, id)| id);
    let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
        (&from, Type::TIMESTAMPTZ),
        (&to, Type::TIMESTAMPTZ),
        (&mask, Type::INT2),
        (&tenants, Type::TEXT_ARRAY),
        (&below_time, Type::TIMESTAMPTZ),
        (&below_id, Type::INT8),
    ];
    let rows = transaction
        .query_typed(&sql, &parameters)
        .await
        .map_err(StoreError::sql("list", "candidate blocks"))?;
    Ok(rows
        .iter()
        .map(|row| Candidate {
            id: row.get(0),
            time_to_us: row.get::<_, jiff::Timestamp>(1).as_microsecond(),
            table: row.get(2),
            ctid: row.get(3),
            raw_bytes: row.get::<_, i64>(4).max(0).unsigned_abs(),
            has_postings: row.get(5),
        })
        .collect())
}

/// Those of these blocks, in their order, in which one record may have all that is wanted, as far as postings tell.
pub async fn meeting(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    blocks: Vec<Candidate>,
) -> Result<Vec<Candidate>, StoreError> {
    let told: Vec<&Candidate> = blocks.iter().filter(|block| block.has_postings).collect();
    let mut clauses = wanted.tokens.clone();
    clauses.extend(wanted.levels());
    let mut apart = HashSet::new();
    for row in fetch(transaction, "postings", &told).await? {
        let id: i64 = row.get(0);
        match Postings::open(row.get(1)) {
            Ok(Some(postings)) if !postings.may_meet(&clauses) => {
                apart.insert(id);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(block = id, %error, "postings do not open, so the block is"),
        }
    }
    Ok(blocks.into_iter().filter(|block| !apart.contains(&block.id)).collect())
}

/// The payloads of these blocks, in their order.
pub async fn payloads(
    transaction: &Transaction<'_>,
    blocks: &[Candidate],
) -> Result<Vec<Payload>, StoreError> {
    let rows = fetch(transaction, "payload", &blocks.iter().collect::<Vec<_>>()).await?;
    let mut found: HashMap<i64, Bytes> =
        rows.iter().map(|row| (row.get(0), Bytes::copy_from_slice(row.get(1)))).collect();
    blocks
        .iter()
        .map(|block| {
            let payload = found.remove(&block.id).map(|bytes| Payload { block: block.id, bytes });
            payload.ok_or_else(|| StoreError::Decode {
                thing: format!("block {} of {}", block.id, block.table),
                message: "it is gone within a snapshot".to_owned(),
            })
        })
        .collect()
}

/// Ids of these blocks and what stands in a column, in one flight: a statement for each table they lie in.
async fn fetch(
    transaction: &Transaction<'_>,
    column: &str,
    blocks: &[&Candidate],
) -> Result<Vec<Row>, StoreError> {
    let mut tables: Vec<&str> = blocks.iter().map(|block| block.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    let fetch = tables.iter().map(|table| async move {
        let places: Vec<&str> =
            blocks.iter().filter(|b| b.table == *table).map(|b| b.ctid.as_str()).collect();
        // The name is PostgreSQL's own, quoted by regclass; ids make sure that a place still is what was listed.
        let sql = format!("select id, {column} from {table} where ctid = any($1::text[]::tid[])");
        transaction
            .query_typed(&sql, &[(&places, Type::TEXT_ARRAY)])
            .await
            .map_err(StoreError::sql("read blocks of", *table))
    });
    Ok(futures::future::try_join_all(fetch).await?.into_iter().flatten().collect())
}

fn timestamp(time_us: i64) -> Result<jiff::Timestamp, StoreError> {
    jiff::Timestamp::from_microsecond(time_us.clamp(TIME_MIN_US, TIME_MAX_US))
        .map_err(|error| StoreError::Invalid(format!("time {time_us}: {error}")))
}
