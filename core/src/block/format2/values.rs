//! Parses values that are written as numbers (digits, decimals, hex digits, times), and writes each number as the same text again, byte for
//! byte. A text that would not come back exactly is not parsed.

use super::super::BlockError;

/// The digits are exactly so many, with leading zeros; 0: as many as the number needs.
pub(super) fn parse_digits(text: &[u8], digits: usize) -> Option<u64> {
    let fits = if digits == 0 {
        (1..=20).contains(&text.len()) && (text[0] != b'0' || text.len() == 1)
    } else {
        text.len() == digits
    };
    if !fits {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

pub(super) fn put_digits(out: &mut Vec<u8>, mut value: u64, digits: usize) {
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while value > 0 || start == buffer.len() {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let written = buffer.len() - start;
    out.extend(std::iter::repeat_n(b'0', digits.saturating_sub(written)));
    out.extend_from_slice(&buffer[start..]);
}

/// Mantissa and how many digits stand behind the point.
pub(super) fn parse_decimal(text: &[u8]) -> Option<(i64, usize)> {
    let (negative, rest) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let point = memchr::memchr(b'.', rest);
    let (whole, fraction) = point.map_or((rest, &rest[rest.len()..]), |at| (&rest[..at], &rest[at + 1..]));
    if whole.len() + fraction.len() > 18 || (point.is_some() && fraction.is_empty()) {
        return None;
    }
    let above = parse_digits(whole, 0)? as i64;
    let below = if fraction.is_empty() { 0 } else { parse_digits(fraction, fraction.len())? as i64 };
    let mantissa = above * 10i64.pow(fraction.len() as u32) + below;
    // Nothing tells -0 from 0.
    if negative && mantissa == 0 {
        return None;
    }
    Some((if negative { -mantissa } else { mantissa }, fraction.len()))
}

pub(super) const SCALE_MAX: u64 = 18;

/// `scale` is at most [`SCALE_MAX`].
pub(super) fn put_decimal(out: &mut Vec<u8>, mantissa: i64, scale: usize) {
    if mantissa < 0 {
        out.push(b'-');
    }
    let unit = 10u64.pow(scale as u32);
    put_digits(out, mantissa.unsigned_abs() / unit, 0);
    if scale > 0 {
        out.push(b'.');
        put_digits(out, mantissa.unsigned_abs() % unit, scale);
    }
}

pub(super) fn hex_digit(byte: u8, upper: bool) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' if !upper => Some(byte - b'a' + 10),
        b'A'..=b'F' if upper => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Places of the dashes of a UUID.
const DASHES: [usize; 4] = [8, 13, 18, 23];
pub(super) const UUID_CHARS: usize = 36;

/// Appends the bytes that the digits mean; `dashed`: they are a UUID's. Nothing is appended when they are not of the kind.
pub(super) fn parse_hex(text: &[u8], upper: bool, dashed: bool, out: &mut Vec<u8>) -> Option<()> {
    let mut digits = [0; UUID_CHARS - DASHES.len()];
    let text = match dashed {
        false => text,
        true => {
            if text.len() != UUID_CHARS || DASHES.iter().any(|&place| text[place] != b'-') {
                return None;
            }
            let mut from = 0;
            for (number, part) in text.split(|&byte| byte == b'-').enumerate() {
                // A dash too many is at no digit's place.
                let to = *[8, 12, 16, 20, 32].get(number)?;
                digits.get_mut(from..to).filter(|room| room.len() == part.len())?.copy_from_slice(part);
                from = to;
            }
            &digits
        }
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let start = out.len();
    let table = if upper { &UPPER } else { &LOWER };
    let mut seen = 0;
    out.extend(text.chunks_exact(2).map(|two| {
        let (high, low) = (table[usize::from(two[0])], table[usize::from(two[1])]);
        seen |= high | low;
        high << 4 | low
    }));
    if seen >= NO_DIGIT {
        out.truncate(start);
        return None;
    }
    Some(())
}

/// Above every digit's value; no value of digits together reaches it.
const NO_DIGIT: u8 = 0x10;
static LOWER: [u8; 256] = digits(b'a');
static UPPER: [u8; 256] = digits(b'A');

/// The value of each digit, the tenth of which is `ten`.
const fn digits(ten: u8) -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        let byte = if digit < 10 { b'0' + digit } else { ten + digit - 10 };
        table[byte as usize] = digit;
        digit += 1;
    }
    table
}

pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8], upper: bool, dashed: bool) {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    for (place, byte) in bytes.iter().enumerate() {
        if dashed && [4, 6, 8, 10].contains(&place) {
            out.push(b'-');
        }
        out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
}

/// The form of the times of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeForm {
    /// Between date and time: `T`, `t`, a blank.
    pub between: u8,
    /// Before the fraction: `.` or `,`.
    pub point: u8,
    /// Digits of the fraction, 0 to 9.
    pub digits: usize,
}

pub(super) const FRACTION_DIGITS_MAX: usize = 9;
const DAY_S: i64 = 86_400;
/// `2026-11-21T06:17:02`
const SECONDS_CHARS: usize = 19;

impl TimeForm {
    /// How this time is written, and what follows it: the zone.
    pub fn of(text: &[u8]) -> Option<(TimeForm, &[u8])> {
        let form = |point, digits| TimeForm { between: text[10], point, digits };
        if text.len() < SECONDS_CHARS || !matches!(text[10], b'T' | b't' | b' ') {
            return None;
        }
        civil_seconds(&text[..SECONDS_CHARS])?;
        let rest = &text[SECONDS_CHARS..];
        let Some(&point @ (b'.' | b',')) = rest.first() else { return Some((form(b'.', 0), rest)) };
        let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if (1..=FRACTION_DIGITS_MAX).contains(&digits) {
            Some((form(point, digits), &rest[1 + digits..]))
        } else {
            Some((form(b'.', 0), rest))
        }
    }

    pub fn chars(self) -> usize {
        SECONDS_CHARS + if self.digits == 0 { 0 } else { 1 + self.digits }
    }

    /// Since 1970 as if it were UTC, in the unit of the last digit. `text` is of [`TimeForm::chars`] bytes.
    pub fn parse(self, text: &[u8]) -> Option<i64> {
        if text.len() != self.chars() || text[10] != self.between {
            return None;
        }
        let seconds = civil_seconds(&text[..SECONDS_CHARS])?;
        let fraction = match self.digits {
            0 => 0,
            digits if text[SECONDS_CHARS] == self.point => {
                parse_digits(&text[SECONDS_CHARS + 1..], digits)? as i64
            }
            _ => return None,
        };
        seconds.checked_mul(10i64.pow(self.digits as u32))?.checked_add(fraction)
    }

    /// The record's time in the same unit.
    pub fn of_record(self, time_us: i64) -> i64 {
        if self.digits <= 6 {
            time_us.div_euclid(10i64.pow(6 - self.digits as u32))
        } else {
            time_us.wrapping_mul(10i64.pow(self.digits as u32 - 6))
        }
    }

    pub fn put(self, out: &mut Vec<u8>, value: i64) -> Result<(), BlockError> {
        let unit = 10i64.pow(self.digits as u32);
        let (seconds, fraction) = (value.div_euclid(unit), value.rem_euclid(unit));
        let (day, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S) as u64);
        let (year, month, day) = civil(day).ok_or(BlockError::Invalid("time"))?;
        let parts = [(year, 4, b'-'), (month, 2, b'-'), (day, 2, self.between)];
        let clock = [(second / 3600, 2, b':'), (second / 60 % 60, 2, b':')];
        for (number, digits, after) in parts.into_iter().chain(clock) {
            put_digits(out, number, digits);
            out.push(after);
        }
        put_digits(out, second % 60, 2);
        if self.digits > 0 {
            out.push(self.point);
            put_digits(out, fraction as u64, self.digits);
        }
        Ok(())
    }
}

fn civil_seconds(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| parse_digits(text.get(from..to)?, to - from).map(|n| n as i64);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(place, mark)| text.get(place) != Some(&mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
        return None;
    }
    let days = days(year, month, day);
    // A day that its month does not have would come back as another.
    (civil(days) == Some((year as u64, month as u64, day as u64)))
        .then_some(days * DAY_S + hour * 3600 + minute * 60 + second)
}

/// Since 1970-01-01, Gregorian.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day; `None` outside the years 0 to 9999.
fn civil(days: i64) -> Option<(u64, u64, u64)> {
    if !(-719_528..=2_932_896).contains(&days) {
        return None;
    }
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    Some((u64::try_from(year).ok()?, month as u64, day as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Option<String> {
        let (mantissa, scale) = parse_decimal(text.as_bytes())?;
        let mut out = Vec::new();
        put_decimal(&mut out, mantissa, scale);
        String::from_utf8(out).ok()
    }

    #[test]
    fn a_decimal_comes_back_or_is_none() {
        for text in ["0", "-1", "12", "0.5", "-0.05", "12.500", "999999999999999999", "0.000000001"] {
            assert_eq!(decimal(text).as_deref(), Some(text));
        }
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "-0",
            "-0.0",
            "01",
            "00.5",
            "1e400",
            "+1",
            "1.2.3",
            "1234567890123456789",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    fn time(text: &str) -> Option<(String, String)> {
        let (form, zone) = TimeForm::of(text.as_bytes())?;
        let value = form.parse(&text.as_bytes()[..form.chars()])?;
        let mut out = Vec::new();
        form.put(&mut out, value).ok()?;
        Some((String::from_utf8(out).ok()?, String::from_utf8_lossy(zone).into_owned()))
    }

    #[test]
    fn a_time_comes_back_or_is_none() {
        for (text, zone) in [
            ("2026-11-21T06:17:02.123", "Z"),
            ("2026-11-21 06:17:02,123456789", "+05:45"),
            ("1969-12-31t23:59:59", "-0330"),
            ("0000-01-01T00:00:00.0", ""),
            ("9999-12-31T23:59:59.999999", "[Europe/Paris]"),
            ("2024-02-29T00:00:00", "."),
        ] {
            assert_eq!(time(&format!("{text}{zone}")), Some((text.to_owned(), zone.to_owned())));
        }
        for text in [
            "2026-02-30T00:00:00Z",
            "2023-02-29T00:00:00",
            "2026-11-21T24:00:00",
            "2026-11-21T00:00:60",
            "2026-13-01T00:00:00",
            "2026-11-21_06:17:02",
            "2026-11-21T06:17",
            "２026-11-21T06:17:02",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        let nine = TimeForm { between: b'T', point: b'.', digits: 9 };
        assert_eq!(nine.parse(b"9999-12-31T23:59:59.999999999"), None, "beyond 64 bits");
        assert!(nine.put(&mut Vec::new(), i64::MIN).is_ok());
        let whole = TimeForm { digits: 0, ..nine };
        assert!(whole.put(&mut Vec::new(), i64::MIN).is_err());
        assert!(whole.put(&mut Vec::new(), i64::MAX).is_err());
    }

    #[test]
    fn hex_comes_back_or_nothing_is_appended() {
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let cases = [
            ("0123456789abcdef", true),
            ("0123456789ABCDEF", true),
            ("0123456789aBcdef", false),
            ("0123456789abcdeg", false),
            ("0123456789abcdef0", false),
            ("", true),
            (uuid, true),
            (&uuid.to_uppercase(), true),
            ("01234567-89ab-cdef-0123-456789abcde-", false),
            ("01234567-89ab-cdef--123-456789abcdef", false),
            ("0123456-789ab-cdef-0123-456789abcdef", false),
            ("01234567089ab-cdef-0123-456789abcdef", false),
            ("01234567-89ab-cdef-0123-456789abcdeG", false),
        ];
        for (text, is_hex) in cases {
            let dashed = text.contains('-');
            let found = [false, true].into_iter().filter(|&upper| {
                let mut bytes = vec![7];
                let parsed = parse_hex(text.as_bytes(), upper, dashed, &mut bytes).is_some();
                let mut back = Vec::new();
                put_hex(&mut back, &bytes[1..], upper, dashed);
                assert_eq!((bytes[0], parsed || bytes.len() == 1), (7, true), "{text}");
                assert!(!parsed || back == text.as_bytes(), "{text}");
                parsed
            });
            assert_eq!(found.count() > 0, is_hex, "{text}");
        }
    }
}
