//! Upgrade: another binary in place of this one, with a way back at every moment.
//!
//! A new binary is a stranger's until its copy, which nobody else can write, has been held against a digest or a signature. It is
//! then tried in the jail, with copies of the configuration and of the state. Until there is nothing left to prepare, nothing is
//! changed. From then on a process of its own carries it out ([`carry`]), which no terminal takes with it: it puts the new binary in
//! place by rename(2), restarts the daemon, asks the doctor, and waits for an operator's yes. Where one of these fails, or nobody
//! says yes, it puts the old one back.
//!
//! How far it came is in a note in the state directory ([`note`]), written durably before each step: after a power cut the note says
//! where it stood, and the next daemon, or the next `execward upgrade`, goes back or goes on.

mod bring;
mod carry;
mod daemon;
mod elf;
mod note;
mod prepare;
mod rehearse;
mod signify;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bring::Proof;
pub use carry::{broken_off, confirm, resume, roll_back, watch};
pub use note::{Note, Phase, log, standing};
pub use prepare::{Asked, Ready, begin, prepare, repair};
pub use rehearse::{About, about, rehearsal};

use super::backup::BackupError;

/// Below the state directory.
const DIRECTORY: &str = "upgrade";

/// Beside the binary, for nobody but its owner: what is brought, and what was there.
const BESIDE: &str = ".execward-upgrade";

/// What an upgrade is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The binary that is in place: its real path.
    pub binary: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The configuration, where one is named.
    pub config: Option<PathBuf>,
    /// The directory where it is otherwise.
    pub config_directory: PathBuf,
    /// The policy, where one is named.
    pub policy: Option<PathBuf>,
    /// The operators' socket, where one is named.
    pub socket: Option<PathBuf>,
    /// Whose it is.
    pub uid: u32,
}

impl Installation {
    fn beside(&self) -> PathBuf {
        self.binary.parent().unwrap_or(Path::new("/")).join(BESIDE)
    }

    /// The copy of the new binary.
    fn staged(&self) -> PathBuf {
        self.beside().join("new")
    }

    /// A second name of the old binary.
    fn previous(&self) -> PathBuf {
        self.beside().join("previous")
    }

    /// `execward.toml`, wherever it is.
    fn config_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.config_directory.join("execward.toml"))
    }
}

/// Why there is no upgrade.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A call failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// It is no binary that could take the place of this one.
    #[error("{}: {what}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing shows where it comes from.
    #[error("{}: {what}", path.display())]
    Unverified {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// It does not work, or not with what there is.
    #[error("the new execward was tried in the jail: {0}")]
    Tried(String),
    /// It would cost something that was not agreed to.
    #[error("{0}")]
    Costs(String, &'static str),
    /// The daemon is not one that can be restarted.
    #[error("{0}")]
    Daemon(String, &'static str),
    /// An upgrade was broken off.
    #[error("an upgrade was broken off: {0}")]
    Unfinished(&'static str),
    /// Another one is going on.
    #[error("another upgrade is going on: {}", .0.display())]
    Busy(PathBuf),
    /// There is nothing to do this to.
    #[error("{0}")]
    Nothing(&'static str),
    /// No copy can be kept.
    #[error("backup: {0}")]
    Backup(#[from] BackupError),
}

impl UpgradeError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unverified { .. } => {
                "nothing was changed. Name what it is held against: --sha256 HEX, --sha256sums FILE, or FILE.sig with a trusted key in \
                 upgrade.pub beside execward.toml (or --key FILE)"
            }
            Self::Unfit { .. } | Self::Tried(_) | Self::Backup(_) => "nothing was changed",
            Self::Costs(_, hint) | Self::Daemon(_, hint) => hint,
            Self::Unfinished(_) => "`execward upgrade`, without a file, goes back or finishes it",
            Self::Busy(_) => "`execward upgrade` says where it stands",
            Self::Io { .. } | Self::Nothing(_) => "",
        }
    }

    /// Whether the answer is no, as opposed to: it could not be tried.
    pub fn is_no(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Busy(_) | Self::Nothing(_) | Self::Backup(_))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UpgradeError {
    let path = path.to_owned();
    move |error| UpgradeError::Io { action, path, error }
}

/// Makes a directory entry that was changed durable.
fn sync(directory: &Path) -> Result<(), UpgradeError> {
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("write", directory))
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), UpgradeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What a program says within a time, on standard output, and whether it ended well.
fn said(
    command: &mut std::process::Command,
    within: Duration,
) -> io::Result<(Vec<u8>, std::process::ExitStatus)> {
    use std::io::Read as _;
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.by_ref().take(4 << 20).read_to_end(&mut text);
        let _ = sender.send(read.map(|_| text));
    });
    let text = receiver.recv_timeout(within);
    if text.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    Ok((text.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??, status))
}

#[cfg(test)]
mod tests;
