//! Golden pairs, and how lines of real programs are grouped.

use std::collections::BTreeMap;
use std::fmt::Write;

use xxhash_rust::xxh3::Xxh3Default;

use super::*;
use crate::fields::quick;
use crate::level::Level;
use crate::limits::{SIGNATURE_MESSAGE_BYTES_MAX, SIGNATURE_READ_BYTES_MAX};

/// Of the pairs of lines that have one signature, how many have one label; and of those with one label, how many have one signature.
pub struct Measure {
    pub precision: f64,
    pub recall: f64,
}

/// Pairs that were added for the second version stand behind this.
const SECOND: &str = "# Since v2";

struct Row {
    label: &'static str,
    line: &'static str,
    signature: Signature,
}

fn rows(text: &'static str) -> Vec<Row> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_once('\t').unwrap())
        .map(|(label, line)| Row { label, line, signature: of(line).signature })
        .collect()
}

fn of(line: &str) -> ErrorGroup {
    error_group(unfolded(line).as_bytes())
}

fn unfolded(line: &str) -> String {
    line.replace('⏎', "\n").replace('⇥', "\t")
}

fn measure(what: &str, rows: &[Row], report: &mut String) -> Measure {
    let (mut both, mut labelled, mut grouped) = (0u32, 0u32, 0u32);
    let mut wrong: BTreeMap<(&str, &str), (u32, &str, &str)> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        for other in &rows[at + 1..] {
            let (meant, found) = (row.label == other.label, row.signature == other.signature);
            labelled += u32::from(meant);
            grouped += u32::from(found);
            both += u32::from(meant && found);
            if meant != found {
                wrong.entry((row.label, other.label)).or_insert((0, row.line, other.line)).0 += 1;
            }
        }
    }
    let precision = f64::from(both) / f64::from(grouped);
    let recall = f64::from(both) / f64::from(labelled);
    let _ = writeln!(report, "{what}: {} lines, precision {precision:.3}, recall {recall:.3}", rows.len());
    let mut wrong: Vec<_> = wrong.into_iter().collect();
    wrong.sort_by_key(|(_, (count, ..))| std::cmp::Reverse(*count));
    for ((label, other), (count, line, other_line)) in wrong.iter().take(12) {
        let _ = writeln!(
            report,
            "{count:5} {label} / {other}\n      {}\n      {}",
            shown(line),
            shown(other_line)
        );
    }
    Measure { precision, recall }
}

fn shown(line: &str) -> String {
    of(line).message
}

/// Of all real lines; of those of WARN and above, of which groups are made; of the lines of other loggers, in two sets; and the worst
/// misses in words.
pub fn measured() -> ([Measure; 4], String) {
    let others = rows(include_str!("labelled_others.tsv"));
    let more = rows(include_str!("labelled_more.tsv"));
    let rows = rows(include_str!("labelled.tsv"));
    assert!(rows.len() > 500);
    let mut report = String::new();
    let all = measure("all lines", &rows, &mut report);
    let errors: Vec<Row> =
        rows.into_iter().filter(|row| quick(row.line.as_bytes()).level >= Level::Warn).collect();
    let errors = measure("WARN and above", &errors, &mut report);
    let others = measure("other loggers", &others, &mut report);
    let more = measure("more loggers", &more, &mut report);
    ([all, errors, others, more], report)
}

#[test]
fn pairs_are_one_group_or_two() {
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for row in include_str!("pairs.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [meant, one, other] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let (one, other) = (of(one), of(other));
        pairs += 1;
        if (one.signature == other.signature) != (meant == "=") {
            wrong.push(format!("{row}\n  {one:?}\n  {other:?}"));
        }
    }
    assert!(pairs >= 250);
    assert!(wrong.is_empty(), "{} of {pairs} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_signature_is_read_back_and_nothing_else_is_one() {
    let signature = error_group(b"boom").signature;
    assert_eq!(signature.to_string().parse(), Ok(signature));
    assert_eq!(Signature::from_columns(signature.as_i64(), Version::NOW as i16), signature);
    for text in ["v1:other", "v2:other"] {
        assert_eq!(text.parse(), Ok(Signature::OTHER));
    }
    for version in [Version::V1, Version::V2] {
        assert_eq!(Signature::from_columns(0, version as i16), Signature::OTHER);
        let signature = Signature::from_columns(255, version as i16);
        assert_eq!(signature.to_string(), format!("v{}:00000000000000ff", version as i16));
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }
    for text in [
        "",
        "v1:",
        "v3:0123456789abcdef",
        "0123456789abcdef",
        "v1:0123456789ABCDEF",
        "v1:+123456789abcdef",
        "v1:0000000000000000",
    ] {
        assert_eq!(text.parse::<Signature>(), Err(NoSignature), "{text}");
    }
}

#[test]
fn what_lies_behind_the_limit_changes_nothing() {
    let text =
        |behind: &str| format!("{}{}", "boom\u{e9}\n\tat ".repeat(SIGNATURE_READ_BYTES_MAX / 10), behind);
    let one = error_group(text("").as_bytes());
    let other = error_group(text(&"\tat com.shop.Cart.add(Cart.java:1)\n".repeat(9_000)).as_bytes());
    assert_eq!(one, other);
    assert!(one.message.len() <= SIGNATURE_MESSAGE_BYTES_MAX);
    let java = |frames: usize| format!("a.Error: x\n{}", "\tat a.B.c(B.java:1)\n".repeat(frames));
    assert_eq!(error_group(java(20_000).as_bytes()), error_group(java(5).as_bytes()));
}

/// Stored groups keep their signature: a rule that changes one of these needs a new version.
#[test]
fn signatures_of_a_version_do_not_change() {
    for (body, signature) in [
        ("connection to 10.0.0.1:5432 refused", "v1:0370fb639144c626"),
        (r#"{"level":"error","msg":"boom 5","err":{"type":"Timeout"}}"#, "v1:b91dcafc3a7d8b44"),
        ("java.lang.Error: x\n\tat com.shop.Cart.add(Cart.java:1)", "v1:fbcc86d09598067f"),
        (r#"{"level":"error","msg":"boom","fingerprint":"payments"}"#, "v1:219948751a99f82b"),
    ] {
        assert_eq!(error_group_by(body.as_bytes(), Version::V1).signature.to_string(), signature, "{body}");
    }
    // Of all lines and pairs together.
    for (version, digest) in [(Version::V1, 0x0c12_a7c5_0146_7d1f), (Version::V2, 0xabda_1ecf_9967_c2de)] {
        let mut hasher = Xxh3Default::new();
        let files = [
            include_str!("labelled.tsv"),
            include_str!("labelled_others.tsv"),
            include_str!("pairs.tsv").split_once(SECOND).unwrap().0,
        ];
        for row in files.into_iter().flat_map(str::lines).filter(|line| !line.starts_with('#')) {
            for line in row.split('\t').skip(1) {
                let signature = error_group_by(unfolded(line).as_bytes(), version).signature;
                hasher.update(&signature.as_i64().to_le_bytes());
            }
        }
        assert_eq!(hasher.digest(), digest, "{version:?}: {:016x}", hasher.digest());
    }
}

/// What a version before gives is its own, also where both read a message alike.
#[test]
fn two_versions_share_no_signature() {
    let body = b"boom";
    let [old, new] = [Version::V1, Version::V2].map(|version| error_group_by(body, version));
    assert_eq!((&old.message, &old.error_type), (&new.message, &new.error_type));
    assert_ne!(old.signature.as_i64(), new.signature.as_i64());
}
