//! Brings the schema to this version's, under an advisory lock so that parts starting together wait for one another.
//! The way in is a fixed set of tables; table partitions are the operator's and no migration touches them.

use std::time::{Duration, Instant};

use cordwood_core::block::Format;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connect::Store;
use crate::error::StoreError;
use crate::fitness;
use crate::roles;

/// Below PostgreSQL's deadlock timeout, like those of the DDL loops.
const LOCK_TIMEOUT: &str = "700ms";
const LOCKED_PAUSE: Duration = Duration::from_secs(2);
/// After that it is an error: the program that migrates says so and tries again.
const LOCKED_MAX: Duration = Duration::from_secs(60);

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Session advisory locks of Cordwood: the first number of the pair. The second says which: a lane's number, or one of these.
pub const LOCK_SPACE: i32 = 0x636f_7264u32 as i32;
/// Of transactions that store a part of the same file: another first number; the second is the file's slot.
pub const LOCK_FILES: i32 = LOCK_SPACE + 1;
pub const LOCK_MIGRATE: i32 = -1;
pub const LOCK_SEALER: i32 = -2;
/// A round of sealing shares it from before its snapshot to its end; who detaches a table partition into which the round might still put
/// records has it alone.
pub const LOCK_ROUND: i32 = -4;
/// Of a transaction: who stores lines of tasks shares it, who deletes a task has it alone.
pub const LOCK_TASKS: i32 = -5;
pub const LOCK_DDL_CREATE: i32 = -3;
pub const LOCK_DDL_DROP: i32 = -103;

/// What [`run`] did.
#[derive(Debug, Default)]
pub struct Migrated {
    pub applied: Vec<String>,
    /// What could not be granted, and why (a role that may not create roles, for example).
    pub warnings: Vec<String>,
}

/// The newest version that this build knows.
pub fn newest() -> i64 {
    embedded::migrations::runner().get_migrations().iter().map(|m| i64::from(m.version())).max().unwrap_or(0)
}

/// Runs what is missing. Needs a role that may create tables (`cordwood_owner` or the database's owner).
///
/// # Errors
/// PostgreSQL does not do it, or holds blocks of a format that this program does not read.
pub async fn run(store: &Store) -> Result<Migrated, StoreError> {
    let mut client = store.writable("cordwood migrate").await?;
    fitness::check(store, &client).await?;
    client
        .execute("select pg_advisory_lock($1, $2)", &[&LOCK_SPACE, &LOCK_MIGRATE])
        .await
        .map_err(StoreError::sql("lock", "the schema for migration"))?;
    let report = apply(&mut client).await?;
    readable(&client).await?;
    let mut warnings = roles::ensure(&client).await?;
    let (found, known) = (version(&client).await?, newest());
    if found > known {
        warnings
            .push(format!("the schema is at version {found}, newer than the {known} that this build knows"));
    }
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    Ok(Migrated { applied, warnings })
}

/// Each migration is a transaction of its own, so that one that met a lock is tried again. Its locks are waited for as DDL's are:
/// a session that reads or writes `blocks` queues behind it, and a long reader may hold them for hours.
async fn apply(client: &mut Client) -> Result<refinery::Report, StoreError> {
    let set_timeout = |timeout: &str| format!("set lock_timeout = '{timeout}'");
    let sql = StoreError::sql("set up", "the session that migrates");
    client.batch_execute(&set_timeout(LOCK_TIMEOUT)).await.map_err(sql)?;
    let began = Instant::now();
    let report = loop {
        // A newer build's migrations are no reason to stop: `run` warns of them. What an older build can do then: docs/operations.md.
        match embedded::migrations::runner().set_abort_missing(false).run_async(client).await {
            Ok(report) => break report,
            Err(error) if is_locked(&error) && began.elapsed() < LOCKED_MAX => {
                tracing::info!(error = chain(&error), "the schema is in use; migrated as soon as it is not");
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            Err(error) => return Err(StoreError::Migrate { message: chain(&error) }),
        }
    };
    let sql = StoreError::sql("set up", "the session that migrates");
    client.batch_execute(&set_timeout("0")).await.map_err(sql)?;
    Ok(report)
}

fn is_locked(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code == Some(&SqlState::LOCK_NOT_AVAILABLE) || error.source().is_some_and(is_locked)
}

/// Names this very schema: another database, or the same one created again, has another. 16 hex digits.
pub async fn identity(store: &Store) -> Result<String, StoreError> {
    let client = store.pooled().await?;
    let sql = "select substr(md5(applied_on), 1, 16) from refinery_schema_history order by version limit 1";
    let row =
        client.query_one(sql, &[]).await.map_err(StoreError::sql("read", "when the schema was made"))?;
    let identity: Option<String> = row.get(0);
    Ok(identity.unwrap_or_default())
}

/// For parts that may not create tables: that the schema is there and new enough, and that this program reads what is stored.
pub async fn check(store: &Store) -> Result<(), StoreError> {
    let client = store.pooled().await?;
    fitness::check(store, &client).await?;
    let wanted = newest();
    let found = version(&client).await?;
    if found < wanted {
        let hint = "start the operator (or `cordwood standalone`) of this version first: it migrates";
        return Err(StoreError::Schema { found, wanted, hint });
    }
    readable(&client).await
}

/// That this program reads whatever was sealed here, by whichever version.
async fn readable(client: &Client) -> Result<(), StoreError> {
    let row = client.query_one("select block_format from ring_ctl", &[]).await;
    let found: i16 = row.map_err(StoreError::sql("read", "the format of the blocks"))?.get(0);
    let known = i16::from(Format::NEWEST.version());
    if found > known { Err(StoreError::BlockFormat { found, known }) } else { Ok(()) }
}

/// 0: there is none.
async fn version(client: &Client) -> Result<i64, StoreError> {
    let sql = |what| StoreError::sql(what, "the schema's version");
    let row = client.query_one("select to_regclass('refinery_schema_history') is not null", &[]).await;
    if !row.map_err(sql("look for"))?.get::<_, bool>(0) {
        return Ok(0);
    }
    let newest = "select coalesce(max(version), 0)::bigint from refinery_schema_history";
    Ok(client.query_one(newest, &[]).await.map_err(sql("read"))?.get(0))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        match inner.downcast_ref::<tokio_postgres::Error>() {
            Some(sql) => {
                text = format!("{text}: {}", crate::error::describe(sql));
                break;
            }
            None => text = format!("{text}: {inner}"),
        }
        source = inner.source();
    }
    text
}
