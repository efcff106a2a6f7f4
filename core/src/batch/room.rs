//! Bounds what decoding one message may produce: a small message can stand for many times as many bytes.

use bytes::Bytes;

use super::DecodedRecord;
use super::error::DecodeError;
use crate::limits::{MESSAGE_JSON_BYTES_MAX, MESSAGE_RECORDS_MAX, RECORD_BYTES_MAX};
use crate::record::Flags;

/// Bytes that a JSON body may have even when its message has used up its room, so that a reader still sees what it is.
const JSON_BYTES_MIN: usize = 256;

/// How much more one message may produce.
pub(super) struct Room {
    records: usize,
    /// Bytes of bodies that are written as JSON.
    json_bytes: usize,
    /// Records of the current batch whose bodies were cut.
    cut_records: u32,
}

impl Default for Room {
    fn default() -> Room {
        Room { records: MESSAGE_RECORDS_MAX, json_bytes: MESSAGE_JSON_BYTES_MAX, cut_records: 0 }
    }
}

impl Room {
    /// The most bytes that the next JSON body may have.
    pub fn json_bytes(&self) -> usize {
        self.json_bytes.clamp(JSON_BYTES_MIN, RECORD_BYTES_MAX)
    }

    /// How many bodies of the batch that is now complete were cut; counts from 0 for the next one.
    pub fn take_cut_records(&mut self) -> u32 {
        std::mem::take(&mut self.cut_records)
    }

    pub fn used(&mut self, json_bytes: usize) {
        self.json_bytes = self.json_bytes.saturating_sub(json_bytes);
    }
}

/// Cuts a body to the size that a record may have. Returns it, and whether it was cut.
pub(super) fn cut_body(mut body: Bytes) -> (Bytes, bool) {
    let cut = body.len() > RECORD_BYTES_MAX;
    body.truncate(RECORD_BYTES_MAX);
    (body, cut)
}

/// Adds a record if the message may have one more.
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
