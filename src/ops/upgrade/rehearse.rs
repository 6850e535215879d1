//! What a binary says of itself, and trying a new one where it can change nothing: in the jail, as a user of no rights, without a
//! network, with copies of what is configured and kept.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bring::unfit;
use super::{Installation, UpgradeError, failed, said};
use crate::ops::backup::{below, is_plain};
use crate::ops::scratch::Scratch;
use crate::ops::trial::run_own;
use crate::stage::Outcome;
use crate::state;
use crate::supervisor::{CONFIG_VERSION, Directories, Local, look_over, migrate_config};
use crate::wire::runner::SESSIONS;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// In a rehearsal's directory.
const BINARY: &str = "execward";
const CONFIG: &str = "config";
const MAIN: &str = "execward.toml";
const POLICY: &str = "policy.toml";
const STATE: &str = "state";

/// What an execward works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: String,
    /// The version of the database that it makes.
    pub state: usize,
    /// The version of `execward.toml` that it reads.
    pub config: u32,
    /// The form in which it leaves sessions to the next one, and goes on with those that are left.
    pub sessions: u32,
    /// What it could not use in a rehearsal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Of this execward.
pub fn about() -> About {
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state::VERSION,
        config: CONFIG_VERSION,
        sessions: SESSIONS,
        problems: Vec::new(),
    }
}

/// What a new execward does in a rehearsal: it reads the copies of everything that a daemon reads, and brings the copy of the
/// database to its version.
pub fn rehearsal(directory: &Path) -> About {
    let mut about = about();
    let state = directory.join(STATE);
    let local = match Local::look(Some(state.clone())) {
        Ok(local) => local,
        Err(error) => return About { problems: vec![error.to_string()], ..about },
    };
    let local = Local {
        directories: Directories { state: state.clone(), config: Some(directory.join(CONFIG)) },
        ..local
    };
    let config = directory.join(CONFIG).join(MAIN);
    let config = config.exists().then_some(config);
    if let Err(error) = migrate_config(config.as_deref(), &local) {
        about.problems.push(error.to_string());
    }
    // Keys are no part of a rehearsal, and so none can be missing.
    for part in look_over(config.as_deref(), None, &local).into_iter().filter(|part| part.name != "keys") {
        if let Err(mistake) = part.found {
            about.problems.push(format!("{}: {}", part.name, mistake.what));
        }
    }
    match state::Store::open(&state) {
        Err(error) => about.problems.push(error.to_string()),
        Ok((_, Some(aside))) => about.problems.push(format!("the state: {}", aside.why)),
        Ok((_, None)) => {}
    }
    about
}

/// What the binary that is in place says of itself.
pub(super) fn of_installed(binary: &Path) -> Result<About, UpgradeError> {
    let asked = said(Command::new(binary).args(["upgrade", "--about"]), PATIENCE)
        .map_err(failed("execute", binary))?;
    let about = serde_json::from_slice(&asked.0).ok().filter(|_| asked.1.success());
    about.ok_or_else(|| {
        unfit(binary, "it is no execward that can be upgraded: it does not say what it works with")
    })
}

/// Tries the new binary. What it says of itself, and `execward.toml` where it brought that to another version.
pub(super) fn rehearse(installation: &Installation) -> Result<(About, Option<Vec<u8>>), UpgradeError> {
    let scratch =
        Scratch::new("upgrade", 0o700).map_err(failed("make a directory in", Path::new("/var/tmp")))?;
    let workspace = scratch.join("workspace");
    let (config, state) = (workspace.join(CONFIG), workspace.join(STATE));
    for directory in [&workspace, &config, &state] {
        fs::create_dir(directory).map_err(failed("make", directory))?;
    }
    let log = scratch.join("log");
    let binary = workspace.join(BINARY);
    fs::copy(installation.staged(), &binary).map_err(failed("copy to", &binary))?;
    copy_config(installation, &workspace)?;
    state::copy(&installation.state, &state.join("state.db"))
        .map_err(crate::ops::backup::BackupError::from)?;
    let run = |words: &[&str]| {
        let argv =
            std::iter::once(binary.display().to_string()).chain(words.iter().map(|&word| word.to_owned()));
        let completed = run_own(argv.collect(), &workspace, &log, PATIENCE);
        let text = completed.stdout.map(|text| text.into_text_parts().0).unwrap_or_default();
        let what = words.join(" ");
        match completed.report.outcome {
            Outcome::Exited { code: 0 } => Ok(text),
            Outcome::Exited { code } => Err(UpgradeError::Tried(format!("`{what}` ended with {code}"))),
            Outcome::Failed { error, hint } => {
                Err(UpgradeError::Tried(format!("`{what}` could not be run: {error} ({hint})")))
            }
            Outcome::Refused { reason, .. } => {
                Err(UpgradeError::Tried(format!("`{what}` was refused: {reason}")))
            }
            other => Err(UpgradeError::Tried(format!("`{what}` did not end as it should: {other:?}"))),
        }
    };
    let version = run(&["--version"])?;
    if !version.starts_with(b"execward ") {
        return Err(UpgradeError::Tried("`--version` does not say that it is execward".to_owned()));
    }
    let said = run(&["upgrade", "--rehearse", &workspace.display().to_string()])?;
    let about: About = serde_json::from_slice(&said)
        .map_err(|error| UpgradeError::Tried(format!("what it says of itself cannot be read: {error}")))?;
    if let Some(first) = about.problems.first() {
        let more = match about.problems.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        return Err(UpgradeError::Tried(format!("{first}{more}")));
    }
    let (before, after) = (fs::read(installation.config_file()).ok(), fs::read(config.join(MAIN)).ok());
    Ok((about, after.filter(|_| before.is_some()).filter(|after| before.as_ref() != Some(after))))
}

/// Copies what is configured, secrets not among it.
fn copy_config(installation: &Installation, to: &Path) -> Result<(), UpgradeError> {
    let directory =
        installation.config.as_deref().and_then(Path::parent).unwrap_or(&installation.config_directory);
    let is_state = |path: &Path| path.starts_with(&installation.state);
    for (name, path) in below(directory)?.into_iter().filter(|(name, path)| is_plain(name) && !is_state(path))
    {
        let copy = to.join(CONFIG).join(name);
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
        }
        fs::copy(&path, &copy).map_err(failed("copy", &path))?;
    }
    let main = to.join(CONFIG).join(MAIN);
    let named = installation.config_file();
    if named.exists() {
        fs::copy(&named, &main).map_err(failed("copy", &named))?;
    }
    if let Some(policy) = &installation.policy {
        // Beside the others, so that what it includes is found there as before.
        fs::copy(policy, to.join(CONFIG).join(POLICY)).map_err(failed("copy", policy))?;
    }
    Ok(())
}
