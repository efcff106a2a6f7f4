//! What a caller holds from the begin of a question to the end of its answer: one caller's questions take not all connections.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::seats::{Question, Seat};
use crate::slots::Share;

/// Filled where it becomes known who asks.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<Option<Under>>>);

/// A share of the caller, and the place of the connection.
type Under = (Share, Option<Question>);

impl Holds {
    /// `seat`: that of the connection on which is asked.
    pub fn hold(&self, share: Share, seat: Option<&Seat>) {
        let held = (share, seat.map(Seat::question));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// Until the answer is read, or its reader has left. A WebSocket keeps its connection's place.
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
