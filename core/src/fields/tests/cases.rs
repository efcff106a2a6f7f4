//! Lines as programs write them, each with the level and fields that it means.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    project: String,
    /// `-`: the line names none.
    level: String,
    line: String,
    #[serde(default)]
    fields: std::collections::BTreeMap<String, String>,
}

/// `ERROR`, or `-` where nobody knows it; the quick scan says the same.
fn level_of(body: &[u8]) -> String {
    let (full, seen) = (read(body), quick(body));
    assert_eq!((full.level, full.level_given), (seen.level, seen.level_given));
    if full.level_given { full.level.to_string() } else { "-".to_owned() }
}

fn field_of(fields: &Fields<'_>, name: &str) -> Option<String> {
    match name.strip_prefix("data.") {
        Some(path) => fields.at(path).map(|text| text.into_owned()),
        None => fields.get(Field::from_name(name).expect("a field")).map(str::to_owned),
    }
}

/// What is wrong with a line, in words.
fn faults<'a>(line: &[u8], level: &str, wanted: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let fields = read(line);
    let got = level_of(line);
    let mut faults = Vec::new();
    if got != level {
        faults.push(format!("level {got}, not {level}"));
    }
    for (name, expected) in wanted {
        let got = field_of(&fields, name);
        if got.as_deref() != Some(expected) {
            faults.push(format!("{name} {got:?}, not {expected:?}"));
        }
    }
    faults
}

/// A line's level and the fields that are looked at.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)]);

#[track_caller]
fn check_file(file: &str, text: &[u8], rows: &[Row<'_>]) {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), rows.len(), "{file}: a row for each line");
    let mut wrong = Vec::new();
    for (line, (level, wanted)) in lines.iter().zip(rows) {
        let faults = faults(line, level, wanted.iter().copied());
        if !faults.is_empty() {
            wrong.push(format!("{}: {}", String::from_utf8_lossy(line), faults.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
}

macro_rules! file {
    ($name:literal, $rows:expr) => {
        check_file($name, include_bytes!(concat!("../../level/cases/", $name)), $rows)
    };
}

#[test]
fn levels_that_only_the_shape_of_a_line_tells() {
    file!(
        "01-k8s-json.log",
        &[
            ("INFO", &[("message", "Pod bound"), ("file", "scheduler/queue.go"), ("line", "88")]),
            ("ERROR", &[("message", "Binding cycle failed"), ("data.err", "volume vol-7 is not attachable")]),
            ("INFO", &[("message", "Queue dump")]),
        ]
    );
}

#[test]
fn a_loggers_own_names_also_an_object_deeper() {
    file!(
        "03-postgres-json.log",
        &[
            (
                "ERROR",
                &[
                    ("message", "duplicate key value violates unique constraint \"orders_pkey\""),
                    ("errorCode", "23505"),
                    ("pid", "4113"),
                    ("data.detail", "Key (id)=(4711) already exists."),
                ],
            ),
            ("INFO", &[("message", "checkpoint starting: time"), ("pid", "77")]),
            (
                "ERROR",
                &[
                    ("message", "password authentication failed for user \"shop\""),
                    ("errorCode", "28P01"),
                    ("sessionId", "6929a3.1400"),
                    ("pid", "5120"),
                    ("logger", "postgres"),
                ],
            ),
            ("INFO", &[("message", "restartpoint complete: wrote 12 buffers")]),
        ]
    );
}

#[test]
fn an_error_as_an_object_inside_of_the_message() {
    file!(
        "04-lambda.log",
        &[
            (
                "ERROR",
                &[
                    ("message", "card 4242 was refused"),
                    ("errorType", "PaymentDeclined"),
                    (
                        "errorStack",
                        "PaymentDeclined: card 4242 was refused\n    at charge (file:///var/task/pay.mjs:17:11)\n    \
                         at async handler (file:///var/task/index.mjs:9:3)",
                    ),
                    ("requestId", "7d0b31aa-5a0e-4c61-93c1-0f5de1aa2210"),
                ],
            ),
            (
                "ERROR",
                &[
                    ("message", "'basket'"),
                    ("errorType", "KeyError"),
                    (
                        "errorStack",
                        "  File \"/var/task/app.py\", line 12, in handler\n    return event['basket']",
                    ),
                ],
            ),
            ("-", &[("requestId", "7d0b31aa-5a0e-4c61-93c1-0f5de1aa2210")]),
        ]
    );
}

#[test]
fn texts_that_are_bytes_or_lines() {
    file!(
        "06-journald.json",
        &[
            ("ERROR", &[("message", "modem lost carrier"), ("pid", "812")]),
            ("WARN", &[("message", "security update is mandatory\nsee the advisory of january")]),
            ("INFO", &[("message", "Zählerstand übernommen \u{1b}[0m")]),
        ]
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_line() {
    file!(
        "08-bom.json",
        &[
            ("ERROR", &[("message", "disk quota exceeded"), ("traceId", "4bf92f3577b34da6a3ce929d0e0e4701")],),
            ("INFO", &[("message", "second line")]),
        ]
    );
    assert_eq!(read("\u{feff}WARN text".as_bytes()).get(Field::Message), Some("WARN text"));
    assert_eq!(level_of("\u{feff}WARN text".as_bytes()), "WARN");
}

#[test]
fn words_in_texts_addresses_and_quoted_values_do_not_count() {
    file!("09-not-an-error.log", &[("-", &[]), ("-", &[]), ("INFO", &[]), ("INFO", &[]), ("WARN", &[])]);
}

#[test]
fn numbers_of_64_bits_stay_as_they_are_written() {
    file!(
        "10-bigint.log",
        &[(
            "INFO",
            &[
                ("data.positionId", "9223372036854775807"),
                ("data.flake", "1610521604143693812"),
                (
                    "data.wei",
                    "115792089237316195423570985008687907853269984665640564039457584007913129639935"
                ),
                ("data.ratio", "0.1234567890123456789"),
            ],
        )]
    );
}

#[test]
fn json_behind_a_prefix() {
    file!(
        "11-prefixed-json.log",
        &[
            (
                "ERROR",
                &[
                    ("message", "port is taken"),
                    ("errorCode", "EADDRINUSE"),
                    ("logger", "web"),
                    ("pid", "19")
                ],
            ),
            ("WARN", &[("message", "retry in 4s"), ("traceId", "4bf92f3577b34da6a3ce929d0e0e4711")]),
            ("-", &[("data.verb", "delete"), ("data.level", "Metadata")]),
            ("ERROR", &[("message", "ERROR\tpayment finished"), ("data.grpc.code", "Internal")]),
            ("ERROR", &[("message", "raid degraded")]),
        ]
    );
}

#[test]
fn lines_of_daemons() {
    let lines = include_str!("../../level/cases/12-daemons.log").lines();
    let levels = include_str!("../../level/cases/12-daemons.levels").lines();
    let wrong: Vec<String> = lines
        .zip(levels)
        .filter(|(line, level)| read(line.as_bytes()).level.as_str() != *level)
        .map(|(line, level)| format!("{level}: {line}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unknown = include_str!("../../level/cases/12-daemons.log")
        .lines()
        .filter(|line| level_of(line.as_bytes()) == "-");
    assert_eq!(unknown.count(), 3, "only what names no level is unknown");
}

#[test]
fn spellings_of_a_level() {
    file!(
        "17-levels.jsonl",
        &[
            ("WARN", &[("message", "padded")]),
            ("ERROR", &[("message", "padded left")]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("WARN", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("ERROR", &[]),
            ("WARN", &[("traceId", "abc"), ("errorType", "X"), ("message", "gelf")]),
            (
                "ERROR",
                &[
                    ("errorType", "java.lang.X"),
                    ("errorStack", "a\n\tat b"),
                    ("traceId", "t-ecs"),
                    ("service", "pay")
                ]
            ),
            ("ERROR", &[("message", "otlp"), ("traceId", "5b8efff798038103d269b633813fc60c")]),
            ("WARN", &[("message", "nested warn")]),
            ("-", &[]),
            ("ERROR", &[("message", "Paid {Amount}"), ("errorStack", "System.Exception: z\n   at Q")]),
            ("ERROR", &[("message", "emf")]),
            ("ERROR", &[("message", "msg object")]),
            ("-", &[("message", "only a message")]),
            ("ERROR", &[]),
            ("ERROR", &[("message", "")]),
            ("ERROR", &[("message", "nil pointer")]),
            ("ERROR", &[]),
            ("TRACE", &[]),
            ("ERROR", &[("message", "array of one")]),
        ]
    );
}

/// Lines whose level no rule of ours tells, without a list of programs: nobody knows it, so no level rule drops them.
const NOT_TOLD: [&str; 2] = ["npm error code", "npm warn deprecated"];

#[test]
fn lines_of_many_projects() {
    let mut wrong = Vec::new();
    for row in include_str!("../../level/cases/projects.jsonl").lines() {
        let case: Case = serde_json::from_str(row).expect("a case");
        let line = case.line.as_bytes();
        if NOT_TOLD.iter().any(|start| case.line.starts_with(start)) {
            assert_eq!(level_of(line), "-", "{}", case.line);
            continue;
        }
        let wanted = case.fields.iter().map(|(name, value)| (&**name, &**value));
        let faults = faults(line, &case.level, wanted);
        if !faults.is_empty() {
            wrong.push(format!("{}: {}: {}", case.project, case.line, faults.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
