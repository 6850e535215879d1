//! The ways in for agents that know nothing of execward: a server of the Model Context Protocol, and hooks that their clients run
//! before a tool.
//!
//! An adapter decides nothing. It asks as any client would, and says what was decided in the words that the agent's client
//! reads. What it cannot do, it refuses.

pub mod hook;
pub mod mcp;
pub mod pass;
