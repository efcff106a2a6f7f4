//! Reads only what the agent needs of a body: level, audit, and whether it is of a task. It costs about a memory scan: keys that cannot
//! matter are not compared, no value is copied, and members behind the level are read only where they may matter.

use super::embedded::{embedded, without_mark};
use super::names::lookup_quick;
use super::scan::Members;
use super::screen::may_say_more;
use super::shape::level_of_shape;
use super::verdict::Verdict;
use crate::level::{Level, head_of, is_header, level_of_text};

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

    /// What an object says whose level is `own`, with what stands before it.
    pub(super) fn of_object(own: Option<Level>, verdict: &Verdict, prefix: Option<&[u8]>) -> Quick {
        let prefix = prefix.unwrap_or_default();
        let level = if prefix.is_empty() { own } else { level_behind(prefix, own, verdict.message) };
        Quick::new(level, verdict.audit || prefix.starts_with(b"[AUDIT]"), verdict.task)
    }

    fn new(named: Option<Level>, audit: bool, task: bool) -> Quick {
        Quick { level: named.unwrap_or(Level::Info), level_given: named.is_some(), audit, task }
    }
}

/// Level, audit and task of a body, as [`super::read`] finds them.
pub fn quick(body: &[u8]) -> Quick {
    match Members::open(body) {
        Some(members) => of_body(body, members),
        None => of_text(body),
    }
}

/// A body that begins like an object.
fn of_body(body: &[u8], members: Members<'_>) -> Quick {
    let (verdict, level, whole) = of_object(members, Wanted::Quick);
    // An object that breaks off is text; what its members said until then holds.
    let level = level.or_else(|| if whole { None } else { level_of_text(body) });
    Quick::new(level, verdict.audit, whole && verdict.task)
}

/// What is wanted of the members of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What a [`Quick`] has. When the level is named, the rest of most objects is only screened.
    Quick,
    /// Also whether it has a message.
    All,
}

/// What the members of an object say, and whether it was one to its end (false where nothing depends on it).
fn of_object(mut members: Members<'_>, wanted: Wanted) -> (Verdict, Option<Level>, bool) {
    let mut may_end = wanted == Wanted::Quick;
    let from_start = members.clone();
    let mut verdict = Verdict::new();
    let whole = loop {
        match members.next_member() {
            Ok(Some(member)) => {
                if let Some(key) = lookup_quick(member.key) {
                    verdict.see_top(key, &member.value);
                    if may_end && verdict.is_named_first() {
                        if !verdict.task && !may_say_more(members.rest()) {
                            return (verdict, verdict.level(), false);
                        }
                        may_end = false;
                    }
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let named = verdict.level();
    let level = if named.is_none() && whole { level_of_shape(from_start, &mut verdict) } else { named };
    (verdict, level, whole)
}

/// A body that does not begin like an object.
fn of_text(body: &[u8]) -> Quick {
    let text = without_mark(body);
    if text.len() < body.len()
        && let Some(members) = Members::open(text)
    {
        return of_body(text, members);
    }
    let is_audit = text.starts_with(b"[AUDIT]");
    let Some(found) = embedded(text) else {
        return Quick::new(level_of_text(text), is_audit, false);
    };
    let Some(members) = Members::open(found.json) else {
        return Quick::new(level_of_text(text), is_audit, false);
    };
    let (verdict, level, _) = of_object(members, Wanted::All);
    Quick::of_object(level, &verdict, Some(found.prefix))
}

/// The level of a line that ends with an object: what its beginning says; what the object says where the beginning is but
/// a header; the higher one where it is that and names a level, or where the object is a record of its own.
fn level_behind(prefix: &[u8], own: Option<Level>, is_record: bool) -> Option<Level> {
    let head = head_of(prefix);
    match head.level {
        Some(level) if is_record || is_header(prefix) => own.max(Some(level)),
        Some(level) => Some(level),
        None if head.only_items => own,
        None => own.filter(|level| is_record && *level >= Level::Warn),
    }
}
