//! Retention and levels follow a folder of resource files, in real time.

use anyhow::{Context, Result, ensure};

use crate::harness::{Folder, cri, now_us, pod_file, text};
use crate::mistakes::{level_config, policy};

const MINUTE_US: i64 = 60_000_000;

/// The number of records whose message has this word.
fn count(folder: &Folder, word: &str) -> Result<usize> {
    Ok(folder.raw(&[word])?.len())
}

fn class(folder: &Folder, policy: &str, level: &str) -> Result<serde_json::Value> {
    let out = folder.ok(&["plan", "--resources", "resources", "-o", "json"])?.stdout;
    let plan: serde_json::Value = serde_json::from_slice(&out)?;
    let classes = plan["classes"].as_array().context("classes")?;
    let found = classes.iter().find(|class| class["policy"] == policy && class["level"] == level);
    Ok(found.cloned().unwrap_or_default())
}

#[test]
fn an_edited_policy_drops_what_has_expired_and_nothing_else() -> Result<()> {
    let folder = Folder::new()?;
    let now = now_us();
    let file = pod_file("pods", "shop", "web-1", "app");
    let mut lines = Vec::new();
    for (age_minutes, word) in [(50, "ancient"), (20, "old"), (0, "young")] {
        for number in 0..100 {
            let body = format!("{word} line {number}");
            lines.extend(cri(now - age_minutes * MINUTE_US + number, "stdout", "F", body.as_bytes()));
        }
        // Errors are kept longer.
        let body = format!("{{\"level\":\"error\",\"msg\":\"{word} trouble\"}}");
        lines.extend(cri(now - age_minutes * MINUTE_US + 1000, "stdout", "F", body.as_bytes()));
    }
    folder.write(&file, &lines)?;
    folder.write("resources/policy.yaml", policy("info: 2h, error: 2h"))?;
    let pods = folder.path("pods");
    let running = folder.start(&[
        "standalone",
        "--pods-dir",
        text(&pods),
        "--resources",
        "resources",
        "--seal-every",
        "1",
        "--retention-every",
        "1",
    ])?;
    folder.until("all is stored", || count(&folder, "line"), |found| *found == 300)?;
    let made = folder.until(
        "the policy's partitions",
        || class(&folder, "test", "info"),
        |class| {
            class["partitions"].as_u64().is_some_and(|partitions| partitions > 0)
                && class["oldest"].is_string()
        },
    )?;
    ensure!(made["retention"] == "2h", "{made}");

    // A mistake changes nothing: the message names the file, and nothing is dropped.
    folder.write("resources/policy.yaml", policy("info: minus"))?;
    folder.until("the mistake is told", || Ok(running.log()), |log| log.contains("stays in force"))?;
    ensure!(count(&folder, "line")? == 300);

    folder.write("resources/policy.yaml", policy("info: 35m, error: 2h"))?;
    folder.until("the ancient are gone", || count(&folder, "ancient line"), |found| *found == 0)?;
    ensure!(count(&folder, "old line")? == 100, "what has not expired must stay");
    folder.write("resources/policy.yaml", policy("info: 5m, error: 2h"))?;
    folder.until("the old are gone", || count(&folder, "old line"), |found| *found == 0)?;
    ensure!(count(&folder, "young line")? == 100, "what has not expired must stay");
    ensure!(count(&folder, "trouble")? == 3, "errors have their own retention");
    the_report_is_what_happened(&folder)?;
    ensure!(running.interrupt()? == 0);
    Ok(())
}

/// 200 lines of INFO were dropped, none before its time; what is kept is counted.
fn the_report_is_what_happened(folder: &Folder) -> Result<()> {
    let report = |more: &[&str]| -> Result<String> {
        let arguments = [&["retention", "report"], more].concat();
        Ok(String::from_utf8(folder.ok(&arguments)?.stdout)?)
    };
    let json = || -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&report(&["--policy", "test", "-o", "json"])?)?)
    };
    let dropped = |report: &serde_json::Value| -> i64 {
        let rows = report["dropped"].as_array().into_iter().flatten();
        rows.filter_map(|row| row["records"].as_i64()).sum()
    };
    let told = folder.until("what was dropped is told", json, |report| dropped(report) == 200)?;
    for row in told["dropped"].as_array().context("dropped")? {
        let in_time = row["youngestSeconds"].as_i64().is_some_and(|seconds| seconds >= 300);
        ensure!(row["level"] == "info" && in_time && row["bytes"].as_i64() > Some(0), "{row}");
    }
    for row in told["changed"].as_array().context("changed")? {
        ensure!(row["step"] == "put-class" && row["policy"] == "test", "{row}");
    }
    let kept: Vec<(&str, i64)> = (told["kept"].as_array().context("kept")?.iter())
        .filter_map(|row| Some((row["level"].as_str()?, row["records"].as_i64()?)))
        .collect();
    ensure!(kept == [("debug", 0), ("info", 100), ("warn", 0), ("error", 3)], "{kept:?}");
    ensure!(told["kept"][1]["oldest"].is_string() && told["kept"][1]["overdue"] == 0, "{told}");
    let csv = report(&["--policy", "test", "-o", "csv"])?;
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    ensure!(csv.starts_with("row,at,policy,level") && csv.contains("dropped,"), "{csv}");
    ensure!(columns[0] == 25 && columns.iter().all(|columns| *columns >= 25), "{csv}");
    let table = report(&[])?;
    for text in ["kept", "OLDEST DUE", "dropped, in all", "dropped, each", "retention 35m -> 5m"] {
        ensure!(table.contains(text), "{table}");
    }
    let nothing = report(&["--policy", "test", "--since", "2100-01-01"])?;
    ensure!(nothing.contains("nothing was taken away"), "{nothing}");
    Ok(())
}

#[test]
fn a_level_config_gates_and_wears_off_by_itself() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "")?;
    folder.write("resources/readme.yaml", "# nothing yet\n")?;
    let running =
        folder.start(&["standalone", text(&path), "--service", "shop", "--resources", "resources"])?;
    let say = |word: &str| {
        folder.append("app.log", format!("{{\"level\":\"info\",\"msg\":\"{word} info\"}}\n{{\"level\":\"error\",\"msg\":\"{word} error\"}}\n"))
    };
    say("before")?;
    folder.until("the first lines", || count(&folder, "before"), |found| *found == 2)?;
    folder.write("resources/quiet.yaml", level_config("ERROR"))?;
    let mut round = 0;
    folder.until(
        "a line is gated",
        || {
            round += 1;
            say(&format!("during{round}"))?;
            folder.totals()
        },
        |totals| totals["gated"].as_u64() > Some(0),
    )?;
    let last = |level: &str| count(&folder, &format!("during{round} {level}"));
    folder.until("the error comes through", || last("error"), |found| *found == 1)?;
    ensure!(last("info")? == 0, "the info line is gated");
    // Twelve seconds after the file was written it is over, with no further change.
    folder.until(
        "lines flow again",
        || {
            round += 1;
            say(&format!("after{round}"))?;
            std::thread::sleep(std::time::Duration::from_millis(800));
            count(&folder, &format!("after{round} info"))
        },
        |found| *found == 1,
    )?;
    ensure!(running.interrupt()? == 0);
    let totals = folder.totals()?;
    let (lines, stored) = (totals["lines"].as_u64().unwrap_or(0), totals["stored"].as_u64().unwrap_or(0));
    ensure!(lines == stored + totals["gated"].as_u64().unwrap_or(0), "every line has one outcome: {totals}");
    Ok(())
}
