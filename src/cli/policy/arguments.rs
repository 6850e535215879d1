//! The words of `execward policy`.

use std::path::PathBuf;

use clap::Subcommand;

use super::super::arguments::{Place, Words};
use super::super::session::At;

const TEST: &str = "\
Examples:
  execward policy test policy.toml
  execward policy test --json | jq .uncovered

Exit codes: 0 every example holds, 1 one does not or the file has a mistake, 2 called wrongly.";

const LINT: &str = "\
What is found: rules that can never speak, rules that a stricter one always outweighs (with a command that shows it), rules
that allow more than anybody would knowingly (with a command that would run), rules without examples, and rules of which
no example of their own makes use.

Exit codes: 0 nothing is found, 1 something is or the file has a mistake, 2 called wrongly.";

const EXPLAIN: &str = "\
Examples:
  execward policy explain -c 'rm -rf ../other'
  execward policy explain --policy strict.toml -- git push --force

Exit codes: 0 it would be allowed, 1 it would not, 2 called wrongly.";

const REPLAY: &str = "\
Every decision of the log is made again, from the command and the facts that the record holds, and what comes out otherwise
is printed. Records in which a secret was masked or a long text cut are marked `approximate`: what is judged is then not
quite what was. Nothing is run.

Examples:
  execward policy replay --policy strict.toml
  execward policy replay audit.jsonl --policy strict.toml --json

Exit codes: 0 nothing changes, 1 something does, 2 the log or the policy cannot be read.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Policy {
    /// Try the examples inside a policy, and say which rules they reach
    #[command(after_help = TEST)]
    Test {
        /// The file; without it, the policy in force
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for mistakes that a policy can have although its examples hold
    #[command(after_help = LINT)]
    Lint {
        /// The file; without it, the policy in force
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a command is decided as it is, which rules speak of it, and what near it would be allowed
    #[command(after_help = EXPLAIN)]
    Explain {
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        at: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decide every command of an audit log again under another policy, and print what changes
    #[command(after_help = REPLAY)]
    Replay {
        /// A file of records, a directory of them, or `-`; without it, execward's own log
        log: Option<PathBuf>,
        /// The policy to decide by; without it, the policy in force
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Where execward keeps its log
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Print what stays the same, too
        #[arg(long)]
        all: bool,
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Print the policy in force, or a file's, once it has been read and its examples hold
    Show {
        /// The file; without it, the policy in force
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the daemon read the policy again, the jobs, its models and whom it notifies; a mistake changes nothing
    Reload {
        #[command(flatten)]
        at: At,
    },
    /// Print the JSON schema of policy files, for editors
    Schema,
}
