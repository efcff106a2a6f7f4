//! Gives the usual form to what hyper refuses by itself before there is a request: a head that is too large, an address that is too long, bytes
//! that are not HTTP. hyper alone would answer without a word.

use axum::http::HeaderMap;

use crate::problem::Problem;
use crate::request_id::RequestId;

/// In place of an answer of hyper's own that begins with these bytes. `has_address`: the request's first line came to its end.
pub fn in_place_of(answer: &[u8], has_address: bool) -> Option<Vec<u8>> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let code = rest.get(1..)?.strip_prefix(b" ")?.get(..3)?;
    // Our own answers of these have a body.
    let head = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let is_bare = head.ends_with("\r\n\r\n") && head.contains("\r\ncontent-length: 0\r\n");
    let problem = match code {
        b"400" => Problem::no_http(),
        b"431" if has_address => Problem::large_head(),
        b"414" | b"431" => Problem::long_address(),
        _ => return None,
    };
    is_bare.then(|| problem.as_last_answer(&RequestId::of(&HeaderMap::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_replaced() {
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n")
        };
        for (status, has_address, expected) in [
            ("431 Request Header Fields Too Large", true, "HTTP/1.1 431 "),
            ("431 Request Header Fields Too Large", false, "HTTP/1.1 414 "),
            ("414 URI Too Long", true, "HTTP/1.1 414 "),
            ("400 Bad Request", true, "HTTP/1.1 400 "),
        ] {
            let answer =
                String::from_utf8(in_place_of(bare(status).as_bytes(), has_address).unwrap()).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(expected) && head.contains("application/problem+json"), "{head}");
            assert!(
                head.contains(&format!("content-length: {}", body.len())) && head.contains("x-request-id: "),
                "{head}"
            );
            assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["detail"].is_string());
        }
        for other in [
            bare("204 No Content"),
            bare("404 Not Found"),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\n{\"a\":1234}".to_owned(),
            "HTTP/1.1 431 ".to_owned(),
            "HTTP/1.".to_owned(),
            String::new(),
        ] {
            assert_eq!(in_place_of(other.as_bytes(), true), None, "{other}");
        }
    }
}
