use proptest::prelude::*;

use crate::block::{Block, BlockBuilder, Format, PREFIX_BYTES, Sought, checksum};
use crate::identity::RecordId;
use crate::level::Level;
use crate::limits::RECORD_BYTES_MAX;
use crate::origin::Origin;
use crate::record::{Flags, Record};

/// What a program of this version wrote: whatever changes, it stays readable.
const GOLDEN: &[u8] = include_bytes!("golden.payload");

fn encode(bodies: &[Vec<u8>], format: Format, level: i32) -> Vec<u8> {
    encode_in(&mut BlockBuilder::new().of_format(format), bodies, level)
}

fn encode_in(builder: &mut BlockBuilder, bodies: &[Vec<u8>], level: i32) -> Vec<u8> {
    let origin = Origin { service: "checkout".to_owned(), ..Origin::default() };
    for (n, body) in bodies.iter().enumerate() {
        let record = Record {
            time_us: 1_795_000_000_000_000 + n as i64 * 1_300,
            original_time_us: (n % 7 == 3).then_some(5),
            level: Level::Info,
            flags: Flags::default(),
            origin: origin.id(),
            id: RecordId { topic_partition: 3, kafka_offset: 70, index: n as u32 },
            body,
        };
        assert!(builder.push(&record, &origin), "it has room");
    }
    builder.finish(level).payload
}

/// Each body by itself, then all at once.
fn assert_back(bodies: &[Vec<u8>]) -> usize {
    let payload = encode(bodies, Format::Two, 5);
    assert_holds(&payload, bodies);
    payload.len()
}

fn assert_holds(payload: &[u8], bodies: &[Vec<u8>]) {
    let block = Block::open(payload).expect("it opens");
    assert_eq!((block.format(), block.len()), (Format::Two, bodies.len()));
    for (n, body) in bodies.iter().enumerate().rev() {
        let record = block.record(n).expect("it is put together");
        assert_eq!(String::from_utf8_lossy(record.body), String::from_utf8_lossy(body), "record {n}");
        assert_eq!(record.body, body, "record {n}");
        assert_eq!(record.time_us, 1_795_000_000_000_000 + n as i64 * 1_300);
        assert_eq!(record.original_time_us, (n % 7 == 3).then_some(5));
    }
    let block = Block::open(payload).expect("it opens").into_owned();
    let (all, ends) = block.bodies().expect("they are put together");
    assert_eq!(all, bodies.concat());
    assert_eq!(ends.len(), bodies.len());
    for (n, body) in bodies.iter().enumerate() {
        assert_eq!(block.record(n).expect("it is there").body, body);
    }
}

fn back(lines: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> usize {
    assert_back(&lines.into_iter().map(Into::into).collect::<Vec<_>>())
}

fn scalar() -> impl Strategy<Value = String> {
    let word = "[a-z]{1,8}";
    let time = (0..9999u32, 1..14u8, 0..33u8, 0..25u8, 0..62u8, any::<u32>(), 0..10usize, 0..6usize);
    let time = time.prop_map(|(year, month, day, hour, second, fraction, digits, zone)| {
        let zone = ["Z", "", "+05:45", "-0330", "z", "+01"][zone];
        let fraction = format!("{fraction:09}0");
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &fraction[..digits]) };
        format!("\"{year:04}-{month:02}-{day:02}T{hour:02}:59:{second:02}{fraction}{zone}\"")
    });
    prop_oneof![
        4 => (0..50u32).prop_map(|n| n.to_string()),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        2 => any::<f64>().prop_map(|n| n.to_string()),
        2 => (-99_999..99_999i32).prop_map(|n| format!("{}", f64::from(n) / 100.0)),
        1 => prop::sample::select(vec![
            "1e400", "-0", "-0.0", "007", "0", "00", "1.", "true", "null", "18446744073709551616", "1E5", "\"\"", "[]", "{}",
        ]).prop_map(str::to_owned),
        2 => any::<u128>().prop_map(|n| format!("\"{n:032x}\"")),
        1 => any::<u64>().prop_map(|n| format!("\"{n:X}\"")),
        1 => any::<u32>().prop_map(|n| format!("\"7c0f0b2e-0000-4000-8000-{n:012x}\"")),
        2 => time,
        2 => (0..4000u32).prop_map(|n| format!("\"u{n}\"")),
        2 => (word, 0..300u32, word).prop_map(|(a, n, b)| format!("\"{a} took {n} ms at {b}-{n}\"")),
        1 => ".{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

/// Lines of one logger: the same keys, some of them twice, in a block.
fn json_line(keys: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(scalar(), keys.len()).prop_map(move |values| {
        let parts: Vec<String> =
            keys.iter().zip(values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{},\"in\":{{\"list\":[{}],{}}}}}", parts.join(","), parts.len(), parts.join(", "))
            .into_bytes()
    })
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop::sample::select(b"\0\x01\n\"\\{}[]:, 01a".to_vec()), 0..40),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        "[a-c]{1,3} [0-9]{1,3} (INFO|WARN) (x|yy)=[0-9]{1,22}".prop_map(String::into_bytes),
    ]
}

fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let keys = prop::collection::vec("[a-d]{1,2}", 1..6);
    let json = keys.prop_flat_map(|keys| prop::collection::vec(json_line(keys), 0..40));
    let torn = (
        json,
        prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()),
            0..4,
        ),
    );
    let torn = torn.prop_map(|(mut lines, tears)| {
        for (line, place, byte, is_cut) in tears {
            if lines.is_empty() {
                break;
            }
            let line = line.index(lines.len());
            let place = place.index(lines[line].len().max(1));
            if is_cut {
                lines[line].truncate(place);
            } else if let Some(at) = lines[line].get_mut(place) {
                *at = byte;
            }
        }
        lines
    });
    prop_oneof![2 => torn, 1 => prop::collection::vec(any_line(), 0..50)]
}

/// So many that columns pay: of one logger, some of them torn, and other lines among them.
fn many_bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let keys = prop::collection::vec("[a-d]{1,2}", 1..5);
    let json = keys.prop_flat_map(|keys| prop::collection::vec(json_line(keys), 60..90));
    let text = prop::collection::vec(
        (0..400u32, "[a-c]{1,2}", 0..99u8).prop_map(|(n, word, m)| {
            format!("{word}{n}x GET /v1/{word}/{m} 2026-11-{:02} u{n} {word}-{m}_{n}\u{1b}[0m", m % 28 + 1)
                .into_bytes()
        }),
        60..90,
    );
    let others = prop::collection::vec((any::<prop::sample::Index>(), any_line()), 0..8);
    (prop_oneof![json, text], others).prop_map(|(mut lines, others)| {
        for (place, other) in others {
            let place = place.index(lines.len());
            lines[place] = other;
        }
        lines
    })
}

proptest! {
    #[test]
    fn whatever_goes_in_comes_out(bodies in bodies()) {
        let two = assert_back(&bodies);
        let one = encode(&bodies, Format::One, 5).len();
        prop_assert!(two <= one + one / 16 + 48, "format 2 takes {two}, format 1 {one}");
    }

    /// What was best for other blocks is a hint: whatever comes then comes back.
    #[test]
    fn a_choice_for_others_does_no_harm(blocks in prop::collection::vec(prop_oneof![many_bodies(), bodies()], 2..4)) {
        let mut builder = BlockBuilder::new().of_format(Format::Two);
        for bodies in &blocks {
            assert_holds(&encode_in(&mut builder, bodies, 3), bodies);
        }
    }

    /// What columns say of letters is what the bodies say, and none is put together for it.
    #[test]
    fn columns_know_which_bodies_hold_letters(
        bodies in many_bodies(),
        parts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..12usize), 12),
        other in "[a-z0-9]{1,4}",
    ) {
        let payload = encode(&bodies, Format::Two, 3);
        let block = Block::open(&payload).expect("it opens");
        let mut all = vec![other.into_bytes()];
        for (body, at, len) in parts {
            let body = body.get(&bodies);
            let at = at.index(body.len().max(1));
            let letters = body[at.min(body.len())..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
            all.push(letters.take(len).map(u8::to_ascii_lowercase).collect());
        }
        for lower in all.into_iter().filter(|lower| !lower.is_empty()) {
            let find = |bytes: &[u8]| bytes.windows(lower.len()).position(|part| part.eq_ignore_ascii_case(&lower));
            let expected: Vec<bool> = bodies.iter().map(|body| find(body).is_some()).collect();
            let held = block.may_hold(Sought::Letters { lower: &lower, find: &find });
            prop_assert_eq!(held, Ok(Some(expected)), "{}", String::from_utf8_lossy(&lower));
        }
        for byte in *b"\x1b\\[{x" {
            let expected: Vec<bool> = bodies.iter().map(|body| body.contains(&byte)).collect();
            let held = block.may_hold(Sought::Begin { byte, may_begin: &|_| true }).expect("whole").expect("columns");
            let lost = held.iter().zip(&expected).any(|(held, is_there)| *is_there && !held);
            prop_assert!(!lost, "{byte}: {:?}, not {:?}", held, expected);
        }
        prop_assert_eq!(block.built(), 0);
    }

    /// Damage with a right checksum: an error or some bodies, never a panic, nor memory without bound.
    #[test]
    fn forged_columns_are_no_panic(
        bodies in bodies(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        compress in any::<bool>(),
    ) {
        let mut rest = encode(&bodies, Format::Two, if compress { 3 } else { -100_000 }).split_off(PREFIX_BYTES);
        for (place, byte) in edits {
            let place = place.index(rest.len());
            rest[place] = byte;
        }
        read_all(&forged(&rest));
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&forged(&bytes));
        // A block of nine records, whose bodies are these bytes, stored.
        let mut payload = encode(&std::array::from_fn::<_, 9, _>(|_| Vec::new()), Format::Two, 3).split_off(PREFIX_BYTES);
        let bodies_start = payload.len() - EMPTY_BODIES_BYTES;
        payload.truncate(bodies_start);
        payload.extend_from_slice(&[100, 0]);
        crate::block::columns::put_varint(&mut payload, bytes.len() as u64);
        crate::block::columns::put_varint(&mut payload, bytes.len() as u64);
        payload.extend_from_slice(&bytes);
        read_all(&forged(&payload));
    }
}

/// No bytes of bodies, a head of four bytes that is stored: no stream, two bytes of description, an empty constant.
const EMPTY_BODIES_BYTES: usize = 8;

fn forged(rest: &[u8]) -> Vec<u8> {
    [&[2], &checksum(rest).to_le_bytes()[..], rest].concat()
}

fn read_all(payload: &[u8]) {
    if let Ok(block) = Block::open(payload) {
        let find = |bytes: &[u8]| memchr::memmem::find(bytes, b"a1");
        let _ = block.may_hold(Sought::Letters { lower: b"a1", find: &find });
        let _ = block.may_hold(Sought::Begin { byte: b'[', may_begin: &|_| true });
        for record in 0..block.len() {
            let _ = block.record(record);
        }
        let _ = block.bodies();
    }
}

/// What the golden block holds.
fn golden_lines() -> Vec<Vec<u8>> {
    let mut lines: Vec<String> = (0..60u64)
        .map(|n| {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!(
                "{{\"ts\":\"2026-11-18T23:06:{:02}.{:03}Z\",\"level\":\"{}\",\"msg\":\"order {} placed by u{} in {} ms\",\"trace\":\"{id:016x}\",\
                 \"span\":\"7c0f0b2e-0000-4000-8000-{id:012}\",\"ratio\":{},\"http\":{{\"status\":{},\"path\":\"/v1/orders/{n}\"}},\"tags\":[\"a\",\"b{}\"]}}",
                n / 10 + 40, n * 13 % 1000, ["info", "warn"][usize::from(n.is_multiple_of(9))], n * 7, n * n, n % 17, n as f64 / 8.0,
                [200, 404][usize::from(n.is_multiple_of(5))], n % 3,
            )
        })
        .collect();
    lines[20] = lines[20].replace("\"ratio\":", "\"ratio\":1e400,\"x\":-");
    lines[21].truncate(100);
    lines.push("a plain line, 31 words".to_owned());
    let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    lines.push(b"\xff\0\x01\n\"\\".to_vec());
    lines.push(Vec::new());
    lines
}

#[test]
fn the_golden_block_is_read() {
    let block = Block::open(GOLDEN).expect("it opens");
    assert_eq!(block.format(), Format::Two);
    let lines = golden_lines();
    assert_eq!(block.len(), lines.len());
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(block.record(n).expect("it is put together").body, line, "record {n}");
    }
}

#[test]
fn every_truncation_and_bit_flip_is_found() {
    for len in 0..GOLDEN.len() {
        assert!(Block::open(&GOLDEN[..len]).is_err(), "cut at {len}");
    }
    assert!(Block::open(&[GOLDEN, &[0]].concat()).and_then(|block| block.bodies().map(|_| ())).is_err());
    for bit in 0..GOLDEN.len() * 8 {
        let mut flipped = GOLDEN.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The version is not in the checksum: 3 is read as 2 is.
        assert!(Block::open(&flipped).is_err() || flipped[0] == Format::Three.version(), "bit {bit}");
        // The same with a right checksum reads as something or as an error.
        if bit >= PREFIX_BYTES * 8 {
            read_all(&forged(&flipped[PREFIX_BYTES..]));
        }
    }
    for len in PREFIX_BYTES..GOLDEN.len() {
        let cut = forged(&GOLDEN[PREFIX_BYTES..len]);
        assert!(Block::open(&cut).and_then(|block| block.bodies().map(|_| ())).is_err(), "cut at {len}");
    }
}

#[test]
fn columns_without_bodies_need_no_bodies() {
    let mut payload = encode(&golden_lines(), Format::Two, 5);
    let last = payload.len() - 1;
    payload[last - 8..].fill(0xff);
    let payload = forged(&payload[PREFIX_BYTES..]);
    let block = Block::open(&payload).expect("its columns are whole");
    assert_eq!((block.levels()[3], block.id(9).index), (Level::Info, 9));
    assert_eq!(block.times_us().len(), 63);
}

#[test]
fn odd_lines_come_back() {
    back(["", "", ""]);
    back(Vec::<Vec<u8>>::new());
    back([vec![0u8; 100_000], vec![1u8; 5], vec![b'\n'; 3]]);
    back((0..40).map(|n| format!("{{\"a\":{n},\"a\":\"{n}\",\"\":-0,\"b\":[{n},[{n},{{\"a\":00{n}}}]]}}")));
    back((0..40).map(|n| "{\"a\":".repeat(n) + "1"));
    back((0..40).map(|n| format!("{}{}", "[".repeat(n), "]".repeat(n))));
    back(
        (0..400)
            .map(|n| format!("{{\"v\":[{}]}}", (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(","))),
    );
    back((0..40).map(|n| format!("2026-02-{n:02} 24:00:00 x {n}e400 \u{1b}[31mred{n}\u{1b}[0m")));
    back((0..40).map(|n| if n % 2 == 0 { format!("{{\"t\":{n}}}\r") } else { format!("{{\"t\" : {n} }}") }));
    let mut huge = vec![b'x'; RECORD_BYTES_MAX];
    huge[5] = b'\n';
    back([huge]);
}

/// One source's lines, block after block: the first pays for the trial, and the others are hardly larger for it.
#[test]
fn what_was_best_is_remembered() {
    let json = |n: u64| {
        let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{{\"ts\":\"2026-11-18T23:06:{:02}.{:03}Z\",\"msg\":\"order {n} placed by u{} in {}ms\",\"trace\":\"{id:016x}\",\"path\":\"/v1/{}\"}}",
            n % 60,
            n % 997,
            id >> 50,
            id >> 54,
            ["orders", "stock", "users"][(id >> 33) as usize % 3],
        )
    };
    let text = |n: u64| {
        let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let what = ["opened", "closed by peer", "timed out"][(id >> 40) as usize % 3];
        format!(
            "2026-11-18 23:06:{:02} INFO [worker-{}] connection {} {what} after {} ms",
            n % 60,
            id >> 61,
            id >> 48,
            id >> 53
        )
    };
    for line in [&json as &dyn Fn(u64) -> String, &text] {
        let mut builder = BlockBuilder::new().of_format(Format::Two);
        let (mut trials, mut with, mut without) = (Vec::new(), 0, 0);
        for block in 0..8 {
            let lines: Vec<Vec<u8>> =
                (block * 400..block * 400 + 400).map(|n| line(n).into_bytes()).collect();
            with += encode_in(&mut builder, &lines, 5).len();
            without += encode(&lines, Format::Two, 5).len();
            let choices = builder.take_choices();
            trials.push(choices.trials);
            builder = builder.with_choices(choices);
        }
        assert!(trials[0] > 5, "the first block tries its columns: {trials:?}");
        assert!(trials[7] < trials[0] * 2, "seven blocks try less than the first did: {trials:?}");
        assert!(with * 20 < without * 21, "{with} bytes with remembered choices, {without} without");
    }
}

#[test]
fn json_takes_a_good_deal_less() {
    let lines: Vec<Vec<u8>> = (0..400u64)
        .map(|n| {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((n * n) << 20);
            let user = id >> 48;
            format!("{{\"ts\":\"2026-11-18T23:06:{:02}.{:03}Z\",\"msg\":\"order {n} placed by u{user}\",\"trace\":\"{id:016x}\",\"ms\":{}}}", 40 + n / 100, n % 1000, user % 3000)
                .into_bytes()
        })
        .collect();
    let (one, two) = (encode(&lines, Format::One, 5).len(), encode(&lines, Format::Two, 5).len());
    assert!(two * 10 < one * 7, "format 2 takes {two}, format 1 {one}");
}

/// Words that come and go within a text that stays: messages of services, and lines whose fields repeat those of the line before.
#[test]
fn what_changes_within_a_text_is_parted_from_what_stays() {
    let word = |n: u64| {
        let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let syllable =
            |place: u64| ["ba", "du", "fi", "go", "ke", "lu", "mo", "ni"][(id >> place) as usize % 8];
        format!("{}{}{}{}", syllable(60), syllable(50), syllable(40), syllable(30))
    };
    let message = |n: u64| {
        let id = n.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let (word, number) = (word(n), id >> 51);
        match (id >> 32) % 7 {
            0 => format!("request queued for {word} at place {number}"),
            1 => format!("certificate of {word} checked"),
            2 => format!("index {word} merged, {number} segments"),
            3 => format!("stock of {word} reserved: {number}"),
            4 => format!("retrying {word}, attempt {number}"),
            5 => format!("cache miss for {word}, loading from store"),
            _ => format!("user signed in by {word}"),
        }
    };
    let status = |n: u64| {
        let package = format!("lib{}:amd64 {}.{}-{}", word(n / 4), n / 4 % 7, n / 4 % 31, n / 4 % 3);
        let what = ["unpacked", "half-configured", "triggers-pending", "installed"][n as usize % 4];
        format!("2026-11-18 23:{:02}:{:02} status {what} {package}", n / 600 % 60, n / 10 % 60)
    };
    for (line, most_eighths) in [(&message as &dyn Fn(u64) -> String, 6), (&status, 5)] {
        let lines: Vec<Vec<u8>> = (0..1_000).map(|n| line(n).into_bytes()).collect();
        let (one, two) = (encode(&lines, Format::One, 5).len(), back(lines.clone()));
        assert!(two * 8 < one * most_eighths, "format 2 takes {two}, format 1 {one}");
        let payload = encode(&lines, Format::Two, 5);
        let block = Block::open(&payload).expect("it opens");
        for sought in [word(37).as_str(), "status", "retrying", "nosuchword"].map(str::as_bytes) {
            let find = |bytes: &[u8]| memchr::memmem::find(bytes, sought);
            let expected: Vec<bool> = lines.iter().map(|line| find(line).is_some()).collect();
            let held = block.may_hold(Sought::Letters { lower: sought, find: &find });
            assert_eq!(held, Ok(Some(expected)), "{}", String::from_utf8_lossy(sought));
        }
    }
}
