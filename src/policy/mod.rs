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
mod cover;
mod destination;
mod document;
mod error;
mod examples;
mod explain;
mod host;
mod index;
mod layers;
mod lint;
mod load;
mod names;
pub mod profile;
mod rule;
mod schema;
mod secrets;
mod sections;
mod spans;
mod units;

pub use destination::{Allowlist, Destination};
pub use error::PolicyError;
pub use explain::{Explanation, Matched};
pub use lint::{Kind as LintKind, Lint};
pub use load::{Find, Included, Known, Loader};
pub use profile::{Access, Backend, BackendName, Choice, Level, Network, Profile};
pub use schema::schema;
pub use secrets::{Given, is_name as is_secret_name};
pub use sections::{Approval, Later, Limits, OnHit, Scan};
pub use units::{ByteSize, Processors, parse_duration, written};

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use sha2::{Digest as _, Sha256};

use crate::gate::{self, Act, Command, Facts, Finding, Judgement};
use document::{Example, Verdict};
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
    /// What a scan of the workspace's agent files leads to.
    pub scan: Scan,
    /// The shapes of secrets, where the policy adds some to what is compiled in.
    redaction: Option<crate::redact::Rules>,
    /// How a person is asked.
    pub approval: Approval,
    /// Which sandboxes requesters may ask for.
    pub choice: Choice,
    profiles: BTreeMap<String, Profile>,
    base: Profile,
    /// The highest first. Each judges by itself, and the strictest of all decides.
    layers: Vec<Arc<Layer>>,
    name: String,
    digest: [u8; 32],
}

/// The rules of one layer.
#[derive(Debug)]
struct Layer {
    role: Role,
    default: Verdict,
    rules: Vec<Rule>,
    index: Index,
    /// The places of the rules that give secrets.
    giving: Vec<usize>,
    /// For those who look for mistakes: the examples of each rule, in the order of the rules.
    examples: Vec<Vec<Example>>,
}

/// Who wrote a layer, highest first. Each only tightens what stands above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The machine's: `/etc/execward/policy.toml`, or the one compiled in.
    System,
    /// The operator's of this daemon, or the user's own.
    Operator,
    /// The project's, in its workspace, where an agent may have written it.
    Project,
}

impl Role {
    /// The word for it in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Operator => "operator",
            Self::Project => "project",
        }
    }
}

impl Policy {
    /// The policies that come with execward: file name and text.
    pub const SHIPPED: [(&'static str, &'static str); 4] = [
        ("policies/default.toml", BUILTIN),
        ("policies/strict.toml", include_str!("../../policies/strict.toml")),
        ("policies/ci.toml", include_str!("../../policies/ci.toml")),
        ("policies/readonly.toml", include_str!("../../policies/readonly.toml")),
    ];

    /// The shapes of secrets: what is compiled in, and what the policy adds. Those that are compiled in are read when they are
    /// first needed: whoever waits for a sandbox need not wait for them.
    pub fn redaction(&self) -> crate::redact::Rules {
        self.redaction.clone().unwrap_or_else(crate::redact::Rules::builtin)
    }

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
        Loader::new(Role::System).load(text, name)
    }

    /// The policy that holds where no file says otherwise: `policies/default.toml`.
    pub fn builtin() -> &'static Self {
        static POLICY: LazyLock<Policy> = LazyLock::new(|| {
            // The shipped files and their examples are checked by this module's tests: trying them takes longer than starting
            // a command. Should this one fail all the same, everything is refused.
            let known = |_: &[u8; 32]| true;
            let loader = Loader { examples_hold: Some(&known), ..Loader::new(Role::System) };
            loader.load(BUILTIN, "policies/default.toml").unwrap_or_else(|_| Policy::refusing())
        });
        &POLICY
    }

    /// Judges a command. Pure: the same command, facts and policy give the same judgement.
    pub fn judge(&self, command: &Command, facts: &Facts) -> Judgement {
        let survey = gate::survey(command, facts);
        let mut findings = self.findings(survey.acts(), facts);
        let secrets = self.secrets_of(command, survey.acts(), facts, &mut findings);
        Judgement { secrets, ..survey.conclude(findings) }
    }

    /// SHA-256 over the policy's text and execward's version: what was judged under one policy is not taken for having been
    /// judged under another.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// SHA-256 over what a rule says, as this version reads it: editing another rule leaves it as it is. A rule that the policy
    /// does not have is compiled in, and is what this version says.
    pub fn rule_digest(&self, id: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for field in ["execward rule", env!("CARGO_PKG_VERSION"), id] {
            hasher.update(field);
            hasher.update([0]);
        }
        // Layers may have rules of the same id: whichever of them asked, none was edited.
        for (role, rule) in self.rules().filter(|(_, rule)| rule.id() == id) {
            hasher.update(format!("{role:?} {rule:?}"));
        }
        hasher.finalize().into()
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

    /// Whether some rule has commands run under a profile.
    pub fn confines(&self) -> bool {
        self.rules().any(|(_, rule)| !rule.run_under.is_empty())
    }

    /// The profile with what the rules of a judgement take away. A name that is none takes everything away that a profile
    /// can.
    pub fn confine(&self, profile: &Profile, judgement: &Judgement) -> Profile {
        judgement.run_under.iter().fold(profile.clone(), |profile, name| match self.profile(name) {
            Some(other) => profile.meet(other),
            None => profile.meet(&Profile::nothing(name)),
        })
    }

    /// Ids of the rules, layer by layer in the order of the files.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules().map(|(_, rule)| rule.id())
    }

    fn rules(&self) -> impl Iterator<Item = (Role, &Rule)> {
        self.layers.iter().flat_map(|layer| layer.rules.iter().map(|rule| (layer.role, rule)))
    }

    /// What the rules say of the acts. A command that has effects is judged by them, one that has none by its start.
    fn findings(&self, acts: &[Act], facts: &Facts) -> Vec<Finding> {
        let mut findings = Vec::new();
        for act in acts.iter().filter(|act| !act.settled) {
            for layer in &self.layers {
                layer.judge(act, facts, &mut findings);
            }
        }
        findings
    }

    /// A policy that refuses everything.
    fn refusing() -> Self {
        let layer = Layer {
            role: Role::System,
            default: Verdict::Deny,
            rules: Vec::new(),
            index: Index::default(),
            giving: Vec::new(),
            examples: Vec::new(),
        };
        Self {
            roots: Some(Vec::new()),
            later: Later::default(),
            scan: Scan::default(),
            redaction: None,
            approval: Approval::default(),
            choice: Choice::default(),
            profiles: BTreeMap::new(),
            base: Profile::default(),
            layers: vec![Arc::new(layer)],
            name: "refuse-everything".to_owned(),
            digest: [0; 32],
        }
    }
}

impl Layer {
    fn judge(&self, act: &Act, facts: &Facts, findings: &mut Vec<Finding>) {
        let mut spoken = false;
        for rule in self.index.candidates(act).filter_map(|at| self.rules.get(at)) {
            let speaks = rule.speaks_of(act, facts);
            spoken |= speaks;
            if speaks || rule.confines(act, facts) {
                findings.extend(rule.finding(act));
            }
        }
        // A start that has other effects is what they are.
        let implied = act.is_start() && act.scene.has_effects;
        if !spoken && !implied && self.default != Verdict::Allow {
            let reason = "no rule of the policy speaks of this";
            findings.push(gate::finding(act, "policy.default", self.default.into(), reason, ""));
        }
    }
}

#[cfg(test)]
mod tests;
