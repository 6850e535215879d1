//! Names with holes: one path component as a shell pattern or an unknown part leaves it.

use std::borrow::Cow;

use crate::shell::{Piece, Value};

/// A component of a path, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamePattern {
    atoms: Vec<Atom>,
    /// Whether the pattern came from a hole rather than from a glob: a hole may stand for a hidden name.
    from_hole: bool,
    /// Whether it takes most of what a directory holds.
    broad: bool,
}

/// One position of a [`NamePattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Atom {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    One,
    /// Any run of bytes, the empty one included.
    Many,
    /// A byte of these ranges, or none of them.
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

/// Names that an ordinary directory may hold; a pattern that takes most of them takes the directory's content.
const PLAIN_SAMPLE: [&str; 8] = ["bin", "src", "data", "readme.txt", "x", "etc", "Makefile", "notes-2024"];
const HIDDEN_SAMPLE: [&str; 5] = [".config", ".bashrc", ".cache", ".ssh", ".x"];

impl NamePattern {
    /// A pattern from text in which every byte is active, as tables and policies write it.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut atoms = Vec::with_capacity(text.len());
        push_glob(&mut atoms, text);
        Self::new(atoms, false)
    }

    fn new(atoms: Vec<Atom>, from_hole: bool) -> Self {
        let mut pattern = Self { atoms, from_hole, broad: false };
        pattern.broad = pattern.takes_most();
        pattern
    }

    /// A pattern from the pieces of one component.
    pub(crate) fn from_pieces(pieces: &[Piece]) -> Self {
        let mut atoms = Vec::new();
        let mut from_hole = false;
        for piece in pieces {
            match piece {
                Piece::Known(bytes) => atoms.extend(bytes.iter().map(|byte| Atom::Byte(*byte))),
                Piece::Glob(bytes) => push_glob(&mut atoms, bytes),
                Piece::Unknown(_) => {
                    from_hole = true;
                    atoms.push(Atom::Many);
                }
            }
        }
        Self::new(atoms, from_hole)
    }

    /// Whether the pattern may stand for this name. A leading `*`, `?` or `[` does not match a leading dot, as in a
    /// shell without `dotglob`, unless it came from a hole.
    pub(crate) fn may_be(&self, name: &[u8]) -> bool {
        if name.first() == Some(&b'.')
            && !self.from_hole
            && !matches!(self.atoms.first(), Some(Atom::Byte(_)))
        {
            return false;
        }
        matches(&self.atoms, name)
    }

    /// Whether some name matches both patterns. Time is at most the product of both lengths.
    pub(crate) fn may_meet(&self, other: &Self) -> bool {
        let width = other.atoms.len() + 1;
        let mut seen = vec![false; (self.atoms.len() + 1) * width];
        let mut open = vec![(0usize, 0usize)];
        while let Some((own, theirs)) = open.pop() {
            match seen.get_mut(own * width + theirs) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match (self.atoms.get(own), other.atoms.get(theirs)) {
                (None, None) => return true,
                (Some(Atom::Many), _) | (_, Some(Atom::Many)) => {
                    if self.atoms.get(own) == Some(&Atom::Many) {
                        open.push((own + 1, theirs));
                        if theirs < other.atoms.len() {
                            open.push((own, theirs + 1));
                        }
                    }
                    if other.atoms.get(theirs) == Some(&Atom::Many) {
                        open.push((own, theirs + 1));
                        if own < self.atoms.len() {
                            open.push((own + 1, theirs));
                        }
                    }
                }
                (Some(mine), Some(their)) if mine.meets(their) => open.push((own + 1, theirs + 1)),
                _ => {}
            }
        }
        false
    }

    /// Whether the pattern takes most of what a directory holds: `*`, `.*`, `?*`, `[!.]*`, `!(keep)`.
    pub(crate) fn is_broad(&self) -> bool {
        self.broad
    }

    fn takes_most(&self) -> bool {
        if self.atoms.iter().all(|atom| matches!(atom, Atom::Many | Atom::One)) {
            return self.atoms.iter().any(|atom| matches!(atom, Atom::Many));
        }
        let hits = |sample: &[&str]| sample.iter().filter(|name| self.may_be(name.as_bytes())).count();
        hits(&PLAIN_SAMPLE) * 4 >= PLAIN_SAMPLE.len() * 3
            || hits(&HIDDEN_SAMPLE) * 4 >= HIDDEN_SAMPLE.len() * 3
    }

    /// Whether nothing at all is known: `*` or a hole by itself.
    pub(crate) fn is_anything(&self) -> bool {
        self.atoms.iter().all(|atom| matches!(atom, Atom::Many))
    }

    /// The byte that every name begins with that the pattern stands for, where there is one.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        match self.atoms.first() {
            Some(Atom::Byte(byte)) => Some(*byte),
            _ => None,
        }
    }

    /// The one name that the pattern stands for, if it is one.
    pub(crate) fn literal(&self) -> Option<Vec<u8>> {
        let byte = |atom: &Atom| match atom {
            Atom::Byte(byte) => Some(*byte),
            _ => None,
        };
        self.atoms.iter().map(byte).collect()
    }

    /// Whether the pattern says no more of a name than how names of ordinary files end: `*.json`.
    pub(crate) fn is_extension(&self) -> bool {
        const ORDINARY: [&[u8]; 10] =
            [b"json", b"yaml", b"yml", b"toml", b"xml", b"conf", b"cfg", b"ini", b"txt", b"properties"];
        let [Atom::Many, Atom::Byte(b'.'), rest @ ..] = self.atoms.as_slice() else { return false };
        let is = |extension: &&[u8]| {
            rest.len() == extension.len()
                && rest
                    .iter()
                    .zip(*extension)
                    .all(|(atom, byte)| matches!(atom, Atom::Byte(own) if own == byte))
        };
        ORDINARY.iter().any(is)
    }

    /// Whether any part is a hole rather than a glob.
    pub(crate) fn has_hole(&self) -> bool {
        self.from_hole
    }

    /// The pattern as a shell would write it.
    fn write(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for atom in &self.atoms {
            match atom {
                Atom::Byte(byte) => write!(f, "{}", byte.escape_ascii())?,
                Atom::One => f.write_str("?")?,
                Atom::Many => f.write_str("*")?,
                Atom::Set { negated, .. } => f.write_str(if *negated { "[!...]" } else { "[...]" })?,
            }
        }
        Ok(())
    }

    /// Whether every name that the pattern stands for surely matches `other`, as far as prefix and suffix tell.
    pub(crate) fn surely_is(&self, other: &Self) -> bool {
        if self.atoms == other.atoms || other.is_anything() {
            return true;
        }
        let hidden =
            matches!(other.atoms.first(), Some(Atom::Many)) && self.atoms.first() == Some(&Atom::Byte(b'.'));
        match other.atoms.as_slice() {
            [Atom::Many, suffix @ ..] if !hidden => is_literal(suffix) && self.atoms.ends_with(suffix),
            [prefix @ .., Atom::Many] => is_literal(prefix) && self.atoms.starts_with(prefix),
            _ => false,
        }
    }

    /// Whether the pattern is written with `other` in mind: it stands for nothing else, or both start alike. `*.rs` may
    /// be `.vault_pass.rs`, but nobody means that.
    pub(crate) fn points_at(&self, other: &Self) -> bool {
        let prefix = |atoms: &[Atom]| atoms.iter().take_while(|atom| matches!(atom, Atom::Byte(_))).count();
        let (own, theirs) = (prefix(&self.atoms), prefix(&other.atoms));
        let alike = own.min(theirs) > 0
            && self.atoms.iter().zip(&other.atoms).take(own.min(theirs)).all(|(a, b)| a == b);
        self.surely_is(other) || (alike && self.may_meet(other))
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f)
    }
}

fn is_literal(atoms: &[Atom]) -> bool {
    atoms.iter().all(|atom| matches!(atom, Atom::Byte(_)))
}

/// Whether a whole text, slashes included, matches a pattern in which `*` spans everything.
pub(crate) fn text_matches(pattern: &str, text: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b' ');
    let literal = pattern.bytes().take_while(|byte| plain(*byte)).count();
    let Some((front, rest)) = pattern.as_bytes().split_at_checked(literal) else { return false };
    if rest.is_empty() {
        return front == text;
    }
    // most patterns are ruled out by what they begin with
    if !text.starts_with(front) {
        return false;
    }
    let mut atoms = Vec::with_capacity(pattern.len());
    push_glob(&mut atoms, pattern.as_bytes());
    matches(&atoms, text)
}

/// The text of a value for [`text_matches`]: holes and globs as written.
pub(crate) fn value_text(value: &Value) -> Cow<'_, [u8]> {
    if let Some(known) = value.as_known() {
        return Cow::Borrowed(known);
    }
    let mut text = Vec::new();
    for piece in &value.pieces {
        match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) => text.extend_from_slice(bytes),
            Piece::Unknown(unknown) => text.extend_from_slice(unknown.source.as_bytes()),
        }
    }
    Cow::Owned(text)
}

/// Greedy matching with one point of return: time is at most the product of both lengths, without recursion.
fn matches(atoms: &[Atom], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        let here = match atoms.get(at) {
            Some(Atom::Many) => {
                again = Some((at + 1, from));
                at += 1;
                continue;
            }
            None if from == name.len() => return true,
            None => false,
            Some(atom) => name.get(from).is_some_and(|byte| atom.takes(*byte)),
        };
        if here {
            at += 1;
            from += 1;
            continue;
        }
        match again {
            Some((next, taken)) if taken < name.len() => {
                again = Some((next, taken + 1));
                at = next;
                from = taken + 1;
            }
            _ => return false,
        }
    }
}

impl Atom {
    /// Whether some byte is taken by both.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Byte(byte), any) | (any, Self::Byte(byte)) => any.takes(*byte),
            _ => (0..=u8::MAX).any(|byte| self.takes(byte) && other.takes(byte)),
        }
    }

    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::One | Self::Many => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
        }
    }
}

/// Appends a glob as a shell writes it. What is not well formed is taken literally; an extended glob is any text.
fn push_glob(atoms: &mut Vec<Atom>, glob: &[u8]) {
    let mut rest = glob;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let extended = tail.first() == Some(&b'(') && matches!(byte, b'*' | b'?' | b'@' | b'+' | b'!');
        if extended {
            let mut depth = 0usize;
            let mut end = None;
            for (index, inner) in tail.iter().enumerate() {
                match inner {
                    b'(' => depth += 1,
                    b')' => {
                        depth -= 1;
                        if depth == 0 {
                            end = Some(index);
                            break;
                        }
                    }
                    _ => {}
                }
            }
            atoms.push(Atom::Many);
            rest = end.and_then(|end| tail.get(end + 1..)).unwrap_or(&[]);
            continue;
        }
        match byte {
            b'*' => {
                if atoms.last() != Some(&Atom::Many) {
                    atoms.push(Atom::Many);
                }
            }
            b'?' => atoms.push(Atom::One),
            b'[' => match bracket(tail) {
                Some((set, after)) => {
                    atoms.push(set);
                    rest = after;
                }
                None => atoms.push(Atom::Byte(b'[')),
            },
            b'\\' => {
                if let Some((&next, after)) = tail.split_first() {
                    atoms.push(Atom::Byte(next));
                    rest = after;
                }
            }
            _ => atoms.push(Atom::Byte(byte)),
        }
    }
}

/// Reads a bracket expression after its `[`; character classes and collating symbols are taken as any byte.
fn bracket(text: &[u8]) -> Option<(Atom, &[u8])> {
    let (negated, body) = match text.split_first() {
        Some((b'!' | b'^', tail)) => (true, tail),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    let mut index = 0;
    loop {
        let byte = *body.get(index)?;
        if byte == b']' && index > 0 {
            return Some((Atom::Set { negated, ranges }, body.get(index + 1..).unwrap_or(&[])));
        }
        if byte == b'[' && matches!(body.get(index + 1), Some(b':' | b'.' | b'=')) {
            let close = body.get(index + 2..)?.windows(2).position(|pair| pair.get(1) == Some(&b']'))?;
            if !negated {
                ranges.push((0, u8::MAX));
            }
            index += close + 4;
            continue;
        }
        if body.get(index + 1) == Some(&b'-') && body.get(index + 2).is_some_and(|high| *high != b']') {
            ranges.push((byte, *body.get(index + 2)?));
            index += 3;
        } else {
            ranges.push((byte, byte));
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> NamePattern {
        NamePattern::parse(text.as_bytes())
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "usr", true),
            ("*", ".ssh", false),
            (".*", ".ssh", true),
            ("???", "usr", true),
            ("???", "home", false),
            ("e*c", "etc", true),
            ("b?n", "bin", true),
            ("[a-f]*", "etc", true),
            ("[!.]*", "etc", true),
            ("[!a-z]*", "etc", false),
            (".ss?", ".ssh", true),
            ("!(tmp)", "usr", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("[", "[", true),
            ("[[:alpha:]]*", "usr", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern).may_be(name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn broad_patterns_take_a_directory() {
        for broad in ["*", ".*", "?*", "[!.]*", ".[!.]*", ".??*", "!(keep)", "**", "[a-zA-Z]*"] {
            assert!(glob(broad).is_broad(), "{broad}");
        }
        for narrow in ["*.log", "a*", "???", "build-*", "*.o", ".bash*", "[ab]*"] {
            assert!(!glob(narrow).is_broad(), "{narrow}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "*a".repeat(400);
        assert!(!glob(&pattern).may_be(&[b'b'; 4000]));
        assert!(!glob("[[:").may_be(b"x"));
        assert!(!glob("!(((").is_anything() || glob("!(((").may_be(b"x"));
    }
}
