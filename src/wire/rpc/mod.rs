//! The protocol of agents and operators: JSON-RPC 2.0, one object per line, over a Unix stream socket.
//!
//! These types are the contract: the schema in `docs/schema/` is made from them, and `docs/protocol.md` tells the rest.
//! What a peer sends is read strictly: unknown fields, wrong types, numbers out of range and floats are refused, and
//! nothing is guessed. What a peer receives may grow: clients ignore fields that they do not know.
//!
//! Nothing here knows a socket, a session or a clock.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bounded;
mod data;
mod error;
mod exec;
mod gate;
mod grant;
mod hello;
mod ids;
mod job;
mod message;
mod method;
mod model;
mod observe;
mod operator;
mod report;
mod scan;
mod schema;
mod session;
mod text;

pub use bounded::{Bounded, OutOfBounds};
pub use data::{Chunk, Collected, Data, NotData, Stream};
pub use error::{Code, Detail, Error};
pub use exec::*;
pub use gate::{Check, Checked};
pub use grant::*;
pub use hello::{Hello, Limits, PROTOCOL, Role, Separation, Software, Welcome};
pub use ids::{ApprovalId, BadId, ExecId, GrantId, RequestId, SessionId};
pub use job::*;
pub use message::{Id, Notification, Reply, Request};
pub use method::{AgentCall, Event, Method, OperatorCall};
pub use model::*;
pub use observe::*;
pub use operator::*;
pub use report::{Agreed, Outcome, Principal, RefusedBy, Report, Timing, Withheld};
pub use scan::{ScanPath, Scanned, Suspect};
pub use schema::{Socket, schema};
pub use session::*;
pub use text::{BadText, PathText, VarName, VarValue, Words};

/// The answer to a request that has nothing to say but that it was done.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct Done {}

/// Parameters of a method that takes none.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}
