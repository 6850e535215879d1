//! `execward hook`: what agents' clients run before a tool; and `execward pass`, which runs what such a hook has seen.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::arguments::Run;
use super::check::{self, NoWorld};
use super::exit::Exit;
use super::screen::{Screen, print, shown};
use super::{remote, run};
use crate::adapters::hook::{self, Asked, Change, Client, Intent, Judged, Said};
use crate::adapters::pass::{Pass, Passes};
use crate::client::variables;
use crate::gate::Decision;
use crate::supervisor::Local;
use crate::wire::rpc;

#[derive(Debug, Subcommand)]
pub(super) enum Hook {
    /// Answer Claude Code's `PreToolUse`
    Claude,
    /// Answer Codex's `PreToolUse`
    Codex,
    /// Answer Gemini CLI's `BeforeTool`
    Gemini,
    /// Answer Hermes' `pre_tool_call`
    Hermes,
    /// Answer Cursor's `preToolUse`
    Cursor,
    /// Have a client ask this hook before it runs a command; its settings are backed up
    Install(At),
    /// Take the hook out of a client's settings again
    Uninstall(At),
}

#[derive(Debug, Args)]
pub(super) struct At {
    /// Which client
    client: Name,
    /// Its settings [default: the user's own]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Claude,
    Codex,
    Gemini,
    Hermes,
    Cursor,
}

impl From<Name> for Client {
    fn from(name: Name) -> Self {
        match name {
            Name::Claude => Self::Claude,
            Name::Codex => Self::Codex,
            Name::Gemini => Self::Gemini,
            Name::Hermes => Self::Hermes,
            Name::Cursor => Self::Cursor,
        }
    }
}

pub(super) fn hook(arguments: Hook, screen: Screen) -> Exit {
    let client = match arguments {
        Hook::Claude => Client::Claude,
        Hook::Codex => Client::Codex,
        Hook::Gemini => Client::Gemini,
        Hook::Hermes => Client::Hermes,
        Hook::Cursor => Client::Cursor,
        Hook::Install(at) => return change(at, true, screen),
        Hook::Uninstall(at) => return change(at, false, screen),
    };
    let Said { stdout, stderr, code } = answer(client).unwrap_or_else(|error| client.fails(&error));
    if !stderr.is_empty() {
        screen.plain(format_args!("{stderr}\n"));
    }
    print(screen, &stdout, Exit(code))
}

fn answer(client: Client) -> Result<Said, String> {
    let mut text = Vec::new();
    let mut stdin = std::io::stdin().lock().take(hook::LONGEST + 1);
    stdin.read_to_end(&mut text).map_err(|error| format!("standard input: {error}"))?;
    if text.len() as u64 > hook::LONGEST {
        return Err(format!("the client's message is longer than {} bytes", hook::LONGEST));
    }
    let intent = match client.read(&text)? {
        Asked::Other => return Ok(client.passes_over()),
        Asked::Unjudged(why) => return Ok(client.blocks(&format!("refused by execward: {why}"))),
        Asked::Command(intent) => intent,
    };
    let local = Local::look(None).map_err(|error| error.to_string())?;
    let workspace = workspace(&intent.cwd);
    let (judged, answers) = judge(&local, &intent, &workspace)?;
    match judged.decision {
        Decision::Allow => {}
        // Where the client runs what was approved, execward's own pipeline asks: in a daemon, whose operators answer.
        Decision::Ask if client.rewrites() && answers => {}
        Decision::Ask => {
            let how = if client.rewrites() {
                "\nA person must agree, and no daemon is there to ask one: `execward serve` starts it."
            } else {
                "\nA person must agree: run it as `execward run -c '...'`, which asks one."
            };
            return Ok(client.blocks(&format!("{}{how}", hook::told(&judged.findings))));
        }
        Decision::Deny | Decision::Hardline => return Ok(client.blocks(&hook::told(&judged.findings))),
    }
    if !client.rewrites() {
        return Ok(client.allows());
    }
    let pass = Pass { command: intent.command.clone(), cwd: intent.cwd.clone(), workspace };
    let passes = Passes::below(&local.directories.state, local.principal.uid);
    let name = passes.make(&pass).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| format!("the path of execward: {error}"))?;
    let program = program.to_str().filter(|path| !path.contains([' ', '\'', '"', '\\', '$', '`', '\n']));
    let program = program.ok_or("the path of execward has characters that a command line may not have")?;
    Ok(client.rewrites_to(&intent, &format!("{program} pass {name}")))
}

/// The directory that the command may change: the project that the client was started for, where it says so to its hooks and
/// the command is in it; else where the command starts.
fn workspace(cwd: &Path) -> PathBuf {
    let said = ["CLAUDE_PROJECT_DIR", "GEMINI_PROJECT_DIR", "CURSOR_PROJECT_DIR"]
        .into_iter()
        .find_map(std::env::var_os)
        .map(PathBuf::from);
    said.filter(|project| project.is_absolute() && cwd.starts_with(project)).unwrap_or_else(|| cwd.to_owned())
}

/// What would be decided, and whether somebody could be asked.
fn judge(local: &Local, intent: &Intent, workspace: &Path) -> Result<(Judged, bool), String> {
    match remote::find(None) {
        Ok(Some(mut client)) => {
            let cwd = intent.cwd.to_str().ok_or("the directory is not UTF-8")?.to_owned();
            let check = rpc::Check {
                command: intent.command.clone(),
                session: None,
                cwd: Some(rpc::PathText::try_from(cwd).map_err(|error| error.to_string())?),
                env: variables(&[])?,
            };
            let rpc::Checked { decision, findings, .. } =
                client.call(&check).map_err(|error| error.to_string())?;
            Ok((Judged { decision, findings }, true))
        }
        Ok(None) => {
            let world = check::world(local, None, Some(workspace.to_owned()), Some(intent.cwd.clone()));
            let (policy, facts) = world.map_err(|error| match error {
                NoWorld::Policy(error) => error.to_string(),
                NoWorld::Other(error) => error,
            })?;
            let judgement = check::judge(&policy, &intent.command, &facts).0;
            Ok((Judged { decision: judgement.decision, findings: judgement.findings }, false))
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn pass(name: &str, screen: Screen) -> Exit {
    let failed = |error: &dyn std::fmt::Display| {
        screen.error(error);
        screen.hint("a pass is made by a hook, for one run: have the client run the command again");
        Exit::FAILED
    };
    let local = match Local::look(None) {
        Ok(local) => local,
        Err(error) => return failed(&error),
    };
    match Passes::below(&local.directories.state, local.principal.uid).take(name) {
        Ok(Pass { command, cwd, workspace }) => run::run(Run::of_command(command, cwd, workspace), screen),
        Err(error) => failed(&error),
    }
}

/// Changes a client's settings.
fn change(at: At, install: bool, screen: Screen) -> Exit {
    let client = Client::from(at.client);
    match changed(client, at.file, install) {
        Ok(said) => print(screen, &said, Exit::SUCCESS),
        Err(error) => {
            screen.error(error);
            Exit::USAGE
        }
    }
}

fn changed(client: Client, file: Option<PathBuf>, install: bool) -> Result<String, String> {
    let named = match file {
        Some(file) => file,
        None => settings_of(client)?,
    };
    // A link, as people keep their settings elsewhere, is followed and stays one.
    let path = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let before = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(say(&error)),
    };
    let text = before.as_deref().unwrap_or_default();
    let change = if install {
        let program = std::env::current_exe().map_err(|error| format!("the path of execward: {error}"))?;
        hook::install(client, text, &program.to_string_lossy()).map_err(|error| say(&error))?
    } else if before.is_some() {
        hook::uninstall(client, text).map_err(|error| say(&error))?
    } else {
        Change::None
    };
    let shown_path = shown(&path.to_string_lossy());
    let Change::To(new) = change else {
        let what = if install { "asks" } else { "does not ask" };
        return Ok(format!("{shown_path}: {} {what} execward already\n", client.name()));
    };
    let backup = before.is_some().then(|| back_up(&path)).transpose().map_err(|error| say(&error))?;
    replace(&path, &new).map_err(|error| say(&error))?;
    let mut said = format!(
        "{shown_path}: {} {} execward\n",
        client.name(),
        if install { "asks" } else { "asks no more" }
    );
    if let Some(backup) = backup {
        said.push_str(&format!("what it was: {}\n", shown(&backup.to_string_lossy())));
    }
    if install && client == Client::Codex {
        said.push_str("codex runs it once you trust it: open `/hooks` in codex\n");
    }
    Ok(said)
}

/// Where a user's settings of a client are.
fn settings_of(client: Client) -> Result<PathBuf, String> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME").ok_or("HOME names no directory: name the settings with --file")?;
    Ok(match client {
        Client::Claude => {
            absolute("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home.join(".claude")).join("settings.json")
        }
        Client::Codex => absolute("CODEX_HOME").unwrap_or_else(|| home.join(".codex")).join("hooks.json"),
        Client::Gemini => home.join(".gemini/settings.json"),
        Client::Hermes => absolute("HERMES_HOME").unwrap_or_else(|| home.join(".hermes")).join("config.yaml"),
        Client::Cursor => home.join(".cursor/hooks.json"),
    })
}

/// Copies it beside itself, under a name that is free.
fn back_up(path: &Path) -> std::io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 1..1000_u32 {
        let backup = path.with_file_name(format!("{name}.before-execward-{number}"));
        let about = fs::metadata(path)?;
        match File::options().write(true).create_new(true).mode(about.mode() & 0o777).open(&backup) {
            Ok(mut file) => {
                file.write_all(&fs::read(path)?)?;
                return Ok(backup);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::other("there are a thousand backups"))
}

/// Replaces it as a whole, so that a client never reads half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mode = fs::metadata(path).map_or(0o600, |about| about.mode() & 0o777);
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}
