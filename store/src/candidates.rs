//! Which blocks can hold what is wanted: listed newest first without their payloads, under tenant scope, time, levels and
//! the bloom filters; of many, those whose postings say that it may meet in one record; then the payloads of a few, from
//! the table where each lies.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cordwood_core::block::postings::{Postings, level_token};
use cordwood_core::filter::Filter;
use cordwood_core::level::Level;
use cordwood_core::tokens::{Token, TokenClauses, TokenVersion, probes_of};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use crate::error::StoreError;
use crate::scope::TenantScope;
use crate::search::{Cursor, TimeRange};

/// Blocks listed at a time: few first.
const LIMITS: [usize; 3] = [256, 2048, 16_384];
/// The newest leaves are listed first, then more at a time: planning a statement over hundreds of leaves costs more than
/// running it, and most pages are full before that.
const WINDOWS_US: [i64; 3] = [86_400_000_000, 4 * 86_400_000_000, 16 * 86_400_000_000];
/// Fresh blocks of a ring that are looked for one by one.
const FRESH_MAX: usize = 512;
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
    tokens: TokenClauses,
    pub after: Option<Cursor>,
}

/// A block that may hold hits.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub id: i64,
    pub time_to_us: i64,
    /// Unpacked.
    pub raw_bytes: u64,
    /// 0: it has none.
    pub postings_bytes: u64,
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
        self.tokens.current.len() + usize::from(self.levels().is_some()) >= 2
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
            // The first is for the planner, which then leaves out newer leaves.
            sql.push_str(" and time_to <= $5 and (time_to, id) < ($5, $6)");
        }
        sql.push_str(&in_bloom(&self.tokens));
        sql
    }
}

/// What a block's filter must hold: other words where it was made by the first rules, which its length says
/// ([`TokenVersion::of_bloom`]).
fn in_bloom(tokens: &TokenClauses) -> String {
    let (current, first) = (clauses(&tokens.current), clauses(&tokens.first));
    match (current.is_empty(), tokens.current == tokens.first) {
        (true, true) => String::new(),
        (false, true) => format!(" and {current}"),
        _ => {
            let or_true = |sql: String| if sql.is_empty() { "true".to_owned() } else { sql };
            let (current, first) = (or_true(current), or_true(first));
            format!(" and case when octet_length(bloom) % 2 = 1 then {current} else {first} end")
        }
    }
}

fn clauses(all: &[Vec<Token>]) -> String {
    let one = |token: &Token| {
        let bits: Vec<String> = probes_of(token.hash)
            .iter()
            .map(|probe| format!("get_bit(bloom, {probe} % (8 * octet_length(bloom))::bigint) = 1"))
            .collect();
        format!("({})", bits.join(" and "))
    };
    let any = |tokens: &Vec<Token>| format!("({})", tokens.iter().map(one).collect::<Vec<_>>().join(" or "));
    all.iter().map(any).collect::<Vec<_>>().join(" and ")
}

/// Which rows of a ring are not sealed yet. Rings hold rows that are waste long before they are emptied: unless the fresh ones
/// are many, nothing older than the oldest of them is looked at.
fn fresh(ring: i16) -> String {
    // The marks as an array that is made once: a look-up per row was a hundred times slower. Lanes are dense from 0.
    format!(
        "time_to >= (select case when count(*) < {FRESH_MAX} then coalesce(min(time_to), 'infinity') else '-infinity' end \
                     from (select few.time_to from seals s cross join lateral ( \
                             select time_to from ring_{ring} where lane = s.lane and seq > s.upto \
                             order by seq limit {FRESH_MAX}) few \
                           limit {FRESH_MAX}) few) \
         and seq > ((select array_agg(upto order by lane) from seals))[lane + 1] and "
    )
}

/// All candidates, newest first, in lists that grow.
pub struct Lists<'w> {
    wanted: &'w Wanted,
    /// What was listed lies above this (time to, id), if anything was; what is listed next, at or above this time.
    below: Option<(i64, i64)>,
    from_us: i64,
    windows: usize,
    lists: usize,
    is_done: bool,
}

impl<'w> Lists<'w> {
    pub fn new(wanted: &'w Wanted) -> Lists<'w> {
        // Only a guess where the newest lie: were the clock wrong, there would be a list more.
        let newest_us = wanted.to_us.min(jiff::Timestamp::now().as_microsecond());
        let from_us = newest_us.saturating_sub(WINDOWS_US[0]).max(wanted.from_us);
        Lists { wanted, below: None, from_us, windows: 1, lists: 0, is_done: false }
    }

    /// The next list, perhaps an empty one; `None` when there is nothing below.
    pub async fn next(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<Vec<Candidate>>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let limit = LIMITS[self.lists.min(LIMITS.len() - 1)];
        let listed = list(transaction, self.wanted, self.from_us, self.below, limit).await?;
        self.lists += 1;
        match listed.last() {
            Some(last) if listed.len() == limit => self.below = Some((last.time_to_us, last.id)),
            _ if self.from_us <= self.wanted.from_us => self.is_done = true,
            _ => {
                self.below = Some((self.from_us, i64::MIN));
                let window_us = WINDOWS_US.get(self.windows).copied().unwrap_or(i64::MAX);
                self.from_us = self.from_us.saturating_sub(window_us).max(self.wanted.from_us);
                self.windows += 1;
            }
        }
        Ok(Some(listed))
    }

    /// Blocks not listed yet end at this time or before; `None` when there are none.
    pub fn next_below_us(&self) -> Option<i64> {
        let (time_us, id) = self.below.filter(|_| !self.is_done)?;
        Some(if id == i64::MIN { time_us - 1 } else { time_us })
    }
}

/// The next `limit` blocks from a time on and below (time to, id), newest first: fresh ones and sealed ones in one statement.
async fn list(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    from_us: i64,
    below: Option<(i64, i64)>,
    limit: usize,
) -> Result<Vec<Candidate>, StoreError> {
    let conditions = wanted.conditions(below.is_some());
    let newest = format!("order by time_to desc, id desc limit {limit}");
    let branch = |table: &str, fresh: &str, postings: &str| {
        format!(
            "(select id, time_to, tableoid as relation, ctid as place, raw_bytes, {postings} as postings_bytes \
             from {table} where {fresh}{conditions} {newest})"
        )
    };
    let branches: Vec<String> = (0..crate::ring::RINGS)
        .map(|ring| branch(&format!("ring_{ring}"), &fresh(ring), "0"))
        .chain([branch("blocks", "", "coalesce(octet_length(postings), 0)")])
        .collect();
    let sql = format!(
        "select id, time_to, relation::regclass::text, place::text, raw_bytes, postings_bytes \
         from ({}) both_kinds {newest}",
        branches.join(" union all ")
    );
    let (from, to) = (timestamp(from_us)?, timestamp(wanted.to_us)?);
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
            postings_bytes: row.get::<_, i32>(5).max(0).unsigned_abs().into(),
        })
        .collect())
}

/// The postings of those of these blocks that have any.
pub async fn postings(transaction: &Transaction<'_>, blocks: &[Candidate]) -> Result<Vec<Row>, StoreError> {
    let blocks: Vec<&Candidate> = blocks.iter().filter(|block| block.postings_bytes > 0).collect();
    fetch(transaction, "postings", &blocks).await
}

/// Those of these blocks, in their order, in which one record may have all that is wanted, as far as [`postings`] tell.
pub fn meeting(wanted: &Wanted, blocks: Vec<Candidate>, postings: &[Row]) -> Vec<Candidate> {
    let clauses = |version: TokenVersion| -> Vec<Vec<Token>> {
        wanted.tokens.of(version).iter().cloned().chain(wanted.levels()).collect()
    };
    let (current, first) = (clauses(TokenVersion::Current), clauses(TokenVersion::First));
    let may_meet = |postings: &Postings<'_>| match postings.token_version() {
        TokenVersion::Current => postings.may_meet(&current),
        TokenVersion::First => postings.may_meet(&first),
    };
    let mut apart = HashSet::new();
    for row in postings {
        let id: i64 = row.get(0);
        match Postings::open(row.get(1)) {
            Ok(Some(postings)) if !may_meet(&postings) => {
                apart.insert(id);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(block = id, %error, "postings do not open, so the block is"),
        }
    }
    blocks.into_iter().filter(|block| !apart.contains(&block.id)).collect()
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
