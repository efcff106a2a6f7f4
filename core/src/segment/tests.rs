//! Laws of the index: nothing that is there is ever missed, and little is made up; whatever the bytes are, reading them ends.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::block::BlockError;
use crate::level::Level;
use crate::tokens::{TokenKind, mix};

const FINE: Resolution = Resolution { log: 4, rarest: 100_000, densest: 2, fullest: 1 };
const RESOLUTIONS: [Resolution; 3] = [Resolution::GRANULES, FINE, Resolution::CHOSEN];

fn word(n: u64) -> Token {
    Token { hash: mix(n + 1), kind: TokenKind::Word, word: None }
}

/// Of a key and the word that is its whole value.
fn pair(key: u64, n: u64) -> Token {
    Token { hash: mix((n + 1) << 24 | key), kind: TokenKind::Pair, word: Some(word(n).hash) }
}

/// Blocks of records of tokens.
type Blocks = Vec<Vec<Vec<Token>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Built {
    head: Head,
    pages: Vec<Vec<u8>>,
}

impl Built {
    fn of(blocks: &Blocks, builder: SegmentBuilder) -> Built {
        let mut builder = builder;
        for block in blocks {
            for record in block {
                record.iter().for_each(|&token| builder.add(token));
                builder.end_record();
            }
            builder.end_block();
        }
        let mut pages = Vec::new();
        let head = builder.finish(|number, page| {
            assert_eq!(number as usize, pages.len(), "pages come in their order");
            pages.push(page);
        });
        assert_eq!(pages.len(), head.pages() as usize);
        assert_eq!(Head::open(&head.to_bytes()), Ok(Some(head.clone())));
        Built { head, pages }
    }

    fn part(&self) -> Part<'_> {
        Part { head: &self.head, pages: &self.pages }
    }

    fn merged(parts: &[Built], resolution: Resolution) -> Built {
        let parts: Vec<Part<'_>> = parts.iter().map(Built::part).collect();
        let mut pages = Vec::new();
        let head = merge(&parts, resolution, |_, page| pages.push(page)).expect("they merge");
        Built { head, pages }
    }

    /// Block and record of those that may hold a token of each clause; `None`: any may.
    fn found(&self, clauses: &[Vec<Token>]) -> Option<Held> {
        let meeting = meet(&self.head, clauses, |page| self.pages.get(page as usize).map(Vec::as_slice));
        let meeting = meeting.expect("it opens");
        if meeting.is_anything() {
            return None;
        }
        let mut found = BTreeSet::new();
        for records in meeting {
            let records = records.expect("it is whole");
            assert!(records.from < records.to && records.to - records.from <= GRANULE_RECORDS);
            for record in records.from..records.to {
                assert!(found.insert((records.block, record)), "each record once");
            }
        }
        Some(found)
    }
}

/// Block and record.
type Held = BTreeSet<(u32, u32)>;

/// Each token, and the records that hold it.
fn holders(blocks: &Blocks) -> Vec<(Token, Held)> {
    let mut all: HashMap<(u64, bool), (Token, Held)> = HashMap::new();
    for (b, block) in blocks.iter().enumerate() {
        for (r, record) in block.iter().enumerate() {
            for &token in record {
                let key = (token.hash, token.kind == TokenKind::Pair);
                all.entry(key).or_insert_with(|| (token, BTreeSet::new())).1.insert((b as u32, r as u32));
            }
        }
    }
    all.into_values().collect()
}

/// All records of the cells that hold one of these.
fn widened(records: &Held, cell: u32) -> Held {
    records
        .iter()
        .flat_map(|&(block, record)| {
            (record / cell * cell..(record / cell + 1) * cell).map(move |r| (block, r))
        })
        .collect()
}

/// A record: what many have, what some have, what one has; pairs with the word of their value; some of another one's value.
fn any_record() -> impl Strategy<Value = Vec<Token>> {
    let plain = prop_oneof![0..3u64, 0..40u64, 0..3_000u64];
    let value = prop_oneof![0..6u64, 100..140u64, 5_000..9_000u64];
    (prop::collection::vec(plain, 0..5), prop::collection::vec((0..4u64, value), 0..4)).prop_map(
        |(plain, pairs)| {
            let mut record: Vec<Token> = plain.into_iter().map(word).collect();
            for (key, value) in pairs {
                record.extend([word(value), pair(key, value)]);
            }
            record
        },
    )
}

fn any_blocks() -> impl Strategy<Value = Blocks> {
    prop::collection::vec(prop::collection::vec(any_record(), 1..200), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The law: a token that is there is found wherever it is. And what is told beside is of the same cells, or of a pair's word.
    #[test]
    fn nothing_is_missed_and_little_made_up(blocks in any_blocks(), fine in 0..RESOLUTIONS.len()) {
        let built = Built::of(&blocks, SegmentBuilder::new(RESOLUTIONS[fine]));
        let all = holders(&blocks);
        let granules = |token: Token| {
            let there = all.iter().find(|(one, _)| one.hash == token.hash && one.kind == token.kind);
            there.map_or(0, |(_, there)| widened(there, GRANULE_RECORDS).len())
        };
        for (token, there) in &all {
            let token = *token;
            match built.found(&[vec![token]]) {
                Some(found) => {
                    prop_assert!(found.is_superset(there), "{:?}", token);
                    prop_assert!(found.is_subset(&widened(there, GRANULE_RECORDS)), "{:?}", token);
                }
                None => {
                    prop_assert_eq!(token.kind, TokenKind::Pair);
                    let of_word = granules(word_of(token));
                    prop_assert!(granules(token) * 8 >= of_word * 7, "a twin is as frequent as its word");
                }
            }
        }
        for absent in 0..50 {
            prop_assert_eq!(built.found(&[vec![word(1_000_000 + absent)]]), Some(BTreeSet::new()));
        }
    }

    /// An index covers that of the same blocks, however it came about, and not that of others.
    #[test]
    fn an_index_covers_what_comes_of_its_blocks(blocks in any_blocks(), at in any::<prop::sample::Index>(), fine in 0..RESOLUTIONS.len()) {
        let built = |blocks: &Blocks| Built::of(blocks, SegmentBuilder::new(RESOLUTIONS[fine]));
        let whole = built(&blocks);
        prop_assert_eq!(covers(&whole.part(), &whole.part()), Ok(true));
        let at = at.index(blocks.len());
        let halves: Vec<Built> =
            [&blocks[..at], &blocks[at..]].iter().filter(|half| !half.is_empty()).map(|half| built(&half.to_vec())).collect();
        let merged = Built::merged(&halves, RESOLUTIONS[fine]);
        prop_assert_eq!(covers(&merged.part(), &whole.part()), Ok(true));
        // A word more in one record.
        let mut more = blocks.clone();
        more[at][0].push(word(2_000_000));
        prop_assert_eq!(covers(&whole.part(), &built(&more).part()), Ok(false));
        prop_assert_eq!(covers(&merged.part(), &built(&more).part()), Ok(false));
    }

    /// Clauses together: never less than the records that satisfy them.
    #[test]
    fn where_tokens_meet_they_are_found(blocks in any_blocks(), seed in any::<u64>(), fine in 0..RESOLUTIONS.len()) {
        let built = Built::of(&blocks, SegmentBuilder::new(RESOLUTIONS[fine]));
        let tokens: Vec<Token> = holders(&blocks).into_iter().map(|(token, _)| token).collect();
        prop_assume!(!tokens.is_empty());
        for round in 0..30 {
            let pick = |n: u64| tokens[(mix(seed ^ (round << 8) ^ n) % tokens.len() as u64) as usize];
            let clauses: Vec<Vec<Token>> =
                (0..1 + round % 4).map(|c| (0..1 + (round + c) % 3).map(|n| pick(c * 7 + n)).collect()).collect();
            let all = (0..blocks.len() as u32).flat_map(|b| (0..blocks[b as usize].len() as u32).map(move |r| (b, r)));
            let matching: Held = all
                .filter(|&(b, r)| clauses.iter().all(|any| any.iter().any(|t| blocks[b as usize][r as usize].iter().any(|one| one.hash == t.hash))))
                .collect();
            let page = |page: u32| built.pages.get(page as usize).map(Vec::as_slice);
            let least = blocks_at_least(&built.head, &clauses, page).expect("it opens");
            let found = built.found(&clauses);
            let blocks_of = |found: &Held| found.iter().map(|(block, _)| *block).collect::<BTreeSet<u32>>().len();
            prop_assert!(found.as_ref().map_or(blocks.len(), blocks_of) >= least);
            if let Some(found) = found {
                prop_assert!(found.is_superset(&matching));
                let apart: Option<Vec<_>> = clauses.iter().map(|clause| built.found(std::slice::from_ref(clause))).collect();
                if let Some(apart) = apart {
                    let together = apart.into_iter().reduce(|a, b| a.intersection(&b).copied().collect());
                    prop_assert_eq!(Some(found), together);
                }
            }
        }
    }

    /// However little room there was for what was gathered, the bytes are the same.
    #[test]
    fn how_often_it_was_coded_changes_nothing(blocks in any_blocks(), room in prop_oneof![Just(0usize), 1..20_000usize], fine in 0..RESOLUTIONS.len()) {
        let at_once = Built::of(&blocks, SegmentBuilder::new(RESOLUTIONS[fine]));
        let in_parts = Built::of(&blocks, SegmentBuilder::new(RESOLUTIONS[fine]).with_gathered_max(room));
        prop_assert!(at_once == in_parts);
    }

    /// Merging tells of words what building at once tells, and of pairs no less than the truth.
    #[test]
    fn merged_is_as_built_at_once(blocks in any_blocks(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(blocks.len() + 1)).collect();
        cuts.extend([0, blocks.len()]);
        cuts.sort_unstable();
        for resolution in RESOLUTIONS {
            let build = |blocks: &[Vec<Vec<Token>>]| Built::of(&blocks.to_vec(), SegmentBuilder::new(resolution));
            let parts: Vec<Built> = cuts.windows(2).map(|pair| build(&blocks[pair[0]..pair[1]])).collect();
            let (merged, at_once) = (Built::merged(&parts, resolution), build(&blocks));
            prop_assert_eq!(&merged.head.firsts, &at_once.head.firsts);
            let again = Built::merged(std::slice::from_ref(&merged), resolution);
            for (token, there) in holders(&blocks) {
                let (found, expected) = (merged.found(&[vec![token]]), at_once.found(&[vec![token]]));
                prop_assert_eq!(&found, &again.found(&[vec![token]]));
                prop_assert!(found.as_ref().is_none_or(|found| found.is_superset(&there)), "{:?}", token);
                if token.kind != TokenKind::Pair && resolution == Resolution::GRANULES {
                    prop_assert_eq!(found, expected, "{:?}", token);
                }
            }
        }
    }

    /// Any bytes, with a right checksum or without: an answer or an error, at once, and no cell beyond the segment.
    #[test]
    fn hostile_bytes_are_read_to_an_end(
        page in prop::collection::vec(any::<u8>(), 0..300), head in prop::collection::vec(any::<u8>(), 0..40), granules in 1..5_000u32,
    ) {
        let sealed = |bytes: &[u8]| {
            let mut out = vec![VERSION, 0, 0, 0, 0];
            out.extend_from_slice(bytes);
            let sum = crate::block::checksum(bytes);
            out[1..5].copy_from_slice(&sum.to_le_bytes());
            out
        };
        let _ = Head::open(&head);
        if let Ok(Some(head)) = Head::open(&sealed(&head)) {
            prop_assert!(head.blocks() <= BLOCKS_MAX && head.granules() <= GRANULES_MAX);
        }
        let head = Head::new(32, 0, 1, &[granules]);
        for page in [page.clone(), sealed(&page)] {
            read_all(&head, &page);
        }
    }
}

fn word_of(pair: Token) -> Token {
    Token { hash: pair.word.expect("it has one"), kind: TokenKind::Word, word: None }
}

/// Everything that can be asked of a page.
fn read_all(head: &Head, bytes: &[u8]) {
    for token in [word(3), pair(1, 5)] {
        let Ok(meeting) = meet(head, &[vec![token]], |_| Some(bytes)) else { continue };
        for records in meeting {
            let Ok(records) = records else { break };
            assert!(records.block < head.blocks() as u32 && records.to <= head.granules() * GRANULE_RECORDS);
        }
    }
    let pages = vec![bytes.to_vec(); head.pages() as usize];
    let part = Part { head, pages: &pages };
    let _ = merge(&[part, part], Resolution::GRANULES, |_, _| {});
}

/// Blocks with every kind of list in them.
fn varied() -> Blocks {
    let record = |n: u64| {
        let mut tokens =
            vec![word(0), word(10 + n % 2), word(20 + n / 300), word(1_000 + n), pair(1, 20 + n / 300)];
        tokens.extend((n % 64 == 5).then(|| word(1)));
        tokens.extend(n.is_multiple_of(977).then(|| word(2)));
        tokens.extend((!n.is_multiple_of(128)).then(|| word(3)));
        tokens.extend([word(400 + n % 5), pair(2, 400 + n % 5)]);
        // The word is elsewhere, too: no twin.
        tokens.extend([word(600 + n % 700), pair(n % 3, 600 + n % 700)]);
        tokens
    };
    (0..12).map(|block| (0..1_000 - block).map(|n| record(block * 1_000 + n)).collect()).collect()
}

/// Each byte of a real page changed, with a right checksum: an answer or an error.
#[test]
fn mutated_pages_are_read_to_an_end() {
    let mut built = Built::of(&varied(), SegmentBuilder::new(FINE));
    let mut random = 1u64;
    for place in 0..built.pages.len() {
        for round in 0..60u32 {
            random = mix(random);
            let mut page = built.pages[place].clone();
            for change in 0..1 + random % 3 {
                random = mix(random + change);
                let at = 5 + (random >> 20) as usize % (page.len() - 5);
                page[at] ^= 1 << (random % 8);
            }
            if random.is_multiple_of(5) {
                page.truncate(5 + (random >> 30) as usize % (page.len() - 5));
            }
            let sum = crate::block::checksum(&page[5..]);
            page[1..5].copy_from_slice(&sum.to_le_bytes());
            let whole = std::mem::replace(&mut built.pages[place], page);
            for n in [0, 1, 2, 3, 10, 20, 1_000, 1_500, 777_777] {
                for token in [word(n), pair(1, n)] {
                    let meeting = meet(&built.head, &[vec![token]], |page| {
                        built.pages.get(page as usize).map(Vec::as_slice)
                    });
                    if let Ok(meeting) = meeting {
                        for records in meeting.map_while(Result::ok) {
                            assert!(records.block < 12 && records.to <= 1_024);
                        }
                    }
                }
            }
            if round.is_multiple_of(6) {
                let _ = merge(&[built.part(), built.part()], FINE, |_, _| {});
            }
            built.pages[place] = whole;
        }
    }
}

#[test]
fn damage_is_an_error_and_a_newer_version_says_nothing() {
    let mut built = Built::of(&varied(), SegmentBuilder::new(FINE));
    let token = word(0);
    let place = built.head.page_of(token.hash) as usize;
    let ask = |built: &Built| {
        meet(&built.head, &[vec![token]], |page| built.pages.get(page as usize).map(Vec::as_slice))
            .map(|m| m.is_anything())
    };
    assert_eq!(ask(&built), Ok(false));
    *built.pages[place].last_mut().expect("a byte") ^= 1;
    assert!(matches!(ask(&built), Err(BlockError::Checksum { .. })));
    built.pages[place][0] = VERSION + 1;
    assert_eq!(ask(&built), Ok(true));
    built.pages[place].clear();
    assert!(ask(&built).is_err());
    // A page that is not there says nothing.
    built.pages.truncate(place);
    assert_eq!(ask(&built), Ok(true));
    let mut head = built.head.to_bytes();
    head[6] ^= 1;
    assert!(Head::open(&head).is_err());
    head[0] = VERSION + 1;
    assert_eq!(Head::open(&head), Ok(None));
}

/// The bytes of the format, which never change.
#[test]
fn the_format_is_as_it_was() {
    let level = crate::block::postings::level_token(Level::Warn);
    let golden = |blocks: &Blocks, resolution| {
        let built = Built::of(blocks, SegmentBuilder::new(resolution));
        let all = built.pages.concat();
        (built, xxhash_rust::xxh3::xxh3_64(&all))
    };
    let few = vec![
        vec![
            vec![Token::word(b"timeout"), level],
            vec![Token::word(b"timeout"), Token::word(b"u360"), Token::pair(b"user", b"u360")],
        ],
        vec![vec![Token::word(b"timeout"), tenant_token("shop-eu")]; 70],
    ];
    let (built, _) = golden(&few, Resolution::GRANULES);
    assert_eq!(hex(&built.head.to_bytes()), "011c36862f1c000002010102");
    let page = "017b1b089204190e02000e5b5ff1958cc22bf8d011725f00b90001270601005d9659231a0100";
    assert_eq!(hex(&built.pages.concat()), page);
    assert_eq!((built.head.hash_bits, built.head.page_bits), (28, 0));
    let (built, all) = golden(&varied(), FINE);
    assert_eq!((built.head.page_bits, all), (4, 0xa16f_6f0d_c8ef_1570));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What records have together is where it would be if each of them had it alone.
#[test]
fn groups_are_as_their_tokens_alone() {
    let names = |group: u64| -> Vec<Token> {
        let name = |n: u64| Token { kind: TokenKind::Name, ..word(group / 2 + n) };
        let fraction = Token::word(b"394684z");
        (0..3).map(name).chain([pair(group % 2, 900 + group), word(900 + group), fraction]).collect()
    };
    let group_of = |block: u64, n: u64| (n / (20 + block)) % 5;
    let build = |grouped: bool| {
        let mut builder = SegmentBuilder::new(Resolution::CHOSEN);
        for block in 0..6 {
            for n in 0..300 {
                let group = group_of(block, n);
                builder.add(word(n % 3));
                match grouped {
                    true => builder.add_group(group as usize, &names(group)),
                    false => names(group).into_iter().for_each(|name| builder.add(name)),
                }
                builder.end_record();
            }
            builder.end_block();
        }
        let mut pages = Vec::new();
        let head = builder.finish(|_, page| pages.push(page));
        Built { head, pages }
    };
    assert!(build(true) == build(false));
}

/// Each block has both of two common words, no record has both, nor has any cell of more than one record.
#[test]
fn common_words_that_never_meet_open_no_block() {
    let record = |n: u64| vec![word(n % 7), word(100), word(200 + n % 2)];
    let blocks: Blocks = (0..20).map(|b| (0..500).map(|n| record(b * 500 + n)).collect()).collect();
    let built = Built::of(&blocks, SegmentBuilder::new(Resolution::CHOSEN));
    for (one, other) in [(0, 1), (2, 5), (200, 201)] {
        assert_eq!(
            built.found(&[vec![word(one)], vec![word(other)]]),
            Some(BTreeSet::new()),
            "{one} {other}"
        );
    }
    let together = built.found(&[vec![word(3)], vec![word(200)]]).expect("it tells");
    assert_eq!(together.len(), (0..10_000).filter(|n| n % 7 == 3 && n % 2 == 0).count());
    // What all records have says nothing for its room.
    let coarse = Built::of(&blocks, SegmentBuilder::new(Resolution::GRANULES));
    let bytes = |built: &Built| built.pages.iter().map(Vec::len).sum::<usize>();
    assert!(bytes(&built) < bytes(&coarse) + 9 * 10_000 / 8, "{} {}", bytes(&built), bytes(&coarse));
}

/// How many blocks have them is told without the lists, where the words are so common that it is certain.
#[test]
fn common_words_are_known_without_their_lists() {
    let record = |n: u64| {
        let third = if !n.is_multiple_of(3) { vec![word(1)] } else { Vec::new() };
        [third, vec![word(n % 2 + 2), word(100 + n / 5_000)]].concat()
    };
    let blocks: Blocks = (0..20).map(|b| (0..500).map(|n| record(b * 500 + n)).collect()).collect();
    let built = Built::of(&blocks, SegmentBuilder::new(Resolution::CHOSEN));
    let tokens = |page: u32| (page < built.head.token_pages()).then(|| built.pages[page as usize].as_slice());
    let least = |clauses: &[Vec<Token>]| blocks_at_least(&built.head, clauses, tokens).expect("it opens");
    assert_eq!(least(&[vec![word(1)]]), 20, "each granule has it");
    assert_eq!(least(&[vec![word(2)]]), 10, "every second record");
    assert_eq!(least(&[vec![word(2)], vec![word(3)]]), 0, "they may never meet");
    assert_eq!(least(&[vec![word(2)], vec![word(1)]]), 10);
    assert_eq!(least(&[vec![word(100)]]), 10, "half of the blocks");
    assert_eq!(least(&[vec![word(100), word(1)]]), 20);
    assert_eq!(least(&[vec![word(77)], vec![word(1)]]), 0);
    assert_eq!(least(&[]), 20);
}

#[test]
fn the_rest_of_a_block_is_passed_over() {
    let blocks = varied();
    let built = Built::of(&blocks, SegmentBuilder::new(Resolution::CHOSEN));
    let page = |no: u32| built.pages.get(no as usize).map(Vec::as_slice);
    for clauses in [vec![vec![word(0)]], vec![vec![word(1)], vec![word(10), word(2)]], vec![vec![word(2)]]] {
        let mut meeting = meet(&built.head, &clauses, page).expect("it opens");
        let mut first = Vec::new();
        while let Some(records) = meeting.next() {
            let records = records.expect("it is whole");
            first.push((records.block, records.from));
            meeting.pass(records.block);
        }
        let mut expected: Vec<(u32, u32)> = built.found(&clauses).expect("it tells").into_iter().collect();
        expected.dedup_by_key(|(block, _)| *block);
        assert_eq!(first, expected);
    }
}

#[test]
fn what_is_left_out_may_be_anywhere() {
    let fraction = Token::word(b"394684z");
    assert_eq!(fraction.kind, TokenKind::TimeFraction);
    let origin = Token::origin("namespace", "shop");
    let body = Token { word: Some(word(7).hash), ..Token::pair(b"namespace", b"shop") };
    assert_eq!(origin.hash, body.hash);
    let blocks = vec![vec![vec![fraction, origin, word(1)], vec![body, word(7)], vec![pair(3, 9), word(9)]]];
    let built = Built::of(&blocks, SegmentBuilder::new(Resolution::GRANULES));
    assert_eq!(built.found(&[vec![fraction]]), None);
    // A twin of its word; but not the name of an origin, though a body has the same as a pair.
    assert_eq!(built.found(&[vec![pair(3, 9)]]), None);
    assert_eq!(built.found(&[vec![body]]), None);
    assert_eq!(built.found(&[vec![origin]]).map(|found| found.len()), Some(64));
    assert_eq!(built.found(&[vec![Token::origin("namespace", "other")]]), Some(BTreeSet::new()));
    // Beside one that is told they take nothing away, in place of one they take it all.
    assert_eq!(built.found(&[vec![pair(3, 9)], vec![word(9)]]).map(|found| found.len()), Some(64));
    assert_eq!(built.found(&[vec![pair(3, 9), word(8)]]), None);
}

#[test]
fn a_segment_without_anything_is_one() {
    let built = Built::of(&Vec::new(), SegmentBuilder::new(Resolution::GRANULES));
    assert_eq!((built.head.blocks(), built.head.granules(), built.pages.len()), (0, 0, 1));
    assert_eq!(built.found(&[vec![word(1)]]), Some(BTreeSet::new()));
    let merged = Built::merged(&[built.clone(), built.clone()], Resolution::GRANULES);
    assert_eq!(merged.head.blocks(), 0);
}

#[test]
fn ids_come_back_and_damage_is_told() {
    let round = |n: u64| 0x7fff << 48 | n << 20;
    for ids in [vec![], vec![0], vec![round(7)], vec![round(7) + 3, round(7) + 4, round(9), u64::MAX]] {
        let bytes = write_ids(&ids);
        assert_eq!(read_ids(&bytes), Ok(Some(ids.clone())));
        for at in 1..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read_ids(&damaged).is_err(), "{ids:?} at {at}");
            assert!(read_ids(&bytes[..at]).is_err(), "{ids:?} cut at {at}");
        }
        assert_eq!(read_ids(&[&[super::VERSION + 1], &bytes[1..]].concat()), Ok(None));
    }
    assert!(read_ids(&[]).is_err());
}

/// The words of one message come together: their list is there once, and a search is told where.
#[test]
fn words_that_come_together_have_one_list() {
    let texts = 12;
    let record = |n: u64, words: u64| (0..words).map(|w| word(mix(n) % texts * 100 + w)).collect::<Vec<_>>();
    let blocks = |words: u64| -> Blocks {
        (0..20).map(|b| (0..1_000).map(|n| record(b * 1_000 + n, words)).collect()).collect()
    };
    let built = |words: u64| Built::of(&blocks(words), SegmentBuilder::new(Resolution::CHOSEN));
    let bytes = |built: &Built| built.pages.iter().map(Vec::len).sum::<usize>();
    let (one, five) = (built(1), built(5));
    assert!(bytes(&five) < bytes(&one) + 4 * texts as usize * 16, "{} {}", bytes(&five), bytes(&one));
    assert_eq!(one.head.lists, five.head.lists);

    let page = |no: u32| five.pages.get(no as usize).map(Vec::as_slice);
    let of_tokens = |no: u32| page(no).filter(|_| no < five.head.token_pages());
    let clauses = [vec![word(3)], vec![word(104)]];
    let lists = lists_of(&five.head, &clauses, of_tokens).expect("it opens");
    assert!(
        (1..=2).contains(&lists.len()) && lists.iter().all(|&no| no >= five.head.token_pages()),
        "{lists:?}"
    );
    assert_eq!(five.found(&clauses), Some(BTreeSet::new()));
    assert_eq!(five.found(&clauses[..1]), one.found(&[vec![word(0)]]));
    // Without its list a word may be anywhere.
    assert!(meet(&five.head, &clauses, of_tokens).expect("it opens").is_anything());
    // What is nowhere needs none.
    let absent = [vec![word(3)], vec![word(7_777)]];
    assert_eq!(lists_of(&five.head, &absent, of_tokens), Ok(Vec::new()));
    let merged = Built::merged(&[five.clone(), five.clone()], Resolution::CHOSEN);
    let twice: Blocks = [blocks(5), blocks(5)].concat();
    assert!(merged == Built::of(&twice, SegmentBuilder::new(Resolution::CHOSEN)));
}
