//! Retention: which policy a record falls under, which table partitions must exist, and which may go.
//!
//! Everything here is a pure function of (policies, catalogue, clock). [`plan()`] decides, [`lint()`] checks the plan with
//! independent code, `store::ddl` applies one step at a time and chooses nothing. What is promised: no record goes before its
//! retention (a whole partition goes, and only when its upper bound lies before now - retention), what records wait for is created
//! in the next pass, and a plan that was applied yields an empty plan.
//!
//! ```text
//! LogRetentionPolicy -> Policy -> classes (policy x level) -> leaves (class x time range) -> detached -> dropped
//!                            \-> Routes: (tenant, namespace, service, category, level) -> class
//! ```

pub mod amount;
pub mod approval;
pub mod catalogue;
pub mod class;
pub mod drift;
mod dry_run;
pub mod duration;
pub mod foresee;
pub mod hold;
pub mod holding;
pub mod horizon;
pub mod known;
#[cfg(test)]
mod laws;
pub mod lint;
pub mod plan;
#[cfg(test)]
mod plan_laws_tests;
pub mod policy;
pub mod proof;
pub mod room;
pub mod routes;
pub mod shortening;
pub mod simulate;
pub mod state_change;
pub mod step;
pub mod written_by;

pub use amount::Amount;
pub use approval::{APPROVE_ANNOTATION, Approval, NeedsApproval};
pub use catalogue::{Catalogue, Leaf, LeafState};
pub use class::{Class, ClassId, PolicyLevel};
pub use drift::{Drift, Strange};
pub use hold::{HeldLeaf, Hold};
pub use horizon::Horizon;
pub use known::{by_name, complete, in_force, last_good};
pub use lint::{Finding, lint};
pub use plan::{Tuning, plan};
pub use policy::{DropLimit, Match, PerLevel, Policy, State};
pub use proof::{Proof, proofs};
pub use routes::{RouteKey, Routes};
pub use state_change::{StateChange, state_changes};
pub use step::{Held, LeafRef, Plan, Planned, Step, Waits};
pub use written_by::WrittenBy;

#[cfg(test)]
mod cases {
    //! How many random cases the properties of retention try.

    /// `CORDWOOD_CASES` where it is set: a hundred thousand take some minutes.
    pub fn count(usual: u32) -> u32 {
        std::env::var("CORDWOOD_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    }
}
