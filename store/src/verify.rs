//! Verifies the store: reads every block, fresh and sealed, and compares it with everything else that the database says of it: the columns
//! of its row, its bloom filter and postings or the index of its segment, what sealing and the writers noted, and the counts per minute. On
//! request it rebuilds filters, postings and indexes.
//!
//! Promises: a few blocks are in memory at a time. Sealing and retention can go on meanwhile: a snapshot lasts as long as some pages of a
//! table are read, and only that of the fresh blocks, which are few, lasts longer.

mod counts;
mod index;
mod reading;

use std::collections::HashSet;

use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use crate::connect::Store;
use crate::contents::COUNTED;
use crate::error::StoreError;
use crate::ring::{IS_FRESH, RINGS};

pub use counts::Counts;
use reading::{Kind, Reader, Seen};

/// Pages of a table that are read in one transaction. The values that PostgreSQL stores out of line (TOAST) are not counted.
const PAGES: i64 = 16;

/// A table partition of sealed blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub class: i32,
    pub from_us: i64,
    pub to_us: i64,
    pub table: String,
    pub is_detached: bool,
}

/// What was read of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableReport {
    pub table: String,
    pub blocks: u64,
    /// How many of the blocks are of format 2 or 3, which write bodies as columns.
    pub blocks_of_format_2: u64,
    pub records: u64,
    /// Bytes of all bodies, unpacked.
    pub raw_bytes: u64,
    /// Bytes of all payloads.
    pub packed_bytes: u64,
    pub faults: u64,
    /// How many of the faults were repaired.
    pub repaired: u64,
}

/// One fault that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub table: String,
    /// The id of the block; `None`: the fault is of the table as a whole.
    pub block: Option<i64>,
    pub what: String,
    pub repaired: bool,
}

/// A connection that reads the store, and counts what it reads.
#[derive(Debug)]
pub struct Verifier {
    client: Client,
    reader: Reader,
    repair: bool,
}

impl Verifier {
    /// `repair`: builds filters, postings and indexes that hide records again; needs the login that owns the tables.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached.
    pub async fn open(store: &Store, repair: bool) -> Result<Verifier, StoreError> {
        let client = store.client("cordwood verify").await?;
        Ok(Verifier { client, reader: Reader::default(), repair })
    }

    /// All table partitions, also the detached ones in their grace period.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn leaves(&self) -> Result<Vec<Leaf>, StoreError> {
        let sql =
            "select class, time_from, time_to, detached is not null from leaves order by class, time_from";
        let rows =
            self.client.query(sql, &[]).await.map_err(StoreError::sql("read", "the table partitions"))?;
        let leaves = rows.iter().map(|row| {
            let us = |column| row.get::<_, Timestamp>(column).as_microsecond();
            let (class, from_us) = (row.get(0), us(1));
            let table = leaf_table(ClassId(class), from_us);
            Leaf { class, from_us, to_us: us(2), table, is_detached: row.get(3) }
        });
        Ok(leaves.collect())
    }

    /// Verifies a table partition. `None`: it was dropped meanwhile.
    ///
    /// # Errors
    /// PostgreSQL failed. If it cannot read the table itself, that is a fault and no error.
    pub async fn leaf(
        &mut self,
        leaf: &Leaf,
        told: &mut impl FnMut(Fault),
    ) -> Result<Option<TableReport>, StoreError> {
        match self.read_leaf(leaf, told).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
            other => other,
        }
    }

    async fn read_leaf(
        &mut self,
        leaf: &Leaf,
        told: &mut impl FnMut(Fault),
    ) -> Result<Option<TableReport>, StoreError> {
        let table = &leaf.table;
        let sql = |operation| StoreError::sql(operation, table);
        let there = self.client.query_one("select to_regclass($1) is not null", &[table]).await;
        if !there.map_err(sql("look for"))?.get::<_, bool>(0) {
            return Ok(None);
        }
        let mut report = TableReport { table: table.clone(), ..TableReport::default() };
        let noted = format!(
            "select t.blocks, t.records, s.blocks, s.records, coalesce({COUNTED}, false), \
               pg_relation_size(to_regclass($3)) / current_setting('block_size')::bigint \
             from (select count(*) as blocks, coalesce(sum(count), 0)::bigint as records from {table}) t \
             left join sealed_leaves s on s.class = $1 and s.time_from = $2"
        );
        let from = Timestamp::from_microsecond(leaf.from_us).unwrap_or_default();
        let row = self.client.query_one(&noted, &[&leaf.class, &from, table]).await;
        let row = row.map_err(sql("count the blocks of"))?;
        let (blocks, records): (i64, i64) = (row.get(0), row.get(1));
        if row.get(4) {
            let noted: (i64, i64) = (row.get(2), row.get(3));
            if noted != (blocks, records) {
                report.faults += 1;
                told(Fault {
                    table: table.clone(),
                    block: None,
                    what: format!(
                        "sealing noted {} records in {} blocks, the rows say {records} in {blocks}",
                        noted.1, noted.0
                    ),
                    repaired: false,
                });
            }
        }
        let pages: i64 = row.get(5);
        let kind = Kind::Sealed { bounds_us: (leaf.from_us, leaf.to_us) };
        let mut repaired = HashSet::new();
        for first in (0..pages).step_by(PAGES as usize) {
            let place = format!("ctid >= '({first},0)'::tid and ctid < '({},0)'::tid", first + PAGES);
            let transaction = self.client.transaction().await.map_err(sql("begin to read"))?;
            let mut seen = Seen { report: &mut report, repaired: &mut repaired, repair: self.repair };
            let read = self.reader.rows(&transaction, (table, &place), kind, &mut seen, told).await;
            match read {
                Ok(()) => transaction.commit().await.map_err(sql("end reading"))?,
                Err(error) if is_damage(&error) => {
                    report.faults += 1;
                    told(Fault {
                        table: table.clone(),
                        block: None,
                        what: format!("rows of pages {first} to {}: {error}", first + PAGES - 1),
                        repaired: false,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        index::check(&mut self.client, leaf, self.repair, &mut report, told).await?;
        Ok(Some(report))
    }

    /// Verifies all fresh blocks in one snapshot, and compares them with the counts of the writers' transactions.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn fresh(&mut self, told: &mut impl FnMut(Fault)) -> Result<Vec<TableReport>, StoreError> {
        let sql = |operation| StoreError::sql(operation, "the fresh blocks");
        let begin = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start();
        let transaction = begin.await.map_err(sql("begin to read"))?;
        let mut reports = Vec::new();
        for ring in 0..RINGS {
            let table = format!("ring_{ring}");
            let mut report = TableReport { table: table.clone(), ..TableReport::default() };
            let mut repaired = HashSet::new();
            let mut seen = Seen { report: &mut report, repaired: &mut repaired, repair: self.repair };
            self.reader.rows(&transaction, (&table, IS_FRESH), Kind::Fresh, &mut seen, told).await?;
            reports.push(report);
        }
        let noted = "select coalesce(sum(b.blocks), 0)::bigint, coalesce(sum(b.records), 0)::bigint \
                     from batches b join seals z using (lane) where b.seq > z.upto";
        let row = transaction.query_one(noted, &[]).await.map_err(sql("count"))?;
        let noted: (i64, i64) = (row.get(0), row.get(1));
        let found = reports.iter().fold((0, 0), |(blocks, records), report| {
            (blocks + report.blocks as i64, records + report.records as i64)
        });
        // A block that cannot be read has told of its records already.
        if noted.0 != found.0 || (noted.1 != found.1 && reports.iter().all(|report| report.faults == 0)) {
            reports[0].faults += 1;
            told(Fault {
                table: "batches".to_owned(),
                block: None,
                what: format!(
                    "the writers noted {} records in {} fresh blocks, there are {} in {}",
                    noted.1, noted.0, found.1, found.0
                ),
                repaired: false,
            });
        }
        transaction.commit().await.map_err(sql("end reading"))?;
        Ok(reports)
    }

    /// Compares what is stored with the counts per minute. Call after all tables were verified.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        counts::read(&self.client, self.reader.adjusted).await
    }
}

/// Whether the error says that PostgreSQL's own files are damaged, rather than blocks of Cordwood in them.
fn is_damage(error: &StoreError) -> bool {
    error.code().is_some_and(|code| [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code))
}
