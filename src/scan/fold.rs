//! Text as it looks: compatibility forms decomposed, look-alikes made Latin, what is invisible left out.
//!
//! NFKC first (full-width, mathematical, circled letters), then marks are dropped, then letters of other scripts that look
//! like Latin ones become those. Not all of Unicode's confusables (UTS 39), of which most take a squint: those that make
//! English words.

use unicode_normalization::UnicodeNormalization;

use super::invisible;

/// The folded text, and for each of its bytes the offset of the character that it came from.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) text: Vec<u8>,
    pub(super) offsets: Vec<u32>,
}

impl Folded {
    /// Where a byte of the folded text came from.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.offsets.get(at).or(self.offsets.last()).map_or(0, |offset| *offset as usize)
    }
}

/// Folds a window of text; `None` where that changes nothing that a rule could find.
pub(super) fn fold(window: &[u8]) -> Option<Folded> {
    if window.is_ascii() {
        return None;
    }
    let mut folded =
        Folded { text: Vec::with_capacity(window.len()), offsets: Vec::with_capacity(window.len()) };
    let mut changed = false;
    let mut at = 0;
    for chunk in window.utf8_chunks() {
        for c in chunk.valid().chars() {
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            let mut put = |c: char| {
                let mut buffer = [0; 4];
                let bytes = c.encode_utf8(&mut buffer).as_bytes();
                folded.text.extend_from_slice(bytes);
                folded.offsets.extend(bytes.iter().map(|_| offset));
            };
            if c.is_ascii() {
                put(c);
            } else if invisible::is_invisible(c) {
                changed = true;
            } else if matches!(u32::from(c), 0x370..0x600 | 0x1d00..0x1e00 | 0xa4d0..0xa500 | 0xab30..0xabc0 | 0x13a0..0x1400)
            {
                let latin = look_alike(c);
                changed |= latin != c;
                put(latin);
            } else if is_compatible(c) {
                for part in core::iter::once(c).nfkd().filter(|part| !is_mark(*part)) {
                    let latin = look_alike(part);
                    changed |= latin.is_ascii();
                    put(latin);
                }
            } else if is_mark(c) {
                changed = true;
            } else {
                put(c);
            }
            at += c.len_utf8();
        }
        at += chunk.invalid().len();
    }
    changed.then_some(folded)
}

/// Whether a character may decompose to Latin letters: a cheap look before the tables.
fn is_compatible(c: char) -> bool {
    matches!(u32::from(c),
        0xa0..0x300 | 0x1e00..0x1f00 | 0x2000..0x2100 | 0x2100..0x2190 | 0x2460..0x2500 | 0x2c60..0x2c80 | 0xa700..0xa800
        | 0xfb00..0xfb07 | 0xff00..0xfff0 | 0x1d400..0x1d800 | 0x1f100..0x1f200 | 0x1ee00..0x1ef00)
}

pub(super) fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..0x370 | 0x1ab0..0x1b00 | 0x1dc0..0x1e00 | 0x20d0..0x2100 | 0xfe20..0xfe30)
}

/// The Latin letter that a letter looks like; itself where it looks like none.
fn look_alike(c: char) -> char {
    match c {
        // Greek.
        '\u{391}' | '\u{3b1}' => 'a',
        '\u{392}' => 'b',
        '\u{395}' | '\u{3b5}' => 'e',
        '\u{396}' => 'z',
        '\u{397}' => 'h',
        '\u{399}' | '\u{3b9}' | '\u{3af}' => 'i',
        '\u{39a}' | '\u{3ba}' => 'k',
        '\u{39c}' => 'm',
        '\u{39d}' => 'n',
        '\u{39f}' | '\u{3bf}' | '\u{3c3}' | '\u{3cc}' => 'o',
        '\u{3a1}' | '\u{3c1}' => 'p',
        '\u{3a4}' | '\u{3c4}' => 't',
        '\u{3a5}' | '\u{3c5}' => 'u',
        '\u{3a7}' | '\u{3c7}' => 'x',
        '\u{3bd}' => 'v',
        '\u{3c9}' => 'w',
        '\u{3f2}' => 'c',
        '\u{3f3}' => 'j',
        '\u{3b3}' => 'y',
        // Latin letters that do not come apart.
        '\u{d8}' | '\u{f8}' => 'o',
        '\u{110}' | '\u{111}' => 'd',
        '\u{141}' | '\u{142}' => 'l',
        // Cyrillic.
        '\u{410}' | '\u{430}' => 'a',
        '\u{412}' | '\u{432}' => 'b',
        '\u{421}' | '\u{441}' => 'c',
        '\u{501}' => 'd',
        '\u{415}' | '\u{435}' | '\u{401}' | '\u{451}' => 'e',
        '\u{41d}' | '\u{43d}' => 'h',
        '\u{4bb}' => 'h',
        '\u{406}' | '\u{456}' | '\u{407}' | '\u{457}' | '\u{4cf}' | '\u{4c0}' => 'i',
        '\u{408}' | '\u{458}' => 'j',
        '\u{41a}' | '\u{43a}' => 'k',
        '\u{41c}' | '\u{43c}' => 'm',
        '\u{578}' => 'n',
        '\u{41e}' | '\u{43e}' => 'o',
        '\u{420}' | '\u{440}' => 'p',
        '\u{51b}' | '\u{51a}' => 'q',
        '\u{433}' => 'r',
        '\u{405}' | '\u{455}' => 's',
        '\u{422}' | '\u{442}' => 't',
        '\u{475}' | '\u{474}' => 'v',
        '\u{51d}' | '\u{51c}' => 'w',
        '\u{425}' | '\u{445}' => 'x',
        '\u{423}' | '\u{443}' | '\u{4af}' | '\u{4ae}' => 'y',
        // Armenian.
        '\u{585}' => 'o',
        '\u{57d}' => 'u',
        '\u{561}' => 'w',
        '\u{570}' => 'h',
        '\u{566}' => 'q',
        '\u{581}' => 'g',
        // Cherokee, Lisu and small capitals: where they look the same.
        '\u{13aa}' => 'g',
        '\u{13a0}' => 'd',
        '\u{13a1}' => 'r',
        '\u{13a2}' => 't',
        '\u{13a9}' => 'y',
        '\u{13ac}' => 'e',
        '\u{13de}' => 'l',
        '\u{13cf}' => 'b',
        '\u{13da}' => 's',
        '\u{13c3}' => 'z',
        '\u{13d9}' => 'v',
        '\u{13b3}' => 'w',
        '\u{13d4}' => 'w',
        '\u{13e2}' => 'p',
        '\u{1d00}' => 'a',
        '\u{299}' => 'b',
        '\u{1d04}' => 'c',
        '\u{1d05}' => 'd',
        '\u{1d07}' => 'e',
        '\u{262}' => 'g',
        '\u{29c}' => 'h',
        '\u{26a}' => 'i',
        '\u{1d0a}' => 'j',
        '\u{1d0b}' => 'k',
        '\u{29f}' => 'l',
        '\u{1d0d}' => 'm',
        '\u{274}' => 'n',
        '\u{1d0f}' => 'o',
        '\u{1d18}' => 'p',
        '\u{280}' => 'r',
        '\u{1d1b}' => 't',
        '\u{1d1c}' => 'u',
        '\u{1d20}' => 'v',
        '\u{1d21}' => 'w',
        '\u{28f}' => 'y',
        '\u{1d22}' => 'z',
        '\u{131}' => 'i',
        '\u{237}' => 'j',
        '\u{251}' => 'a',
        '\u{261}' => 'g',
        other => other,
    }
}
