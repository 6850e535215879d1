//! Runners for a supervisor with many threads.
//!
//! A runner asks the kernel to be killed with its parent, and for the kernel the parent is the *thread* that made it
//! (prctl(2), `PR_SET_PDEATHSIG`). Threads of a pool come and go; so one thread starts all runners and lives as long as
//! the supervisor does. From the first session on it has one that waits, so that the next session need not wait for a
//! program to start.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::Waiting;
use crate::sandbox::{LaunchError, Link, image};
use crate::wire::runner::SandboxSpec;

type Order = oneshot::Sender<Result<Waiting, LaunchError>>;

/// The thread that starts runners, with the image that they are started from. All runners end when it is dropped.
#[derive(Debug)]
pub struct Launcher {
    /// `None` when it is being dropped.
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Launcher {
    /// Makes the image and starts the thread.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn new() -> Result<Self, LaunchError> {
        let image = image::open().map_err(LaunchError::Image)?;
        let (orders, receive) = mpsc::channel::<Order>();
        let start = move || {
            let mut spare: Option<Waiting> = None;
            while let Ok(order) = receive.recv() {
                let ready = spare.take().and_then(Waiting::if_there);
                // Where nobody waits any more, it is dropped.
                let _ = order.send(ready.map_or_else(|| Waiting::from_image(image.as_fd()), Ok));
                // Where that fails, the next session hears of it.
                spare = Waiting::from_image(image.as_fd()).ok();
            }
        };
        let thread = std::thread::Builder::new().name("launcher".to_owned()).spawn(start);
        Ok(Self { orders: Some(orders), thread: Some(thread.map_err(LaunchError::Spawn)?) })
    }

    /// Launches a runner and has it build the sandbox. The caller holds the workspace open meanwhile. `rendezvous` is where
    /// another supervisor will come, where the sandbox is to outlive this one. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch(&self, spec: SandboxSpec, rendezvous: Option<&OwnedFd>) -> Result<Link, LaunchError> {
        let gone = || LaunchError::Spawn(std::io::Error::other("the thread that starts runners has ended"));
        let (order, started) = oneshot::channel();
        self.orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())?;
        let runner = started.await.map_err(|_| gone())??;
        runner.build_with(spec, rendezvous)?.stands().await
    }
}

impl Drop for Launcher {
    /// Waits for the thread, and so for the runner that has nothing to do: whoever executes execward anew has no child left.
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
