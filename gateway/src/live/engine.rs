//! Decides what a stream shows next, whatever transport carries it: records in the order of time, as many as the reader gave credit for, and a gap
//! with a count where the reader is too slow. It does no I/O: looks at the store, credit and the time go in, frames come out.
//!
//! While records come out of the order of their times, each waits a moment for older ones ([`super::order`]); a record that comes later still is
//! flagged as late. Without credit a bounded number of records waits. When the bound is reached, later records are counted and reported as
//! a gap, until the reader has taken half of those that wait.

use std::collections::{BTreeMap, VecDeque};

use cordwood_core::task::{DeletedTasks, TaskKey};
use cordwood_store::follow::Step;
use cordwood_store::search::Cursor;
use serde_json::value::RawValue;

use super::order::Order;
use super::stream_cursor::StreamCursor;

/// That wait without credit, and as many that wait for older ones.
pub const WAITING_RECORDS_MAX: usize = 2_000;
pub const WAITING_BYTES_MAX: usize = 4 << 20;
/// Of one frame, unless one record alone is longer.
pub const FRAME_BYTES_MAX: usize = 256 << 10;
/// Of these for records; the cursor and the names around them have the rest.
const ITEMS_BYTES_MAX: usize = FRAME_BYTES_MAX - (16 << 10);

/// A record in its form for readers.
#[derive(Clone, Debug)]
pub struct Item {
    pub at: Cursor,
    /// With its deletion the record is gone.
    pub task: Option<TaskKey>,
    pub json: Box<RawValue>,
}

impl Item {
    fn bytes(&self) -> usize {
        self.json.get().len() + 1
    }
}

/// What a look at the store brought.
#[derive(Debug, Default)]
pub struct Look {
    pub items: Vec<Item>,
    pub reach: Step,
    /// Of what was stored long ago, oldest first.
    pub is_search: bool,
    /// There is more already.
    pub more: bool,
    /// Something was sealed before it was seen.
    pub is_lost: bool,
    /// What was stored late and is older may be missing.
    pub unknown_before: Option<Cursor>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub wall_us: i64,
    /// Never goes back.
    pub ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Slow,
    Feed,
    Restart,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Slow => "slow",
            Why::Feed => "feed",
            Why::Restart => "restart",
        }
    }
}

/// Records that the stream does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from_us: Option<i64>,
    /// Not among them.
    pub to_us: i64,
    pub count: Option<u64>,
    pub why: Why,
}

#[derive(Debug)]
pub enum Out {
    Records { items: Vec<Item>, is_late: bool, cursor: StreamCursor },
    Gap { gap: Gap, cursor: StreamCursor },
    CaughtUp { cursor: StreamCursor },
}

/// What is shown together.
#[derive(Debug)]
enum Part {
    /// By time and id, and whether what was shown before is newer.
    Records(VecDeque<(Item, bool)>),
    Gap(Gap),
    CaughtUp,
}

#[derive(Debug)]
struct Release {
    part: Part,
    /// What has been shown when all of it is.
    after: StreamCursor,
}

#[derive(Clone, Debug)]
struct Looked {
    number: u64,
    came: Now,
    reach: Step,
}

#[derive(Debug)]
pub struct Engine {
    credit: u64,
    /// What has been looked at. A record comes once.
    taken: StreamCursor,
    window: BTreeMap<Cursor, (u64, Item)>,
    window_bytes: usize,
    order: Order,
    /// Whose records may wait in the window.
    looks: VecDeque<Looked>,
    numbered: u64,
    released: StreamCursor,
    newest: Option<Cursor>,
    queue: VecDeque<Release>,
    /// The reader has not made room yet since the last gap.
    is_full: bool,
    is_caught_up: bool,
    /// Before the first of the queue.
    shown: StreamCursor,
    cursor: StreamCursor,
}

impl Engine {
    /// Goes on behind what was shown.
    pub fn new(shown: StreamCursor, credit: u64) -> Engine {
        Engine {
            credit,
            taken: shown.clone(),
            window: BTreeMap::new(),
            window_bytes: 0,
            order: Order::default(),
            looks: VecDeque::new(),
            numbered: 0,
            released: shown.clone(),
            newest: shown.newest(),
            queue: VecDeque::new(),
            is_full: false,
            is_caught_up: false,
            shown: shown.clone(),
            cursor: shown,
        }
    }

    /// What has been shown, or told as a gap.
    pub fn cursor(&self) -> &StreamCursor {
        &self.cursor
    }

    pub fn credit(&mut self, more: u64) {
        self.credit = self.credit.saturating_add(more);
    }

    pub fn pause(&mut self) {
        self.credit = 0;
    }

    pub fn credit_left(&self) -> u64 {
        self.credit
    }

    /// What was stored long ago does not run away: it is looked for once there is credit for it.
    pub fn wants_look(&self) -> bool {
        self.is_caught_up || self.queue.is_empty()
    }

    /// What has been looked at.
    pub fn taken(&self) -> &StreamCursor {
        &self.taken
    }

    /// Nothing waits: a look that brings nothing changes the cursor alone.
    pub fn is_at_rest(&self) -> bool {
        self.is_caught_up && self.window.is_empty() && self.queue.is_empty()
    }

    /// In how many milliseconds something has waited long enough.
    pub fn due_ms(&mut self, now: Now) -> Option<u64> {
        let wait_ms = self.order.wait_ms(now.ms);
        let (oldest, _) = self.window.first_key_value()?;
        let came = self.looks.front().map_or(0, |look| look.came.ms);
        let by_look = (came + wait_ms).saturating_sub(now.ms);
        let age_us = now.wall_us.saturating_sub(oldest.time_us);
        let by_age =
            (wait_ms.cast_signed() * 1_000).saturating_sub(age_us).max(0).unsigned_abs().div_ceil(1_000);
        Some(by_look.min(by_age).max(1))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.release(now, false);
    }

    pub fn take(&mut self, look: Look, now: Now) {
        if look.is_lost {
            self.release(now, true);
            let from_us = self.newest.map(|at| at.time_us);
            let to_us = now.wall_us.max(from_us.map_or(i64::MIN, |from| from.saturating_add(1)));
            self.queue(Part::Gap(Gap { from_us, to_us, count: None, why: Why::Feed }));
        }
        if let Some(before) = look.unknown_before {
            self.release(now, true);
            self.queue(Part::Gap(Gap {
                from_us: None,
                to_us: before.time_us,
                count: None,
                why: Why::Restart,
            }));
        }
        self.numbered += 1;
        let newest = self.newest.max(self.window.last_key_value().map(|(at, _)| *at));
        for item in look.items {
            if !self.taken.has(item.at) {
                if !look.is_search && newest.is_some_and(|newest| item.at < newest) {
                    self.order.came_behind(now.wall_us.saturating_sub(item.at.time_us), now.ms);
                }
                self.window_bytes += item.bytes();
                let before = self.window.insert(item.at, (self.numbered, item));
                self.window_bytes -= before.map_or(0, |(_, item)| item.bytes());
            }
        }
        self.taken.add(look.reach.clone());
        self.looks.push_back(Looked { number: self.numbered, came: now, reach: look.reach });
        let has_come = !look.more && !self.is_caught_up;
        let is_over = self.window.len() > WAITING_RECORDS_MAX || self.window_bytes > WAITING_BYTES_MAX;
        self.release(now, look.is_search || has_come || is_over);
        if has_come {
            self.is_caught_up = true;
            self.queue(Part::CaughtUp);
        }
    }

    /// Something of a task waits.
    pub fn has_task(&self) -> bool {
        self.window.values().map(|(_, item)| item).chain(self.records()).any(|item| item.task.is_some())
    }

    /// What waits of these tasks is not shown, as if nothing of it was to be shown when it was looked at.
    pub fn forget(&mut self, deleted: &DeletedTasks) {
        let is_kept = |item: &Item| !item.task.is_some_and(|task| deleted.has(task));
        self.window.retain(|_, (_, item)| is_kept(item));
        self.window_bytes = self.window.values().map(|(_, item)| item.bytes()).sum();
        for mut release in std::mem::take(&mut self.queue) {
            if let Part::Records(items) = &mut release.part {
                items.retain(|(item, _)| is_kept(item));
                if items.is_empty() {
                    self.pass(release.after);
                    continue;
                }
            }
            self.queue.push_back(release);
        }
    }

    /// Nothing of what was looked at up to here is to be shown but what is in the queue.
    fn pass(&mut self, upto: StreamCursor) {
        match self.queue.back_mut() {
            Some(last) => last.after = upto,
            None => {
                self.cursor.clone_from(&upto);
                self.shown = upto;
            }
        }
    }

    fn queue(&mut self, part: Part) {
        self.queue.push_back(Release { part, after: self.released.clone() });
    }

    /// Releases what has waited long enough.
    fn release(&mut self, now: Now, all: bool) {
        let Some(last) = self.looks.back().cloned() else { return };
        let wait_ms = self.order.wait_ms(now.ms);
        let waited = |look: &Looked| all || now.ms.saturating_sub(look.came.ms) >= wait_ms;
        let settled = self.looks.iter().take_while(|look| waited(look)).last().cloned();
        let upto_number = settled.as_ref().map_or(0, |look| look.number);
        let upto = Cursor::end_of(now.wall_us.saturating_sub(wait_ms.cast_signed() * 1_000));
        let mut items = Vec::new();
        for (at, (number, item)) in std::mem::take(&mut self.window) {
            if number <= upto_number || at <= upto {
                self.window_bytes -= item.bytes();
                items.push(item);
            } else {
                self.window.insert(at, (number, item));
            }
        }
        let before = self.released.clone();
        if self.window.is_empty() {
            // Most streams are at rest most of the time: they hold no room for what comes.
            self.looks = VecDeque::new();
            self.released.add(last.reach);
            self.released.looked_us = last.came.wall_us;
        } else {
            if let Some(settled) = settled {
                self.looks.retain(|look| look.number > settled.number);
                self.released.add(settled.reach);
                self.released.looked_us = settled.came.wall_us;
            }
            let reach = Step { upto: Some(last.reach.upto.map_or(upto, |own| own.min(upto))), ..last.reach };
            self.released.add(reach);
        }
        self.show(items, &before);
    }

    fn show(&mut self, items: Vec<Item>, before: &StreamCursor) {
        if items.is_empty() {
            self.pass(self.released.clone());
            return;
        }
        let (mut count, mut bytes) = self.beyond_credit();
        self.is_full &= count > WAITING_RECORDS_MAX / 2 || bytes > WAITING_BYTES_MAX / 2;
        let mut covered = self.credit.saturating_sub(self.waiting() as u64);
        let newest = self.newest;
        self.newest = self.newest.max(items.last().map(|item| item.at));
        let mut shown = VecDeque::with_capacity(items.len());
        let mut gap: Option<Gap> = None;
        for item in items {
            if !self.is_full && covered == 0 {
                let is_over = count + 1 > WAITING_RECORDS_MAX || bytes + item.bytes() > WAITING_BYTES_MAX;
                self.is_full = is_over && count > 0;
                count += 1;
                bytes += item.bytes();
            }
            if self.is_full {
                let to_us = item.at.time_us.saturating_add(1);
                let gap = gap.get_or_insert(Gap {
                    from_us: Some(item.at.time_us),
                    to_us,
                    count: Some(0),
                    why: Why::Slow,
                });
                gap.to_us = gap.to_us.max(to_us);
                gap.count = gap.count.map(|count| count + 1);
                continue;
            }
            covered = covered.saturating_sub(1);
            let is_late = newest.is_some_and(|newest| item.at < newest);
            shown.push_back((item, is_late));
        }
        if let Some((last, _)) = shown.back() {
            let after = match gap {
                Some(_) => before.with(&self.released, Some(last.at)),
                None => self.released.clone(),
            };
            self.queue.push_back(Release { part: Part::Records(shown), after });
        }
        if let Some(gap) = gap {
            self.widen(gap);
        }
    }

    /// Gaps that follow each other are one.
    fn widen(&mut self, gap: Gap) {
        match self.queue.back_mut() {
            Some(Release { part: Part::Gap(open), after }) if open.why == Why::Slow => {
                open.from_us = open.from_us.min(gap.from_us);
                open.to_us = open.to_us.max(gap.to_us);
                open.count = open.count.zip(gap.count).map(|(open, more)| open + more);
                after.clone_from(&self.released);
            }
            _ => self.queue(Part::Gap(gap)),
        }
    }

    /// Records that wait to be shown.
    fn waiting(&self) -> usize {
        self.records().count()
    }

    fn records(&self) -> impl Iterator<Item = &Item> {
        self.queue.iter().flat_map(|release| {
            let records = match &release.part {
                Part::Records(items) => Some(items.iter().map(|(item, _)| item)),
                _ => None,
            };
            records.into_iter().flatten()
        })
    }

    /// Those and their bytes that no credit was given for.
    fn beyond_credit(&self) -> (usize, usize) {
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        self.records().skip(credit).fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.bytes()))
    }

    /// The next frame, as long as there is credit for it.
    pub fn next(&mut self) -> Option<Out> {
        let front = self.queue.front_mut()?;
        let out = match &mut front.part {
            Part::Records(_) if self.credit == 0 => return None,
            Part::Records(waiting) => {
                let (mut items, mut bytes) = (Vec::new(), 0);
                let is_late = waiting.front().is_some_and(|(_, is_late)| *is_late);
                while self.credit > 0
                    && let Some((item, late)) = waiting.front()
                    && *late == is_late
                    && (items.is_empty() || bytes + item.bytes() <= ITEMS_BYTES_MAX)
                    && let Some((item, _)) = waiting.pop_front()
                {
                    self.credit -= 1;
                    bytes += item.bytes();
                    items.push(item);
                }
                if !waiting.is_empty() {
                    let upto = items.last().map(|item| item.at);
                    self.cursor = self.shown.with(&front.after, upto);
                    return Some(Out::Records { items, is_late, cursor: self.cursor.clone() });
                }
                Out::Records { items, is_late, cursor: front.after.clone() }
            }
            Part::Gap(gap) => Out::Gap { gap: *gap, cursor: front.after.clone() },
            Part::CaughtUp => Out::CaughtUp { cursor: front.after.clone() },
        };
        self.cursor.clone_from(&front.after);
        self.shown.clone_from(&front.after);
        self.queue.pop_front();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(out)
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
