//! Whole-system tests: the real parts they run against (`env`), the generator's files (`generated`), and the
//! reconciler that says whether every line arrived exactly once (`reconcile`).

pub mod bin;
pub mod env;
pub mod generated;
pub mod reconcile;

pub use bin::bin;
