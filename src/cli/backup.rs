//! `execward backup` and `execward import`.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use super::silent::{self, prompt};
use crate::ops::backup::{self, BackupError, Places};
use crate::ops::doctor;
use crate::supervisor::Local;

/// Shortest passphrase.
const SHORTEST: usize = 12;

/// Where an installation is.
#[derive(Debug, Args)]
struct Installation {
    /// The configuration, whose directory is meant [default: /etc/execward for root, your own configuration directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state directory [default: /var/lib/execward for root, your own]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    of: Installation,
    /// Where it goes; nothing may be there [default: execward-backup-TIME.zip in your home directory]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the keys and other secrets, encrypted under a passphrase
    #[arg(long)]
    with_secrets: bool,
    /// A file with the passphrase, in place of a question
    #[arg(long, value_name = "FILE", requires = "with_secrets")]
    passphrase_file: Option<PathBuf>,
    /// Say each file
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    of: Installation,
    /// The backup
    #[arg(required_unless_present = "undo")]
    file: Option<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// A file with the passphrase of the secrets, in place of a question
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Leave the secrets of the backup where they are
    #[arg(long, conflicts_with = "passphrase_file")]
    without_secrets: bool,
    /// Give back what was there before the last import
    #[arg(long, conflicts_with = "file")]
    undo: bool,
}

/// What went wrong, with what to do about it.
struct Trouble(String, String);

impl From<BackupError> for Trouble {
    fn from(error: BackupError) -> Self {
        Self(error.to_string(), error.hint().to_owned())
    }
}

fn trouble(error: impl ToString) -> Trouble {
    Trouble(error.to_string(), String::new())
}

fn done(result: Result<Exit, Trouble>, screen: Screen) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(Trouble(error, hint)) => {
            screen.error(shown(&error));
            screen.hint(shown(&hint));
            Exit::USAGE
        }
    }
}

impl Installation {
    fn places(&self) -> Result<(Local, Places), Trouble> {
        let local = Local::look(self.state.clone())
            .map_err(|error| Trouble(error.to_string(), error.hint().to_owned()))?;
        let config = self.config.as_deref().map(std::path::absolute).transpose().map_err(trouble)?;
        let places = Places::of(&local.directories, config.as_deref(), local.principal.uid);
        Ok((local, places))
    }
}

pub(super) fn backup(arguments: &Backup, screen: Screen) -> Exit {
    done(do_backup(arguments, screen), screen)
}

fn do_backup(arguments: &Backup, screen: Screen) -> Result<Exit, Trouble> {
    let (local, places) = arguments.of.places()?;
    let passphrase = match (arguments.with_secrets, &arguments.passphrase_file) {
        (false, _) => None,
        (true, Some(file)) => Some(passphrase_of(file)?),
        (true, None) => {
            let passphrase = ask("passphrase for the secrets")?;
            if *ask("the same again")? != *passphrase {
                return Err(trouble("the two passphrases differ"));
            }
            Some(passphrase)
        }
    };
    if passphrase.as_ref().is_some_and(|passphrase| passphrase.chars().count() < SHORTEST) {
        return Err(trouble(format!("a passphrase has {SHORTEST} characters or more")));
    }
    let output = match &arguments.output {
        Some(output) => std::path::absolute(output).map_err(trouble)?,
        None => {
            let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            local.home.join(format!("execward-backup-{now}.zip"))
        }
    };
    let verbose = arguments.verbose;
    let mut progress = |name: &str, bytes: u64| {
        if verbose {
            screen.note(format_args!("{} ({bytes} bytes)", shown(name)));
        }
    };
    let taken = backup::take(
        &places,
        &output,
        passphrase.as_ref().map(|passphrase| passphrase.as_str()),
        &mut progress,
    )?;
    for path in &taken.left_out {
        screen.note(format_args!("not in it: {}", shown(&path.display().to_string())));
    }
    if !taken.secrets {
        screen.note("keys are not in it; --with-secrets puts them in, encrypted");
    }
    let text = format!("{} ({} files, {} bytes)\n", taken.path.display(), taken.files, taken.bytes);
    Ok(print(screen, &text, Exit::SUCCESS))
}

pub(super) fn import(arguments: &Import, screen: Screen) -> Exit {
    done(do_import(arguments, screen), screen)
}

fn do_import(arguments: &Import, screen: Screen) -> Result<Exit, Trouble> {
    let (local, places) = arguments.of.places()?;
    if arguments.undo {
        let undone = backup::undo(&places)?;
        if let Some(log) = &undone.log_since {
            screen
                .note(format_args!("what was recorded since is kept: {}", shown(&log.display().to_string())));
        }
        let text = format!("{} files are as they were, {} are gone\n", undone.restored, undone.removed);
        return Ok(print(screen, &text, Exit::SUCCESS));
    }
    let Some(file) = &arguments.file else { return Err(trouble("there is no backup named")) };
    // Whether there are secrets shows once it has been verified without them.
    let mut staged = backup::stage(&places, file, None)?;
    if staged.manifest.secrets.is_some() && !arguments.without_secrets {
        let passphrase = match &arguments.passphrase_file {
            Some(file) => passphrase_of(file)?,
            None => ask("passphrase of the secrets (--without-secrets leaves them)")?,
        };
        staged = backup::stage(&places, file, Some(&passphrase))?;
    }
    let changes = backup::changes(&places, &staged)?;
    let mut text = format!(
        "made by execward {} on {} at {}\n",
        shown(&staged.manifest.execward),
        shown(&staged.manifest.host),
        shown(&staged.manifest.created)
    );
    for change in &changes {
        let how = if change.replaces { "replaces" } else { "adds" };
        text.push_str(&format!("{how} {}\n", shown(&change.path.display().to_string())));
    }
    if changes.is_empty() {
        text.push_str("nothing is different\n");
    }
    let said = print(screen, &text, Exit::SUCCESS);
    if arguments.dry_run || changes.is_empty() || said != Exit::SUCCESS {
        return Ok(said);
    }
    if !arguments.yes && !agreed()? {
        return Err(trouble("nothing was changed"));
    }
    let imported = backup::apply(&places, &staged)?;
    let count = imported.changes.len();
    screen
        .note(format_args!("{count} files are in place; `execward import --undo` gives back what was there"));
    if let Some(log) = &imported.log_before {
        screen.note(format_args!(
            "the audit log that was there is kept: {}",
            shown(&log.display().to_string())
        ));
    }
    let examined = doctor::Examined {
        local: &local,
        config: arguments.of.config.clone(),
        policy: None,
        sockets: None,
        at_rest: true,
    };
    let checks = doctor::examine(&examined);
    let worst = checks.iter().map(|check| check.health).max().unwrap_or(doctor::Health::Ok);
    for check in checks.iter().filter(|check| check.health != doctor::Health::Ok) {
        screen.note(format_args!("doctor: {} {}: {}", check.name, check.health, shown(&check.found)));
    }
    Ok(if worst == doctor::Health::Failure { Exit::NO } else { Exit::SUCCESS })
}

fn agreed() -> Result<bool, Trouble> {
    if !std::io::stdin().is_terminal() {
        return Err(Trouble("nobody can be asked".to_owned(), "--yes says yes".to_owned()));
    }
    prompt("replace them? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(trouble)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

fn passphrase_of(file: &Path) -> Result<Zeroizing<String>, Trouble> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| trouble(format!("{}: {error}", file.display())))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Asks at the terminal, without showing what is typed.
fn ask(what: &str) -> Result<Zeroizing<String>, Trouble> {
    let nobody = || {
        Trouble("nobody can be asked for a passphrase".to_owned(), "--passphrase-file names one".to_owned())
    };
    silent::ask(what).map_err(trouble)?.ok_or_else(nobody)
}
