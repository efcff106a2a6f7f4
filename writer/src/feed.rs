//! The live feed: publishes committed records to Redis. It never delays a commit: publishing only adds to a bounded queue.
//! Records that do not fit are dropped and counted (a reader sees the gap and fills it from PostgreSQL).
//!
//! Redis: stream `cordwood:live:<tenant slug>`, about 10,000 entries, one per record, with fields `id`, `t` (microseconds),
//! `l` (level), `f` (flags), `o` (origin as JSON) and `b` (body, bytes: its first 16 KiB; then `n` says how long it is); a stream
//! goes an hour after its last entry; after each write `PUBLISH cordwood:wake:<tenant
//! slug>` with the number of entries. An entry with field `gap` says how many of the tenant's records were dropped before
//! it (or, after a commit whose answer was lost, perhaps were).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::{FEED_BODY_BYTES_MAX, FEED_ENTRIES_MAX, FEED_SECONDS_MAX};
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_service::RedisSettings;
use prometheus::IntCounter;
use redis::TlsCertificates;
use tokio::sync::mpsc;

/// Records that may wait for Redis; one tenant's stream does not hold more anyway.
const QUEUE_RECORDS_MAX: usize = 2 * FEED_ENTRIES_MAX;
const QUEUE_BYTES_MAX: usize = 32 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A committed record.
#[derive(Clone, Debug)]
pub struct FeedRecord {
    pub id: RecordId,
    pub time_us: i64,
    pub original_time_us: Option<i64>,
    pub level: Level,
    pub flags: Flags,
    pub origin: Arc<Origin>,
    /// At most [`FEED_BODY_BYTES_MAX`] of it, and not a slice of its message, which would stay as a whole.
    pub body: Bytes,
    /// How long it is.
    pub body_bytes: usize,
}

impl FeedRecord {
    /// As much of a body as the feed carries, of its own.
    pub fn body_of(body: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&body[..body.len().min(FEED_BODY_BYTES_MAX)])
    }
}

pub trait Feed: Send + Sync + 'static {
    /// False: nobody can be watching, records need not be gathered.
    fn is_on(&self) -> bool;

    /// Returns at once, whatever happens behind it.
    fn publish(&self, records: Vec<FeedRecord>);

    /// These may be stored and will not be published.
    fn missed(&self, _: &[FeedRecord]) {}
}

/// Nobody watches.
#[derive(Debug)]
pub struct NoFeed;

impl Feed for NoFeed {
    fn is_on(&self) -> bool {
        false
    }

    fn publish(&self, _: Vec<FeedRecord>) {}
}

#[derive(Clone)]
pub struct FeedCounters {
    pub published: IntCounter,
    pub dropped: IntCounter,
    pub errors: IntCounter,
}

/// Redis behind a bounded queue and a task of its own.
pub struct RedisFeed {
    queue: mpsc::UnboundedSender<Vec<FeedRecord>>,
    waiting: Arc<Waiting>,
    counters: FeedCounters,
}

#[derive(Default)]
struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
    gaps: Mutex<Gaps>,
}

/// Records of each tenant that were dropped since the last entry that said so.
type Gaps = BTreeMap<String, u64>;

impl Waiting {
    fn add_gaps(&self, tenants: impl IntoIterator<Item = (impl Into<String>, u64)>) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, count) in tenants {
            *gaps.entry(tenant.into()).or_default() += count;
        }
    }

    fn take_gaps(&self) -> Gaps {
        std::mem::take(&mut *self.gaps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tenants(records: &[FeedRecord]) -> impl Iterator<Item = (&str, u64)> {
    records.iter().map(|record| (record.origin.tenant.as_str(), 1))
}

impl RedisFeed {
    /// Starts the task; Redis need not be there. The task ends when the feed is dropped.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn start(settings: &RedisSettings, counters: FeedCounters) -> anyhow::Result<RedisFeed> {
        let client = client(settings)?;
        let (queue, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(feed_redis(client, receiver, waiting.clone(), counters.clone()));
        Ok(RedisFeed { queue, waiting, counters })
    }

    fn dropped(&self, records: &[FeedRecord]) {
        self.counters.dropped.inc_by(records.len() as u64);
        self.waiting.add_gaps(tenants(records));
    }
}

impl Feed for RedisFeed {
    fn is_on(&self) -> bool {
        true
    }

    fn publish(&self, mut records: Vec<FeedRecord>) {
        let room = QUEUE_RECORDS_MAX.saturating_sub(self.waiting.records.load(Ordering::Relaxed));
        if self.waiting.bytes.load(Ordering::Relaxed) > QUEUE_BYTES_MAX {
            return self.dropped(&records);
        }
        if records.len() > room {
            // The newest are worth more to a watcher.
            let newest = records.split_off(records.len() - room);
            self.dropped(&records);
            records = newest;
        }
        if records.is_empty() {
            return;
        }
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        let count = records.len();
        self.waiting.records.fetch_add(count, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(unsent) = self.queue.send(records) {
            self.dropped(&unsent.0);
        }
    }

    fn missed(&self, records: &[FeedRecord]) {
        self.waiting.add_gaps(tenants(records));
    }
}

fn client(settings: &RedisSettings) -> anyhow::Result<redis::Client> {
    let (url, ca) = (settings.full_url()?, settings.ca()?);
    let client = match ca {
        None => redis::Client::open(url),
        ca => redis::Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: ca }),
    };
    client.context("redis.url")
}

async fn feed_redis(
    client: redis::Client,
    mut queue: mpsc::UnboundedReceiver<Vec<FeedRecord>>,
    waiting: Arc<Waiting>,
    counters: FeedCounters,
) {
    let mut connection: Option<redis::aio::MultiplexedConnection> = None;
    while let Some(records) = queue.recv().await {
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        let count = records.len();
        let gaps = waiting.take_gaps();
        let sent = match connection.take() {
            Some(open) => Ok(open),
            None => {
                let connect = client.get_multiplexed_async_connection();
                tokio::time::timeout(ANSWER_TIMEOUT, connect).await.unwrap_or_else(|_| Err(no_answer()))
            }
        };
        let sent = match sent {
            Ok(mut open) => {
                let pipeline = pipeline(&records, &gaps);
                let query = pipeline.query_async::<()>(&mut open);
                match tokio::time::timeout(ANSWER_TIMEOUT, query).await.unwrap_or_else(|_| Err(no_answer())) {
                    Ok(()) => {
                        connection = Some(open);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => counters.published.inc_by(count as u64),
            Err(error) => {
                counters.errors.inc();
                counters.dropped.inc_by(count as u64);
                waiting.add_gaps(gaps);
                waiting.add_gaps(tenants(&records));
                tracing::warn!(%error, dropped = count, "live feed: Redis");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        waiting.records.fetch_sub(count, Ordering::Relaxed);
        waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn no_answer() -> redis::RedisError {
    redis::RedisError::from((redis::ErrorKind::Io, "no answer from Redis within 5 s"))
}

/// The gaps first, each in its tenant's own stream, also of tenants that have no record here.
fn pipeline(records: &[FeedRecord], gaps: &Gaps) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    let mut tenants: BTreeMap<&str, u64> = BTreeMap::new();
    for (tenant, gap) in gaps {
        add(&mut pipeline, &format!("cordwood:live:{tenant}")).arg("gap").arg(*gap).ignore();
        *tenants.entry(tenant).or_default() += 1;
    }
    let mut origins: Vec<(&Arc<Origin>, String)> = Vec::new();
    for record in records {
        let tenant = record.origin.tenant.as_str();
        let key = format!("cordwood:live:{tenant}");
        *tenants.entry(tenant).or_default() += 1;
        let known = origins.iter().rposition(|(origin, _)| Arc::ptr_eq(origin, &record.origin));
        let place = known.unwrap_or_else(|| {
            // An Origin is strings only: it always serializes.
            let json = serde_json::to_string(&*record.origin).unwrap_or_default();
            origins.push((&record.origin, json));
            origins.len() - 1
        });
        let command = add(&mut pipeline, &key);
        command.arg("id").arg(record.id.to_string()).arg("t").arg(record.time_us);
        command.arg("l").arg(record.level.as_str()).arg("f").arg(record.flags.0);
        command.arg("o").arg(&origins[place].1).arg("b").arg(&record.body[..]);
        if record.body.len() < record.body_bytes {
            command.arg("n").arg(record.body_bytes);
        }
        command.ignore();
    }
    for (tenant, entries) in tenants {
        let key = format!("cordwood:live:{tenant}");
        pipeline.cmd("EXPIRE").arg(key).arg(FEED_SECONDS_MAX).ignore();
        pipeline.cmd("PUBLISH").arg(format!("cordwood:wake:{tenant}")).arg(entries).ignore();
    }
    pipeline
}

fn add<'a>(pipeline: &'a mut redis::Pipeline, key: &str) -> &'a mut redis::Pipeline {
    pipeline.cmd("XADD").arg(key).arg("MAXLEN").arg("~").arg(FEED_ENTRIES_MAX).arg("*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str) -> FeedRecord {
        let origin = Origin { tenant: tenant.to_owned(), ..Origin::default() };
        FeedRecord {
            id: RecordId { topic_partition: 0, kafka_offset: 1, index: 2 },
            time_us: 3,
            original_time_us: None,
            level: Level::Info,
            flags: Flags::default(),
            origin: Arc::new(origin),
            body: Bytes::from_static(b"line"),
            body_bytes: 4,
        }
    }

    /// Stream and gap of each entry that tells one.
    fn told(pipeline: &redis::Pipeline) -> Vec<(String, String)> {
        let commands = pipeline.cmd_iter().map(|command| {
            let text = |argument| match argument {
                redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            };
            command.args_iter().map(text).collect::<Vec<String>>()
        });
        commands
            .filter(|words| words.get(6).is_some_and(|field| field == "gap"))
            .map(|words| (words[1].clone(), words[7].clone()))
            .collect()
    }

    #[test]
    fn a_long_body_is_cut_and_a_stream_goes_after_its_tenant() {
        let long = vec![b'x'; FEED_BODY_BYTES_MAX + 5];
        let record = FeedRecord { body: FeedRecord::body_of(&long), body_bytes: long.len(), ..of("a") };
        let packed = pipeline(&[record, of("a")], &Gaps::default()).get_packed_pipeline();
        let text = String::from_utf8_lossy(&packed);
        assert!(packed.len() < FEED_BODY_BYTES_MAX + 2048);
        assert_eq!(text.matches("\r\n16389\r\n").count(), 1, "its length is said");
        assert!(
            text.contains("EXPIRE\r\n$15\r\ncordwood:live:a\r\n$4\r\n3600"),
            "{}",
            &text[text.len() - 200..]
        );
    }

    #[test]
    fn a_gap_is_told_to_the_tenant_that_has_it() {
        let waiting = Waiting::default();
        waiting.add_gaps(tenants(&[of("b"), of("b"), of("c")]));
        let gaps = waiting.take_gaps();
        let expected = [("cordwood:live:b", "2"), ("cordwood:live:c", "1")];
        let expected = expected.map(|(stream, gap)| (stream.to_owned(), gap.to_owned()));
        assert_eq!(
            told(&pipeline(&[of("a")], &gaps)),
            expected,
            "tenant a has no gap, and does not learn of others'"
        );
        // Redis did not take it: the gaps wait, and what was in this write is missing too.
        waiting.add_gaps(gaps);
        waiting.add_gaps(tenants(&[of("a")]));
        assert_eq!(
            waiting.take_gaps().into_iter().collect::<Vec<_>>(),
            [("a".into(), 1), ("b".into(), 2), ("c".into(), 1)]
        );
        assert!(waiting.take_gaps().is_empty());
    }
}
