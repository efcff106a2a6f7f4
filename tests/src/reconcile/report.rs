//! The verdict: counts, and findings by law. No finding means every law holds.

use std::collections::BTreeMap;
use std::fmt;

/// What always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Each written line is stored once.
    ExactlyOnce,
    /// Nothing is stored that nobody wrote.
    NothingUnwritten,
    /// Bodies are the written bytes.
    Intact,
    /// A stream's records are in the order of its lines.
    Order,
    /// A record has the tenant of its namespace.
    Tenant,
    /// What is checkpointed is stored.
    Checkpoint,
    /// Bytes read = stored + gated + lost.
    Accounts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub law: Law,
    pub stream: String,
    pub text: String,
}

/// Findings of one law that are kept with their text; all are counted.
const FINDINGS_SHOWN_MAX: usize = 12;

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub streams: u64,
    pub lines_written: u64,
    /// Different lines found.
    pub lines_found: u64,
    pub records: u64,
    pub bytes: u64,
    /// Records of other runs, or of no generator.
    pub others: u64,
    pub files: u64,
    pub duplicates_skipped: u64,
    pub gated: u64,
    pub losses: u64,
    pub lost_bytes: u64,
    pub loss_records: u64,
    pub dead_letters: u64,
    pub fresh_blocks: u64,
    pub sealed_blocks: u64,
    pub findings: Vec<Finding>,
    pub counts: BTreeMap<Law, u64>,
}

impl Report {
    pub fn find(&mut self, law: Law, stream: &str, text: String) {
        let count = self.counts.entry(law).or_default();
        *count += 1;
        if *count <= FINDINGS_SHOWN_MAX as u64 {
            self.findings.push(Finding { law, stream: stream.to_owned(), text });
        }
    }

    pub fn holds(&self) -> bool {
        self.counts.is_empty()
    }

    /// Fails with the whole report unless every law holds.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.holds(), "{self}");
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} lines of {} streams stored ({} records, {} other, {:.1} MB) in {} fresh and {} sealed blocks, from {} files",
            self.lines_found,
            self.lines_written,
            self.streams,
            self.records,
            self.others,
            self.bytes as f64 / 1e6,
            self.fresh_blocks,
            self.sealed_blocks,
            self.files
        )?;
        writeln!(
            f,
            "{} duplicates skipped, {} gated, {} losses ({} bytes), {} dead letters",
            self.duplicates_skipped, self.gated, self.losses, self.lost_bytes, self.dead_letters
        )?;
        for (law, count) in &self.counts {
            writeln!(f, "{law:?} is broken {count} times:")?;
            for finding in self.findings.iter().filter(|finding| finding.law == *law) {
                writeln!(f, "  {}: {}", finding.stream, finding.text)?;
            }
        }
        if self.counts.is_empty() {
            write!(f, "every law holds")?;
        }
        Ok(())
    }
}
