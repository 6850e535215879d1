//! `execward upgrade`: another binary, with a way back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::ops::upgrade::{
    self, Asked, Installation, Note, Phase, Proof, UpgradeError, about, begin, confirm, prepare, rehearsal,
    repair, roll_back, standing,
};
use crate::policy::parse_duration;
use crate::supervisor::Local;

pub(super) const EXAMPLES: &str = "\
The new binary is verified, tried in the jail with copies of the configuration and the state, and put in place; the daemon is
restarted and goes on with its sessions; the doctor looks. Where that fails, or nobody confirms, the old one comes back, with the
state that it had. Without a file, it says where the last upgrade stands, and deals with one that was broken off.

Examples:
  execward upgrade ./execward-0.2.0                          with ./execward-0.2.0.sig, of a key in /etc/execward/upgrade.pub
  execward upgrade ./execward-0.2.0 --sha256sums SHA256SUMS --dry-run
  execward upgrade --confirm
  execward upgrade --rollback

Exit codes: 0 it is in place, or waits to be confirmed, 1 refused, or the old one is back, 2 it could not be tried.";

#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// The new binary; without it, say where the last upgrade stands
    #[arg(conflicts_with_all = ["confirm", "rollback"])]
    file: Option<PathBuf>,
    /// Its SHA-256
    #[arg(long, value_name = "HEX", conflicts_with_all = ["sha256sums", "key", "signature"], requires = "file")]
    sha256: Option<String>,
    /// A file as sha256sum(1) writes it, with a line for it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "signature"], requires = "file")]
    sha256sums: Option<PathBuf>,
    /// The signature, as signify(1) makes it [default: FILE.sig]
    #[arg(long, value_name = "FILE", requires = "file")]
    signature: Option<PathBuf>,
    /// Public keys that are trusted [default: upgrade.pub beside execward.toml]
    #[arg(long, value_name = "FILE", requires = "file")]
    key: Option<PathBuf>,
    /// How long you have to confirm it, before the old one comes back; 0s: it needs no confirmation
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    confirm_within: Duration,
    /// Only verify and try it
    #[arg(long, requires = "file")]
    dry_run: bool,
    /// Put it in place even if it is of an older version
    #[arg(long, requires = "file")]
    older: bool,
    /// End sessions that the other version cannot go on with
    #[arg(long)]
    end_sessions: bool,
    /// What restarts the daemon, as shell text [default: systemd, or the daemon itself]
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// The new one stays
    #[arg(long, conflicts_with = "rollback")]
    confirm: bool,
    /// Back to what was there before the last upgrade
    #[arg(long)]
    rollback: bool,
    /// The binary that is replaced [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The configuration, in place of execward.toml in its usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The policy, in place of the one in its usual place
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The state directory
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The daemon's socket for operators; without it the system's, then your own
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say what this execward works with
    #[arg(long, hide = true)]
    about: bool,
    /// Try this execward with the copies in a directory
    #[arg(long, hide = true, value_name = "DIR")]
    rehearse: Option<PathBuf>,
    /// Carry out what is written down
    #[arg(long, hide = true, value_name = "HOW")]
    watch: Option<String>,
}

pub(super) fn upgrade(arguments: &Upgrade, screen: Screen) -> Exit {
    if arguments.about || arguments.rehearse.is_some() {
        let said = arguments.rehearse.as_deref().map_or_else(about, rehearsal);
        return print(screen, &(serde_json::to_string(&said).unwrap_or_default() + "\n"), Exit::SUCCESS);
    }
    done(arguments, screen).unwrap_or_else(|error| {
        screen.error(shown(&error.to_string()));
        screen.hint(error.hint());
        if error.is_no() { Exit::NO } else { Exit::USAGE }
    })
}

fn done(arguments: &Upgrade, screen: Screen) -> Result<Exit, UpgradeError> {
    let installation = installation(arguments)?;
    let state = &installation.state;
    if let Some(how) = &arguments.watch {
        // Of no terminal, whose end would be this process's. One that leads a session already has none.
        let _ = nix::unistd::setsid();
        return upgrade::watch(state, how == "forward").map(|()| Exit::SUCCESS);
    }
    if arguments.confirm {
        return confirm(state).map(|note| end(&note, arguments.json, screen));
    }
    if arguments.rollback {
        let (note, child) = roll_back(&installation, arguments.restart.as_deref(), arguments.end_sessions)?;
        let note = match child {
            Some(child) => follow(state, &note, child, screen)?,
            None => note,
        };
        let back = note.phase == Phase::Returned;
        let exit = end(&note, arguments.json, screen);
        return Ok(if back { Exit::SUCCESS } else { exit });
    }
    if let Some((note, child)) = repair(state)? {
        screen.note(format_args!(
            "an upgrade to execward {} was broken off: {}",
            note.to,
            note.phase.words()
        ));
        let Some(child) = child else {
            screen.note("nothing was changed");
            return Ok(if arguments.file.is_some() { Exit::NO } else { Exit::SUCCESS });
        };
        let note = follow(state, &note, child, screen)?;
        return Ok(end(&note, arguments.json, screen));
    }
    let Some(file) = &arguments.file else {
        return Ok(match standing(state)? {
            None => print(screen, "there was no upgrade\n", Exit::SUCCESS),
            Some(note) => {
                let _ = end(&note, arguments.json, screen);
                Exit::SUCCESS
            }
        });
    };
    let keys =
        installation.config.as_deref().and_then(Path::parent).unwrap_or(&installation.config_directory);
    let proof = match (&arguments.sha256, &arguments.sha256sums) {
        (Some(digest), _) => Proof::Digest(digest.clone()),
        (_, Some(list)) => Proof::Digests(list.clone()),
        (None, None) => Proof::Signature {
            signature: arguments.signature.clone(),
            keys: arguments.key.clone().unwrap_or_else(|| keys.join("upgrade.pub")),
        },
    };
    let asked = Asked {
        file: file.clone(),
        proof,
        confirm_within: arguments.confirm_within,
        restart: arguments.restart.clone(),
        end_sessions: arguments.end_sessions,
        older: arguments.older,
        dry_run: arguments.dry_run,
        installation,
    };
    let (note, ready) = prepare(&asked, &mut |what| screen.note(shown(what)))?;
    let Some(ready) = ready else {
        screen.note("nothing was changed: a dry run");
        return Ok(if arguments.json { json(&note, screen, Exit::SUCCESS) } else { Exit::SUCCESS });
    };
    let child = begin(ready)?;
    let note = follow(&asked.installation.state, &note, child, screen)?;
    Ok(end(&note, arguments.json, screen))
}

fn installation(arguments: &Upgrade) -> Result<Installation, UpgradeError> {
    let local = Local::look(arguments.state.clone());
    let local = local.map_err(|error| UpgradeError::Daemon(error.to_string(), error.hint()))?;
    let real = |path: &Path| {
        let path = path.to_owned();
        let found = std::path::absolute(&path).and_then(|path| path.canonicalize());
        found.map_err(|error| UpgradeError::Io { action: "find", path, error })
    };
    let whole = |path: &Option<PathBuf>| path.as_deref().map(real).transpose();
    // It is not there while a daemon is started anew: what leads to it is.
    let socket = |path: &Path| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(real(&Path::new(".").join(parent))?.join(name)),
        _ => real(path),
    };
    let binary = match &arguments.binary {
        Some(binary) => real(binary)?,
        None => {
            let link = Path::new("/proc/self/exe");
            let own = std::fs::read_link(link).map_err(|error| UpgradeError::Io {
                action: "read",
                path: link.to_owned(),
                error,
            })?;
            // proc(5): another one may have been put in its place since this process began, by an upgrade that goes on.
            let there = own.as_os_str().as_bytes();
            real(Path::new(OsStr::from_bytes(there.strip_suffix(b" (deleted)").unwrap_or(there))))?
        }
    };
    Ok(Installation {
        binary,
        state: local.directories.state,
        config: whole(&arguments.config)?,
        config_directory: local.directories.config.unwrap_or_else(|| "/etc/execward".into()),
        policy: whole(&arguments.policy)?,
        socket: arguments.socket.as_deref().map(socket).transpose()?,
        uid: local.principal.uid,
    })
}

/// Says what is done, until it is, or until somebody is waited for.
fn follow(state: &Path, note: &Note, mut child: Child, screen: Screen) -> Result<Note, UpgradeError> {
    let mut said = 0;
    loop {
        let ended = !matches!(child.try_wait(), Ok(None));
        let now = standing(state)?.filter(|now| now.id == note.id);
        let now = now.ok_or(UpgradeError::Nothing("another upgrade has begun meanwhile"))?;
        let lines = upgrade::log(state);
        for line in lines.iter().skip(said) {
            screen.note(shown(line));
        }
        said = said.max(lines.len());
        if !now.phase.is_open() || now.phase == Phase::Trial {
            return Ok(now);
        }
        if ended {
            return Err(UpgradeError::Unfinished("whoever carried it out is gone"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says how it stands.
fn end(note: &Note, as_json: bool, screen: Screen) -> Exit {
    let exit = if note.phase == Phase::Returned { Exit::NO } else { Exit::SUCCESS };
    if as_json {
        return json(note, screen, exit);
    }
    let text = match note.phase {
        Phase::Done => format!("execward {} is in place, instead of {}\n", note.to, note.from),
        Phase::Returned => format!("execward {} is back, instead of {}: {}\n", note.from, note.to, note.why),
        Phase::Trial => {
            let until = note.until().unwrap_or(Timestamp::UNIX_EPOCH).strftime("%H:%M:%S UTC").to_string();
            screen.hint(format_args!(
                "`execward upgrade --confirm` keeps it; at {until} the old one comes back"
            ));
            format!("execward {} is in place, and waits to be confirmed until {until}\n", note.to)
        }
        phase => format!("execward {} to {}: {}\n", note.from, note.to, phase.words()),
    };
    print(screen, &shown(&text), exit)
}

fn json(note: &Note, screen: Screen, exit: Exit) -> Exit {
    let said = serde_json::json!({
        "id": note.id, "phase": note.phase, "why": note.why, "from": note.from, "to": note.to,
        "until": note.until().map(|until| until.to_string()), "sha256": note.sha256, "verified_by": note.by, "backup": note.backup,
    });
    print(screen, &format!("{said}\n"), exit)
}
