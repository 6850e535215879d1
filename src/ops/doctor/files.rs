//! execward's own files: whose they are, who may read them, and how much room is left for them.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::Check;
use crate::audit::{KEY_FILE, LOG_FILE, SIGNING_KEY_FILE};
use crate::ops::backup::unfinished;
use crate::ops::upgrade::{broken_off, standing};
use crate::state::examine;
use crate::supervisor::Directories;

/// Files that are looked at; a state directory of more is somebody's mistake.
const MOST: usize = 4096;

/// How deep.
const DEEPEST: usize = 4;

/// Room below which the log is near its end, and below which it is nearly there.
const LITTLE: u64 = 1 << 30;
const LEAST: u64 = 64 << 20;

pub(super) fn checks(directories: &Directories) -> Vec<Check> {
    let mut checks = vec![state(&directories.state)];
    checks.extend(database(&directories.state));
    checks.extend(log_keys(&directories.audit()));
    checks.extend(room(&directories.state));
    checks.extend(import(&directories.state));
    checks.extend(upgrade(&directories.state));
    checks
}

/// An import that was broken off.
fn import(state: &Path) -> Option<Check> {
    unfinished(state).then(|| {
        Check::failure(
            "import",
            format!("one into {} was broken off", state.display()),
            "what is configured and kept is a mixture of before and after",
            "execward import --undo",
        )
    })
}

/// An upgrade that nobody carries on with.
fn upgrade(state: &Path) -> Option<Check> {
    const NAME: &str = "upgrade";
    if let Err(error) = standing(state) {
        return Some(Check::failure(
            NAME,
            error.to_string(),
            "how the last upgrade stands is not known, and there is no other until it is",
            "look at the binary in place and its version, then remove that file",
        ));
    }
    broken_off(state).map(|phase| {
        Check::failure(
            NAME,
            format!("one was broken off: {}", phase.words()),
            "it is neither the old execward for sure nor the new one",
            "execward upgrade",
        )
    })
}

/// What a daemon keeps in its database. Nothing where there is none.
fn database(state: &Path) -> Option<Check> {
    const NAME: &str = "database";
    match examine(state) {
        Ok(None) => None,
        Ok(Some(version)) => Some(Check::ok(NAME, format!("sound, of version {version}"))),
        Err(error) => Some(Check::failure(
            NAME,
            error.to_string(),
            "grants, modes, pairings and jobs are in it: a daemon puts a damaged one aside and begins without, or does not start",
            "give back a backup with `execward import FILE` before the daemon is started again",
        )),
    }
}

/// The keys of a log that has records: one that is made anew says nothing of those.
fn log_keys(audit: &Path) -> Option<Check> {
    let has_records = fs::metadata(audit.join(LOG_FILE)).is_ok_and(|log| log.len() > 0);
    let missing: Vec<&str> =
        [KEY_FILE, SIGNING_KEY_FILE].into_iter().filter(|key| !audit.join(key).exists()).collect();
    (has_records && !missing.is_empty()).then(|| {
        Check::failure(
            "audit-keys",
            format!("{}: {} missing, and there are records", audit.display(), missing.join(", ")),
            "digests and checkpoints so far cannot be held against a key that is made anew",
            "give them back from a backup (`execward import FILE` of one made --with-secrets)",
        )
    })
}

fn state(state: &Path) -> Check {
    const NAME: &str = "state";
    let shown = state.display();
    match loose(state) {
        Ok(None) => Check::ok(NAME, format!("{shown}: not made yet")),
        Ok(Some(loose)) if loose.is_empty() => Check::ok(NAME, format!("{shown}, for its owner alone")),
        Ok(Some(loose)) => {
            let first = loose.first().map(|path| path.display().to_string()).unwrap_or_default();
            Check::failure(
                NAME,
                format!("{} of execward's files can be reached by others, {first} first", loose.len()),
                "whoever can read the log knows what was run; whoever can write it can say what was",
                "execward doctor --fix",
            )
        }
        Err(error) => Check::failure(
            NAME,
            format!("{shown}: {error}"),
            "the log cannot be written, and so nothing runs",
            format!("make it a directory of your own: install -d -m 0700 {shown}"),
        ),
    }
}

/// What of the state others may reach, `None` where there is no state yet.
fn loose(state: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let uid = nix::unistd::geteuid().as_raw();
    let about = match state.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about?,
    };
    if !about.is_dir() {
        return Err(io::Error::other("it is no directory"));
    }
    if about.uid() != uid {
        return Err(io::Error::other(format!("it belongs to uid {}", about.uid())));
    }
    let mut found = Vec::new();
    if for_others(&about) {
        found.push(state.to_owned());
    }
    let mut directories = vec![(state.to_owned(), 0)];
    let mut seen = 0;
    while let Some((directory, depth)) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let about = entry.metadata()?;
            seen += 1;
            if seen > MOST {
                return Ok(Some(found));
            }
            // What a directory for its owner alone holds is out of reach, but a copy of it may not be.
            if for_others(&about) && (about.is_file() || about.is_dir()) {
                found.push(entry.path());
            }
            if about.is_dir() && depth < DEEPEST && about.uid() == uid {
                directories.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(Some(found))
}

/// Whether others may write it, or read what is no public key.
fn for_others(about: &Metadata) -> bool {
    let mask = if about.is_dir() { 0o077 } else { 0o022 };
    about.mode() & mask != 0
}

fn room(state: &Path) -> Option<Check> {
    const NAME: &str = "disk";
    let there = state.ancestors().find(|path| path.exists())?;
    let about = statvfs(there).ok()?;
    let free = about.blocks_available().saturating_mul(about.fragment_size());
    let found = format!("{} MiB free for {}", free >> 20, state.display());
    let means = "the audit log is written before a command starts: with no room left, nothing runs";
    let mend = "make room, or rotate and carry away the log (`[audit]` in execward.toml)";
    Some(if free < LEAST {
        Check::failure(NAME, found, means, mend)
    } else if free < LITTLE {
        Check::warning(NAME, found, means, mend)
    } else {
        Check::ok(NAME, found)
    })
}

/// Takes from others what they may do with execward's files; returns what was changed.
///
/// # Errors
/// When the state is not this user's, or cannot be changed.
pub fn mend(directories: &Directories) -> io::Result<Vec<PathBuf>> {
    let found = loose(&directories.state)?.unwrap_or_default();
    for path in &found {
        // By a descriptor that follows no link: the name may lead elsewhere by now.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let about = file.metadata()?;
        if about.uid() != nix::unistd::geteuid().as_raw() {
            continue;
        }
        let mask = if about.is_dir() { 0o700 } else { 0o755 };
        file.set_permissions(Permissions::from_mode(about.mode() & mask))?;
    }
    Ok(found)
}
