//! Reads an agent's status as other programs see it: the operator asks each agent's `/status`, and the gateway asks the operator. The three may
//! have different versions: a field that is missing or has another type counts as unknown, and an unknown field is ignored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::levels::STATUS_GENERATION;
use crate::limits::{AGENT_LOSS_REASONS_MAX, AGENT_TEXT_CHARS_MAX};

/// One agent's `/status`, as far as others read it. Counts are since the agent's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    pub node: Option<String>,
    pub version: Option<String>,
    /// Milliseconds since the epoch.
    pub started_ms: Option<i64>,
    /// Of the level rules in force.
    pub rules_generation: Option<u64>,
    pub files: Option<u64>,
    /// On disk, not yet read.
    pub lag_bytes: Option<u64>,
    /// How old the oldest unread byte is.
    pub lag_seconds: Option<f64>,
    /// Read, not yet acknowledged.
    pub held_bytes: Option<u64>,
    /// Kafka takes nothing.
    pub stalled: Option<bool>,
    /// The soonest that an unread byte may rotate away.
    pub minutes_until_loss: Option<f64>,
    /// Loss records that were written.
    pub losses: Option<u64>,
    pub lost_bytes: Option<u64>,
    pub last_loss_ms: Option<i64>,
    pub loss_reasons: Vec<LossReason>,
}

/// Losses of one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossReason {
    pub reason: String,
    pub losses: u64,
    pub bytes: u64,
}

impl AgentStatus {
    /// `None`: it is no such body.
    pub fn read(body: &[u8]) -> Option<AgentStatus> {
        let status: Value = serde_json::from_slice(body).ok()?;
        let reader = &status["reader"];
        let text = |value: &Value| value.as_str().map(short);
        // A number that JSON has no form for is none.
        let positive = |value: &Value| value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
        let reason = |value: &Value| {
            Some(LossReason {
                reason: text(&value["reason"])?,
                losses: value["losses"].as_u64().unwrap_or_default(),
                bytes: value["bytes"].as_u64().unwrap_or_default(),
            })
        };
        let reasons = reader["loss_reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
        status.is_object().then(|| AgentStatus {
            node: text(&reader["node"]),
            version: text(&status["version"]),
            started_ms: status["started_ms"].as_i64(),
            rules_generation: status[STATUS_GENERATION].as_u64(),
            files: reader["files"].as_u64(),
            lag_bytes: reader["lag_bytes"].as_u64(),
            lag_seconds: positive(&reader["lag_seconds"]),
            held_bytes: reader["held_bytes"].as_u64(),
            stalled: reader["stalled"].as_bool(),
            minutes_until_loss: positive(&reader["minutes_until_loss"]),
            losses: reader["losses"].as_u64(),
            lost_bytes: reader["lost_bytes"].as_u64(),
            last_loss_ms: reader["last_loss_ms"].as_i64(),
            loss_reasons: reasons.iter().filter_map(reason).take(AGENT_LOSS_REASONS_MAX).collect(),
        })
    }
}

/// An agent that there is, whether it answers or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agent {
    pub node: String,
    /// Empty where there are no pods.
    pub pod: String,
    /// What it said; `None`: nothing.
    pub status: Option<AgentStatus>,
    /// Why it said nothing.
    pub unreachable: Option<String>,
}

/// All agents, as they were asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Milliseconds since the epoch.
    pub asked_ms: i64,
    /// The generation of the level rules that all of them should have.
    pub rules_generation: Option<u64>,
    pub agents: Vec<Agent>,
}

/// As much as is shown of a text that an agent gave.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(AGENT_TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Losses by reason, of which there are never too many: what came later is counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub reasons: Vec<LossReason>,
    pub last_ms: Option<i64>,
}

/// The reason of those that came when there were too many reasons.
const OTHERS: &str = "other reasons";

impl Losses {
    pub fn add(&mut self, reason: &str, losses: u64, bytes: u64, at_ms: Option<i64>) {
        self.last_ms = self.last_ms.max(at_ms);
        let reason = short(reason);
        let is_full = self.reasons.len() + 1 >= AGENT_LOSS_REASONS_MAX;
        let known = self.reasons.iter().position(|known| known.reason == reason);
        let others = || self.reasons.iter().position(|known| known.reason == OTHERS);
        let place = known.or_else(|| if is_full { others() } else { None });
        let place = place.unwrap_or_else(|| {
            let reason = if is_full { OTHERS.to_owned() } else { reason };
            self.reasons.push(LossReason { reason, ..LossReason::default() });
            self.reasons.len() - 1
        });
        self.reasons[place].losses += losses;
        self.reasons[place].bytes += bytes;
    }

    /// Takes over what the other counted.
    pub fn merge(&mut self, other: &Losses) {
        self.last_ms = self.last_ms.max(other.last_ms);
        for reason in &other.reasons {
            self.add(&reason.reason, reason.losses, reason.bytes, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_agent_of_another_version_does_not_say_is_not_known() {
        for (body, expected) in [
            (json!({}), AgentStatus::default()),
            (
                // The first that were released.
                json!({
                    "reader": {"node": "n", "rules_generation": 3, "runs": 1, "files": 2, "lag_bytes": 5, "lag_seconds": 0.5,
                               "held_bytes": 7, "stalled": true, "minutes_until_loss": null, "streams": []},
                    STATUS_GENERATION: 4, "conditions": {},
                }),
                AgentStatus {
                    node: Some("n".to_owned()),
                    rules_generation: Some(4),
                    files: Some(2),
                    lag_bytes: Some(5),
                    lag_seconds: Some(0.5),
                    held_bytes: Some(7),
                    stalled: Some(true),
                    ..AgentStatus::default()
                },
            ),
            (
                // One that is to come, whose fields mean something else.
                json!({"reader": {"node": ["n"], "lag_bytes": -1, "losses": "3", "loss_reasons": [{"losses": 1}, 5]},
                       STATUS_GENERATION: 4, "version": 5}),
                AgentStatus { rules_generation: Some(4), ..AgentStatus::default() },
            ),
        ] {
            assert_eq!(AgentStatus::read(body.to_string().as_bytes()), Some(expected), "{body}");
        }
        for body in ["", "[]", "5", "<html>"] {
            assert_eq!(AgentStatus::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn what_an_agent_says_is_bounded() {
        let reasons: Vec<Value> =
            (0..1_000).map(|number| json!({"reason": "x".repeat(10_000) + &number.to_string()})).collect();
        let body = json!({"version": "v".repeat(10_000), "reader": {"loss_reasons": reasons}});
        let status = AgentStatus::read(body.to_string().as_bytes()).unwrap();
        assert!(serde_json::to_string(&status).unwrap().len() < 8 << 10);
    }

    #[test]
    fn an_answer_of_another_version_is_read() {
        let agents: Agents =
            serde_json::from_value(json!({"agents": [{"pod": "p", "new": 1, "status": {"new": 1}}]}))
                .unwrap();
        let status = Some(AgentStatus::default());
        assert_eq!(agents.agents, [Agent { pod: "p".to_owned(), status, ..Agent::default() }]);
    }

    #[test]
    fn no_loss_is_uncounted_however_many_reasons_there_are() {
        let (mut losses, mut other) = (Losses::default(), Losses::default());
        for number in 0..100 {
            losses.add(&format!("reason {number}"), 1, 10, Some(number));
            other.add(&format!("reason {}", 99 - number), 1, 10, Some(5));
        }
        losses.merge(&other);
        assert_eq!(losses.reasons.len(), AGENT_LOSS_REASONS_MAX);
        assert_eq!(losses.reasons.iter().map(|reason| reason.losses).sum::<u64>(), 200);
        assert_eq!(losses.reasons.iter().map(|reason| reason.bytes).sum::<u64>(), 2_000);
        assert_eq!((losses.reasons[0].losses, losses.last_ms), (1, Some(99)));
        losses.add("reason 0", 1, 0, None);
        assert_eq!(losses.reasons[0].losses, 2);
    }
}
