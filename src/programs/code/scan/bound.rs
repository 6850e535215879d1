//! Names that a text gives to literals: `target = "/etc"`, `const d = '/etc'`, `for d in os.listdir("/")`.
//!
//! This follows plain assignments only, and takes the last one before a name is used. What it misses stays computed,
//! and is asked about.

use std::cell::{Cell, OnceCell};

use super::arguments::{Arguments, COMPUTED, LISTED, arguments};
use super::{HOMES, contains, is_word};
use crate::programs::effect::Language;

/// How many assignments of a text are remembered.
const MOST: usize = 64;

/// How many functions of a text are looked into, and how many mentions of each.
const MOST_FUNCTIONS: usize = 8;
const MOST_CALLS: usize = 16;

/// How many names one loop gives out.
const MOST_TOGETHER: usize = 4;

/// Calls that list what lies in a directory by its name, and by its whole path.
const LISTS_NAMES: &[&[u8]] = &[b"listdir", b"readdirSync", b"Dir.children", b"Dir.entries", b"readdir"];
const LISTS_PATHS: &[&[u8]] = &[
    b"os.walk",
    b"scandir",
    b"iterdir",
    b"rglob",
    b"glob",
    b"Dir[",
    b"Find.find",
    b"readDirSync",
    b"each_child",
];

/// What the names of a text stand for.
pub(super) struct Bound<'a> {
    pub(super) language: Language,
    entries: Vec<(usize, &'a [u8], Arguments)>,
    functions: usize,
    /// Whether a walk leaves out some of what it finds.
    pub(super) chooses: OnceCell<bool>,
    /// How many bytes may still be put into literals.
    spare: Cell<usize>,
}

/// How many bytes are put into the literals of a text in all.
const SPARE: usize = 1 << 16;

impl<'a> Bound<'a> {
    pub(super) fn new(language: Language, text: &'a [u8], budget: &mut usize) -> Self {
        let mut bound = Self {
            language,
            entries: Vec::new(),
            functions: 0,
            chooses: OnceCell::new(),
            spare: Cell::new(SPARE),
        };
        let mut at = 0;
        let mut functions = Vec::new();
        while let Some(&byte) = text.get(at) {
            if bound.entries.len() >= MOST || *budget == 0 {
                break;
            }
            if !is_word(byte) {
                at += 1;
                continue;
            }
            let length = text.get(at..).unwrap_or_default().iter().take_while(|byte| is_word(**byte)).count();
            let (start, end) = (at, at + length);
            at = end;
            let rest = text.get(end..).unwrap_or_default();
            let blank = rest.len() - rest.trim_ascii_start().len();
            let rest = rest.get(blank..).unwrap_or_default();
            let sign = match rest {
                [b'=', b'=' | b'>' | b'~', ..] => continue,
                [b'=', ..] => 1,
                [b':', b'=', ..] => 2,
                _ => 0,
            };
            let word = text.get(start..end).unwrap_or_default();
            if sign > 0 {
                let mut given = arguments(text, end + blank + sign, &bound, budget);
                if plain(&mut given) {
                    bound.entries.push((start, word, given));
                }
            } else if matches!(word, b"def" | b"function") {
                bound.parameters(text, end, budget);
                functions.push(end);
            } else if matches!(word, b"in" | b"of") {
                bound.loop_over(text, start, end, budget);
            }
        }
        // functions stand in front of the names that they are called with
        let unknown = |bound: &Self, from: usize| {
            bound.entries.iter().any(|(place, _, given)| *place == from && given.computed)
        };
        functions.truncate(MOST_FUNCTIONS);
        functions.retain(|from| unknown(&bound, *from));
        bound.functions = 0;
        for from in functions {
            bound.entries.retain(|(place, _, given)| *place != from || !given.computed);
            bound.parameters(text, from, budget);
        }
        bound.entries.sort_by_key(|(place, ..)| *place);
        bound
    }

    /// `def wipe(path)`: a parameter stands for what the text calls it with. Of several, the one nearest to the root counts.
    fn parameters(&mut self, text: &'a [u8], from: usize, budget: &mut usize) {
        let rest = text.get(from..).unwrap_or_default();
        let blank = rest.len() - rest.trim_ascii_start().len();
        let rest = rest.get(blank..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        let (name, rest) = rest.split_at(length);
        if name.is_empty() || self.functions >= MOST_FUNCTIONS {
            return;
        }
        self.functions += 1;
        let Some(rest) = rest.strip_prefix(b"(") else { return };
        let list = rest.split(|byte| *byte == b')').next().unwrap_or_default();
        let names = list.split(|byte| *byte == b',').map(|name| {
            let name = name.trim_ascii();
            name.split(|byte| !is_word(*byte)).next().unwrap_or_default()
        });
        let mut calls: Vec<Arguments> = Vec::new();
        // called with what is not known, by another name, or more often than is looked at
        let mut otherwise = false;
        for (count, at) in memchr::memmem::find_iter(text, name).enumerate() {
            let part = at.checked_sub(1).and_then(|at| text.get(at)).is_some_and(|byte| is_word(*byte))
                || text.get(at + length).is_some_and(|byte| is_word(*byte));
            if count == MOST_CALLS {
                otherwise = true;
                break;
            }
            // `'w'` names a mode
            let quote = |byte: Option<&u8>| matches!(byte, Some(b'\'' | b'"'));
            let literal =
                quote(at.checked_sub(1).and_then(|at| text.get(at))) && quote(text.get(at + length));
            if at == from + blank || part || literal {
                continue;
            }
            if text.get(at + length) == Some(&b'(') {
                calls.push(arguments(text, at + length, self, budget));
            } else {
                otherwise = true;
            }
        }
        for (place, name) in names.enumerate().filter(|(_, name)| !name.is_empty()).take(MOST_TOGETHER) {
            let plain = |call: &&Arguments| !call.computed && !call.list && call.count == call.literals.len();
            let at_place = |call: &'_ Arguments| match plain(&call) {
                true => call.literals.get(place).cloned(),
                // the first is one literal, whatever the others are
                false => call.literals.first().filter(|_| place == 0 && call.first == Some(true)).cloned(),
            };
            let mut given: Vec<Vec<u8>> = calls.iter().filter_map(at_place).collect();
            given.sort_by_key(|literal| (!literal.starts_with(b"/"), literal.len()));
            let all = given.len() == calls.len() && !otherwise;
            let mut stands = Arguments { computed: !all || given.is_empty(), ..Arguments::default() };
            stands.literals.extend(given.first().cloned());
            self.entries.push((from, name, stands));
        }
    }

    /// `for a, b in LIST`: each name stands for any of the list.
    fn loop_over(&mut self, text: &'a [u8], start: usize, end: usize, budget: &mut usize) {
        let before = text.get(start.saturating_sub(96)..start).unwrap_or_default();
        let Some(at) = before.windows(3).rposition(|window| window == b"for") else { return };
        let names = before.get(at + 3..).unwrap_or_default();
        if names.iter().any(|byte| matches!(byte, b'\n' | b';')) {
            return;
        }
        let mut given = arguments(text, end, self, budget);
        if !plain(&mut given) {
            return;
        }
        let names = names.split(|byte| !is_word(*byte)).filter(|name| !name.is_empty());
        for name in names.filter(|name| !matches!(*name, b"const" | b"let" | b"var")).take(MOST_TOGETHER) {
            self.entries.push((start, name, given.clone()));
        }
    }

    /// What a name stands for where it is used: the last that it was given before, or the first after (a comprehension).
    pub(super) fn get(&self, name: &[u8], at: usize) -> Option<&Arguments> {
        let named = || self.entries.iter().filter(|(_, own, _)| *own == name);
        let found = named().rfind(|(place, ..)| *place < at).or_else(|| named().next());
        found.map(|(_, _, given)| given)
    }

    /// A literal with the names in it put in, where the language does that: f-strings, `"$x"`, `#{x}`, `${x}`.
    pub(super) fn interpolated(&self, literal: Vec<u8>, quote: u8, prefixed: bool, at: usize) -> Vec<u8> {
        let opens: &[&[u8]] = match self.language {
            Language::Python if prefixed => &[b"{"],
            Language::JavaScript if quote == b'`' => &[b"${"],
            Language::Ruby if quote != b'\'' => &[b"#{"],
            Language::Perl | Language::Php if quote != b'\'' => &[b"${", b"{$", b"$"],
            _ => return literal,
        };
        if self.entries.is_empty() {
            return literal;
        }
        let mut whole = Vec::with_capacity(literal.len());
        let mut rest = literal.as_slice();
        while let Some(byte) = rest.first() {
            let open = opens.iter().find(|open| rest.starts_with(open));
            let name = open.and_then(|open| rest.get(open.len()..)).unwrap_or_default();
            let length = name.iter().take_while(|byte| is_word(**byte)).count();
            let (name, behind) = name.split_at(length);
            let closed = match open {
                Some(open) if open.contains(&b'{') => behind.strip_prefix(b"}"),
                _ => Some(behind),
            };
            let given = self.get(name, at).filter(|_| length > 0);
            match (given.map(|given| given.literals.as_slice()), closed) {
                (Some([value]), Some(behind)) if value.len() <= self.spare.get() => {
                    self.spare.set(self.spare.get() - value.len());
                    whole.extend_from_slice(value);
                    rest = behind;
                }
                _ => {
                    whole.push(*byte);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        whole
    }
}

/// Whether what a name is given is literal, or the home, or the names in a directory.
fn plain(given: &mut Arguments) -> bool {
    let has = |names: &[&[u8]]| names.iter().any(|name| contains(&given.raw, name));
    let (names, paths) = (has(LISTS_NAMES), has(LISTS_PATHS));
    if names || paths {
        let here = (contains(&given.raw, b"()") || given.raw.trim_ascii_end().ends_with(b"("))
            .then(|| b".".to_vec());
        let Some(directory) = given.literals.first().cloned().or(here) else { return false };
        let listed = if names {
            vec![LISTED]
        } else if directory.contains(&b'*') {
            directory.iter().map(|byte| if *byte == b'*' { LISTED } else { *byte }).collect()
        } else {
            [directory.as_slice(), if directory.ends_with(b"/") { b"" } else { b"/" }, &[LISTED]].concat()
        };
        given.literals = vec![listed];
        given.computed = false;
        given.list = false;
        return true;
    }
    if has(HOMES) {
        return true;
    }
    let only =
        |word: &[u8]| matches!(word, b"Path" | b"pathlib" | b"os" | b"path" | b"join" | b"str" | b"PurePath");
    let called = given.raw.split(|byte| !is_word(*byte)).filter(|word| !word.is_empty());
    let joined = contains(&given.raw, b"path.join(") || !contains(&given.raw, b"join");
    let literal = !given.computed
        || joined
            && !given.literals.iter().any(|literal| literal.contains(&COMPUTED))
            && given.literals.len() == 1
            && called.filter(|word| !given.literals.iter().any(|literal| contains(literal, word))).all(only);
    given.computed &= !literal;
    literal && !given.literals.is_empty()
}
