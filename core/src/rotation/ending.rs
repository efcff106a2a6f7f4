//! When a file has ended: nobody writes to it any more, so that its last line goes without an end, and the next file has its turn.
//!
//! The kubelet renames a log and then tells the runtime, which writes to the old file for a moment longer; a process that has a
//! deleted log open writes to it for as long as it likes. So a file ends some time after it was superseded or its log was gone.

/// What is known of a file that has nothing more to read.
#[derive(Clone, Copy, Debug)]
pub struct AtEnd {
    /// No younger file of the log is open.
    pub is_last: bool,
    pub packed: bool,
    /// When its successor was seen (monotonic, as all times here).
    pub superseded_at_ms: Option<i64>,
    /// When the log was seen to have no name any more.
    pub gone_at_ms: Option<i64>,
    /// When something was read of the log last.
    pub last_data_ms: i64,
    /// A younger file has no whole first line yet.
    pub is_followed: bool,
    /// The container has run again since.
    pub is_succeeded: bool,
    /// The end of the file was taken already, when the run that wrote it was over.
    pub is_over: bool,
}

/// How long after which event nothing more is expected.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// After a file was superseded.
    pub rotation_ms: i64,
    /// After a log was gone, or its container had run again.
    pub gone_ms: i64,
}

/// What becomes of a file that has nothing more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More may come.
    Waits,
    /// The run that wrote it is over: its last line goes without an end, once, and the file is still watched.
    WriterIsOver,
    /// Nothing more is expected: the next file has its turn.
    OfFile,
    /// The same, and it was the last of a log that is gone.
    OfLog,
}

impl AtEnd {
    /// Nobody writes into it any more: it has a successor, or no name, and did so for as long as its writer may need to notice.
    pub fn is_over(&self, now_ms: i64, graces: Graces) -> bool {
        match (self.superseded_at_ms, self.gone_at_ms) {
            _ if self.packed => true,
            (Some(at), _) if !self.is_last => now_ms - at >= graces.rotation_ms,
            (_, Some(at)) => now_ms - at.max(self.last_data_ms) >= graces.gone_ms,
            _ => false,
        }
    }

    /// What becomes of it now.
    pub fn end(&self, now_ms: i64, graces: Graces) -> End {
        if self.is_over(now_ms, graces) {
            return if self.is_last && self.gone_at_ms.is_some() && !self.is_followed {
                End::OfLog
            } else {
                End::OfFile
            };
        }
        let has_rested = now_ms - self.last_data_ms >= graces.gone_ms;
        if self.is_last && self.is_succeeded && !self.is_over && has_rested {
            End::WriterIsOver
        } else {
            End::Waits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACES: Graces = Graces { rotation_ms: 10, gone_ms: 100 };
    /// A live file that was read to its end at 1,000 ms.
    const LIVE: AtEnd = AtEnd {
        is_last: true,
        packed: false,
        superseded_at_ms: None,
        gone_at_ms: None,
        last_data_ms: 1_000,
        is_followed: false,
        is_succeeded: false,
        is_over: false,
    };

    #[test]
    fn when_a_file_ends() {
        let renamed = AtEnd { is_last: false, superseded_at_ms: Some(1_000), ..LIVE };
        let gone = AtEnd { gone_at_ms: Some(1_000), ..LIVE };
        let rows: &[(&str, AtEnd, i64, End)] = &[
            ("a live file waits for ever", LIVE, i64::MAX, End::Waits),
            ("a packed file is whole", AtEnd { packed: true, ..LIVE }, 0, End::OfFile),
            ("renamed: the runtime may not have noticed", renamed, 1_009, End::Waits),
            ("renamed: the runtime has noticed", renamed, 1_010, End::OfFile),
            (
                "renamed, and written to since: the name counts",
                AtEnd { last_data_ms: 1_009, ..renamed },
                1_010,
                End::OfFile,
            ),
            ("renamed, the new file not there yet", AtEnd { is_last: true, ..renamed }, i64::MAX, End::Waits),
            ("deleted: the process still has it open", gone, 1_099, End::Waits),
            ("deleted, and written to since", AtEnd { last_data_ms: 1_050, ..gone }, 1_149, End::Waits),
            ("deleted, and nothing written to it", gone, 1_100, End::OfLog),
            (
                "deleted, a file behind it without a line",
                AtEnd { is_followed: true, ..gone },
                1_100,
                End::OfFile,
            ),
            ("deleted, a younger one is open", AtEnd { is_last: false, ..gone }, 1_100, End::OfFile),
            ("packed, the last of a log that is gone", AtEnd { packed: true, ..gone }, 0, End::OfLog),
            ("the container runs again", AtEnd { is_succeeded: true, ..LIVE }, 1_100, End::WriterIsOver),
            ("the container runs again, just now", AtEnd { is_succeeded: true, ..LIVE }, 1_099, End::Waits),
            (
                "the same, its last line taken",
                AtEnd { is_succeeded: true, is_over: true, ..LIVE },
                i64::MAX,
                End::Waits,
            ),
            (
                "the same, a younger file open",
                AtEnd { is_succeeded: true, is_last: false, ..LIVE },
                i64::MAX,
                End::Waits,
            ),
        ];
        for (name, file, now_ms, end) in rows {
            assert_eq!(file.end(*now_ms, GRACES), *end, "{name}");
        }
    }
}
