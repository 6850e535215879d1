//! The evaluator: walks a tree as the shell would run it and says what every simple command receives.
//!
//! It is a machine with its stack on the heap: what is still to be done is a list of tasks. Substitutions inside a
//! command's words are walked before the command itself, so that expanding a word never has to walk commands. Ways
//! that the text may take are all walked; what differs between them becomes alternatives of variables, and a command
//! that uses such a variable is reported once for each.

mod arith;
mod awk;
mod braces;
mod branches;
mod builtins;
mod calls;
mod constants;
mod context;
mod escapes;
mod expand;
mod field;
mod files;
mod filters;
mod flow;
mod front;
mod input;
mod nodes;
mod parameter;
mod printf;
mod readings;
mod replacement;
mod report;
mod sed;
mod simple;
mod spawning;
mod starters;
mod state;
mod surely;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::ast::{Assign, Assigned, Id, Kind, Node, PartKind, Script, Slice, Target};
use super::{Evaluation, Input, Limits, Oddity, Origin, ParseError, Redirect, Span, Value, parse};
pub use context::Context;

use readings::{initial, numbered};
use state::{Slot, Slots, Variables, hole};

/// What judging one request may cost in all: every text found inside another text is paid from the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Steps of evaluation: commands, expansions, fields.
    pub steps: usize,
    /// Bytes of text that is read, nested texts included.
    pub bytes: usize,
    /// Texts within texts.
    pub depth: usize,
    /// For each text.
    pub limits: Limits,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 250_000, bytes: 1 << 20, depth: 12, limits: Limits::default() }
    }
}

/// A bound of the evaluation that was reached: the text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMuch {
    /// More steps than the budget holds.
    #[error("the command does too much to be judged")]
    Steps,
    /// Expansions that stand for too many words, or nest too deeply.
    #[error("expansions stand for too many words or nest too deeply")]
    Expansion,
    /// Texts within texts, too many or too long.
    #[error("texts within texts are too many or too long")]
    Texts,
}

/// Why a text cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not a program, or not one that can be read.
    #[error("cannot read the command: {0}")]
    Parse(#[from] ParseError),
    /// A bound was reached.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// Reads and evaluates a text. `within` is the span of the word that carried the text, where it was found inside
/// another; everything in it is then put down to that word.
///
/// # Errors
/// When not even the first line can be read, or a bound is reached.
pub fn read(
    text: &str,
    within: Option<Span>,
    context: &Context<'_>,
    budget: &mut Budget,
) -> Result<Evaluation, ReadError> {
    budget.bytes = budget.bytes.checked_sub(text.len()).ok_or(TooMuch::Texts)?;
    // what a request carries has none, and shells skip those of what they are given by a file or a pipe
    let text = if within.is_some() { without_nul(text) } else { Cow::Borrowed(text) };
    let script = parse(&text, context.dialect, context.extglob, budget.limits)?;
    Ok(evaluate(script, within, context, budget)?)
}

fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) }
}

/// Evaluates a text that has been read.
///
/// # Errors
/// When a bound is reached.
pub fn evaluate(
    script: Script,
    within: Option<Span>,
    context: &Context<'_>,
    budget: &mut Budget,
) -> Result<Evaluation, TooMuch> {
    let mut evaluator = Evaluator::new(context, budget);
    let root = script.root;
    let ix = evaluator.add(script, within);
    evaluator.tasks.push(Task::Node(ix, root));
    evaluator.run()?;
    evaluator.walk_uncalled()?;
    Ok(evaluator.out)
}

/// Which of the texts.
type Ix = usize;

/// What surrounds a command.
#[derive(Debug, Clone)]
struct Place {
    origin: Origin,
    background: u32,
    pipes: u32,
    conditional: u32,
    stdin: Input,
    /// Those of the groups around.
    redirects: Option<Rc<Vec<Redirect>>>,
    depth: usize,
}

impl Place {
    fn redirects(&self) -> &[Redirect] {
        self.redirects.as_ref().map_or(&[], |redirects| redirects.as_slice())
    }

    /// Adds redirections for all that follows here.
    fn redirect(&mut self, more: &[Redirect]) {
        self.redirects = Some(Rc::new([self.redirects(), more].concat()));
    }
}

/// Output that is collected: of a substitution, or of a pipeline's stage.
#[derive(Debug, Default)]
struct Capture {
    /// `None` once anything in it is not known.
    known: Option<Vec<u8>>,
    /// The one command in it, where its output is known in part.
    value: Option<Value>,
    /// All that may be printed, with holes, where it goes into a file.
    text: Option<Value>,
    writers: Vec<usize>,
    conditional: u32,
}

/// What a substitution printed.
#[derive(Debug, Clone, Default)]
struct Printed {
    known: Option<Vec<u8>>,
    value: Option<Value>,
    writers: Vec<usize>,
    /// The invocations in it.
    range: std::ops::Range<usize>,
}

#[derive(Debug)]
enum Task {
    Node(Ix, Id),
    /// A node whose substitutions have been walked.
    Ready(Ix, Id),
    /// A compound command's redirections have been walked.
    Redirected(Ix, Id),
    Items {
        ix: Ix,
        items: Slice,
        next: u32,
        chain: Option<usize>,
        background: Option<(usize, Box<Place>)>,
    },
    Stages {
        ix: Ix,
        commands: Slice,
        next: u32,
        mark: usize,
        place: Box<Place>,
        captures: usize,
    },
    Substitution {
        ix: Ix,
        list: Id,
        process: Option<bool>,
    },
    EndSubstitution {
        ix: Ix,
        list: Id,
        mark: usize,
        place: Box<Place>,
        first: usize,
    },
    If {
        ix: Ix,
        lists: Slice,
        next: u32,
        mark: usize,
        branches: Vec<HashMap<String, Slots>>,
    },
    Arms {
        ix: Ix,
        arms: Slice,
        next: u32,
        mark: usize,
        branches: Vec<HashMap<String, Slots>>,
    },
    Loop {
        ix: Ix,
        condition: Option<Id>,
        body: Id,
        pass: u8,
        mark: usize,
        invocations: usize,
    },
    /// Of several ways in which one command may go: those to come, and what the others have made of the variables.
    Ways(Box<branches::Ways>),
    Restore(Box<Place>),
    /// Begins a text inside the text.
    Enter(Origin),
    /// Ends a compound command whose output went elsewhere: into these files, at their ends or not.
    EndDiscard(Vec<(Vec<u8>, bool)>),
    RollBack(usize),
    Return {
        locals: Vec<(String, Option<Slots>)>,
    },
    /// Assignments in front of what has been walked no longer hold.
    EndFront {
        before: Vec<(String, Slots)>,
        exported: Vec<String>,
    },
    Conditional(bool),
}

/// A function, as defined.
#[derive(Debug, Clone)]
struct Function {
    ix: Ix,
    body: Id,
    span: Span,
    called: bool,
    certain: bool,
}

/// A function that is being walked.
#[derive(Debug)]
struct Call {
    name: String,
    background: u32,
    pipes: u32,
    piped: u32,
    captures: usize,
}

struct Evaluator<'a> {
    context: &'a Context<'a>,
    budget: &'a mut Budget,
    scripts: SmallVec<[Rc<Script>; 1]>,
    within: SmallVec<[Option<Span>; 1]>,
    out: Evaluation,
    tasks: Vec<Task>,
    place: Place,
    captures: Vec<Capture>,
    printed: HashMap<(Ix, Id), Printed>,
    variables: Variables,
    /// Something was assigned in the text.
    changed_variables: bool,
    exported: BTreeSet<String>,
    deferred: Vec<(String, Slot)>,
    picks: Vec<(String, usize, usize)>,
    /// Where the command is that is being applied, of several directories.
    here: Option<Arc<Value>>,
    /// Which reading of the current command is being applied: after the first, assignments add alternatives.
    reading: usize,
    overflow: bool,
    functions: HashMap<String, Vec<Function>>,
    calls: Vec<Call>,
    aliases: HashMap<String, String>,
    /// An error may have ended the line.
    line_ends: bool,
    /// Variables that cannot be assigned to any more.
    read_only: BTreeSet<String>,
    /// Commands that were asked whether they may have taken a directory away, and whether one may.
    looked_at: usize,
    disturbed: bool,
    /// Variables to which a value is assigned as arithmetic or in other letters (`declare -i`, `-u`, `-l`, `-c`).
    attributes: HashMap<String, u8>,
    /// `set -o posix`
    posix: bool,
    extglob: bool,
    /// Texts found in values, to be walked after the command.
    found: Vec<(String, bool, &'static str)>,
    processes: Vec<(Ix, Id)>,
    /// Files that the text wrote, with what is in them as far as it is known.
    files: HashMap<Vec<u8>, Option<Value>>,
    traps: Vec<(String, String)>,
    /// What the output of an invocation looks like, where something is known of it.
    shapes: HashMap<usize, Value>,
    zero_started: u32,
    /// Whether the text exports functions, once somebody has asked.
    exports_functions: Option<bool>,
    /// Expansions that are being expanded inside others.
    nesting: usize,
    /// Steps for copies of arrays that are still to be paid.
    debt: usize,
    span: Span,
}

impl<'a> Evaluator<'a> {
    fn new(context: &'a Context<'a>, budget: &'a mut Budget) -> Self {
        let place = Place {
            origin: Origin::Plain,
            background: 0,
            pipes: 0,
            conditional: 0,
            stdin: context.stdin.clone(),
            redirects: None,
            depth: 0,
        };
        Self {
            context,
            budget,
            scripts: SmallVec::new(),
            within: SmallVec::new(),
            out: Evaluation::default(),
            tasks: Vec::with_capacity(8),
            place,
            captures: Vec::new(),
            printed: HashMap::new(),
            variables: Variables::default(),
            changed_variables: false,
            exported: BTreeSet::new(),
            deferred: Vec::new(),
            picks: Vec::new(),
            here: None,
            reading: 0,
            overflow: false,
            functions: HashMap::new(),
            calls: Vec::new(),
            aliases: HashMap::new(),
            line_ends: false,
            read_only: BTreeSet::new(),
            looked_at: 0,
            disturbed: false,
            attributes: HashMap::new(),
            posix: context.posix,
            extglob: context.extglob,
            found: Vec::new(),
            processes: Vec::new(),
            files: context.files.iter().map(|file| (file.path.clone(), file.content.clone())).collect(),
            traps: Vec::new(),
            shapes: HashMap::new(),
            zero_started: 0,
            exports_functions: None,
            nesting: 0,
            debt: 0,
            span: Span::default(),
        }
    }

    fn add(&mut self, script: Script, within: Option<Span>) -> Ix {
        if let Some(error) = &script.tail {
            let start = error.at.min(script.source);
            let message = error.to_string();
            self.out.oddities.push(if let (Some(span), true) = (within, self.has_text()) {
                // what is not known was filled in to make this text: that it cannot be read may be due to that
                Oddity::Opaque { span, message: format!("text that is run again does not parse: {message}") }
            } else {
                let span = within.unwrap_or(Span { start, end: script.source });
                Oddity::TailDoesNotParse { span, message }
            });
        }
        self.scripts.push(Rc::new(script));
        self.within.push(within);
        self.scripts.len() - 1
    }

    /// Whether a text is being walked already.
    fn has_text(&self) -> bool {
        !self.scripts.is_empty()
    }

    fn spend(&mut self, steps: usize) -> Result<(), TooMuch> {
        let steps = steps + std::mem::take(&mut self.debt);
        self.budget.steps = self.budget.steps.checked_sub(steps).ok_or(TooMuch::Steps)?;
        Ok(())
    }

    fn span_of(&self, ix: Ix, span: Span) -> Span {
        match self.within.get(ix) {
            Some(Some(within)) => *within,
            _ => self.scripts.get(ix).map_or(span, |script| script.origin(span)),
        }
    }

    fn opaque(&mut self, message: &str) {
        let oddity = Oddity::Opaque { span: self.span, message: message.to_owned() };
        if !self.out.oddities.contains(&oddity) {
            self.out.oddities.push(oddity);
        }
    }

    fn run(&mut self) -> Result<(), TooMuch> {
        while let Some(task) = self.tasks.pop() {
            self.spend(1)?;
            self.step(task)?;
        }
        Ok(())
    }

    /// Functions that nothing called, and traps: they may run after all that has been seen, with what variables are then.
    fn walk_uncalled(&mut self) -> Result<(), TooMuch> {
        for (text, signal) in std::mem::take(&mut self.traps) {
            if !self.functions.is_empty() || self.changed_variables {
                self.text(&text, Origin::Trap(signal))?;
                self.run()?;
            }
        }
        loop {
            let next = self.functions.iter().find_map(|(name, functions)| {
                functions.iter().position(|function| !function.called).map(|index| (name.clone(), index))
            });
            let Some((name, index)) = next else { return Ok(()) };
            let Some(function) = self.functions.get_mut(&name).and_then(|all| all.get_mut(index)) else {
                return Ok(());
            };
            function.called = true;
            let function = function.clone();
            self.enter(&name, &function, None);
            self.run()?;
        }
    }

    fn step(&mut self, task: Task) -> Result<(), TooMuch> {
        match task {
            Task::Node(ix, id) => self.node(ix, id),
            Task::Ready(ix, id) => self.ready(ix, id),
            Task::Redirected(ix, id) => self.redirected(ix, id),
            Task::Items { ix, items, next, chain, background } => {
                self.items(ix, items, next, chain, background)
            }
            Task::Stages { ix, commands, next, mark, place, captures } => {
                self.stages(ix, commands, next, mark, place, captures);
                Ok(())
            }
            Task::Substitution { ix, list, process } => {
                let place = Box::new(self.place.clone());
                self.place.origin = match process {
                    None => Origin::Substitution,
                    Some(out) => Origin::ProcessSubstitution { feeds: None, out },
                };
                // it runs beside the command that names it
                self.place.background += u32::from(process.is_some());
                if process == Some(false) {
                    self.place.stdin = Input::Pipe(Vec::new());
                }
                let capture = Capture {
                    known: Some(Vec::new()),
                    conditional: self.place.conditional,
                    ..Capture::default()
                };
                self.captures.push(capture);
                let (mark, first) = (self.variables.mark(), self.out.invocations.len());
                self.tasks.push(Task::EndSubstitution { ix, list, mark, place, first });
                self.tasks.push(Task::Node(ix, list));
                Ok(())
            }
            Task::EndSubstitution { ix, list, mark, place, first } => {
                self.variables.roll_back(mark);
                self.place = *place;
                let capture = self.captures.pop().unwrap_or_default();
                let only = capture.writers.len() == 1;
                let printed = Printed {
                    known: capture.known,
                    value: capture.value.filter(|_| only),
                    writers: capture.writers,
                    range: first..self.out.invocations.len(),
                };
                self.printed.insert((ix, list), printed);
                Ok(())
            }
            Task::If { ix, lists, next, mark, branches } => {
                self.branches_of_if(ix, lists, next, mark, branches);
                Ok(())
            }
            Task::Arms { ix, arms, next, mark, branches } => {
                self.arms(ix, arms, next, mark, branches);
                Ok(())
            }
            Task::Loop { ix, condition, body, pass, mark, invocations } => {
                self.again(ix, condition, body, pass, mark, invocations);
                Ok(())
            }
            Task::Ways(ways) => self.next_way(*ways),
            Task::Restore(place) => {
                self.place = *place;
                Ok(())
            }
            Task::Enter(origin) => {
                self.place.depth += 1;
                self.place.origin = origin;
                Ok(())
            }
            Task::EndDiscard(files) => {
                let text = self.captures.pop().and_then(|capture| capture.text);
                for (path, append) in files {
                    self.write_file(&path, append, text.clone());
                }
                Ok(())
            }
            Task::RollBack(mark) => {
                self.variables.roll_back(mark);
                Ok(())
            }
            Task::Return { locals } => {
                if let Some(call) = self.calls.pop() {
                    self.end_call(&call);
                }
                for (name, old) in locals {
                    self.attributes.remove(&name);
                    self.variables.set(&name, old.unwrap_or_else(|| vec![Slot::Unset]));
                }
                Ok(())
            }
            Task::EndFront { before, exported } => {
                self.end_front(before, exported);
                Ok(())
            }
            Task::Conditional(enter) => {
                let depth = self.place.conditional;
                self.place.conditional = if enter { depth + 1 } else { depth.saturating_sub(1) };
                Ok(())
            }
        }
    }

    fn script(&self, ix: Ix) -> Rc<Script> {
        self.scripts.get(ix).map(Rc::clone).unwrap_or_default()
    }
}
