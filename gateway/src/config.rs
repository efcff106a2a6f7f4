//! The configuration of `cordwood-gateway`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::http::Uri;
use axum::http::uri::Scheme;
use cordwood_service::RedisSettings;
use cordwood_store::Settings;
use serde::Deserialize;

/// What the API server takes too, and signs with a key of which the other half is public.
const SIGNING: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

/// A right that was taken away may be used no longer than this...
const ANSWER_AGE_MS_MAX: u64 = 600_000;
/// ...or this, while nobody can say that it was taken away.
const AWAY_MS_MAX: u64 = 3_600_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the API answers.
    pub listen: SocketAddr,
    /// Where `/metrics /healthz /readyz /status` answer.
    pub probes_listen: SocketAddr,
    pub database: Settings,
    pub replica: Option<ReplicaConfig>,
    /// Who may ask, and what they see.
    pub tokens_file: Option<PathBuf>,
    pub access: AccessConfig,
    /// The writers' live feed tells of commits; without it PostgreSQL does.
    pub redis: Option<RedisSettings>,
    pub administration: AdministrationConfig,
    pub limits: Limits,
    pub audit: AuditConfig,
    /// When it is told to end, callers are answered so much longer: it takes a moment until nobody sends new ones here.
    pub shutdown_delay_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            probes_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9601)),
            database: Settings::default(),
            replica: None,
            tokens_file: None,
            access: AccessConfig::default(),
            redis: None,
            administration: AdministrationConfig::default(),
            limits: Limits::default(),
            audit: AuditConfig::default(),
            shutdown_delay_ms: 0,
        }
    }
}

/// Where searches, exports and counts are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaConfig {
    pub database: Settings,
    /// Further behind, it is passed over.
    pub lag_ms_max: u64,
}

impl Default for ReplicaConfig {
    fn default() -> ReplicaConfig {
        ReplicaConfig { database: Settings::default(), lag_ms_max: 10_000 }
    }
}

/// Records of who looked at what, and who changed what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Questions too, not changes alone.
    pub reads: bool,
}

impl Default for AuditConfig {
    fn default() -> AuditConfig {
        AuditConfig { reads: true }
    }
}

/// How callers are known who hold no token of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// By the cluster's API server.
    pub kubernetes: Option<KubernetesAccess>,
    /// People, by their identity provider; what they may, the API server says.
    pub oidc: Option<OidcAccess>,
    /// Seals sessions and tickets: a key a line, the first seals, all open. Every replica has the same.
    pub session_key_file: Option<PathBuf>,
}

/// Each key means what the flag of its name, `--oidc-...`, means to the API server: somebody has the same name here and there.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcAccess {
    pub issuer: String,
    /// A token must be for this one.
    pub client_id: String,
    pub username_claim: String,
    /// Without it the issuer and `#`, where the claim is not `email`; `-`: none.
    pub username_prefix: Option<String>,
    pub groups_claim: Option<String>,
    pub groups_prefix: String,
    /// A token must have these.
    pub required_claims: BTreeMap<String, String>,
    pub signing_algorithms: Vec<String>,
    /// Who signs the issuer's certificate; without it whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// People log in here with a browser.
    pub browser: Option<BrowserAccess>,
}

impl Default for OidcAccess {
    fn default() -> OidcAccess {
        OidcAccess {
            issuer: String::new(),
            client_id: String::new(),
            username_claim: "sub".to_owned(),
            username_prefix: None,
            groups_claim: None,
            groups_prefix: String::new(),
            required_claims: BTreeMap::new(),
            signing_algorithms: vec!["RS256".to_owned()],
            ca_file: None,
            browser: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrowserAccess {
    /// Where browsers reach the gateway: `https://` and a host, no path.
    pub external_url: String,
    /// Without it the gateway is a public client.
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
}

impl Default for BrowserAccess {
    fn default() -> BrowserAccess {
        BrowserAccess {
            external_url: String::new(),
            client_secret_file: None,
            scopes: vec!["openid".to_owned()],
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesAccess {
    /// How the API server is reached; without it the pod's service account, else `KUBECONFIG`.
    pub kubeconfig_file: Option<PathBuf>,
    /// A token must be for this one.
    pub audience: String,
    /// Anyone who may `get pods/log` in a namespace sees its records too.
    pub accept_pods_log: bool,
    /// How long a yes holds.
    pub allow_ms: u64,
    /// How long a no holds.
    pub deny_ms: u64,
    /// How long either holds while the API server does not answer.
    pub away_ms: u64,
}

impl Default for KubernetesAccess {
    fn default() -> KubernetesAccess {
        KubernetesAccess {
            kubeconfig_file: None,
            audience: "cordwood".to_owned(),
            accept_pods_log: false,
            allow_ms: 60_000,
            deny_ms: 10_000,
            away_ms: 300_000,
        }
    }
}

/// Who may, reads and changes the custom resources here, as with `kubectl`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdministrationConfig {
    pub enabled: bool,
    /// The operator's `retention.notice_ms`: a preview says from when a shorter retention is in force.
    pub notice_ms: u64,
    /// Where the operator says how the agents are: `http://` and a host; without it nobody does.
    pub operator_url: Option<String>,
    /// A token of the gateway's account for the audience `cordwood-operator`; read for each question.
    pub operator_token_file: Option<PathBuf>,
}

impl Default for AdministrationConfig {
    fn default() -> AdministrationConfig {
        AdministrationConfig {
            enabled: false,
            notice_ms: 30_000,
            operator_url: None,
            operator_token_file: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Questions at once; each holds a session of PostgreSQL.
    pub queries_max: usize,
    /// Of these, for short questions alone.
    pub queries_kept_for_short: usize,
    /// Exports at once, besides the questions.
    pub exports_max: usize,
    /// Live streams at once.
    pub streams_max: usize,
    /// Whether its reader still may see what an open stream shows is asked again so often.
    pub stream_rights_ms: u64,
    pub per_identity: IdentityLimits,
    /// Open connections; one more is told so and closed.
    pub connections_max: usize,
    /// A request's head must be there so soon after its connection is open, or after the answer before.
    pub header_ms_max: u64,
    /// An answer of which its reader takes not a byte for so long is given up.
    pub write_idle_ms_max: u64,
}

/// Of these, what one identity may have under way.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityLimits {
    /// Short ones, and as many long ones.
    pub queries_max: usize,
    pub exports_max: usize,
    pub streams_max: usize,
    /// Of any kind, from their begin until their answers are read: so many connections are one identity's at the most.
    pub requests_max: usize,
}

impl Default for IdentityLimits {
    fn default() -> IdentityLimits {
        IdentityLimits { queries_max: 4, exports_max: 1, streams_max: 8, requests_max: 64 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            queries_max: 8,
            queries_kept_for_short: 2,
            exports_max: 2,
            streams_max: 64,
            stream_rights_ms: 60_000,
            per_identity: IdentityLimits::default(),
            connections_max: 256,
            header_ms_max: 10_000,
            write_idle_ms_max: 60_000,
        }
    }
}

impl Config {
    /// # Errors
    /// The key that is at fault, and what to do.
    pub fn check(&self) -> Result<(), String> {
        match (&self.tokens_file, &self.access.kubernetes) {
            (None, None) => {
                return Err("tokens_file: none given: the gateway would let nobody in; name a file of tokens, or set \
                            access.kubernetes"
                    .to_owned());
            }
            (Some(_), Some(_)) => {
                return Err("tokens_file: access.kubernetes is set too: give one of them".to_owned());
            }
            (Some(_), None) => {}
            (None, Some(kubernetes)) => kubernetes.check()?,
        }
        if let Some(oidc) = &self.access.oidc {
            if self.access.kubernetes.is_none() {
                return Err(
                    "access.oidc: access.kubernetes is not set: nobody could say what people may".to_owned()
                );
            }
            oidc.check(self.access.session_key_file.is_some())?;
        }
        if self.administration.enabled && self.access.kubernetes.is_none() {
            return Err(
                "administration.enabled: it needs access.kubernetes: the API server says who may change what"
                    .to_owned(),
            );
        }
        self.administration.check()?;
        if self.limits.queries_kept_for_short >= self.limits.queries_max {
            return Err("limits.queries_kept_for_short: not below limits.queries_max: no long question could be asked".to_owned());
        }
        let limits = &self.limits;
        for (key, value) in [
            ("stream_rights_ms", limits.stream_rights_ms),
            ("connections_max", limits.connections_max as u64),
            ("per_identity.requests_max", limits.per_identity.requests_max as u64),
            ("header_ms_max", limits.header_ms_max),
            ("write_idle_ms_max", limits.write_idle_ms_max),
        ] {
            if value == 0 {
                return Err(format!("limits.{key}: 0: nobody could be answered"));
            }
        }
        Ok(())
    }
}

impl AdministrationConfig {
    fn check(&self) -> Result<(), String> {
        let key = "administration.operator_url";
        let Some(url) = &self.operator_url else { return Ok(()) };
        if !self.enabled {
            return Err(format!("{key}: administration.enabled is not set: nobody could ask for the agents"));
        }
        let is_plain = |url: &Uri| {
            url.scheme() == Some(&Scheme::HTTP)
                && url.path() == "/"
                && url.query().is_none()
                && url.host().is_some()
        };
        if !url.parse::<Uri>().is_ok_and(|url| is_plain(&url)) {
            return Err(format!("{key}: http:// and a host (and port) are needed, and nothing else"));
        }
        if self.operator_token_file.is_none() {
            return Err(
                "administration.operator_token_file: none given: the operator answers nobody without a token"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl KubernetesAccess {
    fn check(&self) -> Result<(), String> {
        let key = "access.kubernetes";
        if self.audience.is_empty() {
            return Err(format!("{key}.audience: empty: a token for anybody would be taken"));
        }
        for (name, ms, most) in [
            ("allow_ms", self.allow_ms, ANSWER_AGE_MS_MAX),
            ("deny_ms", self.deny_ms, ANSWER_AGE_MS_MAX),
            ("away_ms", self.away_ms, AWAY_MS_MAX),
        ] {
            if ms > most {
                return Err(format!("{key}.{name}: above {most}: who lost a right would keep it too long"));
            }
        }
        Ok(())
    }
}

impl OidcAccess {
    fn check(&self, has_session_key: bool) -> Result<(), String> {
        let key = "access.oidc";
        let is_https = |url: &str| {
            url.parse::<Uri>().is_ok_and(|url| url.scheme() == Some(&Scheme::HTTPS) && url.query().is_none())
        };
        if !is_https(&self.issuer) {
            return Err(format!(
                "{key}.issuer: an address that begins with https:// is needed, as its tokens name it"
            ));
        }
        if self.client_id.is_empty() {
            return Err(format!("{key}.client_id: empty: a token for anybody would be taken"));
        }
        if self.username_claim.is_empty() || self.groups_claim.as_deref() == Some("") {
            return Err(format!("{key}.username_claim, {key}.groups_claim: an empty name"));
        }
        if self.signing_algorithms.is_empty() {
            return Err(format!("{key}.signing_algorithms: none: no token could be taken"));
        }
        if let Some(other) = self.signing_algorithms.iter().find(|name| !SIGNING.contains(&name.as_str())) {
            return Err(format!("{key}.signing_algorithms: {other:?} is none of {}", SIGNING.join(", ")));
        }
        let Some(browser) = &self.browser else { return Ok(()) };
        if browser.origin().is_none() {
            return Err(format!(
                "{key}.browser.external_url: https:// and a host (and port) are needed, and nothing else"
            ));
        }
        if !browser.scopes.iter().any(|scope| scope == "openid") {
            return Err(format!("{key}.browser.scopes: without openid there is no ID token"));
        }
        if !has_session_key {
            return Err("access.session_key_file: none given: access.oidc.browser needs it, so that a session holds at every replica"
                .to_owned());
        }
        Ok(())
    }
}

impl BrowserAccess {
    /// What a browser says as `Origin` from a page of ours.
    pub fn origin(&self) -> Option<String> {
        let url: Uri = self.external_url.parse().ok()?;
        let is_plain = url.scheme() == Some(&Scheme::HTTPS) && url.path() == "/" && url.query().is_none();
        let authority = url.authority().filter(|_| is_plain)?.as_str();
        let host = authority.strip_suffix(":443").unwrap_or(authority);
        (!host.contains('@')).then(|| format!("https://{}", host.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_to_know_callers_nothing_starts() {
        assert!(Config::default().check().unwrap_err().starts_with("tokens_file"));
        let known = Config { tokens_file: Some("x".into()), ..Config::default() };
        assert_eq!(known.check(), Ok(()));
        let cluster = |kubernetes| AccessConfig { kubernetes: Some(kubernetes), ..AccessConfig::default() };
        let in_cluster = |kubernetes| Config { access: cluster(kubernetes), ..Config::default() }.check();
        let plain = KubernetesAccess::default;
        assert_eq!(in_cluster(plain()), Ok(()));
        let wrong = in_cluster(KubernetesAccess { audience: String::new(), ..plain() });
        assert!(wrong.unwrap_err().contains("access.kubernetes.audience"));
        let wrong = in_cluster(KubernetesAccess { allow_ms: 600_001, ..plain() });
        assert!(wrong.unwrap_err().contains("access.kubernetes.allow_ms"));
        let both = Config { access: cluster(plain()), ..known.clone() };
        assert!(both.check().unwrap_err().starts_with("tokens_file"));
        let administration = AdministrationConfig { enabled: true, ..AdministrationConfig::default() };
        let administers = Config { administration, ..known.clone() };
        assert!(administers.check().unwrap_err().starts_with("administration.enabled"));
        let operator = |enabled: bool, url: &str, token: Option<&str>| {
            let administration = AdministrationConfig {
                enabled,
                operator_url: Some(url.to_owned()),
                operator_token_file: token.map(PathBuf::from),
                ..AdministrationConfig::default()
            };
            Config { administration, access: cluster(plain()), ..Config::default() }.check()
        };
        assert_eq!(operator(true, "http://operator:9600", Some("x")), Ok(()));
        for (enabled, url, token, key) in [
            (false, "http://operator:9600", Some("x"), "administration.operator_url"),
            (true, "http://operator:9600", None, "administration.operator_token_file"),
            (true, "https://operator:9600", Some("x"), "administration.operator_url"),
            (true, "http://operator:9600/agents", Some("x"), "administration.operator_url"),
            (true, "operator:9600", Some("x"), "administration.operator_url"),
            (true, "", Some("x"), "administration.operator_url"),
        ] {
            assert!(operator(enabled, url, token).unwrap_err().starts_with(key), "{url}");
        }
        let limits = Limits { queries_max: 2, queries_kept_for_short: 2, ..Limits::default() };
        assert!(Config { limits, ..known.clone() }.check().unwrap_err().contains("queries_kept_for_short"));
        let limits = Limits { write_idle_ms_max: 0, ..Limits::default() };
        assert!(Config { limits, ..known }.check().unwrap_err().contains("write_idle_ms_max"));
    }

    #[test]
    fn an_identity_provider_that_could_let_in_anybody_is_refused() {
        let good = OidcAccess {
            issuer: "https://id.example.com/realm".to_owned(),
            client_id: "cordwood".to_owned(),
            ..OidcAccess::default()
        };
        let browser = |url: &str| BrowserAccess { external_url: url.to_owned(), ..BrowserAccess::default() };
        let checked = |oidc: OidcAccess, key: bool| {
            let access = AccessConfig {
                kubernetes: Some(KubernetesAccess::default()),
                oidc: Some(oidc),
                session_key_file: key.then(|| "x".into()),
            };
            Config { access, ..Config::default() }.check()
        };
        let with = |browser| OidcAccess { browser: Some(browser), ..good.clone() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(checked(good.clone(), false), Ok(()));
        assert_eq!(checked(with(browser("https://logs.example.com")), true), Ok(()));
        let signed = |list: &[&str]| OidcAccess { signing_algorithms: names(list), ..good.clone() };
        assert_eq!(checked(signed(&["RS256", "ES256"]), false), Ok(()));
        for (wrong, key, expected) in [
            (OidcAccess { issuer: "http://id.example.com".to_owned(), ..good.clone() }, true, "issuer"),
            (OidcAccess { issuer: String::new(), ..good.clone() }, true, "issuer"),
            (OidcAccess { client_id: String::new(), ..good.clone() }, true, "client_id"),
            (OidcAccess { username_claim: String::new(), ..good.clone() }, true, "username_claim"),
            (signed(&[]), true, "signing_algorithms"),
            (signed(&["HS256"]), true, "signing_algorithms"),
            (signed(&["none"]), true, "signing_algorithms"),
            (signed(&["RS256", "rs256"]), true, "signing_algorithms"),
            (with(browser("http://logs.example.com")), true, "external_url"),
            (with(browser("https://logs.example.com/a")), true, "external_url"),
            (with(browser("https://logs.example.com?a")), true, "external_url"),
            (with(browser("https://a@logs.example.com")), true, "external_url"),
            (with(browser("logs.example.com")), true, "external_url"),
            (with(browser("https://logs.example.com")), false, "session_key_file"),
            (
                with(BrowserAccess { scopes: names(&["email"]), ..browser("https://logs.example.com") }),
                true,
                "scopes",
            ),
        ] {
            let told = checked(wrong, key).unwrap_err();
            assert!(told.contains(expected), "{expected}: {told}");
        }
        let alone = AccessConfig { oidc: Some(good), ..AccessConfig::default() };
        let alone = Config { access: alone, tokens_file: Some("x".into()), ..Config::default() };
        assert!(alone.check().unwrap_err().starts_with("access.oidc"));
        for (url, origin) in [
            ("https://Logs.Example.com/", "https://logs.example.com"),
            ("https://logs.example.com:443", "https://logs.example.com"),
            ("https://logs.example.com:8443", "https://logs.example.com:8443"),
        ] {
            assert_eq!(browser(url).origin().as_deref(), Some(origin), "{url}");
        }
    }
}
