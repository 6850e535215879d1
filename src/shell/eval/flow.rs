//! Lists, pipelines, branches and loops: in what order commands run, and what is true of variables after each.

use std::collections::HashMap;

use super::super::ast::{Id, Script, Slice, Then};
use super::super::{Input, Value};
use super::state::{self, Slot, Slots};
use super::{Capture, Evaluator, Ix, Place, Task, TooMuch, initial};

impl Evaluator<'_> {
    pub(super) fn items(
        &mut self,
        ix: Ix,
        items: Slice,
        next: u32,
        mut chain: Option<usize>,
        mut background: Option<(usize, Box<Place>)>,
    ) -> Result<(), TooMuch> {
        let script = self.script(ix);
        let all = script.items.get(items.range()).unwrap_or(&[]);
        let before = next.checked_sub(1).and_then(|last| all.get(last as usize)).map(|item| item.then);
        let joined = matches!(before, Some(Then::And | Then::Or));
        if next > 0 && !joined && self.begins_line(&script, ix, items, next) {
            self.line_ends = false;
        }
        // what stands behind an error on its line may not run
        let ended = self.line_ends && next > 0 && !joined && next < items.len;
        if !joined {
            if let Some(mark) = chain.take_if(|_| !ended) {
                self.place.conditional = self.place.conditional.saturating_sub(1);
                let branch = self.variables.leave_branch(mark);
                self.join(vec![branch], false);
            }
            if let Some((mark, place)) = background.take() {
                self.variables.roll_back(mark);
                self.place = *place;
            }
        }
        let Some(item) = all.get(next as usize) else { return Ok(()) };
        let certain = before == Some(Then::And)
            && next
                .checked_sub(1)
                .and_then(|last| all.get(last as usize))
                .is_some_and(|last| self.surely_succeeds(&script, last.node));
        if (ended || joined && !certain) && chain.is_none() {
            chain = Some(self.variables.mark());
            self.place.conditional += 1;
        }
        if !joined {
            let rest = all.get(next as usize..).unwrap_or(&[]);
            let end = rest.iter().find(|item| !matches!(item.then, Then::And | Then::Or));
            if end.is_some_and(|item| item.then == Then::Background) {
                background = Some((self.variables.mark(), Box::new(self.place.clone())));
                self.place.background += 1;
                self.started_background();
            }
        }
        self.tasks.push(Task::Items { ix, items, next: next + 1, chain, background });
        self.tasks.push(Task::Node(ix, item.node));
        Ok(())
    }

    pub(super) fn stages(
        &mut self,
        ix: Ix,
        commands: Slice,
        next: u32,
        mark: usize,
        place: Box<Place>,
        captures: usize,
    ) {
        let script = self.script(ix);
        self.variables.roll_back(mark);
        if next > 0 && next < commands.len {
            let capture = self.captures.pop().unwrap_or_default();
            self.place.stdin = match capture.known {
                Some(bytes) => Input::Known(bytes),
                None => Input::Pipe(capture.writers),
            };
        }
        self.captures.truncate(captures);
        let Some(command) = script.ids(commands).get(next as usize) else {
            self.place = *place;
            return;
        };
        if next + 1 < commands.len {
            let capture = Capture {
                known: Some(Vec::new()),
                conditional: self.place.conditional,
                ..Capture::default()
            };
            self.captures.push(capture);
        }
        self.tasks.push(Task::Stages { ix, commands, next: next + 1, mark, place, captures });
        self.tasks.push(Task::Node(ix, *command));
    }

    // --- Branches and loops ---

    pub(super) fn join(&mut self, branches: Vec<HashMap<String, Slots>>, exhaustive: bool) {
        if branches.iter().all(HashMap::is_empty) {
            return;
        }
        let context = self.context;
        self.variables.join(branches, exhaustive, |variables, name| match variables.get(name) {
            Some(slots) => slots.clone(),
            None => vec![initial(context, name)],
        });
    }

    /// Lists alternate between conditions, which run in order, and bodies, of which one runs.
    pub(super) fn branches_of_if(
        &mut self,
        ix: Ix,
        lists: Slice,
        next: u32,
        mark: usize,
        mut branches: Vec<HashMap<String, Slots>>,
    ) {
        let script = self.script(ix);
        let lists_all = script.ids(lists);
        let body = |index: u32| index % 2 == 1 || index + 1 == lists.len && lists.len % 2 == 1;
        if next > 0 && body(next - 1) {
            branches.push(self.variables.leave_branch(mark));
            self.place.conditional = self.place.conditional.saturating_sub(1);
        }
        let Some(list) = lists_all.get(next as usize) else {
            self.join(branches, lists.len % 2 == 1);
            return;
        };
        if body(next) {
            self.place.conditional += 1;
        }
        let mark = if body(next) { self.variables.mark() } else { mark };
        self.tasks.push(Task::If { ix, lists, next: next + 1, mark, branches });
        self.tasks.push(Task::Node(ix, *list));
    }

    pub(super) fn arms(
        &mut self,
        ix: Ix,
        arms: Slice,
        next: u32,
        mark: usize,
        mut branches: Vec<HashMap<String, Slots>>,
    ) {
        let script = self.script(ix);
        if next > 0 {
            branches.push(self.variables.leave_branch(mark));
            self.place.conditional = self.place.conditional.saturating_sub(1);
        }
        let Some(arm) = script.arms.get(arms.range()).and_then(|arms| arms.get(next as usize)) else {
            self.join(branches, false);
            return;
        };
        self.place.conditional += 1;
        let mark = self.variables.mark();
        self.tasks.push(Task::Arms { ix, arms, next: next + 1, mark, branches });
        if let Some(body) = arm.body {
            self.tasks.push(Task::Node(ix, body));
        }
    }

    pub(super) fn begin_loop(&mut self, ix: Ix, condition: Option<Id>, body: Id) {
        let (mark, invocations) = (self.variables.mark(), self.out.invocations.len());
        self.tasks.push(Task::Loop { ix, condition, body, pass: 0, mark, invocations });
        self.tasks.push(Task::Conditional(false));
        self.tasks.push(Task::Node(ix, body));
        self.tasks.push(Task::Conditional(true));
        self.tasks.extend(condition.map(|condition| Task::Node(ix, condition)));
    }

    /// After a pass through a loop. Where the pass changed variables a second one sees them as they were, as they
    /// are now, and as anything else that further passes may make of them.
    pub(super) fn again(
        &mut self,
        ix: Ix,
        condition: Option<Id>,
        body: Id,
        pass: u8,
        mark: usize,
        invocations: usize,
    ) {
        let mut changed = self.variables.leave_branch(mark);
        if changed.is_empty() {
            return;
        }
        if pass == 0 {
            for (name, slots) in &mut changed {
                let is_number = |slot: &Slot| match slot {
                    Slot::Scalar(value) => value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()),
                    _ => false,
                };
                let before = self.variables.get(name).and_then(|slots| slots.first());
                let counts = before.is_some_and(is_number) && slots.first().is_some_and(is_number);
                let unknown = if counts { state::counted_slot(name) } else { state::unknown_slot(name) };
                if !slots.contains(&unknown) {
                    slots.push(unknown);
                }
            }
        }
        self.join(vec![changed], false);
        if pass == 0 {
            let mark = self.variables.mark();
            self.tasks.push(Task::Loop { ix, condition, body, pass: 1, mark, invocations });
            self.tasks.push(Task::Conditional(false));
            self.tasks.push(Task::Node(ix, body));
            self.tasks.push(Task::Conditional(true));
            self.tasks.extend(condition.map(|condition| Task::Node(ix, condition)));
        }
    }

    pub(super) fn cond(&mut self, script: &Script, ix: Ix, words: Slice) -> Result<(), TooMuch> {
        self.in_each_reading(|shell| shell.condition(script, ix, words))?;
        self.walk_found()
    }

    /// What a condition evaluates in one reading of its variables.
    fn condition(&mut self, script: &Script, ix: Ix, words: Slice) -> Result<(), TooMuch> {
        let ids = script.ids(words);
        let mut values = Vec::with_capacity(ids.len());
        for word in ids {
            values.push(self.single(script, ix, *word, false)?);
        }
        for (index, value) in values.iter().enumerate() {
            match value.as_known() {
                Some(b"-eq" | b"-ne" | b"-lt" | b"-le" | b"-gt" | b"-ge") => {
                    for side in [index.wrapping_sub(1), index + 1] {
                        if let Some(text) = values.get(side).and_then(Value::as_known).map(<[u8]>::to_vec) {
                            self.check_names(&text);
                        }
                    }
                }
                Some(b"-v" | b"-R") => {
                    if let Some(text) =
                        values.get(index + 1).and_then(Value::as_str).filter(|text| text.contains('['))
                    {
                        let text = text.to_owned();
                        self.reparse_subscript(&text);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
