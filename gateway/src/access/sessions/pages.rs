//! Tells which page had a browser send a request. A browser sends its cookies for foreign pages too: such requests are not answered with the
//! reader's identity.

use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::problem::Problem;

/// Whether a page of another place has its reader's browser ask: the browser names the place or says that it is another. Such a page cannot
/// read the answer, but it could measure how long one takes. A reader who follows a link is let in.
pub fn is_another(headers: &HeaderMap, is_own: impl Fn(&str) -> bool) -> bool {
    let is = |name: &str, values: &[&str]| {
        let value = headers.get(name).map(|value| value.to_str().unwrap_or_default());
        value.is_some_and(|value| values.contains(&value))
    };
    let is_own = |origin: &HeaderValue| origin.to_str().is_ok_and(&is_own);
    let is_link = is("sec-fetch-mode", &["navigate"]) && is("sec-fetch-dest", &["document"]);
    let is_own_page =
        !headers.contains_key("sec-fetch-site") || is("sec-fetch-site", &["same-origin", "none"]);
    !headers.get_all(header::ORIGIN).iter().all(is_own) || !(is_own_page || is_link)
}

/// What changes something, and a WebSocket, is asked for by a page of just this origin; a browser names it then.
///
/// # Errors
/// The answer to another page.
pub fn check(method: &Method, headers: &HeaderMap, origin: &str) -> Result<(), Problem> {
    let is_reading = [Method::GET, Method::HEAD].contains(method) && !headers.contains_key(header::UPGRADE);
    if is_another(headers, |named| named == origin) || (!is_reading && !headers.contains_key(header::ORIGIN))
    {
        return Err(Problem::other_origin());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn nobody_elses_page_asks_in_a_readers_name() {
        let own = ("origin", "https://logs.example.com");
        let evil = ("origin", "https://evil.example");
        let socket = ("upgrade", "websocket");
        let cross = ("sec-fetch-site", "cross-site");
        for (method, headers, expected) in [
            ("GET", &[][..], true),
            ("GET", &[own], true),
            ("GET", &[evil], false),
            ("GET", &[("origin", "null")], false),
            ("GET", &[("origin", "https://logs.example.com.evil.example")], false),
            ("GET", &[("origin", "https://logs.example.com:444")], false),
            ("GET", &[("origin", "http://logs.example.com")], false),
            ("GET", &[("origin", "https://LOGS.example.com")], false),
            ("GET", &[own, evil], false),
            ("GET", &[cross], false),
            ("GET", &[("sec-fetch-site", "same-site")], false),
            ("GET", &[("sec-fetch-site", "same-origin")], true),
            ("GET", &[cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true),
            ("GET", &[cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], false),
            ("GET", &[socket], false),
            ("GET", &[socket, own], true),
            ("GET", &[socket, evil], false),
            ("POST", &[], false),
            ("POST", &[own], true),
            ("POST", &[evil], false),
            ("POST", &[cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], false),
            ("PUT", &[], false),
            ("DELETE", &[], false),
            ("DELETE", &[own], true),
            ("OPTIONS", &[], false),
        ] {
            let mut request = Request::builder().method(method);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let found = check(&parts.method, &parts.headers, "https://logs.example.com");
            assert_eq!(found.is_ok(), expected, "{method} {headers:?}");
        }
    }
}
