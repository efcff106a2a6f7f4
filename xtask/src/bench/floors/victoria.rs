//! Measures VictoriaLogs on the same lines over HTTP, for comparison with Cordwood: size, CPU and memory, and for the corpus of services the
//! same searches, warm and cold. Fills one column of the table of floors, which has no verdicts.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::{VictoriaLogs, cache, wait_for};
use cordwood_tests::http::{ask, metric, send};
use tokio::runtime::Handle;

use super::super::corpus::{Corpus, names};
use super::super::note;
use super::super::process::{cpu, memory};
use super::super::services::{Services, Sought, Tally, pod_name, tenant};
use super::searches::{BIN_US, PAGE, is_wrong, median, ms};
use super::stored::CHUNK;
use super::table::{Cell, Column};
use super::{CORPORA, CPU, HISTOGRAM, MEMORY, cold_page, sealed_page, size};

/// Of one request that brings lines.
const REQUEST_BYTES: usize = 8 << 20;
const WARM: usize = 10;
const MERGE_LIMIT: Duration = Duration::from_secs(600);
const INSERT: &str = "/insert/jsonline?_stream_fields=namespace,pod&_time_field=time&_msg_field=message";

/// A corpus of which only the size counts.
///
/// # Errors
/// It cannot be had, ends, or refuses a line.
pub async fn sizes(column: &mut Column, name: &str, corpus: &Corpus, end_us: i64) -> Result<()> {
    let mut logs = VictoriaLogs::start().await?;
    let mut inserts = Inserts::new(&logs);
    let kind = if matches!(corpus, Corpus::Generated { .. }) { Body::Json } else { Body::Text };
    corpus.each(end_us, |pod, time_us, body| {
        let (namespace, pod) = names(pod);
        let Some(request) = inserts.line(time_us, &namespace, &pod, body, kind)? else { return Ok(()) };
        tokio::task::block_in_place(|| Handle::current().block_on(inserts.send(request)))
    })?;
    let (_, raw) = inserts.end(&mut logs).await?;
    column.put(size(name), Cell::new(disk_bytes(&logs)? as f64 / raw as f64, ""));
    Ok(())
}

/// # Errors
/// It cannot be had, ends, or refuses a line.
pub async fn services(column: &mut Column, lines: u64, end_us: i64) -> Result<()> {
    let mut logs = VictoriaLogs::start().await?;
    note("VictoriaLogs: storing");
    let mut inserts = Inserts::new(&logs);
    let mut services = Services::new(lines, CHUNK, end_us);
    let from_us = services.begins_us();
    let mut body = Vec::new();
    while let Some(line) = services.next(&mut body) {
        let namespace = format!("tenant-{}", tenant(line.pod));
        if let Some(request) =
            inserts.line(line.time_us, &namespace, &pod_name(line.pod), &body, Body::Timed)?
        {
            inserts.send(request).await?;
        }
        body.clear();
    }
    let (cost, raw) = inserts.end(&mut logs).await?;
    let seconds = cost.cpu.as_secs_f64() * 1e6 / lines as f64;
    column.put(CPU, Cell::new(seconds, "from HTTP on, merged"));
    column.put(MEMORY, Cell::new(cost.memory_max as f64 / f64::from(1 << 20), ""));
    column.put(size(CORPORA[1]), Cell::new(disk_bytes(&logs)? as f64 / raw as f64, ""));
    let (tally, trace) = (services.take_tally(), services.sought_trace().to_owned());
    let searches = Searches { trace, tally, from_us, end_us };
    note("VictoriaLogs: searches");
    for sought in Sought::ALL {
        column.put(sealed_page(sought), searches.warm(&logs, sought).await?);
    }
    column.put(HISTOGRAM, searches.histogram(&logs).await?);
    for sought in Sought::ALL {
        logs.stop();
        super::cold::drop_cached(&logs.data())?;
        logs.restart().await?;
        let (ms, story) = searches.page(&logs, sought).await?;
        column.put(cold_page(sought), Cell::new(ms, story));
    }
    Ok(())
}

/// How a line is told.
#[derive(Clone, Copy)]
enum Body {
    /// JSON with its time.
    Timed,
    /// JSON without.
    Json,
    Text,
}

/// Lines on their way, some at a time.
struct Inserts {
    address: String,
    request: String,
    /// Bytes of the lines as they were written.
    raw: u64,
}

impl Inserts {
    fn new(logs: &VictoriaLogs) -> Inserts {
        Inserts { address: logs.address(), request: String::new(), raw: 0 }
    }

    /// Returns a request that is full.
    fn line(
        &mut self,
        time_us: i64,
        namespace: &str,
        pod: &str,
        body: &[u8],
        kind: Body,
    ) -> Result<Option<String>> {
        self.raw += body.len() as u64 + 1;
        let text = String::from_utf8_lossy(body);
        let time = jiff::Timestamp::from_microsecond(time_us)?;
        let time =
            if matches!(kind, Body::Timed) { String::new() } else { format!(r#""time":"{time:.6}","#) };
        let head = format!(r#"{{{time}"namespace":"{namespace}","pod":"{pod}","#);
        let rest = match kind {
            Body::Timed | Body::Json => text.strip_prefix('{').context("a line of JSON")?.to_owned(),
            Body::Text => format!(r#""message":{}}}"#, serde_json::to_string(&text)?),
        };
        self.request.push_str(&head);
        // The bench's own lines name their message otherwise.
        self.request.push_str(&rest.replacen("\"msg\":", "\"message\":", 1));
        self.request.push('\n');
        Ok((self.request.len() >= REQUEST_BYTES).then(|| std::mem::take(&mut self.request)))
    }

    async fn send(&self, request: String) -> Result<()> {
        let answer = send(&self.address, "POST", INSERT, &[], &request).await?;
        ensure!(answer.code == 200, "VictoriaLogs refuses lines: {} {}", answer.code, answer.text());
        Ok(())
    }

    /// All are on the disk, in as few parts as it makes of them. Returns the bytes of the lines, too.
    async fn end(self, logs: &mut VictoriaLogs) -> Result<(Cost, u64)> {
        let Inserts { request, raw, .. } = &self;
        self.send(request.clone()).await?;
        let before = Cost::of(logs)?;
        // The newest are in memory alone until it ends.
        logs.stop();
        logs.restart().await?;
        let address = logs.address();
        let answer = ask(&address, "GET", "/internal/force_merge", &[]).await?;
        ensure!(answer.code == 200, "VictoriaLogs does not merge: {} {}", answer.code, answer.text());
        wait_for("the merge", MERGE_LIMIT, async || {
            let active = metric(&address, "vl_active_force_merges").await?
                + metric(&address, "vl_active_merges").await?;
            ensure!(active == 0.0, "{active} merges");
            Ok(())
        })
        .await?;
        let after = Cost::of(logs)?;
        let memory_max = before.memory_max.max(after.memory_max);
        Ok((Cost { cpu: before.cpu + after.cpu, memory_max }, *raw))
    }
}

/// Of a process so far.
struct Cost {
    cpu: Duration,
    /// Bytes.
    memory_max: u64,
}

impl Cost {
    fn of(logs: &VictoriaLogs) -> Result<Cost> {
        let id = logs.process().id();
        Ok(Cost { cpu: cpu(id)?, memory_max: memory(id)?.1 })
    }
}

fn disk_bytes(logs: &VictoriaLogs) -> Result<u64> {
    let text = cache::run(Command::new("du").arg("-sb").arg(logs.data()))?;
    text.split_whitespace().next().context("du printed nothing")?.parse().context("du's number")
}

struct Searches {
    trace: String,
    tally: Tally,
    from_us: i64,
    end_us: i64,
}

impl Searches {
    fn path(&self, route: &str, sought: Sought) -> String {
        let query = encoded(&sought.logsql(&self.trace));
        // Its bounds are in nanoseconds.
        format!("/select/logsql/{route}?query={query}&start={}000&end={}000", self.from_us, self.end_us + 1)
    }

    async fn page(&self, logs: &VictoriaLogs, sought: Sought) -> Result<(f64, String)> {
        let path = format!("{}&limit={PAGE}", self.path("query", sought));
        let began = Instant::now();
        let answer = ask(&logs.address(), "GET", &path, &[]).await?;
        let took = ms(began);
        ensure!(answer.code == 200, "{path}: {} {}", answer.code, answer.text());
        let records = answer.body.iter().filter(|byte| **byte == b'\n').count() as u64;
        let wrong = is_wrong(records, self.tally.of(sought));
        Ok((took, wrong.trim_start_matches(", ").to_owned()))
    }

    async fn warm(&self, logs: &VictoriaLogs, sought: Sought) -> Result<Cell> {
        let (_, story) = self.page(logs, sought).await?;
        let mut all = Vec::new();
        for _ in 0..WARM {
            all.push(self.page(logs, sought).await?.0);
        }
        let (median, slowest) = median(all)?;
        let apart = if story.is_empty() { "" } else { ", " };
        Ok(Cell::new(median, format!("slowest {slowest:.1}{apart}{story}")))
    }

    async fn histogram(&self, logs: &VictoriaLogs) -> Result<Cell> {
        let step = BIN_US / 1_000_000;
        let path = format!("{}&step={step}s&field=level", self.path("hits", Sought::Common));
        let (mut all, mut records) = (Vec::new(), 0);
        for _ in 0..WARM {
            let began = Instant::now();
            let answer = ask(&logs.address(), "GET", &path, &[]).await?;
            all.push(ms(began));
            let hits = answer.json()?;
            let totals =
                hits["hits"].as_array().context("hits")?.iter().filter_map(|of| of["total"].as_u64());
            records = totals.sum();
        }
        let (median, slowest) = median(all)?;
        let wrong = if records == self.tally.of(Sought::Common) { "" } else { ", NOT ALL" };
        Ok(Cell::new(median, format!("slowest {slowest:.1}, {records} records{wrong}")))
    }
}

/// For a part of a URL's query.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
