//! The record that proves what happened: append-only JSON lines, each carrying the hash of the one before.
//!
//! [`record`] and [`chain`] are pure; [`log`] puts lines on disk and hands out the [`Durable`] without which nothing
//! runs; [`verify`] finds what was changed afterwards.

pub mod chain;
pub mod log;
pub mod record;
pub mod verify;

pub use chain::{Durable, Hash, Key};
pub use log::{Log, LogError};
pub use record::{Approval, Decision, Digest, End, Outcome, Record, Requester};
