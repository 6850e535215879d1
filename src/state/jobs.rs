//! Jobs: how far each has come, what became of its runs, and what is to be told of them.
//!
//! Each change that must not come apart is one transaction: a run comes to be with the cursor that makes it the only one, and
//! ends with everything that is to be told of it.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{StateError, Store};

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// Its schedule, as it is written.
    pub schedule: String,
    /// From where it counts, up to where everything is dealt with, and how often it has begun anew.
    pub cursor: (i64, i64, i64),
    /// Who has switched it off.
    pub disabled_by: Option<String>,
}

/// The clocks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockRow {
    /// Milliseconds since 1970.
    pub wall: i64,
    /// Milliseconds since the machine was started.
    pub since_boot: i64,
    /// Which start.
    pub boot: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its number; 0 for one that is to be added.
    pub id: i64,
    /// Its job.
    pub job: String,
    /// Its job's epoch.
    pub epoch: i64,
    /// When it was due; the first, where it stands for several.
    pub due: i64,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// When the last of those was due that it stands for.
    pub last_due: i64,
    /// For how many it stands.
    pub count: u64,
    /// `scheduled`, `running`, `ok`, `failed`, `timed-out`, `refused`, `missed` or `unknown`.
    pub state: String,
    /// It does not begin before.
    pub begin: i64,
    /// When it began.
    pub started: Option<i64>,
    /// When it ended.
    pub ended: Option<i64>,
    /// How it came out.
    pub reason: String,
    /// As the audit log names its command.
    pub request: Option<String>,
    /// Who had it run, where that was not its schedule.
    pub asked_by: Option<String>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its name.
    pub id: String,
    /// The run that it is about.
    pub run: Option<i64>,
    /// The job.
    pub job: String,
    /// `result`, `alarm`, `heartbeat`.
    pub kind: String,
    /// Where to, as JSON.
    pub target: String,
    /// What, as JSON.
    pub message: String,
    /// `pending`, `sent`, `failed` or `dead-letter`.
    pub state: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub next: i64,
    /// Why the last try failed.
    pub error: String,
    /// When it came to be.
    pub created: i64,
    /// When it was sent, or given up.
    pub settled: Option<i64>,
    /// Who has read it.
    pub read_by: Option<String>,
}

/// What a look at the clock is decided on.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The look before.
    pub clock: Option<ClockRow>,
    /// All jobs that were ever seen and are not gone.
    pub jobs: Vec<JobRow>,
    /// Runs that have not ended.
    pub open: Vec<RunRow>,
}

/// What a look at the clock changes.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    /// The clocks now.
    pub clock: Option<ClockRow>,
    /// By how much the clock was set: what is still to be told waits no longer where that was back.
    pub step: i64,
    /// Jobs, as far as they have come now.
    pub jobs: Vec<JobRow>,
    /// Jobs that are gone.
    pub gone: Vec<String>,
    /// New runs, with what is to be told of each: the rows get the run's number, which their messages do not have yet.
    pub runs: Vec<(RunRow, Vec<DeliveryRow>)>,
}

/// How a run ends.
#[derive(Debug, Clone, Default)]
pub struct RunEnd<'a> {
    /// Its state from now on.
    pub state: &'a str,
    /// When.
    pub at: i64,
    /// How it came out.
    pub reason: &'a str,
    /// As the audit log names its command.
    pub request: Option<&'a str>,
    /// What is to be told.
    pub tell: Vec<DeliveryRow>,
    /// The next try.
    pub again: Option<RunRow>,
}

const RUN: &str =
    "id, job, epoch, due, attempt, last_due, count, state, begin, started, ended, reason, request, asked_by";

const DELIVERY: &str =
    "id, run, job, kind, target, message, state, tries, next, error, created, settled, read_by";

/// What is over is kept for so long.
const KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

/// Runs of one job that are kept at most.
const KEPT_RUNS: i64 = 1000;

impl Store {
    /// Looks at the clock: what `decide` says of the past is changed, all of it or nothing. Its runs are not added twice; how
    /// many were.
    ///
    /// # Errors
    /// When it is not on disk.
    pub fn tick(&self, decide: impl FnOnce(&Past) -> Tick) -> Result<usize, StateError> {
        self.change(|all| {
            let past = Past {
                clock: clock(all)?,
                jobs: job_rows(all)?,
                open: run_rows(all, "state IN ('scheduled', 'running') ORDER BY id", &[])?,
            };
            let Tick { clock, step, jobs, gone, runs } = decide(&past);
            if let Some(ClockRow { wall, since_boot, boot }) = clock {
                all.execute(
                    "INSERT INTO clock (one, wall, since_boot, boot) VALUES (1, ?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET wall = ?1, since_boot = ?2, boot = ?3",
                    params![wall, since_boot, boot],
                )?;
            }
            // One that was set forward makes what waits due at once, which does no harm. To move it as well would have what was written
            // between the step and now wait for as long as that.
            if step < 0 {
                all.execute(
                    "UPDATE deliveries SET next = next + ?1 WHERE state IN ('pending', 'failed')",
                    [step],
                )?;
            }
            for JobRow { name, schedule, cursor, disabled_by } in jobs {
                all.execute(
                    "INSERT INTO jobs (name, schedule, anchor, upto, epoch, disabled_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO UPDATE SET schedule = ?2, anchor = ?3, upto = ?4, epoch = ?5",
                    params![name, schedule, cursor.0, cursor.1, cursor.2, disabled_by],
                )?;
            }
            for name in gone {
                all.execute("DELETE FROM jobs WHERE name = ?1", [name])?;
            }
            let mut added = 0;
            for (run, tell) in runs {
                if let Some(id) = add_run(all, &run)? {
                    added += 1;
                    prune(all, &run.job, run.begin)?;
                    add_deliveries(all, Some(id), &tell)?;
                }
            }
            Ok(added)
        })
    }

    /// Begins a run. `false` where it has begun before, or is over: then nobody may run it.
    ///
    /// # Errors
    /// When that is not on disk: then nobody may run it, either.
    pub fn begin_run(&self, id: i64, at: i64) -> Result<bool, StateError> {
        self.change(|all| {
            let begun = all.execute(
                "UPDATE runs SET state = 'running', started = ?2 WHERE id = ?1 AND state = 'scheduled'",
                params![id, at],
            )?;
            Ok(begun == 1)
        })
    }

    /// Ends a run, with all that is to be told. `false` where it has ended before.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn end_run(&self, id: i64, end: &RunEnd<'_>) -> Result<bool, StateError> {
        self.change(|all| {
            let ended = all.execute(
                "UPDATE runs SET state = ?2, ended = ?3, reason = ?4, request = ?5
                 WHERE id = ?1 AND state IN ('scheduled', 'running')",
                params![id, end.state, end.at, end.reason, end.request],
            )?;
            if ended == 1 {
                add_deliveries(all, Some(id), &end.tell)?;
                if let Some(again) = &end.again {
                    add_run(all, again)?;
                }
            }
            Ok(ended == 1)
        })
    }

    /// Adds a run that somebody asks for; its number.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn ask_for_run(&self, run: &RunRow) -> Result<Option<i64>, StateError> {
        self.change(|all| add_run(all, run))
    }

    /// Runs that have not ended, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_runs(&self) -> Result<Vec<RunRow>, StateError> {
        self.look(|all| run_rows(all, "state IN ('scheduled', 'running') ORDER BY id", &[]))
    }

    /// The last runs, newest first: of one job, or of all.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn runs(&self, job: Option<&str>, most: u32) -> Result<Vec<RunRow>, StateError> {
        self.look(|all| run_rows(all, "(?1 IS NULL OR job = ?1) ORDER BY id DESC LIMIT ?2", &[&job, &most]))
    }

    /// All jobs, as far as they have come.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn jobs(&self) -> Result<Vec<JobRow>, StateError> {
        self.look(job_rows)
    }

    /// The clocks when they were looked at last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn last_tick(&self) -> Result<Option<ClockRow>, StateError> {
        self.look(clock)
    }

    /// Switches a job off or on. Whether there is such a job.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn switch_job(&self, name: &str, disabled_by: Option<&str>) -> Result<bool, StateError> {
        self.change(|all| {
            let changed =
                all.execute("UPDATE jobs SET disabled_by = ?2 WHERE name = ?1", params![name, disabled_by])?;
            Ok(changed == 1)
        })
    }

    /// Deliveries that are to be tried at this moment, oldest first, and when the next of the others is.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn deliveries_due(&self, now: i64, most: u32) -> Result<(Vec<DeliveryRow>, Option<i64>), StateError> {
        self.look(|all| {
            let open = "state IN ('pending', 'failed')";
            let due = delivery_rows(
                all,
                &format!("{open} AND next <= ?1 ORDER BY next, id LIMIT ?2"),
                &[&now, &most],
            )?;
            let sql = format!("SELECT min(next) FROM deliveries WHERE {open} AND next > ?1");
            Ok((due, all.query_row(&sql, [now], |row| row.get(0))?))
        })
    }

    /// Says how a try came out: sent, to be tried again, or given up, with what is to be told of that.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn tried(&self, tried: &DeliveryRow, alarm: &[DeliveryRow]) -> Result<(), StateError> {
        self.change(|all| {
            let DeliveryRow { id, state, tries, next, error, settled, .. } = tried;
            let changed = all.execute(
                "UPDATE deliveries SET state = ?2, tries = ?3, next = ?4, error = ?5, settled = ?6
                 WHERE id = ?1 AND state IN ('pending', 'failed')",
                params![id, state, tries, next, error, settled],
            )?;
            if changed == 1 {
                add_deliveries(all, tried.run, alarm)?;
            }
            Ok(())
        })
    }

    /// Deliveries of one run, or of all that nobody has read: dead letters, or the operators' own list.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn letters(&self, which: Letters) -> Result<Vec<DeliveryRow>, StateError> {
        self.look(|all| match which {
            Letters::OfRun(run) => delivery_rows(all, "run = ?1 ORDER BY created, id", &[&run]),
            Letters::Dead => delivery_rows(
                all,
                "state = 'dead-letter' AND read_by IS NULL ORDER BY created, id LIMIT 1000",
                &[],
            ),
            Letters::Queue => delivery_rows(
                all,
                "state = 'sent' AND target = '\"queue\"' AND read_by IS NULL ORDER BY created, id LIMIT 1000",
                &[],
            ),
        })
    }

    /// Marks a letter as read. Whether there was one.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn read_letter(&self, id: &str, by: &str) -> Result<bool, StateError> {
        self.change(|all| {
            let changed = all.execute(
                "UPDATE deliveries SET read_by = ?2
                 WHERE id = ?1 AND read_by IS NULL AND state IN ('sent', 'dead-letter')",
                params![id, by],
            )?;
            Ok(changed == 1)
        })
    }

    /// Has a dead letter tried again, from the beginning. Whether there was one.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn revive_letter(&self, id: &str, now: i64) -> Result<bool, StateError> {
        self.change(|all| {
            let changed = all.execute(
                "UPDATE deliveries SET state = 'pending', tries = 0, next = ?2, settled = NULL, read_by = NULL
                 WHERE id = ?1 AND state = 'dead-letter'",
                params![id, now],
            )?;
            Ok(changed == 1)
        })
    }
}

/// Which deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// All of one run.
    OfRun(i64),
    /// Those that were given up and that nobody has read.
    Dead,
    /// Those to the operators' own list that nobody has read.
    Queue,
}

/// Adds a run, unless it is there; its number.
fn add_run(all: &Transaction<'_>, run: &RunRow) -> rusqlite::Result<Option<i64>> {
    let added = all.execute(
        "INSERT INTO runs (job, epoch, due, attempt, last_due, count, state, begin, ended, reason, asked_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
        params![
            run.job,
            run.epoch,
            run.due,
            run.attempt,
            run.last_due,
            i64::try_from(run.count).unwrap_or(i64::MAX),
            run.state,
            run.begin,
            run.ended,
            run.reason,
            run.asked_by
        ],
    )?;
    Ok((added == 1).then(|| all.last_insert_rowid()))
}

fn add_deliveries(all: &Transaction<'_>, run: Option<i64>, tell: &[DeliveryRow]) -> rusqlite::Result<()> {
    for one in tell {
        all.execute(
            "INSERT INTO deliveries (id, run, job, kind, target, message, state, next, created, settled)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
            params![
                one.id,
                one.run.or(run),
                one.job,
                one.kind,
                one.target,
                one.message,
                one.state,
                one.next,
                one.created,
                one.settled
            ],
        )?;
    }
    Ok(())
}

/// Lets go of what is old. What is open, and letters that nobody has read, stay.
fn prune(all: &Transaction<'_>, job: &str, now: i64) -> rusqlite::Result<()> {
    all.execute(
        "DELETE FROM runs WHERE job = ?1 AND state NOT IN ('scheduled', 'running') AND (due < ?2 OR id <=
           (SELECT id FROM runs WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3))",
        params![job, now - KEPT_MS, KEPT_RUNS],
    )?;
    all.execute(
        "DELETE FROM deliveries WHERE job = ?1 AND settled IS NOT NULL
         AND run IS NOT NULL AND run NOT IN (SELECT id FROM runs)
         AND (read_by IS NOT NULL OR (state = 'sent' AND target <> '\"queue\"'))",
        [job],
    )
    .map(drop)
}

fn clock(all: &Connection) -> rusqlite::Result<Option<ClockRow>> {
    all.query_row("SELECT wall, since_boot, boot FROM clock", [], |row| {
        Ok(ClockRow { wall: row.get(0)?, since_boot: row.get(1)?, boot: row.get(2)? })
    })
    .optional()
}

fn job_rows(all: &Connection) -> rusqlite::Result<Vec<JobRow>> {
    all.prepare("SELECT name, schedule, anchor, upto, epoch, disabled_by FROM jobs ORDER BY name")?
        .query_map([], |row| {
            Ok(JobRow {
                name: row.get(0)?,
                schedule: row.get(1)?,
                cursor: (row.get(2)?, row.get(3)?, row.get(4)?),
                disabled_by: row.get(5)?,
            })
        })?
        .collect()
}

fn run_rows(all: &Connection, which: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<RunRow>> {
    all.prepare(&format!("SELECT {RUN} FROM runs WHERE {which}"))?.query_map(values, read_run)?.collect()
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: row.get(0)?,
        job: row.get(1)?,
        epoch: row.get(2)?,
        due: row.get(3)?,
        attempt: row.get(4)?,
        last_due: row.get(5)?,
        count: row.get::<_, i64>(6).map(|count| count.try_into().unwrap_or(0))?,
        state: row.get(7)?,
        begin: row.get(8)?,
        started: row.get(9)?,
        ended: row.get(10)?,
        reason: row.get(11)?,
        request: row.get(12)?,
        asked_by: row.get(13)?,
    })
}

fn delivery_rows(
    all: &Connection,
    which: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<DeliveryRow>> {
    all.prepare(&format!("SELECT {DELIVERY} FROM deliveries WHERE {which}"))?
        .query_map(values, |row| {
            Ok(DeliveryRow {
                id: row.get(0)?,
                run: row.get(1)?,
                job: row.get(2)?,
                kind: row.get(3)?,
                target: row.get(4)?,
                message: row.get(5)?,
                state: row.get(6)?,
                tries: row.get(7)?,
                next: row.get(8)?,
                error: row.get(9)?,
                created: row.get(10)?,
                settled: row.get(11)?,
                read_by: row.get(12)?,
            })
        })?
        .collect()
}
