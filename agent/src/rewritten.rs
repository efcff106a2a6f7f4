//! A log goes on in a file that was cut short, emptied or rewritten in place.
//! Promises: what is left of such a file is not read again but for what lies behind its last milestone that is as it was;
//! what is written behind the cut is another file to the writer, so that no new line has the place of one that is stored;
//! what was cut off unread is told as a loss.

use std::io;
use std::ops::Range;

use cordwood_core::batch::LossRange;
use cordwood_core::identity::FileId;
use cordwood_core::milestones::{Found, distance, last_line};
use cordwood_core::pipeline::{Now, names_its_time};

use crate::collect::OUTPUT_STREAMS;
use crate::container_log::ContainerLog;
use crate::folder::stat_of;
use crate::tail::{Bytes, LogFile, read_head};
use crate::turn::{Clock, Turn};

/// Lines without a time, one behind the other, of which none can be a milestone: then others are looked at further on.
const UNTIMED_LINES_MAX: u32 = 16;

impl ContainerLog {
    /// The lines that were just taken end where a milestone may be.
    pub fn note_milestone(&mut self, index: usize, taken: &[u8], clock: Clock) {
        let Some(line) = last_line(taken) else { return };
        let file = &mut self.files[index];
        let is_begun = OUTPUT_STREAMS.iter().any(|io| self.pipeline.pending_start(*io).is_some());
        let zone = self.owner.context().and_then(|context| context.zone.as_ref());
        let now = Now { format: file.format, gate: self.owner.gate(), zone, time_ns: clock.wall_ns };
        if is_begun {
            // The next line's end may do.
            return;
        }
        if names_its_time(line, &now) {
            file.milestones.add(file.position, taken);
            file.untimed_lines = 0;
            return;
        }
        // Some lines belong to one with a time before them; some files have none with a time.
        file.untimed_lines += 1;
        if file.untimed_lines == UNTIMED_LINES_MAX {
            file.no_milestone_before = file.position + distance(file.position) / 2;
            file.untimed_lines = 0;
        }
    }

    /// The file no longer holds what was read from it, or is shorter than it was. False: not all that was read of it is
    /// acknowledged yet, and what is left of it may be needed again.
    pub fn replaced(&mut self, index: usize, turn: &mut Turn<'_>) -> io::Result<bool> {
        self.flush_unfinished(turn);
        self.cut_all(turn);
        if !self.is_settled(&self.files[index]) {
            return Ok(false);
        }
        let Found::Cut { at, unread } = self.files[index].compare_now()? else {
            self.files[index].changed = None;
            return Ok(true);
        };
        let reason = "cut short, emptied or rewritten in place before it was read";
        let unread = Some(unread).filter(|unread| !unread.is_empty());
        self.go_on_as_another(index, at, unread, reason, turn)?;
        Ok(true)
    }

    /// What the file holds from `at` on is read as another file's; `unread` was cut off (empty: perhaps more was, nobody
    /// knows).
    pub fn go_on_as_another(
        &mut self,
        index: usize,
        at: u64,
        unread: Option<Range<u64>>,
        reason: &str,
        turn: &mut Turn<'_>,
    ) -> io::Result<()> {
        turn.tally.files_truncated += 1;
        let seq = self.take_seq();
        let file = &mut self.files[index];
        tracing::warn!(
            log_file = file.name,
            position = file.position,
            going_on_at = at,
            "the file was cut short, emptied or rewritten in place"
        );
        let bytes = std::mem::replace(&mut file.bytes, Bytes::Gone);
        file.finished_at_ms = Some(turn.clock.mono_ms);
        let (id_before, name) = (file.id, file.name.clone());
        let milestones = std::mem::take(&mut file.milestones).up_to(at);
        if let Some(unread) = unread {
            let loss = LossRange {
                from: unread.start,
                bytes: unread.end - unread.start,
                exact: false,
                reason: reason.to_owned(),
            };
            self.lose(index, loss, turn);
        }
        let Bytes::File(handle) = bytes else { return Ok(()) };
        let head = read_head(&handle, false)?;
        let id = match FileId::of_head(&head) {
            None if name == self.live_name => {
                self.unnamed = Some((name, handle));
                return Ok(());
            }
            id => self.unused_id(id.unwrap_or(id_before)),
        };
        let stat = stat_of(&handle)?;
        let mut another = LogFile::new(seq, id, &name, stat, Bytes::File(handle), self.format_of(&head));
        another.seek(at)?;
        another.size = stat.size.max(at);
        another.milestones = milestones;
        self.files.insert(index + 1, another);
        // Where it begins is decided once: it is on the disk before anything of it is sent.
        turn.ship.wait_for_checkpoint = true;
        Ok(())
    }
}
