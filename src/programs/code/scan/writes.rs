//! The calls by which a text opens files to write and writes into them.

use super::arguments::{Arguments, arguments, text as shown};
use super::bound::Bound;
use super::literals::{from_base64, from_hex};
use super::{ARGUMENT_BUDGET, contains, is_word, receiver};
use crate::programs::effect::Language;

/// A step of writing a file.
pub(in crate::programs::code) enum Write {
    /// What is written from here on goes to this file.
    Opens(Vec<u8>),
    /// Text for the file that was opened last.
    Gives(Vec<u8>),
    /// A file and all that is put into it.
    Whole(Vec<u8>, Vec<u8>),
}

/// The steps, in the order of the text.
pub(in crate::programs::code) fn writes(language: Language, text: &[u8], code: &[u8]) -> Vec<Write> {
    let mut budget = ARGUMENT_BUDGET;
    let bound = Bound::new(language, text, &mut budget);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = code.get(at) {
        if !is_word(*byte) {
            at += 1;
            continue;
        }
        let start = at;
        at += code.get(at..).unwrap_or_default().iter().take_while(|byte| is_word(**byte)).count();
        let word = code.get(start..at).unwrap_or_default();
        let is_write = matches!(
            word,
            b"open"
                | b"fopen"
                | b"openSync"
                | b"write"
                | b"fwrite"
                | b"fputs"
                | b"puts"
                | b"print"
                | b"printf"
                | b"say"
                | b"write_text"
                | b"write_bytes"
                | b"writeFileSync"
                | b"appendFileSync"
                | b"writeFile"
                | b"writeTextFile"
                | b"writeTextFileSync"
                | b"file_put_contents"
        );
        if !is_write {
            continue;
        }
        let given = arguments(text, at, &bound, &mut budget);
        let before = text.get(..start).unwrap_or_default();
        found.extend(step(&bound, word, before, &given));
    }
    found
}

fn step(bound: &Bound<'_>, word: &[u8], before: &[u8], given: &Arguments) -> Option<Write> {
    let mut literals = given.literals.iter();
    match word {
        b"open" | b"fopen" | b"openSync" => {
            let first = literals.next()?;
            // Perl: `open F, ">y"`, `open(F, ">", "y")`
            if first.starts_with(b">") {
                let name =
                    first.iter().copied().skip_while(|byte| matches!(byte, b'>' | b' ')).collect::<Vec<u8>>();
                return Some(Write::Opens(if name.is_empty() { literals.next()?.clone() } else { name }));
            }
            let mode = literals.next()?;
            mode.iter().any(|byte| b"wax+".contains(byte)).then(|| Write::Opens(first.clone()))
        }
        b"write_text" | b"write_bytes" => Some(Write::Whole(receiver(bound, before)?, content(given, 0)?)),
        b"writeFileSync" | b"appendFileSync" | b"writeFile" | b"writeTextFile" | b"writeTextFileSync"
        | b"file_put_contents" => Some(Write::Whole(literals.next()?.clone(), content(given, 1)?)),
        b"write" if before.ends_with(b"File.") || before.ends_with(b"IO.") => {
            Some(Write::Whole(literals.next()?.clone(), content(given, 1)?))
        }
        _ => Some(Write::Gives(content(given, 0)?)),
    }
}

/// The text that a call is given, from one of its literals on.
fn content(given: &Arguments, from: usize) -> Option<Vec<u8>> {
    let has = |names: &[&[u8]]| names.iter().any(|name| contains(&given.raw, name));
    // what is put in place of something else is no whole
    if given.computed && has(&[b"replace", b"sub(", b"gsub"]) {
        return None;
    }
    let decode = |literal: &Vec<u8>| {
        if has(&[
            b"b64decode",
            b"base64_decode",
            b"decode_base64",
            b"atob",
            b"decode64",
            b"'base64'",
            b"\"base64\"",
        ]) {
            return Some(from_base64(literal));
        }
        if has(&[b"fromhex", b"unhexlify", b"hex2bin", b"'hex'", b"\"hex\""]) {
            return from_hex(literal);
        }
        Some(shown(literal))
    };
    let parts: Option<Vec<Vec<u8>>> = given.literals.iter().skip(from).take(1).map(decode).collect();
    parts.map(|parts| parts.concat()).filter(|text| !text.is_empty())
}
