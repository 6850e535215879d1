//! Sessions: one sandbox each, and the commands in it.
//!
//! A session belongs to the principal that opened it, and to nobody else: its name is of no use to others. Its commands
//! share its sandbox; commands of different sessions share nothing. What runs in it went through the same pipeline as
//! everywhere ([`super::pipeline`]).

mod account;
mod adopt;
mod ask;
mod check;
mod conclude;
mod diary;
mod exec;
mod ground;
mod keepsake;
mod link;
mod look;
mod open;
mod outlive;
mod passed;
mod policy;
mod proxied;
mod report;
mod ring;
mod run;
mod script;
mod seen;
mod shell;
mod start;
mod unjudged;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use account::{Account, Accounts, Quota};
pub(super) use adopt::{Diaries, Lost, Open, Recorded, close_runner};
pub(super) use ask::{Beforehand, Unattended};
pub(super) use check::check;
pub(super) use exec::{Exec, sweep as sweep_outputs};
pub(super) use keepsake::{Keepsake, Record};
pub(super) use open::scan_path;
pub(super) use ring::{CAPACITY as OUTPUT_KEPT, Share};

use self::link::{Orders, Routes};
use super::context::Context;
use super::local::Local;
use super::policy_file::Source;
use super::scribe::Scribe;
use super::state::Directories;
use super::vault::{Masker, Vault};
use crate::approval::{Broker, Budget, Grants, Modes};
use crate::models::Chain;
use crate::policy::Profile;
use crate::prepare::Root;
use crate::prepare::environment::Environment;
use crate::resolve::System;
use crate::sandbox::launcher::Launcher;
use crate::sandbox::{docker, jail};
use crate::stage::Principal;
use crate::state::Store;
use crate::wire::dialog::{self, Roster};
use crate::wire::rpc::{self, ExecId, Separation, SessionId, State};
use crate::wire::runner::{Receipt, SandboxSpec};

/// Commands that have ended and are kept for whoever asks, of one session.
const KEPT: usize = 128;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) policy: RwLock<Arc<Source>>,
    pub(super) scribe: Scribe,
    pub(super) store: Arc<Store>,
    pub(super) broker: Broker,
    pub(super) grants: Grants,
    pub(super) modes: Modes,
    /// Who answers before a person where the mode says so. Where nobody is in it, a person does.
    pub(super) models: RwLock<Arc<Chain>>,
    pub(super) assessments: Budget,
    pub(super) launcher: jail::Launcher,
    pub(super) engine: docker::Engine,
    /// By name.
    pub(super) launchers: BTreeMap<String, Arc<Launcher>>,
    pub(super) accounts: Accounts,
    pub(super) directories: Directories,
    pub(super) vault: Arc<Vault>,
    /// How the names are resolved that commands ask their proxies for.
    pub(super) resolver: Arc<System>,
    /// A command in the background, and a session without a command, last no longer.
    pub(super) lifetime: Lifetime,
    /// Below it, what sessions leave to the next supervisor; `None` where they end with this one.
    pub(super) keepsakes: Option<PathBuf>,
    /// Nothing new is begun.
    pub(super) stopping: CancellationToken,
    /// Sessions that outlive this supervisor are left to the next one.
    pub(super) leaving: CancellationToken,
}

/// How long things last that nobody ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Of a command in the background.
    pub(super) background: Duration,
    /// Of a session in which nothing runs and of which nobody asks anything.
    pub(super) idle: Duration,
    /// Of a session without a supervisor.
    pub(super) alone: Duration,
}

impl Common {
    pub(super) fn policy(&self) -> Arc<Source> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn models(&self) -> Arc<Chain> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pid: i32,
    /// Its root directory when it connected; `None` where that cannot be told.
    pub(super) root: Option<Arc<OwnedFd>>,
    /// Login name, or the number.
    pub(super) name: String,
    pub(super) account: Arc<Account>,
    /// Whether something separates it from those who approve.
    pub(super) separation: Separation,
    /// What it may do on the operators' socket.
    pub(super) roles: Vec<rpc::Role>,
    /// Cancelled when it may not be here any more.
    pub(super) admitted: CancellationToken,
}

impl Peer {
    /// The root of a peer that is this process.
    pub(super) fn own_root() -> Option<Arc<OwnedFd>> {
        std::fs::File::open("/").ok().map(|root| Arc::new(root.into()))
    }

    pub(super) fn principal(&self) -> rpc::Principal {
        rpc::Principal { uid: self.uid, gid: self.gid, name: self.name.clone() }
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    local: Arc<Local>,
    separation: Separation,
    /// Nobody is asked about its commands, and why.
    unattended: OnceLock<Unattended>,
    /// Held for as long as the session lasts, so that its inode cannot become another directory's.
    workspace: Arc<[Root; 1]>,
    pub(super) workspace_path: String,
    spec: SandboxSpec,
    receipt: Receipt,
    profile: Profile,
    layer: Arc<policy::Layer>,
    label: Option<String>,
    opened: Timestamp,
    linger: Duration,
    /// What every command gets that asks for nothing of its own.
    environment: Environment,
    masker: Arc<Masker>,
    /// What the scan of its agent files found.
    suspects: Vec<rpc::Suspect>,
    /// What the next command is told of that.
    context: Context,
    common: Arc<Common>,
    account: Arc<Account>,
    orders: Orders,
    routes: Arc<Routes>,
    commands: Mutex<Roster<Arc<Exec>>>,
    shell: Mutex<shell::Shell>,
    /// Connections that use it, and a mark that changes when it is used.
    used: watch::Sender<Used>,
    /// What it leaves to the next supervisor, where it outlives this one.
    keepsake: Option<Arc<Keepsake>>,
    /// Ends it.
    pub(super) end: CancellationToken,
    /// Which operator ended it, and why.
    killed: Arc<OnceLock<String>>,
    tasks: TaskTracker,
    _places: [OwnedSemaphorePermit; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Used {
    connections: u64,
    running: u64,
    requests: u64,
}

impl Session {
    pub(super) fn principal(&self) -> &Principal {
        &self.local.principal
    }

    pub(super) fn opened(&self) -> rpc::SessionOpened {
        rpc::SessionOpened {
            session: self.id.clone(),
            workspace: self.workspace_path.clone(),
            receipt: self.receipt.clone(),
            separation: self.separation,
            scanned: self.suspects.clone(),
        }
    }

    pub(super) fn listed(&self) -> rpc::Session {
        let Principal { uid, gid, name } = self.principal();
        let used = *self.used.borrow();
        rpc::Session {
            session: self.id.clone(),
            principal: rpc::Principal { uid: *uid, gid: *gid, name: name.clone() },
            workspace: self.workspace_path.clone(),
            cwd: self.kept_cwd(),
            label: self.label.clone(),
            opened: self.opened.to_string(),
            running: used.running,
            started: self.commands().started(),
            connections: used.connections,
            receipt: self.receipt.clone(),
        }
    }

    /// From now on nobody is asked about its commands: what asks is refused, but for what was agreed to beforehand.
    pub(super) fn leave_alone(&self, unattended: Unattended) {
        // It is said once, before anything runs.
        let _ = self.unattended.set(unattended);
    }

    /// A connection uses it, for as long as it keeps what it gets here.
    pub(super) fn join(self: &Arc<Self>) -> Joined {
        self.used.send_modify(|used| used.connections += 1);
        Joined(Arc::clone(self))
    }

    /// Somebody asks something of it.
    pub(super) fn touch(&self) {
        self.used.send_modify(|used| used.requests = used.requests.wrapping_add(1));
    }

    /// All of its commands, oldest first.
    pub(super) fn execs(&self) -> Vec<Arc<Exec>> {
        self.commands().all()
    }

    fn commands(&self) -> MutexGuard<'_, Roster<Arc<Exec>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it and everything in it; returns when nothing is left.
    pub(super) async fn close(&self) {
        for exec in self.execs() {
            exec.kill.cancel();
        }
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        for exec in self.execs() {
            exec.forget();
        }
        if let Some(keepsake) = self.keepsake.clone() {
            let _ = tokio::task::spawn_blocking(move || keepsake.remove()).await;
        }
    }

    /// Says by whom it is ended, and why, for its commands to be told.
    pub(super) fn killed(&self, by: &str, reason: Option<&str>) {
        let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let _ = self.killed.set(format!("the operator {by} ended the session{why}"));
    }

    /// Whether it outlives this supervisor.
    pub(super) fn outlives(&self) -> bool {
        self.keepsake.is_some()
    }

    /// Ends its commands politely, then itself.
    pub(super) async fn stop(&self) {
        let execs = self.execs();
        for exec in &execs {
            exec.cancel.cancel();
        }
        for exec in execs {
            exec.report().await;
        }
        self.close().await;
    }

    /// Ends its commands politely, for a connection that is gone.
    pub(super) fn cancel_bound_to(&self, connection: u64) {
        for exec in self.execs() {
            if exec.bound_to == Some(connection) && exec.state() != State::Ended {
                exec.cancel.cancel();
            }
        }
    }

    /// Waits for the moment at which nobody will want it any more.
    pub(super) async fn forgotten(&self) {
        let mut used = self.used.subscribe();
        loop {
            let now = *used.borrow_and_update();
            let wait = match now {
                Used { connections: 0, .. } => self.linger,
                Used { running: 0, .. } => self.common.lifetime.idle,
                _ => Duration::MAX,
            };
            tokio::select! {
                () = sleep(wait) => return,
                // The sender is in `self`, so that this cannot fail.
                _ = used.changed() => {}
            }
        }
    }
}

impl dialog::Session for Arc<Session> {
    type Command = Arc<Exec>;

    fn owner(&self) -> u32 {
        self.principal().uid
    }

    fn is_over(&self) -> bool {
        self.end.is_cancelled()
    }

    fn command(&self, id: &ExecId) -> Option<Arc<Exec>> {
        self.commands().get(id)
    }
}

/// A session that a connection uses.
#[derive(Debug)]
pub(super) struct Joined(Arc<Session>);

impl std::ops::Deref for Joined {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.used.send_modify(|used| used.connections = used.connections.saturating_sub(1));
    }
}

/// [`tokio::time::sleep`] does not take every duration.
async fn sleep(duration: Duration) {
    tokio::time::sleep(duration.min(Duration::from_secs(30 * 365 * 24 * 3600))).await;
}
