//! Whole-system tests: the real parts they run against (`env`), the generator's format and ledger (`generated`), and the
//! reconciler that says whether every line arrived exactly once (`reconcile`).

pub mod bin;
pub mod env;

pub use bin::bin;
