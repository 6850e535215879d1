//! Checks a log against its own chain: an edit, a gap, a cut in the middle, a changed order.
//!
//! A removed tail, or a chain rewritten from some point to the end, does not show here: compare [`Report::head`] with
//! one that was kept elsewhere.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::chain::{Hash, Line};
use super::log::{LogError, MAX_LINE, io, open_to_read};
use super::record::REPAIRED;

/// Most problems that are listed.
const MAX_PROBLEMS: usize = 100;

/// What a log holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Records that could be read.
    pub records: u64,
    /// Time of the first.
    pub first: Option<String>,
    /// Time of the last.
    pub last: Option<String>,
    /// Hash of the last line, hex: keep it elsewhere, and a removed tail shows.
    pub head: Option<String>,
    /// Every place where the chain does not hold; at most the first hundred.
    pub problems: Vec<Problem>,
}

/// A place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads the log in `dir` from its first line to its last.
///
/// # Errors
///
/// When it cannot be read; what does not hold in it is in the report.
pub fn verify(dir: &Path) -> Result<Report, LogError> {
    let (file, path) = open_to_read(dir)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut check =
        Check { report: Report::default(), line: 0, seq: 0, hash: Hash::START, doubtful: None, before: None };
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(MAX_LINE);
        bounded.read_until(b'\n', &mut line).map_err(|error| io("read", &path, &error))?;
        if line.is_empty() {
            break;
        }
        let whole = line.last() == Some(&b'\n');
        if whole {
            line.pop();
        }
        check.line(&line, whole);
    }
    Ok(check.finish())
}

struct Check {
    report: Report,
    line: u64,
    seq: u64,
    hash: Hash,
    /// A line that is no record, unless the next one says that it was torn by a crash.
    doubtful: Option<(u64, Hash)>,
    /// The chain as it stood before the last record: a torn line may lack nothing but its newline.
    before: Option<(u64, Hash)>,
}

impl Check {
    fn line(&mut self, text: &[u8], whole: bool) {
        self.line += 1;
        let hash = Hash::of(text);
        let record = if whole { serde_json::from_slice::<Line>(text).ok() } else { None };
        let doubtful = self.doubtful.take();
        let Some(record) = record else {
            self.no_record(doubtful);
            if whole {
                self.doubtful = Some((self.line, hash));
            } else {
                self.problem(
                    self.line,
                    "the last line is torn: a crash, or a cut; the next record will name it".into(),
                );
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
                    self.problem(self.line, "names a torn line that does not stand before it".into());
                }
            }
        } else {
            self.no_record(doubtful);
        }
        if record.seq > self.seq + 1 {
            let missing = if record.seq == self.seq + 2 {
                format!("record {} is missing", self.seq + 1)
            } else {
                format!("records {} to {} are missing", self.seq + 1, record.seq - 1)
            };
            self.problem(self.line, missing);
        } else if record.seq <= self.seq {
            self.problem(self.line, format!("record {} comes after record {}", record.seq, self.seq));
        }
        if record.prev != self.hash.to_string() {
            let what = format!(
                "does not follow from the record before it: record {} or {} was changed",
                self.seq, record.seq
            );
            self.problem(self.line, what);
        }
        self.report.records += 1;
        self.report.first.get_or_insert_with(|| record.time.clone());
        self.report.last = Some(record.time);
        self.report.head = Some(hash.to_string());
        self.before = Some((self.seq, self.hash));
        (self.seq, self.hash) = (record.seq, hash);
    }

    fn finish(mut self) -> Report {
        let doubtful = self.doubtful.take();
        self.no_record(doubtful);
        self.report
    }

    fn no_record(&mut self, doubtful: Option<(u64, Hash)>) {
        if let Some((line, _)) = doubtful {
            self.problem(line, "is no record".into());
        }
    }

    fn problem(&mut self, line: u64, what: String) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { line, what });
        }
    }
}
