//! What a command may reach by the proxy: hosts, addresses, and the decision over both. Pure.
//!
//! A request names a host in one of many spellings; [`Host`] is the one spelling that is judged, recorded and dialled, and
//! what has no such spelling is refused. The policy's list says which hosts may be asked for ([`ask`]), and [`address::class`]
//! which addresses a name may lead to ([`dial`]): what is not on the public internet is refused, whatever it is wrapped in,
//! unless the policy names that very address.
//!
//! Nothing here resolves a name. Whoever does asks [`dial`] about each address that came of it and connects to no other, so
//! that a second answer of a name server cannot replace the one that was judged (DNS rebinding).
#![forbid(unsafe_code)]
#![deny(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

pub mod address;
mod host;
mod judge;
mod target;

pub use host::{Host, HostError};
pub use judge::{Refusal, ask, dial};
pub use target::{Target, TargetError};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
