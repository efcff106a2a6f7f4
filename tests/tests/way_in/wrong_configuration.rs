//! Wrong configuration: one clear line that names the key, the address or the right; and the process ends, or says in
//! `/readyz` what it waits for when waiting may help.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Kafka, KafkaOptions, Postgres, Program, wait_for};
use cordwood_tests::{bin, http, merge};
use futures::StreamExt as _;
use serde_json::{Value, json};

/// How a process answers.
enum Answer {
    /// It ends with this code.
    Ends(i32),
    /// It stays, and is not ready.
    Waits,
}

use Answer::{Ends, Waits};

/// What is wrong, what it answers, what the line must say.
type Row = (Value, Answer, &'static [&'static str]);

fn agent_rows(sasl: &str) -> Vec<Row> {
    vec![
        (json!({"kafka": {"topics": "x"}}), Ends(2), &["kafka", "topics", "unknown field"]),
        (json!({"reed": {}}), Ends(2), &["unknown field", "reed"]),
        (json!({"read": {"poll_interval_ms": "soon"}}), Ends(2), &["read.poll_interval_ms"]),
        (json!({"listen": "here"}), Ends(2), &["listen"]),
        (json!({"kafka": {"brokers": ""}}), Ends(2), &["kafka.brokers"]),
        (json!({"kafka": {"brokers": "127.0.0.1:1"}}), Waits, &["127.0.0.1:1"]),
        (json!({"kafka": {"topic": "not a name"}}), Ends(2), &["kafka.topic", "not a name"]),
        (json!({"kafka": {"topic": "wide", "replication": 3}}), Waits, &["wide", "replication"]),
        (json!({"kafka": {"compression": "brotli"}}), Ends(2), &["kafka.compression", "brotli"]),
        (json!({"kafka": {"tls": {"ca_file": "/none"}}}), Ends(2), &["kafka.tls.ca_file", "/none"]),
        (
            json!({"kafka": {"brokers": sasl, "sasl": {"mechanism": "PLAIN", "username": "agent", "password_file": "wrong-password"}}}),
            Waits,
            &["kafka.sasl.password_file"],
        ),
        (json!({"state_dir": "/proc/none"}), Ends(1), &["state_dir", "/proc/none"]),
        (json!({"pods_dir": null}), Ends(2), &["pods_dir", "nothing to read"]),
        (json!({"pods_dir": "/none/pods"}), Waits, &["/none/pods"]),
        (json!({"kubernetes": {"enabled": true}}), Ends(2), &["kubernetes.namespace", "POD_NAMESPACE"]),
    ]
}

fn writer_rows(postgres: &Postgres) -> Vec<Row> {
    let url = postgres.url();
    let with = |user: &str| url.replace(&format!("postgres:{}", postgres.password()), user);
    vec![
        (json!({"databas": {}}), Ends(2), &["unknown field", "databas"]),
        (json!({"database": {"url": "nonsense"}}), Ends(2), &["database.url"]),
        (json!({"database": {"url": "postgresql://u@127.0.0.1:1/d"}}), Waits, &["127.0.0.1:1"]),
        (json!({"database": {"url": with("postgres:wrong")}}), Ends(1), &["password", "postgres"]),
        (
            json!({"migrate": false, "database": {"url": with("stranger:secret")}}),
            Ends(1),
            &["permission", "cordwood_writer"],
        ),
        (json!({"kafka": {"brokers": "127.0.0.1:1"}}), Waits, &["127.0.0.1:1"]),
        (json!({"commit": {"interval": 1}}), Ends(2), &["commit", "unknown field"]),
        (json!({"seal": {"format": 4}}), Ends(2), &["seal.format", "1 to 3"]),
        (json!({"redis": {"url": "http://redis"}}), Ends(2), &["redis.url"]),
        (json!({"listen": "192.0.2.77:9600"}), Ends(1), &["192.0.2.77:9600"]),
    ]
}

fn operator_rows(postgres: &Postgres) -> Vec<Row> {
    let wrong = postgres.url().replace(postgres.password(), "wrong");
    vec![
        (json!({"retention": {"pass_intervall_ms": 1}}), Ends(2), &["retention", "pass_intervall_ms"]),
        (
            json!({"retention": {"pass_interval_ms": 1}}),
            Ends(2),
            &["retention.pass_interval_ms", "at least 100"],
        ),
        (json!({"database": {"url": "nonsense"}}), Ends(2), &["database.url"]),
        (
            json!({"kubernetes": {"kubeconfig_file": "/none"}}),
            Ends(2),
            &["kubernetes.kubeconfig_file", "/none"],
        ),
        (
            json!({"database": {"url": wrong}, "kubernetes": {"kubeconfig_file": "kubeconfig"}}),
            Waits,
            &["password"],
        ),
    ]
}

/// A kubeconfig of an API server that is not there.
const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], \
                          clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}";

#[tokio::test(flavor = "multi_thread")]
async fn each_is_one_line_that_says_what_to_mend() -> Result<()> {
    let home = Home::new("configuration")?;
    let sasl = Port::free()?;
    let listener = SocketAddr::from(([127, 0, 0, 1], sasl.number()));
    let options =
        KafkaOptions { sasl: Some((listener, "agent", "right-password")), ..KafkaOptions::default() };
    let (kafka, postgres) = tokio::try_join!(Kafka::start_with(options), Postgres::start(15))?;
    let client = postgres.client().await?;
    client.batch_execute("create role stranger login password 'secret'").await.context("make a login")?;
    fs::create_dir_all(home.join("pods"))?;
    fs::write(home.join("wrong-password"), "wrong-password\n")?;
    fs::write(home.join("kubeconfig"), KUBECONFIG)?;
    let broker =
        json!({"brokers": kafka.brokers(), "topic": "cordwood-logs", "partitions": 1, "replication": 1});
    let agent = json!({"node": "n", "pods_dir": home.join("pods"), "kafka": broker,
                       "kubernetes": {"enabled": false}});
    let database = json!({"url": postgres.url()});
    let writer = json!({"kafka": broker, "database": database, "migrate": true});
    let operator = json!({"database": database, "kubernetes": {"namespace": "default"}});
    // The schema is there before a login without rights comes.
    let first = (json!({"kafka": {"brokers": "127.0.0.1:1"}}), Waits, &["127.0.0.1:1"][..]);
    check(&home, 0, "cordwood-writer", &writer, first).await?;
    let parts = [
        ("cordwood-agent", &agent, agent_rows(&listener.to_string())),
        ("cordwood-writer", &writer, writer_rows(&postgres)),
        ("cordwood-operator", &operator, operator_rows(&postgres)),
    ];
    let rows = parts
        .into_iter()
        .flat_map(|(program, base, rows)| rows.into_iter().map(move |row| (program, base, row)));
    let checks = rows.enumerate().map(|(number, (program, base, row))| {
        let (home, change) = (&home, row.0.to_string());
        async move {
            check(home, number + 1, program, base, row)
                .await
                .with_context(|| format!("{program} {change}"))
                .err()
        }
    });
    // Many of them wait until the client library is sure that nobody answers.
    let wrong: Vec<Option<anyhow::Error>> = futures::stream::iter(checks).buffer_unordered(8).collect().await;
    let wrong: Vec<String> = wrong.into_iter().flatten().map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Two agents, one state folder: the second ends, the first reads on.
    let shared = json!({"state_dir": home.join("shared")});
    let address = Port::free()?;
    let mut config = agent.clone();
    merge(&mut config, &shared);
    merge(&mut config, &json!({"listen": format!("127.0.0.1:{}", address.number())}));
    let file = home.join("first.yaml");
    fs::write(&file, config.to_string())?;
    let mut first = Program::new("first", bin("cordwood-agent")?, home.path())
        .arg("--config")
        .arg(&file)
        .env("KUBECONFIG", "/none")
        .start()?;
    let address = format!("127.0.0.1:{}", address.number());
    wait_for("the first agent", Duration::from_secs(30), || async {
        let (code, body) = http::get(&address, "/readyz").await?;
        ensure!(code == 200, "{code}: {body}");
        Ok(())
    })
    .await?;
    let second = (shared, Ends(1), &["state_dir", "another agent holds it"][..]);
    check(&home, 1000, "cordwood-agent", &agent, second).await.context("the second agent")?;
    ensure!(first.ended().is_none(), "the first agent ended");
    Ok(())
}

async fn check(home: &Home, number: usize, program: &str, base: &Value, row: Row) -> Result<()> {
    let (change, answer, said) = row;
    let port = Port::free()?;
    let mut config = base.clone();
    merge(&mut config, &json!({"listen": format!("127.0.0.1:{}", port.number())}));
    if program == "cordwood-agent" {
        // Many run at once, and two agents never share a state folder.
        merge(&mut config, &json!({"state_dir": home.join(format!("state-{number}"))}));
    }
    merge(&mut config, &change);
    // Files are named relative to the test's folder in the rows.
    let text = ["wrong-password", "kubeconfig"].iter().fold(config.to_string(), |text, name| {
        text.replace(&format!("\"{name}\""), &format!("\"{}\"", home.join(name).display()))
    });
    let file = home.join(format!("config-{number}.yaml"));
    fs::write(&file, text)?;
    let mut process = Program::new(&format!("part-{number}"), bin(program)?, home.path())
        .arg("--config")
        .arg(&file)
        .env("KUBECONFIG", "/none")
        .start()?;
    match answer {
        Ends(code) => {
            let status = process.wait(Duration::from_secs(20)).await.context("it goes on running")?;
            let log = fs::read_to_string(process.log_path())?;
            ensure!(status.code() == Some(code), "{status}, not {code}: {log}");
            let ours: Vec<&str> =
                log.lines().filter(|line| line.starts_with(&format!("{program}: "))).collect();
            ensure!(ours.len() == 1, "not one line: {log}");
            ensure!(said.iter().all(|said| ours[0].contains(said)), "{} does not say {said:?}", ours[0]);
            ensure!(!log.contains("panicked"), "{log}");
        }
        Waits => {
            let address = format!("127.0.0.1:{}", port.number());
            wait_for("the probe to say so", Duration::from_secs(30), || async {
                let (code, body) = http::get(&address, "/readyz").await?;
                ensure!(code == 503 && said.iter().all(|said| body.contains(said)), "{code}: {body}");
                Ok(())
            })
            .await
            .with_context(|| fs::read_to_string(process.log_path()).unwrap_or_default())?;
            ensure!(process.ended().is_none(), "it ended");
            process.kill();
        }
    }
    Ok(())
}
