//! Why a command of a private supervisor got nowhere, and what to do about it.

use std::path::PathBuf;

use super::super::local::LocalError;
use super::super::pipeline::ProfileError;
use super::super::policy_file::PolicyFileError;
use super::super::scribe::Unwritten;
use crate::audit::LogError;
use crate::prepare::{DirectoryError, EnvironmentError};
use crate::sandbox::LaunchError;

/// Why a request got no verdict, or a cleared command no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// Something that an agent in a sandbox is to see cannot be found.
    #[error("cannot show {} in the sandbox: {error}", path.display())]
    Shown {
        /// What.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// This user cannot be served.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No record can be kept.
    #[error("{0}")]
    Log(String),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The current directory is gone.
    #[error("the current directory: {0}")]
    CurrentDirectory(std::io::Error),
    /// A directory is refused.
    #[error("the {role}: {error}")]
    Directory {
        /// `workspace` or `working directory`.
        role: &'static str,
        /// What is wrong with it.
        error: DirectoryError,
    },
    /// A directory of execward's own is missing from the workspace, and cannot be made to be hidden there.
    #[error("cannot make {}, which the command could make in its workspace: {error}", path.display())]
    OwnDirectory {
        /// The directory.
        path: PathBuf,
        /// Of the call.
        error: std::io::Error,
    },
    /// A path that cannot be told to the gate or to the command.
    #[error("the path {} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// The profile cannot be had.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// There is too much of it.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// There is no sandbox.
    #[error("the sandbox: {0}")]
    Sandbox(#[from] LaunchError),
    /// A system call that should not fail did.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
}

impl From<LogError> for EmbeddedError {
    fn from(error: LogError) -> Self {
        Self::Log(error.to_string())
    }
}

impl From<Unwritten> for EmbeddedError {
    fn from(error: Unwritten) -> Self {
        Self::Log(error.to_string())
    }
}

impl EmbeddedError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Local(error) => error.hint().to_owned(),
            Self::Log(_) => "nothing runs without its record: make room or mend the permissions, or name another \
                             directory with --state DIR"
                .to_owned(),
            Self::Policy(error) => error.hint(),
            Self::CurrentDirectory(_) => "change to a directory that exists".to_owned(),
            Self::Directory { role: "workspace", .. } => {
                "name a directory of your own with --workspace DIR; --allow-broad-workspace permits `/`, a home or \
                 /tmp"
                .to_owned()
            }
            Self::Profile(error) => error.hint(),
            Self::Sandbox(error) => error.hint().to_owned(),
            _ => String::new(),
        }
    }
}
