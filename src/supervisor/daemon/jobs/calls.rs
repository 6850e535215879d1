//! What operators ask about jobs.

use std::sync::Arc;

use serde_json::json;

use super::super::House;
use super::super::answers::blocking;
use super::files::Owned;
use super::{fresh, outbox, plan, reading, run};
use crate::gate::Decision;
use crate::jobs::{Message, Target};
use crate::state::{DeliveryRow, JobRow, Letters, RunRow, StateError};
use crate::supervisor::session::{self, Peer};
use crate::wire::rpc::{
    AskedRun, Check, Code, Done, Error, Job, JobHistory, JobLetters, JobRun, JobRuns, Jobs, Letter,
    ListLetters, OfJob, PathText, SettleLetter, ShownJob, SwitchJob, TestedJob, TestedTarget, WhichLetters,
};

/// How long after it was due, and may be late, a job is overdue.
const OVERDUE_MS: i64 = 120_000;

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: StateError) -> Error {
    Error::new(Code::Internal, error.to_string())
}

fn unknown() -> Error {
    Error::new(Code::UnknownJob, "there is no such job")
        .hint("`execward jobs list` shows them; a new file counts after `execward policy reload` or SIGHUP")
}

/// All jobs.
pub(in crate::supervisor) async fn list(house: Arc<House>) -> Result<Jobs, Error> {
    blocking(move || {
        let store = &house.common.store;
        let (rows, now) = (store.jobs().map_err(failed)?, run::now());
        let jobs = house.jobs.all();
        let jobs: Result<Vec<Job>, Error> =
            jobs.iter().map(|owned| listed(&house, owned, &rows, now).map_err(failed)).collect();
        let count = |which| store.letters(which).map(|letters| letters.len() as u64).map_err(failed);
        Ok(Jobs {
            jobs: jobs?,
            dead_letters: count(Letters::Dead)?,
            unread: count(Letters::Queue)?,
            looked: store.last_tick().map_err(failed)?.map(|clock| plan::time(clock.wall)),
        })
    })
    .await?
}

fn listed(house: &House, owned: &Owned, rows: &[JobRow], now: i64) -> Result<Job, StateError> {
    let job = &owned.job;
    let row = rows.iter().find(|row| row.name == job.name);
    let disabled_by = row.and_then(|row| row.disabled_by.clone());
    let enabled = job.enabled && disabled_by.is_none();
    let next = row.filter(|_| enabled).and_then(|row| {
        let cursor = plan::cursor(row);
        job.schedule.next(cursor.anchor, cursor.upto)
    });
    let late = i64::try_from(job.terms.late.as_millis()).unwrap_or(i64::MAX / 2);
    Ok(Job {
        name: job.name.clone(),
        description: job.description.clone(),
        user: owned.user.clone(),
        schedule: job.written.clone(),
        enabled,
        disabled_by,
        next: next.map(plan::time),
        overdue: next.is_some_and(|next| next.saturating_add(late).saturating_add(OVERDUE_MS) < now),
        last: house.common.store.runs(Some(&job.name), 1)?.pop().map(shown),
    })
}

fn shown(run: RunRow) -> JobRun {
    JobRun {
        run: run.id,
        job: run.job,
        due: plan::time(run.due),
        until: (run.count > 1).then(|| plan::time(run.last_due)),
        count: run.count,
        attempt: run.attempt,
        state: run.state,
        started: run.started.map(plan::time),
        ended: run.ended.map(plan::time),
        reason: run.reason,
        request_id: run.request,
        asked_by: run.asked_by,
    }
}

fn letter(row: DeliveryRow) -> Letter {
    let target: Option<Target> = serde_json::from_str(&row.target).ok();
    let message: Option<Message> = serde_json::from_str(&row.message).ok();
    Letter {
        delivery: row.id,
        job: row.job,
        run: row.run,
        kind: row.kind,
        target: target.map(|target| target.shown()).unwrap_or_default(),
        state: row.state,
        tries: row.tries,
        error: row.error,
        created: plan::time(row.created),
        headline: message.as_ref().map(Message::headline).unwrap_or_default(),
        output: message.as_ref().map(|message| message.output().to_owned()).unwrap_or_default(),
    }
}

/// One job, and what became of its last run's deliveries.
pub(in crate::supervisor) async fn show(house: Arc<House>, of: OfJob) -> Result<ShownJob, Error> {
    blocking(move || {
        let owned = house.jobs.named(of.job.as_str()).ok_or_else(unknown)?;
        let store = &house.common.store;
        let job = listed(&house, &owned, &store.jobs().map_err(failed)?, run::now()).map_err(failed)?;
        let letters = match &job.last {
            Some(last) => store.letters(Letters::OfRun(last.run)).map_err(failed)?,
            None => Vec::new(),
        };
        let heartbeat = owned
            .job
            .heartbeat
            .as_ref()
            .map(|heartbeat| format!("heartbeat by {}", Target::Webhook(heartbeat.hook.clone()).shown()));
        Ok(ShownJob {
            job,
            command: owned.job.work.command.clone(),
            workspace: owned.job.work.workspace.display().to_string(),
            grant: owned.job.work.grant.clone(),
            targets: owned.job.deliver.iter().map(|to| to.target.shown()).chain(heartbeat).collect(),
            letters: letters.into_iter().map(letter).collect(),
        })
    })
    .await?
}

/// The last runs.
pub(in crate::supervisor) async fn history(house: Arc<House>, asked: JobHistory) -> Result<JobRuns, Error> {
    blocking(move || {
        let most = u32::try_from(asked.most.get()).unwrap_or(u32::MAX);
        let job = asked.job.as_ref().map(crate::wire::rpc::Words::as_str);
        let runs = house.common.store.runs(job, most).map_err(failed)?;
        Ok(JobRuns { runs: runs.into_iter().map(shown).collect() })
    })
    .await?
}

/// Has a job run now.
pub(in crate::supervisor) async fn run_now(
    house: Arc<House>,
    peer: Peer,
    of: OfJob,
) -> Result<AskedRun, Error> {
    let owned = house.jobs.named(of.job.as_str()).ok_or_else(unknown)?;
    house.record(&peer, "job-run", json!({ "job": owned.job.name })).await?;
    let (asking, job, by) = (Arc::clone(&house), owned.job.name.clone(), peer.name.clone());
    let run = blocking(move || {
        let now = reading().map_err(|error| Error::new(Code::Internal, error))?.wall;
        let run = RunRow {
            id: 0,
            job,
            // Of no epoch of its schedule: it takes no occurrence's place.
            epoch: -1,
            due: now,
            attempt: 1,
            last_due: now,
            count: 1,
            state: "scheduled".to_owned(),
            begin: now,
            started: None,
            ended: None,
            reason: String::new(),
            request: None,
            asked_by: Some(by),
        };
        asking.common.store.ask_for_run(&run).map_err(failed)
    })
    .await??;
    house.jobs.wake.notify_one();
    run.map(|run| AskedRun { run })
        .ok_or_else(|| Error::new(Code::Busy, "it was asked for at this very moment"))
}

/// Switches a job on or off.
pub(in crate::supervisor) async fn switch(
    house: Arc<House>,
    peer: Peer,
    asked: SwitchJob,
) -> Result<Done, Error> {
    let owned = house.jobs.named(asked.job.as_str()).ok_or_else(unknown)?;
    let name = owned.job.name;
    if asked.on && !owned.job.enabled {
        return Err(Error::new(Code::BadParameters, "its file has `enabled = false`")
            .hint("change the file, then `execward policy reload`"));
    }
    let action = if asked.on { "job-enabled" } else { "job-disabled" };
    house.record(&peer, action, json!({ "job": name })).await?;
    let (switching, by) = (Arc::clone(&house), (!asked.on).then(|| peer.name.clone()));
    let known =
        blocking(move || switching.common.store.switch_job(&name, by.as_deref())).await?.map_err(failed)?;
    house.jobs.wake.notify_one();
    if known { Ok(Done {}) } else { Err(unknown()) }
}

/// Says what would become of a job, and tells each of its targets that this is a test.
pub(in crate::supervisor) async fn test(
    house: Arc<House>,
    peer: Peer,
    of: OfJob,
) -> Result<TestedJob, Error> {
    let owned = house.jobs.named(of.job.as_str()).ok_or_else(unknown)?;
    house.record(&peer, "job-test", json!({ "job": owned.job.name })).await?;
    let work = &owned.job.work;
    let cwd = work.cwd.as_ref().map_or_else(|| work.workspace.clone(), |cwd| work.workspace.join(cwd));
    let cwd = cwd.to_str().and_then(|cwd| PathText::try_from(cwd.to_owned()).ok());
    let check =
        Check { command: work.command.clone(), session: None, cwd, env: std::collections::BTreeMap::new() };
    let principal = Peer { uid: owned.uid, gid: owned.gid, name: owned.user.clone(), ..peer.clone() };
    let checked = session::check(&house.common, &principal, &check)?;
    let granted = |rule: &String| work.grant.contains(rule);
    let runs = match checked.decision {
        Decision::Allow => true,
        Decision::Ask => checked.findings.iter().all(|it| it.decision != Decision::Ask || granted(&it.rule)),
        _ => false,
    };
    let mut targets = Vec::new();
    // Not the heartbeat: to try it would say that the job has run.
    for target in owned.job.deliver.iter().map(|to| &to.target) {
        let message = Message {
            delivery: fresh(),
            kind: "test".to_owned(),
            job: owned.job.name.clone(),
            run: None,
            state: "ok".to_owned(),
            host: house.jobs.facts.host.clone(),
            user: owned.user.clone(),
            due: plan::time(run::now()),
            until: None,
            count: 1,
            attempt: 1,
            started: None,
            ended: None,
            reason: format!("a test by {}; nothing ran", peer.name),
            request_id: None,
            stdout: None,
            stderr: None,
        };
        let error = outbox::send(&house, target, &message).await.err();
        targets.push(TestedTarget { target: target.shown(), error });
    }
    Ok(TestedJob { decision: checked.decision, runs, findings: checked.findings, targets })
}

/// What nobody has read.
pub(in crate::supervisor) async fn letters(
    house: Arc<House>,
    asked: ListLetters,
) -> Result<JobLetters, Error> {
    blocking(move || {
        let which = match asked.which {
            WhichLetters::Dead => Letters::Dead,
            WhichLetters::Queue => Letters::Queue,
        };
        let letters = house.common.store.letters(which).map_err(failed)?;
        Ok(JobLetters { letters: letters.into_iter().map(letter).collect() })
    })
    .await?
}

/// Marks a letter as read, or has it tried again.
pub(in crate::supervisor) async fn settle(
    house: Arc<House>,
    peer: Peer,
    asked: SettleLetter,
) -> Result<Done, Error> {
    let action = if asked.again { "letter-again" } else { "letter-read" };
    house.record(&peer, action, json!({ "delivery": asked.delivery.as_str() })).await?;
    let (settling, by) = (Arc::clone(&house), peer.name.clone());
    let settled = blocking(move || {
        let (store, id) = (&settling.common.store, asked.delivery.as_str());
        if asked.again { store.revive_letter(id, run::now()) } else { store.read_letter(id, &by) }
    });
    let settled = settled.await?.map_err(failed)?;
    house.jobs.wake.notify_one();
    if settled {
        return Ok(Done {});
    }
    Err(Error::new(Code::UnknownJob, "there is no such letter, or it was read before")
        .hint("`execward jobs dead-letters` and `execward jobs inbox` show them"))
}
