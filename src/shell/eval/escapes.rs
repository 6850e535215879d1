//! Backslashes that stand for bytes: in `$'...'`, and in what `echo`, `printf` and `tr` are given. Each has its own.

/// Whose backslashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `$'...'`, and `${x@E}`: a NUL ends it.
    Quotes,
    /// The format of bash's `printf`.
    Format,
    /// An argument of `%b`.
    Argument,
    /// An argument of bash's `echo -e`.
    Echo,
    /// A set of `tr`.
    Set,
}

/// The inside of `$'...'` without its escapes (bash(1), QUOTING).
pub(super) fn ansi_c(text: &[u8]) -> Vec<u8> {
    unescaped(text, Style::Quotes).0
}

/// A text without its escapes, and whether a `\c` in it ends all output.
pub(super) fn unescaped(text: &[u8], style: Style) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some((escape, tail)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        let code = rest;
        rest = tail;
        let tr = style == Style::Set;
        let byte = match escape {
            b'a' => Some(7),
            b'b' => Some(8),
            b'f' => Some(12),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'v' => Some(11),
            b'\\' => Some(b'\\'),
            b'e' | b'E' if !tr => Some(27),
            b'\'' | b'"' | b'?' if matches!(style, Style::Quotes | Style::Format) => Some(*escape),
            b'0'..=b'7' if style != Style::Echo || *escape == b'0' => {
                // `\0ddd` has one digit more where an argument is read
                let longer = *escape == b'0' && matches!(style, Style::Argument | Style::Echo);
                rest = code;
                Some(number(8, if longer { 4 } else { 3 }, &mut rest))
            }
            b'x' if style == Style::Quotes && rest.first() == Some(&b'{') => {
                rest = rest.get(1..).unwrap_or(&[]);
                let value = number(16, usize::MAX, &mut rest);
                rest = rest.strip_prefix(b"}").unwrap_or(rest);
                Some(value)
            }
            b'x' if !tr && rest.first().is_some_and(u8::is_ascii_hexdigit) => Some(number(16, 2, &mut rest)),
            b'u' | b'U' if !tr && rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let value = wide(16, if *escape == b'u' { 4 } else { 8 }, &mut rest);
                if value == 0 {
                    Some(0)
                } else {
                    let mut buffer = [0; 4];
                    let letter = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                    continue;
                }
            }
            b'c' if style == Style::Quotes => {
                let Some((control, tail)) = rest.split_first() else { break };
                rest = tail;
                if *control == b'\\' {
                    rest = rest.strip_prefix(b"\\").unwrap_or(rest);
                }
                Some(if *control == b'?' { 0x7f } else { control.to_ascii_uppercase() & 0x1f })
            }
            b'c' if matches!(style, Style::Argument | Style::Echo) => return (out, true),
            other if tr => Some(*other),
            _ => None,
        };
        match byte {
            Some(0) if style == Style::Quotes => break,
            Some(byte) => out.push(byte),
            None => out.extend([b'\\', *escape]),
        }
    }
    (out, false)
}

/// Whether every shell and every program of the name reads the escapes in a text as bash does.
pub(super) fn is_common(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        match rest.get(at + 1) {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'0'..=b'7') => {}
            _ => return false,
        }
        rest = rest.get(at + 2..).unwrap_or(&[]);
    }
    true
}

/// Digits as a byte; what does not fit is cut off, as shells do.
fn number(radix: u32, most: usize, rest: &mut &[u8]) -> u8 {
    let [low, ..] = wide(radix, most, rest).to_le_bytes();
    low
}

fn wide(radix: u32, most: usize, rest: &mut &[u8]) -> u32 {
    let digits = rest.iter().take(most).take_while(|digit| char::from(**digit).is_digit(radix)).count();
    let (taken, left) = rest.split_at(digits);
    *rest = left;
    taken.iter().fold(0u32, |value, digit| {
        value.wrapping_mul(radix).wrapping_add(char::from(*digit).to_digit(radix).unwrap_or(0))
    })
}
