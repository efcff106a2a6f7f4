//! A store with known records, and a gateway before it, in this process.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::BatchBuilder;
use cordwood_core::identity::FileId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_gateway::{Access, Administration, Audit, Gateway, Limits, Running, Tokens};
use cordwood_service::RedisSettings;
use cordwood_store::{Settings, Store, migrate};
use cordwood_tests::batches::stdout_header;
use cordwood_tests::env::Postgres;
use cordwood_tests::http::{Answer, ask};
use cordwood_writer::{CommitSettings, Feed, NoFeed, Parts, SealSettings, queue};
use prometheus::{Registry, TextEncoder};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub const DATABASE: &str = "gateway";

/// Makes every search take its time in PostgreSQL, longer than any test waits.
pub const SLOW: &str = "alter table seals rename to seals_kept; \
    create view seals as select * from seals_kept where pg_sleep(25) is not null";
/// Takes it back, as soon as no search is under way.
pub const FAST: &str = "drop view seals; alter table seals_kept rename to seals";

/// A line as it is written.
#[derive(Clone, Debug)]
pub struct Line {
    pub time_us: i64,
    pub level: Level,
    pub flags: Flags,
    pub body: String,
}

pub fn line(time_us: i64, level: Level, body: impl Into<String>) -> Line {
    Line { time_us, level, flags: Flags::default(), body: body.into() }
}

/// A container of this tenant and namespace; the number tells it from others.
pub fn container(tenant: &str, namespace: &str, number: u32) -> Origin {
    Origin {
        tenant: tenant.into(),
        tenant_id: tenant.into(),
        namespace: namespace.into(),
        pod: format!("pod-{number}"),
        pod_uid: format!("uid-{number}"),
        container: "app".into(),
        node: "node-1".into(),
        service: "checkout".into(),
        workload: "Deployment/checkout".into(),
        ..Origin::default()
    }
}

pub struct World {
    pub postgres: Postgres,
    pub store: Store,
    running: Option<Running>,
    pub address: String,
    registry: Registry,
}

impl World {
    /// The first line of the first source has the id `<its time>.0-0-0`.
    pub async fn with(version: u32, sources: &[(Origin, Vec<Line>)]) -> Result<World> {
        World::start(version, sources, Access::Loopback, Limits::default()).await
    }

    pub async fn start(
        version: u32,
        sources: &[(Origin, Vec<Line>)],
        access: Access,
        limits: Limits,
    ) -> Result<World> {
        World::administered(version, sources, access, limits, None, Audit::none()).await
    }

    /// Its resources can be read and changed.
    pub async fn administered(
        version: u32,
        sources: &[(Origin, Vec<Line>)],
        access: Access,
        limits: Limits,
        administration: Option<Administration>,
        audit: Audit,
    ) -> Result<World> {
        let more = |gateway: Gateway| gateway.administering(administration).audited(audit);
        World::whose(version, sources, access, limits, more).await
    }

    /// Whose gateway has more to it.
    pub async fn whose(
        version: u32,
        sources: &[(Origin, Vec<Line>)],
        access: Access,
        limits: Limits,
        more: impl FnOnce(Gateway) -> Gateway,
    ) -> Result<World> {
        let postgres = Postgres::start(version).await?;
        let store = Store::connect(&Settings::url(postgres.database(DATABASE).await?)).await?;
        let migrated = migrate::run(&store).await?;
        ensure!(migrated.warnings.is_empty(), "grants: {:?}", migrated.warnings);
        put(&store, sources).await?;
        let registry = Registry::new();
        let gateway = more(Gateway::new(store.clone(), access, &limits, &registry)?);
        let running = cordwood_gateway::start(gateway, "127.0.0.1:0".parse()?).await?;
        let address = running.address.to_string();
        Ok(World { postgres, store, running: Some(running), address, registry })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        ask(&self.address, "GET", path, &[]).await
    }

    /// Each request has the same name, so that equal refusals are equal.
    pub async fn get_as(&self, token: &str, path: &str) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        ask(&self.address, "GET", path, &[("Authorization", &bearer), ("X-Request-Id", "test")]).await
    }

    /// A good answer's JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        ensure!(answer.code == 200, "{path}: {} {}", answer.code, answer.text());
        answer.json()
    }

    pub fn metrics(&self) -> Result<String> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    /// Another gateway before the same store.
    pub async fn another(&mut self, limits: Limits) -> Result<()> {
        self.registry = Registry::new();
        let gateway = Gateway::new(self.store.clone(), Access::Loopback, &limits, &self.registry)?;
        let running = cordwood_gateway::start(gateway, "127.0.0.1:0".parse()?).await?;
        self.address = running.address.to_string();
        self.running = Some(running);
        Ok(())
    }

    /// The same, woken by what writers tell Redis.
    pub async fn woken_by(&mut self, redis: &RedisSettings) -> Result<()> {
        self.registry = Registry::new();
        let gateway = Gateway::new(self.store.clone(), Access::Loopback, &Limits::default(), &self.registry)?;
        let running = cordwood_gateway::start(gateway.woken_by(redis)?, "127.0.0.1:0".parse()?).await?;
        self.address = running.address.to_string();
        self.running = Some(running);
        Ok(())
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// Through the writer, a message for each source.
pub async fn put(store: &Store, sources: &[(Origin, Vec<Line>)]) -> Result<()> {
    put_and_tell(store, sources, Arc::new(NoFeed)).await
}

/// The same, told to this feed.
pub async fn put_and_tell(store: &Store, sources: &[(Origin, Vec<Line>)], feed: Arc<dyn Feed>) -> Result<()> {
    let (sender, source) = queue(64 << 20);
    let stop = CancellationToken::new();
    let mut parts = Parts::new(store.clone(), &Registry::new(), stop.clone())?;
    parts.seal = SealSettings { enabled: false, ..SealSettings::default() };
    parts.commit = CommitSettings { linger_ms: 5, ..CommitSettings::default() };
    let task = tokio::spawn(cordwood_writer::run(parts, source, feed, Arc::default()));
    for (origin, lines) in sources {
        sender.send(message(origin, lines)).ok().context("the queue is full")?.await?;
    }
    stop.cancel();
    task.await?
}

fn message(origin: &Origin, lines: &[Line]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    let mut end = 0;
    for line in lines {
        end += line.body.len() as u64 + 1;
        builder.push(line.time_us * 1000, line.level, line.flags, end, line.body.as_bytes());
    }
    let file = FileId(origin.id().0);
    let header = stdout_header(&origin.pod_uid, &origin.container, file, (0, end), lines.len() as u64);
    builder.finish(&header, origin, jiff::Timestamp::now().as_microsecond() * 1000)
}

pub fn tokens(text: &str) -> Result<Access> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(Access::Tokens(Tokens::read(Path::new(file.path()))?))
}

/// The second that it is.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_second() * 1_000_000
}

/// Some minutes ago, in whole seconds: within what the writer takes a line's time for.
pub fn recent_us() -> i64 {
    (jiff::Timestamp::now().as_second() - 600) * 1_000_000
}

pub fn ids(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A group of errors that no record is of.
pub const NO_GROUP: &str = "v1:00000000000000ff";

/// How many records a list of groups of errors counts.
pub fn counted(groups: &Value) -> u64 {
    let items = groups["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|group| group["count"].as_u64()).sum()
}

/// As a value of a query.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
