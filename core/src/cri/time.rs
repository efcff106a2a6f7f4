//! RFC 3339 with up to nine digits of a second's fraction, by hand: a line's time is read for every line.

const NS: i64 = 1_000_000_000;

/// A whole text as a time: nanoseconds since the Unix epoch. `None` when it is not RFC 3339 as Go writes it (`T` and `Z`
/// in capitals, no leap second, fraction of 1 to 9 digits or none) or lies outside of what 64 bits of nanoseconds hold.
pub fn parse_time(text: &[u8]) -> Option<i64> {
    match parse_prefix(text)? {
        (time_ns, []) => Some(time_ns),
        _ => None,
    }
}

/// The time at the beginning of `line`, and what follows it.
pub(super) fn parse_prefix(line: &[u8]) -> Option<(i64, &[u8])> {
    let head: &[u8; 19] = line.first_chunk()?;
    let digit = |at: usize| -> u32 { u32::from(head[at].wrapping_sub(b'0')) };
    let mut wrong = false;
    let mut two = |at: usize| -> u32 {
        let (high, low) = (digit(at), digit(at + 1));
        wrong |= high > 9 || low > 9;
        high.wrapping_mul(10).wrapping_add(low)
    };
    let (century, year_of, month, day) = (two(0), two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    wrong |= head[4] != b'-' || head[7] != b'-' || head[10] != b'T' || head[13] != b':' || head[16] != b':';
    if wrong || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let year = century * 100 + year_of;
    if day == 0 || day > days_in(year, month) {
        return None;
    }
    let mut rest = &line[19..];
    let mut fraction_ns = 0;
    if let [b'.', digits @ ..] = rest {
        (fraction_ns, rest) = fraction(digits)?;
    }
    let (offset_s, rest) = offset(rest)?;
    let days = days_since_epoch(year, month, day);
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset_s;
    // i128 would be simpler and slower; at the edges of the range the sum may overflow only when the product does not.
    let time_ns = seconds.checked_mul(NS)?.checked_add(fraction_ns)?;
    Some((time_ns, rest))
}

/// One to nine digits as nanoseconds.
fn fraction(digits: &[u8]) -> Option<(i64, &[u8])> {
    if let Some(nine) = digits.first_chunk::<9>() {
        let mut value: i64 = 0;
        let mut wrong = false;
        for byte in nine {
            let digit = byte.wrapping_sub(b'0');
            wrong |= digit > 9;
            value = value * 10 + i64::from(digit);
        }
        if !wrong {
            let rest = &digits[9..];
            return if rest.first().is_some_and(u8::is_ascii_digit) { None } else { Some((value, rest)) };
        }
    }
    let count = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    if count == 0 || count > 9 {
        return None;
    }
    let value = digits[..count].iter().fold(0i64, |value, byte| value * 10 + i64::from(byte - b'0'));
    Some((value * 10i64.pow(9 - count as u32), &digits[count..]))
}

/// `Z` or `+hh:mm`, as seconds east of UTC.
fn offset(rest: &[u8]) -> Option<(i64, &[u8])> {
    match rest {
        [b'Z', rest @ ..] => Some((0, rest)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, rest @ ..] => {
            if ![h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let two = |a: &u8, b: &u8| i64::from((a - b'0') * 10 + (b - b'0'));
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some((if *sign == b'-' { -seconds } else { seconds }, rest))
        }
        _ => None,
    }
}

/// 0 for a month that does not exist.
pub(crate) fn days_in(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Proleptic Gregorian (H. Hinnant, `days_from_civil`).
pub(crate) fn days_since_epoch(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
