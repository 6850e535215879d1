//! The forms in which a known secret may turn up in output.

use std::collections::BTreeSet;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The secret in plain, in base64 at each alignment (both alphabets), in hex, URL-encoded and escaped as in JSON.
pub(super) fn forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::from([secret.to_vec(), json(secret)]);
    for alphabet in [STANDARD, URL_SAFE] {
        forms.extend((0..3).map(|offset| base64(secret, offset, alphabet)));
    }
    for digits in [LOWER, UPPER] {
        forms.insert(secret.iter().flat_map(|byte| hex(*byte, digits)).collect());
        forms.insert(url(secret, digits));
    }
    forms
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

fn hex(byte: u8, digits: &[u8; 16]) -> impl Iterator<Item = u8> + '_ {
    [byte >> 4, byte & 15].into_iter().filter_map(|digit| digits.get(usize::from(digit)).copied())
}

fn url(secret: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let mut text = Vec::with_capacity(secret.len());
    for byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.push(b'%');
            text.extend(hex(*byte, digits));
        }
    }
    text
}

fn json(secret: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(secret.len());
    for byte in secret {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            _ => text.push(*byte),
        }
    }
    text
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

    #[test]
    fn forms_hold_every_encoding() {
        let forms = forms(b"p\xff/w\"rd \n12345");
        let has = |form: &[u8]| assert!(forms.contains(form), "{}", String::from_utf8_lossy(form));
        has(b"p\xff/w\"rd \n12345");
        has(b"p\xff/w\\\"rd \\n12345");
        has(b"p%FF%2Fw%22rd%20%0A12345");
        has(b"p%ff%2fw%22rd%20%0a12345");
        has(b"70ff2f77227264200a3132333435");
        has(b"70FF2F77227264200A3132333435");
    }
}
