//! Fetches the status of the agents: in a cluster from the operator, in standalone from the agent in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use cordwood_core::agents::Agents;
use cordwood_core::limits::AGENTS_BYTES_MAX;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Gateway;
use crate::access::reviews::Attributes;
use crate::access::tokens::Names;
use crate::access::{Access, Identity};
use crate::config::AdministrationConfig;
use crate::problem::Problem;

/// A question that takes longer has no answer: the operator itself waits for its agents for some seconds.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// An answer, also that there is none, is good for so long.
const KEPT: Duration = Duration::from_secs(2);

/// Who knows how the agents are.
#[derive(Clone)]
pub struct AgentsSource(Arc<Source>);

enum Source {
    Operator(Box<Operator>),
    Here(Box<dyn Fn() -> Agents + Send + Sync>),
}

impl std::fmt::Debug for AgentsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentsSource")
    }
}

type Answer = Result<Arc<Agents>, Problem>;

struct Operator {
    url: String,
    token_file: PathBuf,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Locked while it is asked: who comes meanwhile has the same answer.
    kept: Mutex<Option<(Instant, Answer)>>,
}

impl AgentsSource {
    /// `None`: the configuration names no operator.
    pub fn of_operator(config: &AdministrationConfig) -> Option<AgentsSource> {
        let url = config.operator_url.as_ref().filter(|_| config.enabled)?;
        Some(AgentsSource(Arc::new(Source::Operator(Box::new(Operator {
            url: format!("{}/agents", url.trim_end_matches('/')),
            token_file: config.operator_token_file.clone()?,
            client: Client::builder(TokioExecutor::new()).build_http(),
            kept: Mutex::default(),
        })))))
    }

    /// Those of this process.
    pub fn here(agents: impl Fn() -> Agents + Send + Sync + 'static) -> AgentsSource {
        AgentsSource(Arc::new(Source::Here(Box::new(agents))))
    }

    /// # Errors
    /// When nobody says it.
    pub async fn agents(&self) -> Answer {
        match &*self.0 {
            Source::Here(agents) => Ok(Arc::new(agents())),
            Source::Operator(operator) => operator.agents().await,
        }
    }
}

impl Operator {
    async fn agents(&self) -> Answer {
        let mut kept = self.kept.lock().await;
        if let Some((at, answer)) = &*kept
            && at.elapsed() < KEPT
        {
            return answer.clone();
        }
        let asked = tokio::time::timeout(ANSWER_MAX, self.ask()).await;
        let answer = match asked.unwrap_or_else(|_| Err(anyhow!("no answer in time"))) {
            Ok(Some(agents)) => Ok(Arc::new(agents)),
            Ok(None) => {
                tracing::warn!(url = self.url, "the operator does not know this gateway (agents_readers)");
                Err(Problem::operator_refuses())
            }
            Err(error) => {
                tracing::warn!(
                    url = self.url,
                    error = format!("{error:#}"),
                    "the operator does not say how the agents are"
                );
                Err(Problem::operator_away())
            }
        };
        *kept = Some((Instant::now(), answer.clone()));
        answer
    }

    /// `None`: it answers as if there were no such route.
    async fn ask(&self) -> Result<Option<Agents>> {
        let token = tokio::fs::read_to_string(&self.token_file).await;
        let token = token.with_context(|| format!("read {}", self.token_file.display()))?;
        let request = Request::get(&self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .body(Full::default())?;
        let answer = self.client.request(request).await.context("ask")?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), AGENTS_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("read the answer: {error}"))?.to_bytes();
        match status {
            StatusCode::OK => Ok(Some(serde_json::from_slice(&body).context("read the answer")?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(anyhow!("{status}: {}", String::from_utf8_lossy(&body).trim())),
        }
    }
}

impl Gateway {
    /// Whether somebody may see how the agents are: in a cluster anyone who may `get` `agents`, else anyone who sees everything and administers.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn may_see_agents(&self, identity: &Identity) -> Result<bool, Problem> {
        match (identity, &self.access) {
            (Identity::Local, Access::Loopback) => Ok(true),
            (Identity::Token(token), Access::Tokens(_)) => {
                let is_all = |names: &Names| matches!(names, Names::All(_));
                Ok(token.administer && is_all(&token.tenants) && is_all(&token.namespaces))
            }
            (Identity::Person(person, ..), Access::Cluster(cluster)) => {
                let attributes = Attributes {
                    verb: "get",
                    group: "cordwood.dev",
                    resource: "agents",
                    subresource: "",
                    namespace: "",
                    name: "",
                };
                cluster.may_do(person, attributes, Duration::MAX, &self.metrics).await
            }
            _ => Ok(false),
        }
    }

    /// How the agents are, for somebody who may see it. Who may not is told what they are told where nobody knows it.
    ///
    /// # Errors
    /// Also when nobody says it.
    pub async fn agents_for(&self, identity: &Identity) -> Answer {
        let source = self.agents.as_ref().ok_or_else(Problem::no_agents)?;
        if !self.may_see_agents(identity).await? {
            return Err(Problem::no_agents());
        }
        source.agents().await
    }
}
