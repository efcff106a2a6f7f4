//! How often the agent looks at idle files and folders without an event of inotify: some file systems send none, and an event may
//! be lost. What was idle for long has fewer looks, because looking at thousands of idle files would cost more than reading.

/// A log that got nothing for so long is looked at in one of [`SCANS`] scans; the others in each.
const LONG_IDLE_MS: i64 = 10_000;
/// The same of a folder in which nothing was made, renamed or removed in so many scans.
const LONG_IDLE_SCANS: u64 = 2;
const SCANS: u64 = 4;

/// Whether a log at rest is looked at in this scan.
pub fn is_log_due(log: u64, idle_ms: i64, scan: u64) -> bool {
    idle_ms < LONG_IDLE_MS || has_turn(log, scan)
}

/// Whether a watched folder is looked at in this scan. `changed_at`: the scan at which something was found last.
pub fn is_folder_due(number: u64, changed_at: u64, scan: u64) -> bool {
    scan.saturating_sub(changed_at) <= LONG_IDLE_SCANS || has_turn(number, scan)
}

fn has_turn(number: u64, scan: u64) -> bool {
    (number + scan).is_multiple_of(SCANS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_has_its_look_and_none_waits_longer_than_some_scans() {
        for log in 1..=9 {
            let looks =
                |idle_ms| (100..100 + SCANS).filter(|scan| is_log_due(log, idle_ms, *scan)).count() as u64;
            assert_eq!((looks(0), looks(LONG_IDLE_MS - 1)), (SCANS, SCANS), "log {log}");
            assert_eq!((looks(LONG_IDLE_MS), looks(i64::MAX)), (1, 1), "log {log}");
        }
        let in_one_scan = (0..1_000).filter(|log| is_log_due(*log, LONG_IDLE_MS, 7)).count();
        assert_eq!(in_one_scan, 250, "spread over the scans");
    }

    #[test]
    fn a_folder_in_which_nothing_happens_has_a_look_in_some_scans() {
        for folder in 0..9 {
            let looks = |changed_at, scans: std::ops::Range<u64>| {
                scans.filter(|scan| is_folder_due(folder, changed_at, *scan)).count() as u64
            };
            assert_eq!(looks(100, 101..101 + LONG_IDLE_SCANS), LONG_IDLE_SCANS, "folder {folder}");
            assert_eq!(
                (looks(100, 103..103 + SCANS), looks(0, 900..900 + 3 * SCANS)),
                (1, 3),
                "folder {folder}"
            );
        }
    }
}
