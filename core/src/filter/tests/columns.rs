//! Blocks whose bodies are columns: a screen lets the same records through as where bodies lie one after the other, and puts no body
//! together that it does not let through.

use proptest::prelude::*;

use super::laws::{body, expression};
use super::*;
use crate::block::{Block, BlockBuilder, Format};

/// So many that columns pay.
const RECORDS: usize = 150;

fn encode(bodies: &[Vec<u8>], origin: &Origin) -> Vec<u8> {
    let mut builder = BlockBuilder::new().of_format(Format::Two);
    for (n, body) in bodies.iter().enumerate() {
        let id = RecordId { topic_partition: 0, kafka_offset: 1, index: n as u32 };
        assert!(builder.push(&Record { id, body, ..record(origin, Level::Info, "") }, origin), "it has room");
    }
    builder.finish(3).payload
}

/// A body among others of its kind, so that it is cut.
fn among(body: &[u8], n: usize) -> Vec<u8> {
    match n % 4 {
        0 => body.to_vec(),
        1 => {
            let text = serde_json::Value::from(String::from_utf8_lossy(body).into_owned());
            format!(r#"{{"n":{n},"user":"u{}","msg":{text},"in":{{"id":"{:016x}"}}}}"#, n * 7 % 50, n * 7919)
                .into_bytes()
        }
        2 => [format!("worker-{n} took {}ms for a{} ", n * 13 % 300, n % 9).as_bytes(), body].concat(),
        _ => format!("2026-11-21T06:30:{:02}.5Z b{} of 42 u{}x", n % 60, n % 5, n * 3).into_bytes(),
    }
}

/// Beside those that know the words of the bodies, some of the columns.
fn question() -> impl Strategy<Value = String> {
    let of_columns = prop::sample::select(vec![
        "u7",
        "13",
        "worker",
        "took",
        "7ms",
        "a3",
        "2026",
        "30",
        "u1*",
        "*x",
        "data.n=21",
        "data.user=u14",
        "b2 42",
        "data.in.id EXISTS",
        "0000000000001eef",
        "1eef",
        "nosuchword",
        "NOT took",
        "u7 OR u14",
        "21T06",
        "5Z",
        "level>=info",
        "tenant:a NOT level=error",
        "category:audit OR stream:stderr",
    ]);
    prop_oneof![2 => expression(), 1 => of_columns.prop_map(str::to_owned)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn columns_let_through_what_bodies_let_through(
        some in prop::collection::vec(body(), 1..20),
        questions in prop::collection::vec(question(), 12),
        tenant in "[ab]{1,2}",
    ) {
        let origin = Origin { tenant, ..Origin::default() };
        let bodies: Vec<Vec<u8>> = (0..RECORDS).map(|n| among(&some[n / 4 % some.len()], n)).collect();
        let payload = encode(&bodies, &origin);
        for question in questions {
            let Ok(filter) = parse(&question) else { continue };
            let (screen, block) = (filter.screen(), Block::open(&payload).expect("just built"));
            let through = screen.of_block(&block).expect("it is whole");
            for (n, body) in bodies.iter().enumerate() {
                let alone = screen.may_match(body, &[body.len() as u32]);
                let is_through = through.as_ref().map(|through| through.contains(&(n as u32)));
                prop_assert_eq!(
                    is_through, alone.map(|found| !found.is_empty()), "{}: {:?}", question, String::from_utf8_lossy(body)
                );
                let record = Record { body, ..record(&origin, Level::Info, "") };
                let is_match = filter.matches(&record, &origin);
                prop_assert!(
                    is_through != Some(false) || !is_match, "{} hides {:?}", question, String::from_utf8_lossy(body)
                );
                prop_assert!(
                    filter.reads_bodies() || filter.matches(&Record { body: b"", ..record }, &origin) == is_match,
                    "{} depends on {:?}", question, String::from_utf8_lossy(body)
                );
            }
            prop_assert!(through.is_none_or(|through| through.is_sorted_by(|a, b| a < b)));
        }
    }
}

#[test]
fn what_is_held_back_is_not_put_together() {
    let origin = origin();
    let lines = |n: usize| match n % 3 {
        0 => format!(
            r#"{{"msg":"order {n} placed by u{}","trace":"{:032x}","ms":{}}}"#,
            n * 7,
            n * n * 7919,
            n % 90
        ),
        1 => format!("INFO worker-{n} took {}ms for a \\n quoted \\\"thing\\\" [x] [\"y\"]", n % 300),
        _ => format!(r#"{{"msg":"payment of {n}.50 refused","tags":["a","b{}"],"ok":false}}"#, n % 4),
    };
    let mut bodies: Vec<Vec<u8>> = (0..600).map(|n| lines(n).into_bytes()).collect();
    bodies[77] = br#"{"msg":"a w\u006fmbat","ms":1}"#.to_vec();
    bodies[78] = b"INFO worker-78 took \x1b[31mwom\x1b[0mbat".to_vec();
    bodies[79] = br#"{"MESSAGE":[119,111,109,98,97,116]}"#.to_vec();
    let payload = encode(&bodies, &origin);
    for (question, through, built) in [
        ("nosuchword", &[77, 79][..], 3),
        ("wombat", &[77, 78, 79], 3),
        ("nosuchword OR refusedly", &[77, 79], 3),
        ("u2100", &[77, 79, 300], 3),
    ] {
        let block = Block::open(&payload).expect("just built");
        let filter = parse(question).expect(question);
        let found = filter.screen().of_block(&block).expect("it is whole");
        assert_eq!(found.as_deref(), Some(through), "{question}");
        assert_eq!(block.built(), built, "{question}");
    }
}
