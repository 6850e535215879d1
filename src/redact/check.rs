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
    /// A digit, or capitals in the middle of a word: what prose and identifiers seldom have.
    Random,
    /// No stand-in for a secret: `<token>`, `${TOKEN}`, `your-api-key`, `xxxx`, `password`.
    Real,
    /// No name of something in a program: `self.token`, `TOKEN_LENGTH`, `crate::key`.
    NotCode,
    /// Not an absolute or relative path, and no URL: `TOKEN=/run/secrets/token`.
    NotPath,
}

impl Check {
    /// Whether the secret meets the condition.
    pub(super) fn holds(self, secret: &[u8]) -> bool {
        match self {
            Self::NotNumber => !secret.iter().all(|byte| byte.is_ascii_digit() || b".,_-+%".contains(byte)),
            Self::Mixed => {
                secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_alphabetic)
            }
            Self::Random => {
                secret.iter().any(u8::is_ascii_digit)
                    || secret.windows(2).filter(|pair| is_case_change(pair)).count() > 2
            }
            Self::Real => is_real(secret),
            Self::NotCode => !is_code(secret),
            Self::NotPath => !is_path(secret),
        }
    }
}

fn is_case_change(pair: &[u8]) -> bool {
    matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase())
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

fn is_real(secret: &[u8]) -> bool {
    static PARTS: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    // Secrets are short: what looks for a place to begin at costs more than it saves.
    let build = || {
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        builder.build(STAND_IN_PARTS).ok()
    };
    let parts = PARTS.get_or_init(build);
    let is_stand_in = |word: &&str| word.as_bytes().eq_ignore_ascii_case(secret);
    if secret.first().is_some_and(|first| secret.iter().all(|byte| byte == first)) {
        return false;
    }
    if secret.len() <= LONGEST_STAND_IN && STAND_INS.iter().any(is_stand_in) {
        return false;
    }
    !parts.as_ref().is_some_and(|parts| parts.is_match(secret))
}

fn is_path(secret: &[u8]) -> bool {
    let starts = |start: &[u8]| secret.starts_with(start);
    starts(b"/")
        || starts(b"./")
        || starts(b"../")
        || starts(b"~/")
        || secret.windows(3).any(|part| part == b"://")
}

/// Words joined by `.`, `::`, `_` or `-`, each a plain lower-case, upper-case or capitalised word with at most two
/// digits at its end: a name, not a random string.
fn is_code(secret: &[u8]) -> bool {
    let joined = memchr::memchr2(b':', b'>', secret).is_some()
        && secret.windows(2).any(|pair| pair == b"::" || pair == b"->");
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
            assert!(check.holds(text.as_bytes()), "{check:?} should hold for {text}");
        }
        for text in no {
            assert!(!check.holds(text.as_bytes()), "{check:?} should not hold for {text}");
        }
    }

    #[test]
    fn no_stand_in_is_longer_than_is_said() {
        assert_eq!(STAND_INS.iter().map(|word| word.len()).max(), Some(LONGEST_STAND_IN));
    }

    #[test]
    fn checks_tell_secrets_from_words() {
        expect(Check::NotNumber, &["1a", "hunter"], &["100", "4_096", "0.5"]);
        expect(Check::Mixed, &["hunter2", "a1"], &["hunter", "12345"]);
        expect(Check::Random, &["abc1", "aBcDeFgH"], &["authentication", "camelCase"]);
        expect(
            Check::Real,
            &["hunter2", "s3cr3t"],
            &["<token>", "${TOKEN}", "your-key-1", "xxxxxxxx", "PASSWORD"],
        );
        expect(
            Check::NotCode,
            &["hunter2", "a8f-x9q2k"],
            &["self.token2", "TOKEN_LENGTH", "a::b", "next-token"],
        );
        expect(Check::NotPath, &["a/b+c"], &["/run/secrets/x", "./x", "https://x"]);
    }
}
