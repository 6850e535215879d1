//! A directory for the work of one process, which goes with it, however it ends.
//!
//! Whoever makes one holds a lock on it (flock(2), which the kernel takes back with the process), and first removes those of the same
//! kind that nobody holds: what a process has left that was killed. One of another user is not touched, whatever it is called.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How many random digits are in a name.
const DIGITS: usize = 16;

/// A directory that goes with its guard.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Held for as long as it is needed.
    _lock: File,
}

impl Scratch {
    /// Makes one below /var/tmp, with this mode, and with what it is for in its name. Not below /tmp, which a sandbox has of its own.
    ///
    /// # Errors
    /// When /var/tmp cannot be written.
    pub fn new(purpose: &str, mode: u32) -> io::Result<Self> {
        Self::within(Path::new("/var/tmp"), &format!("execward-{purpose}-"), mode)
    }

    /// Makes one in a directory that is there, with a name that begins so. Nothing else there may be called so.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn within(directory: &Path, kind: &str, mode: u32) -> io::Result<Self> {
        sweep(directory, kind);
        loop {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
            let path = directory.join(format!("{kind}{:0DIGITS$x}", u64::from_ne_bytes(random)));
            DirBuilder::new().mode(mode).create(&path)?;
            let lock = open(&path)?;
            lock.lock()?;
            // Somebody may have swept it before it was held.
            if is_at(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what is left of processes that are gone. What cannot be removed is no reason not to go on.
fn sweep(directory: &Path, kind: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(kind)).unwrap_or_default();
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let path = entry.path();
        let Ok(lock) = open(&path) else { continue };
        let own = lock.metadata().is_ok_and(|about| about.uid() == nix::unistd::geteuid().as_raw());
        if own && lock.try_lock().is_ok() && is_at(&lock, &path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Whether the directory that is open is still the one with that name.
fn is_at(open: &File, path: &Path) -> bool {
    let of = |about: fs::Metadata| (about.dev(), about.ino());
    open.metadata()
        .map(of)
        .is_ok_and(|one| fs::symlink_metadata(path).map(of).is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_nobody_holds_goes_and_nothing_else_does() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let held = Scratch::within(place.path(), ".work-", 0o700).expect("made");
        fs::write(held.join("x"), "x").expect("written");
        let (dead, kept) = (at(".work-0123456789abcdef"), at("kept"));
        fs::create_dir_all(dead.join("deep")).expect("made");
        fs::create_dir(&kept).expect("made");
        fs::write(kept.join("precious"), "x").expect("written");
        symlink(&kept, at(".work-00000000000000ff")).expect("a link");
        symlink(&kept, dead.join("link")).expect("a link");
        fs::create_dir(at(".work-of-somebody")).expect("made");
        fs::write(at(".work-00000000000000aa"), "no directory").expect("written");
        let other = Scratch::within(place.path(), ".work-", 0o700).expect("made");
        assert!(!dead.exists());
        assert!(
            held.join("x").exists() && kept.join("precious").exists() && at(".work-of-somebody").exists()
        );
        assert!(at(".work-00000000000000ff").is_symlink() && at(".work-00000000000000aa").exists());
        assert_eq!(fs::metadata(other.path()).expect("it is there").mode() & 0o777, 0o700);
        let (one, two) = (held.path().to_owned(), other.path().to_owned());
        drop((held, other));
        assert!(!one.exists() && !two.exists());
    }
}
