//! What must outlive the supervisor: one SQLite database in the state directory, which nobody but its owner may read.
//!
//! Grants, paired principals and modes only ever *give*: one that is lost asks a person again; what is known of models is learned
//! again. Jobs are there with how far each has come, so that nothing runs twice, and with what is still to be told. It is in WAL
//! mode with `synchronous=FULL`: a change that was answered survives a kill and a power cut. A database that is damaged is
//! put aside under another name and reported; it is never repaired by guessing, and never silently replaced.
//!
//! This module knows tables and nothing of what they mean. Calls wait for the disk: not for a thread that serves others.

mod answers;
mod copy;
mod grants;
mod jobs;
mod models;
mod people;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

pub use answers::AnswerRow;
pub use copy::{VERSION, check, copy, give_back, is_at_rest, is_newer};
pub use grants::GrantRow;
pub use jobs::{ClockRow, DeliveryRow, JobRow, Letters, Past, RunEnd, RunRow, Tick};
pub use models::{ModelKeyRow, ModelProviderRow};
pub use people::{ModeRow, PairingRow, PrincipalRow};

/// The database.
const FILE: &str = "state.db";

/// Changes of the schema, oldest first. `PRAGMA user_version` counts those that were made; none is ever edited.
const MIGRATIONS: &[&str] = &[
    include_str!("1.sql"),
    include_str!("2.sql"),
    include_str!("3.sql"),
    #[cfg(feature = "next")]
    include_str!("next.sql"),
];

/// How long another process that reads is waited for: a backup.
const BUSY: Duration = Duration::from_secs(10);

/// The store.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// A damaged database that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub to: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A call failed.
    #[error("state: cannot {action} {}: {error}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Others could have written what is believed here.
    #[error("state: {} {what}", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A newer execward has been here.
    #[error("state: {} is of version {found}, and this execward knows {}", path.display(), MIGRATIONS.len())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: usize,
    },
    /// SQLite failed.
    #[error("state: {}: {error}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Its words.
        error: rusqlite::Error,
    },
}

impl Store {
    /// Opens the store in a directory, and makes both where they are missing. A damaged one is put aside: the caller says so
    /// aloud.
    ///
    /// # Errors
    /// When others could write there, when a newer execward has been here, or when the disk does not do what it should.
    pub fn open(directory: &Path) -> Result<(Self, Option<SetAside>), StateError> {
        private_directory(directory)?;
        let path = directory.join(FILE);
        match Self::open_file(&path) {
            Err(StateError::Database { error, .. }) if is_damage(&error) => {
                let aside = set_aside(&path, error.to_string())?;
                Ok((Self::open_file(&path)?, Some(aside)))
            }
            other => Ok((other?, None)),
        }
    }

    fn open_file(path: &Path) -> Result<Self, StateError> {
        private_file(path)?;
        let database = |error| StateError::Database { path: path.to_owned(), error };
        // SQLite refuses links itself; nobody else can put one there.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // By its real path: a link above it is not the database's, and NOFOLLOW refuses any.
        let real = fs::canonicalize(path).map_err(io("find", path))?;
        let mut connection = Connection::open_with_flags(real, flags).map_err(database)?;
        connection.busy_timeout(BUSY).map_err(database)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(database)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(database)?;
        trust_nothing_in(&connection).map_err(database)?;
        migrate(&mut connection, path)?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned() })
    }

    /// Changes something, all of it or nothing. When this returns it is on disk.
    fn change<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|all| {
            let changed = change(&all)?;
            all.commit()?;
            Ok(changed)
        });
        changed.map_err(|error| StateError::Database { path: self.path.clone(), error })
    }

    /// Looks something up.
    fn look<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        look(&connection).map_err(|error| StateError::Database { path: self.path.clone(), error })
    }
}

/// Has SQLite believe nothing that stands in a database, and look whether it is sound.
fn trust_nothing_in(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound == "ok" {
        return Ok(());
    }
    let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(damage, Some(sound)))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    let database = |error| StateError::Database { path: path.to_owned(), error };
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(StateError::Newer { path: path.to_owned(), found });
    }
    if (1..MIGRATIONS.len()).contains(&found) {
        copy::keep(connection, path, found)?;
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
        step.execute_batch(migration).map_err(database)?;
        step.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))
            .map_err(database)?;
        step.commit().map_err(database)?;
    }
    Ok(())
}

/// Whether the file is no sound database, as opposed to a disk that is full or a call that failed.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Gives the database, and the log that belongs to it, another name.
fn set_aside(path: &Path, why: String) -> Result<SetAside, StateError> {
    let now = jiff::Timestamp::now().as_millisecond();
    let named = |suffix: &str, of: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.push(of);
        PathBuf::from(name)
    };
    let to = named(&format!(".damaged-{now}"), "");
    for of in ["-wal", "-shm", ""] {
        let from = named("", of);
        match fs::rename(&from, named(&format!(".damaged-{now}"), of)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(io("put aside", &from))?,
        }
    }
    Ok(SetAside { to, why })
}

fn private_directory(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io("make", path)(error)),
        _ => {}
    }
    believed(path, &fs::metadata(path).map_err(io("look at", path))?)
}

fn private_file(path: &Path) -> Result<(), StateError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(io("open", path))?;
    let about = file.metadata().map_err(io("look at", path))?;
    if !about.is_file() {
        return Err(StateError::Exposed { path: path.to_owned(), what: "is not a file" });
    }
    believed(path, &about)
}

fn believed(path: &Path, about: &fs::Metadata) -> Result<(), StateError> {
    let exposed = |what| Err(StateError::Exposed { path: path.to_owned(), what });
    if about.uid() != nix::unistd::geteuid().as_raw() {
        return exposed("belongs to another user");
    }
    if about.mode() & 0o022 != 0 {
        return exposed("can be changed by other users");
    }
    Ok(())
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |error| StateError::Io { action, path, error }
}

#[cfg(test)]
mod tests;
