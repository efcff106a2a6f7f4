//! The `cordwood` command line on real files, with the PostgreSQL that it starts itself: what goes in comes out exactly once,
//! whatever is killed; retention and levels follow a folder of resources; every mistake is one clear line.

#[path = "standalone/harness.rs"]
mod harness;

#[path = "standalone/administration.rs"]
mod administration;
#[path = "standalone/bad_input.rs"]
mod bad_input;
#[path = "standalone/clients.rs"]
mod clients;
#[path = "standalone/exactly_once.rs"]
mod exactly_once;
#[path = "standalone/inputs.rs"]
mod inputs;
#[path = "standalone/logger.rs"]
mod logger;
#[path = "standalone/mistakes.rs"]
mod mistakes;
#[path = "standalone/output.rs"]
mod output;
#[path = "standalone/own_lines.rs"]
mod own_lines;
#[path = "standalone/resources.rs"]
mod resources;
#[path = "standalone/service.rs"]
mod service;
