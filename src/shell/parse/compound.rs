//! Compound commands: groups, branches, loops, `case`, functions.

use super::super::Span;
use super::super::ast::{Arm, Id, Kind, Slice};
use super::commands::{CLOSE, DO, DONE, ELIF, ELSE, ESAC, FI, Reserved, THEN};
use super::words::Context;
use super::{
    CaseStage, Done, ForStage, Frame, Parser, Stage, Step, Stop, Term, is_meta, is_name, is_name_start,
    number,
};

impl Parser {
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

    pub(super) fn begin_for(&mut self, start: u32, select: bool) -> Step {
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

    pub(super) fn function_body(&mut self, name: Span, start: u32) -> Step {
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
}
