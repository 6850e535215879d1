//! Variables as a command sees them: one of their alternatives in each reading, and what they hold at the start.

use super::super::ast::Id;
use super::super::{Dialect, Unknown, Value};
use super::state::{self, CWD, Slot, Slots, hole};
use super::{Context, Evaluator, Ix, Printed};

impl Evaluator<'_> {
    pub(super) fn set(&mut self, name: &str, slots: Slots) {
        self.changed_variables = true;
        if matches!(name, "PATH" | "HOME") || self.context.has_variable(name) {
            self.exported.insert(name.to_owned());
        }
        self.variables.set(name, slots);
    }

    /// Assigns in the current reading: the first replaces, later ones add alternatives.
    pub(super) fn assign_slot(&mut self, name: &str, slot: Slot) {
        let mut name = name.to_owned();
        for _ in 0..8 {
            match self.variables.get(&name).map(Vec::as_slice) {
                Some([Slot::Reference(target)]) if !matches!(slot, Slot::Reference(_)) => {
                    name.clone_from(target);
                }
                _ => break,
            }
        }
        let slot = self.by_attribute(&name, slot);
        if self.reading == 0 && !self.read_only.contains(&name) {
            self.set(&name, vec![slot]);
        } else {
            let mut slots = self.variables.get(&name).cloned().unwrap_or_default();
            state::unite(&mut slots, &[slot], &name);
            self.set(&name, slots);
        }
    }

    /// What is assigned, by what is known of the variable: arithmetic, an alias, a mode.
    pub(super) fn by_attribute(&mut self, name: &str, slot: Slot) -> Slot {
        match (name, &slot) {
            ("BASH_ALIASES", Slot::Array(items)) => {
                let known = |(key, value): &(Vec<u8>, Value)| {
                    Some((String::from_utf8(key.clone()).ok()?, value.as_str()?.to_owned()))
                };
                self.aliases.extend(items.iter().filter_map(known));
            }
            ("POSIXLY_CORRECT", Slot::Scalar(_)) => self.posix = true,
            ("RANDOM" | "OPTIND", Slot::Scalar(value)) => {
                if let Some(bytes) = value.as_known().map(<[u8]>::to_vec) {
                    self.check_names(&bytes);
                }
            }
            (_, Slot::Scalar(value)) => {
                if let Some(kind) = self.attributes.get(name).copied() {
                    return Slot::Scalar(self.converted(name, kind, value.clone()));
                }
            }
            (_, Slot::Array(items)) => {
                if let Some(kind) = self.attributes.get(name).copied() {
                    let convert = |(key, value): &(Vec<u8>, Value)| {
                        (key.clone(), self.converted(name, kind, value.clone()))
                    };
                    return Slot::Array(items.iter().map(convert).collect());
                }
            }
            _ => {}
        }
        slot
    }

    /// A value that is assigned as arithmetic, or in other letters.
    pub(super) fn converted(&mut self, name: &str, kind: u8, value: Value) -> Value {
        let Some(bytes) = value.as_known().map(<[u8]>::to_vec) else { return number(&format!("${name}")) };
        match kind {
            b'u' => Value::known(bytes.to_ascii_uppercase()),
            b'l' => Value::known(bytes.to_ascii_lowercase()),
            b'c' => {
                let mut bytes = bytes.to_ascii_lowercase();
                bytes.iter_mut().take(1).for_each(u8::make_ascii_uppercase);
                Value::known(bytes)
            }
            _ => {
                self.check_names(&bytes);
                let picked = self.picks.len();
                match super::arith::evaluate(&bytes, self) {
                    Some(number) if self.picks.len() == picked => Value::known(number.to_string()),
                    // not known, or not the same in each reading
                    _ => {
                        self.picks.truncate(picked);
                        number(&format!("${name}"))
                    }
                }
            }
        }
    }

    pub(super) fn apply_deferred(&mut self) {
        for (name, slot) in std::mem::take(&mut self.deferred) {
            self.assign_slot(&name, slot);
        }
    }

    /// Variables that a loop's head steps: anything.
    pub(super) fn forget_deferred(&mut self) {
        for (name, slot) in std::mem::take(&mut self.deferred) {
            let counts = matches!(self.variables.get(&name).and_then(|slots| slots.first()), Some(Slot::Scalar(value))
                if value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()));
            let other = if counts { state::counted_slot(&name) } else { state::unknown_slot(&name) };
            self.set(&name, vec![slot, other]);
        }
        self.picks.clear();
    }

    /// What a variable holds in the current reading.
    pub(super) fn slot(&mut self, name: &str) -> Slot {
        // what the same command has assigned: `${x:=a} $x`, which may be much: `{1..60}$[x=1]{1..60}`
        self.debt += self.deferred.len() / 32;
        if let Some((_, slot)) = self.deferred.iter().rev().find(|(known, _)| known == name) {
            return slot.clone();
        }
        let mut name = name.to_owned();
        for _ in 0..8 {
            let slot = match self.variables.get(&name) {
                None => return initial(self.context, &name),
                Some(slots) if slots.len() == 1 => slots.first().cloned(),
                Some(slots) => {
                    let count = slots.len();
                    let index = self.pick(&name, count);
                    self.variables.get(&name).and_then(|slots| slots.get(index)).cloned()
                }
            };
            match slot {
                Some(Slot::Reference(target)) => name = target,
                Some(slot) => {
                    if let Slot::Array(items) = &slot {
                        self.debt += items.len();
                    }
                    return slot;
                }
                None => return state::unknown_slot(&name),
            }
        }
        state::unknown_slot(&name)
    }

    /// Which of several alternatives the current reading takes.
    pub(super) fn pick(&mut self, key: &str, count: usize) -> usize {
        if let Some((_, index, _)) = self.picks.iter().find(|(known, _, _)| known == key) {
            return *index;
        }
        if self.overflow {
            // Past the bound on readings: the last alternative, which a bounded variable keeps for the unknown.
            return count.saturating_sub(1);
        }
        self.picks.push((key.to_owned(), 0, count));
        0
    }

    /// Goes to the next combination of alternatives; false when all have been read.
    pub(super) fn next_picks(&mut self) -> bool {
        while let Some((_, index, count)) = self.picks.last_mut() {
            *index += 1;
            if *index < *count {
                return true;
            }
            self.picks.pop();
        }
        false
    }

    pub(super) fn variable_value(&mut self, name: &str) -> Value {
        self.element(name, None).unwrap_or_else(|| hole(&format!("${}", name.trim_start_matches('\0')), true))
    }

    pub(super) fn certainly_unset(&self, name: &str) -> bool {
        self.context.others_unset
            && self.variables.get(name).is_none()
            && !self.context.has_variable(name)
            && name.parse::<usize>().is_err()
    }

    pub(super) fn zero(&self) -> Value {
        let known = self.context.arguments.as_ref().and_then(|arguments| arguments.first());
        known
            .cloned()
            .unwrap_or_else(|| Value::unknown(Unknown { source: "$0".to_owned(), ..Unknown::default() }))
    }

    /// What a substitution stands for.
    pub(super) fn substituted(&mut self, ix: Ix, list: Id, source: &str) -> Value {
        match self.printed.get(&(ix, list)) {
            Some(Printed { known: Some(bytes), .. }) => Value::known(taken_in(bytes)),
            Some(Printed { value: Some(value), .. }) => value.clone(),
            _ => hole(source, false),
        }
    }

    /// The name that a process substitution is given.
    pub(super) fn process_path(&mut self, ix: Ix, list: Id) -> Vec<u8> {
        let index = match self.processes.iter().position(|known| *known == (ix, list)) {
            Some(index) => index,
            None => {
                self.processes.push((ix, list));
                self.processes.len() - 1
            }
        };
        format!("/dev/fd/{}", 63usize.saturating_sub(index)).into_bytes()
    }
}

/// Output as a substitution stands for it: without NULs, and without newlines at its end.
pub(super) fn taken_in(bytes: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    text.truncate(text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1));
    text
}

/// A number that is not known.
fn number(source: &str) -> Value {
    Value::unknown(Unknown { source: source.to_owned(), ..Unknown::default() })
}

/// What a variable holds before the text runs.
pub(super) fn initial(context: &Context<'_>, name: &str) -> Slot {
    if let Some(value) = context.variable(name) {
        return Slot::Scalar(value);
    }
    let unknown = |source: &str| Value::unknown(Unknown { source: source.to_owned(), ..Unknown::default() });
    let value = match name {
        CWD | "PWD" => Value::clone(&context.cwd),
        "HOME" => Value::known(context.home.as_bytes()),
        "IFS" => Value::known(b" \t\n".as_slice()),
        "@" | "*" => match &context.arguments {
            Some(arguments) => return Slot::Array(numbered(arguments.iter().skip(1).cloned().collect(), 1)),
            None => hole("$@", true),
        },
        "UID" | "EUID" if context.dialect == Dialect::Bash => Value::known(context.uid.to_string()),
        "SHELL" => Value::known(b"/bin/bash".as_slice()),
        "OPTIND" => Value::known(b"1".as_slice()),
        "OSTYPE" => Value::known(b"linux-gnu".as_slice()),
        "PS4" => Value::known(b"+ ".as_slice()),
        "BASH" => {
            let mut value = Value::known(b"/".as_slice());
            value.pieces.extend(unknown("$BASH").pieces);
            value
        }
        "$"
        | "?"
        | "-"
        | "RANDOM"
        | "SRANDOM"
        | "SECONDS"
        | "EPOCHSECONDS"
        | "EPOCHREALTIME"
        | "PPID"
        | "BASHPID"
        | "LINENO"
        | "SHLVL"
        | "BASH_SUBSHELL"
        | "BASH_VERSION"
        | "HOSTNAME"
        | "HOSTTYPE"
        | "MACHTYPE"
        | "COLUMNS"
        | "LINES"
        | "PIPESTATUS"
        | "GROUPS"
        | "BASH_VERSINFO"
        | "SHELLOPTS"
        | "BASHOPTS"
        | "PATH"
        | "TERM"
        | "_"
        | "BASH_COMMAND"
        | "BASH_EXECUTION_STRING" => unknown(&format!("${name}")),
        "BASH_SOURCE" => unknown("$0"),
        _ if context.others_unset => return Slot::Unset,
        _ => hole(&format!("${name}"), true),
    };
    Slot::Scalar(value)
}

/// Values with their numbers as keys.
pub(super) fn numbered(values: Vec<Value>, first: usize) -> Vec<(Vec<u8>, Value)> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| ((index + first).to_string().into_bytes(), value))
        .collect()
}
