//! A TCP proxy between two parts that can delay, cut, half-close, fall silent, and drop the answer after a request went
//! through: the faults of a network, at a moment that the test chooses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ports::Port;

/// What the proxy does to connections, also to those that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Bytes go through.
    #[default]
    None,
    /// Every piece of up to 64 KiB, either way, waits this long first.
    Delay(Duration),
    /// Open connections are reset and new ones closed at once.
    Cut,
    /// Connections stay open, new ones are accepted, no byte moves.
    Silence,
    /// Requests go through; answers are swallowed.
    DropAnswers,
    /// The client sees the end of the answers, while its requests still go through.
    HalfClose,
    /// When a request holds these bytes it is passed on whole; its answer is swallowed and the connection reset once the
    /// server began to answer. Then the proxy is back at [`Fault::None`]. (`COMMIT` arrived, but who knows?)
    DropAnswerTo(Vec<u8>),
    /// In the next piece of an answer that holds these bytes one bit of them is another. Then the proxy is back at [`Fault::None`].
    FlipBit(Vec<u8>),
}

/// What went through so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub bytes_to_server: AtomicU64,
    pub bytes_to_client: AtomicU64,
    /// Answer bytes that were swallowed.
    pub bytes_dropped: AtomicU64,
    /// Connections that a fault ended.
    pub cut: AtomicU64,
    /// Requests that met [`Fault::DropAnswerTo`].
    pub answers_dropped: AtomicU64,
    /// Answers that met [`Fault::FlipBit`].
    pub bits_flipped: AtomicU64,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    counts: Arc<Counts>,
    upstream: Arc<Mutex<SocketAddr>>,
    accept: JoinHandle<()>,
    _port: Port,
}

impl Proxy {
    /// Listens on a free loopback port and passes on to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Result<Proxy> {
        let port = Port::free()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let (fault, seen) = watch::channel(Fault::None);
        let counts = Arc::new(Counts::default());
        let upstream = Arc::new(Mutex::new(upstream));
        let shared = Shared { fault: fault.clone(), counts: Arc::clone(&counts) };
        let to = Arc::clone(&upstream);
        let accept = tokio::spawn(async move {
            // Dropping the set ends the connections with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let to = *to.lock().expect("no panic while the address is held");
                connections.spawn(serve(client, to, shared.clone(), seen.clone()));
            }
        });
        Ok(Proxy { address, fault, counts, upstream, accept, _port: port })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go there.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        *self.upstream.lock().expect("no panic while the address is held") = upstream;
    }

    /// Takes effect at once, also for open connections.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// The fault in force; [`Fault::DropAnswerTo`] and [`Fault::FlipBit`] end by themselves.
    pub fn fault(&self) -> Fault {
        self.fault.borrow().clone()
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

#[derive(Clone)]
struct Shared {
    fault: watch::Sender<Fault>,
    counts: Arc<Counts>,
}

/// Why a connection ends before its parties want it to.
struct Reset;

async fn serve(mut client: TcpStream, to: SocketAddr, shared: Shared, mut seen: watch::Receiver<Fault>) {
    shared.counts.connections.fetch_add(1, Ordering::Relaxed);
    let _ = client.set_nodelay(true);
    // With a linger of zero, dropping the socket sends RST: what a cut looks like.
    let reset = |stream: &TcpStream| stream.set_zero_linger();
    if *seen.borrow_and_update() == Fault::Cut {
        shared.counts.cut.fetch_add(1, Ordering::Relaxed);
        let _ = reset(&client);
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        let _ = reset(&client);
        return;
    };
    let _ = server.set_nodelay(true);
    // Borrowed halves: owned ones would say an orderly end (FIN) when dropped.
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let (dropping, answered) = watch::channel(false);
    let requests = pump_requests(client_read, server_write, shared.clone(), seen.clone(), dropping);
    let answers = pump_answers(server_read, client_write, shared.clone(), seen.clone(), answered);
    let ended = tokio::select! {
        ended = async { tokio::try_join!(requests, answers) } => ended.is_ok(),
        () = reached(&mut seen, Fault::Cut) => false,
    };
    if !ended {
        shared.counts.cut.fetch_add(1, Ordering::Relaxed);
        let _ = (reset(&client), reset(&server));
    }
}

async fn pump_requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: Shared,
    mut seen: watch::Receiver<Fault>,
    dropping: watch::Sender<bool>,
) -> Result<(), Reset> {
    let mut buffer = vec![0; 64 << 10];
    // The last bytes of the piece before: what is looked for may lie across two pieces.
    let mut tail = Vec::new();
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Reset)?;
        if count == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let piece = &buffer[..count];
        pass(&mut seen).await;
        let fault = seen.borrow().clone();
        if let Fault::DropAnswerTo(wanted) = fault {
            tail.extend_from_slice(piece);
            if tail.windows(wanted.len()).any(|window| window == wanted.as_slice()) {
                shared.counts.answers_dropped.fetch_add(1, Ordering::Relaxed);
                shared.fault.send_replace(Fault::None);
                dropping.send_replace(true);
            }
            let keep = tail.len().min(wanted.len().saturating_sub(1));
            tail.drain(..tail.len() - keep);
        }
        shared.counts.bytes_to_server.fetch_add(count as u64, Ordering::Relaxed);
        to.write_all(piece).await.map_err(|_| Reset)?;
    }
}

async fn pump_answers(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: Shared,
    mut seen: watch::Receiver<Fault>,
    answered: watch::Receiver<bool>,
) -> Result<(), Reset> {
    let mut buffer = vec![0; 64 << 10];
    let mut closed = false;
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count.map_err(|_| Reset)?,
            () = reached(&mut seen, Fault::HalfClose), if !closed => {
                let _ = to.shutdown().await;
                closed = true;
                continue;
            }
        };
        if count == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        pass(&mut seen).await;
        if *answered.borrow() {
            shared.counts.bytes_dropped.fetch_add(count as u64, Ordering::Relaxed);
            return Err(Reset);
        }
        if closed || *seen.borrow() == Fault::DropAnswers {
            shared.counts.bytes_dropped.fetch_add(count as u64, Ordering::Relaxed);
            continue;
        }
        let fault = seen.borrow().clone();
        if let Fault::FlipBit(wanted) = fault
            && let Some(at) = buffer[..count].windows(wanted.len()).position(|window| window == wanted)
        {
            buffer[at] ^= 1;
            shared.counts.bits_flipped.fetch_add(1, Ordering::Relaxed);
            shared.fault.send_replace(Fault::None);
        }
        shared.counts.bytes_to_client.fetch_add(count as u64, Ordering::Relaxed);
        to.write_all(&buffer[..count]).await.map_err(|_| Reset)?;
    }
}

/// Returns when this fault is in force.
async fn reached(seen: &mut watch::Receiver<Fault>, wanted: Fault) {
    if seen.wait_for(|fault| *fault == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when a piece may go on.
async fn pass(seen: &mut watch::Receiver<Fault>) {
    let delay = match &*seen.borrow_and_update() {
        Fault::Delay(delay) => Some(*delay),
        Fault::Silence => None,
        _ => return,
    };
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => {
            let _ = seen.wait_for(|fault| *fault != Fault::Silence).await;
        }
    }
}
