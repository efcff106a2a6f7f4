//! Lists groups of errors under a scope: how often, since when, where, and a sample record. One snapshot gives what the sealer has folded
//! and what writers have counted since.
//!
//! Counts, texts and samples are stored apart for everything that decides who may see a record (tenant, namespace, task). So an answer holds
//! nothing that its caller may not see, and nothing of a deleted task.

mod days;

use std::fmt;
use std::str::FromStr;

use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::GROUP_NAMES_MAX;
use cordwood_core::signature::Signature;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row, Transaction};

use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::{Parts, Scope};
use crate::search::{Cursor, timestamp};
use crate::values::{pattern, unsigned};

use days::{DAY_US, Days};

pub const HOUR_US: i64 = 3_600_000_000;
const STATEMENT_TIMEOUT: &str = "30s";

/// What comes first: the most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Count,
    LastSeen,
    FirstSeen,
}

/// A place in an order: what follows has less of it, or as much and a greater signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    pub value: i64,
    pub signature: Signature,
}

/// Which groups. Empty lists: any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is counted: hours from this one, up to and without the other.
    pub from_hour_us: i64,
    pub to_hour_us: i64,
    pub levels: Vec<Level>,
    pub tenants: Vec<String>,
    pub namespaces: Vec<String>,
    pub services: Vec<String>,
    /// In the error's type or the generalised message, in any case.
    pub text: Option<String>,
    /// Not seen before, as far as is known.
    pub new_since_us: Option<i64>,
    pub signature: Option<Signature>,
    pub order: Order,
    pub after: Option<After>,
    pub limit: usize,
    /// Of the trend; a whole number of hours.
    pub bin_us: i64,
}

/// A group as the scope sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub signature: Signature,
    /// The highest of what was counted.
    pub level: Level,
    pub count: u64,
    pub first_us: i64,
    pub last_us: i64,
    /// Of what was counted, in order, at most [`GROUP_NAMES_MAX`].
    pub tenants: Vec<String>,
    pub services: Vec<String>,
    /// There are more tenants or services.
    pub is_cut: bool,
    pub sample: Sample,
    /// Begin of a bin and its count, oldest first; those without any are left out.
    pub trend: Vec<(i64, u64)>,
}

/// The last record of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub record: Cursor,
    pub error_type: String,
    /// Generalised.
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    pub groups: Vec<Group>,
    /// There may be more behind it.
    pub next: Option<After>,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.value, self.signature)
    }
}

/// A text that is no place in a list of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no `next` of a list of groups")]
pub struct NoPlace;

impl FromStr for After {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<After, NoPlace> {
        let (value, signature) = text.split_once('.').ok_or(NoPlace)?;
        let (value, signature) =
            (value.parse().map_err(|_| NoPlace)?, signature.parse().map_err(|_| NoPlace)?);
        Ok(After { value, signature })
    }
}

/// What the scope sees of the rows `x`: $1 to $3. For a scope that sees everything of some tenants, or of all, the query checks nothing of each row, so that
/// an index finds the rows of a few tenants.
fn in_scope(parts: &Parts<'_>) -> String {
    // (PostgreSQL has to know the types of all three; this is true.)
    let typed = "($1::text[] is null or $2::text[] is not null or $3::bool[] is not null)";
    let tenant = "x.tenant = any($1::text[])";
    let by_part = "exists (select from unnest($1::text[], $2::text[], $3::bool[]) as seen (tenant, namespace, audit) \
        where (seen.tenant is null or seen.tenant = x.tenant) and (seen.namespace is null or seen.namespace = x.namespace) \
          and (seen.audit or not x.audit))";
    let is_whole = |part: usize| parts.namespaces[part].is_none() && parts.audit[part];
    let mut all = 0..parts.tenants.len();
    let has_tenants = parts.tenants.iter().all(Option::is_some);
    if all.clone().any(|part| parts.tenants[part].is_none() && is_whole(part)) {
        typed.to_owned()
    } else if has_tenants && all.all(is_whole) {
        format!("{tenant} and {typed}")
    } else if has_tenants {
        format!("{tenant} and {by_part}")
    } else {
        by_part.to_owned()
    }
}

/// What is asked for of the rows `x`: $4 to $8.
const ASKED: &str = "($4::text[] is null or x.tenant = any($4)) and ($5::text[] is null or x.namespace = any($5)) \
    and ($6::text[] is null or x.service = any($6)) and ($7::smallint[] is null or x.level = any($7)) \
    and ($8::bigint is null or x.signature = $8) \
    and (x.task_id = '' or not exists (select from task_tombstones d \
      where d.task_id = x.task_id and d.namespace = x.namespace and d.tenant = x.tenant))";

/// Since when the scope sees the row `x` (null: not at all), where it sees some of what is not too old: $1 to $3.
fn since(parts: &Parts<'_>) -> Result<Option<String>, StoreError> {
    if parts.since_us.iter().all(Option::is_none) {
        return Ok(None);
    }
    let one = |since_us: &Option<i64>| match since_us {
        None => Ok("null".to_owned()),
        Some(us) => Ok(format!("'{}'", timestamp(*us)?)),
    };
    let all = parts.since_us.iter().map(one).collect::<Result<Vec<String>, StoreError>>()?.join(", ");
    Ok(Some(format!(
        "(select min(coalesce(seen.since, '-infinity')) as since \
          from unnest($1::text[], $2::text[], $3::bool[], array[{all}]::timestamptz[]) as seen (tenant, namespace, audit, since) \
          where (seen.tenant is null or seen.tenant = x.tenant) and (seen.namespace is null or seen.namespace = x.namespace) \
            and (seen.audit or not x.audit)) seen"
    )))
}

/// Where the rows are that may be seen and are asked for.
struct Tables {
    /// Of a scope without times.
    seen: String,
    /// Of one with: from when on. (The condition without times is one that its rows meet.)
    since: Option<String>,
    /// What is read by the day. A scope with times sees a part of a day.
    days: Option<Days>,
}

impl Tables {
    fn of(seen: &Seen<'_>, days: Option<Days>) -> Result<Tables, StoreError> {
        let since = since(&seen.scope)?;
        let days = days.filter(|_| since.is_none());
        Ok(Tables { seen: format!("{} and {ASKED}", in_scope(&seen.scope)), since, days })
    }

    fn from(&self, table: &str) -> String {
        match &self.since {
            None => format!("{table} x"),
            Some(since) => format!("{table} x cross join lateral {since}"),
        }
    }

    /// A condition, where there are times.
    fn timed(&self, condition: &'static str) -> &'static str {
        if self.since.is_some() { condition } else { "" }
    }

    /// Not folded yet.
    fn fresh(&self) -> String {
        let (seen, from) = (&self.seen, self.from("error_fresh"));
        let timed = self.timed(" and x.first_seen >= seen.since");
        format!(
            "fresh as materialized (select x.* from {from} join seals z on z.lane = x.lane where x.seq > z.errors_upto and {seen}{timed})"
        )
    }

    /// Of the hours $9 to $10. A count has no times but its hour's: what may be seen from a time within an hour on is counted from the
    /// next one on, where the group has older; else nothing of the hour is older.
    fn counts(&self, columns: &str, and: &str) -> Result<String, StoreError> {
        let fresh = format!("select {columns} from fresh x where x.hour >= $9 and x.hour < $10{and}");
        if let Some(days) = self.days {
            let stored = days.select(columns, &format!("{}{and}", self.seen))?;
            return Ok(format!("({stored} union all {fresh})"));
        }
        let (seen, from) = (&self.seen, self.from("error_counts"));
        let timed = self.timed(
            " and (x.hour >= seen.since or (x.hour > seen.since - interval '1 hour' and exists (select from error_groups g \
               where g.signature = x.signature and g.tenant = x.tenant and g.namespace = x.namespace and g.service = x.service \
                 and g.level = x.level and g.audit = x.audit and g.task_id = x.task_id and g.first_seen >= seen.since)))",
        );
        Ok(format!(
            "(select {columns} from {from} where x.hour >= $9 and x.hour < $10 and {seen}{and}{timed} union all {fresh})"
        ))
    }

    /// A group that is older than what may be seen of it begins there.
    fn known(&self, columns: &str, and: &str) -> String {
        let (seen, from) = (&self.seen, self.from("error_groups"));
        let (begin, timed) = match self.since {
            None => ("x.first_seen", ""),
            Some(_) => ("greatest(x.first_seen, seen.since)", " and x.last_seen >= seen.since"),
        };
        let of_groups = columns.replace("x.first_seen", begin);
        format!(
            "(select {of_groups} from {from} where {seen}{and}{timed} union all select {columns} from fresh x where true{and})"
        )
    }
}

/// One page of groups.
pub async fn groups(store: &Store, scope: &Scope, asked: &Asked) -> Result<Groups, StoreError> {
    let mut client = store.pooled().await?.abandonable();
    let sql = |what| StoreError::sql(what, "groups of errors");
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(sql("begin a look at"))?;
    // To compile such a statement takes longer than to run it.
    let settings = format!("set local statement_timeout = '{STATEMENT_TIMEOUT}'; set local jit = off");
    transaction.batch_execute(&settings).await.map_err(sql("prepare a look at"))?;
    let mut groups = page(&transaction, scope, asked).await?;
    let next = groups.len() > asked.limit;
    groups.truncate(asked.limit);
    trends(&transaction, scope, asked, &mut groups).await?;
    transaction.commit().await.map_err(sql("end a look at"))?;
    client.finish();
    let after = |group: &Group| After {
        value: match asked.order {
            Order::Count => group.count.cast_signed(),
            Order::LastSeen => group.last_us,
            Order::FirstSeen => group.first_us,
        },
        signature: group.signature,
    };
    Ok(Groups { next: groups.last().filter(|_| next).map(after), groups })
}

/// One more than the page.
async fn page(transaction: &Transaction<'_>, scope: &Scope, asked: &Asked) -> Result<Vec<Group>, StoreError> {
    let us = |column: &str| format!("(extract(epoch from {column}) * 1000000)::bigint");
    let order = match asked.order {
        Order::Count => "c.count".to_owned(),
        Order::LastSeen => us("k.last_seen"),
        Order::FirstSeen => us("k.first_seen"),
    };
    let of_page = " and x.signature = p.signature";
    let names = GROUP_NAMES_MAX + 1;
    let seen = Seen::new(scope, asked)?;
    let tables = Tables::of(&seen, Days::within(asked.from_hour_us, asked.to_hour_us))?;
    let last = "x.last_seen, x.topic_partition, x.kafka_offset, x.record_index, x.error_type, x.message";
    let sql = format!(
        "with {fresh}, \
         c as (select signature, sum(count)::bigint as count, max(level) as level from {counted} c group by 1), \
         k as (select signature, min(first_seen) as first_seen, max(last_seen) as last_seen, max(version) as version, bool_or(has_text) as has_text \
           from {known} k group by 1), \
         p as (select signature, c.count, c.level, k.first_seen, k.last_seen, k.version, {order} as value \
           from c join k using (signature) where k.has_text and ($12::timestamptz is null or k.first_seen >= $12) \
             and ($13::bigint is null or {order} < $13 or ({order} = $13 and signature > $14)) \
           order by value desc, signature limit $15) \
         select p.signature, p.count, p.level, p.first_seen, p.last_seen, n.tenants[:{names}], n.services[:{names}], \
           s.last_seen, s.topic_partition, s.kafka_offset, s.record_index, s.error_type, s.message, p.version \
         from p cross join lateral (select array_agg(distinct tenant order by tenant) as tenants, \
             array_agg(distinct service order by service) filter (where service <> '') as services from {places} n) n \
           cross join lateral (select * from {samples} s order by 1 desc, 2 desc, 3 desc, 4 desc limit 1) s \
         order by p.value desc, p.signature",
        fresh = tables.fresh(),
        counted = tables.counts("x.signature, x.level, x.count", "")?,
        known = tables.known(
            "x.signature, x.first_seen as first_seen, x.last_seen, x.version, \
             ($11::text is null or x.error_type ilike $11 or x.message ilike $11) as has_text",
            ""
        ),
        places = tables.counts("x.tenant, x.service", of_page)?,
        samples = tables.known(last, of_page),
    );
    let text = asked.text.as_deref().map(pattern);
    let new_since = asked.new_since_us.map(timestamp).transpose()?;
    let after = asked.after.map(|after| (after.value, after.signature.as_i64()));
    let (value, signature) = (after.map(|after| after.0), after.map(|after| after.1));
    let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX).saturating_add(1);
    let more: [&(dyn ToSql + Sync); 5] = [&text, &new_since, &value, &signature, &limit];
    let parameters: Vec<&(dyn ToSql + Sync)> = seen.parameters().into_iter().chain(more).collect();
    let rows = transaction.query(&sql, &parameters).await;
    rows.map_err(StoreError::sql("read", "groups of errors"))?.iter().map(group).collect()
}

async fn trends(
    transaction: &Transaction<'_>,
    scope: &Scope,
    asked: &Asked,
    groups: &mut [Group],
) -> Result<(), StoreError> {
    let signatures: Vec<i64> = groups.iter().map(|group| group.signature.as_i64()).collect();
    let bin_seconds = asked.bin_us / 1_000_000;
    let seen = Seen::new(scope, asked)?;
    // A bin of whole days begins where a day does.
    let days = Days::within(asked.from_hour_us, asked.to_hour_us).filter(|_| asked.bin_us % DAY_US == 0);
    let tables = Tables::of(&seen, days)?;
    let sql = format!(
        "with {fresh} select signature, floor(extract(epoch from hour) / $12::float8)::bigint as bin, sum(count)::bigint from {counted} c \
         group by 1, 2 order by 1, 2",
        fresh = tables.fresh(),
        counted = tables.counts("x.signature, x.hour, x.count", " and x.signature = any($11)")?,
    );
    let bin = bin_seconds as f64;
    let more: [&(dyn ToSql + Sync); 2] = [&signatures, &bin];
    let parameters: Vec<&(dyn ToSql + Sync)> = seen.parameters().into_iter().chain(more).collect();
    let rows = transaction.query(&sql, &parameters).await;
    for row in rows.map_err(StoreError::sql("read", "trends of errors"))? {
        let signature: i64 = row.get(0);
        if let Some(group) = groups.iter_mut().find(|group| group.signature.as_i64() == signature) {
            group.trend.push((row.get::<_, i64>(1) * asked.bin_us, unsigned(row.get(2))));
        }
    }
    Ok(())
}

/// The parameters $1 to $10.
struct Seen<'a> {
    scope: Parts<'a>,
    tenants: Option<&'a [String]>,
    namespaces: Option<&'a [String]>,
    services: Option<&'a [String]>,
    levels: Option<Vec<i16>>,
    signature: Option<i64>,
    from: jiff::Timestamp,
    to: jiff::Timestamp,
}

impl<'a> Seen<'a> {
    fn new(scope: &'a Scope, asked: &'a Asked) -> Result<Seen<'a>, StoreError> {
        let any = |names: &'a [String]| (!names.is_empty()).then_some(names);
        let levels: Vec<i16> = asked.levels.iter().map(|level| *level as i16).collect();
        Ok(Seen {
            scope: Parts::of(scope),
            tenants: any(&asked.tenants),
            namespaces: any(&asked.namespaces),
            services: any(&asked.services),
            levels: (!levels.is_empty()).then_some(levels),
            signature: asked.signature.map(Signature::as_i64),
            from: timestamp(asked.from_hour_us)?,
            to: timestamp(asked.to_hour_us)?,
        })
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.scope.tenants,
            &self.scope.namespaces,
            &self.scope.audit,
            &self.tenants,
            &self.namespaces,
            &self.services,
            &self.levels,
            &self.signature,
            &self.from,
            &self.to,
        ]
    }
}

fn group(row: &Row) -> Result<Group, StoreError> {
    let us = |column: usize| row.get::<_, jiff::Timestamp>(column).as_microsecond();
    let names = |column: usize| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    let (mut tenants, mut services) = (names(5), names(6));
    let is_cut = tenants.len() > GROUP_NAMES_MAX || services.len() > GROUP_NAMES_MAX;
    tenants.truncate(GROUP_NAMES_MAX);
    services.truncate(GROUP_NAMES_MAX);
    let level = u8::try_from(row.get::<_, i16>(2)).ok().and_then(Level::from_u8);
    let id = RecordId {
        topic_partition: row.get::<_, i32>(8).cast_unsigned(),
        kafka_offset: row.get::<_, i64>(9).cast_unsigned(),
        index: row.get::<_, i32>(10).cast_unsigned(),
    };
    Ok(Group {
        signature: Signature::from_columns(row.get(0), row.get(13)),
        level: level.ok_or_else(|| StoreError::Invalid("a group of errors of no level".to_owned()))?,
        count: unsigned(row.get(1)),
        first_us: us(3),
        last_us: us(4),
        tenants,
        services,
        is_cut,
        sample: Sample {
            record: Cursor { time_us: us(7), id },
            error_type: row.get(11),
            message: row.get(12),
        },
        trend: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_all_of_some_tenants_is_asked_by_tenant_alone() {
        let all = Scope::all(cordwood_core::scope::AdminReason::Audit);
        let two = Scope::of_tenants(["a", "b"]);
        for (scope, by_tenant, by_part) in [
            (all.clone(), false, false),
            (all.clone().without_audit(), false, true),
            (all.clone().in_namespaces(["x"]), false, true),
            (all.clone().in_namespaces(["x"]).or(all.clone()), false, false),
            (two.clone(), true, false),
            (two.clone().without_audit(), true, true),
            (two.clone().in_namespaces(["x"]), true, true),
            (two.clone().in_namespaces(["x"]).or(two.clone()), true, true),
            (two.or(all.in_namespaces(["x"])), false, true),
            (Scope::of_tenants([""; 0]), true, false),
            (Scope::any_of([]), true, false),
        ] {
            let sql = in_scope(&Parts::of(&scope));
            assert_eq!(
                (sql.contains("x.tenant = any"), sql.contains("exists")),
                (by_tenant, by_part),
                "{scope:?}"
            );
        }
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for (value, signature) in [
            (17, Signature::OTHER),
            (-5, Signature::from_columns(-1, 1)),
            (i64::MAX, Signature::from_columns(3, 2)),
        ] {
            let after = After { value, signature };
            assert_eq!(after.to_string().parse(), Ok(after));
        }
        for text in ["", "5", "5.", ".v1:other", "x.v1:other", "5.v1:OTHER", "5.v1:other.6"] {
            assert_eq!(text.parse::<After>(), Err(NoPlace), "{text}");
        }
    }
}
