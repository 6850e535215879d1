//! The proxy by which commands reach what the policy lists: CONNECT tunnels, and plain `http://` requests.
//!
//! It accepts on a socket that lies in the network namespace of a sandbox, and connects from the host's: a descriptor keeps
//! the namespace it was made in, so that no interface and no route leads out of the sandbox (network_namespaces(7)).
//! Names are resolved here, each address is judged ([`crate::network`]), and the judged address is the one that is dialled.
//! One connection carries one request: what comes after it is not read. A tunnel is not looked into.
//!
//! It knows no audit log: whoever runs it gives a [`Witness`], which hears of each decision before anything is dialled and
//! can veto it.

mod connection;
mod dial;
mod tunnel;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::policy::Allowlist;
use crate::resolve::Resolver;

/// Connections of one proxy at a time; more wait in the backlog of the socket.
const CONNECTIONS: usize = 64;

/// Connections that may come at once, and how fast more may follow: each leaves a record.
const BURST: u32 = 256;
const PACE: Duration = Duration::from_millis(10);

/// What is decided about one request, told before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Counts the connections of this proxy.
    pub connection: u64,
    /// `CONNECT`, or the method of a request.
    pub method: String,
    /// Host and port in their one spelling; what the request line said where it has none.
    pub target: String,
    /// Path and query of a plain request. May hold secrets.
    pub path: Option<String>,
    /// What may be dialled.
    pub addresses: Vec<SocketAddr>,
    /// Why nothing is; `None` where it is allowed.
    pub refused: Option<String>,
}

/// How an allowed connection went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As in its [`Decision`].
    pub connection: u64,
    /// What was dialled; `None` where no address answered.
    pub address: Option<SocketAddr>,
    /// Bytes from the command.
    pub sent: u64,
    /// Bytes to the command.
    pub received: u64,
    /// From the decision to the end.
    pub time: Duration,
    /// What went wrong, where something did.
    pub error: Option<String>,
}

/// Whoever says what may be reached, and keeps the record.
pub trait Witness: Send + Sync + 'static {
    /// Where the proxy may lead at this moment.
    fn permitted(&self) -> Allowlist;

    /// Hears of a decision. An allowed one is carried out when this answers `true`, which it does once the record is kept.
    fn decided(&self, decision: Decision) -> impl Future<Output = bool> + Send;

    /// Hears of an end.
    fn ended(&self, ended: Ended);
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the head of a request is there.
    pub head: Duration,
    /// Until a name is resolved, and for each address that is dialled.
    pub dial: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), dial: Duration::from_secs(10), idle: Duration::from_secs(600) }
    }
}

/// What one proxy goes by.
#[derive(Debug)]
pub struct Proxy<R, W> {
    /// How names become addresses.
    pub resolver: Arc<R>,
    /// Who says where it may lead, and keeps the record.
    pub witness: W,
    /// How long things may take.
    pub patience: Patience,
    /// What it shares with other proxies of one principal: connections at a time.
    pub places: Arc<Semaphore>,
}

impl<R: Resolver, W: Witness> Proxy<R, W> {
    /// Serves everything that connects, until the socket fails or `end`. Then every connection ends, and nothing is left
    /// when it returns.
    pub async fn serve(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::select! {
            () = end => {}
            () = self.accept(listener, &mut connections) => {}
        }
        connections.shutdown().await;
    }

    async fn accept(self, listener: TcpListener, connections: &mut JoinSet<()>) {
        let proxy = Arc::new(self);
        let own = Arc::new(Semaphore::new(CONNECTIONS));
        let mut number = 0;
        let mut next = Instant::now();
        loop {
            // Neither is ever closed.
            let Ok(place) = Arc::clone(&own).acquire_owned().await else { return };
            let Ok(shared) = Arc::clone(&proxy.places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_lasting(&error) => return,
                Err(_) => {
                    // Out of descriptors, or the peer was gone: neither mends by haste.
                    tokio::time::sleep(PACE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            number += 1;
            let proxy = Arc::clone(&proxy);
            connections.spawn(async move {
                connection::serve(&proxy, stream, number).await;
                drop((place, shared));
            });
            // One that comes too fast waits here, and the others in the backlog.
            let now = Instant::now();
            next = next.max(now.checked_sub(PACE * BURST).unwrap_or(now)) + PACE;
            tokio::time::sleep_until(next).await;
        }
    }
}

fn is_lasting(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, NotConnected};
    matches!(error.kind(), InvalidInput | NotConnected)
}
