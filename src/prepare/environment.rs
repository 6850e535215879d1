//! The environment of a command: built from an allowlist, never inherited.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::redact::Secret;

/// Which variables pass, as data (`policies/environment.toml`).
#[derive(Debug, Clone)]
pub struct Rules {}

impl Rules {
    /// The rules compiled in.
    pub fn builtin() -> Self {
        Self {}
    }
}

/// What execward itself knows and sets, whatever the requester says.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// HOME inside the sandbox, absolute.
    pub home: &'a str,
    /// USER and LOGNAME.
    pub user: &'a str,
    /// SHELL: absolute.
    pub shell: &'a str,
    /// TMPDIR inside the sandbox, absolute.
    pub tmp: &'a str,
    /// PWD: the directory in which the command starts, absolute.
    pub cwd: &'a Path,
    /// Directories that the sandbox may write (workspace, HOME, tmp, ...): PATH entries in them are dropped.
    pub writable: &'a [PathBuf],
}

/// The environment that a command gets, and what was kept from it.
#[derive(Debug)]
pub struct Environment {
    /// Every variable.
    pub vars: BTreeMap<String, String>,
    /// What the requester had and the command does not get.
    pub withheld: Vec<Withheld>,
    /// Values withheld because they look like secrets, for the redactor.
    pub secrets: Vec<Secret>,
}

/// A variable that was not passed on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Withheld {
    /// Its name, made printable; for a dropped entry of a list variable `PATH`.
    pub name: String,
    /// The reason.
    pub why: Why,
    /// The dropped entry of a list variable; empty where the whole variable is withheld.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry: String,
}

/// Why a variable was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// No rule lets it pass.
    NotListed,
    /// Its name looks like a credential's.
    SecretName,
    /// Its value looks like a credential.
    SecretValue,
    /// A loader, shell or interpreter takes code or settings from it.
    Injection,
    /// The name is empty or holds `=`, NUL, a control character or bytes that are not UTF-8.
    BadName,
    /// The value holds NUL or is not UTF-8.
    BadValue,
    /// The value is too long.
    TooLong,
    /// execward sets it itself.
    Ours,
    /// The name came twice; the first one counted.
    Duplicate,
    /// A PATH entry that is not absolute, holds `..`, or is a directory that commands can write.
    UnsafePath,
}

/// Why no environment could be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// All of it together is too large.
    #[error("the environment is {bytes} bytes, more than the {limit} that a command may get")]
    TooLarge {
        /// Of all names and values that would pass.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Builds the environment of a command from the requester's. `pass` are names that the policy passes (`NAME`, or
/// `PREFIX_*`): an exact name passes whatever it is, a pattern never passes secrets or injection variables.
///
/// # Errors
///
/// When what would pass is too large.
pub fn build(
    _rules: &Rules,
    _requester: impl IntoIterator<Item = (OsString, OsString)>,
    _pass: &[String],
    _facts: Facts<'_>,
) -> Result<Environment, EnvironmentError> {
    Ok(Environment { vars: BTreeMap::new(), withheld: Vec::new(), secrets: Vec::new() })
}
