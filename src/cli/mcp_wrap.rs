//! `execward mcp-wrap`: a server of the Model Context Protocol in the jail, in the place where an agent's client starts it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::arguments::{NetworkName, Words};
use super::exit::Exit;
use super::run::explain;
use super::screen::Screen;
use crate::supervisor::{Asked, Role, serve};

pub(super) const EXAMPLES: &str = "\
The server has the workspace read-write, an empty HOME of its own, and no network unless the policy or --network says so. Its
messages pass as they are, but for secrets in the texts of errors; standard error, and what else it writes, is redacted. When
the client closes standard input or dies, the server has a grace to end, and nothing of it is left. It is judged and recorded
like any command, but has no time limit, and nobody is asked: what the policy asks about is refused.

Examples:
  claude mcp add files -- execward mcp-wrap -- python3 -m some_server
  execward mcp-wrap --workspace ~/src/app --show ~/.local/lib/server -- ~/.local/lib/server/bin/server --stdio
  execward mcp-wrap --profile tickets --network proxy --env TRACKER_URL -- node server.js

Exit codes: those of `execward run`.";

#[derive(Debug, Args)]
pub(super) struct McpWrap {
    /// The server and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "SERVER")]
    argv: Vec<OsString>,
    /// The directory that the server may change [default: the current directory]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What the server sees beside its workspace, read-only: its program, its settings
    #[arg(long, value_name = "PATH")]
    show: Vec<PathBuf>,
    /// The policy's profile to run it under
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// What the server reaches; never more than the policy permits
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

pub(super) fn mcp_wrap(arguments: McpWrap, screen: Screen) -> Exit {
    let McpWrap { argv, workspace, show, profile, network, env, policy, state } = arguments;
    let command = match (Words { text: None, argv }).command() {
        Ok(command) => command,
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
        terminal: false,
        role: Role::Server { show },
    };
    let completed = serve(&asked);
    explain(&completed, &asked.command, screen);
    Exit::of_run(&completed.report.outcome)
}
