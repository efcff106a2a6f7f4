//! Blocks that were written before the words of today, on real PostgreSQL: fresh, sealed and beside new ones, all is found.

use anyhow::{Result, ensure};
use cordwood_core::block::{Block, BlockBuilder, EncodedBlock};
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::origin::Origin;
use cordwood_core::record::Record;
use cordwood_core::retention::class::{ClassId, class_table};
use cordwood_store::Store;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support;
use super::{ALL, all_pages};

const PAYLOAD: &[u8] = include_bytes!("../../../core/src/block/tests/v1.payload");
const BLOOM: &[u8] = include_bytes!("../../../core/src/block/tests/v1.bloom");
const POSTINGS: &[u8] = include_bytes!("../../../core/src/block/tests/v1.postings");

/// Of the words that the old program knew otherwise, and of those that it knew so.
const SEARCHES: [(&str, usize); 12] = [
    ("\"connection reset\" wombat", 1),
    ("支付", 1),
    ("payment", 1),
    ("\"Caused by\"", 2),
    ("café", 2),
    ("*timeout* connection*", 1),
    ("healthz OR quokka", 3),
    ("ok -healthz", 1),
    ("traceId=4bf92f3577b34da6a3ce929d0e0e4736", 1),
    ("data.status=503", 1),
    ("data.status=503 reset", 1),
    ("zzyzxq", 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_with_the_words_of_before_are_searched() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "old_words").await?;
    let client = postgres.client_of("old_words").await?;
    support::classes(&client).await?;
    let (table, parent) = ("blocks_c1_20261121t0000", class_table(ClassId(1)));
    client
        .batch_execute(&format!(
            "create table {table} (like blocks including all); \
             alter table {parent} attach partition {table} for values from ('2026-11-21 00:00:00Z') to ('2026-11-22 00:00:00Z'); \
             insert into leaves (class, time_from, time_to) values (1, '2026-11-21 00:00:00Z', '2026-11-22 00:00:00Z')"
        ))
        .await?;
    insert(&client, "ring_0 (lane, seq, id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)", "0, 1, 1, 0", &old(), false).await?;
    check(&store, 1).await?;
    client.batch_execute("truncate ring_0").await?;
    let blocks = "blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload, postings)";
    insert(&client, blocks, "2, 1", &old(), true).await?;
    // Nobody sealed it, so nobody noted what the table partition holds.
    client.batch_execute("update contents_of set round = -1").await?;
    check(&store, 1).await?;
    ensure!(
        opened(&store, "traceId=0af7651916cd43dd8448eb211c80319c").await? == 0,
        "whole values are looked up"
    );
    ensure!(opened(&store, "zzyzxq").await? == 1, "words are not: the block is opened");

    insert(&client, blocks, "3, 1", &new()?, true).await?;
    check(&store, 2).await?;
    let opened = opened(&store, "zzyzxq").await?;
    ensure!(opened == 1, "of the two only the old one is to be opened, not {opened}");
    Ok(())
}

fn old() -> EncodedBlock {
    EncodedBlock {
        bloom: BLOOM.to_vec(),
        postings: POSTINGS.to_vec(),
        payload: PAYLOAD.to_vec(),
        ..BlockBuilder::new().finish(1)
    }
}

/// The same records as others, as this program writes them.
fn new() -> Result<EncodedBlock> {
    let block = Block::open(PAYLOAD)?;
    let mut builder = BlockBuilder::with_postings();
    for place in 0..block.len() {
        let record = block.record(place)?;
        let id = RecordId { topic_partition: 2, ..record.id };
        ensure!(builder.push(&Record { id, ..record }, &Origin::default()), "a block takes as many");
    }
    Ok(builder.finish(3))
}

async fn insert(
    client: &Client,
    table: &str,
    keys: &str,
    block: &EncodedBlock,
    postings: bool,
) -> Result<()> {
    let parameters = if postings { "$1, $2, $3" } else { "$1, $2" };
    let sql = format!(
        "insert into {table} values ({keys}, 'shop-eu', 31, '2026-11-21 06:30:00Z', '2026-11-21 06:30:00.000031Z', 31, 5000, {parameters})"
    );
    if postings {
        client.execute(&sql, &[&block.bloom, &block.payload, &block.postings]).await?;
    } else {
        client.execute(&sql, &[&block.bloom, &block.payload]).await?;
    }
    Ok(())
}

async fn check(store: &Store, times: usize) -> Result<()> {
    for (text, expected) in SEARCHES {
        let found = all_pages(store, &ALL, text, 100, 20_000).await?.len();
        ensure!(found == times * expected, "{text}: {found} of {times} times {expected}");
    }
    Ok(())
}

async fn opened(store: &Store, text: &str) -> Result<usize> {
    Ok(search(store, &ALL, &filter::parse(text)?, TimeRange::default(), Page::first(100), 20_000)
        .await?
        .blocks_read)
}
