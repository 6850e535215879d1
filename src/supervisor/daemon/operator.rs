//! What operators ask.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::connection::{Connection, Serve};
use crate::approval;
use crate::audit::read::Follow;
use crate::stage::Principal;
use crate::supervisor::session::{Common, Peer, Session};
use crate::wire::dialog::Found;
use crate::wire::rpc::{
    self, Approval, Approvals, Code, Done, Error, Event, Id, OperatorCall, Role, Separation, SessionId,
};

/// How often the log is looked at for one who follows it.
const FOLLOW: Duration = Duration::from_millis(250);

/// The operators' socket.
#[derive(Debug)]
pub(super) struct Operator;

impl Serve for Operator {
    const ROLE: Role = Role::Operator;

    type Call = OperatorCall;

    async fn serve(connection: &Arc<Connection>, id: Id, call: OperatorCall, _: Vec<OwnedFd>) {
        let by_name = |id: &SessionId| connection.house.sessions().by_name(id);
        match Found::look_up(&call, connection.peer.uid, by_name, &[]) {
            Ok(found) => answer(connection, id, call, found.session().ok()).await,
            Err(error) => connection.reply::<Done>(id, Err(error)).await,
        }
    }
}

async fn answer(connection: &Arc<Connection>, id: Id, call: OperatorCall, about: Option<Arc<Session>>) {
    let house = &connection.house;
    match call {
        OperatorCall::Hello(_) => {
            connection.reply::<Done>(id, Err(Error::new(Code::Hello, "hello was said before"))).await;
        }
        OperatorCall::ApprovalList(_) => {
            let (waiting, _) = house.common.broker.watch();
            connection.reply(id, Ok(connection.shown(&waiting))).await;
        }
        OperatorCall::ApprovalWatch(_) => connection.watch(id).await,
        OperatorCall::ApprovalAnswer(asked) => {
            let Peer { uid, gid, name, .. } = &connection.peer;
            let by = Principal { uid: *uid, gid: *gid, name: name.clone() };
            let reason = asked.reason.map(Into::into);
            let answered = house
                .common
                .broker
                .answer(&asked.approval, asked.answer, reason, &by)
                .map_err(|error| Error::new(Code::Settled, error.to_string()));
            connection.reply(id, answered.map(|()| Done {})).await;
        }
        OperatorCall::SessionList(_) => {
            let sessions = house.sessions().all().iter().map(|session| session.listed()).collect();
            connection.reply(id, Ok(rpc::Sessions { sessions })).await;
        }
        OperatorCall::SessionKill(_) => {
            let (house, operator) = (Arc::clone(house), connection.peer.name.clone());
            let killed = async move {
                let session = about.ok_or_else(Error::unknown_session)?;
                tracing::info!(session = %session.id, operator, "session killed");
                house.close(&session).await;
                Ok(Done {})
            };
            connection.answer(id, killed).await;
        }
        OperatorCall::PolicyReload(_) => {
            let house = Arc::clone(house);
            let reloaded = async move {
                let reload = {
                    let house = Arc::clone(&house);
                    move || house.reload()
                };
                match tokio::task::spawn_blocking(reload).await {
                    Ok(Ok(())) => Ok(policy(&house.common, false)),
                    Ok(Err(error)) => Err(Error::new(Code::Policy, error.to_string()).hint(error.hint())),
                    Err(_) => Err(Error::new(Code::Internal, "the policy could not be read")),
                }
            };
            connection.answer(id, reloaded).await;
        }
        OperatorCall::PolicyShow(_) => connection.reply(id, Ok(policy(&house.common, true))).await,
        OperatorCall::AuditTail(asked) => connection.tail(id, asked.lines.size(), asked.follow).await,
    }
}

fn policy(common: &Common, with_text: bool) -> rpc::Policy {
    let policy = common.policy();
    rpc::Policy {
        source: policy.name().to_owned(),
        digest: crate::stage::Digest::from(policy.digest()).to_hex(),
        rules: policy.rule_ids().count() as u64,
        text: with_text.then(|| policy.text().to_owned()),
    }
}

impl Connection {
    /// Questions as this operator is to see them.
    fn shown(&self, waiting: &[Arc<Approval>]) -> Approvals {
        Approvals { approvals: waiting.iter().map(|approval| self.seen(approval)).collect() }
    }

    fn seen(&self, approval: &Approval) -> Approval {
        let same = approval.principal.uid == self.peer.uid || approval.principal.uid == 0;
        let separation = if same { Separation::None } else { Separation::Uid };
        Approval { separation, ..approval.clone() }
    }

    async fn watch(self: &Arc<Self>, id: Id) {
        let (waiting, mut events) = self.house.common.broker.watch();
        self.reply(id, Ok(self.shown(&waiting))).await;
        let connection = Arc::clone(self);
        self.spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = connection.house.closing.cancelled() => return,
                };
                match event {
                    Ok(approval::Event::Pending(question)) => {
                        let seen = connection.seen(&question);
                        connection.notify(&Event::Pending(rpc::PendingEvent(seen))).await;
                    }
                    Ok(approval::Event::Settled(approval, settled)) => {
                        connection.notify(&Event::Settled(rpc::SettledEvent { approval, settled })).await;
                    }
                    Err(RecvError::Lagged(_)) => {
                        // Too slow to be told of each: told of all that wait, anew.
                        let (waiting, anew) = connection.house.common.broker.watch();
                        events = anew;
                        for question in &waiting {
                            let seen = connection.seen(question);
                            connection.notify(&Event::Pending(rpc::PendingEvent(seen))).await;
                        }
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    async fn tail(self: &Arc<Self>, id: Id, lines: usize, follow: bool) {
        let directory = self.house.common.directories.audit();
        let connection = Arc::clone(self);
        self.spawn(async move {
            let read = tokio::task::spawn_blocking(move || Follow::after_last(&directory, lines)).await;
            let mut log = match read {
                Ok(Ok((lines, log))) => {
                    connection.reply(id, Ok(rpc::Records { records: records(&lines) })).await;
                    log
                }
                Ok(Err(error)) => {
                    let error = Error::new(Code::Record, error.to_string());
                    return connection.reply::<Done>(id, Err(error)).await;
                }
                Err(_) => return,
            };
            while follow && !connection.house.closing.is_cancelled() {
                tokio::time::sleep(FOLLOW).await;
                let read =
                    tokio::task::spawn_blocking(move || log.appended().map(|lines| (lines, log))).await;
                let Ok(Ok((lines, again))) = read else { return };
                log = again;
                for record in records(&lines) {
                    connection.notify(&Event::Record(rpc::RecordEvent { record })).await;
                }
            }
        });
    }
}

/// Lines of the log as records; one that is none is `audit verify`'s to find.
fn records(lines: &[Vec<u8>]) -> Vec<serde_json::Value> {
    lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
}
