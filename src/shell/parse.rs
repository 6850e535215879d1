//! The parser: a push-down automaton over bytes with its stack on the heap.
//!
//! One pass, no recursion. The only place where bash's grammar needs a second look is `((`: it is arithmetic if the
//! parentheses close as `))`, and a subshell otherwise. It is read as arithmetic; where that turns out wrong the
//! parser goes back once, remembers the place so that no place is tried twice, and counts the bytes it went back
//! over: past a bound that is linear in the text it refuses.

mod assignments;
mod commands;
mod compound;
mod conditions;
mod cursor;
mod expansions;
mod heredocs;
mod redirections;
mod simple;
mod words;

use std::collections::HashSet;

use smallvec::SmallVec;

use super::ast::{Arm, Assign, HereDoc, Id, Item, Kind, Node, Part, Redir, RedirOp, Script, Slice};
use super::{Dialect, Span};
use words::{Context, WordFrame};

/// What a text may cost at most. A limit that is reached refuses the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Constructs within constructs.
    pub depth: usize,
    /// Parts of the tree.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 10, depth: 100, nodes: 400_000 }
    }
}

/// Why a text, or the rest of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Byte in the text.
    pub at: u32,
    /// From 1.
    pub line: u32,
    /// In bytes, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads a text. An error on a later line leaves the lines before it in the tree, with the rest told as [`super::Oddity::TailDoesNotParse`], since a shell has run them by then.
///
/// # Errors
/// When not even the first line can be read, or a limit is reached.
pub fn parse(text: &str, dialect: Dialect, extglob: bool, limits: Limits) -> Result<Script, ParseError> {
    counted(text, dialect, extglob, limits).0
}

/// Reads a text, and counts the steps that it took with the bytes that were read twice.
pub(super) fn counted(
    text: &str,
    dialect: Dialect,
    extglob: bool,
    limits: Limits,
) -> (Result<Script, ParseError>, usize) {
    if text.len() > limits.bytes {
        let stop = Stop { at: number(limits.bytes), message: "the text is too long", limit: true };
        return (Err(stop.finish(text)), 0);
    }
    let mut parser = Parser::new(text, dialect, extglob, limits);
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        return (Err(parser.error_at(at, "a NUL byte").finish(text)), 0);
    }
    let outcome = parser.run();
    let steps = parser.steps + parser.went_back;
    let read = match outcome {
        Ok(()) => Ok(parser.script),
        Err(stop) => {
            let within = parser.script.origin(Span { start: stop.at, end: stop.at + 1 });
            let error = Stop { at: within.start, ..stop }.finish(text);
            match parser.keep_first_lines() {
                Some(root) if !stop.limit => {
                    let mut script = parser.script;
                    script.root = root;
                    script.tail = Some(error);
                    Ok(script)
                }
                _ => Err(error),
            }
        }
    };
    (read, steps)
}

/// An error before its line is known.
#[derive(Debug, Clone, Copy)]
struct Stop {
    at: u32,
    message: &'static str,
    /// A bound was reached: nothing of the text is judged.
    limit: bool,
}

impl Stop {
    fn finish(self, text: &str) -> ParseError {
        let before = text.as_bytes().get(..self.at as usize).unwrap_or(text.as_bytes());
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        ParseError {
            at: self.at,
            line: number(lines + 1),
            column: number(column + 1),
            message: self.message.into(),
        }
    }
}

type Step = Result<(), Stop>;

/// Positions fit: texts are refused far below 4 GiB.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

struct Parser {
    script: Script,
    limits: Limits,
    /// Whether `shopt -s extglob` is in force on this line, and from the next line on.
    extglob: bool,
    extglob_next: bool,
    pos: usize,
    end: usize,
    stack: SmallVec<[Frame; 6]>,
    /// Lists and nested words on the stack.
    nesting: usize,
    /// Substitutions on the stack: a here-document's body cannot stand in another one than its operator.
    level: u32,
    /// What the frame that ended last leaves to the one below it.
    result: Done,
    /// The last command was compound and had no redirections: a reserved word may follow at once.
    compound: bool,
    ids: SmallVec<[Id; 16]>,
    items: SmallVec<[Item; 4]>,
    parts: SmallVec<[Part; 8]>,
    redirs: SmallVec<[Redir; 2]>,
    assigns: Vec<Assign>,
    elements: Vec<Assign>,
    arms: Vec<Arm>,
    pending: Vec<heredocs::Pending>,
    bodies: Vec<heredocs::Body>,
    not_arithmetic: HashSet<u32>,
    went_back: usize,
    /// Frames that were taken off the stack: what reading has cost besides looking at bytes.
    steps: usize,
    /// Items of the outermost list that end with a line.
    complete: usize,
}

/// What a finished frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Node(Id),
    Word(Id),
}

/// Sizes to go back to when `((` was not arithmetic.
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    pos: u32,
    ids: u32,
    items: u32,
    parts: u32,
    redirs: u32,
    assigns: u32,
    elements: u32,
    arms: u32,
    pending: u32,
    level: u32,
    nesting: u32,
}

/// What is being read.
#[derive(Debug)]
enum Frame {
    List(ListFrame),
    Simple(SimpleFrame),
    Word(WordFrame),
    Redir { op: RedirOp, fd: Option<u32>, variable: bool, start: u32, strip: bool },
    Tail { node: Id, redirs: u32 },
    Assign(AssignFrame),
    Group { brace: bool, start: u32 },
    If { ids: u32, start: u32, stage: Stage },
    While { start: u32, condition: Option<Id> },
    For { name: Span, ids: u32, start: u32, select: bool, stage: ForStage, words: bool },
    ForArith { ids: u32, start: u32, stage: u8, brace: bool },
    Case { word: Option<Id>, start: u32, arms: u32, ids: u32, stage: CaseStage },
    Function { name: Span, start: u32 },
    Coproc { start: u32 },
    Cond { ids: u32, start: u32, parens: u32, stage: CondStage },
    ArithCommand { start: u32, snapshot: Snapshot },
    ArithPart { start: u32, quoted: bool, snapshot: Snapshot },
    Substitution { kind: Substitution, start: u32, quoted: bool, pos: u32, end: u32 },
    Param { param: super::ast::Param, start: u32, quoted: bool, stage: ParamStage },
    Body { doc: Id, pos: u32, end: u32, result: Done },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Substitution {
    Dollar,
    Backquotes,
    Process { out: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParamStage {
    Subscript,
    Operand,
    Replacement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Condition,
    Body,
    Else,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ForStage {
    Words,
    Body { brace: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaseStage {
    Word,
    Pattern,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CondStage {
    /// A term must follow.
    Term,
    /// The operand of a unary operator has been asked for.
    Operand,
    /// The first word of a term has been asked for.
    Word,
    /// The right side of a binary operator has been asked for.
    Right,
    /// `&&`, `||`, `)` or `]]` must follow.
    Joint,
}

#[derive(Debug)]
struct ListFrame {
    term: Term,
    items: u32,
    pipe: u32,
    start: u32,
    pipe_start: u32,
    negated: bool,
    state: ListState,
    after_compound: bool,
    root: bool,
    empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListState {
    Start,
    Need,
    After,
}

/// What ends a list; it is left for the frame below to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    End,
    Paren,
    Words(u16),
    Case,
}

#[derive(Debug)]
struct SimpleFrame {
    assigns: u32,
    ids: u32,
    redirs: u32,
    start: u32,
    /// The first word is `declare` or one of its kin, behind which `name=(...)` is an assignment.
    declares: bool,
}

#[derive(Debug)]
struct AssignFrame {
    assign: Assign,
    elements: u32,
    stage: AssignStage,
    /// An element of a list, not an assignment by itself.
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AssignStage {
    Subscript,
    Value,
    Array,
}

impl Parser {
    fn new(text: &str, dialect: Dialect, extglob: bool, limits: Limits) -> Self {
        let script = Script {
            text: text.as_bytes().to_vec(),
            source: number(text.len()),
            dialect,
            ..Script::default()
        };
        Self {
            script,
            limits,
            extglob,
            extglob_next: extglob,
            pos: 0,
            end: text.len(),
            stack: SmallVec::new(),
            nesting: 0,
            level: 0,
            result: Done::Nothing,
            compound: false,
            ids: SmallVec::new(),
            items: SmallVec::new(),
            parts: SmallVec::new(),
            redirs: SmallVec::new(),
            assigns: Vec::new(),
            elements: Vec::new(),
            arms: Vec::new(),
            pending: Vec::new(),
            bodies: Vec::new(),
            not_arithmetic: HashSet::new(),
            went_back: 0,
            steps: 0,
            complete: 0,
        }
    }

    fn run(&mut self) -> Step {
        self.push_list(Term::End, true)?;
        if let Some(Frame::List(list)) = self.stack.last_mut() {
            list.root = true;
        }
        loop {
            if let Some(body) = self.bodies.pop() {
                self.start_body(body)?;
            }
            let Some(frame) = self.stack.pop() else { break };
            self.steps += 1;
            match frame {
                Frame::List(frame) => self.list(frame)?,
                Frame::Simple(frame) => self.simple(frame)?,
                Frame::Word(frame) => self.word(frame)?,
                Frame::Redir { op, fd, variable, start, strip } => {
                    self.redir(op, fd, variable, start, strip)?;
                }
                Frame::Tail { node, redirs } => self.tail(node, redirs)?,
                Frame::Assign(frame) => self.assign(frame)?,
                Frame::Group { brace, start } => self.group(brace, start)?,
                Frame::If { ids, start, stage } => self.conditional(ids, start, stage)?,
                Frame::While { start, condition } => self.while_loop(start, condition)?,
                Frame::For { name, ids, start, select, stage, words } => {
                    self.for_loop(name, ids, start, select, stage, words)?;
                }
                Frame::ForArith { ids, start, stage, brace } => self.for_arith(ids, start, stage, brace)?,
                Frame::Case { word, start, arms, ids, stage } => self.case(word, start, arms, ids, stage)?,
                Frame::Function { name, start } => self.function(name, start)?,
                Frame::Coproc { start } => self.coproc(start)?,
                Frame::Cond { ids, start, parens, stage } => self.cond(ids, start, parens, stage)?,
                Frame::ArithCommand { start, .. } => self.arith_command(start)?,
                Frame::ArithPart { start, quoted, .. } => self.arith_part(start, quoted)?,
                Frame::Substitution { kind, start, quoted, pos, end } => {
                    self.substitution(kind, start, quoted, pos as usize, end as usize)?;
                }
                Frame::Param { param, start, quoted, stage } => self.param(param, start, quoted, stage)?,
                Frame::Body { doc, pos, end, result } => {
                    self.body(doc, pos as usize, end as usize, result)?;
                }
            }
        }
        match self.result {
            Done::Node(root) => self.script.root = root,
            _ => return self.fail("the text cannot be read"),
        }
        Ok(())
    }

    /// After an error: the complete lines of the outermost list, where there are any.
    fn keep_first_lines(&mut self) -> Option<Id> {
        if self.complete == 0 {
            return None;
        }
        self.items.truncate(self.complete);
        let span = Span { start: 0, end: self.script.source };
        let items = self.take_items(0);
        self.node(Kind::List { items }, span).ok()
    }

    fn push(&mut self, frame: Frame) {
        self.stack.push(frame);
    }

    fn push_list(&mut self, term: Term, empty: bool) -> Step {
        self.nest()?;
        let frame = ListFrame {
            term,
            items: number(self.items.len()),
            pipe: number(self.ids.len()),
            start: number(self.pos),
            pipe_start: number(self.pos),
            negated: false,
            state: ListState::Start,
            after_compound: false,
            root: false,
            empty,
        };
        self.push(Frame::List(frame));
        Ok(())
    }

    fn push_word(&mut self, context: Context) -> Step {
        if !matches!(context, Context::Plain | Context::Regex | Context::Pattern) {
            self.nest()?;
        }
        self.push(Frame::Word(WordFrame::new(context, number(self.pos), number(self.parts.len()))));
        Ok(())
    }

    fn nest(&mut self) -> Step {
        self.nesting += 1;
        if self.nesting > self.limits.depth { self.limit("nested too deeply") } else { Ok(()) }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            pos: number(self.pos),
            ids: number(self.ids.len()),
            items: number(self.items.len()),
            parts: number(self.parts.len()),
            redirs: number(self.redirs.len()),
            assigns: number(self.assigns.len()),
            elements: number(self.elements.len()),
            arms: number(self.arms.len()),
            pending: number(self.pending.len()),
            level: self.level,
            nesting: number(self.nesting),
        }
    }

    /// Goes back to where `((` was taken for arithmetic.
    fn go_back(&mut self, to: Snapshot) -> Step {
        self.went_back += self.pos.saturating_sub(to.pos as usize);
        if self.went_back > 8 * self.script.source as usize + 4096 {
            return self.limit("too many parentheses that could be arithmetic");
        }
        self.not_arithmetic.insert(to.pos);
        self.pos = to.pos as usize;
        self.ids.truncate(to.ids as usize);
        self.items.truncate(to.items as usize);
        self.parts.truncate(to.parts as usize);
        self.redirs.truncate(to.redirs as usize);
        self.assigns.truncate(to.assigns as usize);
        self.elements.truncate(to.elements as usize);
        self.arms.truncate(to.arms as usize);
        self.pending.truncate(to.pending as usize);
        self.level = to.level;
        self.nesting = to.nesting as usize;
        Ok(())
    }

    // --- Output ---

    fn node(&mut self, kind: Kind, span: Span) -> Result<Id, Stop> {
        let id = self.script.nodes.len();
        if id + self.script.parts.len() > self.limits.nodes {
            self.limit("too many commands")?;
        }
        self.script.nodes.push(Node { kind, redirs: Slice::default(), span });
        Ok(number(id))
    }

    fn take_items(&mut self, from: u32) -> Slice {
        let start = number(self.script.items.len());
        self.script.items.extend(self.items.drain((from as usize).min(self.items.len())..));
        Slice { start, len: number(self.script.items.len()) - start }
    }

    fn take_ids(&mut self, from: u32) -> Slice {
        let start = number(self.script.ids.len());
        self.script.ids.extend(self.ids.drain((from as usize).min(self.ids.len())..));
        Slice { start, len: number(self.script.ids.len()) - start }
    }

    fn take_redirs(&mut self, from: u32) -> Slice {
        let start = number(self.script.redirs.len());
        self.script.redirs.extend(self.redirs.drain((from as usize).min(self.redirs.len())..));
        Slice { start, len: number(self.script.redirs.len()) - start }
    }

    fn span_from(&self, start: u32) -> Span {
        Span { start, end: number(self.pos) }
    }

    fn new_heredoc(&mut self) -> Id {
        self.script.heredocs.push(HereDoc::default());
        number(self.script.heredocs.len() - 1)
    }

    // --- Refusal ---

    fn error_at(&self, at: usize, message: &'static str) -> Stop {
        Stop { at: number(at), message, limit: false }
    }

    fn fail<T>(&self, message: &'static str) -> Result<T, Stop> {
        Err(self.error_at(self.pos.min(self.end), message))
    }

    fn limit<T>(&self, message: &'static str) -> Result<T, Stop> {
        Err(Stop { limit: true, ..self.error_at(self.pos.min(self.end), message) })
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes that end an unquoted word.
fn is_meta(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t' | b'\n' | b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>')
}
