//! Lists of words that a call starts as a command, where some of the words are computed: `["git", "show", h]`.

use super::bound::Bound;
use super::is_word;
use super::literals::quoted;
use crate::programs::words::unknown;
use crate::shell::{Piece, Value};

/// The words of the list that a call is given first, with holes for those that are computed; `None` where it is none, where its
/// program is computed, and where a name in it stands for something that the text gave it: that is put in elsewhere.
pub(super) fn words(raw: &[u8], bound: &Bound<'_>) -> Option<Vec<Value>> {
    let inside = raw.trim_ascii_start().strip_prefix(b"(")?.trim_ascii_start();
    let mut rest = inside.strip_prefix(b"[")?.trim_ascii_start();
    let mut words: Vec<Value> = Vec::new();
    while !rest.starts_with(b"]") {
        let length = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'.').count();
        let (name, behind) = rest.split_at(length);
        let word = match behind.first() {
            Some(b'\'' | b'"') if length <= 1 => {
                let (literal, end) = quoted(behind, 0);
                rest = behind.get(end..)?;
                match name {
                    b"" | b"r" => Value::known(literal),
                    b"f" => formatted(&literal),
                    _ => return None,
                }
            }
            Some(b'(') if name == b"str" => {
                let inner = behind.get(1..)?;
                let length = inner.iter().take_while(|byte| is_word(**byte) || **byte == b'.').count();
                rest = inner.get(length..)?.strip_prefix(b")")?;
                computed(inner.get(..length)?, raw, bound)?
            }
            _ => {
                rest = behind;
                computed(name, raw, bound)?
            }
        };
        words.push(word);
        rest = rest.trim_ascii_start();
        match rest.strip_prefix(b",") {
            Some(next) => rest = next.trim_ascii_start(),
            None if rest.starts_with(b"]") => {}
            None => return None,
        }
    }
    // `[...] + more`
    let behind = rest.get(1..)?.trim_ascii_start();
    let whole = behind.is_empty() || behind.starts_with(b",");
    words.first()?.as_known().filter(|_| whole)?;
    Some(words)
}

/// A hole for a name that the text gives to nothing that is known.
fn computed(name: &[u8], raw: &[u8], bound: &Bound<'_>) -> Option<Value> {
    let root = name.split(|byte| *byte == b'.').next().filter(|root| !root.is_empty())?;
    (bound.get(root, raw.len()).is_none() && !root.first()?.is_ascii_digit())
        .then(|| unknown("a computed word"))
}

/// A literal in which something is put: what stands before it is known.
fn formatted(literal: &[u8]) -> Value {
    let known = literal.iter().position(|byte| *byte == b'{').unwrap_or(literal.len());
    let mut word = Value::default();
    if known > 0 {
        word.push(Piece::known(literal.get(..known).unwrap_or_default()));
    }
    if known < literal.len() {
        for piece in unknown("a computed part").pieces {
            word.push(piece);
        }
    }
    word
}
