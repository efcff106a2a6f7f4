//! One word of a message that is more than letters.
//!
//! The whole word is tried first, in this order: URL, mail address, trace context, UUID, MAC address, IPv6, path, host, version.
//! Else its parts (runs of letters and digits) are: UUID, time, IPv4, number with its unit, suffix of a pod's name, hexadecimal
//! id; what is left of a part's digits is a number. A word that touches a mark is only read by its parts.

use super::generalise::{AT, COLON, DIGIT, DOT, Reader, SLASH, ends_word};
use super::marks::Mark;
use super::names::{ipv4, is_email, is_host, is_ipv6, is_mac, is_traceparent, is_uuid};
use super::times::{is_duration_unit, is_size_unit, time};

/// The characters that names of pods are made of by chance.
fn is_pod_char(byte: u8) -> bool {
    matches!(byte, b'b'..=b'd' | b'f'..=b'h' | b'j'..=b'n' | b'p'..=b't' | b'v'..=b'x' | b'z' | b'2' | b'4'..=b'9')
}

fn has_digit(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit)
}

fn has_letter(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_alphabetic)
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Letters and digits, and what is not ASCII.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// A code that says what happened: `E0308`, `TS2345`, `ORA-00942`.
fn is_code(word: &[u8]) -> bool {
    const DASHED: [&[u8]; 12] = [
        b"ORA", b"PLS", b"TNS", b"SQL", b"CVE", b"HV", b"JCR", b"WFLYSRV", b"AADSTS", b"RFC", b"ISO", b"ERR",
    ];
    let letters = word.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let rest = &word[letters..];
    let is_number = |text: &[u8]| matches!(text.len(), 3..=6) && text.iter().all(u8::is_ascii_digit);
    match rest.strip_prefix(b"-") {
        Some(number) => {
            (1..=8).contains(&letters)
                && is_number(number)
                && (number[0] == b'0' || DASHED.contains(&&word[..letters]))
        }
        None => (1..=4).contains(&letters) && is_number(rest) && rest.len() <= 5,
    }
}

/// `/srv/x`, `./x`, `../x`, `~/x`, `C:\x`, `\\host\x`; and `a/b` with a digit, a suffix or a second slash.
fn is_path(word: &[u8]) -> bool {
    match word {
        [b'/', second, ..] if *second != b'/' => return true,
        [b'.' | b'~', b'/', _, ..] | [b'\\', b'\\', _, ..] => return true,
        [b'.', b'.', b'/', ..] | [b'.', b'.', b'.', b'/', ..] => return true,
        [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic() => return true,
        _ if word.starts_with(b"HTTP/") => return false,
        _ => {}
    }
    let slashes = word.iter().filter(|byte| **byte == b'/').count();
    let backslashes = word.iter().filter(|byte| **byte == b'\\').count();
    if slashes == 0 {
        return backslashes >= 2 && has_letter(word);
    }
    let last = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let inner = word[0] != b'/' && !last.is_empty();
    inner && has_letter(word) && (slashes >= 2 || has_digit(word) || last[1..].contains(&b'.'))
}

/// A file's name by its suffix: `ca.pem`, `0.log.gz`. A place in a source (`stats.go:143`) is none: it is where the message is from.
fn is_file(word: &[u8]) -> bool {
    const SUFFIXES: [&str; 40] = [
        "log", "txt", "pem", "crt", "key", "csr", "json", "yaml", "yml", "toml", "xml", "ini", "conf", "cfg",
        "env", "csv", "sql", "db", "sqlite", "gz", "zip", "tar", "tgz", "zst", "xz", "bz2", "jar", "war",
        "so", "dll", "exe", "a", "o", "c", "h", "deb", "rpm", "tmp", "pid", "html",
    ];
    let Some(dot) = memchr::memrchr(b'.', word) else { return false };
    let suffix = &word[dot + 1..];
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'@');
    dot > 0
        && suffix.len() <= 6
        && SUFFIXES.iter().any(|known| known.as_bytes() == suffix)
        && word[..dot].iter().all(is_name)
}

/// A name at a machine whose name has no dots: `celery@worker-1`.
fn is_account(word: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', word) else { return false };
    let is_name =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let (name, host) = (&word[..at], &word[at + 1..]);
    name.first().is_some_and(u8::is_ascii_lowercase)
        && host.first().is_some_and(u8::is_ascii_lowercase)
        && name.iter().chain(host).all(is_name)
}

/// `35-1`, `1-5-9`: numbers with dashes between them.
fn is_range(word: &[u8]) -> bool {
    word.contains(&b'-')
        && word
            .split(|byte| *byte == b'-')
            .all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// A package of Debian with its architecture: `libc6:amd64`.
fn is_package(word: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', word) else { return false };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    colon >= 2
        && matches!(
            &word[colon + 1..],
            b"amd64" | b"arm64" | b"all" | b"i386" | b"armhf" | b"ppc64el" | b"s390x" | b"riscv64"
        )
        && word[..colon].iter().all(is_name)
}

/// `1.2.3-rc.1`, `v2.0.0+build`: it begins with numbers between dots, and more follows.
fn is_version(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"v").unwrap_or(word);
    // (Debian's epoch: `2:1.0.10-1`.)
    let word = if digits(word) == 1 && word.get(1) == Some(&b':') { &word[2..] } else { word };
    let major = digits(word);
    major > 0
        && word.get(major) == Some(&b'.')
        && word.get(major + 1).is_some_and(u8::is_ascii_digit)
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'~'))
}

/// Whether the number after these words is a status of HTTP or a state of SQL, which says what happened.
fn keeps_number(before: &[&[u8]; 2], number: &[u8], newer: bool) -> bool {
    let [last, earlier] = before;
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if is(last, "sqlstate") {
        return number.len() == 5;
    }
    let after_status =
        ["http", "status", "statuscode", "status_code", "http_status"].iter().any(|name| is(last, name))
            || last.starts_with(b"HTTP/")
            || (newer && last.is_empty() && earlier.starts_with(b"HTTP/"))
            || (is(last, "code") && is(earlier, "status"));
    after_status && number.len() == 3 && matches!(number[0], b'1'..=b'5')
}

impl Reader<'_> {
    /// The word between `start` and `end`; gives where reading goes on (a unit or a part of a time may lie behind it).
    pub(super) fn word(&mut self, start: usize, end: usize, classes: u8) -> usize {
        let text = self.text;
        let trimmed = text[start..end].iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?'));
        let Some(last) = trimmed else {
            self.out.text(&text[start..end]);
            return end;
        };
        let core_end = start + last + 1;
        let touches = self.out.last_byte() == Some(b'>') || self.touches(end);
        let next = if touches { None } else { self.whole(start, core_end, classes) };
        let next = next.unwrap_or_else(|| self.parts(start, core_end));
        match self.out.behind_mark().filter(|_| self.newer) {
            None => self.remember(&text[start..core_end]),
            // What a mark ends is no word; what stands behind it is one.
            Some(0) => self.before[1] = &text[start..core_end],
            Some(length) => self.remember(&text[core_end.saturating_sub(length)..core_end]),
        }
        if next == core_end && core_end < end {
            self.out.text(&text[core_end..end]);
            return end;
        }
        next.max(end)
    }

    fn whole(&mut self, start: usize, end: usize, classes: u8) -> Option<usize> {
        let text = self.text;
        let word = &text[start..end];
        if classes & (COLON | SLASH) == COLON | SLASH
            && let Some(found) = self.url(start, end)
        {
            return Some(found);
        }
        self.steps += 4 * word.len();
        let mark = if classes & AT != 0 && is_email(word) {
            Mark::Email
        } else if is_traceparent(word) {
            Mark::Trace
        } else if is_uuid(word) {
            Mark::Uuid
        } else if is_mac(word) {
            Mark::Mac
        } else if classes & COLON != 0 && is_ipv6(word) {
            Mark::Ip
        } else {
            return self.named(start, end, classes);
        };
        Some(self.mark(mark, end))
    }

    /// `key:` in front of a value, then what a whole word may be.
    fn named(&mut self, start: usize, end: usize, classes: u8) -> Option<usize> {
        let text = self.text;
        let word = &text[start..end];
        self.steps += 4 * word.len();
        if self.newer && classes & AT != 0 && is_account(word) {
            return Some(self.mark(Mark::Email, end));
        }
        if self.newer && classes & DIGIT != 0 && is_range(word) && time(word).is_none() {
            return Some(self.mark(Mark::Number, end));
        }
        if self.newer && classes & COLON != 0 && is_package(word) {
            return Some(self.mark(Mark::Package, end));
        }
        if classes & COLON != 0 && !is_host(word) {
            let letters = word.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_').count();
            if letters >= 2
                && word.get(letters) == Some(&b':')
                && word.get(letters + 1).is_some_and(|byte| !matches!(byte, b':' | b'\\'))
            {
                self.out.text(&word[..=letters]);
                self.remember(&word[..letters]);
                let value = start + letters + 1;
                let mark = value_mark(&text[value..end], classes);
                return Some(match mark {
                    Some(mark) => self.mark(mark, end),
                    None => self.parts(value, end),
                });
            }
        }
        let mark = value_mark(word, classes)?;
        if self.newer && mark == Mark::Path && text.get(end) == Some(&b'=') && word.contains(&b'?') {
            let stop = self.url_stop(end);
            return Some(self.mark(mark, stop));
        }
        Some(self.mark(mark, end))
    }

    /// A scheme, `://` and all up to a blank, a quotation mark or a bracket.
    fn url(&mut self, start: usize, end: usize) -> Option<usize> {
        let text = self.text;
        let word = &text[start..end];
        self.steps += word.len();
        let colon = memchr::memchr_iter(b':', word).find(|at| word[at + 1..].starts_with(b"//"))?;
        let scheme = word[..colon]
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'))
            .count();
        let at = start + colon - scheme;
        if scheme == 0 || !text[at].is_ascii_alphabetic() {
            return None;
        }
        if at > start {
            self.parts(start, at);
        }
        let stop = self.url_stop(start + colon + 3);
        Some(self.mark(Mark::Url, stop))
    }

    /// Where a URL ends of which this is a part: at a blank, a quotation mark or a bracket.
    pub(super) fn url_stop(&mut self, from: usize) -> usize {
        let text = self.text;
        let stops = |byte: &u8| {
            matches!(byte, 0..=b' ' | 0x7f | b'"' | b'\'' | b'`' | b'<' | b'>' | b')' | b']' | b'}' | b'|')
        };
        let mut stop = from + text[from..].iter().position(stops).unwrap_or(text.len() - from);
        self.steps += stop - from;
        while stop > from && matches!(text[stop - 1], b'.' | b',' | b':' | b';' | b'!' | b'?') {
            stop -= 1;
        }
        stop
    }

    /// The parts of a word; gives where reading goes on.
    fn parts(&mut self, start: usize, end: usize) -> usize {
        let text = self.text;
        let word = &text[start..end];
        self.steps += word.len();
        if is_code(word) {
            self.out.text(word);
            return end;
        }
        let mut at = start;
        if matches!(word, [b'-' | b'+', b'0'..=b'9', ..]) {
            at += 1;
        }
        while at < end {
            if !is_part(text[at]) {
                let mut run = text[at..end].iter().take_while(|byte| !is_part(**byte)).count();
                let next = at + run;
                if self.newer
                    && matches!(text[..next], [.., b'_' | b':', b'-'])
                    && run >= 2
                    && next < end
                    && text[next].is_ascii_digit()
                {
                    run -= 1;
                }
                // A dash in front of a mark stays; what a number's sign is was seen above.
                self.out.text(&text[at..at + run]);
                at = next;
                continue;
            }
            at = self.part(start, at, end);
        }
        at
    }

    fn part(&mut self, start: usize, at: usize, end: usize) -> usize {
        let text = self.text;
        let rest = &text[at..end];
        let len = rest.iter().take_while(|byte| is_part(**byte)).count();
        let part = &rest[..len];
        self.steps += 2 * len;
        if len == 8 && rest.len() >= 36 && is_uuid(&rest[..36]) {
            return self.mark(Mark::Uuid, at + 36);
        }
        if !has_digit(part) {
            if len >= 32 && part.iter().all(u8::is_ascii_hexdigit) {
                return self.mark(Mark::Hex, at + len);
            }
            self.out.text(part);
            return at + len;
        }
        if self.newer
            && matches!(len, 5..=8)
            && at >= start + 2
            && text[at - 1] == b'@'
            && at + len == end
            && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            // (An object of Java, `PgConnection@3668b047`.)
            return self.mark(Mark::Hex, end);
        }
        if part[0].is_ascii_digit() {
            // A fraction of a second may stand behind a comma, which ends the word.
            if len <= 4
                && let Some(length) = time(&text[at..text.len().min(at + 48)])
            {
                return self.mark(Mark::Time, at + length);
            }
            if len <= 3
                && let Some(length) = ipv4(rest)
            {
                return self.mark(Mark::Ip, at + length);
            }
            if let Some(next) = self.number(start, at, end) {
                return next;
            }
        }
        if at > start
            && text[at - 1] == b'-'
            && let Some(length) = pod_suffix(rest)
        {
            return self.mark(Mark::Pod, at + length);
        }
        self.mixed(part, at)
    }

    /// A number, with a fraction (or as a version has several), and its unit.
    fn number(&mut self, start: usize, at: usize, end: usize) -> Option<usize> {
        let text = self.text;
        let rest = &text[at..end];
        if let [b'0', b'x' | b'X', hex @ ..] = rest {
            let length = hex.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            if length > 0 && !hex.get(length).is_some_and(|byte| is_part(*byte)) {
                return Some(self.mark(Mark::Hex, at + 2 + length));
            }
        }
        let mut length = digits(rest);
        while rest.get(length) == Some(&b'.') && rest.get(length + 1).is_some_and(u8::is_ascii_digit) {
            length += 1 + digits(&rest[length + 1..]);
        }
        self.steps += length;
        let unit = rest[length..].iter().take_while(|byte| is_part(**byte)).count();
        if unit > 0 {
            let name = &rest[length..length + unit];
            if is_size_unit(name) && name != b"b" {
                return Some(self.mark(Mark::Size, at + length + unit));
            }
            if let Some(whole) = spans(&rest[..length + unit], length) {
                return Some(self.mark(Mark::Duration, at + whole));
            }
            let whole_version = at == start && is_version(rest);
            return whole_version.then(|| self.mark(Mark::Number, end));
        }
        if at == start && length < rest.len() && is_version(rest) {
            return Some(self.mark(Mark::Number, end));
        }
        let number = &rest[..length];
        if self.newer && length == rest.len() {
            return Some(self.number_behind(start, at, length));
        }
        if at == start && length == rest.len() && keeps_number(&self.before, number, false) {
            self.out.text(number);
            return Some(end);
        }
        if length == rest.len()
            && let Some((mark, next)) = self.unit_behind(end)
        {
            return Some(self.mark(mark, next));
        }
        Some(self.mark(Mark::Number, at + length))
    }

    /// A number at the end of a word: `1,204 ms`, `91.5 %`.
    fn number_behind(&mut self, start: usize, at: usize, length: usize) -> usize {
        let text = self.text;
        let mut end = at + length;
        if at == start && keeps_number(&self.before, &text[at..end], true) {
            self.out.text(&text[at..end]);
            return end;
        }
        if matches!(length, 1..=3) {
            while let [b',', a, b, c, rest @ ..] = &text[end..]
                && [a, b, c].iter().all(|byte| byte.is_ascii_digit())
                && !rest.first().is_some_and(|byte| is_part(*byte))
            {
                end += 4;
            }
        }
        if let Some((mark, next)) = self.unit_behind(end) {
            return self.mark(mark, next);
        }
        let blanks = text[end..].iter().take(3).take_while(|byte| **byte == b' ').count();
        let next = if text.get(end + blanks) == Some(&b'%') { end + blanks } else { end };
        self.mark(Mark::Number, next)
    }

    /// A unit that stands behind a number and blanks.
    pub(super) fn unit_behind(&self, end: usize) -> Option<(Mark, usize)> {
        let rest = &self.text[end..self.text.len().min(end + 18)];
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        if !matches!(blanks, 1..=3) {
            return None;
        }
        let word = &rest[blanks..];
        let length = word.iter().take_while(|byte| is_part(**byte)).count();
        let name = &word[..length];
        let next = word.get(length).copied().unwrap_or(b' ');
        let ends = ends_word(next) || matches!(next, b'.' | b':' | b'!' | b'?');
        if !ends || !(length >= 2 || matches!(name, b"s" | b"B")) || next == b'<' || next == b'(' {
            return None;
        }
        let mark = if is_duration_unit(name) {
            Mark::Duration
        } else if is_size_unit(name) {
            Mark::Size
        } else {
            return None;
        };
        Some((mark, end + blanks + length))
    }

    /// A part of letters and digits.
    fn mixed(&mut self, part: &[u8], at: usize) -> usize {
        let next = at + part.len();
        let foreign = part.iter().rposition(|byte| !byte.is_ascii_hexdigit()).map_or(0, |last| last + 1);
        let (name, hex) = part.split_at(foreign);
        let is_id = hex.len() >= 8 && has_digit(hex) && (!name.is_empty() || has_letter(hex));
        if is_id {
            if !name.is_empty() {
                self.runs(name);
            }
            return self.mark(Mark::Hex, next);
        }
        let changes =
            part.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        if part.len() >= 16 && changes >= 4 {
            return self.mark(Mark::Hex, next);
        }
        self.runs(part);
        next
    }

    /// Letters as they are, digits as numbers.
    fn runs(&mut self, part: &[u8]) {
        let mut rest = part;
        while let Some(first) = rest.first() {
            let same = |byte: &&u8| byte.is_ascii_digit() == first.is_ascii_digit();
            let (run, behind) = rest.split_at(rest.iter().take_while(same).count());
            if first.is_ascii_digit() {
                self.out.mark(Mark::Number);
            } else {
                self.out.text(run);
            }
            rest = behind;
        }
    }
}

/// `1h2m3s`, `36.5s`: all of it is numbers with units of time. `number`: the length of its first number.
fn spans(part: &[u8], number: usize) -> Option<usize> {
    let mut at = number;
    loop {
        let unit = part[at..].iter().take_while(|byte| !byte.is_ascii_digit()).count();
        if !is_duration_unit(&part[at..at + unit]) {
            return None;
        }
        at += unit;
        if at == part.len() {
            return Some(at);
        }
        at += digits(&part[at..]);
    }
}

/// `69ff97bbc4-n2sgg` of a Deployment's pod, `q46jq` of a DaemonSet's.
fn pod_suffix(rest: &[u8]) -> Option<usize> {
    let run = |text: &[u8]| text.iter().take(11).take_while(|byte| is_pod_char(**byte)).count();
    let ends = |at: usize| !rest.get(at).is_some_and(|byte| is_part(*byte) || *byte == b'-');
    let first = run(rest);
    if matches!(first, 8..=10) && rest.get(first) == Some(&b'-') {
        let second = run(&rest[first + 1..]);
        let end = first + 1 + second;
        if second == 5 && ends(end) {
            return Some(end);
        }
    }
    (first == 5 && ends(5) && has_digit(&rest[..5]) && has_letter(&rest[..5])).then_some(5)
}

fn value_mark(word: &[u8], classes: u8) -> Option<Mark> {
    if (classes & SLASH != 0 && is_path(word)) || (classes & DOT != 0 && is_file(word)) {
        Some(Mark::Path)
    } else if classes & DIGIT != 0 && is_uuid(word) {
        Some(Mark::Uuid)
    } else if classes & COLON != 0 && is_ipv6(word) {
        Some(Mark::Ip)
    } else if classes & (DOT | COLON) != 0 && is_host(word) && ipv4(word).is_none() {
        Some(Mark::Host)
    } else {
        None
    }
}
