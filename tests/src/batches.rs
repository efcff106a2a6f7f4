//! Headers of batches as an agent makes them, for tests that write messages without an agent.

use cordwood_core::batch::BatchHeader;
use cordwood_core::identity::{FileId, OutputStream, StreamKey};

/// The header of a batch of a container's stdout, whose records are all in the message: none is gated, limited, rejected or lost.
///
/// `positions` are file positions `(prev, end)`; the batch accounts for the bytes of `(prev, end]`. `lines`: how many records.
pub fn stdout_header(
    pod_uid: &str,
    container: &str,
    file: FileId,
    positions: (u64, u64),
    lines: u64,
) -> BatchHeader {
    let (prev, end) = positions;
    BatchHeader {
        stream: StreamKey::of_container(pod_uid, container, 0, OutputStream::Stdout),
        io: OutputStream::Stdout,
        file,
        restart_count: 0,
        prev,
        end,
        lines,
        bytes: end - prev,
        gated: 0,
        limited: 0,
        rejected: 0,
        loss: None,
    }
}
