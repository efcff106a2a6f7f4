//! Random questions, paged both ways while records are written and sealed, against an oracle that knows every line.
//!
//! What was stored before a question comes exactly once, in the order of (time, id); what is stored meanwhile at most once; nothing
//! else comes. `CORDWOOD_CASES` asks more questions, `CORDWOOD_SEED` the same ones again.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::entry::timestamp;
use cordwood_store::search::Cursor;
use cordwood_tests::env::{Postgres, wait_for};
use cordwood_tests::http::ask;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::harness::Folder;
use super::world::{DATABASE, encoded};

const CASES: usize = 100;
/// Questions go on until what was written meanwhile has begun to be sealed too.
const SEALED_WITHIN: Duration = Duration::from_secs(60);
const FIRST_LINES: usize = 2_000;
const LINES_MAX: usize = 6_000;
/// Different times: most records share theirs with many.
const TIMES: i64 = 40;
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
const WORDS: [&str; 6] = ["timeout", "payment", "reset", "order", "cache_miss", "überlauf"];

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    time_us: i64,
    level: usize,
    word: usize,
    service: usize,
}

impl Line {
    fn random(number: usize, from_us: i64, random: &mut StdRng) -> Line {
        Line {
            number,
            time_us: from_us + random.random_range(0..TIMES) * 250,
            level: random.random_range(0..LEVELS.len()),
            word: random.random_range(0..WORDS.len()),
            service: random.random_range(0..5),
        }
    }

    fn text(&self) -> String {
        let line = json!({
            "time": timestamp(self.time_us), "level": LEVELS[self.level], "service": format!("s{}", self.service),
            "msg": format!("n{} {}", self.number, WORDS[self.word]), "tenth": self.number % 10,
        });
        format!("{line}\n")
    }
}

/// What is asked, as it is written and as the oracle understands it.
enum Ask {
    Level(usize),
    AtLeast(usize),
    Word(usize),
    PartOfWord(usize),
    Service(usize),
    Tenth(usize),
    Not(Box<Ask>),
    Both(Box<Ask>, Box<Ask>),
    Either(Box<Ask>, Box<Ask>),
}

impl Ask {
    fn random(depth: usize, random: &mut StdRng) -> Ask {
        let inner = |random: &mut StdRng| Box::new(Ask::random(depth - 1, random));
        match random.random_range(0..if depth == 0 { 6 } else { 9 }) {
            0 => Ask::Level(random.random_range(0..LEVELS.len())),
            1 => Ask::AtLeast(random.random_range(0..LEVELS.len())),
            2 => Ask::Word(random.random_range(0..WORDS.len())),
            3 => Ask::PartOfWord(random.random_range(0..WORDS.len())),
            4 => Ask::Service(random.random_range(0..5)),
            5 => Ask::Tenth(random.random_range(0..10)),
            6 => Ask::Not(inner(random)),
            7 => Ask::Both(inner(random), inner(random)),
            _ => Ask::Either(inner(random), inner(random)),
        }
    }

    fn text(&self) -> String {
        match self {
            Ask::Level(level) => format!("level={}", LEVELS[*level]),
            Ask::AtLeast(level) => format!("level>={}", LEVELS[*level]),
            Ask::Word(word) => WORDS[*word].to_uppercase(),
            Ask::PartOfWord(word) => {
                let letters: Vec<char> = WORDS[*word].chars().collect();
                format!("*{}*", letters[1..letters.len() - 1].iter().collect::<String>())
            }
            Ask::Service(service) => format!("service:s{service}"),
            Ask::Tenth(tenth) => format!("data.tenth={tenth}"),
            Ask::Not(inner) => format!("NOT ({})", inner.text()),
            Ask::Both(one, other) => format!("({}) AND ({})", one.text(), other.text()),
            Ask::Either(one, other) => format!("({} OR {})", one.text(), other.text()),
        }
    }

    fn is(&self, line: &Line) -> bool {
        match self {
            Ask::Level(level) => line.level == *level,
            Ask::AtLeast(level) => line.level >= *level,
            Ask::Word(word) | Ask::PartOfWord(word) => line.word == *word,
            Ask::Service(service) => line.service == *service,
            Ask::Tenth(tenth) => line.number % 10 == *tenth,
            Ask::Not(inner) => !inner.is(line),
            Ask::Both(one, other) => one.is(line) && other.is(line),
            Ask::Either(one, other) => one.is(line) || other.is(line),
        }
    }
}

/// The lines, and how many of them are known to be stored.
struct Written {
    lines: Mutex<Vec<Line>>,
    stored: AtomicUsize,
}

impl Written {
    fn all(&self) -> Vec<Line> {
        self.lines.lock().expect("no panic").clone()
    }

    /// More lines into the log.
    fn write(&self, folder: &Folder, count: usize, from_us: i64, random: &mut StdRng) -> Result<()> {
        let mut lines = self.lines.lock().expect("no panic");
        let begin = lines.len();
        lines.extend((begin..begin + count).map(|number| Line::random(number, from_us, random)));
        folder.append("app.log", lines[begin..].iter().map(Line::text).collect::<String>())
    }

    /// Until the last line is stored: then all are, a file's lines are stored in their order.
    async fn note_stored(&self, address: &str) -> Result<()> {
        let count = self.lines.lock().expect("no panic").len();
        wait_for("the lines to be stored", Duration::from_secs(60), || async {
            let found = page(address, &format!("filter=n{}", count - 1)).await?;
            ensure!(found["items"].as_array().is_some_and(|items| items.len() == 1), "{found}");
            Ok(())
        })
        .await?;
        self.stored.store(count, Ordering::Relaxed);
        Ok(())
    }
}

async fn page(address: &str, query: &str) -> Result<Value> {
    let answer = ask(address, "GET", &format!("/api/platform/logs?{query}"), &[]).await?;
    ensure!(answer.code == 200, "{query}: {} {}", answer.code, answer.text());
    answer.json()
}

/// All items, in the order of the question, by the pages of one direction.
async fn pages(address: &str, query: &str, backwards: bool) -> Result<Vec<Value>> {
    let (step, edge) = if backwards { ("before", "previous") } else { ("after", "next") };
    let (mut items, mut place): (Vec<Value>, Option<String>) = (Vec::new(), None);
    if backwards {
        // From behind the last item: a page in the other order says where that is.
        let other = if query.contains("order=newest") { "order=oldest" } else { "order=newest" };
        let turned = query.replace("order=newest", other).replace("order=oldest", other);
        let last = page(address, &turned).await?;
        let Some(id) = last["items"].get(0).and_then(|item| item["id"].as_str()).map(str::to_owned) else {
            return Ok(items);
        };
        items.push(last["items"][0].clone());
        place = Some(id);
    }
    loop {
        let at = place.map(|place| format!("&{step}={place}")).unwrap_or_default();
        let found = page(address, &format!("{query}{at}")).await?;
        let mut some = found["items"].as_array().cloned().context("no items")?;
        let is_empty = some.is_empty();
        if backwards {
            some.append(&mut items);
            items = some;
        } else {
            items.append(&mut some);
        }
        match found[edge].as_str() {
            Some(next) if !(backwards && is_empty && found["complete"] == true) => {
                place = Some(next.to_owned())
            }
            _ => return Ok(items),
        }
    }
}

fn key(item: &Value) -> Result<Cursor> {
    let id = item["id"].as_str().context("no id")?;
    id.parse().map_err(|_| anyhow::anyhow!("{id} is no id"))
}

fn check(
    ask: &Ask,
    is_in_range: impl Fn(&Line) -> bool,
    stored: usize,
    all: &[Line],
    items: &[Value],
    newest: bool,
) -> Result<()> {
    let keys = items.iter().map(key).collect::<Result<Vec<_>>>()?;
    if let Some(two) = keys.windows(2).find(|two| if newest { two[0] <= two[1] } else { two[0] >= two[1] }) {
        bail!("not in order, or twice: {} and {}", two[0], two[1]);
    }
    let mut seen = HashSet::new();
    for item in items {
        let number = item["message"].as_str().and_then(|text| text.split(' ').next()?.strip_prefix('n'));
        let number: usize = number.with_context(|| format!("{item}"))?.parse()?;
        let line = all.get(number).with_context(|| format!("line {number} was never written"))?;
        ensure!(seen.insert(number), "line {number} came twice");
        ensure!(ask.is(line) && is_in_range(line), "{line:?} was not asked for");
    }
    let missing =
        all[..stored].iter().find(|line| ask.is(line) && is_in_range(line) && !seen.contains(&line.number));
    ensure!(missing.is_none(), "{missing:?} is missing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_comes_once_while_records_are_written_and_sealed_15() -> Result<()> {
    questions(15, "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_comes_once_while_records_are_written_and_sealed_18() -> Result<()> {
    questions(18, "2").await
}

async fn sealed(client: &tokio_postgres::Client) -> Result<i64> {
    let row = client.query_one("select coalesce(sum(count), 0)::bigint from blocks", &[]).await?;
    Ok(row.get(0))
}

/// `format`: of the blocks that sealing writes; fresh ones are of format 1.
async fn questions(version: u32, format: &str) -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("CORDWOOD_SEED").unwrap_or_else(rand::random);
    let cases = number("CORDWOOD_CASES").map_or(CASES, |cases| cases as usize);
    let mut random = StdRng::seed_from_u64(seed);
    let from_us = (jiff::Timestamp::now().as_second() - 600) * 1_000_000;

    let folder = Folder::new()?;
    let written = Written { lines: Mutex::default(), stored: AtomicUsize::new(0) };
    written.write(&folder, FIRST_LINES, from_us, &mut random)?;
    let log = folder.path("app.log").display().to_string();
    let postgres = Postgres::start(version).await?;
    let url = postgres.database(DATABASE).await?;
    // A round of sealing notes which table partitions are missing; the next pass of retention makes them.
    let often = ["--seal-every", "1", "--retention-every", "1", "--seal-format", format];
    let arguments = [&["--listen", "127.0.0.1:0", "--database-url", &url][..], &often].concat();
    let running = folder.start(&[&["standalone", log.as_str()], &arguments[..]].concat())?;
    let address = wait_for("the address", Duration::from_secs(120), || async {
        let told = running.log();
        let address =
            told.lines().find_map(|line| line.strip_prefix("answering on http://")?.split('/').next());
        address.map(str::to_owned).context("none yet")
    })
    .await?;
    written.note_stored(&address).await?;
    let client = postgres.client_of(DATABASE).await?;
    wait_for("the first lines to be sealed", Duration::from_secs(90), || async {
        let sealed = sealed(&client).await?;
        ensure!(sealed > 0, "none");
        Ok(())
    })
    .await?;

    let ended = AtomicUsize::new(0);
    let writing = async {
        let mut random = StdRng::seed_from_u64(seed ^ 1);
        while ended.load(Ordering::Relaxed) == 0 {
            if written.all().len() < LINES_MAX {
                written.write(&folder, random.random_range(1..30), from_us, &mut random)?;
            }
            written.note_stored(&address).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let began = Instant::now();
    let asking = async {
        let mut case = 0;
        while case < cases
            || (sealed(&client).await? <= FIRST_LINES as i64 && began.elapsed() < SEALED_WITHIN)
        {
            case += 1;
            let asked = Ask::random(3, &mut random);
            let newest = random.random_bool(0.5);
            let backwards = random.random_bool(0.5);
            let limit = [37, 200, 999][random.random_range(0..3)];
            let mut at = || from_us + random.random_range(-1..=TIMES) * 250;
            let range = (at(), at());
            let range = if range.0 < range.1 && case % 2 == 0 { Some(range) } else { None };
            let times = range.map(|(from, to)| format!("&from={}&to={}", timestamp(from), timestamp(to)));
            let order = if newest { "newest" } else { "oldest" };
            let query = format!(
                "filter={}&order={order}&limit={limit}{}",
                encoded(&asked.text()),
                times.clone().unwrap_or_default()
            );
            let told = || {
                format!(
                    "seed {seed}, case {case}: {} {times:?} {order} {limit} backwards: {backwards}",
                    asked.text()
                )
            };
            let stored = written.stored.load(Ordering::Relaxed);
            let items = pages(&address, &query, backwards).await.with_context(told)?;
            let is_in_range = |line: &Line| range.is_none_or(|(from, to)| (from..to).contains(&line.time_us));
            check(&asked, is_in_range, stored, &written.all(), &items, newest).with_context(told)?;
        }
        ended.store(1, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (wrote, asked) = tokio::join!(writing, async {
        let asked = asking.await;
        ended.store(1, Ordering::Relaxed);
        asked
    });
    asked.and(wrote)?;
    let sealed = sealed(&client).await?;
    ensure!(sealed > FIRST_LINES as i64, "nothing was sealed meanwhile");
    Ok(())
}
