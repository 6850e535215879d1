//! What operators ask: questions that wait for a person, sessions, the policy, the record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApprovalId, Bounded, ExecId, GrantTime, Principal, RequestId, Script, Separation, SessionId, Width, Words,
};
use crate::gate::{Command, Finding};

/// A command that waits for a person. Everything in it that came from the requester is to be escaped before it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The question.
    pub approval: ApprovalId,
    /// As the audit log calls the command.
    pub request_id: RequestId,
    /// Who asks.
    pub principal: Principal,
    /// Its session.
    pub session: SessionId,
    /// What the session is for, in the requester's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// As the requester called it.
    pub id: ExecId,
    /// Exactly what would run.
    pub command: Command,
    /// The command on one line, as a shell reads it, which the spans of the findings point into.
    pub display: String,
    /// Where it would start.
    pub cwd: String,
    /// The directory that it may change.
    pub workspace: String,
    /// Why a person is asked, strictest first.
    pub findings: Vec<Finding>,
    /// The script files that the command names, as they are now: what is approved is what runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
    /// Whether something separates the requester from the operator who is being asked.
    pub separation: Separation,
    /// When it was asked: RFC 3339, UTC.
    pub asked: String,
    /// When silence becomes a no: RFC 3339, UTC.
    pub expires: String,
    /// The answers that are open.
    pub answers: Vec<AnswerKind>,
}

impl Approval {
    /// Whether two questions ask the same: of the same session, with the same command, in the same place.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.session == other.session && self.command == other.command && self.cwd == other.cwd
    }
}

/// The kinds of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AnswerKind {
    /// Yes, for this one time.
    Once,
    /// Yes, and to commands like it until the session ends.
    Session,
    /// Yes, and to commands like it until the grant expires.
    Always,
    /// No.
    Deny,
}

/// `approval/list`, and the reply to `approval/watch`: from then on the connection gets `approval/pending` and
/// `approval/settled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approvals {
    /// Those that wait, oldest first.
    pub approvals: Vec<Approval>,
}

/// `approval/answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerApproval {
    /// The question.
    pub approval: ApprovalId,
    /// The answer.
    pub answer: AnswerKind,
    /// Why, for the requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Words>,
    /// For `session` and `always`: how wide the grant is.
    #[serde(default)]
    pub width: Width,
    /// For `session` and `always`: how long it stands at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<GrantTime>,
    /// For `always`, and for a width beyond `exact`: the `seen` of the preview that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Words>,
    /// For `once`: on tighter terms than were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrower: Option<Narrower>,
    /// For `once`: hosts with their ports that this one command may reach, by a proxy that nothing else of its session has.
    /// Beside them it reaches what the session's own proxy leads to; nothing else, where the session has the host's network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 8))]
    pub hosts: Vec<Words>,
}

impl AnswerApproval {
    /// Most [`Self::hosts`].
    pub const HOSTS: usize = 8;
}

/// Tighter terms. What is left out stays as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Narrower {
    /// A shorter wall-clock limit, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Bounded<1, { 7 * 24 * 3600 * 1000 }>>,
    /// No network at all, not even the session's loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// The workspace cannot be changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// `approval/pending`: one more waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PendingEvent(pub Approval);

/// `approval/settled`: one waits no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettledEvent {
    /// The question.
    pub approval: ApprovalId,
    /// What became of it.
    #[serde(flatten)]
    pub settled: Settled,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "settled", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Settled {
    /// An operator answered.
    Answered {
        /// How.
        answer: AnswerKind,
        /// Who.
        by: Principal,
    },
    /// Nobody answered in time: a no.
    Expired,
    /// The requester gave up.
    Withdrawn,
}

/// `session/kill`: ends a session, whosever it is, and all of its commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSession {
    /// The session.
    pub session: SessionId,
    /// Why, for its principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Words>,
}

/// The policy in force: `policy/show`, and the reply to `policy/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Where it came from: a path, or `built-in`.
    pub source: String,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// How many rules it has.
    pub rules: u64,
    /// Its text; not in the reply to a reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// In the reply to a reload: sections of the configuration that are different now and that a daemon reads at its start alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
}

/// `audit/tail`: the last records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TailAudit {
    /// How many.
    #[serde(default = "lines")]
    pub lines: Bounded<0, 1000>,
    /// Whether those that come later are to be sent as `audit/record`.
    #[serde(default)]
    pub follow: bool,
}

fn lines() -> Bounded<0, 1000> {
    Bounded::clamped(10)
}

/// The reply to `audit/tail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Records {
    /// Oldest first; each as the log has it.
    pub records: Vec<serde_json::Value>,
}

/// `audit/record`: one more record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordEvent {
    /// As the log has it.
    pub record: serde_json::Value,
}
