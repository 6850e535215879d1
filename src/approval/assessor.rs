//! The place of an assessor, which answers in mode `smart` before a person is asked.
//!
//! It may agree to one command that it holds to be of low risk, refuse it, or leave it to a person. It is asked only about
//! what the policy asks about. Where there is none, every question goes to a person.

use std::pin::Pin;

use crate::stage::Pending;

/// What an assessor says of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assessment {
    /// It may run, this once.
    Approve {
        /// Who says so.
        model: String,
    },
    /// It must not.
    Deny {
        /// Who says so, and why.
        reason: String,
    },
    /// A person is to decide: any doubt, error or silence.
    Escalate {
        /// Why.
        why: String,
    },
}

/// Assesses commands.
pub trait Assessor: std::fmt::Debug + Send + Sync {
    /// Assesses one command. It keeps its own time; when the future is dropped, nothing is left of it.
    fn assess<'a>(&'a self, pending: &'a Pending) -> Pin<Box<dyn Future<Output = Assessment> + Send + 'a>>;
}
