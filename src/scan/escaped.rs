//! Text with its escapes undone: character references of HTML, bytes in per cent as in addresses, `\u0041` and `\x41`.

use super::fold::Folded;

/// How often what came out is looked at again.
const ROUNDS: usize = 3;

/// Where the next escape begins. With `controls`, `\n` and its like count as well: a configuration writes lines so.
pub(super) fn next(text: &[u8], from: usize, controls: bool) -> Option<usize> {
    let rest = text.get(from..)?;
    let at = memchr::memchr3_iter(b'&', b'%', b'\\', rest).find(|at| {
        let here = rest.get(*at..).unwrap_or_default();
        one(here).is_some_and(|it| controls || !it.control)
    })?;
    Some(from + at)
}

/// What an escape stands for.
struct One {
    bytes: [u8; 4],
    /// Of `bytes`.
    count: usize,
    /// Of the escape.
    length: usize,
    control: bool,
}

/// Undoes the escapes of a window; `None` where there are none.
pub(super) fn undo(window: &[u8]) -> Option<Folded> {
    let mut undone: Option<Folded> = None;
    for _ in 0..ROUNDS {
        let text = undone.as_ref().map_or(window, |it| it.text.as_slice());
        let Some(mut again) = round(text) else { break };
        if let Some(before) = &undone {
            for offset in &mut again.offsets {
                *offset = u32::try_from(before.origin(*offset as usize)).unwrap_or(u32::MAX);
            }
        }
        undone = Some(again);
    }
    undone
}

fn round(text: &[u8]) -> Option<Folded> {
    next(text, 0, true)?;
    let mut undone = Folded { text: Vec::with_capacity(text.len()), offsets: Vec::with_capacity(text.len()) };
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let offset = u32::try_from(at).unwrap_or(u32::MAX);
        let plain = memchr::memchr3(b'&', b'%', b'\\', rest).unwrap_or(rest.len());
        if plain > 0 {
            undone.text.extend_from_slice(rest.get(..plain).unwrap_or_default());
            undone.offsets.extend((offset..).take(plain));
            at += plain;
            continue;
        }
        let it = one(rest).unwrap_or(One {
            bytes: [rest.first().copied()?, 0, 0, 0],
            count: 1,
            length: 1,
            control: false,
        });
        undone.text.extend_from_slice(it.bytes.get(..it.count).unwrap_or_default());
        undone.offsets.extend(core::iter::repeat_n(offset, it.count));
        at += it.length;
    }
    Some(undone)
}

/// The escape at the start of a text.
fn one(text: &[u8]) -> Option<One> {
    let character = |code: u32, length: usize| {
        let mut bytes = [0; 4];
        let count = char::from_u32(code).filter(|c| *c != '\0')?.encode_utf8(&mut bytes).len();
        Some(One { bytes, count, length, control: false })
    };
    match text {
        [b'%', rest @ ..] => {
            let byte = u8::try_from(number(rest.get(..2)?, 16)?).ok()?;
            Some(One { bytes: [byte, 0, 0, 0], count: 1, length: 3, control: false })
        }
        [b'\\', b'u', b'{', rest @ ..] => {
            let length = digits(rest, 16, 6);
            (rest.get(length) == Some(&b'}')).then_some(())?;
            character(number(rest.get(..length)?, 16)?, length + 4)
        }
        [b'\\', b'u', rest @ ..] => {
            let code = number(rest.get(..4)?, 16)?;
            // Two halves of one character.
            if let (0xd800..0xdc00, Some([b'\\', b'u', low @ ..])) = (code, rest.get(4..10))
                && let Some(low @ 0xdc00..0xe000) = number(low, 16)
            {
                return character(0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00), 12);
            }
            character(code, 6)
        }
        [b'\\', b'x', rest @ ..] => character(number(rest.get(..2)?, 16)?, 4),
        [b'\\', b'n' | b'r' | b't', ..] => {
            Some(One { bytes: [b'\n', 0, 0, 0], count: 1, length: 2, control: true })
        }
        [b'&', b'#', b'x' | b'X', rest @ ..] => {
            let length = digits(rest, 16, 6);
            let end = usize::from(rest.get(length) == Some(&b';'));
            character(number(rest.get(..length)?, 16)?, 3 + length + end)
        }
        [b'&', b'#', rest @ ..] => {
            let length = digits(rest, 10, 7);
            let end = usize::from(rest.get(length) == Some(&b';'));
            character(number(rest.get(..length)?, 10)?, 2 + length + end)
        }
        [b'&', rest @ ..] => NAMED.iter().find_map(|(name, code)| {
            rest.strip_prefix(name.as_bytes())?.strip_prefix(b";")?;
            character(*code, name.len() + 2)
        }),
        _ => None,
    }
}

/// Names that may stand between words, or in them.
const NAMED: [(&str, u32); 12] = [
    ("lt", 0x3c),
    ("gt", 0x3e),
    ("amp", 0x26),
    ("quot", 0x22),
    ("apos", 0x27),
    ("nbsp", 0x20),
    ("ensp", 0x20),
    ("emsp", 0x20),
    ("shy", 0xad),
    ("zwnj", 0x200c),
    ("zwj", 0x200d),
    ("NewLine", 0x0a),
];

/// How many digits there are, up to a bound.
fn digits(text: &[u8], radix: u32, most: usize) -> usize {
    text.iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count()
}

/// A number all of whose bytes are digits.
fn number(text: &[u8], radix: u32) -> Option<u32> {
    if text.is_empty() || digits(text, radix, text.len()) < text.len() {
        return None;
    }
    u32::from_str_radix(core::str::from_utf8(text).ok()?, radix).ok()
}
