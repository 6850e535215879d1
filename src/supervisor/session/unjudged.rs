//! Starts that are refused before the gate: recorded all the same, with what was asked for and why it got no further.
//!
//! A requester that is refused for its directory or for too many commands has asked for something; who reads the log must
//! see that. What is no start in a session of the requester's own, a line that cannot be read or a session that is somebody
//! else's, leaves no record: it names nothing that could be judged. Nor does a start that is repeated, which starts nothing
//! and has its record.

use super::{Peer, Session};
use crate::gate::Facts;
use crate::stage::{Digest, RequestId};
use crate::supervisor::journal::{Failure, Journal};
use crate::wire::rpc::{self, Code, Error, StartExec};

impl Session {
    /// Records a start that was refused with this error, and puts the name of the record into it. The refusal stands
    /// whether or not it can be recorded.
    pub(in crate::supervisor) async fn unjudged(
        &self,
        peer: &Peer,
        id: Option<&rpc::RequestId>,
        asked: &StartExec,
        error: Error,
    ) -> Error {
        if error.code == Code::UnknownSession {
            return error;
        }
        let mut random = [0; 16];
        let id = match id {
            Some(id) => id.clone(),
            None if getrandom::fill(&mut random).is_ok() => rpc::RequestId::from_random(random),
            None => return error,
        };
        let journal = self.journal(peer, &id);
        let facts = self.asked_for(asked);
        let policy = Some(Digest::from(self.common.policy().digest()));
        let failure =
            Failure { command: &asked.command, facts: &facts, policy, error: error.message.clone() };
        if let Err(unrecorded) = journal.failed(failure, &self.masker.now()).await {
            tracing::error!(session = %self.id, %unrecorded, "a refusal is not recorded");
            return error;
        }
        error.request(id)
    }

    /// The log, as one request writes to it.
    pub(super) fn journal(&self, peer: &Peer, id: &rpc::RequestId) -> Journal {
        let id = RequestId::from_wire(id);
        let scribe = self.common.scribe.clone();
        Journal::new(scribe, id, self.principal().clone(), peer.pid, "operator").in_session(&self.id)
    }

    /// What the gate would have been told, as far as it is known: nothing was looked at.
    fn asked_for(&self, asked: &StartExec) -> Facts {
        let cwd = asked.cwd.as_ref().map_or(".", rpc::PathText::as_str);
        let mut facts = self.facts(&super::check::plain(&self.workspace[0].directory().path.join(cwd)));
        facts.environment.clone_from(&self.environment.vars);
        facts
    }
}
