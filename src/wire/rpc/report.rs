//! What is said of a command when it is over, its output apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mode, RequestId, Scope, Separation};
use crate::gate::{Decision, Finding};
use crate::wire::runner::{Aftermath, Reached, Receipt};

/// How a request came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The command ended by itself.
    Exited {
        /// Its exit status.
        code: u8,
    },
    /// A signal that execward did not send ended it.
    Signaled {
        /// As in signal(7).
        signal: i32,
    },
    /// execward ended it at its time limit.
    TimedOut,
    /// execward ended it because the requester went away or asked for it, or an operator did.
    Cancelled {
        /// The signal that execward was given, or that it stands for.
        signal: i32,
    },
    /// It was not run: the gate or a person refused.
    Refused {
        /// Who refused.
        refused_by: RefusedBy,
        /// Why, as one sentence.
        reason: String,
    },
    /// It was cleared, but cannot be executed.
    NotExecutable {
        /// The program.
        program: String,
        /// errno of the exec.
        errno: i32,
    },
    /// It was cleared, but there is no such program.
    NotFound {
        /// The program.
        program: String,
    },
    /// execward could not do its part.
    Failed {
        /// What went wrong.
        error: String,
        /// What to do about it; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hint: String,
    },
}

/// Who refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// A rule, or the list that nothing lifts.
    Policy,
    /// A person who was asked.
    Person,
    /// An assessor that was asked before a person.
    Assessor,
    /// A person would have had to agree, and none answered.
    Nobody,
    /// A check between the verdict and the run.
    Pipeline,
}

/// What a command took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// From exec to the end, in microseconds.
    pub wall_us: u64,
    /// Processor time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// Largest resident set of any of its processes, in KiB.
    pub max_rss_kib: u64,
}

/// A user, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Principal {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Login name; empty where the id has none.
    pub name: String,
}

/// Who agreed that a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Agreed {
    /// No rule objected.
    Policy,
    /// A person, for this one time.
    Once {
        /// The person.
        approver: Principal,
    },
    /// A standing grant of a person.
    Standing {
        /// Its name.
        grant: String,
        /// How long it stands.
        scope: Scope,
        /// The person.
        approver: Principal,
    },
    /// An assessor, which holds the risk to be low.
    Assessor {
        /// Which.
        model: String,
    },
    /// Nobody was asked: a person has set a mode in which nobody is.
    Mode {
        /// Which.
        mode: Mode,
        /// The person.
        approver: Principal,
    },
}

/// A variable that the command did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withheld {
    /// Its name, made printable; `PATH` for a dropped entry.
    pub name: String,
    /// Why: `not-listed`, `secret-name`, `secret-value`, `injection`, ...
    pub why: String,
    /// The dropped entry of a list; empty where the whole variable is withheld.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry: String,
}

/// Everything that is said of a command when it is over, its output apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// How it came out.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The request, as the audit log calls it.
    pub request_id: RequestId,
    /// What the gate decided.
    pub decision: Decision,
    /// Who agreed that it runs; there where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Agreed>,
    /// Everything that the gate found, strictest first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What it took; there where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// What confined it; there where something was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What it left in the workspace that others would execute or obey later.
    #[serde(default, skip_serializing_if = "Aftermath::is_empty")]
    pub aftermath: Aftermath,
    /// The limits that it ran into, each with its evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
    /// Whether something separates the requester from those who approve.
    pub separation: Separation,
    /// Places masked in its output.
    #[serde(default)]
    pub masked: u64,
    /// Variables that it did not get.
    #[serde(default)]
    pub withheld: Vec<Withheld>,
    /// Things that a person should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Report {
    /// Of a command of which there is nothing to say but how it came out.
    pub fn bare(outcome: Outcome, request_id: RequestId, decision: Decision, separation: Separation) -> Self {
        Self {
            outcome,
            request_id,
            decision,
            agreed: None,
            findings: Vec::new(),
            timing: None,
            receipt: None,
            aftermath: Aftermath::default(),
            reached: Vec::new(),
            separation,
            masked: 0,
            withheld: Vec::new(),
            notes: Vec::new(),
        }
    }
}
