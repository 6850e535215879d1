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

/// Findings that others are compared with.
const MOST_COMPARED: usize = 256;

/// One reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable id of the rule: `hardline.delete-system`, `parse.unreadable`, `delete.outside-workspace`.
    pub rule: String,
    /// What this finding alone would decide.
    pub decision: Decision,
    /// The part of the request that it is about.
    pub span: Span,
    /// The argv it resolved to, as a person reads it; of a very long one the beginning.
    pub argv: Vec<String>,
    /// The effect, as one short phrase: `deletes /usr and everything below it`.
    pub effect: String,
    /// Why the rule exists.
    pub reason: String,
    /// A safer way, for the agent; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The profile under which the rule has the command run; empty where it names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_under: String,
}

/// The decision with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The strictest of the findings; `Allow` where there is none.
    pub decision: Decision,
    /// Strictest first, then in the order of the text.
    pub findings: Vec<Finding>,
    /// The profiles under which rules have the command run, all of them at once. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_under: Vec<String>,
    /// The secrets that rules give to it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
}

/// A secret that a rule gives to a command: its name, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretGrant {
    /// Its name in the file of secrets.
    pub name: String,
    /// The rule that gives it.
    pub rule: String,
    /// The variable that holds it, or the path of its file where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The name of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl SecretGrant {
    /// How it is given, as a phrase.
    pub fn way(&self) -> String {
        match (&self.env, &self.file) {
            (Some(env), Some(file)) => format!("as the file /run/secrets/{file}, named by ${env}"),
            (Some(env), None) => format!("as ${env}"),
            (None, Some(file)) => format!("as the file /run/secrets/{file}"),
            (None, None) => String::new(),
        }
    }

    /// Whether two of them want one place for two things.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        (same(&self.env, &other.env) || same(&self.file, &other.file))
            && (&self.name, &self.env, &self.file) != (&other.name, &other.env, &other.file)
    }
}

impl Judgement {
    /// Puts findings together: the strictest decides.
    pub fn from_findings(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| b.decision.cmp(&a.decision).then(a.span.start.cmp(&b.span.start)));
        let decision = findings.first().map_or(Decision::Allow, |finding| finding.decision);
        // Taken before findings are left out: what confines must not go with what says less.
        let mut run_under: Vec<String> = findings
            .iter()
            .filter(|finding| !finding.run_under.is_empty())
            .map(|finding| finding.run_under.clone())
            .collect();
        run_under.sort();
        run_under.dedup();
        Self { decision, findings, run_under, secrets: Vec::new() }
    }

    /// The same with more findings, which can only tighten it.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Finding>) -> Self {
        let Self { decision: _, mut findings, run_under, secrets } = self;
        findings.extend(more);
        Self { run_under, secrets, ..Self::from_findings(findings) }
    }

    /// Leaves out what says less of an effect than another finding on the same effect of the same command does.
    pub(super) fn drop_weaker(&mut self) {
        let same = |a: &Finding, b: &Finding| {
            a.span == b.span && a.effect == b.effect && a.argv == b.argv && !a.effect.is_empty()
        };
        if self.findings.len() < 2 {
            return;
        }
        let mut kept: Vec<Finding> = Vec::with_capacity(self.findings.len());
        for finding in self.findings.drain(..) {
            // A text of very many findings is not worth a comparison of each with each.
            let spoken = kept.iter().take(MOST_COMPARED).any(|other| {
                (other.decision > finding.decision || other.rule == finding.rule) && same(other, &finding)
            });
            if !spoken {
                kept.push(finding);
            }
        }
        self.findings = kept;
    }

    /// The strictest finding of each part of the request: what a person reads first.
    pub fn strictest_by_span(&self) -> Vec<&Finding> {
        let mut shown: Vec<&Finding> = Vec::new();
        for finding in &self.findings {
            if !shown.iter().take(MOST_COMPARED).any(|other| other.span == finding.span) {
                shown.push(finding);
            }
        }
        shown
    }
}
