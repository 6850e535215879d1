//! Reading a log: every line of every file, oldest first, and what is appended while one looks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Take};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::chain::Line;
use super::log::{self, LOG_FILE, LogError, MAX_LINE, io};

/// How long a writer is waited for, so that a line is not read while half of it is there.
const WAIT: Duration = Duration::from_millis(500);

/// How much of a log is looked at for its last lines.
const WINDOW: u64 = 4 * MAX_LINE;

/// A line as it stands in a file.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The file.
    pub file: Arc<Path>,
    /// Its number there, from 1.
    pub number: u64,
    /// Its bytes, without the newline.
    pub text: Vec<u8>,
    /// It has a newline.
    pub whole: bool,
}

impl Raw {
    /// The record, where it is one.
    pub fn record(&self) -> Option<Line> {
        if self.whole { serde_json::from_slice(&self.text).ok() } else { None }
    }
}

/// The lines of a log, as long as it was when they were asked for.
#[derive(Debug)]
pub struct Lines {
    files: VecDeque<(PathBuf, Option<File>)>,
    current: Option<(Arc<Path>, BufReader<Take<File>>)>,
    number: u64,
}

impl Lines {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let (before, file, path) = log::all(dir)?;
        let files = before.into_iter().map(|path| (path, None)).chain([(path, Some(file))]).collect();
        Ok(Self { files, current: None, number: 0 })
    }

    fn next_line(&mut self) -> Result<Option<Raw>, LogError> {
        loop {
            if let Some((path, reader)) = &mut self.current {
                let mut text = Vec::new();
                let mut bounded = reader.take(MAX_LINE);
                bounded.read_until(b'\n', &mut text).map_err(|error| io("read", path, &error))?;
                if !text.is_empty() {
                    self.number += 1;
                    let whole = text.last() == Some(&b'\n');
                    if whole {
                        text.pop();
                    }
                    return Ok(Some(Raw { file: Arc::clone(path), number: self.number, text, whole }));
                }
            }
            let Some((path, file)) = self.files.pop_front() else { return Ok(None) };
            let file = match file {
                Some(file) => file,
                None => log::open_to_read(&path)?,
            };
            let length = settled_length(&file).map_err(|error| io("read", &path, &error))?;
            self.number = 0;
            self.current = Some((path.into(), BufReader::with_capacity(1 << 18, file.take(length))));
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Raw, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// The length of a file while nobody is in the middle of writing a line. A writer that takes long is not waited for.
fn settled_length(file: &File) -> std::io::Result<u64> {
    let deadline = std::time::Instant::now() + WAIT;
    while file.try_lock_shared().is_err() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(200));
    }
    let length = file.metadata().map(|metadata| metadata.len());
    let _ = file.unlock();
    length
}

/// Reads what is appended to a log, from its end on, over files that are put aside.
#[derive(Debug)]
pub struct Follow {
    dir: PathBuf,
    file: File,
    ino: u64,
    at: u64,
}

impl Follow {
    /// Begins at the end of the log in `dir`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn end(dir: &Path) -> Result<Self, LogError> {
        let (file, ino, _) = Self::open(dir)?;
        let path = dir.join(LOG_FILE);
        let at = settled_length(&file).map_err(|error| io("read", &path, &error))?;
        Ok(Self { dir: dir.to_owned(), file, ino, at })
    }

    /// The last `lines` lines of the newest file, as far as 4 MiB hold them, and a reader that begins after them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn after_last(dir: &Path, lines: usize) -> Result<(Vec<Vec<u8>>, Self), LogError> {
        let mut follow = Self::end(dir)?;
        let start = follow.at.saturating_sub(WINDOW);
        follow.at = start;
        let mut last = follow.read()?;
        let cut = usize::from(start > 0).max(last.len().saturating_sub(lines));
        last.drain(..cut.min(last.len()));
        Ok((last, follow))
    }

    fn open(dir: &Path) -> Result<(File, u64, u64), LogError> {
        let path = dir.join(LOG_FILE);
        let file = log::open_to_read(&path)?;
        let metadata = file.metadata().map_err(|error| io("read", &path, &error))?;
        Ok((file, metadata.ino(), metadata.len()))
    }

    /// The whole lines that have been appended since it was last asked.
    ///
    /// # Errors
    /// When the log cannot be read any more.
    pub fn appended(&mut self) -> Result<Vec<Vec<u8>>, LogError> {
        let next = match Self::open(&self.dir) {
            Ok((file, ino, _)) if ino != self.ino => Some((file, ino)),
            // Between two files there is a moment with none.
            Ok(_) | Err(_) => None,
        };
        let mut lines = self.read()?;
        if let Some((file, ino)) = next {
            (self.file, self.ino, self.at) = (file, ino, 0);
            lines.extend(self.read()?);
        }
        Ok(lines)
    }

    fn read(&mut self) -> Result<Vec<Vec<u8>>, LogError> {
        let failed = |error: std::io::Error| io("read", &self.dir, &error);
        self.file.seek(SeekFrom::Start(self.at)).map_err(failed)?;
        let mut bytes = Vec::new();
        (&self.file).take(16 * MAX_LINE).read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        self.at += whole as u64;
        Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Vec<u8>>) -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8(line).expect("text")).collect()
    }

    #[test]
    fn the_last_lines_and_then_what_is_new() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(LOG_FILE);
        std::fs::write(&path, "1\n2\n3\nhalf").expect("written");
        let (last, mut follow) = Follow::after_last(directory.path(), 2).expect("it reads");
        assert_eq!(texts(last), ["2", "3"]);
        std::fs::write(&path, "1\n2\n3\nhalf and whole\n").expect("written");
        assert_eq!(texts(follow.appended().expect("it reads")), ["half and whole"]);
        // The file is put aside, with a last line that was not seen yet, and another takes its place.
        std::fs::write(&path, "1\n2\n3\nhalf and whole\n5\n").expect("written");
        std::fs::rename(&path, directory.path().join("aside")).expect("put aside");
        std::fs::write(&path, "6\n").expect("written");
        assert_eq!(texts(follow.appended().expect("it reads")), ["5", "6"]);
    }
}
