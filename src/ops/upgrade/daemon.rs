//! The daemon of an installation, as somebody sees it who restarts it: who it is, which binary it executes, and how it comes back.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{Installation, UpgradeError, said};
use crate::client::Client;
use crate::wire::rpc::{Nothing, Socket, Status};

/// How long a daemon may take to answer before it counts as one that does not.
const ANSWER: Duration = Duration::from_secs(3);

/// How long the old one may take to go: it lets commands end that cannot be left.
const GOING: Duration = Duration::from_secs(60);

/// How long the new one may take to come. Sessions wait for a minute.
const COMING: Duration = Duration::from_secs(20);

/// How long one that nobody else starts again is waited for.
const ALONE: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(50);

/// How long a command that restarts it may take.
const RESTARTING: Duration = Duration::from_secs(90);

/// A daemon, and how it is restarted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Served {
    pid: i32,
    restart: Restart,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    /// Where it says things, where that is a file.
    log: Option<PathBuf>,
}

/// Who restarts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Restart {
    /// systemd, whose unit it is; the user's own where that is said.
    Unit { name: String, of_user: bool },
    /// A command of the operator's.
    Command(String),
    /// It itself: SIGUSR2 has it execute its binary again.
    Itself,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alive {
    pub(super) pid: i32,
    pub(super) sessions: u64,
    pub(super) running: u64,
}

/// Asks it; `None` where none answers.
pub(super) fn ask(socket: Option<&Path>) -> Option<Alive> {
    let socket = socket.map(Path::to_owned);
    let (sender, receiver) = mpsc::channel();
    // One that hangs must not hang whoever is to put another in its place.
    std::thread::spawn(move || {
        let client = match &socket {
            Some(socket) => Client::connect(socket, true),
            None => Client::find(Socket::Operator),
        };
        let status = client.and_then(|mut client| client.ask::<Status>("status/show", &Nothing {}));
        let _ = sender.send(status.ok());
    });
    let status = receiver.recv_timeout(ANSWER).ok()??;
    Some(Alive { pid: i32::try_from(status.pid).ok()?, sessions: status.sessions, running: status.running })
}

/// The daemon that has the state of this installation, and how it is restarted.
pub(super) fn find(
    installation: &Installation,
    command: Option<&str>,
) -> Result<Option<Served>, UpgradeError> {
    let Some(Alive { pid, .. }) = ask(installation.socket.as_deref()) else {
        let at_rest = crate::state::is_at_rest(&installation.state).unwrap_or(false);
        if at_rest {
            return Ok(None);
        }
        return Err(UpgradeError::Daemon(
            format!("somebody has the state in {} open, and no daemon answers", installation.state.display()),
            "name its socket with --socket DIR/operator.sock, see that [principals] has you as an operator, or stop it",
        ));
    };
    let owner = fs::metadata(format!("/proc/{pid}")).map(|about| about.uid()).ok();
    if owner != Some(installation.uid) {
        return Err(UpgradeError::Daemon(
            format!("the daemon (process {pid}) is another user's"),
            "upgrade it as that user",
        ));
    }
    if !executes(pid, &installation.binary) {
        let other = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        return Err(UpgradeError::Daemon(
            format!(
                "the daemon (process {pid}) executes {}, not {}",
                other.display(),
                installation.binary.display()
            ),
            "name the binary that it executes with --binary FILE; one that was replaced under it needs a restart first",
        ));
    }
    let served = Served::of(pid, command);
    served.map(Some).map_err(|error| UpgradeError::Daemon(format!("the daemon (process {pid}): {error}"), ""))
}

/// Whether a process executes what is at this path now.
fn executes(pid: i32, path: &Path) -> bool {
    let same = |about: fs::Metadata| (about.dev(), about.ino());
    let (Ok(of), Ok(at)) = (fs::metadata(format!("/proc/{pid}/exe")), fs::metadata(path)) else {
        return false;
    };
    same(of) == same(at)
}

impl Served {
    fn of(pid: i32, command: Option<&str>) -> std::io::Result<Self> {
        let words = |name: &str| -> std::io::Result<Vec<OsString>> {
            let bytes = fs::read(format!("/proc/{pid}/{name}"))?;
            let parts = bytes.strip_suffix(&[0]).unwrap_or(&bytes).split(|byte| *byte == 0);
            Ok(parts.map(|part| OsString::from_vec(part.to_vec())).collect())
        };
        let variables = words("environ")?.into_iter().filter_map(|variable| {
            let bytes = variable.as_encoded_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (bytes.get(..at)?, bytes.get(at + 1..)?);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        });
        let log = fs::read_link(format!("/proc/{pid}/fd/2")).ok().filter(|path| path.is_file());
        Ok(Self {
            pid,
            restart: command.map_or_else(|| Restart::of(pid), |command| Restart::Command(command.to_owned())),
            arguments: words("cmdline")?.into_iter().skip(1).collect(),
            variables: variables.collect(),
            directory: fs::read_link(format!("/proc/{pid}/cwd"))?,
            log,
        })
    }

    /// Restarts it, and waits until a daemon answers that executes what is in place now.
    ///
    /// # Errors
    /// Why none does.
    pub(super) fn restart(&self, installation: &Installation, ends_sessions: bool) -> Result<Alive, String> {
        let before = ask(installation.socket.as_deref()).map(|alive| alive.pid).filter(|pid| *pid > 0);
        let pid = before.unwrap_or(self.pid);
        if ends_sessions {
            // The next one cannot go on with them: each ends on record.
            self.stop(pid, Signal::SIGINT);
        }
        let mut same = None;
        match &self.restart {
            Restart::Unit { name, of_user } => systemctl("restart", name, *of_user)?,
            Restart::Command(command) => {
                let ran = said(Command::new("/bin/sh").args(["-c", command]), RESTARTING);
                let ran = ran.map_err(|error| format!("`{command}`: {error}"))?;
                if !ran.1.success() {
                    return Err(format!("`{command}` failed: {}", ran.1));
                }
            }
            Restart::Itself => match before.filter(|_| !ends_sessions) {
                Some(pid) => {
                    kill(Pid::from_raw(pid), Signal::SIGUSR2)
                        .map_err(|errno| format!("process {pid}: {errno}"))?;
                    same = Some(pid);
                }
                None => self.start_unless_another_does(installation)?,
            },
        }
        wait_for(installation, same)
    }

    /// Ends it, where it is there.
    pub(super) fn stop(&self, pid: i32, signal: Signal) {
        if let Restart::Unit { name, of_user } = &self.restart
            && signal == Signal::SIGTERM
        {
            let _ = systemctl("stop", name, *of_user);
        }
        let sent = kill(Pid::from_raw(pid), signal).is_ok();
        let until = Instant::now() + GOING;
        while sent && lives(pid) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
        if sent && lives(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Brings one back whatever state the one before is in.
    ///
    /// # Errors
    /// Why none comes.
    pub(super) fn bring_back(
        &self,
        installation: &Installation,
        ends_sessions: bool,
    ) -> Result<Alive, String> {
        let alive = ask(installation.socket.as_deref());
        if alive.is_none() && lives(self.pid) && self.is_ours(self.pid) {
            // It hangs, or has just begun.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
        match alive {
            Some(alive) if executes(alive.pid, &installation.binary) => Ok(alive),
            _ => self.restart(installation, ends_sessions),
        }
    }

    /// Whether a process is this daemon, and not another that got its number.
    fn is_ours(&self, pid: i32) -> bool {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let mut words = line.split(|byte| *byte == 0).skip(1);
            self.arguments.iter().all(|argument| words.next() == Some(argument.as_encoded_bytes()))
        })
    }

    /// Who started it may start it again. Where nobody does, this does.
    fn start_unless_another_does(&self, installation: &Installation) -> Result<(), String> {
        let until = Instant::now() + ALONE;
        while Instant::now() < until {
            if ask(installation.socket.as_deref()).is_some() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        let log = self.log.as_ref().and_then(|log| File::options().append(true).open(log).ok());
        let (one, other) = (log.as_ref().and_then(|log| log.try_clone().ok()), log);
        let to = |log: Option<File>| log.map_or_else(Stdio::null, Stdio::from);
        let mut command = Command::new(&installation.binary);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(to(one))
            .stderr(to(other))
            .process_group(0);
        command.spawn().map(drop).map_err(|error| format!("{}: {error}", installation.binary.display()))
    }
}

/// Waits until a daemon answers that executes what is in place; `same` is the process that is to become it, where that is known.
fn wait_for(installation: &Installation, same: Option<i32>) -> Result<Alive, String> {
    let begun = Instant::now();
    let mut gone: Option<Instant> = None;
    loop {
        let alive = ask(installation.socket.as_deref());
        match alive {
            Some(alive) if executes(alive.pid, &installation.binary) => return Ok(alive),
            Some(_) => {}
            None => drop(gone.get_or_insert_with(Instant::now)),
        }
        let gone_for = gone.map(|gone| gone.elapsed()).unwrap_or_default();
        if same.is_some_and(|pid| !lives(pid)) && gone_for > 2 * ALONE {
            return Err("the daemon has ended, and nobody has started it again".to_owned());
        }
        // The old one may take its time to go, and then the new one has its own.
        let stays = same.is_some_and(|pid| lives(pid) && !executes(pid, &installation.binary));
        if begun.elapsed() > GOING + COMING || (!stays && gone_for > COMING) {
            return Err(match alive {
                Some(_) => "the daemon goes on, and was not restarted".to_owned(),
                None => format!("no daemon answers {} s after the old one has gone", COMING.as_secs()),
            });
        }
        std::thread::sleep(PAUSE);
    }
}

impl Restart {
    /// By systemd where that says that the process is the main one of a unit, else by itself.
    fn of(pid: i32) -> Self {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let unit = cgroups.lines().find_map(|line| {
            let path = line.splitn(3, ':').nth(2)?;
            let name = path.rsplit('/').find(|part| part.ends_with(".service"))?;
            Some((name.to_owned(), path.contains("/user@")))
        });
        let Some((name, of_user)) = unit.filter(|_| Path::new("/run/systemd/system").is_dir()) else {
            return Self::Itself;
        };
        let mut show = Command::new("systemctl");
        show.args(of_user.then_some("--user")).args(["show", "--property=MainPID", "--value", &name]);
        let main = said(&mut show, ANSWER).map(|(text, _)| String::from_utf8_lossy(&text).trim().to_owned());
        if main.is_ok_and(|main| main == pid.to_string()) {
            Self::Unit { name, of_user }
        } else {
            Self::Itself
        }
    }
}

fn systemctl(what: &str, unit: &str, of_user: bool) -> Result<(), String> {
    let mut command = Command::new("systemctl");
    command.args(of_user.then_some("--user")).args([what, unit]);
    let ran = said(&mut command, RESTARTING).map_err(|error| format!("systemctl {what} {unit}: {error}"))?;
    if ran.1.success() { Ok(()) } else { Err(format!("systemctl {what} {unit}: {}", ran.1)) }
}

/// Whether a process is there, and does not only wait to be reaped.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
