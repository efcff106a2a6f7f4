//! What a message has room for, and what it does with it.

use bytes::Bytes;

use super::DecodedRecord;
use super::error::DecodeError;
use crate::limits::{MESSAGE_JSON_BYTES_MAX, MESSAGE_RECORDS_MAX, RECORD_BYTES_MAX};
use crate::record::Flags;

/// Room for a body that is written as JSON, also when its message has used up what it had: what it is can be seen.
const JSON_BYTES_MIN: usize = 256;

/// What a message has room for: its bytes may stand for many times as much.
pub(super) struct Room {
    records: usize,
    json_bytes: usize,
    /// Bodies of the batch in the making that were cut.
    cut_records: u32,
}

impl Default for Room {
    fn default() -> Room {
        Room { records: MESSAGE_RECORDS_MAX, json_bytes: MESSAGE_JSON_BYTES_MAX, cut_records: 0 }
    }
}

impl Room {
    /// For the next body.
    pub fn json_bytes(&self) -> usize {
        self.json_bytes.clamp(JSON_BYTES_MIN, RECORD_BYTES_MAX)
    }

    /// Those of the batch that is complete.
    pub fn take_cut_records(&mut self) -> u32 {
        std::mem::take(&mut self.cut_records)
    }

    pub fn used(&mut self, json_bytes: usize) {
        self.json_bytes = self.json_bytes.saturating_sub(json_bytes);
    }
}

/// A body that is a slice of the message, and whether it had to be cut.
pub(super) fn cut_body(mut body: Bytes) -> (Bytes, bool) {
    let cut = body.len() > RECORD_BYTES_MAX;
    body.truncate(RECORD_BYTES_MAX);
    (body, cut)
}

/// One more record, if there is room for it.
pub(super) fn push_record(
    records: &mut Vec<DecodedRecord>,
    record: DecodedRecord,
    room: &mut Room,
) -> Result<(), DecodeError> {
    if room.records == 0 {
        return Err(DecodeError::Records { records_max: MESSAGE_RECORDS_MAX });
    }
    room.records -= 1;
    room.cut_records += u32::from(record.flags.has(Flags::TRUNCATED));
    records.push(record);
    Ok(())
}
