//! The same report in the protocol's words, and back.

use super::{Agreed, Outcome, Principal, RefusedBy, Report, RequestId, Timing};
use crate::wire::rpc;

impl From<Outcome> for rpc::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Exited { code } => Self::Exited { code },
            Outcome::Signaled { signal } => Self::Signaled { signal },
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Cancelled { signal } => Self::Cancelled { signal },
            Outcome::Refused { refused_by, reason } => {
                Self::Refused { refused_by: refused_by.into(), reason }
            }
            Outcome::NotExecutable { program, errno } => Self::NotExecutable { program, errno },
            Outcome::NotFound { program } => Self::NotFound { program },
            Outcome::Failed { error, hint } => Self::Failed { error, hint },
        }
    }
}

impl From<rpc::Outcome> for Outcome {
    fn from(outcome: rpc::Outcome) -> Self {
        match outcome {
            rpc::Outcome::Exited { code } => Self::Exited { code },
            rpc::Outcome::Signaled { signal } => Self::Signaled { signal },
            rpc::Outcome::TimedOut => Self::TimedOut,
            rpc::Outcome::Cancelled { signal } => Self::Cancelled { signal },
            rpc::Outcome::Refused { refused_by, reason } => {
                Self::Refused { refused_by: refused_by.into(), reason }
            }
            rpc::Outcome::NotExecutable { program, errno } => Self::NotExecutable { program, errno },
            rpc::Outcome::NotFound { program } => Self::NotFound { program },
            rpc::Outcome::Failed { error, hint } => Self::Failed { error, hint },
        }
    }
}

impl From<RefusedBy> for rpc::RefusedBy {
    fn from(by: RefusedBy) -> Self {
        match by {
            RefusedBy::Policy => Self::Policy,
            RefusedBy::Person => Self::Person,
            RefusedBy::Assessor => Self::Assessor,
            RefusedBy::Nobody => Self::Nobody,
            RefusedBy::Pipeline => Self::Pipeline,
        }
    }
}

impl From<rpc::RefusedBy> for RefusedBy {
    fn from(by: rpc::RefusedBy) -> Self {
        match by {
            rpc::RefusedBy::Policy => Self::Policy,
            rpc::RefusedBy::Person => Self::Person,
            rpc::RefusedBy::Assessor => Self::Assessor,
            rpc::RefusedBy::Nobody => Self::Nobody,
            rpc::RefusedBy::Pipeline => Self::Pipeline,
        }
    }
}

impl From<Principal> for rpc::Principal {
    fn from(Principal { uid, gid, name }: Principal) -> Self {
        Self { uid, gid, name }
    }
}

impl From<rpc::Principal> for Principal {
    fn from(rpc::Principal { uid, gid, name }: rpc::Principal) -> Self {
        Self { uid, gid, name }
    }
}

impl From<Agreed> for rpc::Agreed {
    fn from(agreed: Agreed) -> Self {
        match agreed {
            Agreed::Policy => Self::Policy,
            Agreed::Once { approver } => Self::Once { approver: approver.into() },
            Agreed::Standing { grant, scope, approver } => {
                Self::Standing { grant, scope, approver: approver.into() }
            }
            Agreed::Assessor { model } => Self::Assessor { model },
            Agreed::Mode { mode, approver } => Self::Mode { mode, approver: approver.into() },
        }
    }
}

impl From<rpc::Agreed> for Agreed {
    fn from(agreed: rpc::Agreed) -> Self {
        match agreed {
            rpc::Agreed::Policy => Self::Policy,
            rpc::Agreed::Once { approver } => Self::Once { approver: approver.into() },
            rpc::Agreed::Standing { grant, scope, approver } => {
                Self::Standing { grant, scope, approver: approver.into() }
            }
            rpc::Agreed::Assessor { model } => Self::Assessor { model },
            rpc::Agreed::Mode { mode, approver } => Self::Mode { mode, approver: approver.into() },
        }
    }
}

impl From<Timing> for rpc::Timing {
    fn from(Timing { wall_us, cpu_us, max_rss_kib }: Timing) -> Self {
        Self { wall_us, cpu_us, max_rss_kib }
    }
}

impl From<rpc::Report> for Report {
    /// As a client shows it. A report is about what was; nothing can be run with it.
    fn from(report: rpc::Report) -> Self {
        let timing = report.timing.map(|rpc::Timing { wall_us, cpu_us, max_rss_kib }| Timing {
            wall_us,
            cpu_us,
            max_rss_kib,
        });
        Self {
            outcome: report.outcome.into(),
            id: RequestId::from_wire(&report.request_id),
            decision: report.decision,
            agreed: report.agreed.map(Into::into),
            findings: report.findings,
            timing,
            receipt: report.receipt,
            aftermath: report.aftermath,
            reached: report.reached,
        }
    }
}
