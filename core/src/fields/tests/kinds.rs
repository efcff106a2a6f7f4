//! Levels by kind: where a word counts, and where the same word does not.

use super::*;

#[track_caller]
fn levels(rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (line, expected) in rows {
        let (full, seen) = (read(line.as_bytes()), quick(line.as_bytes()));
        assert_eq!((full.level, full.level_given), (seen.level, seen.level_given), "{line}");
        let got = if full.level_given { full.level.as_str() } else { "-" };
        if got != *expected {
            wrong.push(format!("{got}, not {expected}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_of_a_text_do_not_count() {
    levels(&[
        ("User ERROR clicked the tab", "-"),
        ("2026-11-27T10:00:00Z GET /api/errors?level=error 200", "-"),
        ("msg=\"it failed level=error\" status=1", "-"),
        ("https://shop.example/?severity=critical", "-"),
        ("url=https://shop.example/?level=error status=200", "-"),
        ("Processing file ERROR.txt", "-"),
        ("job 5: 0 errors", "-"),
        ("3 ERROR lines found", "-"),
        ("no error: everything is fine", "-"),
        ("Error-free run completed", "-"),
        ("error_count=0 warn_count=0", "-"),
        ("2026-11-27 10:00:00 user=bob action=\"set level=debug\"", "-"),
        ("2026-11-27 10:00:00 Warning lights were checked", "-"),
        ("Debug mode: on", "-"),
        ("debug: false", "-"),
        ("  verbose: true", "-"),
        ("error: none", "-"),
        ("level: debug", "-"),
        ("config: read /etc/app.yaml", "-"),
        ("[config] read /etc/app.yaml", "-"),
        ("[default] started", "-"),
        ("ERROR_CODE: 5", "-"),
        ("DEBUG=express:* node server", "-"),
        ("ErrorHandler: registered", "-"),
        ("Status: Error", "-"),
        ("\tat com.shop.Error.handle(Error.java:5)", "-"),
        ("the words warn and error mean nothing here", "-"),
        ("he said: WARN them", "-"),
        ("\"ERROR\" is what it said", "-"),
        ("(c) 2026 Shop", "-"),
        ("[C] 2026 Shop", "-"),
        ("{\"msg\":\"level=error\"}", "-"),
        ("{\"msg\":\"x\",\"http\":{\"level\":\"error\"}}", "-"),
        ("{\"msg\":\"x\",\"level\":7}", "-"),
        ("{\"msg\":\"x\",\"status\":200,\"type\":\"debug\"}", "-"),
        ("saved the settings {\"level\":\"debug\",\"colour\":\"red\"}", "-"),
        ("INFO: user set level=error", "INFO"),
        ("level=info msg=\"error: x\"", "INFO"),
        ("[info] error in a text", "INFO"),
        ("2026-11-27 10:00:00 INFO ERROR is a word here", "INFO"),
    ]);
}

#[test]
fn a_level_stands_where_loggers_put_it() {
    levels(&[
        ("<27>Nov 27 10:00:00 host app[1]: x", "ERROR"),
        ("2026/11/27 10:00:00 [emerg] 1#1: bind() failed", "ERROR"),
        ("2026/11/27 10:00:00 [notice] 1#1: start", "INFO"),
        ("t=2026-11-27T10:00:00Z lvl=eror msg=x", "ERROR"),
        ("!!! ERROR x", "ERROR"),
        ("*** WARNING: x ***", "WARN"),
        ("=ERROR REPORT==== 27-Nov-2026::10:00:00 ===", "ERROR"),
        ("{ERROR} x", "ERROR"),
        ("ERROR|2026-11-27|x", "ERROR"),
        ("ERROR;2026-11-27;x", "ERROR"),
        ("2026-11-27T10:00:00Z,ERROR,shop,x", "ERROR"),
        ("Nov 27 10:00:00 host app: ERROR something", "ERROR"),
        ("Nov 27 10:00:00 host app: [warn] something", "WARN"),
        ("Nov 27 10:00:00 host app: info: something", "INFO"),
        ("2026-11-27 10:00:00,123 - root - WARNING - x", "WARN"),
        ("WARNING:root:x", "WARN"),
        ("root:WARNING:x", "WARN"),
        ("[2026-11-27 10:00:00] local.ERROR: x", "ERROR"),
        ("27.11.2026 10:00:00 ERROR x", "ERROR"),
        ("Friday, November 27, 2026 10:00:00 AM com.shop.Cart ERROR x", "ERROR"),
        ("[pool-1-thread-1] DEBUG c.s.Cart - x", "DEBUG"),
        ("com.shop.Cart TRACE x", "TRACE"),
        ("/srv/app.rb:12: warning: already initialized constant", "WARN"),
        ("main.c:1:2: error: expected ';'", "ERROR"),
        ("1764236701 ERROR x", "ERROR"),
        ("0.123 WARN x", "WARN"),
        ("Error - x", "ERROR"),
        ("Error: x", "ERROR"),
        ("npm ERR! code ELIFECYCLE", "ERROR"),
        ("level: error something broke", "ERROR"),
        ("2026-11-27T10:00:00.000+0000 W CONTROL  [initandlisten] x", "WARN"),
        ("java.io.IOException: disk is full", "ERROR"),
        ("thread 'main' panicked at src/main.rs:4:5:", "ERROR"),
        ("\u{1b}[33m[WARN]\u{1b}[0m x", "WARN"),
        ("[10:00:00.123] \u{1b}[31mERROR\u{1b}[39m (7): x", "ERROR"),
        ("\n\n  WARN behind empty lines", "WARN"),
        ("web-1  | warn: x", "WARN"),
        ("[pod/web-1/app] E1127 is no header, ERROR: this is text", "-"),
        ("starting with LOG_LEVEL=error", "-"),
        ("LOG_LEVEL=error PORT=80 node server.js", "-"),
        ("starting up level=debug", "-"),
        ("web level=error msg=x", "ERROR"),
        ("level=error", "ERROR"),
        ("log_level=warn msg=x", "WARN"),
    ]);
}

#[test]
fn json_wherever_it_stands() {
    levels(&[
        ("<134>1 2026-11-27T10:00:00Z host app - - - {\"level\":\"error\",\"err\":\"x\"}", "ERROR"),
        ("[pod/web-1/app] {\"level\":\"error\"}", "ERROR"),
        ("web-1 app {\"level\":\"error\"}", "ERROR"),
        ("0|app  | {\"level\":\"warn\"}", "WARN"),
        ("app[12]: {\"level\":\"debug\"}", "DEBUG"),
        ("log={\"level\":\"warn\",\"msg\":\"x\"}", "WARN"),
        ("2026-11-27T10:00:00Z stderr F {\"level\":\"info\"}", "INFO"),
        ("\u{1b}[31m{\"level\":\"error\",\"msg\":\"x\"}\u{1b}[0m", "ERROR"),
        ("INFO {\"level\":\"error\",\"msg\":\"x\"}", "ERROR"),
        ("the answer was {\"level\":\"error\",\"msg\":\"x\"}", "ERROR"),
        ("the answer was {\"level\":\"debug\",\"msg\":\"x\"}", "-"),
        ("{\"level\":\"error\"} and more", "ERROR"),
        (
            "{\"log\":\"{\\\"level\\\":\\\"error\\\",\\\"msg\\\":\\\"x\\\"}\\n\",\"stream\":\"stderr\"}",
            "ERROR",
        ),
        ("{\"data\":{\"severity\":\"warning\",\"message\":\"x\"}}", "WARN"),
        ("{\"level\":\"info\",\"msg\":\"x\",\"record\":{\"level\":\"error\",\"message\":\"y\"}}", "ERROR"),
        ("{\"level\":\"error\",\"msg\":\"x\",\"record\":{\"level\":\"info\",\"message\":\"y\"}}", "ERROR"),
        ("{\"level\":{\"severity\":\"ERROR\"}}", "ERROR"),
        ("{\"level\":[\"error\"]}", "ERROR"),
        ("{\"level\":300,\"level_name\":\"ERROR\"}", "ERROR"),
        ("{\"prio\":1,\"err_code\":10735,\"msg\":\"x\",\"label\":\"Error\"}", "ERROR"),
        ("{\"time\":\"t\",\"msg\":\"x\",\"error\":\"\"}", "-"),
        ("{\"time\":\"t\",\"msg\":\"x\",\"stack\":\"E: x\\n at y\"}", "ERROR"),
        ("{\"time\":\"t\",\"msg\":\"x\",\"error\":{\"message\":\"y\"}}", "ERROR"),
    ]);
}

#[test]
fn errors_in_every_form() {
    check(&[
        (
            r#"{"level":"error","exception":["Shop::PayError","no basket"]}"#,
            r#"ERROR message=no basket errorType=Shop::PayError | {"exception":["Shop::PayError","no basket"]}"#,
        ),
        (
            r#"{"level":"error","msg":"m","exc_info":null,"errors":[{"name":"E1","message":"x","code":7},{"name":"E2"}]}"#,
            r#"ERROR message=m errorType=E1 errorCode=7 | {"errors":[{"name":"E1","message":"x","code":7},{"name":"E2"}]}"#,
        ),
        (
            r#"{"level":"error","err":[["type","KeyError"],["message","x"]]}"#,
            r#"ERROR message=x errorType=KeyError | {"err":[["type","KeyError"],["message","x"]]}"#,
        ),
        (
            r#"{"level":"error","msg":"m","err":{"error":{"type":"E","stack":["a","b"]}}}"#,
            "ERROR message=m errorType=E errorStack=a\nb | {\"err\":{\"error\":{\"type\":\"E\",\"stack\":[\"a\",\"b\"]}}}",
        ),
        (
            r#"{"level":"error","exception":{"values":[{"type":"E","value":"x"}]}}"#,
            r#"ERROR message=x errorType=E | {"exception":{"values":[{"type":"E","value":"x"}]}}"#,
        ),
        (
            r#"{"level":"error","msg":"m","details":{"error":{"type":"E","code":7},"trace_id":"t"}}"#,
            r#"ERROR traceId=t message=m errorType=E errorCode=7 | {"details":{"error":{"type":"E","code":7},"trace_id":"t"}}"#,
        ),
        (
            r#"{"level":"info","msg":"from postgres","record":{"error_severity":"ERROR","message":"boom","state_code":"42P01"}}"#,
            r#"ERROR message=boom errorCode=42P01 | {"level":"info","msg":"from postgres","record":{"error_severity":"ERROR"}}"#,
        ),
        (
            r#"{"level_name":"ERROR","message":"m","context":{"exception":{"class":"RuntimeException","message":"x","code":5}}}"#,
            r#"ERROR message=m errorType=RuntimeException errorCode=5 | {"context":{"exception":{"class":"RuntimeException","message":"x","code":5}}}"#,
        ),
        (
            r#"{"severity":"error","message":"m","metadata":{"request_id":"r","mfa":"A.b/1"}}"#,
            r#"ERROR requestId=r message=m | {"metadata":{"request_id":"r","mfa":"A.b/1"}}"#,
        ),
        (
            r#"{"severity":"ERROR","message":"m","logging.googleapis.com/trace":"projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4711"}"#,
            "ERROR traceId=4bf92f3577b34da6a3ce929d0e0e4711 message=m",
        ),
        (r#"{"level":"warn","msg":{"type":"Buffer","data":[104,105]}}"#, "WARN message=hi"),
        (
            r#"{"level":"warn","message":"{\"trace_id\":\"t\",\"msg\":\"inner\"}"}"#,
            r#"WARN traceId=t message={"trace_id":"t","msg":"inner"}"#,
        ),
    ]);
}
