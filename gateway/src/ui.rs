//! The user interface: files that `ui/dist` holds, built and committed, so that nothing but Rust is needed to build a gateway. A release
//! program carries them within itself; a debug program reads them from the tree, so that a fresh build of the interface needs no new program.
//!
//! They show nobody's records: anyone who may load the page asks the API like everybody else. A path of the API is never one of the interface.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use rust_embed::RustEmbed;

use crate::Gateway;
use crate::access::oidc::Oidc;
use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../ui/dist"]
struct Files;

const INDEX: &str = "index.html";
/// First parts of paths that a program asks for; a page of the interface never has one of them.
const OTHERS: [&str; 6] = ["api", "ws", "loki", "metrics", "healthz", "readyz"];
/// Nothing runs, is shown, or is asked that does not come from the gateway itself, and nothing that a record says becomes a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
     manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types svelte-trusted-html";

/// What no other route answers: a file of the interface, or its page for the address of a view.
pub async fn page(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (method, headers, path) = (&parts.method, &parts.headers, parts.uri.path());
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::no_route().into_response();
    }
    match Found::at(path, headers) {
        Found::Nothing => Problem::no_route().into_response(),
        Found::File(name) => file(name, headers),
        Found::Page => {
            // Who comes with a browser that must log in is led there at once. What else is wrong, the page itself tells better.
            let identity = gateway.access.identify(&parts, &gateway.sessions, &gateway.metrics).await;
            let has_login = gateway.access.oidc().and_then(Oidc::browser).is_some();
            match identity {
                Err(problem) if problem.status() == StatusCode::UNAUTHORIZED && has_login => {
                    to_login(&parts.uri)
                }
                Err(problem) if problem.status() == StatusCode::FORBIDDEN => problem.into_response(),
                _ => file(INDEX, headers),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    File(&'a str),
    /// The address of a view, which the interface itself takes apart.
    Page,
    Nothing,
}

impl<'a> Found<'a> {
    fn at(path: &'a str, headers: &HeaderMap) -> Found<'a> {
        let name = path.trim_start_matches('/');
        if OTHERS.contains(&name.split('/').next().unwrap_or_default()) {
            return Found::Nothing;
        }
        if name.is_empty() || name == INDEX {
            return Found::Page;
        }
        if Files::get(name).is_some() {
            // The packed form is no file of its own.
            return if name.ends_with(".br") { Found::Nothing } else { Found::File(name) };
        }
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let is_browser = accepted.any(|value| value.to_ascii_lowercase().contains("text/html"));
        if is_browser && !name.starts_with("assets/") { Found::Page } else { Found::Nothing }
    }
}

fn to_login(uri: &Uri) -> Response {
    let back = uri.path_and_query().map_or("/", |path| path.as_str());
    let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    match HeaderValue::from_str(&format!("/api/login?return={back}")) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}

/// A file, packed as the caller takes it, unless the caller has it already.
fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(found) = Files::get(name) else { return Problem::no_route().into_response() };
    let hash = found.metadata.sha256_hash();
    let mut tag = String::from("W/\"");
    hash.iter().take(16).for_each(|byte| _ = write!(tag, "{byte:02x}"));
    tag.push('"');
    // The name of a file in `assets` says what is in it.
    let kept = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut answer = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let (coding, bytes) = packed(name, hash, found.data, headers);
        let mut answer = bytes.into_response();
        if let Some(coding) = coding {
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        answer
    };
    let about = answer.headers_mut();
    about.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    about.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    about.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    about.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    about.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    about.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    about.insert(opener, HeaderValue::from_static("same-origin"));
    answer
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let asked = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    asked.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || bare(known) == bare(tag))
}

/// Brotli was made with the file; gzip, for callers without it, is made once.
fn packed(
    name: &str,
    hash: [u8; 32],
    bytes: Cow<'static, [u8]>,
    headers: &HeaderMap,
) -> (Option<&'static str>, Bytes) {
    static GZIP: LazyLock<Mutex<HashMap<[u8; 32], Bytes>>> = LazyLock::new(Mutex::default);
    if takes(headers, "br")
        && let Some(packed) = Files::get(&format!("{name}.br"))
    {
        return (Some("br"), shared(packed.data));
    }
    if takes(headers, "gzip") && Files::get(&format!("{name}.br")).is_some() {
        let mut known = GZIP.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packed) = known.get(&hash) {
            return (Some("gzip"), packed.clone());
        }
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        if let Ok(packed) = packer.write_all(&bytes).and_then(|()| packer.finish()) {
            let packed = Bytes::from(packed);
            known.insert(hash, packed.clone());
            return (Some("gzip"), packed);
        }
    }
    (None, shared(bytes))
}

fn shared(bytes: Cow<'static, [u8]>) -> Bytes {
    match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let mut asked = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    asked.any(|value| {
        value.split(',').any(|one| {
            let (name, quality) = one.split_once(';').unwrap_or((one, "q=1"));
            let quality = quality.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(coding) && quality.is_some_and(|quality| quality > 0.0)
        })
    })
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(HeaderName, &str)]) -> HeaderMap {
        rows.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_path_of_the_api_is_never_a_page() {
        let browser = headers(&[(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")]);
        let program = headers(&[(header::ACCEPT, "*/*")]);
        for path in ["/api", "/api/nothing", "/ws/other", "/loki/api/v1/x", "/metrics", "/healthz", "/readyz"]
        {
            assert_eq!(Found::at(path, &browser), Found::Nothing, "{path}");
        }
        for path in ["/errors", "/task/ID.with.dots/x", "/apis", "/policies"] {
            assert_eq!(Found::at(path, &browser), Found::Page, "{path}");
            assert_eq!(Found::at(path, &program), Found::Nothing, "{path}");
        }
        for path in ["/assets/gone.js", "/index.html.br"] {
            assert_eq!(Found::at(path, &browser), Found::Nothing, "{path}");
        }
        assert_eq!(Found::at("/", &program), Found::Page);
        assert_eq!(Found::at("/favicon.svg", &program), Found::File("favicon.svg"));
    }

    #[test]
    fn files_come_packed_as_the_caller_takes_them() {
        for (asked, expected) in [
            ("", None),
            ("identity", None),
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip;q=0.5, br;q=0", Some("gzip")),
            ("gzip;q=0", None),
        ] {
            let answer = file(INDEX, &headers(&[(header::ACCEPT_ENCODING, asked)]));
            let coding = answer.headers().get(header::CONTENT_ENCODING);
            assert_eq!(coding.and_then(|coding| coding.to_str().ok()), expected, "{asked}");
            assert_eq!(answer.headers()[header::VARY], "accept-encoding");
        }
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = file(INDEX, &HeaderMap::new());
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
        for (asked, expected) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"x\", {tag}"), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
        ] {
            let answer = file(INDEX, &headers(&[(header::IF_NONE_MATCH, &asked)]));
            assert_eq!(answer.status(), expected, "{asked}");
        }
    }

    #[test]
    fn every_file_is_served_with_its_kind_and_strictly() {
        let mut assets = 0;
        for name in Files::iter().filter(|name| !name.ends_with(".br")) {
            let answer = file(&name, &HeaderMap::new());
            assert_ne!(answer.headers()[header::CONTENT_TYPE], "application/octet-stream", "{name}");
            let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assets +=
                usize::from(answer.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        }
        assert!(assets >= 4, "{assets} files of the interface");
    }

    #[test]
    fn who_logs_in_comes_back_to_where_they_wanted() {
        let answer = to_login(&"/errors?q=a%20b&x=1".parse().unwrap());
        assert_eq!(answer.headers()[header::LOCATION], "/api/login?return=%2Ferrors%3Fq%3Da%2520b%26x%3D1");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
}
