//! Sequences that a terminal obeys and does not show, and characters that are written as escapes: the colour before a token is no part of a
//! word, and neither is the `n` of `\n`.

/// Bytes of the longest sequence that is known as one.
pub(super) const LONGEST: usize = 48;

/// Most bytes of sequences that are passed over at once.
pub(super) const MOST_SKIPPED: usize = 64;

/// How ESC is written: as itself, and in what shows it as text.
const INTRODUCERS: &[&[u8]] = &[
    b"\x1b", b"\\x1b", b"\\x1B", b"\\u001b", b"\\u001B", b"\\033", b"\\e", b"\\E", b"^[", b"#033", b"%1B",
    b"%1b",
];

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A sequence of that many bytes.
    Sequence(usize),
    /// It may be one: more text would tell.
    More,
    /// None.
    Other,
}

/// Whether a sequence may begin with this byte.
pub(super) const fn may_start(byte: u8) -> bool {
    matches!(byte, 0x1b | b'\\' | b'^' | b'#' | b'%')
}

/// The same, for loops in which nothing else is as slow.
pub(super) static MAY_START: [bool; 256] = {
    let (mut may, mut byte) = ([false; 256], 0_u8);
    while byte < u8::MAX {
        may[byte as usize] = may_start(byte);
        byte += 1;
    }
    may
};

/// The sequence that a text begins with: a control sequence (colours: `ESC [ 3 2 m`), or one of ESC with intermediate bytes
/// (`ESC ( B`).
pub(super) fn start(text: &[u8]) -> Start {
    let text = text.get(..LONGEST).unwrap_or(text);
    let is_cut = text.len() == LONGEST;
    let mut may_come = false;
    for introducer in INTRODUCERS {
        let Some(rest) = text.strip_prefix(*introducer) else {
            may_come |= introducer.starts_with(text);
            continue;
        };
        let (is_control, rest) = match rest.strip_prefix(b"[") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let within =
            |byte: &u8| if is_control { (0x20..0x40).contains(byte) } else { (0x20..0x30).contains(byte) };
        let passed = rest.iter().take_while(|byte| within(byte)).count();
        let is_last =
            |byte: u8| if is_control { (0x40..0x7f).contains(&byte) } else { (0x30..0x7f).contains(&byte) };
        match rest.get(passed) {
            Some(last) if is_last(*last) && (is_control || passed > 0) => {
                return Start::Sequence(text.len() - rest.len() + passed + 1);
            }
            None if !is_cut => may_come = true,
            _ => {}
        }
    }
    if may_come { Start::More } else { Start::Other }
}

/// The first place at or behind `at` where no sequence begins; `None` where more text would tell.
pub(super) fn skip(buffer: &[u8], at: usize, ended: bool) -> Option<usize> {
    let mut next = at;
    while let Some(first) = buffer.get(next)
        && may_start(*first)
        && next - at < MOST_SKIPPED
    {
        match start(buffer.get(next..).unwrap_or_default()) {
            Start::Sequence(bytes) => next += bytes,
            Start::More if !ended => return None,
            Start::More | Start::Other => break,
        }
    }
    Some(next)
}

/// Whether what stands before a place ends with a sequence or a character that is written as an escape, however much like the end of a
/// word that looks.
pub(super) fn ends(before: &[u8]) -> bool {
    let text = before.get(before.len().saturating_sub(LONGEST)..).unwrap_or_default();
    ends_with_character(text) || ends_with_sequence(text)
}

/// `\n`, `\x1b`, `\u0022`, `\033`, `%20`, `=3D`.
fn ends_with_character(text: &[u8]) -> bool {
    let digits = |count: usize, is_digit: fn(&u8) -> bool| {
        let (before, digits) = text.split_at_checked(text.len().checked_sub(count)?)?;
        digits.iter().all(is_digit).then_some(before)
    };
    let hex = |count: usize, mark: &[u8]| {
        digits(count, u8::is_ascii_hexdigit).is_some_and(|before| before.ends_with(mark))
    };
    let octal = |count: usize| {
        digits(count, |byte| (b'0'..b'8').contains(byte)).is_some_and(|before| before.ends_with(b"\\"))
    };
    matches!(text, [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a' | b'e'])
        || hex(2, b"%")
        || hex(2, b"=")
        || hex(2, b"\\x")
        || hex(4, b"\\u")
        || hex(8, b"\\U")
        || (1..=3).any(octal)
}

fn ends_with_sequence(text: &[u8]) -> bool {
    let Some((_, text)) = text.split_last() else { return false };
    let (mut rest, mut is_intermediate) = (text, true);
    while let Some((last, before)) = rest.split_last()
        && (0x20..0x40).contains(last)
    {
        is_intermediate &= *last < 0x30;
        rest = before;
    }
    match rest {
        // `ESC M`, `ESC ( B`.
        [.., 0x1b] => is_intermediate,
        [before @ .., b'['] => INTRODUCERS.iter().any(|introducer| before.ends_with(introducer)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_known_by_its_beginning() {
        for (text, bytes) in [
            ("\x1b[32mx", 5),
            ("\x1b[mx", 3),
            ("\x1b[Kx", 3),
            ("\x1b[38;2;255;100;0mx", 17),
            ("\x1b(Bx", 3),
            ("\\x1b[0mx", 7),
            ("\\u001b[1;31mx", 12),
            ("\\033[0mx", 7),
            ("^[[0mx", 5),
        ] {
            assert_eq!(start(text.as_bytes()), Start::Sequence(bytes), "{text:?}");
            for cut in 1..bytes {
                assert_eq!(start(&text.as_bytes()[..cut]), Start::More, "{:?}", &text[..cut]);
            }
        }
        let long = format!("\x1b[{}m", "1;".repeat(LONGEST));
        for text in ["x", "\\n", "\\x41", "\x1bX", "%20", "#1", long.as_str()] {
            assert_eq!(start(text.as_bytes()), Start::Other, "{text:?}");
        }
        assert_eq!(skip(b"=\x1b[0m\x1b[1mx", 1, false), Some(9));
        assert_eq!(skip(b"=\x1b[0m\x1b[1", 1, false), None);
        assert_eq!(skip(b"=\x1b[0m\x1b[1", 1, true), Some(5));
    }

    #[test]
    fn what_ends_before_a_word_is_no_part_of_it() {
        for text in [
            "\x1b[32m",
            "\x1b[m",
            "\x1b[K",
            "\x1b(B",
            "\x1bM",
            "\x1b7",
            "\\n",
            "\\t",
            "\\x1b[0m",
            "\\u001b[0m",
            "^[[1;31m",
            "\\u0022",
            "\\x22",
            "%20",
            "%3D",
            "\\012",
            "\\0",
            "a=3D",
            "\x1b[38;2;255;100;100;48;2;1;2;3m",
        ] {
            assert!(ends(text.as_bytes()), "{text:?}");
        }
        for text in ["", "m", "n", "[m", "[32m", "a[0m", "%2", "0022", "xn", "u0022", "\\q", "\\p20"] {
            assert!(!ends(text.as_bytes()), "{text:?}");
        }
    }
}
