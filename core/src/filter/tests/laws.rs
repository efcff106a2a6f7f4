//! Laws of filters: nothing hides a match.

use proptest::prelude::*;

use super::*;
use crate::block::check::Checker;
use crate::block::postings::{Postings, RECORDS_MIN, level_token};
use crate::block::{Block, BlockBuilder};
use crate::origin::OriginId;
use crate::segment::{Records, Resolution, SegmentBuilder, meet, tenant_token};
use crate::tokens;

/// Few letters, so that filters and records meet.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a",
            "B",
            "ab",
            "b_c",
            "é",
            "É",
            "7",
            "42",
            "K",
            "\u{212a}",
            "true",
            "null",
            "İ",
            "ẞ",
            "支付",
            "付",
            "支付a",
            "e\u{301}",
            "🔥",
            "a\u{1b}[31mb",
            "\u{1b}[1ma\u{1b}[0m",
            "\\nab",
            "a\\tb",
            "\\u0061b",
            "1.50",
            "\u{e01}\u{e34}"
        ])
        .prop_map(str::to_owned),
        "[abAB7.é 支付]{1,4}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "b", "a.b", "msg", "message", "trace_id", "traceId", "user", "id", "task", "service", "source",
        "err", "stack", "caller", "tags", "b_c", "A", "version", "logger",
    ])
    .prop_map(str::to_owned)
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        4 => word().prop_map(|text| serde_json::Value::String(text).to_string()),
        1 => word().prop_map(|text| format!("\"{}\"", text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect::<String>())),
        1 => word().prop_map(|text| format!("\"{}\"", text.chars().map(|c| format!("{c}\\n")).collect::<String>())),
        1 => word().prop_map(|text| format!("{:?}", text.as_bytes())),
        1 => prop::sample::select(vec!["7", "42", "-7", "4.2", "42.0", "4.20", "-0", "4e1", "1e999", "true", "null", "\"a\\qb\"", "\"\\ud800a\"", "\"a:42\""])
            .prop_map(str::to_owned),
    ];
    let value = scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec((key(), inner), 0..4).prop_map(object),
        ]
    });
    prop::collection::vec((key(), value), 0..5).prop_map(object)
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

pub(super) fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => json().prop_map(String::into_bytes),
        1 => (prop::sample::select(vec!["\u{feff}", "web-1 | ", "[a] ", "@cee: ", "\u{1b}[31mab\u{1b}[0m "]), json())
            .prop_map(|(prefix, json)| format!("{prefix}{json}").into_bytes()),
        // The same with bytes replaced, taken out, put in.
        4 => (json(), prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, prop::sample::select(b"\":,{}[]\\ a7_\xc3\xff".to_vec())), 1..4))
            .prop_map(|(json, edits)| {
                let mut bytes = json.into_bytes();
                for (place, how, byte) in edits {
                    let place = place.index(bytes.len() + 1);
                    match how {
                        0 if place < bytes.len() => bytes[place] = byte,
                        1 if place < bytes.len() => drop(bytes.remove(place)),
                        _ => bytes.insert(place, byte),
                    }
                }
                bytes
            }),
        1 => prop::collection::vec(word(), 0..6).prop_map(|words| words.join(" ").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        key().prop_map(|key| format!("data.{key}")),
        prop::sample::select(vec!["message", "errorStack", "service", "userId", "pod"])
            .prop_map(str::to_owned),
    ]
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["CONTAINS", "LIKE", "REGEXP"])
}

fn stars() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![("*", ""), ("", "*"), ("*", "*"), ("a*", "")])
}

pub(super) fn expression() -> impl Strategy<Value = String> {
    let op = || prop::sample::select(vec![":", "=", "!=", "<", ">="]);
    let leaf = prop_oneof![
        3 => prop::collection::vec(word(), 1..3).prop_map(|words| quoted(&words.join(" "))),
        3 => (key(), op(), word()).prop_map(|(key, op, value)| format!("data.{key}{op}{}", quoted(&value))),
        1 => (key(), key(), word()).prop_map(|(outer, key, value)| format!("data.{outer}.{key}:{}", quoted(&value))),
        3 => (prop::sample::select(vec!["message", "traceId", "userId", "taskId", "service", "source", "errorStack",
                "errorType", "file", "line", "logger", "pod", "version", "plugin", "tenant", "namespace"]), op(), word())
            .prop_map(|(field, op, value)| format!("{field}{op}{}", quoted(&value))),
        1 => (key(), prop::sample::select(vec!["=", ":", "!=", ">", "<="]), prop::sample::select(vec!["42", "7", "4.2", "42.0", "-0", "4e1"]))
            .prop_map(|(key, op, value)| format!("data.{key}{op}{value}")),
        2 => (word(), stars()).prop_map(|(word, (before, after))| format!("{before}{word}{after}")),
        2 => (key(), word(), stars()).prop_map(|(key, word, (before, after))| format!("data.\"{key}\":{before}{word}{after}")),
        3 => (field(), prop::sample::select(vec!["CONTAINS", "LIKE", "REGEXP", "NOT CONTAINS", "NOT LIKE"]),
                prop::collection::vec(word(), 1..4), prop::sample::select(vec!["", "%", "_", ".*", "."]))
            .prop_map(|(field, operator, words, between)| format!("{field} {operator} {}", quoted(&words.join(between)))),
        2 => (field(), operator(), prop::collection::vec(word(), 2..4))
            .prop_map(|(field, operator, words)| format!("{field} {operator} {}", quoted(&words.join(" ")))),
        1 => (field(), prop::collection::vec(word(), 1..3)).prop_map(|(field, words)| {
            format!("{field} IN ({})", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
        }),
        1 => field().prop_map(|field| format!("{field} EXISTS")),
        1 => word(),
        1 => (op(), 0..5u8).prop_map(|(op, level)| format!("level{op}{}", Level::from_u8(level).expect("0 to 4"))),
        1 => (op(), -1..2i64).prop_map(|(op, off)| format!("time{op}{}", jiff::Timestamp::from_microsecond(TIME_US + off).expect("a time"))),
        1 => prop::sample::select(vec!["category:audit", "category:system", "stream:stderr", "id=1-1f-2", "data.a:*"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            inner.clone().prop_map(|part| format!("NOT {part}")),
            inner.prop_map(|part| format!("!({part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// The law: what matches is never hidden by the plan of its filter.
    #[test]
    fn a_plan_never_hides_a_match(
        body in body(),
        expressions in prop::collection::vec(expression(), 8),
        names in prop::collection::vec(word(), 5),
        level in 0..5u8,
        flags in prop::sample::select(vec![Flags::default(), Flags::AUDIT, Flags::STDERR]),
        time_us in TIME_US - 1..TIME_US + 2,
    ) {
        let [tenant, service, pod, version, plugin] = names.try_into().expect("five");
        let service = if service.len() > 2 { String::new() } else { service };
        let origin = Origin { tenant, service, pod, version, plugin, ..Origin::default() };
        let record = Record { time_us, flags, body: &body, ..record(&origin, Level::from_u8(level).expect("0 to 4"), "") };
        let mut hashes = Vec::new();
        tokens::for_each_token(&body, &origin, flags, &mut |token| hashes.push(token.hash));
        let bloom = tokens::build(&hashes);
        let bloom_first = tokens::first::bloom_of(&tokens::first::tokens_of(&body, &origin, flags));
        for expression in expressions {
            let Ok(filter) = parse(&expression) else { continue }; // a word without letters
            if filter.matches(&record, &origin) {
                let plan = filter.plan();
                prop_assert!(
                    plan.may_match(record.level.bit(), time_us, time_us, &origin.tenant, &bloom),
                    "{} in {:?}: {:?}", expression, String::from_utf8_lossy(&body), plan
                );
                prop_assert!(
                    plan.bloom_may_match(&bloom_first),
                    "of the first version: {} in {:?}: {:?}", expression, String::from_utf8_lossy(&body), plan
                );
            }
        }
    }

    /// The law: a block that has a match is never passed over for its postings.
    #[test]
    fn postings_never_hide_a_match(
        bodies in prop::collection::vec(body(), 1..9),
        expressions in prop::collection::vec(expression(), 8),
        names in prop::collection::vec(word(), 4),
        flags in prop::sample::select(vec![Flags::default(), Flags::AUDIT]),
    ) {
        let origins: Vec<Origin> = names
            .chunks(2)
            .map(|names| Origin { tenant: "t".into(), service: names[0].clone(), pod: names[1].clone(), ..Origin::default() })
            .collect();
        // Every third record is another one, so that most words are in some records and not in others.
        let records: Vec<Record<'_>> = (0..3 * RECORDS_MIN)
            .map(|n| {
                let level = Level::ALL[n % 7 % Level::ALL.len()];
                let body = if n % 3 == 0 { &bodies[n / 3 % bodies.len()][..] } else { b"something else" };
                Record { flags, body, ..record(&origins[n / 5 % 2], level, "") }
            })
            .collect();
        let mut builder = BlockBuilder::with_postings();
        for (n, record) in records.iter().enumerate() {
            prop_assert!(builder.push(record, &origins[n / 5 % 2]));
        }
        let block = builder.finish(3);
        let postings = Postings::open(&block.postings).expect("just built").expect("not a small block");
        for expression in expressions {
            let Ok(filter) = parse(&expression) else { continue };
            let plan = filter.plan();
            for (n, record) in records.iter().enumerate() {
                if filter.matches(record, &origins[n / 5 % 2]) {
                    let mut clauses = plan.tokens.current.clone();
                    clauses.push(vec![level_token(record.level)]);
                    prop_assert!(postings.may_meet(&clauses), "{} hides record {}: {:?}", expression, n, plan);
                }
            }
        }
    }

    /// The law: an index names each record that matches.
    #[test]
    fn an_index_names_each_match(
        bodies in prop::collection::vec(body(), 1..9),
        expressions in prop::collection::vec(expression(), 8),
        names in prop::collection::vec(word(), 4),
        every in 1..5usize,
        gathered_max in prop_oneof![Just(usize::MAX), 1..5_000usize],
    ) {
        let origins: Vec<Origin> = names
            .chunks(2)
            .map(|names| Origin { tenant: "t".into(), service: names[0].clone(), pod: names[1].clone(), ..Origin::default() })
            .collect();
        let origin_of = |n: usize| &origins[n / 5 % 2];
        // Three blocks that end within a granule.
        let records: Vec<Record<'_>> = (0..3 * 150)
            .map(|n| {
                let level = Level::ALL[n % 7 % Level::ALL.len()];
                let body = if n % every == 0 { &bodies[n / every % bodies.len()][..] } else { b"something else" };
                Record { body, ..record(origin_of(n), level, "") }
            })
            .collect();
        let (mut checker, mut pages) = (Checker::new(), Vec::new());
        let mut segment = SegmentBuilder::new(Resolution::CHOSEN).with_gathered_max(gathered_max);
        for (of_block, first) in records.chunks(150).zip((0..).step_by(150)) {
            let mut builder = BlockBuilder::new();
            for (n, record) in of_block.iter().enumerate() {
                prop_assert!(builder.push(record, origin_of(first + n)));
            }
            let payload = builder.finish(3).payload;
            let block = Block::open(&payload).expect("just built");
            let by_id = |id: &OriginId| origins.iter().find(|origin| origin.id() == *id);
            checker.index_into(&mut segment, &block, by_id).expect("just built");
        }
        let head = segment.finish(|_, page| pages.push(page));
        for expression in expressions {
            let Ok(filter) = parse(&expression) else { continue };
            let mut clauses = filter.plan().tokens.current;
            clauses.push(vec![tenant_token("t")]);
            let meeting = meet(&head, &clauses, |page| pages.get(page as usize).map(Vec::as_slice));
            let named: Vec<Records> = meeting.expect("it opens").collect::<Result<_, _>>().expect("it is whole");
            for (n, record) in records.iter().enumerate() {
                let (block, place) = ((n / 150) as u32, (n % 150) as u32);
                let is_named =
                    named.iter().any(|of| of.block == block && (of.from..of.to).contains(&place));
                prop_assert!(
                    is_named || !filter.matches(record, origin_of(n)),
                    "{} is not told of record {}: {:?}", expression, n, named
                );
            }
        }
    }

    /// The law: what matches is never held back by the screen, whatever lies beside it.
    #[test]
    fn a_screen_never_holds_back_a_match(
        bodies in prop::collection::vec(body(), 1..6),
        expressions in prop::collection::vec(expression(), 8),
        tenant in word(),
    ) {
        let origin = Origin { tenant, ..Origin::default() };
        let ends: Vec<u32> = bodies
            .iter()
            .scan(0, |end, body| { *end += body.len() as u32; Some(*end) })
            .collect();
        for expression in expressions {
            let Ok(filter) = parse(&expression) else { continue };
            let Some(through) = filter.screen().may_match(&bodies.concat(), &ends) else { continue };
            prop_assert!(through.is_sorted_by(|a, b| a < b), "{:?}", through);
            for (place, body) in bodies.iter().enumerate() {
                let record = Record { body, ..record(&origin, Level::Info, "") };
                prop_assert!(
                    through.contains(&(place as u32)) || !filter.matches(&record, &origin),
                    "{} holds back {:?}", expression, String::from_utf8_lossy(body)
                );
            }
        }
    }

    #[test]
    fn any_signs_parse_or_say_why(text in "[-!*?~:=<>()\"'\u{201c}\u{201d} \\\\/.%_,a1\u{652f}\u{1f525}\u{301}\u{1b}]{0,24}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.chars().count());
            prop_assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn any_text_parses_or_says_why(text in "\\PC{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.chars().count());
            prop_assert!(!error.message.is_empty());
        }
    }
}
