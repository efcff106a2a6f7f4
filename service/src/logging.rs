//! The log of every program: one logger on stderr, which `RUST_LOG` and the logger's own variables set.
//! Promises: each line is written at once, also at a panic and at the program's end. Without a terminal a line is JSON in the form that
//! Cordwood reads best.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use cordwood_logger::{Builder, Cordwood, Format, LEVEL_PATH};

/// Libraries that speak of each message or statement: from WARN on, unless somebody names them. Where Cordwood collects its own lines
/// a line for each batch would make a batch again, for ever.
const CHATTY: [&str; 4] = ["librdkafka", "rdkafka", "tokio_postgres", "refinery_core"];
/// Our crates: in `RUST_LOG` a target is a beginning, and `cordwood=debug` means all of these.
const CRATES: [&str; 9] = [
    "cordwood_agent",
    "cordwood_core",
    "cordwood_crds",
    "cordwood_gateway",
    "cordwood_kafka",
    "cordwood_operator",
    "cordwood_service",
    "cordwood_store",
    "cordwood_writer",
];
/// Mounts the handler that reads and changes levels.
const SERVE_LEVELS: &str = "CORDWOOD_SERVE_LEVELS";
/// A change of levels is no longer; the handler refuses what is.
const BODY_BYTES_MAX: usize = 1 << 20;

static LOGGER: OnceLock<Cordwood> = OnceLock::new();

/// Logs to stderr under the program's name. Call once; a second call (tests that run two parts in one process) keeps the first.
pub fn init_logging(program: &str) {
    install(builder(program, "info").stderr());
}

/// The log of a program for people, whose lines go above whatever else it shows: text, unless `CORDWOOD_FORMAT` says `json`.
pub fn init_console_logging(
    program: &str,
    levels: &'static str,
    is_coloured: bool,
    writer: impl Write + Send + 'static,
) {
    let read = |name: &str| std::env::var(name).ok();
    if read("CORDWOOD_FORMAT").as_deref() == Some("json") {
        return install(builder(program, levels).writer(writer));
    }
    // (Where in our sources a line comes from says little to who uses the program.)
    let located = move |name: &str| {
        setting(name, levels, read).or_else(|| (name == "CORDWOOD_LOCATION").then(|| "0".to_owned()))
    };
    install(
        builder(program, levels).environment(located).writer(writer).format(Format::Console { is_coloured }),
    );
}

/// Writes what waits, within a bound. A program's end and a panic do it too.
pub fn flush_logging() {
    cordwood_logger::flush();
}

/// An audit record under the logger `name`, which begins with `audit.`: it is written whatever the levels say. Its file and line are the caller's.
#[track_caller]
pub fn audit(name: &str, message: impl std::fmt::Display, action: &str, metadata: impl serde::Serialize) {
    if let Some(cordwood) = LOGGER.get() {
        cordwood.logger().named(name).audit(message, action, metadata);
    }
}

fn builder(program: &str, levels: &'static str) -> Builder {
    Builder::new()
        .service(program)
        .buffer(1, Duration::ZERO)
        .environment(move |name| setting(name, levels, |name| std::env::var(name).ok()))
}

fn install(builder: Builder) {
    if LOGGER.get().is_some() {
        return;
    }
    // (Without a thread for it there is no log; the program does its work all the same.)
    if let Ok(logger) = builder.start() {
        let _ = logger.install();
        let _ = LOGGER.set(logger);
    }
}

/// The logger's variables, and ours where it knows none.
fn setting(name: &str, levels: &str, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let own = read(name).filter(|value| !value.trim().is_empty());
    match name {
        "CORDWOOD_LEVEL" => {
            let said = own.or_else(|| {
                let text = read("RUST_LOG").filter(|value| !value.trim().is_empty())?;
                let levels = levels_of(&text);
                if levels.is_none() {
                    complain(&text);
                }
                levels
            });
            Some(without_chatter(said.as_deref().unwrap_or(levels)))
        }
        "CORDWOOD_VERSION" => Some(own.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())),
        _ => own,
    }
}

/// The levels, with the libraries' chatter at WARN where they do not say that of it which is more than WARN.
fn without_chatter(levels: &str) -> String {
    let all = levels.rsplit(',').find_map(|part| level_of(part.trim()));
    if matches!(all, Some("off" | "error" | "warn")) {
        return levels.to_owned();
    }
    // (Of two for the same target the last counts.)
    CHATTY.iter().map(|name| format!("{name}=warn,")).collect::<String>() + levels
}

#[allow(clippy::print_stderr, reason = "there is no logger yet")]
fn complain(text: &str) {
    eprintln!("RUST_LOG: {text:?} is not of the form info,target=debug; it counts as not set");
}

/// What `RUST_LOG` says, as the logger's levels: a target alone is TRACE, what nobody names is ERROR.
fn levels_of(text: &str) -> Option<String> {
    let (mut all, mut targets) = ("error".to_owned(), Vec::new());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = match part.split_once('=') {
            Some((target, word)) => (target.trim(), level_of(word.trim())?),
            None => match level_of(part) {
                Some(level) => {
                    all = level.to_owned();
                    continue;
                }
                None => (part, "trace"),
            },
        };
        if !target.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:-.".contains(letter))
            || target.is_empty()
        {
            return None;
        }
        targets.push((target, level));
    }
    // (Of two for the same target the last counts: what a name says stands behind what its beginning says.)
    targets.sort_by_key(|(target, _)| target.len());
    let crates =
        |of: &str| CRATES.into_iter().filter(|name| name.starts_with(of) && *name != of).collect::<Vec<_>>();
    for (target, level) in targets {
        for name in crates(target).into_iter().chain([target]) {
            all.push_str(&format!(",{name}={level}"));
        }
    }
    Some(all)
}

fn level_of(word: &str) -> Option<&'static str> {
    const LEVELS: [(&str, &str); 6] =
        [("off", "0"), ("error", "1"), ("warn", "2"), ("info", "3"), ("debug", "4"), ("trace", "5")];
    LEVELS
        .iter()
        .find(|(name, number)| word.eq_ignore_ascii_case(name) || word == *number)
        .map(|(name, _)| *name)
}

/// `GET` and `PUT /cordwood/level` beside the probes, where [`SERVE_LEVELS`] is `1` or `true`.
pub(crate) fn level_route() -> Router {
    let is_wanted = std::env::var(SERVE_LEVELS).is_ok_and(|value| value == "1" || value == "true");
    match LOGGER.get() {
        Some(logger) if is_wanted => {
            Router::new().route(LEVEL_PATH, any(move |request| answer(logger, request)))
        }
        _ => Router::new(),
    }
}

async fn answer(logger: &'static Cordwood, request: Request<Body>) -> Response {
    let method = request.method().clone();
    let Ok(body) = to_bytes(request.into_body(), BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let before = logger.levels().as_json();
    let answer = logger.levels().answer(method.as_str(), &body);
    if method == "PUT" && answer.status == 200 {
        tracing::warn!(before, now = answer.body, "levels of the log changed");
    }
    let mut headers = vec![(header::CONTENT_TYPE, answer.content_type)];
    headers.extend(answer.allow.map(|methods| (HeaderName::from_static("allow"), methods)));
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_says_which_lines_are_written() {
        let rows = [
            ("info", Some("info")),
            ("INFO,librdkafka=Warn", Some("info,librdkafka=warn")),
            (" debug , hyper = off ", Some("debug,hyper=off")),
            ("3,cordwood_writer::sealer=5", Some("info,cordwood_writer::sealer=trace")),
            // What nobody names is ERROR; a target alone is TRACE.
            ("cordwood_writer=debug", Some("error,cordwood_writer=debug")),
            ("warn,cordwood_store", Some("warn,cordwood_store=trace")),
            // A beginning is all crates that begin so; the nearer name counts.
            (
                "cordwood_store=trace,info,cordwood_s=debug",
                Some(
                    "info,cordwood_service=debug,cordwood_store=debug,cordwood_s=debug,cordwood_store=trace",
                ),
            ),
            ("info,=debug", None),
            ("info,db=loud", None),
            ("info,db[span{id=1}]=debug", None),
        ];
        for (text, expected) in rows {
            assert_eq!(levels_of(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_loggers_own_variables_go_before_ours() {
        let of = |rows: &'static [(&'static str, &'static str)]| {
            move |name: &str| rows.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let levels = |rows| setting("CORDWOOD_LEVEL", "warn", of(rows));
        assert_eq!(levels(&[]).as_deref(), Some("warn"));
        assert_eq!(levels(&[("RUST_LOG", "")]).as_deref(), Some("warn"));
        assert_eq!(levels(&[("RUST_LOG", "error,db=info")]).as_deref(), Some("error,db=info"));
        assert_eq!(levels(&[("RUST_LOG", "loud=a")]).as_deref(), Some("warn"));
        assert_eq!(levels(&[("RUST_LOG", "debug"), ("CORDWOOD_LEVEL", "error")]).as_deref(), Some("error"));
        // Chatter stays at WARN until it is named.
        let quiet = "librdkafka=warn,rdkafka=warn,tokio_postgres=warn,refinery_core=warn";
        assert_eq!(setting("CORDWOOD_LEVEL", "info", of(&[])), Some(format!("{quiet},info")));
        assert_eq!(
            levels(&[("RUST_LOG", "trace,rdkafka=debug")]),
            Some(format!("{quiet},trace,rdkafka=debug"))
        );
        assert_eq!(levels(&[("CORDWOOD_LEVEL", "Debug")]), Some(format!("{quiet},Debug")));
        assert_eq!(levels(&[("CORDWOOD_LEVEL", "OFF")]).as_deref(), Some("OFF"));
        assert_eq!(setting("CORDWOOD_REGION", "warn", of(&[])), None);
        assert!(setting("CORDWOOD_VERSION", "warn", of(&[])).is_some());
    }
}
