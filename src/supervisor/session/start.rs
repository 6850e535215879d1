//! A command on its way through the pipeline, and its time in the sandbox.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::exec::{Exec, LATE, Named};
use super::look::look_as;
use super::open::stopping;
use super::passed::{Passed, Passing};
use super::{Common, KEPT, Peer, Session};
use crate::approval::{About, Answer};
use crate::gate::{Command, Facts};
use crate::prepare::environment::Environment;
use crate::prepare::{Directory, Withheld, directory};
use crate::redact::Redactor;
use crate::stage::{
    Cleared, Denial, DenialReason, Digest, Go, Malformed, Outcome, Pending, Place, RefusedBy, Report,
    Request, RequestId, Seen, Terms,
};
use crate::supervisor::journal::Journal;
use crate::supervisor::local::Local;
use crate::supervisor::pipeline::{self, Ask};
use crate::supervisor::policy_file::Source;
use crate::supervisor::relay::{Broken, Stopped, stopped_outcome};
use crate::wire::rpc::{self, Code, Error, StartExec, Started, State};
use crate::wire::runner::{Cause, Ended, FileId, ToRunner, Window};

/// The place and the environment of one command.
struct Ground {
    profile: crate::policy::Profile,
    cwd: String,
    cwd_id: FileId,
    /// Held until the command has been started.
    _cwd: Option<Directory>,
    environment: Environment,
    redactor: Redactor,
}

/// The reply to a start, which comes once.
type Reply = oneshot::Sender<Result<State, Error>>;

impl Session {
    /// Names a command. What it answers is to be waited for, and comes when the command has been judged. A name that
    /// is known is not started again.
    pub(in crate::supervisor) fn start(
        self: &Arc<Self>,
        peer: &Peer,
        connection: u64,
        asked: StartExec,
        fds: Vec<OwnedFd>,
    ) -> Result<impl Future<Output = Result<Started, Error>> + use<>, Error> {
        self.touch();
        let (exec, reply) = match self.name(peer, connection, &asked, fds)? {
            Ok((exec, feed, passed)) => {
                let (reply, judged) = oneshot::channel();
                let (session, live, peer) = (Arc::clone(self), Arc::clone(&exec), peer.clone());
                self.tasks.spawn(feed);
                self.tasks.spawn(async move { session.live(&live, asked, passed, &peer, reply).await });
                (exec, Some(judged))
            }
            Err(known) => (known, None),
        };
        let session = self.id.clone();
        Ok(async move {
            let again = reply.is_none();
            let state = match reply {
                Some(judged) => judged.await.map_err(|_| {
                    Error::new(Code::Internal, "the command was given up before it was judged")
                })??,
                None => match exec.refused() {
                    Some(error) => return Err(error),
                    None => exec.state(),
                },
            };
            Ok(Started { session, id: exec.id.clone(), request_id: exec.request_id.clone(), state, again })
        })
    }

    /// Puts a command into the session, or finds the one that has its name.
    #[allow(clippy::type_complexity, reason = "a new one with its task, or a known one")]
    fn name(
        &self,
        peer: &Peer,
        connection: u64,
        asked: &StartExec,
        fds: Vec<OwnedFd>,
    ) -> Result<Result<(Arc<Exec>, impl Future<Output = ()> + use<>, Option<Passed>), Arc<Exec>>, Error> {
        let digest = serde_json::to_vec(&StartExec { session: None, ..asked.clone() });
        let digest = Digest::of(&digest.unwrap_or_default());
        let mut state = self.state();
        if let Some(known) = state.execs.get(&asked.id) {
            return if known.asked == digest {
                Ok(Err(Arc::clone(known)))
            } else {
                Err(Error::new(
                    Code::IdInUse,
                    "this id belongs to a command that was started with other parameters",
                )
                .hint("choose another id for another command"))
            };
        }
        let passed = Passed::take(asked, fds, (peer.uid, peer.gid), &self.account)?;
        if self.common.stopping.is_cancelled() {
            return Err(stopping());
        }
        if self.end.is_cancelled() {
            return Err(Error::unknown_session());
        }
        let running = state.execs.values().filter(|exec| exec.state() != State::Ended).count();
        if running >= self.common.accounts.quota().commands {
            return Err(Error::new(Code::Limit, "the session has as many commands under way as it may have")
                .hint("wait for one to end, or end one with exec/kill"));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Code::Internal, format!("no random numbers: {error}")))?;
        self.evict(&mut state);
        state.started += 1;
        let (exec, feed) = Exec::new(
            asked,
            Named {
                request_id: rpc::RequestId::from_random(id),
                number: state.started,
                display: shortened(self.redactor.text(&asked.command.display()).0),
                bound_to: (!asked.background).then_some(connection),
                redact: [self.redactor.stream(), self.redactor.stream()],
                digest,
            },
            self.orders.clone(),
            Arc::clone(&self.account.share),
        );
        state.execs.insert(exec.id.clone(), Arc::clone(&exec));
        state.order.push(exec.id.clone());
        self.used.send_modify(|used| used.running += 1);
        Ok(Ok((exec, feed, passed)))
    }

    /// Lets go of what has ended, the oldest first, where there is too much of it.
    fn evict(&self, state: &mut super::Running) {
        let scarce = self.account.share.is_used_up();
        while state.order.len() >= KEPT || scarce {
            let ended =
                |id: &rpc::ExecId| state.execs.get(id).is_some_and(|exec| exec.state() == State::Ended);
            let Some(oldest) = state.order.iter().position(ended) else { return };
            let id = state.order.remove(oldest);
            if let Some(exec) = state.execs.remove(&id) {
                exec.forget();
            }
        }
    }

    /// A command's life.
    async fn live(
        self: Arc<Self>,
        exec: &Arc<Exec>,
        asked: StartExec,
        passed: Option<Passed>,
        peer: &Peer,
        reply: Reply,
    ) {
        let mut reply = Some(reply);
        let (report, refused) = self.run(exec, asked, passed, peer, &mut reply).await;
        exec.over(report, refused.clone());
        self.used.send_modify(|used| used.running = used.running.saturating_sub(1));
        if let Some(reply) = reply {
            // It was refused at once, and the error says so; or it is over before it could be said that it runs.
            let _ = reply.send(refused.map_or(Ok(State::Ended), Err));
        }
    }

    async fn run(
        &self,
        exec: &Arc<Exec>,
        asked: StartExec,
        passed: Option<Passed>,
        peer: &Peer,
        reply: &mut Option<Reply>,
    ) -> (rpc::Report, Option<Error>) {
        let policy = self.common.policy();
        let id = RequestId::from_wire(&exec.request_id);
        let journal = Journal::new(
            self.common.scribe.clone(),
            id.clone(),
            self.principal().clone(),
            peer.pid,
            "operator",
        )
        .in_session(&self.id);
        let ground = match self.ground(exec, &asked, peer, &policy).await {
            Ok(ground) => ground,
            Err(error) => {
                // It never reached the gate: what would be judged is not known.
                let report = self.failed(exec, &error);
                return (report, Some(error.request(exec.request_id.clone())));
            }
        };
        let terminal = asked.pty.map(rpc::Size::window);
        let Ground { profile, cwd, cwd_id, environment: Environment { vars, withheld, .. }, redactor, _cwd } =
            ground;
        let mut facts = self.local.facts(Path::new(&cwd));
        facts.home = self.spec.identity.home.to_string_lossy().into_owned();
        facts.user.clone_from(&self.spec.identity.name);
        facts.workspaces = vec![self.workspace_path.clone()];
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
        let request = Request {
            id,
            principal: self.principal().clone(),
            command: asked.command,
            facts,
            place,
            terms: Terms { timeout: Some(timeout), grace, profile },
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
        let waited = matches!(cleared.agreed(), crate::stage::Agreed::Once { .. });
        match self.begin(*cleared, exec, Seen { place, environment }, terminal, &journal, &redactor).await {
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
                let Outlived { ended, masked, cancelled, stopped } =
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
        terminal: Option<Window>,
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
        let mut spawn = prepared.spawn(exec.number);
        spawn.terminal = terminal;
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

    /// Stays with a command until it has ended, and what it wrote has left by the descriptors that were passed.
    async fn outlive(
        &self,
        exec: &Arc<Exec>,
        timeout: Duration,
        grace: Duration,
        mut passing: Passing,
    ) -> Outlived {
        let id = exec.number;
        if exec.stdin == rpc::Stdin::None {
            self.orders.send(ToRunner::StdinEnd { id });
        }
        let kill = || {
            self.orders.send(ToRunner::Kill { id, cause: Cause::Cancelled });
            exec.unhold_for_good();
        };
        // The runner keeps the time limit; then, what waits for a reader need not any more.
        let mut over = Some(Instant::now() + timeout + grace);
        let mut late: Option<Instant> = None;
        let mut kill_at: Option<Instant> = None;
        let (mut cancelled, mut killed, mut broken) = (false, false, None);
        let at = |instant: Option<Instant>| sleep_until(instant.unwrap_or_else(Instant::now));
        let (ended, masked) = loop {
            tokio::select! {
                biased;
                ended = exec.ended() => break ended,
                () = exec.cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    kill_at.get_or_insert(Instant::now() + grace);
                    self.orders.send(ToRunner::Signal { id, signal: Signal::SIGTERM as i32 });
                }
                () = exec.kill.cancelled(), if !killed => {
                    (cancelled, killed, kill_at) = (true, true, None);
                    late.get_or_insert(Instant::now() + LATE);
                    kill();
                }
                Broken { stream, errno } = passing.broken() => {
                    broken.get_or_insert(Broken { stream, errno });
                    kill_at.get_or_insert(Instant::now() + grace);
                    let signal = if errno == Errno::EPIPE { Signal::SIGPIPE } else { Signal::SIGTERM };
                    self.orders.send(ToRunner::Signal { id, signal: signal as i32 });
                }
                () = at(kill_at), if kill_at.is_some() => {
                    (killed, kill_at) = (true, None);
                    late.get_or_insert(Instant::now() + LATE);
                    kill();
                }
                () = at(over), if over.is_some() => {
                    over = None;
                    late.get_or_insert(Instant::now() + LATE);
                    exec.unhold_for_good();
                }
                () = at(late), if late.is_some() => {
                    late = None;
                    // A runner that does not do this cannot be trusted with anything: the session ends with it, and this
                    // command hears of it there.
                    tracing::error!(session = %self.id, "the runner did not end a command in time");
                    self.end.cancel();
                }
            }
        };
        let given_up = async {
            tokio::select! {
                () = exec.cancel.cancelled() => {}
                () = exec.kill.cancelled() => {}
                () = self.end.cancelled() => {}
            }
        };
        let last = passing.written(given_up).await;
        let stopped = broken.or(last).map(|Broken { stream, errno }| Stopped::Output(stream, errno));
        Outlived { ended, masked, cancelled, stopped }
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

    /// Where a command starts and with which variables.
    async fn ground(
        &self,
        exec: &Exec,
        asked: &StartExec,
        peer: &Peer,
        policy: &Arc<Source>,
    ) -> Result<Ground, Error> {
        let StartExec { cwd, env, .. } = asked;
        let profile = pipeline::standing(&self.profile, policy).map_err(super::open::unusable)?;
        let workspace = self.workspace[0].directory();
        if cwd.is_none() && env.is_empty() {
            let Environment { vars, withheld, .. } = &self.environment;
            return Ok(Ground {
                profile,
                cwd: self.workspace_path.clone(),
                cwd_id: workspace.id,
                _cwd: None,
                environment: Environment {
                    vars: vars.clone(),
                    withheld: withheld.clone(),
                    secrets: Vec::new(),
                },
                redactor: self.redactor.clone(),
            });
        }
        let cwd = cwd.as_ref().map(|cwd| workspace.path.join(cwd.as_str()));
        let variables: Vec<(OsString, OsString)> =
            env.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        let named: Vec<String> = env.keys().map(|name| name.as_str().to_owned()).collect();
        let (roots, local, spec) = (Arc::clone(&self.workspace), Arc::clone(&self.local), self.spec.clone());
        let within = profile.clone();
        let look = move || -> Result<(Option<Directory>, PathBuf, Environment), Error> {
            let cwd = cwd
                .map(|cwd| directory::open(&cwd, roots.as_slice()))
                .transpose()
                .map_err(|error| Error::new(Code::Directory, format!("the working directory: {error}")))?;
            let path = cwd.as_ref().map_or_else(|| roots[0].directory().path.clone(), |cwd| cwd.path.clone());
            let environment = pipeline::environment(&local, &within, &spec, &path, &variables, &named)
                .map_err(|error| Error::new(Code::Environment, error.to_string()))?;
            Ok((cwd, path, environment))
        };
        let (cwd, path, mut environment) = look_as((peer.uid, peer.gid), &self.account.lookups, look)
            .await
            .map_err(|error| Error::new(Code::Directory, format!("the working directory: {error}")))??;
        let secrets = std::mem::take(&mut environment.secrets);
        let redactor = if secrets.is_empty() {
            self.redactor.clone()
        } else {
            Redactor::new(&crate::redact::Rules::builtin(), secrets)
        };
        exec.redact_with(&redactor);
        Ok(Ground {
            profile,
            cwd: path.to_string_lossy().into_owned(),
            cwd_id: cwd.as_ref().map_or(workspace.id, |cwd| cwd.id),
            _cwd: cwd,
            environment,
            redactor,
        })
    }

    fn report(&self, exec: &Exec, report: Report, masked: u64, withheld: &[Withheld]) -> rpc::Report {
        rpc::Report {
            outcome: outcome(report.outcome),
            request_id: exec.request_id.clone(),
            decision: report.decision,
            agreed: report.agreed.map(agreed),
            findings: report.findings,
            timing: report.timing.map(|timing| rpc::Timing {
                wall_us: timing.wall_us,
                cpu_us: timing.cpu_us,
                max_rss_kib: timing.max_rss_kib,
            }),
            receipt: report.receipt,
            aftermath: report.aftermath,
            separation: self.separation,
            masked,
            withheld: withheld.iter().map(wire_withheld).collect(),
            notes: Vec::new(),
        }
    }

    /// The report of a command that did not get as far as a verdict.
    fn failed(&self, exec: &Exec, error: &Error) -> rpc::Report {
        rpc::Report {
            outcome: rpc::Outcome::Failed { error: error.message.clone(), hint: error.data.hint.clone() },
            request_id: exec.request_id.clone(),
            decision: crate::gate::Decision::Deny,
            agreed: None,
            findings: Vec::new(),
            timing: None,
            receipt: None,
            aftermath: crate::wire::runner::Aftermath::default(),
            separation: self.separation,
            masked: 0,
            withheld: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What would be decided about a command here, with nothing run and nothing recorded.
    ///
    /// # Errors
    /// When it cannot be a command.
    pub(in crate::supervisor) fn check(&self, asked: &rpc::Check) -> Result<rpc::Checked, Error> {
        self.touch();
        let cwd = asked.cwd.as_ref().map_or(".", rpc::PathText::as_str);
        let mut facts = self.local.facts(&plain(&Path::new(&self.workspace_path).join(cwd)));
        facts.home = self.spec.identity.home.to_string_lossy().into_owned();
        facts.user.clone_from(&self.spec.identity.name);
        facts.workspaces = vec![self.workspace_path.clone()];
        facts.environment.clone_from(&self.environment.vars);
        facts.environment.insert("PWD".to_owned(), facts.cwd.clone());
        judge(&self.common.policy(), &asked.command, &facts)
    }
}

/// The same for a peer without a session: the directory is taken for the workspace, and nothing is opened.
pub(in crate::supervisor) fn check(
    common: &Common,
    peer: &Peer,
    asked: &rpc::Check,
) -> Result<rpc::Checked, Error> {
    let local = Local::peer(peer.uid, peer.gid, common.directories.clone())
        .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let policy = common.policy();
    let cwd = asked.cwd.as_ref().map_or_else(|| local.home.clone(), |cwd| plain(Path::new(cwd.as_str())));
    if !cwd.is_absolute() {
        return Err(Error::new(Code::Directory, "without a session, the directory of a check is absolute")
            .hint("give an absolute `cwd`, or open a session"));
    }
    let facts = local
        .facts_of(&cwd, &cwd, policy.base(), std::iter::empty())
        .map_err(|error| Error::new(Code::Environment, error.to_string()))?;
    judge(&policy, &asked.command, &facts)
}

fn judge(policy: &Source, command: &Command, facts: &Facts) -> Result<rpc::Checked, Error> {
    Malformed::check(command)
        .map_err(|error| Error::new(Code::BadParameters, error.to_string()).rule(error.rule()))?;
    let judgement = policy.judge(command, facts);
    Ok(rpc::Checked {
        decision: judgement.decision,
        findings: judgement.findings,
        policy: Digest::from(policy.digest()).to_hex(),
    })
}

/// A path without `.`; nothing else about it is known without a look.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// How a command's time came out.
struct Outlived {
    ended: Result<Ended, String>,
    /// Places masked in its output.
    masked: u64,
    /// Whether it was asked to end.
    cancelled: bool,
    /// What stopped it from outside, if anything did.
    stopped: Option<Stopped>,
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

/// A command for a list.
fn shortened(mut display: String) -> String {
    /// Bytes.
    const LONGEST: usize = 1024;
    if display.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|&at| display.is_char_boundary(at)).unwrap_or(0);
        display.truncate(cut);
        display.push('\u{2026}');
    }
    display
}

fn outcome(outcome: Outcome) -> rpc::Outcome {
    match outcome {
        Outcome::Exited { code } => rpc::Outcome::Exited { code },
        Outcome::Signaled { signal } => rpc::Outcome::Signaled { signal },
        Outcome::TimedOut => rpc::Outcome::TimedOut,
        Outcome::Cancelled { signal } => rpc::Outcome::Cancelled { signal },
        Outcome::Refused { refused_by, reason } => {
            rpc::Outcome::Refused { refused_by: wire_refused_by(refused_by), reason }
        }
        Outcome::NotExecutable { program, errno } => rpc::Outcome::NotExecutable { program, errno },
        Outcome::NotFound { program } => rpc::Outcome::NotFound { program },
        Outcome::Failed { error, hint } => rpc::Outcome::Failed { error, hint },
    }
}

fn wire_refused_by(refused_by: RefusedBy) -> rpc::RefusedBy {
    match refused_by {
        RefusedBy::Policy => rpc::RefusedBy::Policy,
        RefusedBy::Person => rpc::RefusedBy::Person,
        RefusedBy::Nobody => rpc::RefusedBy::Nobody,
        RefusedBy::Pipeline => rpc::RefusedBy::Pipeline,
    }
}

fn agreed(agreed: crate::stage::Agreed) -> rpc::Agreed {
    match agreed {
        crate::stage::Agreed::Policy => rpc::Agreed::Policy,
        crate::stage::Agreed::Once { approver } => rpc::Agreed::Once {
            approver: rpc::Principal { uid: approver.uid, gid: approver.gid, name: approver.name },
        },
    }
}

fn wire_withheld(withheld: &Withheld) -> rpc::Withheld {
    let why = serde_json::to_value(withheld.why).ok();
    let why = why.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    rpc::Withheld { name: withheld.name.clone(), why, entry: withheld.entry.clone() }
}
