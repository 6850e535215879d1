//! Conditions: `[[ ... ]]`.

use super::super::Span;
use super::super::ast::{Id, Kind, Slice, Word};
use super::words::Context;
use super::{CondStage, Done, Frame, Parser, Step, Stop, is_meta, number};

impl Parser {
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
        self.script.words.push(Word { parts: Slice { start, len: 1 }, span });
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
}
