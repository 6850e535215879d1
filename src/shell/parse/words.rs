//! Words: quotes, expansions, and the contexts in which words stand.

use super::super::Span;
use super::super::ast::{Id, Op, Param, Part, PartKind, Slice, Word};
use super::{
    Done, Frame, ParamStage, Parser, Step, Stop, Substitution, Term, is_meta, is_name, is_name_start, number,
};

/// Where a word stands, which decides what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// Ends at a blank or an operator.
    Plain,
    /// The right side of `=~`: parentheses belong to it.
    Regex,
    /// The right side of `==` in `[[ ]]`: extended patterns are always read.
    Pattern,
    /// An operand of `${}`: ends at `}`, and at `/` if `slash`. `quoted` when the expansion stands in double quotes,
    /// `pattern` when the operand is a pattern, in which single quotes quote even then.
    Brace { slash: bool, quoted: bool, pattern: bool },
    /// Arithmetic that ends at `))`; otherwise it was none.
    Arith,
    /// Arithmetic that ends at `]`: `$[...]`, and a subscript.
    Bracket,
    /// Arithmetic that ends at `;`, in the head of `for ((;;))`.
    Semicolon,
    /// A here-document, up to the end of what is being read.
    Here { strip: bool },
}

#[derive(Debug)]
pub(super) struct WordFrame {
    context: Context,
    start: u32,
    parts: u32,
    /// Inside `"..."`.
    double: bool,
    /// Parentheses or brackets that are open.
    depth: u32,
}

impl WordFrame {
    pub(super) fn new(context: Context, start: u32, parts: u32) -> Self {
        Self { context, start, parts, double: false, depth: 0 }
    }
}

impl Parser {
    /// Reads on in a word until it ends or something nested begins.
    pub(super) fn word(&mut self, mut frame: WordFrame) -> Step {
        self.result = Done::Nothing;
        let mut run = self.pos;
        loop {
            let byte = self.at(self.pos);
            if byte.is_ascii_alphanumeric()
                || byte >= 0x80
                || matches!(byte, b'_' | b'-' | b'.' | b',' | b'=')
            {
                self.pos += 1;
                continue;
            }
            let quoted = frame.double || matches!(frame.context, Context::Here { .. });
            match byte {
                b'\\' => {
                    self.literal(run, self.pos, quoted)?;
                    self.escape(&frame)?;
                    run = self.pos;
                }
                b'$' | b'`' => {
                    self.literal(run, self.pos, quoted)?;
                    run = self.pos;
                    let ahead = self.pos;
                    let in_quotes = quoted || matches!(frame.context, Context::Brace { quoted: true, .. });
                    if byte == b'$' && self.at(ahead + 1) == b'"' && !quoted {
                        if !self.bash() {
                            return self.fail("`$\"` differs between shells");
                        }
                        self.pos += 1;
                        run = self.pos;
                        continue;
                    }
                    self.stack.push(Frame::Word(frame));
                    if byte == b'`' {
                        return self.backquotes(in_quotes);
                    }
                    if self.dollar(quoted, in_quotes)? {
                        return Ok(());
                    }
                    let Some(Frame::Word(same)) = self.stack.pop() else {
                        return self.fail("the text cannot be read");
                    };
                    frame = same;
                    if self.pos == ahead {
                        // A lone dollar is a literal.
                        self.pos += 1;
                    } else {
                        run = self.pos;
                    }
                }
                b'"' if !matches!(frame.context, Context::Here { .. }) => {
                    self.literal(run, self.pos, quoted)?;
                    frame.double = !frame.double;
                    if frame.double {
                        // Quotes with nothing in them still make a word.
                        self.part(
                            PartKind::Literal,
                            true,
                            Span { start: number(self.pos), end: number(self.pos) },
                        )?;
                    }
                    self.pos += 1;
                    run = self.pos;
                }
                b'\'' if !quoted => {
                    self.literal(run, self.pos, false)?;
                    self.single_quotes(frame.context)?;
                    run = self.pos;
                }
                b'\n' if matches!(frame.context, Context::Here { strip: true }) => {
                    self.pos += 1;
                    if self.at(self.pos) == b'\t' {
                        self.literal(run, self.pos, true)?;
                        while self.at(self.pos) == b'\t' {
                            self.pos += 1;
                        }
                        run = self.pos;
                    }
                }
                0 if self.pos >= self.end => {
                    return match frame.context {
                        _ if frame.double => self.fail_from(frame.start, "a quote `\"` is not closed"),
                        Context::Plain | Context::Pattern | Context::Regex if frame.depth > 0 => {
                            self.fail_from(frame.start, "a parenthesis is not closed")
                        }
                        Context::Plain | Context::Pattern | Context::Regex | Context::Here { .. } => {
                            self.literal(run, self.pos, quoted)?;
                            self.end_word(&frame)
                        }
                        Context::Brace { .. } => self.fail_from(frame.start, "`${` is not closed"),
                        Context::Arith | Context::Semicolon => {
                            self.fail_from(frame.start, "`((` is not closed")
                        }
                        Context::Bracket => self.fail_from(frame.start, "`[` is not closed"),
                    };
                }
                _ if quoted => self.pos += 1,
                b'<' | b'>'
                    if matches!(frame.context, Context::Plain | Context::Brace { quoted: false, .. })
                        && frame.depth == 0
                        && self.second().0 == b'('
                        && self.bash() =>
                {
                    self.literal(run, self.pos, false)?;
                    let start = number(self.pos);
                    self.pos = self.second().1 + 1;
                    self.stack.push(Frame::Word(frame));
                    return self.open_substitution(Substitution::Process { out: byte == b'<' }, start, false);
                }
                _ => {
                    if self.ends(&mut frame, byte, run) {
                        self.literal(run, self.pos, false)?;
                        if frame.context == Context::Arith
                            && !(self.at(self.pos) == b')' && self.second().0 == b')')
                        {
                            return self.not_arithmetic();
                        }
                        return self.end_word(&frame);
                    }
                    self.pos += 1;
                }
            }
        }
    }

    /// Whether an unquoted byte ends the word; keeps count of parentheses and brackets.
    fn ends(&self, frame: &mut WordFrame, byte: u8, run: usize) -> bool {
        match frame.context {
            Context::Plain | Context::Pattern => match byte {
                b'(' => {
                    let extended = self.extglob || frame.context == Context::Pattern;
                    let before = if self.pos > run { self.at(self.pos - 1) } else { 0 };
                    if frame.depth > 0 || extended && matches!(before, b'?' | b'*' | b'+' | b'@' | b'!') {
                        frame.depth += 1;
                        return false;
                    }
                    true
                }
                b')' if frame.depth > 0 => {
                    frame.depth -= 1;
                    false
                }
                _ => frame.depth == 0 && is_meta(byte),
            },
            Context::Regex => match byte {
                b'(' => {
                    frame.depth += 1;
                    false
                }
                b')' if frame.depth > 0 => {
                    frame.depth -= 1;
                    false
                }
                b'|' => false,
                _ => frame.depth == 0 && is_meta(byte),
            },
            Context::Brace { slash, .. } => byte == b'}' || slash && byte == b'/',
            Context::Arith | Context::Semicolon => match byte {
                b'(' => {
                    frame.depth += 1;
                    false
                }
                b')' if frame.depth > 0 => {
                    frame.depth -= 1;
                    false
                }
                b')' => true,
                b';' => frame.context == Context::Semicolon && frame.depth == 0,
                _ => false,
            },
            Context::Bracket => match byte {
                b'[' => {
                    frame.depth += 1;
                    false
                }
                b']' if frame.depth > 0 => {
                    frame.depth -= 1;
                    false
                }
                _ => byte == b']',
            },
            Context::Here { .. } => false,
        }
    }

    fn end_word(&mut self, frame: &WordFrame) -> Step {
        if !matches!(frame.context, Context::Plain | Context::Regex | Context::Pattern) {
            self.nesting -= 1;
        }
        let start = number(self.script.parts.len());
        self.script.parts.extend(self.parts.drain((frame.parts as usize).min(self.parts.len())..));
        let parts = Slice { start, len: number(self.script.parts.len()) - start };
        let id = number(self.script.words.len());
        self.script.words.push(Word { parts, span: self.span_from(frame.start) });
        self.result = Done::Word(id);
        Ok(())
    }

    /// A backslash: a line continuation, or one quoted byte (a whole character where it is not ASCII, which is the
    /// same bytes).
    fn escape(&mut self, frame: &WordFrame) -> Step {
        let next = self.at(self.pos + 1);
        if next == b'\n' && self.pos + 1 < self.end {
            self.pos += 2;
            return Ok(());
        }
        let keeps = match frame.context {
            Context::Here { .. } => !matches!(next, b'$' | b'`' | b'\\'),
            Context::Brace { quoted: true, .. } if !frame.double => {
                !matches!(next, b'$' | b'`' | b'\\' | b'"' | b'}')
            }
            _ => frame.double && !matches!(next, b'$' | b'`' | b'\\' | b'"'),
        };
        if self.pos + 1 >= self.end {
            // A backslash at the very end stands for itself.
            let at = self.pos;
            self.pos += 1;
            return self.literal(at, self.pos, true);
        }
        let start = if keeps { self.pos } else { self.pos + 1 };
        self.pos += 2;
        self.literal(start, self.pos, true)
    }

    fn single_quotes(&mut self, context: Context) -> Step {
        let start = self.pos;
        let Some(close) = self.find(start + 1, b'\'') else {
            return self.fail_from(number(start), "a quote `'` is not closed");
        };
        if matches!(context, Context::Brace { quoted: true, pattern: false, .. }) {
            // Inside "${x:-...}" bash pairs single quotes when it looks for the brace, and takes them literally when
            // it expands; where the two readings could differ the text is refused.
            let inside = self.script.text.get(start + 1..close).unwrap_or(&[]);
            if inside.iter().any(|byte| matches!(byte, b'}' | b'"' | b'$' | b'`' | b'\\')) {
                return self.fail("single quotes inside a quoted `${}` can be read in two ways");
            }
            self.pos = close + 1;
            return self.literal(start, self.pos, true);
        }
        self.pos = close + 1;
        self.part(PartKind::Literal, true, Span { start: number(start + 1), end: number(close) })
    }

    fn find(&self, from: usize, byte: u8) -> Option<usize> {
        let text = self.script.text.get(from..self.end)?;
        text.iter().position(|candidate| *candidate == byte).map(|offset| from + offset)
    }

    pub(super) fn literal(&mut self, start: usize, end: usize, quoted: bool) -> Step {
        if start >= end {
            return Ok(());
        }
        self.part(PartKind::Literal, quoted, Span { start: number(start), end: number(end) })
    }

    fn part(&mut self, kind: PartKind, quoted: bool, span: Span) -> Step {
        if self.parts.len() + self.script.parts.len() > self.limits.nodes {
            return self.limit("too many words");
        }
        self.parts.push(Part { kind, quoted, span });
        Ok(())
    }

    /// Reads what `$` begins. True when a frame was pushed; otherwise the cursor is behind the expansion, or still on
    /// the dollar where it begins nothing. `quoted` inside quotes proper, `in_quotes` inside a quoted `${}` too.
    fn dollar(&mut self, quoted: bool, in_quotes: bool) -> Result<bool, Stop> {
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
        self.push_word(Context::Brace { slash: matches!(op, Op::Replace(_)), quoted, pattern })
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

    fn open_substitution(&mut self, kind: Substitution, start: u32, quoted: bool) -> Step {
        self.level += 1;
        self.push(Frame::Substitution { kind, start, quoted, pos: 0, end: number(self.end) });
        self.push_list(Term::Paren, true)
    }

    /// On an opening backquote. The text inside loses one layer of backslashes and is then read as commands.
    fn backquotes(&mut self, quoted: bool) -> Step {
        let start = self.pos;
        let mut at = start + 1;
        let mut escapes = false;
        loop {
            match self.at(at) {
                b'`' => break,
                0 if at >= self.end => return self.fail("a backquote is not closed"),
                b'\\' => {
                    let next = self.at(at + 1);
                    escapes |= matches!(next, b'\\' | b'$' | b'`') || quoted && next == b'"';
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
            while let Some(byte) = bytes.next() {
                let escaped = |next: &u8| matches!(*next, b'\\' | b'$' | b'`') || quoted && *next == b'"';
                match (byte, bytes.next_if(escaped)) {
                    (b'\\', Some(next)) => self.script.text.push(next),
                    (byte, None) => self.script.text.push(byte),
                    (byte, Some(next)) => self.script.text.extend([byte, next]),
                }
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
    fn not_arithmetic(&mut self) -> Step {
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

    fn fail_from<T>(&self, start: u32, message: &'static str) -> Result<T, Stop> {
        Err(self.error_at(start as usize, message))
    }
}

fn plain_param(name: Span) -> Param {
    Param { name, subscript: None, indirect: false, op: Op::None, operand: None, replacement: None }
}
