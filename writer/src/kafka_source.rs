//! Reads from Kafka: the consumer group decides which topic partitions this writer reads, and PostgreSQL decides where it begins in each.
//!
//! A thread of its own polls, so that the writer stays in the group while PostgreSQL is unavailable. It never skips messages. If Kafka does not
//! have the position any more, or if the message before the position is not the one that PostgreSQL remembers (the topic was created
//! again), reading stops for that topic partition and says why; the others continue.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cordwood_core::batch::{KAFKA_HEADER, Provenance};
use cordwood_core::limits::ANSWER_PACKED_BYTES_MAX;
use cordwood_kafka::KafkaSettings;
use cordwood_store::commit::Position;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::gaps::Gaps;
use crate::source::{Event, Message, Source, SourceStatus, message_hash};

/// A batch of messages goes on when it has this much, or when nothing more is at hand.
const HANDOVER_BYTES: usize = 4 << 20;
const HANDOVER_MESSAGES: usize = 2_000;
/// Batches on their way to the writer; more wait in librdkafka, within its own bound.
const HANDOVERS: usize = 2;
const QUEUE_KBYTES: usize = 32 << 10;
/// After this long without room polling goes on with all topic partitions paused.
const PAUSE_AFTER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A stopped topic partition is looked at again this often: a position past the end can be a leader that changed, and
/// somebody may have repaired the table `positions`.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const NO_BROKER: &str = "no Kafka broker answers at kafka.brokers";
const REMEDY: &str = "if the messages are gone for good, delete the topic partition's row of table positions: reading \
                      then goes on at the beginning within a minute";

const UNREADABLE: &str = "it is tried again every minute; to pass over them, set next_offset of its row of table positions (insert it \
                          if there is none) behind them, and last_hash to null";

enum Command {
    Start { epoch: u64, positions: HashMap<u32, Position> },
    Committed(Vec<(u32, u64)>),
}

enum Output {
    Messages(u64, Vec<Message>),
    Reassigned,
    Broken(String),
}

pub struct KafkaSource {
    topic: String,
    commands: std_mpsc::Sender<Command>,
    output: mpsc::Receiver<Output>,
    epoch: u64,
    status: Arc<Mutex<SourceStatus>>,
}

impl KafkaSource {
    /// Joins the group. The topic must exist.
    pub fn new(settings: &KafkaSettings, group: &str) -> anyhow::Result<KafkaSource> {
        KafkaSource::join(settings, group, None)
    }

    /// As a member that keeps its name: one that was killed and is back has its topic partitions again at once, where Kafka
    /// otherwise waits for the session of the dead one to end. A member that joins under a name drives out the member that had it.
    pub fn join(settings: &KafkaSettings, group: &str, member: Option<&str>) -> anyhow::Result<KafkaSource> {
        let mut config = settings.client_config("cordwood-writer")?;
        if let Some(member) = member {
            config.set("group.instance.id", member);
        }
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "3000")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", QUEUE_KBYTES.to_string())
            // librdkafka unpacks all sets of an answer before it hands out the first message. It takes no `fetch.max.bytes` below
            // `message.max.bytes`, which bounds nothing else of a consumer.
            .set("fetch.max.bytes", ANSWER_PACKED_BYTES_MAX.to_string())
            .set("message.max.bytes", ANSWER_PACKED_BYTES_MAX.to_string())
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "100")
            .set("statistics.interval.ms", "2000");
        let status = Arc::new(Mutex::new(SourceStatus::default()));
        let context = Context {
            topic: settings.topic.clone(),
            assigned: Mutex::new(None),
            changed: AtomicBool::new(false),
            forbidden: AtomicBool::new(false),
            fetched: Mutex::default(),
            status: status.clone(),
        };
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        consumer.subscribe(&[&settings.topic])?;
        let (commands, command_receiver) = std_mpsc::channel();
        let (output_sender, output) = mpsc::channel(HANDOVERS);
        let mut reader = Reader {
            topic: settings.topic.clone(),
            consumer,
            commands: command_receiver,
            output: output_sender,
            status: status.clone(),
            epoch: 0,
            wanted: None,
            buffer: Vec::new(),
            buffer_bytes: 0,
            full_since: None,
            paused: false,
            announce: false,
            verify: HashMap::new(),
            stopped: BTreeMap::new(),
            unverified: BTreeMap::new(),
            stopped_at: Instant::now(),
            gaps: Gaps::default(),
        };
        std::thread::Builder::new().name("kafka-source".to_owned()).spawn(move || reader.run())?;
        Ok(KafkaSource { topic: settings.topic.clone(), commands, output, epoch: 0, status })
    }
}

impl Source for KafkaSource {
    fn topic(&self) -> &str {
        &self.topic
    }

    async fn next(&mut self) -> Event {
        loop {
            match self.output.recv().await {
                Some(Output::Messages(epoch, messages)) if epoch == self.epoch => {
                    return Event::Messages(messages);
                }
                // Read before the last start: comes again.
                Some(Output::Messages(..)) => {}
                Some(Output::Reassigned) => return Event::Reassigned,
                Some(Output::Broken(why)) => return Event::Broken(why),
                // It ends only when this end is dropped, or by a panic.
                None => return Event::Broken("the thread that reads Kafka ended".to_owned()),
            }
        }
    }

    async fn start(&mut self, positions: &HashMap<u32, Position>) {
        self.epoch += 1;
        let _ = self.commands.send(Command::Start { epoch: self.epoch, positions: positions.clone() });
    }

    fn committed(&mut self, positions: &[(u32, u64)]) {
        let _ = self.commands.send(Command::Committed(positions.to_vec()));
    }

    fn status(&self) -> SourceStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Context {
    topic: String,
    /// What the group gave us; `None` before the first rebalance and after a revocation.
    assigned: Mutex<Option<Vec<u32>>>,
    changed: AtomicBool,
    /// Kafka refused us; said once by librdkafka, true until a message comes.
    forbidden: AtomicBool,
    /// Topic partitions of which nothing that was fetched waits, and the next Kafka offset to fetch.
    fetched: Mutex<HashMap<u32, u64>>,
    status: Arc<Mutex<SourceStatus>>,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = statistics.topics.get(&self.topic) {
            // Before the first message: where it is fetched from. One that cannot be unpacked never comes.
            let at = |p: &Partition| if p.app_offset >= 0 { p.app_offset } else { p.next_offset };
            let read = topic
                .partitions
                .values()
                .filter(|p| p.partition >= 0 && p.desired && p.hi_offset >= 0 && at(p) >= 0);
            let lag = read.map(|p| (p.partition as u32, p.hi_offset.saturating_sub(at(p)).max(0) as u64));
            status.lag = lag.collect();
            let idle = topic.partitions.values().filter(|p| p.partition >= 0 && p.desired);
            let idle = idle.filter(|p| p.fetchq_cnt == 0 && p.next_offset >= 0);
            let fetched = idle.map(|p| (p.partition as u32, p.next_offset as u64));
            *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = fetched.collect();
        }
        let up = statistics.brokers.values().any(|broker| broker.state == "UP");
        if !up {
            status.trouble = Some(NO_BROKER.to_owned());
        } else if !self.forbidden.load(Ordering::Relaxed) {
            status.trouble = None;
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Context {
    /// Only notes what the group decided: assigning waits until the positions are known.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            *assigned = Some(list.elements().iter().map(|element| element.partition() as u32).collect());
        } else {
            *assigned = None;
            // A pause by us outlives the assignment, and would hold when the topic partitions come back.
            if let Err(error) = consumer.resume(list) {
                tracing::debug!(%error, "resume what is given back");
            }
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "give topic partitions back");
            }
        }
        self.changed.store(true, Ordering::SeqCst);
    }
}

/// The polling thread.
struct Reader {
    topic: String,
    consumer: BaseConsumer<Context>,
    commands: std_mpsc::Receiver<Command>,
    output: mpsc::Sender<Output>,
    status: Arc<Mutex<SourceStatus>>,
    epoch: u64,
    /// A start that could not be carried out yet: no broker answers.
    wanted: Option<HashMap<u32, Position>>,
    buffer: Vec<Message>,
    buffer_bytes: usize,
    full_since: Option<Instant>,
    paused: bool,
    /// The writer must be told that there is another assignment.
    announce: bool,
    /// The message before the position, which must be the one that PostgreSQL remembers: its offset and hash.
    verify: HashMap<u32, (u64, i64)>,
    stopped: BTreeMap<u32, String>,
    /// Was stopped before this start; its message before the position has not been checked yet.
    unverified: BTreeMap<u32, String>,
    /// When something was stopped last.
    stopped_at: Instant,
    gaps: Gaps,
}

impl Reader {
    fn run(&mut self) {
        let mut last_try: Option<Instant> = None;
        let mut buffered_at = Instant::now();
        loop {
            match self.take_commands() {
                Ok(new_start) if new_start => last_try = None,
                Ok(_) => {}
                Err(()) => return,
            }
            let again = !self.stopped.is_empty() && self.stopped_at.elapsed() > LOOK_AGAIN;
            if self.consumer.context().changed.swap(false, Ordering::SeqCst) || again {
                self.forget_assignment();
                self.stopped_at = Instant::now();
                self.announce =
                    self.consumer.context().assigned.lock().is_ok_and(|assigned| assigned.is_some());
                if !self.announce {
                    self.stopped.clear();
                    self.unverified.clear();
                    self.publish_stopped();
                }
            }
            // Never waiting for the writer: the group counts on the polling.
            if self.announce {
                match self.output.try_send(Output::Reassigned) {
                    Ok(()) => {
                        self.announce = false;
                        // Another start follows, with positions that were read after this.
                        self.wanted = None;
                    }
                    Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            if self.wanted.is_some()
                && !self.announce
                && last_try.is_none_or(|at| at.elapsed() > Duration::from_secs(1))
            {
                last_try = Some(Instant::now());
                self.try_start();
            }
            let full = self.buffer_bytes >= HANDOVER_BYTES || self.buffer.len() >= HANDOVER_MESSAGES;
            let old = !self.buffer.is_empty() && buffered_at.elapsed() > POLL;
            if (full || old) && !self.hand_over(full) {
                return;
            }
            if self.full_since.is_some() && !self.paused {
                continue;
            }
            let wait = if self.buffer.is_empty() || self.paused { POLL } else { Duration::ZERO };
            // A message borrows the consumer: its bytes are copied out at once.
            let polled = self.consumer.poll(wait).map(|result| result.map(|message| copy(&message)));
            match polled {
                Some(Ok(message)) => {
                    if self.buffer.is_empty() {
                        buffered_at = Instant::now();
                    }
                    self.accept(message);
                }
                Some(Err(error)) => self.failed(&error),
                None if !self.buffer.is_empty() && !full && !self.hand_over(false) => return,
                None => self.look_for_holes(),
            }
            if let Some(why) = self.consumer.client().fatal_error().map(|(_, why)| why) {
                // Another process has joined as the same member, for one.
                let why =
                    format!("Kafka's client has ended: {why}; `member` must be another one for each writer");
                let _ = self.output.blocking_send(Output::Broken(why));
                return;
            }
        }
    }

    /// Nothing is at hand: what was fetched and never arrived was passed over by the client.
    fn look_for_holes(&mut self) {
        if self.announce || self.wanted.is_some() || self.paused || !self.buffer.is_empty() {
            return;
        }
        let fetched = std::mem::take(
            &mut *self.consumer.context().fetched.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for (partition, fetched_to) in fetched {
            if !self.stopped.contains_key(&partition) && self.gaps.is_hole_at_the_end(partition, fetched_to) {
                self.ask_again(partition);
            }
        }
    }

    /// The writer begins at its positions once more.
    fn ask_again(&mut self, partition: u32) {
        tracing::warn!(
            topic = self.topic,
            partition,
            "a message did not arrive; the writer fetches it again"
        );
        self.consumer.context().changed.store(true, Ordering::SeqCst);
    }

    fn take_commands(&mut self) -> Result<bool, ()> {
        let mut new_start = false;
        loop {
            match self.commands.try_recv() {
                Ok(Command::Start { epoch, positions }) => {
                    self.forget_assignment();
                    self.epoch = epoch;
                    self.wanted = Some(positions);
                    new_start = true;
                }
                Ok(Command::Committed(positions)) => self.tell_kafka(&positions),
                Err(std_mpsc::TryRecvError::Empty) => return Ok(new_start),
                Err(std_mpsc::TryRecvError::Disconnected) => return Err(()),
            }
        }
    }

    /// Nothing that was read or fetched so far may follow: under the next epoch it would leave a hole before it.
    fn forget_assignment(&mut self) {
        self.buffer.clear();
        self.buffer_bytes = 0;
        self.full_since = None;
        self.paused = false;
        // Pauses outlive an assignment: those that were stopped are resumed too.
        let released = self.consumer.assignment().and_then(|list| {
            self.consumer.resume(&list)?;
            self.consumer.unassign()
        });
        if let Err(error) = released {
            tracing::warn!(%error, "release the topic partitions");
        }
    }

    /// The group's committed offsets are for people's tools (lag monitors); nothing here reads them.
    fn tell_kafka(&self, positions: &[(u32, u64)]) {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, next_offset) in positions {
            let offset = Offset::Offset(*next_offset as i64);
            if list.add_partition_offset(&self.topic, *partition as i32, offset).is_err() {
                return;
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "tell Kafka the positions");
        }
    }

    /// Assigns what the group gave, each at PostgreSQL's position if Kafka still has it.
    fn try_start(&mut self) {
        let assigned =
            self.consumer.context().assigned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(assigned), Some(positions)) = (assigned, self.wanted.take()) else { return };
        let mut list = TopicPartitionList::with_capacity(assigned.len());
        self.verify.clear();
        self.gaps.forget();
        self.unverified.append(&mut self.stopped);
        for partition in assigned {
            let Some(position) = positions.get(&partition) else {
                let _ = list.add_partition_offset(&self.topic, partition as i32, Offset::Beginning);
                continue;
            };
            let (low, high) = match self.consumer.fetch_watermarks(&self.topic, partition as i32, ASK_TIMEOUT)
            {
                Ok((low, high)) => (low.max(0) as u64, high.max(0) as u64),
                Err(error) => {
                    self.note_trouble(format!("ask Kafka for topic partition {partition}: {error}"));
                    self.wanted = Some(positions);
                    return;
                }
            };
            let next = position.next_offset;
            if next < low || next > high {
                let why = format!(
                    "PostgreSQL's position {next} is outside of what Kafka has ({low} to {high}): messages expired \
                     unread, or the topic was created again; {REMEDY}"
                );
                self.stopped.insert(partition, why);
                self.stopped_at = Instant::now();
                continue;
            }
            self.gaps.begin(partition, next);
            // One before, to see that it is the message that we know.
            let from = match position.last_hash {
                Some(hash) if next > low => {
                    self.verify.insert(partition, (next - 1, hash));
                    next - 1
                }
                _ => next,
            };
            let _ = list.add_partition_offset(&self.topic, partition as i32, Offset::Offset(from as i64));
        }
        if let Err(error) = self.consumer.assign(&list) {
            self.note_trouble(format!("assign topic partitions: {error}"));
            self.wanted = Some(positions);
        }
        self.unverified.retain(|partition, _| self.verify.contains_key(partition));
        self.publish_stopped();
    }

    fn accept(&mut self, message: Message) {
        let partition = message.topic_partition;
        self.consumer.context().forbidden.store(false, Ordering::Relaxed);
        if self.announce || self.wanted.is_some() {
            return;
        }
        if self.stopped.contains_key(&partition) {
            return;
        }
        if let Some((offset, hash)) = self.verify.remove(&partition)
            && message.kafka_offset < offset + 1
        {
            if message_hash(&message.payload) != hash {
                let why = format!(
                    "the message at {offset} is not the one that PostgreSQL remembers: the topic was created again; {REMEDY}"
                );
                self.stop(partition, why);
            } else if self.unverified.remove(&partition).is_some() {
                self.publish_stopped();
            }
            return;
        }
        if self.gaps.is_hole_before(partition, message.kafka_offset) {
            self.ask_again(partition);
            return;
        }
        self.buffer_bytes += message.payload.len();
        self.buffer.push(message);
    }

    fn stop(&mut self, partition: u32, why: String) {
        self.unverified.remove(&partition);
        self.stopped.insert(partition, why);
        self.stopped_at = Instant::now();
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition as i32);
        if let Err(error) = self.consumer.pause(&list) {
            tracing::warn!(%error, partition, "pause a topic partition");
        }
        self.publish_stopped();
    }

    /// True unless the writer is gone. Without room: wait a little, later pause and keep polling.
    fn hand_over(&mut self, full: bool) -> bool {
        match self.output.try_reserve() {
            Ok(permit) => {
                permit.send(Output::Messages(self.epoch, std::mem::take(&mut self.buffer)));
                self.buffer_bytes = 0;
                self.full_since = None;
                if self.paused {
                    self.paused = false;
                    self.pause_all(false);
                }
                true
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                if full || self.paused {
                    let since = *self.full_since.get_or_insert_with(Instant::now);
                    if !self.paused && since.elapsed() > PAUSE_AFTER {
                        self.paused = true;
                        self.pause_all(true);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                true
            }
            Err(mpsc::error::TrySendError::Closed(())) => false,
        }
    }

    fn pause_all(&self, pause: bool) {
        let Ok(mut list) = self.consumer.assignment() else { return };
        if !pause {
            let running = list.elements().iter().map(|e| e.partition()).collect::<Vec<_>>();
            list = TopicPartitionList::new();
            for partition in running.into_iter().filter(|p| !self.stopped.contains_key(&(*p as u32))) {
                list.add_partition(&self.topic, partition);
            }
        }
        let done = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            tracing::warn!(%error, pause, "pause or resume the topic");
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // Expired under us while we lagged: the next start finds out which topic partition, and stops it.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::error!(%error, "a position is no longer in Kafka");
                self.consumer.context().changed.store(true, Ordering::SeqCst);
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.consumer.context().forbidden.store(true, Ordering::Relaxed);
                self.note_trouble(format!(
                    "{error}: the user needs READ on topic {} and on the group",
                    self.topic
                ));
            }
            Some(
                RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::NotImplemented,
            ) => {
                self.note_trouble(error.to_string());
                let lag = self.status.lock().unwrap_or_else(PoisonError::into_inner).lag.clone();
                let due = lag.iter().filter(|(_, lag)| **lag > 0).map(|(partition, _)| *partition);
                let due: Vec<u32> = due.filter(|partition| !self.stopped.contains_key(partition)).collect();
                for (partition, at) in self.gaps.unreadable(due.into_iter()) {
                    let at = at.map_or_else(|| "its beginning".to_owned(), |at| at.to_string());
                    self.stop(
                        partition,
                        format!("the messages from {at} on cannot be unpacked ({error}); {UNREADABLE}"),
                    );
                }
            }
            _ => self.note_trouble(error.to_string()),
        }
    }

    fn note_trouble(&self, trouble: String) {
        tracing::warn!(%trouble, "kafka");
        self.status.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(trouble);
    }

    fn publish_stopped(&self) {
        for (partition, why) in &self.stopped {
            tracing::error!(topic = self.topic, partition, why, "topic partition stopped");
        }
        let mut shown = self.unverified.clone();
        shown.extend(self.stopped.clone());
        self.status.lock().unwrap_or_else(PoisonError::into_inner).stopped = shown;
    }
}

fn copy(message: &BorrowedMessage<'_>) -> Message {
    let header = message
        .headers()
        .and_then(|headers| headers.iter().find(|header| header.key == KAFKA_HEADER).and_then(|h| h.value));
    Message {
        topic_partition: message.partition() as u32,
        kafka_offset: message.offset() as u64,
        provenance: Provenance::of_header(header),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}
