//! What a command has written down of itself while it goes on, and how it is made again from that.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::input::feed;
use super::output::index;
use super::{Exec, Inner, Named, Place};
use crate::redact::{Mark, Redactor};
use crate::supervisor::session::diary::{Asked, Diary, Entry, Going};
use crate::wire::rpc::{self, State};
use crate::wire::runner::{Stream, ToRunner};

/// The runner is told in pieces of this size which output was dealt with.
const TAKEN: u64 = 128 << 10;

/// How far a command had come that another supervisor has left.
#[derive(Debug)]
pub(in crate::supervisor::session) enum Left {
    /// It waited for an answer. Nothing of it has run.
    Waiting,
    /// It was let go, and this much of its two outputs was dealt with.
    Going(Box<Going>, [u64; 2]),
    /// It is over.
    Ended,
}

/// A diary that another supervisor has left.
#[derive(Debug)]
pub(in crate::supervisor::session) struct Found {
    pub(in crate::supervisor::session) number: u64,
    pub(in crate::supervisor::session) path: PathBuf,
    pub(in crate::supervisor::session) asked: Box<Asked>,
    pub(in crate::supervisor::session) entries: Vec<Entry>,
    /// Bytes of it that read.
    pub(in crate::supervisor::session) size: u64,
    /// Why its command cannot be gone on with, and is not prepared again either.
    pub(in crate::supervisor::session) damage: Option<&'static str>,
}

impl Found {
    /// Values that its output must not show, by their names.
    pub(in crate::supervisor::session) fn secrets(&self) -> &[(String, Vec<u8>)] {
        let going = self.entries.iter().find_map(|entry| match entry {
            Entry::Going(going) => Some(going.secrets.as_slice()),
            _ => None,
        });
        going.unwrap_or_default()
    }
}

impl Exec {
    /// Writes down what was asked for, where its session outlives the supervisor and it was not written yet.
    pub(in crate::supervisor::session) fn noted(&self) {
        self.note(None);
    }

    /// Writes down that it is let go.
    pub(in crate::supervisor::session) fn going(&self, going: Going) {
        self.note(Some(Entry::Going(Box::new(going))));
    }

    fn note(&self, entry: Option<Entry>) {
        let Some(keepsake) = &self.keepsake else { return };
        let inner = &mut *self.inner();
        match (&mut inner.diary, inner.asked.take()) {
            (Some(diary), _) => entry.iter().for_each(|entry| diary.add_to_head(entry)),
            (None, Some(asked)) => {
                let entries: Vec<Entry> = std::iter::once(Entry::Asked(asked)).chain(entry).collect();
                match Diary::begin(keepsake.diary(self.number), &entries) {
                    Ok(diary) => inner.diary = Some(diary),
                    Err(error) => {
                        tracing::warn!(%error, "a command would not survive execward's end: it has no diary");
                    }
                }
            }
            (None, None) => {}
        }
    }

    /// Writes down what it wrote, after that was put where readers will find it, and lets the runner forget what was dealt with.
    pub(super) fn note_output(&self, inner: &mut Inner, stream: Stream, data: Vec<u8>, mark: Mark) {
        if self.keepsake.is_none() {
            return;
        }
        let at = index(stream);
        match &mut inner.diary {
            // The mark from before still leads to the same.
            Some(_) if data.is_empty() && mark.from < inner.marks[at].from + TAKEN / 2 => return,
            Some(diary) if !self.is_passed(stream) => {
                inner.marks[at] = mark;
                let seq = inner.sink.last();
                diary.add(&Entry::Output { seq, stream, mark: Some(mark), data });
                if diary.is_long(inner.sink.held()) {
                    let marks = [Stream::Stdout, Stream::Stderr].map(|stream| Entry::Output {
                        seq,
                        stream,
                        mark: Some(inner.marks[index(stream)]),
                        data: Vec::new(),
                    });
                    diary.write_anew(inner.sink.entries().into_iter().chain(marks));
                }
            }
            _ => inner.marks[at] = mark,
        }
        // Never beyond what was written down.
        let from = inner.marks[at].from;
        if from >= inner.taken[at] + TAKEN {
            inner.taken[at] = from;
            self.orders.send(ToRunner::Taken { id: self.number, stream, upto: from });
        }
    }

    /// Whether it is written down how it goes on.
    pub(in crate::supervisor::session) fn outlives(&self) -> bool {
        self.keepsake.is_some()
    }

    /// Whether anything of it is written down.
    pub(in crate::supervisor::session) fn is_noted(&self) -> bool {
        self.inner().diary.is_some()
    }

    /// Writes down its end, after that was recorded. The runner need not keep it any more.
    pub(in crate::supervisor::session) fn note_end(&self) {
        let inner = &mut *self.inner();
        inner.asked = None;
        if let (Some(mut diary), Some(report)) = (inner.diary.take(), &inner.report) {
            let refused = inner.refused.clone().map(Box::new);
            diary.add(&Entry::Ended { report: Box::new(rpc::Report::clone(report)), refused });
        }
        self.orders.forget(self.number);
    }

    /// Leaves nothing of its diary.
    pub(super) fn tear_up(&self) {
        if let Some(keepsake) = &self.keepsake {
            crate::supervisor::session::diary::remove(&keepsake.diary(self.number));
        }
    }

    /// Makes a command again from what another supervisor has written of it, and the task that passes its standard input on.
    /// `redactor` masks what [`Found::secrets`] are, beside what the policy says.
    pub(in crate::supervisor::session) fn again(
        found: Found,
        place: Place,
        redactor: &Redactor,
    ) -> (Arc<Self>, impl Future<Output = ()> + use<>, Left) {
        let Found { number, path, asked, entries, size, .. } = found;
        let named = Named {
            request_id: asked.request_id.clone(),
            number,
            digest: Self::digest(&asked.asked),
            display: asked.display.clone(),
            started: Timestamp::from_millisecond(asked.started).unwrap_or_default(),
            pid: asked.pid,
            bound_to: None,
            redact: [redactor.stream(), redactor.stream()],
        };
        let (mut exec, writes) = Self::make(&asked.asked, named, place);
        // Whoever had passed them is gone.
        exec.passed = [false; 3];
        let inner = exec.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut head = vec![Entry::Asked(asked)];
        let mut left = Left::Waiting;
        for entry in entries {
            match entry {
                Entry::Asked(_) => {}
                Entry::Going(going) => {
                    head.push(Entry::Going(going.clone()));
                    inner.state = State::Running;
                    left = Left::Going(going, [0; 2]);
                }
                Entry::Output { seq, stream, mark, data } => {
                    let at = index(stream);
                    inner.marks[at] = mark.unwrap_or(inner.marks[at]);
                    inner.sink.put_back(seq, stream, data);
                }
                Entry::Skipped { stream, bytes } => inner.sink.skipped(stream, bytes),
                Entry::Ended { report, refused } => {
                    inner.state = State::Ended;
                    inner.ended = Some(Err("it had ended before".to_owned()));
                    inner.report = Some(Arc::new(*report));
                    inner.refused = refused.map(|error| *error);
                    inner.closed = true;
                    left = Left::Ended;
                }
            }
        }
        inner.sink.go_on();
        inner.taken = inner.marks.map(|mark| mark.from);
        for (redact, mark) in inner.redact.iter_mut().zip(inner.marks) {
            *redact = redactor.stream().resume(mark);
        }
        match &mut left {
            Left::Ended => {
                inner.asked = None;
                exec.kill.cancel();
            }
            Left::Waiting => {}
            Left::Going(_, from) => {
                *from = inner.taken;
                inner.asked = None;
                match Diary::go_on(path, &head, size) {
                    Ok(diary) => inner.diary = Some(diary),
                    Err(error) => tracing::warn!(%error, "a command would not survive execward's next end"),
                }
            }
        }
        let exec = Arc::new(exec);
        (Arc::clone(&exec), feed(exec, writes), left)
    }
}
