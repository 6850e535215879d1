//! What operators ask.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::connection::{Connection, Serve};
use super::{answers, jobs, models, observe, people};
use crate::approval;
use crate::audit::read::Follow;
use crate::supervisor::session::{Common, Session};
use crate::wire::dialog::{Calls as _, Found};
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
        let found = permitted(&call, &connection.peer.roles)
            .and_then(|()| Found::look_up(&call, connection.peer.uid, by_name, &[]));
        match found {
            Ok(found) => answer(connection, id, call, found.session().ok()).await,
            Err(error) => connection.reply::<Done>(id, Err(error)).await,
        }
    }
}

/// Whether one of these roles may ask this; where its row names none, looking is enough.
fn permitted(call: &OperatorCall, roles: &[Role]) -> Result<(), Error> {
    let needed = call.row().map_or(&[Role::Admin][..], |row| row.roles);
    if needed.is_empty() || needed.iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    let needed: Vec<&str> = needed.iter().map(|role| role.name()).collect();
    let why = format!("{} is for the role {}", call.method(), needed.join(" or "));
    Err(Error::new(Code::NotPermitted, why)
        .hint("an administrator gives roles under [principals] in execward.toml"))
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
        OperatorCall::ApprovalPreview(asked) => {
            connection.answer(id, answers::preview(Arc::clone(house), asked)).await;
        }
        OperatorCall::ApprovalAnswer(asked) => {
            let answered = answers::answer(Arc::clone(house), connection.peer.clone(), asked);
            connection.answer(id, answered).await;
        }
        OperatorCall::GrantList(asked) => {
            connection.reply(id, Ok(rpc::Grants { grants: house.common.grants.list(asked.all) })).await;
        }
        OperatorCall::GrantShow(of) => {
            let grant = house.common.grants.show(&of.grant);
            connection.reply(id, grant.ok_or_else(answers::unknown_grant)).await;
        }
        OperatorCall::GrantRevoke(of) => {
            let revoked = answers::revoke(Arc::clone(house), connection.peer.clone(), of.grant);
            connection.answer(id, revoked).await;
        }
        OperatorCall::PrincipalList(_) => connection.answer(id, people::list(Arc::clone(house))).await,
        OperatorCall::PrincipalPair(asked) => {
            connection.answer(id, people::pair(Arc::clone(house), connection.peer.clone(), asked)).await;
        }
        OperatorCall::PrincipalRevoke(asked) => {
            connection.answer(id, people::revoke(Arc::clone(house), connection.peer.clone(), asked)).await;
        }
        OperatorCall::PrincipalMode(asked) => {
            let set = people::principal_mode(Arc::clone(house), connection.peer.clone(), asked);
            connection.answer(id, set).await;
        }
        OperatorCall::SessionMode(asked) => {
            let (house, peer) = (Arc::clone(house), connection.peer.clone());
            let set = async move {
                let session = about.ok_or_else(Error::unknown_session)?;
                people::session_mode(house, peer, session, asked).await
            };
            connection.answer(id, set).await;
        }
        OperatorCall::SessionList(_) => {
            let sessions = house.sessions().all().iter().map(|session| session.listed()).collect();
            connection.reply(id, Ok(rpc::Sessions { sessions })).await;
        }
        OperatorCall::SessionKill(asked) => {
            let (house, peer) = (Arc::clone(house), connection.peer.clone());
            let killed = async move {
                let session = about.ok_or_else(Error::unknown_session)?;
                people::session_kill(house, peer, session, asked.reason).await
            };
            connection.answer(id, killed).await;
        }
        OperatorCall::ExecList(_) => {
            let listed = |session: Arc<Session>| session.execs().iter().map(|exec| exec.listed()).collect();
            let execs = about.map(listed).ok_or_else(Error::unknown_session);
            connection.reply(id, execs.map(|execs| rpc::Execs { execs })).await;
        }
        OperatorCall::ModelList(_) => connection.reply(id, Ok(models::list(house))).await,
        OperatorCall::ModelTest(asked) => connection.answer(id, models::test(Arc::clone(house), asked)).await,
        OperatorCall::PolicyReload(_) => {
            let house = Arc::clone(house);
            let reloaded = async move {
                let reload = {
                    let house = Arc::clone(&house);
                    move || house.reload()
                };
                match tokio::task::spawn_blocking(reload).await {
                    Ok(Ok(restart)) => Ok(rpc::Policy {
                        restart: restart.into_iter().map(str::to_owned).collect(),
                        ..policy(&house.common, false)
                    }),
                    Ok(Err(error)) => Err(Error::new(Code::Policy, error.to_string()).hint(error.hint())),
                    Err(_) => Err(Error::new(Code::Internal, "the policy could not be read")),
                }
            };
            connection.answer(id, reloaded).await;
        }
        OperatorCall::PolicyShow(_) => connection.reply(id, Ok(policy(&house.common, true))).await,
        OperatorCall::JobList(_) => connection.answer(id, jobs::list(Arc::clone(house))).await,
        OperatorCall::JobShow(of) => connection.answer(id, jobs::show(Arc::clone(house), of)).await,
        OperatorCall::JobHistory(asked) => {
            connection.answer(id, jobs::history(Arc::clone(house), asked)).await;
        }
        OperatorCall::JobRun(of) => {
            connection.answer(id, jobs::run_now(Arc::clone(house), connection.peer.clone(), of)).await;
        }
        OperatorCall::JobSwitch(asked) => {
            connection.answer(id, jobs::switch(Arc::clone(house), connection.peer.clone(), asked)).await;
        }
        OperatorCall::JobTest(of) => {
            connection.answer(id, jobs::test(Arc::clone(house), connection.peer.clone(), of)).await;
        }
        OperatorCall::JobLetters(asked) => {
            connection.answer(id, jobs::letters(Arc::clone(house), asked)).await;
        }
        OperatorCall::JobSettle(asked) => {
            connection.answer(id, jobs::settle(Arc::clone(house), connection.peer.clone(), asked)).await;
        }
        OperatorCall::StatusShow(_) => {
            let status = observe::status(Arc::clone(house));
            connection.answer(id, async { Ok(status.await) }).await;
        }
        OperatorCall::EventWatch(_) => observe::watch(connection, id).await,
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
        restart: Vec::new(),
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
        let mut seen = Approval { separation, ..approval.clone() };
        if same {
            seen.answers.retain(|answer| *answer != rpc::AnswerKind::Always);
        }
        seen
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
