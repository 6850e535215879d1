//! Whose session is whose.

use std::collections::BTreeMap;

use super::Session;
use crate::wire::rpc::SessionId;

/// All sessions, by their names.
#[derive(Debug)]
pub struct Register<S>(BTreeMap<SessionId, S>);

impl<S> Default for Register<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Session> Register<S> {
    /// Adds one, under a name that nobody can guess.
    pub fn insert(&mut self, id: SessionId, session: S) {
        self.0.insert(id, session);
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &SessionId) {
        self.0.remove(id);
    }

    /// The one of this name, whoever has it: whether a peer may know of it is [`super::Found::look_up`]'s to say.
    pub fn by_name(&self, id: &SessionId) -> Option<S> {
        self.0.get(id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<S> {
        self.0.values().cloned().collect()
    }

    /// Those of one principal that have not ended.
    pub fn of(&self, owner: u32) -> Vec<S> {
        self.0.values().filter(|session| session.owner() == owner && !session.is_over()).cloned().collect()
    }
}
