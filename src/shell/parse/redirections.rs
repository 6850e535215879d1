//! Redirections, before and behind commands of every kind.

use super::super::ast::{Id, PartKind, Redir, RedirOp, Target};
use super::heredocs::Pending;
use super::words::Context;
use super::{Done, Frame, Parser, Step, Stop, is_name, is_name_start, number};

/// Here-documents whose bodies are still to come.
const MOST_HEREDOCS: usize = 16;

impl Parser {
    /// Begins a redirection where one stands under the cursor: the operator is taken, the word behind it asked for.
    pub(super) fn begin_redirection(&mut self) -> Result<bool, Stop> {
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

    /// Whether a word is the descriptor of a redirection that follows at once: `>1<x` has no file.
    fn begins_another(&self, word: Id) -> bool {
        let Some(word) = self.script.words.get(word as usize) else { return false };
        let text = self.script.bytes(word.span);
        let name = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}"));
        let is_descriptor = match name {
            Some(name) => name.iter().all(|byte| is_name(*byte)),
            None => text.iter().all(u8::is_ascii_digit),
        };
        is_descriptor && matches!(self.at(self.pos), b'<' | b'>')
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
        if !matches!(op, RedirOp::ReadDuplicate | RedirOp::WriteDuplicate) && self.begins_another(word) {
            return self.fail("a descriptor of the next redirection stands where a file should");
        }
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
            // bash takes no more of one line (HEREDOC_MAX)
            if self.pending.len() >= MOST_HEREDOCS {
                return self.fail("more than 16 here-documents on one line");
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
