//! Real parts, each a value: started in seconds from a cache, on free loopback ports, in a folder of its own, stopped when
//! dropped, also after a panic and also when the test's process is killed.

pub mod cache;
pub mod home;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod wait;

pub use kafka::{Kafka, KafkaOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use process::{Process, Program, User};
pub use wait::wait_for;
