//! A runner that somebody's command has reached, on another machine as a rule: how it greets, and what it stands on.
//!
//! The supervisor knows nothing of that place. It says which directory is meant and what the least isolation is; the runner
//! looks there, makes the sandbox that can be made, and says which it is.

use serde::{Deserialize, Serialize};

/// The version that both ends must have: frames are not translated.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The user of a sandbox elsewhere, and its home in a private root: nobody's name there.
pub const FAR_USER: &str = "agent";
/// See [`FAR_USER`].
pub const FAR_HOME: &str = "/home/agent";

/// How a supervisor greets a runner that it has not started itself. Nothing else is said before the answer has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Of the supervisor: [`VERSION`].
    pub version: String,
    /// The runner says something at least this often, in milliseconds, so that silence means that it is gone.
    pub alive_ms: u64,
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeted {
    /// Of the runner: [`VERSION`].
    pub version: String,
    /// The name of its machine, for the receipt.
    pub host: String,
}

/// What a runner elsewhere is told of the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Far {
    /// The launcher's name; for the receipt.
    pub launcher: String,
    /// Whether the workspace is made where it is missing.
    pub make: bool,
    /// The directory there that the configuration names, in which the workspace is. For the supervisor alone.
    #[serde(skip)]
    pub root: std::path::PathBuf,
}
