//! Everything before the first change, and what becomes of an upgrade that was broken off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;

use super::bring::{Brought, Proof, bring, unfit};
use super::carry::failing;
use super::note::{self, Note, Phase, make_place, standing};
use super::rehearse::{About, of_installed, rehearse};
use super::{Installation, UpgradeError, daemon, failed, remove, sync};
use crate::ops::backup::{self, Places};
use crate::supervisor::well_kept;

/// The backup that is taken before the first change; the one of the upgrade before is replaced.
const BACKUP: &str = "before.zip";

/// `execward.toml` as it was, and as the new execward wants it.
pub(super) const CONFIG_BEFORE: &str = "execward.toml.before";
pub(super) const CONFIG_AFTER: &str = "execward.toml.after";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What is to be upgraded.
    pub installation: Installation,
    /// The new binary.
    pub file: PathBuf,
    /// What it is held against.
    pub proof: Proof,
    /// How long an operator has to confirm it; nobody is asked where that is nothing.
    pub confirm_within: Duration,
    /// A command that restarts the daemon, where it is not systemd's and shall not do it itself.
    pub restart: Option<String>,
    /// Sessions may end.
    pub end_sessions: bool,
    /// It may be an older version.
    pub older: bool,
    /// Nothing shall be changed.
    pub dry_run: bool,
}

/// An upgrade of which only the change is missing. Its lock is held as long as this is.
#[derive(Debug)]
pub struct Ready {
    /// As it is written down.
    pub note: Note,
    lock: File,
}

/// Prepares everything, and changes nothing. `None` is for a dry run, in which nothing is left behind either.
///
/// # Errors
/// See [`UpgradeError`]; nothing is left behind then.
pub fn prepare(asked: &Asked, progress: &mut dyn FnMut(&str)) -> Result<(Note, Option<Ready>), UpgradeError> {
    let installation = &asked.installation;
    make_place(&installation.state)?;
    let lock =
        note::lock(&installation.state)?.ok_or_else(|| UpgradeError::Busy(installation.state.clone()))?;
    let before = standing(&installation.state)?;
    if let Some(before) = &before
        && before.phase.is_open()
    {
        return Err(UpgradeError::Unfinished(before.phase.words()));
    }
    let mut note = look(asked, before)?;
    if !asked.dry_run {
        note.write()?;
    }
    let done = try_out(asked, &mut note, progress);
    let done = if asked.dry_run { done } else { done.and_then(|()| keep(asked, &mut note, progress)) };
    if done.is_ok() && !asked.dry_run {
        return Ok((note.clone(), Some(Ready { note, lock })));
    }
    clean(&note)?;
    let shown = note.clone();
    if !asked.dry_run {
        note.undo()?;
    }
    done.map(|()| (shown, None))
}

/// Leaves nothing of a new binary that was not put in place. What there was before another upgrade is still the way back from that.
fn clean(note: &Note) -> Result<(), UpgradeError> {
    remove(&note.installation.staged())?;
    if !note.installation.previous().exists() {
        let _ = fs::remove_dir(note.installation.beside());
    }
    Ok(())
}

/// Looks at what there is.
fn look(asked: &Asked, last: Option<Note>) -> Result<Note, UpgradeError> {
    let installation = &asked.installation;
    let kept = well_kept(&installation.binary, installation.uid);
    kept.map_err(|what| unfit(&installation.binary, format!("what is in place could be another's: {what}")))?;
    let old = of_installed(&installation.binary)?;
    let daemon = daemon::find(installation, asked.restart.as_deref())?;
    Ok(Note {
        id: Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string(),
        phase: Phase::Preparing,
        why: String::new(),
        until_ms: None,
        from: old.version.clone(),
        to: String::new(),
        sha256: String::new(),
        by: String::new(),
        backup: None,
        installation: installation.clone(),
        confirm_within_ms: u64::try_from(asked.confirm_within.as_millis()).unwrap_or(u64::MAX),
        keeps_sessions: true,
        schema: old.state,
        migrated: false,
        failing: Vec::new(),
        last: last.map(Box::new),
        daemon,
    })
}

/// Looks at the new binary, and tries it.
fn try_out(asked: &Asked, note: &mut Note, progress: &mut dyn FnMut(&str)) -> Result<(), UpgradeError> {
    let installation = &asked.installation;
    let old = of_installed(&installation.binary)?;
    let Brought { sha256, by } = bring(installation, &asked.file, &asked.proof)?;
    progress(&format!("verified by {by}: SHA-256 {sha256}"));
    (note.sha256, note.by) = (sha256, by);
    let (new, config) = rehearse(installation)?;
    progress(&format!(
        "execward {} works in the jail, with copies of the configuration and the state",
        new.version
    ));
    note.to.clone_from(&new.version);
    fits(asked, note, &old, &new)?;
    if let Some(config) = config {
        note.migrated = true;
        if !asked.dry_run {
            let place = Note::place(&installation.state);
            let before =
                fs::read(installation.config_file()).map_err(failed("read", &installation.config_file()))?;
            note::put(&place, CONFIG_BEFORE, &before)?;
            note::put(&place, CONFIG_AFTER, &config)?;
        }
        progress("execward.toml is brought to its version, and the one before is kept");
    }
    note.failing =
        failing(installation).map_err(|what| unfit(&installation.binary, format!("its doctor: {what}")))?;
    Ok(())
}

/// Whether the new one can go on where the old one stops.
fn fits(asked: &Asked, note: &mut Note, old: &About, new: &About) -> Result<(), UpgradeError> {
    if new.state < old.state {
        return Err(UpgradeError::Costs(
            format!(
                "execward {} knows the database up to version {}, and it is of version {}",
                new.version, new.state, old.state
            ),
            "nothing was changed. `--rollback` goes back to what was there before an upgrade; `execward import` to a backup",
        ));
    }
    if older(&new.version, &old.version) && !asked.older {
        return Err(UpgradeError::Costs(
            format!(
                "execward {} is older than {}: what was mended since would be open again",
                new.version, old.version
            ),
            "nothing was changed. --older puts it in place all the same",
        ));
    }
    note.keeps_sessions = new.sessions == old.sessions;
    if note.daemon.is_some() && !note.keeps_sessions && !asked.end_sessions {
        let alive = daemon::ask(asked.installation.socket.as_deref());
        let (sessions, running) = alive.map_or((0, 0), |alive| (alive.sessions, alive.running));
        return Err(UpgradeError::Costs(
            format!(
                "execward {} cannot go on with sessions that execward {} has: {sessions} sessions with {running} commands would end",
                new.version, old.version
            ),
            "nothing was changed. --end-sessions ends them, each end on record",
        ));
    }
    Ok(())
}

/// Whether the one version comes before the other, number by number; what is no number counts as the same.
fn older(new: &str, old: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let plain = version.split(['-', '+']).next().unwrap_or_default();
        plain.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(new) < numbers(old)
}

/// Keeps what is needed to go back.
fn keep(asked: &Asked, note: &mut Note, progress: &mut dyn FnMut(&str)) -> Result<(), UpgradeError> {
    let installation = &asked.installation;
    let backup = Note::place(&installation.state).join(BACKUP);
    remove(&backup)?;
    let config =
        installation.config.as_deref().and_then(Path::parent).unwrap_or(&installation.config_directory);
    let places =
        Places { config: config.to_owned(), state: installation.state.clone(), uid: installation.uid };
    let taken = backup::take(&places, &backup, None, &mut |_, _| {})?;
    progress(&format!("backup: {} ({} bytes)", taken.path.display(), taken.bytes));
    note.backup = Some(backup);
    let previous = installation.previous();
    remove(&previous)?;
    // The same file by a second name: it stays as it is when the first one names another.
    fs::hard_link(&installation.binary, &previous).map_err(failed("keep", &installation.binary))?;
    sync(&installation.beside())?;
    Ok(())
}

/// Has a process of its own carry it out, which the end of this one's terminal does not end.
///
/// # Errors
/// When it cannot be started.
pub fn begin(ready: Ready) -> Result<Child, UpgradeError> {
    let Ready { mut note, lock } = ready;
    let _ = remove(&Note::log(&note.installation.state));
    note.come_to(Phase::Swapping)?;
    start(&note, lock, "forward")
}

/// Starts whoever carries it out: the binary that was there before.
pub(super) fn start(note: &Note, lock: File, how: &str) -> Result<Child, UpgradeError> {
    let previous = note.installation.previous();
    let own = PathBuf::from("/proc/self/exe");
    let program = if previous.exists() { &previous } else { &own };
    // The lock goes with the descriptor, so that nobody else can have it in between.
    let mut command = Command::new(program);
    command
        .args(["upgrade", "--watch", how, "--state"])
        .arg(&note.installation.state)
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(failed("execute", program))
}

/// What has to be done about an upgrade that somebody broke off: `None` where nothing has, or whoever carries it out goes on.
///
/// # Errors
/// See [`UpgradeError`].
pub fn repair(state: &Path) -> Result<Option<(Note, Option<Child>)>, UpgradeError> {
    if standing(state)?.is_none_or(|note| !note.phase.is_open()) {
        return Ok(None);
    }
    let Some(lock) = note::lock(state)? else { return Ok(None) };
    // It may have come to its end in between.
    let Some(note) = standing(state)?.filter(|note| note.phase.is_open()) else { return Ok(None) };
    if note.phase == Phase::Preparing {
        let found = note.clone();
        clean(&note)?;
        note.undo()?;
        return Ok(Some((found, None)));
    }
    let child = start(&note, lock, "on")?;
    Ok(Some((note, Some(child))))
}
