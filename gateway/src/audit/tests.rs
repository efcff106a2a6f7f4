use std::sync::Mutex;

use axum::http::HeaderMap;
use serde_json::Value;

use super::*;
use cordwood_core::scope::AdminReason;

/// Records that are written, and a look whose caller is known.
fn look(reads: bool, method: Method, route: &str, uri: &str) -> (Arc<Mutex<Vec<u8>>>, Look) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let audit = Audit::to(reads, move |line| {
        into.lock().unwrap().extend_from_slice(line);
        Ok(())
    });
    let lost = IntCounter::new("lost", "x").unwrap();
    let id = RequestId::of(&HeaderMap::new());
    let look = Look::new(&audit, lost, id, method, route.to_owned(), uri.parse().unwrap());
    look.is_by(&Identity::Local);
    look.is_under(&Scope::all(AdminReason::Standalone));
    (lines, look)
}

fn written(lines: &Mutex<Vec<u8>>) -> Vec<Value> {
    let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const LOGS: &str = "/api/platform/logs";

#[test]
fn a_look_is_one_audit_record_of_what_was_asked_and_shown() {
    let (lines, look) =
        look(true, Method::GET, LOGS, "/api/platform/logs?filter=card+4711&from=-15m&level=warn&level=error");
    look.shown(3);
    look.answered(StatusCode::OK);
    let all = written(&lines);
    assert_eq!(all.len(), 1);
    let (record, told) = (&all[0], &all[0]["metadata"]);
    assert_eq!(
        (&record["is_audit"], &record["action"], &record["userId"]),
        (&true.into(), &"looked".into(), &"local".into())
    );
    assert_eq!((&told["route"], &told["records"], &told["outcome"]), (&LOGS.into(), &3.into(), &"ok".into()));
    assert_eq!(
        told["question"],
        serde_json::json!({"filter": ["card 4711"], "from": ["-15m"], "level": ["warn", "error"]})
    );
    // The agent takes it for what it is.
    let line = serde_json::to_string(record).unwrap();
    assert!(cordwood_core::fields::quick(line.as_bytes()).audit);
}

#[test]
fn what_is_no_parameter_of_ours_is_not_told_nor_what_could_be_a_secret() {
    let secret = "eyJhbGciOiJSUzI1NiJ9";
    for name in ["access_token", "ticket", "token", "bearer", "X-Token", secret] {
        let uri = format!("/api/platform/logs?{name}={secret}&filter=x");
        let (lines, look) = look(true, Method::GET, LOGS, &uri);
        look.answered(StatusCode::BAD_REQUEST);
        let all = written(&lines);
        assert_eq!(all[0]["metadata"]["question"], serde_json::json!({"filter": ["x"]}));
        assert!(!all[0].to_string().contains(secret), "{name}");
        assert_eq!(all[0]["metadata"]["outcome"], "refused");
    }
}

#[test]
fn a_record_is_bounded_whatever_is_asked() {
    for (value, times) in [("%00", 9_000), ("%22", 9_000), ("a", 30_000), ("%F0%9F%92%A9", 3_000)] {
        let uri = format!("/{}?filter={}", "a".repeat(2_000), value.repeat(times));
        let uri = format!("{uri}&{}", "text=abcdefg&".repeat(700));
        let (lines, look) = look(true, Method::GET, LOGS, &uri);
        look.is_under(&Scope::of_tenants((0..500).map(|number| format!("tenant-{number}"))));
        look.answered(StatusCode::OK);
        let line = lines.lock().unwrap().clone();
        assert!(line.len() < 12 << 10, "{}", line.len());
        assert_eq!(written(&lines)[0]["metadata"]["cut"], true);
    }
}

#[test]
fn no_other_parameter_takes_the_filters_place() {
    let filter = format!("card 4711 {}", "x".repeat(3_000));
    for before in [true, false] {
        let padding = ["tenant", "namespace", "text", "data.code", "service"].map(|name| {
            let one = format!("{name}={}&", "p".repeat(1_100));
            one.repeat(6)
        });
        let (padding, filter) = (padding.concat(), format!("filter={}&", filter.replace(' ', "+")));
        let query = if before { padding + &filter } else { filter + &padding };
        let (lines, look) = look(true, Method::GET, LOGS, &format!("{LOGS}?{query}level=warn"));
        look.answered(StatusCode::OK);
        let told = &written(&lines)[0]["metadata"];
        let kept = told["question"]["filter"][0].as_str().unwrap();
        assert!(kept.starts_with("card 4711 xxx") && kept.ends_with("... (3010 characters)"), "{told}");
        assert_eq!(told["question"]["level"], serde_json::json!(["warn"]));
        assert_eq!(told["cut"], true);
    }
}

#[test]
fn conditions_on_an_applications_fields_are_told_whatever_the_fields_are_called() {
    let uri = "/api/tasks/t1/logs?data.code=7&data.state=open&metadata.token_count=3&code=oauth&state=oauth";
    let (lines, look) = look(true, Method::GET, LOGS, uri);
    look.answered(StatusCode::OK);
    let told = &written(&lines)[0]["metadata"];
    let expected =
        serde_json::json!({"data.code": ["7"], "data.state": ["open"], "metadata.token_count": ["3"]});
    assert_eq!(told["question"], expected);
}

#[test]
fn what_lasts_has_a_record_of_its_start_and_one_of_its_end() {
    let (lines, look) = look(true, Method::GET, LOGS, LOGS);
    let mut export = look.lasts(Lasting::Export);
    look.answered(StatusCode::OK);
    (0..1_000).for_each(|_| look.shown(1));
    export.ended("ok");
    drop(export);
    let told = |record: &Value| {
        (
            record["action"].clone(),
            record["metadata"]["records"].clone(),
            record["metadata"]["outcome"].clone(),
        )
    };
    let all: Vec<_> = written(&lines).iter().map(told).collect();
    assert_eq!(
        all,
        [
            ("export_started".into(), Value::Null, "ok".into()),
            ("export_ended".into(), 1_000.into(), "ok".into())
        ]
    );
}

#[test]
fn a_reader_who_leaves_is_told_so() {
    let (lines, look) = look(true, Method::GET, LOGS, LOGS);
    drop(look.lasts(Lasting::Stream));
    assert_eq!(written(&lines)[1]["metadata"]["outcome"], "left");
}

#[test]
fn who_leaves_before_the_answer_has_asked_too_and_once() {
    let (lines, look) = look(false, Method::DELETE, "/api/tasks/{task_id}", "/api/tasks/t1");
    look.left();
    let all = written(&lines);
    assert_eq!((&all[0]["action"], &all[0]["metadata"]["outcome"]), (&"changed".into(), &"left".into()));
    assert_eq!(all.len(), 1);
    let (lines, look) = self::look(true, Method::GET, LOGS, LOGS);
    look.answered(StatusCode::OK);
    look.left();
    assert_eq!(written(&lines).len(), 1);
    // A WebSocket is no caller who left.
    let (lines, look) = self::look(true, Method::GET, LOGS, LOGS);
    look.answered(StatusCode::SWITCHING_PROTOCOLS);
    look.left();
    assert_eq!(written(&lines).len(), 0);
}

#[test]
fn changes_are_told_also_where_looks_are_not() {
    let told = |reads, method: Method, route: &str| {
        let (lines, look) = look(reads, method, route, "/x");
        look.answered(StatusCode::NO_CONTENT);
        drop(look.lasts(Lasting::Stream));
        written(&lines).iter().map(|record| record["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(false, Method::GET, LOGS), [""; 0]);
    assert_eq!(told(false, Method::DELETE, LOGS)[0], "changed");
    // Shows nobody's records; a WebSocket's question comes with its first frame.
    assert_eq!(told(true, Method::GET, "/api/whoami"), ["stream_started", "stream_ended"]);
    let (lines, look) = look(true, Method::GET, LOGS, LOGS);
    look.answered(StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(written(&lines).len(), 0);
}

#[test]
fn nothing_is_told_of_whom_nobody_knows_and_what_cannot_be_written_is_counted() {
    let lost = IntCounter::new("lost", "x").unwrap();
    let audit = Audit::to(true, |_| Err(std::io::ErrorKind::BrokenPipe.into()));
    let look = || {
        let id = RequestId::of(&HeaderMap::new());
        Look::new(&audit, lost.clone(), id, Method::GET, LOGS.to_owned(), LOGS.parse().unwrap())
    };
    look().answered(StatusCode::UNAUTHORIZED);
    assert_eq!(lost.get(), 0);
    let known = look();
    known.is_by(&Identity::Local);
    known.answered(StatusCode::OK);
    assert_eq!(lost.get(), 1);
}
