//! All of what a command wrote to a stream, on disk, where its result has only the two ends.
//!
//! What is here has been redacted. It lies in a file without a name, so that nothing of it is left whatever becomes of
//! the supervisor; where a session outlives that, in one with a name, which the next supervisor goes on with or removes. It is
//! made only when a result leaves something out. A disk that is full stops the keeping and not the command.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Files of one principal at a time: each is a descriptor of the supervisor's.
const FILES: usize = 256;

/// Where those with names lie, below the state.
const NAMED: &str = "output";

/// What one principal may keep on disk, and where.
#[derive(Debug)]
pub(in crate::supervisor) struct Shelf {
    directory: PathBuf,
    /// Most bytes of one stream of a command, and of everything.
    of_one: u64,
    of_all: u64,
    used: AtomicU64,
    files: AtomicUsize,
}

impl Shelf {
    pub(in crate::supervisor) fn new(directory: PathBuf, of_one: u64, of_all: u64) -> Self {
        Self { directory, of_one, of_all, used: AtomicU64::new(0), files: AtomicUsize::new(0) }
    }

    /// The name of what a command writes to a stream, for a session that outlives the supervisor.
    pub(super) fn name(&self, session: &str, command: u64, stream: usize) -> PathBuf {
        named(&self.directory).join(format!("{session}.{command}.{stream}"))
    }

    fn file(&self, open: impl FnOnce() -> io::Result<File>) -> Result<File, String> {
        if self.files.fetch_add(1, Ordering::Relaxed) >= FILES {
            self.files.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{FILES} long outputs of this user are kept already"));
        }
        open().map_err(|error| {
            self.files.fetch_sub(1, Ordering::Relaxed);
            format!("no file in {}: {error}", self.directory.display())
        })
    }

    fn begin(&self, name: Option<&Path>) -> Result<File, String> {
        self.file(|| {
            let Some(name) = name else { return tempfile::tempfile_in(&self.directory) };
            DirBuilder::new().mode(0o700).recursive(true).create(named(&self.directory))?;
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            options.custom_flags(libc::O_NOFOLLOW).open(name)
        })
    }

    /// Takes as many of these bytes as there is room for beyond the `kept` of one stream.
    fn take(&self, kept: u64, bytes: u64) -> u64 {
        let wanted = bytes.min(self.of_one.saturating_sub(kept));
        let before = self.used.fetch_add(wanted, Ordering::Relaxed);
        let taken = wanted.min(self.of_all.saturating_sub(before));
        self.used.fetch_sub(wanted - taken, Ordering::Relaxed);
        taken
    }
}

fn named(state: &Path) -> PathBuf {
    state.join(NAMED)
}

/// Removes what lies in the state of sessions that are no more.
pub(in crate::supervisor) fn sweep(state: &Path, sessions: &BTreeSet<String>) {
    for entry in fs::read_dir(named(state)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let session = name.to_str().and_then(|name| name.split('.').next()).unwrap_or_default();
        if !sessions.contains(session) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The whole of one stream, as far as it is kept.
#[derive(Debug)]
pub(super) struct Whole {
    file: File,
    kept: u64,
    missing: Option<String>,
    shelf: Arc<Shelf>,
}

impl Whole {
    /// Begins with what there is already.
    ///
    /// # Errors
    /// Why nothing can be kept.
    pub(super) fn begin(shelf: &Arc<Shelf>, name: Option<&Path>, before: &[u8]) -> Result<Self, String> {
        let file = shelf.begin(name)?;
        let mut whole = Self { file, kept: 0, missing: None, shelf: Arc::clone(shelf) };
        whole.push(before);
        Ok(whole)
    }

    /// Goes on with what another supervisor has kept of a stream of which `written` bytes are written down. What it kept beyond
    /// them is written again.
    ///
    /// # Errors
    /// Why nothing of it can be had.
    pub(super) fn again(shelf: &Arc<Shelf>, name: &Path, written: u64) -> Result<Self, String> {
        let file = shelf
            .file(|| File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(name))?;
        let mut whole = Self { file, kept: 0, missing: None, shelf: Arc::clone(shelf) };
        let failed = |error: io::Error| format!("what was kept on disk cannot be read: {error}");
        let about = whole.file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err("what was kept on disk is no file".to_owned());
        }
        whole.kept = shelf.take(0, about.len().min(written));
        whole.file.set_len(whole.kept).map_err(failed)?;
        if whole.kept < written {
            whole.missing = Some(format!("only the first {} bytes are kept on disk", whole.kept));
        }
        Ok(whole)
    }

    /// Keeps what follows. After the first byte that cannot be kept nothing is.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.missing.is_some() {
            return;
        }
        let length = bytes.len() as u64;
        let room = self.shelf.take(self.kept, length);
        let part = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(bytes);
        match self.file.write_all_at(part, self.kept) {
            Ok(()) => {
                self.kept += room;
                if room < length {
                    self.missing = Some(format!("only the first {} bytes are kept on disk", self.kept));
                }
            }
            Err(error) => {
                self.shelf.used.fetch_sub(room, Ordering::Relaxed);
                self.missing =
                    Some(format!("after {} bytes it could not be kept on disk: {error}", self.kept));
            }
        }
    }

    /// Bytes from the beginning that can be had.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Why not everything is.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// What it is read by while it grows.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.shelf.used.fetch_sub(self.kept, Ordering::Relaxed);
        self.shelf.files.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(whole: &Whole) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(whole.kept()).unwrap()];
        whole.reader().unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn it_keeps_what_came_before_and_after_until_it_may_not() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::new(place.path().into(), 10, 15));
        let mut one = Whole::begin(&shelf, None, b"abc").unwrap();
        one.push(b"defg");
        assert_eq!((read(&one), one.missing()), (b"abcdefg".to_vec(), None));
        one.push(b"hijkl");
        assert_eq!(read(&one), b"abcdefghij");
        assert_eq!(one.missing(), Some("only the first 10 bytes are kept on disk"));
        // A gap is never closed by what comes later.
        one.push(b"m");
        assert_eq!(one.kept(), 10);
        let other = Whole::begin(&shelf, None, b"1234567").unwrap();
        assert_eq!(read(&other), b"12345");
        drop(one);
        drop(other);
        assert_eq!(shelf.used.load(Ordering::Relaxed), 0);
        assert_eq!(read(&Whole::begin(&shelf, None, b"12345678").unwrap()), b"12345678");
        assert!(fs::read_dir(place.path()).unwrap().next().is_none(), "it has a name");
    }

    #[test]
    fn one_principal_has_so_many_files_and_no_more() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::new(place.path().into(), 10, 1000));
        let all: Vec<_> = (0..FILES).map(|_| Whole::begin(&shelf, None, b"x").unwrap()).collect();
        assert!(Whole::begin(&shelf, None, b"x").is_err());
        drop(all);
        assert!(Whole::begin(&shelf, None, b"x").is_ok());
    }

    #[test]
    fn what_was_kept_is_gone_on_with_where_it_was_written_down() {
        let place = tempfile::tempdir().unwrap();
        let shelf = || Arc::new(Shelf::new(place.path().into(), 100, 100));
        let (before, name) = (shelf(), shelf().name("s", 3, 0));
        let mut whole = Whole::begin(&before, Some(&name), b"abc").unwrap();
        whole.push(b"defgh");
        drop(whole);
        // Of the last bytes nothing is written down: they come again.
        let after = shelf();
        let mut whole = Whole::again(&after, &name, 6).unwrap();
        whole.push(b"gh-and-more");
        assert_eq!((read(&whole), whole.missing()), (b"abcdefgh-and-more".to_vec(), None));
        drop(whole);
        let short = Whole::again(&shelf(), &name, 99).unwrap();
        assert_eq!((short.kept(), short.missing()), (17, Some("only the first 17 bytes are kept on disk")));
        sweep(place.path(), &BTreeSet::from(["s".to_owned()]));
        assert!(name.exists());
        sweep(place.path(), &BTreeSet::new());
        assert!(!name.exists());
        let none = shelf();
        assert!(Whole::again(&none, &name, 6).is_err());
        std::os::unix::fs::symlink("/etc/passwd", &name).unwrap();
        assert!(Whole::again(&none, &name, 6).is_err(), "a link leads elsewhere");
        assert_eq!(none.files.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn where_there_is_no_directory_it_says_so() {
        let shelf = Arc::new(Shelf::new("/proc/none".into(), 10, 10));
        assert!(Whole::begin(&shelf, None, b"x").unwrap_err().contains("/proc/none"));
        assert_eq!(shelf.files.load(Ordering::Relaxed), 0);
    }
}
