//! The agent's one look at a body: level, audit and whether it is of a task, nothing else. About a memory scan: keys that cannot matter are not
//! even compared, and no value is copied.

use super::names::lookup_quick;
use super::scan::Members;
use super::verdict::Verdict;
use crate::level::{Level, level_of_text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quick {
    /// INFO where the body names none.
    pub level: Level,
    /// The body names its level; else nobody knows it.
    pub level_given: bool,
    /// Category `audit`: never dropped by a level rule, sampled or rate-limited.
    pub audit: bool,
    /// It has a `taskId`.
    pub task: bool,
}

impl Quick {
    /// The level that the body names.
    pub fn named(&self) -> Option<Level> {
        self.level_given.then_some(self.level)
    }

    fn new(named: Option<Level>, audit: bool, task: bool) -> Quick {
        Quick { level: named.unwrap_or(Level::Info), level_given: named.is_some(), audit, task }
    }
}

/// Level, audit and task of a body, as [`super::read`] finds them.
pub fn quick(body: &[u8]) -> Quick {
    let Some(mut members) = Members::open(body) else {
        return Quick::new(level_of_text(body), body.starts_with(b"[AUDIT]"), false);
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
    Quick::new(level, verdict.audit, whole && verdict.task)
}
