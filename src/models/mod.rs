//! Asking a language model, through a chain of providers that is used for every such question.
//!
//! A provider is an HTTP API (OpenAI's or Anthropic's form) with a model and a pool of keys. A question goes to the first
//! provider that is well; where it fails, the same question goes to the next, and the next question begins at the first
//! again. What a model answers is text from a stranger: whoever asked decides what form of it counts.
//!
//! What a question holds may come from an agent, so that no answer to *this* question says that a provider is down for others:
//! only one that is no answer at all does. Otherwise an agent could choose the model that judges it.

mod chain;
mod config;
mod headers;
mod health;
mod pool;
mod speak;

pub use chain::{Attempt, Chain, ChainError, KeyTried};
pub use config::{Api, Models, ModelsError, Provider, Strategy};
pub use health::Health;

use std::time::Duration;

/// The longest that one question may take, all providers together.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A question.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What the model is to do.
    pub system: String,
    /// What it is to look at.
    pub user: String,
    /// Most tokens of its answer.
    pub max_tokens: u32,
}

/// What a model said, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its words. Nothing in them is to be believed or shown unescaped.
    pub text: String,
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// Providers that were asked before, and did not answer.
    pub failed: Vec<Attempt>,
}
