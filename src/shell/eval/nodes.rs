//! One node: the substitutions in its words first, then what it does.

use super::*;

/// The words of one command.
type Words = SmallVec<[Id; 16]>;

impl Evaluator<'_> {
    /// Walks the substitutions in a node's own words, then the node.
    pub(super) fn node(&mut self, ix: Ix, id: Id) -> Result<(), TooMuch> {
        let script = self.script(ix);
        let Some(node) = script.node(id) else { return Ok(()) };
        let simple = matches!(node.kind, Kind::Simple { .. });
        if !simple && node.redirs.len > 0 {
            self.tasks.push(Task::Restore(Box::new(self.place.clone())));
            self.tasks.push(Task::Redirected(ix, id));
            let words = redirect_words(&script, node);
            return self.substitutions(ix, &script, words);
        }
        let mut words = Words::new();
        match node.kind {
            Kind::Simple { assigns, words: own } => {
                words.extend_from_slice(script.ids(own));
                for assign in script.assigns.get(assigns.range()).unwrap_or(&[]) {
                    assign_words(&script, assign, &mut words);
                }
                if node.redirs.len > 0 {
                    words.extend(redirect_words(&script, node));
                }
            }
            _ => own_words(&script, node, &mut words),
        }
        if !words.is_empty() && words.iter().any(|word| nests(&script, *word)) {
            self.tasks.push(Task::Ready(ix, id));
            return self.substitutions(ix, &script, words);
        }
        self.ready(ix, id)
    }

    /// Queues the substitutions in words, in order, to be walked first.
    pub(super) fn substitutions(&mut self, ix: Ix, script: &Script, words: Words) -> Result<(), TooMuch> {
        let mut found = Vec::new();
        let mut stack: Vec<Id> = words.into_iter().rev().collect();
        while let Some(word) = stack.pop() {
            self.spend(1)?;
            let mut inner = Vec::new();
            for part in script.parts(word) {
                match part.kind {
                    PartKind::Command(list) => found.push((list, None)),
                    PartKind::Process { list, out } => found.push((list, Some(out))),
                    PartKind::Arith(word) => inner.push(word),
                    PartKind::Param(param) => {
                        if let Some(param) = script.params.get(param as usize) {
                            inner.extend(param.subscript);
                            inner.extend(param.operand);
                            inner.extend(param.replacement);
                        }
                    }
                    _ => {}
                }
            }
            stack.extend(inner.into_iter().rev());
        }
        if found.iter().filter(|(_, process)| process.is_some()).count() > 50 {
            // Their names would no longer be told apart.
            return Err(TooMuch::Expansion);
        }
        for (list, process) in found.into_iter().rev() {
            self.tasks.push(Task::Substitution { ix, list, process });
        }
        Ok(())
    }

    /// Redirections of a compound command apply to all in it.
    pub(super) fn redirected(&mut self, ix: Ix, id: Id) -> Result<(), TooMuch> {
        let script = self.script(ix);
        let Some(node) = script.node(id).copied() else { return Ok(()) };
        self.span = self.span_of(ix, node.span);
        self.picks.clear();
        let (mut redirects, mut stdin, mut stdout) = self.redirects(&script, ix, node.redirs)?;
        for round in 0.. {
            if !self.next_picks() {
                break;
            }
            self.overflow = round >= simple::READINGS;
            let (more, input, out) = self.redirects(&script, ix, node.redirs)?;
            redirects.extend(more);
            stdout |= out;
            // what is read may be any of them, one behind the other is all of them
            stdin = match (stdin, input) {
                (Some(Input::Known(mut all)), Some(Input::Known(bytes))) => {
                    all.extend(bytes);
                    Some(Input::Known(all))
                }
                (Some(Input::Known(_)) | None, input) => input,
                (stdin, _) => stdin,
            };
            if self.overflow {
                break;
            }
        }
        self.overflow = false;
        self.picks.clear();
        self.surround(&redirects, stdin, stdout);
        let mut words = Words::new();
        own_words(&script, &node, &mut words);
        self.tasks.push(Task::Ready(ix, id));
        self.substitutions(ix, &script, words)
    }

    /// Redirections apply to all that is walked up to the place that was kept before.
    pub(super) fn surround(&mut self, redirects: &[Redirect], stdin: Option<Input>, stdout: bool) {
        self.place.redirect(redirects);
        if let Some(stdin) = stdin {
            self.place.stdin = stdin;
        }
        if stdout {
            let written = files::written_by(redirects);
            let files: Vec<(Vec<u8>, bool)> = written
                .into_iter()
                .filter(|(.., own)| *own)
                .map(|(path, append, _)| (path, append))
                .collect();
            let text = (!files.is_empty()).then(Value::default);
            self.captures.push(Capture { text, ..Capture::default() });
            self.tasks.push(Task::EndDiscard(files));
        }
    }

    pub(super) fn ready(&mut self, ix: Ix, id: Id) -> Result<(), TooMuch> {
        let script = self.script(ix);
        let Some(node) = script.node(id).copied() else { return Ok(()) };
        self.span = self.span_of(ix, node.span);
        match node.kind {
            Kind::Simple { .. } => return self.simple(&script, ix, &node),
            Kind::List { items } => {
                self.tasks.push(Task::Items { ix, items, next: 0, chain: None, background: None });
            }
            Kind::Pipeline { commands } if commands.len <= 1 => {
                for command in script.ids(commands) {
                    self.tasks.push(Task::Node(ix, *command));
                }
            }
            Kind::Pipeline { commands } => {
                let place = Box::new(self.place.clone());
                let (mark, captures) = (self.variables.mark(), self.captures.len());
                self.place.pipes += 1;
                self.tasks.push(Task::Stages { ix, commands, next: 0, mark, place, captures });
            }
            Kind::Group { list } => self.tasks.push(Task::Node(ix, list)),
            Kind::Subshell { list } => {
                self.tasks.push(Task::RollBack(self.variables.mark()));
                self.tasks.push(Task::Node(ix, list));
            }
            Kind::If { lists } => {
                let mark = self.variables.mark();
                self.tasks.push(Task::If { ix, lists, next: 0, mark, branches: Vec::new() });
            }
            Kind::While { condition, body } => {
                self.spawning(&script, ix, &node);
                self.begin_loop(ix, Some(condition), body);
            }
            Kind::ForArith { words, body } => {
                for (index, word) in script.ids(words).iter().enumerate() {
                    self.arithmetic(&script, ix, *word)?;
                    if index == 0 {
                        self.apply_deferred();
                    }
                }
                self.forget_deferred();
                self.spawning(&script, ix, &node);
                self.begin_loop(ix, None, body);
            }
            Kind::For { name, words, body } | Kind::Select { name, words, body } => {
                let mut values = Slots::new();
                self.picks.clear();
                for round in 0.. {
                    match words {
                        Some(words) => {
                            for word in script.ids(words) {
                                for value in self.expanded(&script, ix, *word, true)? {
                                    state::unite(&mut values, &[Slot::Scalar(value)], "for");
                                }
                            }
                        }
                        None => match self.slot("@") {
                            Slot::Array(items) => {
                                let items: Slots =
                                    items.into_iter().map(|(_, value)| Slot::Scalar(value)).collect();
                                state::unite(&mut values, &items, "for");
                            }
                            _ => state::unite(&mut values, &[Slot::Scalar(hole("$@", false))], "for"),
                        },
                    }
                    if !self.next_picks() {
                        break;
                    }
                    if round >= simple::READINGS {
                        state::unite(&mut values, &[state::unknown_slot("for")], "for");
                        break;
                    }
                }
                self.picks.clear();
                self.apply_deferred();
                self.spawning(&script, ix, &node);
                let name = String::from_utf8_lossy(script.bytes(name)).into_owned();
                if !values.is_empty() {
                    if self.attributes.contains_key(&name) {
                        for slot in &mut values {
                            *slot = self.by_attribute(&name, slot.clone());
                        }
                    }
                    self.set(&name, values);
                    if matches!(node.kind, Kind::Select { .. }) {
                        self.set("REPLY", vec![Slot::Scalar(hole("$REPLY", false))]);
                    }
                }
                self.begin_loop(ix, None, body);
            }
            Kind::Case { word, arms } => {
                self.in_each_reading(|shell| shell.single(&script, ix, word, false).map(|_| ()))?;
                let mark = self.variables.mark();
                self.tasks.push(Task::Arms { ix, arms, next: 0, mark, branches: Vec::new() });
            }
            Kind::Cond { words } => self.cond(&script, ix, words)?,
            Kind::Arith { word } => {
                // an error in it is its outcome, and no end of the line
                let ends = self.line_ends;
                self.in_each_reading(|shell| shell.arithmetic(&script, ix, word).map(|_| ()))?;
                self.line_ends = ends;
                self.walk_found()?;
            }
            Kind::Function { name, body } => {
                let name = String::from_utf8_lossy(script.bytes(name)).into_owned();
                let certain = self.place.conditional == 0;
                let function = Function { ix, body, span: self.span, called: false, certain };
                let all = self.functions.entry(name).or_default();
                self.debt += all.len() * 2;
                if !all.iter().any(|known| known.ix == ix && known.body == body) {
                    all.push(function);
                }
            }
            Kind::Coproc { body } => {
                self.tasks.push(Task::Restore(Box::new(self.place.clone())));
                self.tasks.push(Task::RollBack(self.variables.mark()));
                self.tasks.push(Task::Node(ix, body));
                self.place.background += 1;
                self.place.stdin = Input::Pipe(Vec::new());
            }
        }
        Ok(())
    }
}

fn nests(script: &Script, word: Id) -> bool {
    script.parts(word).iter().any(|part| match part.kind {
        PartKind::Command(_) | PartKind::Process { .. } | PartKind::Arith(_) => true,
        PartKind::Param(param) => script.params.get(param as usize).is_some_and(|param| {
            param.subscript.is_some() || param.operand.is_some() || param.replacement.is_some()
        }),
        _ => false,
    })
}

fn assign_words(script: &Script, assign: &Assign, words: &mut Words) {
    words.extend(assign.subscript);
    match assign.value {
        Assigned::Word(word) => words.push(word),
        Assigned::Array(elements) => {
            for element in script.assigns.get(elements.range()).unwrap_or(&[]) {
                words.extend(element.subscript);
                if let Assigned::Word(word) = element.value {
                    words.push(word);
                }
            }
        }
    }
}

fn redirect_words(script: &Script, node: &Node) -> Words {
    let redirs = script.redirs.get(node.redirs.range()).unwrap_or(&[]);
    let word = |redir: &crate::shell::ast::Redir| match redir.target {
        Target::Word(word) => Some(word),
        Target::HereDoc(doc) => script.heredocs.get(doc as usize).and_then(|doc| doc.body),
    };
    redirs.iter().filter_map(word).collect()
}

/// The words of a compound command itself.
fn own_words(script: &Script, node: &Node, words: &mut Words) {
    match node.kind {
        Kind::ForArith { words: own, .. } | Kind::Cond { words: own } => {
            words.extend_from_slice(script.ids(own));
        }
        Kind::For { words: Some(own), .. } | Kind::Select { words: Some(own), .. } => {
            words.extend_from_slice(script.ids(own));
        }
        Kind::Case { word, arms } => {
            words.push(word);
            for arm in script.arms.get(arms.range()).unwrap_or(&[]) {
                words.extend_from_slice(script.ids(arm.patterns));
            }
        }
        Kind::Arith { word } => words.push(word),
        _ => {}
    }
}
