//! Every command of docs/api.md, run by a shell against `cordwood standalone` on the lines that the page shows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::harness::Folder;

/// The hour that the page's times lie in, and microseconds since the epoch at its begin.
const HOUR: &str = "2026-11-21T06:";
const HOUR_US: i64 = 1_795_240_800_000_000;
const ONE_HOUR_US: i64 = 3_600_000_000;

/// The page, its times moved to the hour before this one (a line's own time counts only near to now), its node to this machine.
fn page() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let page = std::fs::read_to_string(path)?;
    let now_us = jiff::Timestamp::now().as_microsecond();
    let from_us = (now_us.div_euclid(ONE_HOUR_US) - 1) * ONE_HOUR_US;
    let hour = jiff::Timestamp::from_microsecond(from_us)?.to_string();
    let page = page.replace(HOUR, hour.get(..HOUR.len()).context("a time")?);
    let (mut out, mut digits) = (String::new(), String::new());
    for c in page.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let time_us = digits.parse().ok().filter(|us: &i64| (HOUR_US..HOUR_US + ONE_HOUR_US).contains(us));
        match time_us {
            Some(time_us) => out.push_str(&(time_us - HOUR_US + from_us).to_string()),
            None => out.push_str(&digits),
        }
        digits.clear();
        out.push(c);
    }
    Ok(out.replace("node-1", &rustix::system::uname().nodename().to_string_lossy()))
}

/// The text of the fenced blocks of this kind.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// (command, what it prints) in their order.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in blocks(page, "console").concat().lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    commands
}

fn is_same(found: &str, expected: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    match (json(found), json(expected)) {
        (Some(found), Some(expected)) => found == expected,
        _ => lines(found.trim_end()) == lines(expected.trim_end()),
    }
}

#[test]
fn what_the_page_shows_is_what_is_answered() -> Result<()> {
    let page = page()?;
    let folder = Folder::new()?;
    let log = folder.write("shop.log", blocks(&page, "json").first().context("the lines of the log")?)?;
    folder.write("resources/none.yaml", "# nothing yet\n")?;
    let log = log.display().to_string();
    let running =
        folder.start(&["standalone", &log, "--listen", "127.0.0.1:0", "--resources", "resources"])?;
    let deadline = Instant::now() + Duration::from_secs(120);
    let address = loop {
        let told = running.log();
        let address =
            told.lines().find_map(|line| line.strip_prefix("answering on http://")?.split('/').next());
        if let Some(address) = address {
            break address.to_owned();
        }
        ensure!(Instant::now() < deadline, "no address: {told}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let run = |command: &str| -> Result<String> {
        let command = command.replace("localhost:9600", &address);
        let output = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    // Until all lines are stored.
    while !run("curl -s localhost:9600/api/platform/logs/facets")?.contains("\"records\":4") {
        ensure!(Instant::now() < deadline, "the lines are not stored: {}", running.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let commands = commands(&page);
    ensure!(commands.len() >= 10, "{} commands", commands.len());
    for (command, expected) in &commands {
        let found = run(command)?;
        if !is_same(&found, expected) {
            bail!("{command}\nanswers\n{found}\nthe page shows\n{expected}");
        }
    }
    // Under another name than this machine's nobody is told anything: a page of the web may have given the address that name.
    let other =
        run("curl -s -o /dev/null -w '%{http_code}' -H 'Host: logs.example.com' localhost:9600/metrics")?;
    ensure!(other == "403", "{other}");
    // The page shows each route that there is.
    let document: Value = serde_json::from_str(&cordwood_gateway::openapi_json())?;
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for method in item.as_object().into_iter().flat_map(|item| item.keys()) {
            let method = method.to_uppercase();
            let is_shown = page.contains(&format!("`{method} {path}`"));
            ensure!(is_shown || page.contains(&format!("localhost:9600{path}")), "{method} {path}");
        }
    }
    ensure!(running.interrupt()? == 0, "it ends in order");
    Ok(())
}

#[test]
fn what_standalone_refuses_and_what_it_leaves_out() -> Result<()> {
    let folder = Folder::new()?;
    let log = folder.write("a.log", "one\n")?.display().to_string();
    let open = folder.run(&["standalone", &log, "--listen", "0.0.0.0:0"])?;
    ensure!(open.code == 2 && open.stderr.contains("--tokens-file"), "{}: {}", open.code, open.stderr);
    let both = folder.run(&["standalone", &log, "--no-gateway", "--listen", "127.0.0.1:0"])?;
    ensure!(both.code == 2, "{}", both.stderr);
    let missing =
        folder.run(&["standalone", &log, "--listen", "127.0.0.1:0", "--tokens-file", "nowhere.yaml"])?;
    ensure!(missing.code == 2 && missing.stderr.contains("nowhere.yaml"), "{}", missing.stderr);
    ensure!(!folder.data_dir().exists(), "nothing was begun");
    // A run that ends by itself has no API unless it is asked for.
    let ended = folder.ok(&["standalone", &log, "--until-idle", "--idle-after", "0"])?;
    ensure!(!ended.stderr.contains("answering"), "{}", ended.stderr);
    let asked =
        folder.ok(&["standalone", &log, "--until-idle", "--idle-after", "0", "--listen", "127.0.0.1:0"])?;
    ensure!(asked.stderr.contains("answering on http://127.0.0.1:"), "{}", asked.stderr);
    Ok(())
}
