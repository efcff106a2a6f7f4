//! Levels, targets and scopes of a running program, changed over HTTP: its output changes at once, and comes back by itself.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Stdio};

use cordwood_logger::scope;
use serde_json::{Value, json};
use support::{Reaped, json_lines, part, program as run};

/// Not a test of its own: at each line on its stdin it logs on all levels, and tells by an audit record that it is done.
#[test]
fn program() {
    if part().is_none() {
        return;
    }
    let cordwood = cordwood_logger::init("shop");
    let address = cordwood.serve_levels("127.0.0.1:0").expect("an address");
    println_of(&json!({"port": address.port()}));
    let logger = cordwood.logger();
    for word in std::io::stdin().lines() {
        let word = word.expect("stdin");
        for _ in 0..3 {
            tracing::debug!(target: "db::pool", "tracing of db");
            tracing::debug!("tracing");
            log::debug!("log");
            logger.debug("logger");
        }
        let _ = scope!("load");
        logger.audit(word, "done", ());
        assert!(cordwood.flush(std::time::Duration::from_secs(60)));
    }
}

fn println_of(value: &Value) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{value}").and_then(|()| stdout.flush()).expect("stdout");
}

struct Program {
    _child: Reaped,
    port: u16,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    fn start() -> Program {
        let mut child =
            Reaped(run("levels").stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("run"));
        let stdin = child.0.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.0.stdout.take().expect("stdout"));
        let mut program = Program { _child: child, port: 0, stdin, stdout };
        let port = loop {
            if let Some(port) = program.next()["port"].as_u64() {
                break port;
            }
        };
        program.port = port as u16;
        program
    }

    /// The next line of JSON.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("stdout") > 0, "the program has ended");
            if let Some(found) = json_lines(line.as_bytes()).pop() {
                return found;
            }
        }
    }

    /// Which messages the program writes now, each once.
    fn messages(&mut self) -> Vec<String> {
        writeln!(self.stdin, "done").expect("stdin");
        let mut messages = Vec::new();
        loop {
            let line = self.next();
            let message = line["message"].as_str().expect("a message").to_owned();
            if line["is_audit"] == true {
                messages.dedup();
                messages.sort();
                messages.dedup();
                return messages;
            }
            messages.push(message);
        }
    }

    fn ask(&self, request: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect");
        stream.write_all(request.as_bytes()).expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (code, serde_json::from_str(body).expect("JSON"))
    }

    fn put(&self, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        self.ask(&format!(
            "PUT /cordwood/level HTTP/1.1\r\nHost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn get(&self) -> Value {
        let (code, body) = self.ask("GET /cordwood/level HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(code, 200);
        body
    }
}

const ALL: [&str; 4] = ["log", "logger", "tracing", "tracing of db"];

#[test]
fn a_running_program_obeys_at_once_and_comes_back() {
    let mut program = Program::start();
    let quiet = json!({"level": "INFO", "targets": {}, "scopes": false});
    assert_eq!(program.get(), quiet);
    assert!(program.messages().is_empty());
    // A target alone; then the level and the scopes too.
    let (code, now) = program.put(&json!({"targets": {"db": "DEBUG"}}));
    assert_eq!((code, now), (200, json!({"level": "INFO", "targets": {"db": "DEBUG"}, "scopes": false})));
    assert_eq!(program.messages(), ["tracing of db"]);
    program.put(&json!({"level": "debug", "targets": {"db": "OFF"}, "scopes": true}));
    let scopes = ["[load][Coherence:OK]", "[load][Entry]", "[load][Exit]"];
    assert_eq!(program.messages(), [&scopes[..], &ALL[..3]].concat());
    program.put(&json!({"level": "INFO", "targets": {}, "scopes": false}));
    assert!(program.messages().is_empty());
    // For a second.
    let (code, now) = program.put(&json!({"level": "TRACE", "scopes": true, "ttlSeconds": 1}));
    assert_eq!((code, &now["level"], &now["ttlSeconds"]), (200, &json!("TRACE"), &json!(1)));
    while program.get() != quiet {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(program.messages().is_empty());
    program.put(&json!({"level": "DEBUG", "ttlSeconds": 600}));
    assert_eq!(program.messages(), ALL);
}

#[test]
fn mistakes_change_nothing_and_say_what_is_wrong() {
    let mut program = Program::start();
    let long = "x".repeat(70_000);
    for (request, expected) in [
        ("POST /cordwood/level HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405),
        ("GET /cordwood/levels HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        ("PUT /cordwood/level HTTP/1.1\r\nContent-Length: 5\r\n\r\n[1,2]".to_owned(), 400),
        ("PUT /cordwood/level HTTP/1.1\r\nContent-Length: 3\r\n\r\n{\"l".to_owned(), 400),
        ("PUT /cordwood/level HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("PUT /cordwood/level HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        (format!("PUT /cordwood/level HTTP/1.1\r\nContent-Length: {}\r\n\r\n{long}", long.len()), 413),
        (format!("GET /cordwood/level HTTP/1.1\r\nx: {long}\r\n\r\n"), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let (code, body) = program.ask(&request);
        assert_eq!((code, &body["status"]), (expected, &json!(expected)), "{body}");
        assert!(body["detail"].is_string(), "{body}");
    }
    let (code, body) = program.put(&json!({"level": "DEBUG", "targets": {"db": "LOUD"}}));
    assert_eq!(code, 400);
    assert!(body["detail"].as_str().is_some_and(|detail| detail.starts_with("targets.db: ")), "{body}");
    assert_eq!(program.get(), json!({"level": "INFO", "targets": {}, "scopes": false}));
    assert!(program.messages().is_empty());
}
