//! A command that is run for real, by a private supervisor, to see whether it can be and what holds it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gate::Command;
use crate::supervisor::{Asked, Completed, Role, serve};

/// A directory that goes with its guard. Not below /tmp, which a sandbox has of its own.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one, with this mode, and with what it is for in its name.
    ///
    /// # Errors
    /// When /var/tmp cannot be written.
    pub fn new(purpose: &str, mode: u32) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = PathBuf::from(format!("/var/tmp/execward-{purpose}-{:016x}", u64::from_ne_bytes(random)));
        fs::DirBuilder::new().mode(mode).create(&path)?;
        Ok(Self(path))
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program by the pipeline that every command goes through, with a log of its own in `state`.
pub fn run(argv: Vec<String>, workspace: &Path, state: &Path, policy: Option<&Path>) -> Completed {
    run_as(Role::Command, argv, workspace, state, policy, None)
}

/// Runs a program of execward's own, whatever the policies of this machine say of others: under the one that is compiled in.
pub fn run_own(argv: Vec<String>, workspace: &Path, state: &Path, timeout: Duration) -> Completed {
    run_as(Role::Own, argv, workspace, state, None, Some(timeout))
}

fn run_as(
    role: Role,
    argv: Vec<String>,
    workspace: &Path,
    state: &Path,
    policy: Option<&Path>,
    timeout: Option<Duration>,
) -> Completed {
    serve(&Asked {
        command: Command::Argv(argv),
        policy: policy.map(Path::to_owned),
        state: Some(state.to_owned()),
        workspace: Some(workspace.to_owned()),
        cwd: Some(workspace.to_owned()),
        allow_broad_workspace: false,
        timeout,
        profile: None,
        backend: None,
        image: None,
        network: None,
        env: Vec::new(),
        variables: std::env::vars_os().collect(),
        keep_output: true,
        terminal: false,
        role,
    })
}
