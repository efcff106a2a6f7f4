//! Reads a task's log under a scope: pages, the number of lines, sources. Everything in one answer is of one snapshot.
//!
//! The number of lines comes from `task_counts`, which the transactions of the lines keep by level, source and tenant. A question about texts,
//! metadata or times counts the lines themselves.

use futures::future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Row, Transaction};

use super::Task;
use crate::connect::Store;
use crate::error::StoreError;
use crate::search::{Cursor, timestamp};
use crate::values::{pattern, unsigned};

const STATEMENT_TIMEOUT: &str = "30s";
/// Where more lines are passed over, an index alone says which ones come.
const PASSED_MAX: u64 = 1_000;

/// Which lines of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Any of these; all when empty.
    pub levels: Vec<&'static str>,
    /// Any of these; all when empty.
    pub sources: Vec<String>,
    /// In the message, in any case.
    pub search: Option<String>,
    /// Each key has one of its values.
    pub metadata: Vec<(String, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LoggedLine {
    pub id: i64,
    pub time_us: i64,
    pub level: String,
    pub source: String,
    pub message: String,
    /// JSON.
    pub metadata: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// Oldest first.
    pub lines: Vec<LoggedLine>,
    /// Of all that were asked for.
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub by_level: Vec<(String, u64)>,
    pub by_source: Vec<(String, u64)>,
}

impl Lines {
    /// Whether `task_counts` says how many there are.
    fn are_counted(&self) -> bool {
        self.search.is_none() && self.metadata.is_empty()
    }
}

impl Task {
    /// A page of its lines.
    pub async fn lines(
        &self,
        store: &Store,
        wanted: &Lines,
        offset: u64,
        limit: u64,
    ) -> Result<Logged, StoreError> {
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let logged = self.read(&transaction, wanted, offset, limit).await?;
        end(transaction).await?;
        client.finish();
        Ok(logged)
    }

    async fn read(
        &self,
        transaction: &Transaction<'_>,
        wanted: &Lines,
        offset: u64,
        limit: u64,
    ) -> Result<Logged, StoreError> {
        let (task, counted) =
            future::try_join(self.standing(transaction), self.counted(transaction, wanted)).await?;
        let Some(task) = task else { return Ok(Logged::default()) };
        let mut asked = Asked::new(&task);
        let Some(counted) = counted else {
            asked.want(wanted);
            let lines = asked.query(transaction, &asked.page(Span::new(offset, limit))).await?;
            let found = lines.len() as u64;
            // What is no full page is the last one.
            let is_last = found < limit && (found > 0 || offset == 0);
            let total = if is_last { offset + found } else { asked.counted(transaction).await? };
            return Ok(Logged { lines, total });
        };
        // A condition that all lines meet is not asked of each.
        if counted.wanted < counted.seen {
            asked.want(wanted);
        }
        let span = Span::within(counted.wanted, offset, limit);
        let mut lines =
            if span.limit == 0 { Vec::new() } else { asked.query(transaction, &asked.page(span)).await? };
        if span.is_from_end {
            lines.reverse();
        }
        Ok(Logged { lines, total: counted.wanted })
    }

    /// What the snapshot has of it: a part may have been deleted since it was found.
    async fn standing(&self, transaction: &Transaction<'_>) -> Result<Option<Task>, StoreError> {
        let sql = "select t.tenant, coalesce(e.upto, 0) from tasks t left join task_ends e using (task_id, namespace, tenant) \
                   where t.task_id = $1 and t.namespace = $2 and t.tenant = any($3) order by 1";
        let rows = transaction.query(sql, &[&self.task_id, &self.namespace, &self.tenants]).await;
        let rows = rows.map_err(StoreError::sql("look for", "a task"))?;
        let tenants: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let audit_of = self.audit_of.iter().filter(|tenant| tenants.contains(tenant)).cloned().collect();
        let ended_upto = rows.iter().map(|row| row.get(1)).collect();
        let mut task = Task { tenants, audit_of, ended_upto, ..self.clone() };
        if task.is_timed() && task.begins_later(transaction).await? {
            (task.since_us, task.audit_since_us) = (None, None);
        }
        Ok((!task.tenants.is_empty()).then_some(task))
    }

    /// Some lines may be too old to be seen.
    fn is_timed(&self) -> bool {
        self.since_us.is_some() || self.audit_since_us.is_some()
    }

    /// None is: then the counts, which know of no times, say how many there are.
    async fn begins_later(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let sql = "select min(\"timestamp\") from task_logs where task_id = $1 and namespace = $2";
        let row = transaction.query_one(sql, &[&self.task_id, &self.namespace]).await;
        let row = row.map_err(StoreError::sql("look for", "the first line of a task"))?;
        let first: Option<jiff::Timestamp> = row.get(0);
        let since_us = self.since_us.max(self.audit_since_us).unwrap_or(i64::MIN);
        Ok(first.is_none_or(|first| first.as_microsecond() >= since_us))
    }

    /// From the counts; `None` where those cannot say it.
    async fn counted(
        &self,
        transaction: &Transaction<'_>,
        wanted: &Lines,
    ) -> Result<Option<Counted>, StoreError> {
        if !wanted.are_counted() || self.is_timed() {
            return Ok(None);
        }
        let mut asked = Asked::of_counts(self);
        let seen = std::mem::take(&mut asked.conditions);
        asked.conditions.push_str("true");
        asked.want(wanted);
        let sql = format!(
            "select coalesce(sum(lines) filter (where {}), 0)::bigint, coalesce(sum(lines), 0)::bigint from task_counts where {seen}",
            asked.conditions
        );
        let row = transaction.query_one(&sql, &asked.values()).await;
        let row = row.map_err(StoreError::sql("read", "counts of a task"))?;
        Ok(Some(Counted { wanted: unsigned(row.get(0)), seen: unsigned(row.get(1)) }))
    }

    /// Those of these records that are lines of it, oldest first.
    pub async fn lines_of(
        &self,
        store: &Store,
        wanted: &Lines,
        records: &[Cursor],
    ) -> Result<Vec<LoggedLine>, StoreError> {
        let times = || records.iter().map(|record| record.time_us);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
        let partitions: Vec<i32> =
            records.iter().map(|record| record.id.topic_partition.cast_signed()).collect();
        let offsets: Vec<i64> = records.iter().map(|record| record.id.kafka_offset.cast_signed()).collect();
        let indexes: Vec<i32> = records.iter().map(|record| record.id.index.cast_signed()).collect();
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let mut lines = Vec::new();
        if let Some(task) = self.standing(&transaction).await? {
            let mut asked = Asked::new(&task);
            asked.want(wanted);
            asked.add(" and \"timestamp\" between ", timestamp(first)?, "");
            asked.add(" and ", timestamp(last)?, "");
            asked.add(
                " and (topic_partition, kafka_offset, record_index) in (select * from unnest(",
                partitions,
                "::int[]",
            );
            asked.add(", ", offsets, "::bigint[]");
            asked.add(", ", indexes, "::int[]))");
            lines = asked.query(&transaction, &asked.page(Span::new(0, u64::from(u32::MAX)))).await?;
        }
        end(transaction).await?;
        client.finish();
        Ok(lines)
    }

    /// How many lines there are, by level and by source.
    pub async fn stats(&self, store: &Store) -> Result<Stats, StoreError> {
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let stats = match self.standing(&transaction).await? {
            Some(task) => task.stats_in(&transaction).await?,
            None => Stats::default(),
        };
        end(transaction).await?;
        client.finish();
        Ok(stats)
    }

    async fn stats_in(&self, transaction: &Transaction<'_>) -> Result<Stats, StoreError> {
        let (asked, table, count) = match self.is_timed() {
            false => (Asked::of_counts(self), "task_counts", "sum(lines)::bigint"),
            true => (Asked::new(self), "task_logs", "count(*)"),
        };
        let sql = format!(
            "select level, source, {count} from {table} where {} group by grouping sets ((level), (source)) order by 1, 2",
            asked.conditions
        );
        let rows = transaction
            .query(&sql, &asked.values())
            .await
            .map_err(StoreError::sql("count", "lines of a task"))?;
        let mut stats = Stats::default();
        for row in rows {
            let count = unsigned(row.get(2));
            match row.get::<_, Option<String>>(0) {
                Some(level) => stats.by_level.push((level, count)),
                None => stats.by_source.push((row.get(1), count)),
            }
        }
        Ok(stats)
    }

    /// How PostgreSQL reads a page, and how it counts where it has to.
    pub async fn explain(
        &self,
        store: &Store,
        wanted: &Lines,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<String>, StoreError> {
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let mut asked = Asked::new(self);
        asked.want(wanted);
        let counted = self.counted(&transaction, wanted).await?;
        let span = match &counted {
            Some(counted) => Span::within(counted.wanted, offset, limit),
            None => Span::new(offset, limit),
        };
        let mut statements = vec![asked.page(span)];
        if counted.is_none() {
            statements.push(asked.count());
        }
        let mut plans = Vec::new();
        for sql in statements {
            let rows = transaction
                .query(&format!("explain (analyze, buffers) {sql}"), &asked.values())
                .await
                .map_err(StoreError::sql("explain", "lines of a task"))?;
            plans.push(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n"));
        }
        end(transaction).await?;
        client.finish();
        Ok(plans)
    }
}

/// What the counts say.
struct Counted {
    wanted: u64,
    /// Of all levels and sources.
    seen: u64,
}

/// Which lines of those that meet the conditions, from which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    passed: u64,
    limit: u64,
    is_from_end: bool,
}

impl Span {
    fn new(offset: u64, limit: u64) -> Span {
        Span { passed: offset, limit, is_from_end: false }
    }

    /// From the end that is nearer.
    fn within(total: u64, offset: u64, limit: u64) -> Span {
        let limit = limit.min(total.saturating_sub(offset));
        let behind = total.saturating_sub(offset).saturating_sub(limit);
        if limit > 0 && behind < offset {
            Span { passed: behind, limit, is_from_end: true }
        } else {
            Span { passed: offset, limit, is_from_end: false }
        }
    }
}

/// One snapshot, in which no statement takes too long.
async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let sql = |what| StoreError::sql(what, "a look at a task");
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(sql("begin"))?;
    // Whatever part of the table a task is: what is asked of it stands in the indexes.
    let settings = format!(
        "set local statement_timeout = '{STATEMENT_TIMEOUT}'; set local enable_seqscan = off; \
         set local enable_bitmapscan = off; set local max_parallel_workers_per_gather = 0"
    );
    transaction.batch_execute(&settings).await.map_err(sql("prepare"))?;
    Ok(transaction)
}

async fn end(transaction: Transaction<'_>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(StoreError::sql("end", "a look at a task"))
}

fn line(row: &Row) -> LoggedLine {
    LoggedLine {
        id: row.get(0),
        time_us: row.get::<_, jiff::Timestamp>(1).as_microsecond(),
        level: row.get(2),
        source: row.get(3),
        message: row.get(4),
        metadata: row.get(5),
    }
}

/// The conditions of a question, and the values of their parameters.
struct Asked<'a> {
    conditions: String,
    values: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a> Asked<'a> {
    /// Of `task_logs`: what may be seen of the task.
    fn new(task: &'a Task) -> Asked<'a> {
        let mut asked = Asked::of_counts(task);
        let time = |us| jiff::Timestamp::from_microsecond(us).unwrap_or_default();
        if let Some(since_us) = task.since_us {
            asked.add(" and \"timestamp\" >= ", time(since_us), "");
        }
        if let Some(since_us) = task.audit_since_us.filter(|_| task.audit_since_us > task.since_us) {
            asked.add(" and (not audit or \"timestamp\" >= ", time(since_us), ")");
        }
        if task.ended_upto.iter().any(|upto| *upto > 0) {
            asked.add(" and not exists (select from unnest(", task.tenants.as_slice(), "::text[]");
            asked.add(
                ", ",
                task.ended_upto.as_slice(),
                "::bigint[]) as e (tenant, upto) where e.tenant = task_logs.tenant and id <= upto)",
            );
        }
        asked
    }

    /// Of `task_counts`, which knows of no times.
    fn of_counts(task: &'a Task) -> Asked<'a> {
        let mut asked = Asked { conditions: String::new(), values: Vec::new() };
        asked.add("task_id = ", task.task_id.as_str(), "");
        asked.add(" and namespace = ", task.namespace.as_str(), "");
        asked.any(" and tenant", &task.tenants);
        if task.audit_of.is_empty() {
            asked.conditions.push_str(" and not audit");
        } else if task.audit_of.len() < task.tenants.len() {
            asked.add(" and (not audit or tenant = any(", task.audit_of.as_slice(), "))");
        }
        asked
    }

    fn want(&mut self, wanted: &'a Lines) {
        if !wanted.levels.is_empty() {
            self.add(" and level = any(", wanted.levels.as_slice(), ")");
        }
        if !wanted.sources.is_empty() {
            self.any(" and source", &wanted.sources);
        }
        if let Some(text) = &wanted.search {
            self.add(" and message ilike ", pattern(text), "");
        }
        for (key, values) in &wanted.metadata {
            let path: Vec<&str> = key.split('.').collect();
            self.add(" and coalesce(metadata ->> ", key.as_str(), "::text");
            self.add(", metadata #>> ", path, "::text[])");
            self.add(" = any(", values.as_slice(), ")");
        }
    }

    fn add(&mut self, before: &str, value: impl ToSql + Sync + Send + 'a, behind: &str) {
        self.values.push(Box::new(value));
        let place = self.values.len();
        self.conditions.push_str(&format!("{before}${place}{behind}"));
    }

    /// One value as an equality: then the index gives the order too.
    fn any(&mut self, column: &str, values: &'a [String]) {
        match values {
            [only] => self.add(&format!("{column} = "), only.as_str(), ""),
            several => self.add(&format!("{column} = any("), several, ")"),
        }
    }

    fn page(&self, span: Span) -> String {
        let columns = "id, \"timestamp\", level, source, message, metadata::text";
        let order = if span.is_from_end { "\"timestamp\" desc, id desc" } else { "\"timestamp\", id" };
        let Span { passed, limit, .. } = span;
        let which = |columns: &str| {
            format!(
                "select {columns} from task_logs where {} order by {order} limit {limit} offset {passed}",
                self.conditions
            )
        };
        if passed <= PASSED_MAX {
            return which(columns);
        }
        format!("select {columns} from task_logs where id = any(array({})) order by {order}", which("id"))
    }

    fn count(&self) -> String {
        format!("select count(*) from task_logs where {}", self.conditions)
    }

    async fn query(&self, client: &impl GenericClient, sql: &str) -> Result<Vec<LoggedLine>, StoreError> {
        let rows = client.query(sql, &self.values()).await;
        Ok(rows.map_err(StoreError::sql("read", "lines of a task"))?.iter().map(line).collect())
    }

    async fn counted(&self, client: &impl GenericClient) -> Result<u64, StoreError> {
        let row = client.query_one(&self.count(), &self.values()).await;
        Ok(unsigned(row.map_err(StoreError::sql("count", "lines of a task"))?.get(0)))
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_from_the_end_that_is_nearer() {
        for total in [0_u64, 1, 2, 9, 10] {
            for (offset, limit) in
                (0..12_u64).flat_map(|offset| (1..12_u64).map(move |limit| (offset, limit)))
            {
                let span = Span::within(total, offset, limit);
                let mut all: Vec<u64> = (0..total).collect();
                if span.is_from_end {
                    all.reverse();
                }
                let mut found: Vec<u64> =
                    all.into_iter().skip(span.passed as usize).take(span.limit as usize).collect();
                if span.is_from_end {
                    found.reverse();
                }
                let expected: Vec<u64> = (offset..total).take(limit as usize).collect();
                assert_eq!(found, expected, "{offset} {limit} of {total}");
                assert!(expected.is_empty() || span.passed <= total / 2, "{span:?} of {total}");
            }
        }
    }

    #[test]
    fn what_is_a_pattern_to_like_is_a_text_to_us() {
        assert_eq!(pattern(r"100%_\"), r"%100\%\_\\%");
    }
}
