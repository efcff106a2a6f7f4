//! Reports a lasting problem once, and not at every attempt.

use crate::logging;

#[derive(Default)]
pub struct Told(Option<String>);

impl Told {
    pub fn tell(&mut self, trouble: String) {
        if self.0.as_ref() != Some(&trouble) {
            logging::say(&trouble);
            self.0 = Some(trouble);
        }
    }

    /// It is over: should it come back, it is told again.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}
