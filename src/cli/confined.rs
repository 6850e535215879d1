//! What is asked for whatever runs in the jail as long as its user wants: an agent, a server of messages.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::arguments::{NetworkName, Words};
use super::exit::Exit;
use super::run::explain;
use super::screen::Screen;
use crate::supervisor::{Asked, Role, serve};

/// Where and with what it runs.
#[derive(Debug, Args)]
pub(super) struct Confined {
    /// The directory that it may change [default: the current directory]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What it sees beside its workspace, read-only: its program, its settings
    #[arg(long, value_name = "PATH")]
    show: Vec<PathBuf>,
    /// The policy's profile to run it under
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// What it reaches; never more than the policy permits
    #[arg(long, value_name = "WHAT")]
    network: Option<NetworkName>,
    /// Pass this variable on; one that looks like a credential passes only where the policy names it
    #[arg(long, value_name = "NAME", value_parser = super::arguments::variable)]
    env: Vec<String>,
    /// The policy file; without it the system's, then your own, then the built-in one
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where execward keeps its log
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Confined {
    /// Runs it to its end. `role` says what it is, given what it is to see.
    pub(super) fn run(
        self,
        argv: Vec<OsString>,
        role: impl FnOnce(Vec<PathBuf>) -> Result<Role, String>,
        terminal: bool,
        screen: Screen,
    ) -> Exit {
        let Self { workspace, show, profile, network, env, policy, state } = self;
        let command = (Words { text: None, argv }).command();
        let (command, role) = match command.and_then(|command| Ok((command, role(show)?))) {
            Ok(both) => both,
            Err(error) => {
                screen.error(&error);
                return Exit::FAILED;
            }
        };
        let asked = Asked {
            command,
            policy,
            state,
            workspace,
            cwd: None,
            allow_broad_workspace: false,
            timeout: None,
            profile,
            // What it is shown is made in a jail.
            backend: Some(crate::wire::rpc::Backend::Jail),
            image: None,
            network: network.map(Into::into),
            env,
            variables: std::env::vars_os().collect(),
            keep_output: false,
            terminal,
            role,
        };
        let completed = serve(&asked);
        explain(&completed, &asked.command, screen);
        Exit::of_run(&completed.report.outcome)
    }
}
