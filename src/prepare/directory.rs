//! The working directory: opened once, checked by descriptor, entered by descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::wire::runner::FileId;

/// A directory that was opened and checked.
#[derive(Debug)]
pub struct Directory {
    /// Open with O_PATH.
    pub fd: OwnedFd,
    /// Absolute, without symbolic links: what the descriptor really is.
    pub path: PathBuf,
    /// Device and inode.
    pub id: FileId,
    /// Owner: uid, gid.
    pub owner: (u32, u32),
}

/// A directory below which commands may work, opened once.
#[derive(Debug)]
pub struct Root(Directory);

impl Root {
    /// Opens a root. Its own path may lead through symbolic links; what it is is fixed from here on.
    ///
    /// # Errors
    ///
    /// As [`open`], except for containment.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        Err(DirectoryError::Missing { path: path.to_owned() })
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.0
    }
}

impl From<Directory> for Root {
    fn from(directory: Directory) -> Self {
        Self(directory)
    }
}

/// Why a directory was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Nothing there.
    #[error("{}: no such directory", path.display())]
    Missing {
        /// As asked for.
        path: PathBuf,
    },
    /// Anything else that open(2) says.
    #[error("{}: {}", path.display(), errno.desc())]
    Open {
        /// As asked for.
        path: PathBuf,
        /// Of the call.
        errno: Errno,
    },
}

/// What a workspace must not be.
#[derive(Debug, Clone, Copy)]
pub struct WorkspaceRules<'a> {
    /// Home of the requester.
    pub home: &'a Path,
    /// execward's own directories (state, configuration, run): never a workspace, nor a parent of one, flag or no flag.
    pub state: &'a [PathBuf],
    /// `--allow-broad-workspace` was given.
    pub allow_broad: bool,
}

/// Opens the directory in which a command will start: absolute, below one of `roots`.
///
/// # Errors
///
/// See [`DirectoryError`].
pub fn open(path: &Path, _roots: &[Root]) -> Result<Directory, DirectoryError> {
    Err(DirectoryError::Missing { path: path.to_owned() })
}

/// Opens a workspace, and refuses one that is broader than a piece of work: `/`, a home, `/tmp`, a system directory.
///
/// # Errors
///
/// See [`DirectoryError`].
pub fn workspace(path: &Path, _rules: WorkspaceRules<'_>) -> Result<Directory, DirectoryError> {
    Err(DirectoryError::Missing { path: path.to_owned() })
}
