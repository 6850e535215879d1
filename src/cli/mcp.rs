//! `execward mcp`: an MCP server over stdio.

use std::path::PathBuf;

use clap::Args;

use super::arguments::NetworkName;
use super::exit::Exit;
use super::screen::Screen;
use crate::adapters::mcp;

#[derive(Debug, Args)]
pub(super) struct Mcp {
    /// The directory that commands may change [default: the current directory]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The policy's profile to run under
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// What commands reach; never more than the policy permits
    #[arg(long, value_name = "WHAT")]
    network: Option<NetworkName>,
    /// The daemon's socket; without it the system's, then your own
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

pub(super) fn mcp(arguments: Mcp, screen: Screen) -> Exit {
    let Mcp { workspace, profile, network, socket } = arguments;
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(error) => {
            screen.error(format_args!("the current directory: {error}"));
            return Exit::USAGE;
        }
    };
    let workspace = workspace.map_or_else(|| here.clone(), |path| here.join(path));
    let options = mcp::Options { socket, workspace, profile, network: network.map(Into::into) };
    match mcp::serve(options) {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            screen.error(error);
            Exit::USAGE
        }
    }
}
