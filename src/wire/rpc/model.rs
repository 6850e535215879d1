//! Providers of models, as operators see them. No key stands in any of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Words;

/// The chain, in the order in which it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Models {
    /// First, second, ...
    pub providers: Vec<ModelProvider>,
}

/// A provider, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelProvider {
    /// Its name.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Its host.
    pub host: String,
    /// Whether it would be asked now.
    pub well: bool,
    /// Keys that would be taken now.
    pub keys_well: u64,
    /// Keys that rest, because they were used too much or not accepted.
    pub keys_resting: u64,
    /// Keys that are never taken again.
    pub keys_dead: u64,
    /// Until when it is left alone: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Its last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `model/test`: tries each key of a provider with a short question. That costs what such a question costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestModel {
    /// The provider.
    pub provider: Words,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelTested {
    /// Each key, in the order of the file of keys.
    pub keys: Vec<ModelKeyTested>,
}

/// A key that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelKeyTested {
    /// A name that its digest gives.
    pub key: String,
    /// Whether there was an answer.
    pub served: bool,
    /// How long the answer took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
