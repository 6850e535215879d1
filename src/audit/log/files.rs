//! The files of a log: the one that is written, and those that were before it.
//!
//! A file that is full gets a name with the number of its last record, `audit-000000012345.jsonl`, and is never touched
//! again; the next file begins with a record that names it. The chain goes on over all of them.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{LOG_FILE, LogError, MAX_LINE, check_file, failed, io};
use crate::audit::chain::{Hash, Line};

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Size of the file; [`Tail::UNKNOWN`] where it must be looked at.
    pub(super) size: u64,
    /// Number of the last record; 0 where there is none.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

impl Tail {
    pub(super) const UNKNOWN: u64 = u64::MAX;

    pub(super) const START: Self = Self { size: Self::UNKNOWN, seq: 0, hash: Hash::START };
}

/// The name of a file whose last record has this number.
pub(super) fn name(last: u64) -> String {
    format!("audit-{last:012}.jsonl")
}

/// The files that were full, oldest first, with the number of the last record of each.
pub(in crate::audit) fn full(dir: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let entries = std::fs::read_dir(dir).map_err(|error| io("list", dir, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io("list", dir, &error))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"));
        if let Some(last) = number.and_then(|number| number.parse().ok()) {
            files.push((last, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// Opens the file that is written, to read it, and lists those before it.
///
/// A file that becomes full in between is not missed, and not read twice.
pub fn all(dir: &Path) -> Result<(Vec<PathBuf>, File, PathBuf), LogError> {
    let path = dir.join(LOG_FILE);
    let file = open_to_read(&path)?;
    let own = file.metadata().map_err(|error| io("read", &path, &error))?.ino();
    let before = full(dir)?
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.ino() != own))
        .collect();
    Ok((before, file, path))
}

/// Opens a file of the log to read it.
pub(in crate::audit) fn open_to_read(path: &Path) -> Result<File, LogError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?);
    if !file.metadata().map_err(|error| io("read", path, &error))?.is_file() {
        return Err(LogError::Unsafe { path: path.to_owned(), what: "is not a regular file" });
    }
    Ok(file)
}

/// The end of the newest file that was full.
pub(super) fn tail_before(dir: &Path) -> Result<Tail, LogError> {
    let Some((_, path)) = full(dir)?.pop() else { return Ok(Tail::START) };
    let file = open_to_read(&path)?;
    check_file(&file, &path)?;
    let size = file.metadata().map_err(|error| io("read", &path, &error))?.len();
    match last_line(&file, &path, size)? {
        (Some(tail), None) => Ok(Tail { size: 0, ..tail }),
        _ => Err(LogError::Corrupt { path }),
    }
}

/// The last whole line, where there is one, and what stands after it.
pub(super) type End = (Option<Tail>, Option<Vec<u8>>);

/// The last whole line of a file of this size, and what stands after it: a line that a crash tore.
pub(super) fn last_line(file: &File, path: &Path, size: u64) -> Result<End, LogError> {
    // Nearly every record is short; only where one is not, all that a line may be is read.
    match last_line_within(SHORT, file, path, size)? {
        Some(end) => Ok(end),
        None => last_line_within(2 * MAX_LINE, file, path, size)?
            .ok_or_else(|| LogError::Corrupt { path: path.to_owned() }),
    }
}

/// What most records and what a crash may leave of one fit into.
const SHORT: u64 = 32 * 1024;

/// The last whole line and what stands after it; `None` where its beginning is not within the last `window` bytes.
fn last_line_within(window: u64, file: &File, path: &Path, size: u64) -> Result<Option<End>, LogError> {
    let start = size.saturating_sub(window);
    let mut end = vec![0; usize::try_from(size - start).map_err(|_| failed("read", path, Errno::EFBIG))?];
    file.read_exact_at(&mut end, start).map_err(|error| io("read", path, &error))?;

    let complete = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let torn = end.split_off(complete);
    let torn = (!torn.is_empty()).then_some(torn);
    let Some(lines) = end.strip_suffix(b"\n") else {
        // A torn line and nothing before it.
        return Ok((start == 0).then_some((None, torn)));
    };
    let from = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if from == 0 && start > 0 {
        return Ok(None);
    }
    let last = lines.get(from..).unwrap_or_default();
    let line: Line = serde_json::from_slice(last).map_err(|_| LogError::Corrupt { path: path.to_owned() })?;
    Ok(Some((Some(Tail { size, seq: line.seq, hash: Hash::of(last) }), torn)))
}

/// When a file was begun: the time of its first record.
pub(super) fn begun(file: &File) -> Option<jiff::Timestamp> {
    /// Enough for the fields before the body.
    const HEAD: usize = 256;
    let mut head = [0; HEAD];
    let read = file.read_at(&mut head, 0).ok()?;
    let head = std::str::from_utf8(head.get(..read)?).ok()?;
    let (_, rest) = head.split_once("\"time\":\"")?;
    rest.split_once('"')?.0.parse().ok()
}
