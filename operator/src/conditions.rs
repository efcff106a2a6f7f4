//! Makes the conditions of a status. `Ready`, `Reconciling` and `Stalled` follow the rules of kstatus, which `kubectl wait`, Flux and Argo CD use:
//! an object is as its spec says, or will become so by itself, or somebody has to act.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether it holds, the reason as one word, and a sentence.
pub type Said = (bool, &'static str, String);

/// The three that [`Conditions::progress`] makes.
pub const PROGRESS: [&str; 3] = ["Ready", "Reconciling", "Stalled"];

/// How far an object is on the way to what its spec says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What its spec says is in force, everywhere.
    Ready,
    /// It will be, by itself.
    Reconciling,
    /// Not before somebody does what the message says.
    Stalled,
}

/// Makes conditions whose transition time moves only with the status.
pub struct Conditions<'a> {
    pub before: &'a [Condition],
    pub generation: Option<i64>,
    pub now_us: i64,
}

impl Conditions<'_> {
    pub fn of(&self, kind: &str, (is_true, reason, message): Said) -> Condition {
        let status = if is_true { "True" } else { "False" };
        let before = self.before.iter().find(|known| known.type_ == kind && known.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: before
                .map_or_else(|| time(self.now_us), |known| known.last_transition_time.clone()),
        }
    }

    /// `Ready`, `Reconciling` and `Stalled`.
    pub fn progress(&self, progress: Progress, reason: &'static str, message: &str) -> [Condition; 3] {
        let ready = (progress == Progress::Ready, reason, message.to_owned());
        let reconciling = match progress {
            Progress::Reconciling => (true, reason, message.to_owned()),
            _ => (false, "NotReconciling", "the operator has nothing under way for it".to_owned()),
        };
        let stalled = match progress {
            Progress::Stalled => (true, reason, message.to_owned()),
            _ => (false, "NotStalled", "nobody has to do anything".to_owned()),
        };
        [self.of("Ready", ready), self.of("Reconciling", reconciling), self.of("Stalled", stalled)]
    }
}

fn timestamp(time_us: i64) -> Timestamp {
    // Whole seconds: what Kubernetes keeps of a time.
    Timestamp::from_second(time_us.div_euclid(1_000_000)).unwrap_or_default()
}

pub fn time(time_us: i64) -> Time {
    Time(timestamp(time_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_three_holds_and_each_says_why() {
        let conditions = Conditions { before: &[], generation: Some(3), now_us: 0 };
        for (progress, expected) in [
            (Progress::Ready, ["True", "False", "False"]),
            (Progress::Reconciling, ["False", "True", "False"]),
            (Progress::Stalled, ["False", "False", "True"]),
        ] {
            let told = conditions.progress(progress, "Because", "it is so");
            assert_eq!(told.each_ref().map(|condition| condition.status.as_str()), expected);
            assert_eq!(told.each_ref().map(|condition| condition.type_.as_str()), PROGRESS);
            assert_eq!((told[0].reason.as_str(), told[0].message.as_str()), ("Because", "it is so"));
            assert!(told.iter().all(|condition| !condition.message.is_empty()));
        }
    }

    #[test]
    fn the_transition_time_moves_with_the_status_alone() {
        let first = Conditions { before: &[], generation: Some(1), now_us: 1_000_000 };
        let before = [first.of("Ready", (true, "A", String::new()))];
        let later = Conditions { before: &before, generation: Some(2), now_us: 9_000_000 };
        assert_eq!(later.of("Ready", (true, "B", String::new())).last_transition_time, time(1_000_000));
        assert_eq!(later.of("Ready", (false, "B", String::new())).last_transition_time, time(9_000_000));
    }
}
