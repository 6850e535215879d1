//! What a look at the clock changes: a pure function of the past, the jobs and the clocks.

use jiff::Timestamp;

use super::files::Owned;
use crate::jobs::{
    self, CatchUp, Cursor, Due, Message, OnOverlap, Reading, Said, Schedule, Target, Terms, When,
};
use crate::state::{ClockRow, DeliveryRow, JobRow, Past, RunRow, Tick};

/// What does not change while a daemon runs.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// This machine's name.
    pub(super) host: String,
    /// Who is told when somebody cannot be.
    pub(super) fallback: Target,
}

/// A name for a delivery.
pub(super) type Fresh<'a> = &'a mut dyn FnMut() -> String;

/// What a look at the clocks changes.
pub(super) fn tick(past: &Past, jobs: &[Owned], now: &Reading, facts: &Facts, fresh: Fresh<'_>) -> Tick {
    if !now.is_set() {
        return Tick::default();
    }
    let before = past.clock.as_ref().map(reading);
    let step = before.as_ref().map_or(0, |before| now.step_since(before));
    let mut tick = Tick {
        clock: Some(ClockRow { wall: now.wall, since_boot: now.since_boot, boot: now.boot.clone() }),
        step,
        gone: past
            .jobs
            .iter()
            .filter(|row| !jobs.iter().any(|owned| owned.job.name == row.name))
            .map(|row| row.name.clone())
            .collect(),
        ..Tick::default()
    };
    for owned in jobs {
        let job = &owned.job;
        let row = past.jobs.iter().find(|row| row.name == job.name);
        let disabled_by = row.and_then(|row| row.disabled_by.clone());
        let (cursor, known) = match row {
            Some(row) if row.schedule == job.written => (cursor(row), true),
            Some(row) => (Cursor::new(now.wall, row.cursor.2 + 1), false),
            // No time of one that had its name counts for this one.
            None => (Cursor::new(now.wall, now.wall), false),
        };
        let (found, cursor) = match &job.schedule {
            _ if !job.enabled || disabled_by.is_some() => {
                (Vec::new(), Cursor { upto: now.wall.max(cursor.upto), ..cursor })
            }
            // One that was past before anybody knew of it.
            Schedule::At(at) if !known && *at <= now.wall => {
                (vec![Due::Missed { first: *at, last: *at, count: 1 }], cursor)
            }
            schedule => jobs::due(schedule, cursor, step, now, job.terms),
        };
        for due in found {
            let run = run(owned, &due, cursor.epoch, now.wall, past);
            let run = match run {
                Ok(run) => run,
                Err((run, why)) => {
                    let reason = why.unwrap_or_else(|| why_missed(before.as_ref(), now, step, job.terms));
                    RunRow { state: "missed".to_owned(), ended: Some(now.wall), reason, ..run }
                }
            };
            let tell = if run.state == "missed" {
                results(owned, &run, Output::default(), now.wall, facts, fresh)
            } else {
                Vec::new()
            };
            tick.runs.push((run, tell));
        }
        tick.jobs.push(JobRow {
            name: job.name.clone(),
            schedule: job.written.clone(),
            cursor: (cursor.anchor, cursor.upto, cursor.epoch),
            disabled_by,
        });
    }
    tick
}

pub(super) fn cursor(row: &JobRow) -> Cursor {
    let (anchor, upto, epoch) = row.cursor;
    Cursor { anchor, upto, epoch }
}

fn reading(row: &ClockRow) -> Reading {
    Reading { wall: row.wall, since_boot: row.since_boot, boot: row.boot.clone() }
}

/// The run of an occurrence; an error where it is missed, with the reason where that is known.
#[allow(clippy::result_large_err, reason = "both are rows, and moved once")]
fn run(
    owned: &Owned,
    due: &Due,
    epoch: i64,
    now: i64,
    past: &Past,
) -> Result<RunRow, (RunRow, Option<String>)> {
    let job = &owned.job;
    let row = |due, last_due, count| RunRow {
        id: 0,
        job: job.name.clone(),
        epoch,
        due,
        attempt: 1,
        last_due,
        count,
        state: "scheduled".to_owned(),
        begin: now,
        started: None,
        ended: None,
        reason: String::new(),
        request: None,
        asked_by: None,
    };
    match due {
        Due::Missed { first, last, count } => Err((row(*first, *last, *count), None)),
        Due::Run { due } => {
            let row = row(*due, *due, 1);
            let open = |state: &str| {
                past.open.iter().find(|run| run.job == job.name && (state.is_empty() || run.state == state))
            };
            let in_the_way = match job.on_overlap {
                OnOverlap::Skip => open(""),
                // One waits at a time.
                OnOverlap::Wait | OnOverlap::Replace => open("scheduled"),
            };
            match in_the_way {
                None => Ok(row),
                Some(run) => {
                    let why = format!("the run due at {} had not ended", time(run.due));
                    Err((row, Some(why)))
                }
            }
        }
    }
}

/// Why something was not run when it was due, as far as the clocks tell.
fn why_missed(before: Option<&Reading>, now: &Reading, step: i64, terms: Terms) -> String {
    let Some(before) = before else { return "it was due before execward knew of it".to_owned() };
    let late = i64::try_from(terms.late.as_millis()).unwrap_or(i64::MAX).max(60_000);
    if step > 0 {
        format!("the clock was set forward by {} s", step / 1000)
    } else if before.boot != now.boot {
        "the machine was off, or execward was not running".to_owned()
    } else if now.since_boot - before.since_boot > late {
        "execward was not running, or the machine slept".to_owned()
    } else if terms.catch_up == CatchUp::Once {
        "a later run takes its place".to_owned()
    } else {
        "execward was late".to_owned()
    }
}

/// What a run wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    pub(super) stdout: Option<Said>,
    pub(super) stderr: Option<Said>,
}

/// What is to be told of a run that is over, to everybody who is to be told. It has its final state, reason and times.
pub(super) fn results(
    owned: &Owned,
    run: &RunRow,
    output: Output,
    now: i64,
    facts: &Facts,
    fresh: Fresh<'_>,
) -> Vec<DeliveryRow> {
    let job = &owned.job;
    let failed = run.state != "ok";
    let mut told = Vec::new();
    for to in &job.deliver {
        if to.when == When::Failure && !failed {
            continue;
        }
        let message = message(&job.name, &owned.user, run, "result", &output, facts, fresh);
        told.push(delivery(&to.target, message, now));
    }
    if let (Some(heartbeat), false) = (&job.heartbeat, failed) {
        let message = message(&job.name, &owned.user, run, "heartbeat", &Output::default(), facts, fresh);
        told.push(delivery(&Target::Webhook(heartbeat.hook.clone()), message, now));
    }
    told
}

/// What is to be told of a run whose job is gone.
pub(super) fn orphaned(run: &RunRow, now: i64, facts: &Facts, fresh: Fresh<'_>) -> Vec<DeliveryRow> {
    vec![delivery(
        &facts.fallback,
        message(&run.job, "", run, "result", &Output::default(), facts, fresh),
        now,
    )]
}

fn message(
    job: &str,
    user: &str,
    run: &RunRow,
    kind: &str,
    output: &Output,
    facts: &Facts,
    fresh: Fresh<'_>,
) -> Message {
    Message {
        delivery: fresh(),
        kind: kind.to_owned(),
        job: job.to_owned(),
        run: (run.id != 0).then_some(run.id),
        state: run.state.clone(),
        host: facts.host.clone(),
        user: user.to_owned(),
        due: time(run.due),
        until: (run.count > 1).then(|| time(run.last_due)),
        count: run.count,
        attempt: run.attempt,
        started: run.started.map(time),
        ended: run.ended.map(time),
        reason: run.reason.clone(),
        request_id: run.request.clone(),
        stdout: output.stdout.clone(),
        stderr: output.stderr.clone(),
    }
}

/// A delivery of a message. What goes to the operators' list is there when it is kept.
pub(super) fn delivery(target: &Target, message: Message, now: i64) -> DeliveryRow {
    let sent = *target == Target::Queue;
    DeliveryRow {
        id: message.delivery.clone(),
        run: message.run,
        job: message.job.clone(),
        kind: message.kind.clone(),
        target: serde_json::to_string(target).unwrap_or_default(),
        message: serde_json::to_string(&message).unwrap_or_default(),
        state: if sent { "sent" } else { "pending" }.to_owned(),
        tries: 0,
        next: now,
        error: String::new(),
        created: now,
        settled: sent.then_some(now),
        read_by: None,
    }
}

/// How a try came out, and what is told where it was the last.
pub(super) fn tried(
    delivery: &DeliveryRow,
    failed: Option<String>,
    now: i64,
    facts: &Facts,
    fresh: Fresh<'_>,
) -> (DeliveryRow, Vec<DeliveryRow>) {
    let tries = delivery.tries + 1;
    let Some(error) = failed else {
        let sent = DeliveryRow {
            state: "sent".to_owned(),
            tries,
            settled: Some(now),
            error: String::new(),
            ..delivery.clone()
        };
        return (sent, Vec::new());
    };
    if tries < jobs::TRIES {
        let wait = i64::try_from(jobs::back_off(tries).as_millis()).unwrap_or(i64::MAX);
        let next =
            DeliveryRow { state: "failed".to_owned(), tries, next: now + wait, error, ..delivery.clone() };
        return (next, Vec::new());
    }
    // An alarm that cannot be told is told where that cannot fail.
    let to = if delivery.kind == "alarm" { &Target::Queue } else { &facts.fallback };
    let target: Option<Target> = serde_json::from_str(&delivery.target).ok();
    let target = target.map_or_else(|| "an unknown target".to_owned(), |target| target.shown());
    let alarm = serde_json::from_str::<Message>(&delivery.message).ok().map(|about| Message {
        delivery: fresh(),
        kind: "alarm".to_owned(),
        reason: format!("this was not delivered to {target} in {tries} tries ({error}): {}", about.reason),
        ..about
    });
    let given_up =
        DeliveryRow { state: "dead-letter".to_owned(), tries, settled: Some(now), error, ..delivery.clone() };
    (given_up, alarm.map(|alarm| self::delivery(to, alarm, now)).into_iter().collect())
}

/// RFC 3339, UTC.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
