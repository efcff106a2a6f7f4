//! Loads what an older version left behind when it was killed in the middle of its work: the store as SQL, the checkpoint, the log files
//! with lines that nobody has read, and what must come out. Made by the programs of that version, kept as one archive.

mod hand_over;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::identity::OutputStream;
use cordwood_generator::Format;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::env::{Postgres, Process, Program, wait_for};
use crate::generated::{Container, ContainerLog, Rotation};
use crate::reconcile::Ledger;

pub use hand_over::hand_over;

/// Where the files lay when they were read: a plain file is known by its path.
const PLACE: &str = "/tmp/cordwood-upgrade";
const PATIENCE: Duration = Duration::from_secs(120);
const CONTAINERS: usize = 80;

/// The words that the plain file's lines have, by the moment in which they were written; with how many lines of each.
pub type Words = Vec<(String, u64)>;

/// What must come out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Expected {
    /// Lines of containers.
    pub ledger: Ledger,
    /// Lines of the plain file.
    pub words: Words,
}

/// The files of a fixture in their place, one user at a time.
pub struct Place {
    // Let go when it is dropped.
    _lock: File,
}

impl Place {
    /// Empties it.
    pub fn take() -> Result<Place> {
        let lock = File::create(format!("{PLACE}.lock")).context("open the lock of the place")?;
        lock.lock().context("lock the place")?;
        if Path::new(PLACE).exists() {
            fs::remove_dir_all(PLACE).with_context(|| format!("remove {PLACE}"))?;
        }
        fs::create_dir(PLACE).with_context(|| format!("create {PLACE}"))?;
        Ok(Place { _lock: lock })
    }

    pub fn join(&self, name: &str) -> PathBuf {
        Path::new(PLACE).join(name)
    }

    /// Unpacks the archive, loads its SQL, says what must come out.
    pub async fn unpack(&self, archive: &Path, postgres: &Postgres) -> Result<Expected> {
        tar(&["-xzf"], archive)?;
        let sql = fs::read_to_string(self.join("store.sql")).context("read store.sql")?;
        postgres.client().await?.batch_execute(&sql).await.context("load store.sql")?;
        let expected = fs::read_to_string(self.join("expected.json")).context("read expected.json")?;
        serde_json::from_str(&expected).context("read expected.json")
    }

    /// `cordwood standalone` in this place; `more`: arguments that an older version may not know.
    pub fn standalone(&self, program: &Path, url: &str, seal_every_s: u32, more: &[&str]) -> Result<Process> {
        self.cordwood(program, url)
            .args(["standalone", "plain/app.log", "--pods-dir", "pods", "--resources", "resources"])
            .args(["--seal-every", &seal_every_s.to_string(), "--retention-every", "2"])
            .args(more)
            .stop_by(Signal::TERM, Duration::from_secs(30))
            .start()
    }

    /// What `cordwood query` answers, line by line.
    pub fn query(&self, program: &Path, url: &str, arguments: &[&str]) -> Result<Vec<String>> {
        let output = Command::new(program)
            .args(["query", "--all", "--reverse", "-o", "raw"])
            .args(arguments)
            .env("CORDWOOD_DATABASE_URL", url)
            .env("CORDWOOD_DATA_DIR", self.join("data"))
            .output()
            .context("run cordwood query")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cordwood query {arguments:?}: {told}");
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    fn cordwood(&self, program: &Path, url: &str) -> Program {
        Program::new("standalone", program, Path::new(PLACE))
            .env("CORDWOOD_DATABASE_URL", url)
            .env("CORDWOOD_DATA_DIR", self.join("data"))
    }
}

/// Packs what the place holds, the SQL dump beside it.
fn pack(place: &Place, postgres: &Postgres, expected: &Expected, archive: &Path) -> Result<()> {
    fs::write(place.join("expected.json"), serde_json::to_string(expected)?)
        .context("write expected.json")?;
    let output = Command::new("/usr/lib/postgresql/15/bin/pg_dump")
        .args(["--inserts", "--rows-per-insert=50", "--no-owner", "--no-privileges", "--dbname"])
        .arg(postgres.url())
        .output()
        .context("run pg_dump")?;
    ensure!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
    let sql = String::from_utf8(output.stdout).context("the dump is UTF-8")?;
    // Commands of psql, and a setting that would outlive the loading.
    let kept = |line: &&str| !line.starts_with('\\') && !line.contains("set_config('search_path'");
    let sql = sql.lines().filter(kept).collect::<Vec<_>>().join("\n");
    fs::write(place.join("store.sql"), sql).context("write store.sql")?;
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    tar(&["--exclude=*.log.lock", "--exclude=standalone.log", "-czf"], archive)
}

fn tar(arguments: &[&str], archive: &Path) -> Result<()> {
    let output = Command::new("tar")
        .args(arguments)
        .arg(archive)
        .args(["-C", PLACE])
        .args(if arguments.contains(&"-xzf") { &[][..] } else { &["."][..] })
        .output()
        .context("run tar")?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The policy under which nothing expires, however late the fixture is used.
const KEEP: &str = "apiVersion: cordwood.dev/v1alpha1\nkind: LogRetentionPolicy\nmetadata: {name: default}\n\
                    spec: {retention: {error: 90y, warn: 90y, info: 90y, debug: 90y}}\n";

/// The lines of the fixture while it is made.
struct Writing {
    logs: Vec<ContainerLog>,
    plain: File,
    words: Words,
    /// Of the plain file.
    lines: u64,
    all: u64,
}

impl Writing {
    fn begin(place: &Place) -> Result<Writing> {
        let container = |number: usize| Container {
            namespace: "shop".to_owned(),
            pod: format!("app-{number}"),
            uid: format!("00000000-0000-4000-8000-{number:012}"),
            container: "app".to_owned(),
            tenant: "local".to_owned(),
        };
        let rotation = Rotation { bytes: 150 << 10, files_max: 100 };
        let create = |number| {
            ContainerLog::create(
                &place.join("pods"),
                "upgrade",
                &container(number),
                0,
                Format::Json,
                rotation,
            )
        };
        let logs = (0..CONTAINERS).map(create).collect::<Result<_>>()?;
        fs::create_dir(place.join("plain")).context("create the plain file's folder")?;
        let plain = File::create(place.join("plain/app.log")).context("create the plain file")?;
        Ok(Writing { logs, plain, words: Words::new(), lines: 0, all: 0 })
    }

    /// So many lines more of the plain file, and some of each container.
    fn write(&mut self, word: &str, lines: u64) -> Result<()> {
        let mut text = String::new();
        for line in 0..lines {
            let number = self.lines + line;
            let _ = match line % 2 {
                0 => writeln!(text, "INFO order {number} was {word} by worker-{}", line % 7),
                _ => writeln!(
                    text,
                    r#"{{"level":"warn","msg":"stock is low","state":"{word}","order":{number}}}"#
                ),
            };
        }
        self.plain.write_all(text.as_bytes()).context("write the plain file")?;
        // The first has lines of 64 KiB, and is rotated by them. So few of each: there is one of 1 MiB among the first twenty.
        for (number, log) in self.logs.iter_mut().enumerate() {
            let lines = if number == 0 { 4 } else { 2 };
            for _ in 0..lines {
                log.write(if number % 4 == 3 { OutputStream::Stderr } else { OutputStream::Stdout })?;
            }
            log.flush()?;
            self.all += lines;
        }
        match self.words.last_mut() {
            Some((last, count)) if last == word => *count += lines,
            _ => self.words.push((word.to_owned(), lines)),
        }
        self.lines += lines;
        self.all += lines;
        Ok(())
    }
}

/// Has `program` (`cordwood` of an older version) store lines, seal some of them, and killed in the middle of storing more.
pub async fn make(program: &Path, archive: &Path) -> Result<()> {
    let place = Place::take()?;
    fs::create_dir(place.join("resources")).context("create the folder of resources")?;
    fs::write(place.join("resources/default.yaml"), KEEP).context("write the policy")?;
    let postgres = Postgres::start(15).await?;
    let url = postgres.url();
    let number = async |sql: &str| -> Result<u64> {
        let row = postgres.client().await?.query_one(sql, &[]).await.with_context(|| sql.to_owned())?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    };
    let stored = async || number("select coalesce(sum(lines), 0)::bigint from watermarks").await;
    let sealed = async || number("select coalesce(sum(count), 0)::bigint from blocks").await;
    let mut writing = Writing::begin(&place)?;

    let mut run = place.standalone(program, &url, 2, &[])?;
    writing.write("sealed", 300)?;
    wait_for("lines to be sealed", PATIENCE, || async {
        let (stored, sealed) = (stored().await?, sealed().await?);
        ensure!(stored >= writing.all && sealed >= writing.all, "{stored} stored, {sealed} sealed");
        Ok(())
    })
    .await?;
    run.stop();

    let mut run = place.standalone(program, &url, 86_400, &[])?;
    writing.write("fresh", 200)?;
    wait_for("lines to be stored", PATIENCE, || async {
        ensure!(stored().await? >= writing.all);
        Ok(())
    })
    .await?;
    // Killed when PostgreSQL has some of these lines, which no checkpoint says yet.
    let before = writing.all;
    writing.write("between", 200)?;
    wait_for("some more to be stored", PATIENCE, || async {
        ensure!(stored().await? > before);
        Ok(())
    })
    .await?;
    run.kill();
    writing.write("unread", 200)?;

    let mut expected = Expected { ledger: Ledger::default(), words: writing.words };
    (expected.ledger.run, expected.ledger.others_allowed) = ("upgrade".to_owned(), true);
    for log in writing.logs {
        log.close(&mut expected.ledger)?;
    }
    pack(&place, &postgres, &expected, archive)
}
