//! What loggers write before a message: klog's and syslog's headers, the name of a thread, the columns of Spring Boot.

use super::generalise::Reader;
use super::marks::Mark;
use super::times::{is_date_name, named_date, time};
use super::words::LEVELS;

/// `main`, `http-nio-8080-exec-7`, `GossipStage:1`: which thread wrote it.
fn is_thread(name: &[u8]) -> bool {
    let is_char =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'#' | b'/');
    if name.is_empty() || !name[0].is_ascii_alphabetic() || !name.iter().all(is_char) {
        return false;
    }
    let number = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let numbered = number > 0
        && number + 1 < name.len()
        && matches!(name[name.len() - number - 1], b'-' | b'#' | b':' | b'_');
    numbered || matches!(name, b"main" | b"MainThread")
}

impl Reader<'_> {
    /// A time, a number, a level's name: none of these begins the message itself.
    pub(super) fn is_header_word(word: &[u8]) -> bool {
        let word = word.strip_suffix(b":").unwrap_or(word);
        let first = match word {
            [b'v', next, ..] => *next,
            [first, ..] => *first,
            [] => return true,
        };
        first.is_ascii_digit()
            || !word.iter().any(u8::is_ascii_alphabetic)
            || LEVELS.has(word)
            || is_date_name(word)
    }

    /// Reads what stands before a message; gives where it ends.
    pub(super) fn header(&mut self) -> usize {
        let klog = self.klog();
        self.in_header = !self.is_klog;
        if klog > 0 || !self.newer { klog } else { self.syslog().unwrap_or(0) }
    }

    /// `Nov 20 09:16:00 node-3 sshd[2211]:`: the machine's name says where, whatever it looks like.
    fn syslog(&mut self) -> Option<usize> {
        let text = &self.text[..self.text.len().min(256)];
        let mut at = match text {
            [b'<', digit, ..] if digit.is_ascii_digit() => {
                let priority = text[1..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
                (text.get(1 + priority) == Some(&b'>')).then_some(2 + priority)?
            }
            _ => 0,
        };
        let blanks = |at: usize| text[at..].iter().take_while(|byte| **byte == b' ').count();
        match named_date(&text[at..text.len().min(at + 24)]) {
            Some(day) => {
                at += day;
                at += blanks(at);
                at += time(&text[at..])?;
            }
            None => at += time(&text[at..]).filter(|length| *length >= 16)?,
        }
        let gap = blanks(at);
        let host = at + gap;
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
        let host_end = host + text[host..].iter().take_while(is_name).count();
        let gap_behind = blanks(host_end);
        let program = host_end + gap_behind;
        let program_end = program + text[program..].iter().take_while(is_name).count();
        if gap == 0 || gap_behind == 0 || host == host_end || program == program_end {
            return None;
        }
        let behind = &text[program_end..];
        let id = behind.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let is_program = (behind.first() == Some(&b'[') && id > 0 && behind[1 + id..].starts_with(b"]:"))
            || (&text[program..program_end] == b"kernel" && behind.first() == Some(&b':'));
        is_program.then(|| {
            self.mark(Mark::Time, host);
            self.out.blank();
            self.mark(Mark::Host, host_end)
        })
    }

    /// An opening bracket: a thread's, or what Spring Boot puts between `---` and the logger.
    pub(super) fn bracket(&mut self, at: usize) -> usize {
        if self.out.follows_text(b"---")
            && let Some(close) = memchr::memchr(b']', &self.text[at..])
        {
            self.steps += close;
            return at + close + 1;
        }
        match self.thread(at, b']') {
            Some(end) => end,
            None => self.brace(at),
        }
    }

    /// `(MainThread)`, and a word that names again what stands before it.
    pub(super) fn parenthesis(&mut self, at: usize) -> usize {
        if let Some(end) = self.aside(at) {
            self.delimiter(at);
            return self.mark(Mark::Quoted, end);
        }
        self.thread(at, b')').unwrap_or_else(|| self.delimiter(at))
    }

    fn thread(&mut self, at: usize, close: u8) -> Option<usize> {
        if !self.in_header {
            return None;
        }
        let inside = &self.text[at + 1..self.text.len().min(at + 66)];
        let end = memchr::memchr(close, inside).filter(|end| is_thread(&inside[..*end]))?;
        self.delimiter(at);
        Some(self.mark(Mark::Quoted, at + 1 + end))
    }

    /// What follows is the message itself in quotation marks, and no value in it: `msg="boom"` of logfmt, `file.go:12] "boom"` of klog.
    pub(super) fn quotes_the_message(&self) -> bool {
        let is_key = ["msg", "message", "event"].iter().any(|key| self.before[0] == key.as_bytes());
        // (Within brackets it may be one of the values that are left out together.)
        let is_value = self.newer && self.out.is_open();
        (is_key && !is_value && self.out.last_byte() == Some(b'='))
            || (self.is_klog && self.out.follows(b']'))
    }

    /// klog's header: a level's letter, month and day as four digits, then the time.
    fn klog(&mut self) -> usize {
        let text = self.text;
        if let [b'I' | b'W' | b'E' | b'F' | b'D', head @ ..] = text {
            // (With the year before it, as glog writes it.)
            let digits = head.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
            if (digits == 4 || (digits == 8 && self.newer))
                && head.get(digits) == Some(&b' ')
                && time(&head[digits + 1..]).is_some()
            {
                self.is_klog = true;
                self.out.text(&text[..1]);
                return self.mark(Mark::Time, 1 + digits);
            }
        }
        self.is_klog =
            matches!(text, [b'I' | b'W' | b'E' | b'F' | b'D', rest @ ..] if rest.starts_with(b"<time> "));
        0
    }
}
