//! The chunking law, and what becomes of each kind of line.

use proptest::prelude::*;

use super::*;
use crate::audit::{AuditBudget, AuditTrust};
use crate::gate::{GateRule, Unleveled};

#[derive(Debug, Default, PartialEq)]
struct Seen {
    kept: Vec<(Span, i64, Level, Flags, Vec<u8>)>,
    gated: Vec<Span>,
}

impl Output for Seen {
    fn kept(&mut self, record: Kept<'_>) {
        self.kept.push((record.span, record.time_ns, record.level, record.flags, record.body.into_owned()));
    }

    fn gated(&mut self, span: Span) {
        self.gated.push(span);
    }
}

fn now(format: Format, gate: &Gate) -> Now<'_> {
    Now { format, gate, audit: &AuditTrust::Always, zone: None, time_ns: 1_700_000_000_000_000_000 }
}

/// Feeds `bytes` cut at `cuts`, as a reader does: what is left of a chunk begins the next one.
fn feed(format: Format, gate: &Gate, bytes: &[u8], cuts: &[usize]) -> (Seen, usize) {
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let cut = cut.clamp(from, bytes.len());
        from += pipeline.feed(&bytes[from..cut], from as u64, &now(format, gate), &mut seen);
    }
    (seen, from)
}

const LINES: &str = "\
2026-11-21T02:24:31.000000001Z stdout F {\"level\":\"error\",\"msg\":\"a\"}\n\
2026-11-21T02:24:31.000000002Z stdout P hel\n\
2026-11-21T02:24:31.000000003Z stderr F beside\n\
\n\
nonsense\n\
2026-11-21T02:24:31.000000004Z stdout F lo\n\
2026-11-21T02:24:31.000000005Z stdfoo F x\n\
2026-11-21T02:24:31.000000006Z stdout F \n\
2026-11-21T02:24:31.000000007Z stdout P open";

/// A container may write any bytes, and no line of its log but its runtime's.
#[test]
fn nul_bytes_in_a_cri_line_are_the_containers_own() {
    let gate = Gate::default();
    let nuls = "\0".repeat(2 * HOLE_BYTES_MIN);
    for behind in ["b", "2020-01-01T00:00:00Z stdout F made up"] {
        let text = format!("2026-11-21T02:24:31.1Z stderr F a{nuls}{behind}\n");
        let (seen, _) = feed(Format::Cri, &gate, text.as_bytes(), &[]);
        let bodies: Vec<&[u8]> = seen.kept.iter().map(|kept| &kept.4[..]).collect();
        assert_eq!(bodies, [format!("a{nuls}{behind}").as_bytes()]);
    }
}

#[test]
fn a_short_line_of_nul_bytes_is_a_line() {
    let gate = Gate::default();
    for format in [Format::Cri, Format::Plain] {
        let (seen, _) = feed(format, &gate, b"\0\0\0\n", &[]);
        let bodies: Vec<&[u8]> = seen.kept.iter().map(|kept| &kept.4[..]).collect();
        assert_eq!(bodies, [b"\0\0\0"], "{format:?}");
    }
}

/// A file that was cut short, and its program wrote on where it was.
#[test]
fn a_hole_is_no_line_and_ends_the_one_that_it_stands_in() {
    let gate = Gate::default();
    let hole = |len| "\0".repeat(len);
    let small = HOLE_BYTES_MIN - 1;
    for (text, expected) in [
        (format!("{}new\n", hole(5)), vec![(5, 9, "new".to_owned(), false)]),
        (
            format!("a\n{}new\nb\n", hole(9000)),
            vec![
                (0, 2, "a".to_owned(), false),
                (9002, 9006, "new".to_owned(), false),
                (9006, 9008, "b".to_owned(), false),
            ],
        ),
        (
            format!("hal{}new\n", hole(9000)),
            vec![(0, 3, "hal".to_owned(), true), (9003, 9007, "new".to_owned(), false)],
        ),
        (
            format!("hal{}f\n", hole(small)),
            vec![(0, small as u64 + 5, format!("hal{}f", hole(small)), false)],
        ),
        (
            format!("{0}a{0}b{0}c\n", hole(HOLE_BYTES_MIN)),
            vec![
                (512, 513, "a".to_owned(), true),
                (1025, 1026, "b".to_owned(), true),
                (1538, 1540, "c".to_owned(), false),
            ],
        ),
        (format!("a\n{}", hole(9000)), vec![(0, 2, "a".to_owned(), false)]),
    ] {
        let bytes = text.as_bytes();
        let (seen, _) = feed(Format::Plain, &gate, bytes, &[]);
        let kept: Vec<(u64, u64, String, bool)> = seen
            .kept
            .iter()
            .map(|(span, _, _, flags, body)| {
                let body = String::from_utf8(body.clone()).unwrap();
                (span.start, span.end, body, flags.has(Flags::INCOMPLETE))
            })
            .collect();
        assert_eq!(kept, expected);
        for cut in (0..bytes.len()).step_by(97) {
            assert_eq!(feed(Format::Plain, &gate, bytes, &[cut]).0, seen, "cut at {cut}");
        }
    }
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let room = vec![0; 9000];
    assert_eq!(pipeline.feed(&room, 0, &now(Format::Plain, &gate), &mut seen), 0, "text may come here");
    assert_eq!(pipeline.take_nul_bytes(), 0);
    pipeline.feed_unended(&room, 0, &now(Format::Plain, &gate), &mut seen);
    assert_eq!((seen, pipeline.take_nul_bytes()), (Seen::default(), 9000), "nothing follows");
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let long = vec![0; RECORD_BYTES_MAX + 1];
    assert_eq!(pipeline.feed(&long, 0, &now(Format::Plain, &gate), &mut seen), long.len());
    assert_eq!((seen, pipeline.take_nul_bytes()), (Seen::default(), long.len() as u64));
}

#[test]
fn each_line_has_one_outcome_and_its_neighbours_are_untouched() {
    let gate = Gate::default();
    let (seen, taken) = feed(Format::Cri, &gate, LINES.as_bytes(), &[]);
    let bodies: Vec<(&[u8], bool)> =
        seen.kept.iter().map(|kept| (&kept.4[..], kept.3.has(Flags::PARSE_ERROR))).collect();
    let expected: Vec<(&[u8], bool)> = vec![
        (b"{\"level\":\"error\",\"msg\":\"a\"}", false),
        (b"beside", false),
        (b"", true),
        (b"nonsense", true),
        (b"hello", false),
        (b"2026-11-21T02:24:31.000000005Z stdfoo F x", true),
        (b"", false),
    ];
    assert_eq!(bodies, expected);
    assert_eq!(taken, LINES.rfind('\n').unwrap() + 1, "the open line waits");
    assert_eq!(seen.kept[0].2, Level::Error);
    // The joined record has the first part's time, and lies where its last part ends.
    assert_eq!(seen.kept[4].1 % 10, 2);
    assert!(seen.kept[4].0.end > seen.kept[3].0.end);
    let bytes: u64 = seen.kept.iter().map(|kept| kept.0.bytes).sum();
    assert_eq!(bytes, taken as u64, "every byte in exactly one record");
}

#[test]
fn a_record_goes_on_in_the_next_file() {
    let gate = Gate::default();
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let now = now(Format::Cri, &gate);
    let first = b"2026-11-21T02:24:31Z stdout P hel\n";
    pipeline.feed(first, 0, &now, &mut seen);
    assert_eq!(pipeline.pending_start(OutputStream::Stdout), Some(0));
    pipeline.next_file();
    pipeline.feed(b"2026-11-21T02:24:32Z stdout F lo\n", 0, &now, &mut seen);
    assert_eq!(seen.kept[0].4, b"hello");
    assert!(seen.kept[0].0.carried);
    assert_eq!(seen.kept[0].0.bytes, 67);
    pipeline.feed(b"2026-11-21T02:24:32Z stdout F x\n", 33, &now, &mut seen);
    assert!(!seen.kept[1].0.carried);
}

#[test]
fn what_never_ends_is_kept_and_flagged() {
    let gate = Gate::default();
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let now = now(Format::Cri, &gate);
    pipeline.feed(b"2026-11-21T02:24:31Z stderr P half\n", 0, &now, &mut seen);
    pipeline.feed_unended(b"2026-11-21T02:2", 35, &now, &mut seen);
    pipeline.flush(OutputStream::Stderr, &now, &mut seen);
    let flags: Vec<Flags> = seen.kept.iter().map(|kept| kept.3).collect();
    let unended = Flags::INCOMPLETE | Flags::UNLEVELED;
    assert_eq!(flags, [Flags::PARSE_ERROR | unended, unended]);
}

/// Its place was before that of the line after it: the batch of the two could not be decoded.
#[test]
fn what_never_ends_lies_behind_the_lines_that_were_none() {
    let gate = Gate::default();
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let now = now(Format::Cri, &gate);
    let bytes = b"2026-11-21T02:24:31Z stdout P half\nnonsense\n";
    pipeline.feed(bytes, 0, &now, &mut seen);
    pipeline.flush(OutputStream::Stdout, &now, &mut seen);
    let seen: Vec<(&[u8], u64)> = seen.kept.iter().map(|kept| (&kept.4[..], kept.0.end)).collect();
    assert_eq!(seen, [(&b"nonsense"[..], 44), (&b"half"[..], 45)]);
}

#[test]
fn a_line_longer_than_a_record_comes_in_pieces() {
    let gate = Gate::default();
    let mut long = vec![b'x'; 2 * RECORD_BYTES_MAX + 10];
    long.push(b'\n');
    long.extend_from_slice(b"next\n");
    let (seen, taken) = feed(Format::Plain, &gate, &long, &[]);
    assert_eq!(taken, long.len());
    let lengths: Vec<usize> = seen.kept.iter().map(|kept| kept.4.len()).collect();
    assert_eq!(lengths, [RECORD_BYTES_MAX, RECORD_BYTES_MAX, 10, 4]);
    assert!(seen.kept[0].3.has(Flags::INCOMPLETE) && !seen.kept[3].3.has(Flags::INCOMPLETE));
}

/// Lines as containers and their runtimes write them, and as nobody should.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>().prop_filter("newline", |byte| *byte != b'\n'), 0..40),
        "\\{\"level\":\"(debug|info|warn|error)\",\"msg\":\"[a-z]{0,8}\"\\}".prop_map(String::into_bytes),
    ];
    let cri = (0..1_000_000_000u32, any::<bool>(), any::<bool>(), content.clone()).prop_map(
        |(nanos, out, full, content)| {
            let io = if out { "stdout" } else { "stderr" };
            let tag = if full { "F" } else { "P" };
            let mut line = format!("2026-11-21T02:24:31.{nanos:09}Z {io} {tag} ").into_bytes();
            line.extend_from_slice(&content);
            line
        },
    );
    prop_oneof![8 => cri, 1 => content]
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_records(
        lines in prop::collection::vec(any_line(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        format in prop_oneof![Just(Format::Cri), Just(Format::Plain), Just(Format::Docker)],
        gated in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        let rule = GateRule {
            id: "r".into(),
            level: Level::Warn,
            unleveled: Unleveled::Keep,
            sample_below: 0.5,
            expires_at_ms: None,
        };
        let gate = if gated { Gate::new(vec![rule], Vec::new()) } else { Gate::default() };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = feed(format, &gate, &bytes, &[]);
        prop_assert_eq!(feed(format, &gate, &bytes, &cuts), whole);
    }

    #[test]
    fn positions_rise_strictly_for_each_output(lines in prop::collection::vec(any_line(), 0..30)) {
        let mut bytes = lines.join(&b'\n');
        bytes.push(b'\n');
        let (gate, mut seen, mut pipeline) = (Gate::default(), Seen::default(), Pipeline::new());
        let now = now(Format::Cri, &gate);
        pipeline.feed(&bytes, 0, &now, &mut seen);
        for io in [OutputStream::Stdout, OutputStream::Stderr] {
            pipeline.flush(io, &now, &mut seen);
        }
        for io in [OutputStream::Stdout, OutputStream::Stderr] {
            let ends: Vec<u64> =
                seen.kept.iter().filter(|kept| kept.0.io == io).map(|kept| kept.0.end).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}

/// The record that was sent unfinished lies behind the nonsense, where the empty lines lie too: a message with two records at
/// one place was a dead letter.
#[test]
fn empty_lines_behind_a_record_that_went_unfinished_have_places_of_their_own() {
    let gate = Gate::default();
    let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
    let now = now(Format::Cri, &gate);
    let first = b"2026-11-21T02:24:31Z stdout P hel\nnonsense\n";
    pipeline.feed(first, 0, &now, &mut seen);
    assert_eq!(pipeline.pending(OutputStream::Stdout), Some((0, 34)));
    pipeline.flush(OutputStream::Stdout, &now, &mut seen);
    assert_eq!(pipeline.pending(OutputStream::Stdout), None);
    pipeline.feed(b"\n\n\nmore nonsense\n", first.len() as u64, &now, &mut seen);
    let ends: Vec<u64> = seen.kept.iter().map(|kept| kept.0.end).collect();
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{ends:?}");
    assert_eq!(ends.last(), Some(&(first.len() as u64 + 17)));
    let bytes: u64 = seen.kept.iter().map(|kept| kept.0.bytes).sum();
    assert_eq!(bytes, first.len() as u64 + 17, "every byte in exactly one record");
}

#[test]
fn a_plain_line_has_its_own_time_or_the_reading_s() {
    let gate = Gate::default();
    let lines = b"2023-11-01T00:00:00Z ERROR a\nno time\n{\"ts\":1698796800.5}\n";
    let (seen, _) = feed(Format::Plain, &gate, lines, &[]);
    let times: Vec<i64> = seen.kept.iter().map(|kept| kept.1).collect();
    let read_at = now(Format::Plain, &gate).time_ns;
    assert_eq!(times, [1_698_796_800_000_000_000, read_at, 1_698_796_800_500_000_000]);
}

/// A line was spared by every level rule and kept for as long as audit records are because it began with `[AUDIT]`.
#[test]
fn a_line_that_calls_itself_an_audit_record_is_one_only_where_it_is_believed() {
    let lines =
        b"[AUDIT] one\n{\"level\":\"info\",\"is_audit\":true}\nINFO plain\nERROR [AUDIT] in the middle\n";
    let rule = GateRule {
        id: "r".into(),
        level: Level::Error,
        unleveled: Unleveled::Drop,
        sample_below: 0.0,
        expires_at_ms: None,
    };
    let within = |bytes| AuditTrust::Within(std::sync::Arc::new(AuditBudget::new(bytes)));
    let (audit, claimed, none) = (Flags::AUDIT, Flags::AUDIT | Flags::AUDIT_CLAIMED, Flags::default());
    // With what the first line alone takes, the second one is beyond the budget.
    for (trust, expected) in [
        (AuditTrust::Always, [audit, audit, none, none]),
        (within(1 << 20), [audit, audit, none, none]),
        (within(12), [audit, claimed, none, none]),
        (within(0), [claimed, claimed, none, none]),
        (AuditTrust::Shown, [claimed, claimed, none, none]),
    ] {
        // Of each record: its first bytes, and what of its category is known.
        let fed = |gate: &Gate, trust: &AuditTrust| {
            let (mut seen, mut pipeline) = (Seen::default(), Pipeline::new());
            pipeline.feed(lines, 0, &Now { audit: trust, ..now(Format::Plain, gate) }, &mut seen);
            let kept = seen.kept.into_iter().map(|kept| (kept.0.start, kept.3.without(Flags::UNLEVELED)));
            kept.collect::<Vec<_>>()
        };
        let starts = [0, 12, 45, 56];
        let all: Vec<(u64, Flags)> = starts.into_iter().zip(expected).collect();
        assert_eq!(fed(&Gate::default(), &trust), all, "{trust:?}");
        // A rule spares those that are believed and, as ever, what it does not concern.
        let fresh = match &trust {
            AuditTrust::Within(budget) => within(budget.bytes_per_hour()),
            other => other.clone(),
        };
        let spared: Vec<(u64, Flags)> =
            all.into_iter().filter(|(start, flags)| flags.is_kept_as_audit() || *start == 56).collect();
        assert_eq!(fed(&Gate::new(vec![rule.clone()], Vec::new()), &fresh), spared, "{trust:?}");
    }
}
