//! Standing grants, and the modes in which a person is not asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AnswerKind, ApprovalId, Bounded, GrantId, SessionId};
use crate::gate::Command;

/// How long a standing grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Until its session ends, or it expires.
    Session,
    /// Until it expires.
    Always,
}

/// How asks are answered. Hardline and deny rules stand in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By a person.
    #[default]
    Manual,
    /// By an assessor where the risk is low, else by a person.
    Smart,
    /// With yes: for throw-away hosts.
    Off,
    /// With yes, in one session, until a time.
    Yolo,
}

impl Mode {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Smart => "smart",
            Self::Off => "off",
            Self::Yolo => "yolo",
        }
    }

    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Manual, Self::Smart, Self::Off, Self::Yolo].into_iter().find(|mode| mode.name() == name)
    }
}

/// How wide the shape of a standing grant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// This command, word for word.
    #[default]
    Exact,
    /// The same program, words and flags, with other paths below the workspace in place of those that were given.
    Paths,
}

/// Which commands a standing grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// This command, word for word.
    Exact(Command),
    /// These words in this order. Each flag is one of them: there may be no other.
    Words(Vec<Slot>),
}

/// A place in the shape of an argv.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// This word.
    Word(String),
    /// One path or more, each below the workspace, none that starts with `-` or leads up.
    Paths,
}

/// A rule as it was when it asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BoundRule {
    /// Its id.
    pub id: String,
    /// SHA-256 of what it says, in hexadecimal.
    pub digest: String,
}

/// What a standing grant is bound to. A command is covered when all of it fits, and every rule that asks is among these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Which commands.
    pub shape: Shape,
    /// Where they start.
    pub cwd: String,
    /// The workspace.
    pub workspace: String,
    /// Its inode: another directory at the same path is another workspace.
    pub inode: u64,
    /// What runs them: `jail`, `docker`.
    pub backend: String,
    /// SHA-256 of the profile that confines them, in hexadecimal.
    pub profile: String,
    /// The rules that asked.
    pub rules: Vec<BoundRule>,
    /// The script files that the command names, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
}

/// A script file that a command names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Script {
    /// Absolute.
    pub path: String,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A standing grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its name.
    pub grant: GrantId,
    /// How long it stands.
    pub scope: Scope,
    /// The session that it ends with, for one of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// User id of whose commands it is for.
    pub uid: u32,
    /// What it is bound to.
    pub bound: Bound,
    /// Who gave it: a name, and a user id.
    pub approver: String,
    /// See `approver`.
    pub approver_uid: u32,
    /// When: RFC 3339, UTC.
    pub created: String,
    /// Until when: RFC 3339, UTC.
    pub expires: String,
    /// When it was taken back, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
    /// How often it let a command run.
    pub uses: u64,
    /// When it last did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// When a grant was taken back, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// RFC 3339, UTC.
    pub at: String,
    /// A name.
    pub by: String,
}

/// `grant/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListGrants {
    /// Those that are over as well.
    #[serde(default)]
    pub all: bool,
}

/// The reply to `grant/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// Oldest first.
    pub grants: Vec<Grant>,
}

/// The grant that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfGrant {
    /// Its name.
    pub grant: GrantId,
}

/// A year at most: what nobody looks at for longer is forgotten.
pub type GrantTime = Bounded<1000, { 366 * 24 * 3600 * 1000 }>;

/// `approval/preview`: what a standing answer would stand for, before it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewApproval {
    /// The question.
    pub approval: ApprovalId,
    /// `session` or `always`.
    pub answer: AnswerKind,
    /// How wide.
    #[serde(default)]
    pub width: Width,
}

/// What a standing answer would stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// What the grant would be bound to.
    pub bound: Bound,
    /// How long it would stand where nothing else is said, in milliseconds.
    pub expires_ms: u64,
    /// What stays excluded, one sentence each.
    pub excluded: Vec<String>,
    /// Past commands that it would have allowed, newest first: no more than a person reads.
    pub past: Vec<Past>,
    /// How many there were in all.
    pub past_in_all: u64,
    /// How many past decisions were looked at.
    pub looked_at: u64,
    /// To be given with the answer: says that this was seen.
    pub seen: String,
}

/// A past command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// Number of its record.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub time: String,
    /// The command, on one line, as it was recorded.
    pub command: String,
    /// What became of it: `run`, `refused`, ...
    pub outcome: String,
}

/// `session/mode`: how the asks of a session are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSessionMode {
    /// The session.
    pub session: SessionId,
    /// The mode; its principal's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// For how long, in milliseconds; needed for `yolo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<Bounded<1000, { 24 * 3600 * 1000 }>>,
}

/// `principal/mode`: how the asks of a principal are answered, in sessions that have no mode of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPrincipalMode {
    /// User id.
    pub uid: u32,
    /// The mode; `yolo` is for sessions.
    pub mode: Mode,
}

/// Who may connect, and who wants to: `principal/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// Those whom the configuration names or a code let in, with what they may do.
    pub principals: Vec<KnownPrincipal>,
    /// Those who wait for a code of theirs to be confirmed. The code is not known here.
    pub pending: Vec<PendingPairing>,
}

/// Somebody who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownPrincipal {
    /// User id; absent for a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group id; absent for a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Its name, or its number.
    pub name: String,
    /// What it may do: `agent`, `approver`, `admin`, `auditor`.
    pub roles: Vec<String>,
    /// `config`, or who confirmed its code and when.
    pub by: String,
    /// How its asks are answered.
    pub mode: Mode,
}

/// Somebody who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingPairing {
    /// User id.
    pub uid: u32,
    /// Its name, or its number.
    pub name: String,
    /// When the code was made: RFC 3339, UTC.
    pub asked: String,
    /// Until when it counts: RFC 3339, UTC.
    pub expires: String,
}

/// `principal/pair`: confirms a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairPrincipal {
    /// As the agent was given it; dashes, blanks and case do not count.
    pub code: super::Words,
}

/// The reply to `principal/pair`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paired {
    /// User id.
    pub uid: u32,
    /// Its name, or its number.
    pub name: String,
}

/// `principal/revoke`: takes back what a code gave. Its connections and sessions end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokePrincipal {
    /// User id.
    pub uid: u32,
}
