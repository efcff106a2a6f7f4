//! Holds what all records of a batch have in common: message, origin, tenant, namespace and service.

use std::sync::Arc;

use cordwood_core::origin::{Origin, OriginId};

use crate::source::Message;

pub const MINUTE_US: i64 = 60_000_000;

/// Of a batch, for each of its records.
pub struct Shared<'a> {
    pub message: &'a Message,
    pub origin_id: OriginId,
    pub origin: &'a Arc<Origin>,
    pub tenant: Arc<str>,
    pub namespace: Arc<str>,
    pub service: Arc<str>,
}
