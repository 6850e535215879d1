//! Redaction of everything that leaves: a byte stream goes in, the same stream with secrets masked comes out.
//!
//! Two kinds of knowledge meet here. *Shapes* are rules, kept as data (`policies/redact.toml`): a vendor prefix, a
//! header, an assignment to a sensitive name. *Values* are exact secrets that execward itself holds or withheld, and
//! they are found in plain, in base64 at each alignment, in hex, and escaped in the way of URLs, JSON, HTML, CSV and shells.
//!
//! A table of first bytes finds candidates; what follows a literal leaves few of them; counting bytes or an automaton for each rule
//! confirms those. The result never depends
//! on how the bytes were cut into chunks, except where a caller asks for an early [`Stream::flush_partial`]. Memory
//! is bounded whatever comes in, and time is linear in it. Redaction is no boundary against a command that wants to
//! leak (it can print a secret reversed); it keeps secrets out of output, logs and prompts by accident.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod candidate;
mod check;
mod encoding;
mod engine;
mod escape;
mod example;
mod lines;
mod messages;
mod notation;
mod quote;
mod rules;
mod run;
mod search;
mod secret;
mod shape;
mod stream;

pub use engine::Redactor;
pub use messages::Messages;
pub use rules::{Rules, RulesError, Source};
pub use secret::Secret;
pub use stream::{Mark, Span, Stream};

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests;
