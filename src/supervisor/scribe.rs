//! The audit log as many requests write to it: many decisions, one wait for the disk.
//!
//! Requests hand over their records and wait; a thread takes everything that has come in meanwhile, writes it in the
//! order in which it came, syncs once, and answers all (see [`desk`]). A request that is alone writes by itself. A record that lets nothing run (the end of a command) is
//! written in its turn, and synced with the next decision or soon after. Refusals that repeat themselves are counted in
//! one record (see [`flood`]), and none is answered before the record that counts it is on disk. From time to time, and
//! at the end, the thread signs what the log says so far.

mod desk;
mod flood;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use self::desk::Desk;
pub(super) use self::desk::Underway;
use super::pulse::{Pulse, Stage};
use crate::audit::{Durable, Key, Log, LogError, Options, Record};

/// A handle on the log; clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Scribe {
    desk: Arc<Handle>,
    key: Arc<Key>,
    pulse: Arc<Pulse>,
}

/// How the log is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    pub(super) log: Options,
    /// A checkpoint is written after this time, where anything was recorded in it.
    pub(super) checkpoint_every: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { log: Options::default(), checkpoint_every: Duration::from_secs(600) }
    }
}

/// The log could not be written; many requests may be told so at once.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unwritten(Arc<str>);

/// The answer to a refusal that was recorded.
type Recorded = oneshot::Sender<Result<(), Unwritten>>;

#[derive(Debug)]
enum Entry {
    Decision(Record, Timestamp, oneshot::Sender<Result<Durable, Unwritten>>),
    /// A decision that lets nothing run; it may be counted with others that are the same.
    Denial(Record, Timestamp, Recorded),
    End(Record, Timestamp),
    /// Answered when everything before it is on disk.
    Sync(Recorded),
    /// The same, and signed.
    Checkpoint(Recorded),
    /// Done when everything before it is in the log, on disk or not.
    Then(Then),
}

/// What is done by whoever writes. It must not wait.
struct Then(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Then")
    }
}

impl Scribe {
    /// Opens the log in `directory`, and starts the thread. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// When there is no log that can be trusted, or no thread.
    pub(super) fn open(directory: &Path, keeping: Keeping) -> Result<Self, LogError> {
        let log = Log::open_with(directory, keeping.log)?;
        let key = Arc::new(log.key().clone());
        let desk = Arc::new(Desk::new(log, keeping));
        let writing = Arc::clone(&desk);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writing.run()).map_err(
            |error| LogError::Io {
                action: "start the thread that writes",
                path: directory.to_owned(),
                errno: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
            },
        )?;
        let desk = Arc::new(Handle(desk));
        Ok(Self { desk, key, pulse: Arc::new(Pulse::new()) })
    }

    /// The log's key, for digests.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// What is counted and told of what goes through here.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Records a decision. When this returns it is on disk.
    pub(super) async fn decision(&self, record: Record) -> Result<Durable, Unwritten> {
        let (answer, wait) = oneshot::channel();
        let begun = Instant::now();
        self.ask(Entry::Decision(record, Timestamp::now(), answer)).await?;
        let written = wait.await.map_err(|_| Unwritten::ended())?;
        self.pulse.took(Stage::Record, begun.elapsed());
        written
    }

    /// Records a decision that lets nothing run. When this returns it is on disk, by itself or counted.
    pub(super) async fn denial(&self, record: Record) -> Result<(), Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.ask(Entry::Denial(record, Timestamp::now(), answer)).await?;
        wait.await.map_err(|_| Unwritten::ended())?
    }

    /// Records what is no command's. When this returns it is on disk.
    pub(super) async fn note(&self, record: Record) -> Result<(), Unwritten> {
        // Nothing of another kind is counted with others.
        self.denial(record).await
    }

    /// Records an end, in order. It is on disk soon.
    pub(super) fn end(&self, record: Record) -> Result<(), Unwritten> {
        self.send(Entry::End(record, Timestamp::now()))
    }

    /// The same of a command that is underway ([`Self::underway`]), or of the only one.
    pub(super) fn end_of_command(&self, record: Record) -> Result<(), Unwritten> {
        self.desk.0.leave(Entry::End(record, Timestamp::now()))
    }

    /// Does something when everything that was recorded before is in the log: whoever is killed by then has not done it. Called as
    /// [`Self::end_of_command`] is.
    pub(super) fn then(&self, done: impl FnOnce() + Send + 'static) {
        // Where that cannot be waited for, nothing is recorded any more either.
        let _ = self.desk.0.leave(Entry::Then(Then(Box::new(done))));
    }

    /// Waits until everything that was recorded is on disk.
    pub(super) async fn sync(&self) -> Result<(), Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.send(Entry::Sync(answer))?;
        wait.await.map_err(|_| Unwritten::ended())?
    }

    /// Signs what was recorded, and waits until that is on disk: for the end of a supervisor that served many.
    pub(super) async fn checkpoint(&self) -> Result<(), Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.send(Entry::Checkpoint(answer))?;
        wait.await.map_err(|_| Unwritten::ended())?
    }

    /// A command is on its way until what this returns is dropped: where it is the only one, its records need no thread.
    pub(super) fn underway(&self) -> Underway {
        self.desk.0.underway()
    }

    /// Hands in what is waited for.
    async fn ask(&self, entry: Entry) -> Result<(), Unwritten> {
        // Whoever else has asked for something by now is underway before it is looked whether anybody is.
        yield_now().await;
        self.desk.0.write_or_hand_in(entry)
    }

    fn send(&self, entry: Entry) -> Result<(), Unwritten> {
        self.desk.0.hand_in(entry)
    }
}

/// Whoever may hand something in; the thread ends when the last one is gone.
#[derive(Debug)]
struct Handle(Arc<Desk>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Unwritten {
    fn ended() -> Self {
        Self("audit log: the thread that writes it has ended".into())
    }
}

impl From<LogError> for Unwritten {
    fn from(error: LogError) -> Self {
        Self(error.to_string().into())
    }
}

#[cfg(test)]
mod tests;
