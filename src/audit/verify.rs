//! Checks a log against its own chain, and against checkpoints: an edit, a gap, a cut, a changed order.
//!
//! The chain alone shows what was changed in its middle. A removed tail, and a chain that was rewritten from some point
//! on by somebody who can compute hashes, show against a checkpoint that was kept elsewhere.

use std::path::Path;
use std::sync::Arc;

use super::chain::{Hash, Line};
use super::checkpoint::{Checkpoint, PublicKey};
use super::log::{self, LogError};
use super::read::{Lines, Raw};
use super::record::{CHECKPOINT, REPAIRED};

/// Most problems that are listed.
const MAX_PROBLEMS: usize = 100;

/// What a log is held against, besides itself.
#[derive(Debug, Clone, Default)]
pub struct Against {
    /// Checkpoints that were kept elsewhere.
    pub checkpoints: Vec<Checkpoint>,
    /// The key that must have signed them; where none is given, the log's own.
    pub key: Option<PublicKey>,
    /// The oldest records may be elsewhere: the log may begin in its middle.
    pub partial: bool,
}

/// What a log holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Records that could be read.
    pub records: u64,
    /// Files that they stand in.
    pub files: u64,
    /// Number of the first.
    pub from: Option<u64>,
    /// Number of the last.
    pub to: Option<u64>,
    /// Time of the first.
    pub first: Option<String>,
    /// Time of the last.
    pub last: Option<String>,
    /// Hash of the last line, hex.
    pub head: Option<String>,
    /// Checkpoints, inside the log and from elsewhere, that hold.
    pub checkpoints: u64,
    /// The last record that a checkpoint from elsewhere vouches for: up to it, nothing was removed or rewritten.
    pub vouched: Option<u64>,
    /// Every place where something does not hold; at most the first hundred.
    pub problems: Vec<Problem>,
}

/// A place where something does not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file's name; empty where it is not one line's problem.
    pub file: String,
    /// Line in the file, from 1; 0 where it is not one line's problem.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads the log in `dir` from its first line to its last, and holds it against nothing but itself.
///
/// # Errors
///
/// When it cannot be read; what does not hold in it is in the report.
pub fn verify(dir: &Path) -> Result<Report, LogError> {
    verify_against(dir, &Against::default())
}

/// Reads the log in `dir` from its first line to its last.
///
/// # Errors
///
/// When it cannot be read; what does not hold in it is in the report.
pub fn verify_against(dir: &Path, against: &Against) -> Result<Report, LogError> {
    let lines = Lines::open(dir)?;
    let key = match against.key {
        Some(key) => Some(key),
        None => log::public_key(dir)?,
    };
    let mut check = Check::new(against, key);
    for line in lines {
        check.line(&line?);
    }
    Ok(check.finish())
}

/// Where a line stands.
type Place = (Arc<Path>, u64);

struct Check<'a> {
    report: Report,
    against: &'a Against,
    key: Option<PublicKey>,
    /// Checkpoints from elsewhere that are believed, by record; each with whether it was met.
    kept: Vec<(u64, Hash, bool)>,
    file: Option<Arc<Path>>,
    seq: u64,
    hash: Hash,
    /// A line that is no record, unless the next one says that it was torn by a crash.
    doubtful: Option<(Place, Hash)>,
    /// The chain as it stood before the last record: a torn line may lack nothing but its newline.
    before: Option<(u64, Hash)>,
}

impl<'a> Check<'a> {
    fn new(against: &'a Against, key: Option<PublicKey>) -> Self {
        let mut check = Self {
            report: Report::default(),
            against,
            key,
            kept: Vec::new(),
            file: None,
            seq: 0,
            hash: Hash::START,
            doubtful: None,
            before: None,
        };
        for checkpoint in &against.checkpoints {
            match checkpoint.check(key) {
                Ok(hash) => check.kept.push((checkpoint.seq, hash, false)),
                Err(error) => {
                    check.problem(None, format!("the checkpoint for record {} {error}", checkpoint.seq));
                }
            }
        }
        check
    }

    fn line(&mut self, raw: &Raw) {
        let place = (Arc::clone(&raw.file), raw.number);
        if self.file.as_ref() != Some(&raw.file) {
            self.file = Some(Arc::clone(&raw.file));
            self.report.files += 1;
        }
        let hash = Hash::of(&raw.text);
        let doubtful = self.doubtful.take();
        let Some(record) = raw.record() else {
            self.no_record(doubtful);
            if raw.whole {
                self.doubtful = Some((place, hash));
            } else {
                let what = "the last line is torn: a crash, or a cut; the next record will name it";
                self.problem(Some(&place), what.to_owned());
            }
            return;
        };
        if record.kind == REPAIRED {
            let torn = record.body.get("torn_sha256").and_then(|torn| torn.as_str()).unwrap_or_default();
            match (doubtful, self.before) {
                (Some((_, hash)), _) if torn == hash.to_string() => {}
                (None, Some(before)) if torn == self.hash.to_string() => {
                    (self.seq, self.hash) = before;
                    self.report.records -= 1;
                }
                (doubtful, _) => {
                    self.no_record(doubtful);
                    self.problem(Some(&place), "names a torn line that does not stand before it".to_owned());
                }
            }
        } else {
            self.no_record(doubtful);
        }
        let begins = self.report.records == 0 && self.report.from.is_none();
        if begins && self.against.partial && record.seq > 1 {
            // What it names as the one before is taken on trust, unless a checkpoint knows better.
            self.seq = record.seq - 1;
            self.hash = Hash::from_hex(&record.prev).unwrap_or(Hash::START);
            self.meet();
        }
        self.follows(&place, &record);
        if record.kind == CHECKPOINT {
            self.own_checkpoint(&place, &record);
        }
        self.report.records += 1;
        self.report.from.get_or_insert(record.seq);
        self.report.to = Some(record.seq);
        self.report.first.get_or_insert_with(|| record.time.clone());
        self.report.last = Some(record.time);
        self.report.head = Some(hash.to_string());
        self.before = Some((self.seq, self.hash));
        (self.seq, self.hash) = (record.seq, hash);
        self.meet();
    }

    /// Holds a record's number and hash against the one before it.
    fn follows(&mut self, place: &Place, record: &Line) {
        if record.seq > self.seq + 1 {
            let missing = if record.seq == self.seq + 2 {
                format!("record {} is missing", self.seq + 1)
            } else {
                format!("records {} to {} are missing", self.seq + 1, record.seq - 1)
            };
            self.problem(Some(place), missing);
        } else if record.seq <= self.seq {
            self.problem(Some(place), format!("record {} comes after record {}", record.seq, self.seq));
        }
        if record.prev != self.hash.to_string() {
            let what = format!(
                "does not follow from the record before it: record {} or {} was changed",
                self.seq, record.seq
            );
            self.problem(Some(place), what);
        }
    }

    /// A checkpoint in the log speaks of the record before it.
    fn own_checkpoint(&mut self, place: &Place, record: &Line) {
        let said = serde_json::from_value::<Checkpoint>(record.body.clone());
        let what = match said.as_ref().map(|it| (it, it.check(self.key))) {
            Err(_) => "is a checkpoint that cannot be read".to_owned(),
            Ok((_, Err(error))) => format!("is a checkpoint that {error}"),
            Ok((said, Ok(_))) if said.time != record.time => {
                "is a checkpoint of another time than its record says".to_owned()
            }
            Ok((said, Ok(hash))) if (said.seq, hash) != (self.seq, self.hash) => {
                format!("is a checkpoint that vouches for another record {} than the one before it", said.seq)
            }
            Ok(_) => {
                self.report.checkpoints += 1;
                return;
            }
        };
        self.problem(Some(place), what);
    }

    /// Holds the chain as it stands now against what was kept elsewhere.
    fn meet(&mut self) {
        let (seq, hash) = (self.seq, self.hash);
        let mut wrong = false;
        for (kept, expected, met) in &mut self.kept {
            if *kept == seq && !*met {
                *met = true;
                if *expected == hash {
                    self.report.checkpoints += 1;
                    self.report.vouched = self.report.vouched.max(Some(seq));
                } else {
                    wrong = true;
                }
            }
        }
        if wrong {
            let what = format!(
                "record {seq} is not the one that the checkpoint vouches for: the chain was rewritten"
            );
            self.problem(None, what);
        }
    }

    fn finish(mut self) -> Report {
        let doubtful = self.doubtful.take();
        self.no_record(doubtful);
        let missed: Vec<u64> = self.kept.iter().filter(|(.., met)| !met).map(|(seq, ..)| *seq).collect();
        for seq in missed {
            let what = if seq > self.seq {
                format!(
                    "the log ends with record {}, and the checkpoint vouches for record {seq}: its tail was removed",
                    self.seq
                )
            } else {
                format!("record {seq}, which the checkpoint vouches for, is not in the log")
            };
            self.problem(None, what);
        }
        self.report
    }

    fn no_record(&mut self, doubtful: Option<(Place, Hash)>) {
        if let Some((place, _)) = doubtful {
            self.problem(Some(&place), "is no record".into());
        }
    }

    fn problem(&mut self, place: Option<&Place>, what: String) {
        if self.report.problems.len() < MAX_PROBLEMS {
            let file = place.and_then(|(file, _)| file.file_name()).unwrap_or_default();
            let file = file.to_string_lossy().into_owned();
            self.report.problems.push(Problem { file, line: place.map_or(0, |(_, line)| *line), what });
        }
    }
}
