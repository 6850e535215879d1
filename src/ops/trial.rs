//! A command that is run for real, by a private supervisor, to see whether it can be and what holds it.

use std::path::Path;
use std::time::Duration;

use crate::gate::Command;
use crate::supervisor::{Asked, Completed, Role, serve};

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
