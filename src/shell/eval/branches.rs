//! Several ways in which one command may go: its readings, and the definitions of the function that it calls. One of them
//! happens, and nobody knows which: each begins with the variables as they were, and all that they make of them is an
//! alternative afterwards.

use std::collections::HashMap;

use super::super::Value;
use super::super::ast::{Id, Node};
use super::simple::Reading;
use super::state::{Slot, Slots};
use super::{Evaluator, Function, Ix, Task, TooMuch};

/// One way.
#[derive(Debug)]
pub(super) enum Way {
    /// A command, read so.
    Reading(Ix, Node, Box<Reading>),
    /// Nothing is there that could be called.
    Nothing,
    /// A function, called by this definition.
    Call(String, Function, Vec<Value>),
}

/// Those that are still to be walked, the next one last.
#[derive(Debug)]
pub(super) struct Ways {
    left: Vec<Way>,
    mark: Option<usize>,
    branches: Vec<HashMap<String, Slots>>,
    processes: Vec<(Ix, Id)>,
}

impl Evaluator<'_> {
    /// Walks several ways, one after the other.
    pub(super) fn ways(&mut self, mut ways: Vec<Way>) {
        ways.reverse();
        let processes = self.processes.clone();
        self.tasks.push(Task::Ways(Box::new(Ways {
            left: ways,
            mark: None,
            branches: Vec::new(),
            processes,
        })));
    }

    pub(super) fn next_way(&mut self, mut ways: Ways) -> Result<(), TooMuch> {
        if let Some(mark) = ways.mark.take() {
            let branch = self.variables.leave_branch(mark);
            // what bringing them together costs
            self.spend(branch.values().map(Vec::len).sum::<usize>() / 4)?;
            ways.branches.push(branch);
            self.place.conditional = self.place.conditional.saturating_sub(1);
        }
        let Some(way) = ways.left.pop() else {
            self.join(ways.branches, true);
            return Ok(());
        };
        ways.mark = Some(self.variables.mark());
        self.place.conditional += 1;
        self.processes.clone_from(&ways.processes);
        self.tasks.push(Task::Ways(Box::new(ways)));
        match way {
            Way::Reading(ix, node, reading) => {
                let script = self.script(ix);
                self.picks.clear();
                self.apply_there(*reading, &script, ix, &node)?;
                self.picks.clear();
                self.walk_found()
            }
            Way::Nothing => Ok(()),
            Way::Call(name, function, arguments) => {
                self.enter_as(&name, &function, arguments);
                Ok(())
            }
        }
    }

    /// Arithmetic in each reading of the variables in it: what it assigns becomes alternatives.
    pub(super) fn in_each_reading(
        &mut self,
        mut calculate: impl FnMut(&mut Self) -> Result<(), TooMuch>,
    ) -> Result<(), TooMuch> {
        let outer = std::mem::take(&mut self.picks);
        let mut assigned: Vec<Vec<(String, Slot)>> = Vec::new();
        loop {
            calculate(self)?;
            assigned.push(std::mem::take(&mut self.deferred));
            if !self.next_picks() {
                break;
            }
            if assigned.len() >= super::simple::READINGS {
                // what is assigned in the readings that are left is not known
                let names: Vec<String> = assigned.iter().flatten().map(|(name, _)| name.clone()).collect();
                let unknown = |name: String| (name.clone(), super::state::unknown_slot(&name));
                assigned.push(names.into_iter().map(unknown).collect());
                break;
            }
        }
        self.picks = outer;
        if let [_] = assigned.as_slice() {
            self.deferred = assigned.pop().unwrap_or_default();
            self.apply_deferred();
            return Ok(());
        }
        let mut branches = Vec::with_capacity(assigned.len());
        for deferred in assigned {
            let mark = self.variables.mark();
            self.deferred = deferred;
            self.apply_deferred();
            branches.push(self.variables.leave_branch(mark));
        }
        self.join(branches, true);
        Ok(())
    }
}

/// The ways of a command, for each of its readings.
pub(super) fn of_readings(ix: Ix, node: &Node, readings: Vec<Reading>) -> Vec<Way> {
    readings.into_iter().map(|reading| Way::Reading(ix, *node, Box::new(reading))).collect()
}
