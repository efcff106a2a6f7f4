//! Parses times in the forms that loggers, daemons and servers write.

use super::{Civil, NS, Said};
use crate::level::Level;

/// A time that begins further inside of a line is not looked for; an access log's client and user come before its.
const TEXT_BYTES_MAX: usize = 512;
/// What may stand before the time: a level, a name in brackets.
const WORDS_BEFORE_MAX: usize = 2;
const WORD_BYTES_MAX: usize = 24;
/// Keys of logfmt that are the line's time.
const KEYS: [&[u8]; 8] =
    [b"time", b"ts", b"timestamp", b"@timestamp", b"t", b"date", b"datetime", b"asctime"];
const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];

/// A place in a text.
#[derive(Clone, Copy)]
struct At<'a>(&'a [u8]);

/// The time that a line begins with.
pub(super) fn of_text(line: &[u8]) -> Option<Said> {
    let line = &line[..line.len().min(TEXT_BYTES_MAX)];
    let mut at = At(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
    at.skip_priority();
    at.skip_process();
    for _ in 0..=WORDS_BEFORE_MAX {
        let bracketed = at.skip_marks();
        if let Some((said, _)) = at.time(bracketed).filter(|(_, rest)| rest.is_boundary()) {
            return Some(said);
        }
        if !at.skip_word(bracketed) {
            break;
        }
    }
    of_access_log(line).or_else(|| of_logfmt(line))
}

/// A text that is a time and nothing else.
pub(super) fn of_whole(text: &[u8]) -> Option<Said> {
    let (said, rest) = At(text.trim_ascii()).time(false)?;
    rest.0.is_empty().then_some(said)
}

/// `10.0.0.1 - frank [27/Nov/2026:09:35:02 +0000] "GET / HTTP/1.1" 200 12`
fn of_access_log(line: &[u8]) -> Option<Said> {
    memchr::memchr_iter(b'[', line).take(4).find_map(|open| {
        let (civil, rest) = At(&line[open + 1..]).day_month_year(b'/')?;
        (rest.0.first() == Some(&b']')).then_some(Said::Civil(civil))
    })
}

/// `level=info ts=2026-11-27T09:45:01Z msg=...`: the pairs that a line begins with.
fn of_logfmt(line: &[u8]) -> Option<Said> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let equals = rest.iter().position(|byte| !is_key(*byte)).filter(|at| *at > 0)?;
        let value = rest[equals..].strip_prefix(b"=")?;
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = memchr::memchr(b'"', quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => {
                let end = memchr::memchr(b' ', value).unwrap_or(value.len());
                (&value[..end], &value[end..])
            }
        };
        let is_time = KEYS.iter().any(|key| key.eq_ignore_ascii_case(&rest[..equals]));
        if let Some(said) =
            is_time.then(|| of_whole(value).or_else(|| of_number(value).map(Said::Epoch))).flatten()
        {
            return Some(said);
        }
        rest = after;
    }
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@')
}

/// A number as a time since the Unix epoch, in the unit in which it lies between 1985 and 2128: seconds, milliseconds,
/// microseconds or nanoseconds.
pub(super) fn of_number(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &text[..0]),
    };
    if let Some(exponent) = memchr::memchr2(b'e', b'E', text) {
        // A float of some printers: `1.795772702123e+09`.
        let digits = text[..exponent].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        let value: f64 = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
        return of_number(format!("{value:.6}").as_bytes()).filter(|_| value < 1e19);
    }
    if whole.is_empty() || whole.len() > 19 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in whole {
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    let mut unit_ns = NS;
    while unit_ns > 1 && value >= 5 * NS * (NS / unit_ns) {
        unit_ns /= 1000;
    }
    let smallest = NS / 2 * (NS / unit_ns);
    let largest = (5 * NS).saturating_mul(NS / unit_ns);
    if !(smallest..largest).contains(&value) {
        return None;
    }
    // Of the fraction only what is whole nanoseconds.
    let (mut part_ns, mut digit_ns) = (0, unit_ns);
    for digit in fraction {
        digit_ns /= 10;
        part_ns += i64::from(digit - b'0') * digit_ns;
    }
    value.checked_mul(unit_ns)?.checked_add(part_ns)
}

impl<'a> At<'a> {
    fn first(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn after(self, count: usize) -> At<'a> {
        At(self.0.get(count..).unwrap_or_default())
    }

    fn take(self, byte: u8) -> Option<At<'a>> {
        (self.first() == Some(byte)).then(|| self.after(1))
    }

    fn blanks(self) -> At<'a> {
        At(self.0.trim_ascii_start())
    }

    /// Whether what was read before is whole: it does not go on as a word or a number.
    fn is_boundary(&self) -> bool {
        self.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte < 0x80)
    }

    /// Up to `max` digits, at least `min`.
    fn number(self, min: usize, max: usize) -> Option<(u32, At<'a>)> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let value = self.0[..count].iter().fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
        Some((value, self.after(count)))
    }

    /// Blanks, terminal colours, quotes and brackets. True: the last was a bracket.
    fn skip_marks(&mut self) -> bool {
        let mut bracketed = false;
        loop {
            match self.0 {
                [b' ' | b'\t' | b'"' | b'\'' | b'|' | b'(', ..] => *self = self.after(1),
                [b'[', ..] => {
                    bracketed = true;
                    *self = self.after(1);
                }
                [0x1b, b'[', rest @ ..] => {
                    let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';'));
                    match end.filter(|end| rest[*end] == b'm') {
                        Some(end) => *self = At(&rest[end + 1..]),
                        None => return bracketed,
                    }
                }
                _ => return bracketed,
            }
        }
    }

    /// `<34>` of syslog, and the version after it.
    fn skip_priority(&mut self) {
        let priority = || {
            let rest = self.take(b'<')?.number(1, 3)?.1.take(b'>')?;
            Some(rest.take(b'1').and_then(|rest| rest.take(b' ')).unwrap_or(rest))
        };
        if let Some(rest) = priority() {
            *self = rest;
        }
    }

    /// `1:M ` of Redis.
    fn skip_process(&mut self) {
        let process = || {
            let rest = self.number(1, 9)?.1.take(b':')?;
            rest.first().filter(u8::is_ascii_uppercase)?;
            rest.after(1).take(b' ')
        };
        if let Some(rest) = process() {
            *self = rest;
        }
    }

    /// A level, one letter and a comma, or a name in brackets.
    fn skip_word(&mut self, bracketed: bool) -> bool {
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
        let count = self.0.iter().take(WORD_BYTES_MAX).take_while(|byte| is_letter(byte)).count();
        let (word, rest) = self.0.split_at(count);
        let named = bracketed && At(rest).blanks().first() == Some(b']');
        let initial = count == 1 && rest.first() == Some(&b',');
        if count == 0 || !(named || initial || Level::from_word(word).is_some()) {
            return false;
        }
        let is_mark = |byte: &u8| matches!(byte, b' ' | b'\t' | b']' | b':' | b',' | b'-' | b'|');
        let marks = rest.iter().take_while(|byte| is_mark(byte)).count();
        *self = self.after(count + marks);
        marks > 0
    }

    /// A time in one of the forms, and what follows it.
    fn time(self, bracketed: bool) -> Option<(Said, At<'a>)> {
        let civil = |(civil, rest): (Civil, At<'a>)| (Said::Civil(civil), rest);
        let first = self.first()?;
        if first.is_ascii_digit() {
            let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
            return match digits {
                4 => self.year_month_day().map(civil),
                8 => self.packed().map(civil),
                1 | 2 => [b' ', b'-', b'/'].into_iter().find_map(|mark| self.day_month_year(mark)).map(civil),
                6 => self.short_packed().map(civil),
                10 => self.epoch(bracketed),
                _ => None,
            };
        }
        if !first.is_ascii_alphabetic() {
            return None;
        }
        self.klog().or_else(|| self.month_day()).or_else(|| self.weekday()).map(civil)
    }

    /// `2026-11-27T09:45:01.123Z`, `2026/11/27 09:45:01`, `2026-11-27 09:45:01,123 +0100`
    fn year_month_day(self) -> Option<(Civil, At<'a>)> {
        let (year, rest) = self.number(4, 4)?;
        let mark = rest.first().filter(|mark| matches!(mark, b'-' | b'/' | b'.'))?;
        let (month, rest) = rest.after(1).number(1, 2)?;
        let (day, rest) = rest.take(mark)?.number(1, 2)?;
        let rest = match rest.0 {
            [b' ', b'-', b' ', ..] => rest.after(3),
            [b'T' | b't' | b'_' | b':' | b'-', ..] => rest.after(1),
            [b' ', ..] => rest.blanks(),
            _ => return None,
        };
        Civil::date(Some(year), month, day).and_clock(rest)
    }

    /// `20261127T094501Z`, `20261127 09:45:01`
    fn packed(self) -> Option<(Civil, At<'a>)> {
        let (year, rest) = self.number(4, 4)?;
        let (month, rest) = rest.number(2, 2)?;
        let (day, rest) = rest.number(2, 2)?;
        rest.first().filter(|mark| matches!(mark, b'T' | b't' | b' ' | b'-'))?;
        let date = Civil::date(Some(year), month, day);
        let clock = rest.after(1);
        if clock.0.iter().take_while(|byte| byte.is_ascii_digit()).count() < 6 {
            return date.and_clock(clock);
        }
        let (hour, clock) = clock.number(2, 2)?;
        let (minute, clock) = clock.number(2, 2)?;
        let (second, clock) = clock.number(2, 2)?;
        Civil { hour, minute, second, ..date }.and_fraction(clock)
    }

    /// `261127  9:45:01`
    fn short_packed(self) -> Option<(Civil, At<'a>)> {
        let (year, rest) = self.number(2, 2)?;
        let (month, rest) = rest.number(2, 2)?;
        let (day, rest) = rest.number(2, 2)?;
        Civil::date(Some(2000 + year), month, day).and_clock(rest.take(b' ')?.blanks())
    }

    /// `27/Nov/2026:09:35:02 +0000`, `27-Nov-2026 09:35:02.123`, `27 Nov 2026 09:35:02`
    fn day_month_year(self, mark: u8) -> Option<(Civil, At<'a>)> {
        let (day, rest) = self.number(1, 2)?;
        let (month, rest) = rest.take(mark)?.month()?;
        let (year, rest) = rest.take(mark)?.number(4, 4)?;
        let rest = rest.take(b':').or_else(|| rest.take(b' '))?;
        Civil::date(Some(year), month, day).and_clock(rest.blanks())
    }

    /// `I1127 09:45:01.123456`, `I20261127 09:45:01.123456`
    fn klog(self) -> Option<(Civil, At<'a>)> {
        self.first().filter(|letter| b"IWEFD".contains(letter))?;
        let rest = self.after(1);
        let digits = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (year, rest) = match digits {
            4 => (None, rest),
            8 => rest.number(4, 4).map(|(year, rest)| (Some(year), rest))?,
            _ => return None,
        };
        let (month, rest) = rest.number(2, 2)?;
        let (day, rest) = rest.number(2, 2)?;
        Civil::date(year, month, day).and_clock(rest.take(b' ')?)
    }

    /// `Nov 27 09:45:01`, `Nov  7 2026 09:45:01`, `Nov 27, 2026 9:45:01 AM`
    fn month_day(self) -> Option<(Civil, At<'a>)> {
        let (month, rest) = self.month()?;
        let (day, rest) = rest.take(b' ')?.blanks().number(1, 2)?;
        let rest = rest.take(b',').unwrap_or(rest).take(b' ')?.blanks();
        if let Some((year, clock)) = rest.number(4, 4)
            && let Some(clock) = clock.take(b',').unwrap_or(clock).take(b' ')
        {
            return Civil::date(Some(year), month, day).and_clock(clock.blanks());
        }
        Civil::date(None, month, day).and_clock(rest)
    }

    /// `Fri Nov 27 09:45:01.123456 2026`, `Fri Nov 27 09:45:01 UTC 2026`, `Fri, 27 Nov 2026 09:45:01 GMT`
    fn weekday(self) -> Option<(Civil, At<'a>)> {
        let name = self.0.first_chunk::<3>()?.to_ascii_lowercase();
        WEEKDAYS.iter().find(|weekday| name == ***weekday)?;
        let rest = self.letters();
        let rest = rest.take(b',').unwrap_or(rest).take(b' ')?.blanks();
        if rest.first()?.is_ascii_digit() {
            return rest.day_month_year(b' ');
        }
        let (civil, rest) = rest.month_day()?;
        if civil.year.is_some() {
            return Some((civil, rest));
        }
        let rest = rest.take(b' ')?;
        let zone = rest.letters();
        let is_zone = zone.0.len() < rest.0.len();
        let year = if is_zone { zone.take(b' ')? } else { rest };
        let (year, rest) = year.number(4, 4)?;
        Some((Civil { year: i32::try_from(year).ok(), ..civil }, rest)).filter(|(civil, _)| civil.is_valid())
    }

    /// `1795772702.123 `, `[1795772702]`
    fn epoch(self, bracketed: bool) -> Option<(Said, At<'a>)> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let whole = bracketed && self.0.get(count) == Some(&b']');
        let fraction =
            count >= 14 && self.0.get(count).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b']'));
        let time_ns = of_number(&self.0[..count]).filter(|_| whole || fraction)?;
        Some((Said::Epoch(time_ns), self.after(count)))
    }

    /// Behind the letters that come next.
    fn letters(self) -> At<'a> {
        self.after(self.0.iter().take_while(|byte| byte.is_ascii_alphabetic()).count())
    }

    /// A month by its name, short or whole.
    fn month(self) -> Option<(u32, At<'a>)> {
        let name = self.0.first_chunk::<3>()?.to_ascii_lowercase();
        let month = MONTHS.iter().position(|month| name == **month)?;
        Some((u32::try_from(month).ok()? + 1, self.letters()))
    }
}

impl Civil {
    fn date(year: Option<u32>, month: u32, day: u32) -> Civil {
        let year = year.and_then(|year| i32::try_from(year).ok());
        Civil { year, month, day, hour: 0, minute: 0, second: 0, fraction_ns: 0, offset_s: None }
    }

    /// `09:45:01.123 +0100`, `9:45:01 AM`, `09:45`
    fn and_clock(self, at: At<'_>) -> Option<(Civil, At<'_>)> {
        let (hour, rest) = at.number(1, 2)?;
        let (minute, rest) = rest.take(b':')?.number(2, 2)?;
        match rest.take(b':') {
            Some(rest) => {
                let (second, rest) = rest.number(2, 2)?;
                Civil { hour, minute, second, ..self }.and_fraction(rest)
            }
            None => Civil { hour, minute, ..self }.and_zone(rest),
        }
    }

    fn and_fraction(mut self, at: At<'_>) -> Option<(Civil, At<'_>)> {
        let [b'.' | b',', digits @ ..] = at.0 else { return self.and_zone(at) };
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.and_zone(at);
        }
        // (What is finer than a nanosecond is left out.)
        let mut unit_ns = NS;
        for digit in &digits[..count.min(9)] {
            unit_ns /= 10;
            self.fraction_ns += i64::from(digit - b'0') * unit_ns;
        }
        self.and_zone(At(&digits[count..]))
    }

    /// `Z`, `+01:00`, ` +0100`, ` UTC`, ` AM`; another zone's name is not read.
    fn and_zone(mut self, at: At<'_>) -> Option<(Civil, At<'_>)> {
        let mut rest = at;
        let half = at.take(b' ').unwrap_or(at);
        if let [letter @ (b'A' | b'P' | b'a' | b'p'), b'M' | b'm', ..] = half.0
            && half.after(2).is_boundary()
            && (1..=12).contains(&self.hour)
        {
            let afternoon = letter.eq_ignore_ascii_case(&b'p');
            self.hour = self.hour % 12 + if afternoon { 12 } else { 0 };
            rest = half.after(2);
        }
        if !self.is_valid() {
            return None;
        }
        if let Some((offset_s, after)) = zone(rest).or_else(|| zone(rest.take(b' ')?)) {
            self.offset_s = Some(offset_s);
            rest = after;
        }
        Some((self, rest))
    }
}

/// `Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+01`, as seconds east of UTC.
fn zone(at: At<'_>) -> Option<(i64, At<'_>)> {
    for name in [&b"UTC"[..], b"GMT", b"Z", b"z"] {
        if at.0.starts_with(name) && at.after(name.len()).is_boundary() {
            return Some((0, at.after(name.len())));
        }
    }
    let sign = at.first().filter(|sign| matches!(sign, b'+' | b'-'))?;
    let (hours, rest) = at.after(1).number(2, 2)?;
    let minutes = rest.take(b':').unwrap_or(rest).number(2, 2);
    let (minutes, rest) = minutes.unwrap_or((0, rest));
    if hours > 18 || minutes > 59 || !rest.is_boundary() {
        return None;
    }
    let offset_s = i64::from(hours * 3600 + minutes * 60);
    Some((if sign == b'-' { -offset_s } else { offset_s }, rest))
}
