//! Lists what a caller may administer, so that an interface knows what to offer. Each request checks the right again.

use std::time::Duration;

use cordwood_core::limits::ACCESS_NAMES_MAX;
use futures::StreamExt as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Administrator, Kind, Place, Verb};
use crate::Gateway;
use crate::problem::Problem;

/// Namespaces that are asked about at once.
const AT_ONCE: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    #[default]
    None,
    See,
    Change,
}

/// What the caller may administer here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Administers {
    /// LogRetentionPolicies: to see them, or to change them too.
    pub retention: Extent,
    /// LogLevelConfigs, of one namespace at least.
    pub levels: Extent,
    /// ClusterLogLevelConfigs, and the levels of the whole cluster.
    pub cluster_levels: Extent,
    /// How the agents are: to see it.
    pub agents: Extent,
}

impl Gateway {
    /// `None`: nothing is administered here. `namespaces`: those of which the caller sees something; `None`: all.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn administers(
        &self,
        who: &Administrator,
        namespaces: Option<Vec<&str>>,
    ) -> Result<Option<Administers>, Problem> {
        if self.administration.is_none() && self.agents.is_none() {
            return Ok(None);
        }
        let sees_agents = self.agents.is_some() && self.may_see_agents(&who.identity).await?;
        let agents = if sees_agents { Extent::See } else { Extent::None };
        if self.administration.is_none() {
            return Ok(Some(Administers { agents, ..Administers::default() }));
        }
        let (retention, cluster_levels, levels) = futures::try_join!(
            self.extent(who, Kind::Retention, String::new()),
            self.extent(who, Kind::ClusterLevels, String::new()),
            self.extent(who, Kind::Levels, String::new()),
        )?;
        let names = if levels < Extent::Change { namespaces.unwrap_or_default() } else { Vec::new() };
        let asked: Vec<_> = names
            .into_iter()
            .take(ACCESS_NAMES_MAX)
            .map(|namespace| self.extent(who, Kind::Levels, namespace.to_owned()))
            .collect();
        let mut each = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        let mut most = levels;
        while most < Extent::Change
            && let Some(extent) = each.next().await
        {
            most = most.max(extent?);
        }
        Ok(Some(Administers { retention, levels: most, cluster_levels, agents }))
    }

    async fn extent(&self, who: &Administrator, kind: Kind, namespace: String) -> Result<Extent, Problem> {
        let place = Place { kind, namespace, name: String::new() };
        // What is only shown may be as old as any other answer.
        if self.may_within(who, Verb::Update, &place, Duration::MAX).await? {
            return Ok(Extent::Change);
        }
        let sees = self.may(who, Verb::List, &place).await? || self.may(who, Verb::Get, &place).await?;
        Ok(if sees { Extent::See } else { Extent::None })
    }
}
