//! Tickets: each lets its holder open one WebSocket, within half a minute, from a page of any origin. It is given as a subprotocol, since a browser
//! sends no other header of a page's, and addresses are kept in logs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::request::Parts;
use axum::http::{Method, header};
use cordwood_core::limits::{TICKET_SECONDS, TICKETS_USED_MAX};

use super::seals::{Seals, Use, random};

const SUBPROTOCOL: &str = "cordwood.ticket.";
const ID_BYTES: usize = 16;

/// Which were used, until they are over. Each replica knows its own alone.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<[u8; ID_BYTES], i64>>);

/// That which a request for a WebSocket gives. What answers anything else takes no ticket: who saw one could ask for the next.
pub fn given(parts: &Parts) -> Option<&str> {
    let headers = &parts.headers;
    let is_wanted =
        headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let is_socket = is_wanted && parts.method == Method::GET && is_sockets(parts.uri.path());
    let mut offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','));
    offered.find_map(|name| name.trim().strip_prefix(SUBPROTOCOL)).filter(|_| is_socket)
}

/// Whether the gateway answers only WebSockets here to a caller who wants one.
fn is_sockets(path: &str) -> bool {
    path == "/ws/monitor" || path.ends_with("/logs/stream")
}

impl Tickets {
    /// # Errors
    /// When the system has no random bytes.
    pub fn issue(&self, seals: &Seals, token: &str, now_s: i64) -> anyhow::Result<String> {
        let ends_s = now_s + TICKET_SECONDS;
        seals.seal(
            Use::Ticket,
            &[&random::<ID_BYTES>()?, &ends_s.to_le_bytes()[..], token.as_bytes()].concat(),
        )
    }

    /// The token in a ticket that was not used here before.
    pub fn redeem(&self, seals: &Seals, ticket: &str, now_s: i64) -> Option<String> {
        let open = seals.open(Use::Ticket, ticket)?;
        let (id, rest) = open.split_first_chunk::<ID_BYTES>()?;
        let (ends_s, token) = rest.split_first_chunk::<8>()?;
        let ends_s = i64::from_le_bytes(*ends_s);
        if ends_s <= now_s {
            return None;
        }
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= TICKETS_USED_MAX / 2 {
            used.retain(|_, ends_s| *ends_s > now_s);
        }
        if used.len() >= TICKETS_USED_MAX || used.insert(*id, ends_s).is_some() {
            return None;
        }
        String::from_utf8(token.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_half_a_minute() {
        let (seals, tickets) = (Seals::random().unwrap(), Tickets::default());
        let ticket = tickets.issue(&seals, "token", 100).unwrap();
        assert_eq!(tickets.redeem(&seals, &ticket, 100 + TICKET_SECONDS), None);
        assert_eq!(tickets.redeem(&seals, &ticket, 129).as_deref(), Some("token"));
        assert_eq!(tickets.redeem(&seals, &ticket, 129), None);
        let another = tickets.issue(&seals, "token", 100).unwrap();
        assert_eq!(tickets.redeem(&Seals::random().unwrap(), &another, 100), None);
        // Another replica does not know that it was used.
        assert_eq!(Tickets::default().redeem(&seals, &ticket, 100).as_deref(), Some("token"));
    }

    #[test]
    fn used_ones_are_forgotten_when_they_are_over_and_never_before() {
        let (seals, tickets) = (Seals::random().unwrap(), Tickets::default());
        let full = (0..TICKETS_USED_MAX as u128).map(|number| (number.to_le_bytes(), 130));
        tickets.0.lock().unwrap().extend(full);
        let ticket = tickets.issue(&seals, "token", 110).unwrap();
        assert_eq!(tickets.redeem(&seals, &ticket, 120), None);
        assert_eq!(tickets.redeem(&seals, &ticket, 131).as_deref(), Some("token"));
        assert_eq!(tickets.0.lock().unwrap().len(), 1);
    }
}
