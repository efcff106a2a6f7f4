//! What tracing's events and spans become, tasks and their runner, places, and the output for people.

#[path = "support/written.rs"]
mod written;

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use cordwood_logger::{
    Builder, Cordwood, Fields, Plugin, TaskContext, create_request_logger, run_plugin, with_context,
};
use serde_json::{Value, json};
use tracing::{Instrument, info, info_span};
use written::Written;

/// What is written while `work` runs, by a logger with these settings.
fn text(environment: &'static [(&'static str, &'static str)], work: impl FnOnce(&Cordwood)) -> String {
    let output = Written::default();
    let read =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let cordwood =
        Builder::new().service("shop").environment(read).writer(output.clone()).start().expect("a logger");
    tracing::subscriber::with_default(cordwood.subscriber(), || work(&cordwood));
    assert!(cordwood.flush(Duration::from_secs(60)));
    let bytes = output.bytes();
    String::from_utf8(bytes).expect("UTF-8")
}

/// The lines without times and places.
fn lines(work: impl FnOnce(&Cordwood)) -> Vec<Value> {
    let text = text(&[], work);
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .map(|mut line: Value| {
            let members = line.as_object_mut().expect("an object");
            members.retain(|name, _| !["timestamp", "file", "line", "service"].contains(&name.as_str()));
            line
        })
        .collect()
}

fn line(message: &str, more: Value) -> Value {
    let mut line = json!({"level": "INFO", "message": message, "logger": "tracing"});
    line.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    line
}

#[test]
fn spans_give_their_fields_to_what_is_in_them() {
    let found = lines(|_| {
        let request = info_span!("request", request_id = "r-1", traceId = "t", user = tracing::field::Empty);
        request.in_scope(|| {
            info!(n = 1, "in it");
            let inner = info_span!("task", task_id = 42, source = "api", request_id = "r-2");
            inner.in_scope(|| info!(source = "db", "deeper"));
            request.record("user", "ada");
            info!("recorded");
            info!(parent: None, "by itself");
        });
        info!(parent: &request, "from outside");
        info!("after");
    });
    let around = json!({"requestId": "r-1", "traceId": "t", "user": "ada"});
    let expected = [
        line("in it", json!({"requestId": "r-1", "traceId": "t", "n": 1})),
        line("deeper", json!({"requestId": "r-2", "traceId": "t", "taskId": "42", "source": "db"})),
        line("recorded", around.clone()),
        line("by itself", json!({})),
        line("from outside", around),
        line("after", json!({})),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_an_outer_span_learns_its_inner_spans_know() {
    let found = lines(|_| {
        let outer = info_span!("request", user = tracing::field::Empty, source = "api");
        let inner = outer.in_scope(|| {
            // A context stands between the two.
            let fields = Fields::new().with("tenantId", "t-1");
            with_context(&fields, || info_span!("task", task_id = 42, source = tracing::field::Empty))
        });
        let innermost = info_span!(parent: &inner, "step");
        let entered = innermost.enter();
        outer.record("user", "ada");
        info!("recorded outside");
        // Another thread has it too, and so has an event that names its span.
        std::thread::scope(|scope| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let of_thread = innermost.clone();
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || of_thread.in_scope(|| info!("elsewhere")))
            });
        });
        // What is nearer goes before what is recorded later farther out.
        inner.record("source", "db");
        outer.record("source", "web");
        info!("nearer");
        drop(entered);
        info!(parent: &innermost, "by name");
        outer.in_scope(|| info!("outer"));
    });
    let all = |source: &str| json!({"user": "ada", "tenantId": "t-1", "taskId": "42", "source": source});
    let expected = [
        line("recorded outside", all("api")),
        line("elsewhere", all("api")),
        line("nearer", all("db")),
        line("by name", all("db")),
        line("outer", json!({"user": "ada", "source": "web"})),
    ];
    assert_eq!(found, expected);
}

#[test]
fn futures_carry_their_spans_from_thread_to_thread() {
    // Two futures by turns on one thread, polled by hand.
    let found = lines(|_| {
        let work = |name: &'static str| {
            async move {
                info!("{name} begins");
                let mut is_first = true;
                std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
                    true => std::task::Poll::Pending,
                    false => std::task::Poll::Ready(()),
                })
                .await;
                info!("{name} ends");
            }
            .instrument(info_span!("request", request_id = name))
        };
        let (mut a, mut b) = (Box::pin(work("a")), Box::pin(work("b")));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            let _ = a.as_mut().poll(&mut context);
            let _ = b.as_mut().poll(&mut context);
        }
    });
    let told: Vec<_> =
        found.iter().map(|line| (line["message"].as_str(), line["requestId"].as_str())).collect();
    let expected = [("a begins", "a"), ("b begins", "b"), ("a ends", "a"), ("b ends", "b")];
    assert_eq!(told, expected.map(|(message, id)| (Some(message), Some(id))));
}

#[derive(Debug)]
struct CartError(std::io::Error);

impl fmt::Display for CartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cart is gone")
    }
}

impl Error for CartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_is_told_with_its_type_code_and_chain() {
    let io = || std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
    let found = lines(|cordwood| {
        let error = CartError(io());
        tracing::error!(error = &error as &dyn Error, "failed");
        cordwood.logger().failed(&error, "failed");
        tracing::warn!(err = &io() as &dyn Error, "retry");
        info!(error = %error, cause = &io() as &dyn Error, "only told");
    });
    for failed in &found[..2] {
        assert_eq!(
            (&failed["error"], &failed["errorType"]),
            (&json!("the cart is gone"), &json!("CartError"))
        );
        assert_eq!(failed["errorChain"], json!(["reset by peer"]));
        let stack = failed["errorStack"].as_str().expect("a stack");
        assert!(stack.starts_with("CartError: the cart is gone\nCaused by: reset by peer"), "{stack}");
    }
    assert_eq!(
        (&found[2]["errorType"], &found[2]["errorCode"]),
        (&json!("io::Error"), &json!("ConnectionReset"))
    );
    assert_eq!(found[3], line("only told", json!({"error": "the cart is gone", "cause": "reset by peer"})));
}

#[test]
fn values_keep_their_kinds() {
    let found = lines(|_| {
        info!(a = 1_u64, b = -2, c = 1.5, d = true, e = "text", f = ?Some(1), g = %"shown", r#type = "x", big = u128::MAX, "m");
        info!(level = "high", message = 7);
        info!(n = f64::NAN);
        info!(metadata.progress = 50, metadata.step = "load", n = 1, "half");
    });
    let mut first = line(
        "m",
        json!({"a": 1, "b": -2, "c": 1.5, "d": true, "e": "text", "f": "Some(1)", "g": "shown", "type": "x"}),
    );
    first["big"] = serde_json::from_str(&u128::MAX.to_string()).expect("a number");
    assert_eq!(
        found,
        [
            first,
            line("7", json!({"field_level": "high"})),
            line("", json!({"n": "NaN"})),
            line("half", json!({"n": 1, "metadata": {"progress": 50, "step": "load"}}))
        ]
    );
}

/// A value that logs while it is formatted.
struct Nested;

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!("inner");
        f.write_str("nested")
    }
}

#[test]
fn a_value_may_log_while_it_is_formatted() {
    let found = lines(|cordwood| {
        cordwood.logger().info(Nested);
        cordwood.logger().at(cordwood_logger::Level::Info).field("x", format_args!("{Nested}")).send("m");
    });
    let messages: Vec<_> = found.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, ["inner", "nested", "inner", "m"]);
}

#[test]
fn macros_and_loggers_tell_where_they_stand() {
    fn in_a_function(cordwood: &Cordwood) {
        cordwood_logger::info!(n = 1, "by a macro");
        let closure = || cordwood_logger::warn!("in a closure");
        closure();
        cordwood.logger().info("by a logger");
    }
    let text = text(&[], in_a_function);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &lines {
        assert!(line["file"].as_str().is_some_and(|file| file.ends_with("tracing.rs")), "{line}");
        assert!(line["line"].is_u64(), "{line}");
    }
    assert_eq!(
        (&lines[0]["function"], &lines[1]["function"]),
        (&json!("in_a_function"), &json!("in_a_function"))
    );
    let off = self::text(&[("CORDWOOD_LOCATION", "0")], in_a_function);
    assert!(!off.contains("\"file\""), "{off}");
}

struct Old;
struct New;

impl Plugin<u32, u32> for Old {
    fn execute(&self, params: u32) -> u32 {
        info!("old");
        params + 1
    }
}

impl Plugin<u32, u32> for New {
    fn execute(&self, params: u32) -> u32 {
        info!("new, without a task");
        params + 1
    }

    fn execute_with_context(&self, params: u32, context: &TaskContext) -> u32 {
        context.logger.info("new");
        context.logger.with_source("superset_api").info("asked");
        params + 1
    }
}

#[test]
fn a_runner_calls_plugins_with_and_without_a_context_alike() {
    let found = lines(|cordwood| {
        let context = TaskContext::new("42", &cordwood.logger(), ());
        assert_eq!(run_plugin(&Old, 1, Some(&context)), 2);
        assert_eq!(run_plugin(&New, 1, Some(&context)), 2);
        assert_eq!(run_plugin(&Old, 1, None::<&TaskContext>), 2);
        assert_eq!(run_plugin(&New, 1, None::<&TaskContext>), 2);
    });
    let of_task = |logger: &str, message: &str, source: &str| {
        line(message, json!({"logger": logger, "taskId": "42", "source": source}))
    };
    let expected = [
        of_task("tracing", "old", "system"),
        of_task("shop", "new", "plugin"),
        of_task("shop", "asked", "superset_api"),
        line("old", json!({})),
        line("new, without a task", json!({})),
    ];
    assert_eq!(found, expected);
}

#[test]
fn people_read_text_in_development() {
    let work = |cordwood: &Cordwood| {
        info!(order_id = 17, "paid\u{1b}[2J");
        cordwood.logger().with_source("api").warn("slow");
    };
    let text = text(&[("CORDWOOD_ENV", "development"), ("CORDWOOD_LOCATION", "0")], work);
    let lines: Vec<_> = text.lines().map(|line| &line[13..]).collect();
    assert_eq!(lines, ["INFO  tracing: paid\\u{1b}[2J order_id=17", "WARN  shop[api]: slow"]);
}

#[test]
fn one_layer_beside_others_filters_for_itself() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let (ours, theirs) = (Written::default(), Written::default());
    let cordwood =
        Builder::new().service("shop").environment(|_| None).writer(ours.clone()).start().expect("a logger");
    let count = {
        let theirs = theirs.clone();
        tracing_subscriber::registry().with(cordwood.layer()).with(Counting(theirs))
    };
    tracing::subscriber::with_default(count, || {
        tracing::debug!("debug");
        info!("info");
    });
    assert!(cordwood.flush(Duration::from_secs(60)));
    assert_eq!(String::from_utf8(ours.bytes()).expect("UTF-8").lines().count(), 1);
    assert_eq!(theirs.bytes().len(), 2);
}

struct Counting(Written);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Counting {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.clone().write_all(b"x").expect("a buffer");
    }
}

/// The shortest way of a newcomer compiles and returns.
#[test]
fn a_request_logger_needs_no_setup() {
    create_request_logger(&[("x-request-id", "r-1")]).debug("not written");
}
