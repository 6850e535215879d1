//! What is told about a command in the end.

use super::Session;
use super::exec::Exec;
use crate::prepare::Withheld;
use crate::stage::{Outcome, RefusedBy, Report};
use crate::wire::rpc::{self, Error};

impl Session {
    pub(super) fn report(
        &self,
        exec: &Exec,
        report: Report,
        masked: u64,
        withheld: &[Withheld],
    ) -> rpc::Report {
        rpc::Report {
            outcome: outcome(report.outcome),
            request_id: exec.request_id.clone(),
            decision: report.decision,
            agreed: report.agreed.map(agreed),
            findings: report.findings,
            timing: report.timing.map(|timing| rpc::Timing {
                wall_us: timing.wall_us,
                cpu_us: timing.cpu_us,
                max_rss_kib: timing.max_rss_kib,
            }),
            receipt: report.receipt,
            aftermath: report.aftermath,
            reached: report.reached,
            separation: self.separation,
            masked,
            withheld: withheld.iter().map(wire_withheld).collect(),
            notes: Vec::new(),
        }
    }

    /// The report of a command that did not get as far as a verdict.
    pub(super) fn failed(&self, exec: &Exec, error: &Error) -> rpc::Report {
        rpc::Report {
            outcome: rpc::Outcome::Failed { error: error.message.clone(), hint: error.data.hint.clone() },
            request_id: exec.request_id.clone(),
            decision: crate::gate::Decision::Deny,
            agreed: None,
            findings: Vec::new(),
            timing: None,
            receipt: None,
            aftermath: crate::wire::runner::Aftermath::default(),
            reached: Vec::new(),
            separation: self.separation,
            masked: 0,
            withheld: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn outcome(outcome: Outcome) -> rpc::Outcome {
    match outcome {
        Outcome::Exited { code } => rpc::Outcome::Exited { code },
        Outcome::Signaled { signal } => rpc::Outcome::Signaled { signal },
        Outcome::TimedOut => rpc::Outcome::TimedOut,
        Outcome::Cancelled { signal } => rpc::Outcome::Cancelled { signal },
        Outcome::Refused { refused_by, reason } => {
            rpc::Outcome::Refused { refused_by: wire_refused_by(refused_by), reason }
        }
        Outcome::NotExecutable { program, errno } => rpc::Outcome::NotExecutable { program, errno },
        Outcome::NotFound { program } => rpc::Outcome::NotFound { program },
        Outcome::Failed { error, hint } => rpc::Outcome::Failed { error, hint },
    }
}

fn wire_refused_by(refused_by: RefusedBy) -> rpc::RefusedBy {
    match refused_by {
        RefusedBy::Policy => rpc::RefusedBy::Policy,
        RefusedBy::Person => rpc::RefusedBy::Person,
        RefusedBy::Nobody => rpc::RefusedBy::Nobody,
        RefusedBy::Pipeline => rpc::RefusedBy::Pipeline,
    }
}

fn agreed(agreed: crate::stage::Agreed) -> rpc::Agreed {
    match agreed {
        crate::stage::Agreed::Policy => rpc::Agreed::Policy,
        crate::stage::Agreed::Once { approver } => rpc::Agreed::Once {
            approver: rpc::Principal { uid: approver.uid, gid: approver.gid, name: approver.name },
        },
    }
}

fn wire_withheld(withheld: &Withheld) -> rpc::Withheld {
    let why = serde_json::to_value(withheld.why).ok();
    let why = why.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    rpc::Withheld { name: withheld.name.clone(), why, entry: withheld.entry.clone() }
}
