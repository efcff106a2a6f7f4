//! PostgreSQL where it really runs: a primary that is lost and a standby that takes over, servers that take no writes for a while, and
//! logins that are no superusers. Operator, writer and gateway are the real programs, beside a real Kafka and a real API server.

#![allow(clippy::print_stdout, reason = "what a person runs this test for")]

#[path = "database/failover.rs"]
mod failover;
#[allow(dead_code, reason = "the tests of the operator need more of it")]
mod operator_world;
#[path = "database/parts.rs"]
mod parts;
#[path = "database/plain_login.rs"]
mod plain_login;
#[path = "database/read_only.rs"]
mod read_only;
#[path = "store/support.rs"]
mod support;
