//! The positive control: the same attempts in a throw-away world, where nothing of execward's stands in their way.
//!
//! The world is a set of namespaces that this process makes for itself (never the operator's host): its own users, mounts,
//! processes, network, ipc and host name. The host's files are there and read-only, all of them; what a probe is after lies on
//! file systems in memory; and when the world's first process ends, everything in it does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::{Outside, Place, Said};
use crate::sys::attack::{LIST, ROLE as PROBE};
use crate::sys::mount::{Attributes, restrict};
use crate::sys::{net, process};

/// The first argument by which the binary makes such a world.
pub const ROLE: &str = "attack-control";

/// The argument of the world's first process.
const WITHIN: &str = "within";

/// Tries the whole list in a throw-away world.
///
/// # Errors
/// Where no such world can be made; why.
pub fn run() -> Result<BTreeMap<String, Said>, String> {
    let output = Command::new("/proc/self/exe")
        .arg(ROLE)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rows: BTreeMap<String, Said> = said
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, said)| (id.to_owned(), Said::of(said, None)))
        .collect();
    if rows.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(if why.is_empty() { format!("it ended with {}", output.status) } else { why });
    }
    Ok(rows)
}

/// Whether this process was started as a control; which of its two then.
pub fn role(mut arguments: impl Iterator<Item = String>) -> Option<bool> {
    (arguments.nth(1).as_deref() == Some(ROLE)).then(|| arguments.next().as_deref() == Some(WITHIN))
}

/// Runs the role; the exit code of the process.
#[allow(clippy::print_stderr, reason = "the parent reads it")]
pub fn main(within: bool) -> u8 {
    let _ = process::die_with_parent();
    match if within { inside() } else { enter() } {
        Ok(()) => 0,
        Err((what, error)) => {
            eprintln!("{what}: {error}");
            1
        }
    }
}

type Failed = (&'static str, io::Error);

/// Names what failed.
fn at<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, Failed> {
    result.map_err(|error| (what, error.into()))
}

/// Makes the namespaces, and starts the first process in them.
fn enter() -> Result<(), Failed> {
    let (uid, gid) = (geteuid(), getegid());
    at("make a user namespace", unshare(CloneFlags::CLONE_NEWUSER))?;
    at("give up setgroups", fs::write("/proc/self/setgroups", "deny"))?;
    at("map the user", fs::write("/proc/self/uid_map", format!("0 {uid} 1")))?;
    at("map the group", fs::write("/proc/self/gid_map", format!("0 {gid} 1")))?;
    let rest = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    at("make namespaces", unshare(rest))?;
    let mut first = Command::new("/proc/self/exe");
    let status = at("start the world's first process", first.arg(ROLE).arg(WITHIN).status())?;
    if status.success() { Ok(()) } else { Err(("the world", io::Error::other(status.to_string()))) }
}

/// In the world, as its first process.
fn inside() -> Result<(), Failed> {
    let none = None::<&str>;
    at("make mounts private", mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))?;
    let root = at("open /", fs::File::open("/"))?;
    // Before anything else: what the probes do harms nothing.
    at(
        "make the host's files read-only",
        restrict(root.as_fd(), Attributes { read_only: true, ..Attributes::default() }, true),
    )?;
    for place in ["/tmp", "/dev/shm", "/mnt", "/etc"] {
        at("mount a tmpfs", mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), none))?;
    }
    at("mount /proc", mount(Some("none"), "/proc", Some("proc"), MsFlags::empty(), none))?;
    let _ = net::loopback_up();
    let base = Path::new("/mnt");
    let place = Place {
        directory: base.join("outside"),
        workspace: base.join("workspace"),
        home: base.join("home"),
        keeper: base.join("keeper"),
        state: base.join("state"),
        state_as_seen: base.join("state"),
        owner: (0, 0),
    };
    for directory in [&place.directory, &place.workspace, &place.home, &place.keeper, &place.state] {
        at("make a directory", fs::create_dir_all(directory))?;
    }
    let (workspace, home) = (place.workspace.clone(), place.home.clone());
    let outside = at("make the canaries", Outside::new(place))?;
    let mut told = String::new();
    for probe in LIST {
        outside.reset();
        let mut command = Command::new("/proc/self/exe");
        command.arg(PROBE).arg(probe.id).args(outside.arguments()).current_dir(&workspace).env("HOME", &home);
        let said = match probe.id {
            // What it looks for is inherited.
            "X26" => {
                let file =
                    at("open a file", fs::File::options().read(true).write(true).open("/mnt/outside/file"))?;
                command.stdin(file).output()
            }
            _ => command.stdin(Stdio::null()).output(),
        };
        let said = at("start a probe", said)?;
        let line = match Said::of(&String::from_utf8_lossy(&said.stdout), said.status.signal()) {
            Said::Open(what) => format!("{} OPEN {what}\n", probe.id),
            Said::Held(why) => format!("{} HELD {why}\n", probe.id),
            Said::Inconclusive(why) => format!("{} INCONCLUSIVE {}\n", probe.id, why.replace('\n', " ")),
        };
        told.push_str(&line);
    }
    at("say what came of it", io::Write::write_all(&mut io::stdout(), told.as_bytes()))
}
