//! Golden pairs, and how lines of real programs are grouped.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;
use crate::fields::quick;
use crate::level::Level;
use crate::limits::{SIGNATURE_MESSAGE_BYTES_MAX, SIGNATURE_READ_BYTES_MAX};

/// Of the pairs of lines that have one signature, how many have one label; and of those with one label, how many have one signature.
pub struct Measure {
    pub precision: f64,
    pub recall: f64,
}

struct Row {
    label: &'static str,
    line: &'static str,
    signature: Signature,
}

fn real_lines() -> Vec<Row> {
    let rows = include_str!("labelled.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_once('\t').unwrap())
        .map(|(label, line)| Row { label, line, signature: error_group(line.as_bytes()).signature })
        .collect()
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
    error_group(line.as_bytes()).message
}

/// Of all real lines, and of those of WARN and above, of which groups are made; and the worst misses in words.
pub fn measured() -> (Measure, Measure, String) {
    let rows = real_lines();
    assert!(rows.len() > 500);
    let mut report = String::new();
    let all = measure("all lines", &rows, &mut report);
    let errors: Vec<Row> =
        rows.into_iter().filter(|row| quick(row.line.as_bytes()).level >= Level::Warn).collect();
    let errors = measure("WARN and above", &errors, &mut report);
    (all, errors, report)
}

#[test]
fn pairs_are_one_group_or_two() {
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for row in include_str!("pairs.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [meant, one, other] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let of = |body: &str| error_group(body.replace('⏎', "\n").replace('⇥', "\t").as_bytes());
        let (one, other) = (of(one), of(other));
        pairs += 1;
        if (one.signature == other.signature) != (meant == "=") {
            wrong.push(format!("{row}\n  {one:?}\n  {other:?}"));
        }
    }
    assert!(pairs >= 145);
    assert!(wrong.is_empty(), "{} of {pairs} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_signature_is_read_back_and_nothing_else_is_one() {
    let signature = error_group(b"boom").signature;
    assert_eq!(signature.to_string().parse(), Ok(signature));
    assert_eq!(Signature::from_i64(signature.as_i64()), signature);
    assert_eq!("v1:other".parse(), Ok(Signature::OTHER));
    for text in [
        "",
        "v1:",
        "v2:0123456789abcdef",
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
fn signatures_of_this_version_do_not_change() {
    for (body, signature) in [
        ("connection to 10.0.0.1:5432 refused", "v1:0370fb639144c626"),
        (r#"{"level":"error","msg":"boom 5","err":{"type":"Timeout"}}"#, "v1:b91dcafc3a7d8b44"),
        ("java.lang.Error: x\n\tat com.shop.Cart.add(Cart.java:1)", "v1:fbcc86d09598067f"),
        (r#"{"level":"error","msg":"boom","fingerprint":"payments"}"#, "v1:219948751a99f82b"),
    ] {
        assert_eq!(error_group(body.as_bytes()).signature.to_string(), signature, "{body}");
    }
}
