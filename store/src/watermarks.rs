//! The watermarks in PostgreSQL: of each stream's file, the ranges `(begin, end]` that each topic partition brought.
//!
//! Two writers meet at one file only when its stream moved from one topic partition to another (their number was raised) and
//! each of the two is another writer's. A step whose file others brought too, or may bring for the first time at this moment,
//! therefore takes a lock of its file, marks the others' rows, and looks once more, behind the lock, whether they hold what it
//! stores. A row that is marked makes its own writer do the same: until then a step costs nothing but its upsert.

use std::collections::{BTreeMap, HashMap};

use cordwood_core::identity::{FileId, StreamKey};
use cordwood_core::ranges::Ranges;
use futures::future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::commit::{Commit, FileKey, MISSING, Others, StreamCounts, WatermarkStep, Watermarks};
use crate::error::StoreError;
use crate::migrate::LOCK_FILES;

/// Locks that all streams share, and as many below 0: PostgreSQL has room for some thousands in all.
const SLOTS: i32 = 32;

/// In order, so that two writers' locks never cross.
const LOCK: &str = "select pg_advisory_xact_lock($1, slot) from (\
    select distinct mod(hashtext(stream), $3) as slot from unnest($2::text[]) stream order by 1) s";

/// Every row that the transaction will change, in order of the keys, as [`MOVE`] alone takes its own: two writers of which each
/// marks a row of the other's never wait for one another. Text is compared by its bytes, as [`Steps::of`] does.
const LOCK_ROWS: &str = "select from watermarks w \
      join unnest($1::text[], $2::bigint[], $3::int[], $4::bool[]) k(stream, file, topic_partition, careful) \
        on w.stream = k.stream and w.file = k.file and (k.careful or w.topic_partition = k.topic_partition) \
    order by w.stream collate \"C\", w.file, w.topic_partition for update of w";

const MARK: &str = "update watermarks w set shared = true \
    from unnest($1::text[], $2::bigint[], $3::int[]) k(stream, file, topic_partition) \
    where w.stream = k.stream and w.file = k.file and w.topic_partition <> k.topic_partition and not w.shared";

const MOVE: &str = "insert into watermarks as w (stream, file, topic_partition, position_begin, position_end, holes, shared, \
      origin, lines, bytes, records, gated, limited, rejected, duplicates, lost_bytes) \
    select k.stream, k.file, k.topic_partition, k.position_begin, k.position_end, k.holes::int8multirange, k.shared, k.origin, \
      k.lines, k.bytes, k.records, k.gated, k.limited, k.rejected, k.duplicates, k.lost_bytes \
    from unnest($1::text[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], $7::bool[], $8::bigint[], \
      $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[]) \
      k(stream, file, topic_partition, position_begin, position_end, holes, shared, origin, lines, bytes, records, gated, \
        limited, rejected, duplicates, lost_bytes) \
    on conflict (stream, file, topic_partition) do update set \
      position_begin = excluded.position_begin, position_end = excluded.position_end, holes = excluded.holes, \
      shared = w.shared or excluded.shared, origin = excluded.origin, updated = now(), \
      lines = w.lines + excluded.lines, bytes = w.bytes + excluded.bytes, records = w.records + excluded.records, \
      gated = w.gated + excluded.gated, limited = w.limited + excluded.limited, \
      rejected = w.rejected + excluded.rejected, duplicates = w.duplicates + excluded.duplicates, \
      lost_bytes = w.lost_bytes + excluded.lost_bytes \
    where excluded.shared or not w.shared";

const CHECK: &str = "select k.stream from unnest($1::text[], $2::bigint[], $3::int[], $4::text[]) \
      k(stream, file, topic_partition, claimed) \
    join watermarks w on w.stream = k.stream and w.file = k.file and w.topic_partition <> k.topic_partition \
    where int8multirange(int8range(w.position_begin, w.position_end, '(]')) - w.holes && k.claimed::int8multirange limit 1";

/// Takes back what was told as a loss and came after all; what is left of a loss stays under its time.
fn take_back() -> String {
    format!(
        "with gone as (\
           delete from losses l using unnest($1::text[], $2::bigint[], $3::text[]) k(stream, file, came) \
           where l.stream = k.stream and l.file = k.file and l.reason = '{MISSING}' \
             and int8range(l.position_from, l.position_from + l.bytes, '(]') && k.came::int8multirange \
           returning l.*, k.came), \
         rest as (\
           select g.seen, g.tenant, g.stream, g.file, g.topic_partition, lower(r) - 1 as position_from, \
             upper(r) - lower(r) as bytes, g.exact, g.reason \
           from gone g, unnest(int8multirange(int8range(g.position_from, g.position_from + g.bytes, '(]')) \
             - g.came::int8multirange) r), \
         kept as (\
           insert into losses (seen, tenant, stream, file, topic_partition, position_from, bytes, exact, reason) \
           select * from rest) \
         update watermarks w set lost_bytes = greatest(0, w.lost_bytes - d.bytes) from (\
           select stream, file, topic_partition, sum(bytes)::bigint as bytes from (\
             select stream, file, topic_partition, bytes from gone \
             union all select stream, file, topic_partition, -bytes from rest) b group by 1, 2, 3) d \
         where w.stream = d.stream and w.file = d.file and w.topic_partition = d.topic_partition"
    )
}

pub(crate) struct Statements {
    lock: Statement,
    lock_rows: Statement,
    mark: Statement,
    mov: Statement,
    check: Statement,
    take_back: Statement,
}

impl Statements {
    pub async fn prepare(client: &Client) -> Result<Statements, StoreError> {
        let prepare = |text: String| async move {
            client.prepare(&text).await.map_err(StoreError::sql("prepare", text))
        };
        let (lock, lock_rows, (mark, mov, check, take_back)) = future::try_join3(
            prepare(LOCK.to_owned()),
            prepare(LOCK_ROWS.to_owned()),
            future::try_join4(
                prepare(MARK.to_owned()),
                prepare(MOVE.to_owned()),
                prepare(CHECK.to_owned()),
                prepare(take_back()),
            ),
        )
        .await?;
        Ok(Statements { lock, lock_rows, mark, mov, check, take_back })
    }
}

/// The steps of one transaction, in order of their keys, so that two writers' locks never cross.
pub(crate) struct Steps<'a> {
    all: Vec<&'a WatermarkStep>,
    /// Those whose file others brought too, or may bring first at this moment.
    careful: Vec<&'a WatermarkStep>,
}

impl<'a> Steps<'a> {
    pub fn of(commit: &'a Commit) -> Steps<'a> {
        let mut all: Vec<_> = commit.watermarks.iter().collect();
        // As PostgreSQL orders them: a file's number has a sign there.
        fn key(step: &WatermarkStep) -> (&str, i64, u32) {
            (step.key.stream.as_str(), step.key.file.0 as i64, step.key.topic_partition)
        }
        all.sort_by(|a, b| key(a).cmp(&key(b)));
        let careful = all.iter().filter(|step| step.others != Others::None).copied().collect();
        Steps { all, careful }
    }

    /// Before every other lock of the transaction.
    pub async fn lock(&self, client: &Client, statements: &Statements) -> Result<(), StoreError> {
        if self.careful.is_empty() {
            return Ok(());
        }
        let streams: Vec<&str> = self.careful.iter().map(|step| step.key.stream.as_str()).collect();
        let locked = client.execute(&statements.lock, &[&LOCK_FILES, &streams, &SLOTS]).await;
        locked.map_err(StoreError::sql("lock", "the files of a batch"))?;
        Ok(())
    }

    /// Moves the watermarks. `Some`: a stream of which another topic partition brought a part that this transaction stores too.
    pub async fn carry_out(
        &self,
        client: &Client,
        statements: &Statements,
    ) -> Result<Option<StreamKey>, StoreError> {
        if self.all.is_empty() {
            return Ok(None);
        }
        // Polled in this order, so sent in this order.
        let (_, _, moved, overlap) = future::try_join4(
            self.lock_rows(client, statements),
            self.mark(client, statements),
            self.move_all(client, statements),
            self.check(client, statements),
        )
        .await?;
        match overlap {
            None if moved < self.all.len() as u64 => Ok(Some(self.all[0].key.stream.clone())),
            overlap => Ok(overlap),
        }
    }

    async fn lock_rows(&self, client: &Client, statements: &Statements) -> Result<(), StoreError> {
        if self.careful.is_empty() {
            return Ok(());
        }
        let (stream, file, partition) = keys(&self.all);
        let careful: Vec<bool> = self.all.iter().map(|step| step.others != Others::None).collect();
        let locked = client.execute(&statements.lock_rows, &[&stream, &file, &partition, &careful]).await;
        locked.map_err(StoreError::sql("lock", "watermarks"))?;
        Ok(())
    }

    async fn mark(&self, client: &Client, statements: &Statements) -> Result<(), StoreError> {
        if self.careful.is_empty() {
            return Ok(());
        }
        let (stream, file, partition) = keys(&self.careful);
        let marked = client.execute(&statements.mark, &[&stream, &file, &partition]).await;
        marked.map_err(StoreError::sql("mark", "watermarks"))?;
        Ok(())
    }

    async fn move_all(&self, client: &Client, statements: &Statements) -> Result<u64, StoreError> {
        let steps = &self.all;
        let (stream, file, partition) = keys(steps);
        let begin: Vec<i64> = steps.iter().map(|s| s.brought.begin() as i64).collect();
        let end: Vec<i64> = steps.iter().map(|s| s.brought.end() as i64).collect();
        let holes: Vec<String> = steps.iter().map(|s| multirange([&s.brought.holes()])).collect();
        let shared: Vec<bool> = steps.iter().map(|s| s.others == Others::Some).collect();
        let origin: Vec<i64> = steps.iter().map(|s| s.origin.0 as i64).collect();
        let count = |of: fn(&StreamCounts) -> u64| -> Vec<i64> {
            steps.iter().map(|s| of(&s.counts) as i64).collect()
        };
        let (lines, bytes, records) = (count(|c| c.lines), count(|c| c.bytes), count(|c| c.records));
        let (gated, limited, rejected) = (count(|c| c.gated), count(|c| c.limited), count(|c| c.rejected));
        let (duplicates, lost) = (count(|c| c.duplicates), count(|c| c.lost_bytes));
        let parameters: [&(dyn ToSql + Sync); 16] = [
            &stream,
            &file,
            &partition,
            &begin,
            &end,
            &holes,
            &shared,
            &origin,
            &lines,
            &bytes,
            &records,
            &gated,
            &limited,
            &rejected,
            &duplicates,
            &lost,
        ];
        client.execute(&statements.mov, &parameters).await.map_err(StoreError::sql("move", "watermarks"))
    }

    async fn check(&self, client: &Client, statements: &Statements) -> Result<Option<StreamKey>, StoreError> {
        if self.careful.is_empty() {
            return Ok(None);
        }
        let (stream, file, partition) = keys(&self.careful);
        let claimed: Vec<String> =
            self.careful.iter().map(|step| multirange([&step.added, &step.missing])).collect();
        let found = client
            .query_opt(&statements.check, &[&stream, &file, &partition, &claimed])
            .await
            .map_err(StoreError::sql("check", "watermarks"))?;
        Ok(found.map(|row| StreamKey(row.get(0))))
    }

    /// After the losses of this transaction.
    pub async fn take_back(&self, client: &Client, statements: &Statements) -> Result<(), StoreError> {
        let mut came: BTreeMap<(&str, i64), Ranges> = BTreeMap::new();
        for step in self.all.iter().filter(|step| step.fills || step.others == Others::Some) {
            if !step.added.is_empty() {
                let key = (step.key.stream.as_str(), step.key.file.0 as i64);
                came.entry(key).or_default().add_all(&step.added);
            }
        }
        if came.is_empty() {
            return Ok(());
        }
        let stream: Vec<&str> = came.keys().map(|key| key.0).collect();
        let file: Vec<i64> = came.keys().map(|key| key.1).collect();
        let ranges: Vec<String> = came.values().map(|ranges| multirange([ranges])).collect();
        let taken = client.execute(&statements.take_back, &[&stream, &file, &ranges]).await;
        taken.map_err(StoreError::sql("take back", "losses"))?;
        Ok(())
    }
}

fn keys<'a>(steps: &[&'a WatermarkStep]) -> (Vec<&'a str>, Vec<i64>, Vec<i32>) {
    (
        steps.iter().map(|s| s.key.stream.as_str()).collect(),
        steps.iter().map(|s| s.key.file.0 as i64).collect(),
        steps.iter().map(|s| s.key.topic_partition as i32).collect(),
    )
}

/// PostgreSQL's text of an `int8multirange`: `(begin, end]` is `[begin + 1, end + 1)`.
fn multirange<'a>(sets: impl IntoIterator<Item = &'a Ranges>) -> String {
    let ranges = sets.into_iter().flat_map(Ranges::iter);
    let texts: Vec<String> = ranges.map(|(begin, end)| format!("({begin},{end}]")).collect();
    format!("{{{}}}", texts.join(","))
}

/// PostgreSQL writes an `int8multirange` as `{[begin + 1,end + 1),...}`.
fn of_multirange(text: &str) -> Ranges {
    let numbers: Vec<u64> =
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    numbers.chunks_exact(2).map(|pair| (pair[0].saturating_sub(1), pair[1].saturating_sub(1))).collect()
}

/// What is stored of these files; one that is missing has never been heard of.
pub async fn read_watermarks(
    client: &Client,
    keys: &[FileKey],
) -> Result<HashMap<FileKey, Watermarks>, StoreError> {
    let stream: Vec<&str> = keys.iter().map(|key| key.stream.as_str()).collect();
    let file: Vec<i64> = keys.iter().map(|key| key.file.0 as i64).collect();
    let rows = client
        .query(
            "select w.stream, w.file, w.topic_partition, w.position_begin, w.position_end, w.holes::text, w.shared \
             from unnest($1::text[], $2::bigint[]) k(stream, file) \
             join watermarks w on w.stream = k.stream and w.file = k.file",
            &[&stream, &file],
        )
        .await
        .map_err(StoreError::sql("read", "watermarks"))?;
    let mut found: HashMap<FileKey, Watermarks> = HashMap::new();
    for row in &rows {
        let position = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
        let key = FileKey { stream: StreamKey(row.get(0)), file: FileId(row.get::<_, i64>(1) as u64) };
        let holes = of_multirange(row.get(5));
        let watermarks = found.entry(key).or_default();
        let brought = Ranges::without(position(3), position(4), &holes);
        watermarks.brought.insert(row.get::<_, i32>(2) as u32, brought);
        watermarks.shared |= row.get::<_, bool>(6);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_postgresql_writes_them() {
        let ranges: Ranges = [(0, 10), (20, 30)].into_iter().collect();
        assert_eq!(multirange([&ranges]), "{(0,10],(20,30]}");
        assert_eq!(of_multirange("{[1,11),[21,31)}"), ranges);
        assert_eq!(of_multirange("{}"), Ranges::default());
        assert_eq!(multirange([&Ranges::default(), &Ranges::default()]), "{}");
    }
}
