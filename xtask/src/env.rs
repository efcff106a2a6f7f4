//! `cargo xtask env up|down`: one of each real part, kept running for work by hand.
//!
//! `up` starts a keeper in the background that owns the parts (the tests' own values) and waits until it wrote their
//! addresses; `down` asks it to end, which stops them all.

#![allow(clippy::print_stdout)]

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use cordwood_tests::env::{
    ApiServer, Kafka, KafkaOptions, Node, Postgres, PostgresOptions, Redis, cache, kubernetes,
};

#[derive(Subcommand)]
pub enum Env {
    /// Starts PostgreSQL, Kafka, Redis and a Kubernetes node (the API server alone without root, or with --no-node), and
    /// prints their addresses as shell variables.
    Up {
        /// The API server with etcd, but no node.
        #[arg(long)]
        no_node: bool,
        /// PostgreSQL's version: 15 or 18.
        #[arg(long, default_value_t = 15)]
        postgres: u32,
    },
    /// Stops what `up` started.
    Down,
    /// Prints the addresses again.
    Show,
    /// Holds the parts until it is asked to end.
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        no_node: bool,
        #[arg(long)]
        postgres: u32,
    },
}

pub fn run(env: Env) -> Result<()> {
    match env {
        Env::Up { no_node, postgres } => up(no_node, postgres),
        Env::Down => down(),
        Env::Show => show(),
        Env::Keep { no_node, postgres } => {
            tokio::runtime::Runtime::new().context("start a runtime")?.block_on(keep(no_node, postgres))
        }
    }
}

struct Places {
    pid: PathBuf,
    addresses: PathBuf,
    log: PathBuf,
}

fn places() -> Result<Places> {
    let folder = cache::root()?.join("env");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(Places { pid: folder.join("pid"), addresses: folder.join("addresses"), log: folder.join("log") })
}

/// The keeper's process id, if it runs.
fn keeper(places: &Places) -> Option<rustix::process::Pid> {
    let pid: i32 = fs::read_to_string(&places.pid).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // The id may be another's by now.
    String::from_utf8_lossy(&command).contains("keep").then(|| rustix::process::Pid::from_raw(pid)).flatten()
}

/// Installs what this machine lacks of what the parts need, and says so; nothing where all is there. Without root and sudo it installs
/// nothing: then a part that lacks something says so.
fn set_up() -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup");
    let status = Command::new(&script).arg("test").stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("run {}", script.display()))?;
    if !status.success() {
        println!("# {} test: {status}; a part that lacks something will not start", script.display());
    }
    Ok(())
}

fn up(no_node: bool, postgres: u32) -> Result<()> {
    set_up()?;
    let places = places()?;
    if keeper(&places).is_some() {
        println!("# already up; `cargo xtask env down` stops it");
        return show();
    }
    let _ = fs::remove_file(&places.addresses);
    let log = File::create(&places.log).with_context(|| format!("create {}", places.log.display()))?;
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe().context("find xtask's own path")?);
    command.args(["env", "keep", "--postgres", &postgres.to_string()]);
    if no_node || !rustix::process::geteuid().is_root() {
        command.arg("--no-node");
    }
    let errors = log.try_clone().context("duplicate the log's descriptor")?;
    let mut child =
        command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().context("start the keeper")?;
    let began = Instant::now();
    while !places.addresses.is_file() {
        if let Some(status) = child.try_wait().context("look at the keeper")? {
            let log = fs::read_to_string(&places.log).unwrap_or_default();
            bail!("the keeper ended ({status}):\n{log}");
        }
        // The first time, Kubernetes is built.
        if began.elapsed() > Duration::from_secs(1800) {
            bail!("not up after half an hour: see {}", places.log.display());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    show()
}

fn show() -> Result<()> {
    let places = places()?;
    if keeper(&places).is_none() {
        bail!("nothing is up: `cargo xtask env up` starts it");
    }
    let text = fs::read_to_string(&places.addresses).context("read the addresses")?;
    print!("{text}");
    Ok(())
}

fn down() -> Result<()> {
    let places = places()?;
    let Some(pid) = keeper(&places) else {
        println!("# nothing is up");
        return Ok(());
    };
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("ask the keeper to end")?;
    let began = Instant::now();
    while keeper(&places).is_some() {
        if began.elapsed() > Duration::from_secs(120) {
            bail!("the keeper still runs: see {}", places.log.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("# down");
    Ok(())
}

async fn keep(no_node: bool, postgres: u32) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let places = places()?;
    fs::write(&places.pid, std::process::id().to_string()).context("write the keeper's process id")?;
    let mut end = signal(SignalKind::terminate()).context("install a signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("install a signal handler")?;
    let parts = async {
        let node = if no_node { None } else { Some(Node::start().await?) };
        let api = if no_node { Some(ApiServer::start().await?) } else { None };
        let address: IpAddr = node.as_ref().map_or(IpAddr::from([127, 0, 0, 1]), Node::address);
        let postgres = PostgresOptions { address, fsync: true, ..PostgresOptions::version(postgres) };
        let postgres = Postgres::start_with(postgres).await?;
        let kafka = Kafka::start_with(KafkaOptions { address, ..KafkaOptions::default() }).await?;
        let redis = Redis::start_at(address).await?;
        anyhow::Ok((node, api, postgres, kafka, redis))
    };
    let (node, api, postgres, kafka, redis) = tokio::select! {
        parts = parts => parts?,
        _ = end.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let kubeconfig = node.as_ref().map(Node::kubeconfig).or_else(|| api.as_ref().map(ApiServer::kubeconfig));
    let tools = [kubernetes::kubectl()?, kubernetes::helm()?];
    let mut text = format!(
        "export CORDWOOD_DATABASE_URL={}\nexport CORDWOOD_KAFKA_BROKERS={}\nexport CORDWOOD_REDIS_URL={}\n",
        postgres.url(),
        kafka.brokers(),
        redis.url()
    );
    if let Some(kubeconfig) = kubeconfig {
        text.push_str(&format!("export KUBECONFIG={}\n", kubeconfig.display()));
    }
    text.push_str(&format!("# {}\n# {}\n", tools[0].display(), tools[1].display()));
    let draft = places.addresses.with_extension("draft");
    fs::write(&draft, text).context("write the addresses")?;
    fs::rename(&draft, &places.addresses).context("write the addresses")?;
    tokio::select! {
        _ = end.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = fs::remove_file(&places.addresses);
    drop((postgres, kafka, redis, api));
    let stopped = node.map_or(Ok(()), Node::stop);
    let _ = fs::remove_file(&places.pid);
    stopped
}
