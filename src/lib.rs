//! execward: the privileged supervisor between AI agents and the machine.
//!
//! The library holds everything; the binary only chooses a role. Modules are layered (see `ARCHITECTURE.md` and
//! `tests/layers.rs`): a pure core that judges and redacts, effects that touch the system, and the shells that
//! put them together.

pub mod adapters;
pub mod approval;
pub mod audit;
pub mod cli;
pub mod client;
pub mod gate;
pub mod http;
pub mod jobs;
pub mod models;
pub mod network;
pub mod ops;
pub mod policy;
pub mod prepare;
pub mod private;
pub mod programs;
pub mod proxy;
pub mod redact;
pub mod resolve;
pub mod runner;
pub mod sandbox;
pub mod scan;
pub mod secrets;
pub mod shell;
pub mod stage;
pub mod state;
pub mod supervisor;
pub mod sys;
pub mod wire;
