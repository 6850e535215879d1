//! When a job is due: a cron expression in a time zone, a time between runs, or one moment.
//!
//! Times are milliseconds since 1970 (UTC), so that nothing depends on where the machine is. A cron expression is read on the
//! clock on the wall of its zone. Where that skips an hour, what was set for a time in it is due at the first moment after;
//! where it repeats one, what is set for a fixed time is due once, and what is due every so often goes on through both.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where the rules of time zones are, where a machine has them.
const ZONEINFO: &str = "/usr/share/zoneinfo";

/// Occurrences of a cron expression that are counted one by one; beyond, there were "at least" so many.
pub const COUNTED: u64 = 10_000;

/// When a job is due.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// On the clock on the wall of a zone.
    Cron {
        /// The expression.
        cron: Box<Cron>,
        /// The zone.
        zone: TimeZone,
    },
    /// So long after the one before.
    Every(Duration),
    /// Once.
    At(i64),
}

/// Occurrences in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: i64,
    /// The one before the last; the first where there is one alone.
    pub before_last: i64,
    /// The last.
    pub last: i64,
    /// How many; no more than [`COUNTED`] are counted one by one.
    pub count: u64,
}

impl Schedule {
    /// A cron expression of five fields with names, or `@daily` and the like.
    ///
    /// # Errors
    /// A sentence: it is none, or it is never due.
    pub fn cron(text: &str, zone: TimeZone) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| format!("`{text}` is no cron expression: {error}"))?;
        let schedule = Self::Cron { cron: Box::new(cron), zone };
        let never = schedule.next(0, 0).is_none();
        if never { Err(format!("`{text}` is never due")) } else { Ok(schedule) }
    }

    /// A time between runs.
    ///
    /// # Errors
    /// A sentence: it is shorter than a second.
    pub fn every(time: Duration) -> Result<Self, String> {
        if time < Duration::from_secs(1) {
            return Err("a job runs no more often than once in a second".to_owned());
        }
        Ok(Self::Every(time))
    }

    /// One moment: RFC 3339, or a date and a time in the zone.
    ///
    /// # Errors
    /// A sentence: it is none.
    pub fn at(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no time: write it as `2026-12-24T18:00`, or with an offset (RFC 3339)");
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::At(at.as_millisecond()));
        }
        let civil: DateTime = text.parse().map_err(|_| wrong())?;
        let at = zone.to_ambiguous_zoned(civil).compatible().map_err(|_| wrong())?;
        Ok(Self::At(at.timestamp().as_millisecond()))
    }

    /// The first occurrence after a moment. What is due every so often counts from `anchor`.
    pub fn next(&self, anchor: i64, after: i64) -> Option<i64> {
        match self {
            Self::Cron { cron, zone } => {
                let after = Timestamp::from_millisecond(after).ok()?.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&after, false).ok()?;
                Some(next.timestamp().as_millisecond())
            }
            Self::Every(time) => {
                let time = millis(*time);
                let passed = after.saturating_sub(anchor).max(0) / time;
                anchor.checked_add(time.checked_mul(passed.checked_add(1)?)?)
            }
            Self::At(at) => (*at > after).then_some(*at),
        }
    }

    /// The last occurrence that is not after a moment.
    fn last(&self, anchor: i64, until: i64) -> Option<i64> {
        match self {
            Self::Cron { cron, zone } => {
                let until = Timestamp::from_millisecond(until).ok()?.to_zoned(zone.clone());
                let last = cron.find_previous_occurrence(&until, true).ok()?;
                Some(last.timestamp().as_millisecond())
            }
            Self::Every(time) => {
                let passed = until.checked_sub(anchor)? / millis(*time);
                (passed > 0).then(|| anchor + passed * millis(*time))
            }
            Self::At(at) => (*at <= until).then_some(*at),
        }
    }

    /// What is due after one moment and not after another.
    pub fn between(&self, anchor: i64, after: i64, until: i64) -> Option<Span> {
        let first = self.next(anchor, after).filter(|first| *first <= until)?;
        if let Self::Every(time) = self {
            let count = (until - first) / millis(*time) + 1;
            let last = first + (count - 1) * millis(*time);
            let before_last = if count > 1 { last - millis(*time) } else { first };
            return Some(Span { first, before_last, last, count: count.unsigned_abs() });
        }
        let mut span = Span { first, before_last: first, last: first, count: 1 };
        while let Some(next) = self.next(anchor, span.last).filter(|next| *next <= until) {
            span = Span { before_last: span.last, last: next, count: span.count + 1, ..span };
            if span.count >= COUNTED {
                let last = self.last(anchor, until).unwrap_or(next).max(next);
                let before = self.last(anchor, last - 1).unwrap_or(span.before_last);
                return Some(Span { before_last: before.max(span.before_last), last, ..span });
            }
        }
        Some(span)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// The zone of this name, as the machine has it, else as execward was built with it.
///
/// # Errors
/// A sentence: there is none.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    let own = TimeZoneDatabase::from_dir(ZONEINFO).ok().and_then(|known| known.get(name).ok());
    own.or_else(|| TimeZoneDatabase::bundled().get(name).ok())
        .ok_or_else(|| format!("there is no time zone `{name}`: write it as `Europe/Berlin` or `UTC`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    fn cron(text: &str) -> Schedule {
        Schedule::cron(text, zone("Europe/Berlin").expect("a zone")).expect("an expression")
    }

    fn occurrences(schedule: &Schedule, from: &str, until: &str) -> Vec<String> {
        let mut now = at(from);
        let mut found = Vec::new();
        while let Some(next) = schedule.next(0, now).filter(|next| *next <= at(until)) {
            found.push(Timestamp::from_millisecond(next).expect("a time").to_string());
            now = next;
        }
        found
    }

    #[test]
    fn names_and_nicknames_are_read() {
        let mondays = cron("30 4 * jan-mar MON");
        assert_eq!(
            occurrences(&mondays, "2026-03-20T00:00:00Z", "2026-12-31T00:00:00Z"),
            ["2026-03-23T03:30:00Z", "2026-03-30T02:30:00Z"]
        );
        assert_eq!(
            occurrences(&cron("@daily"), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ["2026-01-01T23:00:00Z"]
        );
        for wrong in ["", "* * * *", "61 * * * *", "* * * * * *", "0 3 30 feb *", "every day"] {
            assert!(Schedule::cron(wrong, TimeZone::UTC).is_err(), "{wrong:?}");
        }
        assert!(zone("Europe/Atlantis").is_err() && zone("../../etc/passwd").is_err());
    }

    /// 2026-03-29 in Berlin: 02:00 becomes 03:00.
    #[test]
    fn a_time_that_the_clock_skips_is_due_once_right_after() {
        let found = occurrences(&cron("30 2 * * *"), "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(found, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        // What is due every so often is due in real time.
        let found = occurrences(&cron("*/30 * * * *"), "2026-03-29T00:15:00Z", "2026-03-29T01:45:00Z");
        assert_eq!(found, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    }

    /// 2026-10-25 in Berlin: 03:00 becomes 02:00.
    #[test]
    fn a_time_that_the_clock_repeats_is_due_once() {
        let found = occurrences(&cron("30 2 * * *"), "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(found, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let found = occurrences(&cron("*/30 * * * *"), "2026-10-25T00:15:00Z", "2026-10-25T02:15:00Z");
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn one_moment_is_read_in_its_zone() {
        let zone = zone("Europe/Berlin").expect("a zone");
        let once = |text: &str| match Schedule::at(text, &zone) {
            Ok(Schedule::At(at)) => Timestamp::from_millisecond(at).map(|at| at.to_string()).ok(),
            _ => None,
        };
        assert_eq!(once("2026-12-24T18:00").as_deref(), Some("2026-12-24T17:00:00Z"));
        assert_eq!(once("2026-12-24T18:00:00+02:00").as_deref(), Some("2026-12-24T16:00:00Z"));
        assert_eq!(once("tomorrow"), None);
    }

    #[test]
    fn a_long_stretch_is_counted_without_being_walked() {
        let every = Schedule::every(Duration::from_secs(60)).expect("a time");
        let span = every.between(0, 0, 10 * 60_000 + 1).expect("due");
        assert_eq!(span, Span { first: 60_000, before_last: 540_000, last: 600_000, count: 10 });
        let years = cron("* * * * *").between(0, at("1970-01-01T00:00:00Z"), at("2026-01-01T00:00:30Z"));
        let years = years.expect("due");
        assert_eq!(years.count, COUNTED);
        assert_eq!((years.before_last, years.last), (at("2025-12-31T23:59:00Z"), at("2026-01-01T00:00:00Z")));
        assert_eq!(every.between(0, 60_000, 119_999), None);
    }
}
