//! An API server, a PostgreSQL and the operator's own program between them, and what tests ask of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cordwood_crds::{LogRetentionPolicy, manifests};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{
    ApiServer, ApiServerOptions, Postgres, PostgresOptions, Process, Program, wait_for,
};
use cordwood_tests::{bin, merge};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_postgres::Client as Sql;
use tokio_postgres::error::SqlState;

/// Token of a user without any right.
const NOBODY: &str = "cordwood-test-nobody";

pub struct World {
    pub operator: Option<Operator>,
    pub client: Client,
    pub sql: Mutex<Option<std::sync::Arc<Sql>>>,
    pub postgres: Postgres,
    pub server: ApiServer,
    /// Cordwood's.
    pub database: String,
    /// Merged into the configuration of operators that start.
    pub more: Value,
    home: Home,
    started: u32,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// One world at a time: an API server, etcd, PostgreSQL and an operator are enough for two cores.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// One operator process.
pub struct Operator {
    pub process: Process,
    port: Port,
}

impl World {
    pub async fn start(version: u32) -> Result<World> {
        World::start_with(PostgresOptions::version(version)).await
    }

    pub async fn start_with(postgres: PostgresOptions) -> Result<World> {
        let turn = TURN.lock().await;
        let options = ApiServerOptions {
            tokens: vec![format!("{NOBODY},nobody,nobody")],
            ..ApiServerOptions::default()
        };
        let (server, postgres) =
            tokio::try_join!(ApiServer::start_with(options), Postgres::start_with(postgres))?;
        let client = server.client().await?;
        define(&client, |_, _| ()).await?;
        let policies: Api<LogRetentionPolicy> = Api::all(client.clone());
        wait_for("the resources to be served", Duration::from_secs(30), || async {
            policies.list(&Default::default()).await.map(drop).context("list")
        })
        .await?;
        let home = Home::new("operator")?;
        Ok(World {
            operator: None,
            client,
            sql: Mutex::new(None),
            postgres,
            server,
            database: "postgres".to_owned(),
            more: json!({}),
            home,
            started: 0,
            _turn: turn,
        })
    }

    /// Installs the definitions again, `changed`: of the kind, the properties of its spec.
    pub async fn define(&self, changed: impl Fn(&str, &mut Value)) -> Result<()> {
        define(&self.client, changed).await
    }

    pub fn api(&self) -> Api<LogRetentionPolicy> {
        Api::all(self.client.clone())
    }

    fn launch(&mut self, kubeconfig: std::path::PathBuf, identity: &str) -> Result<Operator> {
        self.started += 1;
        let port = Port::free()?;
        let mut config = json!({
            "listen": format!("127.0.0.1:{}", port.number()),
            "database": {"url": self.postgres.url_of(&self.database)},
            "kubernetes": {"kubeconfig_file": kubeconfig, "namespace": "default"},
            "retention": {"pass_interval_ms": 500, "notice_ms": 1500},
            "levels": {"ask_interval_ms": 1000},
            "leader": {"lease_duration_ms": 2000, "identity": identity},
        });
        merge(&mut config, &self.more);
        let path = self.home.join(format!("operator-{}.yaml", self.started));
        std::fs::write(&path, config.to_string())?;
        let process = Program::new("operator", bin("cordwood-operator")?, self.home.path())
            .arg("--config")
            .arg(&path)
            .env("RUST_LOG", "info")
            .start()?;
        Ok(Operator { process, port })
    }

    /// Starts without waiting.
    pub fn spawn_operator(&mut self) -> Result<()> {
        // A container that starts again keeps its pod's name.
        let kubeconfig = self.server.kubeconfig();
        self.operator = Some(self.launch(kubeconfig, "operator-0")?);
        Ok(())
    }

    pub fn spawn_operator_as(&mut self, name: &str) -> Result<()> {
        let kubeconfig = self.server.kubeconfig_for(name, NOBODY)?;
        self.operator = Some(self.launch(kubeconfig, name)?);
        Ok(())
    }

    /// The same, and waits until it leads.
    pub async fn start_operator_as(&mut self, name: &str) -> Result<()> {
        self.spawn_operator_as(name)?;
        self.leads().await
    }

    /// Starts and waits until it is ready and leads.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.spawn_operator()?;
        self.leads().await
    }

    /// The same, with an API server by way of another address.
    pub async fn start_operator_through(&mut self, url: &str) -> Result<()> {
        let kubeconfig = self.server.kubeconfig_through("other-way", url)?;
        self.operator = Some(self.launch(kubeconfig, "operator-0")?);
        self.leads().await
    }

    async fn leads(&self) -> Result<()> {
        let ready = wait_for("the operator to be ready", Duration::from_secs(60), || self.ready()).await;
        let operator = self.operator.as_ref().context("an operator")?;
        ready.with_context(|| operator.process.log_tail(30))?;
        wait_for("the operator to lead", Duration::from_secs(60), || operator.standing("leader")).await
    }

    /// A second one beside the first.
    pub fn another_operator(&mut self) -> Result<Operator> {
        let kubeconfig = self.server.kubeconfig();
        self.launch(kubeconfig, "operator-1")
    }

    pub fn kill_operator(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.process.kill();
        }
    }

    pub fn operator_runs(&mut self) -> bool {
        self.operator.as_mut().is_some_and(|operator| operator.process.ended().is_none())
    }

    pub async fn ready(&self) -> Result<()> {
        let (code, body) = self.operator.as_ref().context("an operator")?.get("/readyz").await?;
        ensure!(code == 200, "{body}");
        Ok(())
    }

    /// `/readyz` refuses and says `text`.
    pub async fn unready(&self, text: &str) -> Result<()> {
        let (code, body) = self.operator.as_ref().context("an operator")?.get("/readyz").await?;
        ensure!(code == 503 && body.contains(text), "{code}: {body}");
        Ok(())
    }

    async fn sql(&self) -> Result<std::sync::Arc<Sql>> {
        let known = self.sql.lock().expect("no panic while it is held").clone();
        match known.filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => {
                let client = std::sync::Arc::new(self.postgres.client_of(&self.database).await?);
                *self.sql.lock().expect("no panic while it is held") = Some(client.clone());
                Ok(client)
            }
        }
    }

    pub async fn sql_count(&self, sql: &str) -> Result<i64> {
        Ok(self.sql().await?.query_one(sql, &[]).await.with_context(|| sql.to_owned())?.get(0))
    }

    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.sql().await?.batch_execute(sql).await.with_context(|| sql.to_owned())
    }

    /// As if leaves with records had been detached while an older version, which knew no postings, was there; at least `number`
    /// of them.
    pub async fn take_postings_from_detached(&self, number: usize) -> Result<()> {
        let sql = self.sql().await?;
        let rows = sql
            .query(
                "select 'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')
                 from leaves where detached is not null",
                &[],
            )
            .await?;
        let mut taken = 0;
        for row in rows {
            let leaf: String = row.get(0);
            // The operator drops empty leaves meanwhile; those with records stay for the grace period.
            let has_records = format!("select exists (select from {leaf})");
            match sql.query_one(&has_records, &[]).await {
                Ok(row) if row.get(0) => {
                    self.execute(&format!("alter table {leaf} drop column if exists postings")).await?;
                    taken += 1;
                }
                Ok(_) => {}
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {}
                Err(error) => return Err(error).context(has_records),
            }
        }
        ensure!(taken >= number, "only {taken} leaves with records are detached");
        Ok(())
    }

    /// Class ids of a policy.
    pub async fn classes(&self, policy: &str) -> Result<Vec<i32>> {
        let rows = self
            .sql()
            .await?
            .query("select id from classes where policy = $1 order by id", &[&policy])
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// All four classes have an attached leaf for this moment: records of each wait for one, as the sealer would note it.
    pub async fn has_leaf_now(&self, policy: &str) -> Result<()> {
        self.want(policy, 0).await?;
        let sql = "select count(*) from classes c join leaves l on l.class = c.id
                   join pg_inherits i on i.inhrelid = to_regclass('blocks_c' || c.id || '_' ||
                     to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI'))
                   where c.policy = $1 and l.time_from <= now() and l.time_to > now()";
        let leaves: i64 = self.sql().await?.query_one(sql, &[&policy]).await?.get(0);
        ensure!(leaves == 4, "{leaves} of 4 classes have a leaf");
        Ok(())
    }

    /// Notes that records of this and of so many earlier minutes wait for table partitions in the classes of a policy.
    pub async fn want(&self, policy: &str, minutes: i32) -> Result<()> {
        self.want_at(policy, minutes, "now()").await
    }

    /// The same of a time, as SQL, and of the minutes before it.
    async fn want_at(&self, policy: &str, minutes: i32, time: &str) -> Result<()> {
        self.execute(&format!(
            "insert into wanted_leaves (class, time_from, time_to)
             select c.id, t, t + interval '1 minute' from classes c, generate_series(
               date_trunc('minute', {time}) - interval '{minutes} minutes', date_trunc('minute', {time}), interval '1 minute') t
             where c.policy = '{policy}' on conflict do nothing"
        ))
        .await
    }

    /// Waits until the operator has nothing more to do for a second.
    pub async fn settled(&self) -> Result<()> {
        let mut before = -1;
        for _ in 0..60 {
            let steps = self.steps("", "").await?;
            if steps == before && steps > 0 {
                return Ok(());
            }
            before = steps;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("the operator is still busy after 60 s")
    }

    pub async fn condition(&self, policy: &str, kind: &str, status: &str) -> Result<()> {
        let object = self.api().get(policy).await?;
        let generation = object.metadata.generation;
        let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
        let found =
            conditions.iter().find(|condition| condition.type_ == kind).context("no such condition")?;
        ensure!(found.status == status && found.observed_generation == generation, "{found:?}");
        Ok(())
    }

    /// Stores a block per class and minute of the last `minutes`, and one for now; how many in all.
    pub async fn fill(&self, classes: &[i32], minutes: i32) -> Result<i64> {
        let policies = "select distinct policy from classes where id = any($1)";
        let policies = self.sql().await?.query(policies, &[&classes]).await?;
        // One time for all: a partition that was made for it and gets no record is one of which nobody knows what was sealed.
        let now: String = self.sql().await?.query_one("select now()::text", &[]).await?.get(0);
        let now = format!("timestamptz '{now}'");
        for row in &policies {
            self.want_at(row.get(0), minutes, &now).await?;
        }
        wait_for("leaves for what is to be stored", Duration::from_secs(60), || async {
            let missing = self.sql_count(WANTED_WITHOUT_LEAF).await?;
            ensure!(missing == 0, "{missing} minutes of classes have no leaf");
            Ok(())
        })
        .await?;
        for class in classes {
            let sql = format!(
                "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                 select n, {class}, 'shop-eu', 1, {now} - make_interval(mins => n), {now} - make_interval(mins => n), 1, 100,
                        '\\x00', decode(repeat('ab', 2000), 'hex') from generate_series(0, {minutes}) n"
            );
            // The operator may have dropped a partition since it made it.
            wait_for("a leaf of now", Duration::from_secs(60), || async {
                let stored = self.execute(&sql).await;
                if stored.is_err() {
                    for row in &policies {
                        self.want_at(row.get(0), minutes, &now).await?;
                    }
                }
                stored
            })
            .await?;
        }
        // As a sealer that does not count notes it.
        self.execute(
            "insert into sealed_leaves (class, time_from, blocks, bytes, oldest)
             select l.class, l.time_from, count(*), max(pg_total_relation_size(b.tableoid)), min(b.time_from)
             from blocks b join leaves l on l.class = b.class and b.time_to >= l.time_from and b.time_to < l.time_to
             group by 1, 2 on conflict do nothing",
        )
        .await?;
        self.execute("delete from wanted_leaves").await?;
        self.visible(classes).await
    }

    pub async fn visible(&self, classes: &[i32]) -> Result<i64> {
        let list = classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        self.sql_count(&format!("select count(*) from blocks where class in ({list})")).await
    }

    /// Of what was stored, everything younger than `minutes` is seen by a query.
    pub async fn nothing_young_is_gone(&self, classes: &[i32], stored: i64, minutes: i32) -> Result<()> {
        let list = classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let sql = format!(
            "select count(*), min(extract(epoch from now() - time_to))::float8 from blocks
             where class in ({list}) and time_to > now() - interval '{minutes} minutes' group by class"
        );
        let rows = self.sql().await?.query(&sql, &[]).await?;
        ensure!(
            rows.len() == classes.len(),
            "of {} of {} classes nothing is left",
            rows.len(),
            classes.len()
        );
        let (mut seen, mut expected) = (0, 0);
        for row in rows {
            let (count, youngest): (i64, f64) = (row.get(0), row.get(1));
            // Block n of a class was stored with an age of n minutes; its youngest tells how long ago that was. Each class was filled by
            // itself, some seconds after the one before.
            let young =
                (0..=55).filter(|age| f64::from(*age) * 60.0 + youngest < f64::from(minutes) * 60.0).count();
            (seen, expected) = (seen + count, expected + i64::try_from(young)?);
        }
        let expected = expected.min(stored);
        ensure!(seen >= expected, "{seen} young blocks are seen, {expected} were stored");
        Ok(())
    }

    /// Steps of a kind (empty: any) that the ledger has for a policy.
    pub async fn steps(&self, kind: &str, policy: &str) -> Result<i64> {
        let sql = "select count(*) from ledger where ($1 = '' or step = $1) and ($2 = '' or policy = $2)";
        Ok(self.sql().await?.query_one(sql, &[&kind, &policy]).await?.get(0))
    }

    pub async fn at_least(&self, kind: &str, policy: &str, number: i64) -> Result<()> {
        let steps = self.steps(kind, policy).await?;
        ensure!(steps >= number, "{steps} {kind} steps");
        Ok(())
    }

    /// When the first leaf with records was detached that a retention of `minutes` would still have kept. (What expires of itself, or is
    /// empty, goes without a notice.)
    pub async fn first_early_detach(&self, policy: &str, minutes: i32) -> Result<jiff::Timestamp> {
        let sql =
            "select min(at) from ledger where step = 'detach' and policy = $1 and why not like '%empty%'
                     and time_to > at - make_interval(mins => $2)";
        let first: Option<jiff::Timestamp> =
            self.sql().await?.query_one(sql, &[&policy, &minutes]).await?.get(0);
        first.context("no leaf was detached before its time")
    }

    /// The table of the class's first or last leaf that is empty or not: by `order`.
    pub async fn leaf(&self, class: i32, order: &str) -> Result<String> {
        let sql = format!(
            "select 'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')
             from leaves where class = {class} order by time_from {order} limit 1"
        );
        Ok(self.sql().await?.query_one(&sql, &[]).await?.get(0))
    }

    /// Every leaf table has a row in `leaves`, every row has its table, nothing is half detached, and what records wait for is there.
    pub async fn leaves_are_right(&self) -> Result<()> {
        let name =
            "'blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')";
        let tables = self
            .sql_count(&format!(
                "select count(*) from pg_class t where t.relname ~ '^blocks_c[0-9]+_[0-9]{{8}}t[0-9]{{4}}$'
                 and t.relkind = 'r' and not exists (select from leaves l where {name} = t.relname)"
            ))
            .await?;
        ensure!(tables == 0, "{tables} tables have no row in leaves");
        let missing = self
            .sql_count(&format!("select count(*) from leaves l where to_regclass({name}) is null"))
            .await?;
        ensure!(missing == 0, "{missing} leaves have no table");
        let pending = self.sql_count("select count(*) from pg_inherits where inhdetachpending").await?;
        ensure!(pending == 0, "{pending} detaches are not finished");
        let apart = self
            .sql_count(&format!(
                "select count(*) from leaves l where l.detached is null
                 and not exists (select from pg_inherits where inhrelid = to_regclass({name}))"
            ))
            .await?;
        ensure!(apart == 0, "{apart} leaves are neither attached nor marked as detached");
        let uncovered = self.sql_count(WANTED_WITHOUT_LEAF).await?;
        ensure!(uncovered == 0, "{uncovered} minutes of classes have no leaf");
        Ok(())
    }
}

/// Minutes for which records wait, that have not expired, in classes that records are routed to.
const WANTED_WITHOUT_LEAF: &str = "select count(*) from wanted_leaves w join classes c on c.id = w.class
    where exists (select from routes, jsonb_array_elements(body) r where r->>'policy' = c.policy)
    and w.time_from > now() - c.retention_us * interval '1 microsecond'
    and not exists (select from leaves l where l.class = c.id and l.time_from <= w.time_from and l.time_to > w.time_from
                    and l.detached is null)";

async fn define(client: &Client, changed: impl Fn(&str, &mut Value)) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in manifests() {
        let mut crd = serde_json::to_value(&manifest.crd)?;
        let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        changed(&manifest.crd.spec.names.kind, &mut schema["properties"]["spec"]["properties"]);
        let parameters = PatchParams::apply("test").force();
        definitions.patch(&manifest.crd.name_any(), &parameters, &Patch::Apply(&crd)).await?;
    }
    Ok(())
}

impl Operator {
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        cordwood_tests::http::get(&self.address(), path).await
    }

    pub async fn standing(&self, wanted: &str) -> Result<()> {
        let (_, body) = self.get("/status").await?;
        let status: Value = serde_json::from_str(&body)?;
        ensure!(status["standing"] == wanted, "{}", status["standing"]);
        Ok(())
    }
}

/// A policy for all records of tenants `<name>-*` with one retention for all levels.
pub fn policy(name: &str, kept: &str, grace: &str) -> LogRetentionPolicy {
    let value = json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy",
        "metadata": {"name": name},
        "spec": {
            "priority": 10,
            "match": {"tenants": [format!("{name}-*")]},
            "retention": {"error": kept, "warn": kept, "info": kept, "debug": kept},
            "gracePeriod": grace,
            "dropLimit": {"partitions": 1000, "bytes": "50Gi"},
        },
    });
    serde_json::from_value(value).expect("a policy")
}

/// A merge patch of the retention of all levels.
pub fn retention(kept: &str) -> Value {
    json!({"spec": {"retention": {"error": kept, "warn": kept, "info": kept, "debug": kept}}})
}

/// `cordwood retention report` of a policy, as JSON.
pub fn retention_report(world: &World, policy: &str) -> Result<Value> {
    let output = std::process::Command::new(bin("cordwood")?)
        .args(["retention", "report", "--policy", policy, "--output", "json"])
        .env("CORDWOOD_DATABASE_URL", world.postgres.url())
        .output()
        .context("run cordwood")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub fn kubectl(world: &World, arguments: &[&str]) -> Result<String> {
    let output = std::process::Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(world.server.kubeconfig())
        .args(arguments)
        .output()
        .context("run kubectl")?;
    if !output.status.success() {
        bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

static COMMITS: AtomicU64 = AtomicU64::new(0);
static LONGEST_US: AtomicU64 = AtomicU64::new(0);

/// Commits small transactions into a ring and into the partitions, one after the other, and measures each.
pub async fn write_loop(client: Sql) -> Result<()> {
    let sql = "insert into ring_0 (lane, seq, id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
               values (1, 1, 1, 0, 'shop-eu', 1, now(), now(), 1, 100, '\\x00', '\\x00')";
    let sealed = "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
                  select 1, class, 'shop-eu', 1, now(), now(), 1, 100, '\\x00', '\\x00' from leaves join classes on id = class
                  where policy = 'shop' and detached is null and time_from <= now() and time_to > now()";
    loop {
        for statement in [sql, sealed] {
            let began = Instant::now();
            client.batch_execute(statement).await?;
            LONGEST_US
                .fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            COMMITS.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How many commits, and the longest of them.
pub fn written() -> (u64, Duration) {
    (COMMITS.load(Ordering::Relaxed), Duration::from_micros(LONGEST_US.load(Ordering::Relaxed)))
}
