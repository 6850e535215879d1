//! What is told about a command in the end.

use super::Session;
use super::exec::Exec;
use crate::prepare::Withheld;
use crate::stage::Report;
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
            outcome: report.outcome.into(),
            request_id: exec.request_id.clone(),
            decision: report.decision,
            agreed: report.agreed.map(Into::into),
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

fn wire_withheld(withheld: &Withheld) -> rpc::Withheld {
    let why = serde_json::to_value(withheld.why).ok();
    let why = why.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    rpc::Withheld { name: withheld.name.clone(), why, entry: withheld.entry.clone() }
}
