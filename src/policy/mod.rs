//! Policies: rules in TOML over programs, argument shapes, effects and path classes.
//!
//! A policy only adds findings to what the gate found by itself: it cannot take one away, and it has no word for
//! hardline. The strictest finding wins. A rule that allows takes an effect out of the policy's own default; it lifts
//! nothing that another rule decides. Each rule carries examples, and a policy whose examples fail is not loaded.
//!
//! This module reads text. Which file it came from, and who may write to that file, is the caller's to check.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub(crate) mod condition;
mod destination;
mod document;
mod error;
mod index;
mod load;
pub mod profile;
mod rule;
mod sections;
mod units;

pub use destination::{Allowlist, Destination};
pub use error::PolicyError;
pub use profile::{Access, Level, Network, Profile};
pub use sections::{Approval, Later, Limits};
pub use units::{ByteSize, parse_duration};

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::gate::{self, Act, Command, Facts, Finding, Judgement};
use document::Verdict;
use index::Index;
use rule::Rule;

/// The policy that holds where no file says otherwise.
const BUILTIN: &str = include_str!("../../policies/default.toml");

/// A policy that was read, checked against its own examples, and can judge.
#[derive(Debug)]
pub struct Policy {
    /// Absolute directories below which a command may work; `None`: the directory in which it was asked for. An empty list
    /// permits none.
    pub roots: Option<Vec<String>>,
    /// What becomes of what a command leaves for others to execute later.
    pub later: Later,
    /// How a person is asked.
    pub approval: Approval,
    profiles: BTreeMap<String, Profile>,
    base: Profile,
    default: Verdict,
    rules: Vec<Rule>,
    index: Index,
    name: String,
    digest: [u8; 32],
}

impl Policy {
    /// The text of the policy that is compiled in.
    pub fn builtin_text() -> &'static str {
        BUILTIN
    }

    /// Reads a policy. `name` is the file's name for messages.
    ///
    /// # Errors
    /// The first mistake, rendered with its line, a caret and a hint: TOML that does not parse, an unknown key, class
    /// or effect, an empty condition, two rules of one id, an example whose verdict is another.
    pub fn parse(text: &str, name: &str) -> Result<Self, PolicyError> {
        load::load(text, name)
    }

    /// The policy that holds where no file says otherwise: `policies/default.toml`.
    pub fn builtin() -> &'static Self {
        static POLICY: LazyLock<Policy> = LazyLock::new(|| {
            // The shipped file and its examples are checked by this module's tests. Should it fail all the same,
            // everything is refused.
            load::load_tested(BUILTIN, "policies/default.toml").unwrap_or_else(|_| Policy::refusing())
        });
        &POLICY
    }

    /// Judges a command. Pure: the same command, facts and policy give the same judgement.
    pub fn judge(&self, command: &Command, facts: &Facts) -> Judgement {
        let survey = gate::survey(command, facts);
        let findings = self.findings(survey.acts());
        survey.conclude(findings)
    }

    /// SHA-256 over the policy's text and execward's version: what was judged under one policy is not taken for having been
    /// judged under another.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The name it was read under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile that holds where none is selected: what the sections at the top say.
    pub fn base(&self) -> &Profile {
        &self.base
    }

    /// The profile of this name.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        if name == profile::DEFAULT { Some(&self.base) } else { self.profiles.get(name) }
    }

    /// Every profile, `default` first.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        std::iter::once(&self.base).chain(self.profiles.values())
    }

    /// Ids of the rules, in the order of the file.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(Rule::id)
    }

    /// What the rules say of the acts. A command that has effects is judged by them, one that has none by its start.
    fn findings(&self, acts: &[Act]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for act in acts.iter().filter(|act| !act.settled) {
            let mut spoken = false;
            let candidates = self.index.candidates(act).filter_map(|at| self.rules.get(at));
            for rule in candidates.filter(|rule| rule.speaks_of(act)) {
                spoken = true;
                findings.extend(rule.finding(act));
            }
            // A start that has other effects is what they are.
            let is_start = act.is_start();
            let implied = is_start && act.scene.has_effects;
            if !spoken && !implied && self.default != Verdict::Allow {
                let reason = "no rule of the policy speaks of this";
                findings.push(gate::finding(act, "policy.default", self.default.into(), reason, ""));
            }
        }
        findings
    }

    /// A policy that refuses everything.
    fn refusing() -> Self {
        Self {
            roots: Some(Vec::new()),
            later: Later::default(),
            approval: Approval::default(),
            profiles: BTreeMap::new(),
            base: Profile::default(),
            default: Verdict::Deny,
            rules: Vec::new(),
            index: Index::default(),
            name: "refuse-everything".to_owned(),
            digest: [0; 32],
        }
    }
}

#[cfg(test)]
mod tests;
