//! A stream's way to the store: looks a few times a second, gives the engine what they bring, asks again whether the reader still may see it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::filter::Filter;
use cordwood_core::origin::Origin;
use cordwood_store::StoreError;
use cordwood_store::follow::{Follow, News, Step};
use cordwood_store::scope::Scope;
use cordwood_store::search::Cursor;
use tokio::time::Instant;

use super::engine::{Engine, Item, Look, Now, Out};
use super::frame::{End, Frame};
use super::stairs::Stairs;
use crate::Gateway;
use crate::answer::Record;
use crate::audit::{Lasting, Ongoing};
use crate::problem::Problem;
use crate::scope::Caller;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks while PostgreSQL is away, at the most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A stream's rights are asked for again so often.
const RIGHTS_EVERY: Duration = Duration::from_secs(60);
/// Where what was stored during a cut was sealed meanwhile, so much older records than the cut are searched for.
const LATE_US: i64 = 3_600_000_000;
/// Written before others have their turn.
const TURN_RECORDS: usize = 250;

/// Where a stream begins.
#[derive(Clone, Debug)]
pub enum After {
    Now,
    /// A record, or a place between two.
    Record(Cursor),
    /// A frame's cursor.
    Shown(Stairs),
}

impl After {
    /// # Errors
    /// What one looks like.
    pub fn read(text: Option<&str>) -> Result<After, String> {
        let Some(text) = text else { return Ok(After::Now) };
        if let Ok(shown) = text.parse() {
            return Ok(After::Shown(shown));
        }
        match text.parse() {
            Ok(record) => Ok(After::Record(record)),
            Err(_) => Err(format!(
                "{:?} is neither the id of a record (as 1795240800000000.0-17-3) nor the cursor of a frame",
                text.chars().take(100).collect::<String>()
            )),
        }
    }
}

/// What is looked through.
#[derive(Debug)]
enum Source {
    Open(Follow),
    /// To be opened, behind what was shown.
    Behind(Stairs),
}

type Looking = Pin<Box<dyn Future<Output = (Source, Result<Look, StoreError>)> + Send>>;

pub struct Session {
    gateway: Arc<Gateway>,
    caller: Caller,
    filter: Arc<Filter>,
    engine: Engine,
    /// Goes on where it was when its waiter was called away.
    looking: Option<Looking>,
    source: Option<Source>,
    wait: Duration,
    began: Instant,
    rights_due: Instant,
    told: Ongoing,
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn go_back(follow: &mut Follow, shown: &Stairs) {
    let from = Cursor::end_of(shown.looked_us.saturating_sub(LATE_US));
    follow.go_back(shown.first().cloned().unwrap_or_default(), from);
}

impl Session {
    pub async fn begin(
        gateway: Arc<Gateway>,
        caller: Caller,
        filter: Filter,
        after: After,
        credit: u64,
    ) -> Result<Session, StoreError> {
        let mut follow = Follow::from_now(&gateway.store).await?;
        let place = follow.place().clone();
        let shown = match after {
            After::Now => Stairs::of(Step { place, upto: None }, now_us()),
            After::Record(cursor) => Stairs::of(Step { place, upto: Some(cursor) }, now_us()),
            After::Shown(shown) => shown.within(&place),
        };
        go_back(&mut follow, &shown);
        let told = caller.look.lasts(Lasting::Stream);
        Ok(Session {
            told,
            gateway,
            caller,
            filter: Arc::new(filter),
            engine: Engine::new(shown, credit),
            looking: None,
            source: Some(Source::Open(follow)),
            wait: Duration::ZERO,
            began: Instant::now(),
            rights_due: Instant::now() + RIGHTS_EVERY,
        })
    }

    pub fn credit(&mut self, more: u64) {
        self.engine.credit(more);
    }

    pub fn pause(&mut self) {
        self.engine.pause();
    }

    pub fn cursor(&self) -> String {
        self.engine.cursor().to_string()
    }

    /// Goes on behind what was shown, with another filter; `asked`: as its reader wrote it.
    pub fn change(&mut self, filter: Filter, asked: &str) {
        self.caller.look.about("frame", asked);
        self.told = self.caller.look.lasts(Lasting::Stream);
        self.filter = Arc::new(filter);
        self.reopen();
    }

    fn reopen(&mut self) {
        let shown = self.engine.cursor().clone();
        self.engine = Engine::new(shown.clone(), self.engine.credit_left());
        self.looking = None;
        self.source = Some(Source::Behind(shown));
        self.wait = Duration::ZERO;
    }

    /// The next frame. Given up before its end, it has lost nothing.
    ///
    /// # Errors
    /// Why there is none any more.
    pub async fn frame(&mut self) -> Result<Frame, (End, Option<Problem>)> {
        let frame = self.next_frame().await;
        if frame.is_err() {
            self.told.ended("ended");
        }
        frame
    }

    async fn next_frame(&mut self) -> Result<Frame, (End, Option<Problem>)> {
        loop {
            if Instant::now() >= self.rights_due {
                self.ask_rights().await?;
            }
            if let Some(out) = self.engine.next() {
                self.gateway.metrics.streamed(&out);
                if let Out::Records { items, .. } = &out {
                    self.caller.look.shown(items.len() as u64);
                }
                return Ok(Frame::of(out));
            }
            let rights_due = self.rights_due;
            tokio::select! {
                () = tokio::time::sleep_until(rights_due) => {}
                looked = self.look(), if self.engine.wants_look() => {
                    looked.map_err(|error| (End::Failed, Some(Problem::store(&error))))?;
                }
            }
        }
    }

    async fn ask_rights(&mut self) -> Result<(), (End, Option<Problem>)> {
        let Caller { identity, scope, .. } = &self.caller;
        match self.gateway.still_allowed(identity, scope).await {
            Ok(true) => {
                self.rights_due = Instant::now() + RIGHTS_EVERY;
                Ok(())
            }
            Ok(false) if self.gateway.still_knows(identity).await => Err((End::Withdrawn, None)),
            Ok(false) => Err((End::TokenOver, None)),
            Err(problem) => Err((End::Restart, Some(problem))),
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let looking = match &mut self.looking {
            Some(looking) => looking,
            None => {
                let source =
                    self.source.take().unwrap_or_else(|| Source::Behind(self.engine.cursor().clone()));
                let (gateway, scope) = (Arc::clone(&self.gateway), self.caller.scope.clone());
                let (filter, wait) = (Arc::clone(&self.filter), self.wait);
                self.looking.insert(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    look(&gateway, source, &scope, &filter).await
                }))
            }
        };
        let (source, look) = looking.as_mut().await;
        self.looking = None;
        self.source = Some(source);
        match look {
            Ok(look) => {
                self.wait = if look.more { Duration::ZERO } else { LOOK_EVERY };
                let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.engine.take(look, Now { wall_us: now_us(), ms });
            }
            Err(error) if error.is_transient() => self.wait = (self.wait * 2).clamp(LOOK_EVERY, RETRY_MAX),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

async fn look(
    gateway: &Gateway,
    source: Source,
    scope: &Scope,
    filter: &Filter,
) -> (Source, Result<Look, StoreError>) {
    let mut follow = match source {
        Source::Open(follow) => follow,
        Source::Behind(shown) => match Follow::from_now(&gateway.store).await {
            Ok(mut follow) => {
                go_back(&mut follow, &shown);
                follow
            }
            Err(error) => return (Source::Behind(shown), Err(error)),
        },
    };
    let look = match follow.next(scope, filter).await {
        Ok(news) => Ok(written(&follow, news).await),
        Err(error) => Err(error),
    };
    (Source::Open(follow), look)
}

async fn written(follow: &Follow, news: News) -> Look {
    let nowhere = Origin::default();
    let mut items = Vec::with_capacity(news.records.len());
    for records in news.records.chunks(TURN_RECORDS) {
        for record in records {
            match Record::json(record, follow.origin(record.origin).unwrap_or(&nowhere)) {
                Ok(json) => items.push(Item { at: record.cursor(), json }),
                Err(error) => tracing::error!(%error, "a record could not be written"),
            }
        }
        tokio::task::yield_now().await;
    }
    Look {
        items,
        reach: news.reach,
        is_search: news.catching_up,
        more: news.more,
        is_lost: news.gap,
        unknown_before: news.unknown_before,
    }
}
