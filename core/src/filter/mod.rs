//! Filter expressions: one syntax tree that decides on records wherever they are shown, and what of it SQL can ask.
//!
//! ```text
//! level>=warn service:checkout (taskId=42 OR data.order=A17) NOT "connection reset"
//! ```
//! - A bare word or a quoted phrase is text: its words ([`crate::tokens::words`]) must follow each other in one value of the
//!   body, whole and without regard to case. Keys of JSON are not searched. In a bare word `*` stands for any letters.
//! - `field=value` compares the whole value, exactly (numbers of JSON by their value); `field:value` without regard to case, with
//!   `*` for any text, in `message` and `errorStack` as words; `!=` is `NOT field=value` (true also where the field is absent).
//!   `<`, `<=`, `>`, `>=` compare numbers when the value is one, else text; levels by rank; times.
//! - `field IN (a, b)`, `field EXISTS`, `field CONTAINS "text"` (without regard to case), `field LIKE "a%b_c"`,
//!   `field REGEXP "a.*b"`, each also with NOT before the operator.
//! - `NOT` (or `-`, `!` directly before something) binds stronger than `AND` (`&&`), `AND` than `OR` (`||`); what stands side by
//!   side is `AND`. What could mean another thing than it says is refused, with what to write instead: nothing is ever dropped.
//! - Fields: those of `names`, in any case, with or without `_`; `data.<key>`, `data.<key>.<key>`, `data."any key"` for the rest.
//!
//! An expression on its way, with what each step makes of it (`tests::an_expression_on_its_way` compares this):
//!
//! ```text
//! written           level>=warn pod=cart-0 "connection reset"
//! parse    Expr     And [ Level(WARN, ERROR), Field(pod, Equal "cart-0"), Text(Phrase connection, reset) ]     cheap tests first
//! plan     SQL      level_mask 0b11000, any time, any tenant; in the bloom filter: pod=cart-0, connection, reset
//!                   -> a list of blocks. A block that is not in it has no match; a block in it may have one
//! plan     postings one record of the block must have all three tokens; else the block is not fetched
//! screen   bodies   the letters "connection", in any case
//!                   -> of the bodies  {"msg":"Connection reset by peer"}  {"msg":"connection was reset"}  {"msg":"done"}
//!                      the first two are read
//! eval     record   level, then pod, then the phrase: the first body matches; in the second the words do not follow each other
//! ```
//!
//! Laws: if a record matches, the bloom filter of its tokens satisfies [`Filter::plan`], in each version of the tokens, and
//! [`Filter::screen`] lets its body through.

mod asked;
mod bare;
mod body;
mod compare;
pub mod complete;
mod eval;
mod find;
mod lex;
mod literal;
mod names;
mod parse;
mod phrase;
mod plan;
mod screen;
mod stars;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use crate::decimal::Decimal;
use crate::identity::RecordId;
use crate::origin::Origin;
use crate::record::Record;
use crate::signature::Signature;

pub use lex::in_quotes as quoted;
pub use parse::parse;
pub use plan::FilterPlan;
pub use screen::Screen;

use names::Field;

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter, at character {}: {message}", at + 1)]
pub struct FilterError {
    /// Characters before the mistake.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A parsed expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Filter {
    expr: Arc<Expr>,
}

impl Filter {
    /// Matches every record.
    pub fn all() -> Filter {
        Filter { expr: Arc::new(Expr::And(Vec::new())) }
    }

    /// What each of these matches; all records when there are none.
    pub fn all_of(parts: impl IntoIterator<Item = Filter>) -> Filter {
        Filter::of(parts, Expr::And)
    }

    /// What one of these matches; no record when there are none.
    pub fn any_of(parts: impl IntoIterator<Item = Filter>) -> Filter {
        Filter::of(parts, Expr::Or)
    }

    fn of(parts: impl IntoIterator<Item = Filter>, join: fn(Vec<Expr>) -> Expr) -> Filter {
        let parts = parts.into_iter().map(|part| Arc::unwrap_or_clone(part.expr)).collect();
        Filter { expr: Arc::new(parse::joined(parts, join)) }
    }

    /// Everything of the container, or the file, that this origin is of: what stands around a record.
    pub fn same_place(origin: &Origin) -> Filter {
        let names = [
            ("tenant", &origin.tenant),
            ("namespace", &origin.namespace),
            ("pod", &origin.pod),
            ("container", &origin.container),
        ];
        let named = names.iter().filter(|(_, name)| !name.is_empty());
        // These tell which blocks; a name that an expression cannot hold does not.
        let indexed = named.filter_map(|(field, name)| parse(&format!("{field}={}", quoted(name))).ok());
        let same_place = Expr::Test(Test::SamePlace(Box::new(origin.clone())));
        Filter::all_of(indexed.chain([Filter { expr: Arc::new(same_place) }]))
    }

    /// Whether the record is wanted. `origin` must be the one that `record.origin` names.
    pub fn matches(&self, record: &Record<'_>, origin: &Origin) -> bool {
        eval::matches(&self.expr, record, origin)
    }

    /// `false`: whether a record matches does not depend on its body.
    pub fn reads_bodies(&self) -> bool {
        eval::reads_bodies(&self.expr)
    }

    /// What any matching record's block must satisfy.
    pub fn plan(&self) -> FilterPlan {
        plan::plan(&self.expr)
    }

    /// Which of many bodies can match at all.
    pub fn screen(&self) -> Screen<'_> {
        Screen::new(&self.expr)
    }
}

#[derive(Clone, Debug)]
enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A leaf.
#[derive(Clone, Debug)]
enum Test {
    /// The bits of the levels that are wanted.
    Level(u8),
    /// Nobody knows the level (it is shown as INFO), or somebody does.
    Unleveled(bool),
    /// `from..=to`, microseconds.
    Time {
        from_us: i64,
        to_us: i64,
    },
    Id(RecordId),
    Audit(bool),
    Stderr(bool),
    /// The record is grouped, and its group has this name.
    Signature(Signature),
    /// Of the same container, or the same file.
    SamePlace(Box<Origin>),
    Text {
        phrase: phrase::Phrase,
        /// As it was written.
        written: String,
    },
    Field {
        field: Field,
        is: Is,
        /// Letters that are in any body that answers yes; of fields that only a body has.
        needle: Option<find::Needle>,
        written: String,
    },
}

/// What is asked of a field's value. An absent field answers no.
#[derive(Clone, Debug)]
enum Is {
    Equal(String),
    /// A number of JSON equals it too if it is the same, however it is written.
    Number {
        text: String,
        number: Decimal,
    },
    /// Lower-cased.
    EqualAnyCase(String),
    /// Lower-cased.
    Stars(stars::Stars),
    Words(phrase::Phrase),
    Order {
        value: String,
        number: Option<Decimal>,
        less: bool,
        equal: bool,
        greater: bool,
    },
    Contains {
        lower: String,
        /// Whole words that are in every such value.
        words: Vec<Vec<u8>>,
    },
    Matches {
        regex: regex::Regex,
        words: Vec<Vec<u8>>,
    },
    Present,
}
