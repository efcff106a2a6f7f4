//! The agent's one look at a body: level and audit, nothing else. About a memory scan: keys that cannot matter are not
//! even compared, and no value is copied.

use super::names::lookup_quick;
use super::scan::Members;
use super::verdict::Verdict;
use crate::level::{Level, level_of_text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quick {
    pub level: Level,
    /// Category `audit`: never dropped by a level rule, sampled or rate-limited.
    pub audit: bool,
}

/// Level and audit of a body, as [`super::read`] finds them.
pub fn quick(body: &[u8]) -> Quick {
    let Some(mut members) = Members::open(body) else {
        return Quick {
            level: level_of_text(body).unwrap_or(Level::Info),
            audit: body.starts_with(b"[AUDIT]"),
        };
    };
    let mut verdict = Verdict::new();
    let whole = loop {
        match members.next_member() {
            Ok(Some(member)) => {
                if let Some(key) = lookup_quick(member.key) {
                    verdict.see_top(key, &member.value);
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    // An object that breaks off is text; what its members said until then holds.
    let level = verdict.level().or_else(|| if whole { None } else { level_of_text(body) });
    Quick { level: level.unwrap_or(Level::Info), audit: verdict.audit }
}
