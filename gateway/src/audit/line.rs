//! Writes a look as one line: what it says, and how much of it. The line can hold no token: of the address it takes only parameters that the
//! document names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::extract::Query;
use axum::http::Uri;
use cordwood_core::limits::{
    AUDIT_NAMES_MAX, AUDIT_PARTS_MAX, AUDIT_QUESTION_BYTES_MAX, AUDIT_SPEC_BYTES_MAX, AUDIT_VALUE_BYTES_MAX,
};
use cordwood_core::scope::{Grant, Namespaces, Scope, Tenants};
use serde::Serialize;
use serde_json::Value;

use super::{Inner, Told, Who};
use crate::routes::query_names;

/// Parts of the names of parameters that a line never has.
const SECRET: [&str; 6] = ["token", "ticket", "code", "state", "secret", "password"];
/// Fields of an application's own.
const OPEN: [&str; 2] = ["data.", "metadata."];

static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(query_names);

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    logger: &'static str,
    is_audit: bool,
    action: &'static str,
    message: String,
    #[serde(rename = "userId")]
    user_id: String,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    known_by: &'static str,
    method: &'a str,
    route: &'a str,
    path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    question: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Vec<Seen>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    /// Of a resource that was changed: its spec as it was, and as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    outcome: &'static str,
    /// Not all of it is here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// A part of what the caller sees; absent: all.
#[derive(Serialize)]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants: Option<Names>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Names>,
    audit: bool,
}

#[derive(Serialize)]
struct Names {
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
}

pub fn of(look: &Inner, who: &Who, told: &Told, action: &'static str, outcome: &'static str) -> String {
    let mut room = Room { left: AUDIT_QUESTION_BYTES_MAX, is_cut: false };
    let user_id = room.own(&who.name);
    let path = room.own(look.uri.path());
    let mut question: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let about = told.about.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    let mut all: Vec<(String, String)> = about.chain(asked(&look.uri)).collect();
    // What says most has room first: the filter, then what is short. No other parameter takes its place.
    all.sort_by_key(|(name, value)| (name != "filter", value.len()));
    for (name, value) in all {
        let is_filter = name == "filter";
        if let (Some(name), Some(value)) = (room.value(&name), room.told(&value, is_filter)) {
            question.entry(name).or_default().push(value);
        }
    }
    let changed = told.changed.clone();
    let mut spec = |spec: Option<Value>| {
        let spec = spec?;
        if spec.to_string().len() <= AUDIT_SPEC_BYTES_MAX {
            return Some(spec);
        }
        room.is_cut = true;
        None
    };
    let (before, after) = changed.map_or((None, None), |changed| (spec(changed.before), spec(changed.after)));
    let records = told.shown.map(|count| format!(", {count} records")).unwrap_or_default();
    let scope = look.scope.get().map(|scope| parts(scope, &mut room));
    let line = Line {
        timestamp: jiff::Timestamp::now().to_string(),
        level: "INFO",
        logger: "audit.gateway",
        is_audit: true,
        action,
        message: format!("{user_id}: {action} {}{records} ({outcome})", look.route),
        request_id: look.id.as_str(),
        metadata: Metadata {
            known_by: who.known_by,
            method: look.method.as_str(),
            route: &look.route,
            path,
            question,
            scope,
            records: told.shown,
            before,
            after,
            outcome,
            cut: room.is_cut,
        },
        user_id,
    };
    let mut line = serde_json::to_string(&line).unwrap_or_default();
    line.push('\n');
    line
}

/// The parameters that the document names.
fn asked(uri: &Uri) -> impl Iterator<Item = (String, String)> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|pairs| pairs.0).unwrap_or_default();
    pairs.into_iter().filter(|(name, _)| {
        // A condition on a field of an application's own is told whatever the field is called: a filter says it too.
        let is_open = OPEN.iter().any(|open| name.starts_with(open) && name.len() > open.len());
        let lower = name.to_ascii_lowercase();
        is_open || (NAMES.contains(name) && !SECRET.iter().any(|secret| lower.contains(secret)))
    })
}

fn parts(scope: &Scope, room: &mut Room) -> Vec<Seen> {
    let grants = together(scope);
    room.is_cut |= grants.len() > AUDIT_PARTS_MAX;
    grants.iter().take(AUDIT_PARTS_MAX).map(seen).collect()
}

/// Grants that differ in their namespaces alone (each has its own begin) are one part.
fn together(scope: &Scope) -> Vec<Grant> {
    let mut all: Vec<Grant> = Vec::new();
    for grant in scope.grants() {
        let same = all.iter_mut().find(|known| known.tenants == grant.tenants && known.audit == grant.audit);
        match (same.map(|known| &mut known.namespaces), &grant.namespaces) {
            (Some(Namespaces::Only(known)), Namespaces::Only(names)) => known.extend(names.iter().cloned()),
            _ => all.push(grant.clone()),
        }
    }
    all
}

fn seen(grant: &Grant) -> Seen {
    Seen {
        tenants: match &grant.tenants {
            Tenants::All(_) => None,
            Tenants::Only(slugs) => Some(names(slugs)),
        },
        namespaces: match &grant.namespaces {
            Namespaces::All => None,
            Namespaces::Only(all) => Some(names(all)),
        },
        audit: grant.audit,
    }
}

fn names(all: &[String]) -> Names {
    let names = all.iter().take(AUDIT_NAMES_MAX).map(|name| cut(name, AUDIT_VALUE_BYTES_MAX).0.to_owned());
    let more = all.len().checked_sub(AUDIT_NAMES_MAX).filter(|more| *more > 0);
    Names { names: names.collect(), more }
}

struct Room {
    left: usize,
    is_cut: bool,
}

impl Room {
    /// What has its own room.
    fn own(&mut self, text: &str) -> String {
        let (text, is_cut) = cut(text, AUDIT_VALUE_BYTES_MAX);
        self.is_cut |= is_cut;
        text.to_owned()
    }

    /// The beginning of a value; of a filter that is longer also how long it is.
    fn told(&mut self, text: &str, is_filter: bool) -> Option<String> {
        let kept = self.value(text)?;
        Some(match kept.len() < text.len() && is_filter {
            true => format!("{kept}... ({} characters)", text.chars().count()),
            false => kept,
        })
    }

    /// `None`: there is no room left.
    fn value(&mut self, text: &str) -> Option<String> {
        let (kept, is_cut) = cut(text, AUDIT_VALUE_BYTES_MAX.min(self.left));
        self.is_cut |= is_cut;
        let is_room = self.left > 0;
        self.is_cut |= !is_room;
        self.left = self.left.saturating_sub(written_bytes(kept).max(1));
        is_room.then(|| kept.to_owned())
    }
}

/// The beginning that takes so many bytes in JSON, and whether that is not all.
fn cut(text: &str, most: usize) -> (&str, bool) {
    let mut bytes = 0;
    for (at, char) in text.char_indices() {
        bytes += char_bytes(char);
        if bytes > most {
            return (&text[..at], true);
        }
    }
    (text, false)
}

fn written_bytes(text: &str) -> usize {
    text.chars().map(char_bytes).sum()
}

fn char_bytes(char: char) -> usize {
    match char {
        '"' | '\\' => 2,
        '\0'..'\x20' => 6,
        other => other.len_utf8(),
    }
}
