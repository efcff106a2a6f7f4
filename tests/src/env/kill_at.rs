//! A proxy before PostgreSQL that ends a session from the server's side, as a kill would, at a statement that the test names.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::ports::Port;
use super::postgres::Postgres;
use super::wire::{self, Message};

/// When a session ends; each with a part of the statement's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server has not seen that the statement is to be run.
    Before(&'static str),
    /// The server has the first half of what a COPY is given first.
    MidCopy(&'static str),
    /// The server has done it; the client never learns so.
    After(&'static str),
}

/// A running proxy.
pub struct KillAt {
    address: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
    _port: Port,
}

struct Shared {
    upstream: SocketAddr,
    /// Ends the others' sessions.
    admin: tokio_postgres::Client,
    next: Mutex<Option<Moment>>,
    /// The statement at which the last session was ended.
    killed: Mutex<Option<String>>,
}

impl KillAt {
    pub async fn start(postgres: &Postgres) -> Result<KillAt> {
        let port = Port::free()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from(([127, 0, 0, 1], postgres.port())),
            admin: postgres.client().await?,
            next: Mutex::new(None),
            killed: Mutex::new(None),
        });
        let of_all = Arc::clone(&shared);
        let accept = tokio::spawn(async move {
            // Dropping the set ends the sessions with the proxy.
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while sessions.try_join_next().is_some() {}
                sessions.spawn(serve(client, Arc::clone(&of_all)));
            }
        });
        Ok(KillAt { address, shared, accept, _port: port })
    }

    /// The database's address through this proxy.
    pub fn url_of(&self, postgres: &Postgres, database: &str) -> String {
        postgres.url_through(self.address.ip(), self.address.port(), database)
    }

    /// The next session that comes there is ended; one, and once.
    pub fn set(&self, moment: Moment) {
        *lock(&self.shared.killed) = None;
        *lock(&self.shared.next) = Some(moment);
    }

    /// The text of the statement at which a session was ended since [`KillAt::set`]. None is ended any more.
    pub fn killed(&self) -> Option<String> {
        *lock(&self.shared.next) = None;
        lock(&self.shared.killed).take()
    }
}

impl Drop for KillAt {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Whether the session ends at this statement; the moment is over then.
    fn is_at(&self, statement: &str, moment: fn(&'static str) -> Moment) -> bool {
        let mut next = lock(&self.next);
        let (Moment::Before(part) | Moment::MidCopy(part) | Moment::After(part)) = match *next {
            Some(wanted) => wanted,
            None => return false,
        };
        let at = *next == Some(moment(part)) && statement.contains(part);
        if at {
            *next = None;
        }
        at
    }
}

/// What both directions of a session know.
#[derive(Default)]
struct Session {
    pid: AtomicI32,
    /// The next completion is that of the statement to end after.
    ends_after: AtomicBool,
    statement: Mutex<String>,
}

/// Why a direction ended.
enum Ended {
    Closed,
    Killed,
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let mut server = TcpStream::connect(shared.upstream).await?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let startup = wire::startup(&mut client).await?;
    server.write_all(&startup).await?;
    let session = Session::default();
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let ended = tokio::select! {
        ended = requests(client_read, server_write, &shared, &session) => ended?,
        ended = answers(server_read, client_write, &session) => ended?,
    };
    if matches!(ended, Ended::Killed) {
        let pid = session.pid.load(Ordering::Relaxed);
        let row = shared.admin.query_one("select pg_terminate_backend($1, 10000)", &[&pid]).await?;
        if !row.get::<_, bool>(0) {
            bail!("session {pid} does not end");
        }
        *lock(&shared.killed) = Some(lock(&session.statement).clone());
        // Dropping the socket then sends RST.
        client.set_zero_linger()?;
    }
    Ok(())
}

async fn requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    session: &Session,
) -> Result<Ended> {
    let mut prepared: HashMap<String, String> = HashMap::new();
    while let Some(message) = Message::read(&mut from).await? {
        let mut texts = message.texts();
        let mut text = || texts.next().unwrap_or_default();
        // What is to be run now; text of a COPY's data never is a statement.
        let statement = match message.tag() {
            b'Q' => Some(text()),
            b'P' => {
                prepared.insert(text(), text());
                None
            }
            b'B' => {
                let _portal = text();
                Some(prepared.get(&text()).cloned().unwrap_or_default())
            }
            _ => None,
        };
        if let Some(statement) = statement {
            lock(&session.statement).clone_from(&statement);
            if shared.is_at(&statement, Moment::Before) {
                return Ok(Ended::Killed);
            }
            // Of a COPY the completion comes after its data.
            if shared.is_at(&statement, Moment::After) {
                session.ends_after.store(true, Ordering::Relaxed);
            }
        }
        if message.tag() == b'd' {
            let statement = lock(&session.statement).clone();
            if shared.is_at(&statement, Moment::MidCopy) {
                to.write_all(&message.bytes()[..message.bytes().len() / 2]).await?;
                return Ok(Ended::Killed);
            }
        }
        to.write_all(message.bytes()).await?;
    }
    Ok(Ended::Closed)
}

async fn answers(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, session: &Session) -> Result<Ended> {
    while let Some(message) = Message::read(&mut from).await? {
        match (message.tag(), message.content()) {
            (b'K', [a, b, c, d, ..]) => {
                session.pid.store(i32::from_be_bytes([*a, *b, *c, *d]), Ordering::Relaxed);
            }
            (b'C', _) if session.ends_after.load(Ordering::Relaxed) => return Ok(Ended::Killed),
            _ => {}
        }
        to.write_all(message.bytes()).await?;
    }
    Ok(Ended::Closed)
}
