//! The gate: effects are sorted into path classes and held against the hardline list; the verdict names every finding.
//!
//! The gate is pure. Whatever it must know comes in as [`Facts`]; same input, same verdict, so that it can be fuzzed,
//! replayed and timed. The hardline list is compiled in, and nothing lifts it: no policy, grant, mode or flag.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod command;
pub mod facts;
pub mod verdict;

pub use command::Command;
pub use facts::Facts;
pub use verdict::{Decision, Finding, Judgement};
