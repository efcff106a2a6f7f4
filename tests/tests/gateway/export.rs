//! An export is what was stored: each record once, in its form, with a last line that says so.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_tests::http::{Answer, ask};
use serde_json::{Value, json};

use super::world::{World, container, line, recent_us};

const LINES: i64 = 3_000;

async fn export(world: &World, accept: &str, query: &str) -> Result<Answer> {
    let path = format!("/api/platform/logs?{query}");
    let answer = ask(&world.address, "GET", &path, &[("Accept", accept)]).await?;
    ensure!(answer.code == 200, "{}", answer.text());
    Ok(answer)
}

fn last_line(answer: &Answer) -> Result<Value> {
    let text = answer.text();
    let last = text.trim_end().lines().next_back().context("no line")?;
    Ok(serde_json::from_str(last.trim_start_matches("# "))?)
}

#[tokio::test]
async fn an_export_is_what_was_stored() -> Result<()> {
    let at = recent_us();
    let body = |source: u32, n: i64| match n % 4 {
        0 => format!(r#"{{"msg":"=cmd|'{n}'!A1 of {source}","n":{n}}}"#),
        1 => format!("plain \"quoted\", line {n} of {source}"),
        2 => format!(r#"{{"level":"warn","message":"two\nlines {n} of {source}","user_id":"u{n}"}}"#),
        _ => format!("- dash {n} of {source} é"),
    };
    let sources: Vec<_> = (0..2u32)
        .map(|source| {
            // A thousand to a microsecond: pages end in the middle of one time.
            let lines = (0..LINES).map(|n| line(at + n / 1_000, Level::Info, body(source, n)));
            (container("acme", "shop", source), lines.collect::<Vec<_>>())
        })
        .collect();
    let written: BTreeSet<String> =
        sources.iter().flat_map(|(_, lines)| lines.iter().map(|line| line.body.clone())).collect();
    let world = World::with(15, &sources).await?;
    let total = usize::try_from(LINES * 2)?;

    let text = export(&world, "text/plain", "").await?;
    // Bodies have no line ends of their own here.
    let lines: Vec<String> = text.text().lines().map(str::to_owned).collect();
    ensure!(lines.len() == total + 1, "{} lines", lines.len());
    ensure!(lines[..total].iter().cloned().collect::<BTreeSet<_>>() == written);
    ensure!(last_line(&text)? == json!({"end": {"complete": true, "records": total}}));

    let json_lines = export(&world, "application/x-ndjson", "order=oldest").await?;
    ensure!(json_lines.headers["content-type"] == "application/x-ndjson");
    let records: Vec<Value> =
        json_lines.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ids: Vec<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
    ensure!(ids.len() == total && ids.iter().collect::<BTreeSet<_>>().len() == total, "{} ids", ids.len());
    let times: Vec<&str> = records.iter().filter_map(|record| record["timestamp"].as_str()).collect();
    ensure!(times.is_sorted(), "oldest first");
    ensure!(last_line(&json_lines)? == json!({"end": {"complete": true, "records": total}}));

    let csv = export(&world, "text/csv", "filter=%22of+1%22").await?;
    let rows = cells(&csv.text());
    let place = |name: &str| rows[0].iter().position(|cell| cell == name).context("no such column");
    ensure!(rows.len() == 2 + total / 2, "{} rows", rows.len());
    let (message, id) = (place("message")?, place("id")?);
    let data = &rows[1..=total / 2];
    ensure!(data.iter().all(|row| row.len() == rows[0].len()));
    ensure!(data.iter().map(|row| &row[id]).collect::<BTreeSet<_>>().len() == total / 2);
    let formulas = data.iter().filter(|row| row[message].starts_with(['=', '-', '+', '@'])).count();
    ensure!(formulas == 0, "{formulas} cells that a spreadsheet computes");
    ensure!(data.iter().filter(|row| row[message].starts_with("'=cmd")).count() == total / 8);
    ensure!(data.iter().filter(|row| row[message].starts_with("two\nlines")).count() == total / 8);

    // A limit ends it, and the place goes on without loss.
    let (mut after, mut found) = (String::new(), 0);
    loop {
        let part = export(&world, "application/x-ndjson", &format!("limit=2500{after}")).await?;
        let end = last_line(&part)?;
        found += end["end"]["records"].as_u64().context("no count")?;
        match end["end"]["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    ensure!(found == total as u64, "{found}");
    let metrics = world.metrics()?;
    ensure!(metrics.contains("cordwood_gateway_exports_cut_total 0"), "{metrics}");
    Ok(())
}

/// RFC 4180, read by hand.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}
