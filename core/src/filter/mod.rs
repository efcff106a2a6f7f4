//! Filter expressions: one syntax tree that decides on records wherever they are shown, and what of it SQL can ask.
//!
//! ```text
//! level>=warn service:checkout (taskId=42 OR data.order=A17) NOT "connection reset"
//! ```
//! - A bare word or a quoted phrase is text: its words must follow each other in one value of the body, whole and
//!   without regard to case. Keys of JSON are not searched. A part of a word is not found.
//! - `field=value` compares the whole value, exactly; `field:value` without regard to case, in `message` and `errorStack`
//!   as words; `!=` is `NOT field=value` (true also where the field is absent). `<`, `<=`, `>`, `>=` compare numbers when
//!   the value is one, else text; levels by rank; times.
//! - `NOT` binds stronger than `AND`, `AND` than `OR`; what stands side by side is `AND`. These three are upper case.
//! - Fields: those of `names`, in any case, with or without `_`; `data.<key>`, `data.<key>.<key>` for the rest.
//!
//! Laws: if a record matches, the bloom filter of its tokens satisfies [`Filter::plan`], and [`Filter::screen`] lets its body
//! through.

mod asked;
mod body;
mod eval;
mod find;
mod lex;
mod names;
mod parse;
mod plan;
mod screen;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use crate::identity::RecordId;
use crate::origin::Origin;
use crate::record::Record;

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

    /// Whether the record is wanted. `origin` must be the one that `record.origin` names.
    pub fn matches(&self, record: &Record<'_>, origin: &Origin) -> bool {
        eval::matches(&self.expr, record, origin)
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

#[derive(Debug)]
enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A leaf.
#[derive(Debug)]
enum Test {
    /// The bits of the levels that are wanted.
    Level(u8),
    /// `from..=to`, microseconds.
    Time {
        from_us: i64,
        to_us: i64,
    },
    Id(RecordId),
    Audit(bool),
    Stderr(bool),
    Text(find::Phrase),
    Field {
        field: Field,
        is: Is,
        /// A word that is in any body that answers yes; of fields that only a body has.
        needle: Option<find::Needle>,
    },
}

/// What is asked of a field's value. An absent field answers no.
#[derive(Debug)]
enum Is {
    Equal(String),
    /// Lower-cased.
    EqualAnyCase(String),
    Words(find::Phrase),
    Order {
        value: String,
        number: Option<f64>,
        less: bool,
        equal: bool,
        greater: bool,
    },
    Present,
}
