//! How a daemon is, and what happens in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApprovalId, Separation, SessionId};

/// `status/show`: how the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Of execward.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// When it began to serve: RFC 3339, UTC.
    pub started: String,
    /// For how long it has served, in milliseconds.
    pub uptime_ms: u64,
    /// Whether a user id stands between agents and those who approve: `none` for a daemon of an ordinary user.
    pub separation: Separation,
    /// Where the policy in force came from.
    pub policy: String,
    /// Its SHA-256, in hexadecimal.
    pub policy_digest: String,
    /// Sessions that are open.
    pub sessions: u64,
    /// Commands that have not ended.
    pub running: u64,
    /// Questions that wait for an answer.
    pub pending: u64,
    /// Decisions since the start, by what became of the request.
    pub decisions: Vec<Count>,
    /// Jobs.
    pub jobs: JobsStatus,
    /// The engine for containers; `None` where none is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
}

/// How many of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// Of what.
    pub of: String,
    /// How many.
    pub count: u64,
}

/// How the jobs are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobsStatus {
    /// Those that there are.
    pub all: u64,
    /// Those that run.
    pub running: u64,
    /// Those that are due and do not begin.
    pub overdue: u64,
    /// Those whose last run did not end well.
    pub failing: u64,
    /// Results that could not be delivered.
    pub dead_letters: u64,
}

/// The engine for containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineStatus {
    /// Its socket.
    pub socket: String,
    /// Why it does not answer; `None` where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `event/happened`: something happened. Nothing is kept for whoever was not there: that is what the audit log is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// When: RFC 3339, UTC.
    pub time: String,
    /// What.
    pub what: Happening,
}

/// What happened. Text of others is on one line, escaped, with secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Happening {
    /// A request was decided, and that is on record.
    Decision {
        /// The request.
        request: String,
        /// Its session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Who asked.
        uid: u32,
        /// What the gate said: `allow`, `ask`, `deny`.
        verdict: String,
        /// What became of it: `run`, `denied`, `refused`, `unanswered`, `failed`.
        outcome: String,
        /// The rules that spoke.
        rules: Vec<String>,
        /// The command, cut where it is long.
        command: String,
    },
    /// A command ended.
    CommandEnded {
        /// Its request.
        request: String,
        /// Its session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// `exited 0`, `signal 9`, `killed: time`, `not executed`, `lost`.
        how: String,
        /// How long it took, in milliseconds.
        wall_ms: u64,
        /// Places masked in its output.
        masked: u64,
    },
    /// A session was opened.
    SessionOpened {
        /// Its name.
        session: SessionId,
        /// Whose it is.
        uid: u32,
        /// The directory that its commands may change.
        workspace: String,
    },
    /// A session has ended.
    SessionClosed {
        /// Its name.
        session: SessionId,
    },
    /// A question waits.
    ApprovalPending {
        /// Its name.
        approval: ApprovalId,
        /// Its session.
        session: SessionId,
        /// Who asks.
        uid: u32,
    },
    /// A question waits no longer.
    ApprovalSettled {
        /// Its name.
        approval: ApprovalId,
        /// `answered`, `expired`, `withdrawn`.
        how: String,
        /// How long it waited, in milliseconds.
        waited_ms: u64,
    },
    /// More happened than this reader took: so many events are missing here.
    Missed {
        /// How many.
        count: u64,
    },
}
