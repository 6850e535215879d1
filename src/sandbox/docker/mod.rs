//! The `docker` backend: one container for each session, with a runner as its first process.
//!
//! The static binary is mounted read-only and is all that the engine executes; commands go to it over its own socket in a
//! private directory, and never by way of the engine. So what the engine costs is paid once for a session, any image
//! will do (an empty one, too), and everything about a command is the runner's work as in the jail.
//!
//! The supervisor listens and the runner connects: the socket's directory is read-only in the container, nobody listens
//! there once the runner has come, and the kernel says which process has come.

mod about;
mod container;
mod endpoint;
mod engine;
mod error;
mod images;
mod kept;
mod launch;
mod place;
mod pool;
mod remote;
mod seccomp;
mod sweep;
mod tunnel;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use about::About;
pub use endpoint::{Endpoint, Tls};
pub use engine::Engine;
pub use error::DockerError;
pub use images::{Image, is_name, permitted};
pub use kept::Kept;
pub(super) use launch::Running;
pub(super) use remote::Attached;
pub use remote::{Remote, Settings};

use super::{Asked, LaunchError, jail};
use crate::wire::runner::{Container, Ground, SandboxSpec, View};

/// How long a container waits for a session where nothing else is said.
pub const POOL_IDLE: Duration = Duration::from_secs(600);

/// Where execward's own things are in a container.
const RUNNER: &str = "/.execward/runner";
const SOCKET_DIRECTORY: &str = "/.execward/session";

/// Where an engine is, and how it is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine's socket.
    pub socket: PathBuf,
    /// What it is called in errors, where its socket is a way to it and no more.
    pub shown: Option<PathBuf>,
    /// A directory for the private directories of containers; made where it is missing, this user's alone.
    pub directory: PathBuf,
    /// How many containers wait for a next session, at most.
    pub pool: usize,
    /// How long one waits.
    pub pool_idle: Duration,
}

impl Options {
    /// The engine of this machine.
    pub fn local(directory: &Path) -> Self {
        Self {
            socket: "/var/run/docker.sock".into(),
            shown: None,
            directory: directory.to_owned(),
            pool: 0,
            pool_idle: POOL_IDLE,
        }
    }
}

/// What a container is to be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The image's name, or name and digest.
    pub image: String,
    /// Lists of images, each of which must permit it; see [`permitted`].
    pub images: Vec<Vec<String>>,
}

impl Made {
    /// Whether an image may be used for it.
    fn permits(&self, image: &Image) -> bool {
        self.images.iter().all(|list| permitted(list, &self.image, image))
    }
}

/// Works out the sandbox for a request: what a jail would be, without what a jail shows of the host.
///
/// # Errors
/// As [`jail::spec`].
pub fn spec(asked: &Asked<'_>) -> Result<SandboxSpec, LaunchError> {
    let spec = jail::spec(asked)?;
    let workspace = &spec.workspace.path;
    // Hidden in the workspace, whatever it is; elsewhere there is nothing of the host.
    let masked = spec.view.masked.iter().filter(|path| path.starts_with(workspace)).cloned().collect();
    Ok(SandboxSpec {
        ground: Ground::Container(Container { backend: "docker".into(), mounts: Vec::new(), far: None }),
        view: View { masked, ..View::default() },
        ..spec
    })
}
