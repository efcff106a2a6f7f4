//! Holds readiness as named conditions and liveness as heartbeats. A part starts unready and says why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by all tasks of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    conditions: Mutex<BTreeMap<&'static str, Condition>>,
    heartbeats: Mutex<Vec<Heartbeat>>,
}

/// One thing that must be true for the part to do its work.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    pub ok: bool,
    /// Why not, in words for the person who looks; empty when ok.
    pub message: String,
}

/// Beaten by a loop that must never stand still; liveness fails when it has not for `max_age`.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    name: &'static str,
    max_age: Duration,
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    pub fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

impl Health {
    /// `needed`: the conditions that must all be met; each is unmet ("starting") until it is set.
    pub fn new(needed: &[&'static str]) -> Health {
        let starting = Condition { ok: false, message: "starting".to_owned() };
        Health(Arc::new(Inner {
            started: Instant::now(),
            conditions: Mutex::new(needed.iter().map(|name| (*name, starting.clone())).collect()),
            heartbeats: Mutex::default(),
        }))
    }

    /// Sets a condition; a change is logged once. `Err` says why not.
    pub fn set(&self, name: &'static str, state: Result<(), String>) {
        let next = match state {
            Ok(()) => Condition { ok: true, message: String::new() },
            Err(message) => Condition { ok: false, message },
        };
        let mut conditions = self.0.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = conditions.insert(name, next.clone());
        if previous.as_ref() != Some(&next) {
            if next.ok {
                tracing::info!(condition = name, "condition met");
            } else {
                tracing::warn!(condition = name, reason = next.message, "condition not met");
            }
        }
    }

    pub fn heartbeat(&self, name: &'static str, max_age: Duration) -> Heartbeat {
        let heartbeat =
            Heartbeat { name, max_age, started: self.0.started, last_ms: Arc::new(AtomicU64::new(0)) };
        heartbeat.beat();
        self.0.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).push(heartbeat.clone());
        heartbeat
    }

    pub fn conditions(&self) -> BTreeMap<&'static str, Condition> {
        self.0.conditions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `Err` lists every condition that is not met, one a line.
    pub fn ready(&self) -> Result<(), String> {
        let lines: Vec<String> = self
            .conditions()
            .iter()
            .filter(|(_, condition)| !condition.ok)
            .map(|(name, condition)| format!("{name}: {}", condition.message))
            .collect();
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }

    /// `Err` lists every loop that stands still.
    pub fn alive(&self) -> Result<(), String> {
        let heartbeats = self.0.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = heartbeats
            .iter()
            .filter(|heartbeat| heartbeat.age() > heartbeat.max_age)
            .map(|heartbeat| format!("{} has not moved for {:?}", heartbeat.name, heartbeat.age()))
            .collect();
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unready_until_every_condition_is_met_and_says_which_is_not() {
        let health = Health::new(&["kafka", "pods"]);
        assert_eq!(health.ready(), Err("kafka: starting\npods: starting".to_owned()));
        health.set("kafka", Ok(()));
        health.set("pods", Err("forbidden: list pods".to_owned()));
        assert_eq!(health.ready(), Err("pods: forbidden: list pods".to_owned()));
        health.set("pods", Ok(()));
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_loop_that_stands_still_is_named() {
        let health = Health::new(&[]);
        let beat = health.heartbeat("reader", Duration::from_millis(20));
        assert_eq!(health.alive(), Ok(()));
        std::thread::sleep(Duration::from_millis(60));
        assert!(health.alive().unwrap_err().starts_with("reader has not moved for"));
        beat.beat();
        assert_eq!(health.alive(), Ok(()));
    }
}
