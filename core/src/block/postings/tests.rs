use proptest::prelude::*;

use super::bits::{RecordSet, put_rice, rice, rice_bits};
use super::*;
use crate::bits::{BitReader, BitWriter};
use crate::block::{BlockBuilder, PREFIX_BYTES};
use crate::identity::RecordId;
use crate::origin::Origin;
use crate::record::{Flags, Record};
use crate::tokens::{BloomBuilder, Token, TokenKind, TokenVersion};

fn token(n: u64, kind: TokenKind) -> Token {
    Token { hash: crate::tokens::mix(n + 1), kind, word: None }
}

/// Postings of records with these tokens and levels.
fn build(records: &[Vec<Token>], levels: &[Level]) -> Vec<u8> {
    let (mut bloom, mut postings) = (BloomBuilder::new(), PostingsBuilder::default());
    for (place, (tokens, &level)) in records.iter().zip(levels).enumerate() {
        for token in tokens {
            postings.add(bloom.insert(token.hash), token.kind, place);
        }
        postings.add_level(level, place);
    }
    postings.finish(bloom.distinct(), records.len())
}

fn open(bytes: &[u8]) -> Postings<'_> {
    Postings::open(bytes).expect("what was just built opens").expect("there are postings")
}

fn records_of(postings: &Postings<'_>, token: Token) -> Option<Vec<u32>> {
    let mut found = RecordSet::default();
    postings.records_of(&token, &mut found).then(|| found.iter().collect())
}

fn any_kind() -> impl Strategy<Value = TokenKind> {
    prop::sample::select(vec![TokenKind::Word, TokenKind::Name, TokenKind::Pair, TokenKind::Identifier])
}

/// Records of tokens, some common, most not.
fn any_records() -> impl Strategy<Value = Vec<Vec<Token>>> {
    let any_token = (prop_oneof![0..6u64, 0..60u64, 0..5_000u64], any_kind());
    let any_token = any_token.prop_map(|(n, kind)| token(n * 4 + kind as u64, kind));
    prop::collection::vec(prop::collection::vec(any_token, 0..12), RECORDS_MIN..300)
}

fn levels_of(records: &[Vec<Token>]) -> Vec<Level> {
    (0..records.len()).map(|n| Level::ALL[n * n % 7 % Level::ALL.len()]).collect()
}

proptest! {
    #[test]
    fn bits_come_back(values in prop::collection::vec((any::<u32>(), 0..33u32, 0..200u32), 0..50), fill in any::<bool>()) {
        let values: Vec<_> = values.into_iter().map(|(v, n, ones)| ((u64::from(v) & ((1 << n) - 1)) as u32, n, ones)).collect();
        let mut bytes = Vec::new();
        let mut writer = BitWriter::new(&mut bytes);
        for &(value, count, ones) in &values {
            writer.put(value, count);
            writer.unary(ones);
        }
        writer.finish(fill);
        let bits: u32 = values.iter().map(|&(_, count, ones)| count + ones + 1).sum();
        prop_assert_eq!(bytes.len(), bits.div_ceil(8) as usize);
        let mut reader = BitReader::new(&bytes, 0);
        for &(value, count, ones) in &values {
            prop_assert_eq!(reader.take(count), Some(value));
            prop_assert_eq!(reader.unary(), Some(ones));
        }
        if fill {
            prop_assert_eq!(reader.unary(), None);
        }
    }

    #[test]
    fn gaps_come_back(numbers in prop::collection::btree_set(prop_oneof![0..64u32, 0..70_000u32], 0..300)) {
        let (low, bits) = rice_bits(numbers.iter().copied(), numbers.len());
        let mut bytes = Vec::new();
        put_rice(&mut bytes, numbers.iter().copied(), low);
        prop_assert_eq!(bytes.len(), bits.div_ceil(8) as usize);
        prop_assert_eq!(rice(&bytes, low, 70_000).collect::<Vec<_>>(), numbers.into_iter().collect::<Vec<_>>());
    }

    /// The law: a record that holds a token is among those that the postings tell, if they tell any.
    #[test]
    fn no_record_is_hidden(records in any_records()) {
        let levels = levels_of(&records);
        let bytes = build(&records, &levels);
        let postings = open(&bytes);
        for (place, tokens) in records.iter().enumerate() {
            for &one in tokens.iter().chain(&[level_token(levels[place])]) {
                let told = records_of(&postings, one);
                prop_assert!(told.as_ref().is_none_or(|told| told.contains(&(place as u32))), "{:?} {:?}", one, told);
            }
            let clauses: Vec<Vec<Token>> = tokens.iter().map(|&one| vec![token(77_777, TokenKind::Word), one]).collect();
            prop_assert!(postings.may_meet(&clauses));
        }
    }

    /// They tell little more than the truth: names exactly, but for those that share a key.
    #[test]
    fn little_is_made_up(records in any_records()) {
        let bytes = build(&records, &levels_of(&records));
        let postings = open(&bytes);
        let holding = |one: Token| -> Vec<u32> {
            (0..records.len() as u32).filter(|&r| records[r as usize].contains(&one)).collect()
        };
        let mut told_more = 0;
        let all: std::collections::HashSet<Token> = records.iter().flatten().copied().collect();
        for &one in &all {
            let truth = holding(one);
            match records_of(&postings, one) {
                Some(told) if told == truth => {}
                Some(_) => told_more += 1,
                None if one.kind == TokenKind::Pair => {}
                None => {
                    prop_assert!(one.kind == TokenKind::Identifier && truth.len() <= FEW_RECORDS_MAX);
                }
            }
        }
        prop_assert!(told_more <= all.len() * 3 / 4 + 8, "{} of {}", told_more, all.len());
        let common = |kind| (0..6).map(move |n| token(n * 4 + kind as u64, kind));
        let wrong = common(TokenKind::Name).filter(|&name| records_of(&postings, name) != Some(holding(name))).count();
        prop_assert!(wrong <= 1, "names are told as they are");
    }

    /// Damage is an error or some records, never a panic, nor memory without bound.
    #[test]
    fn forged_postings_are_no_panic(
        records in any_records(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = build(&records, &levels_of(&records));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if bytes.len() >= PREFIX_BYTES {
            bytes[0] = VERSION;
            let sum = crate::block::checksum(&bytes[PREFIX_BYTES..]);
            bytes[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok(Some(postings)) = Postings::open(&bytes) {
            for &one in records.iter().flatten() {
                postings.may_meet(&[vec![one], vec![level_token(Level::Info)]]);
            }
        }
    }
}

#[test]
fn damage_is_told() {
    let records = vec![vec![token(1, TokenKind::Word)]; 20];
    let bytes = build(&records, &[Level::Info; 20]);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= if at == 0 { VERSION } else { 1 };
        assert!(Postings::open(&damaged).is_err(), "byte {at}");
    }
    for len in 1..bytes.len() {
        assert!(Postings::open(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(Postings::open(&[]).expect("none is no error").is_none());
    let newer = [&[VERSION + 1], &bytes[1..]].concat();
    assert!(Postings::open(&newer).expect("a newer version is none").is_none());
}

#[test]
fn small_blocks_and_endless_tokens_have_none() {
    let records = vec![vec![token(1, TokenKind::Word)]; RECORDS_MIN - 1];
    assert!(build(&records, &vec![Level::Info; records.len()]).is_empty());
    let mut records = vec![vec![token(1, TokenKind::Word)]; 20];
    records[3] = (0..70_000).map(|n| token(n, TokenKind::Word)).collect();
    assert!(build(&records, &[Level::Info; 20]).is_empty());
}

/// What a search for two words asks of a block that has both.
#[test]
fn words_that_never_meet() {
    let origins =
        ["checkout", "billing"].map(|service| Origin { service: service.into(), ..Origin::default() });
    let mut builder = BlockBuilder::with_postings();
    for n in 0..600u32 {
        let text = ["connection reset", "timeout after retry", "order placed", "signed in"][n as usize % 4];
        let rare = if n == 300 { "quetzalcoatl" } else { "" };
        let body =
            format!(r#"{{"msg":"{text} {rare}","status":{},"user":"u{}"}}"#, 200 + n % 3, n * 7919 % 1000);
        let level = if n % 4 == 1 { Level::Error } else { Level::Info };
        let origin = &origins[usize::from(n >= 500)];
        let id = RecordId { topic_partition: 0, kafka_offset: 1, index: n };
        let record = Record {
            time_us: i64::from(n),
            original_time_us: None,
            level,
            flags: Flags::default(),
            origin: origin.id(),
            id,
            body: body.as_bytes(),
        };
        assert!(builder.push(&record, origin));
    }
    let block = builder.finish(3);
    let postings = open(&block.postings);
    let may = |expression: &str, levels: &[Level]| {
        let filter = crate::filter::parse(expression).expect(expression);
        let mut clauses = filter.plan().tokens.current;
        clauses
            .extend((!levels.is_empty()).then(|| levels.iter().map(|&level| level_token(level)).collect()));
        assert!(filter.plan().bloom_may_match(&block.bloom), "{expression}: the bloom filter cannot tell");
        postings.may_meet(&clauses)
    };
    assert!(may("connection reset", &[]));
    assert!(!may("connection timeout", &[]));
    assert!(may("connection OR timeout", &[]));
    assert!(!may("(connection OR order) timeout", &[]));
    assert!(may("order quetzalcoatl", &[]) != may("connection quetzalcoatl", &[]), "300 is a reset");
    assert!(!may("timeout quetzalcoatl", &[]));
    assert!(may("data.status=201 timeout", &[]));
    assert!(may("service=billing connection", &[]));
    assert!(!may("service=billing quetzalcoatl", &[]));
    assert!(may("timeout", &[Level::Error]));
    assert!(!may("timeout", &[Level::Info, Level::Warn]));
    assert!(!may("connection", &[Level::Error]));
    assert!(block.postings.len() < 2_000, "{} bytes", block.postings.len());
}

/// Part of the format: a change needs a new version.
#[test]
fn what_was_written_stays_readable() {
    let kinds = ["connection", "u12345", "4bf92f3577b34da6", "nullpointerexception", "a_very_long_name_2"];
    let kinds = kinds.map(|word| Token::word(word.as_bytes()).kind);
    let [word, identifier] = [TokenKind::Word, TokenKind::Identifier];
    assert_eq!(kinds, [word, word, identifier, word, identifier]);

    let records: Vec<Vec<Token>> = (0..40)
        .map(|n: u64| {
            let mut tokens = vec![Token::word(["reset", "timeout", "placed"][n as usize % 3].as_bytes())];
            tokens.extend((n % 17 == 4).then(|| Token::word(b"seldom")));
            tokens.extend((n < 35).then(|| Token::origin("service", "checkout")));
            tokens
        })
        .collect();
    let bytes = build(&records, &[Level::Info; 40]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // The checksum is of what follows it.
    assert_eq!(hex, WRITTEN.replacen("01", "02", 1));
    assert_eq!(open(&bytes).token_version(), TokenVersion::Current);
    let bytes: Vec<u8> = (0..WRITTEN.len() / 2)
        .map(|at| u8::from_str_radix(&WRITTEN[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect();
    let postings = open(&bytes);
    assert_eq!(postings.token_version(), TokenVersion::First);
    assert_eq!(records_of(&postings, Token::word(b"seldom")), Some(vec![4, 21, 38]));
    assert_eq!(records_of(&postings, Token::origin("service", "checkout")), Some((0..35).collect()));
    assert_eq!(records_of(&postings, level_token(Level::Info)), Some((0..40).collect()));
    assert_eq!(records_of(&postings, level_token(Level::Warn)), Some(vec![]));
    assert_eq!(records_of(&postings, Token::pair(b"status", b"201")), None);
}

const WRITTEN: &str = "014e6ee97728050186c92b8203ff068001c1e5790005dbb66ddbb6019bef7900056ddbb66ddb0182deaf0005b66ddbb66d0140c4ed800002031c446502";
