//! What cannot be read any more: a record of its own says what and why, in the place of the lost bytes.
//! Promises: each loss is told once it is known whose it is, and reading goes on behind it.

use std::io;
use std::sync::Arc;

use cordwood_core::batch::{BatchHeader, LossRange};
use cordwood_core::identity::OutputStream;
use cordwood_core::level::Level;
use cordwood_core::record::Flags;

use crate::container_log::ContainerLog;
use crate::tail::{Bytes, Outstanding};
use crate::turn::Turn;

impl ContainerLog {
    /// Records that bytes of a file could not be read any more, as a batch of its own.
    pub fn lose(&mut self, index: usize, loss: LossRange, turn: &mut Turn<'_>) {
        self.cut_all(turn);
        let Some(context) = self.owner.context().cloned() else {
            self.losses.push((self.files[index].seq, loss));
            return;
        };
        let file = &mut self.files[index];
        let io =
            if file.ends[0] == 0 && file.ends[1] > 0 { OutputStream::Stderr } else { OutputStream::Stdout };
        let key = file.stream_key(&self.source, io);
        let key = key.map_or_else(|| Arc::clone(self.batches.key(io)), Arc::new);
        let end = (loss.from + loss.bytes.max(1)).max(file.ends[io as usize] + 1);
        tracing::error!(stream = %key, log_file = file.name, from = loss.from, bytes = loss.bytes,
            exact = loss.exact, reason = loss.reason, "log bytes were lost before they could be read");
        turn.tally.lost_bytes += loss.bytes;
        turn.tally.losses += 1;
        turn.tally.loss_reasons.add(&loss.reason, 1, loss.bytes, Some(turn.clock.wall_ns / 1_000_000));
        let mut batch = turn.ship.open(file.seq, turn.clock.mono_ms);
        let message = match loss.bytes {
            0 if !loss.exact => format!("bytes of {} may be lost: {}", file.name, loss.reason),
            bytes => format!("{bytes} bytes of {} were lost: {}", file.name, loss.reason),
        };
        let body = serde_json::json!({
            "cordwood": "loss", "stream": key.as_str(), "file": file.id.to_string(),
            "from": loss.from, "bytes": loss.bytes, "exact": loss.exact, "reason": loss.reason,
            "level": "ERROR", "message": message,
        })
        .to_string();
        batch.builder.push(turn.clock.wall_ns, Level::Error, Flags::LOSS, end, body.as_bytes());
        turn.ship.open_bytes += batch.builder.bytes();
        let header = BatchHeader {
            stream: (*key).clone(),
            io,
            file: file.id,
            restart: self.source.restart(),
            prev: file.ends[io as usize],
            end,
            lines: 1,
            bytes: 0,
            gated: 0,
            limited: 0,
            rejected: 0,
            loss: Some(loss),
        };
        let start = header.prev;
        let ticket = turn.ship.cut(self.id, batch, &key, &header, &context.origin, turn.clock.wall_ns);
        file.ends[io as usize] = end;
        file.outstanding[io as usize].push_back(Outstanding { ticket, start, end, acknowledged: false });
    }

    /// Losses that waited until it was known whose they are.
    pub fn tell_losses(&mut self, turn: &mut Turn<'_>) {
        for (seq, loss) in std::mem::take(&mut self.losses) {
            if let Some(index) = self.files.iter().position(|file| file.seq == seq) {
                self.lose(index, loss, turn);
            }
        }
    }

    /// The file cannot be read: the rest of it is lost, and the next one has its turn.
    pub fn give_up(&mut self, index: usize, error: &io::Error, turn: &mut Turn<'_>) {
        self.flush_unfinished(turn);
        let file = &mut self.files[index];
        file.finished_at_ms = Some(turn.clock.mono_ms);
        file.bytes = Bytes::Gone;
        let (from, bytes) = (file.position, file.size.saturating_sub(file.position));
        let loss = LossRange { from, bytes, exact: false, reason: format!("it cannot be read: {error}") };
        self.lose(index, loss, turn);
    }

    /// Lets go of such a file: its packed copy is read later on, if there is one; else what was not read is lost.
    pub fn let_go(&mut self, index: usize, turn: &mut Turn<'_>) {
        let position = self.acknowledged_position(&self.files[index]);
        let file = &mut self.files[index];
        if self.register.knows_id(file.id) && file.position == position {
            let checkpoint = self.checkpoint_of(&self.files[index]);
            self.register.read_on_in_copy(checkpoint);
            self.files.remove(index);
            return;
        }
        // What has begun in it must not go on in the next file.
        self.flush_unfinished(turn);
        let file = &mut self.files[index];
        let loss = LossRange {
            from: file.position,
            bytes: file.known_size().saturating_sub(file.position),
            exact: true,
            reason: "removed by the node, and too much was held open already".to_owned(),
        };
        file.bytes = Bytes::Gone;
        file.finished_at_ms = Some(turn.clock.mono_ms);
        self.lose(index, loss, turn);
    }
}
