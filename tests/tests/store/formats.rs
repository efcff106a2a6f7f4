//! A store with blocks of all formats on real PostgreSQL: whatever seals meanwhile, a search finds what a reading of every line
//! finds; the newest format that was sealed is noted; a program that does not read it is refused. `CORDWOOD_CASES` asks more questions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use cordwood_core::block::Format;
use cordwood_core::filter::{self, Filter};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::seal::SealSession;
use cordwood_store::search::{Cursor, Direction, Page, TimeRange, count, search};
use cordwood_store::{Store, StoreError, into_table, migrate};
use cordwood_tests::env::Postgres;
use cordwood_writer::sealer::seal_now;
use cordwood_writer::{Metrics, Parts, RecordPlacer};
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::both_ways::{Scattered, put};
use super::support::{self, HOUR_US};
use super::{ALL, Running, seal_in, start_writer};

/// Few at a time, so that one generation is sealed in several rounds.
const ROUND_RECORDS_MAX: i64 = 400;

/// Questions of a test.
const CASES: usize = 200;
/// The first four while sealing goes on.
const GENERATIONS: usize = 5;
/// After so many questions of a generation there is more to seal.
const CASES_PER_WRITE: usize = 50;

/// A line as it was written.
struct Line {
    time_us: i64,
    level: Level,
    body: String,
    origin: Arc<Origin>,
}

const WORDS: [&str; 6] = ["wombat", "quokka", "payment", "timeout", "Reset", "naïve"];

/// Lines as different loggers write them, some with what hides their letters.
fn body(random: &mut StdRng, n: u64) -> String {
    let (id, ms, user) = (random.random::<u64>(), random.random_range(0..3000), random.random_range(0..50));
    let word = WORDS[random.random_range(0..WORDS.len())];
    let status = [200, 404, 503][random.random_range(0..3)];
    match random.random_range(0..9) {
        0..3 => format!(
            r#"{{"ts":"2026-11-18T23:06:{:02}.{:03}Z","msg":"order {n} placed by u{user} in {ms} ms","trace":"{id:016x}","status":{status},"path":"/v1/orders/{n}"}}"#,
            n % 60,
            ms % 1000
        ),
        3 => format!(
            r#"{{"msg":"{word} was seen","user":"u{user}","ratio":{}.5,"tags":["{word}",{ms}]}}"#,
            n % 9
        ),
        4 => format!("2026-11-18 23:06:{:02} INFO worker-{user} took {ms}ms for {word}", n % 60),
        5 => format!("GET /v1/stock/{n}x{ms} {status} \u{1b}[31m{word}\u{1b}[0mish"),
        6 => format!(r#"{{"msg":"a w\u006fmbat at {ms}","in":{{"status":{status}}}}}"#),
        // "wombat", as journald writes bytes.
        7 => format!(r#"{{"MESSAGE":[119,111,109,98,97,116],"n":{n}}}"#),
        _ => word.to_owned(),
    }
}

/// A question of one to three parts.
fn question(random: &mut StdRng) -> String {
    let part = |random: &mut StdRng| match random.random_range(0..12) {
        0 => WORDS[random.random_range(0..WORDS.len())].to_owned(),
        1 => format!("u{}", random.random_range(0..60)),
        2 => random.random_range(0..3000).to_string(),
        3 => "nosuchword".to_owned(),
        4 => format!("\"placed by u{}\"", random.random_range(0..50)),
        5 => ["wom*", "*mbat", "w*t", "ord* plac*", "x1*"][random.random_range(0..5)].to_owned(),
        6 => format!("data.status={}", [200, 404, 503][random.random_range(0..3)]),
        7 => format!("data.user=u{}", random.random_range(0..50)),
        8 => format!("level>={}", ["debug", "warn", "error"][random.random_range(0..3)]),
        9 => "message CONTAINS omba".to_owned(),
        10 => format!("worker-{}", random.random_range(0..50)),
        _ => format!("tenant=tenant-{}", random.random_range(0..3)),
    };
    let one = |random: &mut StdRng| {
        let text = part(random);
        if random.random_bool(0.15) { format!("NOT {text}") } else { text }
    };
    let parts: Vec<String> = (0..random.random_range(1..4)).map(|_| one(random)).collect();
    parts.join(if random.random_bool(0.3) { " OR " } else { " " })
}

fn is_meant(filter: &Filter, line: &Line) -> bool {
    let record = Record {
        time_us: line.time_us,
        original_time_us: None,
        level: line.level,
        flags: Flags::default(),
        origin: line.origin.id(),
        id: RecordId { topic_partition: 0, kafka_offset: 0, index: 0 },
        body: line.body.as_bytes(),
    };
    filter.matches(&record, &line.origin)
}

/// All pages of a question in one direction, and the counts beside it, against a reading of all lines.
async fn ask(store: &Store, text: &str, lines: &[Line], random: &mut StdRng) -> Result<()> {
    // A word without letters.
    let Ok(filter) = filter::parse(text) else { return Ok(()) };
    let base = lines[random.random_range(0..lines.len())].time_us;
    let range = match random.random_range(0..3) {
        0 => TimeRange { from_us: Some(base - HOUR_US / 3), to_us: Some(base + 1) },
        _ => TimeRange::default(),
    };
    let in_range = |line: &&Line| {
        range.from_us.is_none_or(|from| line.time_us >= from)
            && range.to_us.is_none_or(|to| line.time_us < to)
    };
    let meant = lines.iter().filter(in_range).filter(|line| is_meant(&filter, line));
    let mut expected: Vec<(i64, &str)> = meant.map(|line| (line.time_us, line.body.as_str())).collect();
    expected.sort_unstable();
    let direction = [Direction::NewestFirst, Direction::OldestFirst][random.random_range(0..2)];
    let (mut shown, mut last): (Vec<(i64, String)>, Option<Cursor>) = (Vec::new(), None);
    let mut page = Page { limit: 0, after: None, direction };
    loop {
        page.limit = random.random_range(1..300);
        let found = search(store, &ALL, &filter, range, page, 20_000).await?;
        for record in found.records {
            let at = record.cursor();
            let is_next = last.is_none_or(|last| match direction {
                Direction::NewestFirst => at < last,
                Direction::OldestFirst => at > last,
            });
            ensure!(is_next, "{text:?} {direction:?}: {at} after {last:?}");
            last = Some(at);
            shown.push((record.time_us, String::from_utf8(record.body)?));
        }
        match found.cursor {
            Some(cursor) => page.after = Some(cursor),
            None => break,
        }
    }
    shown.sort_unstable();
    let shown: Vec<(i64, &str)> = shown.iter().map(|(time_us, body)| (*time_us, body.as_str())).collect();
    let odd = || {
        let missing = expected.iter().find(|line| !shown.contains(line));
        (missing, shown.iter().find(|line| !expected.contains(line)))
    };
    ensure!(
        shown == expected,
        "{text:?} {direction:?} {range:?}: {} of {}, {:?}",
        shown.len(),
        expected.len(),
        odd()
    );
    let counted = count(store, &ALL, &filter, range, HOUR_US, 20_000).await?;
    ensure!(
        counted.records() == expected.len() as u64,
        "{text:?} {range:?}: {counted:?}, {}",
        expected.len()
    );
    Ok(())
}

/// Rounds of sealing until it is told to stop, each that sealed something in another format than the one before.
async fn seal_by_turns(store: Store, first: Format, stop: Arc<AtomicBool>) -> Result<()> {
    let mut sealing = loop {
        match SealSession::claim(&store).await? {
            Some(sealing) => break sealing,
            None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    sealing.set_round_records_max(ROUND_RECORDS_MAX);
    let mut format = first;
    loop {
        sealing.switch_ring().await?;
        let mut placer = RecordPlacer::new(support::now_us()).of_format(format);
        let round = sealing.round(&mut placer).await?;
        if round.records > 0 {
            format = other(format);
        }
        if sealing.is_past(round.xid).await? {
            sealing.truncate().await?;
        }
        if stop.load(Ordering::Relaxed) && !round.more {
            return Ok(());
        }
    }
}

fn other(format: Format) -> Format {
    match format {
        Format::One => Format::Two,
        Format::Two => Format::Three,
        Format::Three => Format::One,
    }
}

/// Writes so many lines of each stream, and remembers them.
async fn write(
    running: &Running,
    streams: &mut [Scattered],
    each: Range<u64>,
    random: &mut StdRng,
    lines: &mut Vec<Line>,
) -> Result<()> {
    let base = support::now_us() - 2 * HOUR_US;
    for stream in streams {
        let origin = Arc::new(stream.origin());
        let mut message = Vec::new();
        for n in 0..random.random_range(each.clone()) {
            let time_us = base + random.random_range(0..7_000) * 1_000_000;
            let level = [Level::Debug, Level::Info, Level::Info, Level::Warn, Level::Error]
                [random.random_range(0..5)];
            let body = body(random, n);
            message.push((time_us, level, Flags::default(), body.clone()));
            lines.push(Line { time_us, level, body, origin: Arc::clone(&origin) });
        }
        put(running, stream.message(&message)).await?;
    }
    Ok(())
}

/// How many sealed blocks there are of each format.
pub async fn sealed(client: &Client) -> Result<[i64; 3]> {
    let of = |format| format!("count(*) filter (where get_byte(payload, 0) = {format})");
    let sql = format!("select {}, {}, {} from blocks", of(1), of(2), of(3));
    let row = client.query_one(&sql, &[]).await?;
    Ok([row.get(0), row.get(1), row.get(2)])
}

async fn noted(client: &Client) -> Result<i16> {
    Ok(client.query_one("select block_format from ring_ctl", &[]).await?.get(0))
}

async fn drop_indexes(client: &Client, class: i32) -> Result<()> {
    let all = "select relname::text from pg_class where relkind = 'r' and relname like 'blocks_c' || $1::int || '\\_%\\_index'";
    for row in client.query(all, &[&class]).await? {
        client.batch_execute(&format!("drop table {}", row.get::<_, &str>(0))).await?;
    }
    Ok(())
}

async fn mixed(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "formats").await?;
    let client = postgres.client_of("formats").await?;
    support::classes(&client).await?;
    support::leaves(&client, 3, 2).await?;
    // Records of `warn` go where there is no room for an index.
    drop_indexes(&client, 3).await?;
    let mut random = StdRng::seed_from_u64(u64::from(version));
    let running = start_writer(&store)?;
    let mut streams: Vec<Scattered> = (0..4).map(Scattered::new).collect();
    let mut lines = Vec::new();
    let mut first = Format::Two;
    let cases = std::env::var("CORDWOOD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    for generation in 1..GENERATIONS {
        write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let sealing = tokio::spawn(seal_by_turns(store.clone(), first, stop.clone()));
        for case in 1..=cases / GENERATIONS {
            if case % CASES_PER_WRITE == 0 {
                write(&running, &mut streams, 5..15, &mut random, &mut lines).await?;
            }
            let text = question(&mut random);
            ask(&store, &text, &lines, &mut random)
                .await
                .with_context(|| format!("generation {generation}"))?;
        }
        stop.store(true, Ordering::Relaxed);
        sealing.await??;
        first = other(first);
    }
    let blocks = sealed(&client).await?;
    ensure!(blocks.iter().all(|blocks| *blocks > 0), "{blocks:?} sealed blocks of the formats");
    ensure!(noted(&client).await? == 3, "the newest format is noted");
    // Some sealed, some fresh, and nobody seals.
    write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
    for _ in 0..cases / GENERATIONS {
        let text = question(&mut random);
        ask(&store, &text, &lines, &mut random).await?;
    }
    let everything = filter::parse("")?;
    let rows = into_table::write(
        &store,
        &Scope::all(AdminReason::Authorized),
        &everything,
        TimeRange::default(),
        "mine",
    )
    .await?;
    ensure!(rows == lines.len() as u64, "{rows} rows of {} lines", lines.len());
    super::verify::whole(&store).await?;
    running.stop.cancel();
    running.task.await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_store_is_searched_15() -> Result<()> {
    mixed(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_store_is_searched_18() -> Result<()> {
    mixed(18).await
}

/// As a writer that ends does it. The server notices a moment later that the session before has ended.
async fn seal_as_told(store: &Store, format: Option<Format>, metrics: &Metrics) -> Result<()> {
    while !seal_now(store, format, metrics).await? {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A writer that is told nothing of formats, on a new database and on one that an older version has used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_says_the_format_where_nobody_does() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let mut random = StdRng::seed_from_u64(5);
    for is_new in [true, false] {
        let name = if is_new { "new" } else { "used" };
        let store = match is_new {
            true => support::store(&postgres, name).await?,
            false => support::store_of_version(&postgres, name, 18).await?,
        };
        let client = postgres.client_of(name).await?;
        support::classes(&client).await?;
        support::leaves(&client, 3, 2).await?;
        let running = start_writer(&store)?;
        let mut streams: Vec<Scattered> = (0..4).map(Scattered::new).collect();
        let mut lines = Vec::new();
        write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
        migrate::run(&store).await?;
        let metrics = Parts::new(store.clone(), &Registry::new(), CancellationToken::new())?.metrics;
        seal_as_told(&store, None, &metrics).await?;
        let blocks = sealed(&client).await?;
        match is_new {
            true => ensure!(blocks[..2] == [0, 0] && blocks[2] > 0, "a new database: {blocks:?}"),
            false => ensure!(blocks[0] > 0 && blocks[1..] == [0, 0], "a used database: {blocks:?}"),
        }
        // Once a newer one was said, it stays without being said, and can still be chosen away from.
        let newest = if is_new { 3 } else { 2 };
        let (two, three) = (Some(Format::Two), Some(Format::Three));
        for (said, format) in
            [(two, 2), (None, newest), (Some(Format::One), 1), (None, newest), (three, 3), (None, 3)]
        {
            write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
            let before = sealed(&client).await?;
            seal_as_told(&store, said, &metrics).await?;
            let after = sealed(&client).await?;
            let grown: Vec<usize> = (0..3).filter(|place| after[*place] > before[*place]).collect();
            ensure!(grown == [format - 1], "{name}: {before:?}, with {said:?} {after:?}");
        }
        ask(&store, "", &lines, &mut random).await?;
        running.stop.cancel();
        running.task.await??;
    }
    Ok(())
}

/// What the version before left is taken over; the first block of format 2 is noted with it, and who does not read a format is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_format_is_noted_and_asked_for() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store_of_version(&postgres, "before", 18).await?;
    let client = postgres.client_of("before").await?;
    support::classes(&client).await?;
    support::leaves(&client, 3, 2).await?;
    let running = start_writer(&store)?;
    let mut random = StdRng::seed_from_u64(3);
    let mut streams: Vec<Scattered> = (0..4).map(Scattered::new).collect();
    let mut lines = Vec::new();
    write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
    let migrated = migrate::run(&store).await?;
    ensure!(migrated.applied.iter().any(|name| name.contains("block_format")), "{migrated:?}");
    ensure!(noted(&client).await? == 1, "what was there is of format 1");
    for (format, expected) in
        [(Format::One, 1), (Format::Two, 2), (Format::One, 2), (Format::Three, 3), (Format::Two, 3)]
    {
        ask(&store, "", &lines, &mut random).await?;
        ensure!(seal_in(&store, format).await?.records > 0, "nothing was sealed");
        ensure!(noted(&client).await? == expected, "after a round in {format:?}");
        write(&running, &mut streams, 100..300, &mut random, &mut lines).await?;
    }
    for _ in 0..20 {
        let text = question(&mut random);
        ask(&store, &text, &lines, &mut random).await?;
    }
    let blocks = sealed(&client).await?;
    ensure!(blocks.iter().all(|blocks| *blocks > 0), "{blocks:?} sealed blocks of the formats");
    running.stop.cancel();
    running.task.await??;

    migrate::check(&store).await?;
    client.batch_execute("update ring_ctl set block_format = 4").await?;
    for refused in [migrate::check(&store).await, migrate::run(&store).await.map(|_| ())] {
        let Err(error) = refused else { anyhow::bail!("a format that nobody here reads was taken") };
        ensure!(matches!(error, StoreError::BlockFormat { found: 4, known: 3 }), "{error:?}");
        let said = error.to_string();
        ensure!(said.contains("blocks of format 4") && said.contains("reads formats 1 to 3"), "{said}");
        ensure!(!error.is_transient(), "trying again would not help");
    }
    Ok(())
}
