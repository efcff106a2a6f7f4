//! Opens fetched blocks on a blocking thread, because decompression takes CPU time. The origins of their records are read before.

use std::sync::Arc;

use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::Screen;
use cordwood_core::origin::{Origin, OriginId};
use tokio_postgres::Transaction;

use super::fetch::Payload;
use super::page::Direction;
use crate::error::StoreError;
use crate::origins;

/// What is made of records.
pub(super) trait Looks: Sized + Send + 'static {
    fn knows(&self, origin: OriginId) -> bool;

    fn learn(&mut self, id: OriginId, origin: Origin);

    /// All origins of the block are known.
    fn block(&mut self, block: &Block<'_>) -> Result<(), BlockError>;
}

pub(super) async fn look<L: Looks>(
    mut looks: L,
    transaction: &Transaction<'_>,
    payloads: Vec<Payload>,
) -> Result<L, StoreError> {
    let payloads = Arc::new(payloads);
    loop {
        let these = Arc::clone(&payloads);
        let missing;
        (looks, missing) = tokio::task::spawn_blocking(move || {
            let missing = once(&mut looks, &these);
            (looks, missing)
        })
        .await
        .map_err(|error| StoreError::Invalid(format!("a search did not end: {error}")))?;
        if missing.is_empty() {
            return Ok(looks);
        }
        let found = origins::read(transaction, &missing).await?;
        for id in missing {
            looks.learn(id, found.get(&id).cloned().unwrap_or_default());
        }
    }
}

/// Returns origins that have to be known first; then nothing was looked through.
fn once(looks: &mut impl Looks, payloads: &[Payload]) -> Vec<OriginId> {
    let mut opened = Vec::with_capacity(payloads.len());
    for payload in payloads {
        match Block::open(&payload.bytes) {
            Ok(block) => opened.push((payload.block, block)),
            Err(error) => damaged(payload.block, &error),
        }
    }
    let all = opened.iter().flat_map(|(_, block)| block.origins());
    let mut missing: Vec<OriginId> = all.filter(|id| !looks.knows(**id)).copied().collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        for (id, block) in &opened {
            if let Err(error) = looks.block(block) {
                damaged(*id, &error);
            }
        }
    }
    missing
}

/// Those records that a screen lets through, in the order of the block or against it: sealed blocks are in the order of time.
pub(super) fn screened(
    block: &Block<'_>,
    screen: &Screen<'_>,
    direction: Direction,
    mut each: impl FnMut(usize) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let records = screen.of_block(block)?;
    match (records, direction) {
        (Some(records), Direction::OldestFirst) => {
            records.iter().try_for_each(|&record| each(record as usize))
        }
        (Some(records), Direction::NewestFirst) => {
            records.iter().rev().try_for_each(|&record| each(record as usize))
        }
        (None, Direction::OldestFirst) => (0..block.len()).try_for_each(each),
        (None, Direction::NewestFirst) => (0..block.len()).rev().try_for_each(each),
    }
}

/// A damaged block hides its own records, not the others'.
fn damaged(block: i64, error: &BlockError) {
    tracing::error!(block, %error, "block does not open");
}
