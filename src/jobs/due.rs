//! What is due now: a pure function of the clock's readings, of how far a job has come, and of its schedule.
//!
//! Whatever the clock does, each occurrence comes out once: as one to run, or as one that was missed. A job has come as far as
//! its cursor; what lies between that and now is dealt with in one step, in which the cursor moves. Steps of the clock:
//!
//! - What is due every so often follows the time that has really passed: it moves with the step.
//! - What is due at a time on the clock is not due again when that was set back by less than three hours, as with cron(8).
//!   A clock that was set back further was wrong before: times count from where it is now.
//! - A clock that was set forward has skipped what lies between, which is missed.

use std::time::Duration;

use super::schedule::{Schedule, Span};

/// How far a clock may be set back for its times not to count again: cron(8).
pub const SET_BACK: i64 = 3 * 3600 * 1000;

/// No clock that is set shows less: 2026-01-01. Before that nothing is due.
const NOT_SET: i64 = 1_767_225_600_000;

/// A change of the clock that is one: what is less comes of the two readings not being of the same moment, or of a
/// daemon that sets the clock (adjtimex(2)).
const STEP: i64 = 1000;

/// Two clocks, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The clock on the wall: milliseconds since 1970.
    pub wall: i64,
    /// The time since the machine was started, with what it slept: CLOCK_BOOTTIME, clock_gettime(2).
    pub since_boot: i64,
    /// Which start of the machine: /proc/sys/kernel/random/boot_id.
    pub boot: String,
}

impl Reading {
    /// By how much the clock on the wall was set since an earlier reading.
    pub fn step_since(&self, earlier: &Self) -> i64 {
        let walls = self.wall.saturating_sub(earlier.wall);
        let step = if self.boot == earlier.boot {
            walls.saturating_sub(self.since_boot.saturating_sub(earlier.since_boot))
        } else {
            // How long the machine was off is not known: only that time did not go back.
            walls.min(0)
        };
        if step.abs() < STEP { 0 } else { step }
    }

    /// Whether anybody has told the machine what time it is.
    pub fn is_set(&self) -> bool {
        self.wall >= NOT_SET
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// What is due every so often counts from here.
    pub anchor: i64,
    /// Everything up to here, this included, is dealt with.
    pub upto: i64,
    /// Goes up when times count anew, so that the same time is another occurrence.
    pub epoch: i64,
}

impl Cursor {
    /// Of a job that is new, or whose schedule is.
    pub fn new(now: i64, epoch: i64) -> Self {
        Self { anchor: now, upto: now, epoch }
    }
}

/// What becomes of what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// It is reported.
    #[default]
    Skip,
    /// It is reported, and the last of it is run, however late.
    Once,
}

/// On what terms something late still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// It runs when it is no later than this.
    pub late: Duration,
    /// What becomes of the rest.
    pub catch_up: CatchUp,
}

impl Terms {
    /// Whether what was due then may still be run.
    pub fn permit(&self, due: i64, now: i64) -> bool {
        self.catch_up == CatchUp::Once
            || u128::from(now.saturating_sub(due).unsigned_abs()) <= self.late.as_millis()
            || now < due
    }
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// One to run.
    Run {
        /// When it was due.
        due: i64,
    },
    /// Some that will not run.
    Missed {
        /// When the first was due.
        first: i64,
        /// When the last was.
        last: i64,
        /// How many.
        count: u64,
    },
}

/// What is due at this moment, oldest first, and how far the job has come then. `step` is what
/// [`Reading::step_since`] says of the reading before.
pub fn due(
    schedule: &Schedule,
    cursor: Cursor,
    step: i64,
    now: &Reading,
    terms: Terms,
) -> (Vec<Due>, Cursor) {
    let mut cursor = cursor;
    if !now.is_set() {
        return (Vec::new(), cursor);
    }
    let now = now.wall;
    match schedule {
        Schedule::Every(_) => {
            if step != 0 {
                cursor = Cursor {
                    anchor: cursor.anchor + step,
                    upto: cursor.upto + step,
                    epoch: cursor.epoch + 1,
                };
            }
            if cursor.upto > now {
                cursor = Cursor::new(now, cursor.epoch + 1);
            }
        }
        Schedule::Cron { .. } if cursor.upto - now >= SET_BACK => cursor = Cursor::new(now, cursor.epoch + 1),
        Schedule::Cron { .. } | Schedule::At(_) => {}
    }
    let Some(Span { first, before_last, last, count }) = schedule.between(cursor.anchor, cursor.upto, now)
    else {
        cursor.upto = cursor.upto.max(now);
        return (Vec::new(), cursor);
    };
    cursor.upto = cursor.upto.max(now);
    let mut found = Vec::new();
    if terms.permit(last, now) {
        if count > 1 {
            found.push(Due::Missed { first, last: before_last, count: count - 1 });
        }
        found.push(Due::Run { due: last });
    } else {
        found.push(Due::Missed { first, last, count });
    }
    (found, cursor)
}

#[cfg(test)]
mod tests;
