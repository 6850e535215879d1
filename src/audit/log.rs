//! The log on disk: one file of lines, and the key of its digests beside it.
//!
//! Several supervisors of one user may append to one log: each takes the file's lock, looks what the others wrote,
//! appends, waits until the disk has it, and lets go. A record is either wholly there or, after a crash, a torn last
//! line, which stays where it is and is named by the record after it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use zeroize::Zeroizing;

use super::chain::{self, Durable, Hash, Key, Line};
use super::record::Record;

/// The file of records.
pub const LOG_FILE: &str = "audit.jsonl";

/// The file of the key.
pub const KEY_FILE: &str = "key";

/// Longest line that can be read back; records are much shorter.
pub(in crate::audit) const MAX_LINE: u64 = 1 << 20;

/// How long the lock may be held by others.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    key: Key,
    tail: Tail,
    /// The disk refused a sync: what it holds is not known any more.
    broken: Option<Errno>,
}

/// Where the chain ends.
#[derive(Debug, Clone, Copy)]
struct Tail {
    /// Size of the file.
    size: u64,
    /// Number of the last record; 0 where there is none.
    seq: u64,
    /// Its hash.
    hash: Hash,
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
    /// Another process kept the lock.
    #[error("audit log: {} stayed locked by another process for {} s", path.display(), LOCK_WAIT.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

impl Log {
    /// Opens the log in `dir`, making directory (0700), file and key (0600) where they are missing.
    ///
    /// # Errors
    ///
    /// When directory, file or key are links, belong to somebody else or are open to others, or cannot be written.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| io("create", dir, &error))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = open(dir, flags, Mode::empty()).map_err(|errno| failed("open", dir, errno))?;
        let directory = File::from(directory);
        check_ours(&directory, dir)?;

        let path = dir.join(LOG_FILE);
        let flags = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC
            | OFlag::O_NONBLOCK;
        let file = openat(&directory, LOG_FILE, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| failed("open", &path, errno))?;
        let file = File::from(file);
        check_file(&file, &path)?;
        if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // It may be new: its name must be on disk before its records are.
            directory.sync_all().map_err(|error| io("sync", dir, &error))?;
        }

        let _lock = Lock::take(&file, &path)?;
        let key = read_or_make_key(&directory, dir)?;
        let mut log = Self {
            file: file.try_clone().map_err(|error| io("open", &path, &error))?,
            path,
            key,
            tail: Tail { size: 0, seq: 0, hash: Hash::START },
            broken: None,
        };
        if log.find_tail()?.is_some() {
            // Left to the first append, which names it.
            log.tail.size = u64::MAX;
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

    /// Writes lines at the end of the chain, under the lock.
    fn add(&mut self, records: &[(&Record, Timestamp)]) -> Result<Vec<(u64, Hash)>, LogError> {
        if let Some(errno) = self.broken {
            return Err(failed("sync", &self.path, errno));
        }
        let file = self.file.try_clone().map_err(|error| io("open", &self.path, &error))?;
        let _lock = Lock::take(&file, &self.path)?;
        check_file(&self.file, &self.path)?;
        let mut repaired = None;
        if let (Some(torn), Some((_, at))) = (self.find_tail()?, records.first()) {
            repaired = Some((Record::repaired(&torn), *at));
        }
        self.write(records, repaired)
    }

    fn write(
        &mut self,
        records: &[(&Record, Timestamp)],
        repaired: Option<(Record, Timestamp)>,
    ) -> Result<Vec<(u64, Hash)>, LogError> {
        let mut tail = self.tail;
        let mut bytes = Vec::new();
        let mut recorded = Vec::with_capacity(records.len() + 1);
        // A torn line gets its end before the record that names it.
        bytes.extend(repaired.as_ref().map(|_| b'\n'));
        let first = repaired.as_ref().map(|(record, at)| (record, *at));
        for (record, at) in first.into_iter().chain(records.iter().copied()) {
            let line = chain::line(record, tail.seq + 1, &at.to_string(), tail.hash);
            tail = Tail { size: 0, seq: tail.seq + 1, hash: Hash::of(&line) };
            recorded.push((tail.seq, tail.hash));
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&bytes) {
            // What was written in part must not stand before the next record. Where it stays, it is a torn line.
            let _ = self.file.set_len(self.tail.size);
            return Err(io("append to", &self.path, &error));
        }
        self.tail = Tail { size: self.tail.size + bytes.len() as u64, ..tail };
        Ok(recorded.split_off(usize::from(repaired.is_some())))
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
        let start = size.saturating_sub(2 * MAX_LINE);
        let mut end = Vec::new();
        let read = |end: &mut Vec<u8>| {
            end.resize(usize::try_from(size - start).unwrap_or(usize::MAX), 0);
            self.file.read_exact_at(end, start)
        };
        read(&mut end).map_err(|error| io("read", &self.path, &error))?;

        let complete = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let torn = end.split_off(complete);
        let torn = (!torn.is_empty()).then_some(torn);
        let corrupt = || LogError::Corrupt { path: self.path.clone() };
        let (seq, hash) = match end.strip_suffix(b"\n") {
            // A torn line and nothing before it.
            None if start == 0 => (0, Hash::START),
            None => return Err(corrupt()),
            Some(lines) => {
                let from = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                if from == 0 && start > 0 {
                    return Err(corrupt());
                }
                let last = lines.get(from..).unwrap_or_default();
                let line: Line = serde_json::from_slice(last).map_err(|_| corrupt())?;
                (line.seq, Hash::of(last))
            }
        };
        self.tail = Tail { size, seq, hash };
        Ok(torn)
    }
}

/// The lock of the file, given back when dropped.
struct Lock<'a>(&'a File);

impl<'a> Lock<'a> {
    fn take(file: &'a File, path: &Path) -> Result<Self, LogError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => return Err(io("lock", path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path: path.to_owned() }),
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // The lock also ends with the last descriptor; there is nothing else to do about a failure.
        let _ = self.0.unlock();
    }
}

/// Reads the key, or makes it. The log's lock is held.
fn read_or_make_key(directory: &File, dir: &Path) -> Result<Key, LogError> {
    const NEW: &str = "key.new";
    let path = dir.join(KEY_FILE);
    let mut bytes = Zeroizing::new([0; 32]);
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match openat(directory, KEY_FILE, flags, Mode::empty()) {
        Ok(fd) => {
            let mut file = File::from(fd);
            check_file(&file, &path)?;
            file.read_exact(bytes.as_mut_slice()).map_err(|error| io("read", &path, &error))?;
        }
        Err(Errno::ENOENT) => {
            getrandom::fill(bytes.as_mut_slice()).map_err(|_| failed("make", &path, Errno::EIO))?;
            // A leftover of a crash; made anew, so that nobody can have it open.
            let _ = unlinkat(directory, NEW, UnlinkatFlags::NoRemoveDir);
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let new = openat(directory, NEW, flags, Mode::from_bits_truncate(0o600))
                .map_err(|errno| failed("create", &path, errno))?;
            let mut new = File::from(new);
            new.write_all(bytes.as_slice())
                .and_then(|()| new.sync_all())
                .map_err(|error| io("write", &path, &error))?;
            renameat(directory, NEW, directory, KEY_FILE).map_err(|errno| failed("create", &path, errno))?;
            directory.sync_all().map_err(|error| io("sync", dir, &error))?;
        }
        Err(errno) => return Err(failed("open", &path, errno)),
    }
    Ok(Key::new(bytes))
}

/// Opens the log of `dir` to read it.
pub(in crate::audit) fn open_to_read(dir: &Path) -> Result<(File, PathBuf), LogError> {
    let path = dir.join(LOG_FILE);
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd: OwnedFd = open(&path, flags, Mode::empty()).map_err(|errno| failed("open", &path, errno))?;
    let file = File::from(fd);
    if !file.metadata().map_err(|error| io("read", &path, &error))?.is_file() {
        return Err(LogError::Unsafe { path, what: "is not a regular file" });
    }
    Ok((file, path))
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
mod tests;
