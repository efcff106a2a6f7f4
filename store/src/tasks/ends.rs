//! Ends tasks by age: some time after its last line was stored, a task and its lines are deleted. This is not a deletion by a user: the
//! records stay until their retention, and a line that comes later begins the task again.
//!
//! A task ends in a short transaction that excludes the writers' transactions. From then on no reader sees a line of it. Its lines are
//! deleted after that, in portions. Until all are deleted, `task_ends` tells them from the lines of a task that began again.

use tokio_postgres::Client;

use super::LINES_AT_ONCE;
use crate::ddl::DdlSession;
use crate::error::StoreError;
use crate::migrate::{LOCK_SPACE, LOCK_TASKS};

/// Tasks that one transaction ends: writers wait for it.
const TASKS_AT_ONCE: i64 = 200;
/// In one call; the next goes on.
const STATEMENTS_MAX: u32 = 20;

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub tasks: u64,
    pub lines: u64,
    /// There may be more of it.
    pub more: bool,
}

/// Without a look at those that are in use: writers are kept waiting for nothing else.
const OLD: &str = "select t.task_id, t.namespace, t.tenant from tasks t \
    where t.created < now() - $1::bigint * interval '1 millisecond' and not exists (select from task_counts c \
      where (c.task_id, c.namespace, c.tenant) = (t.task_id, t.namespace, t.tenant) \
        and c.stored >= now() - $1::bigint * interval '1 millisecond') \
    order by t.created limit $2";

/// Those of them that got no line meanwhile. No line is being stored: whatever comes later has a higher id.
const END: &str = "with gone as (delete from tasks t using unnest($2::text[], $3::text[], $4::text[]) as k (task_id, namespace, tenant) \
      where (t.task_id, t.namespace, t.tenant) = (k.task_id, k.namespace, k.tenant) \
        and t.created < now() - $1::bigint * interval '1 millisecond' and not exists (select from task_counts c \
          where (c.task_id, c.namespace, c.tenant) = (t.task_id, t.namespace, t.tenant) \
            and c.stored >= now() - $1::bigint * interval '1 millisecond') \
      returning t.task_id, t.namespace, t.tenant), \
    newest as (select coalesce(max(id), 0) as id from task_logs) \
    insert into task_ends as e (task_id, namespace, tenant, upto) \
      select task_id, namespace, tenant, newest.id from gone, newest order by 1, 2, 3 \
      on conflict (task_id, namespace, tenant) do update set upto = excluded.upto";

/// Of no policy and no plan.
const LEDGER: &str = "insert into ledger (policy, plan, step, subject, bytes, why) \
    values ('', '', 'end tasks', $1::text || ' tasks', 0, 'no line for ' || $2::bigint / 1000 || ' seconds')";

const LINES: &str = "delete from task_logs where ctid = any(array(select ctid from task_logs \
    where task_id = $1 and namespace = $2 and tenant = $3 and id <= $4 limit $5))";

const EMPTIED: &str =
    "delete from task_ends where task_id = $1 and namespace = $2 and tenant = $3 and upto = $4";

/// Ends tasks whose last line was stored longer ago (one that has none: that were announced longer ago), and takes lines of ended ones
/// away.
pub async fn end_aged(session: &mut DdlSession, age_ms: u64) -> Result<Ended, StoreError> {
    let client = session.client_for("to end tasks by age").await?;
    let mut ended = Ended::default();
    let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX / 1000);
    ended.tasks = end(client, age_ms).await?;
    ended.more = ended.tasks >= TASKS_AT_ONCE.unsigned_abs();
    empty(client, &mut ended).await?;
    Ok(ended)
}

async fn end(client: &mut Client, age_ms: i64) -> Result<u64, StoreError> {
    let sql = |what| StoreError::sql(what, "tasks by age");
    let rows = client.query(OLD, &[&age_ms, &TASKS_AT_ONCE]).await.map_err(sql("look for"))?;
    if rows.is_empty() {
        return Ok(0);
    }
    let column = |column: usize| rows.iter().map(|row| row.get(column)).collect::<Vec<String>>();
    let transaction = client.transaction().await.map_err(sql("end"))?;
    let lock = transaction.execute("select pg_advisory_xact_lock($1, $2)", &[&LOCK_SPACE, &LOCK_TASKS]);
    lock.await.map_err(sql("lock"))?;
    let ended = transaction.execute(END, &[&age_ms, &column(0), &column(1), &column(2)]).await;
    let ended = ended.map_err(sql("end"))?;
    if ended > 0 {
        let told = transaction.execute(LEDGER, &[&ended.to_string(), &age_ms]).await;
        told.map_err(sql("write to the ledger"))?;
    }
    transaction.commit().await.map_err(sql("end"))?;
    Ok(ended)
}

async fn empty(client: &Client, ended: &mut Ended) -> Result<(), StoreError> {
    let sql = |what| StoreError::sql(what, "lines of ended tasks");
    let ends = "select task_id, namespace, tenant, upto from task_ends order by upto limit $1";
    let rows = client.query(ends, &[&i64::from(STATEMENTS_MAX)]).await.map_err(sql("look for"))?;
    let mut statements = 0;
    for row in &rows {
        let (task_id, namespace, tenant): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let upto: i64 = row.get(3);
        loop {
            if statements == STATEMENTS_MAX {
                ended.more = true;
                return Ok(());
            }
            statements += 1;
            let lines = client.execute(LINES, &[&task_id, &namespace, &tenant, &upto, &LINES_AT_ONCE]).await;
            let lines = lines.map_err(sql("delete"))?;
            ended.lines += lines;
            if lines < LINES_AT_ONCE.unsigned_abs() {
                break;
            }
        }
        client.execute(EMPTIED, &[&task_id, &namespace, &tenant, &upto]).await.map_err(sql("mark"))?;
    }
    ended.more |= rows.len() == STATEMENTS_MAX as usize;
    Ok(())
}
