//! The log on disk: files of lines, and the keys of its digests and its checkpoints beside them.
//!
//! Several supervisors of one user may append to one log: each takes the file's lock, looks what the others wrote,
//! appends, waits until the disk has it, and lets go. A record is either wholly there or, after a crash, a torn last
//! line, which stays where it is and is named by the record after it. A file that has become too large or too old is
//! put aside under the lock; the others notice and follow.

mod files;
mod keys;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::geteuid;

use self::files::Tail;
use super::chain::{self, Durable, Hash, Key};
use super::checkpoint::{Checkpoint, PublicKey, Signer};
use super::record::Record;

pub use self::files::all;
pub(in crate::audit) use self::files::open_to_read;

/// The file of records that is written.
pub const LOG_FILE: &str = "audit.jsonl";

/// The file of the key for digests.
pub const KEY_FILE: &str = "key";

/// The file of the key that signs checkpoints.
pub const SIGNING_KEY_FILE: &str = "signing.key";

/// Longest line that can be read back; records are much shorter.
pub(in crate::audit) const MAX_LINE: u64 = 1 << 20;

/// How long the lock may be held by others.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How often a file that is put aside by others while it is waited for is followed.
const FOLLOWED: usize = 16;

/// An open log.
#[derive(Debug)]
pub struct Log {
    directory: File,
    dir: PathBuf,
    file: Arc<File>,
    path: PathBuf,
    key: Key,
    signer: Option<Signer>,
    options: Options,
    tail: Tail,
    /// When the file was begun, where its age counts.
    begun: Option<Timestamp>,
    /// The disk refused a sync: what it holds is not known any more.
    broken: Option<Errno>,
}

/// When a file is put aside, and when a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes from which on a file is put aside.
    pub rotate_size: u64,
    /// Age from which on it is, whatever its size; `None`: its age does not count.
    pub rotate_age: Option<Duration>,
    /// A checkpoint is written after so many records, whoever writes them.
    pub checkpoint_records: u64,
}

impl Default for Options {
    /// 64 MiB, no age, 1000 records.
    fn default() -> Self {
        Self { rotate_size: 64 << 20, rotate_age: None, checkpoint_records: 1000 }
    }
}

/// Why a record could not be kept. No record, no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A file could not be opened, read, written or synced.
    #[error("audit log: cannot {action} {}: {}", path.display(), errno.desc())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Of the call.
        errno: Errno,
    },
    /// Something there is not what only its owner could have put there.
    #[error("audit log: {} {what}", path.display())]
    Unsafe {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// The last record cannot be read back, so that nothing can be chained to it.
    #[error("audit log: {} ends in a line that is no record; see `execward audit verify`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to vouch for.
    #[error("audit log: {} holds no record yet", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another process kept the lock.
    #[error("audit log: {} stayed locked by another process for {} s", path.display(), LOCK_WAIT.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

impl Log {
    /// Opens the log in `dir` with the default [`Options`]; see [`Self::open_with`].
    ///
    /// # Errors
    ///
    /// As [`Self::open_with`].
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Self::open_with(dir, Options::default())
    }

    /// Opens the log in `dir`, making directory (0700), file and keys (0600) where they are missing.
    ///
    /// # Errors
    ///
    /// When directory, file or key are links, belong to somebody else or are open to others, or cannot be written.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, LogError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| io("create", dir, &error))?;
        let directory = open_directory(dir)?;
        let path = dir.join(LOG_FILE);
        let file = open_file(&directory, dir, &path)?;
        let mut log = Self {
            directory,
            dir: dir.to_owned(),
            file: Arc::new(file),
            path,
            key: Key::new(Default::default()),
            signer: None,
            options,
            tail: Tail::START,
            begun: None,
            broken: None,
        };
        let _lock = log.lock()?;
        // Made anew they say nothing of the records that are there.
        let has_records = log.file.metadata().is_ok_and(|about| about.len() > 0);
        for key in
            [KEY_FILE, SIGNING_KEY_FILE].into_iter().filter(|key| has_records && !dir.join(key).exists())
        {
            let path = dir.join(key);
            tracing::error!(path = %path.display(), "a key of the audit log is gone and is made anew: digests or checkpoints so far cannot be held against it");
        }
        log.key = Key::new(keys::read_or_make(&log.directory, dir, KEY_FILE)?);
        // Made with the log, not when the first checkpoint is due: by then the disk may be full.
        log.signer()?;
        if log.find_tail()?.is_some() {
            // Left to the first append, which names it.
            log.tail.size = Tail::UNKNOWN;
        }
        Ok(log)
    }

    /// Appends a record; when this returns it is on disk.
    ///
    /// # Errors
    ///
    /// When it is not: the disk is full, the file was removed, another process keeps the lock, ...
    pub fn append(&mut self, record: &Record, at: Timestamp) -> Result<Durable, LogError> {
        let mut recorded = self.append_all(&[(record, at)])?;
        recorded.pop().ok_or_else(|| failed("append to", &self.path, Errno::EIO))
    }

    /// Appends records in this order, with one wait for the disk; when this returns all of them are on it.
    ///
    /// # Errors
    ///
    /// As [`Self::append`]; then none of them counts as recorded.
    pub fn append_all(&mut self, records: &[(&Record, Timestamp)]) -> Result<Vec<Durable>, LogError> {
        let recorded = self.add(records)?;
        self.sync()?;
        let witness = |((seq, hash), (record, _)): ((u64, Hash), &(&Record, Timestamp))| {
            Durable::new(seq, hash, record.clears.clone())
        };
        Ok(recorded.into_iter().zip(records).map(witness).collect())
    }

    /// Appends records without waiting for the disk: for those that let nothing run. The next [`Self::append_all`] or
    /// [`Self::sync`] waits for them, too.
    ///
    /// # Errors
    ///
    /// As [`Self::append`].
    pub fn append_lazily(&mut self, records: &[(&Record, Timestamp)]) -> Result<(), LogError> {
        self.add(records).map(drop)
    }

    /// Waits until the disk has everything that was appended.
    ///
    /// # Errors
    ///
    /// When it has not. What it holds is then not known, and nothing is appended any more.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|error| {
            let errno = errno(&error);
            self.broken = Some(errno);
            failed("sync", &self.path, errno)
        })
    }

    /// Vouches for everything that was recorded so far, in the log itself and for the caller to keep elsewhere. When
    /// this returns, both are on disk.
    ///
    /// # Errors
    ///
    /// As [`Self::append`]; also when there is no record to vouch for.
    pub fn checkpoint(&mut self, at: Timestamp) -> Result<Checkpoint, LogError> {
        let mut lock = self.lock()?;
        let torn = self.find_tail()?;
        let mut batch = self.begin(&mut lock, torn, at)?;
        if batch.tail.seq == 0 {
            return Err(LogError::Empty { path: self.path.clone() });
        }
        let checkpoint = self.signer()?.checkpoint(batch.tail.seq, batch.tail.hash, &at.to_string());
        batch.push(&Record::checkpoint(&checkpoint), at);
        self.write(batch)?;
        self.sync()?;
        Ok(checkpoint)
    }

    /// The key that this log's checkpoints can be checked with; made where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read or made.
    pub fn public_key(&mut self) -> Result<PublicKey, LogError> {
        let _lock = self.lock()?;
        Ok(self.signer()?.public_key())
    }

    /// Number of the last record that this process knows of.
    pub fn seq(&self) -> u64 {
        self.tail.seq
    }

    /// Whether nobody holds the file's lock just now, so that a record would not have to wait for it.
    pub fn is_free(&self) -> bool {
        Lock::attempt(&self.file).is_ok()
    }

    fn signer(&mut self) -> Result<&Signer, LogError> {
        let signer = match self.signer.take() {
            Some(signer) => signer,
            None => Signer::new(&*keys::read_or_make(&self.directory, &self.dir, SIGNING_KEY_FILE)?),
        };
        Ok(self.signer.insert(signer))
    }

    /// Writes lines at the end of the chain, under the lock.
    fn add(&mut self, records: &[(&Record, Timestamp)]) -> Result<Vec<(u64, Hash)>, LogError> {
        if let Some(errno) = self.broken {
            return Err(failed("sync", &self.path, errno));
        }
        let Some((_, at)) = records.first() else { return Ok(Vec::new()) };
        let mut lock = self.lock()?;
        let torn = self.find_tail()?;
        let mut batch = self.begin(&mut lock, torn, *at)?;
        let before = batch.tail.seq;
        let recorded = records.iter().map(|(record, at)| batch.push(record, *at)).collect();
        let interval = self.options.checkpoint_records.max(1);
        if let Some((_, at)) = records.last()
            && before / interval != batch.tail.seq / interval
        {
            let checkpoint = self.signer()?.checkpoint(batch.tail.seq, batch.tail.hash, &at.to_string());
            batch.push(&Record::checkpoint(&checkpoint), *at);
        }
        self.write(batch)?;
        Ok(recorded)
    }

    /// Begins to append where the chain ends: after a torn line, in a file that goes on, or in a new one.
    fn begin(&mut self, lock: &mut Lock, torn: Option<Vec<u8>>, at: Timestamp) -> Result<Batch, LogError> {
        if torn.is_none() && self.is_full(at) {
            self.put_aside(lock)?;
        }
        if self.tail.size == 0 {
            self.begun = Some(at);
        }
        let mut batch = Batch { tail: self.tail, bytes: Vec::new() };
        if let Some(torn) = torn {
            // A torn line gets its end before the record that names it.
            batch.bytes.push(b'\n');
            batch.push(&Record::repaired(&torn), at);
        } else if self.tail.size == 0 && self.tail.seq > 0 {
            batch.push(&Record::rotated(&files::name(self.tail.seq), self.tail.seq, self.tail.hash), at);
        }
        Ok(batch)
    }

    fn write(&mut self, batch: Batch) -> Result<(), LogError> {
        let mut file: &File = &self.file;
        if let Err(error) = file.write_all(&batch.bytes) {
            // What was written in part must not stand before the next record. Where it stays, it is a torn line.
            let _ = file.set_len(self.tail.size);
            return Err(io("append to", &self.path, &error));
        }
        self.tail = Tail { size: self.tail.size + batch.bytes.len() as u64, ..batch.tail };
        Ok(())
    }

    fn is_full(&self, at: Timestamp) -> bool {
        let Options { rotate_size, rotate_age, .. } = self.options;
        let old = rotate_age
            .zip(self.begun)
            .is_some_and(|(age, begun)| at.duration_since(begun).unsigned_abs() >= age && at > begun);
        self.tail.size > 0 && self.tail.seq > 0 && (self.tail.size >= rotate_size || old)
    }

    /// Puts the file aside and begins the next one.
    fn put_aside(&mut self, lock: &mut Lock) -> Result<(), LogError> {
        // What stands in it must be on disk before a record elsewhere can build on it.
        self.sync()?;
        let name = files::name(self.tail.seq);
        let renamed = renameat2(
            &self.directory,
            LOG_FILE,
            &self.directory,
            name.as_str(),
            RenameFlags::RENAME_NOREPLACE,
        );
        if let Err(errno) = renamed {
            // A file that grows on is better than none.
            tracing::warn!(
                error = errno.desc(),
                file = name,
                "the audit log cannot be put aside and grows on"
            );
            return Ok(());
        }
        self.file = Arc::new(open_file(&self.directory, &self.dir, &self.path)?);
        self.tail.size = Tail::UNKNOWN;
        // Another may have begun the next file before, filled it, and put it aside already.
        *lock = self.lock()?;
        match self.find_tail()? {
            None => Ok(()),
            // Somebody else was first, and died in the middle. The next one mends it.
            Some(_) => Err(failed("append to", &self.path, Errno::EAGAIN)),
        }
    }

    /// Takes the lock of the file that has the log's name now: others may have put it aside.
    fn lock(&mut self) -> Result<Lock, LogError> {
        for _ in 0..FOLLOWED {
            let lock = Lock::take(&self.file, &self.path)?;
            let own = self.file.metadata().map_err(|error| io("read", &self.path, &error))?;
            let named = match fstatat(&self.directory, LOG_FILE, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(named) => Some((named.st_dev, named.st_ino)),
                Err(Errno::ENOENT) => None,
                Err(errno) => return Err(failed("look at", &self.path, errno)),
            };
            let bad = |what| Err(LogError::Unsafe { path: self.path.clone(), what });
            match named {
                Some(named) if named == (own.dev(), own.ino()) => {
                    check_file(&self.file, &self.path)?;
                    return Ok(lock);
                }
                None if own.nlink() == 0 => return bad("was removed while it was open"),
                None => {
                    let ours = |path: &PathBuf| {
                        path.symlink_metadata().is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()))
                    };
                    // Whoever put it aside has not begun the next one, and holds no lock any more.
                    if !files::full(&self.dir)?.iter().any(|(_, path)| ours(path)) {
                        return bad("was moved away while it was open");
                    }
                }
                Some(_) => {}
            }
            let file = open_file(&self.directory, &self.dir, &self.path)?;
            let known = self.tail.seq;
            self.file = Arc::new(file);
            drop(lock);
            let _lock = Lock::take(&self.file, &self.path)?;
            self.tail.size = Tail::UNKNOWN;
            let torn = self.find_tail()?;
            if self.tail.seq < known {
                return Err(LogError::Unsafe {
                    path: self.path.clone(),
                    what: "was replaced by a log that lacks records; see `execward audit verify`",
                });
            }
            if torn.is_some() {
                self.tail.size = Tail::UNKNOWN;
            }
        }
        Err(LogError::Locked { path: self.path.clone() })
    }

    /// The log's key, for digests.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Finds the end of the chain, where others may have appended. Returns a torn last line.
    fn find_tail(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let size = self.file.metadata().map_err(|error| io("read", &self.path, &error))?.len();
        if size == self.tail.size {
            return Ok(None);
        }
        let (tail, torn) = files::last_line(&self.file, &self.path, size)?;
        self.tail = match tail {
            Some(tail) => tail,
            None => Tail { size, ..files::tail_before(&self.dir)? },
        };
        if self.options.rotate_age.is_some() {
            self.begun = files::begun(&self.file);
        }
        Ok(torn)
    }
}

/// Lines that are written at once.
struct Batch {
    tail: Tail,
    bytes: Vec<u8>,
}

impl Batch {
    fn push(&mut self, record: &Record, at: Timestamp) -> (u64, Hash) {
        let line = chain::line(record, self.tail.seq + 1, &at.to_string(), self.tail.hash);
        self.tail = Tail { seq: self.tail.seq + 1, hash: Hash::of(&line), ..self.tail };
        self.bytes.extend_from_slice(&line);
        self.bytes.push(b'\n');
        (self.tail.seq, self.tail.hash)
    }
}

/// The lock of the file, given back when dropped.
#[derive(Debug)]
struct Lock(Arc<File>);

impl Lock {
    fn attempt(file: &Arc<File>) -> Result<Self, TryLockError> {
        file.try_lock().map(|()| Self(Arc::clone(file)))
    }

    fn take(file: &Arc<File>, path: &Path) -> Result<Self, LogError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match Self::attempt(file) {
                Ok(lock) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(io("lock", path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path: path.to_owned() }),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock also ends with the last descriptor; there is nothing else to do about a failure.
        let _ = self.0.unlock();
    }
}

fn open_directory(dir: &Path) -> Result<File, LogError> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(dir, flags, Mode::empty()).map_err(|errno| failed("open", dir, errno))?;
    let directory = File::from(directory);
    check_ours(&directory, dir)?;
    Ok(directory)
}

/// Opens the file that is written, or makes it.
fn open_file(directory: &File, dir: &Path, path: &Path) -> Result<File, LogError> {
    let flags = OFlag::O_RDWR
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        | OFlag::O_NONBLOCK;
    let file = openat(directory, LOG_FILE, flags, Mode::from_bits_truncate(0o600))
        .map_err(|errno| failed("open", path, errno))?;
    let file = File::from(file);
    check_file(&file, path)?;
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        // It may be new: its name must be on disk before its records are.
        directory.sync_all().map_err(|error| io("sync", dir, &error))?;
    }
    Ok(file)
}

/// The public key of the log in `dir`, where it has signed anything.
///
/// # Errors
///
/// When the key is there but cannot be read or believed.
pub fn public_key(dir: &Path) -> Result<Option<PublicKey>, LogError> {
    let seed = keys::read(&open_directory(dir)?, dir, SIGNING_KEY_FILE)?;
    Ok(seed.map(|seed| Signer::new(&seed).public_key()))
}

fn check_file(file: &File, path: &Path) -> Result<(), LogError> {
    let metadata = file.metadata().map_err(|error| io("read", path, &error))?;
    let bad = |what| Err(LogError::Unsafe { path: path.to_owned(), what });
    if !metadata.is_file() {
        return bad("is not a regular file");
    }
    match metadata.nlink() {
        0 => return bad("was removed while it was open"),
        1 => {}
        _ => return bad("has a second name (hard link)"),
    }
    check_ours(file, path)
}

fn check_ours(file: &File, path: &Path) -> Result<(), LogError> {
    let metadata = file.metadata().map_err(|error| io("read", path, &error))?;
    let bad = |what| Err(LogError::Unsafe { path: path.to_owned(), what });
    if metadata.uid() != geteuid().as_raw() {
        return bad("belongs to another user");
    }
    if metadata.mode() & 0o077 != 0 {
        return bad("is open to other users; `chmod go= ` it after checking its content");
    }
    Ok(())
}

pub(in crate::audit) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> LogError {
    failed(action, path, errno(error))
}

fn failed(action: &'static str, path: &Path, errno: Errno) -> LogError {
    LogError::Io { action, path: path.to_owned(), errno }
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tamper;
#[cfg(test)]
mod tests;
