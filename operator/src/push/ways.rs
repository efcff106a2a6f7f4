//! Defines how each kind of application is asked over HTTP for its level, gets another level, and gets the earlier one back. No I/O.
//!
//! A level is changed only if the earlier level could be read; otherwise it could not be restored.

use std::collections::BTreeMap;

use cordwood_core::level::Level;
use cordwood_crds::levels::{MethodSpec, PushSpec};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the Cordwood logger has its levels.
const CORDWOOD_PATH: &str = "/cordwood/level";
const ENVOY_PATH: &str = "/logging";
/// Loggers of one Envoy whose level is another than that of most; more are not remembered, and nothing is changed there.
const OTHERS_MAX: usize = 32;
/// Envoy's words.
const ENVOY_LEVELS: [&str; 7] = ["trace", "debug", "info", "warning", "error", "critical", "off"];
/// Words of levels, by which an endpoint that is not Envoy's may answer; any other answer (`success`, `fail`) is no level.
const LEVELS: [&str; 14] = [
    "all", "trace", "verbose", "debug", "info", "notice", "warn", "warning", "error", "critical", "fatal",
    "panic", "dpanic", "off",
];

/// One request to one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub method: Method,
    /// With its query, if there is one.
    pub path: String,
    pub body: Option<String>,
}

/// The level that an application said it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Found {
    /// Its logger has none of its own, and goes by its parent's.
    Inherited,
    /// In the application's own spelling.
    Level(String),
    /// Envoy: of most loggers, and of the others by their names.
    Loggers { level: String, others: BTreeMap<String, String> },
}

impl Found {
    /// Whether both are the same level, however it is spelled.
    pub fn is(&self, other: &Found) -> bool {
        match (self, other) {
            (Found::Level(one), Found::Level(other)) => one.eq_ignore_ascii_case(other),
            _ => self == other,
        }
    }
}

/// One way to one logger of a pod.
#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    SpringBoot { logger: &'a str },
    Zap { path: &'a str },
    Envoy,
    Cordwood,
    Http { path: &'a str, method: MethodSpec, body: &'a str },
}

/// The way and its port; `None` where a spec names none (the API server refuses it).
fn way(push: &PushSpec) -> Option<(Way<'_>, u16)> {
    if let Some(spring) = &push.spring_boot {
        return Some((Way::SpringBoot { logger: &spring.logger }, spring.port));
    }
    if let Some(zap) = &push.zap {
        return Some((Way::Zap { path: &zap.path }, zap.port));
    }
    if let Some(envoy) = &push.envoy {
        return Some((Way::Envoy, envoy.port));
    }
    if let Some(cordwood) = &push.cordwood {
        return Some((Way::Cordwood, cordwood.port));
    }
    let http = push.http.as_ref()?;
    Some((Way::Http { path: &http.path, method: http.method, body: &http.body }, http.port))
}

/// Port and path of the logger that a push is about: of two configs with the same one decides. `None`: the spec cannot be followed.
pub fn target(push: &PushSpec) -> Option<String> {
    let (way, port) = way(push)?;
    let kind = match way {
        Way::SpringBoot { .. } => "springBoot",
        Way::Zap { .. } => "zap",
        Way::Envoy => "envoy",
        Way::Cordwood => "cordwood",
        Way::Http { .. } => "http",
    };
    let path = path(way);
    let is_path = path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.~$-".contains(&byte))
        && !path.contains("..")
        && !path.contains("//");
    is_path.then(|| format!("{kind}:{port}{path}"))
}

fn path(way: Way<'_>) -> String {
    match way {
        Way::SpringBoot { logger } => format!("/actuator/loggers/{logger}"),
        Way::Zap { path } | Way::Http { path, .. } => path.to_owned(),
        Way::Envoy => ENVOY_PATH.to_owned(),
        Way::Cordwood => CORDWOOD_PATH.to_owned(),
    }
}

/// The only port that is asked.
pub fn port(push: &PushSpec) -> Option<u16> {
    way(push).map(|(_, port)| port)
}

/// The request that asks for the level. Envoy lists its levels to a POST alone.
pub fn read(push: &PushSpec) -> Option<Asked> {
    let (way, _) = way(push)?;
    let method = if matches!(way, Way::Envoy) { Method::POST } else { Method::GET };
    Some(Asked { method, path: path(way), body: None })
}

/// What the answer to [`read`] says, or why it says nothing.
pub fn found(push: &PushSpec, answer: &[u8]) -> Result<Found, &'static str> {
    let (way, _) = way(push).ok_or("no way")?;
    let text = std::str::from_utf8(answer).map_err(|_| "its answer is no text")?.trim();
    if matches!(way, Way::Envoy) {
        return envoy(text);
    }
    let value = serde_json::from_str::<Value>(text).ok();
    let word = match (way, &value) {
        (Way::SpringBoot { .. }, Some(Value::Object(members))) => match members.get("configuredLevel") {
            Some(Value::String(level)) => Some(level.as_str()),
            // The actuator leaves out what is null where it is told to.
            Some(Value::Null) | None if members.contains_key("effectiveLevel") => {
                return Ok(Found::Inherited);
            }
            _ => None,
        },
        (Way::Cordwood, Some(Value::Object(members))) if members.contains_key("ttlSeconds") => {
            return Err("a change for a while is in force there, which cannot be put back");
        }
        (Way::Zap { .. } | Way::Cordwood | Way::Http { .. }, Some(Value::Object(members))) => {
            members.get("level").and_then(Value::as_str)
        }
        (Way::Http { .. }, Some(Value::String(level))) => Some(level.as_str()),
        (Way::Http { .. }, None) => Some(text),
        _ => None,
    };
    let is_level = |word: &&str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(word));
    match word.filter(is_level) {
        Some(word) => Ok(Found::Level(word.to_owned())),
        None => Err("its answer names no level, which therefore could not be put back"),
    }
}

/// `  name: level` after a headline.
fn envoy(text: &str) -> Result<Found, &'static str> {
    let mut loggers = BTreeMap::new();
    for (name, level) in text.lines().filter_map(|line| line.trim().split_once(": ")) {
        let is_name = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if is_name && ENVOY_LEVELS.contains(&level) {
            loggers.insert(name.to_owned(), level.to_owned());
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for level in loggers.values() {
        *counts.entry(level).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(level, _)| (*level).to_owned());
    let level = most.ok_or("its answer names no logger")?;
    let others: BTreeMap<_, _> = loggers.into_iter().filter(|(_, own)| *own != level).collect();
    if others.len() > OTHERS_MAX {
        return Err("too many of its loggers have levels of their own, which could not be put back");
    }
    Ok(Found::Loggers { level, others })
}

/// The level in the application's own words.
fn word(way: Way<'_>, level: Level) -> &'static str {
    match (way, level) {
        // Zap has no TRACE.
        (Way::Zap { .. }, Level::Trace | Level::Debug) => "debug",
        (Way::Zap { .. }, Level::Info) => "info",
        (Way::Zap { .. }, Level::Warn) => "warn",
        (Way::Zap { .. }, Level::Error) => "error",
        (Way::Envoy, level) => ENVOY_LEVELS[usize::from(level as u8)],
        (_, level) => level.as_str(),
    }
}

/// What [`found`] says once the application has `level`.
pub fn shows(push: &PushSpec, level: Level) -> Option<Found> {
    let (way, _) = way(push)?;
    let word = word(way, level).to_owned();
    Some(match way {
        Way::Envoy => Found::Loggers { level: word, others: BTreeMap::new() },
        _ => Found::Level(word),
    })
}

/// The requests after which the application has the level.
pub fn put(push: &PushSpec, level: &Found) -> Vec<Asked> {
    let Some((way, _)) = way(push) else { return Vec::new() };
    let path = path(way);
    let json = |method, body: Value| vec![Asked { method, path: path.clone(), body: Some(body.to_string()) }];
    match (way, level) {
        (Way::SpringBoot { .. }, Found::Inherited) => json(Method::POST, json!({"configuredLevel": null})),
        (Way::SpringBoot { .. }, Found::Level(level)) => {
            json(Method::POST, json!({"configuredLevel": level}))
        }
        (Way::Zap { .. } | Way::Cordwood, Found::Level(level)) => json(Method::PUT, json!({"level": level})),
        (Way::Envoy, Found::Loggers { level, others }) => {
            let ask = |name: &str, level: &str| Asked {
                method: Method::POST,
                path: format!("{path}?{name}={level}"),
                body: None,
            };
            let others = others.iter().map(|(name, level)| ask(name, level));
            std::iter::once(ask("level", level)).chain(others).collect()
        }
        (Way::Http { method, body, .. }, Found::Level(level)) => {
            let body = body
                .replace("${LEVEL}", &level.to_ascii_uppercase())
                .replace("${level}", &level.to_ascii_lowercase());
            let method = match method {
                MethodSpec::Put => Method::PUT,
                MethodSpec::Post => Method::POST,
            };
            vec![Asked { method, path, body: Some(body) }]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(spec: Value) -> PushSpec {
        serde_json::from_value(spec).unwrap()
    }

    fn level(word: &str) -> Found {
        Found::Level(word.to_owned())
    }

    fn loggers(level: &str, others: &[(&str, &str)]) -> Found {
        let others = others.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect();
        Found::Loggers { level: level.to_owned(), others }
    }

    fn written(asked: &[Asked]) -> Vec<String> {
        let each = asked.iter().map(|one| {
            format!("{} {} {}", one.method, one.path, one.body.as_deref().unwrap_or_default())
                .trim_end()
                .to_owned()
        });
        each.collect()
    }

    #[test]
    fn each_kind_is_asked_and_told_in_its_own_words() {
        let spring = json!({"springBoot": {"port": 8081, "logger": "com.shop.Cart$Lines"}});
        let http =
            json!({"http": {"port": 9000, "path": "/lvl", "method": "PUT", "body": "${LEVEL} ${level}"}});
        for (spec, target_of, read_of, warn, error) in [
            (
                json!({"springBoot": {"port": 8081}}),
                "springBoot:8081/actuator/loggers/ROOT",
                "GET /actuator/loggers/ROOT",
                r#"POST /actuator/loggers/ROOT {"configuredLevel":"WARN"}"#,
                r#"POST /actuator/loggers/ROOT {"configuredLevel":"ERROR"}"#,
            ),
            (
                spring,
                "springBoot:8081/actuator/loggers/com.shop.Cart$Lines",
                "GET /actuator/loggers/com.shop.Cart$Lines",
                r#"POST /actuator/loggers/com.shop.Cart$Lines {"configuredLevel":"WARN"}"#,
                r#"POST /actuator/loggers/com.shop.Cart$Lines {"configuredLevel":"ERROR"}"#,
            ),
            (
                json!({"zap": {"port": 80}}),
                "zap:80/log/level",
                "GET /log/level",
                r#"PUT /log/level {"level":"warn"}"#,
                r#"PUT /log/level {"level":"error"}"#,
            ),
            (
                json!({"envoy": {"port": 9901}}),
                "envoy:9901/logging",
                "POST /logging",
                "POST /logging?level=warning",
                "POST /logging?level=error",
            ),
            (
                json!({"cordwood": {"port": 9901}}),
                "cordwood:9901/cordwood/level",
                "GET /cordwood/level",
                r#"PUT /cordwood/level {"level":"WARN"}"#,
                r#"PUT /cordwood/level {"level":"ERROR"}"#,
            ),
            (http, "http:9000/lvl", "GET /lvl", "PUT /lvl WARN warn", "PUT /lvl ERROR error"),
        ] {
            let push = push(spec);
            assert_eq!(target(&push).as_deref(), Some(target_of));
            assert_eq!(written(&[read(&push).unwrap()]), [read_of]);
            for (level, expected) in [(Level::Warn, warn), (Level::Error, error)] {
                let shown = shows(&push, level).unwrap();
                assert_eq!(written(&put(&push, &shown)), [expected]);
            }
        }
        let zap = push(json!({"zap": {"port": 80}}));
        assert_eq!(shows(&zap, Level::Trace), Some(level("debug")), "zap has no trace");
    }

    #[test]
    fn what_an_answer_says_is_what_is_put_back() {
        let spring = json!({"springBoot": {"port": 1}});
        let http = json!({"http": {"port": 1, "path": "/l", "body": "level=${level}"}});
        let envoy = json!({"envoy": {"port": 1}});
        let two = "active loggers:\n  admin: info\n  http: debug\n  main: info\n";
        for (spec, answer, expected, back) in [
            (
                spring.clone(),
                r#"{"configuredLevel":"INFO","effectiveLevel":"INFO"}"#,
                level("INFO"),
                vec![r#"POST /actuator/loggers/ROOT {"configuredLevel":"INFO"}"#],
            ),
            (
                spring.clone(),
                r#"{"configuredLevel":null,"effectiveLevel":"INFO"}"#,
                Found::Inherited,
                vec![r#"POST /actuator/loggers/ROOT {"configuredLevel":null}"#],
            ),
            (
                spring,
                r#"{"effectiveLevel":"INFO"}"#,
                Found::Inherited,
                vec![r#"POST /actuator/loggers/ROOT {"configuredLevel":null}"#],
            ),
            (
                json!({"zap": {"port": 1}}),
                "{\"level\":\"info\"}\n",
                level("info"),
                vec![r#"PUT /log/level {"level":"info"}"#],
            ),
            (
                json!({"cordwood": {"port": 1}}),
                r#"{"level":"INFO","targets":{"db":"TRACE"},"scopes":false}"#,
                level("INFO"),
                vec![r#"PUT /cordwood/level {"level":"INFO"}"#],
            ),
            (
                envoy.clone(),
                "active loggers:\n  admin: info\n",
                loggers("info", &[]),
                vec!["POST /logging?level=info"],
            ),
            (
                envoy,
                two,
                loggers("info", &[("http", "debug")]),
                vec!["POST /logging?level=info", "POST /logging?http=debug"],
            ),
            (http.clone(), r#"{"level":"Warning"}"#, level("Warning"), vec!["POST /l level=warning"]),
            (http.clone(), "\"debug\"", level("debug"), vec!["POST /l level=debug"]),
            (http, "INFO\n", level("INFO"), vec!["POST /l level=info"]),
        ] {
            let push = push(spec);
            let found = found(&push, answer.as_bytes()).unwrap();
            assert_eq!(found, expected, "{answer}");
            assert_eq!(written(&put(&push, &found)), back, "{answer}");
        }
    }

    #[test]
    fn what_names_no_level_is_none() {
        for (spec, answers) in [
            (json!({"springBoot": {"port": 1}}), vec!["", "{}", "[]", r#"{"level":"INFO"}"#, "INFO"]),
            (json!({"zap": {"port": 1}}), vec!["info", r#"{"level":7}"#, r#"{"level":"ok"}"#]),
            (json!({"cordwood": {"port": 1}}), vec![r#"{"level":"INFO","ttlSeconds":7}"#, "\u{0}"]),
            (json!({"envoy": {"port": 1}}), vec!["active loggers:\n", "a: b\n", "<html>", "a b: info"]),
            (
                json!({"http": {"port": 1, "path": "/l"}}),
                vec!["OK", "success", "fail", "<html>info</html>", "{\"l\":1}", "7x"],
            ),
        ] {
            let push = push(spec);
            for answer in answers {
                assert!(found(&push, answer.as_bytes()).is_err(), "{answer}");
            }
        }
        let many: String = (0..33).map(|n| format!("a{n}: debug\nb{n}: info\n")).collect();
        assert!(found(&push(json!({"envoy": {"port": 1}})), many.as_bytes()).is_err());
    }

    /// The API server refuses these; what is read back from a ConfigMap is checked again.
    #[test]
    fn no_other_path_than_one_on_the_pod() {
        for spec in [
            json!({"zap": {"port": 1, "path": "/a/../b"}}),
            json!({"zap": {"port": 1, "path": "//a"}}),
            json!({"zap": {"port": 1, "path": "http://a/"}}),
            json!({"zap": {"port": 1, "path": "/a b"}}),
            json!({"zap": {"port": 1, "path": "/a\r\nX: y"}}),
            json!({"springBoot": {"port": 1, "logger": "a?b"}}),
            json!({}),
        ] {
            assert_eq!(target(&push(spec.clone())), None, "{spec}");
        }
    }
}
