//! A block as the program before version 2 of the tokens wrote it: it stays readable, and all that is in it is found.

use crate::block::Block;
use crate::block::postings::{Postings, level_token};
use crate::filter;
use crate::level::Level;
use crate::origin::Origin;
use crate::tokens::TokenVersion;

const PAYLOAD: &[u8] = include_bytes!("v1.payload");
const BLOOM: &[u8] = include_bytes!("v1.bloom");
const POSTINGS: &[u8] = include_bytes!("v1.postings");

pub(super) fn origins() -> [Origin; 2] {
    [("checkout-7f9c", "checkout"), ("billing-1", "billing")].map(|(pod, service)| Origin {
        tenant: "shop-eu".into(),
        namespace: "shop".into(),
        pod: pod.into(),
        container: "app".into(),
        service: service.into(),
        ..Origin::default()
    })
}

/// Of the records that match, their bodies; they must not be hidden.
fn found(expression: &str) -> Vec<String> {
    let block = Block::open(PAYLOAD).expect("it opens");
    let filter = filter::parse(expression).expect(expression);
    let plan = filter.plan();
    let postings = Postings::open(POSTINGS).expect("they open").expect("they are there");
    assert_eq!(postings.token_version(), TokenVersion::First);
    let through = filter.screen().of_block(&block).expect("they unpack");
    let origins = origins();
    let mut found = Vec::new();
    for place in 0..block.len() {
        let record = block.record(place).expect("it unpacks");
        let origin = origins.iter().find(|origin| origin.id() == record.origin).expect("one of the two");
        let body = String::from_utf8_lossy(record.body).into_owned();
        if !filter.matches(&record, origin) {
            continue;
        }
        assert!(
            plan.may_match(record.level.bit(), record.time_us, record.time_us, &origin.tenant, BLOOM),
            "{expression}: the filter hides {body}"
        );
        let mut clauses = plan.tokens.of(TokenVersion::First).to_vec();
        clauses.push(vec![level_token(record.level)]);
        assert!(postings.may_meet(&clauses), "{expression}: the postings hide {body}");
        assert!(
            through.as_ref().is_none_or(|through| through.contains(&(place as u32))),
            "{expression}: {body}"
        );
        found.push(body);
    }
    found
}

#[test]
fn what_the_first_version_wrote_is_found() {
    assert_eq!(TokenVersion::of_bloom(BLOOM), TokenVersion::First);
    assert_eq!(found("").len(), 31);
    for (expression, part) in [
        ("connection reset wombat", "wombat"),
        ("\"connection reset\" wombat", "wombat"),
        ("quokka", "quokka"),
        ("支付", "支付失败"),
        ("库存", "8812"),
        ("サービス", "tokyo"),
        ("결제", "order=77"),
        ("ชำระเงิน", "order=78"),
        ("café NFD", "nimmt"),
        ("🔥", "deploy"),
        ("payment", "payment_failed"),
        ("*timeout*", "ConnectionTimeoutException"),
        ("\"Caused by\" TemplateMissing", "TemplateMissing"),
        ("QuotaExceeded \"Caused by\"", "outer"),
        ("C:\\temp new", "anna.k"),
        ("data.flake>1610521604143693811", "flake"),
        ("data.dur=1.5", "save failed"),
        ("data.status=503", "RESET"),
        ("data.status=503.0", "RESET"),
        ("data.\"http.status\"=503", "save failed"),
        ("traceId=4bf92f3577b34da6a3ce929d0e0e4736", "RESET"),
        ("user_id:bob_7", "RESET"),
        ("taskId=42", "opened"),
        ("data.order.id=A17 service:CHECKOUT", "RESET"),
        ("category:system service=billing healthz ok", "healthz ok"),
    ] {
        let found = found(expression);
        assert!(!found.is_empty() && found.iter().all(|body| body.contains(part)), "{expression}: {found:?}");
    }
}

#[test]
fn what_both_versions_agree_on_still_prunes() {
    let may_match = |expression: &str| {
        let plan = filter::parse(expression).expect(expression).plan();
        let postings = Postings::open(POSTINGS).expect("they open").expect("they are there");
        let clauses = plan.tokens.of(TokenVersion::First);
        plan.may_match(Level::Warn.bit(), i64::MIN, i64::MAX, "shop-eu", BLOOM) && postings.may_meet(clauses)
    };
    for absent in
        ["service=nobody", "traceId=0af7651916cd43dd8448eb211c80319c", "data.status=504", "category:audit"]
    {
        assert!(!may_match(absent), "{absent}");
    }
    // A colour may have touched it, or it is a part of another word: the block is read.
    for word in ["zzyzxq", "reset", "\"nobody wrote\""] {
        assert!(may_match(word), "{word}");
    }
}

#[test]
fn written_anew_it_is_pruned_by_words() {
    let block = Block::open(PAYLOAD).expect("it opens");
    let mut builder = crate::block::BlockBuilder::with_postings();
    for place in 0..block.len() {
        let record = block.record(place).expect("it unpacks");
        assert!(builder.push(&record, &Origin::default()));
    }
    let new = builder.finish(3);
    assert_eq!(TokenVersion::of_bloom(&new.bloom), TokenVersion::Current);
    let may =
        |expression: &str| filter::parse(expression).expect(expression).plan().bloom_may_match(&new.bloom);
    for word in ["wombat", "支付", "payment", "reset", "caused"] {
        assert!(may(word), "{word}");
    }
    // A filter is wrong about one in some hundred.
    let wrong: Vec<String> = (0..1_000).map(|n| format!("absent{n}")).filter(|word| may(word)).collect();
    assert!(wrong.len() < 10, "{wrong:?}");
    assert!(!may("付订") && !may("31m") && !may("zzyzxq"));
}
