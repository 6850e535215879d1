//! What programs do: an argv becomes effects.
//!
//! Knowledge about programs is data (`policies/programs/*.toml`, compiled in); this module is the engine that reads
//! option grammars and turns operands and flags into [`Effect`]s. It judges nothing: whether an effect is allowed is
//! for the gate and the policy.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod code;
pub mod effect;
mod elsewhere;
mod engine;
mod filling;
mod grammar;
mod hooks;
pub mod knowledge;
pub mod notation;
mod output;
mod program_word;
mod redirects;
mod secret_names;
mod template;
mod variables;
mod words;

#[cfg(test)]
mod tests;

pub use effect::{Attribute, Effect, Language, Operation, Target};
pub use engine::{effects, is_guess};
pub use hooks::{Listing, READ};
pub(crate) use hooks::{cron_command, fits_nearly_all};
pub use knowledge::{Knowledge, KnowledgeError};
pub use output::{literals, output, runs_input};
pub use secret_names::SecretNames;
pub use words::behind;
