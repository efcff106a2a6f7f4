//! `GET` and `PUT /cordwood/level`: levels read and changed over HTTP while the program runs. Off unless the application mounts it.
//! Promises: a request that is not understood changes nothing; a client that says nothing, or never ends, holds nobody up for long.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::level::{Threshold, threshold_named, threshold_word};
use crate::levels::{Change, Levels};

/// Where the handler is.
pub const LEVEL_PATH: &str = "/cordwood/level";

const BODY_BYTES_MAX: usize = 65_536;
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// Of a request that is too long, what is read to its end.
const PASSED_OVER_BYTES_MAX: u64 = 1 << 20;
const TTL_SECONDS_MAX: u64 = 604_800;
const CONNECTIONS_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer, for whatever HTTP server an application has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// The header `Allow`, with a 405.
    pub allow: Option<&'static str>,
}

impl Levels {
    /// What is in force, as `GET /cordwood/level` says it.
    pub fn as_json(&self) -> String {
        let setting = self.setting();
        let targets: Map<String, Value> = setting
            .targets
            .iter()
            .map(|(name, level)| (name.clone(), threshold_word(*level).into()))
            .collect();
        let mut all = Map::new();
        all.insert("level".to_owned(), threshold_word(setting.level).into());
        all.insert("targets".to_owned(), targets.into());
        all.insert("scopes".to_owned(), setting.scopes.into());
        if let Some(remaining) = self.remaining() {
            all.insert("ttlSeconds".to_owned(), (remaining.as_millis() as u64).div_ceil(1_000).into());
        }
        Value::Object(all).to_string()
    }

    /// Answers a request for [`LEVEL_PATH`].
    pub fn answer(&self, method: &str, body: &[u8]) -> Answer {
        match method {
            "GET" => self.told(),
            "PUT" if body.len() > BODY_BYTES_MAX => {
                problem(413, "Content Too Large", "a change of levels has at most 65536 bytes")
            }
            "PUT" => match read_change(body) {
                Ok(change) => {
                    self.change(change);
                    self.told()
                }
                Err(what) => problem(400, "Bad Request", &what),
            },
            _ => Answer { allow: Some("GET, PUT"), ..problem(405, "Method Not Allowed", "only GET and PUT") },
        }
    }

    fn told(&self) -> Answer {
        Answer { status: 200, content_type: "application/json", body: self.as_json(), allow: None }
    }
}

fn problem(status: u16, title: &str, detail: &str) -> Answer {
    let body = json!({"type": "about:blank", "title": title, "status": status, "detail": detail}).to_string();
    Answer { status, content_type: "application/problem+json", body, allow: None }
}

fn read_change(body: &[u8]) -> Result<Change, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    let Value::Object(members) = value else { return Err("the body is no object".to_owned()) };
    let mut change = Change::default();
    for (name, value) in members {
        match name.as_str() {
            "level" => change.level = Some(threshold(&name, &value)?),
            "targets" => {
                let Value::Object(targets) = value else { return Err("targets: no object".to_owned()) };
                let each = targets.into_iter().map(|(target, level)| {
                    let threshold = threshold(&format!("targets.{target}"), &level)?;
                    Ok((target, threshold))
                });
                change.targets = Some(each.collect::<Result<BTreeMap<_, _>, String>>()?);
            }
            "scopes" => change.scopes = Some(value.as_bool().ok_or("scopes: neither true nor false")?),
            "ttlSeconds" => {
                let seconds = value.as_u64().filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds));
                let seconds = seconds.ok_or("ttlSeconds: no whole number from 1 to 604800")?;
                change.ttl = Some(Duration::from_secs(seconds));
            }
            _ => return Err(format!("{name}: unknown; there are level, targets, scopes, ttlSeconds")),
        }
    }
    Ok(change)
}

fn threshold(name: &str, value: &Value) -> Result<Threshold, String> {
    let word = value.as_str().and_then(threshold_named);
    word.ok_or_else(|| format!("{name}: {value} is none of TRACE, DEBUG, INFO, WARN, ERROR, OFF"))
}

/// Listens at `address` and answers [`LEVEL_PATH`] on threads of its own, until the process ends.
///
/// Anyone who reaches the address may change the levels: give it a port that only the cluster reaches.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve_levels(levels: &Arc<Levels>, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    let levels = Arc::clone(levels);
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("cordwood-levels".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            // (Out of descriptors, for example: the next look may be luckier.)
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let held = Held(Arc::clone(&open));
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                continue;
            }
            let levels = Arc::clone(&levels);
            let spawned = std::thread::Builder::new().name("cordwood-levels".to_owned()).spawn(move || {
                let _held = held;
                // (A client that is gone has no use for an error.)
                let _ = answer(&levels, stream);
            });
            drop(spawned);
        }
    })?;
    Ok(bound)
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that is read until a time, however slowly it speaks.
struct Patient<'a> {
    stream: &'a TcpStream,
    ends: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        (&mut &*self.stream).read(into)
    }
}

fn answer(levels: &Levels, stream: TcpStream) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut from = Patient { stream: &stream, ends: Instant::now() + PATIENCE };
    let mut reader = BufReader::new((&mut from).take(HEAD_BYTES_MAX + BODY_BYTES_MAX as u64 + 1));
    let answer = match read_request(&mut reader) {
        Ok(request) if request.path.split('?').next() != Some(LEVEL_PATH) => {
            problem(404, "Not Found", "only /cordwood/level is here")
        }
        Ok(request) => levels.answer(&request.method, &request.body),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            problem(400, "Bad Request", &error.to_string())
        }
        Err(error) => return Err(error),
    };
    let allow = answer.allow.map(|allow| format!("Allow: {allow}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        answer.status,
        reason(answer.status),
        answer.content_type,
        answer.body.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(answer.body.as_bytes())?;
    // What was not read would have the answer thrown away with the connection.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut from.take(PASSED_OVER_BYTES_MAX), &mut io::sink()).map(drop)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Content Too Large",
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Request> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    let mut head = reader.take(HEAD_BYTES_MAX);
    head.read_line(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(invalid("no request of HTTP"));
    };
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), body: Vec::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("the head does not end, or has more than 16384 bytes"));
        }
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(':') else {
            if line.is_empty() {
                break;
            }
            return Err(invalid("a header without a colon"));
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().map_err(|_| invalid("Content-Length: no number"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("Transfer-Encoding: give a Content-Length"));
        }
    }
    // (One byte more than may come: it is what the answer tells by.)
    request.body = vec![0; length.min(BODY_BYTES_MAX + 1)];
    let read = head.into_inner().read_exact(&mut request.body);
    read.map_err(|_| invalid("the body is shorter than its Content-Length"))?;
    Ok(request)
}
