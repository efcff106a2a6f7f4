//! `/api/admin/agents`: how the agents are that read the nodes' log files.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::agents::{Agent, Agents, LossReason};
use cordwood_core::entry::timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::Gateway;
use crate::problem::Problem;
use crate::question::Parameters;
use crate::scope::Known;

/// All agents. What an agent did not say (an older one, one that does not answer) is absent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentList {
    /// By node. One that does not answer is among them.
    pub items: Vec<AgentItem>,
    /// When they were asked; some seconds ago at the most.
    #[schema(format = "date-time")]
    pub asked_at: String,
    /// The generation of the level rules that all of them should have; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub rules_generation: Option<u64>,
}

/// One agent. Counts are since its start.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentItem {
    /// Empty: its pod has no node yet.
    #[schema(max_length = 259)]
    pub node: String,
    /// Absent where there are no pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 253)]
    pub pod: Option<String>,
    /// It answered.
    pub reachable: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 259)]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 259)]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub started_at: Option<String>,
    /// Files that it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub files: Option<u64>,
    /// On disk, not yet read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub lag_bytes: Option<u64>,
    /// How old the oldest unread byte is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub lag_seconds: Option<f64>,
    /// Read, not yet acknowledged by Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub held_bytes: Option<u64>,
    /// Kafka takes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<bool>,
    /// The soonest that the kubelet's rotation may delete a line that is not read, if it goes on like now. Absent: nothing waits,
    /// or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub minutes_until_loss: Option<f64>,
    /// How often lines were lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub losses: Option<u64>,
    /// Bytes that are known to be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub lost_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub last_loss_at: Option<String>,
    /// Why lines were lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub loss_reasons: Vec<LossItem>,
    /// Of the level rules that it has; all have those of the list's `rulesGeneration` when they are applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub rules_generation: Option<u64>,
}

/// Losses of one reason.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LossItem {
    #[schema(max_length = 259)]
    pub reason: String,
    #[schema(minimum = 0)]
    pub losses: u64,
    #[schema(minimum = 0)]
    pub bytes: u64,
}

impl From<&Agents> for AgentList {
    fn from(agents: &Agents) -> AgentList {
        AgentList {
            items: agents.agents.iter().map(AgentItem::from).collect(),
            asked_at: time(agents.asked_ms),
            rules_generation: agents.rules_generation,
        }
    }
}

impl From<&Agent> for AgentItem {
    fn from(agent: &Agent) -> AgentItem {
        let loss = |LossReason { reason, losses, bytes }| LossItem { reason, losses, bytes };
        let status = agent.status.clone().unwrap_or_default();
        AgentItem {
            node: agent.node.clone(),
            pod: Some(agent.pod.clone()).filter(|pod| !pod.is_empty()),
            reachable: agent.status.is_some(),
            reason: agent.unreachable.clone().filter(|_| agent.status.is_none()),
            version: status.version,
            started_at: status.started_ms.map(time),
            files: status.files,
            lag_bytes: status.lag_bytes,
            lag_seconds: status.lag_seconds,
            held_bytes: status.held_bytes,
            stalled: status.stalled,
            minutes_until_loss: status.minutes_until_loss,
            losses: status.losses,
            lost_bytes: status.lost_bytes,
            last_loss_at: status.last_loss_ms.map(time),
            loss_reasons: status.loss_reasons.into_iter().map(loss).collect(),
            rules_generation: status.rules_generation,
        }
    }
}

fn time(ms: i64) -> String {
    timestamp(ms.saturating_mul(1_000))
}

/// How each agent is: whether it answers, how far it is behind, what was lost, which level rules it has.
#[utoipa::path(
    get,
    path = "/api/admin/agents",
    responses(
        (status = 200, description = "The agents", body = AgentList),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn agents(
    State(gateway): State<Arc<Gateway>>,
    Known(identity): Known,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    json(&AgentList::from(&*gateway.agents_for(&identity).await?))
}
