//! `GET /agents`: the status of all agents, only for the service accounts that the configuration names. Every replica answers.
//!
//! Any other caller gets the answer of an unknown path.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cordwood_core::agents::{Agent, Agents, short};
use cordwood_core::levels::{LevelRules, RULES_KEY};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::agents;
use crate::config::{Config, Levels};
use crate::watched::explain_call;

/// Whom a token must be for.
pub const AUDIENCE: &str = "cordwood-operator";
/// An answer is good for so long.
const KEPT: Duration = Duration::from_secs(5);
/// The API server is asked no more tokens at once.
const REVIEWS_AT_ONCE: usize = 4;
/// A longer one is none.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// What the API server does not say by then it does not say.
const API_MAX: Duration = Duration::from_secs(5);

pub struct Overview {
    client: Client,
    namespace: String,
    levels: Levels,
    readers: BTreeSet<String>,
    reviews: Semaphore,
    /// Locked while agents are asked: who comes meanwhile has the same answer.
    kept: Mutex<Option<(Instant, Arc<Agents>)>>,
}

impl Overview {
    pub fn new(client: Client, config: &Config) -> Overview {
        Overview {
            client,
            namespace: config.namespace(),
            levels: config.levels.clone(),
            readers: config.agents_readers.iter().cloned().collect(),
            reviews: Semaphore::new(REVIEWS_AT_ONCE),
            kept: Mutex::default(),
        }
    }

    /// Without readers there is no route.
    pub fn router(self) -> Router {
        if self.readers.is_empty() {
            return Router::new();
        }
        Router::new()
            .route("/agents", get(answer).fallback(async || StatusCode::NOT_FOUND))
            .with_state(Arc::new(self))
    }

    /// Whether this token is one of the readers'.
    async fn knows(&self, token: &str) -> Result<bool, String> {
        let spec =
            TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let asked = async {
            let _one = self.reviews.acquire().await.map_err(|_| "the operator ends".to_owned())?;
            let created = reviews.create(&PostParams::default(), &review).await;
            created.map_err(|error| explain_call("create", "tokenreviews", &error))
        };
        let status = in_time(asked).await?.status.unwrap_or_default();
        // An API server that knows nothing of audiences names none: its yes may be to a token for somebody else.
        let is_for_us = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
        let name = status.user.and_then(|user| user.username);
        Ok(status.authenticated == Some(true)
            && is_for_us
            && name.is_some_and(|name| self.readers.contains(&name)))
    }

    async fn agents(&self) -> Result<Arc<Agents>, String> {
        let mut kept = self.kept.lock().await;
        if let Some((at, agents)) = &*kept
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(agents));
        }
        let Levels { agent_selector, agent_port, .. } = &self.levels;
        let listed = agents::ask(&self.client, &self.namespace, agent_selector, *agent_port).await;
        let listed = listed.map_err(|error| explain_call("list", "pods", &error))?;
        let mut agents: Vec<Agent> = listed.into_iter().map(row).collect();
        agents.sort_unstable_by(|one, other| (&one.node, &one.pod).cmp(&(&other.node, &other.pod)));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let asked_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let agents = Arc::new(Agents { asked_ms, rules_generation: self.rules_generation().await, agents });
        *kept = Some((Instant::now(), Arc::clone(&agents)));
        Ok(agents)
    }

    /// Of the rules that there are for agents, whichever replica wrote them; that nobody says it hides no agent.
    async fn rules_generation(&self) -> Option<u64> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let asked = async { maps.get_opt(&self.levels.config_map).await.map_err(|error| error.to_string()) };
        let rules = in_time(asked).await.ok()??.data?.remove(RULES_KEY)?;
        LevelRules::from_json(&rules).ok().map(|rules| rules.generation)
    }
}

fn row(agent: agents::Agent) -> Agent {
    let agents::Agent { pod, node, answer, .. } = agent;
    match answer {
        Ok(status) => {
            let node = if node.is_empty() { status.node.clone().unwrap_or_default() } else { node };
            Agent { node, pod, status: Some(status), unreachable: None }
        }
        Err(why) => Agent { node, pod, status: None, unreachable: Some(short(&why)) },
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(API_MAX, asked).await;
    answer.unwrap_or_else(|_| Err("the API server did not answer in time".to_owned()))
}

async fn answer(State(overview): State<Arc<Overview>>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let Some(token) = token.filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match overview.knows(token).await {
        Ok(true) => {}
        Ok(false) => return StatusCode::NOT_FOUND.into_response(),
        Err(why) => return away("who asks for the agents is not known", &why),
    }
    match overview.agents().await {
        Ok(agents) => axum::Json(&*agents).into_response(),
        Err(why) => away("the agents are not known", &why),
    }
}

fn away(what: &str, reason: &str) -> Response {
    tracing::warn!(reason, "{what}");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{what}: {reason}\n")).into_response()
}
