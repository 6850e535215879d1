//! `execward doctor`: what this machine offers, and whether what was set up still holds.
//!
//! Every check says what it found, what that means, and the command that mends it. Nothing is changed but by
//! [`mend`], and that only takes rights away from execward's own files.

mod engine;
mod files;
mod host;
mod setup;
mod sockets;
mod trial;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use files::mend;

use crate::supervisor::Local;

/// How long whoever is asked may take for an answer. Who is well takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Works, and is weaker than it could be, or will not work for long.
    Warning,
    /// Commands are refused, or are not confined or recorded as was promised.
    Failure,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name: `landlock`, `audit-log`.
    pub name: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What that means for whoever relies on execward; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub means: String,
    /// What mends it, as far as possible a command; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, health: Health::Ok, found: found.into(), means: String::new(), mend: String::new() }
    }

    fn warning(
        name: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { name, health: Health::Warning, found: found.into(), means: means.into(), mend: mend.into() }
    }

    fn failure(
        name: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { health: Health::Failure, ..Self::warning(name, found, means, mend) }
    }
}

/// What is looked at.
#[derive(Debug)]
pub struct Examined<'a> {
    /// Who asks, and the places that are theirs.
    pub local: &'a Local,
    /// The configuration, where another than the standing one is meant.
    pub config: Option<PathBuf>,
    /// The policy, likewise.
    pub policy: Option<PathBuf>,
    /// The directory of a daemon's sockets, likewise: one that is named should be served.
    pub sockets: Option<PathBuf>,
    /// The daemon is meant to be stopped.
    pub at_rest: bool,
}

/// Looks at everything; under a second on a machine where nothing hangs, and a few where something does.
pub fn examine(examined: &Examined<'_>) -> Vec<Check> {
    let mut checks = host::checks();
    let (setup, configured) = setup::checks(examined);
    checks.extend(setup);
    checks.extend(sockets::checks(examined));
    checks.extend(engine::checks(examined, configured.as_ref()));
    checks.extend(files::checks(&examined.local.directories));
    checks.extend(trial::checks(examined.policy.as_deref()));
    checks
}
