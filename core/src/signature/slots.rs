//! Places of a message where a name stands without quotation marks (`container agent`, `summary for jdk`, `libssl: loaded`): the name says
//! which one it was. Promises: a word that says what happened is no name, wherever it stands.

use super::generalise::{COLON, DOT, Reader, ends_word};
use super::marks::Mark;
use super::names::is_uuid;
use super::times::named_date;
use super::words::{KINDS, OF_PARTS, REPORTS, is_kept, is_of_part, may_be_behind};

const FIRST: u8 = 1;
const BRACKET: u8 = 1 << 1;
const BLANK: u8 = 1 << 2;
const BEHIND: u8 = 1 << 3;

/// What a byte may tell at a name's beginning and behind its end.
const LOOKS: [u8; 256] = {
    let mut looks = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        looks[byte] = match byte as u8 {
            b'-' | b'*' | b'l' | b'z' | b'g' | b'P' | b'A' => FIRST,
            b'(' => BRACKET,
            b'v' | b'i' => BEHIND,
            other if is_blank(other) => BLANK,
            _ => 0,
        };
        byte += 1;
    }
    looks
};

/// Letters, digits and what joins them, from a letter on; no id, which has its own mark.
fn is_name(word: &[u8]) -> bool {
    let is_id = || word.len() >= 8 && word.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+'))
        && !is_id()
}

/// A name of which letters and a dash or `_` are all that can be said.
fn is_plain(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'))
}

/// `libssl`, `zlib`: a library of C. (`library`, `liberty` are words.)
fn is_library(word: &[u8]) -> bool {
    match word {
        b"zlib" | b"glib" | b"glibc" => true,
        [b'l', b'i', b'b', first, rest @ ..] => {
            let is_char = |byte: &u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'+')
            };
            let is_word = ["rar", "era", "ert", "el", "ido"]
                .iter()
                .any(|word| [&[*first], rest].concat().starts_with(word.as_bytes()));
            first.is_ascii_lowercase()
                && !(*first == b's' && rest.is_empty())
                && !is_word
                && rest.iter().all(is_char)
        }
        _ => false,
    }
}

/// `*v1.Secret`: a type of Go.
fn is_go_type(word: &[u8]) -> bool {
    let [b'*', rest @ ..] = word else { return false };
    let (module, name) = rest.split_at(memchr::memchr(b'.', rest).unwrap_or(rest.len()));
    let is_word = |word: &[u8]| word.iter().all(u8::is_ascii_alphanumeric);
    module.first().is_some_and(u8::is_ascii_lowercase)
        && is_word(module)
        && name.get(1).is_some_and(u8::is_ascii_uppercase)
        && is_word(&name[1..])
}

/// `apt-daily.service`: what systemd runs.
fn is_unit(word: &[u8]) -> bool {
    let Some(dot) = memchr::memrchr(b'.', word) else { return false };
    let is_char = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'@');
    dot > 0
        && matches!(
            &word[dot + 1..],
            b"service" | b"socket" | b"timer" | b"mount" | b"slice" | b"scope" | b"target"
        )
        && word[..dot].iter().all(is_char)
}

/// `-lssl`, `-O2`, `-qqy`, `--short-errors`: an option of a command line.
fn is_option(word: &[u8]) -> bool {
    match word {
        [b'-', b'-', first, rest @ ..] => first.is_ascii_lowercase() && !rest.is_empty(),
        [b'-', b'l' | b'L' | b'I' | b'D' | b'U' | b'W' | b'O', ..] => true,
        [b'-', name @ ..] => matches!(name.len(), 1..=3) && name.iter().all(u8::is_ascii_alphabetic),
        _ => false,
    }
}

/// A type of DNS's records.
fn is_dns_type(word: &[u8]) -> bool {
    matches!(
        word,
        b"A" | b"AAAA" | b"MX" | b"TXT" | b"SRV" | b"CNAME" | b"PTR" | b"NS" | b"SOA" | b"HTTPS" | b"ANY"
    )
}

impl Reader<'_> {
    /// The word from `start` on is a name: where reading goes on behind it.
    #[inline]
    pub(super) fn slot(&mut self, start: usize, end: usize, classes: u8) -> Option<usize> {
        if self.may_be_named(start, end, classes) { self.named_here(start, end) } else { None }
    }

    /// A first look, which passes over most words.
    #[inline]
    fn may_be_named(&self, start: usize, end: usize, classes: u8) -> bool {
        let text = self.text;
        let by_form = LOOKS[usize::from(text[start])] & FIRST != 0 || classes & (COLON | DOT) != 0;
        let next = LOOKS[usize::from(*text.get(end).unwrap_or(&b'.'))];
        let behind = LOOKS[usize::from(*text.get(end + 1).unwrap_or(&b'.'))];
        let by_next = next & BRACKET != 0 || (next & BLANK != 0 && behind & (BLANK | BEHIND) != 0);
        let by_word = || {
            let [last, earlier] = self.before;
            last == b"now" || (last == b"for" && REPORTS.has(earlier)) || KINDS.has(last)
        };
        (by_form && self.may_have_form(start, end)) || (by_next && self.may_be_by_next(end)) || by_word()
    }

    fn may_have_form(&self, start: usize, end: usize) -> bool {
        match &self.text[start..end] {
            [b'-' | b'*', ..] | [b'l', b'i', b'b', ..] | [b'z' | b'g', b'l', b'i', b'b', ..] => true,
            [b'P' | b'A', b'F', b'_', ..] => true,
            [b'0'..=b'9' | b'/', ..] => false,
            // Of DNS's records.
            [b'A'..=b'Z', .., b':'] => end - start <= 6,
            // Of units.
            [.., b'c' | b'p', b'e'] | [.., b'e' | b'n', b't'] | [.., b'e', b'r'] | [.., b'.' | b':'] => true,
            _ => false,
        }
    }

    fn may_be_by_next(&self, end: usize) -> bool {
        match self.text[end..] {
            [b'(', ..] => true,
            [_, b'v', next, ..] => next.is_ascii_digit(),
            [_, b'i', b's', b' ', next, ..] => next == b'f' || is_blank(next),
            [_, b'i', b's', next, ..] => is_blank(next),
            [_, next, ..] => is_blank(next),
            _ => false,
        }
    }

    #[inline(never)]
    fn named_here(&mut self, start: usize, end: usize) -> Option<usize> {
        let text = self.text;
        let core = start + core(&text[start..end]);
        self.steps += end - start;
        if self.counting > 0 || self.touches(end) || self.out.last_byte() == Some(b'>') || core == start {
            return None;
        }
        let word = &text[start..core];
        let mark = if word[0] == b'-' {
            let is_option = self.is_after_blank() && text.get(end) != Some(&b'=') && is_option(word);
            is_option.then_some(Mark::Option)
        } else if self.is_known(word, core) {
            Some(Mark::Name)
        } else {
            self.is_named(word, core).then_some(Mark::Quoted)
        };
        self.mark(mark?, core);
        self.out.text(&text[core..end]);
        Some(end)
    }

    fn is_after_blank(&self) -> bool {
        matches!(self.out.last_byte(), None | Some(b' '))
    }

    /// Its form, or the word behind `at`, where it ends, tells that it is a name.
    fn is_known(&mut self, word: &[u8], at: usize) -> bool {
        let text = self.text;
        let behind = &text[at..];
        if is_library(word) || is_go_type(word) || is_unit(word) {
            return true;
        }
        // (A pod as kubelet names it.)
        if let [b'(', id @ ..] = behind
            && id.len() > 36
            && id[36] == b')'
            && is_uuid(&id[..36])
        {
            return is_name(word);
        }
        if behind.first() == Some(&b':') && is_dns_type(word) {
            return self.out.follows_text(b"<host>") || self.out.follows_text(b"<host>.");
        }
        let (from, to) = self.next_word(at);
        self.steps += to - at;
        match &text[from..to] {
            // (A family of addresses.)
            b"protocol" => matches!(word, [b'P' | b'A', b'F', b'_', _, ..]),
            // (`secrets is forbidden: ..`, as the API server says.)
            b"is" => {
                let (from, to) = self.next_word(to);
                &text[from..to] == b"forbidden:" && is_name(word) && !is_kept(word)
            }
            next @ [b'v', digit, ..] if digit.is_ascii_digit() => {
                next.contains(&b'.') && is_name(word) && !is_kept(word)
            }
            _ => false,
        }
    }

    /// It stands where a name stands; `at`: its end.
    fn is_named(&mut self, word: &[u8], at: usize) -> bool {
        if self.out.last_byte() != Some(b' ') {
            return false;
        }
        let [last, earlier] = self.before;
        let is_name = || is_name(word) && !is_kept(word);
        if KINDS.has(last) {
            if !is_name() || (is_of_part(word) && !OF_PARTS.has(last)) {
                return false;
            }
            if self.out.follows_text(last) {
                let is_variable = last == b"variable" && self.text.get(at) == Some(&b'=');
                return is_variable || self.ends_name(at, false);
            }
            // `container: agent`, and nothing more.
            return self.out.follows(b':') && last != b"type" && is_plain(word) && self.ends_name(at, true);
        }
        let is_last = match last {
            b"now" => self.out.follows_text(b", now"),
            b"for" => REPORTS.has(earlier) && self.out.follows_text(b"for"),
            _ => false,
        };
        is_last && is_name() && self.ends_name(at, true)
    }

    /// Where the word behind blanks begins and ends, if not too far away; it is empty where a mark or a delimiter stands.
    fn next_word(&self, at: usize) -> (usize, usize) {
        let rest = &self.text[at..self.text.len().min(at + 64)];
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        let word = if blanks == 0 { &[] } else { &rest[blanks..] };
        let length = word.iter().take_while(|byte| !ends_word(**byte)).count();
        (at + blanks, at + blanks + length)
    }

    /// What stands behind a name's end goes on as behind a name. `whole`: and no word follows.
    fn ends_name(&mut self, at: usize, whole: bool) -> bool {
        let rest = &self.text[at..];
        match rest.first() {
            None | Some(b',' | b';' | b')' | b']' | b'}' | b'(' | b':' | b'.' | b'!' | b'?') => return true,
            Some(byte) if is_blank(*byte) => {}
            _ => return false,
        }
        let (from, to) = self.next_word(at);
        let word = &self.text[from..to];
        self.steps += to - at;
        match self.text.get(to) {
            // (Keys and values behind the message.)
            Some(b'=') if !word.is_empty() => true,
            delimiter if word.is_empty() => !whole || !matches!(delimiter, Some(b'<' | b'"' | b'\'' | b'`')),
            _ if word.iter().all(u8::is_ascii_alphabetic) => {
                !whole && (may_be_behind(word) || self.becomes_a_mark(from, to))
            }
            next => !whole || (next != Some(&b'<') && !word.iter().any(u8::is_ascii_alphanumeric)),
        }
    }

    /// A word of letters alone of which no letter will be left: it is as good behind a name as a number is.
    fn becomes_a_mark(&mut self, from: usize, to: usize) -> bool {
        let text = self.text;
        let word = &text[from..to];
        word == b"localhost"
            || (word.len() >= 32 && word.iter().all(u8::is_ascii_hexdigit))
            || (word.len() == 3 && named_date(&text[from..text.len().min(from + 24)]).is_some())
            || self.is_known(word, to)
    }

    /// `command: rm -r x`: all of it up to a closing mark, or up to what it gave.
    #[inline]
    pub(super) fn command(&mut self, at: usize) -> Option<usize> {
        if !self.out.follows(b':') {
            return None;
        }
        let [last, earlier] = self.before;
        let is =
            |word: &[u8], names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
        let is_command = is(last, &["command", "commandline", "cmdline", "cmd"])
            || (is(last, &["line"]) && is(earlier, &["command"]));
        if !is_command {
            return None;
        }
        let end = self.command_end(at);
        Some(self.mark(Mark::Quoted, end))
    }

    /// Where a command line ends.
    pub(super) fn command_end(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let stops = |index: usize| match rest[index] {
            b')' | b']' | b'}' | b'"' | b'\'' | b'`' | b'<' | b';' | b'\n' => true,
            b':' => rest.get(index + 1).is_none_or(|byte| *byte == b' '),
            _ => false,
        };
        let length = (0..rest.len()).find(|index| stops(*index)).unwrap_or(rest.len());
        self.steps += length;
        let length = rest[..length].trim_ascii_end().len();
        at + length.max(1)
    }

    /// A word in brackets that says again what a mark before it stands for (`/usr/bin/vim (vim)`), or whose a process is (`process 5
    /// (java)`): where it ends.
    pub(super) fn aside(&self, at: usize) -> Option<usize> {
        let inside = &self.text[at + 1..self.text.len().min(at + 66)];
        let end = memchr::memchr(b')', inside)?;
        let name = &inside[..end];
        let is_process = || {
            ["process <n>", "Process <n>", "pid <n>", "PID <n>"]
                .iter()
                .any(|before| self.out.follows_text(before.as_bytes()))
                && (name == b"node" || !is_kept(name))
        };
        let says_again = || {
            let before = self.text[..at].strip_suffix(b" ").and_then(|before| before.strip_suffix(name));
            before.is_some_and(|before| matches!(before.last(), Some(b'/' | b'.' | b'@')))
        };
        let is_aside = is_name(name) && self.out.follows(b'>') && (is_process() || says_again());
        is_aside.then_some(at + 1 + end)
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f)
}

/// How much of a word stands before the punctuation at its end.
fn core(word: &[u8]) -> usize {
    word.iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?')).map_or(0, |last| last + 1)
}
