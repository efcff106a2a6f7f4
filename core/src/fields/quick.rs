//! The agent's one look at a body: level and audit, nothing else.

use crate::level::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quick {
    pub level: Level,
    /// Category `audit`: never dropped by a level rule, sampled or rate-limited.
    pub audit: bool,
}

/// Level and audit of a body, as [`super::read`] finds them.
pub fn quick(body: &[u8]) -> Quick {
    let fields = super::read(body);
    Quick { level: fields.level, audit: fields.audit }
}
