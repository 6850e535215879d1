//! What is recorded. Pure.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use serde::{Deserialize, Serialize};

use crate::gate::{self, Command, Facts, Finding};
use crate::redact::Redactor;
use crate::wire::runner::{self, Receipt};

/// A keyed digest: `hmac-sha256:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub(in crate::audit) String);

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// User id, from the kernel.
    pub uid: u32,
    /// Group id, from the kernel.
    pub gid: u32,
    /// Process id, from the kernel.
    pub pid: i32,
    /// The principal it was taken for; `None` where there are none (the embedded run).
    pub principal: Option<String>,
}

/// Who approved, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// `terminal`, `operator`, `grant`, ...
    pub how: String,
    /// Who: a principal or a user name.
    pub by: String,
    /// Whether a uid boundary stood between requester and approver.
    pub separation: bool,
    /// The reason that was given, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the pipeline decided in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It may run.
    Run,
    /// The gate refused.
    Denied,
    /// A person refused.
    Refused,
    /// Nobody could be asked, or nobody answered in time.
    Unanswered,
    /// Something failed before it could run.
    Failed,
}

/// A decision, as the pipeline hands it over. Text in it may hold secrets: only [`Record::decision`] makes a record.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// Binds decision and end: unique for each request.
    pub id: String,
    /// Who asked.
    pub requester: Requester,
    /// What for.
    pub command: Command,
    /// Keyed digest of the exact command.
    pub digest: Digest,
    /// What the gate was told.
    pub facts: Facts,
    /// What the gate said.
    pub verdict: gate::Decision,
    /// Why.
    pub findings: Vec<Finding>,
    /// What became of it.
    pub outcome: Outcome,
    /// Who approved; `None` where nobody was asked.
    pub approval: Option<Approval>,
    /// SHA-256 of the policy in force, hex.
    pub policy: String,
    /// What went wrong, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The end of a command.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// Of the decision.
    pub id: String,
    /// Number of the decision's record.
    pub decision: u64,
    /// How it ended; `None` where it was never executed.
    pub end: Option<runner::End>,
    /// What confined it.
    pub receipt: Option<Receipt>,
    /// Wall-clock time in microseconds.
    pub wall_us: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Places masked in its output.
    pub masked: u64,
    /// What went wrong, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A record that may be written: redacted, bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(in crate::audit) kind: &'static str,
    pub(in crate::audit) body: serde_json::Value,
}

impl Record {
    /// Redacts a decision.
    pub fn decision(_decision: &Decision, _redactor: &Redactor) -> Self {
        Self { kind: "decision", body: serde_json::Value::Null }
    }

    /// Redacts an end.
    pub fn end(_end: &End, _redactor: &Redactor) -> Self {
        Self { kind: "end", body: serde_json::Value::Null }
    }
}
