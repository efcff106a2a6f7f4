//! The configuration of `cordwood-gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use cordwood_store::Settings;
use serde::Deserialize;

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
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            probes_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9601)),
            database: Settings::default(),
            tokens_file: None,
            limits: Limits::default(),
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
        if self.tokens_file.is_none() {
            return Err(
                "tokens_file: none given: the gateway would let nobody in; name a file of tokens".to_owned()
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_to_know_callers_nothing_starts() {
        assert!(Config::default().check().unwrap_err().starts_with("tokens_file"));
        let known = Config { tokens_file: Some("x".into()), ..Config::default() };
        assert_eq!(known.check(), Ok(()));
        let limits = Limits { queries_max: 2, queries_kept_for_short: 2, ..Limits::default() };
        assert!(Config { limits, ..known.clone() }.check().unwrap_err().contains("queries_kept_for_short"));
        let limits = Limits { write_idle_ms_max: 0, ..Limits::default() };
        assert!(Config { limits, ..known }.check().unwrap_err().contains("write_idle_ms_max"));
    }
}
