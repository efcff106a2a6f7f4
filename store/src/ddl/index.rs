//! The table beside a table partition that has the indexes of its segments: made with it, dropped with it, and made for those of a version
//! that had none.
//!
//! ```text
//! <table>_index(segment, no, bytes)      no: -2 the ids of the segment's blocks, -1 its head, from 0 on its pages
//! ```
//! It is no partition of anything: no search that needs no index opens or locks it.

use std::time::{Duration, Instant};

use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{AUTOVACUUM, DdlSession};
use crate::error::StoreError;

/// One call begins no other table after this time.
const BUDGET: Duration = Duration::from_secs(5);
/// That one call makes.
const TABLES_MAX: i64 = 64;

/// In place of a page's number: the segment's head, and the ids of its blocks.
pub(crate) const HEAD: i32 = -1;
pub(crate) const IDS: i32 = -2;

/// Its name, by that of the table partition.
pub(crate) fn index_table(table: &str) -> String {
    format!("{table}_index")
}

/// A statement that makes it where it is missing.
pub(super) fn create(table: &str) -> String {
    let index = index_table(table);
    let (create, key) = (create_as(&index, &index), primary_key(&index));
    format!("do $$ begin if to_regclass('{index}') is null then {create} {key}; end if; end $$")
}

/// Statements of PL/pgSQL that make one without its primary key. What it will be named, `named`, is part of its constraints' names. Pages are about
/// as large as a third of PostgreSQL's: they stay within the row.
pub(super) fn create_as(name: &str, named: &str) -> String {
    let column = |column: &str| format!("constraint {named}_{column}_not_null not null");
    format!(
        "create table {name} (segment bigint {}, no integer {}, bytes bytea {})
           with (toast_tuple_target = 8160, {AUTOVACUUM});
         alter table {name} alter column bytes set storage main;
         if (select count(*) from pg_roles where rolname in ('cordwood_reader', 'cordwood_writer')) = 2 then
           grant select on {name} to cordwood_reader, cordwood_writer;
           grant insert, delete on {name} to cordwood_writer;
         end if;",
        column("segment"),
        column("no"),
        column("bytes")
    )
}

/// A statement that gives it its primary key.
pub(super) fn primary_key(name: &str) -> String {
    format!("alter table {name} add constraint {name}_pkey primary key (no, segment)")
}

/// A statement that empties it where the table partition has no page, and so no block.
pub(super) fn empty(table: &str) -> String {
    format!(
        "delete from {index} where pg_relation_size(to_regclass('{table}')) = 0",
        index = index_table(table)
    )
}

/// Makes those that are missing beside table partitions that are still to be filled; returns how many. What is sealed into one without
/// it has filters and postings.
pub async fn make_indexes(session: &mut DdlSession) -> Result<u32, StoreError> {
    let client = session.client_for("to make the tables of indexes").await?;
    let missing = format!(
        "select class, time_from from (select class, time_from, \
           'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') as name \
           from leaves where detached is null and time_to > now()) named \
         where to_regclass(name) is not null and to_regclass(name || '_index') is null \
         order by time_from, class limit {TABLES_MAX}"
    );
    let rows = client.query(&missing, &[]).await.map_err(StoreError::sql("look for", "missing indexes"))?;
    let began = Instant::now();
    let mut made = 0;
    for row in rows {
        let (class, from): (i32, Timestamp) = (row.get(0), row.get(1));
        let table = leaf_table(ClassId(class), from.as_microsecond());
        match make_one(client, class, from, &table).await {
            Ok(()) => made += 1,
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tracing::debug!(table, %error, "its index is made later");
            }
            Err(error) => return Err(StoreError::sql("make the table of the indexes of", table)(error)),
        }
        if began.elapsed() >= BUDGET {
            break;
        }
    }
    Ok(made)
}

/// With the row of `leaves` locked: a drop of the partition does the same first.
async fn make_one(
    client: &mut Client,
    class: i32,
    from: Timestamp,
    table: &str,
) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let lock = "select from leaves where class = $1 and time_from = $2 and detached is null for share";
    if transaction.query_opt(lock, &[&class, &from]).await?.is_some() {
        transaction.batch_execute(&create(table)).await?;
    }
    transaction.commit().await
}
