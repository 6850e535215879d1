//! Here-documents: their operators stand on one line, their bodies begin on the next.

use super::super::Span;
use super::super::ast::{Id, Part, PartKind, Slice, Word};
use super::words::Context;
use super::{Done, Frame, Parser, Step, number};

/// A here-document whose body has not been reached.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) doc: Id,
    pub(super) delimiter: Vec<u8>,
    pub(super) quoted: bool,
    pub(super) strip: bool,
    /// How many substitutions its operator stands in.
    pub(super) level: u32,
}

/// A body that was found and is still to be read for expansions.
#[derive(Debug)]
pub(super) struct Body {
    doc: Id,
    start: usize,
    end: usize,
    strip: bool,
}

impl Parser {
    /// On a newline between commands: takes it, and the bodies that follow.
    pub(super) fn newline(&mut self) -> Step {
        self.pos += 1;
        if self.pending.is_empty() {
            return Ok(());
        }
        for pending in std::mem::take(&mut self.pending) {
            if pending.level != self.level {
                return self.fail("a here-document inside another construct's line");
            }
            self.take_body(&pending)?;
        }
        Ok(())
    }

    /// Finds the end of a body, line by line. Like bash, a text that ends before the delimiter ends the body.
    fn take_body(&mut self, pending: &Pending) -> Step {
        let start = self.pos;
        let mut end = self.end;
        let mut next = self.end;
        let mut line = start;
        while line < self.end {
            let mut from = line;
            while pending.strip && self.at(from) == b'\t' {
                from += 1;
            }
            let text = self.script.text.get(from..self.end).unwrap_or(&[]);
            let length = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let content = text.get(..length).unwrap_or(text);
            if content == pending.delimiter {
                (end, next) = (line, (from + length + 1).min(self.end));
                break;
            }
            if self.level > 0 && content.starts_with(&pending.delimiter) {
                let rest = content.get(pending.delimiter.len()..).unwrap_or(&[]);
                if rest.contains(&b')') {
                    // `$(cat <<E ... E)`: bash ends the body here and reads on behind the delimiter; dash does not.
                    if !self.bash() || self.end != self.script.source as usize {
                        return self.fail("a here-document that ends inside a line");
                    }
                    (end, next) = (line, from + pending.delimiter.len());
                    break;
                }
            }
            if !pending.quoted && content.ends_with(b"\\") {
                let slashes = content.iter().rev().take_while(|byte| **byte == b'\\').count();
                if slashes % 2 == 1 {
                    let after = text.get(length + 1..).unwrap_or(&[]);
                    let tabs = after.iter().take_while(|byte| **byte == b'\t').count();
                    let joined = after.get(if pending.strip { tabs } else { 0 }..).unwrap_or(&[]);
                    if joined.starts_with(&pending.delimiter) {
                        return self.fail("a line continuation before a here-document's delimiter");
                    }
                }
            }
            line = from + length + 1;
        }
        self.pos = next;
        if pending.quoted && !pending.strip {
            let word = self.literal_word(start, end);
            self.set_body(pending.doc, word);
        } else if pending.quoted {
            let word = self.stripped_word(start, end);
            self.set_body(pending.doc, word);
        } else {
            self.bodies.push(Body { doc: pending.doc, start, end, strip: pending.strip });
        }
        Ok(())
    }

    fn literal_word(&mut self, start: usize, end: usize) -> Id {
        let span = Span { start: number(start), end: number(end) };
        let first = number(self.script.parts.len());
        self.script.parts.push(Part { kind: PartKind::Literal, quoted: true, span });
        self.script.words.push(Word { parts: Slice { start: first, len: 1 }, span });
        number(self.script.words.len() - 1)
    }

    /// A quoted body without the tabs that `<<-` removes from the beginning of each line.
    fn stripped_word(&mut self, start: usize, end: usize) -> Id {
        let first = number(self.script.parts.len());
        let mut line = start;
        while line < end {
            while line < end && self.at(line) == b'\t' {
                line += 1;
            }
            let text = self.script.text.get(line..end).unwrap_or(&[]);
            let length = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| length + 1);
            let span = Span { start: number(line), end: number(line + length) };
            self.script.parts.push(Part { kind: PartKind::Literal, quoted: true, span });
            line += length;
        }
        let parts = Slice { start: first, len: number(self.script.parts.len()) - first };
        self.script.words.push(Word { parts, span: Span { start: number(start), end: number(end) } });
        number(self.script.words.len() - 1)
    }

    fn set_body(&mut self, doc: Id, word: Id) {
        if let Some(doc) = self.script.heredocs.get_mut(doc as usize) {
            doc.body = Some(word);
        }
    }

    /// Reads a body for its expansions; what was being read goes on afterwards.
    pub(super) fn start_body(&mut self, body: Body) -> Step {
        self.push(Frame::Body {
            doc: body.doc,
            pos: number(self.pos),
            end: number(self.end),
            result: self.result,
        });
        (self.pos, self.end) = (body.start, body.end);
        while body.strip && self.at(self.pos) == b'\t' {
            self.pos += 1;
        }
        self.level += 1;
        self.push_word(Context::Here { strip: body.strip })
    }

    /// A body has been read.
    pub(super) fn body(&mut self, doc: Id, pos: usize, end: usize, result: Done) -> Step {
        let Done::Word(word) = self.result else { return self.fail("a here-document that cannot be read") };
        self.level -= 1;
        self.set_body(doc, word);
        (self.pos, self.end, self.result) = (pos, end, result);
        Ok(())
    }
}
