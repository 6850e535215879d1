//! The one thread that writes the audit log: many decisions, one wait for the disk.
//!
//! Requests hand over their records and wait; the thread takes everything that has come in meanwhile, writes it in the
//! order in which it came, syncs once, and answers all. A record that lets nothing run (the end of a command) is
//! written in its turn, and synced with the next decision or soon after. Refusals that repeat themselves are counted in
//! one record (see [`flood`]), and none is answered before the record that counts it is on disk. From time to time, and
//! at the end, the thread signs what the log says so far.

mod flood;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use self::flood::Floods;
use super::pulse::{Pulse, Stage};
use crate::audit::{Durable, Key, Log, LogError, Options, Record};

/// Records that may wait for the thread. Beyond it a request is refused rather than kept in memory.
const QUEUE: usize = 4096;

/// Records that are written with one sync at most.
const BATCH: usize = 256;

/// How long a record that lets nothing run may wait for the disk.
const LAZY: Duration = Duration::from_millis(100);

/// A handle on the log; clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Scribe {
    entries: SyncSender<Entry>,
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

/// What is done by the thread that writes. It must not wait.
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
        let (entries, receive) = sync_channel(QUEUE);
        let writer = Writer {
            signed: log.seq(),
            log,
            floods: Floods::default(),
            unsynced: None,
            every: keeping.checkpoint_every,
            sign_at: Instant::now() + keeping.checkpoint_every,
        };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&receive)).map_err(
            |error| LogError::Io {
                action: "start the thread that writes",
                path: directory.to_owned(),
                errno: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
            },
        )?;
        Ok(Self { entries, key, pulse: Arc::new(Pulse::new()) })
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
        self.send(Entry::Decision(record, Timestamp::now(), answer))?;
        let written = wait.await.map_err(|_| Unwritten::ended())?;
        self.pulse.took(Stage::Record, begun.elapsed());
        written
    }

    /// Records a decision that lets nothing run. When this returns it is on disk, by itself or counted.
    pub(super) async fn denial(&self, record: Record) -> Result<(), Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.send(Entry::Denial(record, Timestamp::now(), answer))?;
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

    /// Does something when everything that was recorded before is in the log: whoever is killed by then has not done it.
    pub(super) fn then(&self, done: impl FnOnce() + Send + 'static) {
        // Where that cannot be waited for, nothing is recorded any more either.
        let _ = self.send(Entry::Then(Then(Box::new(done))));
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

    fn send(&self, entry: Entry) -> Result<(), Unwritten> {
        self.entries.try_send(entry).map_err(|error| match error {
            TrySendError::Full(_) => Unwritten("audit log: more decisions wait than can be recorded".into()),
            TrySendError::Disconnected(_) => Unwritten::ended(),
        })
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

struct Writer {
    log: Log,
    floods: Floods,
    /// Something in the file waits for the disk, until then.
    unsynced: Option<Instant>,
    /// Number of the last record that was signed, or that was there before.
    signed: u64,
    every: Duration,
    sign_at: Instant,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        loop {
            let sign = (self.log.seq() > self.signed).then_some(self.sign_at);
            let wake = [self.unsynced, self.floods.due(), sign].into_iter().flatten().min();
            let first = match wake {
                Some(at) => entries.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => {
                    let rest = entries.try_iter().take(BATCH - 1);
                    let batch: Vec<Entry> = std::iter::once(first).chain(rest).collect();
                    self.write(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.count();
                    self.sync();
                    return;
                }
            }
            self.what_is_due();
        }
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
        let (then, batch): (Vec<Entry>, Vec<Entry>) =
            batch.into_iter().partition(|entry| matches!(entry, Entry::Then(_)));
        if !batch.is_empty() {
            self.write_records(batch);
        }
        for entry in then {
            if let Entry::Then(Then(done)) = entry {
                done();
            }
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
                Err(error) => tracing::error!(%error, "the end of a command is not recorded"),
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
                Entry::End(..) => drop(next()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{record, verify};
    use crate::gate::{self, Command, Facts};
    use crate::redact::{Redactor, Rules};
    use crate::shell::Dialect;

    fn decision(scribe: &Scribe, id: usize) -> Record {
        Record::decision(&plain(scribe, id), &Redactor::new(&Rules::default(), Vec::new()))
    }

    fn plain(scribe: &Scribe, id: usize) -> crate::audit::Decision {
        let command = Command::Argv(vec!["true".to_owned()]);
        let facts = Facts {
            cwd: "/w".into(),
            home: "/h".into(),
            user: "u".into(),
            uid: 1,
            workspaces: vec!["/w".into()],
            homes: Default::default(),
            environment: Default::default(),
            dialect: Dialect::Bash,
            backend: "jail".into(),
            profile: String::new(),
        };
        crate::audit::Decision {
            id: id.to_string(),
            requester: record::Requester { uid: 1, gid: 1, pid: 1, principal: None },
            digest: scribe.key().command(&command),
            command,
            facts,
            verdict: gate::Decision::Allow,
            findings: Vec::new(),
            outcome: record::Outcome::Run,
            approval: None,
            secrets: Vec::new(),
            policy: String::new(),
            error: None,
            session: None,
        }
    }

    #[tokio::test]
    async fn many_at_once_are_one_chain_and_each_gets_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
        let waiting: Vec<_> = (0..600)
            .map(|id| {
                let scribe = scribe.clone();
                let record = decision(&scribe, id);
                tokio::spawn(async move { (id, scribe.decision(record).await.expect("recorded")) })
            })
            .collect();
        let mut numbers = Vec::new();
        for waiting in waiting {
            let (id, durable) = waiting.await.expect("it does not panic");
            assert_eq!(durable.clears(), Some(id.to_string().as_str()));
            numbers.push(durable.seq());
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=600));
        let report = verify::verify(&path).expect("it can be read");
        assert_eq!((report.records, report.problems.len()), (600, 0));
    }

    #[tokio::test]
    async fn what_lets_nothing_run_is_written_in_its_turn() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
        scribe.end(decision(&scribe, 1)).expect("queued");
        let durable = scribe.decision(decision(&scribe, 2)).await.expect("recorded");
        assert_eq!(durable.seq(), 2);
        scribe.end(decision(&scribe, 3)).expect("queued");
        scribe.sync().await.expect("synced");
        assert_eq!(verify::verify(&path).expect("it can be read").records, 3);
    }

    #[tokio::test]
    async fn a_log_that_was_removed_lets_nothing_run() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
        std::fs::remove_file(path.join(crate::audit::log::LOG_FILE)).expect("it is there");
        let error = scribe.decision(decision(&scribe, 1)).await.expect_err("nothing is recorded");
        assert!(error.to_string().contains("was removed"), "{error}");
    }

    fn denied(scribe: &Scribe, id: usize, text: &str) -> Record {
        let command = Command::Shell(text.to_owned());
        let mut record = crate::audit::Decision {
            outcome: record::Outcome::Denied,
            verdict: gate::Decision::Deny,
            ..plain(scribe, id)
        };
        record.digest = scribe.key().command(&command);
        record.command = command;
        Record::decision(&record, &Redactor::new(&Rules::default(), Vec::new()))
    }

    #[tokio::test]
    async fn refusals_that_repeat_themselves_are_counted_and_each_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let scribe = Scribe::open(&path, Keeping::default()).expect("a log");
        let waiting: Vec<_> = (0..1000)
            .map(|id| {
                let scribe = scribe.clone();
                // One in ten says something of its own.
                let text = if id % 10 == 0 { format!("other {id}") } else { "rm -rf /".to_owned() };
                let record = denied(&scribe, id, &text);
                tokio::spawn(async move { scribe.denial(record).await.expect("recorded") })
            })
            .collect();
        for waiting in waiting {
            waiting.await.expect("it does not panic");
        }
        // Whoever was answered is on disk, without a sync.
        let mut counted = 0;
        let mut alone = std::collections::BTreeSet::new();
        for line in crate::audit::read::Lines::open(&path).expect("a log") {
            let line = line.expect("it reads").record().expect("a record");
            match line.kind.as_str() {
                "decision" => drop(alone.insert(line.body["id"].as_str().expect("an id").to_owned())),
                "repeated" => {
                    let ids = line.body["ids"].as_array().expect("ids");
                    assert_eq!(line.body["count"], ids.len());
                    assert_eq!(line.body["requester"]["uid"], 1);
                    counted += ids.len();
                    for id in ids {
                        assert!(alone.insert(id.as_str().expect("an id").to_owned()), "{id} twice");
                    }
                }
                kind => assert_eq!(kind, "checkpoint"),
            }
        }
        assert_eq!(alone.len(), 1000);
        // The first of a kind, and what one wait for the disk took along with them, are written in full.
        assert!(counted > 500, "{counted}");
        assert_eq!(verify::verify(&path).expect("it can be read").problems, vec![]);
    }

    #[tokio::test]
    async fn what_was_recorded_is_signed_after_a_while_and_at_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let keeping = Keeping { checkpoint_every: Duration::from_millis(20), ..Keeping::default() };
        let scribe = Scribe::open(&path, keeping).expect("a log");
        let _recorded = scribe.decision(decision(&scribe, 1)).await.expect("recorded");
        let deadline = Instant::now() + Duration::from_secs(20);
        while verify::verify(&path).expect("it can be read").checkpoints == 0 {
            assert!(Instant::now() < deadline, "it was not signed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Nothing new, nothing signed.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(verify::verify(&path).expect("it can be read").records, 2);

        let other = directory.path().join("other");
        let scribe = Scribe::open(&other, Keeping::default()).expect("a log");
        scribe.checkpoint().await.expect("nothing to sign is no error");
        let _recorded = scribe.decision(decision(&scribe, 1)).await.expect("recorded");
        scribe.checkpoint().await.expect("signed");
        let report = verify::verify(&other).expect("it can be read");
        assert_eq!((report.checkpoints, report.records, report.problems), (1, 2, vec![]));
    }
}
