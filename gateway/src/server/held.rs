//! What a caller holds from the begin of a question to the end of its answer: one caller's questions take not all connections.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::slots::Share;

/// Filled where it becomes known who asks.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<Option<Share>>>);

impl Holds {
    pub fn hold(&self, share: Share) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
    }

    /// Until the answer is read, or its reader has left.
    pub fn until_read(&self, response: Response) -> Response {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => response,
            Some(share) => response.map(|body| Body::new(Held { body, _share: share })),
        }
    }
}

struct Held {
    body: Body,
    _share: Share,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
