//! The custom resources of Cordwood: their types, the YAML that is generated from them, and what they mean to the
//! planner and the agents. Nothing here talks to a cluster.
//!
//! ```text
//! types (retention, levels) -> manifest -> YAML for the API server
//! object of the API server -> read               -> LogRetentionPolicy::to_policy -> core::retention (the planner)
//! YAML file                -> folder -> document -> LevelObject::to_rule          -> core::levels (the agents)
//! ```

// Each printer column names its type: the lint takes the arguments of one attribute for several attributes.
#![allow(clippy::duplicated_attributes)]

pub mod approval;
pub mod document;
pub mod folder;
pub mod in_force;
pub mod levels;
pub mod manifest;
pub mod read;
pub mod retention;
pub mod schema;
pub mod written_by;

use std::fmt;

pub use approval::APPROVED_BY_ANNOTATION;
pub use cordwood_core::retention::duration;
pub use document::{Document, document, is_name};
pub use folder::Resources;
pub use levels::{
    ClusterLogLevelConfig, ClusterLogLevelConfigSpec, LevelObject, LogLevelConfig, LogLevelConfigSpec,
    LogLevelConfigStatus,
};
pub use manifest::{Manifest, manifests};
pub use read::{Kind, Read, read};
pub use retention::{LogRetentionPolicy, LogRetentionPolicySpec, LogRetentionPolicyStatus};

/// Something wrong with a resource: which field, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

pub(crate) fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { field: field.into(), message: message.into() }
}

/// All problems in one line.
pub fn describe(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
