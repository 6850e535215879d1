//! `${x/pattern/new}`: what is put in the place of what.

use super::field::{Bit, Field, Pattern};

/// What is put in: texts, with what was found between them.
#[derive(Debug, Default)]
pub(super) struct New {
    texts: Vec<Vec<u8>>,
    /// An `&` that was not quoted, or a backslash that quotes one, is in it: bash from 5.2 on reads them.
    pub(super) special: bool,
}

/// A replacement as bash from 5.2 on reads it: an `&` stands for what was found. `None` where it is not known.
pub(super) fn parts(field: &Field) -> Option<New> {
    let mut new = New { texts: vec![Vec::new()], special: false };
    for bit in &field.bits {
        let Bit::Text(bytes, quoted) = bit else { return None };
        let mut rest = bytes.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            let escaped = |next: &u8| matches!(*next, b'&' | b'\\');
            let byte = match byte {
                _ if *quoted => Some(byte),
                b'&' => None,
                b'\\' => match rest.next_if(escaped) {
                    Some(next) => {
                        new.special = true;
                        Some(next)
                    }
                    None => Some(byte),
                },
                _ => Some(byte),
            };
            match byte {
                Some(byte) => new.texts.last_mut()?.push(byte),
                None => {
                    new.special = true;
                    new.texts.push(Vec::new());
                }
            }
        }
    }
    Some(new)
}

/// A replacement in which nothing is special.
pub(super) fn as_written(field: &Field) -> New {
    let text = field.bits.iter().flat_map(|bit| match bit {
        Bit::Text(bytes, _) | Bit::Glob(bytes) => bytes.to_vec(),
        Bit::Hole(_) => Vec::new(),
    });
    New { texts: vec![text.collect()], special: false }
}

/// Replaces what matches. `kind` is `#` at the beginning only, `%` at the end only, `/` everywhere.
pub(super) fn replace(bytes: &[u8], pattern: &Pattern, new: &New, kind: u8) -> Vec<u8> {
    if pattern.is_empty() || bytes.is_empty() {
        // nothing is found in front of and behind all there is, and, by `*`, where there is nothing
        let nothing = pattern.beginnings(b"", false).is_some();
        return match kind {
            b'#' if nothing => [new.texts.concat().as_slice(), bytes].concat(),
            b'%' if nothing => [bytes, new.texts.concat().as_slice()].concat(),
            _ if !pattern.is_empty() && nothing => new.texts.concat(),
            _ => bytes.to_vec(),
        };
    }
    let longest = |from: usize| {
        let (_, length) = pattern.beginnings(bytes.get(from..)?, false)?;
        (length > 0).then_some(from + length)
    };
    let mut out = Vec::new();
    let mut at = 0;
    let mut done = false;
    while at < bytes.len() {
        let allowed = match kind {
            b'#' => at == 0,
            _ => !done || kind == b'/',
        };
        let found = if allowed { longest(at) } else { None };
        let found = found.filter(|to| kind != b'%' || *to == bytes.len());
        match found {
            Some(to) => {
                out.extend(new.texts.join(bytes.get(at..to).unwrap_or(&[])));
                at = to;
                done = true;
            }
            None => {
                out.extend(bytes.get(at));
                at += 1;
            }
        }
    }
    out
}
