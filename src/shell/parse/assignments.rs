//! Assignments: `name=value`, `name+=value`, `name[subscript]=value` and lists of values.

use super::super::Span;
use super::super::ast::{Assign, Assigned, Slice};
use super::words::Context;
use super::{
    AssignFrame, AssignStage, Done, Frame, Parser, Step, Stop, is_meta, is_name, is_name_start, number,
};

impl Parser {
    /// Begins an assignment where one stands under the cursor. Behind `declare` only `name=(` is one.
    pub(super) fn begin_assign(&mut self, arrays_only: bool) -> Result<Option<AssignFrame>, Stop> {
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
}
