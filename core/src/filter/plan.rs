//! What can be asked of a block before it is opened, by SQL and of its postings: a necessary condition, drawn from the syntax tree.

use crate::tokens::{Token, hash, may_contain, probes_of, words};

use super::names::{Field, OriginField};
use super::{Expr, Is, Test};

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
    /// All of: any of: a token in the block's bloom filter (see [`crate::tokens::may_contain`] for the SQL), and of one record in
    /// its [`crate::block::postings`].
    pub tokens: Vec<Vec<Token>>,
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
        self.tokens.iter().all(|any| any.iter().any(|token| may_contain(bloom, &probes_of(token.hash))))
    }
}

#[derive(Clone)]
struct Need {
    level_mask: u8,
    time: (i64, i64),
    tenants: Option<Vec<String>>,
    clauses: Vec<Vec<Token>>,
}

const ANY_LEVEL: u8 = 0b1_1111;

const ANYTHING: Need =
    Need { level_mask: ANY_LEVEL, time: (i64::MIN, i64::MAX), tenants: None, clauses: Vec::new() };

pub(super) fn plan(expr: &Expr) -> FilterPlan {
    let need = need(expr, true);
    FilterPlan {
        level_mask: need.level_mask,
        time_from_us: need.time.0,
        time_to_us: need.time.1,
        tenants: need.tenants,
        tokens: need.clauses,
    }
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
    let mut clauses = a.clauses;
    for clause in b.clauses {
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses.sort_by_key(Vec::len);
    clauses.truncate(CLAUSES_MAX);
    Need {
        level_mask: a.level_mask & b.level_mask,
        time: (a.time.0.max(b.time.0), a.time.1.min(b.time.1)),
        tenants,
        clauses,
    }
}

fn either(a: Need, b: Need) -> Need {
    let tenants = match (a.tenants, b.tenants) {
        (Some(mut a), Some(b)) => {
            a.extend(b.into_iter().filter(|tenant| !a.contains(tenant)).collect::<Vec<_>>());
            Some(a)
        }
        _ => None,
    };
    let mut clauses: Vec<Vec<Token>> = Vec::new();
    for one in &a.clauses {
        for other in &b.clauses {
            let mut clause = one.clone();
            clause.extend(other.iter().filter(|token| !one.contains(token)));
            if clause.len() <= ALTERNATIVES_MAX && clauses.len() < CLAUSES_MAX && !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
    }
    Need {
        level_mask: a.level_mask | b.level_mask,
        time: (a.time.0.min(b.time.0), a.time.1.max(b.time.1)),
        tenants,
        clauses,
    }
}

fn need_test(test: &Test) -> Need {
    match test {
        Test::Level(mask) => Need { level_mask: *mask, ..ANYTHING },
        Test::Time { from_us, to_us } => Need { time: (*from_us, *to_us), ..ANYTHING },
        Test::Audit(true) => Need { clauses: vec![vec![Token::audit()]], ..ANYTHING },
        Test::Audit(false) | Test::Id(_) | Test::Stderr(_) => ANYTHING,
        Test::Text(phrase) => need_words(&phrase.words),
        Test::Field { field, is, .. } => match is {
            Is::Equal(value) | Is::EqualAnyCase(value) => {
                need_equal(field, value, matches!(is, Is::Equal(_)))
            }
            Is::Words(phrase) => need_words(&phrase.words),
            Is::Order { .. } | Is::Present => ANYTHING,
        },
    }
}

fn need_words(words: &[Vec<u8>]) -> Need {
    let mut clauses: Vec<Vec<Token>> = words.iter().map(|word| vec![Token::word(word)]).collect();
    clauses.dedup();
    clauses.truncate(CLAUSES_MAX);
    Need { clauses, ..ANYTHING }
}

fn need_equal(field: &Field, value: &str, exact: bool) -> Need {
    let name = |field: OriginField| match origin_key(field) {
        Some(key) => Need { clauses: vec![vec![Token::origin(key, value)]], ..ANYTHING },
        None => ANYTHING,
    };
    let pair = |keys: &[&str]| Need {
        clauses: vec![keys.iter().map(|key| Token::pair(key.as_bytes(), value.as_bytes())).collect()],
        ..ANYTHING
    };
    let in_body = || need_words(&words::of(value.as_bytes()));
    // A value in a body may be longer than its lower case, unless that is ASCII.
    let has_pair =
        |key: &str| (exact || value.is_ascii()) && hash::has_pair(key.as_bytes(), value.as_bytes());
    match field {
        Field::Origin(OriginField::Tenant) if exact => {
            Need { tenants: Some(vec![value.to_owned()]), ..ANYTHING }
        }
        Field::Origin(field) => name(*field),
        Field::Either(field, _) => either(name(*field), in_body()),
        Field::Data(path) if has_pair(path) => {
            // `a.b.c` may be the key `a.b.c`, `b.c` in `a`, or `c` in the `b` of `a`.
            let keys: Vec<&str> =
                std::iter::successors(Some(path.as_str()), |rest| Some(rest.split_once('.')?.1)).collect();
            both(in_body(), if keys.len() <= ALTERNATIVES_MAX { pair(&keys) } else { ANYTHING })
        }
        Field::Data(_) | Field::Body(_) => in_body(),
    }
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
        Test::Audit(false) => Need { clauses: vec![vec![Token::audit()]], ..ANYTHING },
        _ => ANYTHING,
    }
}
