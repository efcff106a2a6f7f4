//! Opens fetched blocks and looks at their records, on blocking threads, because decompression takes CPU time. The origins of their records
//! are read before. A search that looks at many blocks gets as many threads as no other search needs, up to one for each core.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

use bytes::Bytes;
use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::Screen;
use cordwood_core::origin::{Origin, OriginId};
use tokio::sync::Semaphore;
use tokio_postgres::Transaction;

use super::fetch::Payload;
use super::page::Direction;
use crate::error::StoreError;
use crate::origins;

/// One for each thread that looks at blocks, over all searches of the process.
static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(threads_max())));

fn threads_max() -> usize {
    available_parallelism().map_or(1, Into::into)
}

/// What is made of records.
pub(super) trait Looks: Send + Sync + 'static {
    fn knows(&self, origin: OriginId) -> bool;

    fn learn(&mut self, id: OriginId, origin: Origin);

    /// All origins of the block are known. Threads look at several blocks at the same time, in no order that is sure. `records`: none
    /// but these may be wanted, ascending; `None`: each may be.
    fn block(&self, block: &Block<'_>, records: Option<&[Range<u32>]>) -> Result<(), BlockError>;
}

/// `threads`: so many at the most.
pub(super) async fn look<L: Looks>(
    looks: L,
    transaction: &Transaction<'_>,
    payloads: Vec<Payload>,
    threads: usize,
) -> Result<L, StoreError> {
    let open = |looks: &L, payload: &Payload| match Block::open(&payload.bytes) {
        Ok(block) if block.origins().iter().all(|id| looks.knows(*id)) => {
            look_at(looks, payload, &block);
            None
        }
        Ok(block) => {
            let payload = Payload { bytes: Bytes::new(), ..payload.clone() };
            Some((payload, block.into_owned()))
        }
        Err(error) => {
            damaged(payload.block, &error);
            None
        }
    };
    let (mut looks, waiting) = on_threads(looks, payloads, threads, open).await?;
    if waiting.is_empty() {
        return Ok(looks);
    }
    let all = waiting.iter().flat_map(|(_, block)| block.origins()).copied();
    let mut missing: Vec<OriginId> = all.filter(|id| !looks.knows(*id)).collect();
    missing.sort_unstable();
    missing.dedup();
    let mut found = origins::read(transaction, &missing).await?;
    for id in missing {
        looks.learn(id, found.remove(&id).unwrap_or_default());
    }
    let looked = on_threads(looks, waiting, threads, |looks, (payload, block)| {
        look_at(looks, payload, block);
        None::<()>
    });
    Ok(looked.await?.0)
}

fn look_at(looks: &impl Looks, payload: &Payload, block: &Block<'_>) {
    if let Err(error) = looks.block(block, payload.records.as_deref()) {
        damaged(payload.block, &error);
    }
}

/// Does something with each, the first ones first, and returns what came of it. A caller waits for one thread; it gets more where others
/// leave some.
async fn on_threads<L, T, R>(
    looks: L,
    all: Vec<T>,
    threads: usize,
    each: fn(&L, &T) -> Option<R>,
) -> Result<(L, Vec<R>), StoreError>
where
    L: Send + Sync + 'static,
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    struct Work<L, T, R> {
        looks: L,
        all: Vec<T>,
        next: AtomicUsize,
        made: Mutex<Vec<R>>,
    }
    let ended = |error: &dyn std::fmt::Display| StoreError::Invalid(format!("a search did not end: {error}"));
    let count = all.len().min(threads).clamp(1, threads_max());
    let work = Arc::new(Work { looks, all, next: AtomicUsize::new(0), made: Mutex::default() });
    let mut threads = Vec::with_capacity(count);
    for _ in 0..count {
        let permit = if threads.is_empty() {
            Arc::clone(&THREADS).acquire_owned().await.map_err(|error| ended(&error))?
        } else {
            let Ok(permit) = Arc::clone(&THREADS).try_acquire_owned() else { break };
            permit
        };
        let work = Arc::clone(&work);
        threads.push(tokio::task::spawn_blocking(move || {
            while let Some(one) = work.all.get(work.next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(made) = each(&work.looks, one) {
                    work.made.lock().unwrap_or_else(PoisonError::into_inner).push(made);
                }
            }
            // The caller takes the work back when no thread has it.
            drop((work, permit));
        }));
    }
    for thread in threads {
        thread.await.map_err(|error| ended(&error))?;
    }
    let work = Arc::into_inner(work).ok_or_else(|| ended(&"a thread still has it"))?;
    Ok((work.looks, work.made.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Those of the records that a screen lets through, in the order of the block or against it: sealed blocks are in the order of time. Where
/// `among` names a few, the screen is not asked.
pub(super) fn screened(
    block: &Block<'_>,
    among: Option<&[Range<u32>]>,
    screen: &Screen<'_>,
    direction: Direction,
    mut each: impl FnMut(usize) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let records: Option<Vec<u32>> = match among {
        // A range may go on behind the end of a block.
        Some(ranges) => {
            Some(ranges.iter().flat_map(|range| range.start..range.end.min(block.len() as u32)).collect())
        }
        None => screen.of_block(block)?,
    };
    match (records, direction) {
        (Some(records), Direction::OldestFirst) => {
            records.into_iter().try_for_each(|record| each(record as usize))
        }
        (Some(records), Direction::NewestFirst) => {
            records.into_iter().rev().try_for_each(|record| each(record as usize))
        }
        (None, Direction::OldestFirst) => (0..block.len()).try_for_each(each),
        (None, Direction::NewestFirst) => (0..block.len()).rev().try_for_each(each),
    }
}

/// A damaged block hides its own records, not the others'.
fn damaged(block: i64, error: &BlockError) {
    tracing::error!(block, %error, "block does not open");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cordwood_core::block::BlockBuilder;
    use cordwood_core::filter::{Filter, parse};
    use cordwood_core::identity::RecordId;
    use cordwood_core::level::Level;
    use cordwood_core::record::{Flags, Record};

    use super::*;

    #[test]
    fn what_is_named_is_looked_at_and_no_other() {
        let origin = Origin::default();
        let mut builder = BlockBuilder::new();
        for index in 0..10 {
            let body = format!("number {index}");
            let is_pushed = builder.push(
                &Record {
                    time_us: i64::from(index),
                    original_time_us: None,
                    level: Level::Info,
                    flags: Flags::default(),
                    origin: origin.id(),
                    id: RecordId { topic_partition: 1, kafka_offset: 1, index },
                    body: body.as_bytes(),
                },
                &origin,
            );
            assert!(is_pushed);
        }
        let payload = builder.finish(3).payload;
        let block = Block::open(&payload).expect("just built");
        let seen = |filter: &Filter, among: Option<&[Range<u32>]>, direction| {
            let mut seen = Vec::new();
            let each = |record| {
                seen.push(record);
                Ok(())
            };
            screened(&block, among, &filter.screen(), direction, each).expect("it is whole");
            seen
        };
        let (all, seven) = (Filter::all(), parse("7").expect("a filter"));
        let named = [1..3, 8..64];
        for (filter, among, found) in [
            (&all, None, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..]),
            (&seven, None, &[7]),
            (&all, Some(&named[..]), &[1, 2, 8, 9]),
            // The evaluator decides.
            (&seven, Some(&named[..]), &[1, 2, 8, 9]),
            (&all, Some(&[]), &[]),
        ] {
            assert_eq!(seen(filter, among, Direction::OldestFirst), found);
            let backwards: Vec<usize> = found.iter().rev().copied().collect();
            assert_eq!(seen(filter, among, Direction::NewestFirst), backwards);
        }
    }

    #[tokio::test]
    async fn each_is_done_once_however_many_are_at_it() {
        let done: Mutex<BTreeSet<usize>> = Mutex::default();
        let both = |done: &Mutex<BTreeSet<usize>>, one: &usize| {
            assert!(done.lock().expect("no thread failed").insert(*one), "{one} came twice");
            one.is_multiple_of(2).then_some(*one)
        };
        let all: Vec<usize> = (0..1_000).collect();
        let (done, mut even) = on_threads(done, all.clone(), 8, both).await.expect("it ends");
        even.sort_unstable();
        assert_eq!(even, (0..500).map(|half| 2 * half).collect::<Vec<_>>());
        assert_eq!(done.into_inner().expect("no thread failed"), all.into_iter().collect());
        let (_, none) = on_threads((), Vec::<()>::new(), 8, |(), ()| Some(())).await.expect("it ends");
        assert_eq!(none, []);
        // No thread stays taken, also after a failure.
        let failed = on_threads((), vec![()], 8, |(), ()| -> Option<()> { panic!("a fault of the program") });
        assert!(failed.await.is_err());
        assert!(on_threads((), vec![()], 1, |(), ()| None::<()>).await.is_ok());
    }
}
