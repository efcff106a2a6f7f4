//! Finds the field of a JSON line that is its time.

use super::text::{of_number, of_whole};
use super::{NS, Said};
use crate::fields::{Kind, Members, Value, object_in};

/// Names that loggers, collectors and servers give it. The first in the line that holds a time counts.
const KEYS: [&[u8]; 20] = [
    b"time",
    b"ts",
    b"timestamp",
    b"@timestamp",
    b"@t",
    b"t",
    b"datetime",
    b"date",
    b"asctime",
    b"eventtime",
    b"event_time",
    b"log_time",
    b"logtime",
    b"log_timestamp",
    b"timemillis",
    b"time_local",
    b"time_iso8601",
    b"instant",
    b"__realtime_timestamp",
    b"requestreceivedtimestamp",
];
/// Members that are looked at: a time stands among the first ones.
const MEMBERS_MAX: usize = 64;
/// The time of a line that is an object, or ends with one.
pub(super) fn of_json(line: &[u8]) -> Option<Said> {
    let mut members = Members::open(object_in(line)?)?;
    for _ in 0..MEMBERS_MAX {
        let member = members.next_member().ok()??;
        let is_time = KEYS.iter().any(|key| key.eq_ignore_ascii_case(member.key.raw));
        if let Some(said) = is_time.then(|| of_value(member.value)).flatten() {
            return Some(said);
        }
    }
    None
}

fn of_value(value: Value<'_>) -> Option<Said> {
    match value.kind {
        Kind::String => {
            let text = value.text()?.bytes();
            of_whole(&text).or_else(|| of_number(&text).map(Said::Epoch))
        }
        Kind::Scalar => of_number(value.raw).map(Said::Epoch),
        // `{"$date": "..."}`, `{"seconds": 1795772702, "nanos": 5}`, `{"epochSecond": ..., "nanoOfSecond": ...}`
        Kind::Object => {
            let mut members = value.members()?;
            let (mut seconds, mut nanos) = (None, 0);
            while let Some(member) = members.next_member().ok()? {
                match member.key.raw {
                    b"$date" => return of_value(member.value).filter(|_| member.value.kind != Kind::Object),
                    b"seconds" | b"epochSecond" => seconds = of_number(member.value.raw),
                    b"nanos" | b"nanoOfSecond" => {
                        nanos = std::str::from_utf8(member.value.raw).ok()?.parse().ok()?;
                    }
                    _ => {}
                }
            }
            Some(Said::Epoch(seconds?.checked_add(nanos)?)).filter(|_| (0..NS).contains(&nanos))
        }
        Kind::Array => None,
    }
}
