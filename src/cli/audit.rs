//! `execward audit`.

mod arguments;
mod look;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

pub(super) use self::arguments::Audit;
use super::arguments::LogPlace;
use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::audit::verify::{Against, verify_against};
use crate::audit::{Checkpoint, Log, PublicKey};
use crate::supervisor::Local;

/// Most bytes of checkpoints that are read from one file.
const MAX_CHECKPOINTS: u64 = 16 << 20;

pub(super) fn audit(arguments: Audit, screen: Screen) -> Exit {
    let LogPlace { state, json } = arguments.log();
    let json = *json;
    let directory = match Local::look(state.clone()) {
        Ok(local) => local.directories.audit(),
        Err(error) => return failed(&error.to_string(), error.hint(), json, screen),
    };
    let done = match arguments {
        Audit::Verify { checkpoint, public_key, partial, .. } => {
            against(&checkpoint, public_key.as_deref(), partial)
                .and_then(|against| verify_log(&directory, &against, json, screen))
        }
        Audit::Tail { lines, follow, .. } => look::tail(&directory, lines, follow, json, screen),
        Audit::Show { id, .. } => look::show(&directory, &id, json, screen),
        Audit::Query { filter, last, .. } => look::query(&directory, &filter, last, json, screen),
        Audit::Export { filter, format, .. } => look::export(&directory, &filter, format, screen),
        Audit::Checkpoint { to, command, .. } => checkpoint(&directory, to.as_deref(), &command, screen),
        Audit::Key { .. } => key(&directory, json, screen),
    };
    done.unwrap_or_else(|error| failed(&format!("{error:#}"), "", json, screen))
}

/// What the log is held against.
fn against(files: &[PathBuf], key: Option<&str>, partial: bool) -> anyhow::Result<Against> {
    let key = key
        .map(|key| {
            PublicKey::from_hex(key).context("--public-key takes the 64 hex digits that `audit key` prints")
        })
        .transpose()?;
    let mut checkpoints = Vec::new();
    for path in files {
        let mut text = String::new();
        let name = path.display();
        if path == Path::new("-") {
            std::io::stdin().take(MAX_CHECKPOINTS).read_to_string(&mut text).context("standard input")?;
        } else {
            let file = File::open(path).with_context(|| name.to_string())?;
            file.take(MAX_CHECKPOINTS).read_to_string(&mut text).with_context(|| name.to_string())?;
        }
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            checkpoints.push(Checkpoint::parse(line).with_context(|| name.to_string())?);
        }
        if text.trim().is_empty() {
            bail!("{name} holds no checkpoint");
        }
    }
    Ok(Against { checkpoints, key, partial })
}

fn verify_log(directory: &Path, against: &Against, json: bool, screen: Screen) -> anyhow::Result<Exit> {
    let report = verify_against(directory, against)?;
    let whole = report.problems.is_empty();
    let exit = if whole { Exit::SUCCESS } else { Exit::NO };
    if json {
        let mut value = serde_json::to_value(&report)?;
        value["outcome"] = if whole { "ok" } else { "broken" }.into();
        return Ok(print(screen, &format!("{value}\n"), exit));
    }
    for problem in &report.problems {
        let what = shown(&problem.what);
        if problem.line == 0 {
            screen.error(what);
        } else {
            screen.error(format_args!("{} line {}: {what}", shown(&problem.file), problem.line));
        }
    }
    let head = report.head.as_deref().unwrap_or("none");
    let state = if whole { "whole" } else { "broken" };
    let vouched = match report.vouched {
        Some(seq) => format!("; as the checkpoint says up to record {seq}"),
        None => String::new(),
    };
    let from = match report.from {
        Some(from) if from > 1 && whole => format!(" from record {from} on"),
        _ => String::new(),
    };
    let text =
        format!("{}: {} records{from}, {state}{vouched}; head {head}\n", directory.display(), report.records);
    Ok(print(screen, &text, exit))
}

/// Signs the log as it is now, and hands the checkpoint out: printed, appended to a file, or to a command that carries
/// it away.
fn checkpoint(
    directory: &Path,
    to: Option<&Path>,
    command: &[std::ffi::OsString],
    screen: Screen,
) -> anyhow::Result<Exit> {
    let line = format!("{}\n", open(directory)?.checkpoint(Timestamp::now())?);
    if let Some(path) = to {
        let mut file = File::options()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .with_context(|| path.display().to_string())?;
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| path.display().to_string())?;
    }
    if let Some((program, arguments)) = command.split_first() {
        let name = program.to_string_lossy();
        #[allow(
            clippy::disallowed_methods,
            reason = "the operator's own command, from the operator's own shell"
        )]
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| name.to_string())?;
        let sent = child.stdin.take().map(|mut pipe| pipe.write_all(line.as_bytes()));
        let status = child.wait().with_context(|| name.to_string())?;
        sent.transpose().with_context(|| format!("{name} did not take the checkpoint"))?;
        if !status.success() {
            bail!("{name} ended with {status}: the checkpoint may not have arrived");
        }
    }
    if to.is_none() && command.is_empty() {
        return Ok(print(screen, &line, Exit::SUCCESS));
    }
    Ok(Exit::SUCCESS)
}

fn key(directory: &Path, json: bool, screen: Screen) -> anyhow::Result<Exit> {
    let key = open(directory)?.public_key()?;
    let text = if json {
        format!("{}\n", serde_json::json!({ "log": key.log(), "public_key": key.to_string() }))
    } else {
        format!("{key}\n")
    };
    Ok(print(screen, &text, Exit::SUCCESS))
}

/// Opens a log that is there: looking at one must not make one.
fn open(directory: &Path) -> anyhow::Result<Log> {
    if !directory.is_dir() {
        bail!("{}: there is no audit log", directory.display());
    }
    Ok(Log::open(directory)?)
}

fn failed(error: &str, hint: &str, json: bool, screen: Screen) -> Exit {
    if json {
        let value = serde_json::json!({"outcome": "failed", "error": error});
        return print(screen, &format!("{value}\n"), Exit::USAGE);
    }
    screen.error(shown(error));
    screen.hint(hint);
    Exit::USAGE
}
