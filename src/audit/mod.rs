//! The record that proves what happened: append-only JSON lines, each carrying the hash of the one before.
//!
//! [`record`], [`chain`] and [`checkpoint`] are pure; [`log`] puts lines on disk and hands out the [`Durable`] without
//! which nothing runs; [`verify`] finds what was changed afterwards; [`read`] and [`query`] are for whoever looks.

pub mod chain;
pub mod checkpoint;
pub mod log;
pub mod query;
pub mod read;
pub mod record;
pub mod verify;

pub use chain::{Durable, Hash, Key};
pub use checkpoint::{Checkpoint, CheckpointError, PublicKey};
pub use log::{KEY_FILE, LOG_FILE, Log, LogError, Options, SIGNING_KEY_FILE, all as files, public_key};
pub use record::{Approval, Connection, ConnectionEnd, Decision, Digest, End, Outcome, Record, Requester};
