//! Identifies callers without tokens: everybody on this machine may see the whole store. A browser sends requests of foreign pages too;
//! those are refused.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use super::sessions::pages;
use crate::problem::Problem;

/// # Errors
/// The answer to a caller who may not ask at all.
pub fn check(headers: &HeaderMap) -> Result<(), Problem> {
    // A page of the web whose name was made to point to this machine asks under that name.
    if !is_local(headers) {
        return Err(Problem::other_host());
    }
    let is_own = |origin: &str| {
        let place = origin.split_once("://").map(|(_, place)| place);
        place.is_some_and(|place| host(headers).is_some_and(|host| host.eq_ignore_ascii_case(place)))
    };
    if pages::is_another(headers, is_own) { Err(Problem::other_page()) } else { Ok(()) }
}

/// The one name under which is asked.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok()
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_answered() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:9600", true),
            ("127.0.0.1:9600", true),
            ("127.8.8.8", true),
            ("[::1]:9600", true),
            ("evil.example:9600", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let found = check(&headers(header::HOST, host));
            assert_eq!(found.is_ok(), expected, "{host}");
        }
        assert!(check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn without_tokens_no_page_of_another_place_is_answered() {
        let identify = |rows: &[(&'static str, &str)]| {
            let headers = rows
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
            let mut all = HeaderMap::new();
            headers.for_each(|(name, value): (_, header::HeaderValue)| {
                all.append(name, value);
            });
            check(&all).is_ok()
        };
        let host = ("host", "localhost:9600");
        for (rows, expected) in [
            (&[][..], true),
            // Its own page, an address that somebody typed, a link that somebody followed.
            (&[("origin", "http://localhost:9600"), ("sec-fetch-site", "same-origin")], true),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                true,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
            // A script, a picture, a frame in a page of another place.
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "http://evil.example/localhost:9600")], false),
            (&[("origin", "http://localhost:9600.evil.example")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://localhost:9600"), ("origin", "https://evil.example")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "image"),
                ],
                false,
            ),
            (
                &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "cross-site")], false),
            // Which of two names was meant, nobody knows.
            (&[("host", "evil.example")], false),
        ] {
            let all: Vec<(&'static str, &str)> = std::iter::once(&host).chain(rows).copied().collect();
            assert_eq!(identify(&all), expected, "{rows:?}");
        }
    }
}
