//! People of an identity provider, on a real API server that has the same settings as the gateway.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cordwood_gateway::{Access, BrowserAccess, Cluster, Oidc, OidcAccess};
use cordwood_tests::env::identity_provider::{CLIENT_ID, CLIENT_SECRET};
use cordwood_tests::env::{ApiServerOptions, IdentityProvider};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::cluster::Kubernetes;

/// Where browsers reach the gateway; nobody listens there but in a test.
pub const ORIGIN: &str = "https://logs.example.test";
const PREFIX: &str = "oidc:";

/// Somebody of the provider, as a subject of a binding.
pub fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": format!("{PREFIX}{name}")})
}

/// An API server that knows the people of an identity provider, and what anna may.
pub struct People {
    pub provider: IdentityProvider,
    pub cluster: Kubernetes,
    pub config: OidcAccess,
}

impl People {
    pub async fn start(folder: &Path) -> Result<People> {
        let provider = IdentityProvider::start(&[&format!("{ORIGIN}/api/callback")]).await?;
        let flags = [
            ("issuer-url", provider.issuer()),
            ("client-id", CLIENT_ID.to_owned()),
            ("username-prefix", PREFIX.to_owned()),
            ("groups-claim", "groups".to_owned()),
            ("groups-prefix", PREFIX.to_owned()),
            ("ca-file", provider.ca_file().display().to_string()),
        ];
        let arguments = flags.map(|(name, value)| format!("--oidc-{name}={value}")).to_vec();
        let cluster = Kubernetes::start_with(ApiServerOptions { arguments, ..Default::default() }).await?;
        let secret = folder.join("client-secret");
        std::fs::write(&secret, format!("{CLIENT_SECRET}\n"))?;
        let config = OidcAccess {
            issuer: provider.issuer(),
            client_id: CLIENT_ID.to_owned(),
            username_prefix: Some(PREFIX.to_owned()),
            groups_claim: Some("groups".to_owned()),
            groups_prefix: PREFIX.to_owned(),
            ca_file: Some(provider.ca_file()),
            browser: Some(BrowserAccess {
                external_url: ORIGIN.to_owned(),
                client_secret_file: Some(secret),
                ..BrowserAccess::default()
            }),
            ..OidcAccess::default()
        };
        let group =
            json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "oidc:auditors"});
        cluster.bind_subject("anna", user("anna"), "logs", "shop").await?;
        cluster.bind_subject("auditors", group, "audit", "bank").await?;
        Ok(People { provider, cluster, config })
    }

    pub async fn access(&self) -> Result<Access> {
        let cluster = Cluster::new(&self.cluster.gateway().await?).await?;
        Ok(Access::Cluster(Arc::new(cluster.with_oidc(Oidc::new(&self.config)?))))
    }

    /// The name and the groups that the API server has for a token's holder, if it knows one.
    pub async fn known_to_api_server(&self, token: &str) -> Result<Option<(String, Vec<String>)>> {
        let client =
            self.cluster.server.client_of(&self.cluster.server.kubeconfig_for("person", token)?).await?;
        let reviews: Api<SelfSubjectReview> = Api::all(client);
        match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
            Ok(review) => {
                let user = review.status.and_then(|status| status.user_info).context("no user")?;
                Ok(Some((user.username.context("no name")?, user.groups.unwrap_or_default())))
            }
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many of these the API server was asked for.
    pub async fn reviews(&self, resource: &str) -> Result<f64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.cluster.client.request_text(request).await?;
        let asked = text.lines().filter(|line| {
            line.starts_with("apiserver_request_total{") && line.contains(&format!("resource=\"{resource}\""))
        });
        asked.map(|line| Ok(line.rsplit(' ').next().context("no value")?.parse::<f64>()?)).sum()
    }
}
