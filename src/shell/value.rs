//! What is known of a word after expansion: literal bytes with holes in them.

use std::borrow::Cow;

use serde::Serialize;
use smallvec::SmallVec;

/// Bytes of a word. Most words are short, and are copied often on the way from a text to a verdict: short ones are held in
/// place.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bytes(SmallVec<[u8; 24]>);

/// The parts of a [`Value`]: nearly always one.
pub type Pieces = SmallVec<[Piece; 1]>;

/// One argument as the program would receive it, as far as it can be known before running.
///
/// A value is a sequence of pieces. A value with an unquoted hole may become several arguments, or none; see
/// [`Unknown::splits`].
#[derive(Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Value {
    /// Never holds two neighbouring [`Piece::Known`]; empty means the empty string.
    pub pieces: Pieces,
}

/// A part of a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Piece {
    /// Exactly these bytes. Not always UTF-8: `$'\xff'` is one byte.
    Known(Bytes),
    /// An active pathname pattern: an unquoted `*`, `?`, `[...]` or extended glob, as written. It stands for any
    /// existing names that match, or for itself.
    Glob(Bytes),
    /// Bytes that cannot be known before running.
    Unknown(Box<Unknown>),
}

/// Why a part of a value is unknown, and what is known of it all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Unknown {
    /// As a person reads it: `$DIR`, `$(curl ...)`, `$1`.
    pub source: String,
    /// The part may be the empty string (`"$DIR"/*` is then `/*`).
    pub may_be_empty: bool,
    /// The part was not quoted: it may become several words and may be expanded as a pattern.
    pub splits: bool,
    /// The part is a path that the shell or a program made (`$(mktemp -d)`, `$PWD`) below this known directory.
    pub below: Option<Vec<u8>>,
    /// Nothing in the text or the environment sets it: it is empty unless something unseen does. Two readings hold, with
    /// and without it; see [`Value::with_unset_empty`].
    pub unset: bool,
}

impl Bytes {
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Self {
        self.as_ref().into()
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Self(bytes.into_iter().collect())
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_slice().fmt(f)
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(SmallVec::from_vec(bytes))
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl Piece {
    /// Exactly these bytes.
    pub fn known(bytes: impl Into<Bytes>) -> Self {
        Self::Known(bytes.into())
    }

    /// An active pathname pattern.
    pub fn glob(pattern: impl Into<Bytes>) -> Self {
        Self::Glob(pattern.into())
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        match self.pieces.as_slice() {
            // by far the most
            [only] => only.clone().into(),
            pieces => Self { pieces: pieces.into() },
        }
    }
}

impl From<Piece> for Value {
    fn from(piece: Piece) -> Self {
        Self { pieces: Pieces::from_buf([piece]) }
    }
}

impl<const N: usize> From<[Piece; N]> for Value {
    fn from(pieces: [Piece; N]) -> Self {
        Self { pieces: pieces.into_iter().collect() }
    }
}

impl From<Unknown> for Piece {
    fn from(unknown: Unknown) -> Self {
        Self::Unknown(Box::new(unknown))
    }
}

/// How the source of a hole ends that is each number in turn: a variable that a loop counts with.
pub(crate) const COUNTED: &str = " (counted)";

impl Value {
    /// A value that is known entirely.
    pub fn known(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::default() } else { Piece::Known(bytes).into() }
    }

    /// A value of which nothing is known.
    pub fn unknown(unknown: Unknown) -> Self {
        Piece::from(unknown).into()
    }

    /// The bytes, where all of them are known. A value with an active glob is not known.
    pub fn as_known(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(&[]),
            [Piece::Known(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// The bytes as text, where all of them are known and are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_known().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The same value read with every unset variable as the empty string: `r${x}m` is then `rm`. An unquoted word that
    /// this leaves empty is no word at all.
    pub fn with_unset_empty(&self) -> Self {
        let mut value = Self::default();
        for piece in &self.pieces {
            match piece {
                Piece::Unknown(unknown) if unknown.unset => {}
                piece => value.push(piece.clone()),
            }
        }
        value
    }

    /// Whether it is no word at all where nothing unseen sets what it is made of: unquoted, of unset variables alone.
    pub(super) fn is_no_word(&self) -> bool {
        let unset =
            |piece: &Piece| matches!(piece, Piece::Unknown(unknown) if unknown.unset && unknown.splits);
        !self.pieces.is_empty() && self.pieces.iter().all(unset)
    }

    /// Whether it may be several words, or none: it stands for no one item of a list.
    pub(super) fn splits(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Unknown(unknown) if unknown.splits && !unknown.unset))
    }

    /// Whether any part is a variable that nothing sets.
    pub fn has_unset(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Unknown(unknown) if unknown.unset))
    }

    /// The value as a person would write it; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        match self.as_known() {
            Some(bytes) => String::from_utf8_lossy(bytes),
            None => Cow::Owned(self.to_string()),
        }
    }

    /// How many bytes are held, for what copies cost.
    pub(super) fn weight(&self) -> usize {
        let piece = |piece: &Piece| match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) => 8 + bytes.len(),
            Piece::Unknown(unknown) => 32 + unknown.source.len(),
        };
        self.pieces.iter().map(piece).sum()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (_, Piece::Known(bytes)) if bytes.is_empty() => {}
            (Some(Piece::Known(last)), Piece::Known(bytes)) => last.extend_from_slice(&bytes),
            (_, piece) => self.pieces.push(piece),
        }
    }

    /// The known bytes that the value starts with; empty when it starts with a hole.
    pub fn prefix(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Known(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The known bytes that the value ends with; empty when it ends with a hole.
    pub fn suffix(&self) -> &[u8] {
        match self.pieces.last() {
            Some(Piece::Known(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Whether any part cannot be known before running (a glob is known to be a glob).
    pub fn has_unknown(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Unknown(_)))
    }

    /// Whether any part is an active pathname pattern.
    pub fn has_glob(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Glob(_)))
    }
}

impl std::fmt::Display for Value {
    /// Renders the value as a person would write it; bytes that are not UTF-8 become U+FFFD.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Known(bytes) | Piece::Glob(bytes) => f.write_str(&String::from_utf8_lossy(bytes))?,
                Piece::Unknown(unknown) => f.write_str(&unknown.source)?,
            }
        }
        Ok(())
    }
}
