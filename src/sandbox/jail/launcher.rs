//! Runners for a supervisor with many threads.
//!
//! A runner asks the kernel to be killed with its parent, and for the kernel the parent is the *thread* that made it
//! (prctl(2), `PR_SET_PDEATHSIG`). Threads of a pool come and go; so one thread starts all runners and lives as long as
//! the supervisor does.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::{build, start};
use crate::sandbox::{LaunchError, Link, image};
use crate::wire::runner::SandboxSpec;

type Started = Result<(OwnedFd, Child), LaunchError>;

/// The thread that starts runners, with the image that they are started from. All runners end when it is dropped.
#[derive(Debug)]
pub struct Launcher {
    orders: mpsc::Sender<oneshot::Sender<Started>>,
}

impl Launcher {
    /// Makes the image and starts the thread.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn new() -> Result<Self, LaunchError> {
        let image = image::open().map_err(LaunchError::Image)?;
        let (orders, receive) = mpsc::channel::<oneshot::Sender<Started>>();
        std::thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || {
                while let Ok(order) = receive.recv() {
                    if let Err(Ok((stream, mut runner))) = order.send(start(image.as_fd())) {
                        // Nobody waits any more. Without its stream the runner ends by itself.
                        drop(stream);
                        let _ = runner.wait();
                    }
                }
            })
            .map_err(LaunchError::Spawn)?;
        Ok(Self { orders })
    }

    /// Launches a runner and has it build the sandbox. The caller holds the workspace open meanwhile. `rendezvous` is where
    /// another supervisor will come, where the sandbox is to outlive this one. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch(&self, spec: SandboxSpec, rendezvous: Option<&OwnedFd>) -> Result<Link, LaunchError> {
        let gone = || LaunchError::Spawn(std::io::Error::other("the thread that starts runners has ended"));
        let (order, started) = oneshot::channel();
        self.orders.send(order).map_err(|_| gone())?;
        let (stream, runner) = started.await.map_err(|_| gone())??;
        build(stream, runner, spec, rendezvous)?.stands().await
    }
}
