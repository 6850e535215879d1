//! The scan of files that agents read as instructions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PathText, SessionId};
use crate::scan::Finding;

/// `scan/path`: looks for what is there to take an agent over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanPath {
    /// A file, or a directory, below which the files are scanned that agents read as instructions. Absolute, or relative to
    /// the session's workspace. It is read with the caller's own rights.
    pub path: PathText,
    /// The session; where it is left out, the one session that this connection has opened, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// A finding, and the file that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspect {
    /// The file: relative to the directory that was scanned, or empty where that was a file itself.
    pub path: String,
    /// SHA-256 of the file, in hexadecimal: what a policy's `accept` takes.
    pub sha256: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The reply to `scan/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scanned {
    /// File by file, in the order of each text.
    pub findings: Vec<Suspect>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether everything was looked at: a directory without end, or one that takes too long, is not.
    pub complete: bool,
}
