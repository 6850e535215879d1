//! The commands of a session, by the names that their client chose.

use std::collections::BTreeMap;

use crate::wire::rpc::{Code, Error, ExecId, State};

/// A command that has a name.
pub trait Member: Clone {
    /// Everything that was asked for, in a form that can be compared.
    type Asked: PartialEq;

    /// What it was started with.
    fn asked(&self) -> Self::Asked;

    /// How far it has come.
    fn state(&self) -> State;
}

/// Commands under way, and those that have ended and are kept for whoever asks.
#[derive(Debug)]
pub struct Roster<T> {
    by_id: BTreeMap<ExecId, T>,
    /// Oldest first.
    order: Vec<ExecId>,
    started: u64,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), order: Vec::new(), started: 0 }
    }
}

impl<T: Member> Roster<T> {
    /// The command that has this name already, where it was started with the same.
    ///
    /// # Errors
    /// When it was started with something else.
    pub fn again(&self, id: &ExecId, asked: &T::Asked) -> Result<Option<T>, Error> {
        match self.by_id.get(id) {
            Some(known) if known.asked() == *asked => Ok(Some(known.clone())),
            Some(_) => Err(Error::new(
                Code::IdInUse,
                "this id belongs to a command that was started with other parameters",
            )
            .hint("choose another id for another command")),
            None => Ok(None),
        }
    }

    /// Whether one more may be under way.
    ///
    /// # Errors
    /// When there are `most` already.
    pub fn room(&self, most: usize) -> Result<(), Error> {
        if self.by_id.values().filter(|member| member.state() != State::Ended).count() < most {
            return Ok(());
        }
        Err(Error::new(Code::Limit, "the session has as many commands under way as it may have")
            .hint("wait for one to end, or end one with exec/kill"))
    }

    /// Forgets those that have ended, the oldest first, until fewer than `most` are left of all; or all of them.
    pub fn evict(&mut self, most: usize) -> Vec<T> {
        let mut gone = Vec::new();
        while self.order.len() >= most {
            let ended = |id: &ExecId| self.by_id.get(id).is_none_or(|member| member.state() == State::Ended);
            let Some(oldest) = self.order.iter().position(ended) else { break };
            gone.extend(self.by_id.remove(&self.order.remove(oldest)));
        }
        gone
    }

    /// The number that the next command will have, from 1: each has one of its own for as long as the session lasts.
    pub fn next_number(&mut self) -> u64 {
        self.started += 1;
        self.started
    }

    /// The next command will have a number after this one.
    pub fn go_on_after(&mut self, number: u64) {
        self.started = self.started.max(number);
    }

    /// Adds a command under a name that [`Self::again`] says nobody has.
    pub fn insert(&mut self, id: ExecId, member: T) {
        if self.by_id.insert(id.clone(), member).is_none() {
            self.order.push(id);
        }
    }

    /// The one of this name.
    pub fn get(&self, id: &ExecId) -> Option<T> {
        self.by_id.get(id).cloned()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<T> {
        self.order.iter().filter_map(|id| self.by_id.get(id).cloned()).collect()
    }

    /// How many were started so far.
    pub fn started(&self) -> u64 {
        self.started
    }
}
