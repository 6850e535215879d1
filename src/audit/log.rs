//! The log on disk.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;

use super::chain::{Durable, Key};
use super::record::Record;

/// An open log: a directory with `audit.jsonl` and `key`.
#[derive(Debug)]
pub struct Log {
    key: Key,
}

/// Why a record could not be kept. No record, no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A file could not be opened, read, written or synced.
    #[error("audit log: cannot {action} {}: {}", path.display(), errno.desc())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Of the call.
        errno: Errno,
    },
}

impl Log {
    /// Opens the log in `dir`, making directory, file and key where they are missing.
    ///
    /// # Errors
    ///
    /// When anything there is not ours alone, or cannot be written.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Err(LogError::Io { action: "open", path: dir.to_owned(), errno: Errno::ENOSYS })
    }

    /// Appends a record; when this returns it is on disk.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn append(&mut self, _record: &Record, _at: Timestamp) -> Result<Durable, LogError> {
        Err(LogError::Io { action: "append to", path: PathBuf::new(), errno: Errno::ENOSYS })
    }

    /// The log's key, for digests.
    pub fn key(&self) -> &Key {
        &self.key
    }
}
