//! `/api/platform/logs/aggregates`: records of WARN and ERROR by which error they tell of; one such group.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::entry::timestamp;
use cordwood_core::level::Level;
use cordwood_core::signature::{Signature, is_grouped};
use cordwood_store::errors::{self, After, Asked, Group, HOUR_US, Order};
use serde::Serialize;
use utoipa::ToSchema;

use super::parameters::RangeParameters;
use super::{json, now_us};
use crate::Gateway;
use crate::problem::Problem;
use crate::question::{self, Parameters, RANGE};
use crate::scope::Caller;
use crate::slots::Length;
use crate::words::GroupLevel;

pub const WHOSE: [&str; 5] = ["level", "minLevel", "namespace", "service", "tenant"];
pub const LIST: [&str; 5] = ["text", "newSince", "sort", "after", "limit"];
const RANGE_DEFAULT_US: i64 = 24 * HOUR_US;
/// Of the trend of one group in a list, at the most.
const BINS_MAX: i64 = 48;
const STEPS_HOURS: [i64; 4] = [1, 3, 6, 12];
const DAY_HOURS: i64 = 24;
pub const SORTS: [(&str, Order); 3] =
    [("count", Order::Count), ("lastSeen", Order::LastSeen), ("firstSeen", Order::FirstSeen)];

/// A page of groups.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorGroups {
    items: Vec<ErrorGroup>,
    /// Give it as `after` for the page that follows; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// What was counted: whole hours.
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    /// Of the trends.
    bin_seconds: i64,
}

/// Records that tell of the same error, of those that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorGroup {
    signature: String,
    /// The highest that was counted.
    #[schema(value_type = GroupLevel)]
    level: &'static str,
    /// Records between `from` and `to`.
    count: u64,
    /// Of all that is known, also before `from`.
    #[schema(format = DateTime)]
    first_seen: String,
    /// Also after `to`.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Of the counted records, at most 100.
    tenants: Vec<String>,
    services: Vec<String>,
    /// There are more tenants or services.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    sample: Sample,
    /// From the oldest; times without a record are left out.
    trend: Vec<TrendBin>,
}

/// The last record of a group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The record's `id`.
    id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error_type: String,
    /// Without numbers, ids, addresses and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TrendBin {
    /// Its begin.
    #[schema(format = DateTime)]
    time: String,
    count: u64,
}

/// Errors by their groups: the most frequent first, of the last 24 hours unless `from` and `to` say otherwise.
#[utoipa::path(
    get,
    path = "/api/platform/logs/aggregates",
    params(
        RangeParameters,
        ("level" = Option<Vec<String>>, Query, description = "`warn`, `error`; repeated: any of these"),
        ("minLevel" = Option<String>, Query, description = "This level and above"),
        ("namespace" = Option<Vec<String>>, Query, description = "The exact value, as of the two below; repeated: any of these"),
        ("service" = Option<Vec<String>>, Query),
        ("tenant" = Option<Vec<String>>, Query),
        ("text" = Option<String>, Query, description = "In the error's type or the group's message, in any case"),
        ("newSince" = Option<String>, Query, description = "Only groups that were not seen before: RFC 3339, `now`, or `-15m`"),
        ("sort" = Option<String>, Query, description = "`count` (the default), `lastSeen` or `firstSeen`: the most, or the newest, first"),
        ("after" = Option<String>, Query, description = "What follows this: a `next`"),
        ("limit" = Option<u64>, Query, description = "1 to 1000, by default 100"),
    ),
    responses(
        (status = 200, description = "The groups", body = ErrorGroups),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn aggregates(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&RANGE, &WHOSE, &LIST], None)?;
    let now_us = now_us();
    let range = question::range(&mut parameters, now_us)?;
    let to_us = range.to_us.unwrap_or(now_us);
    let from_us = range.from_us.unwrap_or_else(|| to_us.saturating_sub(RANGE_DEFAULT_US));
    if from_us >= to_us {
        return Err(Problem::parameter("from", "from is not before now: give to as well"));
    }
    let (sort, order) = sort(&mut parameters)?;
    let asked = Asked {
        text: parameters.one("text")?.filter(|text| !text.is_empty()),
        new_since_us: question::time(&mut parameters, "newSince", now_us)?,
        order,
        after: after(&mut parameters, sort)?,
        limit: question::limit(&mut parameters)?,
        ..of_whom(&mut parameters, from_us, to_us)?
    };
    let asked = Asked { bin_us: step_us(asked.to_hour_us.saturating_sub(asked.from_hour_us)), ..asked };
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let found = errors::groups(&gateway.store, &caller.scope, &asked).await;
    let found = found.map_err(|error| Problem::store(&error))?;
    json(&ErrorGroups {
        items: found.groups.into_iter().map(ErrorGroup::of).collect(),
        next: found.next.map(|next| format!("{sort}.{next}")),
        from: timestamp(asked.from_hour_us),
        to: timestamp(asked.to_hour_us),
        bin_seconds: asked.bin_us / 1_000_000,
    })
}

/// One group of errors, its trend by the hour; of all that is known unless `from` and `to` say otherwise.
#[utoipa::path(
    get,
    path = "/api/platform/logs/aggregates/{signature}",
    params(
        ("signature" = String, Path, description = "The group's `signature`"),
        RangeParameters,
        ("level" = Option<Vec<String>>, Query, description = "`warn`, `error`; repeated: any of these"),
        ("minLevel" = Option<String>, Query, description = "This level and above"),
        ("namespace" = Option<Vec<String>>, Query, description = "The exact value, as of the two below; repeated: any of these"),
        ("service" = Option<Vec<String>>, Query),
        ("tenant" = Option<Vec<String>>, Query),
    ),
    responses(
        (status = 200, description = "The group", body = ErrorGroup),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn aggregate(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    signature: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&RANGE, &WHOSE], None)?;
    let Path(signature) = signature.map_err(|_| Problem::parameter("signature", "is not UTF-8"))?;
    let signature: Signature = signature
        .parse()
        .map_err(|wrong| Problem::parameter("signature", format!("{signature:?} is none: {wrong}")))?;
    let range = question::range(&mut parameters, now_us())?;
    let (from_us, to_us) = (range.from_us.unwrap_or(i64::MIN), range.to_us.unwrap_or(i64::MAX));
    let asked = Asked { signature: Some(signature), limit: 1, ..of_whom(&mut parameters, from_us, to_us)? };
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let found = errors::groups(&gateway.store, &caller.scope, &asked).await;
    let mut found = found.map_err(|error| Problem::store(&error))?;
    json(&ErrorGroup::of(found.groups.pop().ok_or_else(Problem::no_group)?))
}

/// Whole hours of the records that the parameters name.
fn of_whom(parameters: &mut Parameters, from_us: i64, to_us: i64) -> Result<Asked, Problem> {
    Ok(Asked {
        from_hour_us: from_us.div_euclid(HOUR_US).saturating_mul(HOUR_US),
        to_hour_us: to_us.saturating_add(HOUR_US - 1).div_euclid(HOUR_US).saturating_mul(HOUR_US),
        levels: levels(parameters)?,
        tenants: parameters.all("tenant")?,
        namespaces: parameters.all("namespace")?,
        services: parameters.all("service")?,
        text: None,
        new_since_us: None,
        signature: None,
        order: Order::Count,
        after: None,
        limit: question::LIMIT_DEFAULT,
        bin_us: HOUR_US,
    })
}

/// Those that are asked for; empty: any.
fn levels(parameters: &mut Parameters) -> Result<Vec<Level>, Problem> {
    let grouped = || Level::ALL.into_iter().filter(|level| is_grouped(*level));
    let mut levels = Vec::new();
    for text in parameters.all("level")? {
        let level = question::level("level", &text)?;
        let level = grouped().find(|grouped| grouped.as_str().eq_ignore_ascii_case(&level));
        levels.push(level.ok_or_else(|| Problem::parameter("level", "only warn and error have groups"))?);
    }
    if let Some(text) = parameters.one("minLevel")? {
        let least = question::level("minLevel", &text)?;
        let least = Level::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(&least));
        let above = |level: &Level| Some(*level) >= least;
        if levels.is_empty() {
            levels = grouped().collect();
        }
        levels.retain(above);
        if levels.is_empty() {
            return Err(Problem::parameter(
                "minLevel",
                "above every level that is asked for: nothing can match",
            ));
        }
    }
    Ok(levels)
}

fn sort(parameters: &mut Parameters) -> Result<(&'static str, Order), Problem> {
    let Some(text) = parameters.one("sort")? else { return Ok(SORTS[0]) };
    SORTS
        .into_iter()
        .find(|(name, _)| *name == text)
        .ok_or_else(|| Problem::parameter("sort", format!("{text:?} is none of count, lastSeen, firstSeen")))
}

fn after(parameters: &mut Parameters, sort: &str) -> Result<Option<After>, Problem> {
    let Some(text) = parameters.one("after")? else { return Ok(None) };
    let place = text.strip_prefix(sort).and_then(|rest| rest.strip_prefix('.'));
    let after = place.and_then(|place| place.parse().ok());
    after.map(Some).ok_or_else(|| {
        Problem::parameter("after", format!("{text:?} is no `next` of a list of groups by {sort}"))
    })
}

/// The shortest step of which not more than [`BINS_MAX`] are needed.
fn step_us(range_us: i64) -> i64 {
    let least =
        range_us.div_euclid(HOUR_US) / BINS_MAX + i64::from(range_us.div_euclid(HOUR_US) % BINS_MAX > 0);
    let round = STEPS_HOURS.into_iter().find(|step| *step >= least);
    let hours = round.unwrap_or_else(|| (least / DAY_HOURS + i64::from(least % DAY_HOURS > 0)) * DAY_HOURS);
    hours * HOUR_US
}

impl ErrorGroup {
    fn of(group: Group) -> ErrorGroup {
        let bin = |(time_us, count): (i64, u64)| TrendBin { time: timestamp(time_us), count };
        ErrorGroup {
            signature: group.signature.to_string(),
            level: group.level.as_str(),
            count: group.count,
            first_seen: timestamp(group.first_us),
            last_seen: timestamp(group.last_us),
            tenants: group.tenants,
            services: group.services,
            cut: group.is_cut,
            sample: Sample {
                id: group.sample.record.to_string(),
                timestamp: timestamp(group.sample.record.time_us),
                error_type: group.sample.error_type,
                message: group.sample.message,
            },
            trend: group.trend.into_iter().map(bin).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_has_few_bins_of_whole_hours() {
        for (hours, expected) in
            [(1, 1), (24, 1), (48, 1), (49, 3), (7 * 24, 6), (14 * 24, 12), (30 * 24, 24), (100 * 24, 72)]
        {
            assert_eq!(step_us(hours * HOUR_US), expected * HOUR_US, "{hours}");
        }
        assert!(step_us(i64::MAX) > 0);
    }

    #[test]
    fn what_is_asked_for_is_read_or_refused() {
        let read = |query: &str| {
            let uri = format!("/x?{query}").parse().unwrap();
            let mut parameters = Parameters::read(&uri, &[&RANGE, &WHOSE, &LIST], None)?;
            let (sort, order) = sort(&mut parameters)?;
            Ok::<_, Problem>((levels(&mut parameters)?, order, after(&mut parameters, sort)?))
        };
        let place = |value, signature| After { value, signature: Signature::from_columns(signature, 1) };
        for (query, levels, order, after) in [
            ("", vec![], Order::Count, None),
            ("level=error", vec![Level::Error], Order::Count, None),
            ("level=ERROR&level=warn&minLevel=error", vec![Level::Error], Order::Count, None),
            ("minLevel=info", vec![Level::Warn, Level::Error], Order::Count, None),
            (
                "sort=lastSeen&after=lastSeen.5.v1:00000000000000ff",
                vec![],
                Order::LastSeen,
                Some(place(5, 255)),
            ),
            ("after=count.-5.v1:other", vec![], Order::Count, Some(place(-5, 0))),
        ] {
            assert_eq!(read(query).unwrap(), (levels, order, after), "{query}");
        }
        for (query, at) in [
            ("level=info", "level"),
            ("level=high", "level"),
            ("level=warn&minLevel=error", "minLevel"),
            ("sort=worst", "sort"),
            ("after=5.v1:other", "after"),
            ("after=lastSeen.5.v1:other", "after"),
            ("filter=x", "filter"),
        ] {
            assert_eq!(read(query).unwrap_err().at(), Some(at), "{query}");
        }
        let all = of_whom(&mut Parameters::of(vec![], &[], None).unwrap(), i64::MIN, i64::MAX).unwrap();
        assert!(all.from_hour_us < -HOUR_US && all.to_hour_us > HOUR_US && all.from_hour_us < all.to_hour_us);
        let some =
            of_whom(&mut Parameters::of(vec![], &[], None).unwrap(), HOUR_US + 1, 2 * HOUR_US).unwrap();
        assert_eq!((some.from_hour_us, some.to_hour_us), (HOUR_US, 2 * HOUR_US));
    }
}
