//! How much is assessed: each question costs money, and an agent can put as many as it likes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Assessments of one principal that may come at once, and how long each takes to come back.
const BURST: u32 = 30;
const PACE: Duration = Duration::from_secs(10);

/// Questions to models at one time, of everybody.
const AT_ONCE: usize = 16;

/// What is left, for each principal.
#[derive(Debug)]
pub struct Budget {
    /// When each would have all of it back.
    spent: Mutex<BTreeMap<u32, Instant>>,
    places: Semaphore,
}

impl Default for Budget {
    fn default() -> Self {
        Self { spent: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Budget {
    /// A place for one assessment of a principal's command; `None` where it has had its share, or too many are being made.
    pub fn take(&self, uid: u32) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok()?;
        self.spend(uid, Instant::now()).then_some(place)
    }

    fn spend(&self, uid: u32, now: Instant) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, full| *full > now);
        let full = spent.get(&uid).copied().unwrap_or(now) + PACE;
        if full.duration_since(now) > PACE * BURST {
            return false;
        }
        spent.insert(uid, full);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_asks_without_end_spends_its_own_share() {
        let (budget, now) = (Budget::default(), Instant::now());
        let spend = |uid, seconds| budget.spend(uid, now + Duration::from_secs(seconds));
        assert_eq!((0..100).filter(|_| spend(1, 0)).count(), 30);
        assert!(spend(2, 0) && !spend(1, 9) && spend(1, 10) && !spend(1, 10));
        assert_eq!((0..100).filter(|_| spend(1, 1000)).count(), 30);
        let places: Vec<_> = (0..16).map(|uid| budget.take(100 + uid).expect("a place")).collect();
        assert!(budget.take(99).is_none());
        drop(places);
        assert!(budget.take(99).is_some());
    }
}
