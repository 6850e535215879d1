//! The pipeline's types: a command that was not cleared has no type that runs.
//!
//! ```text
//! Request -> Parsed -> Verdict { Allow(Cleared) | Ask(Pending) | Deny(Denial) }
//! Pending + Grant -> Cleared -> Prepared -> + Ticket -> Running -> Finished -> Report
//! ```
//!
//! Each step takes the one before it by value, fields are private, and neither [`Cleared`], [`Grant`], [`Prepared`]
//! nor [`Ticket`] can be copied, made from nothing, or read from bytes. What must be true of a command that runs is
//! therefore true by construction: it was judged, agreed to, it still is what was judged, and its record is durable.
//!
//! This module performs nothing. It knows no file, clock or process; the supervisor brings it what it has seen.
//!
//! A verdict that asks cannot be treated as one that allows:
//!
//! ```compile_fail,E0599
//! fn run_unasked(pending: execward::stage::Pending, seen: execward::stage::Seen) {
//!     let _ = pending.prepare(seen);
//! }
//! ```
//!
//! ```
//! fn run_cleared(cleared: execward::stage::Cleared, seen: execward::stage::Seen) {
//!     let _ = cleared.prepare(seen);
//! }
//! ```
//!
//! A grant is used up by the command that it was given for:
//!
//! ```compile_fail,E0382
//! fn twice(a: execward::stage::Pending, b: execward::stage::Pending, grant: execward::stage::Grant) {
//!     let _ = a.accept(grant);
//!     let _ = b.accept(grant);
//! }
//! ```
//!
//! ```
//! fn once(a: execward::stage::Pending, grant: execward::stage::Grant) {
//!     let _ = a.accept(grant);
//! }
//! ```
//!
//! Nor can it be copied, made from nothing, or read from a file:
//!
//! ```compile_fail,E0277
//! fn copied<T: Clone>() {}
//! copied::<execward::stage::Grant>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_nothing<T: Default>() {}
//! from_nothing::<execward::stage::Grant>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_bytes<T: serde::de::DeserializeOwned>() {}
//! from_bytes::<execward::stage::Grant>();
//! ```
//!
//! ```compile_fail,E0277
//! fn copied<T: Clone>() {}
//! copied::<execward::stage::Cleared>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_bytes<T: serde::de::DeserializeOwned>() {}
//! from_bytes::<execward::stage::Cleared>();
//! ```
//!
//! ```compile_fail,E0277
//! fn copied<T: Clone>() {}
//! copied::<execward::stage::Prepared>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_bytes<T: serde::de::DeserializeOwned>() {}
//! from_bytes::<execward::stage::Prepared>();
//! ```
//!
//! ```compile_fail,E0277
//! fn copied<T: Clone>() {}
//! copied::<execward::stage::Ticket>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_nothing<T: Default>() {}
//! from_nothing::<execward::stage::Ticket>();
//! ```
//!
//! ```compile_fail,E0277
//! fn from_bytes<T: serde::de::DeserializeOwned>() {}
//! from_bytes::<execward::stage::Ticket>();
//! ```
//!
//! Those bounds do hold for what may be copied, so the failures above are about the type and nothing else:
//!
//! ```
//! fn copied<T: Clone>() {}
//! fn from_bytes<T: serde::de::DeserializeOwned>() {}
//! copied::<execward::gate::Facts>();
//! from_bytes::<execward::gate::Facts>();
//! ```
//!
//! A prepared command needs its ticket, and a ticket can only be had for a record that is durable:
//!
//! ```compile_fail,E0061
//! fn unrecorded(prepared: execward::stage::Prepared) {
//!     let _ = prepared.start(1);
//! }
//! ```
//!
//! ```
//! fn recorded(prepared: execward::stage::Prepared, ticket: execward::stage::Ticket) {
//!     let _ = prepared.start(ticket, 1);
//! }
//! ```
//!
//! Fields are private, so that none of these can be put together by hand:
//!
//! ```compile_fail,E0451
//! fn forged(durable: execward::audit::Durable) -> execward::stage::Ticket {
//!     execward::stage::Ticket { durable }
//! }
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod binding;
mod report;
mod request;
mod run;
mod verdict;
mod wire;

pub use binding::Digest;
pub use report::{Outcome, Report, Timing};
pub use request::{Malformed, Parsed, Place, Principal, Request, RequestId, Terms};
pub use run::{Changed, Finished, Go, Prepared, Running, Seen, Ticket, WrongTicket};
pub use verdict::{
    Agreed, Answered, Cleared, Denial, DenialReason, Grant, GrantMismatch, Narrower, Pending, RefusedBy,
    Verdict,
};

/// Most bytes of a command: the text, or the arguments with one byte after each. Beyond it a request is refused; a
/// limit never downgrades a verdict. Linux takes no single argument past this size (MAX_ARG_STRLEN, execve(2)).
pub const MAX_COMMAND: usize = 128 << 10;

#[cfg(test)]
mod tests;
