//! Assignments in front of a command: how far they reach where the command is a function, or a builtin that runs text.

use super::super::Dialect;
use super::simple::Reading;
use super::state::{Slot, Slots};
use super::{Evaluator, Task, initial};

/// Builtins in front of which a POSIX shell assigns for good (POSIX.1-2024, 2.15).
const SPECIAL: &[&str] = &[
    ":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift",
    "source", "times", "trap", "unset",
];

impl Evaluator<'_> {
    /// Whether assignments in front of a builtin stay.
    pub(super) fn assigns_for_good(&self, reading: &Reading) -> bool {
        let posix = self.posix || self.context.dialect == Dialect::Posix;
        let name = reading.argv.first().and_then(super::Value::as_str);
        posix && name.is_some_and(|name| SPECIAL.contains(&name))
    }

    /// Assigns for as long as a function, or a text, is walked: it sees them, and so does what it starts.
    pub(super) fn assign_in_front(&mut self, assigns: &[(String, Slot)]) {
        if assigns.is_empty() {
            return;
        }
        let mut before = Vec::with_capacity(assigns.len());
        let mut exported = Vec::new();
        for (name, slot) in assigns {
            let old = self.variables.get(name).cloned();
            before.push((name.clone(), old.unwrap_or_else(|| vec![initial(self.context, name)])));
            let known = self.exported.contains(name);
            self.set(name, vec![slot.clone()]);
            if !known {
                self.exported.insert(name.clone());
                exported.push(name.clone());
            }
        }
        self.tasks.push(Task::EndFront { before, exported });
    }

    /// Takes back what was assigned in front.
    pub(super) fn end_front(&mut self, before: Vec<(String, Slots)>, exported: Vec<String>) {
        for (name, slots) in before.into_iter().rev() {
            self.variables.set(&name, slots);
        }
        for name in exported {
            self.exported.remove(&name);
        }
    }

    /// What a variable held before it was assigned in front of what is being walked: `unset` brings that to light again.
    pub(super) fn covered(&self, name: &str) -> Slots {
        let found = self.tasks.iter().rev().find_map(|task| match task {
            Task::EndFront { before, .. } => before.iter().find(|(known, _)| known == name),
            _ => None,
        });
        found.map(|(_, slots)| slots.clone()).unwrap_or_default()
    }
}
