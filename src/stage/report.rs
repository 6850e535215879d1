//! What is said of a request when it is over.

use serde::Serialize;

use super::run::Finished;
use super::{Agreed, Denial, DenialReason, RefusedBy, RequestId};
use crate::gate::{Decision, Finding};
use crate::wire::runner::{Aftermath, Cause, End, Reached, Receipt};

/// How a request came out: the `outcome` of every result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// execward ended it because the requester went away or asked for it.
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
        #[serde(skip_serializing_if = "String::is_empty")]
        hint: String,
    },
}

/// What a command took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// From exec to the end, in microseconds.
    pub wall_us: u64,
    /// Processor time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// Largest resident set of any of its processes, in KiB.
    pub max_rss_kib: u64,
}

/// Everything that is said of a request when it is over, its output apart.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How it came out.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The request.
    pub id: RequestId,
    /// What the gate decided.
    pub decision: Decision,
    /// Who agreed that it runs; `None` where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Agreed>,
    /// Everything that the gate found.
    pub findings: Vec<Finding>,
    /// What it took; `None` where it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// What confined it; `None` where nothing was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What it left in the workspace that others would execute or obey later.
    #[serde(skip_serializing_if = "Aftermath::is_empty")]
    pub aftermath: Aftermath,
    /// The limits that it ran into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
}

impl Finished {
    /// Says how it ended. `receipt` is what the sandbox that ran it said of itself.
    pub fn report(self, receipt: Receipt) -> Report {
        let Self { cleared, ended } = self;
        let timing = ended.as_ref().ok().map(|ended| Timing {
            wall_us: ended.wall_us,
            cpu_us: ended.cpu_us,
            max_rss_kib: ended.max_rss_kib,
        });
        let (outcome, aftermath, reached) = match ended {
            Ok(ended) => (Outcome::from(ended.end), ended.aftermath, ended.reached),
            Err((error, hint)) => (Outcome::Failed { error, hint }, Aftermath::default(), Vec::new()),
        };
        Report {
            outcome,
            id: cleared.judged.request.id,
            decision: cleared.judged.judgement.decision,
            agreed: Some(cleared.agreed),
            findings: cleared.judged.judgement.findings,
            timing,
            receipt: Some(receipt),
            aftermath,
            reached,
        }
    }
}

impl Denial {
    /// Says why it did not run.
    pub fn report(self) -> Report {
        let outcome = match &self.reason {
            DenialReason::Failed(error) => Outcome::Failed { error: error.clone(), hint: String::new() },
            DenialReason::Malformed(error) => {
                Outcome::Failed { error: error.to_string(), hint: String::new() }
            }
            reason => Outcome::Refused { refused_by: reason.by(), reason: reason.to_string() },
        };
        Report {
            outcome,
            id: self.judged.request.id,
            decision: self.judged.judgement.decision,
            agreed: None,
            findings: self.judged.judgement.findings,
            timing: None,
            receipt: None,
            aftermath: Aftermath::default(),
            reached: Vec::new(),
        }
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        /// No such file or directory, the same number on every Linux.
        const ENOENT: i32 = 2;
        /// SIGTERM, which a cancellation stands for where nobody named a signal.
        const SIGTERM: i32 = 15;
        match end {
            End::Code { code } => Self::Exited { code },
            End::Signal { signal } => Self::Signaled { signal },
            End::Killed { cause: Cause::Time | Cause::Idle } => Self::TimedOut,
            End::Killed { cause: Cause::Cancelled } => Self::Cancelled { signal: SIGTERM },
            End::Killed { cause: Cause::Orphaned } => {
                Self::Failed { error: "the command lost its supervisor".to_owned(), hint: String::new() }
            }
            End::NotExecuted { errno: ENOENT, program } => Self::NotFound { program },
            End::NotExecuted { errno, program } => Self::NotExecutable { program, errno },
        }
    }
}
