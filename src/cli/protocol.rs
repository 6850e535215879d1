//! `execward protocol`: the contract for those who write clients and daemons.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::client::replay::{self, Outcome, TRANSCRIPTS, Target};
use crate::wire::rpc::{Socket, schema};

const TEST_EXAMPLES: &str = "\
Each row is a transcript of its own: what is sent, and what must come back. Commands that it runs are harmless, and write
only a file `log` and a directory `sub` in the workspace.

Examples:
  execward protocol test /run/execward/agent.sock
  execward protocol test agent.sock --operator operator.sock --workspace /tmp/try --json

Exit codes: 0 every row that could be tried is as it should be, 1 one is not, 2 it could not be tried.";

/// The protocol of agents and operators.
#[derive(Debug, Subcommand)]
pub(super) enum Protocol {
    /// Try a daemon: replay transcripts, and say which of them come out otherwise
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// The agents' socket
        socket: PathBuf,
        /// The operators' socket; rows that need it are skipped without it
        #[arg(long, value_name = "SOCKET")]
        operator: Option<PathBuf>,
        /// A directory that the daemon takes as a workspace [default: the current directory]
        #[arg(long, value_name = "DIR")]
        workspace: Option<PathBuf>,
        /// Only rows with this in their title
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
        /// Print JSON lines, one for each row
        #[arg(long)]
        json: bool,
    },
    /// Print the schema of a socket
    Schema {
        /// Which
        socket: SocketName,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SocketName {
    Agent,
    Operator,
}

pub(super) fn protocol(arguments: Protocol, screen: Screen) -> Exit {
    match arguments {
        Protocol::Test { socket, operator, workspace, only, json } => {
            test(socket, operator, workspace, &only, json, screen)
        }
        Protocol::Schema { socket } => {
            let socket = match socket {
                SocketName::Agent => Socket::Agent,
                SocketName::Operator => Socket::Operator,
            };
            print(screen, &format!("{:#}\n", schema(socket)), Exit::SUCCESS)
        }
    }
}

fn test(
    agent: PathBuf,
    operator: Option<PathBuf>,
    workspace: Option<PathBuf>,
    only: &str,
    json: bool,
    screen: Screen,
) -> Exit {
    let workspace = match workspace.map_or_else(std::env::current_dir, |path| path.canonicalize()) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(error) => {
            screen.error(format_args!("the workspace: {error}"));
            return Exit::USAGE;
        }
    };
    let target = Target { agent, operator, workspace };
    let mut exit = Exit::SUCCESS;
    let (mut ok, mut failed, mut skipped) = (0, 0, 0);
    for (name, text) in TRANSCRIPTS {
        let rows = match replay::read(text) {
            Ok(rows) => rows,
            Err(error) => {
                screen.error(format_args!("{name}: {error}"));
                return Exit::USAGE;
            }
        };
        for row in rows.iter().filter(|row| row.title.contains(only)) {
            let outcome = row.replay(&target);
            let (word, detail) = match &outcome {
                Outcome::Ok => ("ok", None),
                Outcome::Skipped(why) => ("skipped", Some(why)),
                Outcome::Failed(problem) => ("failed", Some(problem)),
            };
            match outcome {
                Outcome::Ok => ok += 1,
                Outcome::Skipped(_) => skipped += 1,
                Outcome::Failed(_) => (failed, exit) = (failed + 1, Exit::NO),
            }
            let line = if json {
                let object = serde_json::json!({"transcript": name, "row": row.title, "outcome": word, "detail": detail});
                format!("{object}\n")
            } else {
                let mut line = format!("{word:8} {name}: {}\n", row.title);
                if let Some(detail) = detail {
                    let _ = writeln!(line, "         {}", shown(detail));
                }
                line
            };
            let printed = print(screen, &line, Exit::SUCCESS);
            if printed != Exit::SUCCESS {
                return printed;
            }
        }
    }
    if ok + failed + skipped == 0 {
        screen.error(format_args!("no row has {only:?} in its title"));
        return Exit::USAGE;
    }
    if !json {
        let summary = format!("{ok} ok, {failed} failed, {skipped} skipped\n");
        return print(screen, &summary, exit);
    }
    exit
}
