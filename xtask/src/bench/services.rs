//! The corpus of services: JSON lines of about 231 bytes of 50 pods in ten tenants with 50,000 users. The vocabulary grows with the number of
//! lines. The corpus plants the words that the searches ask for and counts the lines that each search must find. The same number of lines
//! is the same text in every run. Prints nothing.

use super::corpus::PATHS;
use super::random::Random;
use std::io::Write as _;

pub const TENANTS: u64 = 10;
pub const PODS: u64 = 50;
const SEED: u64 = 13;
const USERS: u64 = 50_000;
/// So many lines are a day's: fewer are the last part of one, written as fast, so that blocks are as full whatever their number.
const LINES_A_DAY: u64 = 100_000_000;
/// Within a day, so that nothing expires while it is measured.
const SPAN_US_MAX: u64 = 22 * 3_600_000_000;
/// Lines that are written together: of one pod, with one trace id.
const BURST: u64 = 4;
/// What is looked for in a time long gone: one line in so many, all one after the other, a fifth from the beginning.
const PAST: u64 = 500;
const SERVICES: [&str; 5] = ["payment", "checkout", "cart", "search", "auth"];
const STATUS: [u64; 7] = [200, 200, 200, 201, 204, 404, 500];
/// `%` is a word of the vocabulary, `#` a number.
const TEMPLATES: [&str; 20] = [
    "request handled in # steps by %",
    "request accepted from %",
    "request rejected by policy %",
    "request queued for % at place #",
    "cache miss for %, loading from store",
    "cache refreshed, # entries of %",
    "connection reset by peer after # packets",
    "connection accepted from %",
    "gateway stops, timeout after # attempts",
    "timeout while waiting for %",
    "gateway chose upstream %",
    "order # placed with %",
    "invoice # of % sent",
    "session of % renewed",
    "index % merged, # segments",
    "stock of % reserved: #",
    "message # queued for delivery to %",
    "user signed in by %",
    "retrying %, attempt #",
    "certificate of % checked",
];

/// What is searched for, in the order of [`Sought::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    Absent,
    OneInAMillion,
    Trace,
    User,
    OneInTenThousand,
    Common,
    Phrase,
    PastBurst,
    TwoCommon,
    TwoCommonApart,
    Scoped,
    TwoSeldomApart,
}

impl Sought {
    pub const ALL: [Sought; 12] = [
        Sought::Absent,
        Sought::OneInAMillion,
        Sought::Trace,
        Sought::User,
        Sought::OneInTenThousand,
        Sought::Common,
        Sought::Phrase,
        Sought::PastBurst,
        Sought::TwoCommon,
        Sought::TwoCommonApart,
        Sought::Scoped,
        Sought::TwoSeldomApart,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Sought::Absent => "absent word",
            Sought::OneInAMillion => "word of one in a million",
            Sought::Trace => "trace id",
            Sought::User => "user id",
            Sought::OneInTenThousand => "word of one in 10,000",
            Sought::Common => "common word",
            Sought::Phrase => "phrase",
            Sought::PastBurst => "burst in the past",
            Sought::TwoCommon => "two common words",
            Sought::TwoCommonApart => "two common words that never meet",
            Sought::Scoped => "word, tenant, level and service",
            Sought::TwoSeldomApart => "two of one in 1,000 that never meet",
        }
    }

    /// As Cordwood's filter, given a trace id that was written.
    pub fn filter(self, trace: &str) -> String {
        match self {
            Sought::Trace => format!("traceId={trace}"),
            Sought::User => "userId=u36012".to_owned(),
            Sought::Scoped => "request tenant:tenant-3 level>=error service:payment".to_owned(),
            _ => self.words().to_owned(),
        }
    }

    /// As LogsQL.
    pub fn logsql(self, trace: &str) -> String {
        match self {
            Sought::Trace => format!("trace_id:={trace}"),
            Sought::User => "user_id:=u36012".to_owned(),
            Sought::Scoped => "request namespace:=tenant-3 level:=error service:=payment".to_owned(),
            _ => self.words().to_owned(),
        }
    }

    /// The same in both.
    fn words(self) -> &'static str {
        match self {
            Sought::OneInAMillion => "quetzalcoatl",
            Sought::OneInTenThousand => "axolotlish",
            Sought::Common | Sought::Scoped => "request",
            Sought::Phrase => "\"connection reset by peer\"",
            Sought::PastBurst => "wildfire",
            Sought::TwoCommon => "gateway timeout",
            Sought::TwoCommonApart => "connection gateway",
            Sought::TwoSeldomApart => "basilisk manticore",
            Sought::Absent | Sought::Trace | Sought::User => "zzyzx",
        }
    }
}

/// How many lines each search finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Sought::ALL.len()]);

impl Tally {
    pub fn of(&self, sought: Sought) -> u64 {
        self.0[sought as usize]
    }

    pub fn add_all(&mut self, other: &Tally) {
        self.0.iter_mut().zip(other.0).for_each(|(all, more)| *all += more);
    }

    fn add(&mut self, sought: Sought) {
        self.0[sought as usize] += 1;
    }
}

/// What is known of a line beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub pod: u64,
    pub time_us: i64,
}

/// The lines of one corpus, in the order of time.
pub struct Services {
    random: Random,
    lines: u64,
    next: u64,
    from_us: i64,
    span_us: u64,
    pod: u64,
    trace: String,
    /// The line whose trace id is searched for.
    traced: u64,
    sought_trace: String,
    tally: Tally,
}

impl Services {
    /// The last of so many is written at `end_us`; `recent`: among so many of the last ones is the trace that is searched for.
    pub fn new(lines: u64, recent: u64, end_us: i64) -> Services {
        let span_us = (SPAN_US_MAX * lines.min(LINES_A_DAY) / LINES_A_DAY).max(1);
        Services {
            random: Random::new(SEED),
            lines,
            next: 0,
            from_us: end_us.saturating_sub_unsigned(span_us),
            span_us,
            pod: 0,
            trace: String::new(),
            traced: lines - lines.min(recent) / 3,
            sought_trace: String::new(),
            tally: Tally::default(),
        }
    }

    pub fn begins_us(&self) -> i64 {
        self.from_us
    }

    /// Of the lines so far; empty before it was written.
    pub fn sought_trace(&self) -> &str {
        &self.sought_trace
    }

    /// Of the lines since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Writes the next one, without a newline; `None` when there are no more.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<Line> {
        let n = self.next;
        if n >= self.lines {
            return None;
        }
        self.next += 1;
        let random = &mut self.random;
        if n.is_multiple_of(BURST) {
            self.pod = random.below(PODS);
            self.trace = format!("{:016x}{:016x}", random.next(), random.next());
            // A burst as a whole, since all of it has this trace id.
            if (n..n + BURST).contains(&self.traced) {
                self.sought_trace.clone_from(&self.trace);
            }
        }
        let offset_us = u128::from(self.span_us) * u128::from(n + 1) / u128::from(self.lines);
        let time_us = self.from_us + i64::try_from(offset_us).unwrap_or_default();
        let level = match random.below(100) {
            0..=2 => "error",
            3..=9 => "warn",
            10..=29 => "debug",
            _ => "info",
        };
        let service = SERVICES[(self.pod % SERVICES.len() as u64) as usize];
        let time = jiff::Timestamp::from_microsecond(time_us).unwrap_or_default();
        let _ = write!(out, r#"{{"time":"{time:.6}","level":"{level}","service":"{service}","message":""#);
        let template = random.below(TEMPLATES.len() as u64) as usize;
        message(TEMPLATES[template], n, random, out);
        let past = self.lines / 5..self.lines / 5 + (self.lines / PAST).max(1);
        for (is_here, sought, word) in [
            (n % 1_000_000 == 250_000, Sought::OneInAMillion, "quetzalcoatl"),
            (n % 10_000 == 5_000, Sought::OneInTenThousand, "axolotlish"),
            (past.contains(&n), Sought::PastBurst, "wildfire"),
        ] {
            if is_here {
                let _ = write!(out, " {word}");
                self.tally.add(sought);
            }
        }
        match n % 1_000 {
            200 => out.extend_from_slice(b" basilisk"),
            700 => out.extend_from_slice(b" manticore"),
            _ => {}
        }
        let user = random.below(USERS);
        let _ = write!(
            out,
            r#"","trace_id":"{}","user_id":"u{user}","path":"{}","status":{},"ms":{}}}"#,
            self.trace,
            PATHS[random.below(PATHS.len() as u64) as usize],
            STATUS[random.below(STATUS.len() as u64) as usize],
            random.below(3_000),
        );
        let has = |word: &str| TEMPLATES[template].contains(word);
        let is_scoped = tenant(self.pod) == 3 && level == "error" && service == "payment";
        for (is_found, sought) in [
            (self.trace == self.sought_trace, Sought::Trace),
            (user == 36_012, Sought::User),
            (has("request"), Sought::Common),
            (has("connection reset by peer"), Sought::Phrase),
            (has("gateway") && has("timeout"), Sought::TwoCommon),
            (has("request") && is_scoped, Sought::Scoped),
        ] {
            if is_found {
                self.tally.add(sought);
            }
        }
        Some(Line { pod: self.pod, time_us })
    }
}

/// Number of the tenant, whose namespace and name are `tenant-<number>`.
pub fn tenant(pod: u64) -> u64 {
    pod * TENANTS / PODS
}

pub fn pod_name(pod: u64) -> String {
    format!("{}-{pod}", SERVICES[(pod % SERVICES.len() as u64) as usize])
}

fn message(template: &str, n: u64, random: &mut Random, out: &mut Vec<u8>) {
    for byte in template.bytes() {
        match byte {
            b'%' => word(rank(n, random), out),
            b'#' => {
                let _ = write!(out, "{}", random.below(10_000));
            }
            byte => out.push(byte),
        }
    }
}

/// Words that line `n` is made of: as in natural text (Heaps' law) more come with the root of the lines, and the seldom ones among them are
/// most (Zipf's law): each power of two of them is as likely as the one before.
fn vocabulary(n: u64) -> u64 {
    2_000 + 60 * n.isqrt()
}

fn rank(n: u64, random: &mut Random) -> u64 {
    let words = vocabulary(n);
    let low = 1 << random.below(u64::from(words.ilog2()) + 1);
    low + random.below((low * 2).min(words + 1) - low)
}

/// Its name: a syllable for each digit, at least two.
fn word(rank: u64, out: &mut Vec<u8>) {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let (mut left, mut syllables) = (rank, 0);
    while left > 0 || syllables < 2 {
        let digit = (left % 80) as usize;
        out.extend([CONSONANTS[digit / 5], VOWELS[digit % 5]]);
        (left, syllables) = (left / 80, syllables + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const END_US: i64 = 1_795_000_000_000_000;

    fn all(lines: u64, mut each: impl FnMut(Line, &str)) -> (Tally, String) {
        let mut services = Services::new(lines, lines, END_US);
        let mut body = Vec::new();
        while let Some(line) = services.next(&mut body) {
            each(line, std::str::from_utf8(&body).expect("text"));
            body.clear();
        }
        (services.take_tally(), services.sought_trace().to_owned())
    }

    fn words(message: &str) -> HashSet<&str> {
        message.split(|c: char| !c.is_alphanumeric()).collect()
    }

    #[test]
    fn the_same_number_of_lines_is_the_same_text() {
        let text = |lines| {
            let mut text = String::new();
            all(lines, |line, body| text.push_str(&format!("{} {} {body}\n", line.pod, line.time_us)));
            text
        };
        assert!(text(3_000) == text(3_000));
        assert!(text(3_000) != text(3_001));
    }

    #[test]
    fn lines_are_json_in_the_order_of_time_until_the_end() {
        let (mut bytes, mut last_us, mut pods) = (0, i64::MIN, HashSet::new());
        all(20_000, |line, body| {
            let json: serde_json::Value = serde_json::from_str(body).expect(body);
            let time: jiff::Timestamp = json["time"].as_str().expect(body).parse().expect(body);
            assert_eq!(time.as_microsecond(), line.time_us);
            assert!(line.time_us > last_us);
            last_us = line.time_us;
            bytes += body.len() + 1;
            pods.insert(line.pod);
        });
        assert_eq!((last_us, pods.len()), (END_US, PODS as usize));
        assert!((220..240).contains(&(bytes / 20_000)), "{} bytes", bytes / 20_000);
        assert_eq!((0..PODS).map(tenant).collect::<HashSet<_>>().len(), TENANTS as usize);
    }

    #[test]
    fn each_search_finds_as_many_as_were_counted() {
        let mut lines: Vec<(u64, serde_json::Value)> = Vec::new();
        let (tally, trace) = all(300_000, |line, body| {
            lines.push((line.pod, serde_json::from_str(body).expect(body)));
        });
        for sought in Sought::ALL {
            let found = lines.iter().filter(|(pod, line)| {
                let message = line["message"].as_str().expect("a message");
                match sought {
                    Sought::Trace => line["trace_id"] == trace,
                    Sought::User => line["user_id"] == "u36012",
                    Sought::Phrase => message.contains("connection reset by peer"),
                    Sought::Scoped => {
                        words(message).contains("request")
                            && tenant(*pod) == 3
                            && line["level"] == "error"
                            && line["service"] == "payment"
                    }
                    _ => sought.words().split(' ').all(|word| words(message).contains(word)),
                }
            });
            assert_eq!(found.count() as u64, tally.of(sought), "{sought:?}");
        }
        let of = |sought| tally.of(sought);
        assert_eq!((of(Sought::Absent), of(Sought::OneInAMillion), of(Sought::OneInTenThousand)), (0, 1, 30));
        assert_eq!((of(Sought::Trace), of(Sought::PastBurst)), (BURST, 600));
        assert_eq!((of(Sought::TwoCommonApart), of(Sought::TwoSeldomApart)), (0, 0));
        for sought in [Sought::User, Sought::Common, Sought::Phrase, Sought::TwoCommon, Sought::Scoped] {
            assert!(of(sought) > 0, "{sought:?}");
        }
        let has = |word: &str| {
            let has = |line: &serde_json::Value| words(line["message"].as_str().expect("one")).contains(word);
            lines.iter().filter(|(_, line)| has(line)).count()
        };
        assert_eq!((has("basilisk"), has("manticore")), (300, 300));
    }

    #[test]
    fn ten_times_the_lines_have_more_words_but_not_ten_times_as_many() {
        let distinct = |lines| {
            let mut seen: HashSet<String> = HashSet::new();
            all(lines, |_, body| {
                let json: serde_json::Value = serde_json::from_str(body).expect(body);
                let message = json["message"].as_str().expect("a message");
                seen.extend(
                    words(message)
                        .into_iter()
                        .filter(|w| !w.starts_with(|c: char| c.is_ascii_digit()))
                        .map(str::to_owned),
                );
            });
            seen.len()
        };
        let (few, many) = (distinct(30_000), distinct(300_000));
        assert!(many > few * 2 && many < few * 8, "{few} {many}");
    }

    #[test]
    fn no_word_of_the_vocabulary_is_one_that_is_sought() {
        let mut known = HashSet::new();
        for rank in 1..=vocabulary(100_000_000) {
            let mut name = Vec::new();
            word(rank, &mut name);
            known.insert(name);
        }
        assert_eq!(known.len() as u64, vocabulary(100_000_000));
        let texts = Sought::ALL.iter().map(|sought| sought.words()).chain(TEMPLATES);
        for text in texts.flat_map(words) {
            assert!(!known.contains(text.as_bytes()), "{text}");
        }
    }
}
