//! Expressions that say no more than which bytes follow each other, as most keys of vendors do: some bytes, so many of a set, some
//! bytes. They are matched by counting: an automaton of them has a state for each byte, and each of these is a look into a table
//! that lies in no near cache.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Pieces one after the other. Where one of them may end is where it does end: what follows begins with none of its bytes.
#[derive(Debug)]
pub(super) struct Shape(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    Many { set: Box<[bool; 256]>, least: usize, most: usize },
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
            _ => std::slice::from_ref(hir),
        };
        let pieces = parts.iter().map(Piece::of).collect::<Option<Vec<_>>>()?;
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
                    let other = within.iter().position(|byte| !set[usize::from(*byte)]);
                    let taken = other.unwrap_or(within.len());
                    if other.is_none() && taken < *most && !ended {
                        return Counted::Starved;
                    }
                    if taken < *least {
                        return Counted::No;
                    }
                    taken
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Counted::Match(text.len() - rest.len())
    }
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
            _ => None,
        }
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
        for simple in
            ["ab[0-9]{3,5}", "[a-z]{2,}@", "[ab]+=?[cd]", "eyJ[a-z]{8,}\\.[a-z]{2}", "x", "[a-z]{4}"]
        {
            assert!(shape(simple).is_some(), "{simple}");
        }
        for other in
            ["[a-z]{2,}b", "[ab]+=?[bc]", "[a-z]{2,}?", "a|b[c]", "[a-z]+\\b", "(?:ab)+", "[a-z]*[a-z]"]
        {
            assert!(shape(other).is_none(), "{other}");
        }
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
