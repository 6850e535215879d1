//! The first request of every connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Principal;
use super::text::Words;

/// The version of the protocol. It grows by fields of results, by methods and by notifications without a new number; a
/// change that a client could misunderstand gets one.
pub const PROTOCOL: u64 = 1;

/// `hello`: says who is there, and agrees on the version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The version that the client speaks.
    pub protocol: u64,
    /// What the client is, for people: nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Words>,
}

/// What the server says of itself and of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The version that this connection speaks.
    pub protocol: u64,
    /// The server.
    pub server: Software,
    /// Who the peer is, as the kernel says.
    pub principal: Principal,
    /// What it may do here.
    pub role: Role,
    /// What an operator may do beside looking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Whether something separates this peer from those who approve.
    pub separation: Separation,
    /// What this connection must keep to.
    pub limits: Limits,
    /// Every method of this socket.
    pub methods: Vec<String>,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Software {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Has commands run.
    Agent,
    /// Looks at what there is, and does what its other roles permit.
    Operator,
    /// Answers questions, takes grants back, and ends sessions.
    Approver,
    /// Lets agents in, sets modes, and has the policy read again.
    Admin,
    /// Reads the record.
    Auditor,
}

impl Role {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }
}

/// What stands between a requester and those who approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Separation {
    /// Nothing in user space: they share a user id, and a command could pass for its operator.
    None,
    /// The kernel: they are different users.
    Uid,
}

/// What a connection must keep to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Longest line, its end not counted, in bytes.
    pub frame: u64,
    /// Deepest nesting of objects and arrays.
    pub depth: u64,
    /// Longest command, in bytes.
    pub command: u64,
    /// Sessions of this principal at a time.
    pub sessions: u64,
    /// Commands of one session at a time.
    pub execs: u64,
    /// Requests of one connection that may wait for their reply at a time.
    pub requests: u64,
    /// Output of one command that is kept for a reader, in bytes.
    pub output: u64,
}
