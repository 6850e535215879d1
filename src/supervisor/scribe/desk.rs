//! What is due in the audit log, and the thread that sees to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::flood::Floods;
use super::{Entry, Keeping, Then, Unwritten};
use crate::audit::{Log, Record};

/// Records that may wait for the disk. Beyond it a request is refused rather than kept in memory.
const QUEUE: usize = 4096;

/// Records that are written with one sync at most.
const BATCH: usize = 256;

/// How long a record that lets nothing run may wait for the disk.
const LAZY: Duration = Duration::from_millis(100);

/// How long is waited before ends that could not be written are written again.
const AGAIN: Duration = Duration::from_millis(500);

/// A disk that took longer than this for the last records is waited for by the thread alone.
const SWIFT: Duration = Duration::from_millis(2);

/// What waits to be written, and who writes it.
///
/// Everything is taken from the queue by whoever holds the writer, so that the log has the order of the queue.
#[derive(Debug)]
pub(super) struct Desk {
    queue: Mutex<Queue>,
    more: Condvar,
    writer: Mutex<Writer>,
    /// Commands that are judged, run, or are being reported.
    commands: AtomicUsize,
    /// The last records were on disk at once.
    swift: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Until when the thread sleeps, if it does and not for good.
    sleeps_until: Option<Instant>,
    /// Nobody adds anything any more, or nobody writes.
    ended: bool,
}

/// A command that is on its way through the pipeline.
#[derive(Debug)]
pub(in crate::supervisor) struct Underway(Arc<Desk>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.commands.fetch_sub(1, Ordering::Relaxed);
        if !self.0.queue().entries.is_empty() {
            self.0.more.notify_one();
        }
    }
}

impl Desk {
    pub(super) fn new(log: Log, keeping: Keeping) -> Self {
        Self {
            queue: Mutex::default(),
            more: Condvar::new(),
            writer: Mutex::new(Writer::new(log, keeping)),
            commands: AtomicUsize::new(0),
            swift: AtomicBool::new(true),
        }
    }

    pub(super) fn underway(self: &Arc<Self>) -> Underway {
        self.commands.fetch_add(1, Ordering::Relaxed);
        Underway(Arc::clone(self))
    }

    /// Puts an entry in the queue, and has it written: by the thread.
    pub(super) fn hand_in(&self, entry: Entry) -> Result<(), Unwritten> {
        self.put(entry)?;
        self.more.notify_one();
        Ok(())
    }

    /// Puts an entry in the queue that nobody waits for. Where a command is underway it is written with what comes next, or when
    /// that command has been reported: the thread would only keep the processor from whoever is told.
    pub(super) fn leave(&self, entry: Entry) -> Result<(), Unwritten> {
        self.put(entry)?;
        if self.commands.load(Ordering::Relaxed) == 0 {
            self.more.notify_one();
        }
        Ok(())
    }

    /// Puts an entry in the queue, and writes it where nobody is held up by that: waking the thread, and being woken by
    /// it, costs about as much as the disk. Where other commands are underway it is the thread's, which has one wait for
    /// many.
    pub(super) fn write_or_hand_in(&self, entry: Entry) -> Result<(), Unwritten> {
        self.put(entry)?;
        let alone = self.commands.load(Ordering::Relaxed) <= 1 && self.swift.load(Ordering::Relaxed);
        match alone.then(|| self.writer.try_lock()) {
            Some(Ok(mut writer)) if writer.log.is_free() => {
                self.write(&mut writer);
                // More came meanwhile, or the thread would sleep too long.
                let queue = self.queue();
                let late = |wake| queue.sleeps_until.is_none_or(|until| wake < until);
                if writer.wake().is_some_and(late) || !queue.entries.is_empty() {
                    self.more.notify_one();
                }
            }
            // The thread finds out what is wrong where something is.
            _ => self.more.notify_one(),
        }
        Ok(())
    }

    /// Nobody will add anything.
    pub(super) fn end(&self) {
        self.queue().ended = true;
        self.more.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, entry: Entry) -> Result<(), Unwritten> {
        let mut queue = self.queue();
        if queue.ended {
            return Err(Unwritten::ended());
        }
        if queue.entries.len() >= QUEUE {
            return Err(Unwritten("audit log: more decisions wait than can be recorded".into()));
        }
        queue.entries.push_back(entry);
        Ok(())
    }

    /// Writes what has come in.
    fn write(&self, writer: &mut Writer) {
        let batch: Vec<Entry> = {
            let mut queue = self.queue();
            let count = queue.entries.len().min(BATCH);
            queue.entries.drain(..count).collect()
        };
        let begun = Instant::now();
        writer.write(batch);
        self.swift.store(begun.elapsed() < SWIFT, Ordering::Relaxed);
        writer.what_is_due();
    }

    /// The thread. Whoever waits for an answer when it ends, which it does before its time only when something panics,
    /// is told so by the loss of its entry.
    pub(super) fn run(&self) {
        struct Ended<'a>(&'a Desk);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                let mut queue = self.0.queue();
                queue.ended = true;
                queue.entries.clear();
            }
        }
        let _ended = Ended(self);
        loop {
            let Ok(mut writer) = self.writer.lock() else { return };
            self.write(&mut writer);
            // Before the writer is let go: whoever takes it next sees for how long the thread sleeps.
            let mut queue = self.queue();
            if !queue.entries.is_empty() {
                continue;
            }
            if queue.ended {
                break;
            }
            let wake = writer.wake();
            queue.sleeps_until = wake;
            drop(writer);
            match wake {
                Some(at) => {
                    let time = at.saturating_duration_since(Instant::now());
                    drop(self.more.wait_timeout(queue, time));
                }
                None => drop(self.more.wait(queue)),
            }
        }
        if let Ok(mut writer) = self.writer.lock() {
            writer.write(Vec::new());
            writer.count();
            writer.sync();
            if !writer.held.is_empty() {
                let count = writer.held.len();
                tracing::error!(count, "the ends of commands are not recorded: the log cannot be written");
            }
        }
    }
}

#[derive(Debug)]
struct Writer {
    log: Log,
    floods: Floods,
    /// Ends that could not be written, and what is done once they are: no decision comes of them that could be refused, so that
    /// they wait for a disk that is not full any more. Nothing new is let go meanwhile: there are no more than commands ran.
    held: Vec<Entry>,
    /// When they are tried again.
    again: Option<Instant>,
    /// Something in the file waits for the disk, until then.
    unsynced: Option<Instant>,
    /// Number of the last record that was signed, or that was there before.
    signed: u64,
    every: Duration,
    sign_at: Instant,
}

impl Writer {
    fn new(log: Log, keeping: Keeping) -> Self {
        Self {
            signed: log.seq(),
            log,
            floods: Floods::default(),
            held: Vec::new(),
            again: None,
            unsynced: None,
            every: keeping.checkpoint_every,
            sign_at: Instant::now() + keeping.checkpoint_every,
        }
    }

    /// When something is due that nobody asks for.
    fn wake(&self) -> Option<Instant> {
        let sign = (self.log.seq() > self.signed).then_some(self.sign_at);
        [self.unsynced, self.floods.due(), sign, self.again].into_iter().flatten().min()
    }

    fn what_is_due(&mut self) {
        let now = Instant::now();
        if self.floods.due().is_some_and(|at| at <= now) {
            self.count();
        }
        if self.unsynced.is_some_and(|at| at <= now) {
            self.sync();
        }
        if self.log.seq() > self.signed
            && self.sign_at <= now
            && let Err(error) = self.sign()
        {
            tracing::error!(%error, "the log is not signed");
        }
    }

    /// Writes the records of refusals that were counted, and answers those who made them.
    fn count(&mut self) {
        for counted in self.floods.take() {
            let written = self.log.append(&counted.record, counted.at).map(drop).map_err(Unwritten::from);
            if written.is_ok() {
                self.unsynced = None;
            }
            for answer in counted.answers {
                let _ = answer.send(written.clone());
            }
        }
    }

    fn sync(&mut self) {
        if self.unsynced.take().is_some()
            && let Err(error) = self.log.sync()
        {
            tracing::error!(%error, "the end of a command may not be on disk");
        }
    }

    fn sign(&mut self) -> Result<(), Unwritten> {
        self.sign_at = Instant::now() + self.every;
        if self.log.seq() > self.signed {
            self.log.checkpoint(Timestamp::now())?;
            self.signed = self.log.seq();
            self.unsynced = None;
        }
        Ok(())
    }

    fn write(&mut self, batch: Vec<Entry>) {
        // In the order in which they came: what was held back is older.
        let held = std::mem::take(&mut self.held);
        self.again = None;
        let (then, batch): (Vec<Entry>, Vec<Entry>) =
            held.into_iter().chain(batch).partition(|entry| matches!(entry, Entry::Then(_)));
        if !batch.is_empty() {
            self.write_records(batch);
        }
        if !self.held.is_empty() {
            self.again = Some(Instant::now() + AGAIN);
            self.held.extend(then);
            return;
        }
        for entry in then {
            if let Entry::Then(Then(done)) = entry {
                done();
            }
        }
    }

    fn hold(&mut self, end: Entry) {
        if self.held.len() < QUEUE {
            self.held.push(end);
        } else {
            tracing::error!(
                "the end of a command is not recorded: too many wait for a log that cannot be written"
            );
        }
    }

    fn write_records(&mut self, batch: Vec<Entry>) {
        // A refusal that only repeats what others said is held back, to be counted.
        let batch: Vec<Entry> = batch.into_iter().filter_map(|entry| self.floods.hold(entry)).collect();
        let records: Vec<(&Record, Timestamp)> = batch
            .iter()
            .filter_map(|entry| match entry {
                Entry::Decision(record, at, _) | Entry::Denial(record, at, _) | Entry::End(record, at) => {
                    Some((record, *at))
                }
                Entry::Sync(_) | Entry::Checkpoint(_) | Entry::Then(_) => None,
            })
            .collect();
        if batch.iter().all(|entry| matches!(entry, Entry::End(..))) {
            if records.is_empty() {
                return;
            }
            match self.log.append_lazily(&records) {
                Ok(()) => drop(self.unsynced.get_or_insert(Instant::now() + LAZY)),
                Err(error) => {
                    tracing::error!(%error, "the end of a command is not recorded yet");
                    batch.into_iter().for_each(|entry| self.hold(entry));
                }
            }
            return;
        }
        let written = if records.is_empty() {
            self.log.sync().map(|()| Vec::new())
        } else {
            self.log.append_all(&records)
        };
        if written.is_ok() {
            self.unsynced = None;
        }
        let mut written = written.map(Vec::into_iter).map_err(Unwritten::from);
        if let Err(error) = &written {
            tracing::error!(%error, "nothing runs while decisions cannot be recorded");
        }
        for entry in batch {
            let mut next = || match &mut written {
                Ok(written) => written.next().ok_or_else(Unwritten::ended),
                Err(error) => Err(error.clone()),
            };
            // Whoever waited may have gone.
            match entry {
                Entry::Decision(.., answer) => drop(answer.send(next())),
                Entry::Denial(record, _, answer) => {
                    let recorded = next();
                    if let Ok(durable) = &recorded {
                        self.floods.written(&record, durable.seq());
                    }
                    let _ = answer.send(recorded.map(drop));
                }
                Entry::End(..) => {
                    if next().is_err() {
                        self.hold(entry);
                    }
                }
                Entry::Then(_) => {}
                Entry::Sync(answer) => {
                    self.count();
                    let _ = answer.send(written.as_ref().map(drop).map_err(Clone::clone));
                }
                Entry::Checkpoint(answer) => {
                    self.count();
                    let signed = written.as_ref().map(drop).map_err(Clone::clone).and_then(|()| self.sign());
                    let _ = answer.send(signed);
                }
            }
        }
    }
}
