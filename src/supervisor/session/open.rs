//! How a session comes to be.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{self, Orders, Routes};
use super::look::look_as;
use super::policy::Layer;
use super::{Common, Keepsake, Peer, Record, Session, Used, seen, sleep};
use crate::policy::{self, Access, Allowlist, Profile};
use crate::prepare::context::{self as looking, Bounds, Seen, Which};
use crate::prepare::directory::{self, WorkspaceRules};
use crate::prepare::{Directory, DirectoryError, Root};
use crate::sandbox::launcher::FarError;
use crate::sandbox::{self, Backend, LaunchError, Link, Next};
use crate::supervisor::context::{self, Context};
use crate::supervisor::egress::Egress;
use crate::supervisor::local::Local;
use crate::supervisor::pipeline;
use crate::supervisor::policy_file::{Project, Source};
use crate::supervisor::vault::Masker;
use crate::wire::rpc::{self, Code, Error, OpenSession, SessionId};
use crate::wire::runner::{Identity, Limits, SESSIONS, SandboxSpec};

/// What a look at the requester's files brings.
pub(super) struct Looked {
    local: Local,
    pub(super) workspace: Directory,
    pub(super) spec: SandboxSpec,
    pub(super) profile: Profile,
    pub(super) project: Option<Project>,
    pub(super) backend: Backend,
}

/// What else a session is made of.
pub(super) struct Made {
    pub(super) id: SessionId,
    pub(super) opened: Timestamp,
    pub(super) link: Link,
    pub(super) layer: Layer,
    pub(super) suspects: Vec<rpc::Suspect>,
    pub(super) context: Context,
    pub(super) masker: Arc<Masker>,
    pub(super) places: [OwnedSemaphorePermit; 2],
    pub(super) keepsake: Option<Arc<Keepsake>>,
    pub(super) linger: Duration,
}

/// Where a session leaves what the next supervisor is to find, with its runner's socket. A session that has none ends with this
/// supervisor.
fn keepsake(common: &Common, looked: &Looked, id: &SessionId) -> Option<(Keepsake, OwnedFd)> {
    if matches!(looked.backend, Backend::Launcher(_)) {
        return None;
    }
    let all = common.keepsakes.as_ref()?;
    match Keepsake::make(all, id) {
        Ok(made) => Some(made),
        Err(error) => {
            tracing::warn!(%error, directory = %all.display(), "a session will end with execward");
            None
        }
    }
}

impl Session {
    /// Opens one: looks at the workspace as the peer would, and has the sandbox built. Where it `lasts`, it outlives this
    /// supervisor.
    pub(in crate::supervisor) async fn open(
        common: &Arc<Common>,
        peer: &Peer,
        asked: OpenSession,
        lasts: bool,
    ) -> Result<Arc<Self>, Error> {
        if common.stopping.is_cancelled() {
            return Err(stopping());
        }
        let places = common.accounts.admit_session(&peer.account).ok_or_else(|| {
            Error::new(Code::Limit, "there are as many sessions as there may be")
                .hint("close one with session/close; session/list shows yours")
        })?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Code::Internal, format!("no random numbers: {error}")))?;
        let id = SessionId::from_random(id);
        let mut looked = look(common, peer, asked.clone(), None).await?;
        let layer = Layer::new(looked.project.clone());
        let policy = layer.beneath(common.policy())?;
        let masker = Arc::new(Masker::new(Arc::clone(&common.vault), policy.redaction()));
        let kept = lasts.then(|| keepsake(common, &looked, &id)).flatten();
        if kept.is_some() {
            looked.spec.outlives_ms = u64::try_from(common.lifetime.alone.as_millis()).unwrap_or(u64::MAX);
        }
        let (keepsake, rendezvous) =
            kept.map(|(keepsake, rendezvous)| (Arc::new(keepsake), rendezvous)).unzip();
        let next = keepsake.as_deref().zip(rendezvous.as_ref());
        let next = next.map(|(keepsake, socket)| Next { socket, directory: keepsake.directory() });
        // Nobody waits longer for the one than for the other.
        let (link, seen) = tokio::join!(
            launch(common, &looked.backend, looked.spec.clone(), &looked.workspace, next),
            async {
                // What lies elsewhere is not read from here.
                if looked.spec.is_far() {
                    Ok(Seen::default())
                } else {
                    scan(peer, looked.workspace.fd.as_fd()).await
                }
            }
        );
        let link = link
            .map_err(|error| Error::new(Code::Sandbox, format!("the sandbox: {error}")).hint(error.hint()));
        let opened = async {
            let (link, seen) = match (link?, seen) {
                (link, Ok(seen)) => (link, seen),
                (link, Err(error)) => {
                    let _ = tokio::task::spawn_blocking(move || link.close()).await;
                    return Err(error);
                }
            };
            let suspects = context::suspects(&policy.scan, &seen, &masker.now());
            let context = Context::new(&policy.scan, &suspects, seen.cut);
            let opened = Timestamp::now();
            if let Some(keepsake) = &keepsake {
                let record = Record {
                    format: SESSIONS,
                    uid: peer.uid,
                    gid: peer.gid,
                    name: peer.name.clone(),
                    separation: peer.separation,
                    asked: asked.clone(),
                    opened: opened.as_millisecond(),
                    profile: serde_json::to_value(&looked.profile).unwrap_or_default(),
                    project: looked.project.clone(),
                    spec: looked.spec.clone(),
                    container: link.container(),
                    suspects: suspects.clone(),
                };
                if let Err(error) = keepsake.write(&record) {
                    let _ = tokio::task::spawn_blocking(move || link.close()).await;
                    return Err(Error::new(Code::Internal, format!("its keepsake: {error}")));
                }
            }
            let (keepsake, linger) = (keepsake.clone(), asked.linger_ms.millis());
            let made = Made { id, opened, link, layer, suspects, context, masker, places, keepsake, linger };
            Self::put_together(common, peer, &asked, looked, made)
        };
        let opened = opened.await;
        if opened.is_err() {
            keepsake.iter().for_each(|keepsake| keepsake.remove());
        }
        opened
    }

    /// Makes a session of what there is of it, and sets it going.
    pub(super) fn put_together(
        common: &Arc<Common>,
        peer: &Peer,
        asked: &OpenSession,
        looked: Looked,
        made: Made,
    ) -> Result<Arc<Self>, Error> {
        let Looked { local, workspace, spec, profile, backend, .. } = looked;
        let Made { id, opened, mut link, layer, suspects, context, masker, places, keepsake, linger } = made;
        let lifetime = asked.limits.as_ref().and_then(|limits| limits.lifetime_ms).map(|ms| ms.millis());
        let local = match &backend {
            Backend::Jail => local,
            Backend::Docker(_) | Backend::Launcher(_) => local.inside(backend.name(), link.bash()),
        };
        let spec = match link.home().filter(|_| spec.is_far()) {
            None => spec,
            // It says so itself, and is believed in no more than that.
            Some(home) if is_home(home) => {
                let identity = Identity { home: home.to_owned(), ..spec.identity };
                SandboxSpec { identity, ..spec }
            }
            Some(_) => {
                link.close();
                return Err(Error::new(
                    Code::Sandbox,
                    "the sandbox: its runner names a home that can be none",
                ));
            }
        };
        let environment = match pipeline::environment(&local, &profile, &spec, &workspace.path, &[], &[]) {
            Ok(environment) => environment,
            Err(error) => {
                // It would wait for another supervisor.
                link.close();
                return Err(Error::new(Code::Environment, error.to_string()));
            }
        };
        let workspace_path = workspace.path.to_string_lossy().into_owned();
        let receipt = link.receipt().clone();
        let listener = link.take_listener();
        let (sender, receiver) = link.split();
        let orders = Orders::new(sender);
        let session = Arc::new(Self {
            id,
            local: Arc::new(local),
            separation: peer.separation,
            unattended: OnceLock::new(),
            workspace: Arc::new([Root::from(workspace)]),
            workspace_path,
            spec,
            receipt,
            profile,
            layer: Arc::new(layer),
            label: asked.label.clone().map(|label| masker.now().text(&String::from(label)).0),
            opened,
            linger,
            masker,
            suspects,
            context,
            environment,
            common: Arc::clone(common),
            account: Arc::clone(&peer.account),
            orders,
            routes: Arc::new(Routes::default()),
            commands: Mutex::default(),
            shell: Mutex::default(),
            used: watch::Sender::new(Used::default()),
            keepsake,
            end: CancellationToken::new(),
            killed: Arc::default(),
            tasks: TaskTracker::new(),
            _places: places,
        });
        session.tasks.spawn(link::send(session.orders.clone(), session.end.clone()));
        session.tasks.spawn(link::receive(
            receiver,
            session.orders.clone(),
            Arc::clone(&session.routes),
            session.end.clone(),
            Arc::clone(&session.killed),
            if session.outlives() { common.leaving.clone() } else { CancellationToken::new() },
        ));
        if let Some(listener) = listener {
            session.tasks.spawn(session.egress(peer).serve(
                listener,
                Arc::clone(&common.resolver),
                Arc::clone(&peer.account.egress),
                session.end.clone(),
            ));
        }
        if let Some(lifetime) = lifetime {
            let gone = Timestamp::now().duration_since(opened).unsigned_abs();
            let lifetime = lifetime.saturating_sub(gone);
            let end = session.end.clone();
            session.tasks.spawn(async move {
                tokio::select! {
                    () = sleep(lifetime) => end.cancel(),
                    () = end.cancelled() => {}
                }
            });
        }
        Ok(session)
    }

    /// What its proxy leads to whenever it is asked: what its profile lists, for as long as the policy gives that.
    pub(super) fn reached(&self) -> impl Fn() -> Allowlist + Send + Sync + use<> {
        let (common, layer) = (Arc::clone(&self.common), Arc::clone(&self.layer));
        let profile = self.profile.clone();
        move || {
            // Where the two cannot be joined any more, no command runs either, and nothing is reached.
            let policy = layer.beneath(common.policy()).ok();
            let standing = policy.and_then(|policy| pipeline::standing(&profile, &policy).ok());
            standing.as_ref().map(pipeline::allowed).unwrap_or_default()
        }
    }

    fn egress(&self, peer: &Peer) -> Egress {
        let masker = Arc::clone(&self.masker);
        Egress {
            scribe: self.common.scribe.clone(),
            redactor: Box::new(move || masker.now()),
            principal: self.principal().clone(),
            pid: peer.pid,
            owner: self.id.to_string(),
            session: Some(self.id.to_string()),
            allow: Box::new(self.reached()),
        }
    }
}

/// A profile that cannot be had, as the protocol says it.
pub(super) fn unusable(error: pipeline::ProfileError) -> Error {
    let code = match error {
        pipeline::ProfileError::Unknown { .. } | pipeline::ProfileError::NotSelectable(_) => {
            Code::UnknownProfile
        }
        _ => Code::Terms,
    };
    Error::new(code, error.to_string()).hint(error.hint())
}

pub(super) fn stopping() -> Error {
    Error::new(Code::Stopping, "the daemon is stopping and starts nothing more")
}

/// Has the sandbox made by what it is to be made by.
async fn launch(
    common: &Common,
    backend: &Backend,
    spec: SandboxSpec,
    workspace: &Directory,
    next: Option<Next<'_>>,
) -> Result<Link, LaunchError> {
    let begun = Instant::now();
    let link = match backend {
        Backend::Jail => common.launcher.launch(spec, next.map(|next| next.socket)).await,
        Backend::Docker(made) => sandbox::contain(&common.engine, made, spec, workspace, next).await,
        Backend::Launcher(name) => match common.launchers.get(name) {
            Some(launcher) => sandbox::reach(launcher, spec).await,
            None => Err(FarError::Unknown(name.clone()).into()),
        },
    };
    common.scribe.pulse().sandbox(backend.kind(), link.is_ok(), begun.elapsed());
    link
}

/// What the session's commands may use up: no more than the profile gives, and no more than was asked for.
fn limits(profile: &Profile, asked: Option<&rpc::SessionLimits>) -> Limits {
    let mut limits = pipeline::limits(profile);
    if let Some(asked) = asked {
        let least = |limit: &mut u64, asked: Option<u64>| {
            *limit = asked.map_or(*limit, |asked| asked.min(*limit));
        };
        least(&mut limits.memory, asked.memory.map(rpc::Bounded::get));
        least(&mut limits.processes, asked.processes.map(rpc::Bounded::get));
        limits.tmpfs = limits.tmpfs.min(limits.memory / 2);
    }
    limits
}

/// Looks, as the requester, at what a session is to be about. `held` is the policy that the project had when it was opened.
pub(super) async fn look(
    common: &Arc<Common>,
    peer: &Peer,
    asked: OpenSession,
    held: Option<Option<Project>>,
) -> Result<Looked, Error> {
    let (uid, gid) = (peer.uid, peer.gid);
    let (common, root) = (Arc::clone(common), peer.root.clone());
    let look = move || -> Result<Looked, Error> {
        let (upper, path) = (common.policy(), PathBuf::from(asked.workspace.as_str()));
        let local = Local::peer(uid, gid, common.directories.clone())
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let own_state = common.directories.own();
        let unsuitable = |error: DirectoryError| {
            Error::new(Code::Workspace, format!("the workspace: {error}"))
                .hint("name a directory of your own that holds one piece of work")
        };
        let selected = asked.profile.as_ref().map(rpc::Words::as_str);
        let wanted = pipeline::Wanted {
            network: asked.network,
            backend: asked.backend,
            image: asked.image.as_ref().map(rpc::Words::as_str),
            launcher: asked.launcher.as_ref().map(rpc::Words::as_str),
        };
        // Whether it lies here at all is the policy's to say: that of a project lies in it.
        if let Ok(Profile { backend: policy::Backend::Launcher(name), .. }) =
            pipeline::profile(&upper, selected, wanted)
        {
            return far(&common, &name, local, &asked, (&upper, selected, wanted));
        }
        let workspace = open_workspace(&path, &local, &own_state).map_err(unsuitable)?;
        seen::by(root.as_deref(), &workspace.fd, &workspace.path).map_err(|why| {
            Error::new(Code::Workspace, format!("the workspace: {why}"))
                .hint("name a directory that you see and can change yourself, by the path that you see it at")
        })?;
        // Both are pure, and read by the requester what the requester wrote.
        let project = match held {
            Some(held) => held,
            None => Project::read(workspace.fd.as_fd()).map_err(super::policy::unusable)?,
        };
        let joined = project
            .as_ref()
            .map(|project| upper.with_project(project, None))
            .transpose()
            .map_err(super::policy::unusable)?;
        let policy = joined.as_ref().unwrap_or(&*upper);
        within(&workspace, policy).map_err(unsuitable)?;
        let profile = pipeline::profile(policy, selected, wanted).map_err(unusable)?;
        let backend = pipeline::made_by(&profile, policy);
        if let Backend::Launcher(name) = &backend {
            let error = format!(
                "the policy of the project names the launcher `{name}`, and its own sandbox is none there"
            );
            return Err(Error::new(Code::Terms, error).hint("name the launcher in the request"));
        }
        let spec = backend
            .spec(&sandbox_asked(&local, &profile, policy, &asked, &workspace, own_state))
            .map_err(|error| Error::new(Code::Sandbox, error.to_string()).hint(error.hint()))?;
        Ok(Looked { local, workspace, spec, profile, project, backend })
    };
    look_as((uid, gid), &peer.account.lookups, look)
        .await
        .map_err(|error| Error::new(Code::Workspace, format!("the workspace: {error}")))?
}

fn sandbox_asked<'a>(
    local: &'a Local,
    profile: &'a Profile,
    policy: &Source,
    asked: &OpenSession,
    workspace: &'a Directory,
    own_state: Vec<PathBuf>,
) -> sandbox::Asked<'a> {
    sandbox::Asked {
        requester: (local.principal.uid, local.principal.gid),
        user: &local.principal.name,
        home: local.home.clone(),
        workspace,
        writable: profile.workspace == Access::Write,
        later: pipeline::later(policy),
        network: pipeline::network(profile),
        limits: limits(profile, asked.limits.as_ref()),
        minimum: pipeline::minimum(profile),
        masked: &profile.masked,
        own_state,
    }
}

/// A session where a launcher leads: nothing is looked at from here.
fn far(
    common: &Common,
    name: &str,
    local: Local,
    asked: &OpenSession,
    (policy, selected, wanted): (&Source, Option<&str>, pipeline::Wanted<'_>),
) -> Result<Looked, Error> {
    let profile = pipeline::profile(policy, selected, wanted).map_err(unusable)?;
    let refuse =
        |error: FarError| Error::new(Code::Workspace, format!("the workspace: {error}")).hint(error.hint());
    let launcher = common.launchers.get(name).ok_or_else(|| {
        let error = FarError::Unknown(name.to_owned());
        Error::new(Code::Sandbox, format!("the sandbox: {error}")).hint(error.hint())
    })?;
    let path = launcher.workspace(asked.workspace.as_str(), &local.principal.name).map_err(refuse)?;
    if policy.roots.as_ref().is_some_and(|roots| !roots.iter().any(|root| path.starts_with(root))) {
        let error =
            format!("the workspace: {}: outside of the workspace roots of the policy", path.display());
        return Err(Error::new(Code::Workspace, error));
    }
    let workspace = Directory::elsewhere(path)
        .map_err(|error| Error::new(Code::Internal, format!("the workspace: {error}")))?;
    let spec = launcher
        .spec(&sandbox_asked(&local, &profile, policy, asked, &workspace, Vec::new()))
        .map_err(|error| Error::new(Code::Sandbox, error.to_string()).hint(error.hint()))?;
    let backend = pipeline::made_by(&profile, policy);
    Ok(Looked { local, workspace, spec, profile, project: None, backend })
}

/// Whether a path that a runner elsewhere names can be a home: absolute, of plain characters, and nothing but a name.
fn is_home(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.starts_with("/tmp/")
        && path.as_os_str().len() < 64
        && path.as_os_str().as_encoded_bytes().iter().all(plain)
        && path.components().count() == 3
        && !path.ends_with("..")
}

/// That the policy lets commands work there.
fn within(workspace: &Directory, policy: &Source) -> Result<(), DirectoryError> {
    let Some(roots) = &policy.roots else { return Ok(()) };
    let roots: Result<Vec<Root>, DirectoryError> =
        roots.iter().map(|root| Root::open(Path::new(root))).collect();
    directory::open(&workspace.path, &roots?).map(drop)
}

/// Scans the files of the workspace that agents obey, as the peer may read them. The bounds are short of a look's
/// patience: where it cannot be done, there is no session.
async fn scan(peer: &Peer, workspace: BorrowedFd<'_>) -> Result<Seen, Error> {
    let failed = |error: String| Error::new(Code::Workspace, format!("the scan of its agent files: {error}"));
    let workspace = workspace.try_clone_to_owned().map_err(|error| failed(error.to_string()))?;
    let look = move || looking::below(workspace.as_fd(), Which::AgentFiles, Bounds::SESSION);
    look_as((peer.uid, peer.gid), &peer.account.lookups, look)
        .await
        .map_err(|error| failed(error.to_string()))
}

/// `scan/path`, as the peer may read it.
///
/// # Errors
/// When there is nothing to read there.
pub(in crate::supervisor) async fn scan_path(
    common: &Common,
    peer: &Peer,
    path: PathBuf,
) -> Result<rpc::Scanned, Error> {
    let bounds = Bounds { time: Duration::from_secs(4), ..Bounds::ASKED };
    let (at, root) = (path.clone(), peer.root.clone());
    let failed = |error: String| Error::new(Code::Directory, format!("the path: {error}"));
    let seen = look_as((peer.uid, peer.gid), &peer.account.lookups, move || {
        let held =
            open(&at, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(seen::Unseen::Missing)?;
        seen::by(root.as_deref(), held, &at)?;
        Ok::<_, seen::Unseen>(looking::look(&at, Which::AgentFiles, bounds))
    })
    .await
    .map_err(|error| failed(error.to_string()))?
    .map_err(|error| failed(error.to_string()))?
    .map_err(|errno| failed(format!("{}: {errno}", path.display())))?;
    let redactor = common.vault.redactor(&common.policy().redaction(), Vec::new());
    Ok(rpc::Scanned {
        findings: context::listed(&seen, &redactor),
        files: seen.read,
        bytes: seen.bytes,
        complete: !seen.cut,
    })
}

fn open_workspace(path: &Path, local: &Local, own_state: &[PathBuf]) -> Result<Directory, DirectoryError> {
    let rules = WorkspaceRules { home: &local.home, state: own_state, allow_broad: false };
    let workspace = directory::workspace(path, rules)?;
    // An O_PATH descriptor says nothing of what may be done with the directory.
    faccessat(&workspace.fd, ".", AccessFlags::R_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| DirectoryError::Open { path: path.to_owned(), errno })?;
    Ok(workspace)
}
