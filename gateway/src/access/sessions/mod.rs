//! Sessions of browsers, whose pages cannot send a token in a header: a cookie for people who logged in, and a ticket for one WebSocket. Both
//! hold the token itself, sealed. So the token is checked the same way as in a header, and the key that seals it gives nobody an identity.

pub mod cookies;
pub mod pages;
pub mod seals;
pub mod tickets;

use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::bearer;
use super::cluster::Bearer;
use crate::problem::Problem;
use seals::{Seals, Use};
use tickets::Tickets;

#[derive(Debug)]
pub struct Sessions {
    pub seals: Seals,
    pub tickets: Tickets,
}

impl Sessions {
    pub fn new(seals: Seals) -> Sessions {
        Sessions { seals, tickets: Tickets::default() }
    }

    /// The token that a request gives: in its header, else in a ticket, else in the cookie of somebody who logged in. `origin`: that of our
    /// own pages, where there is a login.
    ///
    /// # Errors
    /// When a ticket was used or is over, or a page of another origin has a browser ask in somebody's name.
    pub fn token(&self, parts: &Parts, origin: Option<&str>) -> Result<Option<Bearer>, Problem> {
        let headers = &parts.headers;
        if headers.contains_key(axum::http::header::AUTHORIZATION) {
            return Ok(bearer(headers).map(Bearer::new));
        }
        if let Some(ticket) = tickets::given(parts) {
            let token = self.tickets.redeem(&self.seals, ticket, now_s()).ok_or_else(Problem::no_ticket)?;
            return Ok(Some(Bearer::new(&token)));
        }
        let Some(origin) = origin else { return Ok(None) };
        let Some(token) = self.session(headers) else { return Ok(None) };
        pages::check(&parts.method, headers, origin)?;
        Ok(Some(Bearer::new(&token)))
    }

    fn session(&self, headers: &HeaderMap) -> Option<String> {
        let sealed = cookies::session(headers)?;
        String::from_utf8(self.seals.open(Use::Session, &sealed)?).ok()
    }
}

pub fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const ORIGIN: &str = "https://logs.example.com";

    fn sessions() -> Sessions {
        Sessions::new(Seals::random().unwrap())
    }

    /// What is made of a request with these headers.
    fn token(
        sessions: &Sessions,
        origin: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Option<bool>, ()> {
        asked(sessions, "GET", "/api/platform/logs/stream", origin, headers)
    }

    fn asked(
        sessions: &Sessions,
        method: &str,
        path: &str,
        origin: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Option<bool>, ()> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let expected = Bearer::new("token");
        sessions.token(&parts, origin).map(|found| found.map(|found| found == expected)).map_err(|_| ())
    }

    #[test]
    fn a_token_is_taken_from_the_first_place_that_has_one() {
        let sessions = sessions();
        let cookie = |text: &str| {
            let sealed = sessions.seals.seal(Use::Session, text.as_bytes()).unwrap();
            let set = cookies::keep_session(&sealed, 60).unwrap();
            set[0].to_str().unwrap().split(';').next().unwrap().to_owned()
        };
        let (good, other) = (cookie("token"), cookie("other"));
        let ticket = || {
            let ticket = sessions.tickets.issue(&sessions.seals, "token", now_s()).unwrap();
            format!("cordwood.v1, cordwood.ticket.{ticket}")
        };
        let origin = Some(ORIGIN);
        assert_eq!(token(&sessions, origin, &[]), Ok(None));
        assert_eq!(token(&sessions, origin, &[("authorization", "Bearer token")]), Ok(Some(true)));
        assert_eq!(token(&sessions, origin, &[("cookie", &good)]), Ok(Some(true)));
        assert_eq!(token(&sessions, origin, &[("cookie", &other)]), Ok(Some(false)));
        // Where nobody logs in there is no session.
        assert_eq!(token(&sessions, None, &[("cookie", &good)]), Ok(None));
        // Who gives a wrong header is nobody, whatever else is there.
        assert_eq!(token(&sessions, origin, &[("authorization", "Basic x"), ("cookie", &good)]), Ok(None));
        let asks = [("upgrade", "websocket"), ("cookie", &other), ("sec-websocket-protocol", &ticket())];
        assert_eq!(token(&sessions, origin, &asks), Ok(Some(true)));
        assert_eq!(token(&sessions, origin, &asks), Err(()), "once");
        // A ticket is for a WebSocket.
        assert_eq!(token(&sessions, origin, &[("sec-websocket-protocol", &ticket())]), Ok(None));
        // Nor does it ask for anything else, or for the next one.
        for (method, path) in [
            ("POST", "/api/ticket"),
            ("GET", "/api/platform/logs"),
            ("DELETE", "/api/tasks/1"),
            ("POST", "/api/platform/logs/stream"),
            ("GET", "/ws/monitor/x"),
        ] {
            let asks = [("upgrade", "websocket"), ("sec-websocket-protocol", &ticket())];
            assert_eq!(asked(&sessions, method, path, origin, &asks), Ok(None), "{method} {path}");
        }
        for path in ["/ws/monitor", "/api/tasks/1/logs/stream?level=INFO"] {
            let asks = [("upgrade", "websocket"), ("sec-websocket-protocol", &ticket())];
            assert_eq!(asked(&sessions, "GET", path, origin, &asks), Ok(Some(true)), "{path}");
        }
        // A ticket is no session, and a session is no ticket.
        let sealed = good.split_once('=').unwrap().1;
        let asks =
            [("upgrade", "websocket"), ("sec-websocket-protocol", &format!("cordwood.ticket.{sealed}"))];
        assert_eq!(token(&sessions, origin, &asks), Err(()));
        let ticket = ticket();
        let ticket = format!("__Host-cordwood-0={}", ticket.rsplit('.').next().unwrap());
        assert_eq!(token(&sessions, origin, &[("cookie", &ticket)]), Ok(None));
    }
}
