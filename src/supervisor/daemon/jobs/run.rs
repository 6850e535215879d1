//! One run of a job: a session of its owner's, one command in it, and what is told of that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::House;
use super::super::answers::blocking;
use super::super::tell::said;
use super::files::Owned;
use super::plan::{self, Output};
use crate::jobs::{OUTPUT, Said};
use crate::stage::Principal;
use crate::state::{RunEnd, RunRow};
use crate::supervisor::session::{Beforehand, Exec, Peer, Session, Unattended};
use crate::wire::rpc::{
    self, Bounded, Code, Collected, Data, Error, ExecId, OpenSession, Outcome, Report, SessionLimits,
    StartExec,
};
use crate::wire::runner::Network;

/// How long is waited before something that could not be written is written again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// How a run came out.
#[derive(Debug, Default)]
struct Came {
    state: &'static str,
    reason: String,
    request: Option<String>,
    output: Output,
}

impl Came {
    fn failed(reason: impl Into<String>) -> Self {
        Self { state: "failed", reason: reason.into(), ..Self::default() }
    }
}

/// Runs a job that has its place, once: when the state says that it had not begun.
pub(super) async fn run(house: Arc<House>, owned: Owned, mut run: RunRow, cancel: CancellationToken) {
    let (store, id, now) = (Arc::clone(&house.common.store), run.id, now());
    match blocking(move || store.begin_run(id, now)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return,
        Ok(Err(error)) => return tracing::error!(job = run.job, %error, "a job could not begin"),
        Err(error) => return tracing::error!(job = run.job, %error, "a job could not begin"),
    }
    run.started = Some(now);
    tracing::info!(job = run.job, run = run.id, "a job begins");
    let came = work(&house, &owned, &cancel).await;
    let ended = self::now();
    run.ended = Some(ended);
    run.state = came.state.to_owned();
    run.reason = came.reason;
    run.request = came.request;
    house.common.scribe.pulse().job_ended(came.state);
    tracing::info!(job = run.job, run = run.id, state = run.state, reason = run.reason, "a job ended");
    let again =
        matches!(came.state, "failed" | "timed-out").then(|| owned.job.retry.after(run.attempt)).flatten();
    let again = again.map(|wait| RunRow {
        id: 0,
        attempt: run.attempt + 1,
        state: "scheduled".to_owned(),
        begin: ended + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        started: None,
        ended: None,
        reason: String::new(),
        request: None,
        ..run.clone()
    });
    let tell = match again {
        Some(_) => Vec::new(),
        None => plan::results(&owned, &run, came.output, ended, &house.jobs.facts, &mut super::fresh),
    };
    over(&house, &run, tell, again).await;
}

/// Keeps how a run ended. What cannot be written now is written later: the run is not over before.
pub(super) async fn over(
    house: &Arc<House>,
    run: &RunRow,
    tell: Vec<crate::state::DeliveryRow>,
    again: Option<RunRow>,
) {
    loop {
        let (house_, run_, tell_, again_) = (Arc::clone(house), run.clone(), tell.clone(), again.clone());
        let kept = blocking(move || {
            let end = RunEnd {
                state: &run_.state,
                at: run_.ended.unwrap_or_else(now),
                reason: &run_.reason,
                request: run_.request.as_deref(),
                tell: tell_,
                again: again_,
            };
            house_.common.store.end_run(run_.id, &end).map_err(|error| error.to_string())
        });
        let error = match kept.await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error,
            Err(error) => error.to_string(),
        };
        tracing::error!(
            job = run.job,
            run = run.id,
            error,
            "how a job ended could not be kept, and is kept back"
        );
        tokio::select! {
            () = tokio::time::sleep(WRITE_AGAIN) => {}
            // The next daemon says that it is not known.
            () = house.closing.cancelled() => return,
        }
    }
}

async fn work(house: &Arc<House>, owned: &Owned, cancel: &CancellationToken) -> Came {
    let (uid, job) = (owned.uid, &owned.job);
    let peer = Peer {
        uid,
        gid: owned.gid,
        pid: std::process::id().cast_signed(),
        root: Peer::own_root(),
        name: owned.user.clone(),
        account: house.common.accounts.of_jobs(uid),
        separation: if uid == 0 || uid == house.own { rpc::Separation::None } else { rpc::Separation::Uid },
        roles: Vec::new(),
        admitted: house.closing.child_token(),
    };
    let (open, start) = match asked(owned) {
        Ok(asked) => asked,
        Err(error) => return Came::failed(error),
    };
    let session = match Session::open(&house.common, &peer, open, false).await {
        Ok(session) => session,
        Err(error) => return Came::failed(said(error)),
    };
    let by = Principal {
        uid: house.own,
        gid: nix::unistd::getgid().as_raw(),
        name: house.principals.name(house.own),
    };
    let name = format!("job:{}", job.name);
    session.leave_alone(Unattended {
        why: "nobody is asked about a job; the policy must allow its command, or the job must grant the rule"
            .to_owned(),
        agreed: Some(Beforehand { name, rules: job.work.grant.clone(), by }),
    });
    let joined = session.join();
    house.keep(&session);
    let came = command(house, &session, &peer, &start, cancel).await;
    drop(joined);
    house.close(&session).await;
    came
}

async fn command(
    house: &Arc<House>,
    session: &Arc<Session>,
    peer: &Peer,
    start: &StartExec,
    cancel: &CancellationToken,
) -> Came {
    let started = match session.start(peer, 0, start, Vec::new()) {
        Ok(started) => started,
        Err(error) => return refused(session.unjudged(peer, None, start, error).await),
    };
    let Some(exec) = session.execs().pop() else { return Came::failed("it was not begun") };
    if let Err(error) = started.await {
        return refused(error);
    }
    let report = tokio::select! {
        report = exec.report() => report,
        () = cancel.cancelled() => {
            exec.cancel.cancel();
            exec.report().await
        }
    };
    let mut came = outcome(&report);
    if cancel.is_cancelled() && came.state != "ok" {
        came.reason = format!("ended for the next run of it: {}", came.reason);
    } else if house.common.stopping.is_cancelled() && came.state != "ok" {
        came.reason = format!("execward was stopped while it ran: {}", came.reason);
    }
    came.output = output(&exec);
    came
}

/// A start that was refused.
fn refused(error: Error) -> Came {
    let state = match error.code {
        Code::Refused | Code::NotApproved => "refused",
        _ => "failed",
    };
    let request = error.data.request_id.as_ref().map(ToString::to_string);
    let rule = error.data.rule.as_ref().map(|rule| format!("{rule}: ")).unwrap_or_default();
    Came { state, reason: format!("{rule}{}", said(error)), request, ..Came::default() }
}

fn outcome(report: &Report) -> Came {
    let (state, reason) = match &report.outcome {
        Outcome::Exited { code: 0 } => ("ok", String::new()),
        Outcome::Exited { code } => ("failed", format!("exit status {code}")),
        Outcome::Signaled { signal } => ("failed", format!("ended by signal {signal}")),
        Outcome::TimedOut => ("timed-out", "it took longer than it may".to_owned()),
        Outcome::Cancelled { signal } => ("failed", format!("cancelled, signal {signal}")),
        Outcome::Refused { reason, .. } => ("refused", reason.clone()),
        Outcome::NotExecutable { program, errno } => {
            ("failed", format!("{program} cannot be executed (errno {errno})"))
        }
        Outcome::NotFound { program } => ("failed", format!("there is no program {program}")),
        Outcome::Failed { error, .. } => ("failed", error.clone()),
    };
    let reached = report.reached.iter().map(|reached| reached.evidence.as_str());
    let reason: Vec<&str> =
        std::iter::once(reason.as_str()).chain(reached).filter(|part| !part.is_empty()).collect();
    Came { state, reason: reason.join("; "), request: Some(report.request_id.to_string()), ..Came::default() }
}

/// What it wrote, as far as it is kept: redacted.
fn output(exec: &Exec) -> Output {
    let waited = exec.waited();
    Output { stdout: waited.stdout.map(kept), stderr: waited.stderr.map(kept) }
}

fn kept(collected: Collected) -> Said {
    let text = |data: Data| String::from_utf8_lossy(&data.into_bytes().unwrap_or_default()).into_owned();
    Said {
        text: text(collected.data),
        left_out: collected.left_out,
        tail: collected.tail.map(text).unwrap_or_default(),
    }
}

/// The session and the command that a job asks for.
fn asked(owned: &Owned) -> Result<(OpenSession, StartExec), String> {
    let work = &owned.job.work;
    let words = |text: &str| rpc::Words::try_from(text.to_owned()).map_err(|error| error.to_string());
    let limits = SessionLimits {
        memory: work.memory.map(Bounded::clamped),
        processes: work.processes.map(Bounded::clamped),
        lifetime_ms: None,
    };
    let open = OpenSession {
        workspace: path(&work.workspace)?,
        profile: work.profile.as_deref().map(words).transpose()?,
        backend: work.backend,
        image: work.image.as_deref().map(words).transpose()?,
        launcher: None,
        network: work.offline.then_some(Network::None),
        limits: Some(limits),
        label: Some(words(&format!("job:{}", owned.job.name))?),
        linger_ms: Bounded::MIN,
    };
    let env: Result<BTreeMap<_, _>, String> = work
        .env
        .iter()
        .map(|(name, value)| {
            let wrong = |error: rpc::BadText| format!("the variable {name}: {error}");
            let value = rpc::VarValue::try_from(value.clone()).map_err(wrong)?;
            Ok((rpc::VarName::try_from(name.clone()).map_err(wrong)?, value))
        })
        .collect();
    let start = StartExec {
        session: None,
        id: ExecId::try_from("job".to_owned()).map_err(|error| error.to_string())?,
        command: work.command.clone(),
        cwd: work.cwd.as_deref().map(path).transpose()?,
        env: env?,
        timeout_ms: work
            .timeout
            .map(|time| Bounded::clamped(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))),
        background: false,
        persist: false,
        pty: None,
        stdin: rpc::Stdin::None,
        output: rpc::Output::Collect { head: Bounded::clamped(OUTPUT), tail: Bounded::clamped(OUTPUT) },
        fds: Vec::new(),
    };
    Ok((open, start))
}

fn path(path: &Path) -> Result<rpc::PathText, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    rpc::PathText::try_from(text.to_owned()).map_err(|error| format!("{text}: {error}"))
}

pub(super) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}
