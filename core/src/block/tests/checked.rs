//! A stored block against its row and its index.

use std::collections::HashMap;

use super::*;
use crate::block::check::{Checked, Checker, Fault, Stored};
use crate::block::index::Index;
use crate::origin::UNASSIGNED;
use crate::tokens::build;

const V1: [&[u8]; 3] =
    [include_bytes!("v1.payload"), include_bytes!("v1.bloom"), include_bytes!("v1.postings")];

fn records() -> Vec<Owned> {
    let bodies = (0..200).map(|n| format!(r#"{{"msg":"order {n} placed","user":"u{}"}}"#, n % 7));
    bodies.enumerate().map(|(n, body)| simple(n as u32, body.as_bytes())).collect()
}

fn check<'a>(block: &'a EncodedBlock, change: impl FnOnce(&mut Stored<'a>)) -> Checked {
    let mut stored = Stored {
        tenant: UNASSIGNED,
        count: block.count.into(),
        time_from_us: block.time_from_us,
        time_to_us: block.time_to_us,
        level_mask: block.level_mask.into(),
        raw_bytes: block.raw_bytes as i64,
        bloom: &block.bloom,
        postings: Some(&block.postings),
        bounds_us: Some((block.time_from_us, block.time_to_us + 1)),
    };
    change(&mut stored);
    let known: HashMap<OriginId, Origin> = [origin("a")].map(|origin| (origin.id(), origin)).into();
    let opened = Block::open(&block.payload).expect("it opens");
    Checker::new().check(&opened, &stored, |id| known.get(id))
}

#[test]
fn each_fault_is_told_and_an_index_is_made_as_it_was() {
    for format in [Format::One, Format::Two] {
        let records = records();
        let block = encode(&mut BlockBuilder::with_postings().of_format(format), &records);
        let whole = check(&block, |_| {});
        assert_eq!((whole.faults, whole.index), (Vec::new(), None));
        assert_eq!((whole.records, whole.raw_bytes, whole.adjusted), (200, block.raw_bytes, 0));
        // Nobody knows more than that it is not there.
        assert_eq!(check(&block, |stored| stored.postings = Some(&[])).faults, []);
        // A filter of more words hides nothing.
        let full = vec![0xff; block.bloom.len()];
        assert_eq!(check(&block, |stored| stored.bloom = &full).faults, []);

        let index = Some(Index { bloom: block.bloom.clone(), postings: block.postings.clone() });
        let (zeroes, few) = (vec![0; block.bloom.len()], build(&[1, 2, 3]));
        for bloom in [&zeroes[..], &few, &[]] {
            let checked = check(&block, |stored| stored.bloom = bloom);
            assert!(
                matches!(checked.faults[..], [Fault::Bloom { missing, .. }] if missing > 200),
                "{checked:?}"
            );
            assert_eq!(checked.index, index);
        }
        let others = records.iter().rev().cloned().enumerate();
        let others: Vec<Owned> =
            others.map(|(n, owned)| Owned { id: simple(n as u32, b"").id, ..owned }).collect();
        let others = encode(&mut BlockBuilder::with_postings(), &others).postings;
        let checked = check(&block, |stored| stored.postings = Some(&others));
        assert!(matches!(checked.faults[..], [Fault::Hidden(_)]), "{:?}", checked.faults);
        assert_eq!(checked.index, index);
        let torn = &block.postings[..block.postings.len() - 1];
        let checked = check(&block, |stored| stored.postings = Some(torn));
        assert!(matches!(checked.faults[..], [Fault::Postings(_)]), "{:?}", checked.faults);
        assert_eq!(checked.index, index);

        let row = check(&block, |stored| {
            stored.count += 1;
            stored.level_mask = 0;
            stored.bounds_us = Some((block.time_from_us + 1, i64::MAX));
        });
        let expected = [
            Fault::Column { name: "count", stored: 201, found: 200 },
            Fault::Column { name: "level_mask", stored: 0, found: i64::from(block.level_mask) },
            Fault::Bounds(1),
        ];
        assert_eq!((&row.faults[..], row.index), (&expected[..], None));
        let strange = check(&block, |stored| stored.tenant = "another");
        assert_eq!(strange.faults, [Fault::Origins(1)]);
    }
}

/// Its words were others: only what both versions agree on can be asked for.
#[test]
fn a_block_of_the_first_version_of_words_has_no_fault() {
    let [payload, bloom, postings] = V1;
    let block = Block::open(payload).expect("it opens");
    let origins = super::written::origins();
    let all = (0..block.len()).map(|place| block.record(place).expect("it unpacks")).collect::<Vec<_>>();
    let stored = Stored {
        tenant: "shop-eu",
        count: all.len() as i64,
        time_from_us: all.iter().map(|record| record.time_us).min().unwrap_or_default(),
        time_to_us: all.iter().map(|record| record.time_us).max().unwrap_or_default(),
        level_mask: all.iter().fold(0, |mask, record| mask | record.level.bit()).into(),
        raw_bytes: all.iter().map(|record| record.body.len() as i64).sum(),
        bloom,
        postings: Some(postings),
        bounds_us: None,
    };
    let origin_of = |id: &OriginId| origins.iter().find(|origin| origin.id() == *id);
    let checked = Checker::new().check(&block, &stored, origin_of);
    assert_eq!((checked.faults, checked.index), (Vec::new(), None));
    let zeroes = vec![0; bloom.len()];
    let hides = Checker::new().check(&block, &Stored { bloom: &zeroes, ..stored }, origin_of);
    assert!(matches!(hides.faults[..], [Fault::Bloom { .. }]), "{:?}", hides.faults);
    let index = hides.index.expect("it is built again");
    let again = Stored { bloom: &index.bloom, postings: Some(&index.postings), ..stored };
    assert_eq!(Checker::new().check(&block, &again, origin_of).faults, []);
}
