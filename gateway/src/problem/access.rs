//! Refusals about the caller: the caller is unknown, used a kind of access that is not enabled, or their scope cannot be found out now.

use axum::http::StatusCode;
use cordwood_core::limits::ACCESS_NAMES_MAX;

use super::{AWAY_RETRY_SECONDS, Problem};

const NAME_A_NAMESPACE: &str = "urn:cordwood:problem:namespace";

impl Problem {
    pub fn unknown_caller() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "urn:cordwood:problem:token",
            "Who are you?",
            "send a header Authorization: Bearer TOKEN with a token that the gateway's file of tokens holds",
        )
    }

    pub fn unknown_in_cluster(has_login: bool) -> Problem {
        let log_in = if has_login { "; with a browser, log in at /api/login" } else { "" };
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "urn:cordwood:problem:token",
            "Who are you?",
            format!(
                "send a header Authorization: Bearer TOKEN with a token of this cluster that is for the gateway: kubectl create token \
                 SERVICEACCOUNT --audience cordwood (or the audience that the gateway is set to) makes one{log_in}"
            ),
        )
    }

    pub fn no_ticket() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "urn:cordwood:problem:ticket",
            "No such ticket",
            "this ticket was used, is over, or is none: POST /api/ticket gives another, which is good once and for 30 seconds",
        )
    }

    pub fn needs_no_ticket() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-ticket",
            "No tickets",
            "this gateway asks for no token and gives no tickets",
        )
    }

    pub fn no_login() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-login",
            "Nobody logs in here",
            "this gateway has no identity provider for browsers (access.oidc.browser)",
        )
    }

    pub fn login(why: &str) -> Problem {
        let detail = format!("the login did not come to its end: {why}; begin again at /api/login");
        Problem::new(StatusCode::BAD_REQUEST, "urn:cordwood:problem:login", "Not logged in", detail)
    }

    pub fn other_origin() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "urn:cordwood:problem:origin",
            "Asked for by another page",
            "with a session's cookie only pages of this gateway's own origin may change something or open a WebSocket, and the \
             browser must say so (Origin); pages of other origins need a ticket (POST /api/ticket)",
        )
    }

    /// The API server does not say who asks, or what they may.
    pub fn cluster_away() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:cluster-away",
            "The API server does not answer",
            "who asks and what they may see cannot be found out for the moment: ask again",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }

    /// The identity provider's keys are not to be had.
    pub fn issuer_away() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:issuer-away",
            "The identity provider does not answer",
            "whose token this is cannot be found out for the moment: ask again",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }

    /// Rights are asked for namespace by namespace, and there are too many.
    pub fn is_to_name_a_namespace(&self) -> bool {
        self.kind == NAME_A_NAMESPACE
    }

    pub fn name_a_namespace() -> Problem {
        let detail = format!(
            "more than {ACCESS_NAMES_MAX} namespaces have data, and rights are asked for one by one: name those that you want \
             to see, as namespace=NAME"
        );
        let problem = Problem::new(StatusCode::BAD_REQUEST, NAME_A_NAMESPACE, "Which namespace?", detail);
        Problem { parameter: Some("namespace".into()), ..problem }
    }

    pub fn other_host() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "urn:cordwood:problem:host",
            "Asked under another name",
            "this gateway asks for no token and therefore answers to localhost and 127.0.0.1 alone; with a file of tokens \
             it answers to any name",
        )
    }

    pub fn other_page() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "urn:cordwood:problem:origin",
            "Asked for by another page",
            "a page of another origin had the browser ask; this gateway asks for no token and therefore answers to its own \
             pages and to programs alone",
        )
    }

    /// In the last line of an export.
    pub fn withdrawn() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "urn:cordwood:problem:withdrawn",
            "Not to be seen any more",
            "the token is over, or a right that the export began with was withdrawn: a new export has what is left",
        )
    }
}
