//! Applications that log where nobody would, such as in the destructors of a thread that ends: the process goes on, and its records are there.

mod support;
#[path = "support/written.rs"]
mod written;

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cordwood_logger::{Builder, Change, Cordwood, Fields, Level};
use serde_json::Value;
use serde_json::value::RawValue;
use support::{Reaped, json_lines, part, program as run};
use tracing::info;
use written::Written;

/// Says something when its thread ends, by every way there is. (A span cannot be opened there: the registry of tracing-subscriber panics.)
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        info!(n = 1, "late by tracing");
        log::info!("late by log");
        cordwood_logger::logger().info("late by value");
    }
}

thread_local! {
    static LATE: Late = const { Late };
}

/// Not a test of its own: the program that the tests run.
#[test]
fn program() {
    let Some(part) = part() else { return };
    if part != "asked-before" {
        cordwood_logger::init("shop");
    }
    match part.as_str() {
        "thread" => {
            let ended = std::thread::spawn(|| {
                // It comes before what the logger keeps in its threads, and goes after it.
                LATE.with(|_| {});
                let span = tracing::info_span!("request", request_id = "r-1");
                span.in_scope(|| info!("early"));
            });
            ended.join().expect("a thread that ends well");
            info!("after it");
        }
        #[cfg(unix)]
        "fork" => fork(),
        "bad-values" => log_bad_values(),
        "asked-before" => {
            cordwood_logger::logger().info("by value");
            cordwood_logger::init("shop");
            info!("by tracing");
            log::info!("by log");
        }
        other => panic!("no part {other}"),
    }
}

#[test]
fn a_thread_that_ends_may_log() {
    let output = run("thread").output().expect("the program");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let lines = json_lines(&output.stdout);
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap_or_default()).collect();
    let late = ["late by tracing", "late by log", "late by value"];
    assert_eq!(messages, [&["early"][..], &late, &["after it"]].concat());
}

#[test]
fn a_logger_that_is_asked_for_before_init_is_the_processs() {
    let output = run("asked-before").env("CORDWOOD_SERVICE", "early").output().expect("the program");
    let lines = json_lines(&output.stdout);
    let told: Vec<_> = lines.iter().map(|line| (&line["message"], &line["service"])).collect();
    let early = Value::from("early");
    let messages = ["by value", "by tracing", "by log"].map(Value::from);
    assert_eq!(told, messages.each_ref().map(|message| (message, &early)));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the service is \"early\", not \"shop\""), "{stderr}");
}

fn cordwood(writer: impl Write + Send + 'static) -> Cordwood {
    Builder::new().service("shop").environment(|_| None).writer(writer).start().expect("a logger")
}

/// What is written while `work` runs.
fn lines(work: impl FnOnce(&Cordwood)) -> Vec<Value> {
    let output = Written::default();
    let cordwood = cordwood(output.clone());
    tracing::subscriber::with_default(cordwood.subscriber(), || work(&cordwood));
    assert!(cordwood.flush(Duration::MAX));
    let bytes = output.bytes();
    json_lines(&bytes)
}

/// Tells of itself that it panics, or logs on the way.
struct Bad;

impl fmt::Display for Bad {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!("on the way");
        panic!("a bad value");
    }
}

impl fmt::Debug for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Goes on as a daemon does, in a fork, while lines wait.
#[cfg(unix)]
#[allow(unsafe_code, reason = "std has no fork")]
fn fork() {
    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    info!("before");
    // SAFETY: the test harness's other threads wait; the child logs and exits.
    let child = unsafe { fork() };
    if child == 0 {
        info!("in the child");
        tracing::error!("an error in the child");
        info!("at its end");
        std::process::exit(0);
    }
    let mut status = -1;
    // SAFETY: the child is this process's own, and the status is there.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    info!("in the parent");
}

#[cfg(unix)]
#[test]
fn a_fork_writes_its_own_lines_and_no_others() {
    // (A child that hangs is not to outlive the test.)
    let mut program = Reaped(run("fork").spawn().expect("the program"));
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    program.0.stdout.take().expect("stdout").read_to_end(&mut stdout).expect("stdout");
    program.0.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("stderr");
    let status = program.0.wait().expect("its end");
    assert!(status.success() && !stderr.contains("not written"), "{stderr}");
    let output = stdout;
    let messages: Vec<_> = json_lines(&output).iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["in the child", "an error in the child", "at its end", "before", "in the parent"]);
}

/// Logs values that panic, and goes on.
fn log_bad_values() {
    let caught = |work: &dyn Fn()| {
        let work = std::panic::AssertUnwindSafe(work);
        std::panic::catch_unwind(work).expect_err("a panic");
    };
    let logger = cordwood_logger::logger();
    tracing::info_span!("request", request_id = "r-1").in_scope(|| {
        caught(&|| info!(a = 1, bad = ?Bad, "by tracing"));
        caught(&|| logger.at(Level::Info).field("b", 2).field("bad", format_args!("{Bad}")).send("by value"));
        caught(&|| logger.info(Bad));
        caught(&|| log::info!("{Bad}"));
        caught(&|| drop(tracing::info_span!("bad", bad = %Bad)));
        info!(c = 3, "after");
    });
}

#[test]
fn a_value_that_panics_takes_its_own_record_alone() {
    let output = run("bad-values").output().expect("the program");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let found = json_lines(&output.stdout);
    let messages: Vec<_> = found.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, [["on the way", "a bad value"].repeat(5), vec!["after"]].concat());
    let all_in_span = found.iter().all(|line| line["requestId"] == "r-1");
    assert!(all_in_span && found[..10].iter().all(|line| line["c"].is_null()), "{found:?}");
    let after = &found[10];
    assert!(after["a"].is_null() && after["b"].is_null() && after["bad"].is_null(), "{after}");
    assert_eq!(after["c"], 3);
}

#[test]
fn whatever_the_size_and_the_kind_a_line_is_one_line() {
    let long = "x".repeat(3 << 20);
    let raw = RawValue::from_string("{\n \"a\":\r\n [1, \"\\n\"]}".to_owned()).expect("JSON");
    let path = std::path::PathBuf::from(not_unicode());
    let found = lines(|cordwood| {
        let logger = cordwood.logger().with(&Fields::new().with("requestId", "r-1"));
        logger.info(&long);
        logger.at(Level::Info).field(&long, 1).send("a long name");
        logger.at(Level::Info).json("list", &vec![&long; 4]).send("a long list");
        logger.at(Level::Info).json("raw", &raw).send("raw");
        logger.audit("raw", "raw", &raw);
        info!(path = %path.display(), debug = ?path, nan = f64::NAN, low = i128::MIN, high = u128::MAX, "kinds");
        info!(r#type = "\u{0}\u{7f}\u{2028}\"\\", "odd.name" = 1, "in\nname" = 2, "texts");
    });
    assert_eq!(found.len(), 7);
    let message = found[0]["message"].as_str().expect("a message");
    assert!(message.ends_with("xx…(+3080192 bytes)"), "{}", &message[message.len() - 40..]);
    for cut in &found[1..3] {
        assert!(cut["fieldsCut"] == true && cut["file"].is_string() && cut["service"] == "shop", "{cut}");
    }
    assert_eq!(found[3]["raw"], serde_json::json!({"a": [1, "\n"]}));
    assert_eq!(found[4]["metadata"], found[3]["raw"]);
    let kinds = &found[5];
    assert_eq!((&kinds["path"], &kinds["nan"]), (&"a\u{fffd}".into(), &"NaN".into()));
    assert!(kinds["low"].is_number() && kinds["high"].is_number() && kinds["debug"].is_string(), "{kinds}");
    let texts = &found[6];
    assert_eq!((&texts["odd.name"], &texts["in\nname"]), (&1.into(), &2.into()));
    assert_eq!(texts["type"], "\u{0}\u{7f}\u{2028}\"\\");
}

#[cfg(unix)]
fn not_unicode() -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff])
}

#[cfg(not(unix))]
fn not_unicode() -> std::ffi::OsString {
    "a\u{fffd}".into()
}

#[test]
fn spans_that_end_in_any_order_leave_nothing_behind() {
    let found = lines(|_| {
        let outer = tracing::info_span!("outer", a = 1);
        let inner = tracing::info_span!(parent: &outer, "inner", b = 2);
        let (in_outer, in_inner) = (outer.clone().entered(), inner.clone().entered());
        let again = outer.clone().entered();
        drop((in_outer, outer));
        // (As tracing itself has it: of two times that a span is entered the later one ends first.)
        info!("the inner one");
        drop(in_inner);
        info!("the outer one");
        drop((again, inner));
        info!("none");
    });
    let fields: Vec<_> = found.iter().map(|line| (line["a"].as_u64(), line["b"].as_u64())).collect();
    assert_eq!(fields, [(Some(1), Some(2)), (Some(1), None), (None, None)]);
}

/// An output that does to the logger what none should.
struct Unruly {
    cordwood: Arc<OnceLock<Cordwood>>,
    what: What,
}

type What = fn(&Cordwood);

impl Write for Unruly {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(cordwood) = self.cordwood.get()
            && bytes.starts_with(b"{")
            && !bytes.windows(7).any(|part| part == b"\"again\"")
        {
            (self.what)(cordwood);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_waits_for_itself_or_panics_holds_nobody_up() {
    let rows: [(What, u64); 2] = [
        (
            |cordwood| {
                cordwood.logger().error("again");
                assert!(!cordwood.flush(Duration::MAX), "it has written what it is to write");
            },
            0,
        ),
        (|_| panic!("a bad output"), 3),
    ];
    for (what, refused) in rows {
        let known = Arc::new(OnceLock::new());
        let cordwood = known.get_or_init(|| cordwood(Unruly { cordwood: Arc::clone(&known), what }));
        cordwood.logger().info("one");
        assert!(cordwood.flush(Duration::MAX));
        cordwood.logger().error("two");
        cordwood.logger().info("three");
        assert!(cordwood.flush(Duration::MAX));
        assert_eq!(cordwood.refused().rows().map(|(_, count)| count).sum::<u64>(), refused);
    }
}

#[test]
fn times_without_an_end_are_no_end() {
    let output = Written::default();
    let builder = Builder::new().service("shop").environment(|_| None).writer(output.clone());
    let cordwood = builder.buffer(100, Duration::MAX).start().expect("a logger");
    let debug = Some(Some(Level::Debug));
    cordwood.levels().change(Change { level: debug, ttl: Some(Duration::MAX), ..Change::default() });
    assert_eq!(cordwood.levels().remaining(), None);
    cordwood.logger().debug("written");
    assert!(cordwood.flush(Duration::MAX));
    assert_eq!(output.bytes().iter().filter(|b| **b == b'\n').count(), 1);
}

/// A disk with room for so many bytes.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = bytes.len().min(disk.0 - disk.1.len());
        disk.1.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_was_full_has_whole_lines_and_tells_of_the_others() {
    for room in [0, 1, 500, 1_000] {
        let disk = Disk::default();
        disk.0.lock().expect("the disk").0 = room;
        let cordwood = cordwood(disk.clone());
        let say = |n: u64| cordwood.logger().at(Level::Info).field("n", n).send("line");
        (0..40).for_each(say);
        assert!(cordwood.flush(Duration::MAX));
        say(40);
        assert!(cordwood.flush(Duration::MAX) && cordwood.refused().total() > 0);
        disk.0.lock().expect("the disk").0 = usize::MAX;
        say(41);
        assert!(cordwood.flush(Duration::MAX));
        assert_eq!(cordwood.refused().total(), 0);
        let text = String::from_utf8(disk.0.lock().expect("the disk").1.clone()).expect("UTF-8");
        // The one that was torn is no JSON, and stands by itself.
        let whole: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(text.lines().count() <= whole.len() + 1, "{text}");
        let numbers: Vec<_> = whole.iter().filter_map(|line| line["n"].as_u64()).collect();
        let before = numbers.len() as u64 - 1;
        assert_eq!(numbers, (0..before).chain([41]).collect::<Vec<_>>());
        assert_eq!(whole[numbers.len() - 1]["dropped"], serde_json::json!({ "INFO": 41 - before }), "{text}");
    }
}

/// The kernel's own full disk is no closed output.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_asked_again() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let cordwood = cordwood(full);
    for n in 1..4 {
        cordwood.logger().info("line");
        assert!(cordwood.flush(Duration::MAX));
        assert_eq!(cordwood.refused().total(), n);
    }
}
