//! Sessions: a workspace, a sandbox, and the commands in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bounded, PathText, Principal, Separation, SessionId, Suspect, Words};
use crate::wire::runner::{Network, Receipt};

/// Milliseconds up to a week.
pub type Lifetime = Bounded<1, { 7 * 24 * 3600 * 1000 }>;

/// `session/open`: makes a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// The directory that commands may change: absolute, the caller's own, and one that the policy permits.
    pub workspace: PathText,
    /// The profile of the policy to run under; the principal's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Words>,
    /// What the sandbox is made by; what the policy says where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// The image of the container; what the policy says where it is left out. Only one that the policy permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Words>,
    /// The launcher that reaches the sandbox's place, in place of a backend: one that the policy permits. The workspace is a
    /// directory there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<Words>,
    /// What commands reach; what the policy says where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Tighter limits than the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SessionLimits>,
    /// What it is for, in the caller's words; shown to people as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Words>,
    /// How long the session is kept once no connection that used it is left, in milliseconds.
    #[serde(default = "linger")]
    pub linger_ms: Bounded<0, { 24 * 3600 * 1000 }>,
}

/// What a sandbox is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Namespaces of this machine.
    Jail,
    /// A container of its own.
    Docker,
}

/// A minute: enough to connect again, short enough that nothing is forgotten.
fn linger() -> Bounded<0, { 24 * 3600 * 1000 }> {
    Bounded::clamped(60_000)
}

/// What a session may use up. Each is the smaller of this and the policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionLimits {
    /// Memory of all processes together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bounded<1_048_576, { 1 << 50 }>>,
    /// Processes and threads together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Bounded<1, 4_194_304>>,
    /// How long the session may last, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<Lifetime>,
}

/// A session that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOpened {
    /// Its name; to be kept as a secret is not needed, since it is useless to other principals.
    pub session: SessionId,
    /// The workspace as it was opened: absolute, without symbolic links.
    pub workspace: String,
    /// What confines its commands.
    pub receipt: Receipt,
    /// Whether something separates the caller from those who approve.
    pub separation: Separation,
    /// What the scan of the workspace's agent files found, from the severity on that the policy names; what happens then
    /// is the policy's to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scanned: Vec<Suspect>,
}

/// The session that a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfSession {
    /// Its name; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// A session, as its principal and operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Its name.
    pub session: SessionId,
    /// Whose it is.
    pub principal: Principal,
    /// The directory that its commands may change.
    pub workspace: String,
    /// Where its next shell command with `persist` starts.
    pub cwd: String,
    /// What it is for, in its principal's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was opened: RFC 3339, UTC.
    pub opened: String,
    /// Commands in it that have not ended.
    pub running: u64,
    /// Commands started in it so far.
    pub started: u64,
    /// Connections that use it.
    pub connections: u64,
    /// What confines its commands.
    pub receipt: Receipt,
}

/// `session/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// Oldest first.
    pub sessions: Vec<Session>,
}
