//! Decides what the writer does after a fault: when it goes back to PostgreSQL's positions, how long it waits before that, which messages
//! travel alone, and which become dead letters.
//!
//! The writer reports what happened: [`Recovery::failed`], [`Recovery::committed`], [`Recovery::reassigned`], [`Recovery::begun`],
//! [`Recovery::not_begun`]. It asks what follows: [`Recovery::next`], [`Recovery::travels_alone`], [`Recovery::take_poison`],
//! [`Recovery::size`], [`Recovery::trouble`].
//!
//! After every fault the writer does the same: it forgets what is not committed, reads the positions, and begins there. The watermarks are
//! read again with the messages. Promise: a message that PostgreSQL refuses becomes a dead letter and stops nothing; a message that fails for
//! another reason is never dropped. `cases_tests.rs` has a row for each fault.

mod size;

use std::collections::HashMap;

pub use size::Size;

const PAUSE_FIRST_MS: u64 = 100;
const PAUSE_MAX_MS: u64 = 5_000;
/// After a transaction that was refused for what it holds: this many messages travel one by one.
const ALONE_MESSAGES: usize = 4096;
/// A poisonous message is found by trying: the transaction, the message alone, then it is a dead letter.
const REFUSALS_USUAL: u32 = 2;

/// Topic partition and Kafka offset.
pub type MessageAt = (u32, u64);

/// Why the writer goes back to PostgreSQL's positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing was begun yet.
    Start,
    /// The source has other topic partitions than before, or messages did not arrive and are fetched again.
    Reassigned,
    /// Another writer moved a topic partition's position.
    Fenced,
    /// Another writer stored a part of the same file by another topic partition.
    Overlap,
    /// Another session used this lane's number.
    Lane,
    /// COMMIT was sent and its answer did not come.
    Unknown,
    /// What was sent is at fault: PostgreSQL, or the store before it, takes it at no time.
    Refused,
    /// Everything else: PostgreSQL is away, its disk is full, a statement was ended.
    Unavailable,
}

impl Cause {
    /// As `cordwood_writer_resets_total` names it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::Reassigned => "assigned",
            Cause::Fenced => "fenced",
            Cause::Overlap => "overlap",
            Cause::Lane => "lane",
            Cause::Unknown => "unknown",
            Cause::Refused => "refused",
            Cause::Unavailable => "postgres",
        }
    }

    /// Another writer's turn is no failure.
    fn is_failure(self) -> bool {
        !matches!(self, Cause::Fenced | Cause::Overlap)
    }
}

/// A step that failed: a transaction, or what was read for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    /// In PostgreSQL's words, or the store's.
    pub why: String,
    /// It was ended because it took too long.
    pub took_too_long: bool,
    /// Messages that it was about.
    pub messages: u64,
    /// The next Kafka offset of each topic partition, had it gone well.
    pub next_offsets: Vec<MessageAt>,
}

/// What the writer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It takes messages and makes transactions.
    GoOn,
    /// It forgets what is not committed, waits, and begins at PostgreSQL's positions.
    Begin {
        pause_ms: u64,
        /// The lane at hand is kept, if there is one; else another one is claimed.
        keeps_lane: bool,
    },
    /// No retry can fix it.
    GiveUp(String),
}

/// The state of recovering.
#[derive(Debug)]
pub struct Recovery {
    /// Why to begin again. The first cause stands until it is done.
    due: Option<Cause>,
    /// Tries to begin that failed, since the last that went well.
    tries: u32,
    /// No retry can fix this.
    hopeless: Option<String>,
    /// In a row, since the last transaction that was committed.
    failures: u32,
    last_failure: String,
    /// The next Kafka offsets, had the last failure gone well.
    failed_to: Vec<MessageAt>,
    /// What probes are told of PostgreSQL.
    trouble: Option<String>,
    /// Messages that still travel one by one.
    alone: usize,
    /// The messages that were refused when they travelled alone, by topic partition, and why: no position passes them, so
    /// there is one at the most in each. Kafka may send them in another order than before.
    poison: HashMap<u32, (u64, String)>,
    size: Size,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery {
            due: Some(Cause::Start),
            tries: 0,
            hopeless: None,
            failures: 0,
            last_failure: String::new(),
            failed_to: Vec::new(),
            trouble: None,
            alone: 0,
            poison: HashMap::new(),
            size: Size::default(),
        }
    }
}

impl Recovery {
    /// A transaction was committed: all is well. `next_offsets`: of its topic partitions.
    pub fn committed(&mut self, next_offsets: &[MessageAt]) {
        self.size.was_in_time();
        for (topic_partition, next) in next_offsets {
            if self.poison.get(topic_partition).is_some_and(|(poison, _)| poison < next) {
                self.poison.remove(topic_partition);
            }
        }
        self.all_is_well();
    }

    /// The source has nothing to give before it is told where to begin.
    pub fn reassigned(&mut self) {
        // What failed may be another writer's now: nothing of it might ever be committed here.
        self.failures = 0;
        self.due.get_or_insert(Cause::Reassigned);
    }

    /// A transaction failed, or what was read for one.
    pub fn failed(&mut self, failure: Failure) {
        let Failure { cause, why, took_too_long, messages, next_offsets } = failure;
        if took_too_long {
            // The same again would take as long again.
            self.size.took_too_long();
        }
        if cause == Cause::Refused {
            // One message alone was refused: it is the poison. Of several, find it one by one.
            if let (1, [(topic_partition, next_offset)]) = (messages, &next_offsets[..]) {
                self.poison.insert(*topic_partition, (next_offset - 1, why.clone()));
            }
            self.alone = ALONE_MESSAGES;
        }
        if cause.is_failure() && self.due != Some(Cause::Reassigned) {
            self.failures += 1;
            self.last_failure = why;
            self.failed_to = next_offsets;
        }
        self.due.get_or_insert(cause);
    }

    /// The source reads from PostgreSQL's positions.
    /// `next_offset`: of a topic partition, as PostgreSQL has it.
    pub fn begun(&mut self, next_offset: impl Fn(u32) -> Option<u64>) {
        (self.due, self.tries) = (None, 0);
        let is_stored = |(topic_partition, next): &MessageAt| next_offset(*topic_partition) >= Some(*next);
        // After a failure only a transaction that is committed proves that all is well: this writer's next one, or the
        // one that failed, if it was committed after all. (Perhaps nothing follows.)
        if !self.failed_to.is_empty() && self.failed_to.iter().all(is_stored) {
            self.failures = 0;
        }
        if self.failures == 0 {
            self.trouble = None;
        }
    }

    /// PostgreSQL did not say where to begin. `hopeless`: no retry can fix it.
    pub fn not_begun(&mut self, why: String, hopeless: bool) {
        self.tries += 1;
        self.trouble = Some(why.clone());
        self.hopeless = hopeless.then_some(why);
    }

    /// What follows. What fails again and again is tried at longer and longer intervals, and told.
    pub fn what_next(&mut self) -> Next {
        if let Some(why) = &self.hopeless {
            return Next::GiveUp(why.clone());
        }
        let Some(due) = self.due else { return Next::GoOn };
        let usual = if due == Cause::Refused { REFUSALS_USUAL } else { 0 };
        let pause_ms = match (self.tries, self.failures) {
            (0, failures) if failures > usual => {
                self.trouble = Some(self.last_failure.clone());
                pause_ms(failures)
            }
            (0, _) => 0,
            (tries, _) => pause_ms(tries - 1),
        };
        Next::Begin { pause_ms, keeps_lane: due == Cause::Reassigned && self.tries == 0 }
    }

    /// Why the writer is to begin again; none: it has begun.
    pub fn due(&self) -> Option<Cause> {
        self.due
    }

    /// The next message is a transaction of its own.
    pub fn travels_alone(&self) -> bool {
        self.alone > 0
    }

    /// A message is about to be taken. Why it becomes a dead letter, if it does.
    pub fn take_poison(&mut self, at: MessageAt) -> Option<String> {
        if self.alone == 0 {
            return None;
        }
        self.alone -= 1;
        let (topic_partition, kafka_offset) = at;
        // It stays known until it is committed: the transaction before it can still fail.
        let (_, why) = self.poison.get(&topic_partition).filter(|(poison, _)| *poison == kafka_offset)?;
        Some(format!("it cannot be stored: {why}"))
    }

    /// How large a transaction may be.
    pub fn size(&self) -> &Size {
        &self.size
    }

    /// Why PostgreSQL cannot be counted on, if so.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn all_is_well(&mut self) {
        if self.failures > 0 {
            (self.failures, self.trouble) = (0, None);
        }
    }
}

/// Twice as long after each failure, up to a longest.
fn pause_ms(failures: u32) -> u64 {
    (PAUSE_FIRST_MS << failures.min(6)).min(PAUSE_MAX_MS)
}

#[cfg(test)]
mod cases_tests;
