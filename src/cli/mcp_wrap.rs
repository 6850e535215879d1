//! `execward mcp-wrap`: a server of the Model Context Protocol in the jail, in the place where an agent's client starts it.

use std::ffi::OsString;

use clap::Args;

use super::confined::Confined;
use super::exit::Exit;
use super::screen::Screen;
use crate::supervisor::Role;

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
    #[command(flatten)]
    confined: Confined,
}

pub(super) fn mcp_wrap(McpWrap { argv, confined }: McpWrap, screen: Screen) -> Exit {
    confined.run(argv, |show| Ok(Role::Server { show }), false, screen)
}
