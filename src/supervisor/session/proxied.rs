//! A command that an approver lets reach hosts which its session does not: its proxy, for its life.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::Session;
use super::exec::Exec;
use crate::policy::Allowlist;
use crate::redact::Redactor;
use crate::stage::Prepared;
use crate::supervisor::egress::Egress;
use crate::supervisor::journal::Journal;

/// The proxy of one command. Dropped, it leads nowhere any more.
pub(super) struct Proxied {
    serving: JoinHandle<()>,
    end: DropGuard,
}

impl Proxied {
    /// Closes it, and waits until its last connection is recorded.
    pub(super) async fn end(self) {
        let Self { serving, end } = self;
        drop(end);
        let _ = serving.await;
    }
}

impl Session {
    /// Serves the proxy of a command that is about to be prepared, as soon as the runner says where. It leads to the hosts that a
    /// person has agreed to, and to what its session's leads to, of which a policy that changes meanwhile takes what it gave.
    pub(super) fn proxy_of(
        &self,
        exec: &Exec,
        prepared: &Prepared,
        journal: &Journal,
        redactor: &Redactor,
    ) -> Proxied {
        let (socket, end) = (self.routes.proxied(exec), self.end.child_token());
        let (reached, granted) = (self.reached(), prepared.answered().hosts.clone());
        let egress = Egress {
            allow: Box::new(move || reached().join(&granted)),
            ..journal.egress(redactor, Allowlist::default())
        };
        let (resolver, places) = (Arc::clone(&self.common.resolver), Arc::clone(&self.account.egress));
        let closing = end.clone();
        let serving = self.tasks.spawn(async move {
            tokio::select! {
                Ok(socket) = socket => egress.serve(socket, resolver, places, closing).await,
                () = closing.cancelled() => {}
            }
        });
        Proxied { serving, end: end.drop_guard() }
    }
}
