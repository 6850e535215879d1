//! Words: quotes, expansions, and the contexts in which words stand.

use super::super::Span;
use super::super::ast::{Part, PartKind, Slice, Word};
use super::{Done, Frame, Parser, Step, Stop, Substitution, is_meta, number};

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
    /// Reads a word of a command: at once where nothing in it is quoted, expanded or nested, by far the most.
    pub(super) fn plain_word(&mut self) -> Step {
        let rest = self.script.text.get(self.pos..self.end).unwrap_or_default();
        let plain = |byte: &&u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'_' | b'-' | b'.' | b',' | b'=' | b'/' | b':' | b'%' | b'+' | b'@')
        };
        let length = rest.iter().take_while(plain).count();
        let ends = matches!(rest.get(length), None | Some(b' ' | b'\t' | b'\n' | b';' | b'|' | b'&'));
        if length == 0 || !ends {
            return self.push_word(Context::Plain);
        }
        let frame = WordFrame::new(Context::Plain, number(self.pos), number(self.parts.len()));
        let start = self.pos;
        self.pos += length;
        self.literal(start, self.pos, false)?;
        self.end_word(&frame)
    }

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
                    // `-c` takes it for itself, and where a text is read line by line it is joined with nothing: `}\` is `}`
                    if self.pos + 1 == self.end && frame.context == Context::Plain {
                        return self.fail("a backslash at the end joins with nothing");
                    }
                    self.literal(run, self.pos, quoted)?;
                    self.escape(&frame)?;
                    run = self.pos;
                }
                b'$' | b'`' => {
                    self.literal(run, self.pos, quoted)?;
                    run = self.pos;
                    let ahead = self.pos;
                    let inside = matches!(frame.context, Context::Brace { quoted: true, .. });
                    // quotes around a `${x#pattern}` do not quote the pattern, nor what `${x/pattern/new}` puts there
                    let pattern = matches!(frame.context, Context::Brace { pattern: true, .. });
                    let in_quotes = quoted || inside && !pattern;
                    // what `\"` is in backquotes: bash looks at the quotes right around, dash at any
                    let double = if self.bash() { frame.double && !inside } else { quoted || inside };
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
                        return self.backquotes(in_quotes, double);
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
    pub(super) fn ends(&self, frame: &mut WordFrame, byte: u8, run: usize) -> bool {
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
            Context::Brace { quoted: true, pattern: false, .. } if !frame.double => {
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

    pub(super) fn part(&mut self, kind: PartKind, quoted: bool, span: Span) -> Step {
        if self.parts.len() + self.script.parts.len() > self.limits.nodes {
            return self.limit("too many words");
        }
        self.parts.push(Part { kind, quoted, span });
        Ok(())
    }

    fn fail_from<T>(&self, start: u32, message: &'static str) -> Result<T, Stop> {
        Err(self.error_at(start as usize, message))
    }
}
