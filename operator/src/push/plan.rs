//! Plans which loggers of which pods get which level next, and what a config's status says of it. No I/O.
//!
//! A logger of a pod is on its way from "to push" to "pushed", or "failed" and tried again later; at the end from "to restore" to forgotten.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use cordwood_core::level::Level;
use cordwood_core::levels::LevelRule;
use cordwood_crds::levels::PushSpec;

use super::kept::{Kept, Key};
use super::pods::SeenPod;
use super::progress::Progress;

/// The first wait after a failure, and the longest.
const RETRY_MS: i64 = 1_000;
const RETRY_MS_MAX: i64 = 300_000;
/// Loggers that are asked in one pass.
pub const WORK_MAX: usize = 128;

/// A level config in force that is to be pushed.
#[derive(Clone, Debug)]
pub struct Want {
    /// The config's.
    pub uid: String,
    pub rule: LevelRule,
    pub push: PushSpec,
    pub target: String,
}

/// What is to be done with a logger.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Of the config with this UID and id.
    Push {
        config: String,
        config_id: String,
        level: Level,
        starts: i64,
        push: PushSpec,
    },
    Restore {
        push: PushSpec,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    pub namespace: String,
    pub pod: String,
    pub key: Key,
    pub what: What,
}

impl Work {
    pub fn push(&self) -> &PushSpec {
        match &self.what {
            What::Push { push, .. } | What::Restore { push } => push,
        }
    }
}

/// Which config decides for each logger of the pods that were listed.
#[derive(Debug, Default)]
pub struct Assigned<'a> {
    loggers: BTreeMap<Key, (&'a Want, &'a SeenPod)>,
    /// By UID of the config: pods in which another one decides.
    overruled: BTreeMap<&'a str, usize>,
}

/// The one that decides is the one whose rule does.
pub fn assign<'a>(wants: &'a [Want], pods: &'a [SeenPod], exempt: &BTreeSet<String>) -> Assigned<'a> {
    let mut in_order: Vec<&Want> = wants.iter().collect();
    in_order.sort_by(|one, other| other.rule.precedence().cmp(&one.rule.precedence()));
    let mut assigned = Assigned::default();
    for pod in pods {
        for want in in_order.iter().filter(|want| pod.is_matched_by(&want.rule, exempt)) {
            let key = (pod.uid.clone(), want.target.clone());
            match assigned.loggers.entry(key) {
                Entry::Occupied(_) => *assigned.overruled.entry(&want.uid).or_default() += 1,
                Entry::Vacant(free) => drop(free.insert((want, pod))),
            }
        }
    }
    assigned
}

/// Failures, and when each is tried again.
#[derive(Debug, Default)]
pub struct Tries(BTreeMap<Key, Try>);

#[derive(Debug)]
struct Try {
    count: u32,
    next_ms: i64,
    why: String,
}

impl Tries {
    pub fn failed(&mut self, key: &Key, why: String, now_ms: i64) {
        let count = self.0.get(key).map_or(0, |known| known.count.saturating_add(1));
        let wait_ms = RETRY_MS.saturating_mul(1 << count.min(20)).min(RETRY_MS_MAX);
        self.0.insert(key.clone(), Try { count, next_ms: now_ms.saturating_add(wait_ms), why });
    }

    pub fn succeeded(&mut self, key: &Key) {
        self.0.remove(key);
    }

    fn waits(&self, key: &Key, now_ms: i64) -> bool {
        self.0.get(key).is_some_and(|known| known.next_ms > now_ms)
    }

    fn why(&self, key: &Key) -> Option<&str> {
        self.0.get(key).map(|known| known.why.as_str())
    }

    /// When the first of those is tried again that wait now.
    pub fn next_ms(&self, now_ms: i64) -> Option<i64> {
        self.0.values().map(|known| known.next_ms).filter(|next_ms| *next_ms > now_ms).min()
    }

    /// Forgets loggers of which nobody wants anything any more.
    pub fn retain(&mut self, assigned: &Assigned<'_>, kept: &Kept) {
        self.0.retain(|key, _| assigned.loggers.contains_key(key) || kept.get(key).is_some());
    }
}

/// What is to be done now, what ends first: at most [`WORK_MAX`], and whether there is more. `is_whole`: all pods were listed.
pub fn work(
    assigned: &Assigned<'_>,
    kept: &Kept,
    tries: &Tries,
    is_whole: bool,
    now_ms: i64,
) -> (Vec<Work>, bool) {
    let wanted: BTreeSet<&str> = assigned.loggers.values().map(|(want, _)| want.uid.as_str()).collect();
    let mut work = Vec::new();
    for entry in kept.all() {
        let key = entry.key();
        let is_over = !assigned.loggers.contains_key(&key);
        if is_over
            && (is_whole || !wanted.contains(entry.config.as_str()))
            && !tries.waits(&key, now_ms)
            && let Some(push) = kept.way(&entry.target)
        {
            let (namespace, pod) = (entry.namespace.clone(), entry.pod.clone());
            work.push(Work { namespace, pod, key, what: What::Restore { push: push.clone() } });
        }
    }
    for (key, (want, pod)) in &assigned.loggers {
        if pod.place.is_err()
            || has_it(kept, key, want, pod)
            || is_lost(kept, key, want, pod)
            || tries.waits(key, now_ms)
        {
            continue;
        }
        let what = What::Push {
            config: want.uid.clone(),
            config_id: want.rule.id.clone(),
            level: want.rule.level,
            starts: pod.starts,
            push: want.push.clone(),
        };
        let (namespace, pod) = (pod.namespace.clone(), pod.name.clone());
        work.push(Work { namespace, pod, key: key.clone(), what });
    }
    let has_more = work.len() > WORK_MAX;
    work.truncate(WORK_MAX);
    (work, has_more)
}

fn has_it(kept: &Kept, key: &Key, want: &Want, pod: &SeenPod) -> bool {
    kept.get(key).is_some_and(|entry| {
        entry.done
            && entry.config == want.uid
            && entry.levels.last() == Some(&want.rule.level)
            && entry.starts == pod.starts
    })
}

/// It may have been told a level, and nobody knows which one it had.
fn is_lost(kept: &Kept, key: &Key, want: &Want, pod: &SeenPod) -> bool {
    let is_older = |lost_ms| pod.created_ms <= lost_ms;
    kept.get(key).is_none() && kept.lost_before_ms(&want.uid).is_some_and(is_older)
}

/// By the config's UID: how far it is.
pub fn progress_of(
    wants: &[Want],
    assigned: &Assigned<'_>,
    kept: &Kept,
    tries: &Tries,
) -> BTreeMap<String, Progress> {
    let mut all: BTreeMap<String, Progress> = BTreeMap::new();
    for want in wants {
        let overruled = assigned.overruled.get(want.uid.as_str()).copied().unwrap_or(0);
        all.entry(want.uid.clone()).or_default().overruled = overruled;
    }
    for (key, (want, pod)) in &assigned.loggers {
        let one = all.entry(want.uid.clone()).or_default();
        if has_it(kept, key, want, pod) {
            one.pushed += 1;
        } else if is_lost(kept, key, want, pod) {
            one.failed(pod.said(), "which level it had before is lost: nothing is changed there");
        } else if let Err(why) = pod.place {
            one.failed(pod.said(), why);
        } else if let Some(why) = tries.why(key) {
            one.failed(pod.said(), why);
        } else {
            one.waiting += 1;
        }
    }
    for config in kept.lost() {
        all.entry(config.clone()).or_default().is_lost = true;
    }
    for entry in kept.all() {
        let key = entry.key();
        if assigned.loggers.contains_key(&key) {
            continue;
        }
        let one = all.entry(entry.config.clone()).or_default();
        one.to_restore += 1;
        if let Some(why) = tries.why(&key) {
            one.not_restored(format!("{}/{}", entry.namespace, entry.pod), why);
        }
    }
    all
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
