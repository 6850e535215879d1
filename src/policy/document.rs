//! The policy file as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::condition::{Arguments, Condition, Effects, Many, Source, Where};
use super::profile::{NetworkSection, ProfileSection, SandboxSection};
use super::sections::{ApprovalSection, Environment, LimitsSection, ScanSection, Workspace};
use crate::gate::Decision;

/// A whole policy file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    /// Files beside this one whose rules and profiles hold as well. Not for the policy of a project.
    #[schemars(with = "Vec<String>")]
    pub(super) include: Vec<Spanned<String>>,
    pub(super) environment: Option<Environment>,
    pub(super) workspace: Workspace,
    pub(super) network: Option<NetworkSection>,
    pub(super) limits: LimitsSection,
    pub(super) approval: ApprovalSection,
    pub(super) sandbox: SandboxSection,
    pub(super) scan: ScanSection,
    /// Shapes of secrets that are masked as well. Not for the policy of a project.
    #[schemars(with = "Vec<crate::redact::Source>")]
    pub(super) redact: Vec<Spanned<crate::redact::Source>>,
    #[schemars(with = "BTreeMap<String, ProfileSection>")]
    pub(super) profile: BTreeMap<Spanned<String>, Spanned<ProfileSection>>,
    /// What happens to an effect that no rule speaks of.
    pub(super) default: Verdict,
    #[schemars(with = "Vec<RuleDocument>")]
    pub(super) rule: Vec<Spanned<RuleDocument>>,
}

/// What a rule may decide. Hardline is not among them: a policy cannot speak for the compiled-in list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table: [[rule]]")]
pub(super) struct RuleDocument {
    #[schemars(with = "String")]
    pub(super) id: Spanned<String>,
    pub(super) decision: Verdict,
    #[schemars(with = "String")]
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
    #[serde(default)]
    pub(super) principal: Option<Many<String>>,
    #[serde(default)]
    pub(super) session: Option<Many<String>>,
    #[serde(default)]
    pub(super) backend: Option<Many<String>>,
    /// The profile under which what it speaks of runs, if it runs.
    #[serde(default, rename = "run-under")]
    #[schemars(with = "Option<String>")]
    pub(super) run_under: Option<Spanned<String>>,
    /// The secrets that what it certainly speaks of is given, where that is one command by itself. Not for the policy of a
    /// project.
    #[serde(default)]
    #[schemars(with = "Vec<SecretDocument>")]
    pub(super) secrets: Vec<Spanned<SecretDocument>>,
    /// What the rule does not speak of.
    #[serde(default)]
    #[schemars(with = "Vec<Condition>")]
    pub(super) except: Vec<Spanned<Condition>>,
    #[serde(default)]
    #[schemars(with = "Vec<Example>")]
    pub(super) examples: Vec<Spanned<Example>>,
}

/// A secret that a rule gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct SecretDocument {
    /// Its name in the file of secrets.
    pub(super) name: String,
    /// The variable that holds it; beside `file`, the variable that holds the file's path.
    #[serde(default)]
    pub(super) env: Option<String>,
    /// The name of the file below /run/secrets that holds it.
    #[serde(default)]
    pub(super) file: Option<String>,
}

/// A command with the verdict that the whole policy must give.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { command = \"ls\", expect = \"allow\" }")]
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
    /// The user who asks; `user` by default, whose uid is 1000.
    #[serde(default)]
    pub(super) principal: Option<String>,
    /// The profile of the session.
    #[serde(default)]
    pub(super) session: Option<String>,
    /// What would run it; `jail` by default.
    #[serde(default)]
    pub(super) backend: Option<String>,
    /// The profiles under which rules must have it run, sorted; not compared where it is left out.
    #[serde(default, rename = "run-under")]
    pub(super) run_under: Option<Vec<String>>,
    /// The names of the secrets that it must be given, sorted; not compared where it is left out.
    #[serde(default)]
    pub(super) secrets: Option<Vec<String>>,
}

impl Document {
    /// What stands in it beside rules, profiles, shapes of secrets and includes, by name.
    pub(super) fn sections(&self) -> Vec<&'static str> {
        let Self {
            include: _,
            environment,
            workspace,
            network,
            limits,
            approval,
            sandbox,
            scan,
            redact: _,
            profile: _,
            default,
            rule: _,
        } = self;
        let sections = [
            ("environment", environment.is_some()),
            ("workspace", *workspace != Workspace::default()),
            ("network", network.is_some()),
            ("limits", *limits != LimitsSection::default()),
            ("approval", *approval != ApprovalSection::default()),
            ("sandbox", *sandbox != SandboxSection::default()),
            ("scan", *scan != ScanSection::default()),
            ("default", *default != Verdict::default()),
        ];
        sections.iter().filter(|(_, stands)| *stands).map(|(name, _)| *name).collect()
    }
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
            principal: self.principal.clone(),
            session: self.session.clone(),
            backend: self.backend.clone(),
        }
    }
}
