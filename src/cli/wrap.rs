//! `execward wrap`: a whole agent in the jail.
//!
//! It is the answer where agent and operator share a user id: what is inside reaches the daemon's socket for agents and its
//! workspace, and neither the operators' socket nor a policy, a grant or the log.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::confined::Confined;
use super::exit::Exit;
use super::remote;
use super::screen::Screen;
use crate::supervisor::{Agent, Role};

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
    #[command(flatten)]
    confined: Confined,
    /// The daemon's socket for agents; without it the system's, then your own
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

pub(super) fn wrap(arguments: Wrap, screen: Screen) -> Exit {
    let Wrap { argv, confined, socket } = arguments;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let agent = |show: Vec<PathBuf>| {
        // Asked once: where nobody listens, an agent could have nothing run, and would be told so by each of its commands.
        let socket = match remote::find(socket.as_deref()) {
            Ok(Some(client)) => client.path().to_owned(),
            Ok(None) => {
                screen.hint("start one with `execward serve`, or name its socket with --socket");
                return Err("no daemon listens, so that the agent could have nothing run".to_owned());
            }
            Err(error) => {
                screen.hint(error.hint());
                return Err(error.to_string());
            }
        };
        let here = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
        let show = show.into_iter().map(|path| here.join(path)).collect();
        Ok(Role::Agent(Agent { socket: here.join(socket), show }))
    };
    confined.run(argv, agent, terminal, screen)
}
