//! A copy of the database while others use it, and a look at a copy that somebody else made.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{FILE, MIGRATIONS, StateError};

/// The newest version of the database that this execward knows.
pub const VERSION: usize = MIGRATIONS.len();

/// Pages that are copied at a time: others write in between.
const PAGES: i32 = 256;

/// Copies the database of a state directory, as it is at one moment, by SQLite's own backup. Its version; `None` where there is
/// no database.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn copy(directory: &Path, to: &Path) -> Result<Option<usize>, StateError> {
    let from = directory.join(FILE);
    if !from.exists() {
        return Ok(None);
    }
    let database = |error| StateError::Database { path: from.clone(), error };
    // To read a database in WAL mode, its shared memory is written.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(&from, flags).map_err(database)?;
    source.busy_timeout(super::BUSY).map_err(database)?;
    super::private_file(to)?;
    let mut copy = Connection::open_with_flags(to, flags).map_err(database)?;
    let backup = Backup::new(&source, &mut copy).map_err(database)?;
    backup.run_to_completion(PAGES, Duration::from_millis(1), None).map_err(database)?;
    drop(backup);
    // One file, with no log beside it, and with nothing in it that was deleted.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(database)?;
    copy.execute_batch("VACUUM").map_err(database)?;
    drop(copy);
    check(to).map(Some)
}

/// Whether nobody has the database of a state directory open. What stands in its log beside it is put into it then.
///
/// # Errors
/// When it cannot be opened at all, by permission; a damaged one is nobody's.
pub fn is_at_rest(directory: &Path) -> Result<bool, StateError> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Ok(true);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // A connection in WAL mode holds a shared lock as long as it is open, and leaving that mode takes the exclusive one
    // (sqlite.org/wal.html).
    let left = Connection::open_with_flags(&path, flags).and_then(|connection| {
        connection.busy_timeout(Duration::from_millis(200))?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
    });
    match left {
        Ok(mode) => Ok(mode.eq_ignore_ascii_case("delete")),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(false),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(true),
            _ => Err(StateError::Database { path, error }),
        },
    }
}

/// The copy of a database of this version that was made before a newer execward changed its form.
pub(super) fn kept(directory: &Path, version: usize) -> PathBuf {
    directory.join(format!("{FILE}.version-{version}"))
}

/// Keeps a database as it is, before its form is changed: whoever goes back to an older execward needs it.
pub(super) fn keep(connection: &Connection, path: &Path, version: usize) -> Result<(), StateError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (to, part) = (kept(directory, version), directory.join(format!("{FILE}.keep")));
    let io = |error| super::io("keep", &to)(error);
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    // An empty file of ours is written into (lang_vacuum.html): nobody else could ever open it.
    super::private_file(&part)?;
    let database = |error| StateError::Database { path: path.to_owned(), error };
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()]).map_err(database)?;
    let synced = File::open(&part).and_then(|file| file.sync_all());
    let renamed = synced.and_then(|()| fs::rename(&part, &to));
    renamed.and_then(|()| File::open(directory)?.sync_all()).map_err(io)
}

/// Whether the database of a state directory is of a later version than this.
pub fn is_newer(directory: &Path, version: usize) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(directory.join(FILE), flags).and_then(|connection| {
        connection.busy_timeout(super::BUSY)?;
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
    });
    found.is_ok_and(|found| usize::try_from(found).is_ok_and(|found| found > version))
}

/// Gives a state directory the database back that it had when its form was of this version. What is there is put aside; where that
/// is, and `None` where there is nothing to do.
///
/// # Errors
/// When somebody has it open, when there is no such copy, or when the disk does not do what it should.
pub fn give_back(directory: &Path, version: usize) -> Result<Option<PathBuf>, StateError> {
    if !is_newer(directory, version) {
        return Ok(None);
    }
    let (path, copy) = (directory.join(FILE), kept(directory, version));
    let io = |error| super::io("put back", &path)(error);
    if check(&copy)? != version {
        return Err(io(std::io::Error::other("the copy that was kept is of another version")));
    }
    // What stands in the log beside it must not be taken for the old one's.
    let until = Instant::now() + super::BUSY;
    while !is_at_rest(directory)? {
        if Instant::now() > until {
            return Err(io(std::io::ErrorKind::ResourceBusy.into()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let aside = directory.join(format!("{FILE}.newer-{}", jiff::Timestamp::now().as_millisecond()));
    fs::hard_link(&path, &aside).and_then(|()| fs::rename(&copy, &path)).map_err(io)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
    Ok(Some(aside))
}

/// Whether there is no database, or one in which nothing has ever been made.
pub(super) fn is_empty(path: &Path) -> bool {
    let about = match fs::symlink_metadata(path) {
        Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
        Ok(about) => about,
    };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let pages = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    about.is_file() && (about.len() == 0 || pages().is_ok_and(|tables| tables == 0))
}

/// Looks at the database of a state directory, as whoever opens it would; its version. `None` where there has never been one.
///
/// # Errors
/// What keeps it from being used as it is.
pub fn examine(directory: &Path) -> Result<Option<usize>, StateError> {
    let path = directory.join(FILE);
    let wrong =
        |what: &str| StateError::Database { path: path.clone(), error: super::damage(what.to_owned()) };
    if is_empty(&path) {
        let is_gone = directory.join(super::THERE).exists();
        return if is_gone { Err(wrong("it is gone, or empty")) } else { Ok(None) };
    }
    let about = fs::symlink_metadata(&path).map_err(super::io("look at", &path))?;
    if !about.is_file() {
        return Err(StateError::Exposed { path, what: "is not a file" });
    }
    super::believed(&path, &about)?;
    let version = check(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked = Connection::open_with_flags(&path, flags).and_then(|it| super::is_whole(&it, version));
    looked.map_err(|error| StateError::Database { path, error })?;
    Ok(Some(version))
}

/// Looks at a database that somebody else may have made; its version.
///
/// # Errors
/// When it is no sound database, or of a version that is not known.
pub fn check(path: &Path) -> Result<usize, StateError> {
    let database = |error| StateError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(database)?;
    super::trust_nothing_in(&connection).map_err(database)?;
    // A view or a trigger would run in whoever opens it; execward makes none.
    let strange: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')", [], |row| {
            row.get(0)
        })
        .map_err(database)?;
    if strange > 0 {
        let what = "it has views or triggers, and execward makes none".to_owned();
        return Err(database(super::damage(what)));
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    if found > VERSION { Err(StateError::Newer { path: path.to_owned(), found }) } else { Ok(found) }
}
