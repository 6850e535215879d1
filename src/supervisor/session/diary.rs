//! What is written down of a command while it goes on, so that another supervisor can go on with it.
//!
//! A diary is a file of entries, each written before anybody is told what it says: what was asked for, that it was let go and
//! under which record, what it wrote (masked, in the numbered chunks that readers get), and its end. One that has grown far
//! beyond what is still kept of the output is written anew. What is cut off at its end was told nobody.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::keepsake::create;
use crate::redact::Mark;
use crate::wire::rpc::{self, RequestId, StartExec};
use crate::wire::runner::Stream;

/// How much longer than twice the output that is kept a diary may be.
const SLACK: u64 = 64 << 10;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// The first one.
    Asked(Box<Asked>),
    /// It is about to be executed. Whether it was, its runner knows.
    Going(Box<Going>),
    /// It wrote something, which was masked.
    Output {
        /// The chunk in which a reader gets it; 0 where it is not kept in chunks.
        seq: u64,
        stream: Stream,
        /// From where what follows is masked. That of an earlier entry, where there is none.
        mark: Option<Mark>,
        /// Not in the entry itself.
        #[serde(skip)]
        data: Vec<u8>,
    },
    /// It wrote more than is kept.
    Skipped { stream: Stream, bytes: u64 },
    /// It is over.
    Ended { report: Box<rpc::Report>, refused: Option<Box<rpc::Error>> },
}

/// What a command was named with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) asked: StartExec,
    pub(super) request_id: RequestId,
    pub(super) display: String,
    /// Milliseconds since the epoch.
    pub(super) started: i64,
    /// Process id of its requester.
    pub(super) pid: i32,
}

/// What is known of a command that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Going {
    /// The number of the record that let it go.
    pub(super) decision: u64,
    /// What there would be to say if it were lost now.
    pub(super) report: rpc::Report,
    pub(super) timeout_ms: u64,
    pub(super) grace_ms: u64,
    /// Its shell says how it leaves.
    pub(super) keeps: bool,
    /// It was given secrets, which are not written down.
    pub(super) given: bool,
    /// Values that its output must not show, by their names: what its requester gave it.
    pub(super) secrets: Vec<(String, Vec<u8>)>,
}

/// A diary that is being written.
#[derive(Debug)]
pub(super) struct Diary {
    path: PathBuf,
    file: File,
    size: u64,
    /// What it begins with, for writing it anew.
    head: Vec<u8>,
    /// Something could not be written. Nothing more is: a gap would be taken for the truth.
    broken: bool,
}

impl Diary {
    /// Begins one.
    ///
    /// # Errors
    /// Of open(2) and write(2).
    pub(super) fn begin(path: PathBuf, entries: &[Entry]) -> io::Result<Self> {
        let mut head = Vec::new();
        entries.iter().for_each(|entry| encode(entry, &mut head));
        let mut file = create(&path)?;
        file.write_all(&head)?;
        Ok(Self { path, file, size: head.len() as u64, head, broken: false })
    }

    /// Goes on with one that another supervisor has left, of which this much reads.
    ///
    /// # Errors
    /// Of open(2) and ftruncate(2).
    pub(super) fn go_on(path: PathBuf, begins: &[Entry], size: u64) -> io::Result<Self> {
        let mut head = Vec::new();
        begins.iter().for_each(|entry| encode(entry, &mut head));
        let file = File::options().append(true).open(&path)?;
        file.set_len(size)?;
        Ok(Self { path, file, size, head, broken: false })
    }

    /// Writes an entry that belongs to its beginning.
    pub(super) fn add_to_head(&mut self, entry: &Entry) {
        let before = self.head.len();
        encode(entry, &mut self.head);
        let written = self.file.write_all(self.head.get(before..).unwrap_or_default());
        self.written(self.head.len() - before, written);
    }

    /// Writes an entry.
    pub(super) fn add(&mut self, entry: &Entry) {
        let mut bytes = Vec::new();
        encode(entry, &mut bytes);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.broken {
            let written = self.file.write_all(bytes);
            self.written(bytes.len(), written);
        }
    }

    fn written(&mut self, bytes: usize, written: io::Result<()>) {
        self.size += bytes as u64;
        if let Err(error) = written {
            self.broken = true;
            tracing::warn!(%error, "a command would not survive execward's end: its diary cannot be written");
            self.remove();
        }
    }

    /// Whether it is to be written anew, where this much of the output is kept.
    pub(super) fn is_long(&self, kept: usize) -> bool {
        !self.broken && self.size > self.head.len() as u64 + 2 * kept as u64 + SLACK
    }

    /// Writes it anew: its beginning, and these entries.
    pub(super) fn write_anew(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut bytes = self.head.clone();
        entries.into_iter().for_each(|entry| encode(&entry, &mut bytes));
        let part = self.path.with_extension("part");
        let anew = create(&part).and_then(|mut file| {
            file.write_all(&bytes)?;
            std::fs::rename(&part, &self.path)?;
            Ok(file)
        });
        match anew {
            Ok(file) => (self.file, self.size) = (file, bytes.len() as u64),
            Err(error) => self.written(0, Err(error)),
        }
    }

    /// Leaves nothing of it.
    pub(super) fn remove(&self) {
        remove(&self.path);
    }
}

/// Leaves nothing of a diary.
pub(super) fn remove(path: &Path) {
    // It may be gone with its session.
    let _ = std::fs::remove_file(path);
}

/// Everything that reads, and how many bytes that is.
pub(super) fn read(path: &Path) -> io::Result<(Vec<Entry>, u64)> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while let Some((entry, behind)) = decode(rest) {
        entries.push(entry);
        rest = behind;
    }
    Ok((entries, (bytes.len() - rest.len()) as u64))
}

/// Lengths of the JSON and of the data, both u32, then both.
fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let data = match entry {
        Entry::Output { data, .. } => data.as_slice(),
        _ => &[],
    };
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    // Our own types hold nothing that JSON cannot.
    if serde_json::to_writer(&mut *out, entry).is_err() {
        out.truncate(start);
        return;
    }
    let json = u32::try_from(out.len() - start - 8).unwrap_or(u32::MAX);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + 8) {
        header[..4].copy_from_slice(&json.to_le_bytes());
        header[4..].copy_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(data);
}

fn decode(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (json, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (json, rest) = rest.split_at_checked(u32::from_le_bytes(*json) as usize)?;
    let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let mut entry = serde_json::from_slice(json).ok()?;
    if let Entry::Output { data, .. } = &mut entry {
        *data = bytes.to_vec();
    }
    Some((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(seq: u64, data: &[u8]) -> Entry {
        Entry::Output { seq, stream: Stream::Stdout, mark: Some(Mark::end(seq, 0)), data: data.to_vec() }
    }

    #[test]
    fn what_was_cut_off_is_not_read_and_the_rest_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let mut diary =
            Diary::begin(path.clone(), &[Entry::Skipped { stream: Stream::Stderr, bytes: 3 }]).unwrap();
        diary.add(&output(1, b"abc"));
        diary.add(&output(2, &[0, 255, 10]));
        let whole = std::fs::read(&path).unwrap();
        let (all, size) = read(&path).unwrap();
        assert_eq!((all.len(), size), (3, whole.len() as u64));
        assert_eq!(all[2], output(2, &[0, 255, 10]));
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (some, size) = read(&path).unwrap();
            assert!(some.len() < 3 && size <= cut as u64);
            assert_eq!(some, all[..some.len()]);
        }
        // It goes on behind what reads.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (some, size) = read(&path).unwrap();
        let mut diary = Diary::go_on(path.clone(), &some[..1], size).unwrap();
        diary.add(&output(3, b"later"));
        assert_eq!(read(&path).unwrap().0, [all[0].clone(), all[1].clone(), output(3, b"later")]);
    }

    #[test]
    fn one_that_is_written_anew_begins_as_before() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let first = Entry::Skipped { stream: Stream::Stdout, bytes: 1 };
        let mut diary = Diary::begin(path.clone(), std::slice::from_ref(&first)).unwrap();
        assert!(!diary.is_long(0));
        (0..100).for_each(|seq| diary.add(&output(seq, &[b'x'; 1000])));
        assert!(diary.is_long(1000) && !diary.is_long(100_000));
        diary.write_anew([output(100, b"last")]);
        diary.add(&output(101, b"more"));
        assert_eq!(read(&path).unwrap().0, [first, output(100, b"last"), output(101, b"more")]);
        diary.remove();
        assert!(std::fs::read_dir(place.path()).unwrap().next().is_none());
    }
}
