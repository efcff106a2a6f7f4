//! Properties that hold for any message.

use proptest::prelude::*;

use super::generalise::Reader;
use super::{Version, error_group, generalise};
use crate::limits::{SIGNATURE_MESSAGE_BYTES_MAX, SIGNATURE_READ_BYTES_MAX};

/// Pieces that rules look at, so that random texts meet them.
const PIECES: [&str; 124] = [
    "'",
    "\"",
    "`",
    " ",
    "  ",
    ",",
    ", ",
    "=",
    ":",
    "::",
    "-",
    "_",
    ".",
    "..",
    "/",
    "\\",
    "@",
    "<",
    ">",
    "<n>",
    "<str>",
    "<hex>",
    "[",
    "]",
    "(",
    ")",
    "5",
    "-1",
    "12.5",
    "ms",
    "KiB",
    "HTTP",
    "status",
    "code",
    "404",
    "E0308",
    "true",
    "Nov",
    "Sun",
    "29",
    "10.0.0.1",
    "::1",
    "x.com",
    "a.b",
    "log",
    "https://",
    "2026-11-29",
    "01:02:03",
    "unknown",
    "token",
    "n2sgg",
    "deadbeef1",
    "f78868e9-da81-4fb3-a144-de383b436dcc",
    "0x",
    "msg=\"",
    "I1129 01:02:03",
    "] \"",
    "\\\"",
    "é",
    "items",
    "{",
    "}",
    "key=",
    "id=5",
    "reason=",
    "a,b",
    ", client: ",
    "[main]",
    "(pool-1-thread-2)",
    "---",
    "ERROR",
    "“",
    "”",
    "‘",
    "’",
    "«",
    "»",
    "1,234",
    "%",
    "and",
    "or",
    "previous",
    "errors",
    "were",
    "entries",
    "expected",
    "identifier",
    "(x3 over 14s)",
    "Nov 20 09:16:00 node-3 sshd[2211]: ",
    "E20261120 01:02:03",
    "localhost",
    "libc6:amd64",
    "/v1?a",
    "blk_-9",
    "c.Pg@7c133b76",
    "two words",
    "HTTP/1.1 404",
    "unknown",
    "container ",
    "container agent",
    "queue mail is",
    ", now agent",
    "summary for jdk",
    "libssl",
    "zlib:",
    " v1.2.3",
    "-lssl",
    " --force ",
    "command: rm x",
    "COMMAND=/bin/x a",
    "process 5 (java)",
    "/usr/bin/vim (vim)",
    "x.service",
    " is forbidden: ",
    "PF_INET6 protocol family",
    "*v1.Secret:",
    "variable A=",
    "items [plum]",
    "x.com. AAAA:",
    "for struct `",
    "user ",
    "agent",
    "a_b(f78868e9-da81-4fb3-a144-de383b436dcc)",
    "named [x]",
];

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => "[a-z]{2,8}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Words that are no unit, no month and no word before a kept number.
fn template() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("(alpha|bravo|coach|delta|echoes|fox|golf|hotel)", 1..6)
}

/// Values of one kind: any two of them are the same to a signature.
fn values() -> impl Strategy<Value = (String, String)> {
    let uuid = || "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let ip = || any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}"));
    prop_oneof![
        (any::<i64>(), any::<i64>()).prop_map(|(one, other)| (one.to_string(), other.to_string())),
        (any::<u32>(), any::<u16>())
            .prop_map(|(one, other)| (format!("{}.{}", one, other), other.to_string())),
        (uuid(), uuid()),
        (ip(), ip()),
        (ip(), any::<u16>()).prop_map(|(ip, port)| (ip.clone(), format!("{ip}:{port}"))),
        ("0x[0-9a-f]{1,16}", "0x[0-9a-f]{1,16}"),
        ("[0-9]{3}[a-f]{3}[0-9a-f]{10}", "[a-f]{3}[0-9]{3}[0-9a-f]{10}"),
        ("'[a-z ]{0,9}'", "'[a-z0-9 /:]{0,9}'"),
        ("/srv/[a-z]{1,9}/[a-z0-9]{1,9}", "/var/[a-z0-9]{1,9}"),
    ]
}

proptest! {
    #[test]
    fn generalising_again_changes_nothing(text in pieces()) {
        let once = generalise(&text);
        prop_assert!(once.len() <= SIGNATURE_MESSAGE_BYTES_MAX);
        prop_assert_eq!(generalise(&once), once);
    }

    #[test]
    fn another_value_changes_nothing(words in template(), at in any::<prop::sample::Index>(), (one, other) in values()) {
        let at = at.index(words.len() + 1);
        let with = |value: &str| {
            let mut words = words.clone();
            words.insert(at, value.to_owned());
            error_group(words.join(" ").as_bytes()).signature
        };
        prop_assert_eq!(with(&one), with(&other));
    }

    #[test]
    fn distinct_words_stay_apart(one in template(), other in template()) {
        let of = |words: &[String]| error_group(words.join(" ").as_bytes()).signature;
        prop_assert_eq!(of(&one) == of(&other), one == other);
    }

    #[test]
    fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
        error_group(&body);
    }

    /// Repeating a text so many times costs so many times as much, whatever it is, up to the bytes that are read.
    #[test]
    fn the_cost_is_linear(piece in pieces()) {
        let piece = format!("{piece}.");
        let text = piece.repeat(SIGNATURE_READ_BYTES_MAX / piece.len() + 2);
        let (_, steps) = Reader::read(&text, Version::NOW);
        prop_assert!(steps <= 64 * SIGNATURE_READ_BYTES_MAX, "{} steps", steps);
    }
}

/// Texts whose beginnings promise what their ends do not keep.
#[test]
fn no_text_costs_more_than_its_length() {
    for piece in [
        "'",
        "'a",
        " 'a",
        "\"\\",
        "`",
        "[",
        "[::",
        "1:",
        "1.",
        "a-",
        "-a1b2c3d4",
        "<",
        "a/",
        "a@",
        "a:a:",
        "0x",
        "msg=\"",
        "I1129 01:02:03",
        "] \"",
        "\\\"",
        "http://",
        "'a' 'b",
        "\u{1b}[",
    ] {
        let text = piece.repeat(SIGNATURE_READ_BYTES_MAX / piece.len());
        let (_, steps) = Reader::read(&text, Version::NOW);
        assert!(steps <= 32 * SIGNATURE_READ_BYTES_MAX, "{piece}: {steps} steps");
    }
}
