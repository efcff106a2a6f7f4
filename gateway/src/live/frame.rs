//! The frames that a stream sends, and the reasons why it ends.

use cordwood_core::entry::timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::engine::Out;
use crate::answer::WhoAmI;
use crate::problem::Problem;

/// Why a stream ends, as the close code of the WebSocket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What the reader sends is no WebSocket's.
    Protocol = 1002,
    /// It sends text that is not UTF-8.
    NotText = 1007,
    /// It sends a longer frame than any has to be.
    TooLong = 1009,
    /// The gateway ends, or nobody says whether the reader may go on: come back with the last cursor.
    Restart = 1012,
    /// The store refused; what it said stands in an `error` before.
    Failed = 1011,
    /// The token is over.
    TokenOver = 4401,
    /// A right that the stream began with was withdrawn.
    Withdrawn = 4403,
    /// No `start` came.
    NoStart = 4408,
    /// There are as many streams as may be.
    TooMany = 4429,
}

/// A frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Frame {
    /// The first: who asks and what they see.
    Hello {
        scope: WhoAmI,
        feed: &'static str,
    },
    /// `cursor`: given as `after`, the stream goes on with all but what was shown up to here.
    Records {
        items: Vec<Box<RawValue>>,
        /// Older than something that was shown before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        late: bool,
        cursor: String,
    },
    /// Records that are not shown; a search has them.
    Gap {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        to: String,
        count: Option<u64>,
        reason: &'static str,
        cursor: String,
    },
    /// From here on records come as they are stored.
    CaughtUp {
        cursor: String,
    },
    Heartbeat {
        cursor: String,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<usize>,
        message: String,
    },
    /// The last.
    Bye {
        code: u16,
    },
}

impl Frame {
    pub fn of(out: Out) -> Frame {
        match out {
            Out::Records { items, is_late, cursor } => Frame::Records {
                items: items.into_iter().map(|item| item.json).collect(),
                late: is_late,
                cursor: cursor.to_string(),
            },
            Out::Gap { gap, cursor } => Frame::Gap {
                from: gap.from_us.map(timestamp),
                to: timestamp(gap.to_us),
                count: gap.count,
                reason: gap.why.as_str(),
                cursor: cursor.to_string(),
            },
            Out::CaughtUp { cursor } => Frame::CaughtUp { cursor: cursor.to_string() },
        }
    }

    pub fn bye(end: End) -> Frame {
        Frame::Bye { code: end as u16 }
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            tracing::error!(%error, "a frame could not be written");
            String::new()
        })
    }
}

impl From<&Problem> for Frame {
    fn from(problem: &Problem) -> Frame {
        Frame::Error {
            at: problem.at().map(str::to_owned),
            position: problem.position(),
            message: problem.detail().to_owned(),
        }
    }
}
