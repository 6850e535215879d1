//! Launching runners. A local stand-in: it has the shape of the real module and launches nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::prepare::Directory;
use crate::wire::runner::{FromRunner, Limits, Network, Receipt, SandboxSpec, ToRunner};

/// A sandbox as asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Of the requester: uid, gid.
    pub requester: (u32, u32),
    /// Login name of the requester.
    pub user: &'a str,
    /// Home of the requester.
    pub home: PathBuf,
    /// The workspace.
    pub workspace: &'a Directory,
    /// What commands reach.
    pub network: Network,
    /// What they may use up.
    pub limits: Limits,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct LaunchError {
    error: String,
}

impl LaunchError {
    /// What to do about it.
    pub fn hint(&self) -> &str {
        ""
    }
}

/// A connection to a runner.
#[derive(Debug)]
pub struct Link {
    receipt: Receipt,
    sender: Sender,
    receiver: Receiver,
}

impl Link {
    /// What confines.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
    /// Both ends.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// To the runner.
#[derive(Debug)]
pub struct Sender(pub(crate) mpsc::Sender<ToRunner>);

impl Sender {
    /// Sends.
    ///
    /// # Errors
    /// When the runner has gone.
    pub async fn send(&mut self, frame: ToRunner) -> io::Result<()> {
        self.0.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// From the runner.
#[derive(Debug)]
pub struct Receiver(pub(crate) mpsc::Receiver<FromRunner>);

impl Receiver {
    /// Receives.
    ///
    /// # Errors
    /// Never.
    pub async fn recv(&mut self) -> io::Result<Option<FromRunner>> {
        Ok(self.0.recv().await)
    }
}

/// The jail.
pub mod jail {
    use super::*;

    /// Builds the spec.
    ///
    /// # Errors
    /// Always.
    pub fn spec(_asked: &Asked<'_>) -> Result<SandboxSpec, LaunchError> {
        Err(LaunchError { error: "no sandbox is built into this binary".into() })
    }

    /// Launches.
    ///
    /// # Errors
    /// Always.
    pub async fn launch(_spec: SandboxSpec, _workspace: BorrowedFd<'_>) -> Result<Link, LaunchError> {
        Err(LaunchError { error: "no sandbox is built into this binary".into() })
    }
}
