//! A record as it travels and as it is stored: the application's own bytes and the little that is known about them.
//! Fields are not parsed out here; `fields` reads them from the body when they are shown or filtered.

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

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
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
