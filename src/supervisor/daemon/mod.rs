//! The daemon: two sockets, many agents at once, one log.
//!
//! It identifies each peer by what the kernel says, gives each principal its share and no more, and keeps sessions apart.
//! Whatever a peer sends, it harms nobody but itself; whatever fails, nothing runs that was not cleared and recorded.

mod adopt;
mod agent;
mod answers;
mod config;
mod configured;
mod connection;
mod form;
mod inherited;
mod jobs;
mod launchers;
mod look;
mod models;
mod notify;
mod observe;
mod operator;
mod pairing;
mod people;
mod principals;
mod providers;
mod reload;
mod sockets;
mod tell;

use std::collections::HashMap;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::ConfigError;
pub use configured::{Configured, Engines, configured, jobs_found};
pub use form::{migrate as migrate_config, put as put_config};
pub use jobs::JobsError;
pub use look::{CONFIG_VERSION, Mistake, Part, config_schema, effective, look_over};
pub use models::ModelFiles;
pub use providers::{EditError, NewProvider, add_provider, remove_provider};
pub use sockets::{Layout, Place, SocketError};

use self::agent::Agent;
use self::config::Config;
use self::connection::Serve;
use self::jobs::Jobs;
use self::operator::Operator;
use self::pairing::Pairing;
use self::principals::Principals;
use self::reload::Standing;
use self::sockets::Sockets;
use super::local::{Local, LocalError};
use super::policy_file::{self, PolicyFileError};
use super::scribe::Scribe;
use super::session::{Accounts, Common, Peer, Session};
use super::vault::Vault;
use crate::approval::{Broker, Budget, Grants, Modes};
use crate::audit::LogError;
use crate::audit::record::{Authority, Record};
use crate::gate;
use crate::http::{Keys, KeysError};
use crate::redact::{Redactor, Rules};
use crate::sandbox::{LaunchError, docker, jail};
use crate::state::{self, SetAside, StateError, Store};
use crate::wire::dialog::Register;
use crate::wire::peer;
use crate::wire::rpc::{self, Code, Error, Happening, Reply, Role};

/// Threads that serve connections, at most.
const WORKERS: usize = 8;

/// How long a listener rests when there are no descriptors left: EMFILE does not go away by trying again at once.
const REST: Duration = Duration::from_millis(50);

/// How much rather the kernel shall end others when memory runs out: proc_pid_oom_score_adj(5).
const OOM_SCORE_ADJUSTMENT: &str = "-900";

/// What a daemon is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration, where one is named.
    pub config: Option<PathBuf>,
    /// Where the sockets go, where that is said.
    pub socket_dir: Option<PathBuf>,
    /// The state directory, where one is named.
    pub state: Option<PathBuf>,
    /// The policy file, where one is named.
    pub policy: Option<PathBuf>,
    /// Where the binary is that is executed anew at SIGUSR2, which may be another one by then.
    pub binary: Option<PathBuf>,
}

/// Why a daemon does not serve any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It was told to stop.
    Stopped,
    /// It was told to be executed anew.
    Again,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// This user cannot run one.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// A job cannot be used.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The sockets cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No record can be kept.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What must outlive the daemon cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// What must be recorded is not.
    #[error("{0}")]
    Unwritten(String),
    /// The file of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Runners cannot be started.
    #[error(transparent)]
    Launcher(#[from] LaunchError),
    /// A system call that should not fail did.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
}

impl DaemonError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Local(error) => error.hint().to_owned(),
            Self::Policy(error) | Self::Config(ConfigError::File(error)) => error.hint(),
            Self::Jobs(error) => error.hint(),
            Self::Socket(error) => error.hint().to_owned(),
            Self::Log(_) | Self::Unwritten(_) => {
                "nothing runs without its record: make room or mend the permissions, or name another \
                             directory with --state DIR"
                    .to_owned()
            }
            Self::Launcher(error) => error.hint(),
            _ => String::new(),
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct House {
    pub(super) common: Arc<Common>,
    principals: Principals,
    pairing: Pairing,
    jobs: Jobs,
    /// For each user with a connection: ends them all.
    admitted: Mutex<HashMap<u32, CancellationToken>>,
    sessions: Mutex<Register<Arc<Session>>>,
    /// The policy file that was named, and whoever must have written it.
    policy: Option<PathBuf>,
    /// The configuration that was named.
    config: Option<PathBuf>,
    standing: Standing,
    own: u32,
    connections: AtomicU64,
    /// Connections end.
    pub(super) closing: CancellationToken,
    tasks: TaskTracker,
}

/// Serves until told to stop by SIGTERM or SIGINT, or to be executed anew by SIGUSR2. SIGHUP has the policy and the jobs read again.
///
/// # Errors
/// When it cannot begin; see [`DaemonError`].
pub fn serve(options: &Options) -> Result<Over, DaemonError> {
    inherited::wait_for_inherited();
    let local = Local::look(options.state.clone())?;
    let own = local.principal.uid;
    let system = |what| move |error| DaemonError::System { what, error };
    let config = Config::load(options.config.as_deref(), &local.directories, own)?;
    let policy = policy_file::load(options.policy.as_deref(), &local.directories, own)?;
    let directory = jobs::directory(options.config.as_deref(), &local.directories, own);
    let jobs = Jobs::load(directory, config.jobs.clone(), own)?;
    let sockets = match Sockets::passed()? {
        Some(sockets) => sockets,
        None => {
            let directory = options
                .socket_dir
                .clone()
                .unwrap_or_else(|| sockets::directory(own, sockets::run_time(), &local.directories.state));
            Sockets::make(&std::path::absolute(&directory).unwrap_or(directory))?
        }
    };
    let _held = state::hold(&local.directories.state)?;
    take_what_there_is(own);
    let scribe = Scribe::open(&local.directories.audit(), config.audit.into())?;
    let (store, aside) = Store::open(&local.directories.state)?;
    let store = Arc::new(store);
    let (grants, modes) = (Grants::load(Arc::clone(&store))?, Modes::load(Arc::clone(&store))?);
    let keys = Keys::read(&local.directories.keys(), own)?;
    let standing = Standing::new(&config, &keys)?;
    let chain = models::chain(config.clone(), keys, Arc::clone(&store))?;
    let common = Arc::new(Common {
        policy: RwLock::new(Arc::new(policy)),
        scribe,
        store,
        broker: Broker::default(),
        grants,
        modes,
        models: RwLock::new(Arc::new(chain)),
        assessments: Budget::default(),
        launcher: jail::Launcher::new()?,
        launchers: launchers::launchers(&config.launcher, &local)
            .map_err(|error| ConfigError::Lacks(format!("[launcher]: {error}")))?,
        engine: docker::Engine::new(config.docker.options(&local.directories)),
        accounts: Accounts::new(config.limits, local.directories.state.clone()),
        vault: Arc::new(Vault::new(local.directories.secrets(), own)),
        directories: local.directories,
        resolver: Arc::default(),
        lifetime: config.daemon.into(),
        keepsakes: adopt::directory(&sockets).filter(|_| !config.daemon.alone.is_zero()),
        stopping: CancellationToken::new(),
        leaving: CancellationToken::new(),
    });
    let paired: Vec<u32> = common.store.principals()?.iter().map(|row| row.uid).collect();
    let principals = Principals::find(&config.principals, own, &paired)
        .map_err(system("cannot read the users and groups"))?;
    let house = Arc::new(House {
        pairing: Pairing::new(Arc::clone(&common.store)),
        jobs,
        common,
        principals,
        admitted: Mutex::default(),
        sessions: Mutex::default(),
        policy: options.policy.clone(),
        config: options.config.clone(),
        standing,
        own,
        connections: AtomicU64::new(1),
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .thread_name("execward")
        .enable_all()
        .build()
        .map_err(system("cannot start the event loop"))?;
    if let Some(SetAside { to, why }) = aside {
        let (to, redactor) = (to.display().to_string(), Redactor::new(&Rules::builtin(), Vec::new()));
        tracing::error!(
            to,
            why,
            "the state was damaged and is put aside: grants, modes, pairings, how far jobs have come, their history and what was still \
             to be told are gone"
        );
        let authority = Authority {
            action: "state-set-aside".to_owned(),
            by_uid: own,
            by: "execward".to_owned(),
            subject: serde_json::json!({ "to": to, "why": why }),
        };
        let record = Record::authority(&authority, &redactor);
        runtime
            .block_on(house.common.scribe.note(record))
            .map_err(|error| DaemonError::Unwritten(error.to_string()))?;
    }
    let served = runtime.block_on(house.run(sockets, config.daemon.stop_grace, options.binary.as_deref()));
    // Threads that hang in somebody's file system are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map_err(system("cannot serve"))
}

/// Removes the containers that a supervisor has left which is no more.
async fn sweep(engine: docker::Engine) {
    match engine.sweep().await {
        Ok(0) => {}
        Ok(containers) => tracing::info!(containers, "what a dead supervisor had left was removed"),
        Err(error) => tracing::warn!(%error, "it is not known whether a dead supervisor has left containers"),
    }
}

/// One thread for two processors: the other is for what the commands do. A thread more than is needed costs each
/// command several times that it is woken for nothing.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).clamp(1, WORKERS))
}

/// Descriptors as many as the limit allows, and no death by the memory that others take. Both as far as they go.
fn take_what_there_is(own: u32) {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    if own == 0 {
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    }
}

impl House {
    async fn run(
        self: Arc<Self>,
        sockets: Sockets,
        grace: Duration,
        binary: Option<&Path>,
    ) -> std::io::Result<Over> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut again = signal(SignalKind::user_defined2())?;
        let listen = |listener: &StdListener| {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        let (agents, operators) = (listen(&sockets.agent)?, listen(&sockets.operator)?);
        adopt::adopt(&self).await;
        let agents = tokio::spawn(Arc::clone(&self).accept::<Agent>(agents));
        let operators = tokio::spawn(Arc::clone(&self).accept::<Operator>(operators));
        if self.common.directories.containers().is_dir() {
            self.tasks.spawn(sweep(self.common.engine.clone()));
        }
        // What they are made into takes longer than the first session should wait.
        self.tasks.spawn_blocking(crate::scan::Rules::builtin);
        self.tasks.spawn(notify::watch(Arc::clone(&self), self.standing.people()));
        self.tasks.spawn(launchers::watch(Arc::clone(&self)));
        self.tasks.spawn(jobs::serve(Arc::clone(&self)));
        self.tasks.spawn(observe::count_questions(Arc::clone(&self)));
        match observe::Metrics::make(&sockets.operator) {
            Ok(metrics) => drop(self.tasks.spawn(metrics.serve(Arc::clone(&self)))),
            Err(error) => tracing::warn!(%error, "no metrics are served"),
        }
        tracing::info!(place = sockets.place(), policy = self.common.policy().name(), "serving");
        notify(&[sd_notify::NotifyState::Ready]);
        let (over, leaves) = loop {
            let leaves = self.common.keepsakes.is_some();
            tokio::select! {
                _ = terminate.recv() => break (Over::Stopped, leaves),
                _ = interrupt.recv() => break (Over::Stopped, false),
                _ = again.recv() => match binary {
                    Some(binary) if sockets.are_own() && binary.is_file() => break (Over::Again, leaves),
                    _ => tracing::error!("not executed anew: systemd has the sockets, and restarts it, or there is no binary"),
                },
                _ = hang_up.recv() => {
                    let house = Arc::clone(&self);
                    match tokio::task::spawn_blocking(move || house.reload()).await {
                        Ok(Ok(_)) => tracing::info!(policy = self.common.policy().name(), "policy read again, and the jobs"),
                        Ok(Err(error)) => tracing::error!(%error, "the policy and the jobs stay as they were"),
                        Err(_) => tracing::error!("the policy could not be read, and stays as it was"),
                    }
                }
            }
        };
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
        self.common.stopping.cancel();
        agents.abort();
        operators.abort();
        self.stop(grace, leaves).await;
        drop(sockets);
        Ok(over)
    }

    /// Lets running commands end, then ends them, and tells everybody. Sessions that another daemon can go on with are left to it,
    /// where this one `leaves`.
    async fn stop(&self, grace: Duration, leaves: bool) {
        let ends = || -> Vec<Arc<Session>> {
            let all = self.sessions().all();
            all.into_iter().filter(|session| !(leaves && session.outlives())).collect()
        };
        let running = |sessions: &[Arc<Session>]| sessions.iter().any(|session| session.listed().running > 0);
        let deadline = tokio::time::Instant::now() + grace;
        while running(&ends()) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if leaves {
            // Nothing is taken from a runner any more that nobody would write down.
            self.common.leaving.cancel();
        }
        let closing: Vec<_> =
            ends().into_iter().map(|session| tokio::spawn(async move { session.stop().await })).collect();
        for closing in closing {
            let _ = closing.await;
        }
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let engine = self.common.engine.clone();
        let _ = tokio::task::spawn_blocking(move || engine.close()).await;
        if let Err(error) = self.common.scribe.checkpoint().await {
            tracing::error!(%error, "not everything is recorded");
        }
    }

    async fn accept<S: Serve>(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.admit::<S>(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Serves a connection, or says why not. Nothing here waits for the peer.
    fn admit<S: Serve>(self: &Arc<Self>, stream: UnixStream) {
        let who = match peer::Peer::of(&stream) {
            Ok(who) => who,
            Err(error) => return refuse(&stream, Error::new(Code::NotPermitted, error.to_string())),
        };
        let permitted = || match S::ROLE {
            Role::Operator => self.principals.is_operator(&who),
            _ => self.principals.is_agent(&who),
        };
        if !permitted() {
            return self.turn_away::<S>(stream, who.uid);
        }
        let admitted = self.admitted(who.uid);
        // Put out in between: what ends its connections may not have met this one.
        if !permitted() {
            return self.turn_away::<S>(stream, who.uid);
        }
        let account = self.common.accounts.of(who.uid);
        // An operator must get in when agents have filled the house, be they the same user's.
        let (own, all) = match S::ROLE {
            Role::Operator => (&account.consoles, Some(None)),
            _ => (&account.connections, self.common.accounts.admit_connection().map(Some)),
        };
        let own = Arc::clone(own).try_acquire_owned().ok();
        let (Some(own), Some(all)) = (own, all) else {
            let error = Error::new(Code::Limit, "there are as many connections as there may be")
                .hint("one connection can have many requests and sessions")
                .retry_after(Duration::from_secs(1));
            return refuse(&stream, error);
        };
        let peer = Peer {
            uid: who.uid,
            gid: who.gid,
            pid: who.pid.unwrap_or(0),
            root: who.root().map(Arc::new),
            name: self.principals.name(who.uid),
            account,
            separation: self.principals.separation(&who),
            roles: if S::ROLE == Role::Operator { self.principals.roles(&who) } else { Vec::new() },
            admitted: admitted.clone(),
        };
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let house = Arc::clone(self);
        self.tasks.spawn(async move {
            connection::serve::<S>(stream, house, peer, number, admitted).await;
            drop((own, all));
        });
    }

    /// What ends all connections of a user, and each when the daemon ends.
    fn admitted(&self, uid: u32) -> CancellationToken {
        let mut all = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(uid).or_insert_with(|| self.closing.child_token()).clone()
    }

    /// Ends all connections of a user.
    fn turn_out(&self, uid: u32) {
        let ended = self.admitted.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        if let Some(ended) = ended {
            ended.cancel();
        }
    }

    /// Says why somebody may not connect; who could be an agent gets a code to be let in with. Nothing here waits for it.
    fn turn_away<S: Serve>(self: &Arc<Self>, stream: UnixStream, uid: u32) {
        let error = Error::new(Code::NotPermitted, format!("uid {uid} may not connect here"));
        if S::ROLE == Role::Operator {
            let hint = "an administrator names who may, under [principals] in execward.toml";
            return refuse(&stream, error.hint(hint));
        }
        let house = Arc::clone(self);
        self.tasks.spawn_blocking(move || {
            let error = match house.pairing.offer(uid) {
                Ok(code) => {
                    tracing::info!(uid, "a stranger was given a pairing code");
                    let code = pairing::shown(&code);
                    let hint =
                        format!("an operator lets you in with `execward pair approve {code}` within an hour");
                    error.hint(hint)
                }
                Err(why) => error.hint(format!("an operator lets you in by a pairing code; {why}")),
            };
            refuse(&stream, error);
        });
    }

    /// All sessions.
    fn sessions(&self) -> MutexGuard<'_, Register<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session; nobody finds it afterwards.
    async fn close(&self, session: &Session) {
        session.close().await;
        self.sessions().remove(&session.id);
        let closed = || Happening::SessionClosed { session: session.id.clone() };
        self.common.scribe.pulse().tell(closed);
        self.common.modes.set_session(&session.id, None);
        let (grants, id) = (self.common.grants.clone(), session.id.clone());
        let over = move || grants.revoke_all("the end of the session", |it| it.session.as_ref() == Some(&id));
        let _ = tokio::task::spawn_blocking(over).await;
    }

    /// Keeps a session until it ends, or until nobody wants it any more.
    fn keep(self: &Arc<Self>, session: &Arc<Session>) {
        self.sessions().insert(session.id.clone(), Arc::clone(session));
        self.common.scribe.pulse().tell(|| {
            let rpc::Session { session, principal, workspace, .. } = session.listed();
            Happening::SessionOpened { session, uid: principal.uid, workspace: gate::render(&workspace) }
        });
        let (house, session) = (Arc::clone(self), Arc::clone(session));
        self.tasks.spawn(async move {
            let leaving = async {
                if session.outlives() {
                    house.common.leaving.cancelled().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = session.forgotten() => {}
                () = session.end.cancelled() => {}
                () = leaving => return,
            }
            house.close(&session).await;
            drop(session);
            // What a session had is not kept for the next one, which may never come.
            let _ = tokio::task::spawn_blocking(crate::sys::process::give_back_memory).await;
        });
    }
}

/// Says why a connection is not served, without waiting for anybody to hear it.
fn refuse(stream: &UnixStream, error: Error) {
    let mut line = Vec::new();
    Reply::unreadable(None, error).encode(&mut line);
    let _ = stream.try_write(&line);
}

/// Tells systemd, where it wants to know.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
