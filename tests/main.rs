//! The one integration binary. Each module holds the tests of one promise; `support` holds what they share.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says where")]
#![allow(unreachable_pub, reason = "modules of a test binary share by pub")]

mod bad_input;
mod cli;
mod clients;
mod daemon;
mod differential;
mod docker;
mod escape;
mod gate;
mod hooks;
mod launcher;
mod layers;
mod mcp;
mod protocol;
mod proxy;
mod real;
mod support;
