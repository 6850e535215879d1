//! What stands in front of a method: `Path("x").write_text(`.

use super::arguments::arguments;
use super::bound::Bound;
use super::is_word;

/// The name in front of a method.
pub(super) fn receiver_name(before: &[u8]) -> Option<Vec<u8>> {
    let before = before.strip_suffix(b".")?;
    let length = before.iter().rev().take_while(|byte| is_word(**byte)).count();
    before.get(before.len() - length..).filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

/// Whether a name behind a dot belongs to a value, and not to a module whose function takes a path.
pub(super) fn is_method(before: &[u8]) -> bool {
    let modules = [
        b"io.".as_slice(),
        b"os.",
        b"gzip.",
        b"bz2.",
        b"lzma.",
        b"codecs.",
        b"tokenize.",
        b"tarfile.",
        b"zipfile.",
        b"wave.",
        b"Image.",
        b"builtins.",
    ];
    before.ends_with(b".") && !modules.iter().any(|module| before.ends_with(module))
}

/// How far back the expression in front of a method is read.
const MOST_BEFORE: usize = 256;

/// `Path("x").` in front of a method, or a name that was given to one.
pub(super) fn receiver(bound: &Bound<'_>, before: &[u8]) -> Option<Vec<u8>> {
    let before = before.strip_suffix(b".")?;
    let length = before.iter().rev().take_while(|byte| is_word(**byte)).count();
    if length > 0 {
        let name = before.get(before.len() - length..)?;
        return bound.get(name, before.len())?.literals.first().cloned();
    }
    let inner = before.strip_suffix(b")")?;
    let quote = *inner.last().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let content = inner.get(..inner.len() - 1)?;
    let start = content.iter().rposition(|byte| *byte == quote)?;
    let front = content.get(..start)?.trim_ascii_end();
    if !front.ends_with(b"/") && !front.ends_with(b",") {
        return content.get(start + 1..).map(<[u8]>::to_vec);
    }
    // `(Path("/etc") / "x")`, `Path("/etc", "x")`: all of it, back to where it opens
    let mut depth = 0_usize;
    let from = before.len().saturating_sub(MOST_BEFORE);
    let open = before.get(from..)?.iter().rposition(|byte| {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let mut budget = MOST_BEFORE;
    let whole = before.get(from + open..)?;
    let joined = front.ends_with(b",").then(|| [b"(os.path.join".as_slice(), whole].concat());
    let given = arguments(joined.as_deref().unwrap_or(whole), 0, bound, &mut budget);
    match given.literals.as_slice() {
        [path] if !given.computed => Some(path.clone()),
        _ => None,
    }
}
