//! The command line: arguments in, text and exit codes out. Everything that it decides is how to say things.

mod approvals;
mod arguments;
mod audit;
mod backup;
mod check;
mod config;
mod confined;
mod console;
mod doctor;
mod exit;
mod fallback;
mod generate;
mod hook;
mod images;
mod jobs;
mod lines;
mod log;
mod mcp;
mod mcp_wrap;
mod pair;
mod policy;
mod protocol;
mod redact;
mod remote;
mod run;
mod scan;
mod screen;
mod secret;
mod serve;
mod session;
mod shell;
mod silent;
mod status;
mod upgrade;
mod wrap;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use self::arguments::{Arguments, Command, Words};
use self::exit::Exit;
use self::screen::Screen;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let screen = Screen::new();
    if let Some(arguments) = shell::called(&arguments) {
        return shell::shell(&arguments, screen).into();
    }
    let command = match often(&arguments)
        .map_or_else(|| Arguments::try_parse_from(&arguments), |command| Ok(Arguments { command }))
    {
        Ok(Arguments { command }) => command,
        Err(error) => return misread(&error, &arguments, screen).into(),
    };
    let exit = match command {
        Command::Run(run) => run::run(run, screen),
        Command::Wrap(wrap) => wrap::wrap(wrap, screen),
        Command::Check(check) => check::check(check, screen),
        Command::Policy(policy) => policy::policy(policy, screen),
        Command::Audit(audit) => audit::audit(audit, screen),
        Command::Serve(serve) => serve::serve(serve, screen),
        Command::Doctor(doctor) => doctor::doctor(&doctor, screen),
        Command::Redact(redact) => redact::redact(&redact, screen),
        Command::Scan(scan) => scan::scan(&scan, screen),
        Command::Session(session) => session::session(session, screen),
        Command::Exec(exec) => session::exec(exec, screen),
        Command::Images(images) => images::images(&images, screen),
        Command::Approvals(ask) => approvals::approvals(ask, screen),
        Command::Grant(grant) => approvals::grant(grant, screen),
        Command::Jobs(jobs) => jobs::jobs(jobs, screen),
        Command::Status(status) => status::status(&status, screen),
        Command::Config(config) => config::config(&config, screen),
        Command::Backup(backup) => backup::backup(&backup, screen),
        Command::Import(import) => backup::import(&import, screen),
        Command::Upgrade(upgrade) => upgrade::upgrade(&upgrade, screen),
        Command::Pair(pair) => pair::pair(pair, screen),
        Command::Secret(secret) => secret::secret(secret, screen),
        Command::Fallback(fallback) => fallback::fallback(fallback, screen),
        Command::Protocol(protocol) => protocol::protocol(protocol, screen),
        Command::Mcp(mcp) => mcp::mcp(mcp, screen),
        Command::McpWrap(wrap) => mcp_wrap::mcp_wrap(wrap, screen),
        Command::Hook(hook) => hook::hook(hook, screen),
        Command::Pass { pass } => hook::pass(&pass, screen),
        Command::Shell { arguments } => shell::shell(&arguments, screen),
        Command::ShellCompletions { shell } => generate::completions(shell, screen),
        Command::Man { directory } => generate::man(directory.as_deref(), screen),
    };
    exit.into()
}

/// The subcommands that programs start again and again are read by their own tables: making those of all others takes longer than
/// reading an ordinary command line. What they do not take, mistakes and `--help`, is the whole table's to speak of.
fn often(arguments: &[OsString]) -> Option<Command> {
    fn read<A: clap::Args>(arguments: &[OsString]) -> Option<A> {
        let table = A::augment_args(clap::Command::new("execward"));
        A::from_arg_matches(&table.try_get_matches_from(arguments).ok()?).ok()
    }
    let (_, arguments) = arguments.split_first()?;
    match arguments.first()?.to_str()? {
        "run" => read(arguments).map(Command::Run),
        "check" => read(arguments).map(Command::Check),
        _ => None,
    }
}

/// Says what is wrong with a command line, or what was asked about it (`--help`, `--version`).
fn misread(error: &clap::Error, arguments: &[OsString], screen: Screen) -> Exit {
    let printed = error.print();
    if !error.use_stderr() {
        return printed.map_or_else(|error| screen::unwritten(screen, &error), |()| Exit::SUCCESS);
    }
    let runs =
        arguments.get(1).is_some_and(|first| ["run", "wrap", "mcp-wrap"].iter().any(|runs| first == runs));
    if error.kind() == ErrorKind::UnknownArgument && (runs || arguments.get(1).is_some_and(|a| a == "check"))
    {
        screen.hint("a command goes after `--`: execward run -- ls -la; shell text after -c");
    }
    if runs { Exit::FAILED } else { Exit::USAGE }
}

impl Words {
    /// The command that was asked for.
    ///
    /// # Errors
    /// A sentence: there is none, or it is not text. Bytes that are not UTF-8 are refused, never replaced: the command
    /// that is judged, shown and recorded must be the one that runs.
    fn command(self) -> Result<crate::gate::Command, String> {
        if let Some(text) = self.text {
            let text = text.into_string().map_err(|_| "the shell text is not UTF-8".to_owned())?;
            return Ok(crate::gate::Command::Shell(text));
        }
        if self.argv.is_empty() {
            return Err("there is no command: give one after `--`, or shell text after -c".to_owned());
        }
        let words: Result<Vec<String>, String> = self
            .argv
            .into_iter()
            .enumerate()
            .map(|(index, word)| {
                word.into_string().map_err(|_| format!("argument {index} of the command is not UTF-8"))
            })
            .collect();
        words.map(crate::gate::Command::Argv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line that a document tells people to type is one that execward understands.
    #[test]
    fn what_the_documents_say_to_type_can_be_typed() {
        let documents = [
            include_str!("../../README.md"),
            include_str!("../../docs/operations.md"),
            include_str!("../../docs/policies.md"),
            include_str!("../../docs/jobs.md"),
            include_str!("../../docs/redaction.md"),
        ];
        let mut seen = 0;
        for line in documents.iter().flat_map(|text| text.lines()) {
            let Some(line) = line.strip_prefix("    execward ") else { continue };
            // What stands behind the blanks is said to the reader.
            let line = line.split("   ").next().unwrap_or(line).split("  #").next().unwrap_or(line);
            let words = shell_words::split(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let all = std::iter::once("execward".to_owned()).chain(words);
            if let Err(error) = Arguments::try_parse_from(all) {
                panic!("`execward {line}`: {error}");
            }
            seen += 1;
        }
        assert!(seen > 15, "{seen} lines were seen");
    }

    /// A table by itself reads a command line as the whole one does, and leaves to that what it does not take.
    #[test]
    fn what_is_read_often_is_read_as_ever() {
        let lines = [
            "run -- true",
            "run -c 'ls | wc' --timeout 3s --json",
            "run --workspace /w --cwd /w/x --network none --env A=1 -- sh -c --help",
            "run --profile p -- a --version -V -h",
            "run",
            "check -c 'rm -rf /' --json",
            "check --batch --policy strict.toml",
            "check -- git push --force",
        ];
        for line in lines {
            let words = shell_words::split(line).unwrap();
            let all: Vec<OsString> =
                std::iter::once("execward".to_owned()).chain(words).map(Into::into).collect();
            let (own, whole) = (often(&all), Arguments::try_parse_from(&all).ok());
            assert_eq!(format!("{own:?}"), format!("{:?}", whole.map(|whole| whole.command)), "{line}");
        }
        for line in ["run --help", "run --no-such-thing", "check -h", "doctor", "--version", ""] {
            let all = std::iter::once("execward").chain(line.split_whitespace()).map(Into::into);
            assert!(often(&all.collect::<Vec<OsString>>()).is_none(), "{line}");
        }
    }
}
