//! Postings on real PostgreSQL: blocks in which words never meet are passed over, and no record is lost by that.

use anyhow::{Result, ensure};
use cordwood_core::filter;
use cordwood_store::Store;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_tests::env::Postgres;

use super::support::{self, Lines};
use super::{ALL, all_pages, seal_once, start_writer};

/// Of 6 streams; more blocks than a search opens before it asks for postings.
const LINES: u64 = 10_000;
/// Every search, and how many lines of a stream with this number (from 0) it finds. See [`Lines::message`].
type Expected = (&'static str, fn(u64, u64) -> bool);
const SEARCHES: [Expected; 9] = [
    ("word0 word3", |_, _| false),
    ("word0 s1", |stream, seq| stream == 1 && seq % 7 == 0),
    ("word2 level>=error", |_, seq| seq % 7 == 2 && seq % 50 == 0),
    ("service=service-2 word1 level=debug", |stream, seq| stream % 5 == 2 && seq % 7 == 1 && seq % 50 == 3),
    ("service=service-2 s3", |_, _| false),
    ("word0 777", |_, seq| seq == 777),
    ("word0 778", |_, _| false),
    ("(word5 OR word6) 7777 s5", |_, _| false),
    ("data.seq=4321 data.common:word2", |_, seq| seq == 4321),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_never_meet_cost_little_and_lose_nothing() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "postings").await?;
    let client = postgres.client_of("postings").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut streams: Vec<Lines> = (0..6).map(Lines::new).collect();
    for _ in 0..LINES / 500 {
        for lines in &mut streams {
            let message = lines.message(500);
            running.sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
        }
    }
    seal_once(&store).await?;
    let blocks: i64 = client.query_one("select count(*) from blocks", &[]).await?.get(0);
    ensure!(blocks > 60, "{blocks} blocks are too few to pass over any");

    check(&store).await?;
    let opened = opened(&store, "word0 word3").await?;
    ensure!(opened < 40, "{opened} of {blocks} blocks were opened for words that never meet");

    // Some of an older version, some damaged: these are opened.
    client
        .batch_execute(
            "update blocks set postings = null where id % 3 = 0;
             update blocks set postings = set_byte(postings, 40, get_byte(postings, 40) # 1)
               where id % 3 = 1 and octet_length(postings) > 40",
        )
        .await?;
    check(&store).await?;
    client.batch_execute("update blocks set postings = null").await?;
    check(&store).await?;
    let opened = self::opened(&store, "word0 word3").await?;
    ensure!(opened as i64 > blocks / 2, "{opened} of {blocks} blocks were opened: who told the others?");
    running.stop.cancel();
    running.task.await??;
    Ok(())
}

async fn check(store: &Store) -> Result<()> {
    for (text, is_expected) in SEARCHES {
        let expected = (0..6).flat_map(|stream| (0..LINES).map(move |seq| (stream, seq)));
        let expected = expected.filter(|&(stream, seq)| is_expected(stream, seq)).count();
        for limit in [100, 5000] {
            let found = all_pages(store, &ALL, text, limit, 20_000).await?.len();
            ensure!(found == expected, "{text}, {limit} a page: {found} of {expected}");
        }
    }
    Ok(())
}

async fn opened(store: &Store, text: &str) -> Result<usize> {
    let page = Page::first(100);
    Ok(search(store, &ALL, &filter::parse(text)?, TimeRange::default(), page, 20_000).await?.blocks_read)
}
