//! A runner that somebody's command has reached: the place is looked at from here, since nobody else can.
//!
//! Where the place lets this user make namespaces, the sandbox is the jail that it would be on the supervisor's own machine,
//! by the same code: it is built once on trial, in a process that ends with it. Where it does not, there is landlock and
//! seccomp over what is there, if the policy takes that: the system's files can be read, nothing but the workspace and a
//! private home can be seen besides, and what is not held is said in the receipt.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::sys::wait::waitpid;
use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::bare::{self, Settled};
use super::failure::{Doing, Hint, Result};
use super::outer::{Inside, Stream};
use super::root::Idmaps;
use super::{cgroup::Cgroup, namespaces, standing};
use crate::sys::process::{self, FilesAs, Side};
use crate::sys::{ids, mount};
use crate::wire::frame::Frame as _;
use crate::wire::runner::{
    FAR_USER, Failure, Far, FileId, FromRunner, Greeted, Greeting, Ground, Identity, Layer, Level,
    SandboxSpec, VERSION,
};

/// Answers a greeting. How often something is to be said from then on.
pub(super) fn greet(stream: &Stream, greeting: &Greeting) -> Result<Duration> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let mut frame = Vec::new();
    FromRunner::Greeted(Greeted { version: VERSION.to_owned(), host }).encode(&mut frame);
    let doing = || "answer the supervisor's greeting".to_owned();
    let to = stream.to.try_clone().doing("protocol", doing)?;
    fs::File::from(to).write_all(&frame).doing("protocol", doing)?;
    if greeting.version != VERSION {
        let error = format!("it is of version {}, and this runner of {VERSION}", greeting.version);
        return Err(failed(
            "protocol",
            "serve this supervisor",
            &error,
            "give both the same version of execward",
        ));
    }
    Ok(Duration::from_millis(greeting.alive_ms.max(100)))
}

/// Looks at the place, and decides what the sandbox is.
pub(super) fn settle(mut spec: SandboxSpec, far: &Far) -> Result<Settled> {
    let privileged = geteuid().is_root();
    let workspace = workspace(&spec.workspace.path, far.make)?;
    let about = fstat(&workspace).doing("workspace", || "look at the workspace".into())?;
    let owner = (about.st_uid, about.st_gid);
    spec.workspace.id = FileId { dev: about.st_dev, ino: about.st_ino };
    let own = (geteuid().as_raw(), getegid().as_raw());
    if !privileged && spec.workspace.writable && access(&spec.workspace.path, AccessFlags::W_OK).is_err() {
        let error = format!("it belongs to uid {}, and the runner is uid {}", owner.0, own.0);
        return Err(failed("workspace", "write to the workspace", &error, "give it to that user there"));
    }
    let layers = vec![layer(far)];
    let mut jail = spec.clone();
    jail.ground = Ground::Host;
    if privileged {
        let id = ids::of_sandbox(std::process::id());
        jail.identity = Identity { uid: id, gid: id, ..jail.identity };
        jail.workspace.owner = Some(owner);
    } else {
        jail.identity = Identity { uid: own.0, gid: own.1, ..jail.identity };
    }
    let Err(why) = on_trial(&jail) else {
        return Ok(Settled { spec: jail, layers, home: None });
    };
    if spec.minimum == Level::Full {
        return Err(bare::or_less(why));
    }
    let (uid, gid) = if privileged { owner } else { own };
    if uid == 0 || gid == 0 {
        let error = "it belongs to root, whom no command becomes";
        return Err(failed(
            "ids",
            "find a user for commands",
            error,
            "give the workspace to an ordinary user there",
        ));
    }
    spec.identity.name = FAR_USER.into();
    bare::settle(spec, layers, (uid, gid), &why)
}

/// Looks at the workspace in a container of an engine elsewhere: the engine has mounted what it lies in, and commands are the user
/// whom the configuration names.
pub(super) fn in_container(mut spec: SandboxSpec, far: &Far) -> Result<Settled> {
    let workspace = workspace(&spec.workspace.path, false)?;
    let about = fstat(&workspace).doing("workspace", || "look at the workspace".into())?;
    if spec.workspace.writable && about.st_uid != spec.identity.uid {
        let error = format!("it belongs to uid {}, and commands are uid {}", about.st_uid, spec.identity.uid);
        let hint = "give it to that user there, or name its owner as `user` of the launcher";
        return Err(failed("workspace", "write to the workspace", &error, hint));
    }
    spec.workspace.id = FileId { dev: about.st_dev, ino: about.st_ino };
    Ok(Settled { spec, layers: vec![layer(far)], home: None })
}

fn layer(far: &Far) -> Layer {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Layer {
        name: "launcher".into(),
        enforced: true,
        detail: format!("{}: a runner at {}, which says the rest", far.launcher, host.trim()),
    }
}

/// Opens the workspace through no link, having made it where that is asked.
fn workspace(path: &Path, make: bool) -> Result<OwnedFd> {
    let doing = || format!("open the workspace {}", path.display());
    match open(AT_FDCWD, path, ResolveFlag::empty()) {
        Err(Errno::ENOENT) if make => {}
        other => {
            return other.doing("workspace", doing).hint(|| {
                "it must be a directory there, with no symbolic link on the way (or `make = true` for the launcher)".into()
            });
        }
    }
    let mut at = open(AT_FDCWD, Path::new("/"), ResolveFlag::empty()).doing("workspace", doing)?;
    for name in path.iter().skip(1) {
        match mkdirat(&at, name, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).doing("workspace", || format!("make {}", path.display())),
        }
        at = open(at.as_fd(), Path::new(name), ResolveFlag::RESOLVE_BENEATH).doing("workspace", doing)?;
    }
    Ok(at)
}

fn open(base: impl std::os::fd::AsFd, path: &Path, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(resolve | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(base, path, how)
}

/// The directory in which a command starts: below the workspace, through no link.
pub(super) fn directory(spec: &SandboxSpec, cwd: &Path) -> Result<FileId> {
    let doing = || format!("enter the directory {}", cwd.display());
    let top = &spec.workspace.path;
    let below = cwd.strip_prefix(top).map_err(|_| Errno::EXDEV).doing("directory", doing)?;
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    // Their own directories may be closed to everybody else.
    let _as = FilesAs::enter(spec.identity.uid, spec.identity.gid).doing("directory", doing)?;
    let found = open(AT_FDCWD, top, ResolveFlag::empty())
        .and_then(|top| open(top.as_fd(), below, ResolveFlag::RESOLVE_BENEATH))
        .and_then(mount::file_id);
    let (dev, ino) = found.doing("directory", doing).hint(|| {
        "it must be a directory of the workspace, on the launcher's side, with no symbolic link on the way".into()
    })?;
    Ok(FileId { dev, ino })
}

/// Builds the jail in a process that ends with it: whether it stands here, and if not, why.
fn on_trial(spec: &SandboxSpec) -> Result<()> {
    let doing = || "try the jail".to_owned();
    let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing("namespaces", doing)?;
    match process::clone(CloneFlags::empty(), None).doing("namespaces", doing)? {
        Side::Child => {
            drop(from);
            process::exit_now(say(to, build(spec)));
        }
        Side::Parent { pid, .. } => {
            drop(to);
            let said = heard(from);
            let _ = waitpid(pid, None);
            said
        }
    }
}

fn build(spec: &SandboxSpec) -> Result<()> {
    let privileged = geteuid().is_root();
    let idmaps = if privileged {
        Idmaps::new(spec)?
    } else {
        namespaces::enter_user_namespace(&spec.identity)?;
        Idmaps::default()
    };
    let doing = || "make the session's namespaces".to_owned();
    let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing("namespaces", doing)?;
    let side = process::clone(namespaces::of_session(spec.network), None);
    match side.doing("namespaces", doing).hint(|| namespaces::why_no_namespaces(privileged))? {
        Side::Child => {
            drop(from);
            let cgroup = Cgroup::default();
            let mut inside =
                Inside { spec, cgroup, idmaps, layers: Vec::new(), privileged, rendezvous: None, far: None };
            process::exit_now(say(to, standing::build(&mut inside).map(drop)));
        }
        Side::Parent { pid, .. } => {
            drop(to);
            let said = heard(from);
            let _ = waitpid(pid, None);
            said
        }
    }
}

/// Says how it went, as the last of a process; its exit code.
fn say(to: OwnedFd, result: Result<()>) -> i32 {
    let text = match result {
        Ok(()) => b"{}".to_vec(),
        Err(failure) => serde_json::to_vec(&failure).unwrap_or_default(),
    };
    i32::from(fs::File::from(to).write_all(&text).is_err())
}

fn heard(from: OwnedFd) -> Result<()> {
    let mut text = Vec::new();
    let _ = std::io::Read::read_to_end(&mut fs::File::from(from), &mut text);
    if text == b"{}" {
        return Ok(());
    }
    Err(serde_json::from_slice(&text)
        .unwrap_or_else(|_| failed("namespaces", "try the jail", "it ended at once", "")))
}

pub(super) fn failed(layer: &str, what: &str, error: &str, hint: &str) -> Failure {
    Failure { id: None, layer: layer.into(), what: what.into(), error: error.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().canonicalize().unwrap();
        (place, path)
    }

    #[test]
    fn a_workspace_is_made_where_that_is_asked_and_through_no_link() {
        let (_place, path) = place();
        assert!(workspace(&path.join("a/b"), false).is_err());
        assert!(workspace(&path.join("a/b"), true).is_ok());
        assert!(path.join("a/b").is_dir());
        std::os::unix::fs::symlink("a", path.join("link")).unwrap();
        assert!(workspace(&path.join("link/b"), false).is_err());
        assert!(workspace(&path.join("link/c"), true).is_err());
        assert!(!path.join("a/c").exists());
    }

    #[test]
    fn the_answer_of_a_trial_comes_as_it_was_said() {
        for result in [Ok(()), Err(failed("root", "mount", "no", "do"))] {
            let (from, to) = nix::unistd::pipe().unwrap();
            say(to, result.clone());
            assert_eq!(heard(from), result);
        }
        let (from, to) = nix::unistd::pipe().unwrap();
        drop(to);
        assert!(heard(from).is_err());
    }
}
