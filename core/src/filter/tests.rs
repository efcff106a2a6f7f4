mod columns;
mod laws;
mod page;
mod typed;

use super::*;
use crate::identity::RecordId;
use crate::level::Level;
use crate::record::Flags;
use crate::tokens::{Token, TokenClauses};

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

/// The page at the head of [`super`].
#[test]
fn an_expression_on_its_way() {
    let filter = parse("level>=warn pod=cart-0 \"connection reset\"").unwrap();
    let origin = Origin { pod: "cart-0".into(), ..origin() };
    let plan = filter.plan();
    let tokens =
        [vec![Token::origin("pod", "cart-0")], vec![Token::word(b"connection")], vec![Token::word(b"reset")]];
    assert_eq!((plan.level_mask, plan.tenants), (0b1_1000, None));
    assert_eq!((plan.time_from_us, plan.time_to_us), (i64::MIN, i64::MAX));
    assert_eq!(plan.tokens.current, tokens);
    let bodies =
        [r#"{"msg":"Connection reset by peer"}"#, r#"{"msg":"connection was reset"}"#, r#"{"msg":"done"}"#];
    let ends: Vec<u32> = (1..=bodies.len()).map(|count| bodies[..count].concat().len() as u32).collect();
    assert_eq!(filter.screen().may_match(bodies.concat().as_bytes(), &ends), Some(vec![0, 1]));
    let matching = bodies.map(|body| filter.matches(&record(&origin, Level::Error, body), &origin));
    assert_eq!(matching, [true, false, false]);
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
fn parts_make_one_tree_whatever_their_texts_would_mean_beside_each_other() {
    let place = origin();
    let body = r#"{"msg":"it' x","a":"b"}"#;
    let record = record(&place, Level::Warn, body);
    let part = |text: &str| parse(text).unwrap();
    let texts =
        ["a", "level>=warn", "nothing", "'a", "\"it' x\"", "service=checkout OR nothing", "", "NOT nothing"];
    let all_parts = |bits: usize| {
        (0..texts.len()).filter(move |place| bits & (1 << place) != 0).map(|place| part(texts[place]))
    };
    for bits in 0..1 << texts.len() {
        let (all, any) = (Filter::all_of(all_parts(bits)), Filter::any_of(all_parts(bits)));
        let expected = (
            all_parts(bits).all(|part| part.matches(&record, &place)),
            all_parts(bits).any(|part| part.matches(&record, &place)),
        );
        assert_eq!((all.matches(&record, &place), any.matches(&record, &place)), expected, "{bits:b}");
        // Shared parts too, and what is made of them.
        assert_eq!(
            Filter::all_of([all.clone(), any.clone()]).matches(&record, &place),
            expected.0 && expected.1
        );
    }
    // The depth of one is not the other's.
    let deep = part(&format!("{}a{}", "(".repeat(63), ")".repeat(63)));
    assert_eq!(
        Filter::all_of([deep.clone(), part("level=warn")]).matches(&record, &place),
        deep.matches(&record, &place)
    );
}

#[test]
fn what_costs_too_much_before_anything_is_searched_is_refused() {
    let many = |count: usize, test: &str, between: &str| vec![test; count].join(between);
    for (test, between) in [
        ("message REGEXP \"a\"", " OR "),
        ("message LIKE \"a%\"", " "),
        ("NOT (service NOT LIKE \"a\")", " "),
        ("(message REGEXP \"a\" level>=warn)", " OR "),
    ] {
        assert!(parse(&many(32, test, between)).is_ok(), "{test}");
        let refused = parse(&many(33, test, between)).unwrap_err();
        assert!(refused.message.starts_with("more than 32 of LIKE and REGEXP"), "{refused:?}");
        assert!(refused.at > many(32, test, between).len(), "{refused:?}");
    }
    for piece in ["*", "a*", "*a", "日*"] {
        let refused = parse(&piece.repeat(33)).unwrap_err();
        assert!(refused.message.starts_with("more than 32 stars"), "{refused:?}");
        let refused = parse(&format!("error ({})", piece.repeat(5_000))).unwrap_err();
        assert_eq!(refused.at, 7, "{refused:?}");
    }
    assert!(parse(&"a*".repeat(32)).is_ok());
    for (test, part) in [
        (format!("a message LIKE \"{}\"", "_%".repeat(7_000)), "LIKE is too large"),
        ("a message REGEXP \"(a{1000}){1000}\"".to_owned(), "regular expression is too large"),
    ] {
        let refused = parse(&test).unwrap_err();
        assert!(refused.message.contains(part), "{refused:?}");
        assert!(test[refused.at..].starts_with('"'), "{refused:?}");
    }
    // What is compared with few stars, as often as one likes.
    assert!(parse(&many(300, "*a*", " OR ")).is_ok());
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

/// The time in a record's name spares a search all other times.
#[test]
fn a_records_name_says_where_it_lies() {
    let origin = Origin::default();
    let this = record(&origin, Level::Info, "x");
    let name = format!("{}.{}", this.time_us, this.id);
    let other_time = format!("{}.{}", this.time_us + 1, this.id);
    let other_id = format!("{}.1-1f-3", this.time_us);
    let cases = [
        (format!("id={name}"), true, Some(this.time_us)),
        (format!("id:{name}"), true, Some(this.time_us)),
        (format!("id={}", this.id), true, None),
        (format!("id={other_time}"), false, Some(this.time_us + 1)),
        (format!("id={other_id}"), false, Some(this.time_us)),
        (format!("id!={name}"), false, None),
        (format!("NOT id={other_id}"), true, None),
    ];
    for (text, expected, time_us) in cases {
        let filter = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches(&this, &origin), expected, "{text}");
        let plan = filter.plan();
        assert_eq!(Some(plan.time_from_us).filter(|from| *from == plan.time_to_us), time_us, "{text}");
    }
    for bad in ["id=1.2.1-1f-2", "id=x.1-1f-2", "id=5.1-1f", "id>5.1-1f-2"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn plans() {
    let plan = |expression: &str| parse(expression).expect(expression).plan();
    let any = Filter::all().plan();
    assert_eq!((any.level_mask, any.time_from_us, any.time_to_us), (0b11111, i64::MIN, i64::MAX));
    assert!(any.tenants.is_none() && any.tokens == TokenClauses::default());

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
    assert_eq!(plan("Connection RESET").tokens.current, [[token("connection")], [token("reset")]]);
    assert_eq!(plan("a OR b").tokens.current, [[token("a"), token("b")]]);
    assert_eq!(plan("(a b) OR c").tokens.current, [[token("c"), token("a")], [token("c"), token("b")]]);
    assert!(plan("NOT reset").tokens.current.is_empty());
    assert!(plan("a OR NOT b").tokens.current.is_empty());
    assert_eq!(plan("pod=P-1").tokens.current, [[Token::origin("pod", "p-1")]]);
    assert_eq!(plan("category:audit NOT x").tokens.current, [[Token::audit()]]);
    assert_eq!(
        plan("data.order.id=A17").tokens.current,
        [vec![token("a17")], vec![pair("id", "a17"), pair("orderid", "a17")]]
    );
    assert_eq!(plan("payment_failed").tokens.current, [[token("payment")], [token("failed")]]);
    assert_eq!(plan("支付失").tokens.current, [[token("支付")], [token("付失")]]);
    assert_eq!(plan(r"\nCaused").tokens.current, [[token("ncaused"), token("caused")]]);
    assert_eq!(plan("message CONTAINS \"n reset b\"").tokens.current, [[token("reset")]]);
    assert_eq!(plan("message REGEXP \"c.* reset (by|of)\"").tokens.current, [[token("reset")]]);
    assert_eq!(plan("message LIKE \"%_ reset by%\"").tokens.current, [[token("reset")]]);
    assert!(plan("NOT message CONTAINS \" reset \"").tokens.current.is_empty());
    let service = |name: &str| Token::origin("service", name);
    let in_two = plan("service IN (a, b)").tokens;
    assert_eq!(in_two.current, [[service("a"), token("a"), service("b"), token("b")]]);
    assert_eq!(in_two.first, in_two.current, "of any version");
    assert_eq!(plan("reset").tokens.first, [[]; 0], "the first version may have known another word");
    let huge = (0..200).map(|n| format!("(a{n} b{n})")).collect::<Vec<_>>().join(" OR ");
    assert!(plan(&huge).tokens.current.len() <= 24);
    for (expression, unindexed) in [
        ("reset *timeout* OR conn*", &["conn*", "*timeout*"][..]),
        ("支", &["支"]),
        ("NOT *timeout*", &[]),
        ("\"支付\" 10.4.*", &[]),
        ("message CONTAINS reset", &["message CONTAINS \"reset\""]),
        ("data.a:x*", &["data.a:x*"]),
        ("service:check*", &["service:check*"]),
        ("service:check data.a>5 data.a EXISTS", &[]),
    ] {
        assert_eq!(plan(expression).unindexed, unindexed, "{expression}");
    }
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

/// A group is of WARN and ERROR: blocks of other levels are not read for it.
#[test]
fn a_signature_is_asked_of_what_is_grouped() {
    let (origin, body) = (origin(), r#"{"msg":"order 4711 failed after 20 ms"}"#);
    let other = "order 17 is late";
    let signature = crate::signature::error_group(br#"{"msg":"order 12 failed after 7 ms"}"#).signature;
    for (expression, of_warn, of_info, of_other) in [
        (format!("signature={signature}"), true, false, false),
        (format!("signature:{signature}"), true, false, false),
        (format!("signature:{}", signature.to_string().to_uppercase()), true, false, false),
        (format!("signature = \"{signature}\""), true, false, false),
        (format!("Signature IN ({signature}, v1:00000000000000ff)"), true, false, false),
        (format!("signature!={signature}"), false, true, true),
        (format!("NOT signature={signature}"), false, true, true),
        ("signature EXISTS".to_owned(), true, false, true),
        ("signature:*".to_owned(), true, false, true),
        ("signature=v1:00000000000000ff".to_owned(), false, false, false),
    ] {
        let filter = parse(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let found = [(Level::Warn, body), (Level::Info, body), (Level::Error, other)]
            .map(|(level, body)| filter.matches(&record(&origin, level, body), &origin));
        assert_eq!(found, [of_warn, of_info, of_other], "{expression}");
        let is_negated = of_info;
        assert_eq!(filter.plan().level_mask, if is_negated { 0b11111 } else { 0b11000 }, "{expression}");
    }
    for (expression, at, part) in [
        ("a signature=v1:other", 12, "no record says"),
        ("a signature=v2:other", 12, "no record says"),
        ("signature=v3:00000000000000ff", 10, "16 hexadecimal digits"),
        ("signature=payment", 10, "16 hexadecimal digits"),
        ("signature>v1:00000000000000ff", 0, ": = and != only"),
        ("signature LIKE \"v1:%\"", 0, "compare it with = or IN"),
        ("signature:v1:0*", 10, "16 hexadecimal digits"),
    ] {
        let error = parse(expression).expect_err(expression);
        assert_eq!(error.at, at, "{expression}: {error}");
        assert!(error.message.contains(part), "{expression}: {error}");
    }
}
