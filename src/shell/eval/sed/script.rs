//! The commands of a script of sed, as they are written.

use super::super::constants::MOST;
use super::pattern::{expansion, regex};
use super::{Address, Command, Function, Substitution};

fn unindented(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// A line, and what stands behind it.
pub(super) fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}

/// Reads a command with its addresses.
pub(super) fn command(text: &[u8], extended: bool) -> Option<(Command, &[u8])> {
    let (from, mut rest) = address(text, extended)?;
    let mut to = None;
    if from.is_some()
        && let Some(behind) = rest.trim_ascii_start().strip_prefix(b",")
    {
        (to, rest) = address(behind.trim_ascii_start(), extended)?;
        to.as_ref()?;
    }
    rest = rest.trim_ascii_start();
    let negated = rest.starts_with(b"!");
    if negated {
        rest = rest.get(1..)?.trim_ascii_start();
    }
    let (name, rest) = rest.split_first()?;
    let (function, rest) = function(*name, rest, extended)?;
    let single = matches!(function, Function::Label(_) | Function::Close);
    if single && from.is_some() || to.is_some() && matches!(function, Function::Quit { .. }) {
        return None;
    }
    // what follows on the same line
    let rest = match rest.trim_ascii_start() {
        [] => &[][..],
        _ if matches!(function, Function::Open(_)) => rest,
        [b';' | b'}', ..] => rest,
        _ if rest.iter().find(|byte| !b" \t".contains(byte)) == Some(&b'\n') => rest,
        _ if ends_by_line(&function) => rest,
        _ => return None,
    };
    Some((Command { from, to, negated, function, inside: false, started: false }, rest))
}

/// Functions whose text ends with the line: all of that is read already.
fn ends_by_line(function: &Function) -> bool {
    match function {
        Function::Append(_) | Function::Insert(_) | Function::Change(_) | Function::Write(_) => true,
        Function::Substitute(one) => one.file.is_some(),
        _ => false,
    }
}

fn address(text: &[u8], extended: bool) -> Option<(Option<Address>, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 {
        let (number, rest) = text.split_at(digits);
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        return (number > 0 && !rest.starts_with(b"~")).then_some((Some(Address::Line(number)), rest));
    }
    let (separator, rest) = match text {
        [b'$', rest @ ..] => return Some((Some(Address::Last), rest)),
        [b'/', rest @ ..] => (b'/', rest),
        [b'\\', separator, rest @ ..] => (*separator, rest),
        _ => return Some((None, text)),
    };
    let (pattern, rest) = part(rest, separator)?;
    let (folds, rest) = rest.strip_prefix(b"I").map_or((false, rest), |rest| (true, rest));
    Some((Some(Address::Matching(regex(pattern, extended, folds)?)), rest))
}

fn function(name: u8, rest: &[u8], extended: bool) -> Option<(Function, &[u8])> {
    let simple = match name {
        b's' => return substitution(rest, extended),
        b'y' => return mapping(rest),
        b'a' | b'i' | b'c' => {
            let (text, rest) = inserted(rest)?;
            let function = match name {
                b'a' => Function::Append(text),
                b'i' => Function::Insert(text),
                _ => Function::Change(text),
            };
            return Some((function, rest));
        }
        b':' | b'b' | b't' | b'T' => {
            let rest = unindented(rest);
            let end = rest.iter().position(|byte| b";}\n \t".contains(byte)).unwrap_or(rest.len());
            let (label, rest) = rest.split_at(end);
            let label = label.to_vec();
            let after = match name {
                b't' => Some(true),
                b'T' => Some(false),
                _ => None,
            };
            let function =
                if name == b':' { Function::Label(label) } else { Function::Branch { label, after } };
            return Some((function, rest));
        }
        b'w' => {
            let (file, rest) = line(rest);
            return Some((Function::Write(file_name(file)?), rest));
        }
        b'd' => Function::Delete,
        b'D' => Function::DeleteFirst,
        b'p' => Function::Print,
        b'P' => Function::PrintFirst,
        b'q' => Function::Quit { print: true },
        b'Q' => Function::Quit { print: false },
        b'h' => Function::Hold { append: false },
        b'H' => Function::Hold { append: true },
        b'g' => Function::Get { append: false },
        b'G' => Function::Get { append: true },
        b'x' => Function::Exchange,
        b'n' => Function::Next,
        b'N' => Function::Join,
        b'{' => Function::Open(0),
        b'}' => Function::Close,
        b'=' => Function::Number,
        _ => return None,
    };
    Some((simple, rest))
}

/// The name of a file that is written, where it is none of the devices that stand for standard output.
fn file_name(text: &[u8]) -> Option<Vec<u8>> {
    let name = text.trim_ascii();
    (!name.is_empty() && !name.starts_with(b"/dev/")).then(|| name.to_vec())
}

/// The text of `a`, `i` and `c`.
fn inserted(rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let rest = unindented(rest);
    let rest = rest.strip_prefix(b"\\\n").unwrap_or(rest);
    let (mut text, rest) = line(rest);
    text = text.strip_prefix(b"\\").unwrap_or(text);
    // a text of several lines, or with letters that stand for others
    (!text.contains(&b'\\')).then(|| (text.to_vec(), rest))
}

fn substitution(text: &[u8], extended: bool) -> Option<(Function, &[u8])> {
    let (separator, rest) = text.split_first()?;
    if separator.is_ascii_alphanumeric() || matches!(separator, b'\\' | b'\n') {
        return None;
    }
    let (pattern, rest) = part(rest, *separator)?;
    let (replacement, mut rest) = part(rest, *separator)?;
    let (mut all, mut print, mut folds, mut first, mut file) = (false, false, false, 0, None);
    while let Some((flag, behind)) = rest.split_first() {
        match flag {
            b'g' => all = true,
            b'p' => print = true,
            b'i' | b'I' => folds = true,
            b'0'..=b'9' => first = first * 10 + usize::from(flag - b'0'),
            b'w' => {
                let (name, behind) = line(behind);
                file = Some(file_name(name)?);
                rest = behind;
                break;
            }
            _ if flag.is_ascii_alphabetic() => return None,
            _ => break,
        }
        if first > MOST {
            return None;
        }
        rest = behind;
    }
    let regex = regex(pattern, extended, folds)?;
    let replacement = expansion(replacement, regex.captures_len())?;
    let one = Substitution { regex, replacement, all, first, print, file };
    Some((Function::Substitute(Box::new(one)), rest))
}

fn mapping(text: &[u8]) -> Option<(Function, &[u8])> {
    let (separator, rest) = text.split_first()?;
    let (from, rest) = part(rest, *separator)?;
    let (to, rest) = part(rest, *separator)?;
    if from.len() != to.len() || from.contains(&b'\\') || to.contains(&b'\\') {
        return None;
    }
    let mut table: Vec<u8> = (0..=u8::MAX).collect();
    for (from, to) in from.iter().zip(to).rev() {
        *table.get_mut(usize::from(*from))? = *to;
    }
    Some((Function::Map(table), rest))
}

/// A part of an `s` up to its separator.
fn part(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            // what an escaped separator stands for depends on what it is
            b'\\' if separator != b'/' && text.get(at + 1) == Some(&separator) => return None,
            b'\\' => at += 2,
            byte if byte == separator => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => at += 1,
        }
    }
}
