//! Sends requests to the issuer over HTTPS, and to nobody else. A redirect is an error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cordwood_core::limits::ISSUER_ANSWER_BYTES_MAX;
use form_urlencoded::{Serializer, byte_serialize};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// A question that takes longer has no answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// # Errors
    /// When nobody's certificates could be trusted.
    pub fn new(ca_file: Option<&Path>) -> Result<Http> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let connector = match ca_file {
            Some(path) => {
                let what = || format!("read access.oidc.ca_file {}", path.display());
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).with_context(what)? {
                    roots.add(certificate.with_context(what)?).with_context(what)?;
                }
                ensure!(!roots.is_empty(), "{}: no certificate in it", what());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .context("set up TLS")?;
                let config = config.with_root_certificates(roots).with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config)
            }
            None => HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(provider)
                .context("read the system's certificates (access.oidc.ca_file names others)")?,
        };
        let connector = connector.https_only().enable_http1().build();
        Ok(Http(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// A document of JSON.
    pub async fn get(&self, url: &str) -> Result<Value> {
        let request =
            Request::builder().method(Method::GET).uri(url).header(header::ACCEPT, "application/json");
        let (status, body) =
            self.send(request.body(Full::default())?).await.with_context(|| url.to_owned())?;
        if status != StatusCode::OK {
            bail!("{url}: status {status}");
        }
        serde_json::from_slice(&body).with_context(|| format!("{url}: no JSON"))
    }

    /// What a form is answered, whatever the status. `basic`: who asks, and the secret.
    pub async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((name, secret)) = basic {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encoded(name), encoded(secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        }
        let form = Serializer::new(String::new()).extend_pairs(form).finish();
        let (status, body) =
            self.send(request.body(Full::from(form))?).await.with_context(|| url.to_owned())?;
        let body =
            serde_json::from_slice(&body).with_context(|| format!("{url}: status {status}, no JSON"))?;
        Ok((status, body))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let answer = async {
            let answer = self.0.request(request).await.context("no answer")?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ISSUER_ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| anyhow!("read the answer: {error}"))?.to_bytes()))
        };
        tokio::time::timeout(ANSWER_MAX, answer).await.context("no answer in time")?
    }
}
