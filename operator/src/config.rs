//! The operator's configuration file. Every key has a default but for where PostgreSQL is.

use std::net::SocketAddr;
use std::path::PathBuf;

use cordwood_core::levels::RULES_CONFIG_MAP;
use cordwood_core::task::TASK_AGE_MS_DEFAULT;
use cordwood_core::tenancy::Tenants;
use cordwood_store::connect::Settings;
use serde::{Deserialize, Serialize};

/// YAML, snake_case, units last. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of `/metrics`, `/healthz`, `/readyz` and `/status`.
    pub listen: SocketAddr,
    /// PostgreSQL, as a role that may make tables; `CORDWOOD_DATABASE_URL` takes the place of a missing url.
    pub database: Settings,
    pub kubernetes: Kubernetes,
    pub retention: Retention,
    pub levels: Levels,
    pub leader: Leader,
    /// What decides a namespace's tenant, as the agents are told: each change is an audit record.
    pub tenants: Tenants,
    /// Users that may ask `/agents` with a token for the audience `cordwood-operator`; without any there is no such route.
    pub agents_readers: Vec<String>,
}

/// How the API server is reached, and which namespace is the release's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// A kubeconfig file; without it the pod's service account (or `KUBECONFIG`).
    pub kubeconfig_file: Option<PathBuf>,
    /// The release's namespace; without it `POD_NAMESPACE`, else `default`.
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Time between two passes when nothing changes.
    pub pass_interval_ms: u64,
    /// How long a shorter retention is announced in the status before it is in force.
    pub notice_ms: u64,
    /// Nothing is dropped while this clock and PostgreSQL's differ by more.
    pub clock_skew_ms_max: u64,
    /// Expiry follows PostgreSQL's clock by no more than this in one pass, and catches up at 24 times its pace.
    pub horizon_step_ms_max: u64,
    /// A task goes with its lines so long after its last line was stored. 0: never.
    pub task_age_ms_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Levels {
    /// The ConfigMap that agents watch.
    pub config_map: String,
    /// The longest that a level config may last.
    pub duration_ms_max: i64,
    /// Labels of the agents' pods.
    pub agent_selector: String,
    /// Where agents answer `/status`.
    pub agent_port: u16,
    /// Between two rounds of asking agents, and of looking for pods to push to, when nothing changes.
    pub ask_interval_ms: u64,
    pub push: Push,
}

/// Whether levels are changed inside applications.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    pub enabled: bool,
    /// Pods with an address of this machine's own are asked too: for a cluster without a network of pods.
    pub allow_loopback: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leader {
    /// Name of the lease in the release's namespace.
    pub lease: String,
    /// After so long without renewal another replica takes over.
    pub lease_duration_ms: u64,
    /// This replica's name; without it `POD_NAME`, else the host's name and process id.
    pub identity: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 9600)),
            database: Settings::default(),
            kubernetes: Kubernetes::default(),
            retention: Retention::default(),
            levels: Levels::default(),
            leader: Leader::default(),
            tenants: Tenants::default(),
            agents_readers: Vec::new(),
        }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            pass_interval_ms: 10_000,
            notice_ms: 30_000,
            clock_skew_ms_max: 60_000,
            horizon_step_ms_max: 86_400_000,
            task_age_ms_max: TASK_AGE_MS_DEFAULT,
        }
    }
}

impl Default for Levels {
    fn default() -> Levels {
        Levels {
            config_map: RULES_CONFIG_MAP.to_owned(),
            duration_ms_max: cordwood_crds::levels::DURATION_MS_MAX,
            agent_selector: "app.kubernetes.io/component=agent".to_owned(),
            agent_port: 9301,
            ask_interval_ms: 15_000,
            push: Push::default(),
        }
    }
}

impl Default for Leader {
    fn default() -> Leader {
        Leader { lease: "cordwood-operator".to_owned(), lease_duration_ms: 10_000, identity: None }
    }
}

impl Config {
    /// What cannot be right, by key.
    pub fn check(&self) -> Result<(), String> {
        if self.agents_readers.iter().any(String::is_empty) {
            return Err("agents_readers: an empty name".to_owned());
        }
        for (key, value) in [
            ("retention.pass_interval_ms", self.retention.pass_interval_ms),
            ("levels.ask_interval_ms", self.levels.ask_interval_ms),
            ("leader.lease_duration_ms", self.leader.lease_duration_ms),
        ] {
            if value < 100 {
                return Err(format!("{key}: {value} is too small, at least 100"));
            }
        }
        if self.retention.horizon_step_ms_max < 60_000 {
            let value = self.retention.horizon_step_ms_max;
            return Err(format!("retention.horizon_step_ms_max: {value} is too small, at least 60000"));
        }
        self.tenants.check().map_err(|(key, why)| format!("{key}: {why}"))?;
        if self.levels.duration_ms_max <= 0 {
            return Err("levels.duration_ms_max: must be above zero".to_owned());
        }
        Ok(())
    }

    pub fn namespace(&self) -> String {
        let named = self.kubernetes.namespace.clone();
        named.or_else(|| std::env::var("POD_NAMESPACE").ok()).unwrap_or_else(|| "default".to_owned())
    }

    pub fn identity(&self) -> String {
        let named = self.leader.identity.clone().or_else(|| std::env::var("POD_NAME").ok());
        named.unwrap_or_else(|| {
            let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "cordwood-operator".to_owned());
            format!("{host}-{}", std::process::id())
        })
    }
}
