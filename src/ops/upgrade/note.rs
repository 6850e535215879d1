//! How far an upgrade has come: a file that is replaced whole and durably before each step, a lock that whoever carries it out
//! holds, and the operator's answer.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::daemon::Served;
use super::{DIRECTORY, Installation, UpgradeError, failed, sync};
use crate::private;

const FILE: &str = "note.json";
const LOCK: &str = "lock";
const ANSWER: &str = "answer";
const LOG: &str = "log";

/// Where an upgrade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new binary is looked at. Nothing is changed.
    Preparing,
    /// The new binary is put in place, the daemon restarted, the doctor asked.
    Swapping,
    /// The new one is in place and works. An operator is waited for.
    Trial,
    /// The old one is put back.
    Returning,
    /// The new one stays.
    Done,
    /// The old one is back.
    Returned,
}

impl Phase {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Preparing => "the new binary was being looked at, and nothing was changed",
            Self::Swapping => "the new binary was being put in place",
            Self::Trial => "the new binary is in place, and nobody has confirmed it",
            Self::Returning => "the old binary was being put back",
            Self::Done => "the new binary stays",
            Self::Returned => "the old binary is back",
        }
    }

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Done | Self::Returned)
    }
}

/// An upgrade, as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// Its name: when it began.
    pub id: String,
    /// Where it stands.
    pub phase: Phase,
    /// Why it went back; empty where it did not.
    pub why: String,
    /// Until when an operator is waited for, in milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// The version that was there.
    pub from: String,
    /// The new one.
    pub to: String,
    /// SHA-256 of the new binary.
    pub sha256: String,
    /// What vouches for it.
    pub by: String,
    /// The backup that was taken.
    pub backup: Option<PathBuf>,
    pub(super) installation: Installation,
    /// Milliseconds that an operator has; 0 where nobody is waited for.
    pub(super) confirm_within_ms: u64,
    /// Whether the one can go on with sessions that the other left.
    pub(super) keeps_sessions: bool,
    /// Version of the database before.
    pub(super) schema: usize,
    /// Whether `execward.toml` was brought to another version.
    pub(super) migrated: bool,
    /// Checks of the doctor that failed before.
    pub(super) failing: Vec<String>,
    /// What there was before: it stands again where this one changes nothing.
    pub(super) last: Option<Box<Self>>,
    /// The daemon, where there is one.
    pub(super) daemon: Option<Served>,
}

impl Note {
    /// Until when an operator is waited for.
    pub fn until(&self) -> Option<Timestamp> {
        self.until_ms.and_then(|until| Timestamp::from_millisecond(until).ok())
    }

    /// Who carries it out holds this lock.
    pub(super) fn place(state: &Path) -> PathBuf {
        state.join(DIRECTORY)
    }

    /// Writes it: when this returns, it is on disk.
    pub(super) fn write(&self) -> Result<(), UpgradeError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        put(&Self::place(&self.installation.state), FILE, &text)
    }

    /// Writes what stood before it: nothing has come of this one.
    pub(super) fn undo(self) -> Result<(), UpgradeError> {
        match self.last {
            Some(last) => last.write(),
            None => super::remove(&Self::place(&self.installation.state).join(FILE)),
        }
    }

    /// Writes that it has come to another phase.
    pub(super) fn come_to(&mut self, phase: Phase) -> Result<(), UpgradeError> {
        self.phase = phase;
        if phase != Phase::Preparing {
            self.last = None;
        }
        self.write()
    }

    /// Says something to whoever watches, and to whoever looks later.
    pub(super) fn say(&self, what: &str) {
        let path = Self::log(&self.installation.state);
        let line = format!("{} {what}\n", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
        let written = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut log| log.write_all(line.as_bytes()));
        // What cannot be told does not change what is done.
        drop(written);
    }

    /// Where that is.
    pub(super) fn log(state: &Path) -> PathBuf {
        Self::place(state).join(LOG)
    }

    /// What an operator has answered about this upgrade.
    pub(super) fn answer(&self) -> Option<Answer> {
        let path = Self::place(&self.installation.state).join(ANSWER);
        let (id, answer): (String, Answer) = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (id == self.id).then_some(answer)
    }

    pub(super) fn give_answer(&self, answer: Answer) -> Result<(), UpgradeError> {
        let text = serde_json::to_vec(&(&self.id, answer)).unwrap_or_default();
        put(&Self::place(&self.installation.state), ANSWER, &text)
    }
}

/// What an operator says about a new binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    Confirm,
    GoBack,
}

/// The last upgrade of an installation; `None` where there was none.
///
/// # Errors
/// Where what is written of it cannot be read.
pub fn standing(state: &Path) -> Result<Option<Note>, UpgradeError> {
    let path = Note::place(state).join(FILE);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| failed("read", &path)(error.into()))
        }
    }
}

/// What was said of the last upgrade, line by line.
pub fn log(state: &Path) -> Vec<String> {
    let text = fs::read_to_string(Note::log(state)).unwrap_or_default();
    // The time stands before it.
    text.lines().map(|line| line.split_once(' ').map_or(line, |(_, what)| what).to_owned()).collect()
}

/// Makes the directory of notes, and begins the log anew.
pub(super) fn make_place(state: &Path) -> Result<(), UpgradeError> {
    let place = Note::place(state);
    DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(failed("make", &place))?;
    sync(state)
}

/// The lock, where nobody has it. Whoever inherits the descriptor has it, too.
pub(super) fn lock(state: &Path) -> Result<Option<File>, UpgradeError> {
    let path = Note::place(state).join(LOCK);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Replaces a file of the notes, durably.
pub(super) fn put(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), UpgradeError> {
    let path = directory.join(name);
    private::replace(&path, bytes).map_err(failed("write", &path))
}
