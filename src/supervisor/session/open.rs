//! How a session comes to be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{self, Orders, Routes};
use super::look::look_as;
use super::{Common, Peer, Running, Session, Used, sleep};
use crate::policy::{Access, Profile};
use crate::prepare::directory::{self, WorkspaceRules};
use crate::prepare::{Directory, DirectoryError, Root};
use crate::redact::{Redactor, Rules};
use crate::sandbox::{self, jail};
use crate::supervisor::egress::Egress;
use crate::supervisor::local::Local;
use crate::supervisor::pipeline;
use crate::supervisor::policy_file::Source;
use crate::wire::rpc::{self, Code, Error, OpenSession, SessionId};
use crate::wire::runner::{Limits, SandboxSpec};

/// What a look at the requester's files brings.
struct Seen {
    local: Local,
    workspace: Directory,
    spec: SandboxSpec,
}

impl Session {
    /// Opens one: looks at the workspace as the peer would, and has the sandbox built.
    pub(in crate::supervisor) async fn open(
        common: &Arc<Common>,
        peer: &Peer,
        asked: OpenSession,
    ) -> Result<Arc<Self>, Error> {
        if common.stopping.is_cancelled() {
            return Err(stopping());
        }
        let places = common.accounts.admit_session(&peer.account).ok_or_else(|| {
            Error::new(Code::Limit, "there are as many sessions as there may be")
                .hint("close one with session/close; session/list shows yours")
        })?;
        let policy = common.policy();
        let selected = asked.profile.as_ref().map(rpc::Words::as_str);
        let profile = pipeline::profile(&policy, selected, asked.network).map_err(unusable)?;
        let mut limits = pipeline::limits(&profile);
        let lifetime = asked.limits.as_ref().and_then(|limits| limits.lifetime_ms).map(|ms| ms.millis());
        if let Some(asked) = asked.limits {
            let least = |limit: &mut u64, asked: Option<u64>| {
                *limit = asked.map_or(*limit, |asked| asked.min(*limit));
            };
            least(&mut limits.memory, asked.memory.map(rpc::Bounded::get));
            least(&mut limits.processes, asked.processes.map(rpc::Bounded::get));
            limits.tmpfs = limits.tmpfs.min(limits.memory / 2);
        }
        let Seen { local, workspace, spec } =
            look(common, peer, &policy, asked.workspace.as_str(), &profile, limits).await?;
        let workspace_path = workspace.path.to_string_lossy().into_owned();
        let environment = pipeline::environment(&local, &profile, &spec, &workspace.path, &[], &[])
            .map_err(|error| Error::new(Code::Environment, error.to_string()))?;
        let mut link =
            common.launcher.launch(spec.clone()).await.map_err(|error| {
                Error::new(Code::Sandbox, format!("the sandbox: {error}")).hint(error.hint())
            })?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Code::Internal, format!("no random numbers: {error}")))?;
        let receipt = link.receipt().clone();
        let listener = link.take_listener();
        let (sender, receiver) = link.split();
        let orders = Orders::new(sender);
        let session = Arc::new(Self {
            id: SessionId::from_random(id),
            local: Arc::new(local),
            separation: peer.separation,
            workspace: Arc::new([Root::from(workspace)]),
            workspace_path,
            spec,
            receipt,
            profile,
            label: asked.label.map(Into::into),
            opened: Timestamp::now(),
            linger: asked.linger_ms.millis(),
            redactor: Redactor::new(&Rules::builtin(), Vec::new()),
            environment,
            common: Arc::clone(common),
            account: Arc::clone(&peer.account),
            orders,
            routes: Arc::new(Routes::default()),
            state: Mutex::new(Running::default()),
            used: watch::Sender::new(Used::default()),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            _places: places,
        });
        session.tasks.spawn(link::send(session.orders.clone(), session.end.clone()));
        session.tasks.spawn(link::receive(receiver, Arc::clone(&session.routes), session.end.clone()));
        if let Some(listener) = listener {
            session.tasks.spawn(session.egress(peer).serve(
                listener,
                Arc::clone(&common.resolver),
                Arc::clone(&peer.account.egress),
                session.end.clone(),
            ));
        }
        if let Some(lifetime) = lifetime {
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

    /// What its proxy leads to: what its profile lists, for as long as the policy gives that.
    fn egress(&self, peer: &Peer) -> Egress {
        let (common, profile) = (Arc::clone(&self.common), self.profile.clone());
        Egress {
            scribe: self.common.scribe.clone(),
            redactor: self.redactor.clone(),
            principal: self.principal().clone(),
            pid: peer.pid,
            owner: self.id.to_string(),
            session: Some(self.id.to_string()),
            allow: Box::new(move || {
                let standing = pipeline::standing(&profile, &common.policy());
                standing.as_ref().map(pipeline::allowed).unwrap_or_default()
            }),
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

async fn look(
    common: &Arc<Common>,
    peer: &Peer,
    policy: &Arc<Source>,
    workspace: &str,
    profile: &Profile,
    limits: Limits,
) -> Result<Seen, Error> {
    let (uid, gid) = (peer.uid, peer.gid);
    let (common, policy, path) = (Arc::clone(common), Arc::clone(policy), PathBuf::from(workspace));
    let network = pipeline::network(profile);
    let (writable, minimum) = (profile.workspace == Access::Write, pipeline::minimum(profile));
    let masked = profile.masked.clone();
    let look = move || -> Result<Seen, Error> {
        let local = Local::peer(uid, gid, common.directories.clone())
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let own_state = common.directories.own();
        let workspace = open_workspace(&path, &local, &own_state, &policy).map_err(|error| {
            Error::new(Code::Workspace, format!("the workspace: {error}"))
                .hint("name a directory of your own that holds one piece of work")
        })?;
        let spec = jail::spec(&sandbox::Asked {
            requester: (uid, gid),
            user: &local.principal.name,
            home: local.home.clone(),
            workspace: &workspace,
            writable,
            later: pipeline::later(&policy),
            network,
            limits,
            minimum,
            masked: &masked,
            own_state,
        })
        .map_err(|error| Error::new(Code::Sandbox, error.to_string()).hint(error.hint()))?;
        Ok(Seen { local, workspace, spec })
    };
    look_as((uid, gid), &peer.account.lookups, look)
        .await
        .map_err(|error| Error::new(Code::Workspace, format!("the workspace: {error}")))?
}

fn open_workspace(
    path: &Path,
    local: &Local,
    own_state: &[PathBuf],
    policy: &Source,
) -> Result<Directory, DirectoryError> {
    let rules = WorkspaceRules { home: &local.home, state: own_state, allow_broad: false };
    let workspace = directory::workspace(path, rules)?;
    if let Some(roots) = &policy.roots {
        let roots: Result<Vec<Root>, DirectoryError> =
            roots.iter().map(|root| Root::open(Path::new(root))).collect();
        directory::open(&workspace.path, &roots?)?;
    }
    // An O_PATH descriptor says nothing of what may be done with the directory.
    faccessat(&workspace.fd, ".", AccessFlags::R_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| DirectoryError::Open { path: path.to_owned(), errno })?;
    Ok(workspace)
}
