//! Sandboxes: how a runner is launched for each backend, and the link to it.
//!
//! What a runner does once it runs is the same everywhere ([`crate::runner`]); a backend is only a way to launch one.
//! This module knows no policy: what a sandbox shall be has been decided when it is asked for.

pub mod docker;
mod image;
pub mod jail;
pub mod launcher;
mod link;

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) use link::for_tests;
pub use link::{Building, Link, Receiver, Sender};

use crate::prepare::Directory;
use crate::wire::runner::{Failure, LaterAction, Level, Limits, Network, SandboxSpec};

/// How a runner is reached, with what that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// On this machine, in namespaces of its own.
    Jail,
    /// In a container.
    Docker(docker::Made),
    /// Where the launcher of this name leads.
    Launcher(String),
}

impl Backend {
    /// Works out the sandbox for a request.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn spec(&self, asked: &Asked<'_>) -> Result<SandboxSpec, LaunchError> {
        match self {
            Self::Jail => jail::spec(asked),
            Self::Docker(_) => docker::spec(asked),
            Self::Launcher(name) => Err(LaunchError::NoLauncher(name.clone())),
        }
    }

    /// Which of them it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::Docker(_) => "docker",
            Self::Launcher(_) => "launcher",
        }
    }

    /// How it is named to people and to the gate: of launchers each one, since what is approved for one machine is not for
    /// another.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Launcher(name) => format!("launcher:{name}").into(),
            Self::Jail | Self::Docker(_) => self.kind().into(),
        }
    }
}

/// Where the next supervisor comes for a sandbox that is to outlive this one.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    /// The socket at which the runner is to listen: named, and not listening.
    pub socket: &'a OwnedFd,
    /// The directory in which it is said what the next supervisor has to know. Where it is gone, nobody comes.
    pub directory: &'a Path,
}

/// Has a container made with this sandbox, and its runner look at it. Needs a tokio runtime.
///
/// # Errors
/// See [`LaunchError`].
pub async fn contain(
    engine: &docker::Engine,
    made: &docker::Made,
    spec: SandboxSpec,
    workspace: &Directory,
    next: Option<Next<'_>>,
) -> Result<Link, LaunchError> {
    let (stream, running, spec) = engine.launch(spec, made.clone(), workspace).await?;
    if let Some(next) = next {
        running.await_next(next.directory)?;
    }
    let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
    let (stream, runner) = (stream.map_err(LaunchError::Spawn)?, link::Runner::Container(running));
    Building::begin(stream, runner, spec, next.map(|next| next.socket)).stands().await
}

/// Has a launcher's command reach a runner, and that one make the sandbox. Needs a tokio runtime.
///
/// # Errors
/// See [`LaunchError`].
pub async fn reach(launcher: &launcher::Launcher, spec: SandboxSpec) -> Result<Link, LaunchError> {
    launcher::launch(launcher, spec).await
}

/// A sandbox as asked for.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// User and group id of the requester.
    pub requester: (u32, u32),
    /// Login name of the requester.
    pub user: &'a str,
    /// Home of the requester.
    pub home: PathBuf,
    /// The workspace. Its descriptor is kept open by the caller while the sandbox is launched, so that its inode
    /// cannot become another directory's.
    pub workspace: &'a Directory,
    /// Whether commands may change the workspace.
    pub writable: bool,
    /// What is done with what others would execute later in the workspace.
    pub later: LaterAction,
    /// What commands reach.
    pub network: Network,
    /// What they may use up.
    pub limits: Limits,
    /// The least isolation below which there is none.
    pub minimum: Level,
    /// Paths that show as empty beyond the shipped ones: absolute, below the home (`~/x`), or below the workspace.
    pub masked: &'a [String],
    /// Absolute paths of execward's own state and configuration: never visible, whatever the workspace is.
    pub own_state: Vec<PathBuf>,
}

/// Why there is no sandbox. A command never runs without one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The image of the runner could not be made.
    #[error("cannot make the runner's image from /proc/self/exe: {0}")]
    Image(#[source] std::io::Error),
    /// The runner could not be started.
    #[error("cannot start the runner: {0}")]
    Spawn(#[source] std::io::Error),
    /// The data of the view does not read.
    #[error("policies/view.toml does not read: {0}")]
    View(#[from] toml::de::Error),
    /// A path of the requester cannot be used.
    #[error("{what} {}: {error}", path.display())]
    Path {
        /// What the path is for.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The runner could not build the sandbox.
    #[error("the sandbox cannot be built: {0}")]
    Refused(#[source] Failure),
    /// There is no container.
    #[error(transparent)]
    Docker(#[from] docker::DockerError),
    /// No launcher of this name, or none can be had here.
    #[error("there is no launcher `{0}` here")]
    NoLauncher(String),
    /// There is no runner elsewhere.
    #[error(transparent)]
    Far(#[from] launcher::FarError),
    /// The runner ended or spoke nonsense before the sandbox stood.
    #[error("the runner ended before the sandbox stood: {0}")]
    Lost(#[source] std::io::Error),
}

impl LaunchError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(failure) => failure.hint.clone(),
            Self::Docker(error) => error.hint(),
            Self::Far(error) => error.hint(),
            Self::NoLauncher(_) => {
                "launchers are the daemon's, configured in execward.toml as [launcher.NAME]".to_owned()
            }
            Self::Image(_) => {
                "the system must mount /proc and allow executable memfds (sysctl vm.memfd_noexec)".to_owned()
            }
            _ => String::new(),
        }
    }
}
