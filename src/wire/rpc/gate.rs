//! The question what would be decided, with nothing run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PathText, SessionId, VarName, VarValue};
use crate::gate::{Command, Decision, Finding};

/// `gate/check`: what would be decided about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The command: `{"argv": [...]}` or `{"shell": "..."}`.
    pub command: Command,
    /// The session in which it would run; where it is left out, the one session that this connection has opened, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The directory in which it would run: absolute, or relative to the workspace. Without a session it is taken for the
    /// workspace, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathText>,
    /// Variables that it would add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<VarName, VarValue>,
}

/// The reply to `gate/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// The strictest of the findings.
    pub decision: Decision,
    /// Strictest first.
    pub findings: Vec<Finding>,
    /// SHA-256 of the policy that judged, in hexadecimal.
    pub policy: String,
}
