//! Decides which records are written: by a level, levels of targets, and the switch of scopes; permanently, or for a while.
//! Promises: a question costs one atomic load where there are no targets; a temporary setting ends by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::level::{Level, Threshold};
use crate::settings::{Environment, LevelSetting};

/// What is in force at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub level: Threshold,
    pub targets: BTreeMap<String, Threshold>,
    /// Whether scopes write their entries and exits.
    pub scopes: bool,
    /// Services that have levels of their own.
    services: BTreeMap<String, LevelSetting>,
}

/// A change: what it does not name stays as it is permanently set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub level: Option<Threshold>,
    /// Replaces all targets.
    pub targets: Option<BTreeMap<String, Threshold>>,
    pub scopes: Option<bool>,
    /// The change is over after this time; `None`: it is permanent.
    pub ttl: Option<Duration>,
}

/// The levels of a process; they may change while it runs.
pub struct Levels {
    environment: Environment,
    /// The lowest level that anything lets through, as a number; [`NOTHING`] when nothing is.
    lowest: AtomicU8,
    /// The level counts for all: there are no targets and no services.
    is_plain: AtomicBool,
    scopes: AtomicBool,
    now: RwLock<Arc<Setting>>,
    state: Mutex<State>,
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Debug)]
struct State {
    permanent: Setting,
    ends: Option<Instant>,
}

const NOTHING: u8 = Level::ALL.len() as u8;

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Levels").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Setting {
    fn threshold(&self, service: &str, target: &str) -> Threshold {
        let of_service = self.services.get(service);
        let own = of_service.map(|own| own.targets.iter().map(|(name, level)| (name.as_str(), *level)));
        let shared = self.targets.iter().map(|(name, level)| (name.as_str(), *level));
        let longest = own
            .into_iter()
            .flatten()
            .chain(shared)
            .filter(|(name, _)| is_within(target, name))
            // (Of equals the first is kept: the service's own.)
            .fold(None, |best: Option<(&str, Threshold)>, (name, level)| match best {
                Some((known, _)) if known.len() >= name.len() => best,
                _ => Some((name, level)),
            });
        longest.map_or_else(|| of_service.and_then(|own| own.level).unwrap_or(self.level), |(_, level)| level)
    }

    fn lowest(&self) -> Threshold {
        let of_services = self.services.values();
        let all = std::iter::once(self.level)
            .chain(self.targets.values().copied())
            .chain(of_services.clone().filter_map(|own| own.level))
            .chain(of_services.flat_map(|own| own.targets.iter().map(|(_, level)| *level)));
        all.flatten().min()
    }
}

/// Whether a logger's name is a target's: it is the same, or goes on behind it with a separator.
fn is_within(logger: &str, target: &str) -> bool {
    logger.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':', '/']))
}

impl Levels {
    pub(crate) fn of(environment: &Environment, service: &str) -> Levels {
        let shared = environment.levels("CORDWOOD_LEVEL").unwrap_or_default();
        let permanent = Setting {
            level: shared.level_or_info(),
            targets: shared.targets.into_iter().collect(),
            scopes: environment.switch("CORDWOOD_SCOPES").unwrap_or(false),
            services: BTreeMap::new(),
        };
        let levels = Levels {
            environment: environment.clone(),
            lowest: AtomicU8::new(0),
            is_plain: AtomicBool::new(false),
            scopes: AtomicBool::new(false),
            now: RwLock::new(Arc::new(permanent.clone())),
            state: Mutex::new(State { permanent: permanent.clone(), ends: None }),
            on_change: OnceLock::new(),
        };
        levels.put_in_force(permanent);
        levels.know_service(service);
        levels
    }

    /// What is called after each change.
    pub(crate) fn when_changed(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_change.set(Box::new(tell));
    }

    /// Reads the levels of a service from the environment.
    pub(crate) fn know_service(&self, service: &str) {
        let Some(own) = self.environment.levels_of_service(service) else { return };
        {
            let mut state = self.state();
            if state.permanent.services.contains_key(service) {
                return;
            }
            state.permanent.services.insert(service.to_owned(), own);
            if state.ends.is_none() {
                self.put_in_force(state.permanent.clone());
            }
        }
        self.tell();
    }

    /// Whether a record is written. Audit records are, whatever this says.
    #[inline]
    pub fn enabled(&self, level: Level, service: &str, logger: &str) -> bool {
        if (level as u8) < self.lowest.load(Ordering::Relaxed) {
            return false;
        }
        self.is_plain.load(Ordering::Relaxed)
            || self.setting().threshold(service, logger).is_some_and(|least| level >= least)
    }

    /// Whether scopes are written at all.
    #[inline]
    pub fn scopes(&self) -> bool {
        self.scopes.load(Ordering::Relaxed)
    }

    /// What is in force.
    pub fn setting(&self) -> Arc<Setting> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is left of a temporary change.
    pub fn remaining(&self) -> Option<Duration> {
        self.state().ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// Changes what is in force; at once, on all threads.
    pub fn change(&self, change: Change) {
        {
            let mut state = self.state();
            let mut next = state.permanent.clone();
            if let Some(level) = change.level {
                next.level = level;
                next.services.values_mut().for_each(|own| own.level = None);
            }
            if let Some(targets) = change.targets {
                next.targets = targets;
                next.services.values_mut().for_each(|own| own.targets.clear());
            }
            next.scopes = change.scopes.unwrap_or(next.scopes);
            // (A time that is longer than the clock is for ever.)
            state.ends = change.ttl.and_then(|ttl| Instant::now().checked_add(ttl));
            if state.ends.is_none() {
                state.permanent = next.clone();
            }
            self.put_in_force(next);
        }
        self.tell();
    }

    /// Ends a temporary change whose time is over. When the present one ends, if there is one.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        {
            let mut state = self.state();
            match state.ends {
                Some(ends) if ends <= now => {
                    state.ends = None;
                    self.put_in_force(state.permanent.clone());
                }
                other => return other,
            }
        }
        self.tell();
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_in_force(&self, setting: Setting) {
        let lowest = setting.lowest().map_or(NOTHING, |level| level as u8);
        let is_plain = setting.targets.is_empty() && setting.services.is_empty();
        // While it changes nothing is plain: who asks meanwhile reads the whole.
        self.is_plain.store(false, Ordering::Relaxed);
        self.scopes.store(setting.scopes, Ordering::Relaxed);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setting);
        self.lowest.store(lowest, Ordering::Relaxed);
        self.is_plain.store(is_plain, Ordering::Relaxed);
    }

    fn tell(&self) {
        if let Some(tell) = self.on_change.get() {
            tell();
        }
        tracing::callsite::rebuild_interest_cache();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_change_gives_way_to_what_is_permanent() {
        let levels = Levels::of(&Environment::of(|_| None), "shop");
        let debug = |levels: &Levels| levels.enabled(Level::Debug, "shop", "shop");
        assert!(!debug(&levels) && levels.enabled(Level::Info, "shop", "shop"));
        let hour = Duration::from_secs(3_600);
        levels.change(Change {
            level: Some(Some(Level::Debug)),
            scopes: Some(true),
            ttl: Some(hour),
            ..Change::default()
        });
        assert!(debug(&levels) && levels.scopes() && levels.remaining().is_some());
        assert!(levels.expire(Instant::now()).is_some() && debug(&levels));
        assert_eq!(levels.expire(Instant::now() + 2 * hour), None);
        assert!(!debug(&levels) && !levels.scopes() && levels.remaining().is_none());
        // A second temporary change is one to the permanent setting, not to the first.
        levels.change(Change { level: Some(None), ttl: Some(hour), ..Change::default() });
        levels.change(Change { scopes: Some(true), ttl: Some(hour), ..Change::default() });
        assert!(levels.enabled(Level::Info, "shop", "shop") && levels.scopes());
    }
}
