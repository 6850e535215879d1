//! A private key of which each line has something in front of it: a quote mark, a number, a time, the sign of a diff. No expression says
//! that in few states, so lines are read one by one.
//!
//! A line of a key ends in a long run of base64, blanks, quotes and colours behind it aside. Between the header and the first of them there
//! may be a few others (`Proc-Type: ...`); behind the last of them one that is short; and then the end, which may be missing.

use super::escape;

/// Bytes from the header on that are read.
const WINDOW: usize = 32 << 10;

/// Characters of base64 at the end of a line of a key: tools make 60 and more.
const LONG: usize = 48;

/// Longest line.
const LONGEST: usize = 1 << 10;

/// Bytes that may stand behind the header.
const BEHIND_HEADER: usize = 16;

/// Lines between the header and the key.
const MOST_BEFORE: usize = 4;

const END: &[u8] = b"-----END ";
const KEY: &[u8] = b"PRIVATE KEY";

/// Where a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Ends(usize),
    None,
    /// More text would tell.
    More,
}

/// Where the key ends that begins a text with its header. `ended`: no more text will come.
pub(super) fn key(text: &[u8], ended: bool) -> Key {
    let ended = ended || text.len() >= WINDOW;
    let text = text.get(..WINDOW).unwrap_or(text);
    let (mut at, mut end, mut column, mut others) = (0, None, None, 0);
    let done = |end: Option<usize>| end.map_or(Key::None, Key::Ends);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let length = match memchr::memchr(b'\n', rest.get(..LONGEST).unwrap_or(rest)) {
            Some(length) => length,
            None if rest.len() >= LONGEST => return done(end),
            None if !ended => return Key::More,
            None => rest.len(),
        };
        let line = rest.get(..length).unwrap_or_default();
        if at == 0 {
            match header(line) {
                Some(bytes) if line.len() - bytes <= BEHIND_HEADER => {}
                _ => return Key::None,
            }
        } else if let Some(bytes) = footer(line) {
            return if end.is_some() { Key::Ends(at + bytes) } else { Key::None };
        } else {
            let run = run(line);
            if run.len() >= LONG {
                end = Some(at + run.end);
                column = Some(run.start);
                others = 0;
            } else if column == Some(run.start) && !run.is_empty() {
                // The last one is shorter, and has the same in front of it.
                end = Some(at + run.end);
                column = None;
            } else {
                others += 1;
                if others > if end.is_some() { 1 } else { MOST_BEFORE } {
                    return done(end);
                }
            }
        }
        at += length + 1;
        if at > text.len() {
            return done(end);
        }
    }
}

/// Bytes of the header that a line begins with.
fn header(line: &[u8]) -> Option<usize> {
    label(line, line.strip_prefix(b"-----BEGIN ")?)
}

/// Bytes of a line up to the end of the footer in it.
fn footer(line: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(line, END)?;
    label(line, line.get(at + END.len()..)?)
}

/// Bytes of a line up to the end of the label that `rest`, the end of the line, begins with.
fn label(line: &[u8], rest: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(rest.get(..64).unwrap_or(rest), KEY)?;
    let rest = rest.get(at + KEY.len()..)?;
    let rest = rest.strip_prefix(b" BLOCK").unwrap_or(rest).strip_prefix(b"-----")?;
    Some(line.len() - rest.len())
}

/// The base64 at the end of a line, but for what stands behind it.
fn run(line: &[u8]) -> std::ops::Range<usize> {
    let mut text = line;
    loop {
        let before = text.len();
        text = text.trim_ascii_end();
        while let Some((b'"' | b'\'' | b'`' | b',' | b';' | b'.' | b')' | b'|' | b'&' | b'\\', rest)) =
            text.split_last()
        {
            text = rest;
        }
        if let [rest @ .., b'\\', b'n' | b'r'] = text {
            text = rest;
        }
        // A sum of strings in a program has blanks before its sign, and base64 none.
        text = text.strip_suffix(b" +").unwrap_or(text);
        let tail = text.len().saturating_sub(escape::LONGEST);
        if let Some(at) = text.iter().skip(tail).rposition(|byte| *byte == 0x1b)
            && let Some(sequence) = text.get(tail + at..)
            && escape::start(sequence) == escape::Start::Sequence(sequence.len())
        {
            text = text.get(..tail + at).unwrap_or_default();
        }
        if text.len() == before {
            break;
        }
    }
    let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let length = text.iter().rev().take_while(is_base64).count();
    text.len() - length..text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "-----BEGIN EC PRIVATE KEY-----";

    fn long() -> String {
        "MHcCAQEE".repeat(8)
    }

    #[test]
    fn what_stands_behind_base64_is_no_part_of_it() {
        for line in
            ["> AAAA", "> AAAA\r", "> AAAA\\n\" +", "> AAAA\x1b[0m", "> AAAA\\n\"\x1b[m\x1b[K\r", "> AAAA',"]
        {
            assert_eq!(run(line.as_bytes()), 2..6, "{line:?}");
        }
        assert_eq!(run(b"a.b "), 2..3);
        assert_eq!(run(b" +"), 0..0);
    }

    #[test]
    fn a_key_ends_with_its_footer_or_where_lines_are_others() {
        let long = long();
        for (text, left) in [
            (format!("{HEADER}\n> {long}\n> abc=\n> -----END EC PRIVATE KEY-----\nx"), 2),
            (format!("{HEADER}\n> {long}\n> abc=\nthe end of it\nand more\n"), 24),
            (format!("{HEADER}\n> {long}\nthe end of it\nand more\n"), 24),
            (format!("{HEADER}\n1 {long}\n10 {long}"), 0),
            (format!("{HEADER}\n> a: b\n>\n> {long}\n> x: -----END EC PRIVATE KEY----- "), 1),
        ] {
            assert_eq!(key(text.as_bytes(), true), Key::Ends(text.len() - left), "{text}");
        }
        for text in [
            format!("{HEADER}\n"),
            format!("{HEADER} is what such a file begins with\n{long}\n"),
            format!("{HEADER}\na\nb\nc\nd\ne\n> {long}\n"),
            format!("{HEADER}\n> -----END EC PRIVATE KEY-----\n{long}\n"),
            "-----BEGIN CERTIFICATE-----\n".to_owned() + &long,
        ] {
            assert_eq!(key(text.as_bytes(), true), Key::None, "{text}");
        }
    }

    #[test]
    fn more_text_never_changes_what_was_sure() {
        let text = format!("{HEADER}\n> {}\n> {}\n> abc=\nthe end\n{}", long(), long(), "x\n".repeat(9));
        let whole = key(text.as_bytes(), true);
        for cut in 0..text.len() {
            let sure = key(&text.as_bytes()[..cut], false);
            assert!(sure == Key::More || sure == whole, "{cut}: {sure:?} and {whole:?}");
        }
        let endless = format!("{HEADER}\n{}", format!("> {}\n", long()).repeat(1000));
        assert!(matches!(key(endless.as_bytes(), false), Key::Ends(end) if end > WINDOW - 100));
    }
}
