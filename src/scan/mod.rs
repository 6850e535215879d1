//! A scan of the files that agents read as instructions, for text that is there to take an agent over. Pure.
//!
//! Three things are looked for: phrases (`policies/scan.toml` and `policies/scan-languages.toml`: rules as data, with examples
//! of both kinds), characters that a person does not see, and encodings that carry either. Phrases are looked for in the text
//! as it is, in the text as it looks (compatibility forms, look-alike letters and invisible characters folded: [`fold`]), with
//! its escapes undone ([`escaped`]), and inside base64, base32 and hexadecimal. What stands in a comment or a hidden element
//! counts for more; what is quoted, as documentation of attacks quotes it, counts for less. What a text is for counts as well:
//! a command that installs something is what a README is there to show, and what a hook's configuration runs unasked.
//!
//! The whole text is scanned, in time linear in it: words find candidates in one pass, and each rule's expression then
//! looks once at each window in which one of its words stands. A scan is no boundary. It finds what is known, says so, and
//! a text without findings has not been shown to be harmless.
#![forbid(unsafe_code)]
#![deny(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod encoded;
mod engine;
mod escaped;
mod expression;
mod fold;
mod hidden;
mod invisible;
mod languages;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rules::{Rules, RulesError};

/// How sure a finding is to be an attack, least first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look where there are others.
    Low,
    /// Odd in a file of instructions; has innocent uses.
    Medium,
    /// Has hardly any innocent use.
    #[default]
    High,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    pub(crate) const fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
        }
    }

    pub(crate) const fn lowered(self) -> Self {
        match self {
            Self::High => Self::Medium,
            Self::Medium | Self::Low => Self::Low,
        }
    }
}

/// What a text is to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// It does what stands there.
    #[default]
    Instructions,
    /// It, or the program that it runs in, starts what stands there.
    Configuration,
    /// It reads what stands there, as people do.
    Document,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Of the rule; `+hidden`, `+folded` and `+encoded` say where it was found.
    pub rule: String,
    /// How sure it is.
    pub severity: Severity,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// What was found, escaped: ASCII, without control characters, at most 200 bytes.
    pub text: String,
    /// What is wrong with it, for people.
    pub reason: String,
}

/// Most findings of one text; the highest are kept, and the last says how many there are.
const MOST: usize = 256;

/// Scans a text of instructions, which need not be UTF-8. Findings come in the order of the text.
pub fn scan(rules: &Rules, text: &[u8]) -> Vec<Finding> {
    scan_as(rules, Kind::Instructions, text)
}

/// Scans a text of some kind: [`Rules::kind`] tells the kind by a path.
pub fn scan_as(rules: &Rules, kind: Kind, text: &[u8]) -> Vec<Finding> {
    let mut found = engine::find(rules, kind, text);
    // One place, one finding for each rule: the surest, and then the one that says more.
    found.sort_by(|one, other| {
        (one.at, &one.rule, other.severity, other.rule.len()).cmp(&(
            other.at,
            &other.rule,
            one.severity,
            one.rule.len(),
        ))
    });
    found.dedup_by(|next, kept| next.at < kept.at + kept.length.max(1) && next.base() == kept.base());
    if found.len() > MOST {
        found.sort_by_key(|hit| (core::cmp::Reverse(hit.severity), hit.at));
        found.truncate(MOST);
        found.sort_by_key(|hit| hit.at);
    }
    engine::place(text, found)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
