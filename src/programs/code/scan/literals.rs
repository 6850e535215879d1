//! Quoted literals of many languages, and what is encoded in them.

/// `q(...)`, `qq{...}`, `qw/.../` from the `q`.
pub(super) fn perl_quote(text: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut open = at + 1;
    if text.get(open).is_some_and(|byte| matches!(byte, b'q' | b'w' | b'x')) {
        open += 1;
    }
    let close = match text.get(open)? {
        b'(' => b')',
        b'{' => b'}',
        b'[' => b']',
        b'<' => b'>',
        byte @ (b'/' | b'|' | b'!' | b'~' | b'#') => *byte,
        _ => return None,
    };
    let end = text.iter().skip(open + 1).position(|byte| *byte == close)? + open + 1;
    Some((text.get(open + 1..end)?.to_vec(), end + 1))
}

/// A quoted literal from its opening quote: its bytes, and the place behind it.
pub(super) fn quoted(text: &[u8], at: usize) -> (Vec<u8>, usize) {
    let Some(&quote) = text.get(at) else { return (Vec::new(), at + 1) };
    let triple =
        text.get(at..at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote)) && quote != b'`';
    let escaped = at > 0 && text.get(at - 1) == Some(&b'\\');
    let start = if triple { at + 3 } else { at + 1 };
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if byte == b'\\' && !escaped {
            end += 2;
            continue;
        }
        if byte == b'\\' && text.get(end + 1) == Some(&quote) {
            // the closing quote of a literal that stands inside a string
            break;
        }
        // m4 closes a backquote with a quote
        if byte == quote
            && (!triple || text.get(end..end + 3).is_some_and(|three| three.iter().all(|b| *b == quote)))
        {
            break;
        }
        if quote == b'`' && byte == b'\'' && text.get(end + 1) == Some(&b')') {
            break;
        }
        end += 1;
    }
    let end = end.min(text.len());
    let after = if triple { end + 3 } else { end + 1 + usize::from(escaped) };
    (unescaped(text.get(start..end).unwrap_or_default()), after)
}

/// The bytes of a literal with its escapes resolved, and full-width letters as the ASCII that normalisation makes.
pub(super) fn unescaped(literal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(literal.len());
    let mut at = 0;
    while let Some(&byte) = literal.get(at) {
        at += 1;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some(&escape) = literal.get(at) else { break };
        at += 1;
        match escape {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'x' => {
                let digits = literal.get(at..at + 2).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(value) => {
                        bytes.push(value);
                        at += 2;
                    }
                    None => bytes.push(b'x'),
                }
            }
            b'u' => {
                let digits = literal.get(at..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(value) => {
                        bytes.push(value);
                        at += 4;
                    }
                    None => bytes.push(b'u'),
                }
            }
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                let mut digits = 1;
                while let Some(digit @ b'0'..=b'7') = literal.get(at)
                    && digits < 3
                {
                    value = value * 8 + u32::from(digit - b'0');
                    at += 1;
                    digits += 1;
                }
                bytes.push(u8::try_from(value).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    narrow(bytes)
}

/// Every quoted literal of a text.
pub(in crate::programs) fn literals(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if matches!(byte, b'\'' | b'"' | b'`') {
            let (literal, end) = quoted(text, at);
            found.push(literal);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

pub(super) fn from_hex(literal: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = literal.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Base64 of either alphabet, leniently: a decoder may be lenient too.
pub(in crate::programs::code) fn from_base64(literal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in literal {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFF_FFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).unwrap_or_default());
        }
    }
    bytes
}

fn narrow(bytes: Vec<u8>) -> Vec<u8> {
    // U+FF01..U+FF5E are EF BC 81 .. EF BD 9E
    if !bytes.contains(&0xEF) {
        return bytes;
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
    let fold = |letter: char| match u32::from(letter) {
        code @ 0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(letter),
        0x3000 => ' ',
        _ => letter,
    };
    text.chars().map(fold).collect::<String>().into_bytes()
}
