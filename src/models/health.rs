//! What is known of providers and their keys, kept over a restart. Keys stand in it by the name that their digest gives.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::headers::LONGEST;
use super::pool::{KeyState, Pool};
use crate::state::{ModelKeyRow, ModelProviderRow};

/// A provider that failed is left alone for this long, and twice as long each time that it fails again.
const FIRST_REST: Duration = Duration::from_secs(30);

/// But not longer.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// How long one question may try a provider that was down, before another may.
const TRIAL: Duration = Duration::from_secs(30);

/// What is known of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) pool: Pool,
    pub(super) breaker: Breaker,
}

/// Whether a provider is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// Failures in a row.
    pub(super) failures: u32,
    /// It is not asked before then.
    pub(super) down_until: Option<Timestamp>,
    /// What its last failure was.
    pub(super) why: String,
}

/// May a provider be asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It is well.
    Well,
    /// It was down, and this question tries whether it still is. Others do not, meanwhile.
    Trial,
    /// It is down.
    Down,
}

/// How a provider stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its name.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Its host.
    pub host: String,
    /// Whether it would be asked now.
    pub well: bool,
    /// Keys that would be taken now.
    pub keys_well: usize,
    /// Keys that rest.
    pub keys_resting: usize,
    /// Keys that are never taken again.
    pub keys_dead: usize,
    /// Until when it is left alone, or until its first key has rested.
    pub until: Option<Timestamp>,
    /// Its last failure.
    pub why: Option<String>,
}

impl Breaker {
    /// Asks for leave.
    pub(super) fn enter(&mut self, now: Timestamp) -> Leave {
        let Some(until) = self.down_until else { return Leave::Well };
        let ahead = until.duration_since(now);
        // A clock that was set back must not keep a provider away for longer than any rest.
        if ahead.is_positive() && ahead.unsigned_abs() <= LONGEST {
            return Leave::Down;
        }
        self.down_until = after(now, TRIAL);
        Leave::Trial
    }

    /// Whether it would be asked, without asking for leave.
    pub(super) fn is_well(&self, now: Timestamp) -> bool {
        self.clone().enter(now) != Leave::Down
    }

    pub(super) fn served(&mut self) {
        *self = Self::default();
    }

    /// It failed; it rests for as long as it said, or longer each time.
    pub(super) fn failed(&mut self, why: &str, rest: Option<Duration>, now: Timestamp) {
        let longer = FIRST_REST.saturating_mul(1 << self.failures.min(6)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.down_until = after(now, rest.unwrap_or(longer).clamp(Duration::from_secs(1), LONGEST));
        why.clone_into(&mut self.why);
    }
}

fn after(now: Timestamp, time: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(time).ok()?).ok()
}

impl Known {
    /// From what was kept, by provider.
    pub(super) fn read(providers: Vec<ModelProviderRow>, keys: Vec<ModelKeyRow>) -> BTreeMap<String, Self> {
        let moment = |millis: Option<i64>| millis.and_then(|it| Timestamp::from_millisecond(it).ok());
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for ModelProviderRow { name, failures, down_until, why, last_key } in providers {
            let breaker = Breaker { failures, down_until: moment(down_until), why };
            all.insert(name, Self { pool: Pool { keys: BTreeMap::new(), last: last_key }, breaker });
        }
        for ModelKeyRow { provider, key, used, refused, rests_until, dead } in keys {
            let state = KeyState { used, refused, rests_until: moment(rests_until), dead };
            all.entry(provider).or_default().pool.keys.insert(key, state);
        }
        all
    }

    /// As it is kept, of those keys that there are still.
    pub(super) fn rows(&self, provider: &str, names: &[String]) -> (ModelProviderRow, Vec<ModelKeyRow>) {
        let Breaker { failures, down_until, why } = self.breaker.clone();
        let row = ModelProviderRow {
            name: provider.to_owned(),
            failures,
            down_until: down_until.map(Timestamp::as_millisecond),
            why,
            last_key: self.pool.last.clone(),
        };
        let keys =
            self.pool.keys.iter().filter(|(name, _)| names.contains(name)).map(|(name, key)| ModelKeyRow {
                provider: provider.to_owned(),
                key: name.clone(),
                used: key.used,
                refused: key.refused,
                rests_until: key.rests_until.map(Timestamp::as_millisecond),
                dead: key.dead,
            });
        (row, keys.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::Fate;
    use super::*;
    use crate::state::Store;

    fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a moment");
        start + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_provider_that_failed_is_tried_by_one_question_at_a_time() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.enter(at(0)), Leave::Well);
        breaker.failed("x", None, at(0));
        assert_eq!(breaker.enter(at(29)), Leave::Down);
        assert_eq!(breaker.enter(at(31)), Leave::Trial);
        assert_eq!(breaker.enter(at(32)), Leave::Down);
        // The one that tried it never came back.
        assert_eq!(breaker.enter(at(62)), Leave::Trial);
        breaker.failed("x", None, at(63));
        assert_eq!(breaker.enter(at(63 + 59)), Leave::Down);
        assert_eq!(breaker.enter(at(63 + 61)), Leave::Trial);
        breaker.served();
        assert_eq!(breaker.enter(at(125)), Leave::Well);
        for _ in 0..40 {
            breaker.failed("x", None, at(0));
        }
        assert!(breaker.is_well(at(601)) && !breaker.is_well(at(599)));
        assert!(breaker.is_well(at(-30 * 86400)), "the clock was set back by a month");
    }

    #[test]
    fn what_is_known_is_kept_and_keys_that_are_gone_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Store::open(&directory.path().join("state")).expect("a store").0;
        let mut known = Known::default();
        known.breaker.failed("x", None, at(0));
        known.pool.learn("dead", Fate::Dead, at(0));
        known.pool.learn("rests", Fate::Limited(Duration::from_secs(60)), at(0));
        known.pool.learn("gone", Fate::Unauthorised, at(0));
        known.pool.last = Some("rests".into());
        let store = open();
        let names = ["dead", "rests"].map(str::to_owned);
        for _ in 0..2 {
            let (provider, keys) = known.rows("a", &names);
            store.set_model(&provider, &keys).expect("kept");
        }
        drop(store);
        let (providers, keys) = open().models().expect("read");
        known.pool.keys.remove("gone");
        assert_eq!(Known::read(providers, keys), BTreeMap::from([("a".to_owned(), known)]));
    }
}
