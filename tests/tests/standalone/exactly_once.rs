//! Lines in = lines out, exactly once: at rest, through kill -9, from stdin, page by page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::harness::{Folder, text};

fn line(file: usize, number: usize) -> String {
    let body = format!("file-{file}|{number}|{}", "x".repeat((file * 7919 + number * 31) % 300));
    match number % 4 {
        0 => format!("{{\"level\":\"warn\",\"msg\":\"{body}\",\"n\":{number}}}"),
        1 => format!("{{\"severity\":\"error\",\"message\":\"{body}\",\"trace_id\":\"t{number}\"}}"),
        _ => body,
    }
}

fn lines(file: usize, numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for number in numbers {
        let _ = writeln!(text, "{}", line(file, number));
    }
    text
}

/// Of each file, which lines came out how often; and that each file's came in their order.
fn check(found: &[Vec<u8>], expected: &[(usize, usize)]) -> Result<()> {
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for (place, body) in found.iter().enumerate() {
        let body = std::str::from_utf8(body).context("a body")?;
        let at = body.find("file-").with_context(|| format!("a body nobody wrote: {body:?}"))?;
        let mut parts = body[at + 5..].split('|');
        let file: usize = parts.next().unwrap_or_default().parse()?;
        let number: usize = parts.next().unwrap_or_default().parse()?;
        ensure!(body == line(file, number), "record {place} is not what was written: {body:?}");
        let wanted = next.entry(file).or_default();
        ensure!(
            number == *wanted,
            "file {file}: line {number} where {wanted} was due (lost, twice, or out of order)"
        );
        *wanted += 1;
    }
    for (file, count) in expected {
        ensure!(next.get(file) == Some(count), "file {file}: {:?} lines of {count}", next.get(file));
    }
    ensure!(next.len() == expected.len());
    Ok(())
}

#[test]
fn what_goes_in_comes_out_and_a_second_run_adds_nothing() -> Result<()> {
    let folder = Folder::new()?;
    for file in 0..3 {
        folder.write(&format!("logs/{file}.log"), lines(file, 0..5_000))?;
    }
    let pattern = folder.path("logs/*.log");
    let arguments = ["standalone", text(&pattern), "--until-idle", "--idle-after", "1"];
    let ran = folder.ok(&arguments)?;
    ensure!(ran.stderr.contains("15,000 records"), "{}", ran.stderr);
    for file in 0..3 {
        let filter = format!("file-{file}");
        // As a word of the body, so that each file is asked for alone.
        check(&folder.raw(&[&filter])?, &[(file, 5_000)])?;
    }
    let again = folder.ok(&arguments)?;
    ensure!(again.stderr.contains("0 records of 0 B stored"), "{}", again.stderr);
    folder.append("logs/1.log", lines(1, 5_000..5_010))?;
    let more = folder.ok(&arguments)?;
    ensure!(more.stderr.contains("10 records"), "{}", more.stderr);
    check(&folder.raw(&["file-1"])?, &[(1, 5_010)])?;
    let totals = folder.totals()?;
    ensure!(totals["stored"] == 15_010 && totals["lostBytes"] == 0, "{totals}");
    Ok(())
}

#[test]
fn kill_9_in_the_middle_loses_nothing_and_doubles_nothing() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "")?;
    let arguments = ["standalone", text(&path), "--quiet"];
    let mut written = 0;
    let mut kills = 0;
    // Until a kill fell between a commit and the checkpoint after it: then lines were read twice and skipped once.
    loop {
        let before = folder.totals_if_any()?["stored"].as_u64().unwrap_or(0);
        let running = folder.start(&arguments)?;
        for _ in 0..20 {
            folder.append("app.log", lines(7, written..written + 500))?;
            written += 500;
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        folder.until(
            "something is stored while it runs",
            || folder.totals_if_any(),
            |totals| totals["stored"].as_u64().is_some_and(|stored| stored > before),
        )?;
        running.kill()?;
        kills += 1;
        let duplicates = folder.totals()?["duplicates"].as_u64().unwrap_or(0);
        if kills >= 3 && duplicates > 0 {
            break;
        }
        ensure!(kills < 20, "after {kills} kills nothing was ever read twice");
    }
    folder.append("app.log", lines(7, written..written + 100))?;
    written += 100;
    folder.ok(&["standalone", text(&path), "--until-idle"])?;
    check(&folder.raw(&[])?, &[(7, written)])?;
    let totals = folder.totals()?;
    ensure!(totals["stored"] == written as u64, "{totals}");
    ensure!(totals["lostBytes"] == 0, "{totals}");
    Ok(())
}

#[test]
fn stdin_is_stored_and_its_spool_goes() -> Result<()> {
    let folder = Folder::new()?;
    let mut input = lines(1, 0..2_000);
    // Without the last line's end: the end of the input ends it.
    input.pop();
    let arguments = ["standalone", "-", "--service", "piped", "--tenant", "acme", "--until-idle"];
    folder.piped(&arguments, input.as_bytes())?;
    check(&folder.raw(&["--service", "piped", "--tenant", "acme"])?, &[(1, 2_000)])?;
    ensure!(folder.raw(&["--tenant", "other"])?.is_empty());
    // The same lines once more are other lines: another stream.
    folder.piped(&arguments, input.as_bytes())?;
    ensure!(folder.raw(&[])?.len() == 4_000);
    let left: Vec<_> = std::fs::read_dir(folder.data_dir().join("spool"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", lines(3, 0..777))?;
    folder.ok(&["standalone", text(&path), "--until-idle"])?;
    let mut bodies = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut arguments = vec!["query", "--limit", "100", "-o", "raw"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--after", cursor]);
        }
        let ran = folder.ok(&arguments)?;
        let page: Vec<Vec<u8>> =
            ran.stdout.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        bodies.extend(page.iter().map(|line| line[..line.len() - 1].to_vec()));
        cursor = ran
            .stderr
            .split("--cursor ")
            .nth(1)
            .map(|rest| rest.split_whitespace().next().unwrap_or_default().to_owned());
        if cursor.is_none() {
            break;
        }
    }
    bodies.reverse();
    check(&bodies, &[(3, 777)])
}

#[test]
fn postgres_killed_under_it_is_started_again() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", lines(1, 0..1_000))?;
    let running = folder.start(&["standalone", text(&path)])?;
    let stored = |count: u64| move |totals: &serde_json::Value| totals["stored"].as_u64() == Some(count);
    folder.until("the first lines", || folder.totals_if_any(), stored(1_000))?;
    let pid_file = std::fs::read_to_string(folder.data_dir().join("postgres/postmaster.pid"))?;
    let pid = pid_file.lines().next().context("a pid")?.trim().parse()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).context("a pid")?,
        rustix::process::Signal::KILL,
    )?;
    folder.append("app.log", lines(1, 1_000..2_000))?;
    folder.until(
        "the lines after the crash",
        || folder.totals().or_else(|_| Ok(serde_json::Value::Null)),
        stored(2_000),
    )?;
    ensure!(running.interrupt()? == 0);
    check(&folder.raw(&[])?, &[(1, 2_000)])
}
