//! A record as it is sent and stored: the application's own bytes, and the little that is known about them. Its fields are not parsed here;
//! `fields` reads them from the body when they are shown or filtered.

use crate::identity::RecordId;
use crate::level::Level;
use crate::origin::OriginId;

/// What is known about a record beside its bytes. Part of the batch and block formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// Category `audit`; without it `system`.
    pub const AUDIT: Flags = Flags(1);
    /// The line did not parse as what it claimed to be; the body is the line as it was.
    pub const PARSE_ERROR: Flags = Flags(1 << 1);
    /// The time was too far from the moment of storing; `original_time_us` has what the runtime wrote.
    pub const TIME_ADJUSTED: Flags = Flags(1 << 2);
    /// From stderr; without it stdout.
    pub const STDERR: Flags = Flags(1 << 3);
    /// The body was cut at `RECORD_BYTES_MAX`.
    pub const TRUNCATED: Flags = Flags(1 << 4);
    /// A partial line whose beginning or end was never seen.
    pub const INCOMPLETE: Flags = Flags(1 << 5);
    /// Written by Cordwood itself to say that bytes were lost; the body is a JSON object that says which.
    pub const LOSS: Flags = Flags(1 << 6);

    /// The body names no level: the record's is INFO because it has to be something. Records that older builds wrote do not say so.
    pub const UNLEVELED: Flags = Flags(1 << 7);
    /// With `AUDIT`: the line alone says so, where it is not believed (see [`crate::audit`]). Level rules and retention take it as `system`.
    /// Records that older builds wrote do not say so, and keep their audit retention.
    pub const AUDIT_CLAIMED: Flags = Flags(1 << 8);

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether retention takes it as an audit record.
    pub fn is_kept_as_audit(self) -> bool {
        self.has(Flags::AUDIT) && !self.has(Flags::AUDIT_CLAIMED)
    }

    #[must_use]
    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.with(other)
    }
}

/// One record, as blocks hold it. Times are microseconds since the Unix epoch, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub time_us: i64,
    /// Only with [`Flags::TIME_ADJUSTED`]: what the container runtime wrote.
    pub original_time_us: Option<i64>,
    pub level: Level,
    pub flags: Flags,
    pub origin: OriginId,
    pub id: RecordId,
    /// The bytes that the application wrote, without the line's end.
    pub body: &'a [u8],
}

impl Record<'_> {
    /// Judges a record's own time by what its class keeps, which the way in does not know. A record keeps the time that it came
    /// with where its class still keeps records of that time, also where the way in took it for too old. A record that was older
    /// than its class keeps records when it was stored gets the moment of storing: it is new to the application that sent it, and would
    /// go unseen. `stored_us`: that moment; `None` where nobody knows it any more.
    pub fn settle_time(&mut self, now_us: i64, stored_us: Option<i64>, retention_us: i64) {
        match (self.original_time_us, stored_us) {
            (Some(own_us), _) if own_us < self.time_us && own_us >= now_us.saturating_sub(retention_us) => {
                self.time_us = own_us;
                self.original_time_us = None;
                self.flags = self.flags.without(Flags::TIME_ADJUSTED);
            }
            (None, Some(stored_us)) if self.time_us < stored_us.saturating_sub(retention_us) => {
                self.original_time_us = Some(self.time_us);
                self.time_us = stored_us;
                self.flags = self.flags.with(Flags::TIME_ADJUSTED);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::RecordId;
    use crate::origin::Origin;

    #[test]
    fn a_record_as_old_as_its_class_keeps_records_keeps_its_time() {
        let id = RecordId { topic_partition: 0, kafka_offset: 0, index: 0 };
        let origin = Origin::default().id();
        let rows = [
            // Time, what it came with if the way in replaced that, when it was stored, now, retention; both times that it gets.
            (1_000, Some(600), Some(1_000), 1_100, 500, (600, None)),
            (1_000, Some(600), None, 1_100, 500, (600, None)),
            (1_000, Some(599), Some(1_000), 1_100, 500, (1_000, Some(599))),
            // From the future: never believed.
            (1_000, Some(5_000), Some(1_000), 1_100, 500, (1_000, Some(5_000))),
            (1_000, Some(i64::MIN), Some(1_000), 1_100, i64::MAX, (1_000, Some(i64::MIN))),
            (1_000, None, Some(1_000), 1_100, 500, (1_000, None)),
            // Older than its class keeps records when it was stored.
            (499, None, Some(1_000), 1_100, 500, (1_000, Some(499))),
            (499, None, None, 1_100, 500, (499, None)),
            // It expired while it waited.
            (500, None, Some(1_000), 1_100, 500, (500, None)),
            (500, None, Some(1_000), 9_000, 500, (500, None)),
        ];
        for (time_us, original_time_us, stored_us, now_us, retention_us, expected) in rows {
            let adjusted = |original: Option<i64>| match original {
                Some(_) => Flags::TIME_ADJUSTED | Flags::STDERR,
                None => Flags::STDERR,
            };
            let flags = adjusted(original_time_us);
            let mut record =
                Record { time_us, original_time_us, level: Level::Info, flags, origin, id, body: b"" };
            record.settle_time(now_us, stored_us, retention_us);
            assert_eq!((record.time_us, record.original_time_us), expected);
            assert_eq!(record.flags, adjusted(expected.1));
        }
    }
}
