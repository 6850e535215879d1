//! `execward wrap`: a whole agent in the jail.
//!
//! It is the answer where agent and operator share a user id: what is inside reaches the daemon's socket for agents and its
//! workspace, and neither the operators' socket nor a policy, a grant or the log.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::arguments::{NetworkName, Words};
use super::exit::Exit;
use super::remote;
use super::run::explain;
use super::screen::Screen;
use crate::supervisor::{Agent, Asked, Role, serve};

pub(super) const EXAMPLES: &str = "\
The agent has the workspace read-write, an empty HOME of its own, and no network unless the policy or --network says so. A
client in it finds the daemon by EXECWARD_SOCKET. The agent itself is judged, recorded and confined like any command, but has
no time limit.

Examples:
  execward wrap -- my-agent
  execward wrap --network host --env MY_AGENT_KEY --show ~/.config/my-agent -- my-agent --verbose
  execward wrap --workspace ~/src/app --profile agents -- my-agent

Exit codes: those of `execward run`.";

#[derive(Debug, Args)]
pub(super) struct Wrap {
    /// The agent and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "AGENT")]
    argv: Vec<OsString>,
    /// The directory that the agent may change [default: the current directory]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What the agent sees beside its workspace, read-only: its program, its settings
    #[arg(long, value_name = "PATH")]
    show: Vec<PathBuf>,
    /// The policy's profile to run it under
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// What the agent reaches; never more than the policy permits
    #[arg(long, value_name = "WHAT")]
    network: Option<NetworkName>,
    /// Pass this variable on; one that looks like a credential passes only where the policy names it
    #[arg(long, value_name = "NAME", value_parser = super::arguments::variable)]
    env: Vec<String>,
    /// The daemon's socket for agents; without it the system's, then your own
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// The policy file; without it the system's, then your own, then the built-in one
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where execward keeps its log
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(super) fn wrap(arguments: Wrap, screen: Screen) -> Exit {
    let Wrap { argv, workspace, show, profile, network, env, socket, policy, state } = arguments;
    let command = match (Words { text: None, argv }).command() {
        Ok(command) => command,
        Err(error) => return failed(&error, screen),
    };
    // Asked once: where nobody listens, an agent could have nothing run, and would be told so by each of its commands.
    let socket = match remote::find(socket.as_deref()) {
        Ok(Some(client)) => client.path().to_owned(),
        Ok(None) => {
            screen.hint("start one with `execward serve`, or name its socket with --socket");
            return failed("no daemon listens, so that the agent could have nothing run", screen);
        }
        Err(error) => {
            screen.hint(error.hint());
            return failed(&error.to_string(), screen);
        }
    };
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(error) => return failed(&format!("the current directory: {error}"), screen),
    };
    let agent =
        Agent { socket: here.join(socket), show: show.into_iter().map(|path| here.join(path)).collect() };
    let asked = Asked {
        command,
        policy,
        state,
        workspace,
        cwd: None,
        allow_broad_workspace: false,
        timeout: None,
        profile,
        // What an agent is shown is made in a jail.
        backend: Some(crate::wire::rpc::Backend::Jail),
        image: None,
        network: network.map(Into::into),
        env,
        variables: std::env::vars_os().collect(),
        keep_output: false,
        terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        role: Role::Agent(agent),
    };
    let completed = serve(&asked);
    explain(&completed, &asked.command, screen);
    Exit::of_run(&completed.report.outcome)
}

fn failed(error: &str, screen: Screen) -> Exit {
    screen.error(error);
    Exit::FAILED
}
