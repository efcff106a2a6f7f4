//! What the loggers write, as Cordwood stores and shows it: every field where it belongs; plugins' files through rotation, each line once.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use cordwood_logger::Level;
use cordwood_logger::files::{PluginLogger, Supervisor};
use serde_json::{Map, Value, json};

use crate::harness::{Folder, now_us};

/// Keys of a line that an entry shows as they are.
const SHOWN: [&str; 26] = [
    "level",
    "message",
    "service",
    "logger",
    "source",
    "action",
    "tenantId",
    "tenantSlug",
    "userId",
    "sessionId",
    "impersonatorId",
    "requestId",
    "traceId",
    "spanId",
    "taskId",
    "plugin",
    "pid",
    "file",
    "line",
    "function",
    "errorType",
    "errorCode",
    "errorStack",
    "environment",
    "version",
    "region",
];

/// A value of the conformance table as the logger writes it.
fn written(value: &Value) -> Value {
    let texts = |parts: &Value| -> String {
        parts.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    };
    match value {
        Value::String(mark) if mark == "<file>" || mark == "<function>" => "x.rs".into(),
        Value::String(mark) if mark == "<line>" => 7.into(),
        Value::Object(members) if members.contains_key("$stack") => texts(&members["$stack"]).into(),
        Value::Object(members) if members.contains_key("$integer") => {
            members["$integer"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        }
        Value::Object(members) if members.contains_key("$repeat") => {
            let part = members["$repeat"][0].as_str().unwrap_or_default();
            let times = members["$repeat"][1].as_u64().unwrap_or_default() as usize;
            (part.repeat(times) + members.get("$then").and_then(Value::as_str).unwrap_or_default()).into()
        }
        other => other.clone(),
    }
}

/// What an entry says that its line said: without what the line's place says, and what Cordwood makes of an error.
pub fn said(entry: &Value) -> Result<Value> {
    let mut found = entry.as_object().cloned().context("an entry")?;
    for name in ["id", "timestamp", "tenantId", "tenantSlug", "node", "stream", "signature"] {
        found.remove(name);
    }
    if let Some(data) = found.get_mut("data").and_then(Value::as_object_mut) {
        data.remove("timestamp");
        if data.is_empty() {
            found.remove("data");
        }
    }
    Ok(Value::from(found))
}

/// What an entry shows of a line: known fields, the category, audit's metadata, everything else in `data`.
pub fn shown(line: &Map<String, Value>) -> Value {
    let is_audit = line.get("is_audit") == Some(&Value::Bool(true));
    let (mut entry, mut data) = (Map::new(), Map::new());
    entry.insert("category".to_owned(), if is_audit { "audit" } else { "system" }.into());
    for (name, value) in line.iter().filter(|(name, _)| *name != "is_audit" && *name != "timestamp") {
        let is_own = SHOWN.contains(&name.as_str()) || (is_audit && name == "metadata");
        // Whose a line is, it does not say itself.
        let is_own = is_own && !["tenantId", "tenantSlug"].contains(&name.as_str());
        if is_own { &mut entry } else { &mut data }.insert(name.clone(), value.clone());
    }
    if !data.is_empty() {
        entry.insert("data".to_owned(), data.into());
    }
    entry.into()
}

/// The lines of the table, which the loggers of all languages write.
fn table() -> Result<Vec<Map<String, Value>>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../logger/conformance/cases.json"))?;
    let lines = cases.iter().flat_map(|case| case["lines"].as_array().cloned().unwrap_or_default());
    let lines: Vec<_> = lines
        .filter_map(|line| {
            let members = line.as_object()?.iter();
            Some(members.map(|(name, value)| (name.clone(), written(value))).collect())
        })
        .collect();
    ensure!(lines.len() > 80, "only {} lines", lines.len());
    Ok(lines)
}

#[test]
fn every_field_of_a_line_is_shown_where_it_belongs() -> Result<()> {
    let folder = Folder::new()?;
    let mut lines = table()?;
    let begin_us = now_us() - 60_000_000;
    let mut text = String::new();
    for (line, n) in lines.iter_mut().zip(0..) {
        let time = jiff::Timestamp::from_microsecond(begin_us + n)?;
        line.insert("timestamp".to_owned(), format!("{time:.6}").into());
        // As the loggers do: what the agent looks for comes first.
        let first = ["timestamp", "level", "message"];
        let rest = line.iter().filter(|(name, _)| !first.contains(&name.as_str()));
        let all = first
            .iter()
            .map(|name| (*name, &line[*name]))
            .chain(rest.map(|(name, value)| (name.as_str(), value)));
        let members: Vec<String> = all.map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        text.push_str(&format!("{{{}}}\n", members.join(",")));
    }
    folder.write("shop.log", text)?;
    folder.ok(&["standalone", "shop.log", "--until-idle", "--idle-after", "1"])?;
    let entries = folder.json(&["query", "--all", "--reverse", "-o", "json"])?;
    ensure!(entries.len() == lines.len(), "{} entries of {} lines", entries.len(), lines.len());
    for (entry, line) in entries.iter().zip(&lines) {
        ensure!(entry["timestamp"] == line["timestamp"], "{entry}");
        let found = said(entry)?;
        ensure!(found == shown(line), "wanted {}\nfound  {found}", shown(line));
    }
    Ok(())
}

fn get(address: &str, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.contains(" 200 "), "{answer}");
    Ok(serde_json::from_str(body)?)
}

#[test]
fn plugins_files_are_read_through_rotations_each_line_once() -> Result<()> {
    const LINES: u64 = 2_000;
    let folder = Folder::new()?;
    let logs = folder.path("logs");
    let arguments =
        ["standalone", "logs/plugins/*.log", "logs/plugin-supervisor.log", "--listen", "127.0.0.1:0"];
    // Full after some 350 lines, which makes at most five rotations: none of the older files goes.
    let open = || PluginLogger::open_with(&logs, "hello", 400 * 130);
    let supervisor = Supervisor::open(&logs)?;
    supervisor.spawned("hello", Some(12_345))?;
    let other = PluginLogger::open(&logs, "other")?;
    other.log(Level::Warn, "of another plugin")?;
    let write = |logger: &PluginLogger, range: std::ops::Range<u64>| -> Result<()> {
        for n in range {
            logger.log(Level::Info, &format!("line {n:>50}"))?;
        }
        Ok(())
    };
    // Some of it before Cordwood is there, some while it reads, some while it is killed and away.
    let logger = open()?;
    write(&logger, 0..600)?;
    let running = folder.start(&arguments)?;
    let count = || Ok(folder.raw(&["plugin=hello message:line"])?.len());
    folder.until("the first lines", count, |count| *count >= 600)?;
    write(&logger, 600..1_000)?;
    running.kill()?;
    drop(logger);
    write(&open()?, 1_000..1_600)?;
    let running = folder.start(&arguments)?;
    let logger = open()?;
    write(&logger, 1_600..LINES)?;
    folder.until("all lines", count, |count| *count as u64 >= LINES)?;
    let entries = folder.json(&["query", "--all", "--reverse", "-o", "json", "plugin=hello message:line"])?;
    let numbers: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["message"].as_str()?.rsplit(' ').next()?.parse().ok())
        .collect();
    let once: BTreeSet<u64> = numbers.iter().copied().collect();
    ensure!(numbers.len() as u64 == LINES && once == (0..LINES).collect(), "{} lines", numbers.len());
    let rotated = std::fs::read_dir(logs.join("plugins"))?.flatten().count() - 2;
    ensure!((3..=5).contains(&rotated), "{rotated} rotations");

    let address = folder.until("its address", || Ok(running.address()), |address| !address.is_empty())?;
    let page = get(&address, "/api/plugins/hello/logs?page=0&page_size=2")?;
    let logs = page["logs"].as_array().context("lines")?;
    ensure!(
        logs.len() == 2 && logs.iter().all(|line| line["plugin"] == "hello" && line["level"] == "Info"),
        "{page}"
    );
    let spawned = get(&address, "/api/platform/logs?filter=plugin%3Dhello%20action%3Dspawn")?.to_string();
    ensure!(spawned.contains("Plugin spawned: hello (PID: Some(12345))"), "{spawned}");
    let others = get(&address, "/api/plugins/other/logs?level=warn")?;
    ensure!(others["logs"].as_array().is_some_and(|logs| logs.len() == 1), "{others}");
    running.interrupt()?;
    Ok(())
}
