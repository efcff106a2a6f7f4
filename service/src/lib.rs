//! What every long-running part shares: how it reads its configuration, writes its log, answers probes, and ends.
//! No part's own business is here; a part that needs something special does it itself.

mod config;
mod health;
mod http;
pub mod kubernetes;
mod logging;
mod pauses;
mod process;
mod redis;

pub use config::{ConfigError, load_config, parse_config, read_secret};
pub use health::{Condition, Health, Heartbeat};
pub use http::{HttpError, StatusFn, probes, serve, serve_beside};
pub use logging::{audit, flush_logging, init_console_logging, init_logging};
pub use pauses::Pauses;
pub use process::{Failure, exit_with, run_to_end, shutdown_signal};
pub use redis::RedisSettings;
