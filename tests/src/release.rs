//! Cordwood on a real node, installed by Helm from the chart and the images of this tree, beside Kafka and PostgreSQL.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::env::home::Home;
use crate::env::{Kafka, KafkaOptions, Node, NodeOptions, Postgres, PostgresOptions, cache, wait_for};
use crate::merge;

pub const NAMESPACE: &str = "cordwood-system";
pub const RELEASE: &str = "cordwood";
pub const TOPIC: &str = "cordwood-logs";
/// Of the logins that are not the superuser's.
const PASSWORD: &str = "cordwood-test-login";

/// A long-running part of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Agent,
    Writer,
    Operator,
    Gateway,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Agent, Part::Writer, Part::Operator, Part::Gateway];

    /// Its name: of its container and of its label `app.kubernetes.io/component`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Agent => "agent",
            Part::Writer => "writer",
            Part::Operator => "operator",
            Part::Gateway => "gateway",
        }
    }
}

/// The node with everything on it. Dropping it takes all of it down.
pub struct Release {
    pub node: Node,
    pub kafka: Kafka,
    pub postgres: Postgres,
    home: Home,
}

impl Release {
    /// Everything is up and every part ready. `values` are merged over those that name Kafka, PostgreSQL and the images.
    pub async fn install(options: NodeOptions, values: Value) -> Result<Release> {
        let images = images()?;
        let home = Home::new("release")?;
        let node = Node::start_with(options).await?;
        let address = node.address();
        let (kafka, postgres) = tokio::try_join!(
            Kafka::start_with(KafkaOptions { address, ..KafkaOptions::default() }),
            Postgres::start_with(PostgresOptions { address, ..PostgresOptions::version(15) }),
        )?;
        for part in Part::ALL {
            node.import_image(&images.join(format!("cordwood-{}.tar", part.name())))?;
        }
        let release = Release { node, kafka, postgres, home };
        release.make_secret().await?;
        let mut all = json!({
            "kafka": {"brokers": [release.kafka.brokers()], "topic": TOPIC, "partitions": 4, "replication": 1},
            "database": {"port": release.postgres.port()},
            "agent": {"statePath": release.home.join("agent-state")},
        });
        merge(&mut all, &values);
        release.helm(&["install"], &all)?;
        Ok(release)
    }

    /// Merges `values` over those of before; returns once all pods are the new ones and ready.
    pub fn upgrade(&self, values: &Value) -> Result<()> {
        self.helm(&["upgrade", "--reuse-values"], values)
    }

    fn helm(&self, command: &[&str], values: &Value) -> Result<()> {
        let file = self.home.join("values.json");
        fs::write(&file, values.to_string()).context("write the chart's values")?;
        let (chart, file) =
            (cache::source("../charts/cordwood").display().to_string(), file.display().to_string());
        let about =
            [RELEASE, &chart, "--namespace", NAMESPACE, "--values", &file, "--wait", "--timeout", "120s"];
        match self.node.helm(&[command, &about].concat()) {
            Ok(_) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.story()),
        }
    }

    /// Three logins: the operator's may alter (it is the superuser here), the writer's may only write, the gateway's reads.
    async fn make_secret(&self) -> Result<()> {
        let client = self.postgres.client().await?;
        let owner = self.postgres.database("cordwood").await?;
        let at = owner.split_once('@').context("an address in the URL")?.1;
        let mut literals = vec![format!("--from-literal=owner-url={owner}")];
        for login in ["writer", "gateway"] {
            client
                .batch_execute(&format!(
                    "create role cordwood_{login} nologin; create role {login} login password '{PASSWORD}' in role cordwood_{login}"
                ))
                .await
                .with_context(|| format!("make the login {login}"))?;
            literals.push(format!("--from-literal={login}-url=postgresql://{login}:{PASSWORD}@{at}"));
        }
        self.node.kubectl(&["create", "namespace", NAMESPACE])?;
        let secret = ["--namespace", NAMESPACE, "create", "secret", "generic", "cordwood-database"];
        let arguments: Vec<&str> = secret.into_iter().chain(literals.iter().map(String::as_str)).collect();
        self.node.kubectl(&arguments)?;
        Ok(())
    }

    /// The superuser's URL of the database that Cordwood uses.
    pub fn database_url(&self) -> String {
        self.postgres.url_of("cordwood")
    }

    /// The folder on the node that holds the agent's checkpoint.
    pub fn agent_state(&self) -> PathBuf {
        self.home.join("agent-state")
    }

    /// A folder on the node for pods to write to.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.home.join(name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// The pods of a part.
    pub async fn pods(&self, part: Part) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.node.client().await?, NAMESPACE);
        let of = format!("app.kubernetes.io/component={}", part.name());
        Ok(pods.list(&ListParams::default().labels(&of)).await.context("list the part's pods")?.items)
    }

    /// SIGKILL to the part's container; returns once the kubelet has started another and it is ready.
    pub async fn kill(&self, part: Part) -> Result<()> {
        // On a busy machine a part may just be starting again.
        let before = wait_for(&format!("{part:?} to run"), Duration::from_secs(90), || async {
            let (before, pods) = (self.restarts(part).await?, self.pods(part).await?);
            let pod = pods.first().and_then(|pod| pod.metadata.name.as_deref());
            let pod = pod.with_context(|| format!("no pod of {part:?}"))?;
            self.node.kill_container(NAMESPACE, pod, part.name()).await?;
            Ok(before)
        })
        .await
        .with_context(|| self.story())?;
        wait_for(&format!("{part:?} to be back"), Duration::from_secs(90), || async {
            let after = self.restarts(part).await?;
            anyhow::ensure!(after > before, "not restarted");
            anyhow::ensure!(self.ready(part).await?, "not ready: {}", self.logs(part, 5));
            Ok(())
        })
        .await
    }

    /// Restarts of the part's container, over its pods.
    pub async fn restarts(&self, part: Part) -> Result<i32> {
        let pods = self.pods(part).await?;
        let statuses =
            pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten();
        Ok(statuses.map(|status| status.restart_count).sum())
    }

    async fn ready(&self, part: Part) -> Result<bool> {
        let pods = self.pods(part).await?;
        let mut statuses =
            pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten();
        Ok(statuses.all(|status| status.ready))
    }

    /// The last lines of a part's log.
    pub fn logs(&self, part: Part, lines: u32) -> String {
        let of = format!("--selector=app.kubernetes.io/component={}", part.name());
        let tail = format!("--tail={lines}");
        self.node
            .kubectl(&["--namespace", NAMESPACE, "logs", &of, &tail])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// What a person would look at first when something does not start.
    pub fn story(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &["get", "pods", "--all-namespaces", "--output=wide"][..],
            &["--namespace", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"],
        ] {
            text.push_str(&self.node.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}\n")));
        }
        for part in Part::ALL {
            text.push_str(&format!("--- {part:?}\n{}", self.logs(part, 15)));
        }
        text
    }
}

/// The folder of the docker archives that `scripts/images` makes.
fn images() -> Result<PathBuf> {
    let folder = match std::env::var_os("CORDWOOD_IMAGES_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => cache::root()?.join("images"),
    };
    for part in Part::ALL {
        let image = folder.join(format!("cordwood-{}.tar", part.name()));
        if !image.is_file() {
            bail!("{} does not exist: make the images first (scripts/images)", image.display());
        }
    }
    Ok(folder)
}
