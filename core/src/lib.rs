//! The decisions of Cordwood: what a line is, whose it is, whether it is kept, how it is packed, when it goes.
//!
//! ```text
//! agent:    rotation (which file) -> pipeline: cri, docker -> join -> fields, level -> gate -> batch (a message)
//! writer:   batch (decode) -> admit (which records are new) -> block; recovery (after faults); seal, with retention (which class)
//! readers:  filter, scope, ranges -> block -> entry
//! operator: retention (plan, lint), levels_compile
//! ```
//!
//! Nothing here does I/O, reads a clock, or knows of async: bytes and times come in as arguments, values go out. That is
//! what makes every rule a table of inputs and outputs.

pub mod admit;
pub mod agents;
pub mod audit;
pub mod batch;
mod bits;
pub mod block;
pub mod checkpoint;
pub mod cri;
pub mod decimal;
pub mod docker;
pub mod entry;
pub mod fields;
pub mod filter;
pub mod gate;
pub mod identity;
pub mod join;
pub mod level;
pub mod levels;
pub mod levels_compile;
pub mod limits;
pub mod line_time;
pub mod log_names;
pub mod milestones;
pub mod origin;
pub mod pipeline;
pub mod ranges;
pub mod record;
pub mod recovery;
pub mod retention;
pub mod rotation;
pub mod scope;
pub mod seal;
pub mod segment;
pub mod signature;
pub mod task;
pub mod tenancy;
pub mod tokens;
pub mod workload;
