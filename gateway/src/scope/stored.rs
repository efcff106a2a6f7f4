//! Keeps the names of the tenants and namespaces that have records or an announced task, because rights are asked for by name. Names come from
//! live streams, from announcements, and from time to time from the store. No name is ever removed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::limits::ACCESS_NAMES_MAX;
use cordwood_core::origin::Origin;
use cordwood_store::{Store, origins};

use crate::problem::Problem;

/// How old what the store said may be, at most and at least: many streams come back at once.
const AGE_MAX: Duration = Duration::from_secs(30);
const AGE_MIN: Duration = Duration::from_millis(250);
/// Asking takes no more of the store than one part of so many.
const SHARE: u32 = 100;

/// Names, as many as can be asked for.
#[derive(Debug, Default)]
struct List {
    /// In the order in which they were heard of.
    names: Vec<String>,
    known: HashSet<String>,
    /// There are more than can be asked for.
    is_over: bool,
}

impl List {
    fn add(&mut self, name: &str) {
        if name.is_empty() || self.is_over || self.known.contains(name) {
            return;
        }
        if self.names.len() >= ACCESS_NAMES_MAX {
            *self = List { is_over: true, ..List::default() };
            return;
        }
        self.names.push(name.to_owned());
        self.known.insert(name.to_owned());
    }

    fn read(&mut self, names: Option<Vec<String>>) {
        match names {
            Some(names) => names.iter().for_each(|name| self.add(name)),
            None => *self = List { is_over: true, ..List::default() },
        }
    }

    fn all(&self) -> Option<Vec<String>> {
        (!self.is_over).then(|| self.names.clone())
    }

    fn beyond(&self, heard: usize) -> Vec<String> {
        self.names.get(heard..).unwrap_or_default().to_vec()
    }
}

#[derive(Debug, Default)]
struct Lists {
    tenants: List,
    namespaces: List,
    /// When the newest name came.
    changed: Option<Instant>,
}

impl Lists {
    fn heard(&self) -> Heard {
        Heard { tenants: self.tenants.names.len(), namespaces: self.namespaces.names.len() }
    }
}

/// How many names of each kind somebody has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    tenants: usize,
    namespaces: usize,
}

/// Of each kind; `None`: more than can be asked for.
#[derive(Debug)]
pub struct Names {
    pub tenants: Option<Vec<String>>,
    pub namespaces: Option<Vec<String>>,
    pub heard: Heard,
}

/// What became known behind a [`Heard`].
#[derive(Debug)]
pub struct Later {
    pub tenants: Vec<String>,
    pub namespaces: Vec<String>,
    pub heard: Heard,
    /// For so long all of these are known: what was said of them before was said of names without records.
    pub age: Duration,
}

/// The last time that the store was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    began: Instant,
    took: Duration,
}

/// How old what the store said may be for a question, where it took so long to say it.
fn age_max(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(AGE_MIN, AGE_MAX)
}

#[derive(Debug, Default)]
pub struct StoredNames {
    lists: Mutex<Lists>,
    /// So many names are known: it grows with each.
    count: AtomicUsize,
    /// Locked while the store is asked.
    asked: tokio::sync::Mutex<Option<Asked>>,
}

impl StoredNames {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Lists)) {
        let mut lists = self.lists();
        let before = lists.heard();
        change(&mut lists);
        if lists.heard() != before {
            lists.changed = Some(Instant::now());
            self.count.fetch_add(1, Ordering::Release);
        }
    }

    pub fn heard(&self) -> Heard {
        self.lists().heard()
    }

    /// Those that are known.
    ///
    /// # Errors
    /// When the store has to be asked and does not answer.
    pub async fn names(&self, store: &Store) -> Result<Names, Problem> {
        self.ask(store, age_max).await?;
        let lists = self.lists();
        Ok(Names { tenants: lists.tenants.all(), namespaces: lists.namespaces.all(), heard: lists.heard() })
    }

    /// Asks the store, for a stream that begins with what was stored before.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask_for_stream(&self, store: &Store) -> Result<(), Problem> {
        self.ask(store, |_| AGE_MIN).await
    }

    async fn ask(&self, store: &Store, age_max: fn(Duration) -> Duration) -> Result<(), Problem> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|last| last.began.elapsed() < age_max(last.took)) {
            return Ok(());
        }
        let began = Instant::now();
        let found = origins::names(store, ACCESS_NAMES_MAX).await.map_err(|error| Problem::store(&error))?;
        self.change(|lists| {
            lists.tenants.read(found.tenants);
            lists.namespaces.read(found.namespaces);
        });
        *asked = Some(Asked { began, took: began.elapsed() });
        Ok(())
    }

    /// Records of these were stored, or a task of theirs was announced.
    pub fn hear<'o>(&self, origins: impl Iterator<Item = &'o Origin>) {
        self.change(|lists| {
            for origin in origins {
                lists.tenants.add(&origin.tenant);
                lists.namespaces.add(&origin.namespace);
            }
        });
    }

    /// It changes with each name that is added.
    pub fn version(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// What was added behind what somebody has asked for.
    pub fn later(&self, heard: Heard) -> Later {
        let lists = self.lists();
        Later {
            tenants: lists.tenants.beyond(heard.tenants),
            namespaces: lists.namespaces.beyond(heard.namespaces),
            heard: lists.heard(),
            age: lists.changed.map(|at| at.elapsed()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str, namespace: &str) -> Origin {
        Origin { tenant: tenant.into(), namespace: namespace.into(), ..Origin::default() }
    }

    #[test]
    fn each_name_is_heard_of_once() {
        let names = StoredNames::default();
        names.hear([of("acme", "shop"), of("acme", ""), of("acme", "bank")].iter());
        let (first, version) = (names.later(Heard::default()), names.version());
        assert_eq!(
            (first.tenants, first.namespaces),
            (vec!["acme".to_owned()], vec!["shop".to_owned(), "bank".to_owned()])
        );
        names.hear([of("acme", "shop")].iter());
        assert_eq!(names.version(), version);
        names.hear([of("rival", "shop")].iter());
        assert_ne!(names.version(), version);
        let later = names.later(first.heard);
        assert_eq!((later.tenants, later.namespaces), (vec!["rival".to_owned()], vec![]));
        assert_ne!(later.heard, first.heard);
    }

    #[test]
    fn what_the_store_says_slowly_is_asked_for_less_often() {
        for (took_ms, age_ms) in [(0, 250), (2, 250), (10, 1_000), (100, 10_000), (400, 30_000)] {
            assert_eq!(age_max(Duration::from_millis(took_ms)), Duration::from_millis(age_ms));
        }
    }

    #[test]
    fn more_names_than_can_be_asked_for_are_none() {
        let names = StoredNames::default();
        for number in 0..=ACCESS_NAMES_MAX {
            assert!(number == 0 || names.lists().namespaces.all().is_some_and(|all| all.len() == number));
            names.hear([of("acme", &format!("n{number}"))].iter());
        }
        assert_eq!(names.lists().namespaces.all(), None);
        // Nobody waits for what cannot be asked for.
        assert!(names.later(Heard::default()).namespaces.is_empty());
        names.hear([of("acme", "another")].iter());
        assert_eq!(names.lists().namespaces.all(), None);
        assert_eq!(names.lists().tenants.all(), Some(vec!["acme".to_owned()]));
    }
}
