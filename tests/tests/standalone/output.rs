//! What a person sees: tables, JSON, a terminal that is not steered by what was logged, tables for SQL, live tail.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::harness::{Folder, text};

const NASTY: &[u8] = b"\x1b[2J\x1b]0;owned\x07 red \xe2\x80\xae evil \xff\n";

fn stored(folder: &Folder) -> Result<()> {
    let mut log = NASTY.to_vec();
    log.extend_from_slice(
        b"{\"level\":\"error\",\"msg\":\"card declined\",\"service\":\"pay\",\"requestId\":\"r-1\",\"amount\":12,\"note\":\"a b\"}\n",
    );
    let path = folder.write("app.log", log)?;
    folder.ok(&["standalone", text(&path), "--tenant", "acme", "--until-idle"])?;
    Ok(())
}

#[test]
fn json_has_the_record_s_fields_and_a_table_shows_them() -> Result<()> {
    let folder = Folder::new()?;
    stored(&folder)?;
    let found = folder.json(&["query", "declined", "-o", "json"])?;
    ensure!(found.len() == 1, "{found:?}");
    let record = &found[0];
    for (field, value) in [
        ("level", "ERROR"),
        ("message", "card declined"),
        ("requestId", "r-1"),
        ("tenantSlug", "acme"),
        ("service", "pay"),
        ("category", "system"),
        ("stream", "stdout"),
    ] {
        ensure!(record[field] == value, "{field}: {record}");
    }
    ensure!(record["data"]["amount"] == 12, "{record}");
    let table = String::from_utf8(folder.ok(&["query", "declined"])?.stdout)?;
    ensure!(table.lines().count() == 1, "{table}");
    for part in ["ERROR", "acme", "pay", "card declined", "requestId=r-1", "amount=12", "note=\"a b\""] {
        ensure!(table.contains(part), "{part}: {table}");
    }
    ensure!(!table.contains('\x1b'), "no colour without a terminal");
    let forced = folder.ok(&["--color", "always", "query", "declined"])?.stdout;
    ensure!(forced.contains(&0x1b), "--color always");
    Ok(())
}

/// Runs it on a pseudo terminal of `script` (util-linux, everywhere on Linux).
fn on_terminal(folder: &Folder, arguments: &str) -> Result<Vec<u8>> {
    let cordwood = cordwood_tests::bin("cordwood")?;
    let output = Command::new("script")
        .args(["-qec", &format!("{} {arguments}", cordwood.display()), "/dev/null"])
        .env("CORDWOOD_DATA_DIR", folder.data_dir())
        .env("COLUMNS", "80")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .context("run script(1)")?;
    ensure!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(output.stdout)
}

#[test]
fn a_log_line_does_not_steer_the_terminal() -> Result<()> {
    let folder = Folder::new()?;
    stored(&folder)?;
    let piped = folder.ok(&["query", "evil", "-o", "raw"])?.stdout;
    ensure!(piped == NASTY, "a pipe gets the bytes that were written: {piped:?}");
    for format in ["table", "raw", "json"] {
        let shown = on_terminal(&folder, &format!("query evil -o {format}"))?;
        let text = String::from_utf8(shown).with_context(|| format!("{format}: not UTF-8"))?;
        let steering = |c: char| (c.is_control() && !matches!(c, '\r' | '\n')) || c == '\u{202e}';
        ensure!(!text.contains(steering), "{format}: {text:?}");
        ensure!(text.contains("owned"), "{format}: {text:?}");
    }
    let asked = on_terminal(&folder, "query evil -o raw --raw-control")?;
    ensure!(asked.starts_with(b"\x1b[2J"), "{asked:?}");
    let narrow = String::from_utf8(on_terminal(&folder, "query declined")?)?;
    ensure!(narrow.trim_end().chars().count() <= 80, "{narrow:?}");
    Ok(())
}

#[test]
fn into_table_makes_rows_for_sql() -> Result<()> {
    let folder = Folder::new()?;
    stored(&folder)?;
    folder.write(
        "deep.log",
        format!(
            "{{\"msg\":\"deep\",\"data\":{}1{}}}\n{{\"msg\":\"nul \\u0000\",\"x\":\"\\u0000\"}}\n",
            "[".repeat(3000),
            "]".repeat(3000)
        ),
    )?;
    folder.ok(&["standalone", "deep.log", "--until-idle"])?;
    let ran = folder.ok(&["query", "--into-table", "it's \"mine\""])?;
    ensure!(ran.stdout.starts_with(b"4 records"), "{}", String::from_utf8_lossy(&ran.stdout));
    let again = folder.run(&["query", "--into-table", "it's \"mine\""])?;
    ensure!(again.code == 2 && again.stderr.contains("exists already"), "{}", again.stderr);
    // Looked at with the URL that the hint names.
    let url = std::fs::read_to_string(folder.data_dir().join("database-url"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    // Keeps the server running meanwhile.
    let tail = folder.start(&["tail"])?;
    folder.until(
        "the server runs",
        || Ok(folder.data_dir().join("run/.s.PGSQL.5432").exists()),
        |there| *there,
    )?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    runtime.block_on(async {
        let mut config: tokio_postgres::Config = url.split('?').next().unwrap_or_default().parse()?;
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let row = client
            .query_one("select level, request_id, data->>'amount', body from \"it's \"\"mine\"\"\" where message = 'card declined'", &[])
            .await?;
        let (level, request, amount): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        anyhow::ensure!((level.as_str(), request.as_str(), amount.as_str()) == ("ERROR", "r-1", "12"));
        let body: Vec<u8> = row.get(3);
        anyhow::ensure!(body.starts_with(b"{\"level\""));
        Ok(())
    })?;
    tail.interrupt()?;
    Ok(())
}

#[test]
fn tail_shows_records_as_they_are_stored() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "first line\n")?;
    let running = folder.start(&["standalone", text(&path)])?;
    folder.until("the first line", || folder.raw(&[]), |found| found.len() == 1)?;
    let out = folder.path("tail.out");
    let mut tail = folder
        .command(&["tail", "-o", "raw", "--lines", "1", "line"])?
        .stdout(std::fs::File::create(&out)?)
        .stderr(Stdio::null())
        .spawn()?;
    let seen = || Ok(std::fs::read_to_string(&out)?);
    folder.until("the last line", seen, |text| text == "first line\n")?;
    folder.append("app.log", "second line\nnot wanted\nthird line\n")?;
    folder.until("the new lines", seen, |text| text == "first line\nsecond line\nthird line\n")?;
    tail.kill()?;
    tail.wait()?;
    ensure!(running.interrupt()? == 0);
    Ok(())
}

#[test]
fn a_records_name_opens_it_and_goes_on_both_ways() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", (0..40).map(|n| format!("line {n}\n")).collect::<String>())?;
    folder.ok(&["standalone", text(&path), "--until-idle"])?;
    let shown = |arguments: &[&str]| -> Result<Vec<serde_json::Value>> {
        let ran = folder.ok(&[&["query", "-o", "json"], arguments].concat())?;
        let lines = String::from_utf8(ran.stdout)?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    let newest = shown(&["--limit", "10"])?;
    let id = newest[4]["id"].as_str().context("no id")?;
    ensure!(shown(&["--id", id])? == newest[4..5]);
    ensure!(shown(&["--limit", "5", "--cursor", id])? == newest[5..10]);
    let mut newer = shown(&["--cursor", id, "--oldest-first"])?;
    newer.reverse();
    ensure!(newer == newest[..4], "{newer:?}");
    let oldest = shown(&["--limit", "1", "--oldest-first"])?;
    ensure!(oldest[0]["message"] == "line 0", "{oldest:?}");
    let nobodys = format!("{id}0");
    let ran = folder.ok(&["query", "--id", &nobodys])?;
    ensure!(ran.stdout.is_empty() && ran.stderr.contains("no record has this id"), "{}", ran.stderr);
    ensure!(folder.run(&["query", "--id", "nonsense"])?.code == 2);
    Ok(())
}

#[test]
fn audit_fails_when_something_is_lost() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "a line\n".repeat(100))?;
    folder.ok(&["standalone", text(&path), "--until-idle"])?;
    let ran = folder.run(&["audit"])?;
    let table = String::from_utf8(ran.stdout)?;
    ensure!(ran.code == 0 && table.contains("nothing lost") && table.contains("app.log"), "{table}");
    Ok(())
}
