//! Commands: lists, pipelines, reserved words, and what begins a command of each kind.

use super::super::Span;
use super::super::ast::{Id, Item, Kind, Slice, Then};
use super::words::Context;
use super::{
    CaseStage, CondStage, Done, Frame, ListFrame, ListState, Parser, Stage, Step, Stop, Term, is_meta,
    is_name, number,
};

pub(super) const THEN: u16 = 1;
pub(super) const DO: u16 = 2;
pub(super) const DONE: u16 = 4;
pub(super) const FI: u16 = 8;
pub(super) const ELSE: u16 = 16;
pub(super) const ELIF: u16 = 32;
pub(super) const ESAC: u16 = 64;
pub(super) const CLOSE: u16 = 128;

/// A reserved word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserved {
    /// One that ends a list.
    End(u16),
    If,
    While,
    Until,
    For,
    Select,
    Case,
    Function,
    Coproc,
    Time,
    Bang,
    Open,
    Cond,
    CondEnd,
    In,
}

impl Parser {
    /// Reads on in a list.
    pub(super) fn list(&mut self, mut frame: ListFrame) -> Step {
        if let Done::Node(id) = self.result {
            self.ids.push(id);
            frame.state = ListState::After;
            frame.after_compound = self.compound;
            self.result = Done::Nothing;
        }
        loop {
            match frame.state {
                ListState::Start => {
                    self.skip_blanks();
                    match self.here() {
                        b'\n' => {
                            self.end_line(&frame);
                            self.newline()?;
                        }
                        0 if self.pos >= self.end => {
                            return if frame.term == Term::End {
                                self.end_list(frame)
                            } else {
                                self.unclosed(&frame)
                            };
                        }
                        b')' if frame.term == Term::Paren => return self.end_list(frame),
                        b';' if frame.term == Term::Case && matches!(self.second().0, b';' | b'&') => {
                            return self.end_list(frame);
                        }
                        b')' | b';' | b'|' => return self.fail("an operator where a command must stand"),
                        b'&' if self.second().0 != b'>' || !self.bash() => {
                            return self.fail("an operator where a command must stand");
                        }
                        _ => {
                            if let Some((Reserved::End(word), _)) = self.reserved() {
                                let ends = match frame.term {
                                    Term::Words(words) => words & word != 0,
                                    Term::Case => word == ESAC,
                                    _ => false,
                                };
                                return if ends { self.end_list(frame) } else { self.stray() };
                            }
                            return self.begin_command(frame);
                        }
                    }
                }
                ListState::Need => {
                    self.skip_lines()?;
                    let byte = self.here();
                    if byte == 0 && self.pos >= self.end {
                        return self.unclosed(&frame);
                    }
                    let redirection = byte == b'&' && self.second().0 == b'>' && self.bash();
                    if matches!(byte, b')' | b';' | b'|' | b'&') && !redirection {
                        return self.fail("an operator where a command must stand");
                    }
                    if let Some((Reserved::End(_), _)) = self.reserved() {
                        return self.stray();
                    }
                    return self.begin_command(frame);
                }
                ListState::After => {
                    self.skip_blanks();
                    let (second, place) = self.second();
                    match self.here() {
                        0 if self.pos >= self.end => {
                            if frame.term != Term::End {
                                return self.unclosed(&frame);
                            }
                            self.end_pipeline(&mut frame, Then::Next)?;
                            return self.end_list(frame);
                        }
                        b'\n' => {
                            self.end_pipeline(&mut frame, Then::Next)?;
                            self.end_line(&frame);
                            self.newline()?;
                        }
                        b';' => {
                            self.end_pipeline(&mut frame, Then::Next)?;
                            if second == b';' || second == b'&' && self.bash() {
                                if frame.term != Term::Case {
                                    return self.fail("`;;` outside `case`");
                                }
                                return self.end_list(frame);
                            }
                            self.pos += 1;
                        }
                        b'&' if second == b'&' => {
                            self.pos = place + 1;
                            self.end_pipeline(&mut frame, Then::And)?;
                            frame.state = ListState::Need;
                        }
                        b'&' if second == b'>' => {
                            // After a command's redirections have been read this is `& >` in sh only.
                            return self.fail("`&>` is read differently by different shells");
                        }
                        b'&' => {
                            self.pos += 1;
                            self.end_pipeline(&mut frame, Then::Background)?;
                        }
                        b'|' if second == b'|' => {
                            self.pos = place + 1;
                            self.end_pipeline(&mut frame, Then::Or)?;
                            frame.state = ListState::Need;
                        }
                        b'|' => {
                            if second == b'&' && !self.bash() {
                                return self.fail("`|&` is not in sh");
                            }
                            self.pos = if second == b'&' { place + 1 } else { self.pos + 1 };
                            frame.state = ListState::Need;
                        }
                        b')' if frame.term == Term::Paren => {
                            self.end_pipeline(&mut frame, Then::Next)?;
                            return self.end_list(frame);
                        }
                        _ => {
                            if let (true, Term::Words(words), Some((Reserved::End(word), _))) =
                                (frame.after_compound, frame.term, self.reserved())
                                && words & word != 0
                            {
                                self.end_pipeline(&mut frame, Then::Next)?;
                                return self.end_list(frame);
                            }
                            if let (true, Term::Case, Some((Reserved::End(ESAC), _))) =
                                (frame.after_compound, frame.term, self.reserved())
                            {
                                self.end_pipeline(&mut frame, Then::Next)?;
                                return self.end_list(frame);
                            }
                            return self.fail("a word or operator that cannot stand here");
                        }
                    }
                }
            }
        }
    }

    /// A newline in the outermost list: what stands before is run before anything behind is read.
    fn end_line(&mut self, frame: &ListFrame) {
        if frame.root {
            self.complete = self.items.len();
            self.extglob = self.extglob_next;
        }
    }

    fn end_pipeline(&mut self, frame: &mut ListFrame, then: Then) -> Step {
        let count = self.ids.len() - frame.pipe as usize;
        let node = if count == 1 && !frame.negated {
            self.ids.pop().unwrap_or_default()
        } else {
            let commands = self.take_ids(frame.pipe);
            self.node(Kind::Pipeline { commands }, self.span_from(frame.pipe_start))?
        };
        self.items.push(Item { node, then });
        frame.negated = false;
        frame.state = ListState::Start;
        Ok(())
    }

    fn end_list(&mut self, frame: ListFrame) -> Step {
        if self.items.len() == frame.items as usize && !frame.empty {
            return self.fail("a command must stand here");
        }
        self.nesting -= 1;
        let items = self.take_items(frame.items);
        let span = self.span_from(frame.start);
        self.result = Done::Node(self.node(Kind::List { items }, span)?);
        Ok(())
    }

    fn unclosed(&self, frame: &ListFrame) -> Step {
        self.fail(match frame.term {
            Term::Paren => "the text ends before `)`",
            Term::Case => "the text ends before `esac`",
            Term::Words(THEN) => "the text ends before `then`",
            Term::Words(DO) => "the text ends before `do`",
            Term::Words(DONE) => "the text ends before `done`",
            Term::Words(CLOSE) => "the text ends before `}`",
            Term::Words(_) => "the text ends before `fi`",
            Term::End => "the text ends where a command must stand",
        })
    }

    fn stray(&self) -> Step {
        self.fail("a reserved word that closes nothing")
    }

    /// The reserved word under the cursor, and where it ends.
    pub(super) fn reserved(&self) -> Option<(Reserved, usize)> {
        let mut word = [0u8; 8];
        let mut length = 0;
        let mut pos = self.joined(self.pos);
        loop {
            let byte = self.at(pos);
            if is_meta(byte) {
                break;
            }
            *word.get_mut(length)? = byte;
            length += 1;
            pos = self.joined(pos + 1);
        }
        let reserved = match word.get(..length)? {
            b"then" => Reserved::End(THEN),
            b"do" => Reserved::End(DO),
            b"done" => Reserved::End(DONE),
            b"fi" => Reserved::End(FI),
            b"else" => Reserved::End(ELSE),
            b"elif" => Reserved::End(ELIF),
            b"esac" => Reserved::End(ESAC),
            b"}" => Reserved::End(CLOSE),
            b"if" => Reserved::If,
            b"while" => Reserved::While,
            b"until" => Reserved::Until,
            b"for" => Reserved::For,
            b"case" => Reserved::Case,
            b"in" => Reserved::In,
            b"{" => Reserved::Open,
            b"!" if !(self.extglob && self.at(pos) == b'(') => Reserved::Bang,
            b"select" => Reserved::Select,
            b"function" => Reserved::Function,
            b"coproc" if self.bash() => Reserved::Coproc,
            b"time" if self.bash() => Reserved::Time,
            b"[[" => Reserved::Cond,
            b"]]" if self.bash() => Reserved::CondEnd,
            _ => return None,
        };
        Some((reserved, pos))
    }

    /// Takes the reserved word that must stand here.
    pub(super) fn expect(&mut self, wanted: u16) -> Result<u16, Stop> {
        self.here();
        match self.reserved() {
            Some((Reserved::End(word), end)) if word & wanted != 0 => {
                self.pos = end;
                Ok(word)
            }
            _ => self.fail(match wanted {
                DO => "`do` must stand here",
                _ => "a reserved word is missing here",
            }),
        }
    }

    /// At the first word of a command.
    fn begin_command(&mut self, mut frame: ListFrame) -> Step {
        let first = self.ids.len() == frame.pipe as usize;
        if first {
            frame.pipe_start = number(self.pos);
        }
        frame.state = ListState::After;
        let mut prefixed = false;
        loop {
            match self.reserved() {
                Some((Reserved::Bang, end)) if (first || prefixed) && (self.bash() || !frame.negated) => {
                    frame.negated = true;
                    self.pos = end;
                }
                Some((Reserved::Bang, _)) => return self.fail("`!` cannot stand here"),
                Some((Reserved::Time, end)) => {
                    self.pos = end;
                    loop {
                        self.skip_blanks();
                        let option = self.script.text.get(self.pos..self.end).unwrap_or(&[]);
                        let length =
                            if option.starts_with(b"-p") || option.starts_with(b"--") { 2 } else { 0 };
                        if length == 0 || !is_meta(self.at(self.pos + 2)) {
                            break;
                        }
                        self.pos += length;
                        if option.starts_with(b"--") {
                            break;
                        }
                    }
                }
                _ => break,
            }
            prefixed = true;
            self.skip_blanks();
        }
        if prefixed {
            let byte = self.here();
            if matches!(byte, b'\n' | b';') || byte == 0 && self.pos >= self.end {
                // `!` and `time` by themselves.
                let kind = Kind::Simple { assigns: Slice::default(), words: Slice::default() };
                let node = self.node(kind, self.span_from(frame.pipe_start))?;
                self.compound = false;
                self.ids.push(node);
                frame.after_compound = false;
                self.stack.push(Frame::List(frame));
                return Ok(());
            }
            if matches!(byte, b'|' | b'&') && self.second().0 != b'>' || byte == b')' {
                return self.fail("an operator where a command must stand");
            }
            if let Some((Reserved::End(_), _)) = self.reserved() {
                return self.stray();
            }
        }
        self.push(Frame::List(frame));
        if self.begin_compound()? {
            return Ok(());
        }
        let start = number(self.pos);
        match self.reserved() {
            Some((Reserved::In | Reserved::CondEnd, _)) => self.stray(),
            Some((Reserved::Function, end)) => {
                if !self.bash() {
                    return self.fail("`function` is not in sh");
                }
                self.pos = end;
                self.skip_blanks();
                let name = self.raw_word()?;
                self.skip_blanks();
                if self.here() == b'(' && self.after_open_paren() == b')' {
                    self.pos += 1;
                    self.skip_blanks();
                    self.pos += 1;
                }
                self.function_body(name, start)
            }
            Some((Reserved::Coproc, end)) => {
                self.pos = end;
                self.skip_blanks();
                if self.starts_compound() {
                    self.push(Frame::Coproc { start });
                    return self.begin_compound().map(|_| ());
                }
                let back = self.pos;
                while is_name(self.at(self.pos)) {
                    self.pos += 1;
                }
                let name = Span { start: number(back), end: number(self.pos) };
                self.skip_blanks();
                if name.start < name.end && self.pos > name.end as usize && self.starts_compound() {
                    self.push(Frame::Coproc { start });
                    return self.begin_compound().map(|_| ());
                }
                self.pos = back;
                if matches!(self.here(), b'\n' | b';' | b'&' | b'|' | b'(' | b')') || self.pos >= self.end {
                    return self.fail("a command must stand here");
                }
                self.push(Frame::Coproc { start });
                self.begin_simple();
                Ok(())
            }
            _ => {
                if matches!(self.here(), b'|' | b'&' | b';' | b')')
                    && !(self.here() == b'&' && self.second().0 == b'>')
                {
                    return self.fail("an operator where a command must stand");
                }
                self.begin_simple();
                Ok(())
            }
        }
    }

    /// The byte behind `(` and blanks.
    pub(super) fn after_open_paren(&self) -> u8 {
        let mut pos = self.joined(self.pos + 1);
        while matches!(self.at(pos), b' ' | b'\t') {
            pos = self.joined(pos + 1);
        }
        self.at(pos)
    }

    fn starts_compound(&self) -> bool {
        self.at(self.pos) == b'('
            || matches!(
                self.reserved(),
                Some((
                    Reserved::If
                        | Reserved::While
                        | Reserved::Until
                        | Reserved::For
                        | Reserved::Select
                        | Reserved::Case
                        | Reserved::Open
                        | Reserved::Cond,
                    _
                ))
            )
    }

    /// Begins a compound command where one stands under the cursor.
    pub(super) fn begin_compound(&mut self) -> Result<bool, Stop> {
        let start = number(self.pos);
        if self.here() == b'(' {
            let (second, place) = self.second();
            if second == b'(' && !self.not_arithmetic.contains(&start) {
                if !self.bash() {
                    return self.fail("`((` differs between shells");
                }
                let snapshot = self.snapshot();
                self.pos = place + 1;
                self.push(Frame::ArithCommand { start, snapshot });
                self.push_word(Context::Arith)?;
            } else {
                self.pos += 1;
                self.push(Frame::Group { brace: false, start });
                self.push_list(Term::Paren, false)?;
            }
            return Ok(true);
        }
        let Some((reserved, end)) = self.reserved() else { return Ok(false) };
        if !self.bash() && matches!(reserved, Reserved::Cond | Reserved::Select) {
            return self.fail("`[[` and `select` are not in sh");
        }
        match reserved {
            Reserved::Open => {
                self.pos = end;
                self.push(Frame::Group { brace: true, start });
                self.push_list(Term::Words(CLOSE), false)?;
            }
            Reserved::If => {
                self.pos = end;
                self.push(Frame::If { ids: number(self.ids.len()), start, stage: Stage::Condition });
                self.push_list(Term::Words(THEN), false)?;
            }
            Reserved::While | Reserved::Until => {
                self.pos = end;
                self.push(Frame::While { start, condition: None });
                self.push_list(Term::Words(DO), false)?;
            }
            Reserved::For | Reserved::Select => {
                self.pos = end;
                self.begin_for(start, reserved == Reserved::Select)?;
            }
            Reserved::Case => {
                self.pos = end;
                self.skip_blanks();
                let (arms, ids) = (number(self.arms.len()), number(self.ids.len()));
                self.push(Frame::Case { word: None, start, arms, ids, stage: CaseStage::Word });
                self.require_word()?;
                self.push_word(Context::Plain)?;
            }
            Reserved::Cond => {
                self.pos = end;
                let ids = number(self.ids.len());
                self.push(Frame::Cond { ids, start, parens: 0, stage: CondStage::Term });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses where no word begins under the cursor.
    pub(super) fn require_word(&mut self) -> Step {
        let byte = self.here();
        let process = matches!(byte, b'<' | b'>') && self.second().0 == b'(' && self.bash();
        if is_meta(byte) && !process { self.fail("a word must stand here") } else { Ok(()) }
    }

    /// Takes a word that must be plain: the name of a function.
    fn raw_word(&mut self) -> Result<Span, Stop> {
        let start = self.pos;
        while !is_meta(self.at(self.pos)) {
            if matches!(self.at(self.pos), b'\\' | b'\'' | b'"' | b'$' | b'`') {
                return self.fail("a name that is not plain");
            }
            self.pos += 1;
        }
        if self.pos == start {
            return self.fail("a name must stand here");
        }
        Ok(Span { start: number(start), end: number(self.pos) })
    }

    /// A compound command is complete but for its redirections.
    pub(super) fn compound(&mut self, kind: Kind, start: u32) -> Step {
        let node = self.node(kind, self.span_from(start))?;
        self.result = Done::Nothing;
        self.push(Frame::Tail { node, redirs: number(self.redirs.len()) });
        Ok(())
    }

    /// Behind a compound command.
    pub(super) fn tail(&mut self, node: Id, redirs: u32) -> Step {
        self.skip_blanks();
        self.push(Frame::Tail { node, redirs });
        if self.begin_redirection()? {
            return Ok(());
        }
        self.stack.pop();
        self.compound = self.redirs.len() == redirs as usize;
        let taken = self.take_redirs(redirs);
        if let Some(stored) = self.script.nodes.get_mut(node as usize) {
            stored.redirs = taken;
            if taken.len > 0 {
                stored.span.end = number(self.pos);
            }
        }
        self.result = Done::Node(node);
        Ok(())
    }

    pub(super) fn done(&self) -> Result<Id, Stop> {
        match self.result {
            Done::Node(id) => Ok(id),
            _ => self.fail("a command that cannot be read"),
        }
    }

    pub(super) fn done_word(&mut self) -> Result<Id, Stop> {
        match std::mem::replace(&mut self.result, Done::Nothing) {
            Done::Word(id) => Ok(id),
            _ => self.fail("a word that cannot be read"),
        }
    }
}
