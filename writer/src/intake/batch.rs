//! One batch: what of it is new, its records with their times set right, its share of the counters.

use std::collections::HashMap;
use std::sync::Arc;

use cordwood_core::admit::{Admission, admit};
use cordwood_core::batch::{BatchHeader, DecodedBatch, DecodedRecord, LossRange};
use cordwood_core::fields::{self, Field};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::{TIME_FUTURE_US_MAX, TIME_PAST_US_MAX};
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};
use cordwood_store::commit::{LossRow, StreamCounts, Watermark, WatermarkKey, WatermarkStep};
use memchr::memmem;

use super::pending::RollupKey;
use super::{Intake, Remembered};
use crate::feed::FeedRecord;
use crate::source::Message;

const MINUTE_US: i64 = 60_000_000;

/// What all records of a batch share.
struct Shared<'a> {
    message: &'a Message,
    origin_id: OriginId,
    origin: &'a Arc<Origin>,
    tenant: Arc<str>,
    namespace: Arc<str>,
    service: Arc<str>,
}

impl Intake {
    /// `index`: the next record's place in its message.
    pub(super) fn take_batch(
        &mut self,
        message: &Message,
        batch: DecodedBatch,
        index: &mut u32,
        now_us: i64,
    ) {
        let (origin_id, origin) = self.intern_origin(batch.origin);
        let (tenant, namespace) = (self.intern(&origin.tenant), self.intern(&origin.namespace));
        let service = self.intern(&origin.service);
        let shared = Shared { message, origin_id, origin: &origin, tenant, namespace, service };
        let first_index = *index;
        *index += batch.records.len() as u32;
        let Some(header) = batch.header else {
            self.take_records(&shared, &batch.records, first_index, now_us);
            return;
        };
        let key = WatermarkKey {
            stream: header.stream.clone(),
            file: header.file,
            topic_partition: message.topic_partition,
        };
        let watermark = match self.watermarks.get(&key).and_then(|remembered| remembered.end) {
            Some(Watermark::Here(end)) => Some(end),
            // The other topic partition may not be consumed up to here yet: no hole can be told from that.
            Some(Watermark::Elsewhere(end)) => Some(end.max(header.prev)),
            None => None,
        };
        let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
        let admission = admit(watermark, header.prev, header.end, &positions);
        let mut counts = counts(&header, watermark, &admission, batch.records.len());
        if let Some((from, to)) = admission.loss {
            // The agent's batches tile the file; a hole between them is bytes that nobody accounted for.
            let reason = "a batch is missing on the way from the agent".to_owned();
            let loss = LossRange { from, bytes: to - from, exact: false, reason };
            let record = self.loss_record(&header, &loss, now_us);
            self.take_records(&shared, &[record], *index, now_us);
            *index += 1;
            counts.records += 1;
            counts.lines += 1;
            self.note_loss(&shared, &key, &loss, &mut counts);
        }
        if let Some(loss) = &header.loss
            && watermark.is_none_or(|end| end < header.end)
        {
            self.note_loss(&shared, &key, loss, &mut counts);
        }
        let new = &batch.records[admission.first_new.min(batch.records.len())..];
        self.take_records(&shared, new, first_index + admission.first_new as u32, now_us);
        self.pending.duplicates += admission.duplicates as u64;
        let remembered =
            Remembered { end: Some(Watermark::Here(admission.watermark)), used: self.transaction };
        self.watermarks.insert(key.clone(), remembered);
        self.pending.watermark(WatermarkStep { key, end: admission.watermark, origin: origin_id, counts });
    }

    fn note_loss(
        &mut self,
        shared: &Shared<'_>,
        key: &WatermarkKey,
        loss: &LossRange,
        counts: &mut StreamCounts,
    ) {
        counts.lost_bytes += loss.bytes;
        let tenant = shared.tenant.clone();
        let (from, bytes, exact, reason) = (loss.from, loss.bytes, loss.exact, loss.reason.clone());
        self.pending.losses.push(LossRow { tenant, key: key.clone(), from, bytes, exact, reason });
    }

    fn loss_record(&self, header: &BatchHeader, loss: &LossRange, now_us: i64) -> DecodedRecord {
        let body = serde_json::json!({
            "cordwood": "loss", "stream": header.stream, "file": header.file.to_string(),
            "from": loss.from, "bytes": loss.bytes, "exact": loss.exact, "reason": loss.reason,
        });
        DecodedRecord {
            time_ns: now_us.saturating_mul(1000),
            level: Level::Warn,
            flags: Flags::LOSS,
            position: loss.from + loss.bytes,
            body: body.to_string().into_bytes().into(),
        }
    }

    fn take_records(&mut self, shared: &Shared<'_>, records: &[DecodedRecord], first: u32, now_us: i64) {
        let mut minutes = MinuteCounts::default();
        for (place, decoded) in records.iter().enumerate() {
            let (time_us, original_time_us) = adjusted(decoded.time_ns, now_us);
            let mut flags = decoded.flags;
            if original_time_us.is_some() {
                flags = flags | Flags::TIME_ADJUSTED;
            }
            let id = RecordId {
                topic_partition: shared.message.topic_partition,
                kafka_offset: shared.message.kafka_offset,
                index: first + place as u32,
            };
            let (level, origin, body) = (decoded.level, shared.origin_id, &decoded.body[..]);
            let record = Record { time_us, original_time_us, level, flags, origin, id, body };
            self.pending.push(&shared.tenant, &record, shared.origin);
            minutes.add(time_us.div_euclid(MINUTE_US), decoded.level, source_of(body), body.len());
            if self.with_feed {
                let record = FeedRecord {
                    id,
                    time_us,
                    original_time_us,
                    level,
                    flags,
                    origin: shared.origin.clone(),
                    body: decoded.body.clone(),
                };
                self.pending.feed.push(record);
            }
        }
        let sources: Vec<Arc<str>> = minutes.sources.iter().map(|source| self.intern(source)).collect();
        for ((minute, level, source), (count, bytes)) in minutes.into_counts() {
            let key = RollupKey {
                minute_us: minute * MINUTE_US,
                tenant: shared.tenant.clone(),
                namespace: shared.namespace.clone(),
                service: shared.service.clone(),
                source: sources[source].clone(),
                level,
            };
            self.pending.rollup(key, count, bytes);
        }
    }
}

/// What this batch adds to its stream's counters. Always: lines = records + gated + limited + rejected. A batch that was
/// seen whole adds duplicates only; one that was seen in part adds its lines less the duplicates.
fn counts(
    header: &BatchHeader,
    watermark: Option<u64>,
    admission: &Admission,
    records: usize,
) -> StreamCounts {
    let duplicates = admission.duplicates as u64;
    if watermark.is_some_and(|end| end >= header.end) {
        return StreamCounts { duplicates, ..StreamCounts::default() };
    }
    let stored = records as u64 - duplicates.min(records as u64);
    let range = header.end.saturating_sub(header.prev).max(1);
    let new = header.end - watermark.unwrap_or(header.prev).clamp(header.prev.min(header.end), header.end);
    let bytes = u128::from(header.bytes) * u128::from(new) / u128::from(range);
    StreamCounts {
        lines: stored + header.gated + header.limited + header.rejected,
        bytes: if duplicates == 0 { header.bytes } else { bytes as u64 },
        records: stored,
        gated: header.gated,
        limited: header.limited,
        rejected: header.rejected,
        duplicates,
        lost_bytes: 0,
    }
}

/// Microseconds, and the original where it was too far from `now_us` to be believed. A foreign record without a time
/// has the moment of storing.
fn adjusted(time_ns: i64, now_us: i64) -> (i64, Option<i64>) {
    if time_ns == 0 {
        return (now_us, None);
    }
    let time_us = time_ns.div_euclid(1000);
    if time_us < now_us - TIME_PAST_US_MAX || time_us > now_us + TIME_FUTURE_US_MAX {
        return (now_us, Some(time_us));
    }
    (time_us, None)
}

/// The component inside the service, for the rollup: the body is parsed only where it can have one.
fn source_of(body: &[u8]) -> String {
    if memmem::find(body, b"\"source\"").is_none() {
        return String::new();
    }
    let fields = fields::read(body);
    let mut source = fields.get(Field::Source).unwrap_or_default().to_owned();
    cordwood_core::origin::clean_name(&mut source, 128);
    source
}

/// Components of one batch that are counted apart: an application that writes a new one with every record must not grow
/// the rollup by a row per record. What is above counts under none.
const SOURCES_MAX: usize = 64;

/// Minute, level, place of the source.
type MinuteKey = (i64, Level, usize);

/// Counters of one batch.
struct MinuteCounts {
    /// The first is the empty one.
    sources: Vec<String>,
    counts: HashMap<MinuteKey, (u64, u64)>,
    /// What the records before this one share, not in `counts` yet: runs are usual.
    run: Option<(MinuteKey, (u64, u64))>,
}

impl Default for MinuteCounts {
    fn default() -> MinuteCounts {
        MinuteCounts { sources: vec![String::new()], counts: HashMap::new(), run: None }
    }
}

impl MinuteCounts {
    fn add(&mut self, minute: i64, level: Level, source: String, bytes: usize) {
        let key = (minute, level, self.place(source));
        match &mut self.run {
            Some((same, counters)) if *same == key => {
                counters.0 += 1;
                counters.1 += bytes as u64;
            }
            _ => {
                self.end_run();
                self.run = Some((key, (1, bytes as u64)));
            }
        }
    }

    fn place(&mut self, source: String) -> usize {
        if source.is_empty() {
            return 0;
        }
        match self.sources.iter().position(|known| *known == source) {
            Some(place) => place,
            None if self.sources.len() > SOURCES_MAX => 0,
            None => {
                self.sources.push(source);
                self.sources.len() - 1
            }
        }
    }

    fn end_run(&mut self) {
        if let Some((key, (count, bytes))) = self.run.take() {
            let counters = self.counts.entry(key).or_default();
            counters.0 += count;
            counters.1 += bytes;
        }
    }

    fn into_counts(mut self) -> HashMap<MinuteKey, (u64, u64)> {
        self.end_run();
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_for_every_record_counts_under_none() {
        let mut minutes = MinuteCounts::default();
        for record in 0..1000 {
            minutes.add(7, Level::Info, format!("request-{record}"), 10);
            minutes.add(7, Level::Info, "steady".to_owned(), 1);
        }
        let steady = minutes.place("steady".to_owned());
        let counts = minutes.into_counts();
        assert_eq!(counts.len(), SOURCES_MAX + 1);
        assert_eq!(counts[&(7, Level::Info, steady)], (1000, 1000));
        assert_eq!(counts.values().map(|(count, _)| count).sum::<u64>(), 2000);
        assert_eq!(counts.values().map(|(_, bytes)| bytes).sum::<u64>(), 11_000);
    }
}
