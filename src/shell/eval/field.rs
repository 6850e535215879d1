//! Fields under construction: bytes that remember whether they were quoted, and the patterns made of them.

use super::super::{Bytes, Piece, Unknown, Value};

/// A part of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bit {
    /// Bytes, and whether they were quoted.
    Text(Bytes, bool),
    /// A pattern that has already been expanded: names that matched it.
    Glob(Bytes),
    Hole(Unknown),
}

/// A field before quote removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) bits: Vec<Bit>,
    /// Quotes stood in it: it is a word even when it is empty.
    pub(super) quoted: bool,
}

impl Field {
    pub(super) fn text(&mut self, bytes: &[u8], quoted: bool) {
        self.quoted |= quoted;
        match self.bits.last_mut() {
            Some(Bit::Text(last, same)) if *same == quoted => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.bits.push(Bit::Text(bytes.into(), quoted)),
        }
    }

    /// Adds a value that is not split.
    pub(super) fn value(&mut self, value: &Value, quoted: bool) {
        self.quoted |= quoted;
        for piece in &value.pieces {
            match piece {
                Piece::Known(bytes) => self.text(bytes, quoted),
                Piece::Glob(bytes) => self.bits.push(Bit::Glob(bytes.clone())),
                Piece::Unknown(unknown) => {
                    self.bits.push(Bit::Hole(Unknown { splits: !quoted, ..Unknown::clone(unknown) }));
                }
            }
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.quoted && self.bits.is_empty()
    }

    /// The value without regard to patterns: what an assignment stores.
    pub(super) fn plain(self) -> Value {
        let mut value = Value::default();
        for bit in self.bits {
            value.push(match bit {
                Bit::Text(bytes, _) => Piece::Known(bytes),
                Bit::Glob(bytes) => Piece::Glob(bytes),
                Bit::Hole(unknown) => Piece::from(Unknown { splits: false, ..unknown }),
            });
        }
        value
    }

    /// The value of an argument: unquoted patterns are active.
    pub(super) fn globbed(self, extglob: bool) -> Value {
        let active = self.bits.iter().any(|bit| match bit {
            Bit::Text(bytes, false) => {
                bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[') || extglob && *byte == b'(')
            }
            _ => false,
        });
        if !active {
            let mut value = Value::default();
            for bit in self.bits {
                value.push(match bit {
                    Bit::Text(bytes, _) => Piece::Known(bytes),
                    Bit::Glob(bytes) => Piece::Glob(bytes),
                    // quotes beside it make a word of what is nothing otherwise
                    Bit::Hole(unknown) if unknown.unset && self.quoted => {
                        Piece::from(Unknown { splits: false, ..unknown })
                    }
                    Bit::Hole(unknown) => Piece::from(unknown),
                });
            }
            return value;
        }
        let mut flat: Vec<(u8, bool)> = Vec::new();
        let mut value = Value::default();
        for bit in self.bits {
            match bit {
                Bit::Text(bytes, quoted) => flat.extend(bytes.iter().map(|byte| (*byte, quoted))),
                Bit::Glob(bytes) => {
                    globs(&mut value, &flat, extglob);
                    flat.clear();
                    value.push(Piece::Glob(bytes));
                }
                Bit::Hole(unknown) => {
                    globs(&mut value, &flat, extglob);
                    flat.clear();
                    value.push(Piece::from(unknown));
                }
            }
        }
        globs(&mut value, &flat, extglob);
        value
    }
}

/// Cuts bytes into known runs and active patterns.
fn globs(value: &mut Value, flat: &[(u8, bool)], extglob: bool) {
    let mut at = 0;
    // Once no `]` closes a bracket, none closes a later one either.
    let mut unclosed = false;
    while let Some((byte, quoted)) = flat.get(at).copied() {
        let next = flat.get(at + 1).copied();
        let length = match byte {
            _ if quoted => 0,
            b'?' | b'*' | b'+' | b'@' | b'!' if extglob && next == Some((b'(', false)) => {
                let mut depth = 0usize;
                let mut end = 0;
                for (offset, (byte, quoted)) in flat.get(at..).unwrap_or(&[]).iter().enumerate() {
                    match byte {
                        b'(' if !quoted => depth += 1,
                        b')' if !quoted => {
                            depth = depth.saturating_sub(1);
                            if depth == 0 {
                                end = offset + 1;
                                break;
                            }
                        }
                        _ => {}
                    }
                }
                end
            }
            b'*' | b'?' => 1,
            b'[' if !unclosed => {
                let mut rest =
                    flat.get(at + 1..).unwrap_or(&[]).iter().enumerate().skip_while(|(offset, (byte, _))| {
                        *offset == 0 && matches!(byte, b'!' | b'^' | b']') || *offset == 1 && *byte == b']'
                    });
                match rest.find(|(_, (byte, quoted))| *byte == b']' && !quoted) {
                    Some((offset, _)) => offset + 2,
                    None => {
                        unclosed = true;
                        0
                    }
                }
            }
            _ => 0,
        };
        if length == 0 {
            value.push(Piece::known(&[byte]));
            at += 1;
        } else {
            let pattern = flat.get(at..at + length).unwrap_or(&[]).iter().map(|(byte, _)| *byte).collect();
            value.push(Piece::Glob(pattern));
            at += length;
        }
    }
}

/// A pattern as `${x#pattern}` and `case` match it; extended patterns are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Any,
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// `None` where the pattern has parts that are not known, or is of a kind that is not followed.
    pub(super) fn new(field: &Field) -> Option<Self> {
        let mut flat = Vec::new();
        for bit in &field.bits {
            match bit {
                Bit::Text(bytes, quoted) => flat.extend(bytes.iter().map(|byte| (*byte, *quoted))),
                _ => return None,
            }
        }
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some((byte, quoted)) = flat.get(at).copied() {
            at += 1;
            match byte {
                _ if quoted => tokens.push(Token::Byte(byte)),
                // one that a variable brought: those that were written have done their work
                b'\\' => {
                    tokens.push(Token::Byte(flat.get(at).map_or(byte, |(next, _)| *next)));
                    at += 1;
                }
                b'(' if at >= 2 => {
                    if matches!(flat.get(at - 2), Some((b'?' | b'*' | b'+' | b'@' | b'!', false))) {
                        return None;
                    }
                    tokens.push(Token::Byte(byte));
                }
                b'*' => tokens.push(Token::Any),
                b'?' => tokens.push(Token::One),
                b'[' => {
                    let mut end = at;
                    let negated = matches!(flat.get(end), Some((b'!' | b'^', false)));
                    end += usize::from(negated);
                    let first = end;
                    while flat.get(end).is_some_and(|(byte, quoted)| *byte != b']' || *quoted || end == first)
                    {
                        if flat.get(end) == Some(&(b'[', false)) {
                            // `[[:alpha:]]`: not followed.
                            return None;
                        }
                        end += 1;
                    }
                    if end >= flat.len() {
                        tokens.push(Token::Byte(b'['));
                        continue;
                    }
                    let inside = flat.get(first..end).unwrap_or(&[]);
                    let mut ranges = Vec::new();
                    let mut index = 0;
                    while let Some((low, _)) = inside.get(index) {
                        match (inside.get(index + 1), inside.get(index + 2)) {
                            (Some((b'-', false)), Some((high, _))) => {
                                ranges.push((*low, *high));
                                index += 3;
                            }
                            _ => {
                                ranges.push((*low, *low));
                                index += 1;
                            }
                        }
                    }
                    tokens.push(Token::Class { negated, ranges });
                    at = end + 1;
                }
                _ => tokens.push(Token::Byte(byte)),
            }
        }
        Some(Self(tokens))
    }

    /// The ends of the shortest and of the longest beginning of a text that it matches; of the ends of the text where
    /// `backwards`. One pass over the text, with all that may have been matched so far.
    pub(super) fn beginnings(&self, text: &[u8], backwards: bool) -> Option<(usize, usize)> {
        let count = self.0.len();
        let token = |at: usize| self.0.get(if backwards { count.checked_sub(at + 1)? } else { at });
        let open = |states: &mut Vec<bool>| {
            // `*` may match nothing
            for at in 0..count {
                if states.get(at) == Some(&true)
                    && token(at) == Some(&Token::Any)
                    && let Some(next) = states.get_mut(at + 1)
                {
                    *next = true;
                }
            }
        };
        let mut states = vec![false; count + 1];
        states.iter_mut().take(1).for_each(|first| *first = true);
        open(&mut states);
        let mut found: Option<(usize, usize)> = None;
        for length in 0..=text.len() {
            if states.last() == Some(&true) {
                found = Some((found.map_or(length, |(shortest, _)| shortest), length));
            }
            let at = if backwards { text.len().checked_sub(length + 1) } else { Some(length) };
            let Some(byte) = at.and_then(|at| text.get(at)) else { break };
            let mut next = vec![false; count + 1];
            let mut any = false;
            for at in (0..count).filter(|at| states.get(*at) == Some(&true)) {
                let (fits, stays) = match token(at) {
                    Some(Token::Any) => (true, true),
                    Some(Token::One) => (true, false),
                    Some(Token::Byte(wanted)) => (wanted == byte, false),
                    Some(Token::Class { negated, ranges }) => {
                        (ranges.iter().any(|(low, high)| low <= byte && byte <= high) != *negated, false)
                    }
                    None => (false, false),
                };
                if fits && let Some(state) = next.get_mut(if stays { at } else { at + 1 }) {
                    *state = true;
                    any = true;
                }
            }
            if !any {
                break;
            }
            open(&mut next);
            states = next;
        }
        found
    }

    /// What matching it against a text may cost, in steps.
    pub(super) fn cost(&self, text: &[u8]) -> usize {
        1 + text.len() * (1 + self.0.len()) / 32
    }

    /// Whether it counts characters, which are bytes in some places and not in others.
    pub(super) fn counts(&self) -> bool {
        self.0.iter().any(|token| matches!(token, Token::One | Token::Class { .. }))
    }

    /// Whether it has nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
