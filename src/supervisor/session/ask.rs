//! What becomes of a command that asks: a mode, a standing grant, an assessor, and then a person.

use std::sync::Arc;
use std::time::Duration;

use super::Session;
use super::exec::Exec;
use super::start::Reply;
use crate::approval::{About, Answer, Assessment, Set, Situation, Verdict, assess};
use crate::gate::Decision;
use crate::policy::Policy;
use crate::redact::Redactor;
use crate::stage::{Agreed, DenialReason, Pending, Principal};
use crate::supervisor::journal::Journal;
use crate::supervisor::pipeline::Ask;
use crate::supervisor::pulse::Stage;
use crate::wire::rpc::{Mode, Scope, Script, State};

/// Why nobody is asked, and what was agreed to beforehand.
#[derive(Debug)]
pub(in crate::supervisor) struct Unattended {
    /// For whoever reads the refusal.
    pub(in crate::supervisor) why: String,
    /// What runs all the same.
    pub(in crate::supervisor) agreed: Option<Beforehand>,
}

/// Rules that may ask without anybody being asked, because an operator wrote so beside the command.
#[derive(Debug)]
pub(in crate::supervisor) struct Beforehand {
    /// As the record names it.
    pub(in crate::supervisor) name: String,
    /// Their ids.
    pub(in crate::supervisor) rules: Vec<String>,
    /// Who wrote so.
    pub(in crate::supervisor) by: Principal,
}

/// The operators, who are asked through the broker while the requester waits.
pub(super) struct AtOperators<'a> {
    pub(super) session: &'a Session,
    pub(super) exec: &'a Arc<Exec>,
    pub(super) policy: &'a Policy,
    pub(super) journal: &'a Journal,
    pub(super) redactor: &'a Redactor,
    /// The requester asked for no variables.
    pub(super) plain: bool,
    pub(super) reply: &'a mut Option<Reply>,
    /// The script files that the command names, as they were when it asked.
    pub(super) scripts: Vec<Script>,
}

impl Ask for AtOperators<'_> {
    async fn ask(&mut self, pending: &Pending, timeout: Duration) -> Answer {
        let Session { id, common, .. } = self.session;
        if let Some(unattended) = self.session.unattended.get() {
            return self.beforehand(pending, unattended).await;
        }
        let mode = common.modes.of(pending.request().principal.uid, id);
        if let Some(Set { mode: mode @ (Mode::Off | Mode::Yolo), by, .. }) = mode {
            return Answer::Yes(pending.grant(Agreed::Mode { mode, approver: by }));
        }
        match self.session.scripts(pending.request()).await {
            Ok(found) => self.scripts = found.into_iter().map(|found| found.script).collect(),
            Err(error) => return Answer::No(DenialReason::Failed(error)),
        }
        let situation = Situation::of(pending, self.policy, id, self.scripts.clone(), self.plain);
        if let Some(agreed) = common.grants.cover(&situation) {
            self.count(&agreed);
            return Answer::Yes(pending.grant(agreed));
        }
        // What takes time is said to the requester first.
        self.exec.noted();
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(State::Waiting));
        }
        let asked = async {
            if let Some(Set { mode: Mode::Smart, .. }) = &mode
                && let Some(answer) = self.assessed(pending).await
            {
                return answer;
            }
            common.broker.ask(pending, situation, self.about(), timeout).await
        };
        let Session { end, .. } = self.session;
        tokio::select! {
            answer = asked => answer,
            () = self.exec.cancel.cancelled() => Answer::No(DenialReason::Interrupted("the end of its connection")),
            () = self.exec.kill.cancelled() => Answer::No(DenialReason::Interrupted("exec/kill")),
            () = end.cancelled() => Answer::No(DenialReason::Interrupted("the end of its session")),
        }
    }

    fn judged(&mut self, took: Duration) {
        self.session.common.scribe.pulse().took(Stage::Judge, took);
    }
}

impl AtOperators<'_> {
    /// What was agreed to before anything was asked. Neither a mode nor a standing grant of its principal counts: those were
    /// given for what somebody watches.
    async fn beforehand(&self, pending: &Pending, unattended: &Unattended) -> Answer {
        let nobody = |why: String| Answer::No(DenialReason::Nobody(why));
        let Unattended { why, agreed } = unattended;
        let Some(Beforehand { name, rules, by }) = agreed.as_ref().filter(|agreed| !agreed.rules.is_empty())
        else {
            return nobody(why.clone());
        };
        let mut asking =
            pending.judgement().findings.iter().filter(|finding| finding.decision == Decision::Ask);
        if let Some(other) = asking.find(|finding| !rules.contains(&finding.rule)) {
            return nobody(format!("{why}; its grant has no `{}`", other.rule));
        }
        match self.session.scripts(pending.request()).await {
            Ok(found) if found.is_empty() => {
                let approver = by.clone();
                Answer::Yes(pending.grant(Agreed::Standing {
                    grant: name.clone(),
                    scope: Scope::Always,
                    approver,
                }))
            }
            // What was agreed to was the command: not what somebody writes into a file that it runs.
            Ok(_) => nobody(format!("{why}; its grant covers no script file, which others may write")),
            Err(error) => Answer::No(DenialReason::Failed(error)),
        }
    }

    fn about(&self) -> About {
        let Session { id, label, workspace_path, separation, .. } = self.session;
        About {
            session: id.clone(),
            label: label.clone(),
            id: self.exec.id.clone(),
            workspace: workspace_path.clone(),
            separation: *separation,
            redactor: self.redactor.clone(),
        }
    }

    /// What a model answers in place of a person; `None` where a person is to.
    async fn assessed(&self, pending: &Pending) -> Option<Answer> {
        let Session { id, common, .. } = self.session;
        let chain = common.models();
        if chain.is_empty() {
            return None;
        }
        let uid = pending.request().principal.uid;
        let assessment = if !self.plain {
            Assessment::unasked("its requester sets variables for it")
        } else if let Some(_place) = common.assessments.take(uid) {
            assess(&chain, pending, &self.scripts, self.redactor).await
        } else {
            Assessment::unasked("too much is being assessed")
        };
        if assessment.by.is_none() && assessment.failed.is_empty() {
            tracing::debug!(why = assessment.why, "left to a person");
            return None;
        }
        if let Err(error) = self.journal.assessed(pending, &assessment, self.redactor).await {
            return Some(Answer::No(DenialReason::Failed(error.to_string())));
        }
        // An operator may have thought better of it meanwhile.
        let smart = common.modes.of(uid, id).is_some_and(|set| set.mode == Mode::Smart);
        let model = assessment.assessor();
        match assessment.verdict {
            Verdict::Approve if smart => Some(Answer::Yes(pending.grant(Agreed::Assessor { model }))),
            Verdict::Deny => Some(Answer::No(DenialReason::Assessor(format!("{model}: {}", assessment.why)))),
            _ => None,
        }
    }

    /// Keeps the count of a grant's uses, beside everything else.
    fn count(&self, agreed: &Agreed) {
        if let Agreed::Standing { grant, .. } = agreed {
            let (grants, grant) = (self.session.common.grants.clone(), grant.clone());
            self.session.tasks.spawn_blocking(move || {
                if let Err(error) = grants.count(&grant) {
                    tracing::warn!(grant, %error, "a use of a grant was not counted for good");
                }
            });
        }
    }
}
