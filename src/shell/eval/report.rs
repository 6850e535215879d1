//! What is reported of a simple command, what it is known to print, and the files that it makes.

use std::sync::{Arc, LazyLock};

use smallvec::SmallVec;

use super::super::{Input, Invocation, RedirectKind, Unknown, Value};
use super::simple::Reading;
use super::state::{CWD, Slot};
use super::{Evaluator, TooMuch, constants};

/// Steps that carrying out a program of sed or awk is counted for.
pub(super) const COST_OF_A_PROGRAM: usize = 128;

static NO_WORDS: LazyLock<Arc<Vec<Value>>> = LazyLock::new(Arc::default);

impl Evaluator<'_> {
    /// Adds an invocation to the evaluation, as yet without its words.
    pub(super) fn report(&mut self, reading: &Reading) -> Result<usize, TooMuch> {
        let index = self.out.invocations.len();
        let stdin = reading.stdin.clone().unwrap_or_else(|| self.place.stdin.clone());
        let cwd = self.cwd();
        // What is copied into each invocation is paid for, or the answer could be much larger than the text.
        let redirects = self.place.redirects().iter().map(|redirect| 64 + redirect.target.weight());
        let copied = match &stdin {
            Input::Known(bytes) => bytes.len(),
            Input::Pipe(writers) => 8 * writers.len(),
            Input::File(value) | Input::Text(value) => value.weight(),
            Input::Inherited => 0,
        };
        let words: usize = reading.argv.iter().map(Value::weight).sum();
        let weight = redirects.sum::<usize>() + copied + words + cwd.weight() + 64 * self.exported.len();
        self.spend(weight / 64)?;
        let known: Option<SmallVec<[&[u8]; 8]>> = reading.argv.iter().map(Value::as_known).collect();
        let input = match &stdin {
            Input::Known(bytes) => Some(bytes.as_slice()),
            _ => None,
        };
        // Most commands print to where nobody in the text reads.
        let read = !self.captures.is_empty() || !self.processes.is_empty() || !reading.redirects.is_empty();
        if read && known.as_deref().is_some_and(super::filters::interprets) {
            self.spend(COST_OF_A_PROGRAM)?;
        }
        let mut printed = match &known {
            _ if !read => None,
            Some(argv) => self.printed_by(argv, reading, input, &cwd),
            None => None,
        };
        let silent = known.as_deref().is_some_and(prints_nothing);
        if silent
            || reading.argv.first().and_then(Value::as_str) == Some("printf")
                && reading.argv.get(1).is_some_and(|option| option.prefix().starts_with(b"-v"))
        {
            printed = Some(Vec::new());
        }
        self.record_files(reading, printed.as_deref(), &stdin);
        let shape = if read && printed.is_none() { self.shape(reading, &stdin) } else { None };
        if let Some(shape) = &shape {
            self.shapes.insert(index, shape.clone());
        }
        let kept = printed.is_none()
            && !reading.stdout
            && self.captures.last().is_some_and(|last| last.text.is_some());
        let part = if kept { self.in_part(reading, &stdin) } else { None };
        if reading.stdout {
            self.output(None, Some(Vec::new()), None);
        } else {
            self.keep(printed.as_deref(), part);
            self.output(Some(index).filter(|_| !silent), printed.clone(), shape);
        }
        let redirects = [self.place.redirects(), &reading.redirects].concat();
        let mut files = Vec::new();
        if !self.processes.is_empty() {
            let named = reading.argv.iter().skip(1).chain(redirects.iter().map(|redirect| &redirect.target));
            // `BASH_ENV=<(...)` names one too
            let assigned = reading.assigns.iter().map(|(name, slot)| flatten(slot, name));
            for value in named.cloned().chain(assigned).collect::<Vec<_>>() {
                if let Some(content) = value.as_known().and_then(|path| self.process(path)) {
                    files.push((value, content));
                }
            }
        }
        self.pay_for(files.iter().map(|(name, content)| {
            let bytes = match content {
                Input::Known(bytes) => bytes.len(),
                Input::Pipe(writers) => 8 * writers.len(),
                Input::File(value) | Input::Text(value) => value.weight(),
                Input::Inherited => 0,
            };
            name.weight() + bytes
        }))?;
        self.feed_processes(index, reading, printed);
        let assignments =
            reading.assigns.iter().map(|(name, slot)| (name.clone(), flatten(slot, name))).collect();
        let exported = self.exported_now();
        self.out.invocations.push(Invocation {
            argv: Arc::clone(&NO_WORDS),
            span: self.span,
            assignments,
            exported,
            redirects,
            stdin,
            cwd,
            background: self.place.background > 0,
            origin: self.place.origin.clone(),
            files,
        });
        Ok(index)
    }

    /// Gives a reported command its words, once nothing else needs them.
    pub(super) fn tell_words(&mut self, index: usize, argv: Vec<Value>) {
        if let Some(invocation) = self.out.invocations.get_mut(index) {
            invocation.argv = Arc::new(argv);
        }
    }

    /// Pays for bytes that are copied into the answer.
    fn pay_for(&mut self, weights: impl Iterator<Item = usize>) -> Result<(), TooMuch> {
        self.spend(weights.sum::<usize>() / 64)
    }

    pub(super) fn cwd(&mut self) -> Arc<Value> {
        if let Some(here) = &self.here {
            return Arc::clone(here);
        }
        match self.variables.get(CWD) {
            None => Arc::clone(&self.context.cwd),
            Some(slots) => match slots.as_slice() {
                [Slot::Scalar(value)] => Arc::new(value.clone()),
                _ => match self.slot(CWD) {
                    Slot::Scalar(value) => Arc::new(value),
                    _ => {
                        Arc::new(Value::unknown(Unknown { source: "$PWD".to_owned(), ..Unknown::default() }))
                    }
                },
            },
        }
    }

    fn printed_by(
        &self,
        argv: &[&[u8]],
        reading: &Reading,
        input: Option<&[u8]>,
        cwd: &Value,
    ) -> Option<Vec<u8>> {
        match argv {
            [b"printenv", name] if reading.assigns.is_empty() => {
                let name = std::str::from_utf8(name).ok()?;
                let value = match self.variables.get(name).map(Vec::as_slice) {
                    Some([Slot::Scalar(value)]) if self.exported.contains(name) => value.clone(),
                    Some(_) => return None,
                    None => self.context.variable(name)?,
                };
                value.as_known().map(|value| [value, b"\n"].concat())
            }
            [b"pwd", ..] => cwd.as_known().map(|cwd| [cwd, b"\n"].concat()),
            // `$(<file)`
            [] => match reading.redirects.as_slice() {
                [only] if only.kind == RedirectKind::Read => match self.made(&only.target) {
                    Some(Input::Known(bytes)) => Some(bytes),
                    _ => None,
                },
                _ => Some(Vec::new()),
            },
            [b"cat", path] if path.starts_with(b"/") || !self.files.is_empty() => {
                match self.made(&Value::known(*path))? {
                    Input::Known(bytes) => Some(bytes),
                    _ => None,
                }
            }
            _ => match self.input_of_files(argv) {
                Some((argv, input)) => constants::output(&argv, Some(&input), self.context.dialect),
                None => constants::output(argv, input, self.context.dialect),
            },
        }
    }

    /// Something that is known of output that is not known.
    pub(super) fn shape(&mut self, reading: &Reading, stdin: &Input) -> Option<Value> {
        let name = reading.argv.first()?.as_str()?.rsplit('/').next()?.to_owned();
        let source = format!("$({name})");
        let below = |path: Vec<u8>, may_be_empty| {
            Value::unknown(Unknown {
                source: source.clone(),
                may_be_empty,
                below: Some(path),
                ..Unknown::default()
            })
        };
        match name.as_str() {
            "mktemp" => Some(below(b"/tmp".to_vec(), false)),
            "pwd" => Some(Value::clone(&self.cwd())),
            "find" | "ls" => {
                let operand = reading.argv.iter().skip(1).find(|value| !value.prefix().starts_with(b"-"))?;
                let prefix = operand.prefix();
                let whole = operand.as_known().is_some();
                let cut =
                    if whole { prefix.len() } else { prefix.iter().rposition(|byte| *byte == b'/')? + 1 };
                let path = prefix.get(..cut)?;
                path.starts_with(b"/").then(|| below(path.to_vec(), true))
            }
            "head" | "tail" | "sort" | "uniq" | "grep" | "tac" | "cat" | "shuf" => match stdin {
                Input::Pipe(writers) => match writers.as_slice() {
                    [writer] => self.shapes.get(writer).cloned(),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Keeps the text that goes into a file, with a hole for what of it is not known.
    fn keep(&mut self, printed: Option<&[u8]>, part: Option<Value>) {
        let Some(text) = self.captures.last_mut().and_then(|capture| capture.text.as_mut()) else { return };
        let more = match (printed, part) {
            (Some(bytes), _) => Value::known(bytes),
            (None, Some(part)) => part,
            (None, None) => super::hole("what is printed", false),
        };
        super::files::add(text, &more);
    }

    /// Adds to the output that is being collected.
    pub(super) fn output(&mut self, writer: Option<usize>, bytes: Option<Vec<u8>>, value: Option<Value>) {
        let conditional = self.place.conditional;
        let Some(capture) = self.captures.last_mut() else { return };
        if writer.is_none() && bytes.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        capture.writers.extend(writer);
        capture.value = value;
        match (&mut capture.known, bytes) {
            (Some(known), Some(bytes)) if bytes.is_empty() || conditional <= capture.conditional => {
                known.extend_from_slice(&bytes);
                if known.len() > 1 << 20 {
                    capture.known = None;
                }
            }
            // What is printed if it runs: `$(cd / && pwd)`.
            (_, Some(bytes)) => {
                capture.known = None;
                capture.value = Some(Value::known(super::readings::taken_in(&bytes)));
            }
            (_, None) => capture.known = None,
        }
    }

    /// Tells the commands in process substitutions whom they feed, and what feeds them.
    fn feed_processes(&mut self, index: usize, reading: &Reading, printed: Option<Vec<u8>>) {
        for process in &self.processes {
            let Some(range) = self.printed.get(process).map(|printed| printed.range.clone()) else {
                continue;
            };
            for invocation in self.out.invocations.get_mut(range).unwrap_or(&mut []) {
                let super::Origin::ProcessSubstitution { feeds, out } = &mut invocation.origin else {
                    continue;
                };
                *feeds = Some(index);
                if !*out && invocation.stdin == Input::Pipe(Vec::new()) {
                    let tees = reading.argv.first().and_then(Value::as_str) == Some("tee");
                    let bytes = if tees || reading.stdout { printed.clone() } else { None };
                    invocation.stdin = bytes.map_or(Input::Pipe(vec![index]), Input::Known);
                }
            }
        }
    }

    fn exported_now(&mut self) -> Vec<(String, Value)> {
        if self.exported.is_empty() {
            return Vec::new();
        }
        let names: Vec<String> = self.exported.iter().cloned().collect();
        names
            .into_iter()
            .filter_map(|name| {
                let slot = self.variables.get(&name)?.last()?.clone();
                let Slot::Scalar(value) = slot else { return None };
                Some((name, value))
            })
            .collect()
    }
}

/// An array as one value, as a program's environment or a person would see it.
pub(super) fn flatten(slot: &Slot, name: &str) -> Value {
    match slot {
        Slot::Scalar(value) => value.clone(),
        Slot::Array(items) => items.first().map(|(_, value)| value.clone()).unwrap_or_default(),
        Slot::Unset => Value::default(),
        Slot::Reference(_) => super::state::hole(&format!("${name}"), false),
    }
}

/// Builtins that change the shell and say nothing.
fn prints_nothing(argv: &[&[u8]]) -> bool {
    match argv {
        [b"cd", rest @ ..] => !rest.contains(&b"-".as_slice()),
        [b"set" | b"export", first, ..] => *first != b"-p",
        // what the text in it prints is told when that is walked
        [b"eval", ..] => true,
        _ => false,
    }
}
