//! Writes lines of tasks in the writer's transaction. A lock that deletions do not share decides whether a transaction comes before a deletion,
//! which then deletes its lines too, or after it, and sees the tombstone.

use std::sync::Arc;

use cordwood_core::identity::RecordId;
use cordwood_core::task::TaskLine;
use futures::future;
use tokio_postgres::{Client, Statement};

use crate::error::StoreError;
use crate::migrate::{LOCK_SPACE, LOCK_TASKS};

/// A line and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    pub tenant: Arc<str>,
    pub namespace: Arc<str>,
    pub audit: bool,
    pub time_us: i64,
    pub id: RecordId,
    pub line: TaskLine,
}

pub(crate) struct Statements {
    lock: Statement,
    tasks: Statement,
    refused: Statement,
    lines: Statement,
}

const LOCK: &str = "select pg_advisory_xact_lock_shared($1, $2)";

/// In order, so that two writers' rows never cross.
const TASKS: &str = "insert into tasks (task_id, namespace, tenant) \
    select k.task_id, k.namespace, k.tenant from unnest($1::text[], $2::text[], $3::text[]) as k(task_id, namespace, tenant) \
     where not exists (select from task_tombstones d \
       where d.task_id = k.task_id and d.namespace = k.namespace and d.tenant = k.tenant) \
     order by 1, 2, 3 on conflict do nothing";

/// In order, too. Not more than once a minute: a task that goes on writing would make a row version with every transaction.
const REFUSED: &str = "update task_tombstones d set seen = now() from (\
      select t.id from task_tombstones t join unnest($1::text[], $2::text[], $3::text[]) as k(task_id, namespace, tenant) \
        using (task_id, namespace, tenant) where t.seen < now() - interval '1 minute' order by t.id for no key update of t) s \
    where d.id = s.id";

/// Of tasks that are there: others are deleted. Their ids rise in the order of the records: lines of one time are shown so.
const LINES: &str = "insert into task_logs (task_id, namespace, tenant, audit, \"timestamp\", level, source, message, metadata, \
      topic_partition, kafka_offset, record_index) \
    select l.task_id, l.namespace, l.tenant, l.audit, l.at, l.level, l.source, l.message, l.metadata::jsonb, l.p, l.o, l.i \
      from unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], \
        $9::text[], $10::int[], $11::bigint[], $12::int[]) with ordinality \
        as l(task_id, namespace, tenant, audit, at, level, source, message, metadata, p, o, i, place) \
     where exists (select from tasks t where t.task_id = l.task_id and t.namespace = l.namespace and t.tenant = l.tenant) \
     order by l.place";

impl Statements {
    pub(crate) async fn prepare(client: &Client) -> Result<Statements, StoreError> {
        let prepare = |text: &'static str| async move {
            client.prepare(text).await.map_err(StoreError::sql("prepare", text))
        };
        let (lock, tasks, refused, lines) =
            future::try_join4(prepare(LOCK), prepare(TASKS), prepare(REFUSED), prepare(LINES)).await?;
        Ok(Statements { lock, tasks, refused, lines })
    }
}

/// Adds the lines of tasks that are not deleted, in one flight. Returns how many.
pub(crate) async fn add(
    client: &Client,
    statements: &Statements,
    rows: &[TaskRow],
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut keys: Vec<(&str, &str, &str)> =
        rows.iter().map(|row| (row.line.task_id.as_str(), &*row.namespace, &*row.tenant)).collect();
    keys.sort_unstable();
    keys.dedup();
    let ids: Vec<&str> = keys.iter().map(|key| key.0).collect();
    let namespaces: Vec<&str> = keys.iter().map(|key| key.1).collect();
    let tenants: Vec<&str> = keys.iter().map(|key| key.2).collect();
    let columns = Columns::of(rows)?;
    let lock = async {
        let locked = client.execute(&statements.lock, &[&LOCK_SPACE, &LOCK_TASKS]).await;
        locked.map_err(StoreError::sql("lock", "the tasks"))
    };
    let tasks = async {
        let added = client.execute(&statements.tasks, &[&ids, &namespaces, &tenants]).await;
        added.map_err(StoreError::sql("add", "tasks"))
    };
    let refused = async {
        let marked = client.execute(&statements.refused, &[&ids, &namespaces, &tenants]).await;
        marked.map_err(StoreError::sql("mark", "deleted tasks"))
    };
    let lines = async {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
            &columns.task_id,
            &columns.namespace,
            &columns.tenant,
            &columns.audit,
            &columns.time,
            &columns.level,
            &columns.source,
            &columns.message,
            &columns.metadata,
            &columns.topic_partition,
            &columns.kafka_offset,
            &columns.index,
        ];
        let added = client.execute(&statements.lines, &parameters).await;
        added.map_err(StoreError::sql("add", "lines of tasks"))
    };
    let (lock, tasks, refused, lines) = future::join4(lock, tasks, refused, lines).await;
    lock?;
    tasks?;
    refused?;
    lines
}

#[derive(Default)]
struct Columns<'a> {
    task_id: Vec<&'a str>,
    namespace: Vec<&'a str>,
    tenant: Vec<&'a str>,
    audit: Vec<bool>,
    time: Vec<jiff::Timestamp>,
    level: Vec<&'a str>,
    source: Vec<&'a str>,
    message: Vec<&'a str>,
    metadata: Vec<Option<&'a str>>,
    topic_partition: Vec<i32>,
    kafka_offset: Vec<i64>,
    index: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [TaskRow]) -> Result<Columns<'a>, StoreError> {
        let mut columns = Columns::default();
        for row in rows {
            columns.task_id.push(&row.line.task_id);
            columns.namespace.push(&row.namespace);
            columns.tenant.push(&row.tenant);
            columns.audit.push(row.audit);
            columns.time.push(crate::search::timestamp(row.time_us)?);
            columns.level.push(row.line.level);
            columns.source.push(&row.line.source);
            columns.message.push(&row.line.message);
            columns.metadata.push(row.line.metadata.as_deref());
            columns.topic_partition.push(row.id.topic_partition.cast_signed());
            columns.kafka_offset.push(row.id.kafka_offset.cast_signed());
            columns.index.push(row.id.index.cast_signed());
        }
        Ok(columns)
    }
}
