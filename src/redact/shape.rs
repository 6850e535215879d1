//! Expressions that say no more than which bytes follow each other, as most keys of vendors do: some bytes, so many of a set, some
//! bytes. They are matched by counting: an automaton of them has a state for each byte, and each of these is a look into a table
//! that lies in no near cache. Of what has alternatives, which literal was found mostly leaves one.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Pieces one after the other. Where one of them may end is where it does end: what follows begins with none of its bytes.
#[derive(Debug)]
pub(super) struct Shape(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    Many {
        set: Box<[bool; 256]>,
        least: usize,
        most: usize,
    },
    /// Behind a byte of a word, the end of that word.
    WordEnd,
}

/// What counting comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// That many bytes.
    Match(usize),
    /// No match, whatever comes.
    No,
    /// More text may change it.
    Starved,
}

impl Shape {
    /// What an expression over bytes says, if it says no more than that.
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let parts = match hir.kind() {
            HirKind::Concat(parts) => parts.as_slice(),
            HirKind::Empty => &[],
            _ => std::slice::from_ref(hir),
        };
        let pieces = parts.iter().map(Piece::of).collect::<Option<Vec<_>>>()?;
        let ends_as_said = |(index, piece): (usize, &Piece)| match piece {
            Piece::WordEnd => {
                index + 1 == pieces.len()
                    && index
                        .checked_sub(1)
                        .is_some_and(|last| pieces.get(last).is_some_and(Piece::ends_in_word))
            }
            _ => true,
        };
        if !pieces.iter().enumerate().all(ends_as_said) {
            return None;
        }
        let is_sure = |at: usize| {
            let Some(Piece::Many { set, .. }) = pieces.get(at) else { return true };
            for next in pieces.iter().skip(at + 1) {
                let (is_apart, is_needed) = match next {
                    Piece::Bytes(bytes) => {
                        (!bytes.first().is_some_and(|first| set[usize::from(*first)]), true)
                    }
                    Piece::Many { set: next, least, .. } => {
                        (!set.iter().zip(next.iter()).any(|(one, other)| *one && *other), *least > 0)
                    }
                    // Within a word no fewer bytes end it.
                    Piece::WordEnd => (true, true),
                };
                if !is_apart {
                    return false;
                }
                if is_needed {
                    break;
                }
            }
            true
        };
        (0..pieces.len()).all(is_sure).then_some(Self(pieces))
    }

    /// What an expression says behind a literal that its matches begin with, if it says no more than that.
    pub(super) fn behind(hir: &Hir, literal: &[u8]) -> Option<Self> {
        let behind = |hir: Option<Hir>, byte: &u8| match behind(&hir?, *byte) {
            Behind::Some(hir) => Some(hir),
            Behind::None | Behind::Unsure => None,
        };
        Self::of(&literal.iter().fold(Some(hir.clone()), behind)?)
    }

    /// Whether a text that begins with a byte may match.
    pub(super) fn may_begin_with(&self, byte: u8) -> bool {
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => return bytes.first().is_none_or(|first| *first == byte),
                Piece::Many { set, .. } if set[usize::from(byte)] => return true,
                Piece::Many { least: 0, .. } => {}
                Piece::Many { .. } => return false,
                Piece::WordEnd => return true,
            }
        }
        true
    }

    /// Matches the beginning of a text. `ended`: no more will come.
    pub(super) fn count(&self, text: &[u8], ended: bool) -> Counted {
        let mut rest = text;
        for piece in &self.0 {
            let taken = match piece {
                Piece::Bytes(bytes) if rest.starts_with(bytes) => bytes.len(),
                Piece::Bytes(bytes) if !ended && bytes.starts_with(rest) => return Counted::Starved,
                Piece::Bytes(_) => return Counted::No,
                Piece::Many { set, least, most } => {
                    let within = rest.get(..*most).unwrap_or(rest);
                    let taken = taken_by(set, within);
                    if taken == within.len() && taken < *most && !ended {
                        return Counted::Starved;
                    }
                    if taken < *least {
                        return Counted::No;
                    }
                    taken
                }
                Piece::WordEnd => match rest.first() {
                    Some(next) if is_of_word(*next) => return Counted::No,
                    None if !ended => return Counted::Starved,
                    _ => 0,
                },
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Counted::Match(text.len() - rest.len())
    }
}

/// How many bytes a text begins with that belong to a set.
fn taken_by(set: &[bool; 256], text: &[u8]) -> usize {
    let is_in = |byte: &u8| set[usize::from(*byte)];
    let (eights, _) = text.as_chunks::<8>();
    let whole =
        8 * eights.iter().take_while(|eight| eight.iter().fold(true, |all, byte| all & is_in(byte))).count();
    let rest = text.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| is_in(byte)).count()
}

impl Piece {
    fn of(hir: &Hir) -> Option<Self> {
        match hir.kind() {
            HirKind::Literal(literal) => Some(Self::Bytes(literal.0.clone())),
            HirKind::Class(_) => Some(Self::Many { set: set(hir)?, least: 1, most: 1 }),
            HirKind::Repetition(many) if many.greedy => {
                let size = |count: u32| usize::try_from(count).ok();
                let most = match many.max {
                    Some(most) => size(most)?,
                    None => usize::MAX,
                };
                Some(Self::Many { set: set(&many.sub)?, least: size(many.min)?, most })
            }
            HirKind::Look(Look::WordAscii) => Some(Self::WordEnd),
            _ => None,
        }
    }

    /// Whether it is not empty, and all of a word.
    fn ends_in_word(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.last().is_some_and(|last| is_of_word(*last)),
            Self::Many { set, least, .. } => {
                *least > 0 && (0..=u8::MAX).all(|byte| !set[usize::from(byte)] || is_of_word(byte))
            }
            Self::WordEnd => false,
        }
    }
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What is left of an expression behind a byte.
enum Behind {
    Some(Hir),
    /// It does not begin with that byte.
    None,
    /// More than an expression without choices says.
    Unsure,
}

fn behind(hir: &Hir, byte: u8) -> Behind {
    match hir.kind() {
        HirKind::Literal(literal) => match literal.0.split_first() {
            Some((first, rest)) if *first == byte => Behind::Some(Hir::literal(rest)),
            _ => Behind::None,
        },
        HirKind::Class(_) => match set(hir) {
            Some(set) if set[usize::from(byte)] => Behind::Some(Hir::empty()),
            Some(_) => Behind::None,
            None => Behind::Unsure,
        },
        HirKind::Repetition(many) if many.greedy && many.min > 0 => match set(&many.sub) {
            Some(set) if set[usize::from(byte)] => {
                let max = many.max.map(|max| max.saturating_sub(1));
                Behind::Some(Hir::repetition(Repetition { min: many.min - 1, max, ..many.clone() }))
            }
            Some(_) => Behind::None,
            None => Behind::Unsure,
        },
        HirKind::Concat(parts) => {
            match parts.split_first().map(|(first, rest)| (behind(first, byte), rest)) {
                Some((Behind::Some(first), rest)) => {
                    Behind::Some(Hir::concat(std::iter::once(first).chain(rest.iter().cloned()).collect()))
                }
                Some((other, _)) => other,
                None => Behind::Unsure,
            }
        }
        HirKind::Alternation(parts) => {
            let mut left = Vec::new();
            for part in parts {
                match behind(part, byte) {
                    Behind::Some(hir) => left.push(hir),
                    Behind::None => {}
                    Behind::Unsure => return Behind::Unsure,
                }
            }
            if left.is_empty() { Behind::None } else { Behind::Some(Hir::alternation(left)) }
        }
        HirKind::Capture(capture) => behind(&capture.sub, byte),
        _ => Behind::Unsure,
    }
}

/// The bytes that an expression of one byte takes.
fn set(hir: &Hir) -> Option<Box<[bool; 256]>> {
    let mut set = Box::new([false; 256]);
    match hir.kind() {
        HirKind::Literal(literal) => match *literal.0 {
            [byte] => set[usize::from(byte)] = true,
            _ => return None,
        },
        HirKind::Class(Class::Bytes(class)) => {
            for range in class.ranges() {
                (range.start()..=range.end()).for_each(|byte| set[usize::from(byte)] = true);
            }
        }
        HirKind::Class(Class::Unicode(class)) if class.is_ascii() => {
            for range in class.ranges() {
                let bytes = u8::try_from(range.start()).ok()?..=u8::try_from(range.end()).ok()?;
                bytes.for_each(|byte| set[usize::from(byte)] = true);
            }
        }
        _ => return None,
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::super::rules::bytewise;
    use super::*;

    fn shape(text: &str) -> Option<Shape> {
        Shape::of(&regex_automata::util::syntax::parse_with(text, &bytewise()).unwrap())
    }

    #[test]
    fn what_counting_cannot_say_is_left_to_the_automaton() {
        for simple in [
            "ab[0-9]{3,5}",
            "[a-z]{2,}@",
            "[ab]+=?[cd]",
            "eyJ[a-z]{8,}\\.[a-z]{2}",
            "x",
            "[a-z]{4}",
            "[a-z]{4}\\b",
            "[a-z]+\\b",
        ] {
            assert!(shape(simple).is_some(), "{simple}");
        }
        for other in [
            "[a-z]{2,}b",
            "[ab]+=?[bc]",
            "[a-z]{2,}?",
            "a|b[c]",
            "[a-z]*\\b",
            "[a-]+\\b",
            "\\ba",
            "(?:ab)+",
            "[a-z]*[a-z]",
        ] {
            assert!(shape(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_literal_leaves_one_of_several() {
        let behind = |text: &str, literal: &str| {
            let hir = regex_automata::util::syntax::parse_with(text, &bytewise()).unwrap();
            Shape::behind(&hir, literal.as_bytes())
        };
        let text = "(?:ab[0-9]{3}|s[qp]_[a-f]{2,4}\\b|x(?:y|z)[0-9]*q|xw)";
        for (literal, rest, bytes) in
            [("ab", "123", 3), ("sq_", "abc ", 3), ("xy", "12q", 3), ("xw", "", 0), ("ab1", "234", 2)]
        {
            let shape = behind(text, literal).unwrap_or_else(|| panic!("{literal}"));
            assert_eq!(shape.count(rest.as_bytes(), true), Counted::Match(bytes), "{literal}");
        }
        for other in ["x", "s_", "q", "ab1234"] {
            assert!(behind(text, other).is_none(), "{other}");
        }
        let shape = behind(text, "sq_").unwrap();
        assert!(shape.may_begin_with(b'a') && !shape.may_begin_with(b'g'));
        assert_eq!(shape.count(b"abcg", true), Counted::No);
        assert_eq!(shape.count(b"abcd", false), Counted::Starved);
        let shape = behind(text, "xy").unwrap();
        assert!(shape.may_begin_with(b'q') && shape.may_begin_with(b'1') && !shape.may_begin_with(b'x'));
    }

    #[test]
    fn it_counts_as_far_as_it_can_be_sure() {
        let shape = shape("ab[0-9]{2,4}=?").unwrap();
        for (text, sure, last) in [
            ("ab12 ", Counted::Match(4), Counted::Match(4)),
            ("ab12345", Counted::Match(6), Counted::Match(6)),
            ("ab1234", Counted::Starved, Counted::Match(6)),
            ("ab1234=", Counted::Match(7), Counted::Match(7)),
            ("ab12", Counted::Starved, Counted::Match(4)),
            ("ab1", Counted::Starved, Counted::No),
            ("ab1 ", Counted::No, Counted::No),
            ("a", Counted::Starved, Counted::No),
            ("b", Counted::No, Counted::No),
            ("", Counted::Starved, Counted::No),
        ] {
            assert_eq!(
                (shape.count(text.as_bytes(), false), shape.count(text.as_bytes(), true)),
                (sure, last),
                "{text}"
            );
        }
    }
}
