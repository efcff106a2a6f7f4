//! A stream's session with the store: searches what the hub found, or reads alone while it lags; hands its reader's records to the engine; checks
//! from time to time whether the reader may still see them.

use std::sync::Arc;
use std::time::Duration;

use cordwood_core::filter::Filter;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::task::{DeletedTasks, TaskKey};
use cordwood_store::StoreError;
use cordwood_store::follow::{Follow, Place, Selection, Step};
use cordwood_store::search::{Cursor, OwnedRecord};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::engine::{Engine, Item, Look, Now, Out};
use super::frame::{End, Frame};
use super::hub::{Member, Next};
use super::stream_cursor::StreamCursor;
use crate::Gateway;
use crate::audit::{Lasting, Ongoing};
use crate::problem::Problem;
use crate::scope::Caller;

/// Between two own looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks while PostgreSQL is away, at the most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// What is known of deleted tasks is asked for again before records are shown that waited longer than since then.
const DELETED_KNOWN_MAX: Duration = Duration::from_millis(250);
/// How long a stream waits before it asks the API server again, which did not say what its reader may see.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Where what was stored during a cut was sealed meanwhile, so much older records than the cut are searched for.
const LATE_US: i64 = 3_600_000_000;
/// Written, or looked through, before others have their turn.
const TURN_RECORDS: usize = 250;
const TURN_PARTS: usize = 16;

/// Where a stream begins.
#[derive(Clone, Debug)]
pub enum After {
    Now,
    /// A record, or a place between two.
    Record(Cursor),
    /// A frame's cursor.
    Shown(StreamCursor),
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
    /// What all streams share, from the look of this number on.
    Shared(u64),
    Own(Box<Follow>),
    /// To be opened, behind what was taken.
    Behind(StreamCursor),
}

/// Beside the stream: it has a turn and a session of PostgreSQL, and gives them back also while its reader takes nothing.
type Looking = AbortOnDropHandle<(Source, Result<Look, StoreError>)>;

/// Why a stream ends.
pub type Over = (End, Option<Problem>);

/// How a record is written.
pub type Form = fn(&OwnedRecord, &Origin) -> serde_json::Result<Box<RawValue>>;

pub struct Session {
    gateway: Arc<Gateway>,
    caller: Caller,
    filter: Filter,
    selection: Selection,
    form: Form,
    engine: Engine,
    /// Seen since, and nothing of it is to be shown.
    passed: Option<Arc<Place>>,
    source: Source,
    /// An own look; it goes on where it was when its waiter was called away.
    looking: Option<Looking>,
    wait: Duration,
    began: Instant,
    rights_due: Instant,
    /// What waits is of none of these, as was known then.
    deleted: (Arc<DeletedTasks>, Instant),
    told: Ongoing,
    _member: Member,
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn go_back(follow: &mut Follow, shown: &StreamCursor) {
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
        form: Form,
    ) -> Result<Session, Over> {
        let member = gateway.hub.join();
        let now = gateway.hub.now().await;
        let (place, next) = now.map_err(|error| {
            let end = if error.is_transient() { End::Restart } else { End::Failed };
            (end, Some(Problem::store(&error)))
        })?;
        let of = |upto| StreamCursor::of(Step { place: Place::clone(&place), upto }, now_us());
        let (shown, source) = match after {
            After::Now => (of(None), Source::Shared(next)),
            After::Record(cursor) => (of(Some(cursor)), Source::Behind(of(Some(cursor)))),
            After::Shown(shown) => {
                let shown = shown.within(&place);
                // Cut off for a moment: what came since is kept.
                let whole = shown.first().filter(|step| step.upto.is_none());
                let kept = whole.and_then(|step| gateway.hub.after(&step.place));
                let source = kept.map_or_else(|| Source::Behind(shown.clone()), Source::Shared);
                (shown, source)
            }
        };
        let began = Instant::now();
        let mut session = Session {
            told: caller.look.lasts(Lasting::Stream),
            selection: Selection::new(&caller.scope, &filter),
            rights_due: gateway.rights_due(&caller),
            deleted: (gateway.hub.deleted(), began),
            gateway,
            caller,
            filter,
            form,
            engine: Engine::new(shown, credit),
            passed: None,
            source,
            looking: None,
            wait: Duration::ZERO,
            began,
            _member: member,
        };
        if matches!(session.source, Source::Shared(number) if number == next) {
            session.pass(&place);
            session.settle();
        }
        Ok(session)
    }

    /// With the scope as it has grown.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn credit(&mut self, more: u64) {
        self.engine.credit(more);
    }

    pub fn pause(&mut self) {
        self.engine.pause();
    }

    pub fn cursor(&mut self) -> String {
        self.settle();
        self.engine.cursor().to_string()
    }

    /// Goes on behind what was shown, with another filter; `asked`: as its reader wrote it.
    ///
    /// # Errors
    /// When it may not: then it is as before.
    pub async fn change(&mut self, filter: Filter, asked: &str) -> Result<(), Problem> {
        self.gateway.see_named(&mut self.caller, &filter).await?;
        self.caller.look.about("frame", asked);
        self.told = self.caller.look.lasts(Lasting::Stream);
        self.settle();
        self.selection = Selection::new(&self.caller.scope, &filter);
        self.filter = filter;
        let shown = self.engine.cursor().clone();
        self.engine = Engine::new(shown.clone(), self.engine.credit_left());
        self.open(Source::Behind(shown));
        Ok(())
    }

    fn open(&mut self, source: Source) {
        self.looking = None;
        self.source = source;
        self.wait = Duration::ZERO;
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall_us: now_us(), ms }
    }

    /// [`Session::next`] as a frame.
    ///
    /// # Errors
    /// Why there is none any more.
    pub async fn frame(&mut self) -> Result<Frame, Over> {
        self.next().await.map(Frame::of)
    }

    /// What is shown next. Given up before its end, it has lost nothing.
    ///
    /// # Errors
    /// Why there is nothing any more.
    pub async fn next(&mut self) -> Result<Out, Over> {
        let out = self.next_out().await;
        if out.is_err() {
            self.told.ended("ended");
        }
        out
    }

    async fn next_out(&mut self) -> Result<Out, Over> {
        loop {
            // What is rare has its own memory while it lasts: each stream is as large as all that it may wait for.
            if Instant::now() >= self.rights_due {
                Box::pin(self.ask_rights()).await?;
            }
            if self.engine.has_task() && !Box::pin(self.forget_deleted()).await {
                continue;
            }
            if let Some(out) = self.engine.next() {
                self.gateway.metrics.streamed(&out);
                if let Out::Records { items, .. } = &out {
                    self.caller.look.shown(items.len() as u64);
                }
                return Ok(out);
            }
            let (rights_due, due_ms) = (self.rights_due, self.engine.due_ms(self.now()));
            tokio::select! {
                () = tokio::time::sleep_until(rights_due) => {}
                () = passed(due_ms) => self.engine.tick(self.now()),
                looked = self.look(), if self.engine.wants_look() => looked?,
            }
        }
    }

    /// Takes away what waits of tasks that were deleted meanwhile. False: nobody knows which those are, and nothing may be shown yet.
    async fn forget_deleted(&mut self) -> bool {
        if self.engine.credit_left() > 0 && self.deleted.1.elapsed() > DELETED_KNOWN_MAX {
            if self.gateway.hub.now().await.is_err() {
                tokio::time::sleep(LOOK_EVERY).await;
                return false;
            }
            self.deleted.1 = Instant::now();
        }
        let deleted = self.gateway.hub.deleted();
        if !Arc::ptr_eq(&deleted, &self.deleted.0) {
            self.engine.forget(&deleted);
            self.deleted.0 = deleted;
        }
        true
    }

    async fn ask_rights(&mut self) -> Result<(), Over> {
        let identity = &self.caller.identity;
        match self.gateway.still_allowed(&self.caller).await {
            Ok(true) => {
                self.rights_due = self.gateway.rights_due(&self.caller);
                // Granted meanwhile, perhaps. What was not asked for now is asked for next time.
                self.see_later_names(true).await;
                Ok(())
            }
            Ok(false) if self.gateway.still_knows(identity).await => Err((End::Withdrawn, None)),
            Ok(false) => Err((End::TokenOver, None)),
            Err(problem) => Err((End::Restart, Some(problem))),
        }
    }

    /// If the reader may see a name that had no records when the stream began, the stream shows it from here on. False: nobody says whether they may.
    async fn see_later_names(&mut self, again: bool) -> bool {
        if !self.gateway.has_later_names(&self.caller, again) {
            return true;
        }
        let seen = Box::pin(self.gateway.see_later_names(&mut self.caller, again)).await;
        if let Ok(true) = seen {
            self.selection = Selection::new(&self.caller.scope, &self.filter);
        }
        seen.is_ok()
    }

    async fn look(&mut self) -> Result<(), Over> {
        match self.source {
            Source::Shared(number) => self.look_at_shared(number).await,
            _ => Box::pin(self.look_alone()).await,
        }
        .map_err(|error| (End::Failed, Some(Problem::store(&error))))
    }

    async fn look_at_shared(&mut self, number: u64) -> Result<(), Arc<StoreError>> {
        let (fresh, more) = match self.gateway.hub.next(number).await? {
            Next::Look(fresh, more) if !fresh.gap => (fresh, more),
            // What was sealed unseen is searched for.
            Next::Look(..) | Next::Gone => {
                self.settle();
                self.open(Source::Behind(self.engine.taken().clone()));
                return Ok(());
            }
        };
        if !self.see_later_names(false).await {
            tokio::time::sleep(ASK_AGAIN).await;
            return Ok(());
        }
        let (deleted, looked) = (self.gateway.hub.deleted(), Instant::now());
        let mut found = Vec::new();
        for part in 0..fresh.parts() {
            fresh.matching(part, &self.selection, &mut found);
            if part % TURN_PARTS == TURN_PARTS - 1 {
                tokio::task::yield_now().await;
            }
        }
        // Since this look a task may have been deleted.
        if !Arc::ptr_eq(&deleted, fresh.deleted()) {
            let is_hidden = |record: &OwnedRecord| {
                fresh.origin(record.origin).is_some_and(|origin| deleted.hide(&record.as_record(), origin))
            };
            found.retain(|record| !is_hidden(record));
        }
        found.sort_by_key(OwnedRecord::cursor);
        let items = written(&found, |id| fresh.origin(id), self.form).await;
        // From here on nothing calls away.
        self.source = Source::Shared(number + 1);
        if items.is_empty() && self.engine.is_at_rest() {
            self.pass(&fresh.after);
        } else {
            self.settle();
            let reach = Step { place: Place::clone(&fresh.after), upto: None };
            self.deleted.1 = looked;
            self.engine.take(Look { items, reach, more, ..Look::default() }, self.now());
        }
        Ok(())
    }

    fn pass(&mut self, place: &Arc<Place>) {
        self.passed = Some(Arc::clone(place));
    }

    /// The cursor says what was passed, too.
    fn settle(&mut self) {
        if let Some(place) = self.passed.take() {
            let reach = Step { place: Arc::unwrap_or_clone(place), upto: None };
            self.engine.take(Look { reach, ..Look::default() }, self.now());
        }
    }

    /// Before a look of its own: what is searched for is that of all names that have records, not of those alone that were known when
    /// the stream began. False: nobody says.
    async fn knows_what_is_stored(&mut self) -> bool {
        let searches = match &self.source {
            Source::Own(follow) => follow.searches(),
            Source::Behind(_) => true,
            Source::Shared(_) => false,
        };
        if searches && self.caller.names_version().is_some() {
            let names = &self.gateway.stored_names;
            if names.ask_for_stream(&self.gateway.store).await.is_err() {
                return false;
            }
        }
        self.see_later_names(false).await
    }

    async fn look_alone(&mut self) -> Result<(), Arc<StoreError>> {
        let looking = match &mut self.looking {
            Some(looking) => looking,
            None => {
                if !self.knows_what_is_stored().await {
                    tokio::time::sleep(ASK_AGAIN).await;
                    return Ok(());
                }
                let behind = Source::Behind(self.engine.taken().clone());
                let source = std::mem::replace(&mut self.source, behind);
                let (gateway, caller) = (Arc::clone(&self.gateway), self.caller.clone());
                let (filter, form, wait) = (self.filter.clone(), self.form, self.wait);
                let looking = tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _turn = gateway.hub.own_look().await;
                    look(&gateway, source, &caller, &filter, form).await
                });
                self.looking.insert(AbortOnDropHandle::new(looking))
            }
        };
        let looked = looking.await;
        self.looking = None;
        let (source, look) = looked.map_err(|error| {
            tracing::error!(%error, "a look at the store was aborted");
            Arc::new(StoreError::Invalid("a look did not come to its end".to_owned()))
        })?;
        self.source = source;
        match look {
            Ok(look) => {
                let is_there = !look.more && !look.is_search;
                self.wait = if look.more { Duration::ZERO } else { LOOK_EVERY };
                self.engine.take(look, self.now());
                if is_there
                    && let Source::Own(follow) = &self.source
                    && let Some(number) = self.gateway.hub.after(follow.place())
                {
                    self.open(Source::Shared(number));
                }
            }
            Err(error) if error.is_transient() => self.wait = (self.wait * 2).clamp(LOOK_EVERY, RETRY_MAX),
            Err(error) => return Err(Arc::new(error)),
        }
        Ok(())
    }
}

/// In so many milliseconds; never without any.
async fn passed(ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

async fn look(
    gateway: &Gateway,
    source: Source,
    caller: &Caller,
    filter: &Filter,
    form: Form,
) -> (Source, Result<Look, StoreError>) {
    let shown = match source {
        Source::Own(follow) => return look_with(gateway, follow, caller, filter, form).await,
        Source::Behind(shown) => shown,
        // (Nobody looks at that alone.)
        Source::Shared(_) => StreamCursor::default(),
    };
    match Follow::from_now(&gateway.store).await {
        Ok(mut follow) => {
            go_back(&mut follow, &shown);
            look_with(gateway, Box::new(follow), caller, filter, form).await
        }
        Err(error) => (Source::Behind(shown), Err(error)),
    }
}

async fn look_with(
    gateway: &Gateway,
    mut follow: Box<Follow>,
    caller: &Caller,
    filter: &Filter,
    form: Form,
) -> (Source, Result<Look, StoreError>) {
    let news = match caller.names_version() {
        None => follow.next(&caller.scope, filter).await,
        Some(version) => {
            let knows = |origins: &mut dyn Iterator<Item = &Origin>| {
                gateway.stored_names.hear(origins);
                gateway.stored_names.version() == version
            };
            follow.next_if(&caller.scope, filter, &knows).await
        }
    };
    let look = match news {
        Ok(news) => Ok(Look {
            items: written(&news.records, |id| follow.origin(id), form).await,
            reach: news.reach,
            is_search: news.catching_up,
            more: news.more,
            is_lost: news.gap,
            unknown_before: news.unknown_before,
        }),
        Err(error) => Err(error),
    };
    (Source::Own(follow), look)
}

async fn written<'o>(
    records: &[OwnedRecord],
    origin: impl Fn(OriginId) -> Option<&'o Origin>,
    form: Form,
) -> Vec<Item> {
    let nowhere = Origin::default();
    let mut items = Vec::with_capacity(records.len());
    for records in records.chunks(TURN_RECORDS) {
        for record in records {
            let whose = origin(record.origin).unwrap_or(&nowhere);
            match form(record, whose) {
                Ok(json) => items.push(Item {
                    at: record.cursor(),
                    task: TaskKey::of(&record.as_record(), whose),
                    json,
                }),
                Err(error) => tracing::error!(%error, "a record could not be written"),
            }
        }
        if records.len() == TURN_RECORDS {
            tokio::task::yield_now().await;
        }
    }
    items
}
