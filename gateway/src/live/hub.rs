//! The hub looks at the end of the store for all streams, and keeps what the last looks found. A stream that lags behind these looks reads the store
//! by itself until it has caught up; so does a stream that begins in the past.
//!
//! The writers' commits wake the hub. It also looks from time to time, in case a wake-up is lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cordwood_core::task::DeletedTasks;
use cordwood_store::follow::{Feed, Fresh, Place};
use cordwood_store::wake::Wakes;
use cordwood_store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::scope::StoredNames;

/// Between two looks that nobody asks for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same while every commit wakes.
const LOOK_EVERY_WOKEN: Duration = Duration::from_secs(1);
/// Between two looks while PostgreSQL is away, at the most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A server that takes bytes and answers nothing.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts to hear of commits.
const LISTEN_EVERY: Duration = Duration::from_secs(5);
/// Between the beginnings of two looks, and for each stream besides: all of them look through what one brings.
const SPACE: Duration = Duration::from_millis(10);
const SPACE_PER_STREAM: Duration = Duration::from_micros(10);
/// Kept looks, and their unpacked bytes but for the newest.
const LOOKS_MAX: usize = 256;
const LOOKS_BYTES_MAX: usize = 32 << 20;
/// Streams that look for themselves at a time: each look has its own copy of what it reads.
const OWN_LOOKS_MAX: usize = 2;

#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// The number that the next look with news will have.
    news: watch::Sender<u64>,
    /// How many looks have ended.
    ended: watch::Sender<u64>,
    wanted: Notify,
    /// Somebody told of a commit since the last look.
    is_woken: AtomicBool,
    streams: AtomicUsize,
    own_looks: Semaphore,
    has_redis: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// With their numbers, which follow each other.
    looks: VecDeque<(u64, Arc<Fresh>)>,
    bytes: usize,
    next: u64,
    /// Where the last look ended; none while nobody looks.
    place: Option<Arc<Place>>,
    /// As of the last look: what is kept of those before it knows fewer.
    deleted: Arc<DeletedTasks>,
    begun: u64,
    ended: u64,
    /// Of the last look.
    failure: Option<Arc<StoreError>>,
}

/// Counts a stream as long as it is held.
#[derive(Debug)]
pub struct Member(Arc<Hub>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What there is of a number.
#[derive(Debug)]
pub enum Next {
    /// And whether there is another one already.
    Look(Arc<Fresh>, bool),
    /// It is no longer kept.
    Gone,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            state: Mutex::default(),
            news: watch::Sender::new(0),
            ended: watch::Sender::new(0),
            wanted: Notify::new(),
            is_woken: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            own_looks: Semaphore::new(OWN_LOOKS_MAX),
            has_redis: AtomicBool::new(false),
        }
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who tells of commits first.
    pub fn feed(&self) -> &'static str {
        if self.has_redis.load(Ordering::Relaxed) { "redis" } else { "postgresql" }
    }

    /// Redis is there, or away. Returns what it was.
    pub fn set_redis(&self, is_there: bool) -> bool {
        self.has_redis.swap(is_there, Ordering::Relaxed)
    }

    /// Something was committed.
    pub fn wake(&self) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    pub fn join(self: &Arc<Hub>) -> Member {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Member(Arc::clone(self))
    }

    /// What is stored by now, and the number of the look that follows.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn now(&self) -> Result<(Arc<Place>, u64), Arc<StoreError>> {
        let ticket = self.state().begun + 1;
        let mut ended = self.ended.subscribe();
        self.wanted.notify_one();
        loop {
            // (The sender is here: it does not go.)
            let _ = ended.wait_for(|ended| *ended >= ticket).await;
            let state = self.state();
            if let Some(error) = &state.failure {
                return Err(Arc::clone(error));
            }
            if let Some(place) = &state.place {
                return Ok((Arc::clone(place), state.next));
            }
        }
    }

    /// The look of this number, once there is one.
    ///
    /// # Errors
    /// When the store will not answer.
    pub async fn next(&self, number: u64) -> Result<Next, Arc<StoreError>> {
        let mut news = self.news.subscribe();
        loop {
            {
                let state = self.state();
                let oldest = state.looks.front().map_or(state.next, |(oldest, _)| *oldest);
                let place = number.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
                match place {
                    None => return Ok(Next::Gone),
                    Some(place) => {
                        if let Some((_, look)) = state.looks.get(place) {
                            return Ok(Next::Look(Arc::clone(look), look.more || number + 1 < state.next));
                        }
                    }
                }
                if let Some(error) = state.failure.as_ref().filter(|error| !error.is_transient()) {
                    return Err(Arc::clone(error));
                }
                news.mark_unchanged();
            }
            let _ = news.changed().await;
        }
    }

    /// The number of the look that who has seen all up to a place goes on with, unless what lies between is not kept.
    pub fn after(&self, place: &Place) -> Option<u64> {
        let state = self.state();
        let newest = state.place.as_ref()?;
        if place.has_seen(newest) {
            return Some(state.next);
        }
        let seen = state.looks.iter().rev().find(|(_, look)| place.has_seen(&look.before));
        seen.map(|(number, _)| *number)
    }

    /// The tasks whose records are to be shown no more.
    pub fn deleted(&self) -> Arc<DeletedTasks> {
        Arc::clone(&self.state().deleted)
    }

    /// A stream's turn to look for itself.
    pub async fn own_look(&self) -> Option<SemaphorePermit<'_>> {
        self.own_looks.acquire().await.ok()
    }

    /// Looks, as long as there are streams. Ends with its caller.
    pub async fn run(&self, store: &Store, names: &StoredNames) {
        let mut watcher = Watcher::new(store);
        loop {
            if self.streams.load(Ordering::Relaxed) == 0 {
                watcher.rest();
                self.state().rest();
                self.wanted.notified().await;
                if self.streams.load(Ordering::Relaxed) == 0 {
                    continue;
                }
            }
            let began = Instant::now();
            let was_woken = self.is_woken.swap(false, Ordering::Relaxed);
            self.state().begun += 1;
            let looked = tokio::time::timeout(LOOK_TIMEOUT, watcher.look()).await;
            let looked = looked.unwrap_or_else(|_| Err(store.no_answer(LOOK_TIMEOUT)));
            if let Ok(Some(look)) = &looked {
                // Before a stream looks through the records: a stream whose reader may see these names asks for them first.
                names.hear(look.origins());
            }
            let wait = self.take(looked, was_woken, &mut watcher);
            let streams = u32::try_from(self.streams.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
            tokio::time::sleep_until(began + SPACE + SPACE_PER_STREAM.saturating_mul(streams)).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wanted.notified() => {}
                () = watcher.heard() => self.is_woken.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Returns how long to wait for the next look.
    fn take(
        &self,
        looked: Result<Option<Fresh>, StoreError>,
        was_woken: bool,
        watcher: &mut Watcher,
    ) -> Duration {
        let mut state = self.state();
        let (mut has_news, wait) = match looked {
            Ok(look) => {
                watcher.pause = LOOK_EVERY;
                state.failure = None;
                state.place = watcher.feed.as_ref().map(|feed| Arc::clone(feed.place()));
                if let Some(look) = &look {
                    state.deleted = Arc::clone(look.deleted());
                }
                let is_more = look.as_ref().is_some_and(|look| look.more);
                let news = look.filter(|look| look.gap || look.before != look.after);
                if news.is_some() {
                    // The hub trusts the part that wakes it until a look finds records that nobody told of.
                    watcher.is_told = was_woken;
                }
                let wait = if watcher.is_told { LOOK_EVERY_WOKEN } else { LOOK_EVERY };
                let has_news = news.is_some();
                news.into_iter().for_each(|look| state.keep(look));
                (has_news, if is_more { Duration::ZERO } else { wait })
            }
            Err(error) => {
                let wait = watcher.pause;
                watcher.pause = (wait * 2).min(RETRY_MAX);
                if !error.is_transient() {
                    tracing::warn!(%error, "live streams cannot go on");
                }
                state.failure = Some(Arc::new(error));
                (false, wait)
            }
        };
        state.ended = state.begun;
        has_news |= state.failure.is_some();
        let (next, ended) = (state.next, state.ended);
        drop(state);
        if has_news {
            self.news.send_replace(next);
        }
        self.ended.send_replace(ended);
        wait
    }
}

impl State {
    fn keep(&mut self, look: Fresh) {
        self.bytes += look.bytes();
        self.looks.push_back((self.next, Arc::new(look)));
        self.next += 1;
        while self.looks.len() > LOOKS_MAX || (self.bytes > LOOKS_BYTES_MAX && self.looks.len() > 1) {
            let Some((_, gone)) = self.looks.pop_front() else { return };
            self.bytes -= gone.bytes();
        }
    }

    /// What comes next does not follow what is kept.
    fn rest(&mut self) {
        self.looks.clear();
        self.bytes = 0;
        self.place = None;
        self.next += 1;
    }
}

/// Who looks, and who tells it of commits.
struct Watcher<'s> {
    store: &'s Store,
    feed: Option<Feed>,
    wakes: Option<Wakes>,
    listen_at: Instant,
    is_told: bool,
    /// Before the next attempt, should one fail.
    pause: Duration,
}

impl Watcher<'_> {
    fn new(store: &Store) -> Watcher<'_> {
        let listen_at = Instant::now();
        Watcher { store, feed: None, wakes: None, listen_at, is_told: false, pause: LOOK_EVERY }
    }

    fn rest(&mut self) {
        (self.feed, self.wakes, self.is_told) = (None, None, false);
        self.listen_at = Instant::now();
    }

    /// Nothing when this is where it begins.
    async fn look(&mut self) -> Result<Option<Fresh>, StoreError> {
        if self.wakes.is_none() && self.listen_at <= Instant::now() {
            self.listen_at = Instant::now() + LISTEN_EVERY;
            match Wakes::listen(self.store).await {
                Ok(wakes) => self.wakes = Some(wakes),
                Err(error) => tracing::debug!(%error, "commits are not told: looking from time to time"),
            }
        }
        match &mut self.feed {
            Some(feed) => feed.next().await.map(Some),
            None => {
                self.feed = Some(Feed::from_now(self.store).await?);
                Ok(None)
            }
        }
    }

    /// A commit is told.
    async fn heard(&mut self) {
        let Some(wakes) = &mut self.wakes else { return std::future::pending().await };
        if wakes.next().await.is_none() {
            self.wakes = None;
        }
    }
}
