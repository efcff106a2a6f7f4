//! JSON log lines that Cordwood understands best, and that any other collector understands too.
//!
//! ```
//! cordwood_logger::init("shop");
//! tracing::info!(order_id = 17, "paid");
//! ```
//!
//! [`init`] takes `tracing`, `log`, panics and the end of the process. Who wants a logger as a value has [`create_logger`]; what every field is called and when
//! lines leave is in the README.

mod call_sites;
mod console;
mod context;
mod core;
mod delivery;
mod failure;
mod fields;
pub mod files;
mod fork;
mod json;
mod layer;
mod level;
mod level_http;
mod levels;
mod line_queue;
mod log_bridge;
#[cfg(feature = "kv")]
mod log_pairs;
mod logger;
mod macros;
mod names;
mod output;
mod panics;
mod request;
mod scope;
mod settings;
mod setup;
mod sink;
mod task;
mod time;

pub use context::with_context;
pub use delivery::{EXIT_MS_MAX, ROOM_BYTES_MAX, WAIT_MS_MAX};
pub use failure::Failure;
pub use fields::{Fields, Serialized, Value};
pub use level::{Level, Threshold};
pub use level_http::{Answer, LEVEL_PATH};
pub use levels::{Change, Levels, Setting};
pub use line_queue::Dropped;
pub use log_bridge::LogBridge;
pub use logger::{Logger, Place, Record};
#[doc(hidden)]
pub use macros::function_of;
pub use request::{Headers, request_fields};
pub use scope::Scope;
pub use settings::{BUFFER_LINES, BUFFER_MS, Format};
pub use setup::{AlreadySet, Builder, Cordwood, create_logger, create_request_logger, flush, init, logger};
pub use task::{Plugin, TaskContext, run_plugin};
pub use tracing;
