//! Option grammars: how a program reads its arguments.
//!
//! A grammar is written as one line of words: `-r,-R,--recursive` is a flag under three names, `-t,--target-directory=`
//! takes a value, `--interactive?` takes one only when it is attached, `-NUM` and `+NUM` are numbers behind a sign,
//! `+*` any word behind a plus, and a final `...` accepts options that are not listed as flags. What a strict grammar
//! does not list is reported as unread: behind an unknown option another command may hide.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::shell::{Piece, Value};

use super::words;

/// The number of words behind a plus.
const PLUS: usize = usize::MAX;

/// How a program reads its arguments.
#[derive(Debug, Default)]
pub(super) struct Grammar {
    arities: Vec<Arity>,
    short: HashMap<u8, usize, FixedState>,
    long: Vec<(String, usize)>,
    /// Options that are not listed are flags.
    loose: bool,
    /// `-5`.
    number: Option<usize>,
    /// A lone `-` is an option (`su -`, `env -`).
    dash: Option<usize>,
    /// `+5`, `+x`.
    plus: bool,
    /// Options end at the first operand.
    pub(super) posix: bool,
    /// A word behind one dash is one option (`-exec`, `-auto-approve`), never a bundle.
    pub(super) single_dash: bool,
    /// The first word is a bundle of flags without a dash (`tar czf x`).
    pub(super) bundle_first: bool,
    /// The value of this option is split into words that are read in its place (`env -S`).
    pub(super) respelled: Option<usize>,
    /// Options that make the program print about itself and do nothing else.
    pub(super) help: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arity {
    Flag,
    Required,
    Optional,
}

/// Arguments as a grammar reads them.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Options in order, by their number in the grammar.
    pub(super) options: SmallVec<[(usize, Option<Value>); 3]>,
    /// Words that are no options.
    pub(super) operands: SmallVec<[Value; 4]>,
    /// Words that look like options and are not known, with how many operands stood before them.
    pub(super) unread: Vec<Value>,
    /// It only prints about itself.
    pub(super) help: bool,
    /// An unquoted hole stands where an option could stand: any flag may be set.
    pub(super) open: bool,
    /// A pattern stands where an option could stand: a file name may become an option.
    pub(super) open_glob: bool,
}

impl Grammar {
    /// Reads a grammar; the error names the word that cannot be read.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut grammar = Self::default();
        for item in text.split_whitespace() {
            match item {
                "..." => grammar.loose = true,
                "+*" | "+NUM" => grammar.plus = true,
                "-NUM" => grammar.number = Some(grammar.add(Arity::Required)),
                _ => grammar.item(item)?,
            }
        }
        grammar.long.sort();
        Ok(grammar)
    }

    fn add(&mut self, arity: Arity) -> usize {
        self.arities.push(arity);
        self.arities.len() - 1
    }

    fn item(&mut self, item: &str) -> Result<(), String> {
        let (names, arity) = match (item.strip_suffix('='), item.strip_suffix('?')) {
            (Some(names), _) => (names, Arity::Required),
            (_, Some(names)) if names != "-" => (names, Arity::Optional),
            _ => (item, Arity::Flag),
        };
        let id = self.add(arity);
        for name in names.split(',') {
            if name == "-" {
                self.dash = Some(id);
            } else if !self.name(name, id) {
                return Err(format!("`{item}` is not an option"));
            }
        }
        Ok(())
    }

    /// Gives an option another name, unless that name is taken; false when it is no option name.
    fn name(&mut self, name: &str, id: usize) -> bool {
        match (name.strip_prefix("--"), name.strip_prefix('-')) {
            (Some(long), _) if !long.is_empty() => {
                if !self.long.iter().any(|(known, _)| known == long) {
                    self.long.push((long.to_owned(), id));
                }
            }
            (_, Some(short)) if short.len() == 1 => {
                if let Some(byte) = short.bytes().next() {
                    self.short.entry(byte).or_insert(id);
                }
            }
            // `-exec`: kept under its name with the dash, so that it never meets `--exec` by accident
            (_, Some(word)) if !word.is_empty() => self.long.push((name.to_owned(), id)),
            _ => return false,
        }
        true
    }

    /// Adds options that the program has beside those listed, unless it lists them itself.
    pub(super) fn add_help(&mut self, names: &str) {
        let id = self.add(Arity::Flag);
        for name in names.split_whitespace() {
            match self.find(name) {
                // an option with a value is no request for help (`cargo yank --version 1.0`)
                Some(known) if self.arities.get(known) == Some(&Arity::Required) => {}
                Some(known) => self.help.push(known),
                None => {
                    self.name(name, id);
                }
            }
        }
        self.long.sort();
        self.help.push(id);
    }

    /// Whether an option needs a value.
    pub(super) fn takes_value(&self, name: &str) -> bool {
        self.find(name).and_then(|id| self.arities.get(id)) == Some(&Arity::Required)
    }

    /// The number of an option by one of its names, with its dashes.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        match name {
            "-NUM" => return self.number,
            "+" => return self.plus.then_some(PLUS),
            "-" => return self.dash,
            _ => {}
        }
        let key = name.strip_prefix("--").filter(|long| !long.is_empty()).unwrap_or(name);
        if let [b'-', byte] = name.as_bytes() {
            return self.short.get(byte).copied();
        }
        self.long.iter().find(|(known, _)| known == key).map(|(_, id)| *id)
    }

    /// Reads arguments (without the program word) as the program will.
    pub(super) fn parse(&self, arguments: &[Value]) -> Parsed {
        let mut parsed = Parsed::default();
        let mut pending = Pending { respelled: Vec::new(), rest: arguments.iter() };
        // `env -S` inside `env -S` ends after as many rounds as there were words
        let mut respellings = 16;
        if self.bundle_first
            && let Some(first) = arguments.first()
            && !first.prefix().starts_with(b"-")
            && !first.prefix().is_empty()
        {
            let word = pending.pop().unwrap_or_default();
            self.bundle_words(&word, &mut pending, &mut parsed);
        }
        while let Some(word) = pending.pop() {
            let prefix = word.prefix();
            match prefix {
                b"--" if word.as_known().is_some() => {
                    pending.drain_to(&mut parsed.operands);
                }
                b"-" if word.as_known().is_some() && self.dash.is_some() => {
                    parsed.options.extend(self.dash.map(|id| (id, None)));
                }
                [b'-', b'-', _, ..] => self.long_option(&word, &mut pending, &mut parsed),
                [b'-', _, ..] => self.short_options(&word, &mut pending, &mut parsed),
                [b'+', _, ..] if self.plus => parsed.options.push((PLUS, Some(word))),
                _ => {
                    match word.pieces.first() {
                        Some(Piece::Unknown(unknown)) if unknown.splits => parsed.open = true,
                        Some(Piece::Glob(glob)) if !glob.starts_with(b".") => parsed.open_glob = true,
                        _ => {}
                    }
                    parsed.operands.push(word);
                    if self.posix {
                        pending.drain_to(&mut parsed.operands);
                    }
                }
            }
            if let Some(respelled) = self.respelled
                && parsed.options.last().is_some_and(|(id, _)| *id == respelled)
                && let Some((_, Some(text))) = parsed.options.pop()
            {
                respellings -= 1;
                match text.as_known().and_then(words::split) {
                    Some(more) if respellings > 0 => pending.respelled.extend(more.into_iter().rev()),
                    _ => parsed.unread.push(text),
                }
            }
        }
        parsed
    }

    fn long_option(&self, word: &Value, pending: &mut Pending<'_>, parsed: &mut Parsed) {
        let (name, attached) = match words::cut(word, b'=') {
            Some((name, value)) => (name, Some(value)),
            None => match word.as_known() {
                Some(name) => (name.to_vec(), None),
                None => return parsed.unread.push(word.clone()),
            },
        };
        let name = String::from_utf8_lossy(&name);
        let Some(id) = self.abbreviated(&name) else {
            return self.not_listed(word, parsed);
        };
        match self.arities.get(id) {
            Some(Arity::Required) if attached.is_none() => self.take(id, pending.pop(), parsed),
            Some(Arity::Flag) if attached.is_some() && !self.loose => parsed.unread.push(word.clone()),
            _ => self.take(id, attached, parsed),
        }
    }

    /// An option by its name or by a beginning of it that fits only one, as getopt_long(3) accepts.
    fn abbreviated(&self, name: &str) -> Option<usize> {
        if let Some(id) = self.find(name) {
            return Some(id);
        }
        let key = name.strip_prefix("--")?;
        let mut fitting = self.long.iter().filter(|(known, _)| known.starts_with(key)).map(|(_, id)| *id);
        let first = fitting.next()?;
        fitting.all(|id| id == first).then_some(first)
    }

    fn short_options(&self, word: &Value, pending: &mut Pending<'_>, parsed: &mut Parsed) {
        let prefix = word.prefix();
        if let Some(id) = self.whole_word(word, prefix) {
            let attached = words::cut(word, b'=').map(|(_, value)| value);
            let value = match self.arities.get(id) {
                Some(Arity::Required) if attached.is_none() => pending.pop(),
                _ => attached,
            };
            return self.take(id, value, parsed);
        }
        if self.single_dash && prefix.len() > 2 {
            return self.not_listed(word, parsed);
        }
        let digits = prefix.get(1..).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
        if let Some(id) = self.number.filter(|_| digits) {
            return parsed.options.push((id, Some(words::skip(word, 1))));
        }
        let mut at = 1;
        while let Some(byte) = prefix.get(at) {
            at += 1;
            let Some(&id) = self.short.get(byte) else {
                if self.loose {
                    continue;
                }
                return parsed.unread.push(word.clone());
            };
            let rest = words::skip(word, at);
            match self.arities.get(id) {
                Some(Arity::Required) if rest.pieces.is_empty() => {
                    return self.take(id, pending.pop(), parsed);
                }
                Some(Arity::Required) => return self.take(id, Some(rest), parsed),
                Some(Arity::Optional) => {
                    return self.take(id, Some(rest).filter(|rest| !rest.pieces.is_empty()), parsed);
                }
                _ => self.take(id, None, parsed),
            }
        }
        if word.pieces.len() > 1 && !self.loose {
            parsed.unread.push(word.clone());
        }
    }

    /// An option that is a whole word behind one dash.
    fn whole_word(&self, word: &Value, prefix: &[u8]) -> Option<usize> {
        let end = prefix.iter().position(|byte| *byte == b'=');
        if end.is_none() && word.as_known().is_none() {
            return None;
        }
        let name = std::str::from_utf8(prefix.get(..end.unwrap_or(prefix.len()))?).ok()?;
        if name.len() < 3 {
            return None;
        }
        self.long.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// `tar czf x`: the values follow as words of their own, in the order of the letters.
    fn bundle_words(&self, word: &Value, pending: &mut Pending<'_>, parsed: &mut Parsed) {
        if word.as_known().is_none() {
            return parsed.unread.push(word.clone());
        }
        for byte in word.prefix() {
            match self.short.get(byte) {
                Some(&id) if self.arities.get(id) == Some(&Arity::Required) => {
                    self.take(id, pending.pop(), parsed);
                }
                Some(&id) => self.take(id, None, parsed),
                None => return parsed.unread.push(word.clone()),
            }
        }
    }

    fn not_listed(&self, word: &Value, parsed: &mut Parsed) {
        if !self.loose {
            parsed.unread.push(word.clone());
        }
    }

    /// Help counts only in front of the first operand: with POSIXLY_CORRECT, `rm -rf / --help` deletes.
    fn take(&self, id: usize, value: Option<Value>, parsed: &mut Parsed) {
        if self.help.contains(&id) && parsed.operands.is_empty() {
            parsed.help = true;
        }
        parsed.options.push((id, value));
    }
}

/// Words that are still to be read.
struct Pending<'a> {
    /// Those that `env -S` put in front of the rest, last first.
    respelled: Vec<Value>,
    rest: std::slice::Iter<'a, Value>,
}

impl Pending<'_> {
    fn pop(&mut self) -> Option<Value> {
        self.respelled.pop().or_else(|| self.rest.next().cloned())
    }

    /// All that is left, as it stands.
    fn drain_to(&mut self, operands: &mut SmallVec<[Value; 4]>) {
        operands.extend(self.respelled.drain(..).rev());
        operands.extend(std::mem::take(&mut self.rest).cloned());
    }
}

impl Parsed {
    /// Whether an option is there.
    pub(super) fn has(&self, id: usize) -> bool {
        self.options.iter().any(|(known, _)| *known == id)
    }

    /// The values of an option, in order.
    pub(super) fn values(&self, id: usize) -> impl Iterator<Item = &Value> {
        self.options.iter().filter(move |(known, _)| *known == id).filter_map(|(_, value)| value.as_ref())
    }
}
