//! The gateway shows over HTTP what is stored, to callers who may see it and to nobody else.
//!
//! A request's way: `routes` (a path and its forms) -> `scope` (whose records the caller may see) -> `slots` (how much is under way) ->
//! `question` (parameters to one filter, a range, a place) -> the store, which answers nothing without a scope. No route has a way
//! around these.

mod access;
mod admin;
mod answer;
mod audit;
mod check;
mod config;
mod export;
mod live;
mod metrics;
mod numbered;
mod problem;
mod question;
mod reading;
mod request_id;
mod routes;
mod scope;
mod server;
mod slots;
mod tally;
mod ui;
mod walk;
mod words;

use std::sync::Arc;
use std::time::Duration;

use cordwood_service::RedisSettings;
use cordwood_store::Store;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::Access;
pub use access::cluster::Cluster;
pub use access::oidc::Oidc;
pub use access::sessions::seals::Seals;
pub use access::tokens::Tokens;
pub use admin::{Administration, AgentsSource, StatusOf};
pub use audit::Audit;
pub use check::check;
pub use config::{
    AdministrationConfig, AuditConfig, BrowserAccess, Config, IdentityLimits, KubernetesAccess, Limits,
    OidcAccess, ReplicaConfig,
};
pub use routes::openapi_json;
pub use server::{ListenError, Running, start, start_beside};

use access::sessions::Sessions;
use live::Hub;
use metrics::Metrics;
use numbered::Numbered;
use problem::Problem;
use reading::Replica;
use scope::{Caller, StoredNames};
use slots::{Length, Refused, Share, Slot, Slots};

/// What all routes share.
#[derive(Debug)]
pub struct Gateway {
    store: Store,
    access: Access,
    administration: Option<Administration>,
    agents: Option<AgentsSource>,
    slots: Slots,
    metrics: Metrics,
    limits: Limits,
    numbered: Numbered,
    /// What rights are asked for.
    stored_names: StoredNames,
    audit: Audit,
    /// What live streams share.
    hub: Arc<Hub>,
    /// Where writers tell of commits.
    redis: Option<redis::Client>,
    sessions: Sessions,
    replica: Option<Replica>,
    /// Streams end when it is cancelled.
    stopping: CancellationToken,
    /// WebSockets, which are no requests any more.
    sockets: TaskTracker,
}

impl Gateway {
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn new(
        store: Store,
        access: Access,
        limits: &Limits,
        registry: &Registry,
    ) -> prometheus::Result<Gateway> {
        Ok(Gateway {
            store,
            access,
            administration: None,
            agents: None,
            slots: Slots::new(limits),
            limits: limits.clone(),
            metrics: Metrics::register(registry)?,
            numbered: Numbered::default(),
            stored_names: StoredNames::default(),
            audit: Audit::none(),
            hub: Arc::default(),
            redis: None,
            sessions: Sessions::new(
                Seals::random().map_err(|error| prometheus::Error::Msg(error.to_string()))?,
            ),
            replica: None,
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
        })
    }

    /// Searches, exports and counts read there while it is not further behind. `store`: as [`Store::replica_of`] makes it.
    #[must_use]
    pub fn reading_from(mut self, store: Store, lag_max: Duration) -> Gateway {
        self.replica = Some(Replica::new(store, lag_max));
        self
    }

    /// Who looks at what is told there; without it, nowhere.
    #[must_use]
    pub fn audited(mut self, audit: Audit) -> Gateway {
        self.audit = audit;
        self
    }

    /// Woken by the writers' live feed. Redis need not be there.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn woken_by(mut self, redis: &RedisSettings) -> anyhow::Result<Gateway> {
        self.redis = Some(live::redis_client(redis)?);
        Ok(self)
    }

    /// Sessions and tickets hold at every gateway with the same keys; without, at this one alone.
    #[must_use]
    pub fn with_session_keys(self, seals: Seals) -> Gateway {
        Gateway { sessions: Sessions::new(seals), ..self }
    }

    /// With it the resources can be read and changed.
    #[must_use]
    pub fn administering(self, administration: Option<Administration>) -> Gateway {
        Gateway { administration, ..self }
    }

    /// With it is seen how the agents are.
    #[must_use]
    pub fn showing_agents(self, agents: Option<AgentsSource>) -> Gateway {
        Gateway { agents, ..self }
    }

    async fn slot(&self, caller: &Caller, length: Length) -> Result<Slot, Problem> {
        self.slot_of(caller.identity.name(), length).await
    }

    async fn slot_of(&self, name: &str, length: Length) -> Result<Slot, Problem> {
        let taken = self.slots.take(name, length).await;
        taken.map_err(|refused| self.refused(refused))
    }

    fn share_of(&self, name: &str) -> Result<Share, Problem> {
        self.slots.share(name).map_err(|refused| self.refused(refused))
    }

    fn refused(&self, refused: Refused) -> Problem {
        match refused {
            Refused::Busy => {
                self.metrics.refused("busy");
                Problem::busy()
            }
            Refused::Identity => {
                self.metrics.refused("identity");
                Problem::too_many_of_one()
            }
        }
    }
}
