//! Apache Kafka (KRaft): broker and controller in one process, and more brokers of the same cluster where a test needs replicas;
//! jars from Maven, the formatted log folder cached.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rustix::process::Signal;

use super::cache;
use super::home::Home;
use super::ports::Port;
use super::process::{Process, Program};

const VERSION: &str = "4.1.0";
/// It takes 3 s; a machine that compiles at the same time is slow.
const START_LIMIT: Duration = Duration::from_secs(240);
/// Any 16 bytes in URL-safe base64; the same for all, since no two brokers ever meet.
const CLUSTER: &str = "Q29yZHdvb2RUZXN0Q2x1Cg";

/// The broker that is the controller too.
const FIRST: u32 = 1;

#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Address that clients are told; also listened on (loopback always is).
    pub address: IpAddr,
    /// Where clients are told to come instead, for a proxy in between.
    pub advertised: Option<SocketAddr>,
    /// A second listener, SASL PLAIN without TLS: its address, and the only user's name and password.
    pub sasl: Option<(SocketAddr, &'static str, &'static str)>,
    /// More lines of `server.properties`.
    pub settings: Vec<(String, String)>,
}

impl Default for KafkaOptions {
    fn default() -> KafkaOptions {
        KafkaOptions { address: [127, 0, 0, 1].into(), advertised: None, sasl: None, settings: Vec::new() }
    }
}

/// A running broker.
pub struct Kafka {
    server: Process,
    program: Program,
    options: KafkaOptions,
    port: Port,
    /// The cluster's controller, which is the first broker's process.
    controller: u16,
    _controller: Option<Port>,
    home: Home,
}

impl Kafka {
    pub async fn start() -> Result<Kafka> {
        Kafka::start_with(KafkaOptions::default()).await
    }

    pub async fn start_with(options: KafkaOptions) -> Result<Kafka> {
        let controller = Port::free()?;
        let mut kafka = Kafka::broker(FIRST, options, controller.number())?;
        kafka._controller = Some(controller);
        kafka.wait_ready().await?;
        Ok(kafka)
    }

    /// One more broker of this one's cluster: `node` is 2 or above, another for each.
    pub async fn join(&self, node: u32) -> Result<Kafka> {
        let mut kafka = Kafka::broker(node, self.options.clone(), self.controller)?;
        kafka.wait_ready().await?;
        Ok(kafka)
    }

    fn broker(node: u32, options: KafkaOptions, controller: u16) -> Result<Kafka> {
        let jars = jars()?;
        let home = Home::new("kafka")?;
        let port = Port::free()?;
        let logs = home.join("logs");
        cache::copy_folder(&template(&jars)?, &logs)?;
        if node != FIRST {
            set_node(&logs, node)?;
        }
        let properties = home.join("server.properties");
        fs::write(&properties, settings(node, &options, port.number(), controller, &logs))
            .with_context(|| format!("write {}", properties.display()))?;
        let program = java("kafka", &jars, home.path())?
            .args(["-Xms256m", "-Xmx512m", "kafka.Kafka"])
            .arg(&properties)
            .stop_by(Signal::TERM, Duration::from_secs(20));
        let server = program.start()?;
        Ok(Kafka { server, program, options, port, controller, _controller: None, home })
    }

    /// `address:port`, for `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        match self.options.advertised {
            Some(advertised) => advertised.to_string(),
            None => self.direct().to_string(),
        }
    }

    /// Where the broker itself listens, whatever it advertises.
    pub fn direct(&self) -> SocketAddr {
        SocketAddr::new(self.options.address, self.port.number())
    }

    /// A client's settings with nothing but the address.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    pub fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client_config().create().context("create a Kafka admin client")
    }

    pub async fn create_topic(&self, name: &str, topic_partitions: i32) -> Result<()> {
        self.create_topic_with(name, topic_partitions, &[]).await
    }

    /// With settings of the topic's own, like `max.message.bytes`.
    pub async fn create_topic_with(
        &self,
        name: &str,
        topic_partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let topic = NewTopic::new(name, topic_partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let answers = self
            .admin()?
            .create_topics([&topic], &AdminOptions::new().operation_timeout(Some(Duration::from_secs(20))))
            .await
            .with_context(|| format!("create topic {name}"))?;
        for answer in answers {
            answer.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// The file that holds a topic partition's messages, as long as it has not grown beyond one segment.
    pub fn segment(&self, topic: &str, topic_partition: u32) -> PathBuf {
        self.home.join(format!("logs/{topic}-{topic_partition}/00000000000000000000.log"))
    }

    /// SIGKILL: nothing flushed, no goodbye.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on the same data and port, after `stop` or `kill`; the same as a restart while it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.stop();
        self.server = self.program.start()?;
        self.wait_ready().await
    }

    pub fn process(&self) -> &Process {
        &self.server
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let began = std::time::Instant::now();
        loop {
            self.server.check()?;
            // The listener opens when the broker has caught up and may serve.
            if tokio::net::TcpStream::connect(self.direct()).await.is_ok() {
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                anyhow::bail!("Kafka is not ready after {START_LIMIT:?}\n{}", self.server.log_tail(20));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// The cached log folder is the first broker's: this one's has another number, and another directory's id.
fn set_node(logs: &Path, node: u32) -> Result<()> {
    let path = logs.join("meta.properties");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = |line: &str| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={node}\n"),
        // (16 bytes in URL-safe base64.)
        Some(("directory.id", _)) => format!("directory.id={node:0>21}A\n"),
        _ => format!("{line}\n"),
    };
    fs::write(&path, text.lines().map(line).collect::<String>())
        .with_context(|| format!("write {}", path.display()))
}

fn settings(node: u32, options: &KafkaOptions, port: u16, controller: u16, logs: &Path) -> String {
    let (roles, listens) = match node {
        FIRST => ("broker,controller", format!(",CONTROLLER://127.0.0.1:{controller}")),
        _ => ("broker", String::new()),
    };
    let advertised = options.advertised.unwrap_or(SocketAddr::new(options.address, port));
    let of_sasl =
        |before: &str| options.sasl.map(|(address, ..)| format!(",{before}{address}")).unwrap_or_default();
    let mut text = format!(
        "process.roles={roles}\nnode.id={node}\ncontroller.quorum.voters={FIRST}@127.0.0.1:{controller}\n\
         listeners=CLIENT://{1}:{port}{listens}{0}\nadvertised.listeners=CLIENT://{advertised}{0}\n\
         listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT\ninter.broker.listener.name=CLIENT\n\
         controller.listener.names=CONTROLLER\nlog.dirs={2}\noffsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\nnum.network.threads=2\nnum.io.threads=2\n\
         log.cleaner.enable=false\n",
        of_sasl("SASL://"),
        options.address,
        logs.display()
    );
    if let Some((_, user, password)) = options.sasl {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        text.push_str(&format!(
            "sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config={module} required user_{user}=\"{password}\";\n"
        ));
    }
    for (key, value) in &options.settings {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn jars() -> Result<PathBuf> {
    cache::entry(&format!("kafka-{VERSION}"), "Apache Kafka (Maven, 54 MB)", |folder| {
        let pom = folder.join("pom.xml");
        fs::copy(cache::source("kafka/pom.xml"), &pom).context("copy kafka/pom.xml")?;
        cache::run(
            Command::new("mvn")
                .args(["-q", "-B", "-f"])
                .arg(&pom)
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", folder.display())),
        )?;
        let quiet = folder.join("log4j2.properties");
        fs::write(
            quiet,
            "appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n\
             appender.out.layout.pattern=%d %p %m (%c)%n\nrootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\n",
        )
        .context("write log4j2.properties")
    })
}

fn java(name: &str, jars: &Path, folder: &Path) -> Result<Program> {
    Ok(Program::new(name, "java", folder).arg("-cp").arg(jars.join("*")).args([
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-Xshare:auto".to_owned(),
        format!("-Dlog4j2.configurationFile={}", jars.join("log4j2.properties").display()),
    ]))
}

/// A log folder as `kafka-storage format` leaves it.
fn template(jars: &Path) -> Result<PathBuf> {
    cache::entry(&format!("kafka-{VERSION}-data"), "formatted Kafka log folder", |folder| {
        let properties = folder.join("server.properties");
        let logs = folder.join("logs");
        fs::write(&properties, settings(FIRST, &KafkaOptions::default(), 9092, 9093, &logs))
            .context("write server.properties")?;
        cache::run(
            Command::new("java")
                .arg("-cp")
                .arg(jars.join("*"))
                .args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
                .arg(&properties),
        )?;
        for file in fs::read_dir(&logs).context("read the formatted folder")? {
            let file = file.context("read the formatted folder")?;
            fs::rename(file.path(), folder.join(file.file_name())).context("move the formatted files")?;
        }
        fs::remove_dir(&logs).context("remove the empty folder")?;
        fs::remove_file(&properties).context("remove server.properties")
    })
}
