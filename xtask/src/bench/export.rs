//! Measures exports through `cordwood-gateway`: one million records, in each format and with each compression. No other product is
//! measured beside it; the last figure stands beside an aim of one second. Prints for each export the records a second and the gateway's
//! memory; then how long PostgreSQL goes on working after the caller has left, the longest of ten times.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Postgres, Program, wait_for};
use cordwood_tests::http::{ask, open};
use tokio::io::AsyncReadExt as _;

use super::process::{memory, mib, thousands};
use super::{Figure, figure, note};

const RECORDS: usize = 1_000_000;
const TOKEN: &str = "bench-0123456789abcdef";
const PATH: &str = "/api/platform/logs";
/// What a caller takes before it leaves.
const TAKEN_BYTES: usize = 1 << 20;

/// # Errors
/// A part does not start, or an export is not whole.
pub async fn measure() -> Result<Vec<Figure>> {
    let home = Home::new("bench-export")?;
    let postgres = Postgres::start(18).await?;
    let url = postgres.database("export").await?;
    let lines = home.join("app.log");
    std::fs::write(&lines, text()?)?;
    note("storing what is exported");
    let stored = std::process::Command::new(cordwood_tests::bin("cordwood")?)
        .args([
            "standalone",
            "--until-idle",
            "--quiet",
            "--service",
            "shop",
            "--database-url",
            &url,
            "--data-dir",
        ])
        .arg(home.join("data"))
        .arg(&lines)
        .status()?;
    ensure!(stored.success(), "the lines were not stored");
    let (port, probes) = (Port::free()?, Port::free()?);
    let address = format!("127.0.0.1:{}", port.number());
    let tokens = home.join("tokens.yaml");
    std::fs::write(
        &tokens,
        format!("tokens:\n- {{name: bench, token: {TOKEN}, tenants: all, audit: true}}\n"),
    )?;
    let config = home.join("gateway.yaml");
    std::fs::write(
        &config,
        format!(
            "listen: {address}\nprobes_listen: 127.0.0.1:{}\ntokens_file: {}\ndatabase: {{url: \"{url}\"}}\n",
            probes.number(),
            tokens.display()
        ),
    )?;
    let gateway = Program::new("gateway", cordwood_tests::bin("cordwood-gateway")?, home.path())
        .args(["--config".to_owned(), config.display().to_string()])
        .start()?;
    let bearer = format!("Bearer {TOKEN}");
    wait_for("the gateway", Duration::from_secs(60), || async {
        let answer = ask(&address, "GET", "/api/whoami", &[("Authorization", &bearer)]).await?;
        ensure!(answer.code == 200, "{}", answer.code);
        Ok(())
    })
    .await?;
    let (before, _) = memory(gateway.id())?;
    let mut figures = Vec::new();
    let forms = [
        ("JSON lines", "application/x-ndjson", None),
        ("JSON lines, zstd", "application/x-ndjson", Some("zstd")),
        ("JSON lines, gzip", "application/x-ndjson", Some("gzip")),
        ("CSV", "text/csv", None),
        ("bytes", "text/plain", None),
    ];
    for (name, accept, coding) in forms {
        let began = Instant::now();
        let mut headers = vec![("Authorization", bearer.as_str()), ("Accept", accept)];
        headers.extend(coding.map(|coding| ("Accept-Encoding", coding)));
        let mut stream = open(&address, "GET", PATH, &headers).await?;
        let (mut bytes, mut last, mut chunk) = (0, Vec::new(), vec![0; 256 << 10]);
        loop {
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                break;
            }
            bytes += count;
            last.extend_from_slice(&chunk[..count]);
            last.drain(..last.len().saturating_sub(200));
        }
        let seconds = began.elapsed().as_secs_f64();
        if coding.is_none() {
            let whole = format!("{{\"end\":{{\"complete\":true,\"records\":{RECORDS}}}}}");
            ensure!(String::from_utf8_lossy(&last).contains(&whole), "{name}: not whole");
        }
        let (_, most) = memory(gateway.id())?;
        figures.push(figure(
            format!("export of {}M records: {name}", RECORDS / 1_000_000),
            format!("{}/s", thousands(RECORDS as f64 / seconds)),
            format!(
                "{seconds:.1} s, {}; the gateway {} before, {} at the most",
                mib(bytes as u64),
                mib(before),
                mib(most)
            ),
        ));
    }
    let client = postgres.client_of("export").await?;
    let busy = "select count(*) from pg_stat_activity where datname = 'export' and application_name = 'cordwood reader' \
                and state <> 'idle'";
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let headers = [("Authorization", bearer.as_str()), ("Accept", "application/x-ndjson")];
        let mut stream = open(&address, "GET", PATH, &headers).await?;
        let mut taken = vec![0; TAKEN_BYTES];
        stream.read_exact(&mut taken).await?;
        drop(stream);
        let left = Instant::now();
        while client.query_one(busy, &[]).await?.get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            ensure!(left.elapsed() < Duration::from_secs(60), "PostgreSQL goes on");
        }
        longest = longest.max(left.elapsed());
        // The slot too.
        wait_for("the slot", Duration::from_secs(60), || async {
            let answer = ask(&address, "GET", &format!("{PATH}?limit=1"), &headers).await?;
            ensure!(answer.code == 200, "{}", answer.code);
            Ok(())
        })
        .await?;
    }
    figures.push(figure(
        "export: its caller leaves, PostgreSQL is free",
        format!("{:.0} ms", longest.as_secs_f64() * 1_000.0),
        "the longest of ten, after 1 MiB of JSON lines; aim 1 s",
    ));
    Ok(figures)
}

fn text() -> Result<String> {
    let mut text = String::new();
    for line in 0..RECORDS {
        let level = ["info", "info", "info", "warn", "error"][line % 5];
        writeln!(
            text,
            r#"{{"level":"{level}","msg":"order {line} of basket {} was placed and is on its way","orderId":{line},"elapsedMs":{}}}"#,
            line / 7,
            line % 997
        )
        .context("write a line")?;
    }
    Ok(text)
}
