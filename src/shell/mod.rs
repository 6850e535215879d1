//! Shell text: read as the interpreter that will run it reads it, and expanded as far as its words can be known.
//!
//! `text -> syntax tree -> invocations`. The parser and the evaluator are execward's own: every parser library
//! measured has a way around it (exponential time, a stack overflow, a silent misparse). Both are bounded by counts
//! (bytes, depth, nodes, expansions), and a bound that is reached refuses; it never downgrades a verdict.
//!
//! This module knows no files, clock, environment or process: what it must know comes in as arguments.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod ast;
mod eval;
pub mod invocation;
mod parse;
mod steps;
pub mod value;

pub use ast::Script;
pub use eval::{Budget, Context, ReadError, TooMuch, evaluate, read};
pub use invocation::{Evaluation, Input, Invocation, Oddity, Origin, Redirect, RedirectKind, Written};
pub use parse::{Limits, ParseError, parse};
pub use steps::{Step, steps};
pub(crate) use value::COUNTED;
pub use value::{Bytes, Piece, Pieces, Unknown, Value};

use serde::{Deserialize, Serialize};

/// The grammar of the interpreter that will run a text. Text is judged in exactly this dialect and run by exactly
/// this interpreter: `echo x &>/dev/null touch f` prints in bash and touches in dash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `bash --norc --noprofile -c`, POSIXLY_CORRECT, SHELLOPTS, BASHOPTS and BASH_ENV unset.
    #[default]
    Bash,
    /// POSIX `sh` as dash and busybox ash read it.
    Posix,
}

/// A range of bytes in the text that the request carried: `start..end`.
///
/// Text that is found inside other text (the operand of `eval`, of `sh -c`, a here-document for a shell) keeps the
/// span of the word that carried it, so that a person can always be shown a part of what the agent wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

#[cfg(test)]
mod tests;
