//! Steps of the clock, without setting the clock of this machine.
//!
//! A clock that was set forward differs from one that was not by how far behind it the past lies: by every reading of it that was kept.
//! So it is the past that is moved, all of it at once, below a daemon that runs: what the scheduler then reads is what it would read
//! had the clock been set the other way. What is not kept (timers, times in a record that is being made) is not moved, and nor is the
//! past in the log, which says what the clock said.

use rusqlite::{Connection, TransactionBehavior};

use super::super::*;

/// What a clock may be set by, in milliseconds: little, within what repeats nothing, and beyond it.
pub(super) const STEPS: [i64; 6] = [90_000, -90_000, 2 * HOUR, -2 * HOUR, -26 * HOUR, 26 * HOUR];

const HOUR: i64 = 3_600_000;

/// What nobody can overlook. Once: what is older than a season is forgotten.
pub(super) const MONTH: i64 = 30 * 24 * HOUR;

/// Sets the clock forward, or back.
pub(super) fn step(daemon: &Daemon, by: i64) {
    let mut past = Connection::open(daemon.path().join("state/state.db")).unwrap();
    past.busy_timeout(PATIENCE).unwrap();
    let moving = past.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    // By way of other numbers: no two rows may be the same meanwhile.
    moving
        .execute_batch(&format!(
            "UPDATE clock SET wall = wall - {by};
             UPDATE jobs SET anchor = anchor - {by}, upto = upto - {by};
             UPDATE runs SET due = -(due - {by}), last_due = last_due - {by}, begin = begin - {by},
                 started = started - {by}, ended = ended - {by};
             UPDATE runs SET due = -due;
             UPDATE deliveries SET next = next - {by}, created = created - {by}, settled = settled - {by};"
        ))
        .unwrap();
    moving.commit().unwrap();
}
