//! Modes: how asks are answered where not by a person. Hardline and deny rules never get here.
//!
//! A principal's mode is kept; a session's ends with it, with its time, or with the supervisor: what is not known any more
//! is `manual`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::stage::Principal;
use crate::state::{ModeRow, StateError, Store};
use crate::wire::rpc::{Mode, SessionId};

/// A mode that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Which.
    pub mode: Mode,
    /// Who set it.
    pub by: Principal,
    /// When it ends; `None` where nothing but its session ends it.
    pub until: Option<Timestamp>,
}

/// All modes that are not `manual`. Clones share them.
#[derive(Debug, Clone)]
pub struct Modes {
    store: Arc<Store>,
    set: Arc<RwLock<Everybody>>,
}

#[derive(Debug, Default)]
struct Everybody {
    principals: BTreeMap<u32, Set>,
    sessions: BTreeMap<SessionId, Set>,
}

impl Modes {
    /// Reads those that the store has. A mode that is not known is `manual`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: Arc<Store>) -> Result<Self, StateError> {
        let principals = store.modes()?.into_iter().filter_map(|row| {
            let mode = Mode::named(&row.mode).filter(|mode| *mode != Mode::Yolo)?;
            let (uid, name) = row.approver;
            Some((row.uid, Set { mode, by: Principal { uid, gid: uid, name }, until: None }))
        });
        let set = Everybody { principals: principals.collect(), sessions: BTreeMap::new() };
        Ok(Self { store, set: Arc::new(RwLock::new(set)) })
    }

    /// How the asks of a session are answered now; `None` by a person.
    pub fn of(&self, uid: u32, session: &SessionId) -> Option<Set> {
        let now = Timestamp::now();
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let own = set.sessions.get(session).filter(|set| set.until.is_none_or(|until| now < until));
        own.or_else(|| set.principals.get(&uid)).filter(|set| set.mode != Mode::Manual).cloned()
    }

    /// The mode of a principal.
    pub fn of_principal(&self, uid: u32) -> Mode {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.principals.get(&uid).map_or(Mode::Manual, |set| set.mode)
    }

    /// Sets a session's mode; `None` is its principal's.
    pub fn set_session(&self, session: &SessionId, mode: Option<Set>) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        match mode {
            Some(mode) => drop(set.sessions.insert(session.clone(), mode)),
            None => drop(set.sessions.remove(session)),
        }
    }

    /// Sets a principal's mode. Waits for the disk. One that asks a person counts at once, one that does not once it is on
    /// disk.
    ///
    /// # Errors
    /// When it is not on disk.
    pub fn set_principal(
        &self,
        uid: u32,
        mode: Mode,
        by: Principal,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let take = |set: Option<Set>| {
            let mut all = self.set.write().unwrap_or_else(PoisonError::into_inner);
            match set {
                Some(set) => drop(all.principals.insert(uid, set)),
                None => drop(all.principals.remove(&uid)),
            }
        };
        if mode == Mode::Manual {
            take(None);
            return self.store.set_mode(uid, None);
        }
        let row = ModeRow {
            uid,
            mode: mode.name().to_owned(),
            approver: (by.uid, by.name.clone()),
            at: now.as_millisecond(),
        };
        self.store.set_mode(uid, Some(&row))?;
        take(Some(Set { mode, by, until: None }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_goes_before_its_principal_and_what_ends_is_manual() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(directory.path()).expect("a store").0);
        let modes = Modes::load(Arc::clone(&store)).expect("read");
        let session = SessionId::from_random([1; 16]);
        let by = Principal { uid: 0, gid: 0, name: "root".into() };
        let mode = |modes: &Modes| modes.of(7, &session).map(|set| set.mode);
        assert_eq!(mode(&modes), None);
        modes.set_principal(7, Mode::Off, by.clone(), Timestamp::now()).expect("set");
        assert_eq!((mode(&modes), modes.of(8, &session)), (Some(Mode::Off), None));
        let set = |mode, until| Some(Set { mode, by: by.clone(), until });
        modes.set_session(&session, set(Mode::Manual, None));
        assert_eq!(mode(&modes), None, "a session may be stricter");
        modes.set_session(&session, set(Mode::Yolo, Some(Timestamp::now() + Duration::from_secs(60))));
        assert_eq!(mode(&modes), Some(Mode::Yolo));
        modes.set_principal(7, Mode::Manual, by.clone(), Timestamp::now()).expect("set");
        modes.set_session(&session, set(Mode::Yolo, Some(Timestamp::now() - Duration::from_secs(1))));
        assert_eq!(mode(&modes), None, "it has ended");
        // A principal's outlives the supervisor, a session's does not.
        modes.set_principal(7, Mode::Smart, by.clone(), Timestamp::now()).expect("set");
        modes.set_session(&session, set(Mode::Off, None));
        let again = Modes::load(store).expect("read");
        assert_eq!(mode(&again), Some(Mode::Smart));
    }
}
