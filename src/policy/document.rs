//! The policy file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::condition::{Arguments, Condition, Effects, Many, Source, Where};
use super::profile::{NetworkSection, ProfileSection, SandboxSection};
use super::sections::{ApprovalSection, Environment, LimitsSection, Workspace};
use crate::gate::Decision;

/// A whole policy file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub(super) environment: Environment,
    pub(super) workspace: Workspace,
    pub(super) network: NetworkSection,
    pub(super) limits: LimitsSection,
    pub(super) approval: ApprovalSection,
    pub(super) sandbox: SandboxSection,
    pub(super) profile: BTreeMap<Spanned<String>, Spanned<ProfileSection>>,
    /// What happens to an effect that no rule speaks of.
    pub(super) default: Verdict,
    pub(super) rule: Vec<Spanned<RuleDocument>>,
}

/// What a rule may decide. Hardline is not among them: a policy cannot speak for the compiled-in list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    #[default]
    Allow,
    Ask,
    Deny,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Ask => Self::Ask,
            Verdict::Deny => Self::Deny,
        }
    }
}

/// A `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleDocument {
    pub(super) id: Spanned<String>,
    pub(super) decision: Verdict,
    pub(super) reason: Spanned<String>,
    #[serde(default)]
    pub(super) hint: String,
    #[serde(default)]
    pub(super) program: Option<Many<String>>,
    #[serde(default)]
    pub(super) arguments: Option<Arguments>,
    #[serde(default)]
    pub(super) effect: Option<Effects>,
    #[serde(default)]
    pub(super) target: Option<Many<Where>>,
    #[serde(default)]
    pub(super) via: Option<Many<String>>,
    #[serde(default)]
    pub(super) fed: Option<Many<Source>>,
    /// What the rule does not speak of.
    #[serde(default)]
    pub(super) except: Vec<Spanned<Condition>>,
    #[serde(default)]
    pub(super) examples: Vec<Spanned<Example>>,
}

/// A command with the verdict that the whole policy must give.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    /// Shell text.
    #[serde(default)]
    pub(super) command: Option<String>,
    /// Or an argv.
    #[serde(default)]
    pub(super) argv: Option<Vec<String>>,
    /// The decision.
    pub(super) expect: Decision,
    /// The working directory; the workspace by default.
    #[serde(default)]
    pub(super) cwd: Option<String>,
    /// Variables that are set.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
}

impl RuleDocument {
    /// The rule's own condition.
    pub(super) fn condition(&self) -> Condition {
        Condition {
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            effect: self.effect.clone(),
            target: self.target.clone(),
            via: self.via.clone(),
            fed: self.fed.clone(),
        }
    }
}
