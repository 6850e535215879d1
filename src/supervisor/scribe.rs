//! The one thread that writes the audit log: many decisions, one wait for the disk.
//!
//! Requests hand over their records and wait; the thread takes everything that has come in meanwhile, writes it in the
//! order in which it came, syncs once, and answers all. A record that lets nothing run (the end of a command) is
//! written in its turn, and synced with the next decision or when the thread has nothing else to do.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::audit::{Durable, Key, Log, LogError, Record};

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
}

/// The log could not be written; many requests may be told so at once.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unwritten(Arc<str>);

#[derive(Debug)]
enum Entry {
    Decision(Record, Timestamp, oneshot::Sender<Result<Durable, Unwritten>>),
    End(Record, Timestamp),
    /// Answered when everything before it is on disk.
    Sync(oneshot::Sender<Result<(), Unwritten>>),
}

impl Scribe {
    /// Opens the log in `directory`, and starts the thread. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// When there is no log that can be trusted, or no thread.
    pub(super) fn open(directory: &Path) -> Result<Self, LogError> {
        let log = Log::open(directory)?;
        let key = Arc::new(log.key().clone());
        let (entries, receive) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || Writer { log }.run(&receive))
            .map_err(|error| LogError::Io {
                action: "start the thread that writes",
                path: directory.to_owned(),
                errno: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
            })?;
        Ok(Self { entries, key })
    }

    /// The log's key, for digests.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Records a decision. When this returns it is on disk.
    pub(super) async fn decision(&self, record: Record) -> Result<Durable, Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.send(Entry::Decision(record, Timestamp::now(), answer))?;
        wait.await.map_err(|_| Unwritten::ended())?
    }

    /// Records an end, in order. It is on disk soon.
    pub(super) fn end(&self, record: Record) -> Result<(), Unwritten> {
        self.send(Entry::End(record, Timestamp::now()))
    }

    /// Waits until everything that was recorded is on disk.
    pub(super) async fn sync(&self) -> Result<(), Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.send(Entry::Sync(answer))?;
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
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        let mut unsynced = false;
        loop {
            let first = if unsynced {
                match entries.recv_timeout(LAZY) {
                    Ok(first) => first,
                    Err(error) => {
                        if let Err(error) = self.log.sync() {
                            tracing::error!(%error, "the end of a command may not be on disk");
                        }
                        unsynced = false;
                        if error == RecvTimeoutError::Disconnected {
                            return;
                        }
                        continue;
                    }
                }
            } else {
                match entries.recv() {
                    Ok(first) => first,
                    Err(_) => return,
                }
            };
            let batch: Vec<Entry> =
                std::iter::once(first).chain(entries.try_iter().take(BATCH - 1)).collect();
            unsynced = self.write(batch, unsynced);
        }
    }

    /// Writes a batch; says whether something in the file still waits for the disk.
    fn write(&mut self, batch: Vec<Entry>, unsynced: bool) -> bool {
        let records: Vec<(&Record, Timestamp)> = batch
            .iter()
            .filter_map(|entry| match entry {
                Entry::Decision(record, at, _) | Entry::End(record, at) => Some((record, *at)),
                Entry::Sync(_) => None,
            })
            .collect();
        if batch.iter().all(|entry| matches!(entry, Entry::End(..))) {
            if let Err(error) = self.log.append_lazily(&records) {
                tracing::error!(%error, "the end of a command is not recorded");
                return unsynced;
            }
            return true;
        }
        let written = if records.is_empty() {
            self.log.sync().map(|()| Vec::new())
        } else {
            self.log.append_all(&records)
        };
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
                Entry::End(..) => drop(next()),
                Entry::Sync(answer) => drop(answer.send(written.as_ref().map(drop).map_err(Clone::clone))),
            }
        }
        false
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
        };
        let decision = crate::audit::Decision {
            id: id.to_string(),
            requester: record::Requester { uid: 1, gid: 1, pid: 1, principal: None },
            digest: scribe.key().command(&command),
            command,
            facts,
            verdict: gate::Decision::Allow,
            findings: Vec::new(),
            outcome: record::Outcome::Run,
            approval: None,
            policy: String::new(),
            error: None,
        };
        Record::decision(&decision, &Redactor::new(&Rules::default(), Vec::new()))
    }

    #[tokio::test]
    async fn many_at_once_are_one_chain_and_each_gets_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let scribe = Scribe::open(&path).expect("a log");
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
        let scribe = Scribe::open(&path).expect("a log");
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
        let scribe = Scribe::open(&path).expect("a log");
        std::fs::remove_file(path.join(crate::audit::log::LOG_FILE)).expect("it is there");
        let error = scribe.decision(decision(&scribe, 1)).await.expect_err("nothing is recorded");
        assert!(error.to_string().contains("was removed"), "{error}");
    }
}
