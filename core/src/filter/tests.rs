use proptest::prelude::*;

use super::*;
use crate::block::BlockBuilder;
use crate::block::postings::{Postings, RECORDS_MIN, level_token};
use crate::identity::RecordId;
use crate::level::Level;
use crate::record::Flags;
use crate::tokens::{self, Token};

fn origin() -> Origin {
    Origin {
        tenant: "shop-eu".into(),
        tenant_id: "t-17".into(),
        namespace: "shop".into(),
        pod: "checkout-7f9c-x2x1z".into(),
        container: "app".into(),
        node: "node-3".into(),
        service: "checkout".into(),
        version: "1.4.2".into(),
        ..Origin::default()
    }
}

const TIME_US: i64 = 1795242600500000; // 2026-11-21T06:30:00.5Z

fn record<'a>(origin: &Origin, level: Level, body: &'a str) -> Record<'a> {
    Record {
        time_us: TIME_US,
        original_time_us: None,
        level,
        flags: Flags::default(),
        origin: origin.id(),
        id: RecordId { topic_partition: 1, kafka_offset: 31, index: 2 },
        body: body.as_bytes(),
    }
}

const BODY: &str = r#"{"level":"warn","msg":"Connection RESET by peer","traceId":"4bf92f","user_id":"Bob-7",
"status":503,"order":{"id":"A17","tags":["new","eu"]},"ratio":0.25,"note":"caf\u00e9\nline","empty":"","gone":null}"#;

fn matches(expression: &str) -> bool {
    let origin = origin();
    parse(expression)
        .unwrap_or_else(|e| panic!("{expression}: {e}"))
        .matches(&record(&origin, Level::Warn, BODY), &origin)
}

#[test]
fn what_matches() {
    let yes = [
        "",
        "connection",
        "RESET",
        "\"connection reset\"",
        "\"reset by peer\"",
        "connection AND peer",
        "peer by",
        "café",
        "line",
        "CAFÉ",
        "Bob-7",
        "bob",
        "503",
        "0.25",
        "nothing OR reset",
        "NOT nothing",
        "(reset)",
        "level=warn",
        "level>=warn",
        "level<error",
        "level!=info",
        "level:WARNING",
        "level != error",
        "time>2026-11-20",
        "time=2026-11-21T06:30",
        "time<=2026-11-21T06:30",
        "time>=2026-11-21T06:30:00.5Z",
        "time=2026-11-21T07:30+01:00",
        "time<2026-11-22",
        "timestamp!=2026-11-20",
        "time=2026-11-21T06",
        "tenant=shop-eu",
        "tenant:SHOP-EU",
        "tenantId=t-17",
        "service:checkout",
        "namespace=shop",
        "pod:checkout-7f9c-x2x1z",
        "node>node-2",
        "container=app",
        "version=1.4.2",
        "stream=stdout",
        "category=system",
        "id=1-1f-2",
        "traceId=4bf92f",
        "trace_id:4BF92F",
        "TRACEID:4bf92f",
        "userId=Bob-7",
        "user_id:bob-7",
        "message:reset",
        "message:\"reset by\"",
        "message=\"Connection RESET by peer\"",
        "msg:peer",
        "data.status=503",
        "data.status>=500",
        "data.status<504",
        "data.ratio<0.5",
        "data.order.id=A17",
        "data.order.id:a17",
        "data.order.tags=eu",
        "data.empty=\"\"",
        "data.note:*",
        "data.missing!=1",
        "NOT data.gone:*",
        "data.order.id>A16",
        "level>=warn service:checkout (traceId=1 OR data.order.id=A17) NOT \"peer reset\"",
        "nothing AND x OR reset",
        "reset OR nothing AND x",
        "NOT nothing reset",
        "\"a \\\"quoted\\\"\" OR reset",
    ];
    for expression in yes {
        assert!(matches(expression), "{expression}");
    }
    let no = [
        "connect",
        "msg",
        "traceId",
        "\"peer reset\"",
        "\"connection by\"",
        "ratio",
        "nothing",
        "reset AND nothing",
        "NOT reset",
        "(nothing OR x) reset",
        "level=info",
        "level>warn",
        "level<=info",
        "time<2026-11-21",
        "time>2026-11-21T06:30",
        "tenant=shop",
        "tenant:shop",
        "tenant=SHOP-EU",
        "service=Checkout",
        "service:check",
        "stream:stderr",
        "category:audit",
        "id=1-1f-3",
        "traceId=4bf",
        "traceId:4bf92f0",
        "traceId=4BF92F",
        "message:connect",
        "message=reset",
        "data.status=504",
        "data.status>503",
        "data.status>abc",
        "data.msgx:*",
        "data.order:*",
        "data.gone=null",
        "data.order.tags=ne",
        "sessionId:*",
        "caf",
        "\"peer 4bf92f\"",
        "data.missing<5",
        "data.empty=x",
    ];
    for expression in no {
        assert!(!matches(expression), "{expression}");
    }
}

#[test]
fn mistakes_say_where_and_what() {
    let cases = [
        ("(reset", 0, "never closed"),
        ("reset)", 5, "closes nothing"),
        ("reset AND", 9, "missing at the end"),
        ("OR reset", 0, "stand between"),
        ("a AND OR b", 6, "stand between"),
        ("()", 1, "missing before"),
        ("\"open", 0, "never closed"),
        ("levle=warn", 0, "no field \"levle\"; write data.levle"),
        ("level>=high", 7, "not a level"),
        ("a level=", 8, "compared with nothing"),
        ("time>yesterday", 5, "not a time"),
        ("stream>stdout", 0, ": = and != only"),
        ("stream:x", 7, "neither stderr nor stdout"),
        ("id=7", 3, "record id"),
        ("---", 0, "no letter or digit"),
        ("ü ---", 2, "no letter or digit"),
        (":x", 0, "a field before it"),
        ("service IN (a, b)", 8, "IN is not understood yet"),
        ("12:30:45", 0, "quotation marks"),
        ("data.=1", 0, "no field"),
        ("message:...", 8, "no letter or digit"),
    ];
    for (expression, at, part) in cases {
        let error = parse(expression).expect_err(expression);
        assert_eq!(error.at, at, "{expression}: {error}");
        assert!(error.message.contains(part), "{expression}: {error}");
    }
    let deep = format!("{}x{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).expect_err("too deep").message.contains("64"));
    assert!(parse(&"x ".repeat(20_000)).expect_err("too long").message.contains("characters"));
    assert!(parse(&"NOT ".repeat(4_000)).is_err());
}

#[test]
fn plans() {
    let plan = |expression: &str| parse(expression).expect(expression).plan();
    let any = Filter::all().plan();
    assert_eq!((any.level_mask, any.time_from_us, any.time_to_us), (0b11111, i64::MIN, i64::MAX));
    assert!(any.tenants.is_none() && any.tokens.is_empty());

    assert_eq!(plan("level>=warn").level_mask, 0b11000);
    assert_eq!(plan("NOT level>=warn").level_mask, 0b00111);
    assert_eq!(plan("level>=warn level<error").level_mask, 0b01000);
    assert_eq!(plan("level=info level=warn").level_mask, 0);
    assert_eq!(plan("level=error OR reset").level_mask, 0b11111);
    let day = plan("time>=2026-11-21 time<2026-11-22");
    assert_eq!((day.time_from_us, day.time_to_us), (1795219200000000, 1795305599999999));
    assert_eq!(plan("NOT time<2026-11-21").time_from_us, 1795219200000000);
    assert_eq!(plan("tenant=a OR tenant=b").tenants, Some(vec!["a".into(), "b".into()]));
    assert_eq!(plan("tenant=a tenant=b").tenants, Some(vec![]));
    assert_eq!(plan("tenant=a OR x").tenants, None);
    assert_eq!(plan("NOT tenant=a").tenants, None);
    let token = |word: &str| Token::word(word.as_bytes());
    let pair = |key: &str, value: &str| Token::pair(key.as_bytes(), value.as_bytes());
    assert_eq!(plan("Connection RESET").tokens, [[token("connection")], [token("reset")]]);
    assert_eq!(plan("a OR b").tokens, [[token("a"), token("b")]]);
    assert_eq!(plan("(a b) OR c").tokens, [[token("c"), token("a")], [token("c"), token("b")]]);
    assert!(plan("NOT reset").tokens.is_empty());
    assert!(plan("a OR NOT b").tokens.is_empty());
    assert_eq!(plan("pod=P-1").tokens, [[Token::origin("pod", "p-1")]]);
    assert_eq!(plan("category:audit NOT x").tokens, [[Token::audit()]]);
    assert_eq!(
        plan("data.order.id=A17").tokens,
        [vec![token("a17")], vec![pair("orderid", "a17"), pair("id", "a17")]]
    );
    let huge = (0..200).map(|n| format!("(a{n} b{n})")).collect::<Vec<_>>().join(" OR ");
    assert!(plan(&huge).tokens.len() <= 24);
}

#[test]
fn a_screen_lets_few_through() {
    let bodies =
        ["connection reset", "", "Connection TIMEOUT", "time", "out", r"\u0063onnection \u0074imeout"];
    let ends: Vec<u32> = bodies
        .iter()
        .scan(0, |end, body| {
            *end += body.len() as u32;
            Some(*end)
        })
        .collect();
    let through = |expression: &str| {
        parse(expression).expect(expression).screen().may_match(bodies.concat().as_bytes(), &ends)
    };
    assert_eq!(through("connection timeout"), Some(vec![2, 5]));
    assert_eq!(through("\"connection reset\""), Some(vec![0, 2, 5]));
    assert_eq!(through("reset OR timeout"), Some(vec![0, 2, 3, 5]), "3: across two bodies");
    assert_eq!(through("timeout level>=info NOT reset"), Some(vec![2, 3, 5]));
    assert_eq!(through("nobody"), Some(vec![5]));
    for any in ["", "level>=info", "NOT reset", "reset OR level>=info", "\u{e9}t\u{e9}"] {
        let filter = if any.is_empty() { Filter::all() } else { parse(any).expect(any) };
        assert_eq!(filter.screen().may_match(b"x", &[1]), None, "{any}");
    }
}

/// Few letters, so that filters and records meet.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a", "B", "ab", "b_c", "é", "É", "7", "42", "K", "\u{212a}", "true", "null", "İ", "ẞ"
        ])
        .prop_map(str::to_owned),
        "[abAB7.é ]{1,4}",
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
        1 => prop::sample::select(vec!["7", "42", "-7", "4.2", "1e999", "true", "null", "\"a\\qb\"", "\"\\ud800a\"", "\"a:42\""])
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

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => json().prop_map(String::into_bytes),
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

fn expression() -> impl Strategy<Value = String> {
    let op = || prop::sample::select(vec![":", "=", "!=", "<", ">="]);
    let leaf = prop_oneof![
        3 => prop::collection::vec(word(), 1..3).prop_map(|words| quoted(&words.join(" "))),
        3 => (key(), op(), word()).prop_map(|(key, op, value)| format!("data.{key}{op}{}", quoted(&value))),
        1 => (key(), key(), word()).prop_map(|(outer, key, value)| format!("data.{outer}.{key}:{}", quoted(&value))),
        3 => (prop::sample::select(vec!["message", "traceId", "userId", "taskId", "service", "source", "errorStack",
                "errorType", "file", "line", "logger", "pod", "version", "plugin", "tenant", "namespace"]), op(), word())
            .prop_map(|(field, op, value)| format!("{field}{op}{}", quoted(&value))),
        1 => (op(), 0..5u8).prop_map(|(op, level)| format!("level{op}{}", Level::from_u8(level).expect("0 to 4"))),
        1 => (op(), -1..2i64).prop_map(|(op, off)| format!("time{op}{}", jiff::Timestamp::from_microsecond(TIME_US + off).expect("a time"))),
        1 => prop::sample::select(vec!["category:audit", "category:system", "stream:stderr", "id=1-1f-2", "data.a:*"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            inner.prop_map(|part| format!("NOT {part}")),
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
        for expression in expressions {
            let Ok(filter) = parse(&expression) else { continue }; // a word without letters
            if filter.matches(&record, &origin) {
                let plan = filter.plan();
                prop_assert!(
                    plan.may_match(record.level.bit(), time_us, time_us, &origin.tenant, &bloom),
                    "{} in {:?}: {:?}", expression, String::from_utf8_lossy(&body), plan
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
                    let mut clauses = plan.tokens.clone();
                    clauses.push(vec![level_token(record.level)]);
                    prop_assert!(postings.may_meet(&clauses), "{} hides record {}: {:?}", expression, n, plan);
                }
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
    fn any_text_parses_or_says_why(text in "\\PC{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.chars().count());
            prop_assert!(!error.message.is_empty());
        }
    }
}
