//! Which files `find` and `fd` find, as far as their tests tell by name.

use super::super::words;
use crate::shell::{Piece, Value};

/// Names that are told apart; of more it is only known that they are some.
const MOST_NAMES: usize = 16;

/// What a chain of tests leaves. What it stands for may be more than is found, never less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Found {
    /// The whole tree.
    #[default]
    Everything,
    /// Some of it, by tests that say nothing of names.
    Some,
    /// What is called like one of these.
    Named(Vec<Value>),
}

impl Found {
    /// What has names that match a pattern.
    pub(super) fn named(pattern: &[u8]) -> Self {
        Self::Named(vec![Value::from([Piece::glob(pattern)])])
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Named(_), _) | (Self::Some, Self::Some | Self::Everything) => self.clone(),
            (_, other) => other.clone(),
        }
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Named(one), Self::Named(more)) if one.len() + more.len() <= MOST_NAMES => {
                Self::Named(one.iter().chain(more).cloned().collect())
            }
            _ => Self::Some,
        }
    }

    /// The paths that it stands for below a directory: in the directory itself, further down, or not known.
    pub(super) fn below(&self, path: &Value, shallow: bool) -> Vec<Value> {
        let names = match self {
            Self::Everything => return vec![path.clone()],
            Self::Some => return vec![words::below(path, "{}")],
            Self::Named(names) => names,
        };
        let slash = Value::known("/");
        let active = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let mut found = Vec::with_capacity(2 * names.len());
        for name in names {
            let is_one = !name.pieces.iter().any(|piece| matches!(piece, Piece::Glob(name) if active(name)));
            // the one file of a name is meant; of a pattern, all that lie below
            if shallow || is_one {
                found.push(words::concat(&[path, &slash, name]));
            }
            if !shallow {
                let deep = words::below(&Value::known("."), "{}");
                found.push(words::concat(&[path, &slash, &deep, &slash, name]));
            }
        }
        found
    }
}

/// What the tests of an expression have left at one place in it: `and` binds more tightly than `or`, parentheses group.
#[derive(Debug, Default)]
pub(super) struct Selection {
    groups: Vec<Group>,
    group: Group,
}

#[derive(Debug, Default)]
struct Group {
    /// What stands around the group leaves.
    outer: Found,
    /// What the sides of an `or` that are over have left.
    before: Option<Found>,
    chain: Found,
    negated: bool,
}

impl Group {
    fn whole(&self) -> Found {
        self.before.as_ref().map_or_else(|| self.chain.clone(), |before| before.or(&self.chain))
    }

    fn take(&mut self, found: &Found) {
        if !std::mem::take(&mut self.negated) {
            self.chain = self.chain.and(found);
        }
    }
}

impl Selection {
    /// A test, or an action, which is one that leaves all.
    pub(super) fn test(&mut self, found: &Found) {
        self.group.take(found);
    }

    pub(super) fn not(&mut self) {
        self.group.negated = true;
    }

    /// Each side of an `or` finds its own files.
    pub(super) fn or(&mut self) {
        self.group.before = Some(self.group.whole());
        self.group.chain = Found::Everything;
        self.group.negated = false;
    }

    pub(super) fn open(&mut self) {
        let inner = Group { outer: self.here(), ..Group::default() };
        self.groups.push(std::mem::replace(&mut self.group, inner));
    }

    pub(super) fn close(&mut self) {
        let whole = self.group.whole();
        if let Some(around) = self.groups.pop() {
            self.group = around;
            self.group.take(&whole);
        }
    }

    /// What an action at this place is given.
    pub(super) fn here(&self) -> Found {
        self.group.outer.and(&self.group.chain)
    }

    /// What the whole expression leaves.
    pub(super) fn whole(&self) -> Found {
        if self.groups.is_empty() { self.group.whole() } else { Found::Everything }
    }
}

/// What a program that lists files prints.
#[derive(Debug)]
pub struct Listing {
    /// Paths and patterns of them.
    pub names: Vec<Value>,
    /// Whether it prints nothing else.
    pub exact: bool,
}

/// The pattern of names that a regular expression of `fd` stands for, where it is plain text with ends or without.
pub(super) fn pattern_of(regex: &[u8]) -> Option<Vec<u8>> {
    let (start, rest) = regex.strip_prefix(b"^").map_or((b"*".as_slice(), regex), |rest| (b"", rest));
    let (rest, end) = rest.strip_suffix(b"$").map_or((rest, b"*".as_slice()), |rest| (rest, b""));
    let mut pattern = start.to_vec();
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if bytes.as_slice().first() == Some(&b'.') => {
                bytes.next();
                pattern.push(b'.');
            }
            b'_' | b'-' | b'~' => pattern.push(*byte),
            _ if byte.is_ascii_alphanumeric() => pattern.push(*byte),
            _ => return None,
        }
    }
    pattern.extend_from_slice(end);
    pattern.iter().any(|byte| *byte != b'*').then_some(pattern)
}
