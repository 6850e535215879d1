//! How a byte of a known secret is written where it must be escaped: in a URL, in a string of JSON or of a program, in HTML, in CSV and
//! SQL, between quotes of a shell.

use super::encoding::{LOWER, UPPER, hex};

/// What stands at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of the secret, in so many of the text.
    Took {
        secret: usize,
        text: usize,
    },
    /// More text would tell.
    More,
    No,
}

/// A notation: reads what comes first of a secret from the beginning of a text. The secret is not empty.
pub(super) type Notation = fn(secret: &[u8], text: &[u8]) -> Step;

pub(super) const NOTATIONS: &[Notation] = &[percent, backslash, nested, entities, doubled, quoted];

/// Most characters of an entity.
const ENTITY: usize = 8;

/// `%2F`, in either case, wherever it need not be, and `+` for a blank.
fn percent(secret: &[u8], text: &[u8]) -> Step {
    match text {
        [b'%', rest @ ..] => match number(rest, 2, 2, 16) {
            Number::Read(code, _) if u8::try_from(code).is_ok_and(|byte| secret.starts_with(&[byte])) => {
                Step::Took { secret: 1, text: 3 }
            }
            Number::More => Step::More,
            _ => plain(secret, text),
        },
        [b'+', ..] if secret.starts_with(b" ") => Step::Took { secret: 1, text: 1 },
        _ => plain(secret, text),
    }
}

/// `\"`, `\\`, `\/`, `\n`, `\u0022`, `\x22`: strings of JSON and of programs, words of a shell.
fn backslash(secret: &[u8], text: &[u8]) -> Step {
    match text {
        [b'\\', rest @ ..] => escape(secret, rest, 1),
        _ => plain(secret, text),
    }
}

/// The same in a string within a string: `\\\"`, `\\u0022`.
fn nested(secret: &[u8], text: &[u8]) -> Step {
    let marks = text.iter().take(4).take_while(|byte| **byte == b'\\').count();
    match (marks, text.get(marks..).unwrap_or_default()) {
        (0, _) => plain(secret, text),
        (4, _) if secret.starts_with(b"\\") => Step::Took { secret: 1, text: 4 },
        (1..4, []) => Step::More,
        (_, rest) => escape(secret, rest, marks),
    }
}

/// What stands behind so many backslashes.
fn escape(secret: &[u8], rest: &[u8], marks: usize) -> Step {
    let Some((kind, digits)) = rest.split_first() else { return Step::More };
    let (least, most) = match kind {
        b'u' => (4, 4),
        b'x' => (2, 2),
        _ => {
            let byte = match kind {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                other if other.is_ascii_alphanumeric() => return Step::No,
                other => *other,
            };
            let is_it = secret.starts_with(&[byte]);
            return if is_it { Step::Took { secret: 1, text: marks + 1 } } else { Step::No };
        }
    };
    match number(digits, least, most, 16) {
        Number::Read(code, digits) => character(secret, code, marks + 1 + digits),
        Number::More => Step::More,
        Number::None => Step::No,
    }
}

/// `&quot;`, `&#34;`, `&#x22;`.
fn entities(secret: &[u8], text: &[u8]) -> Step {
    let [b'&', rest @ ..] = text else { return plain(secret, text) };
    let Some(end) = rest.iter().take(ENTITY).position(|byte| *byte == b';') else {
        return if rest.len() < ENTITY { Step::More } else { plain(secret, text) };
    };
    let name = rest.get(..end).unwrap_or_default();
    let code = match name {
        b"amp" => Some(38),
        b"lt" => Some(60),
        b"gt" => Some(62),
        b"quot" => Some(34),
        b"apos" => Some(39),
        b"nbsp" => Some(32),
        [b'#', b'x' | b'X', digits @ ..] => whole_number(digits, 16),
        [b'#', digits @ ..] => whole_number(digits, 10),
        _ => None,
    };
    match code.map(|code| character(secret, code, end + 2)) {
        Some(took @ Step::Took { .. }) => took,
        _ => plain(secret, text),
    }
}

/// `""` in CSV, `''` in SQL and YAML.
fn doubled(secret: &[u8], text: &[u8]) -> Step {
    match (secret.first(), text) {
        (Some(quote @ (b'"' | b'\'')), [first, second, ..]) if first == quote && second == quote => {
            Step::Took { secret: 1, text: 2 }
        }
        (Some(quote @ (b'"' | b'\'')), [first]) if first == quote => Step::More,
        _ => plain(secret, text),
    }
}

/// `'\''` and `'"'"'` between quotes of a shell.
fn quoted(secret: &[u8], text: &[u8]) -> Step {
    if !secret.starts_with(b"'") {
        return plain(secret, text);
    }
    let writings: [&[u8]; 2] = [b"'\\''", b"'\"'\"'"];
    match writings.iter().find(|writing| text.starts_with(writing)) {
        Some(writing) => Step::Took { secret: 1, text: writing.len() },
        None if writings.iter().any(|writing| writing.starts_with(text)) => Step::More,
        None => plain(secret, text),
    }
}

/// A byte as it is.
fn plain(secret: &[u8], text: &[u8]) -> Step {
    match text.first() {
        Some(first) if secret.first() == Some(first) => Step::Took { secret: 1, text: 1 },
        Some(_) => Step::No,
        None => Step::More,
    }
}

/// A character by its number, in so many bytes of text.
fn character(secret: &[u8], code: u32, text: usize) -> Step {
    let mut bytes = [0; 4];
    let Some(character) = char::from_u32(code) else { return Step::No };
    let written = character.encode_utf8(&mut bytes).as_bytes();
    if secret.starts_with(written) { Step::Took { secret: written.len(), text } } else { Step::No }
}

enum Number {
    /// Its value, and how many digits it has.
    Read(u32, usize),
    More,
    None,
}

fn number(text: &[u8], least: usize, most: usize, radix: u32) -> Number {
    let digits = text.iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if digits < least {
        return if digits == text.len() { Number::More } else { Number::None };
    }
    match whole_number(text.get(..digits).unwrap_or_default(), radix) {
        Some(code) => Number::Read(code, digits),
        None => Number::None,
    }
}

fn whole_number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// The ways in which some bytes are written, one for each convention that is in use.
pub(super) fn written(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes.to_vec()];
    let mut each = |write: &dyn Fn(u8) -> Option<Vec<u8>>| {
        all.push(bytes.iter().flat_map(|byte| write(*byte).unwrap_or_else(|| vec![*byte])).collect());
    };
    let with_hex =
        |mark: &str, byte: u8, digits| [mark.as_bytes(), &hex(byte, digits).collect::<Vec<_>>()].concat();
    for digits in [LOWER, UPPER] {
        // RFC 3986; Python's `quote`; JavaScript's `encodeURIComponent` and `encodeURI`; forms.
        for kept in ["-._~", "-._~/", "-._~!'()*", "-._~!'()*;,/?:@&=+$#", "*-._"] {
            for blank in [&b"%20"[..], b"+"] {
                each(&|byte| match byte {
                    b' ' => Some(blank.to_vec()),
                    _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => None,
                    _ => Some(with_hex("%", byte, digits)),
                });
            }
        }
        for mark in ["\\u00", "\\x"] {
            // All of it, as some write JSON for HTML: `<`, `>`, `&` and quotes.
            each(&|byte| b"\"'<>&\\=+`/".contains(&byte).then(|| with_hex(mark, byte, digits)));
            each(&|byte| b"<>&".contains(&byte).then(|| with_hex(mark, byte, digits)));
        }
    }
    for escaped in ["\"\\", "\"\\/", "'\\", "\"'\\", "\"\\$`!"] {
        for marks in [&b"\\"[..], b"\\\\\\"] {
            each(&|byte| match byte {
                b'\n' => Some(b"\\n".to_vec()),
                b'\r' => Some(b"\\r".to_vec()),
                b'\t' => Some(b"\\t".to_vec()),
                _ => escaped.as_bytes().contains(&byte).then(|| [marks, &[byte]].concat()),
            });
        }
    }
    // `printf %q`.
    each(&|byte| {
        (!byte.is_ascii_alphanumeric() && !b"-_./:=@%+,".contains(&byte)).then(|| vec![b'\\', byte])
    });
    for apostrophe in ["&apos;", "&#39;", "&#x27;", "&#039;", "'"] {
        for quote in ["&quot;", "&#34;", "&#x22;", "\""] {
            each(&|byte| match byte {
                b'"' => Some(quote.into()),
                b'\'' => Some(apostrophe.into()),
                b'&' => Some(b"&amp;".to_vec()),
                b'<' => Some(b"&lt;".to_vec()),
                b'>' => Some(b"&gt;".to_vec()),
                _ => None,
            });
        }
    }
    each(&|byte| (byte == b'"').then(|| b"\"\"".to_vec()));
    for apostrophe in ["''", "'\\''", "'\"'\"'"] {
        each(&|byte| (byte == b'\'').then(|| apostrophe.into()));
    }
    all
}
