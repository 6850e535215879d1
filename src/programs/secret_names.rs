//! Names of variables that hold credentials, as data (`policies/secret-names.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

/// What such names are known by, in capitals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretNames {
    parts: Vec<String>,
    words: Vec<String>,
}

impl SecretNames {
    /// Those that are compiled in.
    pub fn shipped() -> &'static Self {
        static NAMES: OnceLock<SecretNames> = OnceLock::new();
        NAMES.get_or_init(|| {
            // What does not read, which a test rules out, has every name hold one.
            toml::from_str(include_str!("../../policies/secret-names.toml"))
                .unwrap_or_else(|_| Self { parts: vec![String::new()], words: Vec::new() })
        })
    }

    /// Whether a variable of this name holds a credential as a rule: `API_TOKEN`, `DB_PASS`.
    pub fn has(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        !matches!(name.as_str(), "PWD" | "OLDPWD")
            && (self.parts.iter().any(|part| name.contains(part.as_str()))
                || name.split('_').any(|word| self.has_word(word)))
    }

    /// Whether the last word of the name says so, which tells more than another one does: `AUTH_METHOD` holds none.
    pub fn ends(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        let last = name.rsplit('_').next().unwrap_or_default();
        self.has_word(last) || self.parts.iter().any(|part| last.contains(part.as_str()))
    }

    fn has_word(&self, word: &str) -> bool {
        let word = word.trim_end_matches(|last: char| last.is_ascii_digit());
        self.words.iter().any(|secret| secret == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_parts_and_words() {
        let names = SecretNames::shipped();
        for secret in ["API_TOKEN", "db_pass", "KEY2", "MYSECRETS", "AUTH_METHOD", "DB_PWD"] {
            assert!(names.has(secret), "{secret}");
        }
        for other in ["PWD", "OLDPWD", "KEYBOARD", "PATH", "COMPASS"] {
            assert!(!names.has(other), "{other}");
        }
        assert!(names.ends("DB_PWD") && names.ends("PWD") && !names.ends("AUTH_METHOD"));
    }
}
