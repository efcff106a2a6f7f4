//! Reads from PostgreSQL where writing begins: at the start of the program and after every fault. [`crate::run`] calls it whenever
//! `cordwood_core::recovery` says `Begin`; recovery itself reads nothing.

use std::collections::HashMap;

use cordwood_store::commit::Position;
use cordwood_store::lane::Lane;
use cordwood_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::deadline::unless_ending;

/// What the next transactions start from.
pub struct Beginning {
    pub lane: Lane,
    pub clock: Clock,
    /// By topic partition: the position behind what is stored.
    pub positions: HashMap<u32, Position>,
}

impl Beginning {
    /// Reads it from PostgreSQL, in the lane that was kept, or in another one.
    ///
    /// # Errors
    /// When PostgreSQL does not answer, or (`StoreError::Invalid`) its positions are of another topic.
    pub async fn read(
        store: &Store,
        shutdown: &CancellationToken,
        kept: Option<Lane>,
        topic: &str,
    ) -> Result<Beginning, StoreError> {
        let asked = async {
            let lane = match kept {
                Some(lane) => lane,
                None => Lane::claim(store).await?,
            };
            // Watermarks and origins are read where the lane is: after a failover idle sessions may be another server's.
            store.forget_idle();
            let clock = Clock::read(store).await?;
            let positions = lane.read_positions(topic).await?;
            Ok(Beginning { lane, clock, positions })
        };
        unless_ending(store, shutdown, asked).await
    }
}
