//! A lane: one writer's session, its number, and the statements of its transaction, sent in one flight.
//!
//! Lanes are dense from 0 because readers index `array_agg(upto order by lane)` by them. Lane 0 is the sealer's own
//! ([`crate::ring::CARRY_LANE`]): it holds the records that sealing carried over. A writer takes the lowest lane above 0 whose session lock is
//! free, or adds one; the row in `seals` is committed before the lane's first batch.

use std::collections::{HashMap, HashSet};

use futures::future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::commit::{Commit, CommitError, Committed, Position};
use crate::connect::Store;
use crate::error::StoreError;
use crate::error_rows;
use crate::migrate::LOCK_SPACE;
use crate::ring::{self, BLOCKS_PER_COMMIT_MAX, CopyBuffer, RINGS};
use crate::task_rows;
use crate::wake::NOTIFY;
use crate::watermarks::{self, Steps};

pub struct Lane {
    client: Client,
    lane: i16,
    seq: i64,
    /// The ring that the last transaction was told of: a hint.
    ring: i16,
    statements: Statements,
}

/// A writer gives a commit up a little later: its session must not go on holding the lane and its rows.
const STATEMENT_SECONDS_MAX: u32 = 25;

struct Statements {
    copy_ring: Vec<Statement>,
    copy_rollup: Vec<Statement>,
    copy_errors: Vec<Statement>,
    claim: Statement,
    ring: Statement,
    positions: Statement,
    watermarks: watermarks::Statements,
    losses: Statement,
    dead_letters: Statement,
    gaps: Statement,
    foreign: Statement,
    tasks: task_rows::Statements,
}

const CLAIM: &str = "insert into batches (lane, seq, blocks, records, raw_bytes) \
    select $1::smallint, $2::bigint, $3::int, $4::bigint, $5::bigint \
    where $2 = 1 + coalesce((select max(seq) from batches where lane = $1), (select upto from seals where lane = $1))";

const POSITIONS: &str = "with step as (\
      select * from unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) \
        as s(topic_partition, old, new, hash)), \
    moved as (\
      update positions p set next_offset = s.new, last_hash = s.hash, updated = now() from step s \
      where p.topic_partition = s.topic_partition and p.next_offset = s.old returning p.topic_partition), \
    begun as (\
      insert into positions (topic_partition, topic, next_offset, last_hash) \
      select topic_partition, $5, new, hash from step where old is null \
      on conflict do nothing returning topic_partition) \
    select topic_partition from moved union all select topic_partition from begun";

const LOSSES: &str = "insert into losses (tenant, stream, file, topic_partition, position_from, bytes, exact, reason) \
    select * from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::bigint[], $6::bigint[], $7::bool[], \
      $8::text[]) on conflict do nothing";

const GAPS: &str = "insert into offset_gaps (topic_partition, offset_from, offset_to, reason) \
    select * from unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[]) on conflict do nothing";

const FOREIGN: &str = "insert into foreign_counts as f (topic_partition, records, bytes) \
    select * from unnest($1::int[], $2::bigint[], $3::bigint[]) on conflict (topic_partition) do update set \
      records = f.records + excluded.records, bytes = f.bytes + excluded.bytes";

const DEAD_LETTERS: &str = "insert into dead_letters (topic_partition, kafka_offset, reason, payload, bytes, messages) \
    select * from unnest($1::int[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[]) on conflict do nothing";

impl Lane {
    /// Opens a session and takes a lane in it. The session's end gives the lane back.
    pub async fn claim(store: &Store) -> Result<Lane, StoreError> {
        let client = store.writable("cordwood writer").await?;
        let limit = format!("set statement_timeout = '{STATEMENT_SECONDS_MAX}s'");
        client.batch_execute(&limit).await.map_err(StoreError::sql("prepare", "a lane's session"))?;
        let lane = take(&client).await?;
        let (statements, start) =
            future::try_join(Statements::prepare(&client), start(&client, lane)).await?;
        let (seq, ring) = start;
        Ok(Lane { client, lane, seq, ring, statements })
    }

    pub fn number(&self) -> i16 {
        self.lane
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One transaction. After any error drop the lane, claim another, read the positions again.
    pub async fn commit(&mut self, topic: &str, commit: &Commit) -> Result<Committed, CommitError> {
        if commit.blocks.len() > BLOCKS_PER_COMMIT_MAX {
            // Their ids would repeat.
            let message = format!(
                "{} blocks in one transaction: {BLOCKS_PER_COMMIT_MAX} at the most",
                commit.blocks.len()
            );
            return Err(StoreError::Invalid(message).into());
        }
        let seq = self.seq + 1;
        let done = match self.send(topic, seq, commit).await {
            Ok(sent) => self.end().await.map(|()| sent).map_err(|error| {
                let lost = error.as_db_error().is_none();
                let error =
                    StoreError::Sql { operation: "commit", thing: format!("batch {seq}"), source: error };
                if lost { CommitError::Unknown(error) } else { CommitError::Store(error) }
            }),
            Err(error) => Err(error),
        };
        match done {
            Ok((ring, task_lines)) => {
                self.seq = seq;
                self.ring = ring;
                Ok(Committed { lane: self.lane, seq, task_lines })
            }
            Err(error) => {
                if !self.client.is_closed() && !matches!(error, CommitError::Unknown(_)) {
                    let _ = self.client.batch_execute("rollback").await;
                }
                Err(error)
            }
        }
    }

    /// COMMIT; behind it, in the same flight, those who follow the store are told. Whether they are is nothing to the transaction.
    async fn end(&self) -> Result<(), tokio_postgres::Error> {
        let told = self.client.batch_execute(NOTIFY);
        let (committed, told) = future::join(self.client.batch_execute("commit"), told).await;
        if let (Ok(()), Err(error)) = (&committed, told) {
            tracing::debug!(error = %crate::error::describe(&error), "those who follow were not told");
        }
        committed
    }

    /// Everything but COMMIT, in one flight; the conditions are judged when all answers are there. Returns the ring that is current, and
    /// how many lines of tasks were added.
    async fn send(&self, topic: &str, seq: i64, commit: &Commit) -> Result<(i16, u64), CommitError> {
        let (lane, client, statements) = (self.lane, &self.client, &self.statements);
        let raw_bytes: u64 = commit.blocks.iter().map(|block| block.raw_bytes).sum();
        let counts = (commit.blocks.len() as i32, commit.records as i64, raw_bytes as i64);
        // Polled in this order, so sent in this order: each is on its way before the first answer is back.
        let begin = async {
            let begun = client.batch_execute("begin").await.map_err(StoreError::sql("begin", "batch"));
            begun.map_err(CommitError::from)
        };
        let steps = Steps::of(commit);
        let locked = steps.lock(client, &statements.watermarks);
        let ring = async {
            let row =
                client.query_one(&statements.ring, &[]).await.map_err(StoreError::sql("read", "ring_ctl"))?;
            Ok::<i16, StoreError>(row.get(0))
        };
        let claim = async {
            let parameters: [&(dyn ToSql + Sync); 5] = [&lane, &seq, &counts.0, &counts.1, &counts.2];
            client
                .execute(&statements.claim, &parameters)
                .await
                .map_err(StoreError::sql("claim batch of", "lane"))
        };
        let positions = self.positions(topic, commit);
        let blocks = self.copy_blocks(seq, commit);
        let counted = future::try_join(self.copy_rollup(seq, commit), self.copy_errors(seq, commit));
        let rest = future::try_join3(
            steps.carry_out(client, &statements.watermarks),
            future::try_join(self.losses(commit), steps.take_back(client, &statements.watermarks)),
            future::try_join3(self.dead_letters(commit), self.gaps(commit), self.foreign(commit)),
        );
        // Last: what it waits for holds no lock that the others want.
        let tasks = task_rows::add(client, &statements.tasks, &commit.tasks);
        let ((begin, ring, locked, claim, positions), (blocks, counted, rest, tasks)) = future::join(
            future::join5(begin, ring, locked, claim, positions),
            future::join4(blocks, counted, rest, tasks),
        )
        .await;
        begin?;
        locked?;
        let ring = ring?;
        match claim {
            Ok(1) => {}
            Ok(_) => return Err(CommitError::Lane { lane, seq }),
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) => {
                return Err(CommitError::Lane { lane, seq });
            }
            Err(error) => return Err(error.into()),
        }
        let moved = positions?;
        if let Some(step) =
            commit.positions.iter().find(|step| !moved.contains(&(step.topic_partition as i32)))
        {
            return Err(CommitError::Fenced { topic_partition: step.topic_partition, expected: step.from });
        }
        blocks?;
        counted?;
        if let (Some(stream), ..) = rest? {
            return Err(CommitError::Overlap { stream });
        }
        Ok((ring, tasks?))
    }

    async fn positions(&self, topic: &str, commit: &Commit) -> Result<HashSet<i32>, StoreError> {
        if commit.positions.is_empty() {
            return Ok(HashSet::new());
        }
        // In order of the partition, so that two writers' locks never cross.
        let mut steps: Vec<_> = commit.positions.iter().collect();
        steps.sort_by_key(|step| step.topic_partition);
        let partition: Vec<i32> = steps.iter().map(|s| s.topic_partition as i32).collect();
        let from: Vec<Option<i64>> = steps.iter().map(|s| s.from.map(|from| from as i64)).collect();
        let to: Vec<i64> = steps.iter().map(|s| s.to as i64).collect();
        let hash: Vec<i64> = steps.iter().map(|s| s.last_hash).collect();
        let rows = self
            .client
            .query(&self.statements.positions, &[&partition, &from, &to, &hash, &topic])
            .await
            .map_err(StoreError::sql("move", "positions"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn copy_blocks(&self, seq: i64, commit: &Commit) -> Result<(), StoreError> {
        if commit.blocks.is_empty() {
            return Ok(());
        }
        let bytes =
            commit.blocks.iter().map(|b| b.payload.len() + b.bloom.len() + b.tenant.len() + 128).sum();
        let mut buffer = CopyBuffer::with_capacity(bytes);
        for (index, block) in commit.blocks.iter().enumerate() {
            buffer.fresh_block(self.lane, seq, index, block);
        }
        self.copy(&self.statements.copy_ring[self.ring as usize], buffer, "ring").await
    }

    async fn copy_rollup(&self, seq: i64, commit: &Commit) -> Result<(), StoreError> {
        if commit.rollup.is_empty() {
            return Ok(());
        }
        let mut buffer = CopyBuffer::with_capacity(commit.rollup.len() * 128);
        for row in &commit.rollup {
            buffer
                .row(10)
                .int2(self.lane)
                .int8(seq)
                .time(row.minute_us)
                .bytes(row.tenant.as_bytes())
                .bytes(row.namespace.as_bytes())
                .bytes(row.service.as_bytes())
                .bytes(row.source.as_bytes())
                .int2(row.level as i16)
                .int8(row.count as i64)
                .int8(row.bytes as i64);
        }
        self.copy(&self.statements.copy_rollup[self.ring as usize], buffer, "rollup ring").await
    }

    async fn copy_errors(&self, seq: i64, commit: &Commit) -> Result<(), StoreError> {
        if commit.errors.is_empty() {
            return Ok(());
        }
        let buffer = error_rows::buffer(self.lane, seq, &commit.errors);
        self.copy(&self.statements.copy_errors[self.ring as usize], buffer, "error ring").await
    }

    async fn copy(&self, statement: &Statement, buffer: CopyBuffer, thing: &str) -> Result<(), StoreError> {
        ring::fill(self.client.copy_in(statement).await, buffer.finish(), thing).await.map(drop)
    }

    async fn losses(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.losses.is_empty() {
            return Ok(());
        }
        let rows = &commit.losses;
        let tenant: Vec<&str> = rows.iter().map(|r| &*r.tenant).collect();
        let stream: Vec<&str> = rows.iter().map(|r| r.key.stream.as_str()).collect();
        let file: Vec<i64> = rows.iter().map(|r| r.key.file.0 as i64).collect();
        let partition: Vec<i32> = rows.iter().map(|r| r.key.topic_partition as i32).collect();
        let from: Vec<i64> = rows.iter().map(|r| r.from as i64).collect();
        let bytes: Vec<i64> = rows.iter().map(|r| r.bytes as i64).collect();
        let exact: Vec<bool> = rows.iter().map(|r| r.exact).collect();
        let reason: Vec<String> = rows.iter().map(|r| r.reason.replace('\0', "\u{fffd}")).collect();
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&tenant, &stream, &file, &partition, &from, &bytes, &exact, &reason];
        let execute = self.client.execute(&self.statements.losses, &parameters);
        execute.await.map_err(StoreError::sql("add", "losses"))?;
        Ok(())
    }

    async fn dead_letters(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.dead_letters.is_empty() {
            return Ok(());
        }
        let rows = &commit.dead_letters;
        let partition: Vec<i32> = rows.iter().map(|r| r.topic_partition as i32).collect();
        let offset: Vec<i64> = rows.iter().map(|r| r.kafka_offset as i64).collect();
        let reason: Vec<String> = rows.iter().map(|r| r.reason.replace('\0', "\u{fffd}")).collect();
        let payload: Vec<&[u8]> = rows.iter().map(|r| &r.payload[..]).collect();
        let bytes: Vec<i64> = rows.iter().map(|r| r.bytes as i64).collect();
        let messages: Vec<i64> = rows.iter().map(|r| r.messages as i64).collect();
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&partition, &offset, &reason, &payload, &bytes, &messages];
        let execute = self.client.execute(&self.statements.dead_letters, &parameters);
        execute.await.map_err(StoreError::sql("add", "dead letters"))?;
        Ok(())
    }

    async fn gaps(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.gaps.is_empty() {
            return Ok(());
        }
        let rows = &commit.gaps;
        let partition: Vec<i32> = rows.iter().map(|r| r.topic_partition as i32).collect();
        let from: Vec<i64> = rows.iter().map(|r| r.from as i64).collect();
        let to: Vec<i64> = rows.iter().map(|r| r.to as i64).collect();
        let reason: Vec<&str> = rows.iter().map(|r| r.reason()).collect();
        let parameters: [&(dyn ToSql + Sync); 4] = [&partition, &from, &to, &reason];
        let execute = self.client.execute(&self.statements.gaps, &parameters);
        execute.await.map_err(StoreError::sql("add", "offset gaps"))?;
        Ok(())
    }

    async fn foreign(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.foreign.is_empty() {
            return Ok(());
        }
        let partition: Vec<i32> = commit.foreign.keys().map(|partition| *partition as i32).collect();
        let records: Vec<i64> = commit.foreign.values().map(|counts| counts.0 as i64).collect();
        let bytes: Vec<i64> = commit.foreign.values().map(|counts| counts.1 as i64).collect();
        let parameters: [&(dyn ToSql + Sync); 3] = [&partition, &records, &bytes];
        let execute = self.client.execute(&self.statements.foreign, &parameters);
        execute.await.map_err(StoreError::sql("count", "other producers' records"))?;
        Ok(())
    }

    /// The positions of a topic. Another topic's positions in this database are an error: one database, one topic.
    pub async fn read_positions(&self, topic: &str) -> Result<HashMap<u32, Position>, StoreError> {
        read_positions(&self.client, topic).await
    }
}

/// See [`Lane::read_positions`].
pub async fn read_positions(client: &Client, topic: &str) -> Result<HashMap<u32, Position>, StoreError> {
    let rows = client
        .query("select topic_partition, topic, next_offset, last_hash from positions", &[])
        .await
        .map_err(StoreError::sql("read", "positions"))?;
    let mut positions = HashMap::new();
    for row in &rows {
        let found: String = row.get(1);
        if found != topic {
            return Err(StoreError::Invalid(format!(
                "this database holds the records of topic {found:?}, not {topic:?}: use another database, or set the \
                 topic back"
            )));
        }
        let position =
            Position { topic: found, next_offset: row.get::<_, i64>(2) as u64, last_hash: row.get(3) };
        positions.insert(row.get::<_, i32>(0) as u32, position);
    }
    Ok(positions)
}

async fn take(client: &Client) -> Result<i16, StoreError> {
    loop {
        let rows = client
            .query("select lane from seals where lane > 0 order by lane", &[])
            .await
            .map_err(StoreError::sql("read", "seals"))?;
        for lane in rows.iter().map(|row| row.get::<_, i16>(0)) {
            let row = client
                .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &i32::from(lane)])
                .await
                .map_err(StoreError::sql("lock", format!("lane {lane}")))?;
            if row.get(0) {
                return Ok(lane);
            }
        }
        // All are held: the next number. Who loses the race for it finds it in the list.
        client
            .execute(
                "insert into seals (lane, upto) select max(lane) + 1, 0 from seals on conflict do nothing",
                &[],
            )
            .await
            .map_err(StoreError::sql("add", "lane"))?;
    }
}

async fn start(client: &Client, lane: i16) -> Result<(i64, i16), StoreError> {
    let row = client
        .query_one(
            "select coalesce((select max(seq) from batches where lane = $1), (select upto from seals where lane = $1)), \
             (select cur from ring_ctl)",
            &[&lane],
        )
        .await
        .map_err(StoreError::sql("read", format!("lane {lane}")))?;
    Ok((row.get(0), row.get(1)))
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Statements, StoreError> {
        let prepare = |text: String| async move {
            client.prepare(&text).await.map_err(StoreError::sql("prepare", text))
        };
        let all = |of: fn(i16) -> String| future::try_join_all((0..RINGS).map(of).map(prepare));
        let (copy_ring, copy_rollup, copy_errors) =
            future::try_join3(all(ring::copy_ring), all(ring::copy_rollup_ring), all(ring::copy_error_ring))
                .await?;
        let (watermarks, tasks) =
            future::try_join(watermarks::Statements::prepare(client), task_rows::Statements::prepare(client))
                .await?;
        let texts = [CLAIM, "select cur from ring_ctl", POSITIONS, LOSSES, DEAD_LETTERS, GAPS, FOREIGN];
        let mut rest = future::try_join_all(texts.map(str::to_owned).map(prepare)).await?.into_iter();
        let mut next = || rest.next().ok_or_else(|| StoreError::Invalid("a statement is missing".to_owned()));
        Ok(Statements {
            copy_ring,
            copy_rollup,
            copy_errors,
            claim: next()?,
            ring: next()?,
            positions: next()?,
            watermarks,
            losses: next()?,
            dead_letters: next()?,
            gaps: next()?,
            foreign: next()?,
            tasks,
        })
    }
}
