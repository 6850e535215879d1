//! Commands: lists, pipelines, compound commands, simple commands and their redirections.

use super::super::Span;
use super::super::ast::{
    Arm, Assign, Assigned, Id, Item, Kind, PartKind, Redir, RedirOp, Slice, Target, Then,
};
use super::heredocs::Pending;
use super::words::Context;
use super::{
    AssignFrame, AssignStage, CaseStage, CondStage, Done, ForStage, Frame, ListFrame, ListState, Parser,
    SimpleFrame, Stage, Step, Stop, Term, is_meta, is_name, is_name_start, number,
};

const THEN: u16 = 1;
const DO: u16 = 2;
const DONE: u16 = 4;
const FI: u16 = 8;
const ELSE: u16 = 16;
const ELIF: u16 = 32;
const ESAC: u16 = 64;
const CLOSE: u16 = 128;

/// A reserved word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserved {
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
    fn reserved(&self) -> Option<(Reserved, usize)> {
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
            _ => return None,
        };
        Some((reserved, pos))
    }

    /// Takes the reserved word that must stand here.
    fn expect(&mut self, wanted: u16) -> Result<u16, Stop> {
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
                Some((Reserved::Bang, end)) if first || prefixed => {
                    frame.negated = true;
                    self.pos = end;
                }
                Some((Reserved::Bang, _)) => return self.fail("`!` inside a pipeline"),
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
            if matches!(byte, b'\n' | b';') || byte == b')' || byte == 0 && self.pos >= self.end {
                // `!` and `time` by themselves.
                let kind = Kind::Simple { assigns: Slice::default(), words: Slice::default() };
                let node = self.node(kind, self.span_from(frame.pipe_start))?;
                self.compound = false;
                self.ids.push(node);
                frame.after_compound = false;
                self.stack.push(Frame::List(frame));
                return Ok(());
            }
            if matches!(byte, b'|' | b'&') && self.second().0 != b'>' {
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
            Some((Reserved::In, _)) => self.stray(),
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
    fn after_open_paren(&self) -> u8 {
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
    fn begin_compound(&mut self) -> Result<bool, Stop> {
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
    fn require_word(&mut self) -> Step {
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
    fn compound(&mut self, kind: Kind, start: u32) -> Step {
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

    fn done(&self) -> Result<Id, Stop> {
        match self.result {
            Done::Node(id) => Ok(id),
            _ => self.fail("a command that cannot be read"),
        }
    }

    fn done_word(&mut self) -> Result<Id, Stop> {
        match std::mem::replace(&mut self.result, Done::Nothing) {
            Done::Word(id) => Ok(id),
            _ => self.fail("a word that cannot be read"),
        }
    }

    pub(super) fn group(&mut self, brace: bool, start: u32) -> Step {
        let list = self.done()?;
        if brace {
            self.expect(CLOSE)?;
            self.compound(Kind::Group { list }, start)
        } else {
            self.pos += 1;
            self.compound(Kind::Subshell { list }, start)
        }
    }

    pub(super) fn conditional(&mut self, ids: u32, start: u32, stage: Stage) -> Step {
        let list = self.done()?;
        self.ids.push(list);
        self.result = Done::Nothing;
        let (stage, term) = match stage {
            Stage::Condition => {
                self.expect(THEN)?;
                (Stage::Body, ELIF | ELSE | FI)
            }
            Stage::Body => match self.expect(ELIF | ELSE | FI)? {
                ELIF => (Stage::Condition, THEN),
                ELSE => (Stage::Else, FI),
                _ => (Stage::Body, 0),
            },
            Stage::Else => {
                self.expect(FI)?;
                (Stage::Else, 0)
            }
        };
        if term == 0 {
            let lists = self.take_ids(ids);
            return self.compound(Kind::If { lists }, start);
        }
        self.push(Frame::If { ids, start, stage });
        self.push_list(Term::Words(term), false)
    }

    pub(super) fn while_loop(&mut self, start: u32, condition: Option<Id>) -> Step {
        let list = self.done()?;
        match condition {
            None => {
                self.expect(DO)?;
                self.result = Done::Nothing;
                self.push(Frame::While { start, condition: Some(list) });
                self.push_list(Term::Words(DONE), false)
            }
            Some(condition) => {
                self.expect(DONE)?;
                self.compound(Kind::While { condition, body: list }, start)
            }
        }
    }

    fn begin_for(&mut self, start: u32, select: bool) -> Step {
        self.skip_blanks();
        let ids = number(self.ids.len());
        if self.here() == b'(' && self.second().0 == b'(' && !select {
            if !self.bash() {
                return self.fail("`for ((` is not in sh");
            }
            self.pos = self.second().1 + 1;
            self.push(Frame::ForArith { ids, start, stage: 0, brace: false });
            return self.push_word(Context::Semicolon);
        }
        let from = self.pos;
        while is_name(self.at(self.pos)) {
            self.pos += 1;
        }
        let name = Span { start: number(from), end: number(self.pos) };
        if from == self.pos
            || !is_name_start(self.at(from))
            || !is_meta(self.at(self.pos)) && self.here() != b'#'
        {
            return self.fail("the name of a variable must stand here");
        }
        self.skip_blanks();
        if self.here() == b';' {
            self.pos += 1;
            self.skip_lines()?;
            return self.begin_for_body(name, ids, start, select, false);
        }
        self.skip_lines()?;
        if let Some((Reserved::In, end)) = self.reserved() {
            self.pos = end;
            self.push(Frame::For { name, ids, start, select, stage: ForStage::Words, words: true });
            return Ok(());
        }
        self.begin_for_body(name, ids, start, select, false)
    }

    fn begin_for_body(&mut self, name: Span, ids: u32, start: u32, select: bool, words: bool) -> Step {
        let brace = self.begin_loop_body()?;
        self.push(Frame::For { name, ids, start, select, stage: ForStage::Body { brace }, words });
        self.push_list(Term::Words(if brace { CLOSE } else { DONE }), false)
    }

    /// Takes `do`, or the brace that bash takes in its place.
    fn begin_loop_body(&mut self) -> Result<bool, Stop> {
        self.here();
        match self.reserved() {
            Some((Reserved::Open, end)) if self.bash() => {
                self.pos = end;
                Ok(true)
            }
            _ => self.expect(DO).map(|_| false),
        }
    }

    pub(super) fn for_loop(
        &mut self,
        name: Span,
        ids: u32,
        start: u32,
        select: bool,
        stage: ForStage,
        words: bool,
    ) -> Step {
        match stage {
            ForStage::Words => {
                if let Done::Word(word) = self.result {
                    self.ids.push(word);
                    self.result = Done::Nothing;
                }
                self.skip_blanks();
                let byte = self.here();
                if matches!(byte, b';' | b'\n') {
                    if byte == b';' {
                        self.pos += 1;
                    }
                    self.skip_lines()?;
                    return self.begin_for_body(name, ids, start, select, words);
                }
                self.require_word()?;
                self.push(Frame::For { name, ids, start, select, stage, words });
                self.push_word(Context::Plain)
            }
            ForStage::Body { brace } => {
                let body = self.done()?;
                self.expect(if brace { CLOSE } else { DONE })?;
                let list = self.take_ids(ids);
                let words = words.then_some(list);
                let kind =
                    if select { Kind::Select { name, words, body } } else { Kind::For { name, words, body } };
                self.compound(kind, start)
            }
        }
    }

    pub(super) fn for_arith(&mut self, ids: u32, start: u32, stage: u8, brace: bool) -> Step {
        if stage == 3 {
            let body = self.done()?;
            self.expect(if brace { CLOSE } else { DONE })?;
            let words = self.take_ids(ids);
            return self.compound(Kind::ForArith { words, body }, start);
        }
        let word = self.done_word()?;
        self.ids.push(word);
        if stage < 2 {
            if self.at(self.pos) != b';' {
                return self.fail("`for ((` needs three expressions");
            }
            self.pos += 1;
            self.push(Frame::ForArith { ids, start, stage: stage + 1, brace });
            return self.push_word(Context::Semicolon);
        }
        if self.at(self.pos) != b')' || self.second().0 != b')' {
            return self.fail("`for ((` is not closed by `))`");
        }
        self.pos = self.second().1 + 1;
        self.skip_blanks();
        if self.here() == b';' {
            self.pos += 1;
        }
        self.skip_lines()?;
        let brace = self.begin_loop_body()?;
        self.push(Frame::ForArith { ids, start, stage: 3, brace });
        self.push_list(Term::Words(if brace { CLOSE } else { DONE }), false)
    }

    pub(super) fn case(
        &mut self,
        word: Option<Id>,
        start: u32,
        arms: u32,
        ids: u32,
        stage: CaseStage,
    ) -> Step {
        match stage {
            CaseStage::Word => {
                let word = self.done_word()?;
                self.skip_lines()?;
                let Some((Reserved::In, end)) = self.reserved() else {
                    return self.fail("`in` must stand here");
                };
                self.pos = end;
                self.case_arm(Some(word), start, arms, ids, true)
            }
            CaseStage::Pattern => {
                let pattern = self.done_word()?;
                self.ids.push(pattern);
                self.skip_blanks();
                match self.here() {
                    b'|' => {
                        self.pos += 1;
                        self.skip_blanks();
                        self.require_word()?;
                        self.push(Frame::Case { word, start, arms, ids, stage });
                        self.push_word(Context::Plain)
                    }
                    b')' => {
                        self.pos += 1;
                        self.push(Frame::Case { word, start, arms, ids, stage: CaseStage::Body });
                        self.push_list(Term::Case, true)
                    }
                    _ => self.fail("`)` must stand behind the patterns of `case`"),
                }
            }
            CaseStage::Body => {
                let body = self.done()?;
                self.result = Done::Nothing;
                let patterns = self.take_ids(ids);
                self.arms.push(Arm { patterns, body: Some(body) });
                if self.here() != b';' {
                    return self.case_arm(word, start, arms, ids, true);
                }
                let (second, place) = self.second();
                self.pos = place + 1;
                if second == b'&' && !self.bash() {
                    return self.fail("`;&` is not in sh");
                }
                if second == b';' && self.here() == b'&' && self.bash() {
                    self.pos += 1;
                }
                self.case_arm(word, start, arms, ids, true)
            }
        }
    }

    /// Where an arm or `esac` stands.
    fn case_arm(&mut self, word: Option<Id>, start: u32, arms: u32, ids: u32, may_end: bool) -> Step {
        self.skip_lines()?;
        if may_end && let Some((Reserved::End(ESAC), end)) = self.reserved() {
            self.pos = end;
            let first = number(self.script.arms.len());
            self.script.arms.extend(self.arms.drain((arms as usize).min(self.arms.len())..));
            let slice = Slice { start: first, len: number(self.script.arms.len()) - first };
            let Some(word) = word else { return self.fail("a `case` that cannot be read") };
            return self.compound(Kind::Case { word, arms: slice }, start);
        }
        if self.here() == b'(' {
            self.pos += 1;
            self.skip_blanks();
        }
        self.require_word()?;
        self.push(Frame::Case { word, start, arms, ids, stage: CaseStage::Pattern });
        self.push_word(Context::Plain)
    }

    fn function_body(&mut self, name: Span, start: u32) -> Step {
        self.skip_lines()?;
        self.push(Frame::Function { name, start });
        if self.begin_compound()? { Ok(()) } else { self.fail("the body of a function must stand here") }
    }

    pub(super) fn function(&mut self, name: Span, start: u32) -> Step {
        let body = self.done()?;
        let node = self.node(Kind::Function { name, body }, self.span_from(start))?;
        self.result = Done::Node(node);
        Ok(())
    }

    pub(super) fn coproc(&mut self, start: u32) -> Step {
        let body = self.done()?;
        let node = self.node(Kind::Coproc { body }, self.span_from(start))?;
        self.result = Done::Node(node);
        Ok(())
    }

    pub(super) fn arith_command(&mut self, start: u32) -> Step {
        let word = self.done_word()?;
        self.pos = self.second().1 + 1;
        self.compound(Kind::Arith { word }, start)
    }

    // --- [[ ]] ---

    pub(super) fn cond(&mut self, ids: u32, start: u32, mut parens: u32, mut stage: CondStage) -> Step {
        let word = match self.result {
            Done::Word(word) => {
                self.result = Done::Nothing;
                self.ids.push(word);
                Some(word)
            }
            _ => None,
        };
        loop {
            match stage {
                CondStage::Term => {
                    self.skip_lines()?;
                    match self.here() {
                        b'(' => {
                            self.pos += 1;
                            parens += 1;
                            continue;
                        }
                        b'!' if is_meta(self.second().0) && self.second().0 != b'(' => {
                            self.pos += 1;
                            continue;
                        }
                        _ => {}
                    }
                    self.require_word()?;
                    if self.closes_cond() {
                        return self.fail("an expression must stand here");
                    }
                    let (second, place) = self.second();
                    let unary = self.at(self.pos) == b'-'
                        && b"abcdefghknoprstuvwxzGLNORS".contains(&second)
                        && matches!(self.at(place + 1), b' ' | b'\t');
                    let next = if unary { CondStage::Operand } else { CondStage::Word };
                    if unary {
                        let mut after = place + 1;
                        while matches!(self.at(after), b' ' | b'\t') {
                            after += 1;
                        }
                        if self.at(after) == b']' && self.joint_at(after) {
                            return self.fail("an operand must stand here");
                        }
                        let from = self.pos;
                        self.pos = place + 1;
                        let operator = self.operator_word(from)?;
                        self.ids.push(operator);
                        self.skip_blanks();
                        self.require_word()?;
                    }
                    self.push(Frame::Cond { ids, start, parens, stage: next });
                    return self.push_word(Context::Plain);
                }
                CondStage::Word => {
                    self.skip_blanks();
                    let Some(end) = self.binary_operator(self.pos) else {
                        if !self.joint_at(self.pos) || word.is_none() {
                            return self.fail("an operator of `[[ ]]` must stand here");
                        }
                        stage = CondStage::Joint;
                        continue;
                    };
                    let from = self.pos;
                    self.pos = end;
                    let operator = self.operator_word(from)?;
                    self.ids.push(operator);
                    let context = match self.script.text.get(from..end) {
                        Some(b"=~") => Context::Regex,
                        Some(b"==" | b"=" | b"!=") => Context::Pattern,
                        _ => Context::Plain,
                    };
                    self.skip_blanks();
                    if self.here() != b'(' || context != Context::Regex {
                        self.require_word()?;
                    }
                    self.push(Frame::Cond { ids, start, parens, stage: CondStage::Right });
                    return self.push_word(context);
                }
                CondStage::Operand | CondStage::Right => {
                    stage = CondStage::Joint;
                }
                CondStage::Joint => {
                    self.skip_lines()?;
                    let (second, place) = self.second();
                    match self.here() {
                        b'&' if second == b'&' => {
                            self.pos = place + 1;
                            stage = CondStage::Term;
                        }
                        b'|' if second == b'|' => {
                            self.pos = place + 1;
                            stage = CondStage::Term;
                        }
                        b')' if parens > 0 => {
                            self.pos += 1;
                            parens -= 1;
                        }
                        b']' if parens == 0 && self.closes_cond() => {
                            self.pos = place + 1;
                            let words = self.take_ids(ids);
                            return self.compound(Kind::Cond { words }, start);
                        }
                        _ => return self.fail("`]]` or an operator must stand here"),
                    }
                }
            }
        }
    }

    /// A word made of an operator of `[[ ]]`.
    fn operator_word(&mut self, from: usize) -> Result<Id, Stop> {
        let start = number(self.script.parts.len());
        let span = Span { start: number(from), end: number(self.pos) };
        self.literal(from, self.pos, false)?;
        self.script.parts.extend(self.parts.pop());
        self.script.words.push(super::super::ast::Word { parts: Slice { start, len: 1 }, span });
        Ok(number(self.script.words.len() - 1))
    }

    fn closes_cond(&self) -> bool {
        self.at(self.pos) == b']'
            && self.second().0 == b']'
            && is_meta(self.at(self.joined(self.second().1 + 1)))
    }

    /// Whether a term of `[[ ]]` has ended at this place.
    fn joint_at(&self, pos: usize) -> bool {
        match self.at(pos) {
            b']' => self.at(pos + 1) == b']' && is_meta(self.at(pos + 2)),
            b'&' => self.at(pos + 1) == b'&',
            b'|' => self.at(pos + 1) == b'|',
            b')' => true,
            _ => false,
        }
    }

    /// The end of a binary operator of `[[ ]]` at this place.
    fn binary_operator(&self, pos: usize) -> Option<usize> {
        let (first, second) = (self.at(pos), self.at(pos + 1));
        if matches!(first, b'<' | b'>') && second != b'(' {
            return Some(pos + 1);
        }
        let mut end = pos;
        while !is_meta(self.at(end)) && end < pos + 4 {
            end += 1;
        }
        if !is_meta(self.at(end)) {
            return None;
        }
        let known: [&[u8]; 13] = [
            b"==", b"=", b"!=", b"=~", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt", b"-ot", b"-ef",
        ];
        let word = self.script.text.get(pos..end)?;
        known.contains(&word).then_some(end)
    }

    // --- Simple commands ---

    fn begin_simple(&mut self) {
        let frame = SimpleFrame {
            assigns: number(self.assigns.len()),
            ids: number(self.ids.len()),
            redirs: number(self.redirs.len()),
            start: number(self.pos),
            declares: false,
        };
        self.push(Frame::Simple(frame));
    }

    pub(super) fn simple(&mut self, mut frame: SimpleFrame) -> Step {
        if let Done::Word(word) = self.result {
            if self.ids.len() == frame.ids as usize {
                frame.declares = self.bash()
                    && matches!(
                        self.script.plain(word),
                        Some(
                            b"declare"
                                | b"typeset"
                                | b"local"
                                | b"export"
                                | b"readonly"
                                | b"alias"
                                | b"eval"
                                | b"let"
                        )
                    );
            }
            self.ids.push(word);
            self.result = Done::Nothing;
        }
        let mut end = self.pos;
        self.skip_blanks();
        let byte = self.here();
        let words = self.ids.len() - frame.ids as usize;
        let process = matches!(byte, b'<' | b'>') && self.second().0 == b'(' && self.bash();
        if !process && (is_meta(byte) || byte.is_ascii_digit() || byte == b'{') {
            let (assigns, redirs) = (frame.assigns, frame.redirs);
            if byte == b'('
                && words == 1
                && self.assigns.len() == assigns as usize
                && self.redirs.len() == redirs as usize
            {
                return self.begin_function(&frame);
            }
            self.push(Frame::Simple(frame));
            if self.begin_redirection()? {
                return Ok(());
            }
            let Some(Frame::Simple(same)) = self.stack.pop() else {
                return self.fail("the text cannot be read");
            };
            frame = same;
            if is_meta(byte) {
                if byte == b'(' {
                    return self.fail("`(` cannot stand here");
                }
                end = end.min(self.pos);
                return self.end_simple(&frame, end);
            }
        }
        if words == 0 || frame.declares {
            let arrays_only = words > 0;
            if let Some(assign) = self.begin_assign(arrays_only)? {
                self.push(Frame::Simple(frame));
                self.push(Frame::Assign(assign));
                return Ok(());
            }
        }
        self.push(Frame::Simple(frame));
        self.push_word(Context::Plain)
    }

    fn end_simple(&mut self, frame: &SimpleFrame, end: usize) -> Step {
        let first = number(self.script.assigns.len());
        self.script.assigns.extend(self.assigns.drain((frame.assigns as usize).min(self.assigns.len())..));
        let assigns = Slice { start: first, len: number(self.script.assigns.len()) - first };
        let words = self.take_ids(frame.ids);
        let redirs = self.take_redirs(frame.redirs);
        if assigns.len == 0 && words.len == 0 && redirs.len == 0 {
            return self.fail("a command must stand here");
        }
        self.notice_shopt(words);
        let span = Span { start: frame.start, end: number(end) };
        let node = self.node(Kind::Simple { assigns, words }, span)?;
        if let Some(stored) = self.script.nodes.get_mut(node as usize) {
            stored.redirs = redirs;
        }
        self.compound = false;
        self.result = Done::Node(node);
        Ok(())
    }

    /// `shopt -s extglob` changes how the lines behind it are read.
    fn notice_shopt(&mut self, words: Slice) {
        let ids = self.script.ids(words);
        let plain = |index: usize| ids.get(index).and_then(|id| self.script.plain(*id));
        if plain(0) == Some(b"shopt") {
            let named = (2..ids.len()).any(|index| plain(index) == Some(b"extglob"));
            match plain(1) {
                Some(b"-s") if named => self.extglob_next = true,
                Some(b"-u") if named => self.extglob_next = false,
                _ => {}
            }
        }
    }

    /// On `(` behind the first word of a command.
    fn begin_function(&mut self, frame: &SimpleFrame) -> Step {
        let Some(word) = self.ids.pop() else { return self.fail("`(` cannot stand here") };
        if self.after_open_paren() != b')' {
            return self.fail("`(` cannot stand here");
        }
        let name = match self.script.parts(word) {
            [part] if part.kind == PartKind::Literal && !part.quoted => part.span,
            _ => return self.fail("the name of a function that is not plain"),
        };
        if self.script.bytes(name).contains(&b'=') {
            return self.fail("the name of a function that is not plain");
        }
        self.pos += 1;
        self.skip_blanks();
        self.pos += 1;
        self.function_body(name, frame.start)
    }

    // --- Assignments ---

    /// Begins an assignment where one stands under the cursor. Behind `declare` only `name=(` is one.
    fn begin_assign(&mut self, arrays_only: bool) -> Result<Option<AssignFrame>, Stop> {
        let start = self.pos;
        if !is_name_start(self.at(start)) {
            return Ok(None);
        }
        let mut at = start;
        while is_name(self.at(at)) {
            at += 1;
        }
        let name = Span { start: number(start), end: number(at) };
        if self.at(at) == b'\\' && self.at(at + 1) == b'\n' {
            let after = self.joined(at);
            let mut rest = after;
            while is_name(self.at(rest)) || self.at(rest) == b'\\' && self.at(rest + 1) == b'\n' {
                rest += 1;
                while self.at(rest - 1) == b'\\' && self.at(rest) == b'\n' {
                    rest += 1;
                }
            }
            if matches!(self.at(rest), b'=' | b'+' | b'[') {
                return self.fail("a line continuation inside an assignment");
            }
            return Ok(None);
        }
        let assign = Assign { name, append: false, subscript: None, value: Assigned::Word(0) };
        let frame =
            |stage| AssignFrame { assign, elements: number(self.elements.len()), stage, nested: false };
        match self.at(at) {
            b'=' | b'+' => {
                let append = self.at(at) == b'+';
                if append && (!self.bash() || self.at(at + 1) != b'=') {
                    return Ok(None);
                }
                let value = if append { at + 2 } else { at + 1 };
                if arrays_only && self.at(value) != b'(' {
                    return Ok(None);
                }
                let mut frame = frame(AssignStage::Value);
                frame.assign.append = append;
                self.pos = value;
                Ok(Some(frame))
            }
            b'[' if self.bash() && !arrays_only && self.is_subscript(at) => {
                let frame = frame(AssignStage::Subscript);
                self.pos = at + 1;
                Ok(Some(frame))
            }
            _ => Ok(None),
        }
    }

    /// Whether `[` begins a subscript of an assignment rather than a pattern: `name[...]` without quotes, blanks or
    /// expansions and with no `=` behind it is a pattern. What cannot be told so is read as a subscript, and refused
    /// if no `=` follows.
    fn is_subscript(&self, open: usize) -> bool {
        let mut at = open + 1;
        loop {
            match self.at(at) {
                b']' => {
                    return self.at(at + 1) == b'=' || self.at(at + 1) == b'+' && self.at(at + 2) == b'=';
                }
                b'$' | b'`' | b'\'' | b'"' | b'\\' | b'[' => return true,
                byte if is_meta(byte) => return true,
                _ => at += 1,
            }
        }
    }

    pub(super) fn assign(&mut self, mut frame: AssignFrame) -> Step {
        let result = std::mem::replace(&mut self.result, Done::Nothing);
        match frame.stage {
            AssignStage::Subscript => match result {
                Done::Word(word) => {
                    self.pos += 1;
                    frame.assign.subscript = Some(word);
                    frame.assign.append = self.at(self.pos) == b'+';
                    if frame.assign.append {
                        self.pos += 1;
                    }
                    if self.at(self.pos) != b'=' {
                        return self.fail("`=` must stand behind a subscript");
                    }
                    self.pos += 1;
                    frame.stage = AssignStage::Value;
                    self.push(Frame::Assign(frame));
                    Ok(())
                }
                _ => {
                    self.push(Frame::Assign(frame));
                    self.push_word(Context::Bracket)
                }
            },
            AssignStage::Value => match result {
                Done::Word(word) => {
                    frame.assign.value = Assigned::Word(word);
                    self.end_assign(&frame)
                }
                _ if self.at(self.pos) == b'(' && !frame.nested => {
                    if !self.bash() {
                        return self.fail("arrays are not in sh");
                    }
                    self.pos += 1;
                    frame.stage = AssignStage::Array;
                    self.push(Frame::Assign(frame));
                    self.nest()
                }
                _ => {
                    self.push(Frame::Assign(frame));
                    self.push_word(Context::Plain)
                }
            },
            AssignStage::Array => {
                if let Done::Word(word) = result {
                    let value = Assigned::Word(word);
                    self.elements.push(Assign {
                        name: Span::default(),
                        append: false,
                        subscript: None,
                        value,
                    });
                }
                self.skip_lines()?;
                if self.here() == b')' {
                    self.pos += 1;
                    self.nesting -= 1;
                    let first = number(self.script.assigns.len());
                    let from = (frame.elements as usize).min(self.elements.len());
                    self.script.assigns.extend(self.elements.drain(from..));
                    let len = number(self.script.assigns.len()) - first;
                    frame.assign.value = Assigned::Array(Slice { start: first, len });
                    if !is_meta(self.at(self.joined(self.pos))) {
                        return self.fail("text directly behind a list of values");
                    }
                    return self.end_assign(&frame);
                }
                self.require_word()?;
                let element = self.at(self.pos) == b'[' && self.is_subscript(self.pos);
                self.push(Frame::Assign(frame));
                if !element {
                    return self.push_word(Context::Plain);
                }
                self.pos += 1;
                let assign = Assign {
                    name: Span::default(),
                    append: false,
                    subscript: None,
                    value: Assigned::Word(0),
                };
                let elements = number(self.elements.len());
                self.push(Frame::Assign(AssignFrame {
                    assign,
                    elements,
                    stage: AssignStage::Subscript,
                    nested: true,
                }));
                Ok(())
            }
        }
    }

    fn end_assign(&mut self, frame: &AssignFrame) -> Step {
        if frame.nested {
            self.elements.push(frame.assign);
        } else {
            self.assigns.push(frame.assign);
        }
        Ok(())
    }

    // --- Redirections ---

    /// Begins a redirection where one stands under the cursor: the operator is taken, the word behind it asked for.
    fn begin_redirection(&mut self) -> Result<bool, Stop> {
        let start = number(self.pos);
        let mut at = self.pos;
        let mut fd = None;
        let mut variable = false;
        if self.at(at).is_ascii_digit() {
            while self.at(at).is_ascii_digit() {
                at += 1;
            }
            let digits = self.script.text.get(self.pos..at).unwrap_or(&[]);
            fd = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            at = self.joined(at);
            if !matches!(self.at(at), b'<' | b'>') {
                return Ok(false);
            }
            if fd.is_none() {
                return self.fail("a descriptor that is no number");
            }
        } else if self.at(at) == b'{' && self.bash() {
            let name = at + 1;
            at = name;
            while is_name(self.at(at)) {
                at += 1;
            }
            if at == name || !is_name_start(self.at(name)) || self.at(at) != b'}' {
                return Ok(false);
            }
            at = self.joined(at + 1);
            variable = true;
        }
        let first = self.at(at);
        let two = self.joined(at + 1);
        let second = self.at(two);
        let three = self.joined(two + 1);
        let third = self.at(three);
        let bash = self.bash();
        if matches!(first, b'<' | b'>') && second == b'(' && bash {
            return Ok(false);
        }
        let (op, end) = match (first, second, third) {
            (b'<', b'<', b'<') if bash => (RedirOp::HereString, three + 1),
            (b'<', b'<', b'<') => return self.fail("`<<<` is not in sh"),
            (b'<', b'<', b'-') => (RedirOp::HereDoc, three + 1),
            (b'<', b'<', _) => (RedirOp::HereDoc, two + 1),
            (b'<', b'&', _) => (RedirOp::ReadDuplicate, two + 1),
            (b'<', b'>', _) => (RedirOp::ReadWrite, two + 1),
            (b'<', _, _) => (RedirOp::Read, at + 1),
            (b'>', b'>', _) => (RedirOp::Append, two + 1),
            (b'>', b'|', _) => (RedirOp::Write, two + 1),
            (b'>', b'&', _) => (RedirOp::WriteDuplicate, two + 1),
            (b'>', _, _) => (RedirOp::Write, at + 1),
            (b'&', b'>', _) if fd.is_some() || variable => return Ok(false),
            (b'&', b'>', b'>') if bash => (RedirOp::AppendBoth, three + 1),
            (b'&', b'>', _) if bash => (RedirOp::WriteBoth, two + 1),
            _ => return Ok(false),
        };
        let strip = op == RedirOp::HereDoc && third == b'-' && end == three + 1;
        self.pos = end;
        self.skip_blanks();
        self.require_word()?;
        self.push(Frame::Redir { op, fd, variable, start, strip });
        self.push_word(Context::Plain)?;
        Ok(true)
    }

    /// The word behind a redirection has been read.
    pub(super) fn redir(
        &mut self,
        op: RedirOp,
        fd: Option<u32>,
        variable: bool,
        start: u32,
        strip: bool,
    ) -> Step {
        let word = self.done_word()?;
        let target = if op == RedirOp::HereDoc {
            let mut delimiter = Vec::new();
            let mut quoted = false;
            for part in self.script.parts(word) {
                if part.kind != PartKind::Literal {
                    return self.fail("the delimiter of a here-document must be plain");
                }
                quoted |= part.quoted;
                delimiter.extend_from_slice(self.script.bytes(part.span));
            }
            if delimiter.contains(&b'\n') {
                return self.fail("the delimiter of a here-document must be plain");
            }
            let doc = self.new_heredoc();
            self.pending.push(Pending { doc, delimiter, quoted, strip, level: self.level });
            Target::HereDoc(doc)
        } else {
            Target::Word(word)
        };
        self.redirs.push(Redir { op, fd, variable, target, span: self.span_from(start) });
        self.result = Done::Nothing;
        Ok(())
    }
}
