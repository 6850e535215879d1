//! Named secrets, for the commands to which the policy gives them: a file for its owner alone, of lines `name = "value"`.
//!
//! What is in it is erased from memory after use and shown nowhere. A value that could not be told from ordinary text in an
//! output is none: it could not be masked there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, value};
use zeroize::Zeroizing;

use crate::policy::is_secret_name;
use crate::private::{self, PrivateError};
use crate::redact::Secret;

/// Largest file, in bytes.
pub const MOST: u64 = 1 << 20;

/// Largest value, in bytes: as a variable it travels with its name in what execve(2) takes of one (MAX_ARG_STRLEN).
pub const LARGEST: usize = 64 << 10;

/// Shortest value, in bytes: shorter ones are not looked for in output.
pub const SHORTEST: usize = 8;

/// Shortest part of a value of many lines that is looked for by itself.
const PART: usize = 16;

/// All secrets, by name.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Zeroizing<String>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a secret is not used, or not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// The file cannot be used.
    #[error("the file of secrets {}{error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PrivateError,
    },
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The name is none.
    #[error("`{0}` is not the name of a secret: up to 64 lower-case letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// The value could not be masked, or not be given.
    #[error("the secret `{name}` {unsound}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        unsound: Unsound,
    },
    /// There is none of the name.
    #[error("there is no secret `{0}`")]
    Missing(String),
}

/// Why a value cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsound {
    /// Fewer than [`SHORTEST`] bytes.
    #[error("is shorter than {SHORTEST} bytes: it could not be masked in output without masking much else")]
    Short,
    /// More than [`LARGEST`] bytes.
    #[error("is larger than {LARGEST} bytes")]
    Large,
    /// A word, a number, or the like.
    #[error(
        "is too much like ordinary text (a word, a number, few different characters) to be masked in output: \
         choose one that is random"
    )]
    Plain,
    /// A NUL byte, which no variable can hold.
    #[error("holds a NUL byte")]
    Nul,
}

impl Secrets {
    /// Reads the file. Without one there are no secrets.
    ///
    /// # Errors
    /// When it belongs to somebody else, anybody else may read or write it, or it holds what is no secret. No error quotes a
    /// value.
    pub fn read(path: &Path, uid: u32) -> Result<Self, SecretsError> {
        let failed = |error| SecretsError::File { path: path.to_owned(), error };
        let Some(text) = private::read(path, uid, MOST).map_err(failed)? else { return Ok(Self::default()) };
        // The parser's own message quotes the line, which holds a value.
        let all: BTreeMap<String, String> = toml::from_str(&text)
            .map_err(|_| failed(PrivateError::Unsafe("is not of the form `name = \"value\"`, in TOML")))?;
        let all = Self(all.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect());
        for (name, value) in &all.0 {
            check(name, value)?;
        }
        Ok(all)
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&Zeroizing<String>> {
        self.0.get(name)
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What is looked for in output: each value, and of one of many lines the parts that could be shown without the rest.
    pub fn known(&self) -> Vec<Secret> {
        let mut all = Vec::new();
        for (name, value) in &self.0 {
            all.push(Secret::new(name, value.as_bytes()));
            if value.trim_ascii().contains('\n') {
                let parts = value.split(|c: char| c.is_whitespace() || "\"',".contains(c));
                let parts = parts.filter(|part| part.len() >= PART && !part.starts_with("-----"));
                all.extend(
                    parts.filter(|part| sound(part).is_ok()).map(|part| Secret::new(name, part.as_bytes())),
                );
            }
        }
        all
    }

    /// Puts a secret into the file, in the place of one of the same name. Comments and order stay.
    ///
    /// # Errors
    /// When it is none, or the file is not one that would be used, or cannot be written: nothing has changed then.
    pub fn set(path: &Path, uid: u32, name: &str, secret: &str) -> Result<(), SecretsError> {
        check(name, secret)?;
        change(path, uid, |document| {
            document.insert(name, value(secret));
            Ok(())
        })
    }

    /// Takes one out.
    ///
    /// # Errors
    /// As [`Self::set`], and when there is none of the name.
    pub fn remove(path: &Path, uid: u32, name: &str) -> Result<(), SecretsError> {
        change(path, uid, |document| {
            document.remove(name).map(drop).ok_or_else(|| SecretsError::Missing(name.to_owned()))
        })
    }
}

fn change(
    path: &Path,
    uid: u32,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), SecretsError>,
) -> Result<(), SecretsError> {
    // Refused where it would not be used.
    Secrets::read(path, uid)?;
    let failed = |error| SecretsError::File { path: path.to_owned(), error };
    let text = private::read(path, uid, MOST).map_err(failed)?.unwrap_or_default();
    let unreadable = |_| failed(PrivateError::Unsafe("is not of the form `name = \"value\"`, in TOML"));
    let mut document: DocumentMut = text.parse().map_err(unreadable)?;
    change(&mut document)?;
    let text = Zeroizing::new(document.to_string());
    if text.len() as u64 > MOST {
        return Err(failed(PrivateError::Unsafe("would become larger than such a file may be")));
    }
    // A table by its name alone would be nothing that is read again.
    debug_assert!(document.iter().all(|(_, item)| matches!(item, Item::Value(_))));
    private::replace(path, text.as_bytes())
        .map_err(|error| SecretsError::Write { path: path.to_owned(), error })
}

fn check(name: &str, value: &str) -> Result<(), SecretsError> {
    if !is_secret_name(name) {
        return Err(SecretsError::Name(name.chars().take(64).flat_map(char::escape_debug).collect()));
    }
    sound(value).map_err(|unsound| SecretsError::Value { name: name.to_owned(), unsound })
}

/// Whether a value can be told from what stands around it.
///
/// # Errors
/// Why not.
pub fn sound(value: &str) -> Result<(), Unsound> {
    /// Letters alone, or digits alone, that are fewer are a word or a number.
    const WORD: usize = 20;
    if value.len() > LARGEST {
        return Err(Unsound::Large);
    }
    if value.contains('\0') {
        return Err(Unsound::Nul);
    }
    // As the redactor looks for it.
    let value = value.trim_ascii();
    if value.len() < SHORTEST {
        return Err(Unsound::Short);
    }
    let mut seen = [false; 256];
    value.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    // Words and names of files: `production`, `PRODUCTION`, `Production`, `/usr/bin`, and numbers.
    let mark = |byte: u8| b"/._- ".contains(&byte);
    let all = |kind: fn(&u8) -> bool, skip| value.bytes().skip(skip).all(|byte| kind(&byte) || mark(byte));
    let plain =
        all(u8::is_ascii_lowercase, 1) || all(u8::is_ascii_uppercase, 0) || all(u8::is_ascii_digit, 0);
    if different < 5 || (plain && value.len() < WORD) {
        return Err(Unsound::Plain);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn what_is_set_is_there_and_nothing_of_it_is_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state/secrets.toml");
        let uid = nix::unistd::geteuid().as_raw();
        let read = || Secrets::read(&path, uid);
        assert_eq!(read().expect("none").names().count(), 0);
        Secrets::set(&path, uid, "deploy-token", "s3cr3t-one").expect("set");
        Secrets::set(&path, uid, "a.b", "s3cr3t\n\"two\"\\ \u{e9}\n").expect("set");
        Secrets::set(&path, uid, "deploy-token", "s3cr3t-new").expect("set");
        let all = read().expect("it reads");
        assert_eq!(all.names().collect::<Vec<_>>(), ["a.b", "deploy-token"]);
        assert_eq!(all.get("deploy-token").map(|value| value.as_str()), Some("s3cr3t-new"));
        assert_eq!(all.get("a.b").map(|value| value.as_str()), Some("s3cr3t\n\"two\"\\ \u{e9}\n"));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert!(!format!("{all:?}").contains("s3cr3t"), "{all:?}");
        let text = fs::read_to_string(&path).expect("text");
        fs::write(&path, format!("# of mine\n{text}")).expect("written");
        Secrets::remove(&path, uid, "a.b").expect("removed");
        assert!(fs::read_to_string(&path).expect("text").starts_with("# of mine\n"));
        assert!(matches!(Secrets::remove(&path, uid, "a.b"), Err(SecretsError::Missing(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
        for error in [
            read().expect_err("others can read it").to_string(),
            Secrets::set(&path, uid, "x", "s3cr3t-one").expect_err("not used").to_string(),
        ] {
            assert!(error.contains("can be read by others"), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        for broken in ["deploy = \"s3cr3t", "[a]\nb = \"s3cr3t-one\"", "a = [\"s3cr3t\"]", "a = \"s3c\""] {
            fs::write(&path, broken).expect("written");
            let error = read().expect_err(broken).to_string();
            assert!(!error.contains("s3c"), "{error}");
        }
    }

    #[test]
    fn what_could_not_be_masked_is_refused() {
        for (value, why) in [
            ("s3cr3t!", Unsound::Short),
            ("  s3cr3t \n", Unsound::Short),
            ("password", Unsound::Plain),
            ("Production", Unsound::Plain),
            ("12345678901", Unsound::Plain),
            ("abababababab", Unsound::Plain),
            ("/usr/local/bin", Unsound::Plain),
            ("s3cr3t\0one", Unsound::Nul),
        ] {
            assert_eq!(sound(value), Err(why), "{value:?}");
        }
        assert_eq!(sound(&"a1B2".repeat(LARGEST)), Err(Unsound::Large));
        for value in ["correct horse battery", "hunter2hunter2", "3f9a-77b1", "/a8Fk3+Zq", "Tr0ub4dor&3"] {
            assert_eq!(sound(value), Ok(()), "{value}");
        }
        for name in ["", "Deploy", "a b", "../x", ".x", "-x", "a\"b"] {
            let error = check(name, "s3cr3t-one").expect_err(name);
            assert!(matches!(error, SecretsError::Name(_)), "{error}");
        }
    }

    #[test]
    fn of_many_lines_each_is_known() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSj\nshort\n";
        let all = Secrets(BTreeMap::from([("key".to_owned(), Zeroizing::new(key.to_owned()))]));
        let known = all.known();
        let has = |text: &str| known.iter().any(|one| one.expose() == text.as_bytes());
        assert!(has("MIIEvQIBADANBgkqhkiG9w0B") && has("AQEFAASCBKcwggSj") && has(key));
        assert!(!has("-----BEGIN") && !has("short"));
    }
}
