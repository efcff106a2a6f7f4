//! Applies one step of a retention plan to PostgreSQL and writes it to the ledger. The plan decides what is done; this module only does it.
//!
//! Promises:
//! - No statement waits for a lock longer than [`LOCK_TIMEOUTS_MS`], which are below PostgreSQL's deadlock timeout. So no COPY and no query
//!   queues behind it for longer.
//! - Only the session that holds the loop's advisory lock changes anything. (A Kubernetes lease alone does not fence.)
//! - Identifiers are built from numbers alone.
//! - Records are never deleted; whole tables are dropped.
//! - A step that was interrupted at any point can be applied again.

mod going;
mod holds;
mod index;
mod ledger;
mod pack;
mod row;

use std::time::Duration;

use cordwood_core::retention::class::{Class, ClassId, class_table};
use cordwood_core::retention::routes::Routes;
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

pub use self::index::make_indexes;
pub(crate) use self::index::{HEAD, IDS, index_table};
pub use self::pack::{Packed, pack_indexes};

use self::ledger::Ledger;
use self::row::Row;
use crate::connect::{Standing, Store};
use crate::error::StoreError;
use crate::migrate::{LOCK_DDL_CREATE, LOCK_DDL_DROP, LOCK_SPACE};

/// How long each attempt waits for its locks, milliseconds. All below `deadlock_timeout` (1 s by default).
pub const LOCK_TIMEOUTS_MS: [u64; 5] = [100, 100, 200, 400, 700];
/// Pause between two attempts, in which the statements run that queued behind the last attempt.
const PAUSE: Duration = Duration::from_millis(150);

/// Storage parameters of a leaf. Its only dead rows are those of a round of sealing that was interrupted: autovacuum removes them soon, and
/// later rounds use their space.
const AUTOVACUUM: &str = "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, \
    toast.autovacuum_vacuum_threshold = 0, toast.autovacuum_vacuum_scale_factor = 0";

/// The SQL of the time by which records expire: PostgreSQL's clock, but not later than the horizon.
const HORIZON: &str = "least(now(), coalesce((select at from horizon), now()))";

/// Which of the operator's two loops a session serves. Each has its own connection and its own advisory lock, so that
/// creating never waits behind dropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    Create,
    Drop,
}

impl Loop {
    fn lock(self) -> i32 {
        match self {
            Loop::Create => LOCK_DDL_CREATE,
            Loop::Drop => LOCK_DDL_DROP,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Loop::Create => "create",
            Loop::Drop => "drop",
        }
    }
}

/// A connection that holds a loop's advisory lock and so may change tables. When the connection ends, so does the right.
#[derive(Debug)]
pub struct DdlSession {
    client: Client,
    store: Store,
}

impl DdlSession {
    /// Takes the loop's advisory lock; `None` when another session has it, because another operator leads.
    pub async fn open(store: &Store, which: Loop) -> Result<Option<DdlSession>, StoreError> {
        let client = store.writable(&format!("cordwood operator {}", which.as_str())).await?;
        let locked: bool = client
            .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &which.lock()])
            .await
            .map_err(StoreError::sql("take", "the advisory lock of the operator"))?
            .get(0);
        Ok(locked.then_some(DdlSession { client, store: store.clone() }))
    }

    /// The connection, for reading the catalogue. If it ends, the lock is lost and every step fails.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// PostgreSQL's time, microseconds.
    ///
    /// # Errors
    /// Also [`StoreError::ReadOnly`] when the server has become a standby or read-only.
    pub async fn clock(&self) -> Result<i64, StoreError> {
        let sql =
            "select clock_timestamp(), pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
        let row = self.client.query_one(sql, &[]).await;
        let row = row.map_err(StoreError::sql("read", "PostgreSQL's clock"))?;
        Standing { is_standby: row.get(1), is_read_only: row.get(2) }.check(&self.store)?;
        Ok(row.get::<_, Timestamp>(0).as_microsecond())
    }

    /// The connection for statements that belong to no step. They wait for a lock as long as a step's last attempt. `purpose` is part of
    /// the error.
    pub(crate) async fn client_for(&mut self, purpose: &'static str) -> Result<&mut Client, StoreError> {
        let timeout_ms = LOCK_TIMEOUTS_MS[LOCK_TIMEOUTS_MS.len() - 1];
        set_lock_timeout(&self.client, timeout_ms).await.map_err(StoreError::sql("prepare", purpose))?;
        Ok(&mut self.client)
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Applies one step and writes to the ledger that it was done, or that it failed, under `plan` (the plan's hash). After an error the step
/// can be applied again.
pub async fn apply(session: &mut DdlSession, planned: &Planned, plan: &str) -> Result<(), StoreError> {
    let ledger = Ledger::begin(planned, plan);
    let done = step(session, &planned.step, ledger).await;
    if let Err(error) = &done
        && !session.is_closed()
        && let Err(error) = ledger.fail(session, error).await
    {
        tracing::debug!(%error, "note that a step failed");
    }
    done
}

async fn step(session: &mut DdlSession, step: &Step, ledger: Ledger<'_>) -> Result<(), StoreError> {
    let target = |leaf: &LeafRef| Target::leaf(*leaf, ledger);
    match step {
        Step::PutClass(class) => put_class(session, class, ledger).await,
        Step::PutRoutes(routes) => put_routes(session, routes, ledger).await,
        Step::PutHold(hold) => holds::put(session, hold, ledger).await,
        Step::LiftHold { policy } => holds::lift(session, policy, ledger).await,
        Step::CreateClassTable { class } => {
            let target = Target::class(*class, ledger);
            retry(session, "create", &target, |c, ms, target| create_class_table(c, ms, target).boxed()).await
        }
        Step::CreateLeaf(leaf) => {
            retry(session, "create", &target(leaf)?, |c, ms, target| create_leaf(c, ms, target).boxed()).await
        }
        Step::Reattach(leaf) => {
            retry(session, "attach again", &target(leaf)?, |c, ms, target| reattach(c, ms, target).boxed())
                .await
        }
        Step::FinalizeDetach(leaf) => {
            let target = target(leaf)?;
            let operation = "finalize the detach of";
            retry(session, operation, &target, |c, ms, target| going::finalize(c, ms, target).boxed())
                .await?;
            going::mark_detached(session, &target).await
        }
        Step::Detach(leaf) => {
            let target = target(leaf)?;
            retry(session, "detach", &target, |c, ms, target| going::detach(c, ms, target).boxed()).await?;
            going::mark_detached(session, &target).await
        }
        Step::MarkDetached(leaf) => going::mark_detached(session, &target(leaf)?).await,
        Step::Drop(leaf) => {
            retry(session, "drop", &target(leaf)?, |c, ms, target| going::drop_leaf(c, ms, target).boxed())
                .await
        }
        Step::Forget(leaf) => going::forget(session, &target(leaf)?).await,
    }
}

async fn put_routes(session: &mut DdlSession, routes: &Routes, ledger: Ledger<'_>) -> Result<(), StoreError> {
    let body = serde_json::to_value(routes)
        .map_err(|error| StoreError::Invalid(format!("encode the routes: {error}")))?;
    let transaction = begin(&mut session.client).await?;
    transaction
        .execute(
            "insert into routes (body) values ($1)
             on conflict (only_row) do update set body = excluded.body, updated = now()",
            &[&body],
        )
        .await
        .map_err(StoreError::sql("write", "the retention routes"))?;
    ledger.write(&transaction).await?;
    transaction.commit().await.map_err(StoreError::sql("commit", "the retention routes"))
}

async fn put_class(session: &mut DdlSession, class: &Class, ledger: Ledger<'_>) -> Result<(), StoreError> {
    let time = |us: Option<i64>| us.map(timestamp).transpose();
    let (wanted, approved) = (class.wanted, class.approved.as_ref());
    let level = i16::from(class.level as u8);
    let row = Row::new().with("id", "int4", class.id.0).with("policy", "text", &class.policy);
    let row = row.with("level", "int2", level);
    // The id is part of the conflict's condition: an id never changes its policy or level.
    let may_change = Row::new()
        .with("policy_uid", "text", &class.policy_uid)
        .with("retention_us", "int8", class.retention_us)
        .with("grace_us", "int8", class.grace_us)
        .with("legal_hold", "bool", class.legal_hold)
        .with("wanted_us", "int8", wanted.map(|wanted| wanted.retention_us))
        .with("wanted_grace_us", "int8", wanted.map(|wanted| wanted.grace_us))
        .with("effective_from", "timestamptz", time(wanted.map(|wanted| wanted.effective_from_us))?)
        .with("approval", "text", approved.map(|known| known.approval.plan.as_str()))
        .with("approved_by", "text", approved.map(|known| known.approval.by.as_str()))
        .with("approved_before", "timestamptz", time(approved.map(|known| known.before_us))?);
    let assignments = may_change.assignments();
    let row = row.and(may_change);
    let sql = format!(
        "insert into classes ({}) values ({}) on conflict (id) do update set {assignments}
         where classes.policy = excluded.policy and classes.level = excluded.level",
        row.columns(),
        row.placeholders()
    );
    let transaction = begin(&mut session.client).await?;
    let changed = transaction
        .execute(&sql, &row.values())
        .await
        .map_err(StoreError::sql("write class", class_table(class.id)))?;
    if changed == 0 {
        return Err(StoreError::Invalid(format!("class {} belongs to another policy", class.id.0)));
    }
    ledger.write(&transaction).await?;
    transaction.commit().await.map_err(StoreError::sql("commit class", class_table(class.id)))
}

/// Creates the table of a class and attaches it. `CREATE TABLE (LIKE) ... PARTITION BY RANGE` and `ATTACH` take SHARE UPDATE EXCLUSIVE on
/// the root, which does not block COPY and queries; `PARTITION OF` would take ACCESS EXCLUSIVE.
async fn create_class_table(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let (table, id) = (&target.table, target.leaf.class.0);
    let create = format!(
        "create table if not exists {table} (like blocks including all) partition by range (time_to)"
    );
    let attach = format!("alter table blocks attach partition {table} for values in ({id})");
    let transaction = client.transaction().await?;
    transaction.batch_execute(&make(timeout_ms, target, &create, &attach)).await?;
    target.ledger.write_raw(&transaction).await?;
    transaction.commit().await
}

/// Creates a leaf and the table of its indexes and attaches the leaf, all in one transaction.
async fn create_leaf(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, leaf, from, to, .. } = target;
    let check = check_clause(*leaf, *from, *to);
    let create = format!(
        "create table if not exists {table} (like {parent} including all, {check}) with ({AUTOVACUUM})"
    );
    let note_leaf = format!(
        "insert into leaves (class, time_from, time_to) values ({class}, '{from}', '{to}')
         on conflict (class, time_from) do update set time_to = excluded.time_to, detached = null;
         delete from leaf_namespaces where class = {class} and time_from = '{from}'
           and pg_relation_size(to_regclass('{table}')) = 0;
         delete from sealed_leaves where class = {class} and time_from = '{from}'
           and pg_relation_size(to_regclass('{table}')) = 0;
         delete from packed_leaves where class = {class} and time_from = '{from}'
           and pg_relation_size(to_regclass('{table}')) = 0",
        class = leaf.class.0
    );
    let transaction = client.transaction().await?;
    let attached = make(timeout_ms, target, &create, &target.attach());
    let batch = format!("{attached}; {}; {}; {note_leaf}", index::create(table), index::empty(table));
    transaction.batch_execute(&batch).await?;
    target.ledger.write_raw(&transaction).await?;
    transaction.commit().await
}

/// Attaches a detached leaf again. The table still has its CHECK, so ATTACH scans nothing. The row of `leaves` is locked first, as in
/// [`going::drop_leaf`]: with the same order of locks the two cannot deadlock.
async fn reattach(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let transaction = begin_within(client, timeout_ms).await?;
    set_detached(&transaction, target.leaf, target.from, false).await?;
    if !is_attached(&transaction, &target.table, &target.parent).await? {
        transaction.batch_execute(&format!("{}; {}", target.upgrade(), target.attach())).await?;
    }
    target.ledger.write_raw(&transaction).await?;
    transaction.commit().await
}

/// Updates the statistics of a class's table, which autovacuum does not do for partitioned tables. It reads a few pages.
pub async fn analyze(session: &mut DdlSession, class: ClassId) -> Result<(), StoreError> {
    let table = class_table(class);
    let fail = || StoreError::sql("analyze", &table);
    set_lock_timeout(&session.client, LOCK_TIMEOUTS_MS[0]).await.map_err(fail())?;
    session.client.batch_execute(&format!("analyze {table}")).await.map_err(fail())
}

/// One table, and what the statements about it need.
struct Target<'a> {
    table: String,
    parent: String,
    leaf: LeafRef,
    from: Timestamp,
    to: Timestamp,
    ledger: Ledger<'a>,
}

impl<'a> Target<'a> {
    /// The target for the table of a class.
    fn class(class: ClassId, ledger: Ledger<'a>) -> Target<'a> {
        let leaf = LeafRef { class, from_us: 0, to_us: 0 };
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Target { table: class_table(class), parent: "blocks".to_owned(), leaf, from, to, ledger }
    }

    /// The target for a table partition.
    fn leaf(leaf: LeafRef, ledger: Ledger<'a>) -> Result<Target<'a>, StoreError> {
        Ok(Target {
            table: leaf.table(),
            parent: class_table(leaf.class),
            leaf,
            from: timestamp(leaf.from_us)?,
            to: timestamp(leaf.to_us)?,
            ledger,
        })
    }

    fn attach(&self) -> String {
        let Target { table, parent, from, to, .. } = self;
        format!("alter table {parent} attach partition {table} for values from ('{from}') to ('{to}')")
    }

    /// Statements that give the table what migrations added while it was detached, because a migration changes attached tables only.
    fn upgrade(&self) -> String {
        let table = &self.table;
        format!(
            "alter table {table} add column if not exists postings bytea;
             alter table {table} alter column postings set storage external;
             {}",
            index::create(table)
        )
    }

    /// Statements that delete the leaf's row of `leaves` and all other rows about it.
    fn delete_rows(&self) -> String {
        let leaf = format!("class = {} and time_from = '{}'", self.leaf.class.0, self.from);
        format!(
            "delete from leaf_tenants where {leaf}; delete from leaf_namespaces where {leaf}; \
             delete from sealed_leaves where {leaf}; delete from packed_leaves where {leaf}; \
             delete from leaves where {leaf}"
        )
    }

    /// A condition: all records of the table have expired, by the retention that its class has now and by [`HORIZON`].
    fn expired(&self) -> String {
        let class = self.leaf.class.0;
        format!(
            "exists (select from classes where id = {class} and not legal_hold \
             and timestamptz '{}' <= {HORIZON} - retention_us * interval '1 microsecond')",
            self.to
        )
    }

    /// A statement that fails when the table may not be dropped: its class keeps records of it ([`Target::expired`]), or a legal hold matches
    /// some. A table without pages is empty and may be dropped.
    fn fence(&self) -> String {
        let Target { table, leaf, from, to, .. } = self;
        let class = leaf.class.0;
        let holder = crate::holds::holder(leaf.class, from);
        format!(
            "do $$ declare holder text; begin
               perform from classes where id = {class} and not legal_hold
                 and timestamptz '{to}' <= {HORIZON} - retention_us * interval '1 microsecond' for share;
               if not found and coalesce(pg_relation_size(to_regclass('{table}')), 0) > 0 then
                 raise exception 'its class keeps it by now; the next pass makes a new plan';
               end if;
               select policy into holder from ({holder}) as held;
               if holder is not null and coalesce(pg_relation_size(to_regclass('{table}')), 0) > 0 then
                 raise exception 'the legal hold of policy % matches records of it; the next pass makes a new plan', holder;
               end if;
             end $$"
        )
    }
}

enum Attachment {
    Attached,
    /// `DETACH CONCURRENTLY` has begun and is not finalized.
    DetachPending,
    Detached,
}

async fn attachment(client: &Client, table: &str, parent: &str) -> Result<Attachment, tokio_postgres::Error> {
    let sql = "select inhdetachpending from pg_inherits where inhrelid = to_regclass($1) and inhparent = to_regclass($2)";
    Ok(match client.query_opt(sql, &[&table, &parent]).await?.map(|row| row.get(0)) {
        Some(true) => Attachment::DetachPending,
        Some(false) => Attachment::Attached,
        None => Attachment::Detached,
    })
}

type Transaction<'a> = tokio_postgres::Transaction<'a>;

async fn is_attached(
    transaction: &Transaction<'_>,
    table: &str,
    parent: &str,
) -> Result<bool, tokio_postgres::Error> {
    let sql = "select exists (select from pg_inherits where inhrelid = to_regclass($1) and inhparent = to_regclass($2))";
    Ok(transaction.query_one(sql, &[&table, &parent]).await?.get(0))
}

async fn set_detached(
    transaction: &Transaction<'_>,
    leaf: LeafRef,
    from: Timestamp,
    detached: bool,
) -> Result<(), tokio_postgres::Error> {
    let sql = "update leaves set detached = case when $3 then coalesce(detached, now()) end
               where class = $1 and time_from = $2";
    transaction.execute(sql, &[&leaf.class.0, &from, &detached]).await.map(|_| ())
}

/// Statements that create a table, attach it unless it is attached, and grant rights on it. They take one round trip, because a new policy
/// has hundreds of tables. The grants are needed because roles read and fill partitions by name, and default privileges cover only tables
/// that the migration's role creates. All identifiers are built from numbers.
fn make(timeout_ms: u64, target: &Target<'_>, create: &str, attach: &str) -> String {
    let Target { table, parent, .. } = target;
    format!(
        "set local lock_timeout = '{timeout_ms}ms'; {create};
         do $$ begin
           if not exists (select from pg_inherits
                          where inhrelid = to_regclass('{table}') and inhparent = to_regclass('{parent}')) then
             {attach};
           end if;
           if (select count(*) from pg_roles where rolname in ('cordwood_reader', 'cordwood_writer')) = 2 then
             grant select on {table} to cordwood_reader, cordwood_writer;
             grant insert on {table} to cordwood_writer;
           end if;
         end $$"
    )
}

/// A CHECK that implies the partition constraints of leaf and class, so that ATTACH scans nothing.
fn check_clause(leaf: LeafRef, from: Timestamp, to: Timestamp) -> String {
    let class = leaf.class.0;
    format!(
        "constraint bounds check (class = {class} and time_to >= timestamptz '{from}' and time_to < timestamptz '{to}')"
    )
}

fn timestamp(time_us: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(time_us)
        .map_err(|error| StoreError::Invalid(format!("time {time_us} us is out of range: {error}")))
}

/// Begins a transaction of a step that is tried once in a pass. It waits for locks as long as the last attempt of other steps.
async fn begin(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let timeout_ms = LOCK_TIMEOUTS_MS[LOCK_TIMEOUTS_MS.len() - 1];
    begin_within(client, timeout_ms).await.map_err(StoreError::sql("begin", "a transaction"))
}

async fn begin_within(
    client: &mut Client,
    timeout_ms: u64,
) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&format!("set local lock_timeout = '{timeout_ms}ms'")).await?;
    Ok(transaction)
}

async fn set_lock_timeout(client: &Client, timeout_ms: u64) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("set lock_timeout = '{timeout_ms}ms'")).await
}

/// One attempt of a step. The number is the longest wait for a lock, milliseconds.
type Attempt =
    for<'a> fn(&'a mut Client, u64, &'a Target<'a>) -> BoxFuture<'a, Result<(), tokio_postgres::Error>>;

/// Calls `attempt` with each timeout of [`LOCK_TIMEOUTS_MS`], until it succeeds or fails for another reason than a lock that another
/// session holds.
async fn retry(
    session: &mut DdlSession,
    operation: &'static str,
    target: &Target<'_>,
    attempt: Attempt,
) -> Result<(), StoreError> {
    let mut timeouts_ms = LOCK_TIMEOUTS_MS.into_iter().peekable();
    while let Some(timeout_ms) = timeouts_ms.next() {
        match attempt(&mut session.client, timeout_ms, target).await {
            Ok(()) => return Ok(()),
            Err(error)
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && timeouts_ms.peek().is_some() =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(source) => {
                return Err(StoreError::Sql { operation, thing: target.table.clone(), source });
            }
        }
    }
    Ok(())
}
