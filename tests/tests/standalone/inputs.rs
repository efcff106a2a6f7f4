//! What is named is read, whatever its name and however it ends; its lines have their own times.

use anyhow::{Context, Result, ensure};

use crate::harness::{Folder, cri, now_us, pod_file, text};

const DAY_US: i64 = 86_400_000_000;

fn time(us: i64) -> Result<String> {
    let time = jiff::Timestamp::from_microsecond(us).context("a time")?;
    Ok(format!("{time:.0}"))
}

#[test]
fn what_is_named_is_read_to_its_last_byte() -> Result<()> {
    let folder = Folder::new()?;
    let names = ["{3f25}.log", "back\\slash.log", "x {1} [a]/y.log", "star*?.log"];
    for name in names {
        folder.write(name, format!("in {name}\n"))?;
    }
    let (long_ago, now) = (time(now_us() - 8 * DAY_US)?, time(now_us())?);
    folder.write("gap.log", format!("{long_ago} ERROR first thing\n{now} ERROR last thing\n"))?;
    folder
        .write("end.log", "{\"level\":\"info\",\"msg\":\"whole\"}\n{\"level\":\"error\",\"msg\":\"tail\"}")?;
    folder.write("one.log", "a line that never ends")?;
    let unfinished = cri(now_us(), "stdout", "P", b"no newline was printed");
    folder.write(&pod_file("pods", "shop", "init-1", "init"), unfinished)?;
    let mut arguments: Vec<&str> = vec!["standalone", "gap.log", "end.log", "one.log"];
    arguments.extend(names);
    let pods = folder.path("pods");
    arguments.extend(["--pods-dir", text(&pods), "--until-idle", "--idle-after", "1"]);
    folder.ok(&arguments)?;

    let mut found: Vec<String> =
        folder.raw(&[])?.into_iter().map(|body| String::from_utf8_lossy(&body).into_owned()).collect();
    found.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("in {name}")).collect();
    expected.extend([
        format!("{long_ago} ERROR first thing"),
        format!("{now} ERROR last thing"),
        "{\"level\":\"info\",\"msg\":\"whole\"}".to_owned(),
        "{\"level\":\"error\",\"msg\":\"tail\"}".to_owned(),
        "a line that never ends".to_owned(),
        "no newline was printed".to_owned(),
    ]);
    expected.sort();
    ensure!(found == expected, "{found:#?}");
    let (since, until) = (time(now_us() - 9 * DAY_US)?, time(now_us() - 7 * DAY_US)?);
    let found = folder.json(&["query", "-o", "json", "--since", &since, "--until", &until])?;
    ensure!(found.len() == 1, "the line of that time: {found:?}");

    // What was taken without its end is not read again; what is written behind it is a line of its own.
    folder.append("end.log", "\nmore\n")?;
    folder.append("one.log", " but it did\n")?;
    folder.ok(&arguments)?;
    let again = folder.raw(&[])?;
    let tails = again.iter().filter(|body| body.ends_with(b"\"tail\"}")).count();
    let ends = again.iter().filter(|body| body.starts_with(b"a line that never ends")).count();
    ensure!((tails, ends) == (1, 1), "{tails} and {ends} times");
    ensure!(again.iter().any(|body| body == b"more"), "what follows is read");

    for (name, expected) in [("*.nothing", "no file matches it"), ("{a,b}.txt", "no file matches it")] {
        let ran = folder.run(&["standalone", name, "--until-idle"])?;
        ensure!(ran.code == 2 && ran.stderr.contains(expected), "{name}: {} {}", ran.code, ran.stderr);
    }
    Ok(())
}
