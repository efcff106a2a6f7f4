//! How statuses are written: by server-side apply as one manager, never over a newer one, and without what an older version left. And level
//! configs that go by themselves some time after their end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_crds::levels::Reach;
use cordwood_crds::{LogLevelConfig, LogLevelConfigStatus, LogRetentionPolicy, LogRetentionPolicyStatus};
use cordwood_operator::ended::delete;
use cordwood_operator::status_write::{MANAGER, put};
use cordwood_tests::env::wait_for;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::operator_world::{World, kubectl, policy};

const PATIENCE: Duration = Duration::from_secs(60);

fn quiet(name: &str, spec: Value) -> Result<LogLevelConfig> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": name}, "spec": spec,
    }))?)
}

/// The status that the version before wrote, as it wrote it: a JSON patch of nobody in particular.
fn of_the_version_before() -> Result<Patch<()>> {
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": "it was so",
               "lastTransitionTime": "2026-11-18T12:00:00Z", "observedGeneration": 1})
    };
    let status = json!({"conditions": [condition("Valid", "Accepted"), condition("Conflict", "None")]});
    Ok(Patch::Json(serde_json::from_value(json!([{"op": "add", "path": "/status", "value": status}]))?))
}

async fn shown(world: &World, what: &str) -> Result<Value> {
    Ok(serde_json::from_str(&kubectl(world, &["get", what, "-o", "json", "--show-managed-fields"])?)?)
}

fn has_condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == kind))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_has_one_writer_and_nothing_of_a_version_before() -> Result<()> {
    let mut world = World::start(15).await?;
    let policies = world.api();
    let configs: Api<LogLevelConfig> = Api::default_namespaced(world.client.clone());
    policies.create(&PostParams::default(), &policy("shop", "1h", "2m")).await?;
    configs
        .create(&PostParams::default(), &quiet("quiet", json!({"level": "ERROR", "duration": "30m"}))?)
        .await?;
    policies.patch_status("shop", &PatchParams::default(), &of_the_version_before()?).await?;
    configs.patch_status("quiet", &PatchParams::default(), &of_the_version_before()?).await?;
    for what in ["lrp/shop", "llc/quiet"] {
        ensure!(has_condition(&shown(&world, what).await?, "Valid"), "{what} has not what is to go");
    }

    world.start_operator().await?;
    for what in ["lrp/shop", "llc/quiet"] {
        wait_for(&format!("the status of {what}"), PATIENCE, || async {
            let object = shown(&world, what).await?;
            ensure!(has_condition(&object, "Accepted"), "{}", object["status"]);
            ensure!(!has_condition(&object, "Valid"), "{}", object["status"]);
            let fields = object["metadata"]["managedFields"].as_array().context("managed fields")?;
            let writers: Vec<String> = fields
                .iter()
                .filter(|entry| entry["subresource"] == "status")
                .map(|entry| format!("{} {}", entry["manager"], entry["operation"]))
                .collect();
            ensure!(writers.contains(&format!("\"{MANAGER}\" \"Apply\"")), "{writers:?}");
            Ok(())
        })
        .await?;
    }
    wait_for("the metric of the conditions", PATIENCE, || async {
        let (_, text) = world.operator.as_ref().context("an operator")?.get("/metrics").await?;
        for kind in ["LogRetentionPolicy", "LogLevelConfig"] {
            let series = format!(
                "cordwood_operator_conditions{{condition=\"Accepted\",kind=\"{kind}\",reason=\"{}\",status=\"True\"}} 1",
                if kind == "LogLevelConfig" { "OwnNamespaceOnly" } else { "Accepted" }
            );
            ensure!(text.contains(&series), "no {series}");
        }
        Ok(())
    })
    .await?;

    // Two leaders: what the one saw is no more what is there, and it writes nothing.
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    world.kill_operator();
    let seen: ObjectMeta = policies.get("shop").await?.metadata;
    let says = |waits: &str| LogRetentionPolicyStatus {
        waits: Some(waits.to_owned()),
        ..LogRetentionPolicyStatus::default()
    };
    let after = put::<LogRetentionPolicy>(&world.client, &seen, &says("the leader")).await?;
    ensure!(after.resource_version != seen.resource_version);
    let refused = put::<LogRetentionPolicy>(&world.client, &seen, &says("one that was deposed")).await;
    match refused {
        Err(kube::Error::Api(answer)) => ensure!(answer.code == 409, "{answer:?}"),
        other => anyhow::bail!("{other:?}"),
    }
    // What is said no more is gone: the status is the last one, whole.
    let status = policies.get("shop").await?.status.context("a status")?;
    ensure!(status == says("the leader"), "{status:?}");
    put::<LogRetentionPolicy>(&world.client, &after, &LogRetentionPolicyStatus::default()).await?;
    let status = policies.get("shop").await?.status;
    ensure!(status.is_none_or(|status| status == LogRetentionPolicyStatus::default()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_config_goes_after_its_time_unless_somebody_renews_it() -> Result<()> {
    let mut world = World::start(15).await?;
    world.start_operator().await?;
    let configs: Api<LogLevelConfig> = Api::default_namespaced(world.client.clone());
    let make = async |name: &str, ttl: Option<&str>| -> Result<LogLevelConfig> {
        let mut spec = json!({"level": "ERROR", "duration": "2s"});
        if let Some(ttl) = ttl {
            spec["ttlAfterExpiry"] = ttl.into();
        }
        Ok(configs.create(&PostParams::default(), &quiet(name, spec)?).await?)
    };
    make("stays", None).await?;
    make("renewed", Some("8s")).await?;
    let brief = make("brief", Some("2s")).await?;
    let ended = |name: &'static str| {
        let configs = configs.clone();
        async move {
            let status = configs.get(name).await?.status.unwrap_or_default();
            let ready =
                status.conditions.iter().find(|condition| condition.type_ == "Ready").context("Ready")?;
            ensure!(ready.reason == "Expired", "{ready:?}");
            anyhow::Ok(status)
        }
    };
    wait_for("the end of one", PATIENCE, || ended("renewed")).await?;
    let seen = configs.get("renewed").await?;
    let renewal = json!({"spec": {"duration": "1h"}});
    configs.patch("renewed", &PatchParams::default(), &Patch::Merge(renewal)).await?;

    wait_for("what ended to go", PATIENCE, || async {
        let found = configs.get_opt("brief").await?;
        ensure!(found.is_none(), "it is there");
        Ok(())
    })
    .await?;
    let gone_ms = jiff::Timestamp::now().as_millisecond();
    let made_ms = brief.creation_timestamp().context("a time")?.0.as_millisecond();
    ensure!(gone_ms >= made_ms + 4_000, "it went {} ms after it was made", gone_ms - made_ms);
    wait_for("an event that says why", PATIENCE, || async {
        let events = kubectl(&world, &["get", "events", "-n", "default"])?;
        let why = "deleted LogLevelConfig default/brief: it ended at ";
        ensure!(events.contains("TtlAfterExpiry") && events.contains(why), "{events}");
        ensure!(events.contains("spec.ttlAfterExpiry is 2s"), "{events}");
        Ok(())
    })
    .await?;

    // An operator that saw it before it was renewed cannot delete it.
    ensure!(!delete(&world.client, Reach::Namespace, &seen.metadata).await?, "what was renewed is gone");
    wait_for("what was renewed to be in force", PATIENCE, || async {
        let status = configs.get("renewed").await?.status.unwrap_or_default();
        let active = status.conditions.iter().find(|one| one.type_ == "Active").context("Active")?;
        ensure!(active.status == "True", "{active:?}");
        Ok(())
    })
    .await?;
    // Another that goes later than the first end of the renewed one would have been.
    make("later", Some("9s")).await?;
    wait_for("a later one to go", PATIENCE, || async {
        ensure!(configs.get_opt("later").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    ensure!(configs.get_opt("renewed").await?.is_some(), "what was renewed is gone");
    let status: LogLevelConfigStatus = ended("stays").await?;
    ensure!(status.expires_at.is_some());
    Ok(())
}
