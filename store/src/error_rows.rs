//! Writes counts of error groups in the writer's transaction. Each row is of one lane, so that two writers never update the same row.

use std::sync::Arc;

use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::signature::Signature;

use crate::ring::CopyBuffer;

/// Records of one group within an hour that the same people may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// Begin of the hour of the records' times.
    pub hour_us: i64,
    pub signature: Signature,
    pub tenant: Arc<str>,
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub level: Level,
    pub audit: bool,
    /// Whose deletion hides them; empty: no task's.
    pub task_id: Arc<str>,
    pub count: u64,
    pub first_us: i64,
    /// Time and id of the last of them.
    pub last: (i64, RecordId),
    /// Of the last: its error's type and its generalised message, without NUL.
    pub error_type: String,
    pub message: String,
}

pub(crate) fn buffer(lane: i16, seq: i64, rows: &[ErrorRow]) -> CopyBuffer {
    let texts: usize = rows.iter().map(|row| row.message.len() + row.error_type.len()).sum();
    let mut buffer = CopyBuffer::with_capacity(texts + rows.len() * 256);
    for row in rows {
        let (last_us, id) = row.last;
        buffer
            .row(19)
            .int2(lane)
            .int8(seq)
            .time(row.hour_us)
            .int8(row.signature.as_i64())
            .bytes(row.tenant.as_bytes())
            .bytes(row.namespace.as_bytes())
            .bytes(row.service.as_bytes())
            .int2(row.level as i16)
            .boolean(row.audit)
            .bytes(row.task_id.as_bytes())
            .int8(row.count as i64)
            .time(row.first_us)
            .time(last_us)
            .int4(id.topic_partition.cast_signed())
            .int8(id.kafka_offset.cast_signed())
            .int4(id.index.cast_signed())
            .bytes(row.error_type.as_bytes())
            .bytes(row.message.as_bytes())
            .int2(row.signature.version() as i16);
    }
    buffer
}
