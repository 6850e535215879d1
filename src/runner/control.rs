//! A jail with a layer missing, in a world to throw away: what shows that the layer is what stops an attempt (`ops::attack`).
//!
//! No session comes here. What puts the layers on are the runner's own functions, and none of them can be told to leave anything
//! out; this file is another, shorter order of them, in which a step can be skipped. It is reached by a [`World`] alone, and a
//! `World` is made in one way: by making one ([`enter`]). There no file, process, port or terminal is the host's but read-only
//! files and devices, so that what gets past the layers that are left gets at nothing.
//!
//! The jail is an ordinary user's, whoever makes the world, but for its user namespace, which is the world's: beyond it no rights
//! of the host are left to anybody in the world.
//!
//! ```compile_fail
//! let world = execward::runner::control::World { ids: (0, 0) };
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::ExitStatus;

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, getegid, geteuid, pipe2, setsid};

use super::failure::{Doing as _, Result};
use super::root::{self, Idmaps};
use super::{confine, init, namespaces, seccomp};
use crate::sys::attack::Layer;
use crate::sys::mount::{Attributes, restrict};
use crate::sys::process::{self, Side};
use crate::sys::{net, spawn::step};
use crate::wire::runner::{Failure, Network, SandboxSpec};

/// Who root is in a world. No command is root.
const NOT_ROOT: u32 = 1000;

/// Where a world has file systems of its own, in memory, over the host's.
const OWN: [&str; 4] = ["/tmp", "/dev/shm", "/mnt", "/etc"];

/// A process that has made a world, or is in it.
#[derive(Debug)]
pub enum Entered {
    /// Process 1 of it.
    Within(World),
    /// The process that made it, after its end, with the exit code of its process 1.
    Over(i32),
}

/// The knowledge that this process is in a throw-away world: user, mount, pid, network, ipc and uts namespaces, the host's files
/// read-only and what can be written in memory. It goes with its process 1.
#[derive(Debug)]
pub struct World {
    ids: (u32, u32),
}

/// What a command of a control is.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Its program and arguments.
    pub argv: &'a [String],
    /// What an ordinary session would be told.
    pub spec: &'a SandboxSpec,
    /// What the requester has as standard input. What else is open in this process and not closed by exec is the requester's, too.
    pub stdin: &'a File,
    /// The requester's terminal.
    pub terminal: &'a Path,
}

/// Makes a world. It returns in two processes: its first, which shall end by [`process::exit_now`], and this one, once it has.
///
/// # Errors
/// Where the host lets no such thing be made; in the process in which it could not.
pub fn enter() -> std::result::Result<Entered, Failure> {
    let _ = process::die_with_parent();
    let inside = |id: u32| if id == 0 { NOT_ROOT } else { id };
    let ids = (inside(geteuid().as_raw()), inside(getegid().as_raw()));
    namespaces::user_namespace_as(ids)?;
    let _ = process::die_with_parent();
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match process::clone(kinds, None).doing("world", || "make namespaces".into())? {
        Side::Parent { pid, .. } => Ok(Entered::Over(end_of(pid))),
        Side::Child => {
            let _ = process::die_with_parent();
            furnish()?;
            use_up_numbers().doing("world", || "start processes".into())?;
            Ok(Entered::Within(World { ids }))
        }
    }
}

/// Makes what is the host's harmless, before anything else.
fn furnish() -> Result<()> {
    let (none, own) = (None::<&str>, Some("none"));
    let doing = || "make the host's files read-only".to_owned();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).doing("world", doing)?;
    let all = File::open("/").doing("world", doing)?;
    restrict(all.as_fd(), Attributes { read_only: true, ..Attributes::default() }, true)
        .doing("world", doing)?;
    for place in OWN {
        let doing = || format!("mount a tmpfs on {place}");
        mount(own, place, Some("tmpfs"), MsFlags::empty(), none).doing("world", doing)?;
    }
    mount(own, "/proc", Some("proc"), MsFlags::empty(), none).doing("world", || "mount /proc".into())?;
    nix::unistd::sethostname("world").doing("world", || "name the machine".into())?;
    net::loopback_up().doing("world", || "bring up the loopback interface".into())
}

/// Has the processes that are attacked be of no number that a jail's own have: in a pid namespace of its own a small one would be
/// the attacker's.
fn use_up_numbers() -> nix::Result<()> {
    for _ in 0..16 {
        match process::clone(CloneFlags::empty(), None)? {
            Side::Child => process::exit_now(0),
            Side::Parent { pid, .. } => end_of(pid),
        };
    }
    Ok(())
}

impl World {
    /// The user and group that all its processes are.
    pub fn ids(&self) -> (u32, u32) {
        self.ids
    }

    /// Runs a command in a jail that has every layer but these. What it printed, or the failure that kept it from being one; and
    /// how it ended.
    ///
    /// # Errors
    /// Where there is no process, or no pipe.
    pub fn run(&self, attempt: &Attempt<'_>, without: &[Layer]) -> io::Result<(String, ExitStatus)> {
        let (from, to) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let lacks = |layer: Layer| without.contains(&layer);
        let mut kinds = namespaces::of_session(Network::None);
        for (layer, kind) in [
            (Layer::PidNamespace, CloneFlags::CLONE_NEWPID),
            (Layer::NetworkNamespace, CloneFlags::CLONE_NEWNET),
            (Layer::IpcNamespace, CloneFlags::CLONE_NEWIPC),
            (Layer::UtsNamespace, CloneFlags::CLONE_NEWUTS),
            (Layer::CgroupNamespace, CloneFlags::CLONE_NEWCGROUP),
        ] {
            kinds.set(kind, !lacks(layer));
        }
        let pid = match process::clone(kinds, None)? {
            Side::Child => {
                drop(from);
                let code = Jail { attempt, lacks: &lacks, output: to }.build().unwrap_or_else(|failure| {
                    // Where the probe's own words would be.
                    let text = format!("INCONCLUSIVE {failure}");
                    let _ = nix::unistd::write(io::stdout(), text.as_bytes());
                    1
                });
                process::exit_now(code)
            }
            Side::Parent { pid, .. } => pid,
        };
        drop(to);
        let mut said = Vec::new();
        File::from(from).read_to_end(&mut said)?;
        let code = end_of(pid);
        // As a shell says it.
        let raw = if code > 128 { code - 128 } else { code << 8 };
        Ok((String::from_utf8_lossy(&said).into_owned(), ExitStatus::from_raw(raw)))
    }
}

/// The processes of a jail, each from its beginning: its session's first, an init, and the command.
struct Jail<'a> {
    attempt: &'a Attempt<'a>,
    lacks: &'a dyn Fn(Layer) -> bool,
    output: OwnedFd,
}

impl Jail<'_> {
    fn has(&self, layer: Layer) -> bool {
        !(self.lacks)(layer)
    }

    /// As `standing::set_up` does it: what a session's commands have in common.
    fn build(self) -> Result<i32> {
        let spec = self.attempt.spec;
        let _ = process::die_with_parent();
        self.inherit().doing("streams", || "put the streams in place".into())?;
        if self.has(Layer::UtsNamespace) {
            nix::unistd::sethostname(&spec.hostname).doing("namespaces", || "name the machine".into())?;
        }
        if self.has(Layer::NetworkNamespace) {
            net::loopback_up().doing("network", || "bring up the loopback interface".into())?;
        }
        if self.has(Layer::PrivateRoot) {
            let mut spec = spec.clone();
            if !self.has(Layer::Masks) {
                spec.workspace.masked.clear();
            }
            if !self.has(Layer::Frozen) {
                spec.workspace.frozen.clear();
            }
            root::enter(&spec, &Idmaps::default())?;
        }
        let ruleset = self.has(Layer::Landlock).then(|| confine::ruleset(spec)).transpose()?;
        if self.has(Layer::Rlimits) {
            confine::limit(spec)?;
        }
        if self.has(Layer::Capabilities) {
            confine::drop_capabilities_for_good()?;
        }
        if self.has(Layer::NoNewPrivs) {
            prctl::set_no_new_privs().doing("no-new-privs", || "set no_new_privs".into())?;
        }
        let mut kinds = CloneFlags::CLONE_NEWNS;
        kinds.set(CloneFlags::CLONE_NEWPID, self.has(Layer::PidNamespace));
        match process::clone(kinds, None).doing("init", || "make an init".into())? {
            Side::Parent { pid, .. } => Ok(end_of(pid)),
            Side::Child => self.init(ruleset.as_ref()),
        }
    }

    /// The requester's own, as a command would inherit it.
    fn inherit(&self) -> io::Result<()> {
        setsid()?;
        // The first terminal that the leader of a session opens is its own.
        File::open(self.attempt.terminal)?;
        if self.has(Layer::Streams) {
            dup2_stdin(File::open("/dev/null")?)?;
        } else {
            dup2_stdin(self.attempt.stdin)?;
        }
        dup2_stdout(&self.output)?;
        dup2_stderr(&self.output)?;
        Ok(())
    }

    /// As `init::set_up` does it.
    fn init(self, ruleset: Option<&OwnedFd>) -> Result<i32> {
        let _ = process::die_with_parent();
        if self.has(Layer::PidNamespace) {
            init::mount_proc().doing("proc", || "mount a new /proc".into())?;
        }
        match process::clone(CloneFlags::empty(), None)
            .doing("init", || "make the command's process".into())?
        {
            Side::Parent { pid, .. } => Ok(end_of(pid)),
            Side::Child => self.command(ruleset),
        }
    }

    /// As `spawn::confine` does it. Where no_new_privs is missing, it takes a capability to put on what comes after it.
    fn command(self, ruleset: Option<&OwnedFd>) -> Result<i32> {
        let doing = || "confine the command".to_owned();
        if self.has(Layer::Terminal) {
            setsid().doing("terminal", doing)?;
        }
        if !self.has(Layer::Ids) {
            namespaces::user_namespace_as((0, 0))?;
        }
        let mut command = std::process::Command::new(self.attempt.argv.first().map_or("", String::as_str));
        command
            .args(self.attempt.argv.iter().skip(1))
            .env_clear()
            .env("HOME", &self.attempt.spec.identity.home);
        command.current_dir(&self.attempt.spec.workspace.path);
        if !self.has(Layer::Capabilities) {
            let all = caps::read(None, caps::CapSet::Permitted).doing("capabilities", doing)?;
            caps::set(None, caps::CapSet::Inheritable, &all).doing("capabilities", doing)?;
            caps::set(None, caps::CapSet::Ambient, &all).doing("capabilities", doing)?;
        }
        let lose = || match self.has(Layer::Capabilities) {
            true => step::drop_capabilities().doing("capabilities", doing),
            false => Ok(()),
        };
        if self.has(Layer::NoNewPrivs) {
            lose()?;
        }
        if let Some(ruleset) = ruleset {
            step::restrict(ruleset.as_fd()).doing("landlock", doing)?;
        }
        if self.has(Layer::Descriptors) {
            process::close_from(3).doing("descriptors", doing)?;
        }
        if self.has(Layer::Seccomp) {
            step::filter(seccomp::FILTER).doing("seccomp", doing)?;
        }
        if !self.has(Layer::NoNewPrivs) {
            lose()?;
        }
        Err(command.exec()).doing("execute", || "execute the probe".into())
    }
}

/// Waits for a process; its exit code, as a shell says it.
fn end_of(pid: nix::unistd::Pid) -> i32 {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32,
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(_) => return 1,
        }
    }
}
