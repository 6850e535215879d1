//! `execward config`: what is configured, and whether a daemon could use it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::ops::backup::{Places, share};
use crate::supervisor::{
    CONFIG_VERSION, EditError, Local, config_schema, effective, look_over, migrate_config,
};

const CHECK: &str = "\
Everything is read that a daemon reads before it begins: execward.toml, the file of keys, the policy with its examples, the
jobs. A mistake in one part does not hide one in another.

Exit codes: 0 a daemon can use all of it, 1 a part has a mistake, 2 called wrongly.";

/// The configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether a daemon could use what is configured, with the line and a hint where it could not
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        of: Of,
        /// The policy, in place of the one in force
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration in force with every default, and no secret
    Show {
        #[command(flatten)]
        of: Of,
    },
    /// Print the JSON schema of execward.toml, for editors
    Schema,
    /// Print all files of configuration in one text that may be shown to others: no comments, keys, or addresses beyond the host
    Export {
        #[command(flatten)]
        of: Of,
        /// Write it to a file that is not there yet
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Bring execward.toml to the version of this execward
    Migrate {
        #[command(flatten)]
        of: Of,
    },
}

/// Whose configuration.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// The configuration, in place of execward.toml in its usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state directory
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Of {
    fn local(&self, screen: Screen) -> Result<Local, Exit> {
        Local::look(self.state.clone()).map_err(|error| {
            screen.error(&error);
            screen.hint(error.hint());
            Exit::USAGE
        })
    }
}

pub(super) fn config(config: &Config, screen: Screen) -> Exit {
    let done = match config {
        Config::Check { of, policy, json } => check(of, policy.as_ref(), *json, screen),
        Config::Show { of } => show(of, screen),
        Config::Schema => Ok(print(screen, &config_schema(), Exit::SUCCESS)),
        Config::Export { of, output } => export(of, output.as_ref(), screen),
        Config::Migrate { of } => migrate(of, screen),
    };
    done.unwrap_or_else(|exit| exit)
}

fn check(of: &Of, policy: Option<&PathBuf>, json: bool, screen: Screen) -> Result<Exit, Exit> {
    let local = of.local(screen)?;
    let parts = look_over(of.config.as_deref(), policy.map(PathBuf::as_path), &local);
    let exit = if parts.iter().all(|part| part.found.is_ok()) { Exit::SUCCESS } else { Exit::NO };
    let mut text = String::new();
    for part in &parts {
        if json {
            let (health, what, hint) = match &part.found {
                Ok(found) => ("ok", found.as_str(), ""),
                Err(mistake) => ("failure", mistake.what.as_str(), mistake.hint.as_str()),
            };
            let value = serde_json::json!({"name": part.name, "health": health, "found": what, "hint": hint});
            let _ = writeln!(text, "{value}");
            continue;
        }
        match &part.found {
            Ok(found) => {
                let _ = writeln!(text, "{:8} {:15} {}", "ok", part.name, shown(found));
            }
            Err(mistake) => {
                let what = mistake.what.strip_prefix("error: ").unwrap_or(&mistake.what);
                let _ = writeln!(text, "{:8} {:15} {}", "failure", part.name, shown(what));
                if !mistake.hint.is_empty() {
                    let _ = writeln!(text, "{:24} hint: {}", "", shown(&mistake.hint));
                }
            }
        }
    }
    Ok(print(screen, &text, exit))
}

fn show(of: &Of, screen: Screen) -> Result<Exit, Exit> {
    let local = of.local(screen)?;
    match effective(of.config.as_deref(), &local) {
        Ok(text) => Ok(print(screen, &text, Exit::SUCCESS)),
        Err(error) => Err(mistaken(&error, screen)),
    }
}

fn migrate(of: &Of, screen: Screen) -> Result<Exit, Exit> {
    let local = of.local(screen)?;
    let migrated = migrate_config(of.config.as_deref(), &local).map_err(|error| match error {
        EditError::Config(error) => mistaken(&error, screen),
        error => failed(&error.to_string(), "nothing was changed", screen),
    });
    let text = match migrated? {
        Some((version, kept)) => format!(
            "execward.toml was of version {version} and is of version {CONFIG_VERSION} now; what it was: {}\n",
            kept.display()
        ),
        None => format!("execward.toml is of version {CONFIG_VERSION}: there is nothing to do\n"),
    };
    Ok(print(screen, &text, Exit::SUCCESS))
}

fn export(of: &Of, output: Option<&PathBuf>, screen: Screen) -> Result<Exit, Exit> {
    let local = of.local(screen)?;
    let config = of.config.as_deref().map(std::path::absolute).transpose();
    let config = config.map_err(|error| failed(&error.to_string(), "", screen))?;
    let places = Places::of(&local.directories, config.as_deref(), local.principal.uid);
    let text = share(&places).map_err(|error| failed(&error.to_string(), "execward config check", screen))?;
    let Some(output) = output else { return Ok(print(screen, &text, Exit::SUCCESS)) };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(Exit::SUCCESS),
        Err(error) => Err(failed(&format!("cannot write {}: {error}", output.display()), "", screen)),
    }
}

fn mistaken(error: &crate::supervisor::ConfigError, screen: Screen) -> Exit {
    screen.error(shown(&error.to_string()));
    Exit::NO
}

fn failed(error: &str, hint: &str, screen: Screen) -> Exit {
    screen.error(shown(error));
    screen.hint(hint);
    Exit::USAGE
}
