//! What a session leaves to a supervisor that comes after this one: a directory of its own, in memory where the sockets are.
//!
//! In it are the socket at which the session's runner waits, what the session was opened with, and a diary for each of its
//! commands ([`super::diary`]). Everything is written before anybody is told what it says, and by one write(2): a supervisor
//! that is killed in the middle has said nothing of it. Only the supervisor's user reaches it; a sandbox shows nothing of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::diary::BROKEN;
use super::shell::Shell;
use crate::sandbox::docker;
use crate::supervisor::policy_file::Project;
use crate::sys::socket;
use crate::wire::rpc::{OpenSession, Separation, SessionId, Suspect};
use crate::wire::runner::{SESSIONS, SandboxSpec};

const RECORD: &str = "session.json";
const SOCKET: &str = "runner.sock";
const SHELL: &str = "shell.json";
const SETTLED: &str = "settled";
const DIARY: &str = "diary";

/// What a session was opened with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::supervisor) struct Record {
    /// The form of this, of the diaries, and of what the runner speaks.
    pub(super) format: u32,
    /// Its principal.
    pub(in crate::supervisor) uid: u32,
    pub(in crate::supervisor) gid: u32,
    pub(in crate::supervisor) name: String,
    pub(in crate::supervisor) separation: Separation,
    pub(super) asked: OpenSession,
    /// Milliseconds since the epoch.
    pub(super) opened: i64,
    /// As it was worked out then: one that would come out otherwise now is another session's.
    pub(super) profile: serde_json::Value,
    pub(super) project: Option<Project>,
    pub(super) spec: SandboxSpec,
    /// The container that it is in, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<docker::Kept>,
    pub(super) suspects: Vec<Suspect>,
}

/// The directory of one session.
#[derive(Debug)]
pub(in crate::supervisor) struct Keepsake {
    directory: PathBuf,
}

impl Keepsake {
    /// Makes one for a new session, below `all`, with the socket at which its runner is to listen.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub(super) fn make(all: &Path, id: &SessionId) -> io::Result<(Self, OwnedFd)> {
        DirBuilder::new().mode(0o700).recursive(true).create(all)?;
        let directory = all.join(id.to_string());
        DirBuilder::new().mode(0o700).create(&directory)?;
        let keepsake = Self { directory };
        match socket::name(&keepsake.socket()) {
            Ok(named) => Ok((keepsake, named)),
            Err(errno) => {
                keepsake.remove();
                Err(errno.into())
            }
        }
    }

    /// Those that are there.
    pub(in crate::supervisor) fn all(all: &Path) -> Vec<(SessionId, Self)> {
        let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let id = SessionId::try_from(entry.file_name().to_str()?.to_owned()).ok()?;
            Some((id, Self { directory: entry.path() }))
        });
        named.collect()
    }

    /// Where everything of it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The session's name.
    pub(super) fn session(&self) -> Option<&str> {
        self.directory.file_name()?.to_str()
    }

    /// Where its runner listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Says what it was opened with: from then on it can be gone on with.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        self.put(RECORD, &serde_json::to_vec(record)?)
    }

    /// What it was opened with.
    ///
    /// # Errors
    /// Where it was never said, or by another execward in another form.
    pub(in crate::supervisor) fn read(&self) -> io::Result<Record> {
        /// What all forms have.
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            format: u32,
        }
        let text = std::fs::read(self.directory.join(RECORD))?;
        let Form { format } = serde_json::from_slice(&text)?;
        if format != SESSIONS {
            let what =
                format!("it was left in form {format}, and this execward goes on with form {SESSIONS}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(serde_json::from_slice(&text)?)
    }

    /// What was found in its agent files has been dealt with.
    pub(super) fn settle(&self) {
        // Where it cannot be said, it is asked about once more.
        let _ = self.put(SETTLED, b"");
    }

    pub(super) fn is_settled(&self) -> bool {
        self.directory.join(SETTLED).exists()
    }

    /// Keeps the state of its shell.
    pub(super) fn keep_shell(&self, shell: &Shell) {
        if let Err(error) =
            serde_json::to_vec(shell).map_err(io::Error::from).and_then(|it| self.put(SHELL, &it))
        {
            tracing::warn!(%error, "the state of a session's shell would not survive execward's end");
        }
    }

    pub(super) fn shell(&self) -> Shell {
        let read = std::fs::read(self.directory.join(SHELL)).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The diary of a command.
    pub(super) fn diary(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.{DIARY}"))
    }

    /// All diaries, by the numbers of their commands, those that could not be written any more among them.
    pub(super) fn diaries(&self) -> Vec<(u64, PathBuf)> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut all: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| {
                let (path, name) = (entry.path(), entry.file_name());
                let stem = path.extension().filter(|it| [DIARY, BROKEN].iter().any(|of| it == of))?;
                let number = name.to_str()?.strip_suffix(stem.to_str()?)?.strip_suffix('.')?.parse().ok()?;
                Some((number, path))
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// Gives it another name, under which nobody goes on with it, for whoever looks into what is wrong with it.
    ///
    /// # Errors
    /// Of rename(2).
    pub(in crate::supervisor) fn set_aside(&self) -> io::Result<PathBuf> {
        let now = jiff::Timestamp::now().as_millisecond();
        let to = self.directory.with_extension(format!("damaged-{now}"));
        std::fs::rename(&self.directory, &to)?;
        Ok(to)
    }

    /// Whether it holds anything of a session that somebody was told of.
    pub(in crate::supervisor) fn is_begun(&self) -> bool {
        self.directory.join(RECORD).exists() || !self.diaries().is_empty()
    }

    /// Leaves nothing.
    pub(in crate::supervisor) fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %self.directory.display(), "a session's directory is left over");
        }
    }

    /// All of a file, or none of it.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let whole = self.directory.join(name);
        let part = self.directory.join(format!("{name}.part"));
        create(&part)?.write_all(bytes)?;
        std::fs::rename(part, whole)
    }
}

/// A new file for nobody but the supervisor.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
