//! Text inside base64, base32 and hexadecimal, in UTF-8 or UTF-16.

use core::ops::Range;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shorter words carry no phrase.
const SHORTEST: usize = 24;

/// How far lines of one word may be indented.
const MOST_INDENT: usize = 16;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Whatever in a text decodes to mostly text: where it stands, and what it says.
pub(super) fn find(text: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        // Words of this alphabet are found from their middles: most words of a text are short, and skipped in one step.
        let Some(&byte) = text.get(at + SHORTEST - 1) else { break };
        if !is_letter(byte) {
            at += SHORTEST;
            continue;
        }
        let middle = at + SHORTEST - 1;
        let start = at
            + text
                .get(at..middle)
                .unwrap_or_default()
                .iter()
                .rposition(|byte| !is_letter(*byte))
                .map_or(0, |it| it + 1);
        if start > at {
            // Not yet long enough: look again from where it begins.
            at = start;
            continue;
        }
        let rest = text.get(start..).unwrap_or_default();
        let (length, letters) = word(rest);
        if let Some(decoded) = decode(&letters) {
            found.push((start..start + length, decoded));
        }
        at = start + length.max(1);
    }
    found
}

/// A word of the alphabet, which may be broken into lines as encoders break it (76 or 64 letters).
fn word(rest: &[u8]) -> (usize, Vec<u8>) {
    let mut letters = Vec::new();
    let mut at = 0;
    loop {
        let line = rest.get(at..).unwrap_or_default();
        let length = line.iter().position(|byte| !is_letter(*byte)).unwrap_or(line.len());
        letters.extend_from_slice(line.get(..length).unwrap_or_default());
        at += length;
        let end = match line.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([b'\n', ..]) => 1,
            _ => break,
        };
        // Lines may stand in a list or a block of code.
        let next = rest.get(at + end..).unwrap_or_default();
        let indent =
            next.iter().take(MOST_INDENT).take_while(|byte| matches!(byte, b' ' | b'\t' | b'>')).count();
        if !(60..=128).contains(&length) || !next.get(indent).copied().is_some_and(is_letter) {
            break;
        }
        at += end + indent;
    }
    (at, letters)
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn decode(letters: &[u8]) -> Option<Vec<u8>> {
    if letters.iter().all(u8::is_ascii_hexdigit) {
        return text_of(letters.chunks_exact(2).filter_map(hex).collect());
    }
    if letters.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')) {
        return text_of(base32(letters));
    }
    // A word of lower-case letters, a path, a constant: no encoder writes that.
    if !letters.iter().any(u8::is_ascii_uppercase) || !letters.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    let alphabet = if letters.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    let engine = GeneralPurpose::new(alphabet, LENIENT);
    // One letter over is of another word.
    let whole = if letters.len() % 4 == 1 { letters.len() - 1 } else { letters.len() };
    text_of(engine.decode(letters.get(..whole)?).ok()?)
}

/// RFC 4648, section 6: five bits a letter.
fn base32(letters: &[u8]) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::with_capacity(letters.len() * 5 / 8));
    for letter in letters {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            digit => digit.saturating_sub(b'2') + 26,
        };
        bits = bits << 5 | u32::from(value & 31);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.extend((bits >> count).to_le_bytes().first());
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// What was decoded, where it is text.
fn text_of(decoded: Vec<u8>) -> Option<Vec<u8>> {
    if is_text(&decoded) {
        return Some(decoded);
    }
    // UTF-16 of what is mostly ASCII has every second byte nought; PowerShell takes its commands so.
    let pairs: Vec<[u8; 2]> = decoded.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).collect();
    let high =
        |at: usize| pairs.iter().filter(|pair| pair.get(at) == Some(&0)).count() * 10 >= pairs.len() * 8;
    let units: Vec<u16> = match (high(1), high(0)) {
        (true, false) => pairs.into_iter().map(u16::from_le_bytes).collect(),
        (false, true) => pairs.into_iter().map(u16::from_be_bytes).collect(),
        _ => return None,
    };
    let text = String::from_utf16_lossy(&units).into_bytes();
    is_text(&text).then_some(text)
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    }
}

/// Whether it is mostly letters: a phrase inside binary data is none that an agent would be told to decode.
fn is_text(bytes: &[u8]) -> bool {
    let odd =
        bytes.iter().filter(|byte| !matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..)).count();
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    bytes.len() >= 12
        && odd * 50 <= bytes.len()
        && (high * 10 <= bytes.len() || core::str::from_utf8(bytes).is_ok())
}
