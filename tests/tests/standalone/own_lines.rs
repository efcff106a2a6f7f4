//! What our own programs log, as Cordwood stores and shows it: every field where it belongs, levels changed while they run, and no line
//! that makes another one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::harness::Folder;
use crate::logger::{said, shown};

/// One of our programs that runs beside the test, with its log.
struct Program {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Program {
    fn start(folder: &Folder, name: &str, config: &str, variables: &[(&str, &str)]) -> Result<Program> {
        let file = folder.write(&format!("{name}.yaml"), config)?;
        let mut child = Command::new(cordwood_tests::bin(name)?)
            .arg("--config")
            .arg(file)
            .env_remove("RUST_LOG")
            .env("CORDWOOD_REGION", "eu-1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let log = BufReader::new(child.stderr.take().context("its stderr")?);
        Ok(Program { child, log })
    }

    /// The next line that it logs.
    fn line(&mut self) -> Result<Map<String, Value>> {
        let mut line = String::new();
        self.log.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line:?}"))
    }

    /// The next line of our own code: a library may be heard of before it (one that connects at once to an address where nobody answers).
    fn own_line(&mut self) -> Result<Map<String, Value>> {
        loop {
            let line = self.line()?;
            if line["logger"].as_str().is_some_and(|logger| logger.starts_with("cordwood_")) {
                return Ok(line);
            }
        }
    }

    /// Where it answers, as it says itself.
    fn address(&mut self) -> Result<String> {
        loop {
            if let Some(address) = self.own_line()?.get("address").and_then(Value::as_str) {
                return Ok(address.to_owned());
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nobody answers there: each says so.
const NOBODY: &str = "127.0.0.1:1";

fn configs(folder: &Folder) -> Result<[(&'static str, String); 4]> {
    let database = format!("database: {{url: \"postgresql://nobody@{NOBODY}/x\"}}\n");
    let state = folder.path("state");
    let agent = format!(
        "listen: 127.0.0.1:0\nnode: n-1\nstate_dir: {}\nkafka: {{brokers: \"{NOBODY}\"}}\nkubernetes: {{enabled: false}}\n",
        state.display()
    );
    let writer = format!("listen: 127.0.0.1:0\nkafka: {{brokers: \"{NOBODY}\"}}\n{database}");
    let tokens = folder.write(
        "tokens.yaml",
        "tokens: [{name: a, token: abcdefghijklmnopqrstuvwxyz012345, tenants: [a]}]\n",
    )?;
    let gateway = format!(
        "listen: 127.0.0.1:0\nprobes_listen: 127.0.0.1:0\ntokens_file: {}\n{database}",
        tokens.display()
    );
    let cluster = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
                   clusters: [{name: a, cluster: {server: \"http://127.0.0.1:1\"}}]\nusers: [{name: a, user: {}}]\n";
    let cluster = folder.write("kubeconfig", cluster)?;
    let operator =
        format!("listen: 127.0.0.1:0\nkubernetes: {{kubeconfig_file: {}}}\n{database}", cluster.display());
    Ok([
        ("cordwood-agent", agent),
        ("cordwood-writer", writer),
        ("cordwood-gateway", gateway),
        ("cordwood-operator", operator),
    ])
}

#[test]
fn lines_of_our_own_programs_are_shown_field_by_field() -> Result<()> {
    let folder = Folder::new()?;
    let mut lines = Vec::new();
    for (name, config) in configs(&folder)? {
        let line = Program::start(&folder, name, &config, &[])?.own_line()?;
        ensure!(
            line["service"] == name && line["region"] == "eu-1" && line["version"].is_string(),
            "{line:?}"
        );
        ensure!(line["file"].as_str().is_some_and(|file| file.ends_with(".rs")), "{line:?}");
        ensure!(line["line"].as_u64() > Some(0), "{line:?}");
        lines.push(line);
    }
    let text: Vec<String> = lines.iter().map(|line| Value::from(line.clone()).to_string() + "\n").collect();
    folder.write("own.log", text.concat())?;
    folder.ok(&["standalone", "own.log", "--until-idle", "--idle-after", "1"])?;
    let entries = folder.json(&["query", "--all", "--reverse", "-o", "json"])?;
    ensure!(entries.len() == lines.len(), "{} entries of {} lines", entries.len(), lines.len());
    for line in &lines {
        let entry = entries.iter().find(|entry| entry["service"] == line["service"]).context("its entry")?;
        let (wanted, found) = (shown(line), said(entry)?);
        ensure!(found == wanted, "wanted {wanted}\nfound  {found}");
    }
    Ok(())
}

/// The status and the body of an answer.
fn ask(address: &str, method: &str, body: &str) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    let bytes = body.len();
    write!(
        stream,
        "{method} /cordwood/level HTTP/1.0\r\nHost: {address}\r\nContent-Length: {bytes}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

#[test]
fn levels_of_a_running_program_change_where_that_is_wanted() -> Result<()> {
    let folder = Folder::new()?;
    let [(name, config), ..] = configs(&folder)?;
    let mut program = Program::start(&folder, name, &config, &[("CORDWOOD_SERVE_LEVELS", "1")])?;
    let address = program.address()?;
    let (status, setting) = ask(&address, "GET", "")?;
    ensure!(status == 200 && setting["level"] == "INFO", "{setting}");
    let (status, setting) = ask(&address, "PUT", "{\"level\": \"ERROR\", \"ttlSeconds\": 1}")?;
    ensure!(status == 200 && setting["level"] == "ERROR" && setting["ttlSeconds"] == 1, "{setting}");
    let (status, problem) = ask(&address, "PUT", "{\"level\": \"LOUD\"}")?;
    ensure!(status == 400 && problem["status"] == 400, "{problem}");
    folder.until(
        "the level is back",
        || Ok(ask(&address, "GET", "")?.1),
        |setting| setting["level"] == "INFO",
    )?;
    // Who changed them is told once they let it through.
    let (status, _) = ask(&address, "PUT", "{\"level\": \"DEBUG\"}")?;
    ensure!(status == 200);
    while program.line()?["message"] != "levels of the log changed" {}
    drop(program);

    let mut program = Program::start(&folder, name, &config, &[])?;
    let address = program.address()?;
    ensure!(ask(&address, "GET", "")?.0 == 404, "it is there although nobody asked for it");
    Ok(())
}

/// So many batches in turn that leave no line in the program's log.
const QUIET_ROUNDS: usize = 3;

#[test]
fn a_program_that_reads_its_own_lines_comes_to_rest() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("web.log", "begun\n")?;
    // Its own log, from its first line on, and everything that it could say.
    let arguments = ["standalone", "standalone.log", "web.log"];
    let mut command = folder.command(&arguments)?;
    command.env("CORDWOOD_FORMAT", "json").env("RUST_LOG", "trace");
    let running = folder.start_command(command)?;
    let own = || folder.json(&["query", "--all", "-o", "json", "service=cordwood"]);
    let (mut quiet, mut round) = (0, 0);
    while quiet < QUIET_ROUNDS {
        ensure!(round < 60, "it goes on and on: {}", running.log());
        let before = running.log().len();
        round += 1;
        let marker = format!("marker-{round}.");
        folder.append("web.log", format!("{marker}\n"))?;
        folder.until(&marker, || folder.raw(&[&format!("message:{marker}")]), |found| found.len() == 1)?;
        quiet = if running.log().len() == before { quiet + 1 } else { 0 };
    }
    let logged = running.log().lines().filter(|line| line.starts_with('{')).count();
    ensure!(logged > 0, "{}", running.log());
    folder.until("its own lines", own, |found| found.len() == logged)?;
    Ok(())
}
