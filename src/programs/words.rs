//! Small tools over [`Value`]s: cutting, joining and splitting words of which only parts may be known.

use crate::shell::{Piece, Unknown, Value};

/// A word of which nothing is known but where it comes from.
pub(super) fn unknown(source: &str) -> Value {
    Value::unknown(Unknown { source: source.to_owned(), may_be_empty: true, ..Unknown::default() })
}

/// Whether an operand stands for standard input.
pub(super) fn names_stdin(path: &Value) -> bool {
    path.as_known().is_some_and(|path| {
        matches!(path, b"-" | b"/dev/stdin" | b"/dev/fd/0" | b"/proc/self/fd/0" | b"/proc/thread-self/fd/0")
    })
}

/// A file that stands somewhere below a directory.
pub(super) fn below(directory: &Value, source: &str) -> Value {
    match directory.as_known() {
        Some(path) => Value::unknown(Unknown {
            source: source.to_owned(),
            may_be_empty: false,
            below: Some(path.to_vec()),
            ..Unknown::default()
        }),
        None => {
            let mut value = directory.clone();
            value.push(Piece::known(b"/"));
            value.push(Piece::glob(b"*"));
            value
        }
    }
}

/// Several words put together without anything between them.
pub(super) fn concat(parts: &[&Value]) -> Value {
    let mut whole = Value::default();
    for part in parts {
        for piece in &part.pieces {
            whole.push(piece.clone());
        }
    }
    whole
}

/// Several words put together with one blank between them, as `ssh`, `watch` and `eval` do.
pub(super) fn join(words: &[Value]) -> Value {
    let mut whole = Value::default();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            whole.push(Piece::known(b" "));
        }
        for piece in &word.pieces {
            whole.push(piece.clone());
        }
    }
    whole
}

/// The word without its first `count` bytes; the caller has seen them in [`Value::prefix`].
pub(super) fn skip(value: &Value, count: usize) -> Value {
    let mut rest = Value::default();
    for (index, piece) in value.pieces.iter().enumerate() {
        match piece {
            Piece::Known(bytes) if index == 0 => {
                rest.push(Piece::known(bytes.get(count..).unwrap_or_default()));
            }
            other => rest.push(other.clone()),
        }
    }
    rest
}

/// The word in two at the first `separator` in its known prefix.
pub(super) fn cut(value: &Value, separator: u8) -> Option<(Vec<u8>, Value)> {
    let prefix = value.prefix();
    let at = prefix.iter().position(|byte| *byte == separator)?;
    Some((prefix.get(..at)?.to_vec(), skip(value, at + 1)))
}

/// What stands behind the first `separator` of a word.
pub fn behind(value: &Value, separator: u8) -> Option<Value> {
    cut(value, separator).map(|(_, rest)| rest)
}

/// The last component of a path, as far as it is known to be one.
pub(super) fn basename(path: &Value) -> Option<Value> {
    let known = path.as_known()?;
    let trimmed = known.iter().rposition(|byte| *byte != b'/').and_then(|end| known.get(..=end))?;
    let start = trimmed.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    Some(Value::known(trimmed.get(start..)?))
}

/// `directory/name`.
pub(super) fn in_directory(directory: &Value, name: &Value) -> Value {
    let slash = if directory.suffix().ends_with(b"/") { Value::default() } else { Value::known("/") };
    concat(&[directory, &slash, name])
}

/// Whether a known word matches one of several patterns separated by commas; `*` stands for any run of bytes and
/// `?` for one.
/// A word that is not known matches everything: an unknown word must not lift a condition.
pub(super) fn matches(value: &Value, patterns: &str) -> bool {
    let Some(word) = value.as_known() else { return true };
    patterns.split(',').any(|pattern| wildcard(pattern.as_bytes(), word))
}

/// Whether a word that is known in part can be none of these patterns: what it begins or ends with is another thing.
pub(super) fn cannot_match(value: &Value, patterns: &str) -> bool {
    let (prefix, suffix) = (value.prefix(), value.suffix());
    let agrees = |one: &[u8], other: &[u8]| one.iter().zip(other).all(|(one, other)| one == other);
    let ends_agree = |one: &[u8], other: &[u8]| one.iter().rev().zip(other.iter().rev()).all(|(a, b)| a == b);
    patterns.split(',').map(str::as_bytes).all(|pattern| {
        let active = |byte: &u8| matches!(byte, b'*' | b'?');
        let first = pattern.iter().position(active);
        let (head, tail) = match (first, pattern.iter().rposition(active)) {
            (Some(first), Some(last)) => (pattern.get(..first), pattern.get(last + 1..)),
            _ if prefix.len().max(suffix.len()) > pattern.len() => return true,
            _ => (Some(pattern), Some(pattern)),
        };
        !agrees(head.unwrap_or_default(), prefix) || !ends_agree(tail.unwrap_or_default(), suffix)
    })
}

/// Matches `*` without backtracking more than one star deep: linear in the word for each star.
pub(super) fn wildcard(pattern: &[u8], word: &[u8]) -> bool {
    let (mut p, mut w) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while w < word.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, w));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == word.get(w) => {
                p += 1;
                w += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                p = at + 1;
                w = from + 1;
                star = Some((at, w));
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Splits a text into words by blanks, quotes and backslashes, without expanding anything (`env -S`, `xargs`).
/// `None` when a quote does not end.
pub(super) fn split(text: &[u8]) -> Option<Vec<Value>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(b'"') | None, b'\\') => {
                let escaped = bytes.next()?;
                word.get_or_insert_default().push(escaped);
            }
            (Some(_), _) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => words.extend(word.take().map(Value::known)),
            (None, _) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word.take().map(Value::known));
    Some(words)
}
