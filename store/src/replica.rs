//! How far a replica lags behind the primary: the time between the newest transactions that each of them has.

use std::time::Duration;

use jiff::Timestamp;

use crate::connect::Store;
use crate::error::StoreError;

const NEWEST: &str = "select max(committed_at) from batches";

/// The time between the newest transaction of a writer that `primary` knows and the newest that `replica` knows. While nothing is written,
/// none; a replica that gets nothing any more falls behind with the next transaction.
pub async fn lag(primary: &Store, replica: &Store) -> Result<Duration, StoreError> {
    let newest = async |store: &Store| -> Result<Option<Timestamp>, StoreError> {
        let client = store.pooled().await?.abandonable();
        let row = client.query_one(NEWEST, &[]).await.map_err(StoreError::sql("read", "the newest batch"))?;
        client.finish();
        Ok(row.get(0))
    };
    // The replica first: what it gets meanwhile is in its favour.
    let there = newest(replica).await?;
    let (Some(here), there) = (newest(primary).await?, there) else { return Ok(Duration::ZERO) };
    let Some(there) = there else { return Ok(Duration::MAX) };
    Ok(Duration::try_from(here.duration_since(there)).unwrap_or(Duration::ZERO))
}
