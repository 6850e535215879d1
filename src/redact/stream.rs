//! One output on its way out, in whatever chunks it comes.
//!
//! Two marks move through a buffer. Everything before `scan` is decided. Everything before `sent` has left. `sent` may
//! run ahead of `scan` over bytes that cannot be part of a secret whatever follows (the `TOKEN=` before a token), so
//! that output waits no longer than it must.

mod mark;

use std::sync::Arc;

use regex_automata::util::primitives::StateID;

pub use self::mark::Mark;
use super::engine::{Engine, Found, SHORTEST_VALUE, Target, Verdict};
use super::search::Ahead;

/// Bytes before `scan` that rules may look at.
pub(super) const LOOK_BEHIND: usize = super::escape::LONGEST;

/// Input is taken in steps of this size: it stays in the processor's cache, and the buffer stays small.
const STEP: usize = 64 << 10;

/// An unfinished literal of fewer bytes is let out by [`Stream::flush_partial`].
const PARTIAL: usize = 3;

/// One output. Made by [`super::Redactor::stream`].
#[derive(Debug)]
pub struct Stream {
    engine: Arc<Engine>,
    buffer: Vec<u8>,
    /// Empty but while it is decided.
    ahead: Ahead,
    scan: usize,
    sent: usize,
    /// A secret that filled its window: masked already, what still belongs to it is dropped.
    swallowing: Option<(Target, StateID)>,
    masked: u64,
    /// Bytes of the input that the buffer has let go of.
    gone: u64,
    /// Where secrets stood, for whoever asks.
    places: Option<Vec<Span>>,
    /// Nothing is let out any more, and whether that was said.
    withheld: Option<bool>,
}

/// Where a secret stood in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The rule, or `value`.
    pub rule: String,
    /// Offset of its first byte.
    pub start: u64,
    /// Offset behind its last byte.
    pub end: u64,
}

impl Stream {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            buffer: Vec::new(),
            ahead: Ahead::default(),
            scan: 0,
            sent: 0,
            swallowing: None,
            masked: 0,
            gone: 0,
            places: None,
            withheld: None,
        }
    }

    /// Also keeps where secrets stood.
    pub(super) fn with_places(self) -> Self {
        Self { places: Some(Vec::new()), ..self }
    }

    /// Where they stood.
    pub(super) fn places(&mut self) -> Vec<Span> {
        self.places.take().unwrap_or_default()
    }

    /// Takes bytes and appends to `out` what can leave.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.is_withheld(out) {
            return;
        }
        for step in input.chunks(STEP) {
            self.buffer.extend_from_slice(step);
            if self.buffer.len() < self.scan.max(self.sent) {
                // It goes on where another was, and has not come that far.
                continue;
            }
            let hold = self.advance(false, out);
            self.send(hold, out);
            self.forget();
        }
    }

    /// Lets out what an idle interactive output would otherwise wait for: one or two bytes that may be the beginning
    /// of a secret's prefix. Three and more, and everything after a prefix, stay until they are known to be harmless;
    /// should the rest of a secret come, it is masked.
    pub fn flush_partial(&mut self, out: &mut Vec<u8>) {
        if self.withheld.is_some() || self.buffer.len() < self.scan.max(self.sent) {
            return;
        }
        let hold = self.advance(false, out);
        let short = self.buffer.len().saturating_sub(hold) < PARTIAL;
        let whole_literal =
            self.engine.search.literal_at(self.buffer.get(hold..).unwrap_or_default()).is_some();
        self.send(if short && !whole_literal { self.buffer.len() } else { hold }, out);
    }

    /// The output has ended: appends everything that is left. The stream is then as new, but for its count.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.withheld.is_some() {
            return;
        }
        self.advance(true, out);
        self.send(self.buffer.len(), out);
        self.buffer.clear();
        (self.scan, self.sent, self.swallowing, self.gone) = (0, 0, None, 0);
    }

    /// How many places were masked so far.
    pub fn masked(&self) -> u64 {
        self.masked
    }

    /// Decides as far as can be decided. Returns the first byte that may yet turn out to be part of a secret.
    fn advance(&mut self, ended: bool, out: &mut Vec<u8>) -> usize {
        if !self.swallow() {
            return self.buffer.len();
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.forget();
        let hold = self.advance_by(&mut ahead, ended, out);
        self.ahead = ahead;
        hold
    }

    fn advance_by(&mut self, ahead: &mut Ahead, ended: bool, out: &mut Vec<u8>) -> usize {
        let engine = Arc::clone(&self.engine);
        let (mut unfinished, mut hold) = self.unfinished(self.scan, ended);
        'candidates: while let Some((at, literal)) =
            ahead.next(&engine.search, &self.buffer, self.scan, usize::MAX)
        {
            if at > unfinished {
                // What starts first is decided first, and that is not all here yet.
                self.scan = unfinished;
                return self.hold_after(ahead, unfinished, hold);
            }
            for candidate in engine.candidates(literal, &self.buffer, at) {
                match engine.judge(candidate, &self.buffer, ahead, at, usize::MAX, ended) {
                    Verdict::No => {}
                    Verdict::More { from } => {
                        self.scan = at;
                        return self.hold_after(ahead, at, from);
                    }
                    Verdict::Secret(found) => {
                        match self.in_lead(ahead, at, found, ended) {
                            Ok(others) if others.is_empty() => self.replace(&found, out),
                            Ok(mut all) => {
                                all.push(found);
                                all.sort_by_key(|found| found.start);
                                self.replace_all(all, out);
                            }
                            Err(from) => {
                                self.scan = at;
                                return self.hold_after(ahead, at, from);
                            }
                        }
                        if !self.swallow() {
                            return self.buffer.len();
                        }
                        // What begins behind the secret at the end of the buffer still does.
                        if self.scan > unfinished.min(hold) {
                            (unfinished, hold) = self.unfinished(self.scan, ended);
                        }
                        continue 'candidates;
                    }
                }
            }
            self.scan = at + 1;
        }
        self.scan = unfinished;
        hold
    }

    /// The candidate at `at` is undecided and masks nothing before `from`; others may stand between.
    fn hold_after(&self, ahead: &mut Ahead, at: usize, from: usize) -> usize {
        let search = &self.engine.search;
        let (_, mut hold) = self.unfinished(at, false);
        hold = hold.min(from);
        let mut next = at;
        while let Some((at, literal)) = ahead.next(search, &self.buffer, next, hold) {
            for candidate in self.engine.candidates(literal, &self.buffer, at) {
                match self.engine.judge(candidate, &self.buffer, ahead, at, hold, false) {
                    Verdict::No => {}
                    Verdict::More { from } => hold = hold.min(from),
                    Verdict::Secret(found) => hold = hold.min(found.start),
                }
            }
            next = at + 1;
        }
        hold
    }

    /// Where the end of the buffer may be the beginning of a literal, and of one that starts a secret.
    fn unfinished(&self, first: usize, ended: bool) -> (usize, usize) {
        let end = self.buffer.len();
        if ended {
            return (end, end);
        }
        let first = first.max(end.saturating_sub(self.engine.search.longest_begun()));
        let mut scan = end;
        for at in first..end {
            let tail = self.buffer.get(at..).unwrap_or_default();
            for literal in self.engine.search.begun_by(tail) {
                scan = scan.min(at);
                if self.engine.starts_secret(literal, &self.buffer, at) {
                    return (scan, at);
                }
            }
        }
        (scan, end)
    }

    /// The secrets that begin before this one, in its lead that starts at `at`: `curl -H "Authorization: ..." -u name:password`. Where
    /// one of these is undecided: nothing before that place would be masked.
    fn in_lead(&self, ahead: &mut Ahead, at: usize, found: Found, ended: bool) -> Result<Vec<Found>, usize> {
        let (mut all, mut next) = (Vec::new(), at + 1);
        // Most leads have no room for another secret.
        if found.start.saturating_sub(at) <= SHORTEST_VALUE {
            return Ok(all);
        }
        while let Some((at, literal)) = ahead.next(&self.engine.search, &self.buffer, next, found.start) {
            for candidate in self.engine.candidates(literal, &self.buffer, at) {
                match self.engine.judge(candidate, &self.buffer, ahead, at, found.start, ended) {
                    Verdict::Secret(other) if other.start < found.start => {
                        all.push(other);
                        break;
                    }
                    Verdict::More { from } if from < found.start => return Err(from),
                    Verdict::Secret(_) | Verdict::More { .. } | Verdict::No => {}
                }
            }
            next = at + 1;
        }
        Ok(all)
    }

    /// Secrets in the order of their beginnings, of which one may begin within another.
    fn replace_all(&mut self, all: Vec<Found>, out: &mut Vec<u8>) {
        let mut end = 0;
        for mut found in all {
            if found.end <= end || self.swallowing.is_some() {
                continue;
            }
            found.start = found.start.max(end);
            end = found.end;
            self.replace(&found, out);
        }
    }

    fn replace(&mut self, found: &Found, out: &mut Vec<u8>) {
        self.send(found.start, out);
        let secret = self.buffer.get(found.start..found.end).unwrap_or_default();
        self.engine.mask(found, secret, out);
        self.masked += 1;
        if let Some(places) = &mut self.places {
            let rule = self.engine.name(found.target).to_owned();
            let (start, end) = (self.gone + found.start as u64, self.gone + found.end as u64);
            places.push(Span { rule, start, end });
        }
        self.sent = self.sent.max(found.end);
        self.scan = found.end;
        self.swallowing = found.open.map(|state| (found.target, state));
    }

    /// Drops what still belongs to a secret without an end. False when all of the buffer does.
    fn swallow(&mut self) -> bool {
        let Some((target, state)) = self.swallowing else { return true };
        let text = self.buffer.get(self.scan..).unwrap_or_default();
        let swallowed = self.engine.swallow(target, state, text);
        if let Some(last) = self.places.as_mut().and_then(|places| places.last_mut()) {
            last.end += swallowed.err().unwrap_or(text.len()) as u64;
        }
        match swallowed {
            Ok(state) => {
                self.swallowing = Some((target, state));
                self.scan = self.buffer.len();
                self.sent = self.buffer.len();
                false
            }
            Err(bytes) => {
                self.swallowing = None;
                self.scan += bytes;
                self.sent = self.sent.max(self.scan);
                true
            }
        }
    }

    fn send(&mut self, to: usize, out: &mut Vec<u8>) {
        if let Some(bytes) = self.buffer.get(self.sent..to) {
            out.extend_from_slice(bytes);
            self.sent = to;
        }
    }

    /// Drops what nobody will look at again.
    fn forget(&mut self) {
        let keep_from = self.scan.min(self.sent).saturating_sub(LOOK_BEHIND);
        self.buffer.drain(..keep_from);
        self.gone += keep_from as u64;
        self.scan -= keep_from;
        self.sent -= keep_from;
    }
}
