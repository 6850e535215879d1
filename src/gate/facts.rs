//! What the gate is told about the world, since it may not look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::shell::Dialect;

/// Everything outside the command itself that a verdict depends on. Recorded with each decision, so that it can be
/// replayed under another policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Absolute directory in which the command will start.
    pub cwd: String,
    /// Home directory of the user for whom it runs.
    pub home: String,
    /// Login name of that user, for `~name`.
    pub user: String,
    /// User id of the requester.
    pub uid: u32,
    /// Absolute roots below which the command may work.
    pub workspaces: Vec<String>,
    /// Other users' homes that are known (`~name` expands to them; deleting one is hardline).
    #[serde(default)]
    pub homes: BTreeMap<String, String>,
    /// The environment that the command will start with. A variable that is not here is unset.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The interpreter that will run shell text.
    pub dialect: Dialect,
    /// The backend that will run it: `jail`, `docker`, ...
    #[serde(default)]
    pub backend: String,
    /// The policy's profile that the session or the run was asked for under; empty is `default`.
    #[serde(default)]
    pub profile: String,
}
