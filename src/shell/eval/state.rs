//! Variables, and what happens to them in branches, loops and subshells.
//!
//! A variable has one value on each way through the text that leads here; the ways are kept apart as alternatives.
//! Every change is noted in a journal, so that leaving a subshell takes changes back, and leaving a branch makes the
//! old value an alternative to the new one.

use std::collections::HashMap;

use super::super::{COUNTED, Unknown, Value};

/// Most values that a variable is followed with; with more it is unknown besides.
const ALTERNATIVES: usize = 64;

/// The name under which the current directory is kept among the variables.
pub(super) const CWD: &str = "\0cwd";

/// What a variable holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Unset,
    Scalar(Value),
    /// Keys and values in order; an index is its decimal digits.
    Array(Vec<(Vec<u8>, Value)>),
    /// `declare -n`
    Reference(String),
}

/// The alternatives for one variable.
pub(super) type Slots = Vec<Slot>;

#[derive(Debug, Default)]
pub(super) struct Variables {
    slots: HashMap<String, Slots>,
    journal: Vec<(String, Option<Slots>)>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&Slots> {
        self.slots.get(name)
    }

    pub(super) fn set(&mut self, name: &str, slots: Slots) {
        let old = self.slots.insert(name.to_owned(), slots);
        self.journal.push((name.to_owned(), old));
    }

    /// A point to go back to.
    pub(super) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Takes back everything since the mark.
    pub(super) fn roll_back(&mut self, mark: usize) {
        while self.journal.len() > mark {
            if let Some((name, old)) = self.journal.pop() {
                match old {
                    Some(old) => self.slots.insert(name, old),
                    None => self.slots.remove(&name),
                };
            }
        }
    }

    /// What the variables changed since the mark are now; the changes are taken back.
    pub(super) fn leave_branch(&mut self, mark: usize) -> HashMap<String, Slots> {
        let mut changed = HashMap::new();
        for (name, _) in self.journal.get(mark..).unwrap_or(&[]) {
            if let Some(slots) = self.slots.get(name) {
                changed.entry(name.clone()).or_insert_with(|| slots.clone());
            }
        }
        self.roll_back(mark);
        changed
    }

    /// After branches of which any may have run: every outcome is an alternative. `old` gives the value before.
    pub(super) fn join(
        &mut self,
        branches: Vec<HashMap<String, Slots>>,
        exhaustive: bool,
        old: impl Fn(&Self, &str) -> Slots,
    ) {
        let mut names: Vec<&String> = branches.iter().flat_map(HashMap::keys).collect();
        names.sort();
        names.dedup();
        let mut joined = Vec::with_capacity(names.len());
        for name in names {
            let before = old(self, name);
            let mut all = if exhaustive { Slots::new() } else { before.clone() };
            for branch in &branches {
                unite(&mut all, branch.get(name).unwrap_or(&before), name);
            }
            joined.push((name.clone(), all));
        }
        for (name, slots) in joined {
            self.set(&name, slots);
        }
    }
}

/// Adds alternatives; past the bound the variable is unknown besides.
pub(super) fn unite(all: &mut Slots, more: &[Slot], name: &str) {
    for slot in more {
        if all.len() >= ALTERNATIVES {
            let unknown = unknown_slot(name);
            if !all.contains(&unknown) {
                all.push(unknown);
            }
            return;
        }
        if !all.contains(slot) {
            all.push(slot.clone());
        }
    }
}

/// A variable of which nothing is known.
pub(super) fn unknown_slot(name: &str) -> Slot {
    let source = if name == CWD { "$PWD".to_owned() } else { format!("${name}") };
    Slot::Scalar(hole(&source, false))
}

/// A variable that a loop counts with: each number in turn.
pub(super) fn counted_slot(name: &str) -> Slot {
    let source = format!("${name}{COUNTED}");
    Slot::Scalar(Value::unknown(Unknown { source, ..Unknown::default() }))
}

/// A value that is one hole.
pub(super) fn hole(source: &str, unset: bool) -> Value {
    Value::unknown(Unknown { source: source.to_owned(), may_be_empty: true, unset, ..Unknown::default() })
}
