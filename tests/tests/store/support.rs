//! What the tests of store and writer share: partitions as the operator makes them, batches as agents send them, and a
//! reader of everything that is stored, written apart from the one under test.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::BatchBuilder;
use cordwood_core::block::Block;
use cordwood_core::identity::FileId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_core::retention::class::{Class, ClassId, PolicyLevel, class_table, leaf_table};
use cordwood_core::retention::policy::Policy;
use cordwood_core::retention::routes::Routes;
use cordwood_store::{Settings, Store, migrate};
use cordwood_tests::batches::stdout_header;
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

pub const HOUR_US: i64 = 3_600_000_000;

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A migrated database of its own.
pub async fn store(postgres: &Postgres, name: &str) -> Result<Store> {
    let store = Store::connect(&Settings::url(postgres.database(name).await?)).await?;
    let migrated = migrate::run(&store).await?;
    ensure!(migrated.warnings.is_empty(), "grants: {:?}", migrated.warnings);
    Ok(store)
}

/// A database as this version of the schema left it.
pub async fn store_of_version(postgres: &Postgres, name: &str, version: i64) -> Result<Store> {
    let newest = format!("{name}_new");
    store(postgres, &newest).await?;
    let history = format!(
        "select version, name, applied_on, checksum from refinery_schema_history where version <= {version} order by version"
    );
    let known = postgres.client_of(&newest).await?.query(&history, &[]).await?;
    let store = Store::connect(&Settings::url(postgres.database(name).await?)).await?;
    let client = postgres.client_of(name).await?;
    client
        .batch_execute(
            "create table refinery_schema_history (version int4 primary key, name varchar(255), \
             applied_on varchar(255), checksum varchar(255))",
        )
        .await?;
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/migrations");
    for row in known {
        let (version, rest): (i32, [Option<String>; 3]) = (row.get(0), [row.get(1), row.get(2), row.get(3)]);
        let file = format!("V{version}__{}.sql", rest[0].as_deref().context("a migration without a name")?);
        client.batch_execute(&std::fs::read_to_string(migrations.join(file))?).await?;
        client
            .execute(
                "insert into refinery_schema_history values ($1, $2, $3, $4)",
                &[&version, &rest[0], &rest[1], &rest[2]],
            )
            .await?;
    }
    Ok(store)
}

/// The classes of the built-in policy and their routes.
pub async fn classes(client: &Client) -> Result<()> {
    let policy = Policy::builtin();
    let levels = [PolicyLevel::Debug, PolicyLevel::Info, PolicyLevel::Warn, PolicyLevel::Error];
    let mut classes = Vec::new();
    for (id, level) in (1..).zip(levels) {
        let retention_us = *policy.retention_us.get(level);
        client
            .execute(
                "insert into classes (id, policy, policy_uid, level, retention_us, grace_us) values ($1, $2, '', $3, $4, $5)",
                &[&id, &policy.name, &(id as i16 - 1), &retention_us, &policy.grace_us],
            )
            .await?;
        classes.push(Class {
            id: ClassId(id),
            policy: policy.name.clone(),
            policy_uid: String::new(),
            level,
            retention_us,
            grace_us: policy.grace_us,
            legal_hold: false,
            wanted: None,
            approved: None,
            has_table: true,
        });
        let table = class_table(ClassId(id));
        client
            .batch_execute(&format!(
                "create table {table} (like blocks including all) partition by range (time_to); \
                 alter table blocks attach partition {table} for values in ({id})"
            ))
            .await?;
    }
    let routes = serde_json::to_value(Routes::compile(&[policy], &classes))?;
    client.execute("insert into routes (body) values ($1)", &[&routes]).await?;
    Ok(())
}

/// Hourly leaves of all classes around now.
pub async fn leaves(client: &Client, hours_back: i64, hours_ahead: i64) -> Result<()> {
    let this_hour = now_us().div_euclid(HOUR_US);
    leaves_between(client, this_hour - hours_back, this_hour + hours_ahead).await
}

/// The same from one hour since 1970 up to another.
pub async fn leaves_between(client: &Client, from_hour: i64, to_hour: i64) -> Result<()> {
    for class in 1..=4 {
        for hour in from_hour..to_hour {
            let (from, to) = (hour * HOUR_US, (hour + 1) * HOUR_US);
            let (parent, table) = (class_table(ClassId(class)), leaf_table(ClassId(class), from));
            let bound = |us| jiff::Timestamp::from_microsecond(us).map(|t| t.to_string());
            let (from, to) = (bound(from)?, bound(to)?);
            client
                .batch_execute(&format!(
                    "create table {table} (like blocks including all); \
                     alter table {parent} attach partition {table} for values from ('{from}') to ('{to}'); \
                     create table {table}_index (segment bigint, no integer, bytes bytea, primary key (no, segment)); \
                     insert into leaves (class, time_from, time_to) values ({class}, '{from}', '{to}')"
                ))
                .await?;
        }
    }
    Ok(())
}

/// A stream of lines with rising sequence numbers, as an agent would send them.
pub struct Lines {
    pub stream: u32,
    pub next: u64,
    end: u64,
    /// Bytes that a body is longer than its text.
    pub padding: usize,
    /// How long ago they are written.
    pub age_us: i64,
    pub tenant: String,
    builder: BatchBuilder,
}

impl Lines {
    pub fn new(stream: u32) -> Lines {
        let tenant = Lines::tenant(stream);
        Lines { stream, next: 0, end: 0, padding: 0, age_us: 0, tenant, builder: BatchBuilder::new() }
    }

    pub fn tenant(stream: u32) -> String {
        format!("tenant-{}", stream % 3)
    }

    /// The next `count` lines as one message; times rise by a microsecond a line within a stream.
    pub fn message(&mut self, count: u64) -> Vec<u8> {
        let (prev, now) = (self.end, now_us() - self.age_us);
        for line in 0..count {
            let seq = self.next + line;
            let level = match seq % 50 {
                0 => Level::Error,
                1 | 2 => Level::Warn,
                3 => Level::Debug,
                _ => Level::Info,
            };
            let body = format!(
                r#"{{"level":"{}","msg":"line {seq} of stream s{}","seq":{seq},"common":"word{}"{}}}"#,
                level.as_str().to_lowercase(),
                self.stream,
                seq % 7,
                if self.padding > 0 {
                    format!(r#","pad":"{}""#, "x".repeat(self.padding))
                } else {
                    String::new()
                },
            );
            self.end += body.len() as u64 + 40;
            self.builder.push((now + line as i64) * 1000, level, Flags::default(), self.end, body.as_bytes());
        }
        self.next += count;
        self.finish(prev, count)
    }

    pub fn origin(&self) -> Origin {
        let (tenant, stream) = (self.tenant.clone(), self.stream);
        Origin {
            tenant_id: tenant.clone(),
            tenant,
            namespace: format!("ns-{}", stream % 3),
            pod: format!("pod-{stream}"),
            pod_uid: format!("uid-{stream}"),
            container: "app".into(),
            service: format!("service-{}", stream % 5),
            ..Origin::default()
        }
    }

    fn finish(&mut self, prev: u64, lines: u64) -> Vec<u8> {
        let stream = self.stream;
        let file = FileId(u64::from(stream) + 1);
        let header = stdout_header(&format!("uid-{stream}"), "app", file, (prev, self.end), lines);
        self.builder.finish(&header, &self.origin(), now_us() * 1000)
    }
}

/// Which (stream, seq) are stored, how often; fresh and sealed, in one snapshot, every block decoded.
pub async fn stored(client: &Client) -> Result<BTreeMap<u32, BTreeMap<u64, u32>>> {
    read_stored(client, false).await
}

/// The same where losses were told, or taken back: each is a record of its own.
pub async fn stored_but_losses(client: &Client) -> Result<BTreeMap<u32, BTreeMap<u64, u32>>> {
    read_stored(client, true).await
}

async fn read_stored(client: &Client, losses: bool) -> Result<BTreeMap<u32, BTreeMap<u64, u32>>> {
    let rows = client
        .query(
            "select f.payload from fresh f join seals z using (lane) where f.seq > z.upto \
             union all select payload from blocks",
            &[],
        )
        .await?;
    let mut found: BTreeMap<u32, BTreeMap<u64, u32>> = BTreeMap::new();
    for row in rows {
        let block = Block::open(row.get(0))?;
        for index in 0..block.len() {
            let body: serde_json::Value = serde_json::from_slice(block.record(index)?.body)?;
            if losses && body.get("cordwood").is_some() {
                continue;
            }
            let message = body["msg"].as_str().context("a record of another test")?;
            let stream = message.rsplit(" s").next().context("no stream")?.parse()?;
            let seq = body["seq"].as_u64().context("no seq")?;
            *found.entry(stream).or_default().entry(seq).or_default() += 1;
        }
    }
    Ok(found)
}

/// Every line up to `next` of each stream exactly once, and nothing else.
pub fn check_exactly_once(found: &BTreeMap<u32, BTreeMap<u64, u32>>, written: &[Lines]) -> Result<()> {
    for lines in written {
        let empty = BTreeMap::new();
        let seen = found.get(&lines.stream).unwrap_or(&empty);
        let missing: Vec<u64> = (0..lines.next).filter(|seq| !seen.contains_key(seq)).take(5).collect();
        let double: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).take(5).collect();
        ensure!(missing.is_empty(), "stream {}: missing {missing:?} of {}", lines.stream, lines.next);
        ensure!(double.is_empty(), "stream {}: not once: {double:?}", lines.stream);
        ensure!(
            seen.len() as u64 == lines.next,
            "stream {}: {} stored, {} written",
            lines.stream,
            seen.len(),
            lines.next
        );
    }
    ensure!(found.len() <= written.len(), "streams that nobody wrote");
    Ok(())
}
