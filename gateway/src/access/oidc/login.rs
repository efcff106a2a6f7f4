//! Logs a person in with a browser: sends the browser to the identity provider with a code challenge (PKCE), and exchanges the code that comes
//! back for a token. What must be the same on the way back is in a sealed cookie of this browser.

use std::path::Path;

use anyhow::{Context as _, ensure};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordwood_core::limits::{LOGIN_SECONDS, RETURN_PATH_BYTES_MAX};
use form_urlencoded::Serializer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::keys::{Found, Provider};
use super::{Oidc, now_s};
use crate::access::sessions::seals::{Seals, Use, random};
use crate::config::BrowserAccess;
use crate::metrics::Metrics;
use crate::problem::Problem;

const CALLBACK: &str = "/api/callback";

pub struct Browser {
    /// That of our own pages, as browsers say it.
    pub origin: String,
    client_id: String,
    secret: Option<String>,
    scopes: String,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Browser({})", self.origin)
    }
}

/// Kept by the browser until it comes back.
#[derive(Serialize, Deserialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    back: String,
    ends_s: i64,
}

/// On the way to the identity provider.
pub struct Leaving {
    pub location: String,
    pub sealed: String,
}

/// Back from it.
pub struct Arrived {
    pub token: String,
    pub ends_s: i64,
    pub location: String,
}

/// What the identity provider sends a browser back with; what else it says is passed over.
#[derive(Debug, Default)]
pub struct Answer {
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
}

impl Answer {
    pub fn read(query: &str) -> Answer {
        let one = |wanted: &str| {
            let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
            let (value, None) = (values.next(), values.next()) else { return None };
            value.map(|(_, value)| value.into_owned())
        };
        Answer { code: one("code"), state: one("state"), iss: one("iss"), error: one("error") }
    }
}

impl Browser {
    /// # Errors
    /// When the secret cannot be read.
    pub fn new(config: &BrowserAccess, client_id: &str) -> anyhow::Result<Browser> {
        let secret = config.client_secret_file.as_deref().map(secret).transpose()?;
        let origin = config.origin().context("access.oidc.browser.external_url")?;
        Ok(Browser { origin, client_id: client_id.to_owned(), secret, scopes: config.scopes.join(" ") })
    }

    fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.origin)
    }

    fn location(&self, provider: &Provider, begun: &Begun) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&begun.verifier));
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.callback())
            .append_pair("scope", &self.scopes)
            .append_pair("state", &begun.state)
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let endpoint = &provider.authorization_endpoint;
        format!("{endpoint}{}{query}", if endpoint.contains('?') { '&' } else { '?' })
    }
}

fn secret(path: &Path) -> anyhow::Result<String> {
    let what = || format!("access.oidc.browser.client_secret_file: {}", path.display());
    let text = std::fs::read_to_string(path).with_context(what)?;
    ensure!(!text.trim().is_empty(), "{}: empty", what());
    Ok(text.trim().to_owned())
}

/// A path of this place, and of no other: what a browser could take for a host is none.
fn is_path(text: &str) -> bool {
    text.len() <= RETURN_PATH_BYTES_MAX
        && text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

impl Oidc {
    /// Where a browser goes to log in, to come back to the path `back`.
    ///
    /// # Errors
    /// When that is none, or the identity provider is away.
    pub async fn leave(&self, seals: &Seals, back: &str, metrics: &Metrics) -> Result<Leaving, Problem> {
        let browser = self.browser.as_ref().ok_or_else(Problem::no_login)?;
        if !is_path(back) {
            return Err(Problem::parameter(
                "return",
                "not a path of this place: it begins with one / and has no \\",
            ));
        }
        let found = self.found(metrics).await?;
        let begun = begun(back, now_s() as i64);
        let sealed = begun.and_then(|begun| {
            let sealed = seals.seal(Use::Login, &serde_json::to_vec(&begun)?)?;
            Ok(Leaving { location: browser.location(&found.provider, &begun), sealed })
        });
        sealed.map_err(|error| failed(&error))
    }

    /// Who came back with a code.
    ///
    /// # Errors
    /// When it was not this browser that left, the identity provider refuses, or its token names nobody.
    pub async fn arrive(
        &self,
        seals: &Seals,
        sealed: Option<&str>,
        answer: Answer,
        metrics: &Metrics,
    ) -> Result<Arrived, Problem> {
        let browser = self.browser.as_ref().ok_or_else(Problem::no_login)?;
        let begun = sealed.and_then(|sealed| seals.open(Use::Login, sealed));
        let begun = begun.and_then(|text| serde_json::from_slice::<Begun>(&text).ok());
        let begun = begun.filter(|begun| begun.ends_s > now_s() as i64);
        let refused = |why: &str| Problem::login(why);
        let begun = begun.ok_or_else(|| refused("it was not begun in this browser, or too long ago"))?;
        if answer.state.as_deref() != Some(begun.state.as_str()) {
            return Err(refused("it was begun otherwise than it ends"));
        }
        if answer.iss.is_some_and(|iss| iss != self.issuer) {
            return Err(refused("another identity provider answered"));
        }
        if let Some(error) = answer.error {
            let is_plain =
                error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let error = if is_plain { error.as_str() } else { "an error" };
            return Err(refused(&format!("the identity provider says {error}")));
        }
        let code = answer.code.ok_or_else(|| refused("the identity provider gave no code"))?;
        let found = self.found(metrics).await?;
        let token = self.exchange(browser, &found.provider, &code, &begun, metrics).await?;
        let claims = self.checked(&token, metrics).await.map_err(|_| Problem::issuer_away())?;
        let named = claims.and_then(|claims| {
            if claims.get("nonce").and_then(serde_json::Value::as_str) != Some(begun.nonce.as_str()) {
                return Err("its nonce is another".to_owned());
            }
            self.rules.named(&claims, now_s())
        });
        let named = named.map_err(|why| {
            tracing::warn!(why, "a token of the identity provider names nobody");
            refused("the identity provider's token names nobody whom this gateway may know; its log says why")
        })?;
        Ok(Arrived { token, ends_s: named.ends_s, location: format!("{}{}", browser.origin, begun.back) })
    }

    async fn found(&self, metrics: &Metrics) -> Result<std::sync::Arc<Found>, Problem> {
        self.keys.get(|_| true, metrics).await.map_err(|_| Problem::issuer_away())
    }

    async fn exchange(
        &self,
        browser: &Browser,
        provider: &Provider,
        code: &str,
        begun: &Begun,
        metrics: &Metrics,
    ) -> Result<String, Problem> {
        let callback = browser.callback();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", begun.verifier.as_str()),
        ];
        let knows =
            |method: &str| provider.token_endpoint_auth_methods_supported.iter().any(|known| known == method);
        let in_form = knows("client_secret_post") && !knows("client_secret_basic");
        let basic =
            browser.secret.as_deref().filter(|_| !in_form).map(|secret| (browser.client_id.as_str(), secret));
        if basic.is_none() {
            form.push(("client_id", &browser.client_id));
            form.extend(browser.secret.as_deref().map(|secret| ("client_secret", secret)));
        }
        let answer = self.keys.http().post(&provider.token_endpoint, &form, basic).await;
        let (status, said) = answer.map_err(|error| {
            metrics.issuer_asked("code", "none");
            tracing::warn!(error = format!("{error:#}"), "the identity provider gives no token");
            Problem::issuer_away()
        })?;
        let token = said["id_token"].as_str().filter(|_| status == StatusCode::OK);
        metrics.issuer_asked("code", if token.is_some() { "yes" } else { "no" });
        let token = token.ok_or_else(|| {
            let error = said["error"].as_str().unwrap_or("no ID token").chars().take(200).collect::<String>();
            tracing::warn!(%status, error, "the identity provider gives no token");
            Problem::login("the identity provider gave no token for its code; the gateway's log says why")
        })?;
        Ok(token.to_owned())
    }
}

fn begun(back: &str, now_s: i64) -> anyhow::Result<Begun> {
    let text = || Ok::<_, anyhow::Error>(URL_SAFE_NO_PAD.encode(random::<32>()?));
    let ends_s = now_s + LOGIN_SECONDS;
    Ok(Begun { state: text()?, nonce: text()?, verifier: text()?, back: back.to_owned(), ends_s })
}

fn failed(error: &anyhow::Error) -> Problem {
    tracing::error!(error = format!("{error:#}"), "a login could not begin");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_to_this_place_and_to_no_other() {
        for (path, expected) in [
            ("/", true),
            ("/logs?filter=level%3DERROR&from=-15m#x", true),
            ("/a//b", true),
            ("/@evil.example", true),
            ("", false),
            ("logs", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("\\\\evil.example", false),
            ("/a\\b", false),
            ("/\t/evil.example", false),
            ("/\n/evil.example", false),
            ("/a\r\nSet-Cookie: x=y", false),
            (" //evil.example", false),
            ("https://evil.example", false),
            ("javascript:alert(1)", false),
            ("/é", false),
        ] {
            assert_eq!(is_path(path), expected, "{path:?}");
        }
        assert!(!is_path(&format!("/{}", "a".repeat(RETURN_PATH_BYTES_MAX))));
    }

    #[test]
    fn an_answer_says_each_thing_once() {
        let answer = Answer::read("code=a%20b&state=s&session_state=x&iss=https%3A%2F%2Fid");
        assert_eq!((answer.code.as_deref(), answer.state.as_deref()), (Some("a b"), Some("s")));
        assert_eq!((answer.iss.as_deref(), answer.error), (Some("https://id"), None));
        let twice = Answer::read("code=a&code=b&state=s&state=s");
        assert_eq!((twice.code, twice.state), (None, None));
    }

    #[test]
    fn every_login_has_secrets_of_its_own() {
        let (one, other) = (begun("/", 0).unwrap(), begun("/", 0).unwrap());
        let all = [&one.state, &one.nonce, &one.verifier, &other.state, &other.nonce, &other.verifier];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert!(all.iter().all(|text| text.len() == 43));
    }
}
