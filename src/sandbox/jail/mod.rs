//! The `jail` backend: a runner on this machine, in namespaces of its own.

mod image;
mod launcher;
mod spec;
mod view;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use tokio::net::UnixStream;

pub use launcher::Launcher;
pub use spec::spec;

use super::{LaunchError, Link};
use crate::sys::socket;
use crate::wire::runner::{ROLE, SandboxSpec};

/// Launches a runner and has it build the sandbox. `workspace` is the directory that the spec names; holding it open
/// keeps its inode from becoming another directory's.
///
/// The runner ends with the calling thread (`PR_SET_PDEATHSIG` is about threads): a caller with more than one uses a
/// [`Launcher`].
pub async fn launch(spec: SandboxSpec, workspace: BorrowedFd<'_>) -> Result<Link, LaunchError> {
    let _ = workspace;
    let image = image::open().map_err(LaunchError::Image)?;
    let (stream, runner) = start(image.as_fd())?;
    open(stream, runner, spec).await
}

async fn open(stream: OwnedFd, runner: Child, spec: SandboxSpec) -> Result<Link, LaunchError> {
    let stream = std::os::unix::net::UnixStream::from(stream);
    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
    Link::open(stream.map_err(LaunchError::Spawn)?, runner, spec).await
}

/// Starts a runner that waits to be told what its sandbox shall be.
fn start(image: BorrowedFd<'_>) -> Result<(OwnedFd, Child), LaunchError> {
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
    Ok((ours, runner))
}
