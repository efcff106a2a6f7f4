//! What the writer's transaction holds: fresh blocks, Kafka positions, watermarks and all counters. It is stored as a whole or not at all.
//!
//! Two conditions fence a zombie out: the transaction's number is claimed by an insert that depends on the last one, and
//! every Kafka position moves only from the value that this writer knows. After an error of any kind the writer takes a new lane, reads
//! the positions again and continues there. That also settles a commit whose outcome is unknown, because the position's row stays locked
//! until the first attempt is decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cordwood_core::identity::{FileId, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::origin::OriginId;
use cordwood_core::ranges::Ranges;

use crate::error::StoreError;
pub use crate::error_rows::ErrorRow;
pub use crate::ring::{BlockRow, FreshBlock};
pub use crate::task_rows::TaskRow;

/// One transaction of the writer.
#[derive(Debug, Default)]
pub struct Commit {
    /// At most [`crate::ring::BLOCKS_PER_COMMIT_MAX`].
    pub blocks: Vec<FreshBlock>,
    pub records: u64,
    pub positions: Vec<PositionStep>,
    pub watermarks: Vec<WatermarkStep>,
    pub rollup: Vec<RollupRow>,
    pub errors: Vec<ErrorRow>,
    pub losses: Vec<LossRow>,
    pub gaps: Vec<OffsetGap>,
    pub dead_letters: Vec<DeadLetter>,
    /// In the order of the records.
    pub tasks: Vec<TaskRow>,
    /// By topic partition: records of other producers than agents, and their bytes.
    pub foreign: BTreeMap<u32, (u64, u64)>,
}

/// A topic partition's position moves from what the writer knew to what it has consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionStep {
    pub topic_partition: u32,
    /// `None`: this partition has no row yet.
    pub from: Option<u64>,
    /// The next Kafka offset.
    pub to: u64,
    /// Hash of the last message's payload.
    pub last_hash: i64,
}

/// What this topic partition brought of a stream's file, and what to add to its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkStep {
    pub key: WatermarkKey,
    /// All that it brought.
    pub brought: Ranges,
    /// Of it, what this transaction stores.
    pub added: Ranges,
    /// What this transaction tells as a loss: gaps that no batch brought.
    pub missing: Ranges,
    /// Something that was told as a loss is in `added`.
    pub fills: bool,
    pub others: Others,
    pub origin: OriginId,
    pub counts: StreamCounts,
}

/// What the writer knows of the other topic partitions that brought something of the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// There is none, and this one has its row: a new one marks that row first.
    None,
    /// This one has no row yet, and no other had one when the writer asked.
    Unknown,
    /// There are some.
    Some,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    pub stream: StreamKey,
    pub file: FileId,
}

/// A row of `watermarks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatermarkKey {
    pub stream: StreamKey,
    pub file: FileId,
    pub topic_partition: u32,
}

/// What is stored of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// By topic partition, the ranges that it brought. No position is in two of them.
    pub brought: BTreeMap<u32, Ranges>,
    /// A row is marked: several topic partitions brought something.
    pub shared: bool,
}

impl Watermarks {
    /// What all topic partitions brought.
    pub fn held(&self) -> Ranges {
        let mut rows = self.brought.values();
        let mut held = rows.next().cloned().unwrap_or_default();
        rows.for_each(|ranges| held.add_all(ranges));
        held
    }

    pub fn others_of(&self, topic_partition: u32) -> Others {
        match (self.shared, self.brought.len(), self.brought.contains_key(&topic_partition)) {
            (false, 0, _) => Others::Unknown,
            (false, 1, true) => Others::None,
            _ => Others::Some,
        }
    }
}

/// Lines and bytes are what the agent read from the file; records what was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    pub lines: u64,
    pub bytes: u64,
    pub records: u64,
    pub gated: u64,
    pub limited: u64,
    pub rejected: u64,
    pub duplicates: u64,
    pub lost_bytes: u64,
}

impl std::ops::AddAssign for StreamCounts {
    fn add_assign(&mut self, other: StreamCounts) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.records += other.records;
        self.gated += other.gated;
        self.limited += other.limited;
        self.rejected += other.rejected;
        self.duplicates += other.duplicates;
        self.lost_bytes += other.lost_bytes;
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRow {
    pub minute_us: i64,
    pub tenant: Arc<str>,
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub source: Arc<str>,
    pub level: Level,
    pub count: u64,
    pub bytes: u64,
}

/// Reason of a loss that the writer found: a batch that no topic partition brought (yet).
pub const MISSING: &str = "a batch is missing on the way from the agent";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRow {
    pub tenant: Arc<str>,
    pub key: WatermarkKey,
    pub from: u64,
    pub bytes: u64,
    pub exact: bool,
    pub reason: String,
}

/// Messages `from..to` of a topic partition that Kafka did not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetGap {
    pub topic_partition: u32,
    pub from: u64,
    pub to: u64,
    /// Reading began behind them: what of them was stored under a position that was deleted is not known.
    pub begun: bool,
}

impl OffsetGap {
    pub fn reason(&self) -> &'static str {
        if self.begun {
            "reading began here: Kafka no longer had them, and whether they were stored before is not known"
        } else {
            "Kafka gave no message there: damaged, deleted, expired, or no message but the mark that ends a transaction"
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub topic_partition: u32,
    pub kafka_offset: u64,
    pub reason: String,
    /// All of the message, or its beginning.
    pub payload: Bytes,
    /// How long it was.
    pub bytes: u64,
    /// How many messages this stands for: this one, and others whose payloads are not kept.
    pub messages: u64,
}

/// A topic partition's position as PostgreSQL has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub topic: String,
    pub next_offset: u64,
    pub last_hash: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer has moved this topic partition: read the positions again.
    #[error("topic partition {topic_partition} is no longer at {expected:?}: another writer moved it")]
    Fenced { topic_partition: u32, expected: Option<u64> },
    /// Another session has used this lane's number: take a lane again.
    #[error("transaction {seq} of lane {lane} was already used: this lane is another writer's")]
    Lane { lane: i16, seq: i64 },
    /// Another writer stored a part of the same file by another topic partition: read the watermarks again.
    #[error(
        "a part of {stream} was stored by another topic partition meanwhile: the watermarks are read again"
    )]
    Overlap { stream: StreamKey },
    /// COMMIT was sent and its answer never came. The positions tell.
    #[error("the answer to COMMIT was lost: {0}")]
    Unknown(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub lane: i16,
    pub seq: i64,
    /// Lines that were added to tasks; those of deleted tasks were not.
    pub task_lines: u64,
}
