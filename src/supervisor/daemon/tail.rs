//! The end of the audit log, for operators who look at it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::Value;

use crate::audit::log::LOG_FILE;

/// How much of the log is looked at for its last lines, and at once for what is new.
const WINDOW: u64 = 4 << 20;

/// The last records, and where the log ends.
pub(super) fn last(directory: &Path, lines: usize) -> io::Result<(Vec<Value>, u64)> {
    let file = File::open(directory.join(LOG_FILE))?;
    let end = file.metadata()?.len();
    let start = end.saturating_sub(WINDOW);
    let (mut records, end) = whole_lines(&file, start, end, start > 0)?;
    records.drain(..records.len().saturating_sub(lines));
    Ok((records, end))
}

/// What was appended after `start`, and where that ends.
pub(super) fn since(directory: &Path, start: u64) -> io::Result<(Vec<Value>, u64)> {
    let file = File::open(directory.join(LOG_FILE))?;
    let end = file.metadata()?.len();
    whole_lines(&file, start, end.min(start + WINDOW), false)
}

/// The whole lines between two places; the first is left out where it may be cut.
fn whole_lines(file: &File, start: u64, end: u64, cut: bool) -> io::Result<(Vec<Value>, u64)> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    bytes.truncate(whole);
    let records = bytes
        .split(|&byte| byte == b'\n')
        .skip(usize::from(cut))
        .filter(|line| !line.is_empty())
        // A line that is no record is `audit verify`'s to find.
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    Ok((records, start + whole as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_and_then_what_is_new() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(LOG_FILE);
        std::fs::write(&path, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"half\"").expect("written");
        let (records, end) = last(directory.path(), 2).expect("it reads");
        assert_eq!(records, [serde_json::json!({"n": 2}), serde_json::json!({"n": 3})]);
        std::fs::write(&path, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"half\":0}\n").expect("written");
        let (records, _) = since(directory.path(), end).expect("it reads");
        assert_eq!(records, [serde_json::json!({"half": 0})]);
    }
}
