//! The `jail` backend: a runner on this machine, in namespaces of its own.

mod image;
mod spec;
mod view;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::{Command, Stdio};

use tokio::net::UnixStream;

pub use spec::spec;

use super::{LaunchError, Link};
use crate::sys::socket;
use crate::wire::runner::{ROLE, SandboxSpec};

/// Launches a runner and has it build the sandbox. `workspace` is the directory that the spec names; holding it open
/// keeps its inode from becoming another directory's.
pub async fn launch(spec: SandboxSpec, workspace: BorrowedFd<'_>) -> Result<Link, LaunchError> {
    let _ = workspace;
    let image = image::sealed().map_err(LaunchError::Image)?;
    let (ours, theirs) = socket::stream_pair().map_err(|errno| LaunchError::Spawn(errno.into()))?;
    // The child opens the image by its own descriptor table before exec closes it.
    #[allow(clippy::disallowed_methods, reason = "this launches the runner, which starts everything else")]
    let runner = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
        .arg(ROLE)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(LaunchError::Spawn)?;
    let stream = std::os::unix::net::UnixStream::from(ours);
    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
    Link::open(stream.map_err(LaunchError::Spawn)?, runner, spec).await
}
