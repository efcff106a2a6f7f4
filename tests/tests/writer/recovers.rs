//! What PostgreSQL refuses becomes a dead letter and stops nothing, wherever it is refused; what it has after all is no failure any more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::Provenance;
use cordwood_store::commit::Position;
use cordwood_store::{Settings, Store};
use cordwood_tests::env::{Fault, Postgres, Proxy};
use cordwood_writer::{Event, Message, NoFeed, Source, SourceStatus, queue};
use futures::future::try_join_all;

use super::support::{self, Lines, check_exactly_once};
use super::{RECORDS, count, parts, start, wait_until};

/// PostgreSQL refuses rows of this table where the condition holds.
async fn refuse(client: &tokio_postgres::Client, table: &str, condition: &str) -> Result<()> {
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as \
         $$ begin raise exception 'not this one' using errcode = '22000'; end $$; \
         create trigger refuse before insert on {table} for each row when ({condition}) execute function refuse()"
    );
    Ok(client.batch_execute(&sql).await?)
}

/// Refused before there is a transaction: it was read again and again, and all behind it waited for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_an_origin_that_is_refused_is_a_dead_letter() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "origins").await?;
    let client = postgres.client_of("origins").await?;
    refuse(&client, "origins", "new.tenant = 'poison'").await?;
    let (sender, source) = queue(16 << 20);
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let (mut lines, mut poison) = (Lines::new(1), Lines::new(2));
    poison.tenant = "poison".to_owned();
    let put = |message| sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"));
    let sent = [put(lines.message(10))?, put(poison.message(10))?, put(lines.message(10))?];
    tokio::time::timeout(Duration::from_secs(60), try_join_all(sent))
        .await
        .context("the writer stands still")??;
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &[lines])?;
    let letter = client.query_one("select kafka_offset, reason from dead_letters", &[]).await?;
    let (at, reason): (i64, String) = (letter.get(0), letter.get(1));
    ensure!(at == 1 && reason.contains("not this one"), "{at}: {reason}");
    Ok(())
}

/// Two topic partitions, each with one message after the other; which of them comes first changes with every start, as it may in Kafka.
struct Turning {
    messages: Vec<Message>,
    positions: HashMap<u32, u64>,
    starts: usize,
    delivered: bool,
}

impl Source for Turning {
    fn topic(&self) -> &str {
        "turning"
    }

    async fn next(&mut self) -> Event {
        if std::mem::replace(&mut self.delivered, true) {
            std::future::pending::<()>().await;
        }
        let position = |partition: u32| self.positions.get(&partition).copied().unwrap_or(0);
        let mut messages = self.messages.clone();
        messages.retain(|message| message.kafka_offset >= position(message.topic_partition));
        let last = (self.starts % 2) as u32;
        messages.sort_by_key(|message| (message.topic_partition == last, message.kafka_offset));
        Event::Messages(messages)
    }

    async fn start(&mut self, positions: &HashMap<u32, Position>) {
        self.positions = positions.iter().map(|(partition, at)| (*partition, at.next_offset)).collect();
        self.starts += 1;
        self.delivered = false;
    }

    fn committed(&mut self, _: &[(u32, u64)]) {}

    fn status(&self) -> SourceStatus {
        SourceStatus::default()
    }
}

/// The writer remembered only the last message that was refused alone: two of two topic partitions took turns for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_messages_of_two_topic_partitions_are_dead_letters() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "two").await?;
    let client = postgres.client_of("two").await?;
    refuse(&client, "watermarks", "new.stream like 'uid-90%'").await?;
    let mut streams = [Lines::new(1), Lines::new(2)];
    let mut messages = Vec::new();
    for (topic_partition, lines) in (0..).zip(&mut streams) {
        let poison = Lines::new(900 + lines.stream).message(10);
        for (kafka_offset, payload) in (0..).zip([poison, lines.message(10)]) {
            let provenance = Provenance::Agent;
            messages.push(Message { topic_partition, kafka_offset, provenance, payload: payload.into() });
        }
    }
    let source = Turning { messages, positions: HashMap::new(), starts: 0, delivered: false };
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    wait_until("the good messages", async || Ok(count(&client, RECORDS).await? == 20)).await?;
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    let letters =
        "select count(distinct topic_partition) from dead_letters where reason like '%not this one%'";
    ensure!(count(&client, letters).await? == 2, "dead letters");
    Ok(())
}

/// The answer to COMMIT is lost, PostgreSQL has the transaction, and no line follows: probes said for ever that PostgreSQL is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_was_committed_after_all_is_no_failure() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    support::store(&postgres, "after_all").await?;
    let client = postgres.client_of("after_all").await?;
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
    let through = postgres.url_through(proxy.address().ip(), proxy.address().port(), "after_all");
    let store = Store::new(&Settings::url(through))?;
    let (sender, source) = queue(16 << 20);
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let mut lines = Lines::new(1);
    let mut put = || sender.send(lines.message(10)).map_err(|_| anyhow::anyhow!("the queue is full"));
    put()?.await?;
    proxy.set(Fault::DropAnswerTo(b"commit\0".to_vec()));
    let stored = put()?;
    tokio::time::timeout(Duration::from_secs(60), stored).await.context("it does not recover")??;
    ensure!(proxy.counts().answers_dropped.load(Ordering::Relaxed) == 1, "no answer was lost");
    ensure!(writer.metrics.resets.with_label_values(&["unknown"]).get() == 1, "nothing was in doubt");
    let is_ready = || !writer.health.ready().is_err_and(|reasons| reasons.contains("postgres"));
    wait_until("readiness", async || Ok(is_ready())).await?;
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &[lines])
}
