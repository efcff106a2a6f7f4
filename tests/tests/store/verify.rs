//! `cordwood store verify` on real PostgreSQL: a store that is whole has no fault; each kind of damage is told, of the block that has it;
//! a filter or postings that hide records are created again from their block, and what they hid is found again.

use anyhow::{Context, Result, ensure};
use cordwood_core::block::Format;
use cordwood_store::Store;
use cordwood_store::verify::{Counts, Fault, TableReport, Verifier};
use cordwood_tests::bin;
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support::{self, Lines};
use super::{ALL, all_pages, seal_in, start_writer};

const STREAMS: u32 = 6;

struct Verified {
    tables: Vec<TableReport>,
    faults: Vec<Fault>,
    counts: Counts,
}

async fn verify(store: &Store, repair: bool) -> Result<Verified> {
    let mut verifier = Verifier::open(store, repair).await?;
    let mut faults = Vec::new();
    let mut told = |fault| faults.push(fault);
    let mut tables = verifier.fresh(&mut told).await?;
    for leaf in verifier.leaves().await? {
        tables.extend(verifier.leaf(&leaf, &mut told).await?);
    }
    let counts = verifier.counts().await?;
    Ok(Verified { tables, faults, counts })
}

pub async fn faults(store: &Store, repair: bool) -> Result<Vec<Fault>> {
    Ok(verify(store, repair).await?.faults)
}

/// No fault anywhere.
pub async fn whole(store: &Store) -> Result<()> {
    let verified = verify(store, false).await?;
    verified.tells(&[])?;
    ensure!(verified.counts.fault().is_none(), "{:?}", verified.counts);
    Ok(())
}

impl Verified {
    fn sum(&self, of: impl Fn(&TableReport) -> u64) -> u64 {
        self.tables.iter().map(of).sum()
    }

    /// As many faults as are expected, each that of the block and with these words.
    fn tells(&self, expected: &[(Option<i64>, &str)]) -> Result<()> {
        let told = |(block, what): &(Option<i64>, &str)| {
            self.faults.iter().any(|fault| fault.block == *block && fault.what.contains(what))
        };
        let untold: Vec<_> = expected.iter().filter(|fault| !told(fault)).collect();
        ensure!(untold.is_empty(), "{untold:?} not among {:?}", self.faults);
        ensure!(self.faults.len() == expected.len(), "{:?}, expected {expected:?}", self.faults);
        ensure!(self.sum(|report| report.faults) == expected.len() as u64, "{:?}", self.tables);
        Ok(())
    }
}

/// Sealed blocks of both formats and fresh ones.
async fn fill(store: &Store, client: &Client) -> Result<u64> {
    support::classes(client).await?;
    support::leaves(client, 2, 2).await?;
    let running = start_writer(store)?;
    let mut streams: Vec<Lines> = (0..STREAMS).map(Lines::new).collect();
    for format in [Some(Format::One), Some(Format::Two), None] {
        for lines in &mut streams {
            let message = lines.message(400);
            running.sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
        }
        if let Some(format) = format {
            ensure!(seal_in(store, format).await?.records > 0, "nothing was sealed");
        }
    }
    running.stop.cancel();
    running.task.await??;
    Ok(streams.iter().map(|lines| lines.next).sum())
}

/// A sealed block of a format with as many records as a search list pays for.
async fn block(client: &Client, format: i32, nth: i64) -> Result<i64> {
    let sql =
        "select id from blocks where get_byte(payload, 0) = $1 and count >= 50 order by id offset $2 limit 1";
    let row = client.query_opt(sql, &[&format, &nth]).await?;
    Ok(row.context("no such block")?.get(0))
}

/// Changes one row, says what is wrong with it, and puts it back.
async fn damage(
    store: &Store,
    client: &Client,
    (table, id): (&str, i64),
    set: &str,
    expected: &[(Option<i64>, &str)],
) -> Result<()> {
    let about = || format!("{set} of {id} in {table}");
    let keep = format!("create temp table kept as select * from {table} where id = {id}");
    client.batch_execute(&keep).await.with_context(about)?;
    client.batch_execute(&format!("update {table} set {set} where id = {id}")).await.with_context(about)?;
    verify(store, false).await?.tells(expected).with_context(about)?;
    client
        .batch_execute(&format!(
            "update {table} t set count = k.count, time_from = k.time_from, time_to = k.time_to, level_mask = k.level_mask, \
               raw_bytes = k.raw_bytes, bloom = k.bloom, payload = k.payload, tenant = k.tenant from kept k where t.id = k.id"
        ))
        .await?;
    if table == "blocks" {
        client
            .batch_execute("update blocks t set postings = k.postings from kept k where t.id = k.id")
            .await?;
    }
    client.batch_execute("drop table kept").await?;
    Ok(())
}

const ZEROES: &str = "decode(repeat('00', octet_length(bloom)), 'hex')";
const FLIPPED: &str = "set_byte(payload, 60, 255 - get_byte(payload, 60))";

async fn damages(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "verify").await?;
    let client = postgres.client_of("verify").await?;
    let written = fill(&store, &client).await?;
    let whole = verify(&store, false).await?;
    whole.tells(&[])?;
    ensure!(whole.sum(|report| report.records) == written, "{:?}, {written} written", whole.tables);
    ensure!(whole.counts.fault().is_none() && !whole.counts.is_partial, "{:?}", whole.counts);
    ensure!(whole.counts.counted as u64 == written && whole.counts.fresh > 0, "{:?}", whole.counts);
    let of_two = whole.sum(|report| report.blocks_of_format_2);
    ensure!(
        of_two > 0 && of_two < whole.sum(|report| report.blocks),
        "blocks of both formats: {:?}",
        whole.tables
    );

    let (one, two) = (block(&client, 1, 0).await?, block(&client, 2, 0).await?);
    let other = block(&client, 2, 1).await?;
    for id in [one, two] {
        let at = ("blocks", id);
        let of = |what| [(Some(id), what)];
        damage(&store, &client, at, &format!("payload = {FLIPPED}"), &of("checksum")).await?;
        damage(&store, &client, at, "payload = substr(payload, 1, 30)", &of("cannot be read")).await?;
        damage(&store, &client, at, "payload = set_byte(payload, 0, 9)", &of("version 9")).await?;
        let counts = [(Some(id), "column count says"), (None, "sealing noted")];
        damage(&store, &client, at, "count = count + 1", &counts).await?;
        damage(&store, &client, at, "level_mask = 0", &of("column level_mask says 0")).await?;
        damage(&store, &client, at, "raw_bytes = 0", &of("column raw_bytes says 0")).await?;
        let times = "time_from = time_from + interval '1 microsecond'";
        damage(&store, &client, at, times, &of("column time_from")).await?;
        damage(&store, &client, at, "tenant = 'another'", &of("of another tenant")).await?;
        damage(&store, &client, at, &format!("bloom = {ZEROES}"), &of("the bloom filter lacks")).await?;
        damage(&store, &client, at, "bloom = ''", &of("the bloom filter lacks")).await?;
        let flipped = "postings = set_byte(postings, 9, 255 - get_byte(postings, 9))";
        damage(&store, &client, at, flipped, &of("the postings do not open")).await?;
        // Whole, but those of another block.
        let of_other = format!("postings = (select b.postings from blocks b where b.id = {other})");
        if id != other {
            damage(&store, &client, at, &of_other, &of("the postings lack")).await?;
        }
        // Without any the block is opened: slower, and right.
        damage(&store, &client, at, "postings = null", &[]).await?;
    }
    let fresh = "select r.tableoid::regclass::text, r.id from (select tableoid, * from ring_0 union all select tableoid, * from ring_1 \
                   union all select tableoid, * from ring_2 union all select tableoid, * from ring_3) r \
                 join seals z using (lane) where r.seq > z.upto and r.count >= 50 order by r.id limit 1";
    let row = client.query_one(fresh, &[]).await?;
    let (ring, id): (String, i64) = (row.get(0), row.get(1));
    let at = (ring.as_str(), id);
    damage(&store, &client, at, &format!("payload = {FLIPPED}"), &[(Some(id), "checksum")]).await?;
    damage(&store, &client, at, "count = count - 1", &[(Some(id), "column count says")]).await?;
    damage(&store, &client, at, &format!("bloom = {ZEROES}"), &[(Some(id), "the bloom filter lacks")])
        .await?;
    verify(&store, false).await?.tells(&[]).context("all was put back")?;

    repairs(&store, &client, (one, two), at).await?;
    command(&postgres, &client, two).await?;

    // A block that is gone, and one that is there twice.
    client.batch_execute(&format!("delete from blocks where id = {two}")).await?;
    verify(&store, false).await?.tells(&[(None, "sealing noted")])?;
    client.batch_execute(&format!("delete from {ring} where id = {id}")).await?;
    let verified = verify(&store, false).await?;
    verified.tells(&[(None, "sealing noted"), (None, "the writers noted")])?;
    ensure!(
        verified.counts.fault().is_some_and(|what| what.contains("are missing")),
        "{:?}",
        verified.counts
    );
    let twice = "update sealed_leaves set blocks = blocks + 9, records = records + 9000, width_blocks = width_blocks + 9, \
                 counted_blocks = counted_blocks + 9 where class = 2";
    client.batch_execute(twice).await?;
    let fault = verify(&store, false).await?.counts.fault();
    ensure!(fault.as_ref().is_some_and(|what| what.contains("only")), "{fault:?}");
    Ok(())
}

/// What a filter hides is found again.
async fn repairs(
    store: &Store,
    client: &Client,
    sealed: (i64, i64),
    (ring, fresh): (&str, i64),
) -> Result<()> {
    let before = all_pages(store, &ALL, "word3", 1_000, 20_000).await?.len();
    for id in [sealed.0, sealed.1] {
        client.batch_execute(&format!("update blocks set bloom = {ZEROES} where id = {id}")).await?;
    }
    client.batch_execute(&format!("update {ring} set bloom = {ZEROES} where id = {fresh}")).await?;
    let hidden = all_pages(store, &ALL, "word3", 1_000, 20_000).await?.len();
    ensure!(hidden < before, "the filters hide nothing: {hidden} of {before}");
    let lost = "update blocks set bloom = '', postings = set_byte(postings, 9, 255 - get_byte(postings, 9)) where id = $1";
    let other = block(client, 2, 1).await?;
    client.execute(lost, &[&other]).await?;
    let repaired = verify(store, true).await?;
    let lacks = "the bloom filter lacks";
    repaired.tells(&[
        (Some(sealed.0), lacks),
        (Some(sealed.1), lacks),
        (Some(fresh), lacks),
        (Some(other), lacks),
        (Some(other), "the postings do not open"),
    ])?;
    ensure!(repaired.faults.iter().all(|fault| fault.repaired), "{:?}", repaired.faults);
    ensure!(repaired.sum(|report| report.repaired) == 5, "{:?}", repaired.tables);
    verify(store, false).await?.tells(&[])?;
    let after = all_pages(store, &ALL, "word3", 1_000, 20_000).await?.len();
    ensure!(after == before, "{after} of {before} are found");
    // A block that cannot be read has nothing from which its filter could be made; its neighbours' filters are.
    client
        .batch_execute(&format!(
            "create temp table kept as select * from blocks where id = {}; \
             update blocks set payload = {FLIPPED}, bloom = {ZEROES} where id = {}; \
             update blocks set bloom = {ZEROES} where id = {other}",
            sealed.0, sealed.0
        ))
        .await?;
    let left = verify(store, true).await?;
    left.tells(&[(Some(sealed.0), "checksum"), (Some(other), lacks)])?;
    ensure!(left.sum(|report| report.repaired) == 1, "{:?}", left.faults);
    client
        .batch_execute(
            "update blocks b set payload = k.payload, bloom = k.bloom from kept k where b.id = k.id; drop table kept",
        )
        .await?;
    verify(store, false).await?.tells(&[])
}

/// The program: a line per table and a verdict; 1 where a fault is left.
async fn command(postgres: &Postgres, client: &Client, id: i64) -> Result<()> {
    let url = postgres.url_of("verify");
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = std::process::Command::new(bin("cordwood")?);
        command.args(["store", "verify"]).args(arguments).env("CORDWOOD_DATABASE_URL", &url);
        let output = command.output()?;
        let said = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        Ok((output.status.code(), said))
    };
    let (code, said) = run(&[])?;
    ensure!(code == Some(0) && said.contains("the store is whole"), "{code:?} {said}");
    let leaves: i64 = client.query_one("select count(*) from leaves", &[]).await?.get(0);
    let lines = said.lines().filter(|line| line.starts_with("blocks_c")).count();
    ensure!(
        lines as i64 == leaves && said.contains("ring_0"),
        "{lines} lines of {leaves} table partitions: {said}"
    );
    client.batch_execute(&format!("update blocks set bloom = {ZEROES} where id = {id}")).await?;
    let (code, said) = run(&[])?;
    ensure!(
        code == Some(1) && said.contains("1 FAULT") && said.contains(&format!("block {id}")),
        "{code:?} {said}"
    );
    let (code, said) = run(&["-o", "json"])?;
    let total: serde_json::Value = serde_json::from_str(said.lines().last().context("no line")?)?;
    ensure!(code == Some(1) && total["faults"] == 1, "{code:?} {said}");
    let (code, said) = run(&["--repair"])?;
    ensure!(code == Some(0) && said.contains("1 fault repaired"), "{code:?} {said}");
    let (code, said) = run(&[])?;
    ensure!(code == Some(0), "{code:?} {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_and_filters_are_repaired_15() -> Result<()> {
    damages(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_and_filters_are_repaired_18() -> Result<()> {
    damages(18).await
}
