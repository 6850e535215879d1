//! Backup and import: what an installation knows, in one file that shows when it was changed.
//!
//! A backup is a zip (0600) of the configuration, the jobs, the state and the audit log, with a manifest that has the size and
//! the SHA-256 of each. The database is copied by SQLite's own backup, the log up to its last whole record, so that a daemon
//! may go on meanwhile. Secrets (keys, and what else lies beside the configuration) are in it only when they are asked for,
//! encrypted under a passphrase.
//!
//! An archive is a stranger's until it has been verified, all of it, in a directory of its own. What is imported then replaces
//! what has its name, file by file by rename, and can be undone. Nothing outside the two directories is written, whatever the
//! archive says.

mod apply;
mod log;
mod manifest;
mod read;
mod seal;
mod share;
mod take;

use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

pub use apply::{Change, Imported, Undone, apply, changes, undo, unfinished};
pub use manifest::{Entry, FORMAT, Manifest};
pub use read::{Staged, stage};
pub use share::share;
pub use take::{Taken, take};
pub(super) use take::{below, is_plain};

use sha2::{Digest as _, Sha256};

use crate::ops::scratch::Scratch;
use crate::supervisor::Directories;

/// Largest file of configuration.
const MAX_CONFIG: u64 = 16 << 20;

/// Where the parts of an archive belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `config/` of an archive: `execward.toml`, `policy.toml`, `jobs/`.
    pub config: PathBuf,
    /// `state/` of an archive: the database, the audit log, keys.
    pub state: PathBuf,
    /// Whose they are.
    pub uid: u32,
}

impl Places {
    /// Those of whoever calls.
    pub fn of(directories: &Directories, config: Option<&Path>, uid: u32) -> Self {
        let named = config.and_then(Path::parent).map(Path::to_owned);
        let standing = directories.config.clone().unwrap_or_else(|| "/etc/execward".into());
        Self { config: named.unwrap_or(standing), state: directories.state.clone(), uid }
    }

    /// Where a member of an archive goes; `None` for a name that is none of ours. Each part of it is a plain name, so that it
    /// cannot lead out.
    fn target(&self, name: &str) -> Option<PathBuf> {
        let (first, rest) = name.split_once('/')?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.len() <= 255
                && !part.contains(['\0', '\\', '\n'])
        };
        if !rest.split('/').all(plain) || rest.split('/').count() > 8 {
            return None;
        }
        match first {
            "config" => Some(self.config.join(rest)),
            "state" => (matches!(rest, "state.db" | "keys.toml" | "secrets.toml")
                || rest.strip_prefix("audit/").is_some_and(|name| !name.contains('/')))
            .then(|| self.state.join(rest)),
            _ => None,
        }
    }
}

/// Why there is no backup, or no import.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A call failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The state cannot be copied.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] crate::audit::LogError),
    /// The archive is not one that can be believed.
    #[error("{}: {what}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The secrets cannot be read.
    #[error("the secrets of the archive: {0}")]
    Secrets(String),
    /// There is nothing to undo.
    #[error("there is no import to undo in {}", .0.display())]
    NothingToUndo(PathBuf),
    /// An import was broken off, and what is there is neither the old nor the new.
    #[error("an import into {} was broken off, and what is there is a mixture", .0.display())]
    Unfinished(PathBuf),
    /// Somebody works with what would be replaced.
    #[error("somebody has {} open: a daemon runs with what would be replaced", .0.display())]
    InUse(PathBuf),
}

impl BackupError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "nothing was changed; take another backup, or the one before",
            Self::Secrets(_) => "nothing was changed; give the passphrase that the backup was made with",
            Self::Unfinished(_) => "take it back first: execward import --undo",
            Self::InUse(_) => {
                "stop it first: systemctl stop execward.service execward-agent.socket execward-operator.socket"
            }
            _ => "",
        }
    }
}

/// A directory of nobody else's, beside the state.
fn scratch(state: &Path) -> Result<Scratch, BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(io("make", state))?;
    Scratch::within(state, ".work-", 0o700).map_err(io("make a directory in", state))
}

/// Copies to the end: how many bytes, and the SHA-256 of them in hexadecimal.
fn hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 64 << 10]);
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        let part = buffer.get(..read).unwrap_or_default();
        hash.update(part);
        to.write_all(part)?;
        size += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { action, path, error }
}

#[cfg(test)]
mod tests;
