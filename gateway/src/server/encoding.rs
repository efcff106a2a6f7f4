//! Compresses answers with gzip or zstd, piece by piece, so that an export of any length takes constant memory. The lines of a stream are not
//! compressed, because each is meant to be seen at once.

use std::io::{self, Write};

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};

/// A shorter answer is not worth it.
const BYTES_MIN: u64 = 1 << 10;
/// It costs about as much as to write the JSON.
const ZSTD_LEVEL: i32 = 1;
/// Proxies hand it on at once, and so do we.
const AT_ONCE: HeaderName = HeaderName::from_static("x-accel-buffering");
const PACKABLE: [&str; 5] =
    ["application/json", "application/problem+json", "application/x-ndjson", "text/csv", "text/plain"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// The best that the caller takes.
    pub fn asked(headers: &HeaderMap) -> Option<Coding> {
        let (mut gzip, mut zstd, mut any) = (None, None, None);
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for coding in value.to_str().unwrap_or_default().split(',') {
                let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
                let quality =
                    parameters.trim().strip_prefix("q=").map_or(Ok(1.0), |q| q.trim().parse::<f32>());
                let is_taken = quality.is_ok_and(|quality| quality > 0.0);
                match name.trim().to_ascii_lowercase().as_str() {
                    "gzip" | "x-gzip" => gzip = Some(is_taken),
                    "zstd" => zstd = Some(is_taken),
                    "*" => any = Some(is_taken),
                    _ => {}
                }
            }
        }
        if zstd == Some(true) {
            return Some(Coding::Zstd);
        }
        gzip.or(any).unwrap_or(false).then_some(Coding::Gzip)
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        })
    }
}

/// The answer, packed where it can be and the caller takes it so.
pub fn packed(coding: Option<Coding>, response: Response) -> Response {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_short = response.body().size_hint().exact().is_some_and(|bytes| bytes < BYTES_MIN);
    let is_other = headers.contains_key(AT_ONCE) || headers.contains_key(header::CONTENT_ENCODING);
    if !PACKABLE.contains(&kind) || is_short || is_other {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let packer = coding.and_then(|coding| Some((coding, Packer::new(coding).ok()?)));
    let Some((coding, packer)) = packer else { return Response::from_parts(head, body) };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, coding.name());
    let packing = Packing { body: body.into_data_stream(), packer: Some(packer) };
    Response::from_parts(head, Body::from_stream(stream::unfold(packing, Packing::next)))
}

struct Packing {
    body: BodyDataStream,
    /// `None`: it has ended.
    packer: Option<Packer>,
}

impl Packing {
    async fn next(mut self) -> Option<(Result<Bytes, axum::Error>, Packing)> {
        loop {
            let mut packer = self.packer.take()?;
            let out = match self.body.next().await {
                Some(Ok(bytes)) => {
                    let out = packer.push(&bytes);
                    self.packer = Some(packer);
                    out.map_err(axum::Error::new)
                }
                Some(Err(error)) => Err(error),
                None => packer.finish().map_err(axum::Error::new),
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Some((Ok(Bytes::from(out)), self)),
                // Its reader sees that it has no end.
                Err(error) => {
                    self.packer = None;
                    return Some((Err(error), self));
                }
            }
        }
    }
}

enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Packer {
    fn new(coding: Coding) -> io::Result<Packer> {
        Ok(match coding {
            Coding::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// What is packed so far.
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        Ok(match self {
            Packer::Gzip(packer) => {
                packer.write_all(bytes)?;
                std::mem::take(packer.get_mut())
            }
            Packer::Zstd(packer) => {
                packer.write_all(bytes)?;
                std::mem::take(packer.get_mut())
            }
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Packer::Gzip(packer) => packer.finish(),
            Packer::Zstd(packer) => packer.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_caller_says_what_it_takes() {
        for (asked, expected) in [
            (None, None),
            (Some(""), None),
            (Some("identity"), None),
            (Some("gzip, deflate, br"), Some(Coding::Gzip)),
            (Some("gzip, deflate, br, zstd"), Some(Coding::Zstd)),
            (Some("zstd;q=0, GZIP;q=0.5"), Some(Coding::Gzip)),
            (Some("gzip;q=0"), None),
            (Some("gzip; q=0.000, *"), None),
            (Some("*"), Some(Coding::Gzip)),
            (Some("*;q=0"), None),
            (Some("gzip;q=much"), None),
        ] {
            let headers = asked.map(|asked| (header::ACCEPT_ENCODING, HeaderValue::from_static(asked)));
            assert_eq!(Coding::asked(&headers.into_iter().collect()), expected, "{asked:?}");
        }
    }

    fn answer(kind: &'static str, chunks: Vec<Vec<u8>>) -> Response {
        let body = Body::from_stream(stream::iter(
            chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk))),
        ));
        Response::builder().header(header::CONTENT_TYPE, kind).body(body).unwrap()
    }

    async fn bytes(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn what_is_packed_is_what_was_said() {
        let chunks: Vec<Vec<u8>> =
            (0..300usize).map(|n| format!("{{\"n\":{}}}\n", n * n).repeat(n).into_bytes()).collect();
        let whole = chunks.concat();
        for coding in [Coding::Gzip, Coding::Zstd] {
            let response = packed(Some(coding), answer("application/x-ndjson", chunks.clone()));
            assert_eq!(response.headers()[header::CONTENT_ENCODING], coding.name());
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
            let bytes = bytes(response).await;
            assert!(bytes.len() < whole.len() / 3);
            let mut unpacked = Vec::new();
            match coding {
                Coding::Gzip => {
                    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
                }
                Coding::Zstd => unpacked = zstd::stream::decode_all(&bytes[..]).unwrap(),
            }
            assert!(unpacked == whole, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn what_need_not_be_packed_is_left() {
        let chunk = || vec![vec![b'x'; 4096]];
        let is_packed = |response: Response| response.headers().contains_key(header::CONTENT_ENCODING);
        assert!(!is_packed(packed(None, answer("text/csv", chunk()))));
        assert!(!is_packed(packed(Some(Coding::Gzip), answer("image/png", chunk()))));
        let mut at_once = answer("application/x-ndjson", chunk());
        at_once.headers_mut().insert(AT_ONCE, HeaderValue::from_static("no"));
        assert!(!is_packed(packed(Some(Coding::Gzip), at_once)));
        let mut short = answer("application/json", Vec::new());
        *short.body_mut() = Body::from("{}");
        assert!(!is_packed(packed(Some(Coding::Gzip), short)));
        assert!(is_packed(packed(Some(Coding::Gzip), answer("text/csv; charset=utf-8", chunk()))));
    }

    #[tokio::test]
    async fn what_breaks_off_has_no_end() {
        let chunks = [Ok(Bytes::from(vec![b'x'; 4096])), Err(io::Error::other("gone"))];
        let mut response = answer("text/csv", Vec::new());
        *response.body_mut() = Body::from_stream(stream::iter(chunks));
        let response = packed(Some(Coding::Gzip), response);
        assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
    }
}
