//! Tasks and their logs, under a scope: pages, counts, sources; announcing a task, deleting it.
//!
//! A task's id names one task in each namespace; within that each tenant has its own part, and a scope sees the parts of its tenants.
//! A deletion first takes the task's rows away and leaves tombstones, in one short transaction; then nobody sees a line of it, and the
//! lines go.

use futures::future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Row, Transaction};

use crate::connect::Store;
use crate::error::StoreError;
use crate::migrate::{LOCK_SPACE, LOCK_TASKS};
use crate::scope::{Parts, Scope};
use crate::search::{Cursor, timestamp};
use crate::values::{pattern, unsigned};

/// Who deletes waits so long for transactions of writers, and new ones wait behind it.
const DELETE_LOCK_TIMEOUT: &str = "5s";
const STATEMENT_TIMEOUT: &str = "30s";
/// Lines of a deleted task that one statement takes away.
const LINES_AT_ONCE: i64 = 20_000;

/// The parts of one task that a scope sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub task_id: String,
    pub namespace: String,
    pub tenants: Vec<String>,
    /// Of these tenants audit records may be seen too.
    audit_of: Vec<String>,
    /// Older lines may not be seen.
    since_us: Option<i64>,
}

/// Which task an id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// None that may be seen.
    None,
    One(Task),
    /// The namespaces that have one.
    Several(Vec<String>),
}

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

/// What came of announcing a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    New,
    Known,
    Deleted,
}

/// The task of this id that the scope sees, in `namespace` if one is given.
pub async fn find(
    store: &Store,
    scope: &Scope,
    task_id: &str,
    namespace: Option<&str>,
) -> Result<Named, StoreError> {
    let client = store.pooled().await?.abandonable();
    let named = named(&*client, scope, task_id, namespace).await?;
    client.finish();
    Ok(named)
}

async fn named(
    client: &impl GenericClient,
    scope: &Scope,
    task_id: &str,
    namespace: Option<&str>,
) -> Result<Named, StoreError> {
    let sql = format!(
        "select namespace, tenant from tasks where task_id = $1 and ($2::text is null or namespace = $2) and {} order by 1, 2",
        Parts::condition("tasks.tenant", "tasks.namespace", ["$3", "$4"])
    );
    let parts = Parts::of(scope);
    let parameters: [&(dyn ToSql + Sync); 4] = [&task_id, &namespace, &parts.tenants, &parts.namespaces];
    let rows = client.query(&sql, &parameters).await.map_err(StoreError::sql("look for", "a task"))?;
    let mut namespaces: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let tenants: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
    namespaces.dedup();
    Ok(match (namespaces.pop(), namespaces.is_empty()) {
        (None, _) => Named::None,
        (Some(namespace), true) => Named::One(Task::under(scope, task_id, namespace, tenants)),
        (Some(last), false) => {
            namespaces.push(last);
            Named::Several(namespaces)
        }
    })
}

impl Task {
    fn under(scope: &Scope, task_id: &str, namespace: String, tenants: Vec<String>) -> Task {
        let grants_of = |tenant: &str| {
            let reaches = scope.grants().filter(|grant| grant.reaches(tenant, &namespace));
            reaches.collect::<Vec<_>>()
        };
        let may_audit = |tenant: &String| grants_of(tenant).iter().any(|grant| grant.audit);
        let audit_of = tenants.iter().filter(|tenant| may_audit(tenant)).cloned().collect();
        // Of one tenant the earliest that is granted, of all the latest: rather too little than too much.
        let since_us = tenants
            .iter()
            .filter_map(|tenant| grants_of(tenant).iter().map(|grant| grant.since_us).min())
            .max();
        Task { task_id: task_id.to_owned(), audit_of, since_us: since_us.flatten(), namespace, tenants }
    }

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
        let asked = Asked::new(self, wanted);
        let (page, count) = (asked.page(offset, limit), asked.count());
        let values = asked.values();
        let (rows, total) =
            future::try_join(transaction.query(&page, &values), transaction.query_one(&count, &values))
                .await
                .map_err(StoreError::sql("read", "lines of a task"))?;
        end(transaction).await?;
        client.finish();
        Ok(Logged { lines: rows.iter().map(line).collect(), total: unsigned(total.get(0)) })
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
        let mut asked = Asked::new(self, wanted);
        asked.add(" and \"timestamp\" between ", timestamp(first)?, "");
        asked.add(" and ", timestamp(last)?, "");
        asked.add(
            " and (topic_partition, kafka_offset, record_index) in (select * from unnest(",
            partitions,
            "::int[]",
        );
        asked.add(", ", offsets, "::bigint[]");
        asked.add(", ", indexes, "::int[]))");
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let rows = transaction
            .query(&asked.page(0, u64::from(u32::MAX)), &asked.values())
            .await
            .map_err(StoreError::sql("read", "lines of a task"))?;
        end(transaction).await?;
        client.finish();
        Ok(rows.iter().map(line).collect())
    }

    /// How many lines there are, by level and by source.
    pub async fn stats(&self, store: &Store) -> Result<Stats, StoreError> {
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let all = Lines::default();
        let asked = Asked::new(self, &all);
        let sql = format!(
            "select level, source, count(*) from task_logs where {} group by grouping sets ((level), (source)) order by 1, 2",
            asked.conditions
        );
        let rows = transaction
            .query(&sql, &asked.values())
            .await
            .map_err(StoreError::sql("count", "lines of a task"))?;
        end(transaction).await?;
        client.finish();
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

    /// How PostgreSQL reads a page, and how it counts.
    pub async fn explain(
        &self,
        store: &Store,
        wanted: &Lines,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<String>, StoreError> {
        let mut client = store.pooled().await?.abandonable();
        let transaction = snapshot(&mut client).await?;
        let asked = Asked::new(self, wanted);
        let mut plans = Vec::new();
        for sql in [asked.page(offset, limit), asked.count()] {
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

/// A task without a line, so that it can be looked at before it writes one. It is the given tenant's.
pub async fn announce(
    store: &Store,
    task_id: &str,
    namespace: &str,
    tenant: &str,
) -> Result<Announced, StoreError> {
    let mut client = store.pooled().await?.abandonable();
    let sql = |what| StoreError::sql(what, "a task");
    let transaction = client.transaction().await.map_err(sql("announce"))?;
    transaction
        .execute("select pg_advisory_xact_lock_shared($1, $2)", &[&LOCK_SPACE, &LOCK_TASKS])
        .await
        .map_err(sql("lock"))?;
    let add = "with dead as (select from task_tombstones where task_id = $1 and namespace = $2 and tenant = $3), \
               added as (insert into tasks (task_id, namespace, tenant) select $1, $2, $3 where not exists (select from dead) \
                 on conflict do nothing returning 1) \
               select exists (select from dead), exists (select from added)";
    let row = transaction.query_one(add, &[&task_id, &namespace, &tenant]).await.map_err(sql("announce"))?;
    transaction.commit().await.map_err(sql("announce"))?;
    client.finish();
    Ok(match (row.get(0), row.get(1)) {
        (true, _) => Announced::Deleted,
        (false, true) => Announced::New,
        (false, false) => Announced::Known,
    })
}

/// Deletes the parts of a task that the scope sees, with their lines. [`Named::One`]: what was deleted.
pub async fn delete(
    store: &Store,
    scope: &Scope,
    task_id: &str,
    namespace: Option<&str>,
) -> Result<Named, StoreError> {
    let mut client = store.pooled().await?.abandonable();
    let sql = |what| StoreError::sql(what, "a task");
    let transaction = client.transaction().await.map_err(sql("delete"))?;
    transaction
        .batch_execute(&format!("set local lock_timeout = '{DELETE_LOCK_TIMEOUT}'"))
        .await
        .map_err(sql("delete"))?;
    // From here on no writer's transaction is under way that stores lines of a task.
    transaction
        .execute("select pg_advisory_xact_lock($1, $2)", &[&LOCK_SPACE, &LOCK_TASKS])
        .await
        .map_err(sql("lock"))?;
    let task = match named(&transaction, scope, task_id, namespace).await? {
        Named::One(task) => task,
        other => return Ok(other),
    };
    let delete = "with gone as (delete from tasks where task_id = $1 and namespace = $2 and tenant = any($3) returning tenant) \
                  insert into task_tombstones (task_id, namespace, tenant) select $1, $2, tenant from gone";
    transaction
        .execute(delete, &[&task.task_id, &task.namespace, &task.tenants])
        .await
        .map_err(sql("delete"))?;
    transaction.commit().await.map_err(sql("delete"))?;
    // Hidden from now on. What is left when this ends early, pruning takes.
    while empty(&client, &task.task_id, &task.namespace, &task.tenants).await? {}
    client.finish();
    Ok(Named::One(task))
}

/// Takes some lines of a deleted task away; true: perhaps there are more.
async fn empty(
    client: &Client,
    task_id: &str,
    namespace: &str,
    tenants: &[String],
) -> Result<bool, StoreError> {
    let sql = |what| StoreError::sql(what, "lines of a deleted task");
    let lines = "delete from task_logs where ctid = any(array(select ctid from task_logs \
                   where task_id = $1 and namespace = $2 and tenant = any($3) limit $4))";
    let gone = client
        .execute(lines, &[&task_id, &namespace, &tenants, &LINES_AT_ONCE])
        .await
        .map_err(sql("delete"))?;
    if gone >= LINES_AT_ONCE.unsigned_abs() {
        return Ok(true);
    }
    let emptied = "update task_tombstones set emptied = true where task_id = $1 and namespace = $2 and tenant = any($3)";
    client.execute(emptied, &[&task_id, &namespace, &tenants]).await.map_err(sql("mark"))?;
    Ok(false)
}

/// What deletions that ended early left behind. Returns how many rows of tombstones were looked after.
pub(crate) async fn empty_deleted(
    client: &Client,
    tasks_max: i64,
    statements_max: u32,
) -> Result<u64, StoreError> {
    let sql = "select task_id, namespace, tenant from task_tombstones where not emptied order by id limit $1";
    let rows = client.query(sql, &[&tasks_max]).await.map_err(StoreError::sql("read", "deleted tasks"))?;
    let (mut statements, mut looked_after) = (0, 0);
    for row in rows {
        let (task_id, namespace, tenant): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let tenants = [tenant];
        while statements < statements_max && empty(client, &task_id, &namespace, &tenants).await? {
            statements += 1;
        }
        statements += 1;
        looked_after += 1;
        if statements >= statements_max {
            break;
        }
    }
    Ok(looked_after)
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
         set local max_parallel_workers_per_gather = 0"
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
    fn new(task: &'a Task, wanted: &'a Lines) -> Asked<'a> {
        let mut asked = Asked { conditions: String::new(), values: Vec::new() };
        asked.add("task_id = ", task.task_id.as_str(), "");
        asked.add(" and namespace = ", task.namespace.as_str(), "");
        asked.any(" and tenant", &task.tenants);
        if task.audit_of.is_empty() {
            asked.conditions.push_str(" and not audit");
        } else if task.audit_of.len() < task.tenants.len() {
            asked.add(" and (not audit or tenant = any(", task.audit_of.as_slice(), "))");
        }
        if let Some(since_us) = task.since_us {
            asked.add(
                " and \"timestamp\" >= ",
                jiff::Timestamp::from_microsecond(since_us).unwrap_or_default(),
                "",
            );
        }
        if !wanted.levels.is_empty() {
            asked.add(" and level = any(", wanted.levels.as_slice(), ")");
        }
        if !wanted.sources.is_empty() {
            asked.any(" and source", &wanted.sources);
        }
        if let Some(text) = &wanted.search {
            asked.add(" and message ilike ", pattern(text), "");
        }
        for (key, values) in &wanted.metadata {
            let path: Vec<&str> = key.split('.').collect();
            asked.add(" and coalesce(metadata ->> ", key.as_str(), "::text");
            asked.add(", metadata #>> ", path, "::text[])");
            asked.add(" = any(", values.as_slice(), ")");
        }
        asked
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

    fn page(&self, offset: u64, limit: u64) -> String {
        format!(
            "select id, \"timestamp\", level, source, message, metadata::text from task_logs where {} \
             order by \"timestamp\", id limit {limit} offset {offset}",
            self.conditions
        )
    }

    fn count(&self) -> String {
        format!("select count(*) from task_logs where {}", self.conditions)
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_pattern_to_like_is_a_text_to_us() {
        assert_eq!(pattern(r"100%_\"), r"%100\%\_\\%");
    }
}
