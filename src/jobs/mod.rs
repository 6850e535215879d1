//! Scheduled commands: what an operator wrote, when it is due, and how its results are told.
//!
//! A job is a file that an operator wrote ([`Job::read`]). When it is due is a pure function of the clock ([`due`]); what has
//! become of its runs and deliveries is in the state. This module runs nothing and sends nothing: the daemon does.

mod due;
mod file;
mod message;
mod schedule;
mod target;

pub use due::{CatchUp, Cursor, Due, Reading, SET_BACK, Terms, due};
pub use file::{Grant, Heartbeat, Job, JobError, OnOverlap, Retry, To, Work, name};
pub use message::{Message, OUTPUT, Said, body};
pub use schedule::{COUNTED, Schedule, Span, zone};
pub use target::{Deliver, Hook, Place, Target, Template, When};

use std::time::Duration;

/// How long a delivery waits after it has failed so often, the first time being 1: half a minute, then twice as long each
/// time, up to an hour.
pub fn back_off(failures: u32) -> Duration {
    let doubled = 30_u64.saturating_mul(1 << failures.saturating_sub(1).min(20));
    Duration::from_secs(doubled.min(3600))
}

/// How often a delivery is tried before it is given up: with [`back_off`], for about six hours.
pub const TRIES: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_waits_longer_each_time_and_never_for_long() {
        assert_eq!([1, 2, 3, 8, 99].map(|n| back_off(n).as_secs()), [30, 60, 120, 3600, 3600]);
        let all: u64 = (1..TRIES).map(|n| back_off(n).as_secs()).sum();
        assert!((5 * 3600..7 * 3600).contains(&all), "{all}");
    }
}
