//! Finding candidates: every place where a literal stands, several times faster than memory is filled by a command.

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind};

/// Literals in one vector search. Past this many, false hits of the nibble masks cost more than another pass.
const PER_PASS: usize = 48;

/// The literals, none of which begins with another one.
#[derive(Debug)]
pub(super) struct Search {
    /// Sorted.
    literals: Vec<Vec<u8>>,
    longest: usize,
    passes: Vec<Pass>,
}

/// One search over a part of the literals.
#[derive(Debug)]
struct Pass {
    searcher: Searcher,
    /// Index in `literals` of each of its patterns.
    literals: Vec<usize>,
}

#[derive(Debug)]
enum Searcher {
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
    Nothing,
}

/// Where a literal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hit {
    at: usize,
    literal: usize,
}

/// The next hit of each pass in one buffer.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    hits: Vec<Option<Hit>>,
}

impl Search {
    /// Literals that begin with another one are left out: the shorter one finds them too.
    pub(super) fn new(mut literals: Vec<Vec<u8>>) -> Self {
        literals.sort();
        literals.dedup_by(|longer, shorter| longer.starts_with(shorter));
        let mut by_length: Vec<usize> = (0..literals.len()).collect();
        by_length.sort_by_key(|index| literals.get(*index).map_or(0, Vec::len));
        let passes = by_length.chunks(PER_PASS).map(|part| Pass::new(&literals, part)).collect();
        let longest = literals.iter().map(Vec::len).max().unwrap_or(0);
        Self { literals, longest, passes }
    }

    pub(super) fn literals(&self) -> &[Vec<u8>] {
        &self.literals
    }

    /// The literal that `text` begins with.
    pub(super) fn literal_at(&self, text: &[u8]) -> Option<usize> {
        let after = self.literals.partition_point(|literal| literal.as_slice() <= text);
        let index = after.checked_sub(1)?;
        text.starts_with(self.literals.get(index)?).then_some(index)
    }

    /// The literals that `text` is a beginning of, but not all of.
    pub(super) fn begun_by(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let first = self.literals.partition_point(|literal| literal.as_slice() <= text);
        let rest = self.literals.get(first..).unwrap_or_default();
        let count = rest.iter().take_while(|literal| literal.starts_with(text)).count();
        first..first + count
    }

    /// How long the longest unfinished literal at the end of a buffer can be.
    pub(super) fn longest_begun(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    pub(super) fn cursors(&self, buffer: &[u8], from: usize) -> Cursors {
        Cursors { hits: self.passes.iter().map(|pass| pass.find(buffer, from)).collect() }
    }

    /// Whether any literal stands anywhere in a text.
    pub(super) fn stands_in(&self, text: &[u8]) -> bool {
        self.passes.iter().any(|pass| pass.find(text, 0).is_some())
    }

    /// The first place at or after `from` where a literal stands. `from` never goes back.
    pub(super) fn next(&self, cursors: &mut Cursors, buffer: &[u8], from: usize) -> Option<usize> {
        let mut first: Option<usize> = None;
        for (hit, pass) in cursors.hits.iter_mut().zip(&self.passes) {
            if hit.is_some_and(|hit| hit.at < from) {
                *hit = pass.find(buffer, from);
            }
            first = match (first, *hit) {
                (Some(first), Some(hit)) => Some(first.min(hit.at)),
                (first, hit) => first.or(hit.map(|hit| hit.at)),
            };
        }
        first
    }
}

impl Cursors {
    /// The literal that stands at `at`, which [`Search::next`] returned. There is one: none begins with another.
    pub(super) fn literal_at(&self, at: usize) -> Option<usize> {
        self.hits.iter().flatten().find(|hit| hit.at == at).map(|hit| hit.literal)
    }
}

impl Pass {
    fn new(literals: &[Vec<u8>], part: &[usize]) -> Self {
        let patterns: Vec<&[u8]> =
            part.iter().filter_map(|index| literals.get(*index)).map(Vec::as_slice).collect();
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .only_teddy(true)
            .heuristic_pattern_limits(false)
            .builder()
            .extend(&patterns)
            .build();
        let searcher = match packed {
            Some(packed) => Searcher::Packed(packed),
            None => AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(&patterns)
                .map_or(Searcher::Nothing, Searcher::Automaton),
        };
        Self { searcher, literals: part.to_vec() }
    }

    fn find(&self, buffer: &[u8], from: usize) -> Option<Hit> {
        if from >= buffer.len() {
            return None;
        }
        let found = match &self.searcher {
            Searcher::Packed(packed) => packed.find_in(buffer, (from..buffer.len()).into()),
            Searcher::Automaton(automaton) => {
                automaton.find(Input::new(buffer).range(from..).anchored(Anchored::No))
            }
            Searcher::Nothing => None,
        }?;
        let literal = *self.literals.get(found.pattern().as_usize())?;
        Some(Hit { at: found.start(), literal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(literals: &[&str]) -> Search {
        Search::new(literals.iter().map(|literal| literal.as_bytes().to_vec()).collect())
    }

    fn hits(search: &Search, buffer: &[u8]) -> Vec<(usize, String)> {
        let mut cursors = search.cursors(buffer, 0);
        let (mut from, mut hits) = (0, Vec::new());
        while let Some(at) = search.next(&mut cursors, buffer, from) {
            if let Some(literal) = cursors.literal_at(at) {
                hits.push((at, String::from_utf8(search.literals[literal].clone()).unwrap()));
            }
            from = at + 1;
        }
        hits
    }

    #[test]
    fn every_place_is_found_whatever_the_number_of_passes() {
        let many: Vec<String> = (0..200).map(|index| format!("k{index:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let search = search(&many);
        assert!(search.passes.len() > 1);
        let text = "..k001..k199k100.".repeat(40);
        let found = hits(&search, text.as_bytes());
        assert_eq!(found.len(), 120);
        assert_eq!(found[2], (12, "k100".to_owned()));
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
}
