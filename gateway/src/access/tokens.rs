//! Identifies callers by a file of tokens: anyone who holds a token sees what the file grants that token.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cordwood_service::{ConfigError, load_config};
use serde::Deserialize;

use crate::metrics::Metrics;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

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
    /// Announces and deletes the tasks that it sees.
    #[serde(default)]
    pub change_tasks: bool,
    /// Reads and changes policies and level configs, where it sees all that they are about.
    #[serde(default)]
    pub administer: bool,
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

impl Token {
    pub fn secret(&self) -> &str {
        &self.token
    }
}

type List = Arc<[Arc<Token>]>;

/// What a file of tokens holds, or held when it last could be used.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    list: RwLock<List>,
}

impl Tokens {
    /// # Errors
    /// One line that names the file and what is wrong in it; never a token.
    pub fn read(path: &Path) -> Result<Tokens, ConfigError> {
        let list = RwLock::new(Tokens::list_of(path)?);
        Ok(Tokens(Arc::new(Kept { path: path.into(), list })))
    }

    /// Reads the file again whenever it has changed. One that cannot be used changes nothing, and is told once.
    pub async fn follow(self, metrics: Metrics) {
        let path = &self.0.path;
        let look = async || tokio::fs::read(path).await.map_err(|error| error.kind());
        // It may have changed since it was read at the start.
        let mut seen = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Some(look().await);
            if now != seen {
                self.read_again(&metrics);
                seen = now;
            }
        }
    }

    fn read_again(&self, metrics: &Metrics) {
        let list = Tokens::list_of(&self.0.path);
        let is_new = list.as_ref().is_ok_and(|list| *list != self.list());
        metrics.tokens_read(list.is_ok(), is_new);
        match list {
            Ok(_) if !is_new => {}
            Ok(list) => {
                tracing::info!(tokens = list.len(), "the file of tokens was read again");
                *self.0.list.write().unwrap_or_else(PoisonError::into_inner) = list;
            }
            Err(error) => {
                tracing::warn!(%error, "the file of tokens is invalid; the tokens before stay valid")
            }
        }
    }

    fn list(&self) -> List {
        Arc::clone(&self.0.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn list_of(path: &Path) -> Result<List, ConfigError> {
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
        Ok(file.tokens.into_iter().map(Arc::new).collect())
    }

    /// Whether the file says just this of somebody.
    pub fn holds(&self, token: &Token) -> bool {
        self.list().iter().any(|known| **known == *token)
    }

    /// Every token is compared to its end, so that the time taken tells nothing.
    pub fn holder(&self, given: &str) -> Option<Arc<Token>> {
        let mut found = None;
        for token in self.list().iter() {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::{HeaderMap, header};

    use super::super::bearer;
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn read(text: &str) -> Result<Tokens, String> {
        // (Tests run beside each other.)
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cordwood-tokens-{}-{number}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let tokens = Tokens::read(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).unwrap();
        tokens
    }

    #[test]
    fn a_token_names_its_holder_and_nothing_else_does() {
        let tokens = read(
            "tokens:\n- {name: anna, token: 0123456789abcdef, tenants: all}\n\
             - {name: shop, token: fedcba9876543210, tenants: [acme], namespaces: [shop], audit: true}\n",
        );
        let tokens = tokens.unwrap();
        let name = |value: &str| {
            let found = tokens.holder(bearer(&headers(header::AUTHORIZATION, value))?);
            found.map(|token| token.name.clone())
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
        assert_eq!(bearer(&twice), None);
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

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing() {
        let path = std::env::temp_dir().join(format!("cordwood-tokens-again-{}", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let broken = || {
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            text.lines().any(|line| line == "cordwood_gateway_tokens_file_broken 1")
        };
        write("tokens: [{name: anna, token: 0123456789abcdef, tenants: all}]");
        let tokens = Tokens::read(&path).unwrap();
        let (anna, bert) = ("0123456789abcdef", "fedcba9876543210");
        let holder = tokens.holder(anna).unwrap();
        for bad in ["", "tokens: []", "tokens: [{name: bert, token: short, tenants: all}]", "\u{0}"] {
            write(bad);
            tokens.read_again(&metrics);
            assert!(tokens.holds(&holder) && broken(), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        tokens.read_again(&metrics);
        assert!(tokens.holds(&holder) && broken());
        write("tokens: [{name: bert, token: fedcba9876543210, tenants: all}]");
        tokens.read_again(&metrics);
        assert!(!tokens.holds(&holder) && tokens.holder(anna).is_none() && !broken());
        assert_eq!(tokens.holder(bert).unwrap().name, "bert");
        std::fs::remove_file(&path).unwrap();
    }
}
