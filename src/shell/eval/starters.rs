//! What programs print that start others, where all that they are given is known: shells of one plain command, and xargs.

use super::super::Dialect;
use super::constants::output_within;

/// Programs within programs that are followed.
const DEEPEST: usize = 4;
/// Words that xargs gives to a command.
const MOST_WORDS: usize = 4096;

/// The output of such a program; `None` where it is none or where that is not known.
pub(super) fn output(name: &[u8], args: &[&[u8]], stdin: Option<&[u8]>, depth: usize) -> Option<Vec<u8>> {
    if depth >= DEEPEST {
        return None;
    }
    match name {
        b"sh" | b"bash" | b"dash" => {
            let (text, stdin) = match args {
                [b"-c", text] => (*text, stdin),
                [] | [b"-s" | b"-"] => (stdin?, None),
                _ => return None,
            };
            let words = command(text)?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let dialect = if name == b"bash" { Dialect::Bash } else { Dialect::Posix };
            output_within(&words, stdin, dialect, depth + 1)
        }
        b"xargs" => xargs(args, stdin?, depth),
        _ => None,
    }
}

/// The words of a text that is one command without expansions, assignments and redirections.
fn command(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.trim_ascii().iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(b'"'), b'$' | b'`') => return None,
            (Some(b'"'), b'\\') => {
                let next = bytes.next()?;
                if !b"\\\"$`\n".contains(&next) {
                    word.get_or_insert_default().push(byte);
                }
                word.get_or_insert_default().push(next);
            }
            (Some(_), _) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t') => words.extend(word.take()),
            (None, _) if b"$`\\;|&<>(){}*?[]~!#\n".contains(&byte) => return None,
            (None, _) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    let assigns = words.first()?.contains(&b'=');
    (quote.is_none() && !assigns).then_some(words)
}

/// xargs that gives all that it reads to one command.
fn xargs(args: &[&[u8]], input: &[u8], depth: usize) -> Option<Vec<u8>> {
    let mut rest = args;
    let mut separator = None;
    while let Some((first, behind)) = rest.split_first() {
        match *first {
            b"-0" | b"--null" => separator = Some(0),
            b"-r" | b"--no-run-if-empty" => {}
            b"-d" => {
                let (text, behind) = behind.split_first()?;
                separator = match text {
                    [b'\\', b'n'] => Some(b'\n'),
                    [one] => Some(*one),
                    _ => return None,
                };
                rest = behind;
            }
            [b'-', b'd', one] => separator = Some(*one),
            _ if first.starts_with(b"-") => return None,
            _ => break,
        }
        if *first != b"-d" {
            rest = behind;
        }
    }
    let mut words = if rest.is_empty() { vec![b"echo".as_slice()] } else { rest.to_vec() };
    match separator {
        Some(separator) => {
            let text = input.strip_suffix(&[separator]).unwrap_or(input);
            words.extend(text.split(|byte| *byte == separator).filter(|_| !text.is_empty()));
        }
        None if input.iter().any(|byte| b"'\"\\\0".contains(byte)) => return None,
        None => words.extend(input.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())),
    }
    // what it starts is no builtin: the printf of the system knows what bash's does
    let dialect = if words.first() == Some(&b"printf".as_slice()) { Dialect::Bash } else { Dialect::Posix };
    if words.len() > MOST_WORDS { None } else { output_within(&words, None, dialect, depth + 1) }
}
