//! What a command is to whoever asks for it, and what its sandbox shows it for that.

use std::path::{Path, PathBuf};

use super::EmbeddedError;
use crate::wire::runner::SandboxSpec;

/// What a command is to whoever asks for it.
#[derive(Debug, Clone)]
pub enum Role {
    /// A command like any other.
    Command,
    /// A program of execward's own that is tried: under the policy that is compiled in, whatever another says of programs like it.
    /// It gets no network, and nothing but its workspace to change.
    Own,
    /// An agent, which has others run by a daemon. It may take its time.
    Agent(Agent),
    /// A server of messages, one on a line, on its standard input and output: for an agent's client, which has started execward
    /// in its place. It may take its time as well, and ends with its client. The terminal is the client's: nobody is asked there.
    Server {
        /// Absolute paths that it sees, read-only: its own program and settings.
        show: Vec<PathBuf>,
    },
}

impl Role {
    /// Whether the time limit of commands is meant for it.
    pub(super) fn has_limit(&self) -> bool {
        matches!(self, Self::Command | Self::Own)
    }

    /// Puts into its sandbox what it has beside what any command has.
    pub(super) fn enter(&self, spec: &mut SandboxSpec) -> Result<(), EmbeddedError> {
        match self {
            Self::Command | Self::Own => Ok(()),
            Self::Agent(agent) => agent.enter(spec),
            Self::Server { show: paths } => show(paths, spec),
        }
    }
}

/// What an agent in a sandbox has, beside what any command has.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The daemon's socket for agents. The directory that it is in, where the operators' socket is as well, is hidden.
    pub socket: PathBuf,
    /// Absolute paths that it sees, read-only: its own program and settings.
    pub show: Vec<PathBuf>,
}

impl Agent {
    /// The variable that says to clients in the sandbox where the daemon is.
    pub const SOCKET: &str = "EXECWARD_SOCKET";

    fn enter(&self, spec: &mut SandboxSpec) -> Result<(), EmbeddedError> {
        let socket = real(&self.socket)?;
        spec.view.masked.extend(self.socket.parent().map(Into::into));
        spec.view.masked.extend(socket.parent().map(Into::into));
        spec.view.agent_socket = Some(socket);
        show(&self.show, spec)
    }
}

/// Has a sandbox show these paths, read-only.
fn show(paths: &[PathBuf], spec: &mut SandboxSpec) -> Result<(), EmbeddedError> {
    for path in paths {
        let path = real(path)?;
        // What lies in the workspace is there, and must not become read-only.
        if !path.starts_with(&spec.workspace.path) {
            spec.view.own.push(path);
        }
    }
    Ok(())
}

fn real(path: &Path) -> Result<PathBuf, EmbeddedError> {
    path.canonicalize().map_err(|error| EmbeddedError::Shown { path: path.to_owned(), error })
}
