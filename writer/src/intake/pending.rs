//! Holds the transaction in the making: open blocks by tenant and level group, and the counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cordwood_core::block::{BlockBuilder, EncodedBlock};
use cordwood_core::level::{Level, LevelGroup};
use cordwood_core::origin::Origin;
use cordwood_core::record::Record;
use cordwood_store::commit::{
    BlockRow, Commit, DeadLetter, FileKey, LossRow, OffsetGap, Others, PositionStep, RollupRow, TaskRow,
    WatermarkStep,
};

use super::Prepared;
use super::dead_letter_limit::DeadLetterLimit;
use super::errors::Errors;
use super::tasks::TaskCuts;
use crate::feed::FeedRecord;
use crate::source::Message;

/// zstd's level for fresh blocks: they live for minutes.
const FRESH_LEVEL: i32 = 1;
const SPARE_BUILDERS_MAX: usize = 128;

/// What records are counted by, minute by minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RollupKey {
    pub minute_us: i64,
    pub tenant: Arc<str>,
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub source: Arc<str>,
    pub level: Level,
}

#[derive(Default)]
pub struct Pending {
    open: HashMap<(Arc<str>, LevelGroup), BlockBuilder>,
    /// Builders keep buffers and contexts: worth reusing.
    spare: Vec<BlockBuilder>,
    blocks: Vec<BlockRow>,
    positions: HashMap<u32, PositionStep>,
    watermarks: HashMap<FileKey, Vec<WatermarkStep>>,
    rollup: HashMap<RollupKey, (u64, u64)>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_limit: DeadLetterLimit,
    pub foreign: BTreeMap<u32, (u64, u64)>,
    pub losses: Vec<LossRow>,
    pub gaps: Vec<OffsetGap>,
    pub feed: Vec<FeedRecord>,
    pub tasks: Vec<TaskRow>,
    pub task_cuts: TaskCuts,
    pub errors: Errors,
    pub records: usize,
    pub bytes: usize,
    pub messages: usize,
    pub duplicates: u64,
    /// Bytes that were told as lost and came after all.
    pub filled_bytes: u64,
    /// Records whose bodies were cut here.
    pub cut_records: u64,
}

impl Pending {
    pub fn push(&mut self, tenant: &Arc<str>, record: &Record<'_>, origin: &Origin) {
        self.records += 1;
        self.bytes += record.body.len();
        let group = record.level.group();
        let key = (tenant.clone(), group);
        let builder = self.open.entry(key).or_insert_with(|| self.spare.pop().unwrap_or_default());
        if !builder.push(record, origin) {
            let block = builder.finish(FRESH_LEVEL);
            self.blocks.push(row(group, tenant.clone(), block));
            // An empty block takes any record.
            let _ = builder.push(record, origin);
        }
    }

    pub fn block_count(&self) -> usize {
        self.blocks.len() + self.open.len()
    }

    /// The topic partition's position moves over this message; `known` is where it stood before this transaction.
    pub fn advance(&mut self, message: &Message, known: Option<u64>, hash: i64) {
        self.messages += 1;
        let step = self.positions.entry(message.topic_partition).or_insert(PositionStep {
            topic_partition: message.topic_partition,
            from: known,
            to: 0,
            last_hash: 0,
        });
        step.to = message.kafka_offset + 1;
        step.last_hash = hash;
    }

    pub fn watermark(&mut self, step: WatermarkStep) {
        let file = FileKey { stream: step.key.stream.clone(), file: step.key.file };
        let steps = self.watermarks.entry(file).or_default();
        for known in steps.iter_mut() {
            // Told as a loss in this very transaction, by another topic partition.
            known.missing = known.missing.without_all(&step.added);
        }
        let same = |known: &&mut WatermarkStep| known.key.topic_partition == step.key.topic_partition;
        match steps.iter_mut().find(same) {
            Some(known) => {
                known.added.add_all(&step.added);
                known.missing.add_all(&step.missing);
                known.fills |= step.fills;
                if step.others == Others::Some {
                    known.others = Others::Some;
                }
                known.brought = step.brought;
                known.origin = step.origin;
                known.counts += step.counts;
            }
            None => steps.push(step),
        }
    }

    pub fn rollup(&mut self, key: RollupKey, count: u64, bytes: u64) {
        let counters = self.rollup.entry(key).or_default();
        counters.0 += count;
        counters.1 += bytes;
    }

    pub fn dead_letter(&mut self, message: &Message, reason: String, now_us: i64) {
        let letter = DeadLetter {
            topic_partition: message.topic_partition,
            kafka_offset: message.kafka_offset,
            reason,
            payload: message.payload.clone(),
            bytes: message.payload.len() as u64,
            messages: 1,
        };
        self.dead_letter_limit.add(letter, now_us, &mut self.dead_letters);
        self.bytes += message.payload.len();
    }

    /// Everything gathered, leaving this empty for the next transaction.
    pub fn finish(&mut self) -> Prepared {
        let open = std::mem::take(&mut self.open);
        for ((tenant, group), mut builder) in open {
            if !builder.is_empty() {
                let block = builder.finish(FRESH_LEVEL);
                self.blocks.push(row(group, tenant, block));
            }
            if self.spare.len() < SPARE_BUILDERS_MAX {
                self.spare.push(builder);
            }
        }
        let rollup = self.rollup.drain().map(|(key, (count, bytes))| {
            let RollupKey { minute_us, tenant, namespace, service, source, level } = key;
            RollupRow { minute_us, tenant, namespace, service, source, level, count, bytes }
        });
        let commit = Commit {
            blocks: std::mem::take(&mut self.blocks),
            records: self.records as u64,
            positions: self.positions.drain().map(|(_, step)| step).collect(),
            watermarks: self.watermarks.drain().flat_map(|(_, steps)| steps).collect(),
            rollup: rollup.collect(),
            errors: self.errors.take_rows(),
            losses: std::mem::take(&mut self.losses),
            gaps: std::mem::take(&mut self.gaps),
            dead_letters: std::mem::take(&mut self.dead_letters),
            tasks: std::mem::take(&mut self.tasks),
            foreign: std::mem::take(&mut self.foreign),
        };
        let prepared = Prepared {
            commit,
            feed: std::mem::take(&mut self.feed),
            messages: self.messages as u64,
            duplicates: self.duplicates,
            filled_bytes: self.filled_bytes,
            cut_records: self.cut_records,
            task_cuts: std::mem::take(&mut self.task_cuts),
            raw_bytes: self.bytes as u64,
            other_errors: std::mem::take(&mut self.errors.others),
        };
        (self.records, self.bytes, self.messages) = (0, 0, 0);
        (self.duplicates, self.filled_bytes, self.cut_records) = (0, 0, 0);
        prepared
    }
}

fn row(group: LevelGroup, tenant: Arc<str>, block: EncodedBlock) -> BlockRow {
    BlockRow::of(group as i32, tenant, block)
}
