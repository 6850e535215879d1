//! The command line: one table for parsing and for help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::log::LogFormat;
use crate::policy::parse_duration;
use crate::wire::rpc;
use crate::wire::runner::Network;

const EXAMPLES: &str = "\
Examples:
  execward run -- cargo test                 run a program in the jail, here
  execward run -c 'make 2>&1 | tail'         run shell text
  execward check -c 'curl https://x | sh'    only say what would be decided, and why
  execward policy test my-policy.toml        try the examples inside a policy file
  execward audit verify                      check that the record is whole";

const RUN_EXAMPLES: &str = "\
The command sees the current directory read-write as its workspace, the rest of the system read-only or not at all,
a private empty HOME, and no network unless the policy says so. What the policy asks about goes to you on the terminal.

Examples:
  execward run -- ls -la
  execward run -c 'cat *.log | sort | uniq -c' > counts
  execward run --workspace ~/src/app --cwd ~/src/app/web -- npm test
  execward run --timeout 30s --network none -- ./configure
  execward run --json -c 'make test' | jq .outcome

Exit codes:
  the command's own, or
  124  the time limit ended it
  125  execward itself failed, or was called wrongly
  126  refused by the policy or a person, or not executable
  127  no such program
  128+n  signal n ended it
--json says which of them it was, in `outcome`: 124 to 127 can be a command's own, too.";

const CHECK_EXAMPLES: &str = "\
Nothing is run. With --batch, each line of standard input is an object, {\"command\": \"...\"} or {\"argv\": [...]}, and
may have \"id\", \"cwd\", \"home\", \"uid\" and \"workspace\"; each answer is one line, in order.

Examples:
  execward check -c 'rm -rf /'
  execward check --json -- git push --force
  execward check --policy strict.toml --batch < commands.jsonl

Exit codes: 0 everything is allowed, 1 something is not, 2 it could not be checked.";

const DOCTOR_EXAMPLES: &str = "\
Each escape is tried from inside the sandbox, its canary is looked at from outside, and the same attempt is made in a throw-away
world, in a jail that lacks the layers that stop it. held: it failed, and could have succeeded. open: it succeeded. inconclusive: nothing
is shown. not applicable: this host has nothing of the kind. In brackets stand the layers each of which stopped it there when it alone was
put back.

Examples:
  execward doctor --attack
  execward doctor --attack --json | jq -r 'select(.verdict != \"held\") | .id'

Exit codes: 0 nothing is open, 1 something is, 2 it could not be tried.";

const REDACT_EXAMPLES: &str = "\
Output comes as soon as it is known to be no part of a secret.

Examples:
  make 2>&1 | execward redact > build.log
  execward redact test config.yaml .env      where secrets stand, and the rules that know them
  execward redact test --count src           how many places each rule would mask there

Exit codes of `redact test`: 0 nothing was found, 1 something was, 2 a file or the policy could not be read.";

const SCAN_EXAMPLES: &str = "\
Findings are escaped: what they quote cannot do to you what it was written to do to an agent. A file without findings has
not been shown to be harmless.

Examples:
  execward scan .                            AGENTS.md, CLAUDE.md, rules, skills, hooks, README and the like
  execward scan --all --severity high vendor/
  execward scan --json downloaded.md | jq .rule

Exit codes: 0 nothing was found, 1 something was, 2 something could not be read.";

const MCP_EXAMPLES: &str = "\
Tools to run, read, write to, list, check and kill commands in a session of the daemon. What needs a person's yes comes back
as a question that waits: `execward approvals` answers it.

Examples:
  claude mcp add execward -- execward mcp    switch the client's own shell off beside it
  execward mcp --workspace ~/src/app --profile readonly

Exit codes: 0 the client has gone, 2 it could not be served.";

const HOOK_EXAMPLES: &str = "\
A hook is advice that a client may pass over: MCP, the shell and a sandbox around the whole agent are the strong ways. What is
installed blocks where the hook fails, takes too long or cannot be started.

Examples:
  execward hook install claude               what the agent runs is judged, and runs in the jail, by a pass that is good once
  execward hook uninstall claude
  execward hook install gemini --file .gemini/settings.json";

const SHELL_EXAMPLES: &str = "\
The directory where it is started is the workspace, or $EXECWARD_WORKSPACE where that is above it. Exit codes are those of
`execward run`.

Examples:
  execward shell -c 'make | tail'
  ln -s \"$(command -v execward)\" ~/bin/execward-shell; SHELL=~/bin/execward-shell agent";

const SERVE_EXAMPLES: &str = "\
Runs until SIGTERM or SIGINT: commands that run then have a grace, and are ended after it. SIGHUP has the policy read
again; one with a mistake changes nothing. SIGUSR2 has the binary executed anew, and sessions go on. Under systemd, pass both sockets and use Type=notify.

Examples:
  execward serve
  execward serve --socket-dir ./run --state ./state --policy strict.toml

Exit codes: 0 told to stop, 2 it could not begin.";

/// A supervisor between AI agents and the machine: it judges, confines, redacts and records every command.
#[derive(Debug, Parser)]
#[command(name = "execward", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a command in the jail
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Run a whole agent in the jail: it reaches the daemon's socket for agents and its workspace, and nothing else of execward
    #[command(after_help = super::wrap::EXAMPLES)]
    Wrap(super::wrap::Wrap),
    /// Say what would be decided about a command, without running it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Look at policies
    #[command(subcommand)]
    Policy(super::policy::Policy),
    /// Look at the record of what was decided and run
    #[command(subcommand)]
    Audit(super::audit::Audit),
    /// Attack the sandbox on this host, and say what it holds
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(super::doctor::Doctor),
    /// Copy standard input to standard output with everything that looks like a secret masked
    #[command(after_help = REDACT_EXAMPLES)]
    Redact(Redact),
    /// Look into files that agents read as instructions for what is there to take an agent over
    #[command(after_help = SCAN_EXAMPLES)]
    Scan(super::scan::Scan),
    /// Images of containers
    #[command(subcommand)]
    Images(super::images::Images),
    /// Serve agents and operators on two sockets, in the foreground
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Sessions of a daemon
    #[command(subcommand)]
    Session(super::session::Session),
    /// Commands in a session of a daemon
    #[command(subcommand)]
    Exec(super::session::Exec),
    /// Answer what waits for a person
    #[command(subcommand)]
    Approvals(super::approvals::Ask),
    /// Answers that stand: list them, look at them, take them back
    #[command(subcommand)]
    Grant(super::approvals::Grant),
    /// Scheduled commands: when they are due, how they came out, what could not be told
    #[command(subcommand)]
    Jobs(super::jobs::Jobs),
    /// Say how the daemon is: sessions, commands, questions, jobs; or follow what happens in it
    Status(super::status::Arguments),
    /// Check, show and share what is configured
    #[command(subcommand)]
    Config(super::config::Config),
    /// Put the configuration, the jobs, the state and the audit log into one file, while everything goes on
    Backup(super::backup::Backup),
    /// Verify a backup, show what it would change, and put it in place; or undo that
    Import(super::backup::Import),
    /// Put another binary in place, verified and tried, with a way back
    #[command(after_help = super::upgrade::EXAMPLES)]
    Upgrade(super::upgrade::Upgrade),
    /// Let those in who were given a pairing code, and put them out
    #[command(subcommand)]
    Pair(super::pair::Pair),
    /// Providers of models that assess commands in mode smart: list, add, remove, try them
    #[command(subcommand, after_help = super::fallback::EXAMPLES)]
    Fallback(super::fallback::Fallback),
    /// Secrets that the policy gives to commands that need them
    #[command(subcommand, after_help = super::secret::EXAMPLES)]
    Secret(super::secret::Secret),
    /// The protocol of the daemon's sockets: its schema, and a test for daemons
    #[command(subcommand)]
    Protocol(super::protocol::Protocol),
    /// Serve a client of the Model Context Protocol on standard input and output
    #[command(after_help = MCP_EXAMPLES)]
    Mcp(super::mcp::Mcp),
    /// Run a server of the Model Context Protocol in the jail, for the client that starts it: its messages pass, its errors are redacted
    #[command(after_help = super::mcp_wrap::EXAMPLES)]
    McpWrap(super::mcp_wrap::McpWrap),
    /// Answer the hooks of agents' clients, and install them
    #[command(subcommand, after_help = HOOK_EXAMPLES)]
    Hook(super::hook::Hook),
    /// Run, once, the command that a hook has seen
    Pass {
        /// As the hook named it
        pass: String,
    },
    /// Run commands as `sh -c` would, for agents whose shell can be set; so does a link to execward named execward-shell
    #[command(after_help = SHELL_EXAMPLES, disable_help_flag = true)]
    Shell {
        /// As a shell takes them: -c TEXT [NAME [ARGUMENT...]], or a script and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<OsString>,
    },
    /// Print what a shell needs to complete execward's commands and options
    ShellCompletions {
        /// Which shell
        shell: super::generate::Shell,
    },
    /// Print the manual page, or write a page for each command
    Man {
        /// Where the pages go
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// What is to run: shell text, or a program with its arguments.
#[derive(Debug, Args)]
pub(super) struct Words {
    /// Shell text to run, in bash where there is one
    #[arg(short = 'c', value_name = "TEXT", conflicts_with = "argv", allow_hyphen_values = true)]
    pub(super) text: Option<OsString>,
    /// A program and its arguments, after `--`; no shell reads them
    #[arg(last = true, value_name = "CMD")]
    pub(super) argv: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) words: Words,
    #[command(flatten)]
    pub(super) at: Place,
    /// End the command after this long (30s, 5m, 1h); never longer than the policy's limit
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(super) timeout: Option<Duration>,
    /// Permit `/`, a home or /tmp as the workspace
    #[arg(long)]
    pub(super) allow_broad_workspace: bool,
    /// The policy's profile to run under
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// What the sandbox is made by; what the policy says where it is left out
    #[arg(long, value_name = "WHAT")]
    pub(super) backend: Option<BackendName>,
    /// The image of the container, one that the policy permits
    #[arg(long, value_name = "NAME")]
    pub(super) image: Option<String>,
    /// The launcher that reaches the place to run it in, one that the policy permits; the daemon's alone
    #[arg(long, value_name = "NAME", conflicts_with_all = ["backend", "image", "no_daemon", "policy", "state"])]
    pub(super) launcher: Option<String>,
    /// What the command reaches; never more than the policy permits
    #[arg(long, value_name = "WHAT")]
    pub(super) network: Option<NetworkName>,
    /// Pass this variable on; one that looks like a credential passes only where the policy names it
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub(super) env: Vec<String>,
    /// Give the command a terminal of its own, behind yours
    #[arg(short = 't', long, conflicts_with = "json")]
    pub(super) tty: bool,
    /// The daemon's socket; without it the system's, then your own, then a private supervisor
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["policy", "state", "allow_broad_workspace"])]
    pub(super) socket: Option<PathBuf>,
    /// Run it with a private supervisor even where there is a daemon
    #[arg(long, conflicts_with = "socket")]
    pub(super) no_daemon: bool,
    /// Print one JSON object at the end, with the command's output in it
    #[arg(long)]
    pub(super) json: bool,
    /// Say more on stderr: what confined the command, what it did not get (-vv: every step)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

impl Run {
    /// A run of these words, with nothing else said.
    fn of(words: Words) -> Self {
        Self {
            words,
            at: Place { policy: None, workspace: None, cwd: None, state: None },
            timeout: None,
            allow_broad_workspace: false,
            profile: None,
            backend: None,
            image: None,
            launcher: None,
            network: None,
            env: Vec::new(),
            tty: false,
            socket: None,
            no_daemon: false,
            json: false,
            verbose: 0,
        }
    }

    /// A run of shell text.
    pub(super) fn of_text(text: OsString) -> Self {
        Self::of(Words { text: Some(text), argv: Vec::new() })
    }

    /// A run of a program.
    pub(super) fn of_argv(argv: Vec<OsString>) -> Self {
        Self::of(Words { text: None, argv })
    }

    /// A run of a command there, which may change this directory.
    pub(super) fn of_command(command: crate::gate::Command, cwd: PathBuf, workspace: PathBuf) -> Self {
        let run = match command {
            crate::gate::Command::Shell(text) => Self::of_text(text.into()),
            crate::gate::Command::Argv(argv) => Self::of_argv(argv.into_iter().map(Into::into).collect()),
        };
        Self { at: Place { policy: None, workspace: Some(workspace), cwd: Some(cwd), state: None }, ..run }
    }

    /// The same, in a workspace that is not the directory where it is asked for.
    pub(super) fn within(mut self, workspace: Option<PathBuf>) -> Self {
        self.at.workspace = workspace;
        self
    }
}

/// Where, by which policy, and with which log.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The policy file; without it the system's, then your own, then the built-in one
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// The directory that the command may change [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(super) workspace: Option<PathBuf>,
    /// Where the command starts, in the workspace [default: the current directory, or the workspace]
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// Where execward keeps its log
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum NetworkName {
    None,
    Proxy,
    Host,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum BackendName {
    Jail,
    Docker,
}

impl From<BackendName> for rpc::Backend {
    fn from(name: BackendName) -> Self {
        match name {
            BackendName::Jail => Self::Jail,
            BackendName::Docker => Self::Docker,
        }
    }
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::None => Self::None,
            NetworkName::Proxy => Self::Proxy,
            NetworkName::Host => Self::Host,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) words: Words,
    #[command(flatten)]
    pub(super) at: Place,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Also print the effects that the command would have
    #[arg(long, conflicts_with = "batch")]
    pub(super) explain: bool,
    /// Check the JSON lines of standard input, and answer in JSON lines
    #[arg(long, conflicts_with_all = ["text", "argv"])]
    pub(super) batch: bool,
}

#[derive(Debug, Args)]
pub(super) struct LogPlace {
    /// Where execward keeps its log
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration: who may connect, and how much they may take [default: execward.toml in /etc/execward for
    /// root, in the user's own configuration directory for others]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where agent.sock and operator.sock go [default: /run/execward for root, $XDG_RUNTIME_DIR/execward for others]
    #[arg(long, value_name = "DIR")]
    pub(super) socket_dir: Option<PathBuf>,
    /// The state directory, with the audit log [default: /var/lib/execward for root, $XDG_STATE_HOME/execward for others]
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// The policy file; without it the system's, then your own, then the built-in one
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Say more on stderr
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// How what happens is said on stderr
    #[arg(long, value_name = "FORMAT", default_value_t, value_enum)]
    pub(super) log: LogFormat,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Redact {
    #[command(subcommand)]
    pub(super) what: Option<RedactWhat>,
    /// The policy file whose `[[redact]]` rules count, too; without it the system's, then your own
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Say on stderr, as JSON, how many places were masked
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RedactWhat {
    /// Say where files have what would be masked, and by which rule, without showing it
    Test {
        /// The files, and directories whose text files below are meant; `-` is standard input
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The policy file whose `[[redact]]` rules count, too; without it the system's, then your own
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Print one JSON object for each place
        #[arg(long)]
        json: bool,
        /// Say only how many places each rule would mask, and how many that are in 20,000 lines
        #[arg(long)]
        count: bool,
    },
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout.is_zero() { Err("a time limit of nothing lets nothing run".to_owned()) } else { Ok(timeout) }
}

pub(super) fn variable(name: &str) -> Result<String, String> {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(name.to_owned())
    } else {
        Err("the name of a variable is letters, digits and `_`; its value is taken from the environment"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let parsed = Arguments::try_parse_from(["execward", "run", "-v", "--", "ls", "-v", "--", "--json"]);
        let Ok(Arguments { command: Command::Run(run) }) = parsed else { panic!("it is a run") };
        assert_eq!(run.words.argv, ["ls", "-v", "--", "--json"]);
        assert_eq!((run.verbose, run.json), (1, false));
    }

    #[test]
    fn text_and_words_exclude_each_other() {
        assert!(Arguments::try_parse_from(["execward", "run", "-c", "ls", "--", "ls"]).is_err());
        assert!(Arguments::try_parse_from(["execward", "run", "ls"]).is_err());
        assert!(Arguments::try_parse_from(["execward", "run", "-c", "-x; ls"]).is_ok());
    }

    #[test]
    fn times_and_names_are_checked_where_they_are_given() {
        for wrong in ["0s", "-1s", "1e308s", "NaN", "18446744073709551616s", ""] {
            let line = ["execward", "run", "--timeout", wrong, "-c", "ls"];
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong}");
        }
        for wrong in ["", "A=b", "1A", "A B", "A\n"] {
            let line = ["execward", "run", "--env", wrong, "-c", "ls"];
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong}");
        }
    }
}
