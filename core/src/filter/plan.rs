//! Derives from the syntax tree what SQL and postings can ask of a block before it is opened: a condition that every match meets.

use crate::decimal;
use crate::level::Level;
use crate::tokens::{Token, TokenClauses, TokenVersion, hash, may_contain, probes_of};

use super::names::{Field, OriginField};
use super::phrase::Phrase;
use super::{Expr, Is, Test, eval};

/// Every record that matches lies in a block that satisfies all of this. It says nothing about the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterPlan {
    /// The record's level has its bit in here; 0 means that nothing can match.
    pub level_mask: u8,
    /// The record's time lies in `time_from_us..=time_to_us`; empty when nothing can match.
    pub time_from_us: i64,
    pub time_to_us: i64,
    /// The record's tenant (slug) is one of these; `None`: any.
    pub tenants: Option<Vec<String>>,
    /// What is in the block's bloom filter (see [`crate::tokens::may_contain`] for the SQL), and of one record in its
    /// [`crate::block::postings`].
    pub tokens: TokenClauses,
    /// What is asked for and no index knows (`*timeout*`, one Chinese character): it has to be looked for in every record that
    /// the rest lets through.
    pub unindexed: Vec<String>,
}

/// More alternatives than this in one clause, or more clauses, ask too much of SQL.
const ALTERNATIVES_MAX: usize = 16;
const CLAUSES_MAX: usize = 24;

impl FilterPlan {
    /// What the SQL says of one block's columns.
    pub fn may_match(
        &self,
        level_mask: u8,
        time_from_us: i64,
        time_to_us: i64,
        tenant: &str,
        bloom: &[u8],
    ) -> bool {
        level_mask & self.level_mask != 0
            && time_from_us <= self.time_to_us
            && self.time_from_us <= time_to_us
            && self.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|known| known == tenant))
            && self.bloom_may_match(bloom)
    }

    pub fn bloom_may_match(&self, bloom: &[u8]) -> bool {
        self.tokens
            .of(TokenVersion::of_bloom(bloom))
            .iter()
            .all(|any| any.iter().any(|token| may_contain(bloom, &probes_of(token.hash))))
    }
}

#[derive(Clone)]
struct Need {
    level_mask: u8,
    time: (i64, i64),
    tenants: Option<Vec<String>>,
    current: Vec<Vec<Token>>,
    first: Vec<Vec<Token>>,
}

const ANY_LEVEL: u8 = 0b1_1111;

const ANYTHING: Need = Need {
    level_mask: ANY_LEVEL,
    time: (i64::MIN, i64::MAX),
    tenants: None,
    current: Vec::new(),
    first: Vec::new(),
};

pub(super) fn plan(expr: &Expr) -> FilterPlan {
    let need = need(expr, true);
    FilterPlan {
        level_mask: need.level_mask,
        time_from_us: need.time.0,
        time_to_us: need.time.1,
        tenants: need.tenants,
        tokens: TokenClauses { current: need.current, first: need.first },
        unindexed: unindexed(expr),
    }
}

fn unindexed(expr: &Expr) -> Vec<String> {
    let mut all = Vec::new();
    let written = match expr {
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().flat_map(unindexed).for_each(|written| {
                if !all.contains(&written) {
                    all.push(written);
                }
            });
            None
        }
        Expr::Test(Test::Text { phrase, written }) if phrase.is_unindexed() => Some(written),
        Expr::Test(Test::Field { is, written, .. }) => {
            let is_looked_for = match is {
                Is::Words(phrase) => phrase.is_unindexed(),
                Is::Stars(_) => true,
                Is::Contains { words, .. } | Is::Matches { words, .. } => words.is_empty(),
                _ => false,
            };
            is_looked_for.then_some(written)
        }
        Expr::Not(_) | Expr::Test(_) => None,
    };
    all.extend(written.cloned());
    all
}

/// What holds for every record for which `expr` is `wanted`.
fn need(expr: &Expr, wanted: bool) -> Need {
    match (expr, wanted) {
        (Expr::And(parts), true) | (Expr::Or(parts), false) => {
            parts.iter().map(|part| need(part, wanted)).fold(ANYTHING, both)
        }
        (Expr::Or(parts), true) | (Expr::And(parts), false) => {
            parts.iter().map(|part| need(part, wanted)).reduce(either).unwrap_or(ANYTHING)
        }
        (Expr::Not(part), wanted) => need(part, !wanted),
        (Expr::Test(test), true) => need_test(test),
        (Expr::Test(test), false) => need_not(test),
    }
}

fn both(a: Need, b: Need) -> Need {
    let tenants = match (a.tenants, b.tenants) {
        (Some(a), Some(b)) => Some(a.into_iter().filter(|tenant| b.contains(tenant)).collect()),
        (a, b) => a.or(b),
    };
    Need {
        level_mask: a.level_mask & b.level_mask,
        time: (a.time.0.max(b.time.0), a.time.1.min(b.time.1)),
        tenants,
        current: all_of(a.current, b.current),
        first: all_of(a.first, b.first),
    }
}

fn all_of(mut clauses: Vec<Vec<Token>>, more: Vec<Vec<Token>>) -> Vec<Vec<Token>> {
    for clause in more {
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses.sort_by_key(Vec::len);
    clauses.truncate(CLAUSES_MAX);
    clauses
}

fn either(a: Need, b: Need) -> Need {
    let tenants = match (a.tenants, b.tenants) {
        (Some(mut a), Some(b)) => {
            a.extend(b.into_iter().filter(|tenant| !a.contains(tenant)).collect::<Vec<_>>());
            Some(a)
        }
        _ => None,
    };
    Need {
        level_mask: a.level_mask | b.level_mask,
        time: (a.time.0.min(b.time.0), a.time.1.max(b.time.1)),
        tenants,
        current: any_of(&a.current, &b.current),
        first: any_of(&a.first, &b.first),
    }
}

fn any_of(a: &[Vec<Token>], b: &[Vec<Token>]) -> Vec<Vec<Token>> {
    let mut clauses: Vec<Vec<Token>> = Vec::new();
    for one in a {
        for other in b {
            let mut clause = one.clone();
            clause.extend(other.iter().filter(|token| !one.contains(token)));
            if clause.len() <= ALTERNATIVES_MAX && clauses.len() < CLAUSES_MAX && !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
    }
    clauses
}

fn need_test(test: &Test) -> Need {
    match test {
        Test::Level(mask) => Need { level_mask: *mask, ..ANYTHING },
        Test::Time { from_us, to_us } => Need { time: (*from_us, *to_us), ..ANYTHING },
        Test::Audit(true) => need_both(vec![vec![Token::audit()]]),
        Test::Signature(_) => Need { level_mask: Level::Warn.bit() | Level::Error.bit(), ..ANYTHING },
        Test::Unleveled(true) => Need { level_mask: Level::Info.bit(), ..ANYTHING },
        Test::Unleveled(false) | Test::Audit(false) | Test::Id(_) | Test::Stderr(_) | Test::SamePlace(_) => {
            ANYTHING
        }
        Test::Text { phrase, .. } => need_phrase(phrase),
        Test::Field { field, is, .. } => need_field(field, is),
    }
}

/// In blocks of any version.
fn need_both(clauses: Vec<Vec<Token>>) -> Need {
    Need { current: clauses.clone(), first: clauses, ..ANYTHING }
}

fn need_phrase(phrase: &Phrase) -> Need {
    let mut current = phrase.clauses();
    current.truncate(CLAUSES_MAX);
    Need { current, ..ANYTHING }
}

fn need_field(field: &Field, is: &Is) -> Need {
    match is {
        Is::Equal(value) => need_equal(field, value, true),
        Is::EqualAnyCase(value) => need_equal(field, value, false),
        Is::Number { text, number } => {
            let canonical = number.canonical();
            let written = need_equal(field, text, true);
            let Need { current, .. } = if canonical == *text {
                written
            } else {
                either(written, need_equal(field, &canonical, true))
            };
            // What equals it has the same whole part.
            let whole = canonical.trim_start_matches('-').split('.').next().unwrap_or_default();
            let first = if decimal::is_plain(&canonical) && decimal::is_plain(text) {
                first_words(whole)
            } else {
                Vec::new()
            };
            Need { current, first, ..ANYTHING }
        }
        Is::Words(phrase) => need_phrase(phrase),
        // Of a name of an origin there is one token, the whole.
        Is::Contains { words, .. } | Is::Matches { words, .. } => match field {
            Field::Data(_) | Field::Body(_) => {
                let mut current: Vec<Vec<Token>> = words.iter().map(|word| vec![Token::word(word)]).collect();
                current.dedup();
                current.truncate(CLAUSES_MAX);
                Need { current, ..ANYTHING }
            }
            Field::Origin(_) | Field::Either(..) => ANYTHING,
        },
        Is::Stars(_) | Is::Order { .. } | Is::Present => ANYTHING,
    }
}

fn need_equal(field: &Field, value: &str, exact: bool) -> Need {
    let name = |field: OriginField| match origin_key(field) {
        Some(key) => {
            let current = vec![vec![Token::origin(key, value)]];
            // Other letters had another lower case.
            let first = if value.is_ascii() { current.clone() } else { Vec::new() };
            Need { current, first, ..ANYTHING }
        }
        None => ANYTHING,
    };
    let pair = |keys: &[String]| Need {
        current: vec![keys.iter().map(|key| Token::pair(key.as_bytes(), value.as_bytes())).collect()],
        ..ANYTHING
    };
    // In another case a backslash may begin another escape, a colour be another sequence.
    let is_plain = exact || !value.contains(|c: char| c == '\\' || c.is_control());
    let in_body = || {
        let words = Phrase::new(value).filter(|_| is_plain);
        // A message may have been written as bytes, which the first version did not read.
        let first = if eval::is_prose(field) { Vec::new() } else { first_words(value) };
        Need { first, ..words.map_or(ANYTHING, |phrase| need_phrase(&phrase)) }
    };
    // A value in a body may be longer than its lower case, unless that is ASCII.
    let has_pair =
        |key: &str| (exact || value.is_ascii()) && hash::has_pair(key.as_bytes(), value.as_bytes());
    match field {
        Field::Origin(OriginField::Tenant) if exact => {
            Need { tenants: Some(vec![value.to_owned()]), ..ANYTHING }
        }
        Field::Origin(field) => name(*field),
        Field::Either(field, _) => either(name(*field), in_body()),
        Field::Data(path) => {
            let keys = path.last_keys();
            let is_known = keys.len() <= ALTERNATIVES_MAX && keys.iter().all(|key| has_pair(key));
            both(in_body(), if is_known { pair(&keys) } else { ANYTHING })
        }
        Field::Body(_) => in_body(),
    }
}

/// The words of a value as the first version of the tokens knew them: only of what every encoder writes as it is, so that they
/// are whole wherever the value stands.
fn first_words(value: &str) -> Vec<Vec<Token>> {
    let is_written_so =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b' ');
    if !value.bytes().all(is_written_so) {
        return Vec::new();
    }
    let words = value.split(['-', '.', ':', ' ']).filter(|word| !word.is_empty());
    let mut clauses: Vec<Vec<Token>> =
        words.map(|word| vec![Token::word(word.to_ascii_lowercase().as_bytes())]).collect();
    clauses.dedup();
    clauses.truncate(CLAUSES_MAX);
    clauses
}

/// The key of an origin's name in [`hash::origin_pairs`].
fn origin_key(field: OriginField) -> Option<&'static str> {
    Some(match field {
        OriginField::Service => "service",
        OriginField::Namespace => "namespace",
        OriginField::Pod => "pod",
        OriginField::Container => "container",
        OriginField::Node => "node",
        OriginField::Plugin => "plugin",
        OriginField::Tenant | OriginField::TenantId | OriginField::Workload => return None,
        OriginField::Environment | OriginField::Version | OriginField::Region => return None,
    })
}

/// The opposite of a test, where that says something about a block.
fn need_not(test: &Test) -> Need {
    match test {
        Test::Level(mask) => Need { level_mask: ANY_LEVEL & !mask, ..ANYTHING },
        Test::Time { from_us: i64::MIN, to_us } => {
            Need { time: (to_us.saturating_add(1), i64::MAX), ..ANYTHING }
        }
        Test::Time { from_us, to_us: i64::MAX } => {
            Need { time: (i64::MIN, from_us.saturating_sub(1)), ..ANYTHING }
        }
        Test::Audit(false) => need_both(vec![vec![Token::audit()]]),
        _ => ANYTHING,
    }
}
