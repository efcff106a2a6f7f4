//! Three brokers: how many of them must have a message before it is acknowledged, of a topic that Cordwood makes and of one that it
//! finds.

#![allow(clippy::print_stdout, reason = "what a person runs this test for")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cordwood_kafka::{KafkaSettings, ensure_topic};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Kafka, KafkaOptions, wait_for};
use cordwood_tests::{http, shipped};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use serde_json::json;

fn topic_settings(brokers: &str, topic: &str, replication: i32) -> Result<KafkaSettings> {
    let settings = json!({"brokers": brokers, "topic": topic, "partitions": 2, "replication": replication});
    Ok(serde_json::from_value(settings)?)
}

/// What an agent says of a topic: its gauge, and whether it warns.
async fn said_by_an_agent(brokers: &str, topic: &str) -> Result<(f64, bool)> {
    let home = Home::new(topic)?;
    let port = Port::free()?;
    let address = format!("127.0.0.1:{}", port.number());
    let broker = json!({"brokers": brokers, "topic": topic});
    let mut agent = shipped::agent(&home, &port, &broker, &json!({}))?.start()?;
    let is_ready = || async {
        let (code, why) = http::get(&address, "/readyz").await?;
        ensure!(code == 200, "{why}");
        Ok(())
    };
    wait_for("the agent to be ready", Duration::from_secs(60), is_ready).await?;
    agent.check()?;
    let gauge = http::metric(&address, "cordwood_agent_single_acknowledgement").await?;
    Ok((gauge, agent.log_tail(50).contains("acknowledges a message that only one broker has")))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_brokers_two_must_have_a_message() -> Result<()> {
    let began = Instant::now();
    let default = ("default.replication.factor".to_owned(), "3".to_owned());
    let mut first =
        Kafka::start_with(KafkaOptions { settings: vec![default], ..KafkaOptions::default() }).await?;
    let (mut second, mut third) = tokio::try_join!(first.join(2), first.join(3))?;
    println!("three brokers after {:?}", began.elapsed());
    let brokers = [&first, &second, &third].map(Kafka::brokers).join(",");

    // Made by Cordwood: with three replicas asked for, and with as many as the brokers give by themselves.
    for (topic, replication) in [("of-three", 3), ("of-the-default", -1), ("of-one", 1)] {
        let made = ensure_topic(&topic_settings(&brokers, topic, replication)?, "test").await?;
        println!("{topic}: {made:?}");
        let expected = if replication == 1 { (1, Some(1)) } else { (3, Some(2)) };
        ensure!(made.created && (made.replication, made.in_sync_min) == expected, "{topic}: {made:?}");
        ensure!(!made.acknowledged_by_one(), "{topic}: {made:?}");
    }
    // Made by somebody, as Kafka makes it by itself.
    let found = NewTopic::new("found", 2, TopicReplication::Fixed(3)).set("min.insync.replicas", "1");
    let answers = first.admin()?.create_topics([&found], &AdminOptions::new()).await?;
    ensure!(answers.iter().all(Result::is_ok), "{answers:?}");
    let settings = topic_settings(&brokers, "found", 3)?;
    let look = || async {
        let found = ensure_topic(&settings, "test").await?;
        ensure!(!found.created && found.replication == 3, "{found:?}");
        Ok(found)
    };
    let found = wait_for("the brokers to agree on the topic", Duration::from_secs(30), look).await?;
    println!("found: {found:?}");
    ensure!(found.in_sync_min == Some(1) && found.acknowledged_by_one(), "{found:?}");

    ensure!(said_by_an_agent(&brokers, "of-three").await? == (0.0, false));
    ensure!(said_by_an_agent(&brokers, "found").await? == (1.0, true));
    // (Nobody needs what they hold.)
    [&mut second, &mut third, &mut first].into_iter().for_each(Kafka::kill);
    Ok(())
}
