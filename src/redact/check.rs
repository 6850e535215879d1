//! What an expression cannot say about a secret: that it looks random, that it is no placeholder.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use schemars::JsonSchema;
use serde::Deserialize;

/// A condition on the bytes that would be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// Not only digits: `MAX_TOKENS=100`.
    NotNumber,
    /// A letter and a digit.
    Mixed,
    /// A digit, capitals in the middle of a word, or many consonants in a row: what prose and identifiers seldom have.
    Random,
    /// No stand-in for a secret: `<token>`, `${TOKEN}`, `your-api-key`, `xxxx`, `password`.
    Real,
    /// No name of something in a program: `self.token`, `TOKEN_LENGTH`, `crate::key`.
    NotCode,
    /// No hexadecimal number, UUID or time: what tells sessions and requests apart in records.
    NotId,
    /// No sentence, where it has blanks: a word of letters and digits in it, or four plain words and more.
    Phrase,
    /// Text, in UTF-8 or with few letters in another encoding: a word stands in noise by chance, too.
    Text,
    /// Not an absolute or relative path, and no URL: `TOKEN=/run/secrets/token`.
    NotPath,
}

/// Whether a secret meets all of these conditions.
pub(super) fn hold(checks: &[Check], secret: &[u8]) -> bool {
    if checks.is_empty() {
        return true;
    }
    let seen = Kinds::of(secret);
    checks.iter().all(|check| check.holds(secret, seen))
}

impl Check {
    /// Whether the secret, which has bytes of these kinds, meets the condition.
    fn holds(self, secret: &[u8], seen: Kinds) -> bool {
        match self {
            Self::NotNumber => !secret.iter().all(|byte| byte.is_ascii_digit() || b".,_-+%".contains(byte)),
            Self::Mixed => seen.has(Kinds::DIGIT) && seen.has(Kinds::LETTER),
            Self::Random => {
                seen.has(Kinds::DIGIT)
                    || secret.windows(2).filter(|pair| is_case_change(pair)).count() > 2
                    || has_no_vowels(secret)
            }
            Self::Real => is_real(secret, seen),
            Self::NotCode => !is_code(secret, seen),
            Self::NotId => !secret.iter().all(|byte| byte.is_ascii_hexdigit() || b"-:.TZ".contains(byte)),
            Self::Phrase => is_phrase(secret),
            Self::Text => is_text(secret),
            Self::NotPath => !is_path(secret, seen),
        }
    }
}

/// Which kinds of bytes a secret has, read once for all conditions: most of what they look for is not there.
#[derive(Debug, Clone, Copy)]
struct Kinds(u8);

impl Kinds {
    const DIGIT: Self = Self(1);
    const LETTER: Self = Self(2);
    /// What two parts of a name in a program are joined by, and a scheme and a host.
    const JOINT: Self = Self(4);
    /// What a part of a stand-in has that is too short to be looked up by three bytes.
    const STAND_IN: Self = Self(8);

    const OF: [u8; 256] = {
        let (mut of, mut byte) = ([0; 256], 0_u8);
        loop {
            of[byte as usize] = match byte {
                b'0'..=b'9' => Self::DIGIT.0,
                b'A'..=b'Z' | b'a'..=b'z' => Self::LETTER.0,
                b':' => Self::JOINT.0,
                b'>' => Self::JOINT.0 | Self::STAND_IN.0,
                b'<' | b'$' | b'{' | b'%' | 0xe2 => Self::STAND_IN.0,
                _ => 0,
            };
            if byte == u8::MAX {
                break of;
            }
            byte += 1;
        }
    };

    fn of(secret: &[u8]) -> Self {
        let or =
            |seen, bytes: &[u8]| bytes.iter().fold(seen, |seen, byte| seen | Self::OF[usize::from(*byte)]);
        let (eights, rest) = secret.as_chunks::<8>();
        Self(or(eights.iter().fold(0, |seen, eight| or(seen, eight)), rest))
    }

    const fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }
}

fn is_text(secret: &[u8]) -> bool {
    // The last letter may be cut.
    let is_utf8 =
        std::str::from_utf8(secret).map_or_else(|error| error.valid_up_to() + 4 > secret.len(), |_| true);
    is_utf8 || secret.iter().filter(|byte| !byte.is_ascii()).count() * 4 <= secret.len()
}

fn is_case_change(pair: &[u8]) -> bool {
    matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase())
}

/// Seven consonants in a row, which no word has. Names in capitals are of letters that stand for words.
fn has_no_vowels(secret: &[u8]) -> bool {
    let is_vowel = |byte: &u8| !byte.is_ascii_lowercase() || b"aeiouy".contains(byte);
    secret.split(is_vowel).any(|consonants| consonants.len() >= 7)
}

/// Words of sentences, which nobody draws for a phrase.
const PROSE: &[&str] = &[
    "the", "and", "for", "must", "with", "not", "this", "that", "are", "has", "was", "from", "use", "enter",
    "password", "secret", "token", "key", "invalid", "missing", "required", "cannot", "please", "you", "new",
    "old", "can", "will", "should", "have",
];

fn is_phrase(secret: &[u8]) -> bool {
    if !secret.contains(&b' ') {
        return true;
    }
    let words: Vec<&[u8]> = secret.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let is_prose = |word: &&[u8]| PROSE.iter().any(|prose| prose.as_bytes().eq_ignore_ascii_case(word));
    let is_odd =
        |word: &&[u8]| word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    let is_plain = |word: &&[u8]| word.len() > 1 && word.iter().all(u8::is_ascii_lowercase);
    words.len() <= 16
        && !words.iter().any(is_prose)
        && (words.iter().any(is_odd) || (words.len() > 3 && words.iter().all(is_plain)))
}

/// Words that stand where a secret would, whole.
const STAND_INS: &[&str] = &[
    "password",
    "passwd",
    "pass",
    "pw",
    "pwd",
    "secret",
    "token",
    "key",
    "apikey",
    "api_key",
    "api-key",
    "string",
    "str",
    "null",
    "none",
    "nil",
    "true",
    "false",
    "undefined",
    "required",
    "optional",
    "changeme",
    "value",
    "text",
    "hidden",
    "bool",
    "number",
    "integer",
    "object",
    "default",
    "empty",
    "unknown",
    "missing",
    "masked",
    "username",
    "user",
];

/// What is said before the digest of something.
const DIGESTS: &[&str] =
    &["sha1:", "sha1-", "sha256:", "sha256-", "sha384:", "sha384-", "sha512:", "sha512-", "md5:"];

const LONGEST_STAND_IN: usize = 9;

/// Parts that only a stand-in has.
const STAND_IN_PARTS: &[&str] = &[
    "example",
    "your",
    "xxxx",
    "****",
    "....",
    "placeholder",
    "redacted",
    "dummy",
    "insert",
    "replace",
    "change_me",
    "change-me",
    "<",
    ">",
    "${",
    "{{",
    "$(",
    "%(",
    "\u{2026}",
];

const SLOT_BITS: u32 = 12;

/// By three bytes in either case, whether a part of a stand-in begins with them, or has them behind its first: one of the two stands
/// at an even place.
static MAY_BE_STAND_IN: [bool; 1 << SLOT_BITS] = {
    let (mut slots, mut index) = ([false; 1 << SLOT_BITS], 0);
    while index < STAND_IN_PARTS.len() {
        if let [a, b, c, d, ..] = STAND_IN_PARTS[index].as_bytes() {
            slots[slot([*a, *b, *c, 0])] = true;
            slots[slot([*b, *c, *d, 0])] = true;
        }
        index += 1;
    }
    slots
};

/// The slot of three bytes; the fourth does not count.
const fn slot(bytes: [u8; 4]) -> usize {
    let bytes = u32::from_le_bytes(bytes) | 0x0020_2020;
    (bytes.wrapping_mul(0x9e37_79b1 << 8) >> (u32::BITS - SLOT_BITS)) as usize
}

/// Whether a part of a stand-in may stand in a secret: nearly none that is one has what may be.
fn may_have_stand_in(secret: &[u8], seen: Kinds) -> bool {
    let mut rest = secret;
    while let Some(bytes) = rest.first_chunk() {
        if MAY_BE_STAND_IN[slot(*bytes)] {
            return true;
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    let is_at_end = rest.first_chunk().is_some_and(|[a, b, c]| MAY_BE_STAND_IN[slot([*a, *b, *c, 0])]);
    is_at_end || seen.has(Kinds::STAND_IN)
}

fn is_real(secret: &[u8], seen: Kinds) -> bool {
    static PARTS: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    // Secrets are short: what looks for a place to begin at costs more than it saves.
    let build = || {
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        builder.build(STAND_IN_PARTS).ok()
    };
    let is_stand_in = |word: &&str| word.as_bytes().eq_ignore_ascii_case(secret);
    if secret.first().is_some_and(|first| secret.iter().all(|byte| byte == first)) {
        return false;
    }
    if secret.len() <= LONGEST_STAND_IN && STAND_INS.iter().any(is_stand_in) {
        return false;
    }
    // `false1`, `Token2`: people do have passwords like `password1`.
    let stem = secret.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    let (stem, digits) = secret.split_at(stem);
    let is_numbered = |word: &&str| !word.starts_with('p') && word.as_bytes().eq_ignore_ascii_case(stem);
    if digits.len() <= 2 && stem.len() <= LONGEST_STAND_IN && STAND_INS.iter().any(is_numbered) {
        return false;
    }
    if matches!(secret, [b's' | b'm', ..])
        && DIGESTS.iter().any(|digest| secret.starts_with(digest.as_bytes()))
    {
        return false;
    }
    !(may_have_stand_in(secret, seen)
        && PARTS.get_or_init(build).as_ref().is_some_and(|parts| parts.is_match(secret)))
}

fn is_path(secret: &[u8], seen: Kinds) -> bool {
    let starts = |start: &[u8]| secret.starts_with(start);
    (starts(b"/") && !is_base64(secret))
        || starts(b"./")
        || starts(b"../")
        || starts(b"~/")
        || (seen.has(Kinds::JOINT) && secret.windows(3).any(|part| part == b"://"))
}

/// One character in 64 of a key in base64 is a slash, the first one too; a path has no part that looks like what is between them.
fn is_base64(secret: &[u8]) -> bool {
    let is_mixed = |part: &[u8]| {
        part.len() >= 12
            && part.iter().any(u8::is_ascii_digit)
            && part.iter().any(u8::is_ascii_uppercase)
            && part.iter().any(u8::is_ascii_lowercase)
    };
    secret.len() >= 20
        && secret.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
        && (secret.ends_with(b"=")
            || secret.contains(&b'+')
            || secret.split(|byte| *byte == b'/').any(is_mixed))
}

/// Words joined by `.`, `::`, `_` or `-`, each a plain lower-case, upper-case or capitalised word with at most two
/// digits at its end: a name, not a random string.
fn is_code(secret: &[u8], seen: Kinds) -> bool {
    let joined = seen.has(Kinds::JOINT) && secret.windows(2).any(|pair| pair == b"::" || pair == b"->");
    if joined {
        return true;
    }
    // Within no word: most secrets show it in their first bytes.
    let odd = |pair: &[u8]| matches!(pair, [a, b] if a.is_ascii_digit() && b.is_ascii_alphabetic());
    if secret.windows(2).any(odd) {
        return false;
    }
    let mut words = 0;
    for word in secret.split(|byte| matches!(byte, b'.' | b'_' | b'-' | b':')).filter(|word| !word.is_empty())
    {
        if !is_word(word) {
            return false;
        }
        words += 1;
    }
    words > 1
}

fn is_word(word: &[u8]) -> bool {
    let stem = word.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    let (stem, digits) = word.split_at(stem);
    digits.len() <= 2 && stem.iter().all(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(check: Check, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(hold(&[check], text.as_bytes()), "{check:?} should hold for {text}");
        }
        for text in no {
            assert!(!hold(&[check], text.as_bytes()), "{check:?} should not hold for {text}");
        }
    }

    #[test]
    fn no_stand_in_is_longer_than_is_said() {
        assert_eq!(STAND_INS.iter().map(|word| word.len()).max(), Some(LONGEST_STAND_IN));
    }

    /// What is looked up rules out no text that has one of the parts.
    #[test]
    fn every_part_of_a_stand_in_is_found_wherever_it_stands() {
        for part in STAND_IN_PARTS {
            for written in [part.to_string(), part.to_uppercase()] {
                for before in 0..4 {
                    for after in 0..4 {
                        let text = format!("{}{written}{}", &"k7Q"[..before.min(3)], &"Z9"[..after.min(2)]);
                        assert!(may_have_stand_in(text.as_bytes(), Kinds::of(text.as_bytes())), "{text}");
                        assert!(!hold(&[Check::Real], text.as_bytes()), "{text}");
                    }
                }
            }
        }
        assert!(STAND_IN_PARTS.iter().all(|part| part.len() > 3
            || "<>${%".contains(part.chars().next().unwrap())
            || *part == "\u{2026}"));
        assert!(!may_have_stand_in(b"k7Qm2ZxV9bTf4RnW8cHs", Kinds::of(b"k7Qm2ZxV9bTf4RnW8cHs")));
    }

    #[test]
    fn checks_tell_secrets_from_words() {
        expect(Check::NotNumber, &["1a", "hunter"], &["100", "4_096", "0.5"]);
        expect(Check::Mixed, &["hunter2", "a1"], &["hunter", "12345"]);
        expect(
            Check::Random,
            &["abc1", "aBcDeFgH", "qwzxkbvtaoei"],
            &["authentication", "camelCase", "XMLHTTPSTRList", "catchphrase"],
        );
        expect(
            Check::NotId,
            &["k7Qm2ZxV9bTf4RnW", "7e2a9c4g"],
            &["266e160a8c9b177d", "550e8400-e29b-41d4-a716-446655440000", "2024-01-01T00-00-00Z"],
        );
        expect(Check::Text, &["hunter2", "pässwörd1"], &[]);
        assert!(
            hold(&[Check::Text], b"p\xe4sswort9")
                && hold(&[Check::Text], "hunter2\u{e4}".as_bytes().get(..8).unwrap())
        );
        assert!(!hold(&[Check::Text], b"\x8ck\xb04X\xc8\x92\x89k"));
        expect(
            Check::Phrase,
            &["hunter2", "correct horse battery staple", "horse 9staple"],
            &["two words", "Enter your password", "must be at least 8 characters", "one two three Four"],
        );
        expect(
            Check::Real,
            &["hunter2", "s3cr3t"],
            &[
                "<token>",
                "${TOKEN}",
                "your-key-1",
                "xxxxxxxx",
                "PASSWORD",
                "false1",
                "Token2",
                "sha256:7e2a9c",
            ],
        );
        expect(
            Check::NotCode,
            &["hunter2", "a8f-x9q2k"],
            &["self.token2", "TOKEN_LENGTH", "a::b", "next-token"],
        );
        expect(
            Check::NotPath,
            &["a/b+c", "/k7Qm2ZxV9bTf4RnW/c8Hs1JpL6", "/k7qm2zxv9btf4rnw8chs1=="],
            &[
                "/run/secrets/x",
                "./x",
                "https://x",
                "/usr/lib/python3/SomeModule/Another",
                "/var/lib/secrets/of/it/all",
            ],
        );
    }
}
