//! What code writes into files that it names, as far as it stands in its literals, and what it prints.

use super::super::effect::Language;
use super::lexed::lexed;
use super::scan::{self, Write};

/// The literals of a text and what it decodes: any of them may be what it prints.
pub(in crate::programs) fn printed(language: Language, text: &[u8]) -> Vec<Vec<u8>> {
    let plain = lexed(language, text).map(|lexed| lexed.plain);
    let mut literals = scan::literals(plain.as_deref().unwrap_or(text));
    literals.extend(scan::calls_anywhere(language, text).decoded);
    literals
}

/// The files that a text writes, each with a text that is then in it.
pub fn written(language: Language, text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let whole = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    if !["write", "Write", "print", "puts", "fputs"].iter().any(|word| whole(word.as_bytes())) {
        return Vec::new();
    }
    let seen = lexed(language, text);
    let (plain, code) = seen.as_ref().map_or((text, text), |seen| (&seen.plain, &seen.code));
    let mut files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for write in scan::writes(language, plain, code) {
        match write {
            Write::Opens(path) => open = Some(path),
            Write::Gives(content) => {
                let Some(path) = open.clone() else { continue };
                match files.last_mut().filter(|(last, _)| *last == path) {
                    Some((_, whole)) => whole.extend_from_slice(&content),
                    None => files.push((path, content)),
                }
            }
            Write::Whole(path, content) => files.push((path, content)),
        }
    }
    files
}
