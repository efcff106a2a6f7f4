//! Takes in one batch: finds which of its records are new, adjusts their times, and adds to the counters.

use std::collections::HashMap;
use std::sync::Arc;

use cordwood_core::admit::{Admission, admit};
use cordwood_core::batch::{BatchHeader, DecodedBatch, DecodedRecord, LossRange};
use cordwood_core::fields::{self, Field};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::{TIME_FUTURE_US_MAX, TIME_PAST_US_MAX, WATERMARK_HOLES_MAX};
use cordwood_core::ranges::Ranges;
use cordwood_core::record::{Flags, Record};
use cordwood_core::task::may_name_a_task;
use cordwood_store::commit::{FileKey, LossRow, MISSING, Others, StreamCounts, WatermarkKey, WatermarkStep};
use memchr::memmem;

use super::pending::RollupKey;
use super::shared::{MINUTE_US, Shared};
use super::{Intake, Remembered};
use crate::feed::FeedRecord;
use crate::source::Message;

impl Intake {
    /// `index`: the next record's place in its message.
    pub(super) fn take_batch(
        &mut self,
        message: &Message,
        batch: DecodedBatch,
        index: &mut u32,
        now_us: i64,
    ) {
        let origin = batch.origin;
        // Each was asked for: see `Intake::unknown`.
        let origin_id = self.origins.get(&origin).copied().unwrap_or_else(|| origin.id());
        let (tenant, namespace) = (self.intern(&origin.tenant), self.intern(&origin.namespace));
        let service = self.intern(&origin.service);
        let shared = Shared { message, origin_id, origin: &origin, tenant, namespace, service };
        self.pending.cut_records += u64::from(batch.cut_records);
        let first_index = *index;
        *index += batch.records.len() as u32;
        let Some(header) = batch.header else {
            let bytes: usize = batch.records.iter().map(|record| record.body.len()).sum();
            let counts = self.pending.foreign.entry(message.topic_partition).or_default();
            counts.0 += batch.records.len() as u64;
            counts.1 += bytes as u64;
            self.take_records(&shared, &batch.records, first_index, now_us);
            return;
        };
        let key = WatermarkKey {
            stream: header.stream.clone(),
            file: header.file,
            topic_partition: message.topic_partition,
        };
        let file = FileKey { stream: header.stream.clone(), file: header.file };
        let mut stored = self.watermarks.remove(&file).map(|known| known.stored).unwrap_or_default();
        let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
        let admission = admit(&stored.held(), header.prev, header.end, &positions);
        let mut counts = counts(&header, &admission, batch.records.len());
        let mut missing = Ranges::default();
        if let Some((from, to)) = admission.loss {
            // The agent's batches tile the file; a hole between them is bytes that nobody accounted for (yet).
            let loss = LossRange { from, bytes: to - from, exact: false, reason: MISSING.to_owned() };
            self.tell(&shared, loss_record(&header, &loss, now_us), index, now_us, &mut counts);
            missing.add(from, to);
            self.note_loss(&shared, &key, &loss, &mut counts);
        }
        if let Some(loss) = &header.loss
            && !admission.added.is_empty()
        {
            self.note_loss(&shared, &key, loss, &mut counts);
        }
        for (from, to) in admission.filled.iter() {
            self.tell(&shared, came_record(&header, from, to, now_us), index, now_us, &mut counts);
        }
        for new in &admission.new {
            let first = first_index + new.start as u32;
            self.take_records(&shared, &batch.records[new.clone()], first, now_us);
        }
        self.pending.duplicates += admission.duplicates as u64;
        self.pending.filled_bytes += admission.filled.length();
        let others = stored.others_of(message.topic_partition);
        let brought = stored.brought.entry(message.topic_partition).or_default();
        brought.add_all(&admission.added);
        brought.close_holes(WATERMARK_HOLES_MAX);
        let step = WatermarkStep {
            key,
            brought: brought.clone(),
            fills: !admission.filled.is_empty(),
            added: admission.added,
            missing,
            others,
            origin: origin_id,
            counts,
        };
        stored.shared |= others == Others::Some;
        self.watermarks.insert(file, Remembered { stored, used: self.transaction });
        self.pending.watermark(step);
    }

    /// A record of the writer's own in the stream.
    fn tell(
        &mut self,
        shared: &Shared<'_>,
        record: DecodedRecord,
        index: &mut u32,
        now_us: i64,
        counts: &mut StreamCounts,
    ) {
        self.take_records(shared, &[record], *index, now_us);
        *index += 1;
        counts.records += 1;
        counts.lines += 1;
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

    fn take_records(&mut self, shared: &Shared<'_>, records: &[DecodedRecord], first: u32, now_us: i64) {
        let mut minutes = MinuteCounts::default();
        // Bodies are slices of the message: one look at all of it, which records without a task pay.
        let has_tasks = may_name_a_task(&shared.message.payload);
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
            if has_tasks {
                let line = self.pending.task_cuts.line(shared, &record, shared.origin);
                self.pending.tasks.extend(line);
            }
            self.count_error(shared, &record, now_us);
            minutes.add(time_us.div_euclid(MINUTE_US), decoded.level, source_of(body), body.len());
            if self.with_feed {
                let record = FeedRecord {
                    id,
                    time_us,
                    original_time_us,
                    level,
                    flags,
                    origin: shared.origin.clone(),
                    body: FeedRecord::body_of(&decoded.body),
                    body_bytes: decoded.body.len(),
                };
                self.pending.feed.push(record);
            }
        }
        let sources: Vec<Arc<str>> = std::mem::take(&mut minutes.sources)
            .iter()
            .map(|source| {
                let apart =
                    self.sources.counts_apart(now_us / MINUTE_US, &shared.tenant, &shared.service, source);
                self.intern(if apart { source } else { "" })
            })
            .collect();
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

fn loss_record(header: &BatchHeader, loss: &LossRange, now_us: i64) -> DecodedRecord {
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

/// The loss that was told before does not stand.
fn came_record(header: &BatchHeader, from: u64, to: u64, now_us: i64) -> DecodedRecord {
    let bytes = to - from;
    let body = serde_json::json!({
        "cordwood": "loss_withdrawn", "stream": header.stream, "file": header.file.to_string(), "from": from, "bytes": bytes,
        "message": format!("{bytes} bytes that were said to be lost came after all, by another topic partition"),
    });
    DecodedRecord {
        time_ns: now_us.saturating_mul(1000),
        level: Level::Info,
        flags: Flags::default(),
        position: to,
        body: body.to_string().into_bytes().into(),
    }
}

/// What this batch adds to its stream's counters. Always: lines = records + gated + limited + rejected. Of a batch that was seen
/// in part the records are counted one by one; where its gated, limited and rejected lines and its bytes lie nobody wrote down, so
/// they are counted by the part of its range that is new.
fn counts(header: &BatchHeader, admission: &Admission, records: usize) -> StreamCounts {
    let duplicates = admission.duplicates as u64;
    let (new, range) = (admission.added.length(), header.end - header.prev);
    // To the nearest: what many small overlaps cut off and add evens out.
    let share = |count: u64| match u128::from(range) {
        0 => 0,
        range => ((u128::from(count) * u128::from(new) + range / 2) / range) as u64,
    };
    let stored = records as u64 - duplicates;
    let (gated, limited, rejected) = (share(header.gated), share(header.limited), share(header.rejected));
    StreamCounts {
        lines: stored + gated + limited + rejected,
        bytes: share(header.bytes),
        records: stored,
        gated,
        limited,
        rejected,
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
