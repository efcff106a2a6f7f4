//! A cache of answers: a yes is kept for longer than a no. Equal questions at the same time are asked once. While the API server is unavailable,
//! the last answer stays valid for some minutes more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// What was asked, as a hash: no token stays in memory for being remembered.
pub type Key = [u8; 32];

/// After a question that nobody answered, the next one is asked; until then nobody is asked.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Each part with its length: no two lists of parts are one.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// How long answers hold.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    pub yes: Duration,
    pub no: Duration,
    /// Of either, while nobody answers.
    pub away: Duration,
}

impl From<Away> for NoAnswer {
    fn from(_: Away) -> NoAnswer {
        NoAnswer::Away
    }
}

pub trait Answer: Clone {
    fn is_yes(&self) -> bool;
}

impl Answer for bool {
    fn is_yes(&self) -> bool {
        *self
    }
}

impl<T: Clone> Answer for Option<T> {
    fn is_yes(&self) -> bool {
        self.is_some()
    }
}

/// Nobody answered, and no answer from before holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    Away,
    /// The person whom the question is about has enough questions under way.
    Crowded,
}

/// Each with the time at which it was last asked for.
type Places<A> = HashMap<Key, (Arc<Place<A>>, Instant)>;

#[derive(Debug)]
pub struct Remembered<A> {
    ages: Ages,
    max: usize,
    places: Mutex<Places<A>>,
}

#[derive(Debug)]
struct Place<A> {
    is_yes: AtomicBool,
    /// Locked while it is asked: who asks the same waits for the answer.
    known: tokio::sync::Mutex<Known<A>>,
}

#[derive(Debug)]
struct Known<A> {
    answer: Option<(A, Instant)>,
    away: Option<Instant>,
}

impl<A: Answer> Remembered<A> {
    /// `max`: answers that are kept.
    pub fn new(ages: Ages, max: usize) -> Remembered<A> {
        Remembered { ages, max, places: Mutex::default() }
    }

    /// An answer that is not older than `age_max` and than its kind may be, and when it was given.
    pub async fn get(
        &self,
        key: Key,
        age_max: Duration,
        ask: impl AsyncFnOnce() -> Result<A, NoAnswer>,
    ) -> Result<(A, Instant), NoAnswer> {
        let place = self.place(key);
        let mut known = place.known.lock().await;
        if let Some((answer, at)) = &known.answer {
            let age = if answer.is_yes() { self.ages.yes } else { self.ages.no };
            if at.elapsed() < age.min(age_max) {
                return Ok((answer.clone(), *at));
            }
        }
        if known.away.is_none_or(|at| at.elapsed() >= AWAY_PAUSE) {
            match ask().await {
                Ok(answer) => {
                    let given = (answer, Instant::now());
                    place.is_yes.store(given.0.is_yes(), Ordering::Relaxed);
                    *known = Known { answer: Some(given.clone()), away: None };
                    return Ok(given);
                }
                // Nobody was asked.
                Err(NoAnswer::Crowded) => return Err(NoAnswer::Crowded),
                Err(NoAnswer::Away) => known.away = Some(Instant::now()),
            }
        }
        known.answer.clone().filter(|(_, at)| at.elapsed() < self.ages.away).ok_or(NoAnswer::Away)
    }

    fn place(&self, key: Key) -> Arc<Place<A>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= self.max && !places.contains_key(&key) {
            make_room(&mut places, self.max / 2);
        }
        let known = tokio::sync::Mutex::new(Known { answer: None, away: None });
        let new = || (Arc::new(Place { is_yes: AtomicBool::new(false), known }), Instant::now());
        let (place, used) = places.entry(key).or_insert_with(new);
        *used = Instant::now();
        Arc::clone(place)
    }
}

/// What was refused goes first: a caller who tries one wrong token after the other takes nobody's place.
fn make_room<A>(places: &mut Places<A>, left: usize) {
    places.retain(|_, (place, _)| place.is_yes.load(Ordering::Relaxed));
    if places.len() > left {
        let mut used: Vec<Instant> = places.values().map(|(_, used)| *used).collect();
        used.sort_unstable();
        let oldest = used[used.len() - left.max(1)];
        places.retain(|_, (_, used)| *used > oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::NoAnswer::Away;
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const KEEP: Ages = Ages { yes: LONG, no: LONG, away: LONG };
    const FORGET: Ages = Ages { yes: Duration::ZERO, no: Duration::ZERO, away: LONG };

    async fn given<A: Answer>(
        known: &Remembered<A>,
        key: Key,
        age_max: Duration,
        ask: impl AsyncFnOnce() -> Result<A, NoAnswer>,
    ) -> Result<A, NoAnswer> {
        known.get(key, age_max, ask).await.map(|(answer, _)| answer)
    }

    #[tokio::test]
    async fn who_is_not_let_to_ask_leaves_the_question_to_others() {
        let known = Remembered::new(FORGET, 10);
        assert_eq!(given(&known, of("a"), LONG, async || Ok(true)).await, Ok(true));
        let crowded = given(&known, of("a"), LONG, async || Err(NoAnswer::Crowded)).await;
        assert_eq!(crowded, Err(NoAnswer::Crowded));
        assert_eq!(given(&known, of("a"), LONG, async || Ok(false)).await, Ok(false));
    }

    fn of(name: &str) -> Key {
        key([name.as_bytes()])
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(key([&b"ab"[..], b"c"]), key([&b"a"[..], b"bc"]));
        assert_ne!(key([&b"a"[..]]), key([&b"a"[..], b""]));
    }

    #[tokio::test]
    async fn a_yes_and_a_no_have_their_own_ages() {
        for (yes, no, answer, asked_again) in [
            (LONG, Duration::ZERO, true, false),
            (LONG, Duration::ZERO, false, true),
            (Duration::ZERO, LONG, true, true),
            (Duration::ZERO, LONG, false, false),
        ] {
            let known = Remembered::new(Ages { yes, no, away: LONG }, 10);
            assert_eq!(given(&known, of("a"), LONG, async || Ok(answer)).await, Ok(answer));
            let second = given(&known, of("a"), LONG, async || Ok(!answer)).await;
            assert_eq!(second, Ok(answer != asked_again), "{yes:?} {no:?} {answer}");
            // Another question has another answer, and who wants a fresh one gets it.
            assert_eq!(given(&known, of("b"), LONG, async || Ok(!answer)).await, Ok(!answer));
            assert_eq!(given(&known, of("a"), Duration::ZERO, async || Ok(!answer)).await, Ok(!answer));
        }
    }

    #[tokio::test]
    async fn equal_questions_at_once_are_asked_once_also_when_nobody_answers() {
        for answer in [Ok(true), Ok(false), Err(Away)] {
            let (known, asked) = (Remembered::new(KEEP, 10), AtomicUsize::new(0));
            let one = || {
                given(&known, of("a"), LONG, async || {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    answer
                })
            };
            let all = futures::future::join_all((0..100).map(|_| one())).await;
            assert!(all.iter().all(|found| *found == answer), "{all:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn while_nobody_answers_the_last_answer_holds_for_a_while() {
        for answer in [true, false] {
            let unknown: Remembered<bool> = Remembered::new(FORGET, 10);
            assert_eq!(given(&unknown, of("a"), LONG, async || Err(Away)).await, Err(Away));
            let known = Remembered::new(FORGET, 10);
            assert_eq!(given(&known, of("a"), LONG, async || Ok(answer)).await, Ok(answer));
            assert_eq!(given(&known, of("a"), LONG, async || Err(Away)).await, Ok(answer));
            let old = Remembered::new(Ages { away: Duration::ZERO, ..FORGET }, 10);
            assert_eq!(given(&old, of("a"), LONG, async || Ok(answer)).await, Ok(answer));
            assert_eq!(given(&old, of("a"), LONG, async || Err(Away)).await, Err(Away));
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_wrong_tokens_take_nobodys_place() {
        let known = Remembered::new(KEEP, 10);
        for number in 0..3 {
            assert_eq!(given(&known, of(&format!("yes {number}")), LONG, async || Ok(true)).await, Ok(true));
        }
        for number in 0..1_000 {
            assert_eq!(given(&known, of(&format!("no {number}")), LONG, async || Ok(false)).await, Ok(false));
            assert!(known.places.lock().unwrap().len() <= 10);
        }
        for number in 0..3 {
            // Not asked again.
            assert_eq!(given(&known, of(&format!("yes {number}")), LONG, async || Err(Away)).await, Ok(true));
        }
        for number in 0..1_000 {
            assert_eq!(given(&known, of(&format!("more {number}")), LONG, async || Ok(true)).await, Ok(true));
            assert!(known.places.lock().unwrap().len() <= 10);
        }
    }
}
