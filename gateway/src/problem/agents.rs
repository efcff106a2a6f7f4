//! Refusals of requests for the agents' status.

use axum::http::StatusCode;

use super::{AWAY_RETRY_SECONDS, Problem};

impl Problem {
    /// For a gateway that knows nothing of agents, and for a caller who may not see how they are.
    pub fn no_agents() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-agents",
            "No agents to be seen",
            "there are no agents here that you may see: it needs the right to get agents of cordwood.dev, and a gateway that knows \
             where the operator is (administration.operator_url)",
        )
    }

    pub fn operator_away() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:operator-away",
            "The operator does not answer",
            "how the agents are cannot be found out for the moment: ask again; where it stays so, see whether the operator's pods run and \
             what their log says",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }

    pub fn operator_refuses() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:operator-refuses",
            "The operator does not know this gateway",
            "the operator's agents_readers must name the gateway's service account, and administration.operator_token_file must hold a \
             token of that account for the audience cordwood-operator",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }
}
