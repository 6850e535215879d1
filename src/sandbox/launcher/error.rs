//! What can go wrong between execward and a runner that a command reaches, in words that say what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Why there is no sandbox elsewhere. What comes from there is in it as a bounded, printable excerpt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FarError {
    /// No such launcher.
    #[error("execward.toml has no launcher `{0}`")]
    Unknown(String),
    /// A workspace that cannot be meant.
    #[error("the workspace {path:?} {why} (launcher `{launcher}`)")]
    Workspace {
        /// As asked for.
        path: String,
        /// The launcher.
        launcher: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The program of the template is not there.
    #[error("the launcher `{launcher}` needs the program {program}, which is not in {path}")]
    Program {
        /// The launcher.
        launcher: String,
        /// Its first word.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The binary that is to be sent cannot be read, or copied.
    #[error("cannot make {what}: {error}")]
    Binary {
        /// What.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
    /// It ended first.
    #[error("the launcher `{launcher}` ended before {before}{}", said(.complaint))]
    Ended {
        /// The launcher.
        launcher: String,
        /// What was waited for.
        before: &'static str,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// Nothing came in time.
    #[error("the launcher `{launcher}` has not {before} within {} s{}", after.as_secs(), said(.complaint))]
    Silent {
        /// The launcher.
        launcher: String,
        /// What was waited for.
        before: &'static str,
        /// How long.
        after: Duration,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// Something else came.
    #[error("the launcher `{launcher}` reached something that is no runner: it said {said:?}{}", self::said(.complaint))]
    Nonsense {
        /// The launcher.
        launcher: String,
        /// An excerpt.
        said: String,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// The shell there could not take the binary.
    #[error("the runner cannot be brought to where the launcher `{launcher}` leads: {why:?}")]
    Brought {
        /// The launcher.
        launcher: String,
        /// What it said.
        why: String,
    },
    /// A runner of another version.
    #[error("the launcher `{launcher}` reached a runner of version {found:?}, and this is {own}")]
    Version {
        /// The launcher.
        launcher: String,
        /// Theirs.
        found: String,
        /// Ours.
        own: &'static str,
    },
    /// The stream broke.
    #[error("the launcher `{launcher}`: {error}")]
    Stream {
        /// The launcher.
        launcher: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// A directory of ours cannot be used.
    #[error("{}: {error}", path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
}

fn said(complaint: &str) -> String {
    if complaint.is_empty() { String::new() } else { format!("; on standard error: {complaint:?}") }
}

impl FarError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown(_) => "an operator configures it as [launcher.NAME]".to_owned(),
            Self::Workspace { .. } => "the configuration lists them under `workspaces`".to_owned(),
            Self::Program { .. } => "install it, or name its directory in the launcher's `environment.PATH`".to_owned(),
            Self::Ended { .. } | Self::Silent { .. } => {
                "run the launcher's command by hand, as the user that the daemon runs as".to_owned()
            }
            Self::Nonsense { .. } => {
                "nothing there may write to standard output before the runner does: look at the shell's start files"
                    .to_owned()
            }
            Self::Brought { .. } => {
                "it needs a shell, mktemp, head and sha256sum there, and room in ~/.cache/execward; or install execward \
                 there and name it with `runner`"
                    .to_owned()
            }
            Self::Version { .. } => "give both the same version of execward".to_owned(),
            _ => String::new(),
        }
    }
}
