//! The record that proves what happened: append-only JSON lines, each carrying the hash of the one before.

pub mod chain;
pub mod log;
pub mod record;
pub mod verify;

pub use chain::{Durable, Hash, Key};
pub use log::{Log, LogError};
pub use record::{Decision, Digest, End, Record};
