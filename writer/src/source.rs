//! The trait of what messages come from: Kafka, or a queue in this process. The writer alone says where reading starts, from PostgreSQL's
//! positions; a source never chooses.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use bytes::Bytes;
use cordwood_core::batch::Provenance;
use cordwood_store::commit::Position;

/// One message with its Kafka coordinates.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic_partition: u32,
    pub kafka_offset: u64,
    pub provenance: Provenance,
    pub payload: Bytes,
}

#[derive(Debug)]
pub enum Event {
    /// In order within each topic partition, beginning where `start` said.
    Messages(Vec<Message>),
    /// Other topic partitions than before, or a place to begin is needed: nothing comes until the next `start`.
    Reassigned,
    /// Nothing will come any more.
    Ended,
    /// Nothing will come any more, and something should: the process must end and be started again.
    Broken(String),
}

/// What a source says about itself for `/status`, metrics and probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Messages not yet read, by topic partition.
    pub lag: BTreeMap<u32, u64>,
    /// Topic partitions that are not read, and why: somebody must decide.
    pub stopped: BTreeMap<u32, String>,
    /// Why nothing comes at all, if so.
    pub trouble: Option<String>,
}

pub trait Source: Send + 'static {
    /// The topic's name, as `positions` records it.
    fn topic(&self) -> &str;

    /// Waits for the next event. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Event> + Send;

    /// Begins again at these positions, at the beginning for a topic partition that has none. What was read and not
    /// committed comes again.
    fn start(&mut self, positions: &HashMap<u32, Position>) -> impl Future<Output = ()> + Send;

    /// PostgreSQL has everything below these offsets.
    fn committed(&mut self, positions: &[(u32, u64)]);

    fn status(&self) -> SourceStatus;
}

/// What `positions.last_hash` holds of a message.
pub fn message_hash(payload: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64(payload) as i64
}
