use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::jobs::schedule::zone;

const TERMS: Terms = Terms { late: Duration::from_secs(300), catch_up: CatchUp::Skip };

/// 2026-03-28T00:00:00Z: a day before Europe's clocks go forward.
const START: i64 = 1_774_656_000_000;

const MINUTE: i64 = 60_000;

const HOUR: i64 = 60 * MINUTE;

fn reading(wall: i64, since_boot: i64) -> Reading {
    Reading { wall, since_boot, boot: "a".to_owned() }
}

fn daily() -> Schedule {
    Schedule::cron("30 2 * * *", zone("Europe/Berlin").expect("a zone")).expect("an expression")
}

#[test]
fn a_short_step_back_repeats_nothing_and_a_long_one_counts_anew() {
    let schedule = Schedule::cron("0 * * * *", TimeZone::UTC).expect("an expression");
    let cursor = Cursor::new(START - 1, 0);
    let (found, cursor) = due(&schedule, cursor, 0, &reading(START, 0), TERMS);
    assert_eq!(found, [Due::Run { due: START }]);
    // Two hours back: the hours that come again are not due again.
    let (found, back) = due(&schedule, cursor, -2 * HOUR, &reading(START - 2 * HOUR, 1), TERMS);
    assert_eq!((found, back), (vec![], cursor));
    let (found, _) = due(&schedule, back, 0, &reading(START - HOUR, 2), TERMS);
    assert_eq!(found, []);
    let (found, _) = due(&schedule, back, 0, &reading(START + HOUR, 2), TERMS);
    assert_eq!(found, [Due::Run { due: START + HOUR }]);
    // Four hours back: the clock was wrong.
    let (_, back) = due(&schedule, cursor, -4 * HOUR, &reading(START - 4 * HOUR, 1), TERMS);
    assert_eq!(back, Cursor::new(START - 4 * HOUR, 1));
    let (found, _) = due(&schedule, back, 0, &reading(START - 3 * HOUR, 2), TERMS);
    assert_eq!(found, [Due::Run { due: START - 3 * HOUR }]);
}

#[test]
fn what_is_due_every_so_often_follows_real_time_through_steps() {
    let schedule = Schedule::every(Duration::from_secs(60)).expect("a time");
    for step in [-365 * 24 * HOUR, -30_000, 30_000, 48 * HOUR] {
        let before = reading(START, 0);
        let cursor = Cursor::new(START, 0);
        let now = reading(START + 30_000 + step, 30_000);
        let step = now.step_since(&before);
        let (found, cursor) = due(&schedule, cursor, step, &now, TERMS);
        // Half of the time has passed, whatever the clock says.
        if now.is_set() {
            assert_eq!(found, [], "{step}");
        }
        let next = reading(START + MINUTE + step, MINUTE);
        let (found, _) = due(&schedule, cursor, 0, &next, TERMS);
        assert_eq!(found.len(), usize::from(next.is_set()), "{step}");
    }
}

#[test]
fn a_machine_that_was_off_reports_what_was_missed_as_one() {
    let hours = Schedule::cron("0 * * * *", TimeZone::UTC).expect("an expression");
    let now = Reading { wall: START + 5 * HOUR + 10 * MINUTE, since_boot: 9, boot: "b".to_owned() };
    let cursor = Cursor::new(START, 0);
    let missed = Due::Missed { first: START + HOUR, last: START + 5 * HOUR, count: 5 };
    assert_eq!(due(&hours, cursor, 0, &now, TERMS).0, [missed]);
    let once = Terms { catch_up: CatchUp::Once, ..TERMS };
    let missed = Due::Missed { first: START + HOUR, last: START + 4 * HOUR, count: 4 };
    assert_eq!(due(&hours, cursor, 0, &now, once).0, [missed, Due::Run { due: START + 5 * HOUR }]);
}

#[test]
fn a_clock_that_nobody_has_set_makes_nothing_due() {
    let schedule = Schedule::cron("* * * * *", TimeZone::UTC).expect("an expression");
    let cursor = Cursor::new(START, 0);
    assert_eq!(due(&schedule, cursor, -START, &reading(5 * MINUTE, 5 * MINUTE), TERMS), (vec![], cursor));
}

#[test]
fn sleep_is_no_step_and_a_restart_is_none() {
    let before = reading(START, HOUR);
    assert_eq!(reading(START + HOUR, 2 * HOUR).step_since(&before), 0);
    assert_eq!(reading(START + HOUR, HOUR).step_since(&before), HOUR);
    let again = Reading { wall: START + HOUR, since_boot: 3, boot: "b".to_owned() };
    assert_eq!(again.step_since(&before), 0);
    assert_eq!(Reading { wall: START - HOUR, ..again }.step_since(&before), -HOUR);
}

/// Something that happens to the machine between two looks.
#[derive(Debug, Clone)]
enum Event {
    /// Time passes, in which it looks, or sleeps, or is off.
    Passes(i64),
    /// It is started again after so long.
    Off(i64),
    /// Its clock is set.
    Set(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..90 * MINUTE).prop_map(Event::Passes),
        1 => (1..48 * HOUR).prop_map(Event::Off),
        1 => (-HOUR..HOUR).prop_map(Event::Set),
        1 => (-72 * HOUR..72 * HOUR).prop_map(Event::Set),
    ]
}

fn schedules() -> Vec<Schedule> {
    let berlin = || zone("Europe/Berlin").expect("a zone");
    let cron = |text: &str| Schedule::cron(text, berlin()).expect("an expression");
    let every = Schedule::every(Duration::from_secs(1234)).expect("a time");
    vec![daily(), cron("*/20 * * * *"), cron("0 */6 * * mon-fri"), every, Schedule::At(START + 26 * HOUR)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens, no occurrence comes out twice, and each that lies in a stretch that was passed does come out.
    #[test]
    fn each_occurrence_comes_out_once(events in prop::collection::vec(event(), 1..40)) {
        for schedule in schedules() {
            let mut now = reading(START, 0);
            let mut boots = 0;
            let mut cursor = Cursor::new(START, 0);
            let mut last = now.clone();
            let mut seen = BTreeMap::new();
            for event in &events {
                match event {
                    Event::Passes(time) => (now.wall, now.since_boot) = (now.wall + time, now.since_boot + time),
                    Event::Off(time) => {
                        boots += 1;
                        now = Reading { wall: now.wall + time, since_boot: 0, boot: boots.to_string() };
                    }
                    Event::Set(by) => now.wall += by,
                }
                let step = now.step_since(&last);
                let before = cursor;
                if !now.is_set() {
                    prop_assert_eq!(due(&schedule, cursor, step, &now, TERMS), (vec![], cursor));
                    continue;
                }
                let (found, after) = due(&schedule, cursor, step, &now, TERMS);
                // Looking again at the same moment finds nothing more.
                prop_assert_eq!(&due(&schedule, after, 0, &now, TERMS), &(vec![], after));
                let mut count = 0;
                for one in &found {
                    let (first, last, many) = match one {
                        Due::Run { due } => (*due, *due, 1),
                        Due::Missed { first, last, count } => (*first, *last, *count),
                    };
                    prop_assert!(first <= last && last <= now.wall);
                    prop_assert!(seen.insert((after.epoch, first), last).is_none(), "{:?} twice", one);
                    count += many;
                }
                if after.epoch == before.epoch {
                    let all = schedule.between(after.anchor, before.upto, now.wall).map_or(0, |span| span.count);
                    prop_assert_eq!(count, all);
                }
                // No job waits for longer than a clock that was set back may make it wait.
                prop_assert!(after.upto - now.wall < SET_BACK || matches!(schedule, Schedule::At(_)));
                (cursor, last) = (after, now.clone());
            }
            // What is in one stretch is in no other of the same epoch.
            let stretches: Vec<_> = seen.into_iter().collect();
            for pair in stretches.windows(2) {
                let (((epoch, _), until), ((next_epoch, next), _)) = (pair[0], pair[1]);
                prop_assert!(epoch != next_epoch || until < next, "{:?}", pair);
            }
        }
    }
}
