//! A connection that is closed when its reader takes no byte of an answer for too long, so that the answer releases what it holds.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connection_table::ConnectionRow;
use super::refusal;

pub struct WriteDeadline {
    stream: TcpStream,
    idle: Duration,
    /// The deadline that runs while nothing can be written.
    waits: Option<Pin<Box<Sleep>>>,
    given_up: IntCounter,
    /// Nothing was answered since something was read: an answer's begin is due.
    is_asked: bool,
    /// Of what is asked the first line is there.
    has_line: bool,
    /// An answer in place of another, what of it is written, and how long the other is.
    instead: Option<(Vec<u8>, usize, usize)>,
    /// The connection counts as open until this is dropped.
    _row: Option<ConnectionRow>,
}

impl WriteDeadline {
    pub fn new(
        stream: TcpStream,
        idle: Duration,
        given_up: IntCounter,
        row: Option<ConnectionRow>,
    ) -> WriteDeadline {
        WriteDeadline {
            stream,
            idle,
            waits: None,
            given_up,
            is_asked: false,
            has_line: false,
            instead: None,
            _row: row,
        }
    }

    /// Writes another answer where one is due in place of these bytes; `None`: they are to be written as they are.
    fn poll_instead(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<Result<usize>>> {
        if std::mem::take(&mut self.is_asked) {
            let other = refusal::in_place_of(bytes, self.has_line);
            self.instead = other.map(|other| (other, 0, bytes.len()));
        }
        let (other, mut done, taken) = self.instead.take()?;
        while done < other.len() {
            let written = Pin::new(&mut self.stream).poll_write(context, &other[done..]);
            match self.within_deadline(context, written, |stream| rustix::io::write(stream, &other[done..])) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(count)) => done += count,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => {
                    self.instead = Some((other, done, taken));
                    return Some(Poll::Pending);
                }
            }
        }
        Some(Poll::Ready(Ok(taken)))
    }

    /// `written`: what the stream says; `again`: writes whether or not the stream is said to have room.
    fn within_deadline(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<Result<usize>>,
        again: impl FnOnce(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let idle = self.idle;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(waits.as_mut().poll(context));
        self.waits = None;
        // The kernel tells of room when a third of its buffer is free. A slow reader has made less room, and the server does not give it up.
        Poll::Ready(match again(&self.stream) {
            Err(rustix::io::Errno::AGAIN) => {
                self.given_up.inc();
                Err(Error::new(ErrorKind::TimedOut, "the reader takes nothing"))
            }
            written => written.map_err(Error::from),
        })
    }
}

impl AsyncRead for WriteDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            self.has_line = (self.has_line && self.is_asked) || new.contains(&b'\n');
            self.is_asked = true;
        }
        read
    }
}

impl AsyncWrite for WriteDeadline {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if let Some(written) = self.poll_instead(context, bytes) {
            return written;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within_deadline(context, written, |stream| rustix::io::write(stream, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let Some(first) = parts.iter().find(|part| !part.is_empty())
            && let Some(written) = self.poll_instead(context, first)
        {
            return written;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.within_deadline(context, written, |stream| rustix::io::writev(stream, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const BYTES: usize = 64 << 20;

    async fn pair(idle: Duration) -> (WriteDeadline, TcpStream, IntCounter) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let given_up = IntCounter::new("given_up", "x").unwrap();
        let stream = WriteDeadline::new(listener.accept().await.unwrap().0, idle, given_up.clone(), None);
        (stream, reader, given_up)
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (mut stream, _reader, given_up) = pair(Duration::from_millis(100)).await;
        let error = stream.write_all(&vec![7; BYTES]).await.unwrap_err();
        assert_eq!((error.kind(), given_up.get()), (ErrorKind::TimedOut, 1));
    }

    /// Much less than what makes the kernel tell of room.
    #[tokio::test]
    async fn who_takes_little_is_served() {
        let (mut stream, mut reader, given_up) = pair(Duration::from_secs(2)).await;
        let writes = tokio::spawn(async move { stream.write_all(&vec![7; BYTES]).await });
        let mut piece = vec![0; 16 << 10];
        for _ in 0..50 {
            reader.read_exact(&mut piece).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        assert!(!writes.is_finished());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        writes.await.unwrap().unwrap();
        assert_eq!((rest.len() + 50 * piece.len(), given_up.get()), (BYTES, 0));
    }
}
