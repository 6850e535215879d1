//! The sections of a policy that other modules carry out: environment, workspace, network, limits, approval.

use std::time::Duration;

use serde::Deserialize;

use super::units::{ByteSize, duration};

/// Which variables reach a command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Environment {
    /// Names that pass beyond the built-in allowlist; a trailing `*` stands for any rest (`"LC_*"`). Naming a variable
    /// that looks like a credential, or one that injects code into programs, is how a policy says that it is meant.
    pub pass: Vec<String>,
}

/// Where commands may work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workspace {
    /// Absolute directories below which a command may work. Empty: the directory in which it was asked for.
    pub roots: Vec<String>,
}

/// What of the network a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// The host's network, unfiltered.
    Host,
}

/// The `[network]` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// See [`NetworkMode`].
    pub mode: NetworkMode,
}

/// What a command may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Wall-clock time of a command; its tree is ended then (exit code 124).
    #[serde(deserialize_with = "duration")]
    pub time: Duration,
    /// Time between the polite signal and SIGKILL.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// Memory of a command's whole tree.
    pub memory: ByteSize,
    /// Processes and threads of a command's whole tree.
    pub processes: u32,
    /// Open descriptors of one process.
    pub open_files: u32,
    /// Largest file that a process may write.
    pub file_size: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            grace: Duration::from_secs(2),
            memory: ByteSize(4 << 30),
            processes: 1024,
            open_files: 4096,
            file_size: ByteSize(16 << 30),
        }
    }
}

/// How a person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approval {
    /// How long an answer is waited for. No answer in time is a deny.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

impl Default for Approval {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60) }
    }
}
