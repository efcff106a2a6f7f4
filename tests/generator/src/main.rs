//! The generator as a program: a pod's only process. It writes its lines to stdout (and every tenth to stderr, a stream of
//! its own), and keeps a ledger that no fault of the pipeline touches.
//!
//! `cordwood-generator run --run R --stream S --lines N [--rate LINES_PER_S] [--format json|text] [--ledger FOLDER] [--stay]
//! [--unique] [--until FILE]`: `--until` writes on after its lines until that file is there; `--unique` adds the moment of the start to the stream's name, so that a restarted container begins another;
//! `--stay` keeps running afterwards.
//! `cordwood-generator print LINE...` writes these lines to stdout and keeps running.
//! `cordwood-generator pause` waits for a signal (a pod's sandbox).

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cordwood_generator::{Format, Stream};

/// Lines between two looks at the clock and the ledger.
const STEP_MS: u64 = 20;

struct Settings {
    run: String,
    stream: String,
    lines: u64,
    rate: u64,
    format: Format,
    ledger: Option<PathBuf>,
    stay: bool,
    until: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("run") => settings(&arguments[1..]).and_then(|settings| {
            write_all(&settings).map_err(|error| format!("write lines: {error}"))?;
            if settings.stay {
                wait_forever();
            }
            Ok(())
        }),
        Some("print") => match print_all(&arguments[1..]) {
            Ok(()) => wait_forever(),
            Err(error) => Err(format!("write lines: {error}")),
        },
        Some("pause") => wait_forever(),
        _ => Err("usage: cordwood-generator run|print|pause (see the head of main.rs)".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "cordwood-generator: {message}");
            ExitCode::FAILURE
        }
    }
}

fn print_all(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}

fn wait_forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn settings(arguments: &[String]) -> Result<Settings, String> {
    let mut values = HashMap::new();
    let (mut stay, mut unique) = (false, false);
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--stay" => stay = true,
            "--unique" => unique = true,
            "--run" | "--stream" | "--lines" | "--rate" | "--format" | "--ledger" | "--until" => {
                values
                    .insert(&name[2..], rest.next().ok_or_else(|| format!("{name} needs a value"))?.as_str());
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let text = |name: &str| values.get(name).copied().ok_or_else(|| format!("--{name} is missing"));
    let number =
        |name: &str, value: &str| value.parse::<u64>().map_err(|error| format!("--{name} {value}: {error}"));
    let mut stream = text("stream")?.to_owned();
    if unique {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        stream.push_str(&format!(".{:x}", now.as_nanos()));
    }
    Ok(Settings {
        run: text("run")?.to_owned(),
        stream,
        lines: number("lines", text("lines")?)?,
        rate: values.get("rate").map_or(Ok(0), |value| number("rate", value))?,
        format: match values.get("format").copied().unwrap_or("json") {
            "json" => Format::Json,
            "text" => Format::Text,
            other => return Err(format!("--format {other}: json or text")),
        },
        ledger: values.get("ledger").map(PathBuf::from),
        stay,
        until: values.get("until").map(PathBuf::from),
    })
}

/// One output: its stream and how far it is.
struct Output<W: Write> {
    stream: Stream,
    seq: u64,
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Output<W> {
    fn new(settings: &Settings, name: &str, to: W) -> Output<W> {
        let stream = Stream::new(&settings.run, &format!("{}.{name}", settings.stream), settings.format);
        Output { stream, seq: 0, to, line: Vec::new() }
    }

    fn next(&mut self) -> io::Result<()> {
        self.seq += 1;
        self.stream.line(self.seq, &mut self.line);
        self.line.push(b'\n');
        self.to.write_all(&self.line)
    }

    fn note(&mut self, folder: &Path, done: bool) -> io::Result<()> {
        self.to.flush()?;
        let name = format!("{}~{}", self.stream.run, self.stream.stream);
        let draft = folder.join(format!("{name}.draft"));
        fs::write(&draft, format!("{} {}\n", self.seq, if done { "done" } else { "writing" }))?;
        fs::rename(draft, folder.join(name))
    }
}

fn write_all(settings: &Settings) -> io::Result<()> {
    let mut out = Output::new(settings, "out", io::BufWriter::with_capacity(1 << 16, io::stdout().lock()));
    let mut err = Output::new(settings, "err", io::BufWriter::with_capacity(1 << 16, io::stderr().lock()));
    let began = Instant::now();
    let mut noted = Instant::now();
    let mut written = 0;
    let wanted = || settings.until.as_deref().is_some_and(|file| !file.exists());
    while written < settings.lines || wanted() {
        let most = if settings.until.is_some() { u64::MAX } else { settings.lines };
        let due = match settings.rate {
            0 => most.min(written + 1_000),
            rate => most.min(began.elapsed().as_millis() as u64 * rate / 1_000),
        };
        while written < due {
            written += 1;
            if written % 10 == 0 { err.next()? } else { out.next()? }
        }
        out.to.flush()?;
        err.to.flush()?;
        if let Some(folder) = settings.ledger.as_deref().filter(|_| noted.elapsed() > Duration::from_secs(1))
        {
            out.note(folder, false)?;
            err.note(folder, false)?;
            noted = Instant::now();
        }
        if settings.rate > 0 {
            std::thread::sleep(Duration::from_millis(STEP_MS));
        }
    }
    if let Some(folder) = &settings.ledger {
        out.note(folder, true)?;
        err.note(folder, true)?;
    }
    out.to.flush()?;
    err.to.flush()
}
