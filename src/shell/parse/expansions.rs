//! Expansions inside words: what `$` and backquotes begin.

use super::super::Span;
use super::super::ast::{Id, Op, Param, PartKind};
use super::words::Context;
use super::{
    Done, Frame, ParamStage, Parser, Step, Stop, Substitution, Term, is_name, is_name_start, number,
};

impl Parser {
    /// Reads what `$` begins. True when a frame was pushed; otherwise the cursor is behind the expansion, or still on
    /// the dollar where it begins nothing. `quoted` inside quotes proper, `in_quotes` inside a quoted `${}` too.
    pub(super) fn dollar(&mut self, quoted: bool, in_quotes: bool) -> Result<bool, Stop> {
        let start = self.pos;
        let next = self.at(start + 1);
        match next {
            b'\\' if self.at(start + 2) == b'\n' => self.fail("a line continuation behind `$`"),
            b'(' => {
                let open = start + 1;
                let place = self.joined(open + 1);
                if self.at(place) == b'(' && !self.not_arithmetic.contains(&number(open)) {
                    self.pos = open;
                    let snapshot = self.snapshot();
                    self.pos = place + 1;
                    self.push(Frame::ArithPart { start: number(start), quoted: in_quotes, snapshot });
                    self.push_word(Context::Arith)?;
                } else {
                    self.pos = open + 1;
                    self.open_substitution(Substitution::Dollar, number(start), in_quotes)?;
                }
                Ok(true)
            }
            b'[' if self.bash() => {
                let snapshot = self.snapshot();
                self.pos = start + 2;
                self.push(Frame::ArithPart { start: number(start), quoted: in_quotes, snapshot });
                self.push_word(Context::Bracket)?;
                Ok(true)
            }
            b'{' => {
                self.pos = start + 2;
                self.open_param(number(start), in_quotes)?;
                Ok(true)
            }
            b'\'' if !quoted => {
                if !self.bash() {
                    return self.fail("`$'` differs between shells");
                }
                let mut at = start + 2;
                while at < self.end && self.at(at) != b'\'' {
                    at += if self.at(at) == b'\\' { 2 } else { 1 };
                }
                if at >= self.end {
                    return self.fail("a quote `$'` is not closed");
                }
                self.pos = at + 1;
                self.part(PartKind::AnsiC, true, Span { start: number(start + 2), end: number(at) })?;
                Ok(false)
            }
            b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!' | b'0'..=b'9' => {
                self.pos = start + 2;
                self.bare_param(start, in_quotes)?;
                Ok(false)
            }
            _ if is_name_start(next) => {
                let mut at = start + 1;
                while is_name(self.at(at)) {
                    at += 1;
                }
                let after = self.joined(at);
                if after != at && is_name(self.at(after)) {
                    return self.fail("a line continuation inside a name");
                }
                self.pos = at;
                self.bare_param(start, in_quotes)?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn bare_param(&mut self, start: usize, quoted: bool) -> Step {
        let name = Span { start: number(start + 1), end: number(self.pos) };
        let id = number(self.script.params.len());
        self.script.params.push(plain_param(name));
        self.part(PartKind::Param(id), quoted, Span { start: number(start), end: number(self.pos) })
    }

    /// `${` has been read.
    fn open_param(&mut self, start: u32, quoted: bool) -> Step {
        let mut param = plain_param(Span::default());
        let (first, second) = (self.at(self.pos), self.at(self.pos + 1));
        if first == b'!' && (is_name(second) || matches!(second, b'@' | b'*' | b'#')) {
            if !self.bash() {
                return self.fail("`${!` is not in sh");
            }
            param.indirect = true;
            self.pos += 1;
        } else if first == b'#'
            && (is_name(second)
                || matches!(second, b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!')
                    && self.at(self.pos + 2) == b'}')
        {
            param.op = Op::Length;
            self.pos += 1;
        }
        let name = self.pos;
        match self.at(name) {
            byte if is_name_start(byte) => {
                while is_name(self.at(self.pos)) {
                    self.pos += 1;
                }
            }
            b'0'..=b'9' => {
                while self.at(self.pos).is_ascii_digit() {
                    self.pos += 1;
                }
            }
            b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!' => self.pos += 1,
            _ => return self.fail("a substitution `${}` that cannot be read"),
        }
        param.name = Span { start: number(name), end: number(self.pos) };
        if self.at(self.pos) == b'[' && self.bash() {
            self.pos += 1;
            self.push(Frame::Param { param, start, quoted, stage: ParamStage::Subscript });
            return self.push_word(Context::Bracket);
        }
        self.param_operator(param, start, quoted)
    }

    /// The name and subscript have been read.
    fn param_operator(&mut self, mut param: Param, start: u32, quoted: bool) -> Step {
        let byte = self.at(self.pos);
        let next = self.at(self.pos + 1);
        let bash = self.bash();
        if byte == b'}' {
            return self.end_param(param, start, quoted);
        }
        if param.op == Op::Length {
            return self.fail("a substitution `${#}` that cannot be read");
        }
        let (op, length) = match (byte, next) {
            (b'*' | b'@', b'}') if param.indirect => (Op::Names, 1),
            (b':', b'-' | b'=' | b'?' | b'+') => (Op::Default(next, true), 2),
            (b'-' | b'=' | b'?' | b'+', _) => (Op::Default(byte, false), 1),
            (b':', _) if bash => (Op::Substring, 1),
            (b'#' | b'%', _) => (Op::Strip(byte, next == byte), if next == byte { 2 } else { 1 }),
            (b'/', b'/' | b'#' | b'%') if bash => (Op::Replace(next), 2),
            (b'/', _) if bash => (Op::Replace(b' '), 1),
            (b'^' | b',' | b'~', _) if bash => {
                (Op::Case(byte, next == byte), if next == byte { 2 } else { 1 })
            }
            (b'@', letter) if bash && letter.is_ascii_alphabetic() && self.at(self.pos + 2) == b'}' => {
                (Op::Transform(letter), 2)
            }
            _ => return self.fail("a substitution `${}` that cannot be read"),
        };
        param.op = op;
        self.pos += length;
        if matches!(op, Op::Names | Op::Transform(_)) {
            return self.end_param(param, start, quoted);
        }
        let pattern = matches!(op, Op::Strip(..) | Op::Replace(_) | Op::Case(..));
        self.push(Frame::Param { param, start, quoted, stage: ParamStage::Operand });
        self.push_word(Context::Brace { slash: matches!(op, Op::Replace(_)), quoted, pattern })?;
        if op == Op::Replace(b'/') && self.at(self.pos) == b'/' {
            // `${x///}`: a third slash is the pattern, or its beginning
            self.literal(self.pos, self.pos + 1, true)?;
            self.pos += 1;
        }
        Ok(())
    }

    /// A subscript or operand has ended.
    pub(super) fn param(&mut self, mut param: Param, start: u32, quoted: bool, stage: ParamStage) -> Step {
        let Done::Word(word) = self.result else {
            return self.fail("a substitution `${}` that cannot be read");
        };
        match stage {
            ParamStage::Subscript => {
                param.subscript = Some(word);
                self.pos += 1;
                return self.param_operator(param, start, quoted);
            }
            ParamStage::Operand => param.operand = Some(word),
            ParamStage::Replacement => param.replacement = Some(word),
        }
        if self.at(self.pos) == b'/' {
            self.pos += 1;
            self.push(Frame::Param { param, start, quoted, stage: ParamStage::Replacement });
            return self.push_word(Context::Brace { slash: false, quoted, pattern: true });
        }
        self.end_param(param, start, quoted)
    }

    /// On the closing brace.
    fn end_param(&mut self, param: Param, start: u32, quoted: bool) -> Step {
        self.pos += 1;
        let id: Id = number(self.script.params.len());
        self.script.params.push(param);
        self.result = Done::Nothing;
        self.part(PartKind::Param(id), quoted, self.span_from(start))
    }

    pub(super) fn open_substitution(&mut self, kind: Substitution, start: u32, quoted: bool) -> Step {
        self.level += 1;
        self.push(Frame::Substitution { kind, start, quoted, pos: 0, end: number(self.end) });
        self.push_list(Term::Paren, true)
    }

    /// On an opening backquote. The text inside loses one layer of backslashes and is then read as commands; those in front
    /// of `"` too where `double` says so.
    pub(super) fn backquotes(&mut self, quoted: bool, double: bool) -> Step {
        let start = self.pos;
        let mut at = start + 1;
        let mut escapes = false;
        loop {
            match self.at(at) {
                b'`' => break,
                0 if at >= self.end => return self.fail("a backquote is not closed"),
                b'\\' => {
                    let next = self.at(at + 1);
                    escapes |= matches!(next, b'\\' | b'$' | b'`') || double && next == b'"';
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.level += 1;
        let frame = Frame::Substitution {
            kind: Substitution::Backquotes,
            start: number(start),
            quoted,
            pos: number(at + 1),
            end: number(self.end),
        };
        self.push(frame);
        if escapes {
            let inside = self.script.text.get(start + 1..at).unwrap_or(&[]).to_vec();
            let from = self.script.text.len();
            if from + inside.len() > 4 * self.limits.bytes {
                return self.limit("too many nested backquotes");
            }
            self.script.segments.push((number(from), Span { start: number(start), end: number(at + 1) }));
            let mut bytes = inside.iter().copied().peekable();
            let escaped = |next: &u8| matches!(*next, b'\\' | b'$' | b'`') || double && *next == b'"';
            while let Some(byte) = bytes.next() {
                // only a backslash may take what stands behind it, or `x\$y` would keep its own
                let next = if byte == b'\\' { bytes.next_if(escaped) } else { None };
                self.script.text.push(next.unwrap_or(byte));
            }
            (self.pos, self.end) = (from, self.script.text.len());
        } else {
            (self.pos, self.end) = (start + 1, at);
        }
        self.push_list(Term::End, true)
    }

    /// The list inside has ended.
    pub(super) fn substitution(
        &mut self,
        kind: Substitution,
        start: u32,
        quoted: bool,
        pos: usize,
        end: usize,
    ) -> Step {
        let Done::Node(list) = self.result else { return self.fail("a substitution that cannot be read") };
        self.result = Done::Nothing;
        self.level -= 1;
        if self.pending.last().is_some_and(|pending| pending.level > self.level) {
            return self.fail("a here-document does not begin before its substitution ends");
        }
        let kind = match kind {
            Substitution::Backquotes => {
                (self.pos, self.end) = (pos, end);
                PartKind::Command(list)
            }
            Substitution::Dollar => {
                self.pos += 1;
                PartKind::Command(list)
            }
            Substitution::Process { out } => {
                self.pos += 1;
                PartKind::Process { list, out }
            }
        };
        self.part(kind, quoted, self.span_from(start))
    }

    /// Arithmetic inside a word has ended.
    pub(super) fn arith_part(&mut self, start: u32, quoted: bool) -> Step {
        let Done::Word(word) = self.result else { return self.fail("arithmetic that cannot be read") };
        self.result = Done::Nothing;
        self.pos = if self.at(self.pos) == b']' { self.pos + 1 } else { self.second().1 + 1 };
        self.part(PartKind::Arith(word), quoted, self.span_from(start))
    }

    /// `((` closed without `))`: it opened a subshell, or a substitution that begins with one.
    pub(super) fn not_arithmetic(&mut self) -> Step {
        match self.stack.pop() {
            Some(Frame::ArithCommand { snapshot, .. }) => {
                self.go_back(snapshot)?;
                let start = number(self.pos);
                self.pos += 1;
                self.push(Frame::Group { brace: false, start });
                self.push_list(Term::Paren, false)
            }
            Some(Frame::ArithPart { start, quoted, snapshot }) => {
                if !self.bash() {
                    return self.fail("`$((` is not closed by `))`");
                }
                self.go_back(snapshot)?;
                self.pos += 1;
                self.open_substitution(Substitution::Dollar, start, quoted)
            }
            _ => self.fail("`((` is not closed by `))`"),
        }
    }
}

fn plain_param(name: Span) -> Param {
    Param { name, subscript: None, indirect: false, op: Op::None, operand: None, replacement: None }
}
