//! A command that an approver lets reach hosts which its session does not: its proxy, for its life.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::Session;
use super::exec::Exec;
use crate::redact::Redactor;
use crate::stage::Prepared;
use crate::supervisor::journal::Journal;
use crate::supervisor::pipeline;

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
    /// Serves the proxy of a command that is about to be prepared, as soon as the runner says where. What was agreed to is
    /// what it leads to: a policy that changes meanwhile takes from that what it gave, and not what a person did.
    pub(super) fn proxy_of(
        &self,
        exec: &Exec,
        prepared: &Prepared,
        journal: &Journal,
        redactor: &Redactor,
    ) -> Proxied {
        let (socket, end) = (self.routes.proxied(exec), self.end.child_token());
        let egress = journal.egress(redactor, pipeline::allowed(&prepared.request().terms.profile));
        let (resolver, places) = (Arc::clone(&self.common.resolver), Arc::clone(&self.account.egress));
        let closing = end.clone();
        let serving = self.tasks.spawn(async move {
            tokio::select! {
                Ok(socket) = socket => egress.serve(socket, resolver, places, closing).await,
                () = closing.cancelled() => {}
                else => {}
            }
        });
        Proxied { serving, end: end.drop_guard() }
    }
}
