//! What the gate says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shell::Span;

/// The decision on a request, weakest first: the strictest finding wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Runs.
    Allow,
    /// A person must agree.
    Ask,
    /// Refused by a rule of the policy, or because it could not be read.
    Deny,
    /// Refused by the compiled-in list that nothing lifts.
    Hardline,
}

impl Decision {
    /// The name in JSON, policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Hardline => "hardline",
        }
    }
}

/// One reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable id of the rule: `hardline.delete-system`, `parse.unreadable`, `delete.outside-workspace`.
    pub rule: String,
    /// What this finding alone would decide.
    pub decision: Decision,
    /// The part of the request that it is about.
    pub span: Span,
    /// The argv it resolved to, as a person reads it.
    pub argv: Vec<String>,
    /// The effect, as one short phrase: `deletes /usr and everything below it`.
    pub effect: String,
    /// Why the rule exists.
    pub reason: String,
    /// A safer way, for the agent; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// The decision with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The strictest of the findings; `Allow` where there is none.
    pub decision: Decision,
    /// Strictest first, then in the order of the text.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// Puts findings together: the strictest decides.
    pub fn from_findings(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| b.decision.cmp(&a.decision).then(a.span.start.cmp(&b.span.start)));
        let decision = findings.first().map_or(Decision::Allow, |finding| finding.decision);
        Self { decision, findings }
    }
}
