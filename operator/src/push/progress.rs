//! Makes the condition `Pushed` of a level config.

use std::collections::BTreeMap;

use cordwood_core::level::Level;

use crate::conditions::Said;

/// Pods that a message names.
const NAMED_MAX: usize = 3;

/// How far the push of one config is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Pods that have the level.
    pub pushed: usize,
    /// Pods that are asked next.
    pub waiting: usize,
    /// Pods in which another config decides.
    pub overruled: usize,
    /// Pods that are to have the level before again, and have not.
    pub to_restore: usize,
    /// Of pods that were told its level nobody knows any more which one they had before.
    pub is_lost: bool,
    failures: usize,
    named: Vec<String>,
}

impl Progress {
    /// A pod does not have the level.
    pub fn failed(&mut self, pod: String, why: &str) {
        self.failures += 1;
        self.name(pod, why);
    }

    /// A pod has not taken the level before.
    pub fn not_restored(&mut self, pod: String, why: &str) {
        self.name(pod, why);
    }

    fn name(&mut self, pod: String, why: &str) {
        if self.named.len() < NAMED_MAX {
            self.named.push(format!("{pod} ({why})"));
        }
    }

    fn names(&self) -> String {
        if self.named.is_empty() { String::new() } else { format!(": {}", self.named.join(", ")) }
    }
}

/// What was last done for all configs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// By the config's UID.
    pub configs: BTreeMap<String, Progress>,
    /// Why nothing is pushed now.
    pub trouble: Option<String>,
}

/// The condition. `pushed`: `None` where nothing may be pushed; `level`: `None` where the config is not in force.
pub fn said(pushed: Option<&Pushed>, uid: &str, level: Option<Level>) -> Said {
    let Some(pushed) = pushed else {
        let message = "the operator is not allowed to change levels inside applications: the chart's value \
                       operator.config.levels.push.enabled allows it; agents drop the lines on the node all the same";
        return (false, "Disabled", message.to_owned());
    };
    let progress = pushed.configs.get(uid).cloned().unwrap_or_default();
    let trouble =
        pushed.trouble.as_ref().map(|why| format!("; nothing is changed now: {why}")).unwrap_or_default();
    let Some(level) = level else {
        let message = match progress.to_restore {
            0 if progress.is_lost => {
                "it is not in force; which levels pods had before it is lost, and they have what they have"
                    .to_owned()
            }
            0 => "it is not in force; no pod has its level".to_owned(),
            left => {
                format!(
                    "it is not in force; {left} pods do not have the level before yet{}",
                    progress.names()
                )
            }
        };
        return (false, "NotInForce", format!("{message}{trouble}"));
    };
    let all = progress.pushed + progress.waiting + progress.failures;
    let overruled = match progress.overruled {
        0 => String::new(),
        many => format!("; in {many} another level config decides"),
    };
    let message =
        format!("{} of {all} pods have {level}{}{overruled}{trouble}", progress.pushed, progress.names());
    match (progress.failures, progress.waiting, pushed.configs.contains_key(uid) && pushed.trouble.is_none())
    {
        (0, 0, true) => (true, "AllPods", message),
        (0, ..) if progress.pushed > 0 => (false, "PodsPending", message),
        (0, ..) => (false, "Pushing", message),
        _ => (false, "PodsFailed", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_and_names_three() {
        let none = Progress::default();
        let all = Progress { pushed: 2, overruled: 1, ..none.clone() };
        let part = Progress { pushed: 2, waiting: 1, ..none.clone() };
        let mut failed = part.clone();
        (0..5).for_each(|number| failed.failed(format!("shop/p{number}"), "no answer"));
        let mut left = Progress { to_restore: 2, ..none.clone() };
        left.not_restored("shop/a".to_owned(), "no answer");
        let names = "shop/p0 (no answer), shop/p1 (no answer), shop/p2 (no answer)";
        for (progress, level, is_true, reason, message) in [
            (Some(&none), Some(Level::Error), true, "AllPods", "0 of 0 pods have ERROR".to_owned()),
            (
                Some(&all),
                Some(Level::Error),
                true,
                "AllPods",
                "2 of 2 pods have ERROR; in 1 another level config decides".to_owned(),
            ),
            (Some(&part), Some(Level::Warn), false, "PodsPending", "2 of 3 pods have WARN".to_owned()),
            (
                Some(&failed),
                Some(Level::Warn),
                false,
                "PodsFailed",
                format!("2 of 8 pods have WARN: {names}"),
            ),
            (None, Some(Level::Warn), false, "Pushing", "0 of 0 pods have WARN".to_owned()),
            (
                Some(&left),
                None,
                false,
                "NotInForce",
                "it is not in force; 2 pods do not have the level before yet: shop/a (no answer)".to_owned(),
            ),
            (Some(&none), None, false, "NotInForce", "it is not in force; no pod has its level".to_owned()),
        ] {
            let configs = progress.map(|progress| ("u".to_owned(), progress.clone())).into_iter().collect();
            let pushed = Pushed { configs, trouble: None };
            assert_eq!(said(Some(&pushed), "u", level), (is_true, reason, message));
        }
        let away = Pushed { trouble: Some("the API server is away".to_owned()), ..Pushed::default() };
        let (is_true, reason, message) = said(Some(&away), "u", Some(Level::Warn));
        assert!(!is_true && reason == "Pushing" && message.ends_with("the API server is away"), "{message}");
        assert_eq!(said(None, "u", Some(Level::Warn)).1, "Disabled");
    }
}
