//! Reads the parameters of a request into a question to the store: one filter, a time range, a place to continue from. Unknown parameters are
//! refused. An error names its parameter, and in a filter also the character.

mod parameters;
mod when;

use cordwood_core::filter::{self, Filter, quoted};
use cordwood_core::level::Level;
use cordwood_core::limits::FIELD_CHARACTERS_MAX;
use cordwood_store::search::{Cursor, Direction, Page, TimeRange};

pub use parameters::{DATA, Parameters, VALUES_MAX};

use crate::problem::Problem;
use crate::slots::Slot;

/// Parameters that say which records, besides `data.<key>`.
pub const FILTERS: [&str; 20] = [
    "filter",
    "text",
    "level",
    "minLevel",
    "category",
    "container",
    "logger",
    "namespace",
    "node",
    "plugin",
    "pod",
    "requestId",
    "service",
    "signature",
    "source",
    "stream",
    "taskId",
    "tenant",
    "traceId",
    "userId",
];
pub const RANGE: [&str; 2] = ["from", "to"];
/// Those of the filters that are fields with a value.
const FIELDS: [&str; 16] = [
    "category",
    "container",
    "logger",
    "namespace",
    "node",
    "plugin",
    "pod",
    "requestId",
    "service",
    "signature",
    "source",
    "stream",
    "taskId",
    "tenant",
    "traceId",
    "userId",
];
pub const LIMIT_DEFAULT: usize = 100;
pub const LIMIT_MAX: usize = 1_000;
pub const BUDGET_MS_DEFAULT: u64 = 5_000;
pub const BUDGET_MS_MIN: u64 = 10;
pub const BUDGET_MS_MAX: u64 = 60_000;

/// Which records.
#[derive(Clone, Debug)]
pub struct Which {
    pub filter: Filter,
    pub range: TimeRange,
}

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of the items in the answer.
    pub order: Direction,
    pub from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Begin,
    /// What follows this in the order.
    After(Cursor),
    /// What leads up to this in the order.
    Before(Cursor),
}

impl Place {
    /// The page of the store; it comes in the opposite order when the place is before a cursor.
    pub fn page(self, limit: usize) -> Page {
        match self.from {
            From::Begin => Page { limit, after: None, direction: self.order },
            From::After(cursor) => Page { limit, after: Some(cursor), direction: self.order },
            From::Before(cursor) => Page { limit, after: Some(cursor), direction: self.order.reversed() },
        }
    }
}

impl Which {
    /// Needs a slot: to read a filter may cost more than the search.
    ///
    /// # Errors
    /// What is wrong with a parameter.
    pub async fn read(slot: Slot, mut parameters: Parameters, now_us: i64) -> Result<(Slot, Which), Problem> {
        slot.work(move || Which::take(&mut parameters, now_us)).await
    }

    /// On a thread on which nobody else waits.
    pub fn take(parameters: &mut Parameters, now_us: i64) -> Result<Which, Problem> {
        let mut parts = Vec::new();
        if let Some(expression) = parameters.one("filter")? {
            parts.push(filter::parse(&expression).map_err(|error| Problem::filter(&error))?);
        }
        for text in parameters.all("text")? {
            parts.push(part("text", &quoted(within("text", &text)?))?);
        }
        parts.extend(any_of(&parameters.all("level")?, |text| {
            part("level", &format!("level={}", level("level", text)?))
        })?);
        if let Some(text) = parameters.one("minLevel")? {
            parts.push(part("minLevel", &format!("level>={}", level("minLevel", &text)?))?);
        }
        let data = parameters.data_fields()?;
        for field in FIELDS.into_iter().chain(data.iter().map(String::as_str)) {
            let is = |value: &String| part(field, &format!("{field}={}", quoted(within(field, value)?)));
            parts.extend(any_of(&parameters.all(field)?, is)?);
        }
        Ok(Which { filter: Filter::all_of(parts), range: range(parameters, now_us)? })
    }
}

pub fn level(parameter: &str, text: &str) -> Result<String, Problem> {
    let found = Level::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
    found.map(|level| level.as_str().to_lowercase()).ok_or_else(|| {
        Problem::parameter(parameter, format!("{text:?} is none of trace, debug, info, warn, error"))
    })
}

/// A field that has one of these values; `None` when there are none.
fn any_of(
    values: &[String],
    is: impl Fn(&String) -> Result<Filter, Problem>,
) -> Result<Option<Filter>, Problem> {
    let any = values.iter().map(is).collect::<Result<Vec<_>, _>>()?;
    Ok((!any.is_empty()).then(|| Filter::any_of(any)))
}

/// What a field can be asked to be.
pub fn within<'t>(name: &str, text: &'t str) -> Result<&'t str, Problem> {
    match text.chars().nth(FIELD_CHARACTERS_MAX) {
        None => Ok(text),
        Some(_) => Err(Problem::parameter(name, format!("longer than {FIELD_CHARACTERS_MAX} characters"))),
    }
}

/// What is wrong with it is told as the mistake of its parameter.
fn part(parameter: &str, expression: &str) -> Result<Filter, Problem> {
    filter::parse(expression).map_err(|error| Problem::parameter(parameter, error.message))
}

pub fn time(parameters: &mut Parameters, name: &'static str, now_us: i64) -> Result<Option<i64>, Problem> {
    let text = parameters.one(name)?;
    text.map(|text| when::parse(&text, now_us).map_err(|why| Problem::parameter(name, why))).transpose()
}

pub fn range(parameters: &mut Parameters, now_us: i64) -> Result<TimeRange, Problem> {
    let from_us = time(parameters, "from", now_us)?;
    let range = TimeRange { from_us, to_us: time(parameters, "to", now_us)? };
    if let (Some(from), Some(to)) = (range.from_us, range.to_us)
        && from >= to
    {
        return Err(Problem::parameter("from", "from is not before to: nothing can lie between them"));
    }
    Ok(range)
}

/// `order`, `after`, `before`.
pub fn place(parameters: &mut Parameters) -> Result<Place, Problem> {
    let order = match parameters.one("order")?.as_deref() {
        None | Some("newest") => Direction::NewestFirst,
        Some("oldest") => Direction::OldestFirst,
        Some(other) => {
            return Err(Problem::parameter("order", format!("{other:?} is neither newest nor oldest")));
        }
    };
    let mut cursor = |name: &'static str| {
        let text = parameters.one(name)?;
        text.map(|text| id(&text).map_err(|why| Problem::parameter(name, why))).transpose()
    };
    let from = match (cursor("after")?, cursor("before")?) {
        (None, None) => From::Begin,
        (Some(after), None) => From::After(after),
        (None, Some(before)) => From::Before(before),
        (Some(_), Some(_)) => {
            return Err(Problem::parameter(
                "before",
                "after and before exclude each other: give one of them",
            ));
        }
    };
    Ok(Place { order, from })
}

/// An id of a record, or a place between two.
///
/// # Errors
/// What one looks like.
pub fn id(text: &str) -> Result<Cursor, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is neither the id of a record nor a next or previous of an answer (as 1795240800000000.0-17-3)")
    })
}

pub fn number(
    parameters: &mut Parameters,
    name: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Problem> {
    let Some(text) = parameters.one(name)? else { return Ok(default) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        Problem::parameter(name, format!("{text:?} is no number from {} to {}", range.start(), range.end()))
    })
}

pub fn limit(parameters: &mut Parameters) -> Result<usize, Problem> {
    Ok(number(parameters, "limit", LIMIT_DEFAULT as u64, 1..=LIMIT_MAX as u64)? as usize)
}

pub fn budget_ms(parameters: &mut Parameters) -> Result<u64, Problem> {
    number(parameters, "budgetMs", BUDGET_MS_DEFAULT, BUDGET_MS_MIN..=BUDGET_MS_MAX)
}

#[cfg(test)]
mod tests;
