//! Finding candidates: every place where a literal stands.
//!
//! Three bytes at every second place are looked up in a small table, eight places between two branches: a literal begins at such a
//! place or at the one before, and the table knows both. Text has few places where three bytes may belong to a literal, so that this
//! runs at the speed of the table; and whatever it is made of, each place costs at most one look and the few literals that share
//! these bytes. A vector search (Teddy) is faster for some dozens of literals, and starts anew behind each hit: with some hundreds,
//! and in text that is full of them, it is several times slower.
#![allow(
    clippy::cast_possible_truncation,
    reason = "low bytes are cut off on purpose, and slots fit 16 bits"
)]

/// Bits of a place in the table: it stays in the processor's near caches.
const BITS: u32 = 15;
const SLOTS: usize = 1 << BITS;

/// Bytes passed between two branches; every second place of them is looked at.
const STRIDE: usize = 16;

/// Bytes that are searched at once.
const AHEAD: usize = 4 << 10;

/// Places of two bytes.
const PAIRS: usize = 1 << 16;

/// Bytes of a literal that are looked up: none is shorter.
const LOOKED_UP: usize = 3;

/// The literals, none of which begins with another one.
#[derive(Debug)]
pub(super) struct Search {
    /// Sorted.
    literals: Vec<Vec<u8>>,
    longest: usize,
    /// By slot, whether a literal may begin with these three bytes ([`BEGINS`]), or have them behind its first ([`BEHIND`]).
    filter: Box<[u8; SLOTS]>,
    /// By two bytes, whether they are all that a literal has behind its first ([`BEHIND`]).
    ends: Box<[u8; PAIRS]>,
    /// By slot, which of the entries is the first one that has it, or [`NONE`].
    first: Vec<u32>,
    /// Sorted by slot.
    entries: Vec<Entry>,
}

/// A literal whose first bytes have this slot, with its first eight bytes, or what it has of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    slot: u16,
    literal: u32,
    length: usize,
    begin: u64,
    mask: u64,
}

const BEGINS: u8 = 1;
const BEHIND: u8 = 2;

/// No entry.
const NONE: u32 = u32::MAX;

/// The slot of three bytes; the fourth does not count.
const fn slot(bytes: u32) -> usize {
    (bytes.wrapping_mul(0x9e37_79b1 << 8) >> (u32::BITS - BITS)) as usize
}

/// The first eight bytes of a text, and NUL behind its end.
fn begin(text: &[u8]) -> u64 {
    let bytes = match text.first_chunk() {
        Some(bytes) => *bytes,
        None => std::array::from_fn(|at| text.get(at).copied().unwrap_or(0)),
    };
    u64::from_le_bytes(bytes)
}

impl Search {
    /// Literals that begin with another one are left out: the shorter one finds them too. Each has three bytes or more.
    pub(super) fn new(mut literals: Vec<Vec<u8>>) -> Self {
        debug_assert!(literals.iter().all(|literal| literal.len() >= LOOKED_UP), "{literals:?}");
        literals.sort();
        literals.dedup_by(|longer, shorter| longer.starts_with(shorter));
        let longest = literals.iter().map(Vec::len).max().unwrap_or(0);
        let (mut filter, mut ends) = (Box::new([0; SLOTS]), Box::new([0; PAIRS]));
        let entry = |(literal, bytes): (usize, &Vec<u8>)| {
            let begin = begin(bytes);
            let slot = slot(begin as u32);
            filter[slot] |= BEGINS;
            match bytes.len() {
                LOOKED_UP => ends[usize::from((begin >> 8) as u16)] = BEHIND,
                _ => filter[self::slot((begin >> 8) as u32)] |= BEHIND,
            }
            let mask = u64::MAX >> (64 - 8 * bytes.len().clamp(1, 8));
            Entry { slot: slot as u16, literal: literal as u32, length: bytes.len(), begin, mask }
        };
        let mut entries: Vec<_> = literals.iter().enumerate().map(entry).collect();
        entries.sort_unstable();
        let mut first = vec![NONE; SLOTS];
        for (index, entry) in entries.iter().enumerate().rev() {
            first[usize::from(entry.slot)] = index as u32;
        }
        Self { literals, longest, filter, ends, first, entries }
    }

    pub(super) fn literals(&self) -> &[Vec<u8>] {
        &self.literals
    }

    /// The literal that `text` begins with.
    pub(super) fn literal_at(&self, text: &[u8]) -> Option<usize> {
        let bytes = begin(text);
        let slot = slot(bytes as u32);
        if self.filter[slot] & BEGINS == 0 {
            return None;
        }
        let same = self.entries.get(self.first[slot] as usize..)?;
        for entry in same.iter().take_while(|entry| usize::from(entry.slot) == slot) {
            let is_whole = || {
                let literal = self.literals.get(entry.literal as usize);
                entry.length <= 8 || literal.is_some_and(|literal| text.starts_with(literal))
            };
            if bytes & entry.mask == entry.begin && text.len() >= entry.length && is_whole() {
                return Some(entry.literal as usize);
            }
        }
        None
    }

    /// The literals that `text` is a beginning of, but not all of.
    pub(super) fn begun_by(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        if text.len() >= self.longest {
            return 0..0;
        }
        let first = self.literals.partition_point(|literal| literal.as_slice() <= text);
        let rest = self.literals.get(first..).unwrap_or_default();
        let count = rest.iter().take_while(|literal| literal.starts_with(text)).count();
        first..first + count
    }

    /// How long the longest unfinished literal at the end of a buffer can be.
    pub(super) fn longest_begun(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    /// Whether any literal stands anywhere in a text.
    pub(super) fn stands_in(&self, text: &[u8]) -> bool {
        Ahead::default().next(self, text, 0, text.len()).is_some()
    }

    /// Adds the places where a literal stands from `from` on, at least as far as `to`. Returns how far.
    #[inline(never)]
    fn places(&self, buffer: &[u8], from: usize, to: usize, places: &mut Vec<Place>) -> usize {
        let mut add = |at: usize| {
            if let Some(literal) = buffer.get(at..).and_then(|text| self.literal_at(text)) {
                places.push(Place { at, literal });
            }
        };
        let kinds =
            |bytes: u64| u64::from(self.filter[slot(bytes as u32)] | self.ends[usize::from(bytes as u16)]);
        let mut at = from;
        // The last place that is looked at wants two bytes more.
        while let Some(block) = buffer.get(at..).and_then(<[u8]>::first_chunk::<{ STRIDE + 4 }>) {
            let [a, b, c, d] = words(block);
            let mut found = kinds(a)
                | kinds(a >> 16) << 8
                | kinds(b) << 16
                | kinds(b >> 16) << 24
                | kinds(c) << 32
                | kinds(c >> 16) << 40
                | kinds(d) << 48
                | kinds(d >> 16) << 56;
            while found != 0 {
                let index = found.trailing_zeros() / u8::BITS;
                let (place, kinds) = (at + 2 * index as usize, (found >> (index * u8::BITS)) as u8);
                found &= !(0xff << (index * u8::BITS));
                if kinds & BEHIND != 0 && place > from {
                    add(place - 1);
                }
                if kinds & BEGINS != 0 {
                    add(place);
                }
            }
            at += STRIDE;
            if at > to {
                // What begins right before the next place is seen at that.
                return at - 1;
            }
        }
        (at.saturating_sub(1).max(from)..buffer.len()).for_each(add);
        buffer.len()
    }
}

/// Eight bytes from each fourth place on.
fn words(block: &[u8; STRIDE + 4]) -> [u64; 4] {
    let [a, b, c, d, e] = std::array::from_fn(|index| {
        let at = 4 * index;
        u64::from(u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]))
    });
    [a | b << 32, b | c << 32, c | d << 32, d | e << 32]
}

/// A place where a literal stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    literal: usize,
}

/// Places of a buffer, found some way ahead and kept: who looks again where somebody looked before pays for no search.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    from: usize,
    to: usize,
    places: Vec<Place>,
    /// The one that was found last, or the next one.
    next: usize,
}

impl Ahead {
    /// The buffer is another one.
    pub(super) fn forget(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    /// The first place at or after `from` and before `until` where a literal stands, and which one: there is one, none begins with
    /// another.
    pub(super) fn next(
        &mut self,
        search: &Search,
        buffer: &[u8],
        mut from: usize,
        until: usize,
    ) -> Option<(usize, usize)> {
        let until = until.min(buffer.len());
        while from < until {
            if !(self.from..self.to).contains(&from) {
                self.places.clear();
                (self.from, self.next) = (from, 0);
                self.to = search.places(buffer, from, from + AHEAD, &mut self.places);
            }
            while self.next > 0 && self.places.get(self.next - 1).is_some_and(|place| place.at >= from) {
                self.next -= 1;
            }
            while let Some(place) = self.places.get(self.next) {
                if place.at >= from {
                    return (place.at < until).then_some((place.at, place.literal));
                }
                self.next += 1;
            }
            from = self.to;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(literals: &[&str]) -> Search {
        Search::new(literals.iter().map(|literal| literal.as_bytes().to_vec()).collect())
    }

    fn hits(search: &Search, buffer: &[u8]) -> Vec<(usize, String)> {
        let (mut ahead, mut from, mut hits) = (Ahead::default(), 0, Vec::new());
        while let Some((at, literal)) = ahead.next(search, buffer, from, buffer.len()) {
            hits.push((at, String::from_utf8(search.literals[literal].clone()).unwrap()));
            from = at + 1;
        }
        hits
    }

    #[test]
    fn every_place_is_found_however_many_literals_there_are() {
        let many: Vec<String> = (0..200).map(|index| format!("k{index:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let search = search(&many);
        let text = "..k001..k199k100.".repeat(40);
        let found = hits(&search, text.as_bytes());
        assert_eq!(found.len(), 120);
        assert_eq!(found[2], (12, "k100".to_owned()));
    }

    #[test]
    fn a_place_is_found_wherever_the_search_begins_and_whatever_the_text_is_long() {
        let search = search(&["abc", "wxyz", "longer-literal"]);
        for literal in ["abc", "wxyz", "longer-literal"] {
            for before in 0..70 {
                for after in [0, 1, 2, 19, 40] {
                    let text = format!("{}{literal}{}", ".".repeat(before), ".".repeat(after));
                    let (mut ahead, text) = (Ahead::default(), text.as_bytes());
                    for from in (0..=before).chain([before, 0]) {
                        for ahead in [&mut ahead, &mut Ahead::default()] {
                            let found = ahead.next(&search, text, from, text.len()).map(|(at, _)| at);
                            assert_eq!(found, Some(before), "{literal} behind {before} from {from}");
                            assert_eq!(ahead.next(&search, text, from, before), None);
                            assert_eq!(ahead.next(&search, text, before + 1, text.len()), None);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn places_are_found_however_far_they_are_apart() {
        let search = search(&["abc", "wxyz"]);
        let text =
            format!("{}abc{}abcwxyz{}wxyz", ".".repeat(AHEAD - 2), "x".repeat(3 * AHEAD), ".".repeat(AHEAD));
        let found: Vec<usize> = hits(&search, text.as_bytes()).into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [AHEAD - 2, 4 * AHEAD + 1, 4 * AHEAD + 4, 5 * AHEAD + 8]);
        assert!(search.stands_in(text.as_bytes()) && !search.stands_in("x".repeat(3 * AHEAD).as_bytes()));
    }

    #[test]
    fn overlapping_places_are_all_found() {
        let search = search(&["aba", "bab", "://"]);
        let found: Vec<usize> = hits(&search, b"xababa://").into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [1, 2, 3, 6]);
    }

    #[test]
    fn a_literal_that_begins_with_another_is_found_by_it() {
        let search = search(&["sk-ant-", "sk-", "skr"]);
        assert_eq!(search.literals(), [b"sk-".to_vec(), b"skr".to_vec()]);
        assert_eq!(search.literal_at(b"sk-ant-1"), Some(0));
        assert_eq!(search.literal_at(b"sk"), None);
        assert_eq!(search.begun_by(b"sk").collect::<Vec<_>>(), [0, 1]);
        assert_eq!(search.begun_by(b"sk-").count(), 0);
        assert_eq!(search.begun_by(b"x").count(), 0);
    }

    #[test]
    fn places_are_those_of_a_search_one_by_one() {
        let all = ["abc", "ba1", "token", "tok", "x://", "\0\0\0", "zz\0"];
        let search = search(&all);
        let alphabet = b"ab1tokenx:/\0zc";
        let mut state = 7_u32;
        for length in 0..200 {
            let text: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    alphabet[(state >> 16) as usize % alphabet.len()]
                })
                .collect();
            let slow: Vec<usize> = (0..length)
                .filter(|at| all.iter().any(|literal| text[*at..].starts_with(literal.as_bytes())))
                .collect();
            let found: Vec<usize> = hits(&search, &text).into_iter().map(|(at, _)| at).collect();
            assert_eq!(found, slow, "{text:?}");
        }
    }
}
