//! `/api/platform/logs/histogram`: how many records there are over time, by level.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::entry::timestamp;
use cordwood_core::level::Level;

use super::parameters::{BudgetParameter, FieldParameters, RangeParameters};
use super::{json, now_us};
use crate::Gateway;
use crate::answer::{Bin, Histogram, Searched};
use crate::problem::Problem;
use crate::question::{self, DATA, FILTERS, Parameters, RANGE, Which};
use crate::scope::Caller;
use crate::slots::Length;

pub const BINS: [&str; 2] = ["bins", "budgetMs"];
pub const BINS_DEFAULT: u64 = 60;
pub const BINS_MAX: u64 = 500;
const RANGE_DEFAULT_US: i64 = 3_600_000_000;
/// A bin is as long as one of these, or a whole number of days.
const STEPS_SECONDS: [u64; 16] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 10_800, 21_600, 43_200];
const DAY_SECONDS: u64 = 86_400;

/// Counts over time by level, of the last hour unless `from` and `to` say otherwise.
#[utoipa::path(
    get,
    path = "/api/platform/logs/histogram",
    params(
        FieldParameters, RangeParameters,
        ("bins" = Option<u64>, Query, description = "About how many bins: 1 to 500, by default 60; a bin is a round time long"),
        BudgetParameter,
    ),
    responses(
        (status = 200, description = "The counts", body = Histogram),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn histogram(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&FILTERS, &RANGE, &BINS], DATA)?;
    let now_us = now_us();
    let bins = question::number(&mut parameters, "bins", BINS_DEFAULT, 1..=BINS_MAX)?;
    let budget_ms = question::budget_ms(&mut parameters)?;
    let slot = gateway.slot(&caller, Length::Long).await?;
    let (_slot, mut which) = Which::read(slot, parameters, now_us).await?;
    let to_us = which.range.to_us.unwrap_or(now_us);
    let from_us = which.range.from_us.unwrap_or(to_us.saturating_sub(RANGE_DEFAULT_US));
    if from_us >= to_us {
        return Err(Problem::parameter("from", "from is not before now: give to as well"));
    }
    (which.range.from_us, which.range.to_us) = (Some(from_us), Some(to_us));
    let bin_seconds = step_seconds(to_us.abs_diff(from_us), bins);
    let bin_us = (bin_seconds * 1_000_000).cast_signed();
    let counted = gateway.count(&caller.scope, &which.filter, which.range, bin_us, budget_ms).await;
    let counted = counted.map_err(|error| Problem::store(&error))?;
    let records = counted.records();
    caller.look.shown(records);
    let bins = counted.bins.into_iter().map(|(bin, counts)| {
        let counts = Level::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
        let counts = counts.map(|(level, count)| (level.as_str(), count)).collect();
        Bin { time: timestamp(bin.saturating_mul(bin_us)), counts }
    });
    json(&Histogram {
        from: timestamp(from_us),
        to: timestamp(to_us),
        bin_seconds,
        bins: bins.collect(),
        records,
        counted: "records",
        by_blocks: (counted.by_block > 0).then_some(counted.by_block),
        complete: counted.searched_to_us.is_none(),
        searched: Searched::back_to(counted.searched_to_us),
    })
}

/// The shortest step of which not more than `bins` are needed.
fn step_seconds(range_us: u64, bins: u64) -> u64 {
    let least = range_us.div_ceil(bins).div_ceil(1_000_000).max(1);
    let round = STEPS_SECONDS.into_iter().find(|step| *step >= least);
    round.unwrap_or_else(|| least.div_ceil(DAY_SECONDS) * DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_round_and_not_more_than_wanted() {
        let minute_us = 60_000_000;
        for (range_us, bins, expected) in [
            (60 * minute_us, 60, 60),
            (60 * minute_us, 59, 120),
            (15 * minute_us, 60, 15),
            (1, 500, 1),
            (24 * 60 * minute_us, 60, 1_800),
            (7 * 24 * 60 * minute_us, 60, 10_800),
            (90 * 24 * 60 * minute_us, 60, 2 * DAY_SECONDS),
            (u64::MAX, 1, u64::MAX.div_ceil(1_000_000).div_ceil(DAY_SECONDS) * DAY_SECONDS),
        ] {
            assert_eq!(step_seconds(range_us, bins), expected, "{range_us} in {bins}");
        }
    }
}
