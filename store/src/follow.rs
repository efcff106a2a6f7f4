//! Follows new records in the order in which they are stored: fresh blocks above the last (lane, seq) that was seen. For readers without a
//! live feed. Lane 0 is left out: it holds records that sealing carried over, which were seen before.
//!
//! A reader that was disconnected continues [from a cursor](Follow::after): it gets the stored records behind the cursor, oldest first, then
//! the new ones. The place where the feed begins is fixed before the search, and a record's id says on which side of that place it was
//! stored, so each record comes once. A reader that kept [the place](Place) of a look continues [there](Follow::go_back), with everything
//! that was stored since, whatever its time.

mod fresh;
mod place;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cordwood_core::filter::Filter;
use cordwood_core::limits;
use cordwood_core::origin::{Origin, OriginId};

use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::Scope;
use crate::search::{Cursor, Direction, Found, OwnedRecord, Page, TimeRange, search};

use fresh::Origins;
pub use fresh::{Feed, Fresh, Selection};
pub use place::{Place, Step};

/// Of a look at what was stored before.
const PAGE_RECORDS: usize = 10_000;
const PAGE_BUDGET_MS: u64 = 2_000;
/// Records that the search showed although they were stored after the feed began: the feed leaves them out. What is above is left to
/// the feed.
const AHEAD_MAX: usize = 1_000_000;

/// Whether a scope that was made before knows of all of these.
pub type Knows<'a> = &'a (dyn Fn(&mut dyn Iterator<Item = &Origin>) -> bool + Sync);

/// Where somebody has got to. Starts at the end, or after a cursor.
#[derive(Debug)]
pub struct Follow {
    store: Store,
    /// Of the feed.
    place: Place,
    known: Origins,
    /// Of what the last look brought.
    origins: HashMap<OriginId, Origin>,
    /// To be searched for from this cursor on, but for what was shown.
    wanted: Option<(Cursor, Place)>,
    catch_up: Option<CatchUp>,
    /// The feed has not come to its end since the search: where that began, and what was stored then.
    caught_up: Option<(Cursor, Place)>,
    /// Shown by the search, and still to come with the feed.
    ahead: HashSet<Cursor>,
    /// The search shows nothing that was stored after the feed began, so that a look's reach says exactly what was shown. From where on
    /// to search should the feed be gone.
    exact_from: Option<Cursor>,
}

/// What was stored before the feed's place is shown first.
#[derive(Debug)]
struct CatchUp {
    began: Cursor,
    /// Everything up to here was shown.
    after: Cursor,
    /// What was shown before this catching up.
    shown: Place,
    /// At the feed's place, which has all the others.
    stored: Place,
}

#[derive(Debug, Default)]
pub struct News {
    /// Oldest first within what was stored together; while catching up, oldest first throughout.
    pub records: Vec<OwnedRecord>,
    /// Blocks were gone before they were looked at: something may have been missed, also of others' tenants.
    pub gap: bool,
    /// There is more already.
    pub more: bool,
    /// Still among what was stored before.
    pub catching_up: bool,
    /// How far this look came.
    pub reach: Step,
    /// What was stored since the place gone back to was no longer fresh; of it, what is older than this was not looked for.
    pub unknown_before: Option<Cursor>,
}

impl Follow {
    /// From here on.
    pub async fn from_now(store: &Store) -> Result<Follow, StoreError> {
        let mut follow = Follow {
            store: store.clone(),
            place: Place::default(),
            known: Origins::default(),
            origins: HashMap::new(),
            wanted: None,
            catch_up: None,
            caught_up: None,
            ahead: HashSet::new(),
            exact_from: None,
        };
        follow.take_place().await?;
        Ok(follow)
    }

    /// Everything beyond a cursor: what is stored, then what comes.
    pub async fn after(store: &Store, cursor: Cursor) -> Result<Follow, StoreError> {
        let mut follow = Follow::from_now(store).await?;
        follow.wanted = Some((cursor, Place::default()));
        Ok(follow)
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Goes on as if nothing were known but what was stored up to a place, of that only the records up to a cursor where there is one.
    /// What is stored since comes with the feed, whatever its time; should the feed be gone by then, what has a time from
    /// `search_from` on is searched for, and that older records may be missing is told.
    pub fn go_back(&mut self, step: Step, search_from: Cursor) {
        let Step { place, upto } = step;
        self.place = place.clone();
        self.exact_from = Some(search_from);
        match upto {
            None => self.caught_up = Some((search_from, place)),
            Some(after) => {
                let shown = Place::default();
                self.catch_up = Some(CatchUp { began: search_from, after, shown, stored: place });
            }
        }
    }

    /// The feed begins here. Returns what is stored up to here, of the same snapshot.
    async fn take_place(&mut self) -> Result<Place, StoreError> {
        self.place = Place::of_now(&self.store).await?;
        Ok(self.place.clone())
    }

    /// What was stored since the last look, as the filter and the scope let through. Dropped before its end, it has done nothing.
    pub async fn next(&mut self, scope: &Scope, filter: &Filter) -> Result<News, StoreError> {
        self.look(scope, filter, None).await
    }

    /// The same for a scope that may grow with whose records are stored: it is asked of each look at the feed whether the scope knows
    /// these. While it does not, the look has brought nothing, and comes again.
    pub async fn next_if(
        &mut self,
        scope: &Scope,
        filter: &Filter,
        knows: Knows<'_>,
    ) -> Result<News, StoreError> {
        self.look(scope, filter, Some(knows)).await
    }

    /// Whether the next look searches what was stored before.
    pub fn searches(&self) -> bool {
        self.wanted.is_some() || self.catch_up.is_some()
    }

    async fn look(
        &mut self,
        scope: &Scope,
        filter: &Filter,
        knows: Option<Knows<'_>>,
    ) -> Result<News, StoreError> {
        if let Some((began, shown)) = self.wanted.clone() {
            let stored = self.take_place().await?;
            self.catch_up = Some(CatchUp { began, after: began, shown, stored });
            self.wanted = None;
        }
        if let Some(after) = self.catch_up.as_ref().map(|catch_up| catch_up.after) {
            let page = Page { limit: PAGE_RECORDS, after: Some(after), direction: Direction::OldestFirst };
            let range = TimeRange::default();
            let found = search(&self.store, scope, filter, range, page, PAGE_BUDGET_MS).await?;
            return Ok(self.stored(found));
        }
        let Some(mut news) = self.next_new(scope, filter, knows).await? else {
            let reach = Step { place: self.place.clone(), upto: None };
            return Ok(News { more: true, reach, ..News::default() });
        };
        match &self.caught_up {
            Some((from, shown)) if news.gap && self.exact_from.is_some() => {
                let reach = Step { place: shown.clone(), upto: None };
                news = News {
                    more: true,
                    catching_up: true,
                    reach,
                    unknown_before: Some(*from),
                    ..News::default()
                };
                self.wanted = self.caught_up.take();
            }
            // The search took longer than fresh blocks stay: what is gone of them is searched for, and with it what is not.
            Some((began, _)) if news.gap => {
                news.records.retain(|record| record.cursor() <= *began);
                (news.gap, news.more, news.catching_up) = (false, true, true);
                self.wanted = self.caught_up.take();
            }
            Some(_) if news.more => self.ahead.extend(news.records.iter().map(OwnedRecord::cursor)),
            _ if news.more => {}
            _ => {
                self.ahead.clear();
                self.caught_up = None;
            }
        }
        Ok(news)
    }

    /// What a page of the search brings.
    fn stored(&mut self, found: Found) -> News {
        self.origins = found.origins;
        let Some(mut catch_up) = self.catch_up.take() else { return News::default() };
        let mut records = Vec::with_capacity(found.records.len());
        for record in found.records {
            let was_shown = catch_up.shown.has(record.id) || self.ahead.contains(&record.cursor());
            let is_ahead = !catch_up.stored.has(record.id);
            let is_left = self.exact_from.is_some() || self.ahead.len() >= AHEAD_MAX;
            if was_shown || (is_ahead && is_left) {
                continue;
            }
            if is_ahead {
                self.ahead.insert(record.cursor());
            }
            records.push(record);
        }
        let catching_up = found.cursor.is_some();
        let reach = Step { place: catch_up.stored.clone(), upto: found.cursor };
        match found.cursor {
            Some(cursor) => {
                catch_up.after = cursor;
                self.catch_up = Some(catch_up);
            }
            None => self.caught_up = Some((catch_up.began, catch_up.stored)),
        }
        News { records, more: true, catching_up, reach, ..News::default() }
    }

    async fn next_new(
        &mut self,
        scope: &Scope,
        filter: &Filter,
        knows: Option<Knows<'_>>,
    ) -> Result<Option<News>, StoreError> {
        let before = Arc::new(self.place.clone());
        let bytes_max = limits::FOLLOW_LOOK_BYTES_MAX;
        let tenants = if knows.is_some() { None } else { scope.tenants_at_most() };
        let fresh = fresh::read(&self.store, &before, tenants, bytes_max, &mut self.known).await?;
        if knows.is_some_and(|knows| !knows(&mut fresh.origins())) {
            return Ok(None);
        }
        let mut records = fresh.all(&Selection::new(scope, filter));
        records.retain(|record| !self.ahead.contains(&record.cursor()));
        let used: HashSet<OriginId> = records.iter().map(|record| record.origin).collect();
        self.origins.clear();
        let told = used.into_iter().filter_map(|id| Some((id, fresh.origin(id)?.clone())));
        self.origins.extend(told);
        self.place = Arc::unwrap_or_clone(fresh.after);
        let reach = Step { place: self.place.clone(), upto: None };
        Ok(Some(News { records, gap: fresh.gap, more: fresh.more, reach, ..News::default() }))
    }

    /// The origins of records that the last look returned.
    pub fn origin(&self, id: OriginId) -> Option<&Origin> {
        self.origins.get(&id)
    }
}
