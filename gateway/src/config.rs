//! The configuration of `cordwood-gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use cordwood_store::Settings;
use serde::Deserialize;

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
    /// Who may ask, and what they see.
    pub tokens_file: Option<PathBuf>,
    pub access: AccessConfig,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            probes_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9601)),
            database: Settings::default(),
            tokens_file: None,
            access: AccessConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// How callers are known who hold no token of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// By the cluster's API server.
    pub kubernetes: Option<KubernetesAccess>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesAccess {
    /// How the API server is reached; without it the pod's service account, else `KUBECONFIG`.
    pub kubeconfig_file: Option<PathBuf>,
    /// A token must be for this one.
    pub audience: String,
    /// Whoever may `get pods/log` in a namespace sees its records too.
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

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Questions at once; each holds a session of PostgreSQL.
    pub queries_max: usize,
    /// Of these, for short questions alone.
    pub queries_kept_for_short: usize,
    /// Exports at once, besides the questions.
    pub exports_max: usize,
    /// Live streams at once; each looks at PostgreSQL a few times a second.
    pub streams_max: usize,
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
}

impl Default for IdentityLimits {
    fn default() -> IdentityLimits {
        IdentityLimits { queries_max: 4, exports_max: 1, streams_max: 8 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            queries_max: 8,
            queries_kept_for_short: 2,
            exports_max: 2,
            streams_max: 16,
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
        if self.limits.queries_kept_for_short >= self.limits.queries_max {
            return Err("limits.queries_kept_for_short: not below limits.queries_max: no long question could be asked".to_owned());
        }
        let limits = &self.limits;
        for (key, value) in [
            ("connections_max", limits.connections_max as u64),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_to_know_callers_nothing_starts() {
        assert!(Config::default().check().unwrap_err().starts_with("tokens_file"));
        let known = Config { tokens_file: Some("x".into()), ..Config::default() };
        assert_eq!(known.check(), Ok(()));
        let cluster = |kubernetes| AccessConfig { kubernetes: Some(kubernetes) };
        let in_cluster = |kubernetes| Config { access: cluster(kubernetes), ..Config::default() }.check();
        let plain = KubernetesAccess::default;
        assert_eq!(in_cluster(plain()), Ok(()));
        let wrong = in_cluster(KubernetesAccess { audience: String::new(), ..plain() });
        assert!(wrong.unwrap_err().contains("access.kubernetes.audience"));
        let wrong = in_cluster(KubernetesAccess { allow_ms: 600_001, ..plain() });
        assert!(wrong.unwrap_err().contains("access.kubernetes.allow_ms"));
        let both = Config { access: cluster(plain()), ..known.clone() };
        assert!(both.check().unwrap_err().starts_with("tokens_file"));
        let limits = Limits { queries_max: 2, queries_kept_for_short: 2, ..Limits::default() };
        assert!(Config { limits, ..known.clone() }.check().unwrap_err().contains("queries_kept_for_short"));
        let limits = Limits { write_idle_ms_max: 0, ..Limits::default() };
        assert!(Config { limits, ..known }.check().unwrap_err().contains("write_idle_ms_max"));
    }
}
