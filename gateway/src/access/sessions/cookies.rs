//! Reads and writes a browser's cookies. A browser takes 4 KiB for each, so a session is cut into several.

use axum::http::{HeaderMap, HeaderValue, header};
use cordwood_core::limits::SESSION_PIECES_MAX;

/// Browsers let only this very host set a name that begins so, over TLS.
const SESSION: &str = "__Host-cordwood-";
const LOGIN: &str = "__Host-cordwood-login";
const PIECE_CHARACTERS: usize = 3_800;

/// Of this name, where there is just one.
fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all.flat_map(|value| value.to_str().unwrap_or_default().split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|pair| pair.0 == name);
    let (Some((_, value)), None) = (values.next(), values.next()) else { return None };
    Some(value)
}

fn set(name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    HeaderValue::from_str(&text).ok()
}

pub fn session(headers: &HeaderMap) -> Option<String> {
    let pieces = (0..SESSION_PIECES_MAX).map_while(|number| value(headers, &format!("{SESSION}{number}")));
    let text: String = pieces.collect();
    (!text.is_empty()).then_some(text)
}

/// The headers that set it, and take away what was there before; `None`: it is too long for a browser.
pub fn keep_session(sealed: &str, seconds: i64) -> Option<Vec<HeaderValue>> {
    let mut pieces = sealed.as_bytes().chunks(PIECE_CHARACTERS);
    let headers = (0..SESSION_PIECES_MAX).map(|number| {
        let piece = pieces.next().and_then(|piece| std::str::from_utf8(piece).ok());
        let name = format!("{SESSION}{number}");
        piece.map_or_else(|| set(&name, "", 0), |piece| set(&name, piece, seconds))
    });
    let headers: Vec<HeaderValue> = headers.collect::<Option<_>>()?;
    pieces.next().is_none().then_some(headers)
}

pub fn end_session() -> Vec<HeaderValue> {
    keep_session("", 0).unwrap_or_default()
}

pub fn login(headers: &HeaderMap) -> Option<&str> {
    value(headers, LOGIN)
}

pub fn keep_login(sealed: &str, seconds: i64) -> Option<HeaderValue> {
    set(LOGIN, sealed, seconds)
}

pub fn end_login() -> Option<HeaderValue> {
    set(LOGIN, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser sends that was told to keep these.
    fn sent(set: &[HeaderValue]) -> HeaderMap {
        let kept = set.iter().map(|value| value.to_str().unwrap()).filter(|text| !text.contains("Max-Age=0"));
        let pairs: Vec<&str> = kept.map(|text| text.split(';').next().unwrap()).collect();
        HeaderMap::from_iter([(header::COOKIE, pairs.join("; ").parse().unwrap())])
    }

    #[test]
    fn a_session_is_kept_in_pieces_and_read_whole() {
        let most = PIECE_CHARACTERS * SESSION_PIECES_MAX;
        for length in [1, PIECE_CHARACTERS, PIECE_CHARACTERS + 1, most] {
            let text: String = (0..length).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
            let set = keep_session(&text, 60).unwrap();
            assert_eq!(set.len(), SESSION_PIECES_MAX);
            for value in &set {
                let value = value.to_str().unwrap();
                assert!(value.len() < 4_096, "{}", value.len());
                for word in ["__Host-", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                    assert!(value.contains(word), "{value}");
                }
            }
            assert_eq!(session(&sent(&set)).as_deref(), Some(text.as_str()));
        }
        assert!(keep_session(&"a".repeat(most + 1), 60).is_none());
        assert_eq!(session(&sent(&end_session())), None);
    }

    #[test]
    fn of_two_cookies_of_one_name_none_is_taken() {
        let headers = |text: &str| HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())]);
        for (text, expected) in [
            ("__Host-cordwood-login=a", Some("a")),
            ("x=1;__Host-cordwood-login=a;  y=2", Some("a")),
            ("__Host-cordwood-login=a; __Host-cordwood-login=b", None),
            ("__host-cordwood-login=a", None),
            ("__Host-cordwood-login", None),
            ("", None),
        ] {
            assert_eq!(login(&headers(text)), expected, "{text}");
        }
    }
}
