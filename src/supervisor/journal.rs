//! The records of one request: its decision, durable before anything runs, and its end.

use super::egress::Egress;
use super::scribe::{Scribe, Unwritten};
use crate::approval::Assessment;
use crate::audit::{self, record};
use crate::gate::{self, Command, Facts, Finding};
use crate::policy::Allowlist;
use crate::redact::Redactor;
use crate::stage::{
    Agreed, Answered, Denial, DenialReason, Digest, Pending, Prepared, Principal, RequestId, Ticket,
};
use crate::wire::rpc::SessionId;
use crate::wire::runner::{Aftermath, Ended, Receipt};

/// The audit log, as one request writes to it.
#[derive(Debug)]
pub(super) struct Journal {
    scribe: Scribe,
    id: RequestId,
    principal: Principal,
    /// Process id of the requester; 0 where it is not known any more.
    pid: i32,
    /// Where a person answers: `terminal`, `operator`.
    asked_at: &'static str,
    session: Option<String>,
}

/// What became of a request that never got as far as a verdict, as far as it got.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) command: &'a Command,
    pub(super) facts: &'a Facts,
    pub(super) policy: Option<Digest>,
    pub(super) error: String,
}

impl Journal {
    pub(super) fn new(
        scribe: Scribe,
        id: RequestId,
        principal: Principal,
        pid: i32,
        asked_at: &'static str,
    ) -> Self {
        Self { scribe, id, principal, pid, asked_at, session: None }
    }

    /// The same for a request of a session.
    pub(super) fn in_session(self, session: &SessionId) -> Self {
        Self { session: Some(session.to_string()), ..self }
    }

    /// Records that a command may run. The ticket is the proof, the number is for the record of its end.
    pub(super) async fn cleared(
        &self,
        prepared: &Prepared,
        redactor: &Redactor,
    ) -> Result<(Ticket, u64), Unwritten> {
        let approval = match prepared.agreed() {
            Agreed::Policy => None,
            Agreed::Once { approver } => Some(self.approval(self.asked_at, approver, None)),
            Agreed::Standing { grant, approver, .. } => Some(self.approval("grant", approver, Some(grant))),
            Agreed::Mode { mode, approver } => Some(self.approval(mode.name(), approver, None)),
            Agreed::Assessor { model } => Some(record::Approval {
                how: "assessor".to_owned(),
                by: model.clone(),
                separation: true,
                reason: None,
                grant: None,
                narrower: None,
                hosts: Vec::new(),
            }),
        };
        let Answered { narrower, hosts } = prepared.answered();
        let narrower = serde_json::to_value(narrower).ok();
        let narrower = narrower.filter(|narrower| *narrower != serde_json::json!({}));
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let approval = approval.map(|approval| record::Approval { narrower, hosts, ..approval });
        let request = prepared.request();
        let decision = audit::Decision {
            outcome: record::Outcome::Run,
            approval,
            verdict: prepared.judgement().decision,
            findings: prepared.judgement().findings.clone(),
            secrets: prepared.judgement().secrets.clone(),
            ..self.decision(&request.command, &request.facts, Some(prepared.policy()))
        };
        let durable = self.scribe.decision(audit::Record::decision(&decision, redactor)).await?;
        self.scribe.pulse().decided(&decision, redactor);
        let number = durable.seq();
        Ok((durable.into(), number))
    }

    /// Records what a model said of a command.
    pub(super) async fn assessed(
        &self,
        pending: &Pending,
        assessment: &Assessment,
        redactor: &Redactor,
    ) -> Result<(), Unwritten> {
        let (provider, model) = assessment.by.clone().unzip();
        let failed = assessment.failed.iter().map(|one| format!("{}: {}", one.provider, one.why)).collect();
        let record = record::Assessment {
            id: self.id.to_string(),
            requester: requester(&self.principal, self.pid, self.session.is_some()),
            session: self.session.clone(),
            digest: self.scribe.key().command(&pending.request().command),
            verdict: assessment.verdict.name().to_owned(),
            why: assessment.why.clone(),
            provider,
            model,
            failed,
            ms: assessment.ms,
        };
        self.scribe.note(audit::Record::assessment(&record, redactor)).await
    }

    fn approval(&self, how: &str, approver: &Principal, grant: Option<&String>) -> record::Approval {
        record::Approval {
            how: how.to_owned(),
            by: approver.name.clone(),
            separation: approver.uid != self.principal.uid,
            reason: None,
            grant: grant.cloned(),
            narrower: None,
            hosts: Vec::new(),
        }
    }

    /// Records a refusal.
    pub(super) async fn denied(&self, denial: &Denial, redactor: &Redactor) -> Result<(), Unwritten> {
        let (outcome, error) = match denial.reason() {
            DenialReason::Gate => (record::Outcome::Denied, None),
            DenialReason::Person(_) | DenialReason::Assessor(_) => {
                (record::Outcome::Refused, Some(denial.reason().to_string()))
            }
            DenialReason::Nobody(_) | DenialReason::NoAnswer(_) | DenialReason::Interrupted(_) => {
                (record::Outcome::Unanswered, Some(denial.reason().to_string()))
            }
            reason => (record::Outcome::Failed, Some(reason.to_string())),
        };
        let request = denial.request();
        let decision = audit::Decision {
            outcome,
            verdict: denial.judgement().decision,
            findings: denial.judgement().findings.clone(),
            error,
            ..self.decision(&request.command, &request.facts, Some(denial.policy()))
        };
        self.scribe.pulse().decided(&decision, redactor);
        self.scribe.denial(audit::Record::decision(&decision, redactor)).await
    }

    /// Records that a request failed before there was a verdict.
    pub(super) async fn failed(&self, failure: Failure<'_>, redactor: &Redactor) -> Result<(), Unwritten> {
        let decision = audit::Decision {
            error: Some(failure.error),
            ..self.decision(failure.command, failure.facts, failure.policy)
        };
        self.scribe.pulse().decided(&decision, redactor);
        self.scribe.denial(audit::Record::decision(&decision, redactor)).await
    }

    /// Records how a command ended; `number` is that of its decision.
    pub(super) fn ended(
        &self,
        number: u64,
        ended: Result<&Ended, String>,
        receipt: Option<Receipt>,
        masked: u64,
        redactor: &Redactor,
    ) -> Result<(), Unwritten> {
        let (ended, error) = match ended {
            Ok(ended) => (Some(ended), None),
            Err(error) => (None, Some(error)),
        };
        let end = record::End {
            id: self.id.to_string(),
            decision: number,
            end: ended.map(|ended| ended.end.clone()),
            receipt,
            wall_us: ended.map_or(0, |ended| ended.wall_us),
            cpu_us: ended.map_or(0, |ended| ended.cpu_us),
            masked,
            aftermath: ended.map_or_else(Aftermath::default, |ended| ended.aftermath.clone()),
            reached: ended.map(|ended| ended.reached.clone()).unwrap_or_default(),
            error,
        };
        self.scribe.pulse().ended(&end, self.session.as_ref());
        self.scribe.end_of_command(audit::Record::end(&end, redactor))
    }

    /// The proxy of a sandbox that this request alone has.
    pub(super) fn egress(&self, redactor: &Redactor, allow: Allowlist) -> Egress {
        Egress {
            scribe: self.scribe.clone(),
            redactor: {
                let redactor = redactor.clone();
                Box::new(move || redactor.clone())
            },
            principal: self.principal.clone(),
            pid: self.pid,
            owner: self.id.to_string(),
            session: self.session.clone(),
            allow: Box::new(move || allow.clone()),
        }
    }

    /// Waits until everything that was recorded is on disk.
    pub(super) async fn settle(&self) -> Result<(), Unwritten> {
        self.scribe.sync().await
    }

    /// A decision that refuses for want of anything better: fields are filled in by what is known.
    fn decision(&self, command: &Command, facts: &Facts, policy: Option<Digest>) -> audit::Decision {
        audit::Decision {
            id: self.id.to_string(),
            requester: requester(&self.principal, self.pid, self.session.is_some()),
            session: self.session.clone(),
            command: command.clone(),
            digest: self.scribe.key().command(command),
            facts: facts.clone(),
            verdict: gate::Decision::Deny,
            findings: Vec::<Finding>::new(),
            outcome: record::Outcome::Failed,
            approval: None,
            policy: policy.map(Digest::to_hex).unwrap_or_default(),
            secrets: Vec::new(),
            error: None,
        }
    }
}

/// Who asked, as records say it: by name too, where a daemon knows it.
pub(super) fn requester(principal: &Principal, pid: i32, in_session: bool) -> record::Requester {
    let name = in_session.then(|| principal.name.clone());
    record::Requester { uid: principal.uid, gid: principal.gid, pid, principal: name }
}
