//! The file of keys: what execward shows to others to be let in, and what it signs with. Read by nobody else, erased from
//! memory after use, shown nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::private::{self, PrivateError};

/// Largest file that is read, in bytes.
pub const MAX_KEYS: u64 = 64 << 10;

/// One key.
#[derive(Clone)]
pub struct Key(Zeroizing<String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|key| Self(Zeroizing::new(key)))
    }
}

impl From<Zeroizing<String>> for Key {
    fn from(key: Zeroizing<String>) -> Self {
        Self(key)
    }
}

impl Key {
    /// The key itself, for the one place that it belongs into.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What state and messages call it: half of its SHA-256. A key is long and random, so that this tells nothing of it.
    pub fn name(&self) -> String {
        let digest = Sha256::digest(format!("execward key\n{}", self.0.as_str()));
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it can be a key: characters that fit into a header field, and not so few that its name would tell it.
    pub fn is_sound(&self) -> bool {
        (8..=4096).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name())
    }
}

/// All keys, by what they are for: in TOML, `name = ["key", ...]` below `[models]` (providers) and `[webhooks]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    models: BTreeMap<String, Vec<Key>>,
    webhooks: BTreeMap<String, Vec<Key>>,
}

/// Why the file of keys is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be used.
    #[error("the file of keys {}{error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PrivateError,
    },
}

impl Keys {
    /// Reads the file. Without one there are no keys.
    ///
    /// # Errors
    /// When it belongs to somebody else, or anybody else may read or write it: a key that others could read is to be
    /// replaced, not used. No error quotes the file.
    pub fn read(path: &Path, uid: u32) -> Result<Self, KeysError> {
        let Some(text) = Self::text(path, uid)? else { return Ok(Self::default()) };
        let wrong = |what| KeysError::File { path: path.to_owned(), error: PrivateError::Unsafe(what) };
        // The parser's own message quotes the line, which holds a key.
        let keys: Self = toml::from_str(&text).map_err(|_| {
            wrong("is not of the form `name = [\"key\"]` below [models] or [webhooks], in TOML")
        })?;
        let mut all = keys.models.values().chain(keys.webhooks.values()).flatten();
        if !all.all(Key::is_sound) {
            return Err(wrong("holds a key that is too short, or has characters that no key has"));
        }
        Ok(keys)
    }

    /// The text of the file, where it may be believed.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn text(path: &Path, uid: u32) -> Result<Option<Zeroizing<String>>, KeysError> {
        private::read(path, uid, MAX_KEYS).map_err(|error| KeysError::File { path: path.to_owned(), error })
    }

    /// The keys of one provider of models, in the order of the file.
    pub fn of_model(&self, provider: &str) -> &[Key] {
        self.models.get(provider).map_or(&[], Vec::as_slice)
    }

    /// The key that signs what goes to one webhook: the first, so that an old one can stand behind it for a while.
    pub fn of_webhook(&self, name: &str) -> Option<&Key> {
        self.webhooks.get(name)?.first()
    }
}

#[cfg(test)]
impl Keys {
    /// Keys of models, for tests beside them.
    pub(crate) fn for_tests(of: &[(&str, &[&str])]) -> Self {
        let keys = |keys: &[&str]| keys.iter().map(|key| Key(Zeroizing::new((*key).to_owned()))).collect();
        let models = of.iter().map(|(name, all)| ((*name).to_owned(), keys(all))).collect();
        Self { models, webhooks: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_a_private_file_is_read_and_no_key_is_ever_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.toml");
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(Keys::read(&path, uid).expect("none").of_model("a").len(), 0);
        let text =
            "[models]\na = [\"sk-secret-1\", \"sk-secret-2\"]\n[webhooks]\nnotify = [\"sk-secret-3\"]\n";
        std::fs::write(&path, text).expect("written");
        let allow = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            allow(mode);
            assert_eq!(Keys::read(&path, uid).is_ok(), fine, "{mode:o}");
        }
        allow(0o600);
        let keys = Keys::read(&path, uid).expect("keys");
        assert_eq!(keys.of_model("a")[1].expose(), "sk-secret-2");
        assert_eq!(keys.of_webhook("notify").expect("one").expose(), "sk-secret-3");
        assert!(!format!("{keys:?}").contains("secret"), "{keys:?}");
        assert!(Keys::read(&path, uid + 1).is_err());
        for broken in [
            "[models]\na = [\"sk-secret",
            "[models]\na = \"sk-secret\"",
            "a = [\"sk-secret-1\"]",
            "[models]\na = [\"sk-\\nsecret\"]",
            "[models]\na = [\"\"]",
            "[models]\na = [\"secret\"]",
        ] {
            std::fs::write(&path, broken).expect("written");
            let error = Keys::read(&path, uid).expect_err(broken).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(Keys::read(&link, uid).is_err());
        std::fs::hard_link(&path, directory.path().join("hard")).expect("a link");
        assert!(Keys::read(&path, uid).is_err());
    }
}
