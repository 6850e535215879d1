//! Which key is next, and which rests. Pure: the moment and the dice come from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Strategy;
use super::headers::LONGEST;
use jiff::{SignedDuration, Timestamp};

/// A key that is not accepted rests for so long: it may have been typed in a moment before the provider knew it.
const UNAUTHORISED: Duration = Duration::from_secs(300);

/// A key that is not accepted so often in a row is dead.
const LAST_STRAW: u32 = 3;

/// What is known of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyState {
    /// How often it was used.
    pub(super) used: u64,
    /// It rests until then.
    pub(super) rests_until: Option<Timestamp>,
    /// It never comes back. A new key has another name.
    pub(super) dead: bool,
    /// How often in a row it was not accepted.
    pub(super) refused: u32,
}

/// The keys of one provider, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) keys: BTreeMap<String, KeyState>,
    /// The key that was used last.
    pub(super) last: Option<String>,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The provider served it.
    Served,
    /// Too much was asked of it: it rests for so long.
    Limited(Duration),
    /// It was not accepted.
    Unauthorised,
    /// It will never be accepted again.
    Dead,
}

impl KeyState {
    pub(super) fn is_well(&self, now: Timestamp) -> bool {
        // A clock that was set back must not keep a key away for longer than any rest.
        let rests = self
            .rests_until
            .is_some_and(|until| until > now && until.duration_since(now).unsigned_abs() <= LONGEST);
        !self.dead && !rests
    }
}

impl Pool {
    /// Takes a key: the index in `names`, which stand as in the file of keys. `tried` were tried for this question.
    pub(super) fn take(
        &mut self,
        names: &[String],
        tried: &[usize],
        strategy: Strategy,
        now: Timestamp,
        dice: u64,
    ) -> Option<usize> {
        let state = |name: &String| self.keys.get(name).cloned().unwrap_or_default();
        let well: Vec<usize> = (0..names.len())
            .filter(|index| !tried.contains(index))
            .filter(|index| names.get(*index).is_some_and(|name| state(name).is_well(now)))
            .collect();
        let name = |index: usize| names.get(index).cloned().unwrap_or_default();
        let chosen = match strategy {
            Strategy::FillFirst => well.first().copied(),
            Strategy::RoundRobin => {
                let last = self.last.as_ref().and_then(|last| names.iter().position(|name| name == last));
                let next = well.iter().find(|index| last.is_none_or(|last| **index > last));
                next.or(well.first()).copied()
            }
            Strategy::LeastUsed => well.iter().copied().min_by_key(|index| state(&name(*index)).used),
            Strategy::Random => match well.len() as u64 {
                0 => None,
                count => well.get(usize::try_from(dice % count).unwrap_or(0)).copied(),
            },
        }?;
        let name = name(chosen);
        self.keys.entry(name.clone()).or_default().used += 1;
        self.last = Some(name);
        Some(chosen)
    }

    /// Learns what happened to a key.
    pub(super) fn learn(&mut self, name: &str, fate: Fate, now: Timestamp) {
        let key = self.keys.entry(name.to_owned()).or_default();
        let rest = |time: Duration| {
            SignedDuration::try_from(time.min(LONGEST)).ok().and_then(|it| now.checked_add(it).ok())
        };
        match fate {
            // One that was dead is only taken where an operator tries it.
            Fate::Served => (key.refused, key.rests_until, key.dead) = (0, None, false),
            Fate::Limited(time) => key.rests_until = rest(time),
            Fate::Unauthorised => {
                key.refused += 1;
                key.rests_until = rest(UNAUTHORISED);
                key.dead |= key.refused >= LAST_STRAW;
            }
            Fate::Dead => key.dead = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    fn takes(pool: &mut Pool, strategy: Strategy, at: Timestamp, count: u64) -> String {
        (0..count)
            .map(|dice| {
                pool.take(&names(), &[], strategy, at, dice).map_or("-".into(), |it| names()[it].clone())
            })
            .collect()
    }

    #[test]
    fn each_strategy_takes_its_way() {
        assert_eq!(takes(&mut Pool::default(), Strategy::FillFirst, now(), 3), "aaa");
        assert_eq!(takes(&mut Pool::default(), Strategy::RoundRobin, now(), 5), "abcab");
        assert_eq!(takes(&mut Pool::default(), Strategy::Random, now(), 5), "abcab");
        let mut pool = Pool::default();
        takes(&mut pool, Strategy::FillFirst, now(), 2);
        assert_eq!(takes(&mut pool, Strategy::LeastUsed, now(), 5), "bcbca");
    }

    #[test]
    fn a_key_rests_as_long_as_it_was_told_to() {
        for strategy in [Strategy::FillFirst, Strategy::RoundRobin, Strategy::LeastUsed, Strategy::Random] {
            let mut pool = Pool::default();
            pool.learn("a", Fate::Limited(Duration::from_secs(30)), now());
            pool.learn("b", Fate::Unauthorised, now());
            assert!(!takes(&mut pool, strategy, later(29), 9).contains(['a', 'b', '-']));
            assert!(!takes(&mut pool, strategy, later(299), 9).contains(['b', '-']));
            pool.learn("c", Fate::Limited(Duration::from_secs(3600)), now());
            pool.learn("a", Fate::Dead, now());
            assert_eq!(takes(&mut pool, strategy, later(299), 2), "--");
            assert_eq!(takes(&mut pool, strategy, later(301), 1), "b");
        }
    }

    #[test]
    fn a_key_that_is_never_accepted_dies() {
        let mut pool = Pool::default();
        for attempt in 0..3 {
            assert!(!pool.keys.get("a").is_some_and(|key| key.dead), "{attempt}");
            pool.learn("a", Fate::Unauthorised, now());
        }
        assert!(pool.keys["a"].dead);
        pool.learn("b", Fate::Unauthorised, now());
        pool.learn("b", Fate::Unauthorised, now());
        pool.learn("b", Fate::Served, now());
        pool.learn("b", Fate::Unauthorised, now());
        assert!(!pool.keys["b"].dead);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_key_away() {
        let mut pool = Pool::default();
        pool.learn("a", Fate::Limited(Duration::from_secs(3600)), later(30 * 86400));
        assert!(pool.keys["a"].is_well(now()));
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let mut pool = Pool::default();
        assert_eq!(pool.take(&names(), &[0, 1], Strategy::FillFirst, now(), 0), Some(2));
        assert_eq!(pool.take(&names(), &[0, 1, 2], Strategy::RoundRobin, now(), 0), None);
        assert_eq!(pool.take(&[], &[], Strategy::Random, now(), 7), None);
    }
}
