//! Pages in both directions against a brute-force reading, with many equal times and while blocks are sealed; a stream that goes on
//! from a cursor; records by their names; scopes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::BatchBuilder;
use cordwood_core::block::Block;
use cordwood_core::filter;
use cordwood_core::identity::FileId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_store::Store;
use cordwood_store::follow::Follow;
use cordwood_store::scope::{AdminReason, Grant, Namespaces, Scope, Tenants};
use cordwood_store::search::{Cursor, Direction, OfLevels, OwnedRecord, Page, TimeRange, count, search};
use cordwood_store::{audit, into_table};
use cordwood_tests::batches::stdout_header;
use cordwood_tests::env::Postgres;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::support::{self, HOUR_US};
use super::{ALL, Running, seal_once, start_writer};

const BOTH: [Direction; 2] = [Direction::NewestFirst, Direction::OldestFirst];

/// Lines of one stream at any times.
pub(super) struct Scattered {
    stream: u32,
    end: u64,
    builder: BatchBuilder,
}

impl Scattered {
    pub fn new(stream: u32) -> Scattered {
        Scattered { stream, end: 0, builder: BatchBuilder::new() }
    }

    /// (time, level, flags, text) each.
    pub fn message(&mut self, lines: &[(i64, Level, Flags, String)]) -> Vec<u8> {
        let prev = self.end;
        for (time_us, level, flags, text) in lines {
            self.end += text.len() as u64 + 1;
            self.builder.push(time_us * 1000, *level, *flags, self.end, text.as_bytes());
        }
        let (pod, file) = (format!("uid-{}", self.stream), FileId(u64::from(self.stream) + 1));
        let header = stdout_header(&pod, "app", file, (prev, self.end), lines.len() as u64);
        self.builder.finish(&header, &self.origin(), support::now_us() * 1000)
    }

    pub fn origin(&self) -> Origin {
        let tenant = format!("tenant-{}", self.stream % 2);
        Origin {
            tenant_id: tenant.clone(),
            tenant,
            namespace: format!("ns-{}", self.stream % 3),
            pod: format!("pod-{}", self.stream),
            pod_uid: format!("uid-{}", self.stream),
            container: "app".into(),
            ..Origin::default()
        }
    }
}

pub(super) async fn put(running: &Running, message: Vec<u8>) -> Result<()> {
    running.sender.send(message).ok().context("the queue is full")?.await?;
    Ok(())
}

/// A record as the oracle knows it.
struct Known {
    at: Cursor,
    level: Level,
    body: String,
}

/// Everything with this word, read without a search.
async fn known(client: &Client, word: &str) -> Result<Vec<Known>> {
    let rows = client
        .query(
            "select f.payload from fresh f join seals z using (lane) where f.seq > z.upto \
             union all select payload from blocks",
            &[],
        )
        .await?;
    let mut known = Vec::new();
    for row in rows {
        let block = Block::open(row.get(0))?;
        for index in 0..block.len() {
            let record = block.record(index)?;
            let body = String::from_utf8(record.body.to_vec())?;
            if body.contains(word) {
                known.push(Known {
                    at: Cursor { time_us: record.time_us, id: record.id },
                    level: record.level,
                    body,
                });
            }
        }
    }
    known.sort_by_key(|record| record.at);
    Ok(known)
}

/// A filter, and what it means.
type Meaning = (&'static str, fn(&Known) -> bool);
const FILTERS: [Meaning; 5] = [
    ("oracle", |_| true),
    ("oracle level>=warn", |record| record.level >= Level::Warn),
    ("oracle w3", |record| record.body.contains(" w3 ")),
    ("oracle w3 level=error", |record| record.body.contains(" w3 ") && record.level == Level::Error),
    ("oracle NOT w1", |record| !record.body.contains(" w1 ")),
];

/// Random walks: some pages one way, then back, then on; what is shown is a row of the oracle's without a hole.
async fn walk(store: &Store, all: &[Known], random: &mut StdRng) -> Result<()> {
    let (text, is_meant) = FILTERS[random.random_range(0..FILTERS.len())];
    let base = all[random.random_range(0..all.len())].at.time_us;
    let range = match random.random_range(0..3) {
        0 => TimeRange { from_us: Some(base - 600_000_000), to_us: Some(base + 1) },
        _ => TimeRange::default(),
    };
    let in_range = |record: &&Known| {
        range.from_us.is_none_or(|from| record.at.time_us >= from)
            && range.to_us.is_none_or(|to| record.at.time_us < to)
    };
    let meant: Vec<Cursor> =
        all.iter().filter(in_range).filter(|record| is_meant(record)).map(|record| record.at).collect();
    let filter = filter::parse(text)?;
    let start = random.random_bool(0.7).then(|| all[random.random_range(0..all.len())].at);
    let mut direction = BOTH[random.random_range(0..2)];
    let mut page = Page { limit: 0, after: start, direction };
    for turn in 0..3 {
        page.direction = direction;
        // The rest in this direction.
        let beyond = |at: &&Cursor| match (page.after, direction) {
            (None, _) => true,
            (Some(after), Direction::NewestFirst) => **at < after,
            (Some(after), Direction::OldestFirst) => **at > after,
        };
        let mut expected: Vec<Cursor> = meant.iter().filter(beyond).copied().collect();
        if direction == Direction::NewestFirst {
            expected.reverse();
        }
        let (mut shown, mut pages) = (Vec::new(), 0);
        let pages_max = if turn == 2 { usize::MAX } else { random.random_range(1..6) };
        loop {
            page.limit = random.random_range(1..400);
            let budget_ms = if random.random_bool(0.3) { 0 } else { 20_000 };
            let found = search(store, &ALL, &filter, range, page, budget_ms).await?;
            shown.extend(found.records.iter().map(|record| record.cursor()));
            pages += 1;
            let story = || format!("{text} {direction:?} after {:?}, page {pages}", page.after);
            ensure!(
                shown == expected[..shown.len().min(expected.len())],
                "{}: {shown:?} is not {expected:?}",
                story()
            );
            match found.cursor {
                Some(cursor) => page.after = Some(cursor.to_string().parse()?),
                None => {
                    ensure!(
                        shown.len() == expected.len(),
                        "{}: {} of {}",
                        story(),
                        shown.len(),
                        expected.len()
                    );
                    break;
                }
            }
            if pages >= pages_max {
                break;
            }
        }
        direction = direction.reversed();
    }
    Ok(())
}

/// Counts over random times in random bins, against the oracle's. Returns how many came of blocks that were not read.
async fn count_some(store: &Store, all: &[Known], random: &mut StdRng) -> Result<u64> {
    const COUNTED: [Meaning; 4] = [
        ("", |_| true),
        ("level>=warn", |record| record.level >= Level::Warn),
        ("level=info OR w3", |record| record.level == Level::Info || record.body.contains(" w3 ")),
        ("oracle NOT w1", |record| record.body.contains("oracle") && !record.body.contains(" w1 ")),
    ];
    let (text, is_meant) = COUNTED[random.random_range(0..COUNTED.len())];
    let bound = |random: &mut StdRng| {
        let at = all[random.random_range(0..all.len())].at.time_us;
        random.random_bool(0.5).then(|| at + random.random_range(-1..=1))
    };
    let range = TimeRange { from_us: bound(random), to_us: bound(random) };
    let bin_us = [1, 20_000_000, 60_000_000, HOUR_US, 24 * HOUR_US][random.random_range(0..5)];
    let has_time = |record: &&Known| {
        range.from_us.is_none_or(|from| record.at.time_us >= from)
            && range.to_us.is_none_or(|to| record.at.time_us < to)
    };
    let mut expected: BTreeMap<i64, OfLevels> = BTreeMap::new();
    for record in all.iter().filter(has_time).filter(|record| is_meant(record)) {
        let bin = record.at.time_us.div_euclid(bin_us);
        expected.entry(bin).or_default()[record.level as usize] += 1;
    }
    let (admin, filter) = (Scope::all(AdminReason::Authorized), filter::parse(text)?);
    let whole = count(store, &admin, &filter, range, bin_us, 20_000).await?;
    ensure!(whole.searched_to_us.is_none() && whole.bins == expected, "{text:?} {range:?} by {bin_us}");
    // Without time, newer bins than where it ended are whole, and the others are none.
    let part = count(store, &admin, &filter, range, bin_us, 0).await?;
    if let Some(time_us) = part.searched_to_us {
        let last = time_us.div_euclid(bin_us);
        ensure!(part.bins.range(last + 1..).eq(expected.range(last + 1..)), "{text:?} {range:?} by {bin_us}");
        ensure!(part.bins.range(..last).next().is_none());
    } else {
        ensure!(part.bins == expected);
    }
    Ok(whole.by_block)
}

async fn pages(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "walks").await?;
    let client = postgres.client_of("walks").await?;
    support::classes(&client).await?;
    // Some have no table partition yet.
    support::leaves(&client, 1, 1).await?;
    let mut random = StdRng::seed_from_u64(u64::from(version));
    let running = start_writer(&store)?;
    let mut streams: Vec<Scattered> = (0..4).map(Scattered::new).collect();
    let base = support::now_us() - 2 * HOUR_US;
    let mut lines = async |random: &mut StdRng, word: &str| -> Result<()> {
        for stream in &mut streams {
            let line = |random: &mut StdRng| {
                // 80 moments in all, of which some lie so close together that one block holds them.
                let apart = random.random_range(0..2) * 20_000_000;
                let time_us = base + random.random_range(0..40) * 180_000_000 + apart;
                let level = [Level::Debug, Level::Info, Level::Info, Level::Warn, Level::Error]
                    [random.random_range(0..5)];
                (time_us, level, Flags::default(), format!("{word} w{} end", random.random_range(0..6)))
            };
            let lines: Vec<_> = (0..random.random_range(1..300)).map(|_| line(random)).collect();
            put(&running, stream.message(&lines)).await?;
        }
        Ok(())
    };
    let mut by_block = 0;
    for generation in 0..4 {
        for _ in 0..3 {
            lines(&mut random, "oracle").await?;
        }
        lines(&mut random, "noise").await?;
        let (all, everything) = (known(&client, "oracle").await?, known(&client, "").await?);
        let stop = Arc::new(AtomicBool::new(false));
        let sealing = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    seal_once(&store).await?;
                }
                anyhow::Ok(())
            }
        });
        for _ in 0..10 {
            walk(&store, &all, &mut random).await.with_context(|| format!("generation {generation}"))?;
            by_block += count_some(&store, &everything, &mut random).await?;
        }
        stop.store(true, Ordering::Relaxed);
        sealing.await??;
        if generation == 1 {
            let missing =
                "select count(*) from fresh f join seals z using (lane) where f.lane = 0 and f.seq > z.upto";
            ensure!(client.query_one(missing, &[]).await?.get::<_, i64>(0) > 0, "nothing was carried over");
            let (from, to) = (support::now_us() / HOUR_US - 4, support::now_us() / HOUR_US - 1);
            support::leaves_between(&client, from, to).await?;
        }
        ensure!(known(&client, "oracle").await?.len() == all.len());
    }
    ensure!(by_block > 0, "each block was read");
    running.stop.cancel();
    running.task.await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_both_ways_15() -> Result<()> {
    pages(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_both_ways_18() -> Result<()> {
    pages(18).await
}

/// What was stored before, what comes, and what was sealed and emptied between: once each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_from_a_cursor() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "resume").await?;
    let client = postgres.client_of("resume").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut stream = Scattered::new(1);
    let begin = support::now_us() - HOUR_US;
    let mut next = 0;
    let mut more = async |count: i64| -> Result<()> {
        let line = |n: i64| (begin + n / 7, Level::Info, Flags::default(), format!("line {n} end"));
        let lines: Vec<_> = (next..next + count).map(line).collect();
        next += count;
        put(&running, stream.message(&lines)).await
    };
    for _ in 0..5 {
        more(700).await?;
    }
    seal_once(&store).await?;
    more(300).await?;
    let all = known(&client, "line").await?;
    let at = all[1234].at;
    let everything = filter::parse("")?;
    let mut follow = Follow::after(&store, at).await?;
    let mut shown: BTreeMap<Cursor, u32> = BTreeMap::new();
    let mut look = async |follow: &mut Follow| -> Result<bool> {
        let news = follow.next(&ALL, &everything).await?;
        ensure!(!news.gap, "a gap");
        let order: Vec<Cursor> = news.records.iter().map(|record| record.cursor()).collect();
        ensure!(order.is_sorted());
        order.into_iter().for_each(|at| *shown.entry(at).or_default() += 1);
        Ok(news.more)
    };
    look(&mut follow).await?;
    // Stored after the feed's place was taken: some of it is gone from the rings before the search is through.
    more(250).await?;
    seal_once(&store).await?;
    more(50).await?;
    seal_once(&store).await?;
    more(40).await?;
    while look(&mut follow).await? {}
    more(60).await?;
    while look(&mut follow).await? {}
    let expected: Vec<Cursor> =
        known(&client, "line").await?.iter().map(|record| record.at).filter(|found| *found > at).collect();
    ensure!(expected.len() == 3_800 + 400 - 1_235, "{} stored beyond the cursor", expected.len());
    ensure!(shown.values().all(|times| *times == 1), "twice");
    ensure!(shown.keys().copied().eq(expected.iter().copied()), "{} of {}", shown.len(), expected.len());
    running.stop.cancel();
    running.task.await?
}

/// Random unions of grants, against what each grant says of the records that are known: streams 0 to 5, 50 lines of each kind.
async fn unions_show_what_their_grants_show(store: &Store, begin_us: i64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(7);
    let all = filter::parse("")?;
    let of_one = filter::parse("tenant=tenant-0")?;
    for _ in 0..60 {
        let some = |random: &mut StdRng, of: &[&str]| -> Option<Vec<String>> {
            let kept = |random: &mut StdRng| {
                of.iter().filter(|_| random.random_bool(0.4)).map(|name| (*name).to_owned()).collect()
            };
            random.random_bool(0.6).then(|| kept(random))
        };
        let grant = |random: &mut StdRng| Grant {
            tenants: some(random, &["tenant-0", "tenant-1", "tenant-7"])
                .map_or(Tenants::All(AdminReason::Authorized), Tenants::Only),
            namespaces: some(random, &["ns-0", "ns-1", "ns-2", "ns-9", ""])
                .map_or(Namespaces::All, Namespaces::Only),
            audit: random.random_bool(0.5),
            since_us: random.random_bool(0.3).then(|| begin_us + random.random_range(0..50)),
        };
        let many = random.random_range(0..4);
        let grants: Vec<Grant> = (0..many).map(|_| grant(&mut random)).collect();
        let scope = Scope::any_of(grants.iter().cloned().map(Scope::from));
        let has = |names: &[String], name: String| names.contains(&name);
        let reaches = |grant: &Grant, number: i64| {
            let tenant = match &grant.tenants {
                Tenants::All(_) => true,
                Tenants::Only(slugs) => has(slugs, format!("tenant-{}", number % 2)),
            };
            tenant
                && match &grant.namespaces {
                    Namespaces::All => true,
                    Namespaces::Only(names) => has(names, format!("ns-{}", number % 3)),
                }
        };
        let mut expected: Vec<(String, bool)> = Vec::new();
        for (number, n) in (0..6).flat_map(|number| (0..50).map(move |n| (number, n))) {
            for audit in [false, true] {
                let sees = |grant: &Grant| {
                    reaches(grant, number)
                        && (grant.audit || !audit)
                        && grant.since_us.is_none_or(|since| begin_us + n >= since)
                };
                if grants.iter().any(sees) {
                    expected.push((format!("line {n} of {number}"), audit));
                }
            }
        }
        expected.sort();
        for (filter, direction) in [(&all, BOTH[0]), (&all, BOTH[1]), (&of_one, BOTH[0])] {
            let page = Page { direction, ..Page::first(1000) };
            let found = search(store, &scope, filter, TimeRange::default(), page, 20_000).await?;
            let of = |record: &OwnedRecord| {
                (String::from_utf8_lossy(&record.body).into_owned(), record.flags.has(Flags::AUDIT))
            };
            let mut seen: Vec<(String, bool)> = found.records.iter().map(of).collect();
            seen.sort();
            let is_asked =
                |line: &&(String, bool)| std::ptr::eq(filter, &all) || line.0.ends_with(['0', '2', '4']);
            let wanted: Vec<(String, bool)> = expected.iter().filter(is_asked).cloned().collect();
            ensure!(seen == wanted, "{scope:?}: {} found, {} expected", seen.len(), wanted.len());
        }
        let counted = count(store, &scope, &all, TimeRange::default(), HOUR_US, 20_000).await?;
        ensure!(counted.records() == expected.len() as u64, "{scope:?}: {counted:?}, {}", expected.len());
        let streams = (0..6).filter(|number| grants.iter().any(|grant| reaches(grant, *number))).count();
        let told = audit::streams(store, &scope).await?.len();
        ensure!(told == streams, "{scope:?}: {told} streams of {streams}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_seen_beyond_a_scope() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "scopes").await?;
    let client = postgres.client_of("scopes").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let everything = filter::parse("")?;
    let mut follow = Follow::from_now(&store).await?;
    let now = support::now_us();
    for number in 0..6 {
        let mut stream = Scattered::new(number);
        for flags in [Flags::default(), Flags::AUDIT] {
            let line = |n: i64| (now + n, Level::Info, flags, format!("line {n} of {number}"));
            put(&running, stream.message(&(0..50).map(line).collect::<Vec<_>>())).await?;
        }
        if number == 2 {
            seal_once(&store).await?;
            follow = Follow::from_now(&store).await?;
        }
    }
    // Streams 0 to 5: tenants 0 1 0 1 0 1, namespaces 0 1 2 0 1 2.
    let admin = || Scope::all(AdminReason::Authorized);
    let tenant = || Scope::of_tenants(["tenant-0"]);
    let cases: [(Scope, &[u32], u32); 7] = [
        (admin(), &[0, 1, 2, 3, 4, 5], 2),
        (tenant(), &[0, 2, 4], 2),
        (tenant().in_namespaces(["ns-1", "ns-7"]), &[4], 2),
        (tenant().in_namespaces(["ns-1"]).without_audit(), &[4], 1),
        (admin().in_namespaces(["ns-0"]).without_audit(), &[0, 3], 1),
        (admin().in_namespaces([""]), &[], 2),
        (admin().in_namespaces((0..40).map(|n| format!("ns-{n}"))), &[0, 1, 2, 3, 4, 5], 2),
    ];
    let mut news = follow.next(&admin(), &everything).await?.records.len();
    ensure!(news == 300, "{news} new ones");
    for (scope, streams, kinds) in cases {
        for direction in BOTH {
            let page = Page { direction, ..Page::first(1000) };
            let found = search(&store, &scope, &everything, TimeRange::default(), page, 20_000).await?;
            let expected = streams.len() * 50 * kinds as usize;
            ensure!(found.records.len() == expected, "{scope:?}: {} records", found.records.len());
            for record in &found.records {
                let origin = found.origins.get(&record.origin).context("no origin")?;
                ensure!(scope.sees(record.flags, origin, record.time_us), "{scope:?} saw {origin:?}");
                // A name opens one record, and nobody else's.
                if record.id.index == 7 {
                    let named = filter::parse(&format!("id={}", record.cursor()))?;
                    let one =
                        search(&store, &scope, &named, TimeRange::default(), Page::first(5), 20_000).await?;
                    ensure!(one.records == std::slice::from_ref(record), "{}", one.records.len());
                    let others = Scope::of_tenants(["nobody"]);
                    let none =
                        search(&store, &others, &named, TimeRange::default(), Page::first(5), 20_000).await?;
                    ensure!(none.records.is_empty());
                }
            }
        }
        let told = audit::streams(&store, &scope).await?.len();
        ensure!(told == streams.len(), "{scope:?}: {told} streams");
        let mut follow = Follow::after(&store, Cursor::end_of(0)).await?;
        news = 0;
        loop {
            let looked = follow.next(&scope, &everything).await?;
            news += looked.records.len();
            if !looked.more {
                break;
            }
        }
        ensure!(news == streams.len() * 50 * kinds as usize, "{scope:?}: {news} followed");
    }
    unions_show_what_their_grants_show(&store, now).await?;
    let written = into_table::write(
        &store,
        &tenant().in_namespaces(["ns-1"]),
        &everything,
        TimeRange::default(),
        "mine",
    )
    .await?;
    ensure!(written == 100, "{written} rows");
    running.stop.cancel();
    running.task.await?
}
