//! What a request asks to run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command as the requester gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A program and its arguments; no shell reads them.
    Argv(Vec<String>),
    /// Text for the shell of [`super::Facts::dialect`].
    Shell(String),
}

impl Command {
    /// The command on one line, as a shell would read it back.
    pub fn display(&self) -> String {
        match self {
            Self::Argv(argv) => shell_words::join(argv),
            Self::Shell(text) => text.clone(),
        }
    }
}
