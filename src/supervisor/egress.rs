//! The proxy of one sandbox: what it may reach now, and a record of each connection.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::journal::requester;
use super::scribe::Scribe;
use crate::audit::{self, Record, record};
use crate::policy::Allowlist;
use crate::proxy::{Decision, Ended, Patience, Proxy, Witness};
use crate::redact::Redactor;
use crate::resolve::System;
use crate::stage::Principal;

/// Connections to the outside that the commands of one principal may have at a time. Each costs two descriptors.
pub(super) const CONNECTIONS: usize = 256;

/// Who connects, and where to.
pub(super) struct Egress {
    pub(super) scribe: Scribe,
    /// What masks what is recorded of them, asked anew for each.
    pub(super) redactor: Box<dyn Fn() -> Redactor + Send + Sync>,
    pub(super) principal: Principal,
    /// Process id of the requester.
    pub(super) pid: i32,
    /// What the names of connections begin with: the session, or the request that has a sandbox of its own.
    pub(super) owner: String,
    pub(super) session: Option<String>,
    /// What may be reached, asked anew for each connection: a policy may have been changed.
    pub(super) allow: Box<dyn Fn() -> Allowlist + Send + Sync>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Egress {
    /// Serves the proxy on a socket of the sandbox until `end`, and returns when no connection is left.
    pub(super) async fn serve(
        self,
        listener: OwnedFd,
        resolver: Arc<System>,
        places: Arc<Semaphore>,
        end: CancellationToken,
    ) {
        let owner = self.owner.clone();
        let proxy = Proxy { resolver, witness: self, patience: Patience::default(), places };
        let listener = std::net::TcpListener::from(listener);
        let listener =
            listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        match listener {
            Ok(listener) => proxy.serve(listener, end.cancelled()).await,
            Err(error) => tracing::error!(%owner, %error, "the proxy of a sandbox cannot be served"),
        }
    }

    fn id(&self, connection: u64) -> String {
        format!("{}.{connection}", self.owner)
    }
}

impl Witness for Egress {
    fn permitted(&self) -> Allowlist {
        (self.allow)()
    }

    async fn decided(&self, decision: Decision) -> bool {
        let refused = decision.refused.is_some();
        let connection = audit::Connection {
            id: self.id(decision.connection),
            requester: requester(&self.principal, self.pid, self.session.is_some()),
            session: self.session.clone(),
            outcome: if refused { record::Outcome::Denied } else { record::Outcome::Run },
            method: decision.method,
            target: decision.target,
            path: decision.path,
            addresses: decision.addresses.iter().map(SocketAddr::to_string).collect(),
            error: decision.refused,
        };
        let record = Record::connection(&connection, &(self.redactor)());
        let recorded = if refused {
            self.scribe.denial(record).await
        } else {
            self.scribe.decision(record).await.map(drop)
        };
        if let Err(error) = &recorded {
            tracing::error!(owner = %self.owner, %error, "a connection is refused: it cannot be recorded");
        }
        recorded.is_ok()
    }

    fn ended(&self, ended: Ended) {
        let end = audit::ConnectionEnd {
            id: self.id(ended.connection),
            session: self.session.clone(),
            address: ended.address.as_ref().map(SocketAddr::to_string),
            sent: ended.sent,
            received: ended.received,
            wall_us: micros(ended.time),
            error: ended.error,
        };
        if let Err(error) = self.scribe.end(Record::connection_end(&end, &(self.redactor)())) {
            tracing::error!(owner = %self.owner, %error, "the end of a connection cannot be recorded");
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
