//! What must outlive the supervisor: one SQLite database in the state directory, which nobody but its owner may read.
//!
//! Grants, paired principals and modes only ever *give*: one that is lost asks a person again; what is known of models is learned
//! again. Jobs are there with how far each has come, so that nothing runs twice, and with what is still to be told. It is in WAL
//! mode with `synchronous=FULL`: a change that was answered survives a kill and a power cut. A database that is damaged is
//! put aside under another name and reported, and so is one that is missing or empty; it is never repaired by guessing, and never
//! silently replaced. One daemon at a time has it ([`hold`]).
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
pub use copy::{VERSION, check, copy, examine, give_back, is_at_rest, is_newer};
pub use grants::GrantRow;
pub use jobs::{ClockRow, DeliveryRow, JobRow, Letters, Past, RunEnd, RunRow, Tick};
pub use models::{ModelKeyRow, ModelProviderRow};
pub use people::{ModeRow, PairingRow, PrincipalRow};

/// The database.
const FILE: &str = "state.db";

/// Says that there has been a database: one that is missing or empty is no new one then.
const THERE: &str = "state.db.there";

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
    /// Another daemon has it.
    #[error("state: another daemon has {}: each has a state directory of its own (--state)", .0.display())]
    Held(PathBuf),
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
        let (path, there) = (directory.join(FILE), directory.join(THERE));
        if there.exists()
            && fs::symlink_metadata(&path).map_or(true, |about| about.is_file() && about.len() == 0)
        {
            let aside = set_aside(&path, "it is missing or empty, and has not always been".to_owned())?;
            return Ok((Self::open_file(&path)?, Some(aside)));
        }
        let opened = match Self::open_file(&path) {
            Err(StateError::Database { error, .. }) if is_damage(&error) => {
                let aside = set_aside(&path, error.to_string())?;
                (Self::open_file(&path)?, Some(aside))
            }
            other => (other?, None),
        };
        if !there.exists() {
            private_file(&there)?;
        }
        Ok(opened)
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
        is_whole(&connection, MIGRATIONS.len()).map_err(database)?;
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
    Err(damage(sound))
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
        step.execute_batch(migration).map_err(|error| database(of_another_form(error)))?;
        step.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))
            .map_err(database)?;
        step.commit().map_err(database)?;
    }
    Ok(())
}

/// What the tables and the indices of a database are, as they were made.
fn form(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut all = connection.prepare(
        "SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name",
    )?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Whether a database has the tables of its version, and no others: one that somebody has worked on is damaged.
fn is_whole(connection: &Connection, version: usize) -> rusqlite::Result<()> {
    let fresh = Connection::open_in_memory()?;
    MIGRATIONS.iter().take(version).try_for_each(|migration| fresh.execute_batch(migration))?;
    if form(connection)? == form(&fresh)? {
        return Ok(());
    }
    Err(damage("its tables are not those of its version".to_owned()))
}

/// A migration that fails by what is there already is one of a database that is not what it says.
fn of_another_form(error: rusqlite::Error) -> rusqlite::Error {
    match &error {
        // SQLITE_ERROR: the statement, not the file or the disk.
        rusqlite::Error::SqlInputError { msg, .. } => {
            damage(format!("its tables are not those of its version: {msg}"))
        }
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::Unknown) => damage(format!("its tables are not those of its version: {error}")),
            _ => error,
        },
    }
}

fn damage(what: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(what))
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

/// Held by the daemon that has a state directory.
const LOCK: &str = "daemon.lock";

/// Keeps other daemons from a state directory, as long as what it returns is there: two would each take the other's jobs for their own.
///
/// # Errors
/// When another has it, or the lock cannot be made.
pub fn hold(directory: &Path) -> Result<File, StateError> {
    private_directory(directory)?;
    let path = directory.join(LOCK);
    private_file(&path)?;
    let file = File::options().write(true).open(&path).map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StateError::Held(directory.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
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
