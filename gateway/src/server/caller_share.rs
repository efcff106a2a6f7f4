//! What one question holds from its beginning until its answer is read: a slot of its caller's share, and its connection. It keeps one caller
//! from taking all connections.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::connection_table::{Connection, Question};
use crate::slots::Share;

/// Empty until the caller is known.
#[derive(Clone, Debug, Default)]
pub struct CallerShare(Arc<Mutex<Option<Under>>>);

/// A slot of the caller's share, and the question on its connection.
type Under = (Share, Option<Question>);

impl CallerShare {
    /// `connection`: on which the question is asked.
    pub fn hold(&self, share: Share, connection: Option<&Connection>) {
        let held = (share, connection.map(Connection::question));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// Passes the share to the answer, which holds it until it is read or its reader has left. A WebSocket holds its question until its
    /// connection is closed.
    pub fn until_read(&self, response: Response) -> Response {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match held {
            None => response,
            Some((_share, question)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                question.into_iter().for_each(Question::stays);
                response
            }
            Some(held) => response.map(|body| Body::new(Held { body, _held: held })),
        }
    }
}

struct Held {
    body: Body,
    _held: Under,
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
