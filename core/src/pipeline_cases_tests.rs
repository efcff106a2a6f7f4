//! A level rule over lines of many programs: what it drops is below it and known to be.

use super::*;
use crate::audit::AuditTrust;
use crate::gate::{GateRule, Unleveled};

/// Each line of a file by the level that it means: its first letter, `-` where it names none.
const FILES: [(&str, &[u8], &str); 13] = [
    ("01-k8s-json.log", include_bytes!("level/cases/01-k8s-json.log"), "IEI"),
    ("03-postgres-json.log", include_bytes!("level/cases/03-postgres-json.log"), "EIEI"),
    ("04-lambda.log", include_bytes!("level/cases/04-lambda.log"), "EE-"),
    ("06-journald.json", include_bytes!("level/cases/06-journald.json"), "EWI"),
    ("08-bom.json", include_bytes!("level/cases/08-bom.json"), "EI"),
    ("09-not-an-error.log", include_bytes!("level/cases/09-not-an-error.log"), "--IIW"),
    ("10-bigint.log", include_bytes!("level/cases/10-bigint.log"), "I"),
    ("11-prefixed-json.log", include_bytes!("level/cases/11-prefixed-json.log"), "EW-EE"),
    ("12-daemons.log", include_bytes!("level/cases/12-daemons.log"), "EWETWEDEEEEEEWEEEWEEWEEEEWEEEEWE---"),
    ("13-ansi.log", include_bytes!("level/cases/13-ansi.log"), "D-E"),
    ("14-cjk.log", include_bytes!("level/cases/14-cjk.log"), "EWEWEWII"),
    ("15-search.log", include_bytes!("level/cases/15-search.log"), "EWWIIEIIIIEIE"),
    ("17-levels.jsonl", include_bytes!("level/cases/17-levels.jsonl"), "WEEEEWEEEEEEWEEW-EEE-EEEETE"),
];

fn lines() -> Vec<(char, Vec<u8>)> {
    let mut lines = Vec::new();
    for (file, text, levels) in FILES {
        let each: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(each.len(), levels.chars().count(), "{file}: a letter for each line");
        lines.extend(levels.chars().zip(each).map(|(level, line)| (level, line.to_vec())));
    }
    let escaped = include_bytes!("level/cases/16-escaped.log");
    lines.extend(
        escaped.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| ('E', line.to_vec())),
    );
    for row in include_str!("level/cases/projects.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(row).expect("a case");
        let (level, line) =
            (case["level"].as_str().expect("a level"), case["line"].as_str().expect("a line"));
        lines.push((level.chars().next().expect("a letter"), line.as_bytes().to_vec()));
    }
    lines
}

#[derive(Default)]
struct Ends {
    kept: Vec<u64>,
    gated: Vec<u64>,
}

impl Output for Ends {
    fn kept(&mut self, record: Kept<'_>) {
        self.kept.push(record.span.end);
    }

    fn gated(&mut self, span: Span) {
        self.gated.push(span.end);
    }
}

/// A record whose level nobody knows says so, and is found by it.
#[test]
fn an_unknown_level_is_told_from_info() {
    let gate = Gate::default();
    let now = Now {
        format: Format::Plain,
        gate: &gate,
        audit: &AuditTrust::Always,
        zone: None,
        time_ns: 1_795_227_871_000_000_000,
    };
    let asked = |expression: &str| crate::filter::parse(expression).expect("a filter");
    let (unknown, known) = (asked("level:unknown"), asked("level!=unknown"));
    // Of these two no rule tells the level that they mean.
    for (level, line) in lines().into_iter().filter(|(_, line)| !line.starts_with(b"npm ")) {
        let mut all = Records::default();
        Pipeline::new().feed(&[&line[..], b"\n"].concat(), 0, &now, &mut all);
        let [(of, flags, body)] = &all.0[..] else { panic!("one record of one line") };
        assert_eq!(flags.has(Flags::UNLEVELED), level == '-', "{}", String::from_utf8_lossy(&line));
        assert_eq!(of.as_str().starts_with(level), level != '-', "{of} is shown");
        let record = crate::record::Record {
            time_us: 1,
            original_time_us: None,
            level: *of,
            flags: *flags,
            origin: crate::origin::OriginId(1),
            id: crate::identity::RecordId { topic_partition: 0, kafka_offset: 1, index: 0 },
            body,
        };
        let origin = crate::origin::Origin::default();
        assert_eq!(unknown.matches(&record, &origin), level == '-');
        assert_eq!(known.matches(&record, &origin), level != '-');
        assert!(level != '-' || unknown.plan().level_mask & of.bit() != 0, "its block is read");
    }
}

#[derive(Default)]
struct Records(Vec<(Level, Flags, Vec<u8>)>);

impl Output for Records {
    fn kept(&mut self, record: Kept<'_>) {
        self.0.push((record.level, record.flags, record.body.into_owned()));
    }

    fn gated(&mut self, _: Span) {}
}

#[test]
fn a_rule_of_warn_drops_no_warning_and_no_error_of_any_program() {
    let rule = GateRule {
        id: "quiet".into(),
        level: Level::Warn,
        unleveled: Unleveled::Keep,
        sample_below: 0.0,
        expires_at_ms: None,
    };
    let gate = Gate::new(vec![rule], Vec::new());
    let now = Now {
        format: Format::Cri,
        gate: &gate,
        audit: &AuditTrust::Always,
        zone: None,
        time_ns: 1_795_227_871_000_000_000,
    };
    let (mut pipeline, mut ends) = (Pipeline::new(), Ends::default());
    let (mut file, mut at) = (Vec::new(), Vec::new());
    let lines = lines();
    for (_, line) in &lines {
        file.extend_from_slice(b"2026-11-27T09:45:00Z stdout F ");
        file.extend_from_slice(line);
        file.push(b'\n');
        at.push(file.len() as u64);
    }
    pipeline.feed(&file, 0, &now, &mut ends);
    let mut wrong = Vec::new();
    for ((level, line), end) in lines.iter().zip(at) {
        let is_gated = ends.gated.contains(&end);
        assert_ne!(is_gated, ends.kept.contains(&end), "one outcome");
        if is_gated != matches!(level, 'T' | 'D' | 'I') {
            wrong.push(format!(
                "{level}, {}: {}",
                if is_gated { "dropped" } else { "kept" },
                String::from_utf8_lossy(line)
            ));
        }
    }
    assert!(lines.len() > 250 && wrong.is_empty(), "{}", wrong.join("\n"));
}
