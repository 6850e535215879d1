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

/// Said of a command whose diary is not as it was written.
pub(super) const DAMAGED: &str =
    "execward was restarted, and what it had written down of this command is damaged: it was ended";

/// Said of a command of which too little is written down.
pub(super) const LACKS: &str =
    "execward was restarted, and what it had written down of this command is not all there: it was ended";

/// What a diary is called that could not be written any more.
pub(super) const BROKEN: &str = "broken";

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
        if written.is_ok() {
            self.size += bytes as u64;
        }
        if let Err(error) = written {
            self.broken = true;
            tracing::warn!(%error, "a command would not survive execward's end: its diary cannot be written");
            // To cut and to rename takes no room.
            let _ = self.file.set_len(self.size.min(self.head.len() as u64));
            let _ = std::fs::rename(&self.path, self.path.with_extension(BROKEN));
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
}

/// Leaves nothing of a diary.
pub(super) fn remove(path: &Path) {
    // It may be gone with its session.
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(path.with_extension(BROKEN));
}

/// Keeps a copy of a diary that is not as it was written, for whoever looks into it: what goes on with it cuts it.
pub(super) fn set_aside(path: &Path) -> PathBuf {
    let to = path.with_extension("damaged");
    let _ = std::fs::copy(path, &to);
    to
}

/// What reads of a diary.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    /// Bytes of it.
    pub(super) size: u64,
    /// Why what comes behind does not, where it is not only cut off.
    pub(super) damage: Option<&'static str>,
}

/// Reads one.
///
/// # Errors
/// Of open(2) and read(2).
pub(super) fn read(path: &Path) -> io::Result<Read> {
    let bytes = std::fs::read(path)?;
    let (mut rest, mut entries) = (bytes.as_slice(), Vec::new());
    let damage = loop {
        match decode(rest) {
            Decoded::Entry(entry, behind) => {
                entries.push(*entry);
                rest = behind;
            }
            Decoded::CutOff => break None,
            Decoded::Damaged(what) => break Some(what),
        }
    };
    Ok(Read { entries, size: (bytes.len() - rest.len()) as u64, damage })
}

/// Bytes before an entry: the lengths of its JSON and of its data, and the CRC-32 of all but itself, u32 each.
const HEADER: usize = 12;

fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let data = match entry {
        Entry::Output { data, .. } => data.as_slice(),
        _ => &[],
    };
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    // Our own types hold nothing that JSON cannot.
    if serde_json::to_writer(&mut *out, entry).is_err() {
        out.truncate(start);
        return;
    }
    let json = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(data);
    let sum = checksum(json, length, out.get(start + HEADER..).unwrap_or_default());
    if let Some(header) = out.get_mut(start..start + HEADER) {
        for (part, number) in header.chunks_exact_mut(4).zip([json, length, sum]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
    }
}

fn checksum(json: u32, length: u32, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&json.to_le_bytes());
    sum.update(&length.to_le_bytes());
    sum.update(body);
    sum.finalize()
}

/// What stands at the beginning of some bytes.
enum Decoded<'a> {
    Entry(Box<Entry>, &'a [u8]),
    CutOff,
    Damaged(&'static str),
}

fn decode(bytes: &[u8]) -> Decoded<'_> {
    let number = |at: usize| {
        let four = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*four))
    };
    let (Some(json), Some(length), Some(sum)) = (number(0), number(4), number(8)) else {
        return Decoded::CutOff;
    };
    let rest = bytes.get(HEADER..).unwrap_or_default();
    let Some((body, behind)) = rest.split_at_checked(json as usize + length as usize) else {
        return Decoded::CutOff;
    };
    if checksum(json, length, body) != sum {
        return Decoded::Damaged("an entry is not as it was written");
    }
    let (json, bytes) = body.split_at(json as usize);
    match serde_json::from_slice(json) {
        Ok(Entry::Output { seq, stream, mark, .. }) => {
            Decoded::Entry(Box::new(Entry::Output { seq, stream, mark, data: bytes.to_vec() }), behind)
        }
        Ok(entry) => Decoded::Entry(Box::new(entry), behind),
        Err(_) => Decoded::Damaged("an entry is none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Entry {
        let asked = serde_json::json!({"id": "a", "command": {"argv": ["true"]}});
        Entry::Asked(Box::new(Asked {
            asked: serde_json::from_value(asked).unwrap(),
            request_id: serde_json::from_value("0".repeat(32).into()).unwrap(),
            display: "true".to_owned(),
            started: 1,
            pid: 1,
        }))
    }

    fn output(seq: u64, data: &[u8]) -> Entry {
        Entry::Output { seq, stream: Stream::Stdout, mark: Some(Mark::end(seq, 0)), data: data.to_vec() }
    }

    #[test]
    fn what_was_cut_off_is_not_read_and_the_rest_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let mut diary = Diary::begin(path.clone(), &[asked()]).unwrap();
        diary.add(&output(1, b"abc"));
        diary.add(&output(2, &[0, 255, 10]));
        let whole = std::fs::read(&path).unwrap();
        let Read { entries: all, size, damage } = read(&path).unwrap();
        assert_eq!((all.len(), size, damage), (3, whole.len() as u64, None));
        assert_eq!(all[2], output(2, &[0, 255, 10]));
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let Read { entries: some, size, damage } = read(&path).unwrap();
            assert!(some.len() < 3 && size <= cut as u64);
            assert_eq!(some, all[..some.len()]);
            assert_eq!(damage, None, "{cut}");
        }
        // It goes on behind what reads.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let Read { entries: some, size, .. } = read(&path).unwrap();
        let mut diary = Diary::go_on(path.clone(), &some[..1], size).unwrap();
        diary.add(&output(3, b"later"));
        assert_eq!(read(&path).unwrap().entries, [all[0].clone(), all[1].clone(), output(3, b"later")]);
    }

    #[test]
    fn no_bit_of_it_can_be_another() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let mut diary = Diary::begin(path.clone(), &[asked()]).unwrap();
        diary.add(&output(1, b"abc"));
        let whole = std::fs::read(&path).unwrap();
        let (all, mut lengths) = (read(&path).unwrap().entries, 0);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            let Read { entries: some, damage, .. } = read(&path).unwrap();
            assert!(some.len() < all.len() && some == all[..some.len()], "{bit}");
            // A length that is longer looks as if its end were cut off; no entry is made up.
            lengths += usize::from(damage.is_none());
        }
        assert!(lengths <= all.len() * 64, "{lengths}");
    }

    #[test]
    fn one_that_cannot_be_written_any_more_says_so_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let mut diary = Diary::begin(path.clone(), &[asked()]).unwrap();
        diary.add(&output(1, b"abc"));
        diary.written(3, Err(io::ErrorKind::StorageFull.into()));
        diary.add(&output(2, b"more"));
        assert!(!path.exists());
        let read = read(&path.with_extension(BROKEN)).unwrap();
        assert_eq!((read.entries, read.damage), (vec![asked()], None));
        remove(&path);
        assert!(std::fs::read_dir(place.path()).unwrap().next().is_none());
    }

    #[test]
    fn one_that_is_written_anew_begins_as_before() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1.diary");
        let first = asked();
        let mut diary = Diary::begin(path.clone(), std::slice::from_ref(&first)).unwrap();
        assert!(!diary.is_long(0));
        (0..100).for_each(|seq| diary.add(&output(seq, &[b'x'; 1000])));
        assert!(diary.is_long(1000) && !diary.is_long(100_000));
        diary.write_anew([output(100, b"last")]);
        diary.add(&output(101, b"more"));
        assert_eq!(read(&path).unwrap().entries, [first, output(100, b"last"), output(101, b"more")]);
        remove(&path);
        assert!(std::fs::read_dir(place.path()).unwrap().next().is_none());
    }
}
