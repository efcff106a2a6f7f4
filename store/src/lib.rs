//! The only room that speaks SQL: the schema, the writer's transaction, sealing, queries, the operator's DDL.
//!
//! ```text
//! writer   -> commit, lane (fresh blocks, positions) -> ring -> seal (table partitions by class and time)
//! operator -> catalogue (what there is) -> ddl (create, detach, drop)
//! readers  -> search, follow, errors, tasks, audit, each within a scope
//! ```
//!
//! Promises: what the writer commits is all there or not at all; a reader sees every record exactly once, also while
//! blocks are sealed; nothing of a tenant is read without a [`scope::Scope`].

pub mod audit;
pub mod catalogue;
pub mod commit;
pub mod connect;
pub mod contents;
pub mod counting;
pub mod ddl;
mod dead_streams;
mod deleted_tasks;
pub mod error;
mod error_rows;
pub mod errors;
mod fitness;
pub mod follow;
pub mod holds;
pub mod horizon;
pub mod into_table;
pub mod lane;
pub mod ledger;
pub mod migrate;
pub mod naming;
pub mod origins;
mod page_order;
pub mod prune;
pub mod replica;
pub mod ring;
pub mod roles;
pub mod scope;
pub mod seal;
pub mod search;
pub mod states;
mod task_rows;
pub mod tasks;
mod tls;
pub mod tombstones;
mod values;
pub mod verify;
pub mod wake;
pub mod watermarks;

pub use connect::{Settings, Store};
pub use error::StoreError;
