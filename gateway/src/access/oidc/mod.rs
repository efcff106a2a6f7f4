//! Identifies people by a token of an identity provider (OpenID Connect). Here the token says who they are; the API server says what they may
//! do.

mod claims;
mod http;
mod keys;
pub mod login;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context as _;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::remembered::Away;
use crate::config::OidcAccess;
use crate::metrics::Metrics;
use claims::Rules;
use http::Http;
use keys::{Found, Keys};
use login::Browser;

pub use claims::Named;

/// An identity provider.
#[derive(Debug)]
pub struct Oidc {
    issuer: String,
    rules: Rules,
    algorithms: Vec<Algorithm>,
    keys: Arc<Keys>,
    browser: Option<Browser>,
}

/// What a token says before anybody checked it.
#[derive(Deserialize)]
struct Said {
    iss: Option<Value>,
    exp: Option<f64>,
}

impl Said {
    fn of(token: &str) -> Option<Said> {
        insecure_decode_claims(token).ok()
    }
}

/// When a token ends, as it says itself: good for asking again at that time, and for nothing else.
pub fn said_end_s(token: &str) -> Option<i64> {
    Some(Said::of(token)?.exp? as i64)
}

impl Oidc {
    /// # Errors
    /// When a file cannot be read. That the issuer does not answer is none.
    pub fn new(config: &OidcAccess) -> anyhow::Result<Oidc> {
        signature::install();
        let algorithms = config.signing_algorithms.iter().map(|name| name.parse());
        let algorithms: Result<Vec<Algorithm>, _> = algorithms.collect();
        let http = Http::new(config.ca_file.as_deref())?;
        let browser =
            config.browser.as_ref().map(|browser| Browser::new(browser, &config.client_id)).transpose()?;
        Ok(Oidc {
            issuer: config.issuer.clone(),
            rules: Rules::new(config),
            algorithms: algorithms.context("access.oidc.signing_algorithms")?,
            keys: Arc::new(Keys::new(config.issuer.clone(), http)),
            browser,
        })
    }

    /// Where people log in with a browser.
    pub fn browser(&self) -> Option<&Browser> {
        self.browser.as_ref()
    }

    /// Whether a token says that it is of this issuer: then nobody else is asked about it.
    pub fn is_of_issuer(&self, token: &str) -> bool {
        Said::of(token).is_some_and(|said| said.iss.is_some_and(|iss| iss == self.issuer))
    }

    /// Whom a token names; `None`: nobody.
    ///
    /// # Errors
    /// When the issuer's keys are not to be had.
    pub async fn named(&self, token: &str, metrics: &Metrics) -> Result<Option<Named>, Away> {
        let checked = self.checked(token, metrics).await;
        let named = checked.map(|claims| {
            let named = claims.and_then(|claims| self.rules.named(&claims, now_s()));
            named
                .inspect_err(|why| tracing::debug!(why, "a token of the identity provider names nobody"))
                .ok()
        });
        metrics.reviewed(
            "oidc",
            match &named {
                Ok(Some(_)) => "yes",
                Ok(None) => "no",
                Err(Away) => "none",
            },
        );
        named
    }

    /// The claims of a token that the issuer signed.
    async fn checked(
        &self,
        token: &str,
        metrics: &Metrics,
    ) -> Result<Result<Map<String, Value>, String>, Away> {
        let header = match decode_header(token) {
            Ok(header) if self.algorithms.contains(&header.alg) => header,
            Ok(_) => return Ok(Err("it is signed by another algorithm than those that are set".to_owned())),
            Err(error) => return Ok(Err(format!("its header: {error}"))),
        };
        let is_known = |found: &Found| found.knows(header.kid.as_deref());
        let found = self.keys.get(is_known, metrics).await?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.set_audience(&[self.rules.client_id()]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut why = "no key of the issuer is the one that it names".to_owned();
        for key in found.keys(header.kid.as_deref(), header.alg) {
            match decode(token, key, &validation) {
                Ok(data) => return Ok(Ok(data.claims)),
                Err(error) => why = error.to_string(),
            }
        }
        Ok(Err(why))
    }
}

fn now_s() -> f64 {
    jiff::Timestamp::now().as_microsecond() as f64 / 1e6
}
