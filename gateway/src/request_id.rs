//! The id of one request: the caller's own where it is well-formed, else a new one. It is in the answer's headers, in a refusal, in the gateway's
//! log lines and in the audit record.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cordwood_core::limits::REQUEST_ID_CHARS_MAX;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: RequestId;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// Of a request with these headers. An id that could be mistaken for something else in a log line, or that is given twice, is none.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let mut given = headers.get_all(HEADER).iter();
        match (given.next().and_then(|value| value.to_str().ok()), given.next()) {
            (Some(text), None) if is_sane(text) => RequestId(text.to_owned()),
            _ => RequestId::made(),
        }
    }

    /// No other request has it: the process tells it from other gateways', the number from its own.
    fn made() -> RequestId {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        RequestId(format!("{:016x}-{:x}", *PROCESS, NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// Of the request that is being answered.
    pub fn current() -> Option<RequestId> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// What runs within is a part of this request.
    pub async fn scope<F: Future>(self, answering: F) -> F::Output {
        CURRENT.scope(self, answering).await
    }
}

fn is_sane(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=REQUEST_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_only_where_it_is_sane() {
        let id = |given: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(HEADER, HeaderValue::from_static(value));
            }
            RequestId::of(&headers).0
        };
        for sane in ["7", "4bf92f35-77b3.4da6:a3ce_929d0e0e4736", "Root:1-67891233-abcdef012345678912345678"]
        {
            assert_eq!(id(&[sane]), sane);
        }
        let long: &'static str = "a".repeat(REQUEST_ID_CHARS_MAX + 1).leak();
        assert_eq!(id(&[&long[1..]]), long[1..]);
        for given in
            [&["a b"][..], &[""], &["a\tb"], &["x\"y"], &["{\"a\":1}"], &["a;b"], &[long], &["a", "b"], &[]]
        {
            let made = id(given);
            assert!(is_sane(&made) && !given.contains(&made.as_str()), "{given:?} {made}");
        }
        assert_ne!(id(&[]), id(&[]));
    }
}
