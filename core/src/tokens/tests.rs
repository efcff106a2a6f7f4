use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use unicode_normalization::char::canonical_combining_class;

use super::*;
use crate::origin::Origin;
use crate::record::Flags;

#[derive(Default)]
struct Collected {
    texts: Vec<String>,
    pairs: Vec<String>,
}

impl values::Visit for Collected {
    fn value(&mut self, key: Option<&[u8]>, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        if let Some(key) = key {
            self.pairs.push(format!("{}={text}", String::from_utf8_lossy(key)));
        }
        self.texts.push(text);
    }
}

fn visited(body: &str) -> (Vec<String>, Vec<String>) {
    let mut collected = Collected::default();
    values::visit(body.as_bytes(), &mut collected);
    (collected.texts, collected.pairs)
}

#[test]
fn values_of_bodies() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[""], &[]),
        ("plain \"text\": 1", &["plain \"text\": 1"], &[]),
        (r#"{"a":"b c","n":-1.5,"t":true}"#, &["b c", "-1.5", "true"], &["a=b c", "n=-1.5", "t=true"]),
        (" {\"a\" : \"b\"}\n", &["b"], &["a=b"]),
        (r#"{"o":{"k":"v","l":["x",1,["deep"]]}}"#, &["v", "x", "1", "deep"], &["k=v", "l=x", "l=1"]),
        (
            r#"{"a":"q\"u\\o\n","b":"caf\u00e9 \ud83d\ude00"}"#,
            &["q\"u\\o\n", "café 😀"],
            &["a=q\"u\\o\n", "b=café 😀"],
        ),
        (r#"{"\u0061":1}"#, &["1"], &["a=1"]),
        // Not whole: what can be read, and the whole line.
        (r#"{"a":"b c"#, &["b c", r#"{"a":"b c"#], &[]),
        (r#"{"a":1 "b":2}"#, &["1", "2", r#"{"a":1 "b":2}"#], &["a=1", "b=2"]),
        (r#"{"a":1} tail"#, &["1", r#"{"a":1} tail"#], &["a=1"]),
        (r#"{"a":nil}"#, &["nil", r#"{"a":nil}"#], &["a=nil"]),
        (r#"{"a":1,}"#, &["1", r#"{"a":1,}"#], &["a=1"]),
        (r#"{"a":1]"#, &["1", r#"{"a":1]"#], &["a=1"]),
        (r#"{"n":{"a":"b":1}}"#, &["b", "1"], &["a=b"]),
    ];
    for (body, texts, pairs) in cases {
        let found = visited(body);
        assert_eq!(found.0, *texts, "{body}");
        assert_eq!(found.1, *pairs, "{body}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(visited(&deep).0, [""; 0], "depth is no matter");
}

#[test]
fn words_of_texts() {
    let cases: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"--- !!", &[]),
        (b"Connection RESET by peer", &["connection", "reset", "by", "peer"]),
        (b"user_id=42, ratio=3.14", &["user", "id", "42", "ratio", "3", "14"]),
        (b"__init__ payment_failed camelCase", &["init", "payment", "failed", "camelcase"]),
        ("ÄRGER mit Straße".as_bytes(), &["ärger", "mit", "straße"]),
        ("naïve…café—BAR\u{a0}x".as_bytes(), &["naïve", "café", "bar", "x"]),
        (b"abc\xff\xfeDEF \xc3", &["abc", "def"]),
        ("\u{212a}elvin K".as_bytes(), &["\u{212a}", "elvin", "k"]),
        ("日本語 ログ、決済API".as_bytes(), &["日", "本", "語", "ロ", "グ", "決", "済", "api"]),
        ("ล้มเหลว".as_bytes(), &["ล", "้", "ม", "เ", "ห", "ล", "ว"]),
        ("a😀b ⚠\u{fe0f} 1\u{fe0f}\u{20e3}".as_bytes(), &["a", "😀", "b", "⚠", "1"]),
        ("👩\u{200d}💻→✅".as_bytes(), &["👩", "💻", "→", "✅"]),
        ("cafe\u{301} CAF\u{c9} re\u{ad}set".as_bytes(), &["caf\u{e9}", "caf\u{e9}", "re", "set"]),
        ("ΟΔΟΣ οδός".as_bytes(), &["οδοσ", "οδόσ"]),
        ("か\u{3099} \u{1112}\u{1161}\u{11ab}".as_bytes(), &["が", "한"]),
        ("می\u{200c}خواهم".as_bytes(), &["میخواهم"]),
        // As people see it.
        (b"\x1b[31mERROR\x1b[0m: \x1b[1mre\x1b[1;38;5;208mset\x1b[0m", &["error", "reset"]),
        (b"\x1b[01;31m\x1b[Kfound\x1b[m\x1b[K it", &["found", "it"]),
        (
            b"a\x1b[2Cb \x1b(Bc\x1b)0 \x1b]0;title\x07 \x1b]8;;http://x\x1b\\y",
            &["a", "b", "c", "title", "http", "x", "y"],
        ),
        (b"cut \x1b[31", &["cut"]),
        ("\u{9b}32mok".as_bytes(), &["ok"]),
        (br"\u001b[31mred\u001b[0m", &["red"]),
        // What is written out.
        (br"failed\nCaused by:\r\n\tat x\n", &["failed", "ncaused", "caused", "by", "tat", "at", "x"]),
        (
            br"\x1b[31mred\x1b[0m \033[1mbold\e[0m ^[[32mok^[[0m #033[33mwarm#033[0m",
            &["red", "bold", "ok", "warm"],
        ),
        (
            b"failed#012Caused by#011at #0 #012abc #sale x^2",
            &["failed", "012caused", "caused", "by", "011at", "at", "0", "012abc", "abc", "sale", "x", "2"],
        ),
        (br"a\x00b C:\x64", &["a", "x00b", "b", "c", "x64"]),
        (br"C:\new\table.txt", &["c", "new", "ew", "table", "able", "txt"]),
        (
            br"caf\u00e9 \ud83d\ude00 \u5e93\u5b58 \users \u00",
            &["caf\u{e9}", "😀", "库", "存", "users", "u00"],
        ),
    ];
    for (text, expected) in cases {
        let found: Vec<String> = words::of(text)
            .into_iter()
            .map(|word| String::from_utf8(word).expect("words are UTF-8"))
            .collect();
        assert_eq!(found, *expected, "{}", String::from_utf8_lossy(text));
    }
    let long = vec![b'A'; 1000];
    assert_eq!(words::of(&long), [vec![b'a'; 1000]]);
}

/// Part of the block format: a change needs a new version.
#[test]
fn hashes_and_probes_are_fixed() {
    assert_eq!(word_token(b"connection"), 6_806_365_859_123_304_234);
    assert_eq!(pair_token(b"user_ID", b"Bob"), pair_token(b"userid", b"bob"));
    assert_eq!(pair_token(b"order.id", "ÄB".as_bytes()), pair_token(b"orderid", "äb".as_bytes()));
    assert_ne!(pair_token(b"a", b"b"), pair_token(b"b", b"a"));
    assert_eq!(pair_token(b"service", b"checkout"), 5_873_572_412_656_110_119);
    assert_eq!(probes("connection"), probes_of(word_token(b"connection")));
    assert_eq!(probes("connection"), [2_102_663_974, 817_603_871, 2_887_560_406, 4_028_312_799, 486_859_415]);
    assert!(probes("x").iter().all(|probe| (0..1 << 32).contains(probe)));
}

#[test]
fn one_in_some_hundred_is_falsely_there() {
    for count in [50u64, 500, 8_000] {
        let bloom = build(&(0..count).map(|n| word_token(format!("in{n}").as_bytes())).collect::<Vec<_>>());
        assert_eq!(bloom.len() as u64, count * 2 + 1);
        let asked = 200_000u64;
        let wrong = (0..asked).filter(|n| may_contain(&bloom, &probes(&format!("out{n}")))).count() as f64;
        // 16 bits and 5 probes: 0.14% with ideal hashes.
        assert!(wrong / (asked as f64) < 0.0025, "{count} tokens: {} of {asked}", wrong);
    }
}

#[test]
fn too_many_tokens_only_make_it_say_perhaps() {
    let tokens: Vec<u64> = (0..200_000u64).map(|n| word_token(&n.to_le_bytes())).collect();
    let mut builder = BloomBuilder::new();
    for (place, &token) in tokens.iter().enumerate() {
        let told = builder.insert(token);
        assert!(told.is_none() || told == Some(place), "{told:?} of {place}");
        assert_eq!(told.is_some(), place <= crate::limits::BLOOM_TOKENS_MAX, "{place}");
    }
    let bloom = builder.finish();
    assert_eq!(bloom.len(), 2 * crate::limits::BLOOM_TOKENS_MAX + 1);
    assert!(tokens.iter().all(|&token| may_contain(&bloom, &probes_of(token))));
    builder.insert(7);
    assert_eq!(builder.finish(), build(&[7]), "the next block knows nothing of it");
    assert!(!may_contain(&[], &probes_of(7)));
}

#[test]
fn tokens_of_a_record() {
    let origin = Origin {
        service: "Checkout".into(),
        pod: "p-1".into(),
        namespace: "shop".into(),
        ..Origin::default()
    };
    let mut tokens = HashSet::new();
    let body = br#"{"msg":"Payment failed","taskId":42,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}"#;
    for_each_token(body, &origin, Flags::AUDIT, &mut |token| {
        tokens.insert(token.hash);
    });
    let words = ["payment", "failed", "42", "4bf92f3577b34da6a3ce929d0e0e4736"];
    let pairs = [
        ("service", "checkout"),
        ("pod", "p-1"),
        ("namespace", "shop"),
        ("category", "audit"),
        ("msg", "payment failed"),
        ("taskid", "42"),
    ];
    assert_eq!(TokenVersion::of_bloom(&build(&[])), TokenVersion::Current);
    let words = words.iter().map(|word| word_token(word.as_bytes()));
    let pairs = pairs.iter().map(|(key, value)| pair_token(key.as_bytes(), value.as_bytes()));
    assert_eq!(tokens, words.chain(pairs).collect());
}

/// NFC puts several marks of one letter into an order; where there is no letter, which of them is a word depends on the order.
fn has_marks_of_no_letter(text: &str) -> bool {
    let mut is_after_letter = false;
    for c in text.chars() {
        if canonical_combining_class(c) == 0 {
            is_after_letter = c.is_alphanumeric();
        } else if !is_after_letter {
            return true;
        }
    }
    false
}

proptest! {
    #[test]
    fn a_filter_has_all_its_tokens(tokens in prop::collection::vec(any::<u64>(), 0..3000)) {
        let bloom = build(&tokens);
        for &token in &tokens {
            prop_assert!(may_contain(&bloom, &probes_of(token)));
        }
    }

    /// Lower-casing first changes nothing, and words are the words of themselves.
    #[test]
    fn words_are_stable(text in "[^\\p{C}\\\\]{0,40}") {
        prop_assume!(!has_marks_of_no_letter(&text));
        let found = words::of(text.as_bytes());
        prop_assert_eq!(&words::of(words::lower(text.as_bytes()).as_bytes()), &found);
        let mut whole = Vec::new();
        words::for_each(text.as_bytes(), &mut |kind, word| {
            whole.extend((kind == words::Kind::Word).then(|| word.to_vec()));
        });
        for word in whole {
            prop_assert_eq!(words::of(&word), vec![word]);
        }
    }

    #[test]
    fn any_bytes_have_values(body in prop::collection::vec(any::<u8>(), 0..200)) {
        visited(&String::from_utf8_lossy(&body));
        values::visit(&body, &mut Collected::default());
    }
}

#[test]
fn neighbours_in_a_run_are_tokens() {
    let tokens = |text: &str| {
        let mut tokens = HashSet::new();
        for_each_token(text.as_bytes(), &Origin::default(), Flags::default(), &mut |token| {
            tokens.insert(token.hash);
        });
        tokens
    };
    let found = tokens("支付失败，x");
    let expected = ["支付", "付失", "失败", "x"].map(|word| word_token(word.as_bytes()));
    assert_eq!(found, HashSet::from(expected));
    assert_eq!(tokens("支 x"), HashSet::from([word_token(b"x")]));
}

#[test]
fn numbers_have_the_tokens_of_their_value() {
    let mut hashes = HashSet::new();
    for_each_token(br#"{"dur":1.50,"n":[503.0]}"#, &Origin::default(), Flags::default(), &mut |token| {
        hashes.insert(token.hash);
    });
    for (key, value) in [("dur", "1.50"), ("dur", "1.5"), ("n", "503"), ("n", "503.0")] {
        assert!(hashes.contains(&pair_token(key.as_bytes(), value.as_bytes())), "{key}={value}");
    }
}

/// Which every record with the pair has as a token, too.
#[test]
fn a_pair_names_the_longest_word_of_its_value() {
    let body =
        br#"{"path":"/v1/users/me","user":"U360","zone":"eu-west-9","dash":"-","t":"394684Z","n":1.50}"#;
    let (mut pairs, mut words) = (Vec::new(), HashSet::new());
    for_each_token(body, &Origin::default(), Flags::default(), &mut |token| match token.kind {
        TokenKind::Pair => pairs.push((token.hash, token.word)),
        _ => assert!(token.word.is_none() && words.insert(token.hash) || words.contains(&token.hash)),
    });
    let cases = [
        ("path", "/v1/users/me", Some("users")),
        ("user", "U360", Some("u360")),
        ("zone", "eu-west-9", Some("west")),
        ("dash", "-", None),
        ("t", "394684Z", None),
        ("n", "1.50", Some("50")),
        ("n", "1.5", Some("5")),
    ];
    for (key, value, word) in cases {
        let word = word.map(|word| word_token(word.as_bytes()));
        assert!(pairs.contains(&(pair_token(key.as_bytes(), value.as_bytes()), word)), "{key}={value}");
        assert!(word.is_none_or(|word| words.contains(&word)), "{key}={value}");
    }
    assert_eq!(pairs.len(), cases.len());
    assert_eq!(Token::word(b"394684z").kind, TokenKind::TimeFraction);
    for word in ["39z", "1234567890z", "394684", "39468az", "z"] {
        assert_ne!(Token::word(word.as_bytes()).kind, TokenKind::TimeFraction, "{word}");
    }
}

/// Takes tokens one by one and in groups; a group has always the same.
#[derive(Default)]
struct Taken {
    tokens: Vec<Token>,
    groups: HashMap<usize, Vec<Token>>,
}

impl TakeTokens for Taken {
    fn token(&mut self, token: Token) {
        self.tokens.push(token);
    }

    fn group(&mut self, group: usize, tokens: &[Token]) {
        let known = self.groups.entry(group).or_insert_with(|| tokens.to_vec());
        assert_eq!(known, tokens, "group {group}");
        self.tokens.extend_from_slice(tokens);
    }
}

fn any_body() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        3 => prop::sample::select(vec!["level", "a-b", "ab", "AB", "", "k\\n"]).prop_map(str::to_owned),
        1 => "[a-z]{1,70}",
    ];
    let value = prop_oneof![
        prop_oneof![
            Just("\"info\""),
            Just("\"Order placed: 12\""),
            Just("1.0"),
            Just("1"),
            Just("10e-1"),
            Just("true")
        ]
        .prop_map(str::to_owned),
        prop_oneof![
            Just("[\"info\",[1]]"),
            Just("{\"ab\":\"info\"}"),
            Just("\"日本語 log\""),
            Just("\"\""),
            Just("\"a\\u0062\"")
        ]
        .prop_map(str::to_owned),
        (0..20u32).prop_map(|n| format!("\"user u{n} at 09:16:00.{n:03}z\"")),
        "[a-z ]{60,68}".prop_map(|text| format!("\"{text}\"")),
    ];
    let pairs = prop::collection::vec((key, value), 0..6);
    let object = pairs.prop_map(|pairs| {
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    });
    prop_oneof![4 => object.clone(), 1 => object.prop_map(|object| format!("INFO sent {object}")), 1 => "[ a-z{\":]{0,30}"]
}

proptest! {
    #[test]
    fn values_that_come_again_have_the_same_tokens(bodies in prop::collection::vec(any_body(), 1..60), audit in any::<bool>()) {
        let flags = if audit { Flags::AUDIT } else { Flags::default() };
        let (mut hasher, mut repeating) = (TokenHasher::new(), TokenHasher::new());
        let mut repeated = RepeatedValues::default();
        let mut taken = Taken::default();
        for (place, body) in bodies.iter().chain(&bodies).enumerate() {
            if place == bodies.len() / 2 {
                repeated.clear();
                taken.groups.clear();
            }
            let mut expected = Vec::new();
            hasher.record(body.as_bytes(), flags, &mut |token| expected.push(token));
            taken.tokens.clear();
            repeating.record_repeated(body.as_bytes(), flags, &mut repeated, &mut taken);
            prop_assert_eq!(&taken.tokens, &expected, "{}", body);
        }
    }
}

#[test]
fn what_came_twice_is_a_group() {
    let (mut hasher, mut repeated, mut taken) =
        (TokenHasher::new(), RepeatedValues::default(), Taken::default());
    let body = |n: u32| format!(r#"{{"level":"info","path":"/v1/orders","ms":{n}}}"#);
    let mut record = |n: u32, repeated: &mut RepeatedValues, taken: &mut Taken| {
        hasher.record_repeated(body(n).as_bytes(), Flags::default(), repeated, taken);
        taken.groups.len()
    };
    let groups: Vec<usize> = (0..4).map(|n| record(n, &mut repeated, &mut taken)).collect();
    assert_eq!(groups, [0, 2, 2, 2], "of level and path; no duration comes again");
    assert_eq!(taken.groups[&0], [Token::word(b"info"), taken.groups[&0][1]]);
    repeated.clear();
    taken.groups.clear();
    assert_eq!(record(9, &mut repeated, &mut taken), 0);
}
