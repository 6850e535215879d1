//! The forms in which a known secret may turn up in output: as it is, escaped in the way of some notation, in base64, in hex.
//!
//! A form is found by one of its literals, which are short, and compared from there on. What escapes is compared while it is read, each
//! notation for itself: there are too many ways to write a quote for a list of them. Base64 and hex may be broken into lines, as the
//! tools that make them do.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::notation::{NOTATIONS, Step};

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
pub(super) const LOWER: &[u8; 16] = b"0123456789abcdef";
pub(super) const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Bytes of a literal, of one that is escaped (`\u0022`), and of one that begins what may be broken.
const LITERAL: usize = 8;
const ESCAPED_LITERAL: usize = 6;
const BROKEN_LITERAL: usize = 4;

/// What may stand between two lines.
const BREAKS: &[&[u8]] = &[b"\n", b"\r\n", b"\\n", b"\\r\\n"];

/// What may stand between two bytes in hex, breaks aside.
const BETWEEN: &[&[u8]] = &[b":", b" ", b"-", b"%", b"\\x", b", 0x", b",0x"];

/// Blanks that may begin a line.
const MOST_BLANKS: usize = 40;

/// One form of a secret.
#[derive(Debug)]
pub(super) struct Form {
    bytes: Zeroizing<Vec<u8>>,
    writing: Writing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// The secret, in any notation.
    Text,
    /// Base64 of which the first character stands at this place of a group.
    Base64 {
        place: usize,
    },
    Hex,
}

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// The form, in that many bytes.
    Form(usize),
    /// It may: more text would tell.
    More,
    Other,
}

/// The forms of a secret, of no fewer bytes than `shortest`.
pub(super) fn forms(secret: &[u8], shortest: usize) -> Vec<Form> {
    let mut forms = vec![Form { bytes: secret.to_vec().into(), writing: Writing::Text }];
    for place in 0..3 {
        let standard = base64(secret, place, STANDARD);
        let url_safe = base64(secret, place, URL_SAFE);
        let place = [0, 2, 3][place];
        if url_safe != standard {
            forms.push(Form { bytes: url_safe.into(), writing: Writing::Base64 { place } });
        }
        forms.push(Form { bytes: standard.into(), writing: Writing::Base64 { place } });
    }
    let in_hex = |digits| -> Vec<u8> { secret.iter().flat_map(|byte| hex(*byte, digits)).collect() };
    let (lower, upper) = (in_hex(LOWER), in_hex(UPPER));
    if upper != lower {
        forms.push(Form { bytes: upper.into(), writing: Writing::Hex });
    }
    forms.push(Form { bytes: lower.into(), writing: Writing::Hex });
    forms.retain(|form| form.bytes.len() >= shortest);
    forms
}

impl Form {
    /// Its length, unbroken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What it begins with, wherever it stands: one of them.
    pub(super) fn literals(&self) -> BTreeSet<Vec<u8>> {
        let begin = |bytes: &[u8], most: usize| bytes.iter().copied().take(most).collect::<Vec<u8>>();
        if self.writing == Writing::Text {
            // Escapes are written in many ways; where the first of them comes late, what stands before it does.
            let plain = self.bytes.iter().take_while(|byte| is_never_escaped(**byte)).count();
            if plain >= BROKEN_LITERAL {
                return BTreeSet::from([begin(&self.bytes, plain.min(LITERAL))]);
            }
            let first = self.bytes.get(..LITERAL).unwrap_or(&self.bytes);
            return super::notation::written(first)
                .iter()
                .map(|written| begin(written, ESCAPED_LITERAL))
                .collect();
        }
        let mut literals = BTreeSet::from([begin(&self.bytes, BROKEN_LITERAL)]);
        // Tools break base64 between two groups, and hex between two bytes.
        let (first, between): (usize, &[&[u8]]) = match self.writing {
            Writing::Hex => (2, BETWEEN),
            Writing::Base64 { place } if place > 0 => (4 - place, &[]),
            _ => return literals,
        };
        let (before, after) = self.bytes.split_at(first.min(self.bytes.len()));
        for infix in BREAKS.iter().chain([&b"\n  "[..], b"\n\t"].iter()).chain(between) {
            literals.insert(begin(&[before, infix, after].concat(), BROKEN_LITERAL));
        }
        literals
    }

    /// Whether a text begins with it. `ended`: no more text will come.
    pub(super) fn begins(&self, text: &[u8], ended: bool) -> Begin {
        match self.writing {
            Writing::Text => self.begins_in_any_notation(text, ended),
            Writing::Base64 { .. } => self.begins_broken(text, ended, |_| &[]),
            Writing::Hex => self.begins_broken(text, ended, |at| if at % 2 == 0 { BETWEEN } else { &[] }),
        }
    }

    fn begins_in_any_notation(&self, text: &[u8], ended: bool) -> Begin {
        if text.starts_with(&self.bytes) {
            return Begin::Form(self.bytes.len());
        }
        if !ended && self.bytes.starts_with(text) {
            return Begin::More;
        }
        'notations: for notation in NOTATIONS {
            let (mut secret, mut rest) = (self.bytes.as_slice(), text);
            while !secret.is_empty() {
                match notation(secret, rest) {
                    Step::Took { secret: bytes, text } => {
                        secret = secret.get(bytes..).unwrap_or_default();
                        rest = rest.get(text..).unwrap_or_default();
                    }
                    // The notations before this one have said no for good.
                    Step::More if !ended => return Begin::More,
                    Step::More | Step::No => continue 'notations,
                }
            }
            return Begin::Form(text.len() - rest.len());
        }
        Begin::Other
    }

    fn begins_broken(
        &self,
        text: &[u8],
        ended: bool,
        between: impl Fn(usize) -> &'static [&'static [u8]],
    ) -> Begin {
        // However it is broken, it ends somewhere.
        let most = self.bytes.len() * 4 + 2 * MOST_BLANKS;
        let (mut rest, more) = (text, if ended { Begin::Other } else { Begin::More });
        for (at, byte) in self.bytes.iter().enumerate() {
            if at > 0 && text.len() - rest.len() < most {
                match broken(rest, between(at)) {
                    Some(bytes) => rest = rest.get(bytes..).unwrap_or_default(),
                    None if !ended => return Begin::More,
                    None => {}
                }
            }
            match rest.split_first() {
                Some((first, after)) if first == byte => rest = after,
                Some((b'%' | b'\\', _)) if matches!(byte, b'+' | b'/') => match escaped(*byte, rest) {
                    Step::Took { text, .. } => rest = rest.get(text..).unwrap_or_default(),
                    Step::More => return more,
                    Step::No => return Begin::Other,
                },
                Some(_) => return Begin::Other,
                None => return more,
            }
        }
        Begin::Form(text.len() - rest.len())
    }
}

/// Bytes of what stands between two characters: a break and the blanks behind it, or one of `between`. `None` where more text would tell.
fn broken(text: &[u8], between: &[&[u8]]) -> Option<usize> {
    if text.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Some(0);
    }
    for infix in BREAKS {
        if let Some(rest) = text.strip_prefix(*infix) {
            let blanks =
                rest.iter().take(MOST_BLANKS).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            return (blanks < rest.len()).then_some(infix.len() + blanks);
        }
    }
    if let Some(infix) = between.iter().find(|infix| text.starts_with(infix)) {
        return Some(infix.len());
    }
    let may_come = BREAKS.iter().chain(between).any(|infix| infix.starts_with(text));
    (!may_come).then_some(0)
}

/// `+` or `/` of base64, as in a URL or in JSON.
fn escaped(byte: u8, text: &[u8]) -> Step {
    let writings: [&[u8]; 3] = if byte == b'+' { [b"%2B", b"%2b", b"%2B"] } else { [b"%2F", b"%2f", b"\\/"] };
    match writings.iter().find(|writing| text.starts_with(writing)) {
        Some(writing) => Step::Took { secret: 1, text: writing.len() },
        None if writings.iter().any(|writing| writing.starts_with(text)) => Step::More,
        None => Step::No,
    }
}

/// A byte that every notation leaves as it is.
const fn is_never_escaped(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The characters that base64 has for `secret` whatever stands before and after it, when `offset` bytes (modulo 3)
/// stand before. Characters that also depend on a neighbour are left out.
fn base64(secret: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bits = |index: usize| -> Option<u8> { secret.get(index.checked_sub(offset)?).copied() };
    let mut text = Vec::with_capacity(secret.len() * 4 / 3 + 4);
    for group in 0..(secret.len() + offset).div_ceil(3) {
        let [a, b, c] = [bits(3 * group), bits(3 * group + 1), bits(3 * group + 2)];
        let sextets = [
            a.map(|a| a >> 2),
            a.zip(b).map(|(a, b)| (a & 3) << 4 | b >> 4),
            b.zip(c).map(|(b, c)| (b & 15) << 2 | c >> 6),
            c.map(|c| c & 63),
        ];
        text.extend(sextets.into_iter().flatten().filter_map(|sextet| alphabet.get(usize::from(sextet))));
    }
    text
}

pub(super) fn hex(byte: u8, digits: &[u8; 16]) -> impl Iterator<Item = u8> + '_ {
    [byte >> 4, byte & 15].into_iter().filter_map(|digit| digits.get(usize::from(digit)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_each_alignment_is_part_of_the_real_encoding() {
        // `printf 'xyhunter2-hunter2zz' | base64` and so on, by coreutils.
        let secret = b"hunter2-hunter2";
        for (offset, encoded) in [
            (0, "aHVudGVyMi1odW50ZXIyenp6"),
            (1, "eGh1bnRlcjItaHVudGVyMnp6eg=="),
            (2, "eHlodW50ZXIyLWh1bnRlcjJ6eno="),
        ] {
            let form = base64(secret, offset, STANDARD);
            assert!(form.len() >= 19, "{offset}");
            let form = String::from_utf8(form).unwrap();
            assert!(encoded.contains(&form), "{form} is not in {encoded}");
        }
    }

    /// Whether a form begins somewhere in a text, by one of its literals, and where it ends.
    fn found(secret: &[u8], text: &[u8]) -> Option<(usize, usize)> {
        (0..text.len()).find_map(|at| {
            let rest = &text[at..];
            forms(secret, 8).iter().find_map(|form| {
                form.literals().iter().find(|literal| rest.starts_with(literal))?;
                for cut in 0..rest.len() {
                    let sure = form.begins(&rest[..cut], false);
                    assert!(sure == Begin::More || sure == form.begins(rest, true), "{cut} of {rest:?}");
                }
                match form.begins(rest, true) {
                    Begin::Form(bytes) => Some((at, at + bytes)),
                    Begin::More | Begin::Other => None,
                }
            })
        })
    }

    #[test]
    fn it_is_found_in_every_notation() {
        let secret = b"\"/p+'w&\xc3\xa9 <d>\\\n!(1)2345";
        for text in [
            &b"%22%2Fp%2B%27w%26%C3%A9%20%3Cd%3E%5C%0A%21%281%292345"[..],
            b"%22%2fp%2b%27w%26%c3%a9%20%3cd%3e%5c%0a%21%281%292345",
            b"%22/p%2B%27w%26%C3%A9%20%3Cd%3E%5C%0A%21%281%292345",
            b"%22%2Fp%2B'w%26%C3%A9%20%3Cd%3E%5C%0A!(1)2345",
            b"%22%2Fp%2B%27w%26%C3%A9+%3Cd%3E%5C%0A%21%281%292345",
            b"\\\"/p+'w&\xc3\xa9 <d>\\\\\\n!(1)2345",
            b"\\\"\\/p+'w&\\u00e9 <d>\\\\\\n!(1)2345",
            b"\\u0022/p+\\u0027w\\u0026\xc3\xa9 \\u003cd\\u003E\\u005c\\n!(1)2345",
            b"\\\\\\\"/p+'w&\xc3\xa9 <d>\\\\\\\\\\\\n!(1)2345",
            b"&quot;/p+&#39;w&amp;\xc3\xa9 &lt;d&gt;\\\n!(1)2345",
            b"&#34;/p+&#x27;w&amp;&#233; &lt;d&gt;\\\n!(1)2345",
            b"\"\"/p+'w&\xc3\xa9 <d>\\\n!(1)2345",
            b"\"/p+'\\''w&\xc3\xa9 <d>\\\n!(1)2345",
        ] {
            let around = [b"x=", text, b" y"].concat();
            assert_eq!(
                found(secret, &around),
                Some((2, 2 + text.len())),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
        assert_eq!(found(secret, b"\"/p+'w& <d>\\\n!(1)2345"), None);
    }

    #[test]
    fn what_encodes_it_may_break_it_into_lines() {
        let secret = b"hunter2-hunter2?>";
        for (before, width) in (0..90).flat_map(|before| [(before, 76), (before, 64)]) {
            let text = [vec![b'a'; before], secret.to_vec(), vec![b'z'; 20]].concat();
            let whole = base64(&text, 0, STANDARD);
            let lines: Vec<&[u8]> = whole.chunks(width).collect();
            for between in ["\n", "\r\n", "\n    ", "\\n"] {
                let broken = lines.join(between.as_bytes());
                assert!(found(secret, &broken).is_some(), "{before} {}", String::from_utf8_lossy(&broken));
            }
        }
        let digits: Vec<u8> = secret.iter().flat_map(|byte| hex(*byte, LOWER)).collect();
        for width in (2..60).step_by(2) {
            let broken = digits.chunks(width).collect::<Vec<_>>().join(&b'\n');
            assert_eq!(
                found(secret, &broken),
                Some((0, broken.len())),
                "{}",
                String::from_utf8_lossy(&broken)
            );
        }
        for between in [":", " ", "\\x", "%", ", 0x"] {
            let apart = digits.chunks(2).collect::<Vec<_>>().join(between.as_bytes());
            assert_eq!(found(secret, &apart), Some((0, apart.len())), "{}", String::from_utf8_lossy(&apart));
        }
        assert_eq!(found(secret, b"6 8 7 5 6 e 7 4 6 5 7 2 3 2"), None);
    }

    #[test]
    fn a_literal_has_bytes_enough_to_be_searched_for() {
        for secret in
            [&b"12345678"[..], b"''", b"\"&<>\"&<>", b"aaaa/bbbb", b"\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            for form in forms(secret, 8) {
                assert!(form.literals().iter().all(|literal| literal.len() >= 4), "{:?}", form.literals());
            }
        }
    }
}
