//! What was decided, and how an ask becomes an allow.

use serde::Serialize;

use super::binding::bind;
use super::{Changed, Digest, Malformed, Prepared, Principal, Request, RequestId, Seen, Terms};
use crate::gate::{Decision, Finding, Judgement};
use crate::policy::{Access, Allowlist, Network};
use crate::wire::rpc::{Mode, Scope};

/// A request with what the gate said of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) request: Request,
    pub(super) judgement: Judgement,
    pub(super) policy: Digest,
    /// What rules of the policy take from it of what its session gives.
    pub(super) apart: Narrower,
}

/// The decision on a request. Each arm holds what can be done next, and nothing else can.
#[derive(Debug)]
pub enum Verdict {
    /// May run.
    Allow(Box<Cleared>),
    /// May run once a person agrees.
    Ask(Box<Pending>),
    /// Does not run.
    Deny(Box<Denial>),
}

impl Verdict {
    pub(super) fn new(judged: Judged) -> Self {
        match judged.judgement.decision {
            Decision::Allow => Self::Allow(Box::new(Cleared {
                judged,
                agreed: Agreed::Policy,
                answered: Answered::default(),
            })),
            Decision::Ask => Self::Ask(Box::new(Pending { judged })),
            Decision::Deny | Decision::Hardline => {
                Self::Deny(Box::new(Denial { judged, reason: DenialReason::Gate }))
            }
        }
    }
}

/// Who agreed that a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
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

/// Tighter terms that an approver sets. What is not set stays as it was asked for; nothing here gives more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Narrower {
    /// A shorter wall-clock limit.
    #[serde(rename = "timeout_ms", skip_serializing_if = "Option::is_none", serialize_with = "milliseconds")]
    pub timeout: Option<std::time::Duration>,
    /// No network at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// The workspace cannot be changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Narrower {
    /// The terms that hold: no part of them gives more than those that were asked for.
    pub(super) fn tighten(&self, terms: &Terms) -> Terms {
        let mut profile = terms.profile.clone();
        if self.offline {
            profile.network = Network::None;
        }
        if self.read_only {
            profile.workspace = Access::Read;
        }
        let timeout = [terms.timeout, self.timeout].into_iter().flatten().min();
        Terms { profile, timeout, ..*terms }
    }
}

/// The terms of an approver's yes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// What is taken from the command.
    pub narrower: Narrower,
    /// Hosts that it may reach beside those of its session, and nothing else of the session may; of a session with the
    /// host's network, those alone.
    pub hosts: Allowlist,
}

impl Answered {
    /// The terms that hold. Where a rule of the policy has taken the network from the command, no answer gives it back.
    fn settle(mut self, judged: &Judged) -> (Self, Terms) {
        if judged.apart.offline || self.narrower.offline {
            self.hosts = Allowlist::default();
        }
        let mut terms = self.narrower.tighten(&judged.request.terms);
        if !self.hosts.is_empty() {
            terms.profile.network = Network::Proxy(match &terms.profile.network {
                Network::Proxy(list) => list.join(&self.hosts),
                Network::None | Network::Host => self.hosts.clone(),
            });
        }
        (self, terms)
    }
}

fn milliseconds<S: serde::Serializer>(
    time: &Option<std::time::Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

/// A command that may run, if it still is what was judged.
#[derive(Debug)]
pub struct Cleared {
    pub(super) judged: Judged,
    pub(super) agreed: Agreed,
    pub(super) answered: Answered,
}

impl Cleared {
    /// Checks what the supervisor holds in its hands (descriptors, the environment as it will be passed) against what
    /// was judged and agreed to.
    ///
    /// # Errors
    /// A denial, when a directory or the environment is not the one that was judged.
    pub fn prepare(self, seen: Seen) -> Result<Prepared, Box<Denial>> {
        match Prepared::check(&self.judged, &seen) {
            Ok(()) => Ok(Prepared::new(self, seen)),
            Err(changed) => {
                Err(Box::new(Denial { judged: self.judged, reason: DenialReason::Changed(changed) }))
            }
        }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.judged.request
    }

    /// What the gate said.
    pub fn judgement(&self) -> &Judgement {
        &self.judged.judgement
    }

    /// Who agreed.
    pub fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The policy that judged.
    pub fn policy(&self) -> Digest {
        self.judged.policy
    }

    /// Gives up on it, for a reason found later in the pipeline.
    pub fn refuse(self, reason: DenialReason) -> Denial {
        Denial { judged: self.judged, reason }
    }
}

/// A command that waits for a person.
#[derive(Debug)]
pub struct Pending {
    judged: Judged,
}

impl Pending {
    /// The request, to be shown.
    pub fn request(&self) -> &Request {
        &self.judged.request
    }

    /// What the gate said, to be shown.
    pub fn judgement(&self) -> &Judgement {
        &self.judged.judgement
    }

    /// The policy that judged.
    pub fn policy(&self) -> Digest {
        self.judged.policy
    }

    /// The digest that a grant for exactly this is bound to. It is over secrets, and stays in the process.
    pub(crate) fn binding(&self) -> Digest {
        let request = &self.judged.request;
        bind(request, &request.terms, self.judged.policy)
    }

    /// Writes down a yes to exactly this. Only the approval layer calls it, after it has an answer.
    pub(crate) fn grant(&self, agreed: Agreed) -> Grant {
        Grant { binding: self.binding(), agreed, answered: Answered::default() }
    }

    /// Writes down a yes to this on other terms.
    pub(crate) fn grant_on(&self, agreed: Agreed, answered: Answered) -> Grant {
        let (answered, terms) = answered.settle(&self.judged);
        Grant { binding: bind(&self.judged.request, &terms, self.judged.policy), agreed, answered }
    }

    /// Uses up a grant. The digest is computed again from what is pending now: an approval cannot move to another
    /// command, directory, environment, backend or policy.
    ///
    /// # Errors
    /// A denial, when the grant was given for something else. The grant is gone all the same.
    pub fn accept(mut self, grant: Grant) -> Result<Cleared, Box<Denial>> {
        let Grant { binding, agreed, answered } = grant;
        let (answered, terms) = answered.settle(&self.judged);
        let request = &mut self.judged.request;
        request.terms = terms;
        if binding == bind(request, &request.terms, self.judged.policy) {
            Ok(Cleared { judged: self.judged, agreed, answered })
        } else {
            Err(Box::new(self.refuse(DenialReason::Grant(GrantMismatch))))
        }
    }

    /// Gives up waiting.
    pub fn refuse(self, reason: DenialReason) -> Denial {
        Denial { judged: self.judged, reason }
    }
}

/// The agreement to one command, for one time, whatever it was given by.
pub struct Grant {
    binding: Digest,
    agreed: Agreed,
    answered: Answered,
}

impl std::fmt::Debug for Grant {
    /// Leaves out the digest: it is over the command's bytes, and a digest of a short secret can be guessed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

/// A grant that was given for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the approval was given for another command, directory, environment or policy")]
pub struct GrantMismatch;

/// A command that does not run, and why.
#[derive(Debug)]
pub struct Denial {
    pub(super) judged: Judged,
    pub(super) reason: DenialReason,
}

impl Denial {
    /// Refuses a request that could not be read.
    pub fn malformed(request: Request, error: Malformed, policy: Digest) -> Self {
        let finding = Finding {
            rule: error.rule().to_owned(),
            decision: Decision::Deny,
            span: crate::shell::Span::default(),
            argv: Vec::new(),
            effect: "cannot be run".to_owned(),
            reason: error.to_string(),
            hint: String::new(),
            run_under: String::new(),
        };
        let judgement = Judgement::from_findings(vec![finding]);
        Self {
            judged: Judged { request, judgement, policy, apart: Narrower::default() },
            reason: DenialReason::Malformed(error),
        }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.judged.request
    }

    /// Its name.
    pub fn id(&self) -> &RequestId {
        &self.judged.request.id
    }

    /// What the gate said.
    pub fn judgement(&self) -> &Judgement {
        &self.judged.judgement
    }

    /// The policy that judged.
    pub fn policy(&self) -> Digest {
        self.judged.policy
    }

    /// Why it does not run.
    pub fn reason(&self) -> &DenialReason {
        &self.reason
    }
}

impl DenialReason {
    /// Who refused, in one word.
    pub fn by(&self) -> RefusedBy {
        match self {
            Self::Gate => RefusedBy::Policy,
            Self::Person(_) => RefusedBy::Person,
            Self::Assessor(_) => RefusedBy::Assessor,
            Self::Nobody(_) | Self::NoAnswer(_) | Self::Interrupted(_) => RefusedBy::Nobody,
            Self::Malformed(_) | Self::Grant(_) | Self::Changed(_) | Self::Secret(_) | Self::Failed(_) => {
                RefusedBy::Pipeline
            }
        }
    }
}

/// Who refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DenialReason {
    /// The gate refuses it; its findings say why.
    #[error("the policy refuses it")]
    Gate,
    /// It is not a command.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A person said no, perhaps with words for the requester.
    #[error("a person refused it{}", .0.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Person(Option<String>),
    /// An assessor said no, and why.
    #[error("an assessor refused it: {0}")]
    Assessor(String),
    /// Nobody can be asked.
    #[error("a person must agree, and there is no person to ask: {0}")]
    Nobody(String),
    /// Nobody answered.
    #[error("a person must agree, and nobody answered within {} s", .0.as_secs_f64().ceil())]
    NoAnswer(std::time::Duration),
    /// The requester went away while a person was asked.
    #[error("the request was interrupted by {0}")]
    Interrupted(&'static str),
    /// The answer was for something else.
    #[error(transparent)]
    Grant(#[from] GrantMismatch),
    /// What was judged is not what would run.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// A secret that the policy gives it cannot be given to it.
    #[error("{0}")]
    Secret(String),
    /// Something in the pipeline failed.
    #[error("{0}")]
    Failed(String),
}
