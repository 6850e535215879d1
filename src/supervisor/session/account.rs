//! What one principal may take of the daemon, so that none harms another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::exec::Shelf;
use super::ring::Share;
use crate::supervisor::egress::CONNECTIONS;

/// How much there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::supervisor) struct Quota {
    /// Connections of one principal.
    pub(in crate::supervisor) connections: usize,
    /// Connections of everybody.
    pub(in crate::supervisor) all_connections: usize,
    /// Sessions of one principal.
    pub(in crate::supervisor) sessions: usize,
    /// Sessions of everybody.
    pub(in crate::supervisor) all_sessions: usize,
    /// Commands of one session that have not ended.
    pub(in crate::supervisor) commands: usize,
    /// Requests of one connection that wait for their reply.
    pub(in crate::supervisor) requests: usize,
    /// Bytes that are kept in memory for one principal before its commands are made to wait.
    pub(in crate::supervisor) memory: usize,
    /// Bytes of one output of a command that are kept on disk where its result leaves some out; 0 keeps nothing.
    pub(in crate::supervisor) output: u64,
    /// The same of all of one principal.
    pub(in crate::supervisor) all_output: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            connections: 128,
            all_connections: 1024,
            sessions: 32,
            all_sessions: 256,
            commands: 64,
            requests: 64,
            memory: 64 << 20,
            output: 64 << 20,
            all_output: 512 << 20,
        }
    }
}

/// The account of one principal.
#[derive(Debug)]
pub(in crate::supervisor) struct Account {
    pub(in crate::supervisor) connections: Arc<Semaphore>,
    /// Those to the operators' socket: agents of the same user must not keep its operator out.
    pub(in crate::supervisor) consoles: Arc<Semaphore>,
    pub(in crate::supervisor) sessions: Arc<Semaphore>,
    /// Threads that look at files for it; one may hang in a file system of its own making.
    pub(in crate::supervisor) lookups: Arc<Semaphore>,
    pub(in crate::supervisor) share: Arc<Share>,
    /// What it keeps on disk.
    pub(in crate::supervisor) shelf: Arc<Shelf>,
    /// Descriptors that it has passed, each with a thread that may hang on it.
    pub(in crate::supervisor) descriptors: Arc<Semaphore>,
    /// Connections of its commands to the outside.
    pub(in crate::supervisor) egress: Arc<Semaphore>,
}

/// Threads that look at files for one principal at a time.
const LOOKUPS: usize = 4;

/// All accounts. A principal keeps its own for good: those who may connect are few.
#[derive(Debug)]
pub(in crate::supervisor) struct Accounts {
    quota: Quota,
    /// Where output is kept on disk.
    directory: PathBuf,
    by_uid: Mutex<HashMap<(u32, bool), Arc<Account>>>,
    connections: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

impl Accounts {
    /// Whatever is kept on disk lies in this directory.
    pub(in crate::supervisor) fn new(quota: Quota, directory: PathBuf) -> Self {
        Self {
            quota,
            directory,
            by_uid: Mutex::default(),
            connections: Arc::new(Semaphore::new(quota.all_connections)),
            sessions: Arc::new(Semaphore::new(quota.all_sessions)),
        }
    }

    pub(in crate::supervisor) fn quota(&self) -> Quota {
        self.quota
    }

    pub(in crate::supervisor) fn of(&self, uid: u32) -> Arc<Account> {
        self.account((uid, false))
    }

    /// The one of a user's jobs: its agents must not keep them from running.
    pub(in crate::supervisor) fn of_jobs(&self, uid: u32) -> Arc<Account> {
        self.account((uid, true))
    }

    fn account(&self, whose: (u32, bool)) -> Arc<Account> {
        let mut accounts = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(whose).or_insert_with(|| {
            Arc::new(Account {
                connections: Arc::new(Semaphore::new(self.quota.connections)),
                consoles: Arc::new(Semaphore::new(self.quota.connections)),
                sessions: Arc::new(Semaphore::new(self.quota.sessions)),
                lookups: Arc::new(Semaphore::new(LOOKUPS)),
                share: Arc::new(Share::new(self.quota.memory)),
                shelf: Arc::new(Shelf::new(self.directory.clone(), self.quota.output, self.quota.all_output)),
                descriptors: super::passed::places(),
                egress: Arc::new(Semaphore::new(CONNECTIONS)),
            })
        });
        Arc::clone(account)
    }

    /// A place for a connection that nobody has been identified for; `None` where the house is full.
    pub(in crate::supervisor) fn admit_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Places for one more session, of everybody's and of the principal's own.
    pub(in crate::supervisor) fn admit_session(
        &self,
        account: &Account,
    ) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = Arc::clone(&account.sessions).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.sessions).try_acquire_owned().ok()?;
        Some([own, all])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_takes_all_it_may_leaves_the_rest_to_others() {
        let quota = Quota { sessions: 2, all_sessions: 3, ..Quota::default() };
        let accounts = Accounts::new(quota, PathBuf::new());
        let (ann, ben) = (accounts.of(1), accounts.of(2));
        let held: Vec<_> = (0..3).filter_map(|_| accounts.admit_session(&ann)).collect();
        assert_eq!(held.len(), 2);
        let other = accounts.admit_session(&ben);
        assert!(other.is_some());
        assert!(accounts.admit_session(&ben).is_none());
        drop(held);
        assert!(accounts.admit_session(&ben).is_some());
        assert!(Arc::ptr_eq(&accounts.of(1), &ann));
    }
}
