//! A session on a host that lets its user make no namespace: landlock and seccomp alone, where the policy takes that.
//!
//! Commands see the system's files, the workspace and a private home, and nothing else can be opened. They run beside
//! everything else of their user: landlock keeps signals, ptrace(2) and abstract sockets inside, seccomp (the groups with
//! `place = "shared"`) what landlock does not know, descent holds each command's processes together. What needs a namespace
//! is missing, and the receipt says so.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use landlock::{ABI, AccessFs, BitFlags};
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getegid, geteuid};

use super::failure::{Doing, Result};
use super::far::failed;
use super::{container, namespaces};
use crate::sys::process::{self, Side};
use crate::wire::runner::{Failure, Ground, Identity, Layer, Level, Network, SandboxSpec, Spawn};

/// Landlock from this version on keeps signals inside: without it a command could end its runner, which has its user.
const SCOPES: u32 = 6;

/// Devices that commands may use where there is no /dev of their own.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];

/// Where private homes are made, and how they are called.
const HOMES: &str = "/tmp/execward-XXXXXX";

/// What is built, and what there is to be said of it.
pub(super) struct Settled {
    pub(super) spec: SandboxSpec,
    pub(super) layers: Vec<Layer>,
    /// The private home, where there is no private root to have one in. [`remove`]d at the end.
    pub(super) home: Option<PathBuf>,
}

/// Looks whether this host has namespaces for its user, where the policy takes less.
pub(super) fn here(spec: SandboxSpec) -> Result<Settled> {
    let whole = spec.minimum == Level::Full || geteuid().is_root();
    match if whole { Ok(()) } else { namespaces_stand(&spec) } {
        Ok(()) => Ok(Settled { spec, layers: Vec::new(), home: None }),
        Err(why) => settle(spec, Vec::new(), (geteuid().as_raw(), getegid().as_raw()), &why),
    }
}

/// Makes them in a process that ends with it: a user namespace that is entered is not left again.
fn namespaces_stand(spec: &SandboxSpec) -> Result<()> {
    let doing = || "make a user namespace".to_owned();
    match process::clone(CloneFlags::empty(), None).doing("namespaces", doing)? {
        Side::Child => {
            let made = namespaces::enter_user_namespace(&spec.identity).is_ok()
                && process::clone(namespaces::of_session(spec.network), None).is_ok_and(|side| match side {
                    Side::Child => process::exit_now(0),
                    Side::Parent { pid, .. } => waitpid(pid, None).is_ok(),
                });
            process::exit_now(i32::from(!made))
        }
        Side::Parent { pid, .. } => match waitpid(pid, None).doing("namespaces", doing)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            _ => Err(failed(
                "user-namespace",
                "make the session's namespaces",
                "this host does not let an ordinary user make them",
                &namespaces::why_no_namespaces(false),
            )),
        },
    }
}

/// Says what a policy can take in place of namespaces.
pub(super) fn or_less(why: Failure) -> Failure {
    let or = if why.hint.is_empty() { "" } else { "; or " };
    let hint = format!(
        "{}{or}a policy that takes landlock and seccomp alone says `minimum = \"landlock-seccomp\"` in its [sandbox]",
        why.hint
    );
    Failure { hint, ..why }
}

/// Makes what can be had without namespaces. `ids`: the commands' user and group.
pub(super) fn settle(
    mut spec: SandboxSpec,
    mut layers: Vec<Layer>,
    ids: (u32, u32),
    why: &Failure,
) -> Result<Settled> {
    let needs = |what: &str| {
        let error = format!("it needs namespaces, and there are none: {why}");
        Err(Failure { hint: why.hint.clone(), ..failed("namespaces", what, &error, "") })
    };
    if spec.network == Network::Proxy {
        return needs("give the session a proxy of its own");
    }
    if spec.view.agent_socket.is_some() {
        return needs("show a socket to an agent in a sandbox");
    }
    let abi = process::landlock_abi().unwrap_or(0);
    if abi < SCOPES {
        let error =
            format!("landlock is of ABI {abi}, and {SCOPES} is needed where no namespace can be made");
        return Err(failed(
            "landlock",
            "keep commands from their runner",
            &error,
            "use Linux 6.12 or later there",
        ));
    }
    let home = private_home(ids)?;
    let mut lacks =
        |name: &str, detail: String| layers.push(Layer { name: name.into(), enforced: false, detail });
    for name in ["user", "mount", "pid", "ipc", "uts", "cgroup", "network"] {
        let instead = match name {
            "pid" => {
                "; landlock keeps signals and ptrace inside, and names and command lines of others can be seen"
            }
            "ipc" => "; seccomp refuses System V and POSIX IPC",
            "network" if spec.network == Network::None => "; seccomp refuses sockets",
            _ => "",
        };
        lacks(&format!("{name}-namespace"), format!("none can be made: {}{instead}", why.error));
    }
    lacks(
        "private-root",
        format!(
            "the system's files show as they are, and names, sizes and times of all others; of those landlock opens the \
             workspace and {} alone, which is HOME, with TMPDIR in it",
            home.display()
        ),
    );
    let exposed = |paths: &[PathBuf]| {
        let there = paths.iter().filter(|path| spec.workspace.path.join(path).symlink_metadata().is_ok());
        there.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let masked = exposed(&spec.workspace.masked);
    if !masked.is_empty() {
        lacks("masked", format!("in the workspace these can be read, which are hidden otherwise: {masked}"));
    }
    let frozen = exposed(&spec.workspace.frozen);
    if spec.workspace.writable && !frozen.is_empty() {
        lacks("frozen", format!("these can be changed, which is found out after each command: {frozen}"));
    }
    lacks("cgroup", "memory of the whole tree and the space of private files are not limited".into());
    spec.identity = Identity { uid: ids.0, gid: ids.1, home: home.clone(), ..spec.identity };
    spec.ground = Ground::Bare;
    Ok(Settled { spec, layers, home: Some(home) })
}

/// A directory that is this session's alone, with a place for temporary files in it.
fn private_home((uid, gid): (u32, u32)) -> Result<PathBuf> {
    let doing = || "make a private home".to_owned();
    let path = nix::unistd::mkdtemp(HOMES).doing("root", doing)?;
    let make = || {
        let temporary = path.join("tmp");
        fs::DirBuilder::new().mode(0o700).create(&temporary)?;
        if geteuid().is_root() {
            chown(&temporary, Some(uid), Some(gid))?;
            chown(&path, Some(uid), Some(gid))?;
        }
        Ok::<_, std::io::Error>(())
    };
    make().doing("root", doing)?;
    Ok(path)
}

/// Removes a private home. Nothing of a command is left that could put another file there, or a link.
pub(super) fn remove(home: &Path) {
    if fs::remove_dir_all(home).is_ok() {
        return;
    }
    // Directories that a command closed to its own user.
    open_up(home);
    let _ = fs::remove_dir_all(home);
}

fn open_up(directory: &Path) {
    if directory.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .for_each(|entry| open_up(&entry.path()));
    }
}

/// What such a runner stands on: the workspace, where orphans come to it.
pub(super) fn hold(spec: &SandboxSpec) -> Result<OwnedFd> {
    nix::sys::prctl::set_child_subreaper(true).doing("tree", || "become a subreaper".into())?;
    container::same(&spec.workspace.path, spec.workspace.id, OFlag::O_DIRECTORY)
}

/// Gives a command the home that the session has.
pub(super) fn at_home(spec: &SandboxSpec, spawn: &mut Spawn) {
    let home = &spec.identity.home;
    for (name, value) in &mut spawn.env {
        match name.as_str() {
            "HOME" => *value = home.to_string_lossy().into_owned(),
            "TMPDIR" => *value = home.join("tmp").to_string_lossy().into_owned(),
            _ => {}
        }
    }
}

/// What landlock opens besides the private home, and a workspace that can be written.
pub(super) fn shown(spec: &SandboxSpec) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let read = AccessFs::from_read(ABI::V9);
    let mut shown = vec![(spec.workspace.path.clone(), read), (PathBuf::from("/proc"), read)];
    for path in spec.view.visible.iter().chain(&spec.view.own) {
        without(path, &spec.view.masked, &mut shown);
    }
    let devices = DEVICES.iter().map(PathBuf::from).filter(|path| path.exists());
    shown.extend(devices.map(|path| (path, AccessFs::ReadFile | AccessFs::WriteFile)));
    shown
}

/// A path, or what of it is not masked.
fn without(path: &Path, masked: &[PathBuf], shown: &mut Vec<(PathBuf, BitFlags<AccessFs>)>) {
    if masked.iter().any(|masked| path.starts_with(masked)) {
        return;
    }
    let Ok(about) = path.symlink_metadata() else { return };
    if !about.is_dir() {
        // A link is looked at where it leads, which is shown or is not.
        if about.is_file() {
            shown.push((path.to_owned(), AccessFs::ReadFile | AccessFs::Execute));
        }
    } else if masked.iter().any(|masked| masked.starts_with(path)) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            without(&entry.path(), masked, shown);
        }
    } else {
        shown.push((path.to_owned(), AccessFs::from_read(ABI::V9)));
    }
}

/// Processes and threads of a user.
pub(super) fn tasks_of(uid: u32) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|entry| {
        entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
            && entry.metadata().is_ok_and(|about| about.uid() == uid)
    });
    own.map(|entry| fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_is_not_shown_and_what_stands_beside_it_is() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path();
        for directory in ["a/b", "a/c", "d"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        fs::write(top.join("a/file"), "x").unwrap();
        fs::write(top.join("a/secret"), "x").unwrap();
        std::os::unix::fs::symlink("secret", top.join("a/link")).unwrap();
        let names = |masked: &[&str]| {
            let masked: Vec<_> = masked.iter().map(|path| top.join(path)).collect();
            let mut shown = Vec::new();
            without(&top.join("a"), &masked, &mut shown);
            let mut names: Vec<_> =
                shown.iter().map(|(path, _)| path.strip_prefix(top).unwrap().display().to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&[]), ["a"]);
        assert_eq!(names(&["a/secret", "a/b"]), ["a/c", "a/file"]);
        assert_eq!(names(&["a"]), Vec::<String>::new());
        assert_eq!(names(&["d"]), ["a"]);
    }

    #[test]
    fn a_home_goes_with_directories_that_were_closed() {
        let home = private_home((geteuid().as_raw(), getegid().as_raw())).unwrap();
        fs::create_dir_all(home.join("x/y")).unwrap();
        fs::write(home.join("x/y/z"), "x").unwrap();
        fs::set_permissions(home.join("x"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&home);
        assert!(!home.exists());
    }

    #[test]
    fn this_process_is_one_of_its_user() {
        assert!(tasks_of(geteuid().as_raw()) >= 1);
    }
}
