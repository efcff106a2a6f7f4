//! Decides whether a record matches. Cheap tests come first (the parser sorted them); the body is parsed only when a test needs a field.

use std::cell::OnceCell;
use std::cmp::Ordering;

use crate::decimal::{self, Decimal};
use crate::fields::{self, Fields};
use crate::level::Level;
use crate::origin::Origin;
use crate::record::{Flags, Record};
use crate::signature::is_of;
use crate::tokens::{self, words};

use super::body::{self, Each};
use super::names::{Field, OriginField};
use super::{Expr, Is, Test};

struct Subject<'a> {
    record: &'a Record<'a>,
    origin: &'a Origin,
    fields: OnceCell<Fields<'a>>,
}

pub(super) fn matches(expr: &Expr, record: &Record<'_>, origin: &Origin) -> bool {
    decide(expr, &Subject { record, origin, fields: OnceCell::new() })
}

fn decide(expr: &Expr, subject: &Subject<'_>) -> bool {
    match expr {
        Expr::And(all) => all.iter().all(|expr| decide(expr, subject)),
        Expr::Or(any) => any.iter().any(|expr| decide(expr, subject)),
        Expr::Not(expr) => !decide(expr, subject),
        Expr::Test(test) => decide_test(test, subject),
    }
}

/// Whether a body can decide it.
pub(super) fn reads_bodies(expr: &Expr) -> bool {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(reads_bodies),
        Expr::Not(part) => reads_bodies(part),
        Expr::Test(test) => !matches!(
            test,
            Test::Level(_)
                | Test::Time { .. }
                | Test::Id(_)
                | Test::Audit(_)
                | Test::Unleveled(_)
                | Test::SamePlace(_)
                | Test::Stderr(_)
                | Test::Field { field: Field::Origin(_), needle: None, .. }
        ),
    }
}

fn decide_test(test: &Test, subject: &Subject<'_>) -> bool {
    let record = subject.record;
    match test {
        Test::Level(mask) => mask & record.level.bit() != 0,
        Test::Time { from_us, to_us } => (*from_us..=*to_us).contains(&record.time_us),
        Test::Id(id) => record.id == *id,
        Test::Audit(wanted) => record.flags.has(Flags::AUDIT) == *wanted,
        Test::Unleveled(wanted) => is_unleveled(record) == *wanted,
        Test::Signature(wanted) => is_of(record, *wanted),
        Test::SamePlace(place) => place.is_same_place(subject.origin),
        Test::Stderr(wanted) => record.flags.has(Flags::STDERR) == *wanted,
        Test::Text { phrase, .. } => phrase.is_in_body(record.body),
        Test::Field { field, is, needle, .. } => {
            needle.as_ref().is_none_or(|needle| needle.may_be_in(record.body))
                && subject.any(field, &mut |value, is_number| decide_value(is, value, is_number))
        }
    }
}

impl<'a> Subject<'a> {
    /// Calls `each` with the field's values, until one says yes.
    fn any(&self, field: &Field, each: Each<'_>) -> bool {
        match field {
            Field::Origin(field) => present(origin_value(self.origin, *field), each),
            Field::Either(field, own) => match origin_value(self.origin, *field) {
                "" => body::any(self.fields(), *own, each),
                _ if *field == OriginField::Service && self.names_its_service() => {
                    body::any(self.fields(), *own, each)
                }
                value => each(value, false),
            },
            Field::Body(field) => body::any(self.fields(), *field, each),
            Field::Data(path) => body::any_data(self.fields(), path, each),
        }
    }

    /// As an entry shows it: where the cluster says nothing better than the container's name.
    fn names_its_service(&self) -> bool {
        self.origin.service_is_a_guess() && self.fields().get(fields::Field::Service).is_some()
    }

    fn fields(&self) -> &Fields<'a> {
        self.fields.get_or_init(|| fields::read(self.record.body))
    }
}

fn is_unleveled(record: &Record<'_>) -> bool {
    record.flags.has(Flags::UNLEVELED) && record.level == Level::Info
}

fn present(value: &str, each: Each<'_>) -> bool {
    !value.is_empty() && each(value, false)
}

pub(super) fn origin_value(origin: &Origin, field: OriginField) -> &str {
    match field {
        OriginField::Tenant => &origin.tenant,
        OriginField::TenantId => &origin.tenant_id,
        OriginField::Namespace => &origin.namespace,
        OriginField::Pod => &origin.pod,
        OriginField::Container => &origin.container,
        OriginField::Node => &origin.node,
        OriginField::Workload => &origin.workload,
        OriginField::Service => &origin.service,
        OriginField::Environment => &origin.environment,
        OriginField::Version => &origin.version,
        OriginField::Region => &origin.region,
        OriginField::Plugin => &origin.plugin,
    }
}

/// `is_number`: of JSON.
fn decide_value(is: &Is, value: &str, is_number: bool) -> bool {
    match is {
        Is::Equal(wanted) => value == wanted,
        Is::Number { text, number } => {
            value == text
                || (is_number && decimal::is_plain(value) && Decimal::parse(value).as_ref() == Some(number))
        }
        Is::EqualAnyCase(wanted) => words::lower(value.as_bytes()) == *wanted,
        Is::Stars(stars) => stars.matches(words::lower(value.as_bytes()).as_bytes()),
        Is::Words(phrase) => phrase.is_in_text(value),
        Is::Contains { lower, .. } => {
            as_written_or_seen(value, &|text| words::lower(text.as_bytes()).contains(lower.as_str()))
        }
        Is::Matches { regex, .. } => as_written_or_seen(value, &|text| regex.is_match(text)),
        Is::Present => true,
        Is::Order { value: limit, number, less, equal, greater } => {
            let order = match number {
                Some(limit) => Decimal::parse(value.trim()).map(|value| value.cmp(limit)),
                None => Some(value.cmp(limit)),
            };
            match order {
                Some(Ordering::Less) => *less,
                Some(Ordering::Equal) => *equal,
                Some(Ordering::Greater) => *greater,
                None => false,
            }
        }
    }
}

/// Whether a text is so as it stands, or without its terminal colours.
fn as_written_or_seen(value: &str, is: &dyn Fn(&str) -> bool) -> bool {
    is(value)
        || (value.as_bytes().contains(&tokens::ESC)
            && is(&String::from_utf8_lossy(&tokens::without_colours(value.as_bytes()))))
}

/// Fields that are text to read: `:` asks for words in them.
pub(super) fn is_prose(field: &Field) -> bool {
    matches!(field, Field::Body(fields::Field::Message | fields::Field::ErrorStack))
}
