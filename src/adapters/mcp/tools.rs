//! What the tools take and give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gate::{Decision, Finding};
use crate::wire::rpc::{Exec, Report, Signal, State};

/// A result of a tool.
pub(super) trait Answer: Serialize {
    /// Whether the model should take it for a failure.
    fn is_failure(&self) -> bool {
        false
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// Shell text, for bash. Give this or `argv`.
    pub(super) command: Option<String>,
    /// A program and its arguments; no shell reads them.
    pub(super) argv: Option<Vec<String>>,
    /// Where it starts: absolute, or relative to the workspace.
    pub(super) cwd: Option<String>,
    /// Ends it after so many seconds; never later than the policy does.
    pub(super) timeout_seconds: Option<f64>,
    /// How long this call waits for its end: 30 seconds unless said otherwise, at most 300. 0 starts it and comes back.
    pub(super) wait_seconds: Option<f64>,
    /// Whether `write` will send it input. Without, it reads nothing.
    #[serde(default)]
    pub(super) stdin: bool,
    /// Starts it in the directory in which the last such `command` of the session ended, with the variables that it exported.
    #[serde(default)]
    pub(super) persist: bool,
    /// A session of `open_session`; the server's own where it is left out.
    pub(super) session: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// The command, as `run` called it.
    pub(super) id: String,
    /// How long to wait for its end: 30 seconds unless said otherwise, at most 300.
    pub(super) wait_seconds: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    /// The command, as `run` called it.
    pub(super) id: String,
    /// What to write.
    #[serde(default)]
    pub(super) text: String,
    /// Whether this is the end of its input.
    #[serde(default)]
    pub(super) end: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// A session of `open_session`; the server's own where it is left out.
    pub(super) session: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kill {
    /// The command, as `run` called it.
    pub(super) id: String,
    /// A signal for it to handle, in place of its certain end.
    pub(super) signal: Option<Signal>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// Shell text, for bash. Give this or `argv`.
    pub(super) command: Option<String>,
    /// A program and its arguments; no shell reads them.
    pub(super) argv: Option<Vec<String>>,
    /// Where it would start: absolute, or relative to the workspace.
    pub(super) cwd: Option<String>,
    /// A session of `open_session`; the server's own where it is left out.
    pub(super) session: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    /// The directory that its commands may change; absolute.
    pub(super) workspace: String,
    /// A profile of the policy.
    pub(super) profile: Option<String>,
}

/// A command, as far as it has come.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Going {
    /// What the other tools call it.
    pub(super) id: String,
    /// `waiting` for a person, `running`, or `ended`.
    pub(super) state: State,
    /// Its exit status; there where it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<u8>,
    /// What it wrote to stdout since it was last read. Secrets are masked.
    pub(super) stdout: Text,
    /// What it wrote to stderr.
    pub(super) stderr: Text,
    /// The question that a person must answer first; there while it is `waiting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approval: Option<Approval>,
    /// How it came out; there once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Box<Report>>,
}

impl Answer for Going {
    fn is_failure(&self) -> bool {
        use crate::wire::rpc::Outcome;
        self.report.as_ref().is_some_and(|report| !matches!(report.outcome, Outcome::Exited { code: 0 }))
    }
}

/// Output of one stream.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Text {
    /// It, with U+FFFD for what is no UTF-8; where it was long, its beginning and its end.
    pub(super) text: String,
    /// Bytes left out in the middle.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where a pending question can be answered.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Approval {
    /// The request, as operators and the audit log call it.
    pub(super) request_id: String,
    /// What to tell the user.
    pub(super) how: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// Bytes that it took.
    pub(super) bytes: u64,
}

impl Answer for Written {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    /// Oldest first.
    pub(super) commands: Vec<Exec>,
}

impl Answer for Listed {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Killed {
    /// The command.
    pub(super) id: String,
}

impl Answer for Killed {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Checked {
    /// The strictest of the findings.
    pub(super) decision: Decision,
    /// Strictest first.
    pub(super) findings: Vec<Finding>,
}

impl Answer for Checked {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Opened {
    /// What the other tools call it.
    pub(super) session: String,
    /// The directory that its commands may change.
    pub(super) workspace: String,
    /// Places in the workspace's agent files that look like attempts to take an agent over: `path:line:column reason`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scanned: Vec<String>,
}

impl Answer for Opened {}
