//! Reports a lasting problem once, and not at every attempt.

use crate::logging;

/// Remembers the problem that was reported last.
#[derive(Default)]
pub struct ReportOnce(Option<String>);

impl ReportOnce {
    pub fn report(&mut self, trouble: String) {
        if self.0.as_ref() != Some(&trouble) {
            logging::say(&trouble);
            self.0 = Some(trouble);
        }
    }

    /// The problem is over. If it comes back, it is reported again.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}
