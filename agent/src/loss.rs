//! Loss records: if bytes can no longer be read, a record in their place says which and why.

use cordwood_core::batch::LossRange;
use cordwood_core::level::Level;
use cordwood_core::record::Flags;

use crate::account::Account;
use crate::turn::Turn;

/// Logs and counts a loss, and sends it as a batch of its own.
pub fn tell(account: Account<'_>, loss: LossRange, turn: &mut Turn<'_>) {
    let (key, file) = (account.key(), &*account.file);
    tracing::error!(stream = %key, log_file = file.name, from = loss.from, bytes = loss.bytes,
        exact = loss.exact, reason = loss.reason, "log bytes were lost before they could be read");
    turn.tally.lost_bytes += loss.bytes;
    turn.tally.losses += 1;
    turn.tally.loss_reasons.add(&loss.reason, 1, loss.bytes, Some(turn.clock.wall_ns / 1_000_000));
    let message = match loss.bytes {
        0 if !loss.exact => format!("bytes of {} may be lost: {}", file.name, loss.reason),
        bytes => format!("{bytes} bytes of {} were lost: {}", file.name, loss.reason),
    };
    let body = serde_json::json!({
        "cordwood": "loss", "stream": key.as_str(), "file": file.id().to_string(),
        "from": loss.from, "bytes": loss.bytes, "exact": loss.exact, "reason": loss.reason,
        "level": "ERROR", "message": message,
    })
    .to_string();
    let prev = file.delivery.end(account.io);
    let end = (loss.from + loss.bytes.max(1)).max(prev + 1);
    let mut batch = turn.ship.open(file.seq(), turn.clock.mono_ms, turn.clock.wall_ns);
    batch.stand_for(prev, end);
    batch.builder.push(turn.clock.wall_ns, Level::Error, Flags::LOSS, end, body.as_bytes());
    turn.ship.add_open_bytes(batch.builder.bytes());
    account.send(batch, Some(loss), turn);
}
