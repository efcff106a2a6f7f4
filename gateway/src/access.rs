//! Who asks. An identity is made here alone, from a request's headers; what it may see, [`crate::scope`] says.
//!
//! Two ways exist: a gateway on a loopback address lets everybody on the machine in, and one with a file of tokens whoever holds one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use cordwood_service::{ConfigError, load_config};
use serde::Deserialize;

use crate::problem::Problem;

/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// How callers are known.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches the loopback address owns the store.
    Loopback,
    Tokens(Tokens),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody on this machine.
    Local,
    Token(Arc<Token>),
}

/// A token as its file says it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is, for the log and `whoami`.
    pub name: String,
    token: String,
    /// `all`, or a list of slugs.
    pub tenants: Names,
    /// `all` (the default), or a list.
    #[serde(default)]
    pub namespaces: Names,
    /// Audit records too.
    #[serde(default)]
    pub audit: bool,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    #[default]
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`all` or a list of names")]
pub enum Names {
    All(All),
    Only(Vec<String>),
}

impl Default for Names {
    fn default() -> Names {
        Names::All(All::All)
    }
}

impl Names {
    /// Whether one of them can be no tenant's and no namespace's name.
    fn has_pattern(&self) -> bool {
        let Names::Only(names) = self else { return false };
        let is_none = |name: &String| {
            name.is_empty()
                || name.contains(|letter: char| letter.is_whitespace() || "*?[]{}".contains(letter))
        };
        names.iter().any(is_none)
    }
}

/// What is said of the file without what may be a token: a value that the parser shows, and any long word, wherever it stands.
fn without_secrets(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Key { path, key, message } => {
            ConfigError::Key { path, key: without_long_words(&key), message: without_values(&message) }
        }
        ConfigError::Syntax { path, message } => {
            ConfigError::Syntax { path, message: without_values(&message) }
        }
        other => other,
    }
}

/// `invalid type: string "...", expected a list`: from the first mark on to what is expected.
fn without_values(message: &str) -> String {
    let shown = message.find("invalid ").and_then(|start| {
        let from = start + message[start..].find(['"', '`'])?;
        let to = message.rfind(", expected")?;
        (from < to).then_some((from, to))
    });
    let message = match shown {
        Some((from, to)) => format!("{}{}", message[..from].trim_end(), &message[to..]),
        None => message.to_owned(),
    };
    without_long_words(&message)
}

fn without_long_words(text: &str) -> String {
    let is_apart = |letter: char| letter.is_whitespace() || "\"`'.,:;[]()".contains(letter);
    let hidden = |word: &str| {
        if word.trim_end_matches(is_apart).len() < TOKEN_BYTES_MIN {
            word.to_owned()
        } else {
            "... ".to_owned()
        }
    };
    text.split_inclusive(is_apart).map(hidden).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Token>,
}

/// What a file of tokens holds.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<[Arc<Token>]>);

impl Tokens {
    /// # Errors
    /// One line that names the file and what is wrong in it; never a token.
    pub fn read(path: &Path) -> Result<Tokens, ConfigError> {
        let file: File = load_config(path).map_err(without_secrets)?;
        let wrong = |key: String, message: String| ConfigError::Key { path: path.into(), key, message };
        if file.tokens.is_empty() {
            return Err(wrong("tokens".to_owned(), "none: nobody could ask anything".to_owned()));
        }
        let (mut names, mut secrets) = (HashSet::new(), HashSet::new());
        for (place, token) in file.tokens.iter().enumerate() {
            let fault = if token.name.is_empty() {
                "a token without a name"
            } else if token.token.len() < TOKEN_BYTES_MIN {
                "shorter than 16 bytes; `openssl rand -hex 32` makes a good one"
            } else if token.token.bytes().any(|byte| !byte.is_ascii_graphic()) {
                "not made of plain visible characters alone; `openssl rand -hex 32` makes a good one"
            } else if [&token.tenants, &token.namespaces].contains(&&Names::Only(Vec::new())) {
                "an empty list: such a token would see nothing"
            } else if [&token.tenants, &token.namespaces].into_iter().any(Names::has_pattern) {
                "a name that nothing has: each stands there exactly, without wildcards, or write `all`"
            } else if !names.insert(&token.name) {
                "a second one of this name"
            } else if !secrets.insert(&token.token) {
                "the same as another's"
            } else {
                continue;
            };
            return Err(without_secrets(wrong(
                format!("tokens[{place}]"),
                format!("{:?}: {fault}", token.name),
            )));
        }
        Ok(Tokens(file.tokens.into_iter().map(Arc::new).collect()))
    }

    /// Every token is compared to its end, so that the time taken tells nothing.
    fn holder(&self, given: &str) -> Option<Arc<Token>> {
        let mut found = None;
        for token in self.0.iter() {
            if is_same(token.token.as_bytes(), given.as_bytes()) {
                found = Some(Arc::clone(token));
            }
        }
        found
    }
}

fn is_same(known: &[u8], given: &[u8]) -> bool {
    let differences = known.iter().zip(given).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    known.len() == given.len() && differences == 0
}

impl Access {
    /// # Errors
    /// The answer to whoever may not ask at all.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        match self {
            // A page of the web whose name was made to point to this machine asks under that name.
            Access::Loopback if !is_local(headers) => Err(Problem::other_host()),
            Access::Loopback if is_for_another_page(headers) => Err(Problem::other_page()),
            Access::Loopback => Ok(Identity::Local),
            Access::Tokens(tokens) => bearer(headers)
                .and_then(|token| tokens.holder(token))
                .map(Identity::Token)
                .ok_or_else(Problem::unknown_caller),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The one name under which is asked.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok()
}

/// Whether a page of another place has its reader's browser ask: the browser names the place or says that it is another. Such a page cannot
/// read the answer, but it could measure how long one takes. Whoever follows a link is let in.
fn is_for_another_page(headers: &HeaderMap) -> bool {
    let is = |name: &str, values: &[&str]| {
        let value = headers.get(name).map(|value| value.to_str().unwrap_or_default());
        value.is_some_and(|value| values.contains(&value))
    };
    let is_own = |origin: &HeaderValue| {
        let place = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        place.is_some_and(|(_, place)| host(headers).is_some_and(|host| host.eq_ignore_ascii_case(place)))
    };
    let is_link = is("sec-fetch-mode", &["navigate"]) && is("sec-fetch-dest", &["document"]);
    let is_own_page =
        !headers.contains_key("sec-fetch-site") || is("sec-fetch-site", &["same-origin", "none"]);
    !headers.get_all(header::ORIGIN).iter().all(is_own) || !(is_own_page || is_link)
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl Identity {
    pub fn name(&self) -> &str {
        match self {
            Identity::Local => "local",
            Identity::Token(token) => &token.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn read(text: &str) -> Result<Tokens, String> {
        let path =
            std::env::temp_dir().join(format!("cordwood-tokens-{}-{}", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let tokens = Tokens::read(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).unwrap();
        tokens
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_answered() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:9600", true),
            ("127.0.0.1:9600", true),
            ("127.8.8.8", true),
            ("[::1]:9600", true),
            ("evil.example:9600", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let found = Access::Loopback.identify(&headers(header::HOST, host));
            assert_eq!(found.is_ok(), expected, "{host}");
        }
        assert!(Access::Loopback.identify(&HeaderMap::new()).is_err());
    }

    #[test]
    fn without_tokens_no_page_of_another_place_is_answered() {
        let identify = |rows: &[(&'static str, &str)]| {
            let headers = rows
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
            let mut all = HeaderMap::new();
            headers.for_each(|(name, value): (_, header::HeaderValue)| {
                all.append(name, value);
            });
            Access::Loopback.identify(&all).is_ok()
        };
        let host = ("host", "localhost:9600");
        for (rows, expected) in [
            (&[][..], true),
            // Its own page, an address that somebody typed, a link that somebody followed.
            (&[("origin", "http://localhost:9600"), ("sec-fetch-site", "same-origin")], true),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                true,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
            // A script, a picture, a frame in a page of another place.
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "http://evil.example/localhost:9600")], false),
            (&[("origin", "http://localhost:9600.evil.example")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://localhost:9600"), ("origin", "https://evil.example")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "image"),
                ],
                false,
            ),
            (
                &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "cross-site")], false),
            // Which of two names was meant, nobody knows.
            (&[("host", "evil.example")], false),
        ] {
            let all: Vec<(&'static str, &str)> = std::iter::once(&host).chain(rows).copied().collect();
            assert_eq!(identify(&all), expected, "{rows:?}");
        }
    }

    #[test]
    fn a_token_names_its_holder_and_nothing_else_does() {
        let tokens = read(
            "tokens:\n- {name: anna, token: 0123456789abcdef, tenants: all}\n\
             - {name: shop, token: fedcba9876543210, tenants: [acme], namespaces: [shop], audit: true}\n",
        );
        let access = Access::Tokens(tokens.unwrap());
        let name = |value: &str| {
            let found = access.identify(&headers(header::AUTHORIZATION, value));
            found.map(|identity| identity.name().to_owned()).ok()
        };
        assert_eq!(name("Bearer 0123456789abcdef").as_deref(), Some("anna"));
        assert_eq!(name("bearer  fedcba9876543210").as_deref(), Some("shop"));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "0123456789abcdef",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdef, fedcba9876543210",
        ] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        let mut twice = headers(header::AUTHORIZATION, "Bearer 0123456789abcdef");
        twice.append(header::AUTHORIZATION, "Bearer fedcba9876543210".parse().unwrap());
        assert!(access.identify(&twice).is_err());
    }

    #[test]
    fn a_file_that_says_less_than_it_must_is_refused_without_a_token_in_the_message() {
        for (text, expected) in [
            ("tokens: []", "nobody could ask"),
            ("tokens: [{name: a, token: 0123456789abcdef}]", "tenants"),
            ("tokens: [{name: a, token: 0123456789abcdef, tenants: []}]", "would see nothing"),
            ("tokens: [{name: a, token: 0123456789abcdef, tenants: everything}]", "`all` or a list"),
            (
                "tokens: [{name: a, token: 0123456789abcdef, tenants: all, namespaces: []}]",
                "would see nothing",
            ),
            ("tokens: [{name: a, token: secret, tenants: all}]", "shorter"),
            ("tokens: [{name: a, token: 0123456789 abcdef, tenants: all}]", "plain visible"),
            ("tokens: [{name: '', token: 0123456789abcdef, tenants: all}]", "without a name"),
            ("tokens: [{name: a, token: 0123456789abcdef, tenant: all}]", "unknown field"),
            (
                "tokens: [{name: a, token: 0123456789abcdef, tenants: all}, {name: a, token: x123456789abcdef, tenants: all}]",
                "second",
            ),
            (
                "tokens: [{name: a, token: 0123456789abcdef, tenants: all}, {name: b, token: 0123456789abcdef, tenants: all}]",
                "another's",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("456789") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_told_either() {
        for text in [
            "tokens: [{name: a, token: 8273645599, tenants: all}]",
            "tokens: [8273645599cafecafe]",
            "tokens: ['8273645599 \", expected cafe']",
            "tokens: 8273645599cafecafe",
            "8273645599cafecafe",
            "8273645599cafecafe: {tokens: []}",
            "tokens: {8273645599cafecafe: {name: a}}",
            "tokens: [{8273645599cafecafe: anna}]",
            "tokens: [{name: [8273645599cafecafe], token: 0123456789abcdef}]",
            "tokens: [{name: a, token: {8273645599cafecafe: 1}, tenants: all}]",
            "tokens: [{name: a, token: 0123456789abcdef, tenants: 8273645599cafecafe}]",
            "tokens: [{name: a, token: 0123456789abcdef, tenants: all, audit: 8273645599cafecafe}]",
            "tokens: [{name: 8273645599cafecafe, token: anna, tenants: all}]",
            "tokens: [{name: a, token: *8273645599cafecafe, tenants: all}]",
            "tokens: [{name: a, token: !8273645599cafecafe x, tenants: all}]",
            "tokens: [{name: a, token: \"8273645599cafecafe, tenants: all}]",
        ] {
            let message = read(text).unwrap_err();
            assert!(!message.contains("8273645599"), "{text}: {message}");
            assert!(message.contains("cordwood-tokens"), "{text}: {message}");
        }
    }

    #[test]
    fn a_name_that_nothing_can_have_is_refused() {
        for names in ["['shop-*']", "[acme, '']", "['?']", "[' acme']"] {
            for key in ["tenants", "namespaces"] {
                let other = if key == "tenants" { "" } else { "tenants: all, " };
                let text = format!("tokens: [{{name: a, token: 0123456789abcdef, {other}{key}: {names}}}]");
                let message = read(&text).unwrap_err();
                assert!(message.contains("exactly"), "{text}: {message}");
            }
        }
    }
}
