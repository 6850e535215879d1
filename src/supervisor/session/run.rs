//! One command through the pipeline: judged, asked about, recorded, run, reported.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::exec::Exec;
use super::ground::Ground;
use super::outlive::Outlived;
use super::passed::{Passed, Passing};
use super::start::Reply;
use super::{Peer, Session};
use crate::approval::{About, Answer};
use crate::prepare::environment::Environment;
use crate::redact::Redactor;
use crate::stage::{
    Cleared, Denial, DenialReason, Go, Outcome, Pending, Place, Report, Request, RequestId, Seen, Terms,
};
use crate::supervisor::journal::Journal;
use crate::supervisor::pipeline::{self, Ask};
use crate::supervisor::relay::stopped_outcome;
use crate::wire::rpc::{self, Code, Error, StartExec, State};
use crate::wire::runner::{Cause, ToRunner, Window};

impl Session {
    pub(super) async fn run(
        &self,
        exec: &Arc<Exec>,
        asked: StartExec,
        passed: Option<Passed>,
        peer: &Peer,
        reply: &mut Option<Reply>,
    ) -> (rpc::Report, Option<Error>) {
        let policy = match self.policy() {
            Ok(policy) => policy,
            Err(error) => {
                let error = self.unjudged(peer, Some(&exec.request_id), &asked, error).await;
                return (self.failed(exec, &error), Some(error.request(exec.request_id.clone())));
            }
        };
        let id = RequestId::from_wire(&exec.request_id);
        let journal = self.journal(peer, &exec.request_id);
        let ground = match self.ground(exec, &asked, peer, &policy).await {
            Ok(ground) => ground,
            Err(error) => {
                // It never reached the gate: what would be judged is not known.
                let error = self.unjudged(peer, Some(&exec.request_id), &asked, error).await;
                return (self.failed(exec, &error), Some(error.request(exec.request_id.clone())));
            }
        };
        let terminal = asked.pty.map(rpc::Size::window);
        let Ground { profile, cwd, cwd_id, environment: Environment { vars, withheld, .. }, redactor, _cwd } =
            ground;
        let mut facts = self.facts(Path::new(&cwd));
        facts.environment = vars;
        let place = Place { cwd: cwd_id, workspace: self.workspace[0].directory().id };
        let environment: Vec<(String, String)> =
            facts.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut timeout = if asked.background {
            profile.limits.time.max(self.common.lifetime.background)
        } else {
            profile.limits.time
        };
        if let Some(limit) = asked.timeout_ms {
            timeout = timeout.min(limit.millis());
        }
        let grace = profile.limits.grace;
        // One that goes on in the background would say at some time what nobody expects then.
        let keeps =
            asked.persist && !asked.background && matches!(asked.command, crate::gate::Command::Shell(_));
        let request = Request {
            id,
            principal: self.principal().clone(),
            command: asked.command,
            facts,
            place,
            terms: Terms { timeout: Some(timeout), grace, profile },
            context: self.context.findings(),
            interpreter: self.local.interpreter.to_owned(),
        };
        let finish = |mut report: Report, masked: u64| {
            pipeline::mask(&mut report, &redactor);
            self.report(exec, report, masked, &withheld)
        };
        let mut operator = AtOperators { session: self, exec, reply };
        let cleared = match pipeline::clear(request, &policy, &mut operator).await {
            Ok(cleared) => cleared,
            Err(denial) => return self.refuse(*denial, &journal, &redactor, finish).await,
        };
        self.context.settle();
        let waited = matches!(cleared.agreed(), crate::stage::Agreed::Once { .. });
        match self
            .begin(*cleared, exec, Seen { place, environment }, Wish { terminal, keeps }, &journal, &redactor)
            .await
        {
            Begun::Refused(denial) => self.refuse(*denial, &journal, &redactor, finish).await,
            Begun::Unrecorded(denial, error) => {
                let report = finish(denial.report(), 0);
                let error = Error::new(Code::Record, error).request(exec.request_id.clone());
                (report, (!waited).then_some(error))
            }
            Begun::Lost(error) => {
                let error = Error::new(Code::Record, error).request(exec.request_id.clone());
                (self.failed(exec, &error), (!waited).then_some(error))
            }
            Begun::Started { running, go, number } => {
                let Outlived { mut ended, masked, cancelled, stopped } =
                    match Passing::begin(passed, exec, &self.tasks) {
                        Ok(passing) => {
                            // The runner hears of it before anybody can have the command told anything.
                            self.orders.send(go.into());
                            exec.running();
                            if let Some(reply) = reply.take() {
                                let _ = reply.send(Ok(State::Running));
                            }
                            self.outlive(exec, timeout, grace, passing).await
                        }
                        Err(error) => {
                            self.give_up(exec);
                            Outlived {
                                ended: Err(format!("cannot relay the command's descriptors: {error}")),
                                masked: 0,
                                cancelled: false,
                                stopped: None,
                            }
                        }
                    };
                let recorded = journal.ended(
                    number,
                    ended.as_ref().map_err(Clone::clone),
                    Some(self.receipt.clone()),
                    masked,
                    &redactor,
                );
                let kept = match &mut ended {
                    Ok(ended) if keeps => self.keep(peer, ended.shell.take()).await,
                    _ => None,
                };
                let finished = match ended {
                    Ok(ended) => running.finish(ended),
                    Err(error) => running.lost(error, ""),
                };
                let mut report = finished.report(self.receipt.clone());
                if cancelled && matches!(report.outcome, Outcome::Signaled { signal: 15 }) {
                    report.outcome = Outcome::Cancelled { signal: Signal::SIGTERM as i32 };
                }
                report.outcome = stopped_outcome(report.outcome, stopped);
                let mut report = finish(report, masked);
                report.reached.extend(exec.flooded());
                report.notes.extend(kept.map(|note| redactor.text(&note).0));
                if let Err(error) = recorded {
                    report.notes.push(format!("the command's end could not be recorded: {error}"));
                }
                (report, None)
            }
        }
    }

    /// From a cleared command to one that the runner may execute: made ready there while the decision is recorded, and not
    /// given up meanwhile.
    async fn begin(
        &self,
        cleared: Cleared,
        exec: &Arc<Exec>,
        seen: Seen,
        wish: Wish,
        journal: &Journal,
        redactor: &Redactor,
    ) -> Begun {
        if let Some(why) = self.given_up(exec) {
            return Begun::Refused(Box::new(cleared.refuse(DenialReason::Interrupted(why))));
        }
        let prepared = match cleared.prepare(seen) {
            Ok(prepared) => prepared,
            Err(denial) => return Begun::Refused(denial),
        };
        self.routes.add(exec);
        let mut spawn =
            if wish.keeps { prepared.spawn_persisting(exec.number) } else { prepared.spawn(exec.number) };
        spawn.terminal = wish.terminal;
        if exec.bound_to.is_none() {
            // One in the background may well be silent.
            spawn.idle_ms = None;
        }
        self.orders.send(ToRunner::Prepare(Box::new(spawn)));
        let (ticket, number) = match journal.cleared(&prepared, redactor).await {
            Ok(recorded) => recorded,
            Err(error) => {
                self.give_up(exec);
                let error = error.to_string();
                return Begun::Unrecorded(
                    Box::new(prepared.refuse(DenialReason::Failed(error.clone()))),
                    error,
                );
            }
        };
        match prepared.start(ticket, exec.number) {
            Ok((running, go)) => Begun::Started { running: Box::new(running), go, number },
            // The log's own fault: it vouched for another request. The prepared command is gone with the ticket.
            Err(error) => {
                self.give_up(exec);
                Begun::Lost(error.to_string())
            }
        }
    }

    /// Has the runner end a command that it made ready.
    fn give_up(&self, exec: &Exec) {
        self.routes.remove(exec.number);
        self.orders.send(ToRunner::Kill { id: exec.number, cause: Cause::Cancelled });
    }

    /// Why nobody wants the command any more, if so.
    fn given_up(&self, exec: &Exec) -> Option<&'static str> {
        if exec.kill.is_cancelled() {
            Some("exec/kill")
        } else if exec.cancel.is_cancelled() {
            Some("the end of its connection")
        } else if self.end.is_cancelled() {
            Some("the end of its session")
        } else {
            None
        }
    }

    /// Records a refusal. It stands whether or not it can be recorded.
    async fn refuse(
        &self,
        denial: Denial,
        journal: &Journal,
        redactor: &Redactor,
        finish: impl FnOnce(Report, u64) -> rpc::Report,
    ) -> (rpc::Report, Option<Error>) {
        let code = match denial.reason() {
            DenialReason::Gate => Code::Refused,
            DenialReason::Malformed(_) => Code::BadParameters,
            DenialReason::Failed(_) | DenialReason::Changed(_) => Code::Internal,
            _ => Code::NotApproved,
        };
        let reason = denial.reason().to_string();
        let recorded = journal.denied(&denial, redactor).await;
        let mut report = finish(denial.report(), 0);
        let (reason, _) = redactor.text(&reason);
        let error =
            Error::new(code, reason).findings(report.findings.clone()).request(report.request_id.clone());
        if let Err(error) = recorded {
            report.notes.push(format!("this refusal could not be recorded: {error}"));
        }
        (report, Some(error))
    }
}

/// What a command is given that the gate has no say in.
#[derive(Debug, Clone, Copy)]
struct Wish {
    terminal: Option<Window>,
    /// Whether its shell is to say at its end in which state it was.
    keeps: bool,
}

/// How far a cleared command came.
enum Begun {
    Refused(Box<Denial>),
    /// No record, no run.
    Unrecorded(Box<Denial>, String),
    /// The log vouched for another request.
    Lost(String),
    Started {
        running: Box<crate::stage::Running>,
        go: Go,
        number: u64,
    },
}

/// The operators, who are asked through the broker while the requester waits.
struct AtOperators<'a> {
    session: &'a Session,
    exec: &'a Arc<Exec>,
    reply: &'a mut Option<Reply>,
}

impl Ask for AtOperators<'_> {
    async fn ask(&mut self, pending: &Pending, timeout: Duration) -> Answer {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(State::Waiting));
        }
        let Session { id, label, workspace_path, common, end, .. } = self.session;
        let about = About {
            session: id.clone(),
            label: label.clone(),
            id: self.exec.id.clone(),
            workspace: workspace_path.clone(),
        };
        tokio::select! {
            answer = common.broker.ask(pending, about, timeout) => answer,
            () = self.exec.cancel.cancelled() => Answer::No(DenialReason::Interrupted("the end of its connection")),
            () = self.exec.kill.cancelled() => Answer::No(DenialReason::Interrupted("exec/kill")),
            () = end.cancelled() => Answer::No(DenialReason::Interrupted("the end of its session")),
        }
    }
}
