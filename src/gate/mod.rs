//! The gate: effects are sorted into path classes and held against the hardline list; the verdict names every finding.
//!
//! The gate is pure. Whatever it must know comes in as [`Facts`]; same input, same verdict, so that it can be fuzzed,
//! replayed and timed. The hardline list is compiled in, and nothing lifts it: no policy, grant, mode or flag.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod act;
mod aliases;
mod alone;
pub mod class;
mod classify;
pub mod command;
pub mod facts;
mod given;
mod hardline;
mod opaque;
pub(crate) mod pattern;
mod phrase;
pub mod place;
mod reader;
mod sources;
mod start;
mod survey;
mod tables;
mod text;
pub mod verdict;

pub use act::{Act, Feed, Scene};
pub use class::{ClassSet, PathClass};
pub use command::Command;
pub use facts::Facts;
pub use place::{Base, Path, Place, Reading};
pub use survey::{Survey, survey};
pub use text::{render, render_pieces};
pub use verdict::{Decision, Finding, Judgement, SecretGrant};

/// The finding that an act is, by this rule.
pub fn finding(act: &Act, rule: &str, decision: Decision, reason: &str, hint: &str) -> Finding {
    finding_of(act, rule, decision, phrase::phrase(act), reason, hint)
}

/// The same with a phrase of its own.
pub fn finding_of(
    act: &Act,
    rule: &str,
    decision: Decision,
    effect: String,
    reason: &str,
    hint: &str,
) -> Finding {
    Finding {
        rule: rule.to_owned(),
        decision,
        span: act.scene.span,
        argv: act.first_words(),
        effect,
        reason: reason.to_owned(),
        hint: hint.to_owned(),
        run_under: String::new(),
    }
}

/// The words of a request that is one simple command, and nothing that a shell would make more of; `None` for any other.
pub fn alone(command: &Command, facts: &Facts) -> Option<Vec<String>> {
    alone::alone(command, facts)
}

#[cfg(test)]
mod tests;
