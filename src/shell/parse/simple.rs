//! Simple commands: assignments, words and redirections in any order, and the functions that begin like one.

use super::super::Span;
use super::super::ast::{Kind, PartKind, Slice};
use super::{Done, Frame, Parser, SimpleFrame, Step, is_meta, number};

impl Parser {
    pub(super) fn begin_simple(&mut self) {
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
        self.plain_word()
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
        if self.bash() && plain(0) == Some(b"shopt") {
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
}
