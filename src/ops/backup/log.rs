//! The audit log of an archive: it comes whole or not at all, and what was there is never destroyed.
//!
//! A log is a chain over several files: files of two logs in one directory are a broken chain. So the directory as a whole
//! gives way to a new one, and is kept beside it as evidence, also when the import is undone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::read::Staged;
use super::{BackupError, Places, hashed, io as at};
use crate::audit;

/// What members of the log are called.
pub(super) const MEMBERS: &str = "state/audit/";

/// The log of an installation.
pub(super) fn place(places: &Places) -> PathBuf {
    places.state.join("audit")
}

/// Whether the archive has a log, and another than what is there.
pub(super) fn differs(places: &Places, staged: &Staged) -> Result<bool, BackupError> {
    let members: Vec<_> = staged.entries.iter().filter(|entry| entry.name.starts_with(MEMBERS)).collect();
    if members.is_empty() {
        return Ok(false);
    }
    let place = place(places);
    for entry in &members {
        let Some(path) = places.target(&entry.name) else { continue };
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() && about.len() == entry.size => {
                let mut file = File::open(&path).map_err(at("open", &path))?;
                let (_, sha256) = hashed(&mut file, &mut io::sink()).map_err(at("read", &path))?;
                if sha256 != entry.sha256 {
                    return Ok(true);
                }
            }
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(at("look at", &path)(error)),
        }
    }
    let (full, _, _) = audit::files(&place)?;
    Ok(full.iter().any(|path| !members.iter().any(|entry| places.target(&entry.name).as_ref() == Some(path))))
}

/// Makes the directory that will be the log, beside where it will be. The keys of the log that is there stay where they are
/// the ones that signed this one, or where there is nothing else to go by.
pub(super) fn build(places: &Places, staged: &Staged, new: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(new).map_err(at("make", new))?;
    for (index, entry) in staged.entries.iter().enumerate() {
        let Some(name) = entry.name.strip_prefix(MEMBERS) else { continue };
        copy(&staged.file(index), &new.join(name))?;
    }
    let old = place(places);
    let own = if old.is_dir() { audit::public_key(&old)?.map(|key| key.to_string()) } else { None };
    let same = own.is_some() && own == staged.manifest.log_key;
    for name in [audit::KEY_FILE, audit::SIGNING_KEY_FILE] {
        let (from, to) = (old.join(name), new.join(name));
        if same && from.is_file() && !to.exists() {
            copy(&from, &to)?;
        }
    }
    sync(new)
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(at("create", to))?;
    let mut source = File::open(from).map_err(at("open", from))?;
    io::copy(&mut source, &mut file).and_then(|_| file.sync_all()).map_err(at("write", to))
}

/// Makes what was renamed in a directory outlast a crash.
pub(super) fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(at("sync", directory))
}
