//! One command through the pipeline: judged, asked about, recorded, run, reported.

use std::path::Path;
use std::sync::Arc;

use super::ask::AtOperators;
use super::conclude::Due;
use super::exec::Exec;
use super::ground::Ground;
use super::outlive::Outlived;
use super::passed::{Passed, Passing};
use super::proxied::Proxied;
use super::start::Reply;
use super::{Peer, Session, script};
use crate::prepare::environment::Environment;
use crate::redact::Redactor;
use crate::stage::{
    Changed, Cleared, Denial, DenialReason, Go, Place, Report, Request, RequestId, Seen, Terms,
};
use crate::supervisor::journal::Journal;
use crate::supervisor::pipeline;
use crate::supervisor::vault::{NotGiven, untouched};
use crate::wire::rpc::{self, Code, Error, StartExec, State};
use crate::wire::runner::{Apart, Cause, Receipt, ToRunner, Window};

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
        let Ground { profile, cwd, cwd_id, environment, plain, redactor, secrets, _cwd } = ground;
        let Environment { vars, withheld, .. } = environment;
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
        let finish = |redactor: &Redactor, mut report: Report, masked: u64| {
            pipeline::mask(&mut report, redactor);
            self.report(exec, report, masked, &withheld)
        };
        let mut operator = AtOperators {
            session: self,
            exec,
            policy: &policy,
            journal: &journal,
            redactor: &redactor,
            plain,
            reply,
            scripts: Vec::new(),
        };
        let cleared = match pipeline::clear(request, &policy, &mut operator).await {
            Ok(cleared) => cleared,
            Err(denial) => return self.refuse(*denial, &journal, &redactor, finish).await,
        };
        if self.context.settle() {
            self.keepsake.iter().for_each(|keepsake| keepsake.settle());
        }
        let scripts = std::mem::take(&mut operator.scripts);
        let waited = reply.is_none();
        let mut held = Vec::new();
        if !scripts.is_empty() {
            let found = self.scripts(cleared.request()).await.unwrap_or_default();
            if !found.iter().map(|found| &found.script).eq(&scripts) {
                let denial = cleared.refuse(DenialReason::Changed(Changed::Script));
                return self.refuse(denial, &journal, &redactor, finish).await;
            }
            held = script::held(found);
        }
        let apart = match self.given(&cleared).await {
            Ok(apart) => apart,
            Err(why) => {
                let denial = cleared.refuse(DenialReason::Secret(why.to_string()));
                return self.refuse(denial, &journal, &redactor, finish).await;
            }
        };
        let given = !apart.secrets.is_empty();
        // One that exports what it was given would give it to the next.
        let (keeps, goes_on) = (keeps && !given, keeps && given);
        let redactor = if given { self.masker.now() } else { redactor };
        if given {
            exec.redact_with(&redactor);
        }
        let with =
            With { seen: Seen { place, environment }, terminal, keeps, apart: Apart { held, ..apart } };
        match self.begin(*cleared, exec, with, &journal, &redactor).await {
            Begun::Refused(denial) => self.refuse(*denial, &journal, &redactor, finish).await,
            Begun::Unrecorded(denial, error) => {
                let report = finish(&redactor, denial.report(), 0);
                let error = Error::new(Code::Record, error).request(exec.request_id.clone());
                (report, (!waited).then_some(error))
            }
            Begun::Lost(error) => {
                let error = Error::new(Code::Record, error).request(exec.request_id.clone());
                (self.failed(exec, &error), (!waited).then_some(error))
            }
            Begun::Started { running, go, number, receipt, proxy } => {
                let due = Due {
                    report: finish(&redactor, running.lost("execward lost it", "").report(receipt), 0),
                    decision: number,
                    timeout,
                    grace,
                    keeps,
                    given,
                    redactor: redactor.clone(),
                    recorded: false,
                };
                if exec.outlives() {
                    exec.going(due.note(secrets));
                }
                let outlived = match Passing::begin(passed, exec, &self.tasks) {
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
                        Outlived::lost(format!("cannot relay the command's descriptors: {error}"))
                    }
                };
                // The ends of its connections are recorded before its own.
                if let Some(proxy) = proxy {
                    proxy.end().await;
                }
                let mut report = self.conclude(exec, due, outlived, &journal, peer).await;
                report.notes.extend(goes_on.then(|| NOT_KEPT.to_owned()));
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
        With { seen, terminal, keeps, apart }: With,
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
            if keeps { prepared.spawn_persisting(exec.number) } else { prepared.spawn(exec.number) };
        spawn.terminal = terminal;
        if exec.bound_to.is_none() {
            // One in the background may well be silent.
            spawn.idle_ms = None;
        }
        let Apart { held, secrets, private, .. } = apart;
        spawn.apart = Apart { held, secrets, private, ..spawn.apart };
        pipeline::find_proxy(&mut spawn);
        let receipt = self.receipt_of(&spawn.apart);
        let proxy = spawn.apart.is_proxied().then(|| self.proxy_of(exec, &prepared, journal, redactor));
        let mut frames = vec![ToRunner::Prepare(Box::new(spawn))];
        if exec.stdin == rpc::Stdin::None {
            frames.push(ToRunner::StdinEnd { id: exec.number });
        }
        self.orders.send_all(&frames);
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
            Ok((running, go)) => Begun::Started { running: Box::new(running), go, number, receipt, proxy },
            // The log's own fault: it vouched for another request. The prepared command is gone with the ticket.
            Err(error) => {
                self.give_up(exec);
                Begun::Lost(error.to_string())
            }
        }
    }

    /// What the policy gives a cleared command that others of the session are not to have.
    async fn given(&self, cleared: &Cleared) -> Result<Apart, NotGiven> {
        let (request, grants) = (cleared.request(), &cleared.judgement().secrets);
        if grants.is_empty() {
            return Ok(Apart::default());
        }
        untouched(&request.facts.environment, &self.environment.vars)?;
        let secrets = self.common.vault.give(grants, &request.command, &request.facts)?;
        Ok(Apart { secrets, private: Some(pipeline::private(&self.spec)), ..Apart::default() })
    }

    /// What confines a command: what confines the session's, and what sets it apart.
    fn receipt_of(&self, apart: &Apart) -> Receipt {
        let mut receipt = self.receipt.clone();
        receipt.layers.extend(apart.layer());
        receipt
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
        finish: impl FnOnce(&Redactor, Report, u64) -> rpc::Report,
    ) -> (rpc::Report, Option<Error>) {
        let code = match denial.reason() {
            DenialReason::Gate => Code::Refused,
            DenialReason::Malformed(_) => Code::BadParameters,
            DenialReason::Secret(_) => Code::Environment,
            DenialReason::Failed(_) | DenialReason::Changed(_) => Code::Internal,
            _ => Code::NotApproved,
        };
        let reason = denial.reason().to_string();
        let recorded = journal.denied(&denial, redactor).await;
        let mut report = finish(redactor, denial.report(), 0);
        let (reason, _) = redactor.text(&reason);
        let error =
            Error::new(code, reason).findings(report.findings.clone()).request(report.request_id.clone());
        if let Err(error) = recorded {
            report.notes.push(format!("this refusal could not be recorded: {error}"));
        }
        (report, Some(error))
    }
}

/// Said where a shell would have gone on.
const NOT_KEPT: &str = "the command was given a secret: what it exports, and where it was, is not kept for the session's next one";

/// What a command is started with, beside what it asked for.
struct With {
    seen: Seen,
    terminal: Option<Window>,
    /// Whether its shell is to say at its end in which state it was.
    keeps: bool,
    /// Files that show what was approved, and the secrets that it is given.
    apart: Apart,
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
        receipt: Receipt,
        proxy: Option<Proxied>,
    },
}
