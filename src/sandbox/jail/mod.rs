//! The `jail` backend: a runner on this machine, in namespaces of its own.

mod launcher;
mod spec;
mod view;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use tokio::net::UnixStream;

pub use launcher::Launcher;
pub use spec::spec;

use super::link::Runner;
use super::{Building, LaunchError, image};
use crate::sys::socket;
use crate::wire::runner::{ROLE, SandboxSpec};

/// A runner that waits to be told what its sandbox shall be. Dropped, it ends.
#[derive(Debug)]
pub struct Waiting(Option<(OwnedFd, Child)>);

impl Waiting {
    /// Starts the runner, which takes as long as it takes to read a policy.
    ///
    /// The runner ends with the calling thread (`PR_SET_PDEATHSIG` is about threads): a caller with more than one uses a
    /// [`Launcher`].
    ///
    /// # Errors
    /// When there is no image of it, or no process.
    pub fn start() -> Result<Self, LaunchError> {
        Self::from_image(image::open().map_err(LaunchError::Image)?.as_fd())
    }

    fn from_image(image: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        Ok(Self(Some(start(image)?)))
    }

    /// The same, unless it has ended.
    fn if_there(mut self) -> Option<Self> {
        let (_, runner) = self.0.as_mut()?;
        matches!(runner.try_wait(), Ok(None)).then_some(self)
    }

    /// Has it build the sandbox, and does not wait for it. The caller holds the directory open that the spec names until the
    /// sandbox stands, so that its inode cannot become another directory's. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn build(self, spec: SandboxSpec) -> Result<Building, LaunchError> {
        self.build_with(spec, None)
    }

    fn build_with(
        mut self,
        spec: SandboxSpec,
        rendezvous: Option<&OwnedFd>,
    ) -> Result<Building, LaunchError> {
        let gone = || LaunchError::Spawn(std::io::ErrorKind::NotConnected.into());
        let (stream, runner) = self.0.take().ok_or_else(gone)?;
        let stream = std::os::unix::net::UnixStream::from(stream);
        let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        let stream = stream.map_err(LaunchError::Spawn)?;
        Ok(Building::begin(stream, Runner::Process(runner), spec, rendezvous))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((stream, mut runner)) = self.0.take() {
            drop(stream);
            let _ = runner.wait();
        }
    }
}

/// Starts a runner that waits to be told what its sandbox shall be.
fn start(image: BorrowedFd<'_>) -> Result<(OwnedFd, Child), LaunchError> {
    let (ours, theirs) = socket::stream_pair().map_err(|errno| LaunchError::Spawn(errno.into()))?;
    // The child opens the image by its own descriptor table before exec closes it. Nothing is asked here that would
    // keep std from posix_spawn(3), and have it copy the page tables of a large process with fork(2): the runner goes
    // to / by itself.
    #[allow(clippy::disallowed_methods, reason = "this launches the runner, which starts everything else")]
    let runner = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
        .arg(ROLE)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(LaunchError::Spawn)?;
    Ok((ours, runner))
}
