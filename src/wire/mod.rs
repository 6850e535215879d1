//! What goes over sockets: the types (pure), their framing, and who is at the other end.

pub mod dialog;
pub mod frame;
pub mod lines;
pub mod peer;
pub mod rpc;
pub mod runner;
