//! The conditions that a block and a record must meet before the search evaluates the filter.

use cordwood_core::block::postings::level_token;
use cordwood_core::filter::Filter;
use cordwood_core::level::Level;
use cordwood_core::retention::class::PolicyLevel;
use cordwood_core::segment::tenant_token;
use cordwood_core::tokens::{Token, TokenClauses, TokenVersion, may_contain, probes_of};

use super::page::{Cursor, Direction, Page, TimeRange};
use crate::error::StoreError;
use crate::scope::{Grant, Namespaces, Scope, Tenants};

/// PostgreSQL's timestamps reach from 4713 BC to 294276; ours stay well within.
pub(super) const TIME_MIN_US: i64 = -62_135_596_800_000_000;
pub(super) const TIME_MAX_US: i64 = 253_402_207_200_000_000;
/// A clause of more namespaces than this is too large for SQL; the search then checks the records alone.
const NAMESPACES_MAX: usize = 16;
/// Tokens that indexes are asked for: each is in a page of its own of each segment.
const INDEX_TOKENS_MAX: usize = 64;

/// By what blocks are told from others; each as SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blocks<'s> {
    /// By their filters; one without a filter satisfies this.
    Filtered(&'s str),
    /// Whether they have a filter or not, they satisfy this.
    Told(&'s str),
}

#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub scope: Scope,
    /// `None`: every tenant.
    pub tenants: Option<Vec<String>>,
    pub from_us: i64,
    /// Inclusive.
    pub to_us: i64,
    pub level_mask: u8,
    /// One of these lets a record through; empty where tenants or namespaces are named throughout.
    grants: Vec<Part>,
    pub tokens: TokenClauses,
    /// What is asked for and no index knows.
    pub unindexed: Vec<String>,
    pub after: Option<Cursor>,
    pub direction: Direction,
    /// What blocks say of themselves is wanted too.
    pub heads: bool,
}

impl Wanted {
    pub fn with_heads(self) -> Wanted {
        Wanted { heads: true, ..self }
    }

    /// `None`: nothing can match.
    pub fn new(scope: &Scope, filter: &Filter, range: TimeRange, page: Page) -> Option<Wanted> {
        let plan = filter.plan();
        let mut from_us = range.from_us.unwrap_or(i64::MIN).max(plan.time_from_us).max(TIME_MIN_US);
        let mut to_us =
            range.to_us.map_or(i64::MAX, |to| to.saturating_sub(1)).min(plan.time_to_us).min(TIME_MAX_US);
        if let Some(after) = page.after {
            match page.direction {
                Direction::NewestFirst => to_us = to_us.min(after.time_us),
                Direction::OldestFirst => {
                    from_us = from_us.max(after.time_us.saturating_add(i64::from(after.is_end())));
                }
            }
        }
        let mut parts: Vec<Part> =
            scope.grants().filter_map(|grant| Part::of(grant, plan.tenants.as_deref())).collect();
        from_us = from_us.max(parts.iter().map(|part| part.since_us).min()?);
        if from_us > to_us || plan.level_mask == 0 {
            return None;
        }
        let tenants = union(parts.iter().map(|part| part.tenants.as_ref()));
        let namespaces = union(parts.iter().map(|part| part.namespaces.as_ref()));
        let mut tokens = plan.tokens;
        if let Some(namespaces) = namespaces.as_ref().filter(|names| names.len() <= NAMESPACES_MAX) {
            let any = of_namespaces(namespaces);
            // Both versions of the tokens agree on the names of origins.
            tokens.current.push(any.clone());
            tokens.first.push(any);
        }
        let named: usize = parts.iter().filter_map(|part| part.namespaces.as_ref()).map(Vec::len).sum();
        let is_told = tenants.is_some() || namespaces.is_some();
        if is_told || named > NAMESPACES_MAX || parts.iter().any(Part::is_unrestricted) {
            parts.clear();
        }
        Some(Wanted {
            scope: scope.clone(),
            tenants,
            from_us,
            to_us,
            level_mask: plan.level_mask,
            grants: parts,
            tokens,
            unindexed: plan.unindexed,
            after: page.after,
            direction: page.direction,
            heads: false,
        })
    }

    /// What [`Wanted::conditions`] ask, of a block that is at hand.
    pub fn may_be_in(&self, tenant: &str, level_mask: u8, bloom: &[u8]) -> bool {
        level_mask & self.level_mask != 0
            && self.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|known| known == tenant))
            && (bloom.is_empty()
                || self
                    .tokens
                    .of(TokenVersion::of_bloom(bloom))
                    .iter()
                    .all(|any| any.iter().any(|token| may_contain(bloom, &probes_of(token.hash)))))
    }

    pub fn has_level_and_time(&self, level: Level, time_us: i64) -> bool {
        level.bit() & self.level_mask != 0 && self.has_time(time_us)
    }

    pub fn has_time(&self, time_us: i64) -> bool {
        (self.from_us..=self.to_us).contains(&time_us)
    }

    /// Whether a search that has come to `time_us` has moved since the page began.
    pub fn is_past_begin(&self, time_us: i64) -> bool {
        match self.direction {
            Direction::NewestFirst => time_us < self.to_us,
            Direction::OldestFirst => time_us > self.from_us,
        }
    }

    /// Whether a record must match several clauses at once. Then postings exclude blocks that bloom filters let through.
    pub fn is_conjunction(&self) -> bool {
        self.tokens.current.len() + usize::from(self.levels().is_some()) >= 2
    }

    /// The clause of the levels, unless any will do.
    pub fn levels(&self) -> Option<Vec<Token>> {
        let asked = || Level::ALL.into_iter().filter(|level| self.level_mask & level.bit() != 0);
        (asked().count() < Level::ALL.len()).then(|| asked().map(level_token).collect())
    }

    /// What records are asked for that an index knows, the clauses with few tokens first; nothing where it would tell no more than the
    /// rows of blocks do.
    pub fn index_clauses(&self) -> Vec<Vec<Token>> {
        let mut clauses = self.tokens.current.clone();
        if !self.grants.is_empty() {
            clauses.push(self.grants.iter().flat_map(Part::tokens).collect());
        }
        if clauses.is_empty() {
            return clauses;
        }
        clauses.extend(self.levels());
        clauses.sort_by_key(Vec::len);
        let mut tokens = 0;
        clauses.retain(|any| {
            tokens += any.len();
            tokens <= INDEX_TOKENS_MAX
        });
        clauses
    }

    /// `classes.level` of the retention classes that such records fall into.
    pub fn class_levels(&self) -> Vec<i16> {
        let asked = Level::ALL.into_iter().filter(|level| self.level_mask & level.bit() != 0);
        let mut levels: Vec<i16> = asked.map(|level| PolicyLevel::of(level) as i16).collect();
        levels.dedup();
        levels
    }

    /// One tenant, as an equality: the index on (tenant, time) then gives the order too.
    pub fn one_tenant(&self) -> bool {
        self.tenants.as_ref().is_some_and(|tenants| tenants.len() == 1)
    }

    /// What one of these blocks that may hold records satisfies, besides its place in time; `$n` are those of a list's statement.
    pub fn conditions(&self, blocks: Blocks<'_>) -> String {
        let mut sql = "time_from <= $2 and level_mask & $3 <> 0".to_owned();
        if self.tenants.is_some() && !self.one_tenant() {
            sql.push_str(" and tenant = any($4)");
        }
        match blocks {
            Blocks::Told(told) => sql.push_str(&format!(" and {told}")),
            Blocks::Filtered(indexed) => {
                sql.push_str(&in_bloom(&self.tokens, self.grants.is_empty(), indexed));
            }
        }
        if !self.grants.is_empty() {
            let mut before = 0;
            let one = |part: &Part| {
                let mut all = Vec::new();
                if let Some(tenants) = &part.tenants {
                    all.push(format!(
                        "tenant = any(($8::text[])[{}:{}])",
                        before + 1,
                        before + tenants.len()
                    ));
                    before += tenants.len();
                }
                let has_filter = matches!(blocks, Blocks::Filtered(_));
                all.extend(part.namespaces.as_ref().filter(|_| has_filter).map(|names| {
                    format!(
                        "case when octet_length(bloom) = 0 then true else {} end",
                        clauses(&[of_namespaces(names)])
                    )
                }));
                if all.is_empty() {
                    all.push("true".to_owned());
                }
                format!("({})", all.join(" and "))
            };
            sql.push_str(&format!(" and ({})", self.grants.iter().map(one).collect::<Vec<_>>().join(" or ")));
        }
        sql
    }

    /// `$8` of the conditions.
    pub fn tenants_of_grants(&self) -> Vec<&str> {
        self.grants.iter().flat_map(|part| part.tenants.iter().flatten()).map(String::as_str).collect()
    }
}

/// What a grant asks of a block.
#[derive(Clone, Debug)]
struct Part {
    /// `None`: any.
    tenants: Option<Vec<String>>,
    namespaces: Option<Vec<String>>,
    since_us: i64,
}

impl Part {
    /// `None`: it lets nothing through that is of one of the tenants that are asked for.
    fn of(grant: &Grant, asked: Option<&[String]>) -> Option<Part> {
        let tenants = match (&grant.tenants, asked) {
            (Tenants::All(_), asked) => asked.map(<[String]>::to_vec),
            (Tenants::Only(allowed), None) => Some(allowed.clone()),
            (Tenants::Only(allowed), Some(asked)) => {
                Some(asked.iter().filter(|tenant| allowed.contains(tenant)).cloned().collect())
            }
        };
        let namespaces = match &grant.namespaces {
            Namespaces::All => None,
            Namespaces::Only(names) => Some(names.iter().filter(|name| !name.is_empty()).cloned().collect()),
        };
        let is_nothing = |names: &Option<Vec<String>>| names.as_ref().is_some_and(Vec::is_empty);
        let since_us = grant.since_us.unwrap_or(TIME_MIN_US);
        (!is_nothing(&tenants) && !is_nothing(&namespaces)).then_some(Part { tenants, namespaces, since_us })
    }

    /// A record that it lets through has one of these.
    fn tokens(&self) -> Vec<Token> {
        match (&self.namespaces, &self.tenants) {
            (Some(namespaces), _) => of_namespaces(namespaces),
            (None, tenants) => tenants.iter().flatten().map(|tenant| tenant_token(tenant)).collect(),
        }
    }

    fn is_unrestricted(&self) -> bool {
        self.tenants.is_none() && self.namespaces.is_none()
    }
}

/// Each once; `None`: any.
fn union<'a>(parts: impl Iterator<Item = Option<&'a Vec<String>>>) -> Option<Vec<String>> {
    let parts: Vec<&Vec<String>> = parts.collect::<Option<_>>()?;
    let mut names: Vec<String> = parts.into_iter().flatten().cloned().collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

fn of_namespaces(names: &[String]) -> Vec<Token> {
    names.iter().map(|name| Token::origin("namespace", name)).collect()
}

/// What a block's filter must hold: other words where it was made by the first rules, which its length says
/// ([`cordwood_core::tokens::TokenVersion::of_bloom`]). Of what has no filter, the index of its segment says as much: `indexed`.
fn in_bloom(tokens: &TokenClauses, is_all: bool, indexed: &str) -> String {
    let or_true = |sql: String| if sql.is_empty() { "true".to_owned() } else { sql };
    let (current, first) = (or_true(clauses(&tokens.current)), or_true(clauses(&tokens.first)));
    match tokens.current == tokens.first {
        true if tokens.current.is_empty() && is_all => String::new(),
        true => format!(" and case when octet_length(bloom) = 0 then {indexed} else {current} end"),
        false => format!(
            " and case when octet_length(bloom) = 0 then {indexed} when octet_length(bloom) % 2 = 1 then {current} else {first} end"
        ),
    }
}

fn clauses(all: &[Vec<Token>]) -> String {
    let one = |token: &Token| {
        let bits: Vec<String> = probes_of(token.hash)
            .iter()
            .map(|probe| format!("get_bit(bloom, {probe} % (8 * octet_length(bloom))::bigint) = 1"))
            .collect();
        format!("({})", bits.join(" and "))
    };
    let any = |tokens: &Vec<Token>| format!("({})", tokens.iter().map(one).collect::<Vec<_>>().join(" or "));
    all.iter().map(any).collect::<Vec<_>>().join(" and ")
}

pub(crate) fn timestamp(time_us: i64) -> Result<jiff::Timestamp, StoreError> {
    jiff::Timestamp::from_microsecond(time_us.clamp(TIME_MIN_US, TIME_MAX_US))
        .map_err(|error| StoreError::Invalid(format!("time {time_us}: {error}")))
}
