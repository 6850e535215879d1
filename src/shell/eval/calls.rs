//! Functions that are called, and texts that are found in values.

use super::super::{Oddity, Origin, Unknown, Value, parse};
use super::state::{Slot, hole};
use super::{Call, Evaluator, Function, Task, TooMuch, initial, numbered};

impl Evaluator<'_> {
    pub(super) fn started_background(&mut self) {
        self.set(
            "!",
            vec![Slot::Scalar(Value::unknown(Unknown { source: "$!".to_owned(), ..Unknown::default() }))],
        );
    }

    /// Walks a function's body. Without arguments nothing is known of them.
    pub(super) fn enter(&mut self, name: &str, function: &Function, arguments: Option<Vec<Value>>) {
        self.tasks.push(Task::Restore(Box::new(self.place.clone())));
        let locals = vec![("@".to_owned(), self.variables.get("@").cloned())];
        let arguments = match arguments {
            Some(values) => Slot::Array(numbered(values, 1)),
            None => Slot::Scalar(hole("$@", true)),
        };
        let keeps = locals.first().is_some_and(|(_, old)| old.is_some());
        let locals =
            if keeps { locals } else { vec![("@".to_owned(), Some(vec![initial(self.context, "@")]))] };
        self.variables.set("@", vec![arguments]);
        self.tasks.push(Task::Return { locals });
        self.tasks.push(Task::Node(function.ix, function.body));
        self.calls.push(Call {
            name: name.to_owned(),
            background: self.place.background,
            pipes: self.place.pipes,
            piped: 0,
            captures: self.captures.len(),
        });
        if self.place.origin == Origin::Plain {
            self.place.origin = Origin::Function(name.to_owned());
        }
    }

    pub(super) fn end_call(&mut self, call: &Call) {
        if call.piped >= 2 {
            self.fork_bomb(&call.name);
        }
    }

    pub(super) fn fork_bomb(&mut self, name: &str) {
        let span =
            self.functions.get(name).and_then(|all| all.last()).map_or(self.span, |function| function.span);
        let oddity = Oddity::SelfForking { name: name.to_owned(), span };
        if !self.out.oddities.contains(&oddity) {
            self.out.oddities.push(oddity);
        }
    }

    /// A value in which the shell will expand substitutions again.
    pub(super) fn reparse_value(&mut self, text: &str, what: &'static str) {
        if text.contains(['$', '`']) {
            self.found.push((text.to_owned(), true, what));
        }
    }

    pub(super) fn reparse_subscript(&mut self, text: &str) {
        match text.split_once('[') {
            Some((_, inside)) => self.check_names(inside.as_bytes()),
            None => self.reparse_value(text, "a subscript"),
        }
    }

    /// Walks the texts that the last command's values turned out to be.
    pub(super) fn walk_found(&mut self) -> Result<(), TooMuch> {
        for (text, word, what) in std::mem::take(&mut self.found) {
            if word {
                let mut end = "E".to_owned();
                while text.contains(&end) {
                    end.push('E');
                }
                self.text(&format!(": <<{end}\n{text}\n{end}\n"), Origin::Reparsed(what.to_owned()))?;
            } else {
                self.text(&text, Origin::Reparsed(what.to_owned()))?;
            }
        }
        Ok(())
    }

    /// Queues a text found in a value to be walked as commands.
    pub(super) fn text(&mut self, text: &str, origin: Origin) -> Result<(), TooMuch> {
        if self.place.depth >= self.budget.depth {
            return Err(TooMuch::Texts);
        }
        self.budget.bytes = self.budget.bytes.checked_sub(text.len()).ok_or(TooMuch::Texts)?;
        match parse(&super::without_nul(text), self.context.dialect, self.extglob, self.budget.limits) {
            Ok(script) => {
                let root = script.root;
                let ix = self.add(script, Some(self.span));
                self.tasks.push(Task::Restore(Box::new(self.place.clone())));
                self.tasks.push(Task::Node(ix, root));
                // several texts may be queued one after the other, none of them inside another
                self.tasks.push(Task::Enter(origin));
            }
            Err(error) => self.opaque(&format!("text that is run again does not parse: {error}")),
        }
        Ok(())
    }
}
