//! Real parts, each a value: started in seconds from a cache, on free loopback ports, in a folder of its own, stopped when
//! dropped, also after a panic and also when the test's process is killed.

pub mod api_server;
pub mod cache;
pub mod home;
pub mod identity_provider;
pub mod image;
pub mod kafka;
pub mod kill_at;
pub mod kubernetes;
pub mod node;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod standby;
pub mod victoria_logs;
pub mod wait;
pub mod wire;

pub use api_server::{ADMIN_TOKEN, ApiServer, ApiServerOptions};
pub use identity_provider::IdentityProvider;
pub use kafka::{Kafka, KafkaOptions};
pub use kill_at::{KillAt, Moment};
pub use node::{Node, NodeOptions};
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use process::{Process, Program, User};
pub use proxy::{Fault, Proxy};
pub use redis::Redis;
pub use standby::Standby;
pub use victoria_logs::VictoriaLogs;
pub use wait::wait_for;
