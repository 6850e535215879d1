//! Expressions that say no more than which bytes follow each other, as most keys of vendors do: some bytes, so many of a set, some
//! bytes. They are matched by counting: an automaton of them has a state for each byte, and each of these is a look into a table
//! that lies in no near cache. Of what has alternatives, which literal was found mostly leaves one; where more are left, they are tried
//! one after the other.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Most alternatives of an expression, those within others included.
const MOST_ALTERNATIVES: usize = 24;

/// Pieces one after the other, and then one of several others, if there are any: the first that matches. Where a piece may end is where
/// it does end: what follows begins with none of its bytes.
#[derive(Debug)]
pub(super) struct Shape {
    pieces: Vec<Piece>,
    either: Option<Box<Either>>,
}

/// Alternatives, and which of them may match by the byte that comes first.
#[derive(Debug)]
struct Either {
    shapes: Vec<Shape>,
    by_first: [u32; 256],
}

#[derive(Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    Many {
        set: Box<[bool; 256]>,
        least: usize,
        most: usize,
    },
    /// As many of a set as there are, but no more than up to the last of one of its bytes, which ends the match.
    UpTo {
        set: Box<[bool; 256]>,
        least: usize,
        most: usize,
        last: u8,
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
        Self::of_parts(&parts(hir), false, &mut { MOST_ALTERNATIVES })
    }

    /// The same of parts one after the other. `left`: how many alternatives there may be.
    fn of_parts(parts: &[Hir], mut is_in_word: bool, left: &mut usize) -> Option<Self> {
        let (mut pieces, mut either) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            let rest = parts.get(index + 1..).unwrap_or_default();
            let Some(piece) = Piece::of(part) else {
                for alternative in alternatives(part)? {
                    *left = left.checked_sub(1)?;
                    either.push(Self::of_parts(&[&alternative, rest].concat(), is_in_word, left)?);
                }
                break;
            };
            if matches!(piece, Piece::WordEnd) && !(is_in_word && rest.is_empty()) {
                return None;
            }
            is_in_word = piece.ends_in_word();
            pieces.push(piece);
        }
        let is_up_to = match pieces.as_slice() {
            [.., Piece::Many { set, .. }, Piece::Bytes(bytes)] if either.is_empty() => {
                matches!(**bytes, [last] if set[usize::from(last)])
            }
            _ => false,
        };
        if is_up_to
            && let (Some(Piece::Bytes(bytes)), Some(Piece::Many { set, least, most })) =
                (pieces.pop(), pieces.pop())
        {
            pieces.push(Piece::UpTo { set, least, most, last: *bytes.first()? });
        }
        let either = (!either.is_empty()).then(|| {
            let may_match = |byte| {
                let each = either.iter().map(|shape: &Self| u32::from(shape.may_begin_with(byte)));
                each.rev().fold(0, |all, one| all << 1 | one)
            };
            let by_first = std::array::from_fn(|byte| u8::try_from(byte).map_or(u32::MAX, may_match));
            Box::new(Either { shapes: either, by_first })
        });
        let shape = Self { pieces, either };
        let is_sure = |(index, piece): (usize, &Piece)| match piece {
            Piece::Many { set, least, most } => least == most || shape.is_apart_from(set, index + 1),
            _ => true,
        };
        shape.pieces.iter().enumerate().all(is_sure).then_some(shape)
    }

    /// Whether what matches from a piece on begins with none of these bytes, or may be empty.
    fn is_apart_from(&self, set: &[bool; 256], piece: usize) -> bool {
        for next in self.pieces.iter().skip(piece) {
            let (is_apart, is_needed) = match next {
                Piece::Bytes(bytes) => (!bytes.first().is_some_and(|first| set[usize::from(*first)]), true),
                // What ends the latter is one of its set.
                Piece::Many { set: next, least, .. } | Piece::UpTo { set: next, least, .. } => {
                    (!set.iter().zip(next.iter()).any(|(one, other)| *one && *other), *least > 0)
                }
                // Within a word no fewer bytes end it.
                Piece::WordEnd => (true, true),
            };
            if !is_apart || is_needed {
                return is_apart;
            }
        }
        self.either.iter().flat_map(|either| &either.shapes).all(|shape| shape.is_apart_from(set, 0))
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
        for piece in &self.pieces {
            match piece {
                Piece::UpTo { set, .. } => return set[usize::from(byte)],
                Piece::Bytes(bytes) => return bytes.first().is_none_or(|first| *first == byte),
                Piece::Many { set, .. } if set[usize::from(byte)] => return true,
                Piece::Many { least: 0, .. } => {}
                Piece::Many { .. } => return false,
                Piece::WordEnd => return true,
            }
        }
        self.either.as_ref().is_none_or(|either| either.by_first[usize::from(byte)] != 0)
    }

    /// Matches the beginning of a text. `ended`: no more will come.
    pub(super) fn count(&self, text: &[u8], ended: bool) -> Counted {
        let mut rest = text;
        for piece in &self.pieces {
            let taken = match piece {
                Piece::Bytes(bytes) => match (bytes.first(), rest.first()) {
                    (Some(one), Some(other)) if one != other => return Counted::No,
                    _ if rest.starts_with(bytes) => bytes.len(),
                    _ if !ended && bytes.starts_with(rest) => return Counted::Starved,
                    _ => return Counted::No,
                },
                Piece::UpTo { set, least, most, last } => {
                    let within = rest.get(..*most).unwrap_or(rest);
                    let taken = taken_by(set, within);
                    let Some(within) = rest.get(..=taken).or(ended.then_some(rest)) else {
                        return Counted::Starved;
                    };
                    match within.iter().rposition(|byte| byte == last) {
                        Some(at) if at >= *least => at + 1,
                        _ => return Counted::No,
                    }
                }
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
        let Some(either) = &self.either else { return Counted::Match(text.len() - rest.len()) };
        let mut which = rest.first().map_or(u32::MAX, |first| either.by_first[usize::from(*first)]);
        for shape in &either.shapes {
            if which & 1 != 0 {
                match shape.count(rest, ended) {
                    Counted::Match(length) => return Counted::Match(text.len() - rest.len() + length),
                    Counted::Starved => return Counted::Starved,
                    Counted::No => {}
                }
            }
            which >>= 1;
        }
        Counted::No
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
            Self::UpTo { .. } | Self::WordEnd => false,
        }
    }
}

/// The parts of an expression that follow each other.
fn parts(hir: &Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.clone(),
        HirKind::Empty => Vec::new(),
        HirKind::Capture(capture) => parts(&capture.sub),
        _ => vec![hir.clone()],
    }
}

/// The alternatives of a part that is no single piece, in the order in which they are preferred.
fn alternatives(part: &Hir) -> Option<Vec<Vec<Hir>>> {
    match part.kind() {
        HirKind::Alternation(alternatives) => Some(alternatives.iter().map(parts).collect()),
        HirKind::Repetition(Repetition { min: 0, max: Some(1), greedy: true, sub }) => {
            Some(vec![parts(sub), Vec::new()])
        }
        HirKind::Concat(_) | HirKind::Capture(_) | HirKind::Empty => Some(vec![parts(part)]),
        _ => None,
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
            "a|b[c]",
            "[a-z]{2,}(?:-[0-9])?\\b",
            "[a-z@]{2,9}@",
            "[a-z]{2,}b",
            "(?:[a-z@]{2,9}|[0-9]{0,2}[a-z][0-9a-z]{0,4}/[a-z@]+)@",
            "[a-z]{16,256}(?::(?:ab|a|X)?)?@",
        ] {
            assert!(shape(simple).is_some(), "{simple}");
        }
        for other in [
            "[ab]+=?[bc]",
            "[a-z]{2,}?",
            "[a-z]{2,3}(?:b|1)",
            "[a-z]{2,3}(?:1|b)?",
            "(?:ab|b){3}",
            "[a-z@]{2,9}@x",
            "(?:[a-z]?|-)\\b",
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
    fn alternatives_are_tried_in_their_order() {
        let shape = shape("[a-z]{2,4}(?::(?:ab|a)?)?@|[a-z@:]{1,5}@").unwrap();
        for (text, sure, last) in [
            ("abc@@x", Counted::Match(4), Counted::Match(4)),
            ("abc:@@", Counted::Match(5), Counted::Match(5)),
            ("abc:ab@", Counted::Match(7), Counted::Match(7)),
            ("abc:b@ @", Counted::Match(6), Counted::Match(6)),
            ("abc:b @", Counted::No, Counted::No),
            ("a:@b@ ", Counted::Match(5), Counted::Match(5)),
            ("a:@b@", Counted::Starved, Counted::Match(5)),
            ("a:@bcd", Counted::Match(3), Counted::Match(3)),
            ("@@", Counted::Starved, Counted::Match(2)),
            ("@", Counted::Starved, Counted::No),
            ("abc:a", Counted::Starved, Counted::No),
        ] {
            assert_eq!(
                (shape.count(text.as_bytes(), false), shape.count(text.as_bytes(), true)),
                (sure, last),
                "{text}"
            );
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
        for other in ["s_", "q", "ab1234"] {
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
