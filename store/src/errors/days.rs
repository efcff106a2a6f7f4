//! Splits a long range of hours into whole days of UTC and the hours before and behind them. `error_days` is at each time the sum of
//! `error_counts` (a trigger keeps it so) and has a twenty-fourth of the rows.

use super::HOUR_US;
use crate::error::StoreError;
use crate::search::timestamp;

pub const DAY_US: i64 = 24 * HOUR_US;

/// Whole days, from the begin of one to the begin of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub from_us: i64,
    pub to_us: i64,
}

impl Days {
    /// All that lie within these hours, if any does.
    pub fn within(from_us: i64, to_us: i64) -> Option<Days> {
        let from = from_us.checked_add(DAY_US - 1)?.div_euclid(DAY_US);
        let to = to_us.div_euclid(DAY_US);
        (from < to).then_some(Days { from_us: from * DAY_US, to_us: to * DAY_US })
    }

    /// The rows of the hours $9 to $10: `columns` of each, where `rows` is true of the row `x`.
    pub fn select(self, columns: &str, rows: &str) -> Result<String, StoreError> {
        let (from, to) = (timestamp(self.from_us)?, timestamp(self.to_us)?);
        let of_days = columns.replace("x.hour", "x.day as hour");
        Ok(format!(
            "select {of_days} from error_days x where x.day >= '{from}' and x.day < '{to}' and {rows} \
             union all select {columns} from error_counts x where x.hour >= $9 and x.hour < '{from}' and {rows} \
             union all select {columns} from error_counts x where x.hour >= '{to}' and x.hour < $10 and {rows}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_US, Days, HOUR_US};

    #[test]
    fn only_whole_days_are_days() {
        let hours = |from: i64, to: i64| {
            Days::within(from * HOUR_US, to * HOUR_US)
                .map(|days| (days.from_us / HOUR_US, days.to_us / HOUR_US))
        };
        for (from, to, days) in [
            (0, 24, Some((0, 24))),
            (0, 23, None),
            (1, 24, None),
            (1, 47, None),
            (1, 48, Some((24, 48))),
            (23, 73, Some((24, 72))),
            (-25, 1, Some((-24, 0))),
            (48, 24, None),
        ] {
            assert_eq!(hours(from, to), days, "{from} to {to}");
        }
        assert!(Days::within(i64::MIN, i64::MAX).is_some() && Days::within(-DAY_US, i64::MAX).is_some());
        assert!(Days::within(i64::MAX - 1, i64::MAX).is_none(), "the next day is out of range");
    }
}
