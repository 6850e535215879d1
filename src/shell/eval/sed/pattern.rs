//! Patterns and replacements of sed as this crate has them: without what the two choose differently among.

use regex::bytes::{Regex, RegexBuilder};

/// Patterns longer than this are not followed.
const LONGEST_PATTERN: usize = 256;

/// A pattern of sed, of grep or awk.
pub(in super::super) fn regex(pattern: &[u8], extended: bool, folds: bool) -> Option<Regex> {
    let pattern = translated(pattern, extended)?;
    RegexBuilder::new(&pattern).unicode(false).case_insensitive(folds).size_limit(1 << 18).build().ok()
}

/// A pattern of sed as this crate's: without what the two choose differently among.
fn translated(pattern: &[u8], extended: bool) -> Option<String> {
    let pattern = std::str::from_utf8(pattern).ok().filter(|text| text.is_ascii())?;
    if pattern.len() > LONGEST_PATTERN || pattern.is_empty() {
        return None;
    }
    let mut out = String::from("(?s-u)");
    let letters: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    // right behind the start or what opens a group
    let mut start = true;
    let mut quantified = false;
    while let Some(&letter) = letters.get(at) {
        at += 1;
        let (operator, letter) = match letter {
            '\\' => {
                let next = *letters.get(at)?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '+' | '?' => (!extended, next),
                    '.' | '*' | '/' | '\\' | '[' | ']' | '^' | '$' | '-' | '|' if next != '|' || extended => {
                        (false, next)
                    }
                    'n' => {
                        out.push_str("\\n");
                        (start, quantified) = (false, false);
                        continue;
                    }
                    's' | 'w' | 't' => {
                        out.push('\\');
                        out.push(next);
                        (start, quantified) = (false, false);
                        continue;
                    }
                    _ => return None,
                }
            }
            '(' | ')' | '{' | '}' | '+' | '?' => (extended, letter),
            '|' if extended => return None,
            '^' => (start && !out.ends_with('^') || extended, letter),
            '$' => (at == letters.len() || extended, letter),
            '*' if extended && start => return None,
            '*' => (!start, letter),
            '.' => (true, letter),
            '[' => {
                at += bracket(letters.get(at..)?, &mut out)?;
                (start, quantified) = (false, false);
                continue;
            }
            other => (false, other),
        };
        let quantifies = matches!(letter, '*' | '+' | '?' | '{') && operator;
        // which of several matches a group takes is chosen differently
        if quantifies && (start || quantified || out.ends_with(')') && !out.ends_with("\\)")) {
            return None;
        }
        if operator {
            out.push(letter);
        } else {
            out.push_str(&regex::escape(&letter.to_string()));
        }
        start = operator && (matches!(letter, '(' | '^') || extended && letter == '$');
        quantified = operator && matches!(letter, '*' | '+' | '?' | '}');
    }
    Some(out)
}

/// The replacement of an `s`, as this crate's.
pub(super) fn expansion(replacement: &[u8], groups: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(replacement.len());
    let mut bytes = replacement.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'&' => out.extend_from_slice(b"${0}"),
            b'$' => out.extend_from_slice(b"$$"),
            b'\\' => match bytes.next()? {
                digit @ b'0'..=b'9' if usize::from(digit - b'0') < groups => {
                    out.extend_from_slice(&[b'$', b'{', *digit, b'}']);
                }
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                other @ (b'/' | b'&' | b'\\' | b'.' | b'-' | b'*' | b' ' | b'"' | b'\'' | b'\n') => {
                    out.push(*other);
                }
                _ => return None,
            },
            byte => out.push(*byte),
        }
    }
    Some(out)
}

/// A bracket behind its `[`, as this crate has it: how many letters it takes.
fn bracket(letters: &[char], out: &mut String) -> Option<usize> {
    let mut at = usize::from(letters.first() == Some(&'^')) + 1;
    out.push('[');
    out.extend(letters.get(..at - 1)?);
    match letters.get(at - 1)? {
        '[' | '\\' | '&' | '~' => at -= 1,
        // one that stands first is a letter
        ']' => out.push_str("\\]"),
        letter => out.push(*letter),
    }
    loop {
        match letters.get(at)? {
            ']' => {
                out.push(']');
                return Some(at + 1);
            }
            '[' if letters.get(at + 1) == Some(&':') => {
                let length = 2 + letters.iter().skip(at).position(|letter| *letter == ']')?;
                let name = letters.get(at..at + length - 1)?;
                if !name.ends_with(&[':', ']']) {
                    return None;
                }
                out.extend(name);
                at += length - 1;
            }
            '[' | '\\' | '&' | '~' => return None,
            letter => {
                out.push(*letter);
                at += 1;
            }
        }
    }
}
