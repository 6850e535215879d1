//! What the shell that will run a text starts with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Dialect, Input, Unknown, Value, Written};

/// What the shell that will run a text starts with.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The grammar.
    pub dialect: Dialect,
    /// The directory in which it starts.
    pub cwd: Arc<Value>,
    /// Home directory of the user.
    pub home: Cow<'a, str>,
    /// Login name.
    pub user: Cow<'a, str>,
    /// User id.
    pub uid: u32,
    /// Other users' homes, for `~name`.
    pub homes: Cow<'a, BTreeMap<String, String>>,
    /// The environment.
    pub environment: Cow<'a, BTreeMap<String, String>>,
    /// More of the environment, before it: variables whose values may not be known.
    pub variables: BTreeMap<String, Value>,
    /// Whether a variable that is in neither is known to be unset; otherwise nothing is known of it.
    pub others_unset: bool,
    /// `$0`, `$1`, ...; `None` where they are not known.
    pub arguments: Option<Cow<'a, [Value]>>,
    /// What standard input is.
    pub stdin: Input,
    /// Files that a text around this one wrote.
    pub files: Vec<Written>,
    /// Whether `shopt -s extglob` is in force (`bash -O extglob`).
    pub extglob: bool,
    /// Whether bash reads as POSIX has it (`bash --posix`), which is not to say that it is another shell.
    pub posix: bool,
    /// Directories that are there for sure, so that `cd` to one succeeds.
    pub standing: Vec<String>,
}

impl Context<'_> {
    /// What a variable holds at the start; `None` where the environment does not have it.
    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        let more = self.variables.get(name).cloned();
        more.or_else(|| self.environment.get(name).map(|value| Value::known(value.as_bytes())))
    }

    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.environment.contains_key(name)
    }
}

impl Default for Context<'_> {
    fn default() -> Self {
        Self {
            dialect: Dialect::Bash,
            cwd: Arc::new(Value::unknown(Unknown { source: "$PWD".to_owned(), ..Unknown::default() })),
            home: Cow::Borrowed("/"),
            user: Cow::Borrowed(""),
            uid: 65534,
            homes: Cow::Owned(BTreeMap::new()),
            environment: Cow::Owned(BTreeMap::new()),
            variables: BTreeMap::new(),
            others_unset: true,
            arguments: None,
            stdin: Input::Inherited,
            files: Vec::new(),
            extglob: false,
            posix: false,
            standing: Vec::new(),
        }
    }
}
