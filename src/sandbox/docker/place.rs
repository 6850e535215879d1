//! What execward puts on the host for one container: a private directory with the socket at which its runner answers, the
//! workspace with its files shown as the commands' own, and the files that name the commands' user.
//!
//! An engine mounts by path. So what is mounted lies in a directory where only the supervisor's user can write, or is
//! looked at again by the runner, by device and inode, before any command is there.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{DockerError, RUNNER, SOCKET_DIRECTORY};
use crate::prepare::Directory;
use crate::sandbox::image;
use crate::sys::{ids, mount, nested};
use crate::wire::runner::{FileId, Ground, HOLD_IDS, Identity, ROLE, SandboxSpec};

/// The runner's socket, in its directory.
pub(super) const SOCKET: &str = "socket";

/// What the name of a place begins with until it is held.
pub(super) const MAKING: &str = ".";

/// What is locked for as long as a place is somebody's.
const LOCK: &str = "lock";
/// Names the directory in which it is said what the next supervisor is to know, where one comes.
const AWAITED: &str = "awaited";

/// How often it is looked whether a place can be had, and how long after another.
const PATIENCE: u32 = 100;
const LOOK: Duration = Duration::from_millis(10);

/// Labels of our containers.
pub(super) const LABEL_OWNER: &str = "org.execward.owner";
pub(super) const LABEL_SUPERVISOR: &str = "org.execward.supervisor";
pub(super) const LABEL_PLACE: &str = "org.execward.place";
/// A digest of the sandbox that it was made for: image, workspace, network and limits.
pub(super) const LABEL_SANDBOX: &str = "org.execward.sandbox";

/// Source, target, and whether it can be written.
type Mounts = Vec<(PathBuf, PathBuf, bool)>;

/// The private directory of one container. Gone when dropped.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Held for as long as the place is somebody's: a place without a lock is a dead supervisor's.
    _lock: File,
    /// None where another supervisor had made the container.
    _binary: Option<image::Placed>,
    mounts: Mounts,
    mapped: bool,
    /// It is the next supervisor's to clear.
    left: bool,
}

impl Place {
    /// Makes one below `parent` for this sandbox, and adds to the spec what the runner is to look at.
    pub(super) fn make(
        parent: &Path,
        name: &str,
        spec: &mut SandboxSpec,
        workspace: &Directory,
    ) -> Result<Self, DockerError> {
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| DockerError::Place { what, error: error.to_string() }
        };
        image::own_directory(parent).map_err(wrong(&parent.to_string_lossy()))?;
        let binary = image::place(parent).map_err(wrong("the runner's binary"))?;
        let path = parent.join(name);
        // Under a name that no sweep looks at until it is held.
        let making = parent.join(format!("{MAKING}{name}"));
        DirBuilder::new()
            .mode(image::passable())
            .create(&making)
            .map_err(wrong(&making.to_string_lossy()))?;
        let lock = File::create(making.join(LOCK)).map_err(wrong("a lock"))?;
        lock.try_lock().map_err(|error| wrong("a lock")(io::Error::other(error.to_string())))?;
        fs::rename(&making, &path).map_err(wrong(&path.to_string_lossy()))?;
        let (binary, held) = (binary.path.clone(), Some(binary));
        let mut place =
            Self { path, _lock: lock, _binary: held, mounts: Vec::new(), mapped: false, left: false };
        DirBuilder::new()
            .mode(image::passable())
            .create(place.session())
            .map_err(wrong("the socket's directory"))?;
        place.write("passwd", &passwd(&spec.identity)).map_err(wrong("a file for the container"))?;
        place.write("group", &group(&spec.identity)).map_err(wrong("a file for the container"))?;
        place.write("empty", "").map_err(wrong("a file for the container"))?;
        DirBuilder::new().mode(0o555).create(place.path.join("none")).map_err(wrong("a directory"))?;

        let top = spec.workspace.path.clone();
        let source = match spec.workspace.owner {
            Some(owner) if nix::unistd::geteuid().is_root() => place
                .map(workspace, owner, &spec.identity)
                .map_err(wrong("an id-mapped mount of the workspace"))?,
            _ => top.clone(),
        };
        place.mounts = vec![
            (binary, RUNNER.into(), false),
            (place.session(), SOCKET_DIRECTORY.into(), false),
            (place.path.join("passwd"), "/etc/passwd".into(), false),
            (place.path.join("group"), "/etc/group".into(), false),
            (source.clone(), top.clone(), spec.workspace.writable),
        ];
        let (mounts, held) =
            place.hold(spec, workspace, &source).map_err(wrong("the mounts in the workspace"))?;
        place.mounts.extend(mounts);
        if let Ground::Container(container) = &mut spec.ground {
            container.mounts = held;
        }
        Ok(place)
    }

    /// Takes one that another supervisor of this user's has left. Nothing more can be mounted from it.
    pub(super) async fn again(path: &Path, mapped: bool) -> io::Result<Self> {
        let lock = File::open(path.join(LOCK))?;
        for _ in 0..PATIENCE {
            match lock.try_lock() {
                Ok(()) => {
                    let (path, mounts) = (path.to_owned(), Vec::new());
                    return Ok(Self { path, _lock: lock, _binary: None, mounts, mapped, left: false });
                }
                // Whoever sweeps looks whether somebody has it.
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("another supervisor has it"))
    }

    /// Says that another supervisor comes for what is in it, for as long as this directory is there.
    pub(super) fn await_next(&self, keepsake: &Path) -> io::Result<()> {
        self.write(AWAITED, &keepsake.to_string_lossy())
    }

    /// Leaves it as it is to the next supervisor.
    pub(super) fn leave(mut self) {
        self.left = true;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// Whether what is mounted over the workspace of this sandbox, which was made here, is what would be mounted now.
    pub(super) fn holds(&self, spec: &SandboxSpec, workspace: &Directory) -> bool {
        let Ground::Container(container) = &spec.ground else { return false };
        let Some((source, ..)) = self.mounts.iter().find(|(_, target, _)| *target == spec.workspace.path)
        else {
            return false;
        };
        self.hold(spec, workspace, source).is_ok_and(|(_, held)| held == container.mounts)
    }

    fn session(&self) -> PathBuf {
        self.path.join("session")
    }

    /// Where the supervisor listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.session().join(SOCKET)
    }

    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o444).open(self.path.join(name));
        file.and_then(|mut file| file.write_all(content.as_bytes()))
    }

    /// What tells our containers from others', and whose they are.
    pub(super) fn labels(&self, sandbox: String) -> HashMap<String, String> {
        HashMap::from([
            (LABEL_SANDBOX.to_owned(), sandbox),
            (LABEL_OWNER.to_owned(), nix::unistd::geteuid().to_string()),
            (LABEL_SUPERVISOR.to_owned(), std::process::id().to_string()),
            (LABEL_PLACE.to_owned(), self.path.to_string_lossy().into_owned()),
        ])
    }

    /// The mounts, as the engine is asked for them.
    pub(super) fn mounts(&self) -> impl Iterator<Item = Mount> {
        self.mounts.iter().map(|(source, target, writable)| bind(source, target, *writable))
    }

    /// Shows the workspace in here with the files of its owner as the commands' own. By descriptor: what was checked.
    fn map(&mut self, workspace: &Directory, owner: (u32, u32), identity: &Identity) -> io::Result<PathBuf> {
        let namespace = user_namespace(owner, (identity.uid, identity.gid))?;
        let target = self.path.join("workspace");
        DirBuilder::new().mode(0o700).create(&target)?;
        let tree = mount::clone_tree(workspace.fd.as_fd(), true)?;
        mount::make_private(tree.as_fd())?;
        let attributes = mount::Attributes { no_suid: true, no_dev: true, ..mount::Attributes::default() };
        mount::restrict(tree.as_fd(), attributes, true)?;
        mount::map_ids(tree.as_fd(), namespace.as_fd(), true)?;
        mount::attach(tree.as_fd(), File::open(&target)?.as_fd())?;
        self.mapped = true;
        Ok(target)
    }

    /// The mounts over what is not to be seen and what is not to be changed in the workspace, and on the directories that
    /// lead there, which could be renamed otherwise; and what the runner is to find.
    fn hold(
        &self,
        spec: &SandboxSpec,
        workspace: &Directory,
        source: &Path,
    ) -> io::Result<(Mounts, Vec<(PathBuf, FileId)>)> {
        let top = &spec.workspace.path;
        let outside = spec.view.masked.iter().filter_map(|path| path.strip_prefix(top).ok());
        let outside: Vec<PathBuf> =
            outside.filter(|path| !path.as_os_str().is_empty()).map(Into::into).collect();
        let deeper = nested(&workspace.fd, &spec.workspace.masked);
        let masked: BTreeSet<&PathBuf> =
            spec.workspace.masked.iter().chain(&outside).chain(&deeper).collect();
        let frozen: BTreeSet<&PathBuf> = spec.workspace.frozen.iter().collect();
        let mut held = Vec::new();
        let mut ways = BTreeSet::new();
        let mut mounts = Vec::new();
        for path in masked.iter().chain(&frozen) {
            // A link leads elsewhere: what it leads to is not here, or is named itself.
            let Ok(found) = look(workspace, path) else { continue };
            let stat = nix::sys::stat::fstat(&found)?;
            let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
            if masked.contains(path) {
                let cover = self.path.join(if directory { "none" } else { "empty" });
                let id = fs::metadata(&cover)?;
                held.push((top.join(path), FileId { dev: id.dev(), ino: id.ino() }));
                mounts.push((cover, top.join(path), false));
            } else {
                held.push((top.join(path), FileId { dev: stat.st_dev, ino: stat.st_ino }));
                mounts.push((source.join(path), top.join(path), false));
            }
            ways.extend(
                path.ancestors().skip(1).filter(|way| !way.as_os_str().is_empty()).map(Path::to_owned),
            );
        }
        for way in &ways {
            if mounts.iter().any(|(_, target, _)| *target == top.join(way)) {
                continue;
            }
            let (dev, ino) = mount::file_id(look(workspace, way)?)?;
            held.push((top.join(way), FileId { dev, ino }));
            mounts.push((source.join(way), top.join(way), spec.workspace.writable));
        }
        // What lies below something masked is not there.
        mounts.retain(|(_, target, _)| {
            !masked.iter().any(|hidden| target.starts_with(top.join(hidden)) && *target != top.join(hidden))
        });
        held.retain(|(path, _)| mounts.iter().any(|(_, target, _)| target == path));
        Ok((mounts, held))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left {
            clear(&self.path, self.mapped);
        }
    }
}

/// Whether a supervisor is still to come for what a place has in it.
pub(super) fn is_awaited(place: &Path) -> bool {
    fs::read_to_string(place.join(AWAITED)).is_ok_and(|keepsake| Path::new(&keepsake).is_dir())
}

/// Whether nobody holds a place any more.
pub(super) fn is_free(place: &Path) -> bool {
    match File::open(place.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Removes what a place holds.
pub(super) fn clear(path: &Path, mapped: bool) {
    let workspace = path.join("workspace");
    if mapped {
        let _ = nix::mount::umount2(&workspace, nix::mount::MntFlags::MNT_DETACH);
    }
    // Never recursive: a mount that is there still would be emptied.
    let _ = fs::remove_dir(&workspace);
    let _ = fs::remove_file(path.join("session").join(SOCKET));
    for directory in ["session", "none"] {
        let _ = fs::remove_dir(path.join(directory));
    }
    for file in ["passwd", "group", "empty", AWAITED, LOCK] {
        let _ = fs::remove_file(path.join(file));
    }
    let _ = fs::remove_dir(path);
}

/// Finds a file of the workspace through no link.
fn look(workspace: &Directory, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_BENEATH,
    );
    openat2(workspace.fd.as_fd(), path, how)
}

/// A user namespace that shows files of `owner` as files of `ids`, for an idmapped mount. Its one process is a runner
/// that does nothing else, since this process has threads.
fn user_namespace(owner: (u32, u32), ids: (u32, u32)) -> io::Result<OwnedFd> {
    let image = image::open()?;
    #[allow(clippy::disallowed_methods, reason = "a runner")]
    let mut holder = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
        .args([ROLE, HOLD_IDS])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = [0];
    let heard = holder.stdout.take().map(|mut out| out.read_exact(&mut said));
    let pid = holder.id();
    let made = match heard {
        Some(Ok(())) => fs::write(format!("/proc/{pid}/uid_map"), ids::map(owner.0, ids.0))
            .and_then(|()| fs::write(format!("/proc/{pid}/gid_map"), ids::map(owner.1, ids.1)))
            .and_then(|()| Ok(mount::user_namespace(nix::unistd::Pid::from_raw(pid.cast_signed()))?)),
        _ => Err(io::Error::other("no user namespace can be made")),
    };
    drop(holder.stdin.take());
    let _ = holder.wait();
    made
}

fn passwd(identity: &Identity) -> String {
    let Identity { uid, gid, name, home } = identity;
    let own = format!("{name}:x:{uid}:{gid}:{name}:{}:/bin/sh\n", home.display());
    format!("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n{own}")
}

fn group(identity: &Identity) -> String {
    format!("root:x:0:\nnogroup:x:65534:\n{}:x:{}:\n", identity.name, identity.gid)
}
/// A directory of the engine's machine, in a container.
pub(super) fn bind(source: &Path, target: &Path, writable: bool) -> Mount {
    Mount {
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(!writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::PRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}
