//! Refusals that repeat themselves: the first few of a kind stand in the log one by one, the others are counted.
//!
//! A requester in a loop could otherwise fill the disk, and a full disk stops everybody's commands. Nothing is lost by
//! it: the record that counts names every request that it stands for, and no request is answered before that record is
//! on disk. Who floods waits a little longer for each answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Entry, Recorded};
use crate::audit::{Hash, Record};

/// So many of a kind are written in full.
const IN_FULL: u32 = 5;

/// A kind is forgotten when it was not seen for so long.
const WINDOW: Duration = Duration::from_secs(10);

/// How long refusals are gathered for one record.
const GATHER: Duration = Duration::from_millis(100);

/// Most requests that one record stands for.
const MOST: usize = 500;

/// Kinds that are known at once. Of more, each is written in full: a flood of different refusals is for the limits on
/// requests to stop.
const KINDS: usize = 1024;

/// The refusals of late.
#[derive(Debug, Default)]
pub(super) struct Floods {
    kinds: HashMap<Hash, Kind>,
    /// When what is held is to be written.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Kind {
    seen: u32,
    at: Instant,
    /// Number of the last record that was written in full; 0 where none was yet.
    of: u64,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    record: Record,
    at: Timestamp,
    answer: Recorded,
}

/// A record that counts, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) record: Record,
    pub(super) at: Timestamp,
    pub(super) answers: Vec<Recorded>,
}

impl Floods {
    /// Holds a refusal back when enough of its kind are written; gives everything else back.
    pub(super) fn hold(&mut self, entry: Entry) -> Option<Entry> {
        let Entry::Denial(record, at, answer) = entry else { return Some(entry) };
        let Some(same) = record.same() else { return Some(Entry::Denial(record, at, answer)) };
        let now = Instant::now();
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&same) {
            self.kinds.retain(|_, kind| !kind.held.is_empty() || now.duration_since(kind.at) < WINDOW);
            if self.kinds.len() >= KINDS {
                return Some(Entry::Denial(record, at, answer));
            }
        }
        let new = || Kind { seen: 0, at: now, of: 0, held: Vec::new() };
        let kind = self.kinds.entry(same).or_insert_with(new);
        if now.duration_since(kind.at) >= WINDOW && kind.held.is_empty() {
            *kind = new();
        }
        kind.at = now;
        kind.seen = kind.seen.saturating_add(1);
        // Until one of them is in the log, there is nothing to refer to.
        if kind.seen <= IN_FULL || kind.of == 0 {
            return Some(Entry::Denial(record, at, answer));
        }
        kind.held.push(Held { record, at, answer });
        let full = kind.held.len() >= MOST;
        self.due = if full { Some(now) } else { self.due.or(Some(now + GATHER)) };
        None
    }

    /// A refusal stands in the log under this number.
    pub(super) fn written(&mut self, record: &Record, seq: u64) {
        if let Some(kind) = record.same().and_then(|same| self.kinds.get_mut(&same)) {
            kind.of = seq;
        }
    }

    /// When what is held is to be written, if anything is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is held, as records that count.
    pub(super) fn take(&mut self) -> Vec<Counted> {
        self.due = None;
        let mut counted = Vec::new();
        for kind in self.kinds.values_mut() {
            let mut held = std::mem::take(&mut kind.held);
            while !held.is_empty() {
                let rest = held.split_off(held.len().min(MOST));
                let these: Vec<(&Record, Timestamp)> = held.iter().map(|it| (&it.record, it.at)).collect();
                let at = held.last().map_or(Timestamp::UNIX_EPOCH, |last| last.at);
                let record = Record::repeated(kind.of, &these);
                counted.push(Counted { record, at, answers: held.into_iter().map(|it| it.answer).collect() });
                held = rest;
            }
        }
        // In the order in which they came, as far as one record can have a time.
        counted.sort_by_key(|counted| counted.at);
        counted
    }
}
