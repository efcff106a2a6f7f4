//! How often the agent looks at the files of an idle log without an event of inotify: some file systems send none, and an event may
//! be lost. A log that was idle for long has fewer looks, because looking at thousands of idle files would cost more than reading.

/// A log that got nothing for so long is looked at in one of [`SCANS`] scans; the others in each.
const LONG_IDLE_MS: i64 = 60_000;
const SCANS: u64 = 4;

/// Whether a log at rest is looked at in this scan.
pub(super) fn is_due(log: u64, idle_ms: i64, scan: u64) -> bool {
    idle_ms < LONG_IDLE_MS || (log + scan).is_multiple_of(SCANS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_has_its_look_and_none_waits_longer_than_some_scans() {
        for log in 1..=9 {
            let looks =
                |idle_ms| (100..100 + SCANS).filter(|scan| is_due(log, idle_ms, *scan)).count() as u64;
            assert_eq!((looks(0), looks(LONG_IDLE_MS - 1)), (SCANS, SCANS), "log {log}");
            assert_eq!((looks(LONG_IDLE_MS), looks(i64::MAX)), (1, 1), "log {log}");
        }
        let in_one_scan = (0..1_000).filter(|log| is_due(*log, LONG_IDLE_MS, 7)).count();
        assert_eq!(in_one_scan, 250, "spread over the scans");
    }
}
