//! Simple commands: their words, assignments and redirections, and what they do to the state.

use std::rc::Rc;
use std::sync::Arc;

use super::super::ast::{Assign, Assigned, Kind, Node, RedirOp, Script, Slice, Target};
use super::super::{Input, Piece, Redirect, RedirectKind, Span, Value};
use super::branches::{self, Way};
use super::expand::plain;
use super::report::flatten;
use super::state::{CWD, Slot};
use super::surely;
use super::{Evaluator, Function, Ix, Task, TooMuch, arith, numbered};

/// Most readings of one command, for alternatives of the variables in it.
pub(super) const READINGS: usize = 64;

/// Aliases that may stand one behind the other in one command.
const MOST_ALIASES: usize = 4;

/// One way in which a command may be expanded.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) argv: Vec<Value>,
    pub(super) assigns: Vec<(String, Slot)>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) stdin: Option<Input>,
    /// Standard output goes elsewhere.
    pub(super) stdout: bool,
    /// Where it runs, of several directories that the text may have led to.
    cwd: Option<Arc<Value>>,
    deferred: Vec<(String, Slot)>,
}

impl Evaluator<'_> {
    pub(super) fn simple(&mut self, script: &Rc<Script>, ix: Ix, node: &Node) -> Result<(), TooMuch> {
        let Kind::Simple { assigns, words } = node.kind else { return Ok(()) };
        self.processes.clear();
        self.picks.clear();
        self.overflow = false;
        let first = self.reading(script, ix, node, assigns, words)?;
        if self.picks.is_empty() {
            self.apply_there(first, script, ix, node)?;
            return self.walk_found();
        }
        let mut readings = vec![first];
        while self.next_picks() {
            self.overflow = readings.len() >= READINGS;
            if self.overflow {
                self.picks.clear();
            }
            readings.push(self.reading(script, ix, node, assigns, words)?);
            if self.overflow {
                break;
            }
        }
        self.picks.clear();
        self.overflow = false;
        if readings.len() == 1 {
            for reading in readings {
                self.apply_there(reading, script, ix, node)?;
            }
            return self.walk_found();
        }
        self.ways(branches::of_readings(ix, node, readings));
        Ok(())
    }

    pub(super) fn reading(
        &mut self,
        script: &Script,
        ix: Ix,
        node: &Node,
        assigns: Slice,
        words: Slice,
    ) -> Result<Reading, TooMuch> {
        let several = self.variables.get(CWD).is_some_and(|slots| slots.len() > 1);
        let cwd = several.then(|| self.cwd());
        let ids = script.ids(words);
        let mut argv = Vec::with_capacity(ids.len());
        let declares = ids.len() > 1
            && matches!(
                script.ids(words).first().and_then(|word| script.plain(*word)),
                Some(b"declare" | b"typeset" | b"local" | b"export" | b"readonly")
            );
        for word in ids {
            // `export x=$y` does not split, like an assignment.
            let start = script.word(*word).map_or(&[][..], |word| script.bytes(word.span));
            let name = start
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+'))
                .count();
            if declares && name > 0 && start.get(name) == Some(&b'=') {
                let value = self.declared(script, ix, *word)?;
                argv.push(value);
                continue;
            }
            if let Some(value) = plain(script, *word) {
                argv.push(value);
                continue;
            }
            argv.extend(self.expanded(script, ix, *word, true)?);
        }
        let mut assigned = Vec::new();
        if assigns.len > 0 {
            let mark = self.variables.mark();
            for assign in script.assigns.get(assigns.range()).unwrap_or(&[]) {
                let (name, slot) = self.assignment(script, ix, assign)?;
                self.spend(flatten(&slot, &name).weight() / 64)?;
                self.variables.set(&name, vec![slot.clone()]);
                assigned.push((name, slot));
            }
            self.variables.roll_back(mark);
        }
        let (redirects, stdin, stdout) = self.redirects(script, ix, node.redirs)?;
        let deferred = std::mem::take(&mut self.deferred);
        Ok(Reading { argv, assigns: assigned, redirects, stdin, stdout, cwd, deferred })
    }

    /// The name that is assigned to, and what it will hold.
    pub(super) fn assignment(
        &mut self,
        script: &Script,
        ix: Ix,
        assign: &Assign,
    ) -> Result<(String, Slot), TooMuch> {
        let name = String::from_utf8_lossy(script.bytes(assign.name)).into_owned();
        let key = match assign.subscript {
            Some(word) => Some(self.key(script, ix, word)?),
            None => None,
        };
        let slot = match assign.value {
            Assigned::Array(elements) => {
                let mut items = match self.slot(&name) {
                    Slot::Array(items) if assign.append => items,
                    Slot::Scalar(value) if assign.append => vec![(b"0".to_vec(), value)],
                    _ => Vec::new(),
                };
                let mut next = next_index(&items);
                for element in script.assigns.get(elements.range()).unwrap_or(&[]) {
                    let Assigned::Word(word) = element.value else { continue };
                    match element.subscript {
                        Some(subscript) => {
                            let key = self.key(script, ix, subscript)?;
                            let value = self.single(script, ix, word, true)?;
                            let Some(key) = key else {
                                return Ok((name.clone(), super::state::unknown_slot(&name)));
                            };
                            if let Some(index) =
                                std::str::from_utf8(&key).ok().and_then(|key| key.parse::<usize>().ok())
                            {
                                next = index.saturating_add(1);
                            }
                            items.retain(|(known, _)| *known != key);
                            items.push((key, value));
                        }
                        None => {
                            let values = self.arguments(script, ix, word)?;
                            for value in values.into_iter().filter(|value| !value.is_no_word()) {
                                items.push((next.to_string().into_bytes(), value));
                                next = next.saturating_add(1);
                            }
                        }
                    }
                }
                Slot::Array(in_order(items))
            }
            Assigned::Word(word) => {
                let value = self.single(script, ix, word, true)?;
                match key {
                    None if assign.append => match self.slot(&name) {
                        Slot::Scalar(old) => Slot::Scalar(concat(old, value)),
                        Slot::Array(mut items) => {
                            match items.first_mut() {
                                Some((_, first)) => *first = concat(std::mem::take(first), value),
                                None => items.push((b"0".to_vec(), value)),
                            }
                            Slot::Array(items)
                        }
                        _ => Slot::Scalar(value),
                    },
                    None => Slot::Scalar(value),
                    Some(None) => super::state::unknown_slot(&name),
                    Some(Some(key)) => {
                        let mut items = match self.slot(&name) {
                            Slot::Array(items) => items,
                            Slot::Scalar(old) => vec![(b"0".to_vec(), old)],
                            _ => Vec::new(),
                        };
                        let old = items.iter().position(|(known, _)| *known == key);
                        let value = match (assign.append, old.and_then(|at| items.get(at))) {
                            (true, Some((_, old))) => concat(old.clone(), value),
                            _ => value,
                        };
                        match old.and_then(|at| items.get_mut(at)) {
                            Some((_, old)) => *old = value,
                            None => items.push((key, value)),
                        }
                        Slot::Array(in_order(items))
                    }
                }
            }
        };
        Ok((name, slot))
    }

    /// A subscript as a key: a number where it is arithmetic, else its text.
    pub(super) fn key(
        &mut self,
        script: &Script,
        ix: Ix,
        word: super::Id,
    ) -> Result<Option<Vec<u8>>, TooMuch> {
        let text = self.single(script, ix, word, false)?;
        let Some(bytes) = text.as_known().map(<[u8]>::to_vec) else { return Ok(None) };
        self.check_names(&bytes);
        Ok(Some(match arith::evaluate(&bytes, self) {
            Some(index) if !bytes.iter().any(u8::is_ascii_alphabetic) => index.to_string().into_bytes(),
            _ => bytes,
        }))
    }

    /// Redirections, what they make of standard input, and whether they take standard output away.
    pub(super) fn redirects(
        &mut self,
        script: &Script,
        ix: Ix,
        slice: Slice,
    ) -> Result<(Vec<Redirect>, Option<Input>, bool), TooMuch> {
        let mut redirects = Vec::new();
        let mut stdin = None;
        let mut stdout = false;
        for redir in script.redirs.get(slice.range()).unwrap_or(&[]) {
            let mut target = match redir.target {
                Target::Word(word) if redir.op == RedirOp::HereString => {
                    self.single(script, ix, word, true)?
                }
                Target::Word(word) => {
                    let mut values = self.arguments(script, ix, word)?;
                    if values.len() == 1 {
                        values.pop().unwrap_or_default()
                    } else {
                        self.single(script, ix, word, false)?
                    }
                }
                Target::HereDoc(doc) => match script.heredocs.get(doc as usize).and_then(|doc| doc.body) {
                    Some(body) => self.single(script, ix, body, false)?,
                    None => Value::default(),
                },
            };
            if redir.op == RedirOp::HereString {
                target.push(Piece::known(b"\n"));
            }
            let (kind, default) = match redir.op {
                RedirOp::Read => (RedirectKind::Read, Some(0)),
                RedirOp::ReadWrite => (RedirectKind::ReadWrite, Some(0)),
                RedirOp::Write => (RedirectKind::Write, Some(1)),
                RedirOp::Append => (RedirectKind::Append, Some(1)),
                RedirOp::WriteBoth => (RedirectKind::Write, None),
                RedirOp::AppendBoth => (RedirectKind::Append, None),
                RedirOp::HereDoc | RedirOp::HereString => (RedirectKind::Here, Some(0)),
                RedirOp::ReadDuplicate => (RedirectKind::Duplicate, Some(0)),
                RedirOp::WriteDuplicate => {
                    let descriptor = target.as_str().is_some_and(|text| {
                        let digits = text.strip_suffix('-').unwrap_or(text);
                        digits.bytes().all(|byte| byte.is_ascii_digit())
                    });
                    // `>&name` is `&>name`.
                    if descriptor || redir.fd.is_some_and(|fd| fd != 1) {
                        (RedirectKind::Duplicate, Some(1))
                    } else {
                        (RedirectKind::Write, None)
                    }
                }
            };
            let fd = if redir.variable { None } else { redir.fd.or(default) };
            if fd == Some(0) {
                stdin = match redir.op {
                    RedirOp::HereDoc | RedirOp::HereString => Some(match target.as_known() {
                        Some(bytes) => Input::Known(bytes.to_vec()),
                        None => Input::Text(target.clone()),
                    }),
                    RedirOp::Read | RedirOp::ReadWrite => Some(self.content(&target)),
                    _ => Some(Input::Inherited),
                };
            }
            let both = fd.is_none() && !redir.variable;
            if (both || fd == Some(1))
                && !(kind == RedirectKind::Duplicate && target.as_known() == Some(b"1"))
            {
                stdout = true;
            }
            redirects.push(Redirect { kind, fd, target, span: self.span_of(ix, redir.span) });
        }
        Ok((redirects, stdin, stdout))
    }

    /// Reports one reading of a command and does to the state what the shell would.
    /// Applies a reading in the directory that is a part of it.
    pub(super) fn apply_there(
        &mut self,
        reading: Reading,
        script: &Rc<Script>,
        ix: Ix,
        node: &Node,
    ) -> Result<(), TooMuch> {
        self.here.clone_from(&reading.cwd);
        let applied = self.apply(reading, script, ix, node);
        self.here = None;
        applied
    }

    fn apply(&mut self, reading: Reading, script: &Rc<Script>, ix: Ix, node: &Node) -> Result<(), TooMuch> {
        self.spend(1 + reading.argv.len() / 8)?;
        self.span = self.span_of(ix, node.span);
        for (name, slot) in &reading.deferred {
            self.assign_slot(name, slot.clone());
        }
        let Some(program) = reading.argv.first() else {
            for (name, slot) in &reading.assigns {
                if self.read_only.contains(name) || surely::READ_ONLY.contains(&name.as_bytes()) {
                    self.ends_line();
                }
                self.assign_slot(name, slot.clone());
                if name == "PS4" || name == "PROMPT_COMMAND" {
                    self.prompt(slot);
                }
            }
            self.report(&reading)?;
            return Ok(());
        };
        for (name, slot) in &reading.assigns {
            if name == "PS4" {
                self.prompt(slot);
            }
        }
        let words = if let Kind::Simple { words, .. } = node.kind { script.ids(words) } else { &[] };
        let first = words.first().and_then(|word| script.word(*word));
        self.notice_itself(first.map_or(&[], |word| script.bytes(word.span)), program);
        // `. "$0" & . "$0" &`, `bash $0 & bash $0`
        if let Some(b"." | b"source" | b"sh" | b"bash" | b"dash" | b"zsh" | b"ksh") = program.as_known()
            && let (Some(word), Some(file)) = (words.get(1), reading.argv.get(1))
        {
            let file = file.clone();
            self.notice_itself(script.word(*word).map_or(&[], |word| script.bytes(word.span)), &file);
        }
        if let Some(name) = program.as_str() {
            if !self.functions.is_empty() && self.functions.contains_key(name) {
                let name = name.to_owned();
                return self.call(&name, reading);
            }
            if !self.aliases.is_empty() && self.aliases.contains_key(name) {
                let name = name.to_owned();
                self.alias(&name, script, node);
            }
        }
        self.notice_calls(&reading);
        let index = self.report(&reading)?;
        self.builtin(&reading, index)?;
        self.tell_words(index, reading.argv);
        Ok(())
    }

    /// `$0 & $0`: the text starts itself.
    fn notice_itself(&mut self, written: &[u8], program: &Value) {
        let bare: Vec<u8> =
            written.iter().copied().filter(|byte| !matches!(byte, b'"' | b'{' | b'}')).collect();
        let itself = match program.pieces.as_slice() {
            [Piece::Unknown(unknown)] => unknown.source == "$0",
            _ => false,
        } || matches!(
            bare.strip_prefix(b"./").unwrap_or(&bare),
            b"$0" | b"$BASH_SOURCE" | b"$BASH_SOURCE[0]"
        );
        if itself {
            self.zero_started += 1;
            if self.zero_started >= 2 || self.place.background > 0 {
                self.fork_bomb("$0");
            }
        }
    }

    pub(super) fn prompt(&mut self, slot: &Slot) {
        if let Slot::Scalar(value) = slot
            && let Some(text) = value.as_str()
        {
            let text = text.to_owned();
            self.reparse_value(&text, "a prompt");
        }
    }

    /// An alias, whether or not it is expanded: other shells do without being told, and those of agents are often told by a
    /// file that they read first. It is replaced in the text: what stands behind the first word stays as it was written.
    pub(super) fn alias(&mut self, name: &str, script: &Rc<Script>, node: &Node) {
        let Some(value) = self.aliases.get(name).cloned() else { return };
        let Kind::Simple { words, .. } = node.kind else { return };
        let first = script.ids(words).first().copied();
        let Some(word) = first.and_then(|word| script.word(word)) else { return };
        if first.and_then(|word| script.plain(word)) != Some(name.as_bytes()) {
            return;
        }
        let rest = script.bytes(Span { start: word.span.end, end: node.span.end });
        if value.split_whitespace().next() == Some(name) {
            return;
        }
        let mut text = value;
        let mut rest = String::from_utf8_lossy(rest).into_owned();
        // behind a value that ends with a blank the next word may be an alias too
        for _ in 0..MOST_ALIASES {
            if !text.ends_with([' ', '\t']) {
                break;
            }
            let trimmed = rest.trim_start();
            let (next, behind) =
                trimmed.split_at(trimmed.find([' ', '\t', '\n', ';']).unwrap_or(trimmed.len()));
            let Some(value) = self.aliases.get(next) else { break };
            text.push_str(value);
            rest = behind.to_owned();
        }
        self.found.push((text + &rest, false, "an alias"));
    }

    /// Calls a function: its body is walked with the arguments bound, unless it is being walked already.
    pub(super) fn call(&mut self, name: &str, reading: Reading) -> Result<(), TooMuch> {
        let place = &self.place;
        let (background, pipes) = (place.background, place.pipes);
        let chain = self.calls.iter().any(|call| call.name == name && self.is_chain(name, call.captures));
        let mut bomb = chain;
        let mut active = false;
        for call in &mut self.calls {
            if call.name == name {
                active = true;
                if background > call.background {
                    bomb = true;
                }
                if pipes > call.pipes {
                    call.piped += 1;
                }
            }
        }
        if bomb {
            self.fork_bomb(name);
        }
        let Some(functions) = self.functions.get_mut(name) else { return Ok(()) };
        let uncertain = !functions.iter().any(|function| function.certain);
        if active {
            // a body that is not the one being walked (`f() { f() { ...; }; f; }`) is walked with those that nothing called
            self.output(None, None, None);
            return Ok(());
        }
        for function in functions.iter_mut() {
            function.called = true;
        }
        let functions = functions.clone();
        if uncertain {
            let index = self.report(&reading)?;
            self.tell_words(index, reading.argv.clone());
        }
        self.output(None, Some(Vec::new()), None);
        self.assign_in_front(&reading.assigns);
        if !reading.redirects.is_empty() {
            self.tasks.push(Task::Restore(Box::new(self.place.clone())));
            self.surround(&reading.redirects, reading.stdin, reading.stdout);
        }
        let arguments = reading.argv.into_iter().skip(1);
        let arguments: Vec<Value> = arguments.filter(|value| !value.is_no_word()).collect();
        if let [function] = functions.as_slice()
            && !uncertain
        {
            self.enter_as(name, function, arguments);
            return Ok(());
        }
        self.spend(functions.len() * (1 + arguments.len()))?;
        let call = |function| Way::Call(name.to_owned(), function, arguments.clone());
        let mut ways: Vec<Way> = functions.into_iter().map(call).collect();
        if uncertain {
            ways.push(Way::Nothing);
        }
        self.ways(ways);
        Ok(())
    }

    /// Walks a function that is called by its name.
    pub(super) fn enter_as(&mut self, name: &str, function: &Function, arguments: Vec<Value>) {
        self.enter(name, function, Some(arguments));
        let mut names = vec![Value::known(name)];
        names.extend(match self.slot("FUNCNAME") {
            Slot::Array(items) => items.into_iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        });
        self.variables.set("FUNCNAME", vec![Slot::Array(numbered(names, 0))]);
    }
}

/// A key as the index that it is.
pub(super) fn index_of(key: &[u8]) -> Option<usize> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// The number behind the last of an array.
fn next_index(items: &[(Vec<u8>, Value)]) -> usize {
    items.last().and_then(|(key, _)| index_of(key)).map_or(items.len(), |last| last.saturating_add(1))
}

/// The items of an array by their numbers, in whatever order they were assigned.
fn in_order(mut items: Vec<(Vec<u8>, Value)>) -> Vec<(Vec<u8>, Value)> {
    if items.iter().all(|(key, _)| index_of(key).is_some()) {
        items.sort_by_key(|(key, _)| index_of(key));
    }
    items
}

pub(super) fn concat(mut first: Value, second: Value) -> Value {
    // A variable that nothing had set is empty when something is added to it.
    if first.has_unset() {
        first = first.with_unset_empty();
    }
    for piece in second.pieces {
        first.push(piece);
    }
    first
}
