//! Lists tasks and their logs under a scope (pages, counts, sources); announces and deletes tasks.
//!
//! A task's id names one task in each namespace; within that each tenant has its own part, and a scope sees the parts of its tenants.
//! A deletion first replaces the task's rows by tombstones, in one short transaction. From then on no reader sees a line of it. The lines are
//! deleted after that.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient};

pub use ends::{Ended, end_aged};
pub use lines::{Lines, Logged, LoggedLine, Stats};

use crate::connect::Store;
use crate::error::StoreError;
use crate::migrate::{LOCK_SPACE, LOCK_TASKS};
use crate::scope::{Parts, Scope};
use crate::search::timestamp;

mod ends;
mod lines;

/// Who deletes waits so long for transactions of writers, and new ones wait behind it.
const DELETE_LOCK_TIMEOUT: &str = "5s";
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
    /// Older audit records may not be seen.
    audit_since_us: Option<i64>,
    /// Of each tenant: lines with ids up to this one are those of an earlier task, which ended by age. Empty: of none.
    ended_upto: Vec<i64>,
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

/// The tasks of an id of which something may be seen: a line, or that it was announced. Who sees neither sees no task.
const SEEN: &str = "select t.namespace, t.tenant from tasks t where t.task_id = $1 and ($2::text is null or t.namespace = $2) \
    and exists (select from unnest($3::text[], $4::text[], $5::bool[], $6::timestamptz[]) as seen (tenant, namespace, audit, since) \
      where (seen.tenant is null or seen.tenant = t.tenant) and (seen.namespace is null or seen.namespace = t.namespace) \
        and ((seen.audit and seen.since is null) \
          or exists (select from task_logs l where l.task_id = t.task_id and l.namespace = t.namespace and l.tenant = t.tenant \
            and (seen.audit or not l.audit) and (seen.since is null or l.\"timestamp\" >= seen.since)) \
          or ((seen.since is null or t.created >= seen.since) and not exists (select from task_logs l \
            where l.task_id = t.task_id and l.namespace = t.namespace and l.tenant = t.tenant)))) \
    order by 1, 2";

async fn named(
    client: &impl GenericClient,
    scope: &Scope,
    task_id: &str,
    namespace: Option<&str>,
) -> Result<Named, StoreError> {
    let parts = Parts::of(scope);
    let since = parts.since_us.iter().map(|since| since.map(timestamp).transpose());
    let since: Vec<Option<jiff::Timestamp>> = since.collect::<Result<_, _>>()?;
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&task_id, &namespace, &parts.tenants, &parts.namespaces, &parts.audit, &since];
    let rows = client.query(SEEN, &parameters).await.map_err(StoreError::sql("look for", "a task"))?;
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
        let since = |of_audit: bool| {
            let earliest = |tenant: &String| {
                let grants = grants_of(tenant);
                grants.iter().filter(|grant| grant.audit || !of_audit).map(|grant| grant.since_us).min()
            };
            tenants.iter().filter_map(earliest).max().flatten()
        };
        let (since_us, audit_since_us) = (since(false), since(true));
        Task {
            task_id: task_id.to_owned(),
            audit_of,
            since_us,
            audit_since_us,
            ended_upto: Vec::new(),
            namespace,
            tenants,
        }
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
