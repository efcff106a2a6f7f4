//! Checks that every line that was written is stored exactly once, intact, in order, under its tenant. Compares what generators wrote
//! (`Ledger`) with every record in PostgreSQL, fresh and sealed, and says what is wrong, law by law (see [`report`]).
//!
//! A record is recognised by its own words and then generated again: any changed byte shows. Lines too short for words are told by the
//! lines beside them, since positions must rise.

pub mod ledger;
pub mod read;
mod report;

use std::collections::BTreeMap;
use std::collections::HashMap;

use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};
use cordwood_generator::Stream;

pub use ledger::{Ledger, Written};
pub use read::{read, reconcile};
pub use report::{Finding, Law, Report};

/// What PostgreSQL counts beside the records.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By (stream key, topic partition): a row of `watermarks`, summed over files.
    pub watermarks: BTreeMap<String, WatermarkSum>,
    /// (topic partition, next offset).
    pub positions: Vec<(u32, u64)>,
    pub dead_letters: u64,
    /// (stream key, bytes).
    pub losses: Vec<(String, u64)>,
    /// Records that the sealer found expired.
    pub expired: u64,
    pub fresh_blocks: u64,
    pub sealed_blocks: u64,
}

/// Sums over a stream's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatermarkSum {
    pub files: u64,
    pub lines: u64,
    pub records: u64,
    pub gated: u64,
    pub limited: u64,
    pub rejected: u64,
    pub duplicates: u64,
    pub lost_bytes: u64,
}

/// One container's stdout or stderr, all its restarts: as far as a stored record tells.
type Group = (OriginId, bool);

/// Where a record lies; the order of a stream.
type Place = (u32, u64, u32);

#[derive(Clone, Copy, Debug)]
struct Seen {
    place: Place,
    /// Index of the generator's stream; [`BARE`] for a line without words.
    stream: u32,
    seq: u64,
    /// Length and first byte of a bare line.
    bare: (u32, u8),
}

const BARE: u32 = u32::MAX;

/// Takes every stored record, in any order, then judges.
pub struct Reconciler {
    ledger: Ledger,
    origins: HashMap<OriginId, Origin>,
    streams: Vec<Stream>,
    names: HashMap<(String, String, bool), u32>,
    groups: HashMap<Group, Vec<Seen>>,
    /// The highest Kafka offset of a stored record, by topic partition.
    offsets: BTreeMap<u32, u64>,
    report: Report,
    scratch: Vec<u8>,
}

impl Reconciler {
    pub fn new(ledger: Ledger, origins: HashMap<OriginId, Origin>) -> Reconciler {
        Reconciler {
            ledger,
            origins,
            streams: Vec::new(),
            names: HashMap::new(),
            groups: HashMap::new(),
            offsets: BTreeMap::new(),
            report: Report::default(),
            scratch: Vec::new(),
        }
    }

    /// One stored record.
    pub fn record(&mut self, record: &Record<'_>) {
        self.report.records += 1;
        self.report.bytes += record.body.len() as u64;
        let place = (record.id.topic_partition, record.id.kafka_offset, record.id.index);
        let highest = self.offsets.entry(place.0).or_default();
        *highest = place.1.max(*highest);
        if record.flags.has(Flags::LOSS) {
            self.report.loss_records += 1;
            return;
        }
        let group = (record.origin, record.flags.has(Flags::STDERR));
        if record.body.len() < 2 {
            let bare = (record.body.len() as u32, record.body.first().copied().unwrap_or(0));
            self.groups.entry(group).or_default().push(Seen { place, stream: BARE, seq: 0, bare });
            return;
        }
        let Some(claim) = cordwood_generator::claim(record.body).filter(|claim| claim.run == self.ledger.run)
        else {
            if !self.ledger.others_allowed {
                let head = String::from_utf8_lossy(&record.body[..record.body.len().min(80)]).into_owned();
                self.report.find(
                    Law::NothingUnwritten,
                    &self.origin_name(record.origin),
                    format!("record {} {head:?} is of no generator", record.id),
                );
            }
            self.report.others += 1;
            return;
        };
        let json = claim.format == cordwood_generator::Format::Json;
        let name = (claim.run.to_owned(), claim.stream.to_owned(), json);
        let stream = match self.names.get(&name) {
            Some(stream) => *stream,
            None => {
                let stream = self.streams.len() as u32;
                self.streams.push(Stream::new(claim.run, claim.stream, claim.format));
                self.names.insert(name, stream);
                stream
            }
        };
        let (seq, mut scratch) = (claim.seq, std::mem::take(&mut self.scratch));
        self.streams[stream as usize].line(seq, &mut scratch);
        if scratch != record.body {
            let at = scratch.iter().zip(record.body).take_while(|(a, b)| a == b).count();
            let text = format!(
                "line {seq} (record {}) differs from byte {at} on: {} bytes stored, {} written",
                record.id,
                record.body.len(),
                scratch.len()
            );
            self.report.find(Law::Intact, &self.streams[stream as usize].stream.clone(), text);
        }
        self.scratch = scratch;
        self.groups.entry(group).or_default().push(Seen { place, stream, seq, bare: (0, 0) });
    }

    /// The verdict.
    pub fn finish(mut self, counters: &Counters) -> Report {
        let mut groups: Vec<_> = std::mem::take(&mut self.groups).into_iter().collect();
        groups.sort_by_key(|(group, _)| *group);
        // By generator stream: the seqs found, in the order of their places.
        let mut found: HashMap<u32, Vec<(Place, u64)>> = HashMap::new();
        let mut owners: HashMap<u32, Group> = HashMap::new();
        for (group, mut seen) in groups {
            if self.ledger.others_allowed && seen.iter().all(|line| line.stream == BARE) {
                self.report.others += seen.len() as u64;
                continue;
            }
            seen.sort_by_key(|seen| seen.place);
            self.place_bare_lines(group, &mut seen);
            for line in &seen {
                if line.stream == BARE {
                    continue;
                }
                found.entry(line.stream).or_default().push((line.place, line.seq));
                let owner = *owners.entry(line.stream).or_insert(group);
                if owner != group {
                    let name = self.streams[line.stream as usize].stream.clone();
                    let text = format!(
                        "line {} lies under another origin ({})",
                        line.seq,
                        self.origin_name(group.0)
                    );
                    self.report.find(Law::Tenant, &name, text);
                }
            }
        }
        found.values_mut().for_each(|lines| lines.sort());
        let mut by_name: HashMap<String, u32> = HashMap::new();
        for (index, stream) in self.streams.iter().enumerate() {
            by_name.insert(stream.stream.clone(), index as u32);
        }
        let written = self.ledger.streams.clone();
        for (name, written) in &written {
            let lines = by_name.get(name).and_then(|stream| found.get(stream)).map_or(&[][..], Vec::as_slice);
            self.judge_stream(name, written, lines, counters);
            if let Some(owner) = by_name.get(name).and_then(|stream| owners.get(stream)) {
                self.judge_owner(name, written, *owner);
            }
        }
        for name in by_name.keys().filter(|name| !written.contains_key(*name)) {
            self.report.find(Law::NothingUnwritten, name, "a stream that no ledger names".to_owned());
        }
        self.judge_counters(counters);
        self.report
    }

    /// Gives every bare line the stream and seq that its neighbours leave for it.
    fn place_bare_lines(&mut self, group: Group, seen: &mut [Seen]) {
        // The stream of a message is that of its lines with words; by default the last one seen on that topic partition.
        let mut of_message: HashMap<(u32, u64), u32> = HashMap::new();
        for line in seen.iter().filter(|line| line.stream != BARE) {
            of_message.insert((line.place.0, line.place.1), line.stream);
        }
        let mut last_stream: HashMap<u32, u32> = HashMap::new();
        let mut last_seq: HashMap<u32, u64> = HashMap::new();
        for line in seen.iter_mut() {
            let partition = line.place.0;
            if line.stream == BARE {
                let stream = of_message
                    .get(&(partition, line.place.1))
                    .or_else(|| last_stream.get(&partition))
                    .copied();
                let Some(stream) = stream else {
                    self.report.find(
                        Law::NothingUnwritten,
                        &self.origin_name(group.0),
                        "a bare line before any other".to_owned(),
                    );
                    continue;
                };
                let seq = last_seq.get(&stream).copied().unwrap_or(0) + 1;
                let expected = if seq.is_multiple_of(2) { (1, b'x') } else { (0, 0) };
                if !Stream::is_bare(seq) || line.bare != expected {
                    let name = self.streams[stream as usize].stream.clone();
                    let text = format!("a line of {} bytes where line {seq} should be", line.bare.0);
                    self.report.find(Law::NothingUnwritten, &name, text);
                    continue;
                }
                (line.stream, line.seq) = (stream, seq);
            }
            last_stream.insert(partition, line.stream);
            last_seq.insert(line.stream, line.seq);
        }
    }

    fn judge_stream(&mut self, name: &str, written: &Written, lines: &[(Place, u64)], counters: &Counters) {
        self.report.streams += 1;
        self.report.lines_written += written.lines;
        let highest = lines.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        let mut bitmap = vec![0u64; (highest.max(written.lines) / 64 + 1) as usize];
        let mut last = 0;
        let mut last_place = (0, 0, 0);
        for (place, seq) in lines {
            let (word, bit) = ((seq / 64) as usize, 1u64 << (seq % 64));
            if bitmap[word] & bit != 0 {
                self.report.find(
                    Law::ExactlyOnce,
                    name,
                    format!("line {seq} is stored twice, again at {place:?}"),
                );
            } else {
                self.report.lines_found += 1;
            }
            bitmap[word] |= bit;
            // A topic partition is one order; a stream that moved to another has no order between them.
            if *seq <= last && place.0 == last_place.0 {
                self.report.find(
                    Law::Order,
                    name,
                    format!("line {seq} at {place:?} comes after line {last}"),
                );
            }
            (last, last_place) = (*seq, *place);
        }
        if highest > written.lines && written.complete {
            let text = format!("line {highest} is stored, but only {} were written", written.lines);
            self.report.find(Law::NothingUnwritten, name, text);
        }
        let gated = written
            .stream_key
            .as_ref()
            .and_then(|key| counters.watermarks.get(key))
            .map_or(0, |sum| sum.gated);
        let missing: Vec<u64> =
            (1..=written.lines).filter(|seq| bitmap[(seq / 64) as usize] & (1 << (seq % 64)) == 0).collect();
        // Gated lines are counted, not stored: as many may be missing as were counted, no more.
        let lost = written
            .stream_key
            .as_ref()
            .is_some_and(|key| counters.losses.iter().any(|(stream, _)| stream == key));
        if missing.len() as u64 != gated && !lost {
            let text = format!(
                "{} of {} lines are missing ({gated} gated): {}",
                missing.len(),
                written.lines,
                ranges(&missing)
            );
            self.report.find(Law::ExactlyOnce, name, text);
        }
    }

    fn judge_owner(&mut self, name: &str, written: &Written, (id, stderr): Group) {
        let Some(origin) = self.origins.get(&id).cloned() else {
            self.report.find(Law::Tenant, name, format!("origin {:016x} is not in the dictionary", id.0));
            return;
        };
        let mut wrong = |what: &str, found: &str, wanted: &str| {
            if found != wanted {
                self.report.find(Law::Tenant, name, format!("{what} is {found:?}, not {wanted:?}"));
            }
        };
        wrong("tenant", &origin.tenant, &written.tenant);
        wrong("namespace", &origin.namespace, &written.namespace);
        wrong("pod", &origin.pod, &written.pod);
        wrong(
            "output",
            if stderr { "stderr" } else { "stdout" },
            if written.stderr { "stderr" } else { "stdout" },
        );
    }

    fn judge_counters(&mut self, counters: &Counters) {
        let report = &mut self.report;
        report.fresh_blocks = counters.fresh_blocks;
        report.sealed_blocks = counters.sealed_blocks;
        report.dead_letters = counters.dead_letters;
        report.losses = counters.losses.len() as u64;
        report.lost_bytes = counters.losses.iter().map(|(_, bytes)| bytes).sum();
        for (topic_partition, highest) in &self.offsets {
            let next = counters
                .positions
                .iter()
                .find(|(partition, _)| partition == topic_partition)
                .map(|(_, next)| *next);
            if next.is_none_or(|next| next <= *highest) {
                let text = format!(
                    "position {next:?} of topic partition {topic_partition}, but {highest} is stored"
                );
                report.find(Law::Checkpoint, "all", text);
            }
        }
        for (stream, sum) in &counters.watermarks {
            report.files += sum.files;
            report.duplicates_skipped += sum.duplicates;
            report.gated += sum.gated;
            let told = sum.records + sum.gated + sum.limited + sum.rejected;
            if sum.lines != told {
                report.find(Law::Accounts, stream, format!("{} lines read, {told} accounted for", sum.lines));
            }
        }
        let counted: u64 = counters.watermarks.values().map(|sum| sum.records).sum();
        let stored = report.records - report.loss_records + counters.expired;
        // A loss that an agent tells travels as a record of its stream; one that the writer finds does not.
        if !(stored..=stored + report.loss_records).contains(&counted) {
            report.find(
                Law::Accounts,
                "all",
                format!("watermarks count {counted} records, {stored} are stored"),
            );
        }
        for (name, written) in &self.ledger.streams {
            let Some(sum) = written.stream_key.as_ref().and_then(|key| counters.watermarks.get(key)) else {
                continue;
            };
            if written.complete && sum.lines != written.lines && sum.lost_bytes == 0 {
                let text = format!("{} lines were written, {} accounted for", written.lines, sum.lines);
                report.find(Law::Accounts, name, text);
            }
        }
    }

    fn origin_name(&self, id: OriginId) -> String {
        match self.origins.get(&id) {
            Some(origin) => format!("{}/{}/{}", origin.namespace, origin.pod, origin.container),
            None => format!("origin {:016x}", id.0),
        }
    }
}

/// `1-5, 9, 12-13, ...` of ascending numbers, the first ones only.
fn ranges(numbers: &[u64]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    for _ in 0..8 {
        let Some((&from, _)) = rest.split_first() else { return text };
        let length =
            rest.iter().enumerate().take_while(|(index, number)| **number == from + *index as u64).count();
        let to = from + length as u64 - 1;
        text.push_str(&if to == from { format!("{from} ") } else { format!("{from}-{to} ") });
        rest = &rest[length..];
    }
    text.push_str(if rest.is_empty() { "" } else { "..." });
    text
}

#[cfg(test)]
mod tests;
