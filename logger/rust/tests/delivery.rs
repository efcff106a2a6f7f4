//! What reaches stdout when a program ends, panics, is killed, or nobody reads: what was promised is there, nothing is torn, and the
//! drops that are told are those that are missing.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cordwood_logger::{Builder, Level};
use serde_json::Value;
use support::{Reaped, json_lines, part, program as run};

/// Not a test of its own: the program that the tests run.
#[test]
fn program() {
    let Some(part) = part() else { return };
    let cordwood = cordwood_logger::init("shop");
    match part.as_str() {
        "exit" => {
            (0..120).for_each(|n| tracing::info!(n, "line"));
            std::process::exit(3);
        }
        "closed" => {
            writeln!(std::io::stderr(), "begun").expect("stderr");
            std::io::stdin().read_to_end(&mut Vec::new()).expect("a sign");
            (0..120).for_each(|n| tracing::info!(n, "line"));
            tracing::error!("an error");
            std::process::exit(3);
        }
        "end" => (0..7).for_each(|n| tracing::info!(n, "line")),
        "panic" => {
            tracing::info!("before");
            let span = tracing::info_span!("request", request_id = "r-1");
            let _entered = span.enter();
            panic!("no {} left", "paper");
        }
        "abort" => {
            tracing::info!("before");
            std::panic::set_hook({
                let ours = std::panic::take_hook();
                Box::new(move |panic| {
                    ours(panic);
                    std::process::abort();
                })
            });
            panic!("the end");
        }
        // It goes on until it is killed, and names the lines that are out, or, when nobody reads, those that it has given.
        "killed" | "unread" => {
            for n in 0.. {
                if n % 100 == 99 {
                    tracing::error!(n, "promised");
                    if part == "unread" || cordwood.flush(Duration::ZERO) {
                        writeln!(std::io::stderr(), "{n}").expect("stderr");
                    }
                } else {
                    tracing::info!(n, filler = "x".repeat(n % 300), "line");
                }
            }
        }
        "mixed" => {
            log::warn!(target: "old::library", "by log");
            tracing::warn!(target: "new::library", "by tracing");
            cordwood.logger().warn("by itself");
        }
        other => panic!("no such part: {other}"),
    }
}

#[test]
fn what_waits_is_written_at_an_exit_and_at_the_end() {
    for (part, count, code) in [("exit", 120, 3), ("end", 7, 0)] {
        let output = run(part).output().expect("run");
        assert_eq!(output.status.code(), Some(code), "{part}");
        let lines = json_lines(&output.stdout);
        let numbers: Vec<_> = lines.iter().filter_map(|line| line["n"].as_u64()).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{part}");
        assert!(lines.iter().all(|line| line["service"] == "shop" && line["logger"] == "delivery"), "{part}");
    }
}

#[test]
fn a_panic_is_an_error_with_its_context_and_its_place() {
    let output = run("panic").output().expect("run");
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["message"], "before");
    let panic = &lines[1];
    for (name, expected) in [
        ("level", "ERROR"),
        ("message", "no paper left"),
        ("errorType", "panic"),
        ("requestId", "r-1"),
        ("thread", "program"),
    ] {
        assert_eq!(panic[name], expected, "{panic}");
    }
    assert!(
        panic["file"].as_str().is_some_and(|file| file.ends_with("delivery.rs")) && panic["line"].is_u64()
    );
    assert!(
        panic["errorStack"].as_str().is_some_and(|stack| stack.starts_with("thread 'program' panicked at "))
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked at"), "told twice: {stderr}");
}

#[test]
fn a_panic_that_aborts_is_written_before() {
    let output = run("abort").output().expect("run");
    let messages: Vec<_> = json_lines(&output.stdout).iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["before", "the end"]);
}

#[test]
fn tracing_log_and_loggers_are_one_output() {
    let output = run("mixed").output().expect("run");
    let lines = json_lines(&output.stdout);
    let told: Vec<_> = lines.iter().map(|line| (line["logger"].as_str(), line["message"].as_str())).collect();
    let expected = [("old::library", "by log"), ("new::library", "by tracing"), ("shop", "by itself")];
    assert_eq!(told, expected.map(|(logger, message)| (Some(logger), Some(message))));
    assert!(lines.iter().all(|line| line["file"].is_string() && line["line"].is_u64()), "{lines:?}");
}

#[test]
fn a_kill_tears_nothing_and_takes_nothing_that_was_promised() {
    let mut child = Reaped(run("killed").spawn().expect("run"));
    let mut stdout = child.0.stdout.take().expect("stdout");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).map(|_| all)
    });
    let mut promised = Vec::new();
    let mut stderr = BufReader::new(child.0.stderr.take().expect("stderr"));
    while promised.len() < 30 {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).expect("stderr") > 0, "it ended by itself");
        promised.push(line.trim().parse::<u64>().expect("a number"));
    }
    child.0.kill().expect("kill");
    let output = reader.join().expect("a reader").expect("what it read");
    let text = String::from_utf8(output).expect("UTF-8");
    assert!(text.ends_with("}\n"), "torn: {:?}", &text[text.len().saturating_sub(80)..]);
    let lines = json_lines(text.as_bytes());
    let numbers: Vec<_> = lines.iter().filter_map(|line| line["n"].as_u64()).collect();
    // An ERROR takes all before it along: none up to the last promise is missing.
    let last = *promised.last().expect("a promise");
    assert!(numbers.len() as u64 > last && numbers.iter().copied().eq(0..numbers.len() as u64), "{last}");
}

#[test]
fn a_reader_that_goes_away_stops_nobody() {
    let mut child = Reaped(run("closed").stdin(Stdio::piped()).spawn().expect("run"));
    let mut from = BufReader::new(child.0.stderr.take().expect("stderr"));
    let mut stderr = String::new();
    from.read_line(&mut stderr).expect("that it has begun");
    drop(child.0.stdout.take());
    drop(child.0.stdin.take());
    from.read_to_string(&mut stderr).expect("stderr");
    assert_eq!(child.0.wait().expect("its end").code(), Some(3), "{stderr}");
    assert!(stderr.contains("the output takes no more lines"), "{stderr}");
    assert!(stderr.contains("records that were not written: INFO 120, ERROR 1"), "{stderr}");
}

/// An output that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Stalled(Arc<Gate>);

#[derive(Default)]
struct Gate {
    state: Mutex<Behind>,
    opened: Condvar,
    is_asked: AtomicBool,
}

#[derive(Default)]
struct Behind {
    is_open: bool,
    bytes: Vec<u8>,
}

impl Stalled {
    fn open(&self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_open = true;
        self.0.opened.notify_all();
    }
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.is_asked.store(true, Ordering::SeqCst);
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.0.opened.wait_while(state, |behind| !behind.is_open);
        opened.unwrap_or_else(PoisonError::into_inner).bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn drops_are_the_lowest_levels_and_all_of_them_are_told() {
    let output = Stalled::default();
    let cordwood = Builder::new()
        .service("shop")
        .environment(|name| (name == "CORDWOOD_LEVEL").then(|| "trace".to_owned()))
        .writer(output.clone())
        .room_bytes(64 << 10)
        .start()
        .expect("a logger");
    let logger = cordwood.logger();
    let mut given = BTreeMap::<&str, u64>::new();
    let mut errors = 0;
    // Eight threads' worth of lines while nothing is read; the calls come back all the same.
    for n in 0..20_000u64 {
        let level = if n % 100 == 99 { Level::Error } else { Level::ALL[(n % 4) as usize] };
        errors += u64::from(level == Level::Error);
        *given.entry(level.as_str()).or_default() += 1;
        logger.at(level).field("n", n).send("line");
    }
    assert!(output.0.is_asked.load(Ordering::SeqCst), "the output was never asked");
    output.open();
    assert!(cordwood.flush(Duration::from_secs(60)));
    logger.info("after");
    assert!(cordwood.flush(Duration::from_secs(60)));
    let bytes = output.0.state.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone();
    let lines = json_lines(&bytes);
    let mut missing = given.clone();
    let mut told = BTreeMap::<String, u64>::new();
    for line in &lines {
        if let Some(dropped) = line["dropped"].as_object() {
            assert_eq!((&line["level"], &line["logger"]), (&"WARN".into(), &"cordwood.logger".into()));
            let total: u64 = dropped.values().filter_map(Value::as_u64).sum();
            assert_eq!(line["message"], format!("{total} records dropped: the output stalled"));
            for (level, count) in dropped {
                *told.entry(level.clone()).or_default() += count.as_u64().expect("a count");
            }
        } else if line["n"].is_u64() {
            *missing.get_mut(line["level"].as_str().expect("a level")).expect("a level that was given") -= 1;
        }
    }
    missing.retain(|_, count| *count > 0);
    let missing: BTreeMap<String, u64> =
        missing.into_iter().map(|(level, count)| (level.to_owned(), count)).collect();
    assert_eq!(missing, told);
    assert!(told["TRACE"] > 1_000 && !told.contains_key("ERROR") && errors > 10, "{told:?}");
    assert_eq!(lines.last().map(|line| line["message"].clone()), Some("after".into()));
}

/// An output that tells of each write.
struct Told(std::sync::mpsc::Sender<Vec<u8>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_buffer_is_what_the_environment_says_or_else_the_program_or_else_the_format() {
    type Rows = &'static [(&'static str, &'static str)];
    const HOUR: Duration = Duration::from_secs(3600);
    // How many lines leave together, when no time and no ERROR hurries them.
    let rows: [(Rows, Option<usize>, u64); 6] = [
        (&[("CORDWOOD_BUFFER_MS", "60000")], None, 50),
        (&[("CORDWOOD_BUFFER_MS", "60000"), ("CORDWOOD_BUFFER_RECORDS", "7")], None, 7),
        (&[("CORDWOOD_BUFFER_RECORDS", "7")], Some(3), 7),
        (&[("CORDWOOD_BUFFER_RECORDS", "0")], Some(3), 3),
        (&[("CORDWOOD_BUFFER_MS", "0"), ("CORDWOOD_BUFFER_RECORDS", "7")], Some(3), 1),
        (&[("CORDWOOD_FORMAT", "console")], None, 1),
    ];
    for (variables, lines, expected) in rows {
        let (tell, told) = std::sync::mpsc::channel();
        let read =
            move |name: &str| variables.iter().find(|(key, _)| *key == name).map(|row| row.1.to_owned());
        let mut builder = Builder::new().service("shop").environment(read).writer(Told(tell));
        if let Some(lines) = lines {
            builder = builder.buffer(lines, HOUR);
        }
        let logger = builder.start().expect("a logger").logger();
        for n in 0..expected {
            assert_eq!(
                told.try_recv(),
                Err(std::sync::mpsc::TryRecvError::Empty),
                "{variables:?}: after {n} lines"
            );
            logger.info("line");
        }
        let written = told.recv_timeout(Duration::from_secs(60)).expect("the lines");
        let count = written.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(count, expected, "{variables:?}");
    }
}

/// A pipe that nobody reads, by a real process.
#[test]
fn a_full_pipe_holds_nobody_up() {
    let mut child = Reaped(run("unread").spawn().expect("run"));
    let mut stderr = BufReader::new(child.0.stderr.take().expect("stderr"));
    // The pipe has room for 64 KiB; these promises lie far behind.
    let mut last = 0;
    while last < 3_000 {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).expect("stderr") > 0, "it ended by itself");
        last = line.trim().parse::<u64>().expect("a number");
    }
    child.0.kill().expect("kill");
    let mut output = Vec::new();
    child.0.stdout.take().expect("stdout").read_to_end(&mut output).expect("what is in the pipe");
    let text = String::from_utf8(output).expect("UTF-8");
    assert!(text.ends_with("}\n"), "torn");
    let numbers: Vec<_> = json_lines(text.as_bytes()).iter().filter_map(|line| line["n"].as_u64()).collect();
    assert!(
        !numbers.is_empty() && numbers.len() < 3_000 && numbers.iter().copied().eq(0..numbers.len() as u64)
    );
}
