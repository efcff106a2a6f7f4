//! Keeps the issuer's public keys and addresses. They are read again from time to time, and when a token names an unknown key; while the issuer
//! is unavailable, the last ones stay in force.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::http::Http;
use crate::access::remembered::Away;
use crate::metrics::Metrics;

/// After it they are read again, beside what is asked: a key that was withdrawn is refused then.
const FRESH: Duration = Duration::from_secs(300);
/// While the issuer is away they hold so long.
const AWAY_MAX: Duration = Duration::from_secs(3600);
/// Between two readings: a caller who makes up names of keys makes the gateway ask the issuer no more often.
const PAUSE: Duration = Duration::from_secs(10);

/// What the issuer says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Provider {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    pub authorization_endpoint: String,
    #[serde(default)]
    pub token_endpoint: String,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Debug)]
pub struct Found {
    pub provider: Provider,
    keys: Vec<Key>,
    at: Instant,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    key: DecodingKey,
}

impl Found {
    /// Whether a key of this name is there, for whatever it is; or any, where a token names none.
    pub fn knows(&self, id: Option<&str>) -> bool {
        self.keys.iter().any(|key| id.is_none() || key.id.as_deref() == id)
    }

    /// The keys by which a token may be signed that names this one. A token without a name is tried with each.
    pub fn keys(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&DecodingKey> {
        let name = format!("{algorithm:?}");
        let fits = |key: &&Key| {
            (id.is_none() || key.id.as_deref() == id)
                && key.key.family() == algorithm.family()
                && key.algorithm.as_ref().is_none_or(|only| *only == name)
        };
        self.keys.iter().filter(fits).map(|key| &key.key).collect()
    }
}

#[derive(Debug)]
pub struct Keys {
    issuer: String,
    http: Http,
    state: Mutex<State>,
    /// Locked while they are read: another request that needs them waits.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<Arc<Found>>,
    /// When they were last asked for, and whether there was an answer.
    asked: Option<(Instant, bool)>,
}

impl Keys {
    pub fn new(issuer: String, http: Http) -> Keys {
        Keys { issuer, http, state: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// Of an issuer whom nobody reaches, with keys that were read before.
    #[cfg(test)]
    pub fn known(issuer: &str, keys: &[Value]) -> Keys {
        let provider = serde_json::json!({"issuer": issuer, "jwks_uri": issuer});
        let provider = serde_json::from_value(provider).unwrap();
        let found = Found { provider, keys: keys.iter().filter_map(Key::of).collect(), at: Instant::now() };
        let state = State { found: Some(Arc::new(found)), asked: None };
        let nowhere = "https://127.0.0.1:1".to_owned();
        Keys { state: Mutex::new(state), ..Keys::new(nowhere, Http::new(None).unwrap()) }
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What is known of the issuer; read first when nothing is, or it is not enough.
    ///
    /// # Errors
    /// When the issuer does not answer, and what is known is too old or not enough.
    pub async fn get(
        self: &Arc<Keys>,
        is_enough: impl Fn(&Found) -> bool,
        metrics: &Metrics,
    ) -> Result<Arc<Found>, Away> {
        let enough = |state: &State| {
            state.found.clone().filter(|found| found.at.elapsed() < AWAY_MAX && is_enough(found))
        };
        let known = self.look(|state| (enough(state), state.may_ask()));
        if let (Some(found), may_ask) = known {
            if found.at.elapsed() >= FRESH && may_ask {
                let (keys, metrics) = (Arc::clone(self), metrics.clone());
                tokio::spawn(async move {
                    if let Ok(_one) = keys.reading.try_lock() {
                        keys.read(&metrics).await;
                    }
                });
            }
            return Ok(found);
        }
        let _one = self.reading.lock().await;
        // The request that held the lock before may have read them.
        if let Some(found) = self.look(|state| enough(state)) {
            return Ok(found);
        }
        if self.look(|state| state.may_ask()) {
            self.read(metrics).await;
        }
        // A key that nobody has is no fault of the issuer.
        self.look(|state| match state.asked {
            Some((_, true)) => state.found.clone().filter(|found| found.at.elapsed() < AWAY_MAX),
            _ => enough(state),
        })
        .ok_or(Away)
    }

    fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read(&self, metrics: &Metrics) {
        let answer = self.ask().await;
        metrics.issuer_asked("keys", if answer.is_ok() { "yes" } else { "none" });
        if let Err(error) = &answer {
            tracing::warn!(
                error = format!("{error:#}"),
                issuer = self.issuer,
                "the identity provider's keys cannot be read"
            );
        }
        self.look(|state| {
            state.asked = Some((Instant::now(), answer.is_ok()));
            if let Ok(found) = answer {
                state.found = Some(Arc::new(found));
            }
        });
    }

    async fn ask(&self) -> Result<Found> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let said = self.http.get(&url).await?;
        let provider: Provider =
            serde_json::from_value(said).with_context(|| format!("{url}: not understood"))?;
        ensure!(provider.issuer == self.issuer, "{url}: says that it is {:?}", provider.issuer);
        let said = self.http.get(&provider.jwks_uri).await?;
        let Some(all) = said["keys"].as_array() else { bail!("{}: no keys", provider.jwks_uri) };
        // One of a kind that is not known here may stand beside the others.
        let keys: Vec<Key> = all.iter().filter_map(Key::of).collect();
        ensure!(!keys.is_empty(), "{}: no key that could be used", provider.jwks_uri);
        Ok(Found { provider, keys, at: Instant::now() })
    }
}

impl State {
    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|(at, _)| at.elapsed() >= PAUSE)
    }
}

impl Key {
    /// A public key for signatures.
    fn of(said: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(said.clone()).ok()?;
        let is_public =
            matches!(jwk.algorithm, AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_));
        let is_for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        if !is_public || !is_for_signatures {
            return None;
        }
        let algorithm = said["alg"].as_str().map(str::to_owned);
        Some(Key { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(id: &str, more: Value) -> Value {
        let mut key = json!({"kty": "RSA", "kid": id, "n": "AQAB", "e": "AQAB"});
        for (name, value) in more.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn found(keys: &[Value]) -> Found {
        let provider = json!({"issuer": "https://id", "jwks_uri": "https://id/keys"});
        let keys = keys.iter().filter_map(Key::of).collect();
        Found { provider: serde_json::from_value(provider).unwrap(), keys, at: Instant::now() }
    }

    #[test]
    fn a_key_signs_what_it_is_for_and_nothing_else() {
        let curve = json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": "AQAB", "y": "AQAB"});
        let secret = json!({"kty": "oct", "kid": "s", "k": "AQAB"});
        let odd = json!({"kty": "new", "kid": "o"});
        let found = found(&[
            rsa("a", json!({})),
            rsa("b", json!({"alg": "RS512", "use": "sig"})),
            rsa("c", json!({"use": "enc"})),
            curve,
            secret,
            odd,
            json!(7),
        ]);
        for (id, algorithm, expected) in [
            (Some("a"), Algorithm::RS256, 1),
            (Some("a"), Algorithm::PS384, 1),
            (Some("a"), Algorithm::ES256, 0),
            (Some("a"), Algorithm::HS256, 0),
            (Some("b"), Algorithm::RS512, 1),
            (Some("b"), Algorithm::RS256, 0),
            (Some("c"), Algorithm::RS256, 0),
            (Some("e"), Algorithm::ES256, 1),
            (Some("s"), Algorithm::HS256, 0),
            (Some("x"), Algorithm::RS256, 0),
            (None, Algorithm::RS256, 1),
            (None, Algorithm::RS512, 2),
        ] {
            assert_eq!(found.keys(id, algorithm).len(), expected, "{id:?} {algorithm:?}");
        }
    }
}
