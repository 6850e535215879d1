//! The server's side of the agents' and operators' protocol, as far as messages go: which one may come when, and about
//! what.
//!
//! After the model of OpenSSH's monitor: a [`table`] says what may be asked in which state, one mechanism looks there, and
//! what has no row or comes out of its turn is refused before anything acts on it. These are state machines that know no
//! socket, no clock and no process, so that all of it can be driven by a fuzzer:
//!
//! - [`Dialog`]: bytes and descriptors in; requests out that may be made on this socket at this point of a connection.
//! - [`Register`]: whose session is whose.
//! - [`Roster`]: the commands of a session, by the names that their client chose.
//! - [`Found`]: what a request is about, once it is known to be there, the peer's own, and in a state for it.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod connection;
mod found;
mod register;
mod roster;
pub mod table;

pub use connection::{Dialog, Step, UNASKED};
pub use found::{Command, Facts, Found, Input, Output, Session};
pub use register::Register;
pub use roster::{Member, Roster};
pub use table::{About, Calls, Needs, Phase, Row};
