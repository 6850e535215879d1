//! Putting an archive in place, and taking it back.
//!
//! What is replaced is kept first, and a journal beside it says what is done: whether an import ends, fails or is killed,
//! `undo` gives back what was there. Each file comes whole, by a rename; the audit log comes whole, as a directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::unistd::{Gid, Uid, fchown, geteuid};
use serde::{Deserialize, Serialize};

use super::log::{self, sync};
use super::read::Staged;
use super::{BackupError, Places, hashed, io as at};
use crate::state;

/// Where what was replaced is kept, in the state.
const UNDO: &str = "import-undo";

/// The same of an import that is being prepared, and of the one before it until the new one is done.
const UNDO_NEW: &str = "import-undo.new";
const UNDO_BEFORE: &str = "import-undo.before";

/// The log that is to be put in place, in there.
const NEW_LOG: &str = "audit.new";

/// What is done, in there.
const JOURNAL: &str = "journal.json";

/// What belongs to a database and must not outlive it.
const WITH_DATABASE: [&str; 2] = ["state.db-wal", "state.db-shm"];

/// What an import does to one file, or to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it is.
    pub path: PathBuf,
    /// Whether something is there that it replaces.
    pub replaces: bool,
}

/// An import that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What it did.
    pub changes: Vec<Change>,
    /// The audit log that was there before, where another has taken its place. It is never removed.
    pub log_before: Option<PathBuf>,
}

/// An import that was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// Files that are as they were; a log counts as one.
    pub restored: usize,
    /// Files that came with the import and are gone.
    pub removed: usize,
    /// The audit log as it was until now: what was recorded since the import is in it alone.
    pub log_since: Option<PathBuf>,
}

/// What is done, and how it is taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    /// Whether all of it was done.
    finished: bool,
    steps: Vec<Step>,
    log: Option<LogStep>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    path: PathBuf,
    /// The name of what was there, beside the journal.
    kept: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LogStep {
    path: PathBuf,
    /// Where what was there is.
    kept: Option<PathBuf>,
}

impl Journal {
    fn read(places: &Places) -> Result<Option<Self>, BackupError> {
        let path = places.state.join(UNDO).join(JOURNAL);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => {
                let text = other.map_err(at("read", &path))?;
                let journal = serde_json::from_slice(&text);
                journal.map(Some).map_err(|error| at("read", &path)(io::Error::other(error)))
            }
        }
    }

    fn write(&self, directory: &Path) -> Result<(), BackupError> {
        let (path, new) = (directory.join(JOURNAL), directory.join("journal.new"));
        let _ = fs::remove_file(&new);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(at("create", &new))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(at("write", &new))?;
        fs::rename(&new, &path).map_err(at("write", &path))?;
        sync(directory)
    }
}

/// Whether an import was broken off, and what is there is a mixture.
pub fn unfinished(state: &Path) -> bool {
    let places = Places { config: PathBuf::new(), state: state.to_owned(), uid: 0 };
    match Journal::read(&places) {
        Ok(journal) => journal.is_some_and(|journal| !journal.finished),
        // One that cannot be read says nothing good.
        Err(BackupError::Io { error, .. }) => error.kind() != io::ErrorKind::PermissionDenied,
        Err(_) => true,
    }
}

/// What an import would change: nothing of what is the same already.
///
/// # Errors
/// When it cannot be looked at.
pub fn changes(places: &Places, staged: &Staged) -> Result<Vec<Change>, BackupError> {
    let mut changes: Vec<Change> = plan(places, staged)?.into_iter().map(|(_, change)| change).collect();
    if log::differs(places, staged)? {
        let path = log::place(places);
        changes.push(Change { replaces: path.exists(), path });
    }
    Ok(changes)
}

/// Files of the archive that are to be put in place, the log's aside.
fn plan(places: &Places, staged: &Staged) -> Result<Vec<(usize, Change)>, BackupError> {
    let mut changes = Vec::new();
    for (index, entry) in staged.entries.iter().enumerate() {
        if entry.name.starts_with(log::MEMBERS) {
            continue;
        }
        let Some(path) = places.target(&entry.name) else { continue };
        let replaces = match fs::symlink_metadata(&path) {
            Ok(about) if !about.is_file() => {
                return Err(at("replace", &path)(io::Error::other("something is there that is no file")));
            }
            Ok(about) => {
                let mut same = about.len() == entry.size && about.mode() & 0o7777 == entry.mode & 0o755;
                if same {
                    let mut file = File::open(&path).map_err(at("open", &path))?;
                    let (_, sha256) = hashed(&mut file, &mut io::sink()).map_err(at("read", &path))?;
                    same = sha256 == entry.sha256;
                }
                if same {
                    continue;
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(at("look at", &path)(error)),
        };
        changes.push((index, Change { path, replaces }));
    }
    Ok(changes)
}

/// Puts an archive in place. Where that fails half-way, everything is as it was.
///
/// # Errors
/// See [`BackupError`].
pub fn apply(places: &Places, staged: &Staged) -> Result<Imported, BackupError> {
    if Journal::read(places)?.is_some_and(|journal| !journal.finished) {
        return Err(BackupError::Unfinished(places.state.clone()));
    }
    at_rest(places)?;
    let planned = plan(places, staged)?;
    let changes = changes(places, staged)?;
    // One import can be undone, the last: the one before it until this one is done.
    let (undo_place, before) = (places.state.join(UNDO), places.state.join(UNDO_BEFORE));
    let preparing = places.state.join(UNDO_NEW);
    clear(&preparing)?;
    clear(&before)?;
    let prepared = prepare(places, staged, &planned, &changes, &preparing);
    let mut journal = match prepared {
        Ok(journal) => journal,
        Err(error) => {
            clear(&preparing)?;
            return Err(error);
        }
    };
    if undo_place.exists() {
        fs::rename(&undo_place, &before).map_err(at("keep", &undo_place))?;
    }
    fs::rename(&preparing, &undo_place).map_err(at("make", &undo_place))?;
    sync(&places.state)?;
    let new_log = undo_place.join(NEW_LOG);
    let place_all = || -> Result<(), BackupError> {
        for step in &journal.steps {
            if WITH_DATABASE.iter().any(|name| step.path == places.state.join(name)) {
                fs::remove_file(&step.path).map_err(at("remove", &step.path))?;
            }
        }
        for (index, change) in &planned {
            place(staged, *index, &change.path, places)?;
        }
        if let Some(LogStep { path, kept }) = &journal.log {
            if let Some(kept) = kept {
                fs::rename(path, kept).map_err(at("put aside", path))?;
            }
            fs::rename(&new_log, path).map_err(at("put in place", path))?;
            sync(&places.state)?;
        }
        Ok(())
    };
    if let Err(error) = place_all() {
        undo(places)?;
        // What there was to undo still is.
        if before.exists() {
            fs::rename(&before, &undo_place).map_err(at("restore", &undo_place))?;
        }
        return Err(error);
    }
    journal.finished = true;
    journal.write(&undo_place)?;
    clear(&before)?;
    Ok(Imported { changes, log_before: journal.log.and_then(|log| log.kept) })
}

/// Removes a directory that may not be there.
fn clear(directory: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", directory)(error)),
        _ => Ok(()),
    }
}

/// Keeps what an import replaces, in a directory that is made, and writes down what it will do.
fn prepare(
    places: &Places,
    staged: &Staged,
    planned: &[(usize, Change)],
    changes: &[Change],
    undo_place: &Path,
) -> Result<Journal, BackupError> {
    DirBuilder::new().mode(0o700).create(undo_place).map_err(at("make", undo_place))?;
    let steps = planned.iter().enumerate().map(|(number, (_, change))| Step {
        path: change.path.clone(),
        kept: change.replaces.then(|| number.to_string()),
    });
    let mut journal = Journal { steps: steps.collect(), ..Journal::default() };
    let database = places.state.join("state.db");
    if planned.iter().any(|(_, change)| change.path == database) {
        for name in WITH_DATABASE {
            let path = places.state.join(name);
            if path.exists() {
                journal.steps.push(Step { path, kept: Some(name.to_owned()) });
            }
        }
    }
    // What is there is kept first, then it is written down, then it changes: a journal speaks of what is there.
    for step in &journal.steps {
        if let Some(kept) = &step.kept {
            let to = undo_place.join(kept);
            fs::hard_link(&step.path, &to)
                .or_else(|_| copy(&step.path, &to))
                .map_err(at("keep", &step.path))?;
        }
    }
    let new_log = undo_place.join(NEW_LOG);
    let path = log::place(places);
    if changes.iter().any(|change| change.path == path) {
        log::build(places, staged, &new_log)?;
        journal.log =
            Some(LogStep { kept: path.exists().then(|| aside(places, "audit-before-import")), path });
    }
    journal.write(undo_place)?;
    Ok(journal)
}

/// Gives back what was there before the last import.
///
/// # Errors
/// See [`BackupError`]; it can be tried again.
pub fn undo(places: &Places) -> Result<Undone, BackupError> {
    let undo_place = places.state.join(UNDO);
    let Some(journal) = Journal::read(places)? else {
        return Err(BackupError::NothingToUndo(places.state.clone()));
    };
    at_rest(places)?;
    let mut undone = Undone { restored: 0, removed: 0, log_since: None };
    for Step { path, kept } in &journal.steps {
        match kept {
            Some(kept) => {
                let new = beside(path);
                let _ = fs::remove_file(&new);
                let from = undo_place.join(kept);
                fs::hard_link(&from, &new).or_else(|_| copy(&from, &new)).map_err(at("restore", path))?;
                fs::rename(&new, path).map_err(at("restore", path))?;
                undone.restored += 1;
            }
            None => match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let _ = fs::remove_file(beside(path));
                    continue;
                }
                other => {
                    other.map_err(at("remove", path))?;
                    undone.removed += 1;
                }
            },
        }
        sync(path.parent().unwrap_or(Path::new("/")))?;
    }
    // What the imported database had beside it is not the old one's.
    for name in WITH_DATABASE {
        if !undo_place.join(name).exists() {
            let _ = fs::remove_file(places.state.join(name));
        }
    }
    if let Some(LogStep { path, kept }) = &journal.log {
        // Without what was kept, or with nothing kept and the new one still beside the journal, nothing was replaced yet.
        let replaced = match kept {
            Some(kept) => kept.exists(),
            None => !undo_place.join(NEW_LOG).exists(),
        };
        if replaced && path.exists() {
            let since = aside(places, "audit-since-import");
            fs::rename(path, &since).map_err(at("put aside", path))?;
            undone.log_since = Some(since);
        }
        if let Some(kept) = kept
            && replaced
        {
            fs::rename(kept, path).map_err(at("restore", path))?;
            undone.restored += 1;
        }
        sync(&places.state)?;
    }
    fs::remove_dir_all(&undo_place).map_err(at("remove", &undo_place))?;
    Ok(undone)
}

fn at_rest(places: &Places) -> Result<(), BackupError> {
    match state::is_at_rest(&places.state)? {
        true => Ok(()),
        false => Err(BackupError::InUse(places.state.join("state.db"))),
    }
}

/// A name beside the state that nothing has.
fn aside(places: &Places, name: &str) -> PathBuf {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let named = |number: u32| places.state.join(format!("{name}-{now}{}", ".".repeat(number as usize)));
    (0..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
}

fn place(staged: &Staged, index: usize, path: &Path, places: &Places) -> Result<(), BackupError> {
    let Some(entry) = staged.entries.get(index) else { return Ok(()) };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let own = path.starts_with(&places.state);
    let mode = if own { 0o700 } else { 0o755 };
    DirBuilder::new().recursive(true).mode(mode).create(parent).map_err(at("make", parent))?;
    let new = beside(path);
    let _ = fs::remove_file(&new);
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&new)
        .map_err(at("create", &new))?;
    let from = staged.file(index);
    let mut file = File::open(&from).map_err(at("open", &from))?;
    io::copy(&mut file, &mut to).map_err(at("write", &new))?;
    if geteuid().is_root() {
        // Of whoever had it; what was the user's who made the backup is the user's whose installation this is.
        let theirs = own || entry.uid == staged.manifest.uid || entry.uid == u32::MAX;
        let uid = if theirs { places.uid } else { entry.uid };
        let gid = if own || entry.gid == u32::MAX { None } else { Some(Gid::from_raw(entry.gid)) };
        fchown(&to, Some(Uid::from_raw(uid)), gid).map_err(|errno| at("give away", &new)(errno.into()))?;
    }
    // Nobody else may write what is believed here, whatever the archive says.
    to.set_permissions(fs::Permissions::from_mode(entry.mode & 0o755)).map_err(at("open", &new))?;
    to.sync_all().map_err(at("write", &new))?;
    fs::rename(&new, path).map_err(at("put in place", path))?;
    sync(parent)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let about = fs::metadata(from)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    if geteuid().is_root() {
        fchown(&file, Some(Uid::from_raw(about.uid())), Some(Gid::from_raw(about.gid())))?;
    }
    file.set_permissions(about.permissions())?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".import-new");
    path.with_file_name(name)
}
