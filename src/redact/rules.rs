//! The shapes of secrets, read from data.

/// The rules.
#[derive(Debug, Clone, Default)]
pub struct Rules {}

/// Why rules could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {}

impl Rules {
    /// The rules compiled in from `policies/redact.toml`.
    pub fn builtin() -> Self {
        Self {}
    }
}
