//! A daemon that is killed at any step, on a database that is a real file: no run begins twice, none is lost, and everything
//! that is over is told.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::jobs::Job;
use crate::state::{Letters, RunEnd, Store};

/// 2026-03-28T00:00:00Z.
const START: i64 = 1_774_656_000_000;

const MINUTE: i64 = 60_000;

/// Random numbers that come again with the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn owned(name: &str, more: &str) -> Owned {
    let text = format!(
        "command = [\"true\"]\nworkspace = \"/srv\"\n{more}\n[[deliver]]\nfile = \"/var/log/a\"\n[[deliver]]\nqueue = true\nwhen = \"failure\"\n"
    );
    let job = Job::read(name, name, &text).expect("it reads");
    Owned { job, uid: 1, gid: 1, user: "ann".to_owned() }
}

fn jobs() -> Vec<Owned> {
    vec![
        owned("minutes", "[schedule]\ncron = \"* * * * *\"\n"),
        owned(
            "often",
            "[schedule]\nevery = \"90s\"\non_overlap = \"wait\"\n[retry]\nattempts = 2\nwait = \"30s\"\n",
        ),
        owned("late", "[schedule]\ncron = \"*/5 * * * *\"\nzone = \"Europe/Berlin\"\ncatch_up = \"once\"\n"),
        owned("once", "[schedule]\nat = \"2026-03-28T03:00:00Z\"\n"),
    ]
}

fn facts() -> Facts {
    Facts { host: "web1".to_owned(), fallback: Target::Queue }
}

/// What the world outside has seen of a run or a delivery.
#[derive(Debug, Default)]
struct World {
    begun: BTreeMap<(String, i64, i64, u32), u32>,
    received: BTreeMap<String, u32>,
}

/// One life of a daemon: it looks, begins, ends and tells until it is killed, after so many steps.
struct Life<'a> {
    store: Store,
    world: &'a mut World,
    steps: u64,
    names: &'a Cell<u64>,
}

impl Life<'_> {
    /// Whether it is dead before its next step.
    fn dies(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps == 0
    }

    fn live(&mut self, now: &Reading, dice: &mut Dice) -> Option<()> {
        let (jobs, facts, names) = (jobs(), facts(), self.names);
        let mut fresh = || {
            names.set(names.get() + 1);
            format!("{:08}", names.get())
        };
        self.store.tick(|past| tick(past, &jobs, now, &facts, &mut fresh)).expect("kept");
        for run in self.store.open_runs().expect("read") {
            if run.begin > now.wall {
                continue;
            }
            let job = jobs.iter().find(|owned| owned.job.name == run.job).expect("it is there");
            let mut run = run;
            if run.state == "running" {
                // Of an earlier life.
                run = RunRow { state: "unknown".into(), ..run };
            } else if !job.job.terms.permit(run.begin, now.wall) {
                run = RunRow { state: "missed".into(), ..run };
            } else {
                if self.dies() || !self.store.begin_run(run.id, now.wall).expect("kept") || self.dies() {
                    return None;
                }
                let name = (run.job.clone(), run.epoch, run.due, run.attempt);
                *self.world.begun.entry(name).or_default() += 1;
                let state =
                    ["ok", "failed", "timed-out"][usize::try_from(dice.roll(3)).expect("a small number")];
                run = RunRow { state: state.into(), ..run };
            }
            if self.dies() {
                return None;
            }
            let again = matches!(run.state.as_str(), "failed" | "timed-out")
                .then(|| job.job.retry.after(run.attempt))
                .flatten()
                .map(|_| RunRow { attempt: run.attempt + 1, state: "scheduled".into(), ..run.clone() });
            let tell = match again {
                Some(_) => Vec::new(),
                None => results(job, &run, Output::default(), now.wall, &facts, &mut fresh),
            };
            let end = RunEnd { state: &run.state, at: now.wall, reason: "", request: None, tell, again };
            assert!(self.store.end_run(run.id, &end).expect("kept"), "it ended twice: {run:?}");
            assert!(!self.store.end_run(run.id, &end).expect("kept"), "it ends twice: {run:?}");
        }
        for row in self.store.deliveries_due(now.wall, 100).expect("read").0 {
            let failed = (dice.roll(4) == 0).then(|| "no answer".to_owned());
            if failed.is_none() {
                *self.world.received.entry(row.id.clone()).or_default() += 1;
            }
            if self.dies() {
                return None;
            }
            let (row, alarm) = tried(&row, failed, now.wall, &facts, &mut fresh);
            self.store.tried(&row, &alarm).expect("kept");
        }
        Some(())
    }
}

/// Lives until it has been killed so often, and then in peace until everything is told.
fn live_and_die(directory: &Path, seed: u64, kills: u32) -> (Store, World) {
    let (mut world, mut dice, names) = (World::default(), Dice(seed), Cell::new(0));
    let mut now = Reading { wall: START, since_boot: 0, boot: "a".to_owned() };
    let mut killed = 0;
    while killed < kills {
        let (store, aside) = Store::open(directory).expect("a store");
        assert_eq!(aside, None);
        let mut life = Life { store, world: &mut world, steps: 1 + dice.roll(40), names: &names };
        loop {
            let passes = (1 + dice.roll(100_000)) as i64;
            (now.wall, now.since_boot) = (now.wall + passes, now.since_boot + passes);
            match dice.roll(100) {
                0 => now.wall += 10 * MINUTE,
                1 => now.wall -= 10 * MINUTE,
                2 => {
                    now = Reading {
                        wall: now.wall + 20 * MINUTE,
                        since_boot: 0,
                        boot: dice.roll(1 << 40).to_string(),
                    }
                }
                _ => {}
            }
            if life.live(&now, &mut dice).is_none() {
                killed += 1;
                break;
            }
        }
    }
    // In peace: nothing new is due.
    let (store, _) = Store::open(directory).expect("a store");
    let mut life = Life { store, world: &mut world, steps: u64::MAX, names: &names };
    for _ in 0..5 {
        life.live(&now, &mut dice).expect("it lives");
    }
    assert_eq!(life.store.open_runs().expect("read"), []);
    for _ in 0..200 {
        now = Reading { wall: now.wall + 3_600_000, since_boot: 0, boot: "last".to_owned() };
        // Deliveries only.
        for row in life.store.deliveries_due(now.wall, 1000).expect("read").0 {
            let mut fresh = || {
                names.set(names.get() + 1);
                format!("{:08}", names.get())
            };
            *life.world.received.entry(row.id.clone()).or_default() += 1;
            let (row, alarm) = tried(&row, None, now.wall, &facts(), &mut fresh);
            life.store.tried(&row, &alarm).expect("kept");
        }
    }
    let Life { store, .. } = life;
    (store, world)
}

#[test]
fn over_a_thousand_kills_nothing_runs_twice_and_nothing_is_lost() {
    let kills = std::env::var("EXECWARD_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let directory = tempfile::Builder::new().prefix("execward-kills-").tempdir_in("/dev/shm");
    let directory = directory.or_else(|_| tempfile::tempdir()).expect("a directory");
    let (store, world) = live_and_die(&directory.path().join("state"), 0x9e37_79b9_7f4a_7c15, kills);
    assert!(world.begun.len() > 100, "{} runs show nothing", world.begun.len());
    let twice: Vec<_> = world.begun.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let runs = store.runs(None, 1_000_000).expect("read");
    // What the outside saw begin is on record as begun.
    let kept: BTreeSet<_> =
        runs.iter().map(|run| (run.job.clone(), run.epoch, run.due, run.attempt)).collect();
    let oldest: BTreeMap<_, _> = runs.iter().map(|run| (run.job.clone(), run.id)).collect();
    assert!(oldest.len() >= 3);
    let pruned = |job: &str| runs.iter().filter(|run| run.job == job).count() >= 1000;
    assert!(world.begun.keys().all(|name| kept.contains(name) || pruned(&name.0)));
    let mut states = BTreeMap::<&str, u32>::new();
    for run in &runs {
        *states.entry(run.state.as_str()).or_default() += 1;
        let letters = store.letters(Letters::OfRun(run.id)).expect("read");
        let again = runs.iter().any(|other| {
            (&other.job, other.epoch, other.due, other.attempt)
                == (&run.job, run.epoch, run.due, run.attempt + 1)
        });
        // Each that is over is told to the file, or tried again; each that is not `ok` to the operators besides.
        let told = letters.iter().filter(|letter| letter.target.contains("/var/log/a")).count();
        assert_eq!(told, usize::from(!again), "{run:?}");
        let queued =
            letters.iter().filter(|letter| letter.target == "\"queue\"" && letter.kind == "result").count();
        assert_eq!(queued, usize::from(!again && run.state != "ok"), "{run:?}");
        for letter in &letters {
            assert!(matches!(letter.state.as_str(), "sent" | "dead-letter"), "{letter:?}");
            if letter.state == "sent" && letter.target != "\"queue\"" {
                assert!(world.received.contains_key(&letter.id), "said to be sent: {letter:?}");
            }
        }
    }
    for state in ["ok", "failed", "missed", "unknown", "timed-out"] {
        assert!(states.contains_key(state), "{state} never came: {states:?}");
    }
    // Every minute of the clock is in one run of the job that is due each minute, and in no other.
    let mut minutes: Vec<_> = runs.iter().filter(|run| run.job == "minutes").collect();
    minutes.sort_by_key(|run| (run.epoch, run.due));
    for pair in minutes.windows(2).filter(|pair| pair[0].epoch == pair[1].epoch) {
        assert_eq!(pair[0].last_due + MINUTE, pair[1].due, "{:?} and {:?}", pair[0], pair[1]);
    }
    assert_eq!(runs.iter().filter(|run| run.job == "once" && run.attempt == 1).count(), 1);
}

#[test]
fn a_delivery_that_is_given_up_raises_an_alarm_where_that_cannot_fail() {
    let to = Target::File("/nonexistent/log".into());
    let jobs = [owned("j", "[schedule]\nevery = \"1h\"\n")];
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        count.to_string()
    };
    let run = RunRow {
        id: 7,
        job: "j".into(),
        epoch: 0,
        due: START,
        attempt: 1,
        last_due: START,
        count: 1,
        state: "failed".into(),
        begin: START,
        started: None,
        ended: None,
        reason: "exit status 1".into(),
        request: None,
        asked_by: None,
    };
    let facts = Facts { fallback: to, ..facts() };
    let mut row = results(&jobs[0], &run, Output::default(), START, &facts, &mut fresh).remove(0);
    for _ in 1..jobs::TRIES {
        let (next, alarm) = tried(&row, Some("full".into()), START, &facts, &mut fresh);
        assert!(next.state == "failed" && next.next > START && alarm.is_empty(), "{next:?}");
        row = next;
    }
    let (row, mut alarm) = tried(&row, Some("full".into()), START, &facts, &mut fresh);
    assert_eq!(row.state, "dead-letter");
    let alarm = alarm.pop().expect("an alarm");
    assert!(
        alarm.kind == "alarm" && alarm.target.contains("nonexistent") && alarm.message.contains("full"),
        "{alarm:?}"
    );
    let (_, mut last) =
        tried(&DeliveryRow { tries: jobs::TRIES, ..alarm }, Some("full".into()), START, &facts, &mut fresh);
    let last = last.pop().expect("an alarm");
    assert_eq!((last.target.as_str(), last.state.as_str()), ("\"queue\"", "sent"));
}

#[test]
fn a_job_that_changes_begins_anew_and_one_that_is_switched_off_misses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&directory.path().join("state")).expect("a store");
    let hourly = [owned("j", "[schedule]\ncron = \"0 * * * *\"\n")];
    let daily = [owned("j", "[schedule]\ncron = \"0 0 * * *\"\n")];
    let mut count = 0;
    let mut look = |jobs: &[Owned], wall: i64| {
        let now = Reading { wall, since_boot: wall - START, boot: "a".to_owned() };
        let mut fresh = || {
            count += 1;
            count.to_string()
        };
        store.tick(|past| tick(past, jobs, &now, &facts(), &mut fresh)).expect("kept")
    };
    assert_eq!(look(&hourly, START + MINUTE), 0);
    assert_eq!(look(&hourly, START + 60 * MINUTE), 1);
    assert_eq!(
        look(&daily, START + 150 * MINUTE),
        0,
        "what was due before it changed is not due of the new one"
    );
    assert_eq!(look(&hourly, START + 151 * MINUTE), 0);
    store.switch_job("j", Some("root")).expect("kept");
    assert_eq!(look(&hourly, START + 400 * MINUTE), 0);
    store.switch_job("j", None).expect("kept");
    assert_eq!(look(&hourly, START + 401 * MINUTE), 0);
    // A moment that was past when the job came is told, and not run.
    let past = [owned("k", "[schedule]\nat = \"2026-03-28T00:00:00Z\"\ncatch_up = \"once\"\n")];
    assert_eq!(look(&past, START + 500 * MINUTE), 1);
    assert_eq!(look(&past, START + 501 * MINUTE), 0);
    let run = store.runs(Some("k"), 9).expect("read").remove(0);
    assert_eq!(run.state, "missed");
    assert_eq!(store.letters(Letters::OfRun(run.id)).expect("read").len(), 2);
}
