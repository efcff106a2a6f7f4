//! What blocks hold: postings, and payloads, from the table where each lies.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cordwood_core::block::postings::Postings;
use cordwood_core::tokens::{Token, TokenVersion};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::list::Candidate;
use super::wanted::Wanted;
use crate::error::StoreError;

/// What a block holds.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    pub block: i64,
    pub bytes: Bytes,
    /// As [`Candidate::records`].
    pub records: Option<Arc<[Range<u32>]>>,
}

/// The postings of those of these blocks that have any.
pub(super) async fn postings(
    transaction: &Transaction<'_>,
    blocks: &[Candidate],
) -> Result<Vec<Row>, StoreError> {
    let blocks: Vec<&Candidate> = blocks.iter().filter(|block| block.postings_bytes > 0).collect();
    fetch(transaction, "postings", &blocks).await
}

/// Those of these blocks, in their order, in which one record may have all that is wanted, as far as [`postings`] tell.
pub(super) fn meeting(wanted: &Wanted, blocks: Vec<Candidate>, postings: &[Row]) -> Vec<Candidate> {
    let clauses = |version: TokenVersion| -> Vec<Vec<Token>> {
        wanted.tokens.of(version).iter().cloned().chain(wanted.levels()).collect()
    };
    let (current, first) = (clauses(TokenVersion::Current), clauses(TokenVersion::First));
    let may_meet = |postings: &Postings<'_>| match postings.token_version() {
        TokenVersion::Current => postings.may_meet(&current),
        TokenVersion::First => postings.may_meet(&first),
    };
    let mut apart = HashSet::new();
    for row in postings {
        let id: i64 = row.get(0);
        match Postings::open(row.get(1)) {
            Ok(Some(postings)) if !may_meet(&postings) => {
                apart.insert(id);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(block = id, %error, "postings do not open, so the block is"),
        }
    }
    blocks.into_iter().filter(|block| !apart.contains(&block.id)).collect()
}

/// The payloads of these blocks, in their order.
pub(super) async fn payloads(
    transaction: &Transaction<'_>,
    blocks: &[Candidate],
) -> Result<Vec<Payload>, StoreError> {
    let rows = fetch(transaction, "payload", &blocks.iter().collect::<Vec<_>>()).await?;
    let mut found: HashMap<i64, Bytes> =
        rows.iter().map(|row| (row.get(0), Bytes::copy_from_slice(row.get(1)))).collect();
    blocks
        .iter()
        .map(|block| {
            let payload = |bytes| Payload { block: block.id, bytes, records: block.records.clone() };
            found.remove(&block.id).map(payload).ok_or_else(|| StoreError::Decode {
                thing: format!("block {} of {}", block.id, block.table),
                message: "it is gone within a snapshot".to_owned(),
            })
        })
        .collect()
}

/// Ids of these blocks and what stands in a column, in one flight: a statement for each table they lie in.
async fn fetch(
    transaction: &Transaction<'_>,
    column: &str,
    blocks: &[&Candidate],
) -> Result<Vec<Row>, StoreError> {
    let mut tables: Vec<&str> = blocks.iter().map(|block| block.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    let fetch = tables.iter().map(|table| async move {
        let places: Vec<&str> =
            blocks.iter().filter(|b| b.table == *table).map(|b| b.ctid.as_str()).collect();
        // The name is PostgreSQL's own, quoted by regclass; ids make sure that a place still is what was listed.
        let sql = format!("select id, {column} from {table} where ctid = any($1::text[]::tid[])");
        transaction
            .query_typed(&sql, &[(&places, Type::TEXT_ARRAY)])
            .await
            .map_err(StoreError::sql("read blocks of", *table))
    });
    Ok(futures::future::try_join_all(fetch).await?.into_iter().flatten().collect())
}
