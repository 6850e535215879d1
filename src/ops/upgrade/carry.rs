//! Carrying an upgrade out: forward until an operator has confirmed it, and back from wherever it stands.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::note::{self, Answer, Note, Phase, standing};
use super::prepare::{CONFIG_AFTER, CONFIG_BEFORE, start};
use super::{Installation, UpgradeError, bring, daemon, failed, remove, said, sync};
use crate::{state, supervisor};

/// How long a doctor may take.
const DOCTOR: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(100);

/// Carries out what the note says, to its end. Whoever is called holds the lock. `afresh` where nobody has begun it: one that was
/// broken off goes back, but for a new binary that works and is only to be confirmed.
///
/// # Errors
/// When it cannot go on; the note says where it stands.
pub fn watch(state: &Path, afresh: bool) -> Result<(), UpgradeError> {
    let Some(mut note) = standing(state)? else { return Err(UpgradeError::Nothing("there is no upgrade")) };
    let went = match note.phase {
        Phase::Swapping if afresh => forward(&mut note),
        Phase::Trial => Ok(()),
        Phase::Returning => Err(note.why.clone()),
        Phase::Swapping | Phase::Preparing => Err("it was broken off".to_owned()),
        Phase::Done | Phase::Returned => return Ok(()),
    };
    match went.and_then(|()| wait(&mut note)) {
        Ok(()) => stay(&mut note),
        Err(why) => back(&mut note, why),
    }
}

/// Puts the new one in place, and looks whether it works.
fn forward(note: &mut Note) -> Result<(), String> {
    let installation = note.installation.clone();
    put_new(note).map_err(|error| error.to_string())?;
    note.say(&format!("execward {} is in place", note.to));
    if let Some(daemon) = &note.daemon {
        let before = daemon::ask(installation.socket.as_deref());
        let alive = daemon.restart(&installation, !note.keeps_sessions)?;
        let left = if note.keeps_sessions { before.map_or(0, |before| before.sessions) } else { 0 };
        note.say(&format!(
            "the daemon (process {}) executes it, and goes on with {} of {left} sessions",
            alive.pid, alive.sessions
        ));
    }
    let failing: BTreeSet<String> =
        failing(&installation).map_err(|what| format!("its doctor: {what}"))?.into_iter().collect();
    let new: Vec<&str> =
        failing.iter().filter(|name| !note.failing.contains(name)).map(String::as_str).collect();
    if !new.is_empty() {
        return Err(format!("its doctor finds what was well before: {}", new.join(", ")));
    }
    note.say("its doctor finds nothing that was well before");
    let within = SignedDuration::from_millis(i64::try_from(note.confirm_within_ms).unwrap_or(i64::MAX));
    note.until_ms = Timestamp::now().checked_add(within).ok().map(Timestamp::as_millisecond);
    note.come_to(Phase::Trial).map_err(|error| error.to_string())
}

fn put_new(note: &Note) -> Result<(), UpgradeError> {
    let installation = &note.installation;
    let new = installation.staged();
    if bring::digest(&new)? != note.sha256 {
        return Err(bring::unfit(&new, "it is not what was verified"));
    }
    fs::rename(&new, &installation.binary).map_err(failed("put in place", &installation.binary))?;
    sync(installation.binary.parent().unwrap_or(Path::new("/")))?;
    if note.migrated {
        put_config(note, CONFIG_AFTER)?;
    }
    Ok(())
}

/// Puts another `execward.toml` in place, with the owner and the mode of the one that is there.
fn put_config(note: &Note, from: &str) -> Result<(), UpgradeError> {
    let path = note.installation.config_file();
    let from = Note::place(&note.installation.state).join(from);
    let text = fs::read_to_string(&from).map_err(failed("read", &from))?;
    supervisor::put_config(&path, &text, 0o600).map_err(failed("write", &path))
}

/// Waits for an operator.
fn wait(note: &mut Note) -> Result<(), String> {
    if note.confirm_within_ms == 0 {
        return Ok(());
    }
    let left = note.until().map(|until| until.duration_since(Timestamp::now()));
    let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
    // What is left counts from now, whatever becomes of the clock.
    let until = Instant::now() + left.min(Duration::from_millis(note.confirm_within_ms));
    loop {
        match note.answer() {
            Some(Answer::Confirm) => return Ok(()),
            Some(Answer::GoBack) => return Err("an operator took it back".to_owned()),
            None if Instant::now() >= until => return Err("nobody confirmed it in time".to_owned()),
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// The new one stays; what was there stays beside it, for a way back.
fn stay(note: &mut Note) -> Result<(), UpgradeError> {
    note.daemon = None;
    note.come_to(Phase::Done)?;
    note.say(&format!("execward {} stays", note.to));
    Ok(())
}

/// Puts the old one back, with what it had.
fn back(note: &mut Note, why: String) -> Result<(), UpgradeError> {
    note.why = why;
    note.come_to(Phase::Returning)?;
    note.say(&format!("going back to execward {}: {}", note.from, note.why));
    let installation = note.installation.clone();
    put_old(&installation)?;
    if note.migrated {
        put_config(note, CONFIG_BEFORE)?;
    }
    if let Some(daemon) = note.daemon.clone() {
        if state::is_newer(&installation.state, note.schema) {
            if let Some(alive) = daemon::ask(installation.socket.as_deref()) {
                daemon.stop(alive.pid, Signal::SIGTERM);
            }
            give_back_state(note)?;
        }
        match daemon.bring_back(&installation, !note.keeps_sessions) {
            Ok(alive) => note.say(&format!("the daemon (process {}) executes the old one again", alive.pid)),
            Err(what) => {
                note.why = format!("{}; the old one is in place, and no daemon runs: {what}", note.why);
                note.say(&what);
            }
        }
    } else if state::is_newer(&installation.state, note.schema) {
        give_back_state(note)?;
    }
    note.daemon = None;
    note.come_to(Phase::Returned)?;
    note.say(&format!("execward {} is back", note.from));
    remove(&installation.staged())?;
    remove(&installation.previous())?;
    let _ = fs::remove_dir(installation.beside());
    Ok(())
}

/// The old database, as it was in the moment before the new execward changed its form.
fn give_back_state(note: &Note) -> Result<(), UpgradeError> {
    let kept = state::give_back(&note.installation.state, note.schema)
        .map_err(crate::ops::backup::BackupError::from)?;
    if let Some(newer) = kept {
        note.say(&format!(
            "the database is as it was before; what the new one made of it: {}",
            newer.display()
        ));
    }
    Ok(())
}

/// Puts the old binary back, where it is not.
fn put_old(installation: &Installation) -> Result<(), UpgradeError> {
    let (previous, again) = (installation.previous(), installation.beside().join("again"));
    fs::metadata(&previous).map_err(failed("find", &previous))?;
    if !is_other(&installation.binary, &previous) {
        return Ok(());
    }
    remove(&again)?;
    fs::hard_link(&previous, &again).map_err(failed("link", &previous))?;
    fs::rename(&again, &installation.binary).map_err(failed("put back", &installation.binary))?;
    sync(installation.binary.parent().unwrap_or(Path::new("/")))
}

/// Whether two paths lead to two files, or one to none.
fn is_other(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let which = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    which(one) != which(other)
}

/// An operator says that the new one stays. When this returns, it does; where the process that waits for that is gone, this does
/// what it would have done.
///
/// # Errors
/// Where there is nothing to confirm, or not any more.
pub fn confirm(state: &Path) -> Result<Note, UpgradeError> {
    const NOTHING: UpgradeError = UpgradeError::Nothing("there is no upgrade that waits to be confirmed");
    let note = standing(state)?.filter(|note| note.phase == Phase::Trial).ok_or(NOTHING)?;
    answer(state, &note, Answer::Confirm)?;
    settled(state, &note)
}

/// An operator wants the old one back: one that waits to be confirmed, or one that was.
///
/// # Errors
/// Where there is none.
pub fn roll_back(
    installation: &Installation,
    command: Option<&str>,
    end_sessions: bool,
) -> Result<(Note, Option<Child>), UpgradeError> {
    const NOTHING: UpgradeError = UpgradeError::Nothing("there is no upgrade to roll back");
    let state = &installation.state;
    let mut note = standing(state)?.ok_or(NOTHING)?;
    match note.phase {
        Phase::Trial => {
            answer(state, &note, Answer::GoBack)?;
            return Ok((settled(state, &note)?, None));
        }
        Phase::Done => {}
        Phase::Returned => return Err(NOTHING),
        phase => return Err(UpgradeError::Unfinished(phase.words())),
    }
    let lock = note::lock(state)?.ok_or_else(|| UpgradeError::Busy(state.clone()))?;
    let binary = &note.installation.binary;
    let previous = note.installation.previous();
    if !previous.exists() || !is_other(binary, &previous) || bring::digest(binary)? != note.sha256 {
        return Err(bring::unfit(
            binary,
            "it is not what the last upgrade put there: something else has replaced it since",
        ));
    }
    note.daemon = daemon::find(&note.installation, command)?;
    if note.daemon.is_some() && !note.keeps_sessions && !end_sessions {
        return Err(UpgradeError::Costs(
            format!("execward {} cannot go on with sessions that execward {} has", note.from, note.to),
            "nothing was changed. --end-sessions ends them, each end on record",
        ));
    }
    "an operator took it back".clone_into(&mut note.why);
    let _ = remove(&Note::log(state));
    note.come_to(Phase::Returning)?;
    let child = start(&note, lock, "on")?;
    Ok((note, Some(child)))
}

fn answer(state: &Path, note: &Note, answer: Answer) -> Result<(), UpgradeError> {
    note.give_answer(answer)?;
    // Nobody may be there to hear it.
    if let Some(lock) = note::lock(state)? {
        start(note, lock, "on")?;
    }
    Ok(())
}

/// Waits until an upgrade is over.
fn settled(state: &Path, note: &Note) -> Result<Note, UpgradeError> {
    loop {
        let now = standing(state)?.filter(|now| now.id == note.id);
        let now = now.ok_or(UpgradeError::Nothing("another upgrade has begun meanwhile"))?;
        if !now.phase.is_open() {
            return Ok(now);
        }
        if let Some(lock) = note::lock(state)? {
            drop(lock);
            let now = standing(state)?.filter(|now| now.id == note.id && !now.phase.is_open());
            return now.ok_or(UpgradeError::Unfinished("whoever carried it out is gone"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Has one go on that a power cut, or a kill, has broken off: for a daemon that begins.
///
/// # Errors
/// See [`UpgradeError`].
pub fn resume(state: &Path) -> Result<Option<Child>, UpgradeError> {
    if !Note::place(state).exists() {
        return Ok(None);
    }
    let open = standing(state)?.filter(|note| note.phase.is_open() && note.phase != Phase::Preparing);
    let Some(note) = open else { return Ok(None) };
    let Some(lock) = note::lock(state)? else { return Ok(None) };
    start(&note, lock, "on").map(Some)
}

/// Where an upgrade stands that is not over, and that nobody carries out.
pub fn broken_off(state: &Path) -> Option<Phase> {
    let note = standing(state).ok()??;
    (note.phase.is_open() && matches!(note::lock(state), Ok(Some(_)))).then_some(note.phase)
}

/// The checks of the doctor that fail, as the binary that is in place sees them.
pub(super) fn failing(installation: &Installation) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Line {
        name: String,
        health: String,
    }
    let mut doctor = Command::new(&installation.binary);
    doctor.args(["doctor", "--json", "--state"]).arg(&installation.state);
    if let Some(config) = &installation.config {
        doctor.arg("--config").arg(config);
    }
    if let Some(policy) = &installation.policy {
        doctor.arg("--policy").arg(policy);
    }
    let (text, status) = said(&mut doctor, DOCTOR).map_err(|error| error.to_string())?;
    let lines: Result<Vec<Line>, _> =
        String::from_utf8_lossy(&text).lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| format!("what it says cannot be read: {error}"))?;
    // 0, 3 for warnings, 1 for failures; anything else is no answer.
    if lines.is_empty() || !matches!(status.code(), Some(0 | 1 | 3)) {
        return Err(format!("it gives no answer: {status}"));
    }
    Ok(lines.into_iter().filter(|line| line.health == "failure").map(|line| line.name).collect())
}
