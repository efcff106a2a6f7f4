//! Connects the HTTP API to the folder of resources, which [`super::policies`] follows, to the state of each resource, and to the status of the
//! agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_agent::Telemetry;
use cordwood_core::agents::{Agent, AgentStatus, Agents};
use cordwood_core::levels::LevelRules;
use cordwood_core::retention::Tuning;
use cordwood_crds::{Kind as _, LogRetentionPolicy};
use cordwood_gateway::{Administration, AgentsSource};
use cordwood_operator::conditions::time;
use cordwood_operator::report::{policy_status, rivals};
use cordwood_operator::retention::Report;
use cordwood_service::Health;
use serde_json::{Value, json};

use super::NOTICE_US;
use crate::now_us;

/// What became of the resources, for anyone who asks.
#[derive(Clone, Default)]
pub struct Fares(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// By the policy's name.
    policies: BTreeMap<String, Value>,
    rules: Arc<LevelRules>,
    agent: Option<(Telemetry, Health)>,
}

impl Fares {
    /// The one agent, as an agent of a cluster is shown.
    pub fn agents(&self) -> AgentsSource {
        let fares = self.clone();
        AgentsSource::here(move || {
            let inner = fares.inner();
            let agent = inner.agent.as_ref().map(|(agent, health)| {
                let status = AgentStatus::read(agent.status_body(health).to_string().as_bytes());
                let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
                Agent { node, status, ..Agent::default() }
            });
            Agents {
                asked_ms: now_us() / 1_000,
                rules_generation: Some(inner.rules.generation),
                agents: agent.into_iter().collect(),
            }
        })
    }

    pub fn administration(&self, dir: PathBuf) -> Administration {
        let fares = self.clone();
        let status = move |kind: &str, id: &str| match kind {
            "LogRetentionPolicy" => fares.inner().policies.get(id).cloned(),
            _ => Some(fares.inner().of_rule(id)),
        };
        Administration::of_folder(dir, Tuning::with_notice(NOTICE_US), Arc::new(status))
    }

    /// After a pass, as the operator writes it into a status.
    pub fn passed(&self, report: &Report) {
        let (rivals, now_us) = (rivals(&report.policies), now_us());
        let mut inner = self.inner();
        let status = |name: &str, before: Option<&Value>| {
            let metadata = serde_json::from_value(json!({"name": name})).ok()?;
            let resource = LogRetentionPolicy::without_spec(metadata, before.cloned().unwrap_or_default());
            serde_json::to_value(policy_status(&resource, &[], report, &rivals, now_us)).ok()
        };
        let all = report.policies.iter().filter_map(|policy| {
            Some((policy.name.clone(), status(&policy.name, inner.policies.get(&policy.name))?))
        });
        inner.policies = all.collect();
    }

    pub fn rules(&self, rules: Arc<LevelRules>) {
        self.inner().rules = rules;
    }

    pub fn agent(&self, telemetry: Telemetry, health: Health) {
        self.inner().agent = Some((telemetry, health));
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn of_rule(&self, id: &str) -> Value {
        let generation = self.rules.generation;
        let ends_ms = self.rules.get(id).map(|rule| rule.expires_at_ms);
        let ends = ends_ms.flatten().map(|ends_ms| json!(time(ends_ms.saturating_mul(1000))));
        let is_over = ends_ms.flatten().is_some_and(|ends_ms| ends_ms <= now_us() / 1000);
        let (active, reason) = match ends_ms {
            None => ("False", "NotReadYet"),
            Some(_) if is_over => ("False", "Expired"),
            Some(_) => ("True", "InForce"),
        };
        let mut status = json!({"conditions": [{"type": "Active", "status": active, "reason": reason}]});
        if let Some(ends) = ends {
            status["expiresAt"] = ends;
        }
        if let (Some((agent, _)), "True") = (&self.agent, active) {
            let applied = u64::from(agent.rules_generation() >= generation);
            status["rulesGeneration"] = json!(generation);
            status["agents"] = json!(format!("{applied}/1"));
            (status["agentsApplied"], status["agentsTotal"]) = (json!(applied), json!(1));
        }
        status
    }
}
