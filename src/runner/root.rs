//! The session's private root: a small tmpfs with the host's system read-only in it, the workspace, and nothing else.
//!
//! Sources are opened before the old root goes away, one component at a time and through no symbolic link, copied as
//! detached mounts (open_tree(2)), tightened while nobody can see them, and only then attached. The host's mount table
//! never shows inside.

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{Gid, Pid, Uid, fchownat, symlinkat};

use super::failure::{Doing, Hint, Result};
use super::namespaces;
use crate::sys::mount::{self, Attributes};
use crate::sys::nested;
use crate::wire::runner::{AGENT_SOCKET, Failure, FileId, Identity, Layer, SandboxSpec, Workspace};

/// Where the new root is put together, over whatever the host has there: the first of these that exists.
const SCAFFOLDS: [&str; 4] = ["/tmp", "/run", "/var", "/home"];

/// Devices that every command may use, as on any system.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A system's own files: nothing in them runs with more rights than its caller, and no device can be opened.
const SYSTEM: Attributes = Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: false };

/// A place where commands write.
const WRITABLE: Attributes = Attributes { read_only: false, no_suid: true, no_dev: true, no_exec: false };

/// Symbolic links on one way, as many as the kernel follows: path_resolution(7).
const MAX_LINKS: usize = 40;

/// How files of others are shown as files of the sandbox's identity: user namespaces for idmapped mounts, made by a root
/// that still sees the host's /proc.
#[derive(Debug, Default)]
pub(super) struct Idmaps {
    workspace: Option<OwnedFd>,
    own: Option<OwnedFd>,
    made_by: Vec<Pid>,
}

impl Idmaps {
    pub(super) fn new(spec: &SandboxSpec) -> Result<Self> {
        let mut made_by = Vec::new();
        let mut map = |owner: Option<(u32, u32)>| {
            let map = owner.map(|owner| namespaces::for_owner(owner, &spec.identity)).transpose()?;
            Ok(map.map(|(namespace, process)| {
                made_by.push(process);
                namespace
            }))
        };
        let workspace = map(spec.workspace.owner)?;
        let own = match &workspace {
            // As a rule: the requester's own files are mapped as the workspace is.
            Some(same) if spec.workspace.owner == spec.view.owner => {
                Some(same.try_clone().doing("id-map", || "keep hold of a user namespace".into())?)
            }
            _ => map(spec.view.owner)?,
        };
        Ok(Self { workspace, own, made_by })
    }

    /// The processes that were the first of the namespaces, and have ended or are about to.
    pub(super) fn made_by(&mut self) -> Vec<Pid> {
        std::mem::take(&mut self.made_by)
    }
}

/// A root that stands.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) layer: Layer,
    /// The workspace once more, attached nowhere, with nothing mounted in it.
    pub(super) workspace: OwnedFd,
}

/// Builds the root and enters it. Must run in the session's new mount and pid namespaces.
pub(super) fn enter(spec: &SandboxSpec, idmaps: &Idmaps) -> Result<Built> {
    let host = open(AT_FDCWD, Path::new("/"), OFlag::O_DIRECTORY).doing("root", || "open /".into())?;
    mount::make_private(host.as_fd()).doing("root", || "keep mounts private".into())?;
    let workspace = workspace(&host, &spec.workspace, idmaps.workspace.as_ref())?;
    let socket = spec.view.agent_socket.as_deref().map(|path| socket(&host, path)).transpose()?;
    let mut parts = vec![
        (spec.identity.home.as_path(), Part::Tmpfs { mode: 0o700, owned: true }),
        (Path::new("/tmp"), Part::Tmpfs { mode: 0o1777, owned: false }),
        (Path::new("/var/tmp"), Part::Tmpfs { mode: 0o1777, owned: false }),
        (Path::new("/run"), Part::Tmpfs { mode: 0o755, owned: true }),
        (Path::new("/dev"), Part::Devices),
        (Path::new("/proc"), Part::Proc),
    ];
    let own = idmaps.own.as_ref();
    parts.extend(
        spec.view.visible.iter().filter_map(|path| Some((path.as_path(), source(&host, path, None)?))),
    );
    parts.extend(spec.view.own.iter().filter_map(|path| Some((path.as_path(), source(&host, path, own)?))));
    let root = if spec.workspace.path == Path::new("/") {
        Root::new(spec, workspace)?
    } else {
        parts.push((&spec.workspace.path, Part::Directory(workspace)));
        Root::new(spec, tmpfs(spec, "1048576", 0o755, false)?)?
    };
    // What lies deeper covers what lies higher; of two at one place the later one shows.
    parts.sort_by_key(|(path, _)| path.components().count());
    for (path, part) in &parts {
        root.place(path, part)?;
    }
    root.account_files()?;
    let workspace = &spec.workspace.path;
    let workspace = root.look(workspace).and_then(|shown| mount::clone_tree(shown.as_fd(), false));
    let workspace = workspace.doing("workspace", || "keep hold of the workspace".into())?;
    let in_workspace = |paths: &[PathBuf]| paths.iter().map(|path| spec.workspace.path.join(path)).collect();
    let mut frozen: Vec<_> = in_workspace(&spec.workspace.frozen);
    let mut masked: Vec<_> = in_workspace(&spec.workspace.masked);
    masked.extend(in_workspace(&nested(&workspace, &spec.workspace.masked)));
    masked.extend(spec.view.masked.iter().cloned());
    // Nearly all of them are missing: one look each.
    for paths in [&mut frozen, &mut masked] {
        paths.retain(|path| root.find(path).is_ok());
    }
    root.pin(frozen.iter().chain(&masked))?;
    // Elsewhere nothing can be changed anyway.
    for path in frozen.iter().filter(|path| path.starts_with(&spec.workspace.path)) {
        root.freeze(path)?;
    }
    for path in &masked {
        root.mask(path)?;
    }
    // Last: what hides execward's own directories shall not hide this.
    if let Some(socket) = &socket {
        root.place(Path::new(AGENT_SOCKET), socket)?;
    }
    root.finish()?;
    let layer = Layer {
        name: "private-root".into(),
        enforced: true,
        detail: format!(
            "{} {}, the system read-only, everything else invisible",
            spec.workspace.path.display(),
            if spec.workspace.writable { "read-write" } else { "read-only" }
        ),
    };
    Ok(Built { layer, workspace })
}

/// One thing to put into the root.
enum Part {
    Directory(OwnedFd),
    File(OwnedFd),
    Link(PathBuf),
    Tmpfs { mode: u32, owned: bool },
    Devices,
    Proc,
}

/// Copies the mount at `path`, read-only, where there is something.
fn source(host: &OwnedFd, path: &Path, owner: Option<&OwnedFd>) -> Option<Part> {
    let fd = open(host, path, OFlag::O_NOFOLLOW).ok()?;
    let kind = kind(&fd).ok()?;
    if kind == SFlag::S_IFLNK {
        return nix::fcntl::readlinkat(&fd, "").ok().map(|target| Part::Link(target.into()));
    }
    let tree = mount::clone_tree(fd.as_fd(), true).ok()?;
    mount::restrict(tree.as_fd(), SYSTEM, true).ok()?;
    if let Some(owner) = owner {
        // Where the file system cannot, the files show as their owner's: what is readable by all stays readable.
        let _ = mount::map_ids(tree.as_fd(), owner.as_fd(), true);
    }
    Some(if kind == SFlag::S_IFDIR { Part::Directory(tree) } else { Part::File(tree) })
}

/// The socket of a daemon, to be shown.
fn socket(host: &OwnedFd, path: &Path) -> Result<Part> {
    let doing = || format!("show the daemon's socket {}", path.display());
    let fd = open(host, path, OFlag::O_NOFOLLOW).doing("root", doing)?;
    if kind(&fd).doing("root", doing)? != SFlag::S_IFSOCK {
        return Err(Errno::ENOTSOCK).doing("root", doing);
    }
    let tree = mount::clone_tree(fd.as_fd(), false).doing("root", doing)?;
    mount::restrict(tree.as_fd(), SYSTEM, false).doing("root", doing)?;
    Ok(Part::File(tree))
}

fn kind(fd: &OwnedFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits()))
}

/// Opens the workspace again in this mount namespace, makes sure that it is the directory that was checked, and copies
/// it with its files shown as the identity's own.
fn workspace(host: &OwnedFd, workspace: &Workspace, owner: Option<&OwnedFd>) -> Result<OwnedFd> {
    let path = &workspace.path;
    let what = || format!("open the workspace {}", path.display());
    let fd = open(host.as_fd(), path, OFlag::O_DIRECTORY).doing("workspace", what)?;
    let (dev, ino) = mount::file_id(&fd).doing("workspace", what)?;
    if (FileId { dev, ino }) != workspace.id {
        return Err(Failure {
            id: None,
            layer: "workspace".into(),
            what: what(),
            error: "another directory stands there than the one that was checked".into(),
            hint: "it was replaced while the command was being prepared; start again".into(),
        });
    }
    // The root of the host has every other file system mounted below it; of those only the root itself is meant.
    let recursive = path != Path::new("/");
    let tree = mount::clone_tree(fd.as_fd(), recursive)
        .doing("workspace", || format!("copy the mount of the workspace {}", path.display()))?;
    let attributes = Attributes { read_only: !workspace.writable, ..WRITABLE };
    mount::restrict(tree.as_fd(), attributes, recursive)
        .doing("workspace", || format!("restrict the workspace {}", path.display()))?;
    if let Some(owner) = owner {
        mount::map_ids(tree.as_fd(), owner.as_fd(), recursive)
            .doing("id-map", || format!("map the owner of the workspace {} by an idmapped mount", path.display()))
            .hint(|| {
                "the file system there cannot map ids (mount_setattr(2) lists those that can: ext4, xfs, btrfs, tmpfs \
                 and others; overlayfs cannot): use a workspace on another file system, or run execward as the \
                 ordinary user to whom the workspace belongs"
                    .into()
            })?;
    }
    Ok(tree)
}

/// Opens below a directory without following any symbolic link on the way.
fn open(base: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(base, path, how)
}

fn new_proc() -> Result<OwnedFd> {
    let attributes = Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
    mount::new_filesystem(c"proc", &[(c"hidepid", c"invisible")], attributes)
        .doing("proc", || "mount a new /proc".into())
        .hint(|| {
            "the kernel gives a new /proc only where the present one is wholly visible (mount_namespaces(7)): inside \
             a container with a masked /proc, run execward outside, or run that container with an unmasked /proc"
                .into()
        })
}

/// A new tmpfs; `size` in bytes.
fn tmpfs(spec: &SandboxSpec, size: &str, mode: u32, owned: bool) -> Result<OwnedFd> {
    let text = |value: String| CString::new(value).unwrap_or_default();
    // One file in 4 KiB on average is generous; without a limit empty files fill kernel memory.
    let inodes = text((size.parse::<u64>().unwrap_or(0) / 4096).max(1024).to_string());
    let (size, mode) = (text(size.to_owned()), text(format!("{mode:o}")));
    let (uid, gid) = (text(spec.identity.uid.to_string()), text(spec.identity.gid.to_string()));
    let mut options =
        vec![(c"size", size.as_c_str()), (c"mode", mode.as_c_str()), (c"nr_inodes", inodes.as_c_str())];
    if owned {
        options.extend([(c"uid", uid.as_c_str()), (c"gid", gid.as_c_str())]);
    }
    mount::new_filesystem(c"tmpfs", &options, WRITABLE)
        .doing("root", || "mount a tmpfs".into())
        .hint(|| "AppArmor or another security module may forbid mounts in user namespaces here".into())
}

/// The root while it is put together.
struct Root<'a> {
    spec: &'a SandboxSpec,
    top: OwnedFd,
}

impl<'a> Root<'a> {
    fn new(spec: &'a SandboxSpec, top: OwnedFd) -> Result<Self> {
        let doing = || "mount the private root".to_owned();
        let scaffold = SCAFFOLDS
            .iter()
            .find_map(|path| open(AT_FDCWD, Path::new(path), OFlag::O_DIRECTORY).ok())
            .ok_or(Errno::ENOENT)
            .doing("root", doing)?;
        mount::attach(top.as_fd(), scaffold.as_fd()).doing("root", doing)?;
        Ok(Self { spec, top })
    }

    /// Puts a part at `path`, making what is missing on the way.
    fn place(&self, path: &Path, part: &Part) -> Result<()> {
        match part {
            Part::Directory(tree) => self.attach(path, tree, true),
            Part::File(tree) => self.attach(path, tree, false),
            Part::Link(target) => {
                self.link(path, target).doing("root", || format!("link {}", path.display()))
            }
            Part::Tmpfs { mode, owned } => {
                let size = self.spec.limits.tmpfs.to_string();
                self.attach(path, &tmpfs(self.spec, &size, *mode, *owned)?, true)
            }
            Part::Devices => self.devices(path),
            Part::Proc => self.attach(path, &new_proc()?, true),
        }
    }

    fn attach(&self, path: &Path, tree: &OwnedFd, directory: bool) -> Result<()> {
        let doing = || format!("put {} into the sandbox", path.display());
        let target = self.mount_point(path, directory).doing("root", doing)?;
        mount::attach(tree.as_fd(), target.as_fd()).doing("root", doing)
    }

    fn link(&self, path: &Path, target: &Path) -> nix::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
        let at = if parent == Path::new("/") { self.reopen()? } else { self.mount_point(parent, true)? };
        match symlinkat(target, &at, name) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// A minimal /dev: the harmless devices of the host, pseudo-terminals and shared memory of its own.
    fn devices(&self, path: &Path) -> Result<()> {
        let doing = || "make /dev".to_owned();
        let dev = tmpfs(self.spec, "1048576", 0o755, false)?;
        self.attach(path, &dev, true)?;
        for name in DEVICES {
            let Ok(device) = open(AT_FDCWD, &Path::new("/dev").join(name), OFlag::empty()) else { continue };
            let device = mount::clone_tree(device.as_fd(), false).doing("dev", doing)?;
            let attributes = Attributes { no_suid: true, no_exec: true, ..Attributes::default() };
            mount::restrict(device.as_fd(), attributes, false).doing("dev", doing)?;
            self.attach(&path.join(name), &device, false)?;
        }
        let attributes = Attributes { no_suid: true, no_exec: true, ..Attributes::default() };
        let terminals =
            mount::new_filesystem(c"devpts", &[(c"ptmxmode", c"666"), (c"mode", c"620")], attributes)
                .doing("dev", || "mount /dev/pts".into())?;
        self.attach(&path.join("pts"), &terminals, true)?;
        let size = self.spec.limits.tmpfs.to_string();
        self.attach(&path.join("shm"), &tmpfs(self.spec, &size, 0o1777, false)?, true)?;
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            self.link(&path.join(name), Path::new(target)).doing("dev", doing)?;
        }
        mount::restrict(dev.as_fd(), Attributes { read_only: true, ..WRITABLE }, false).doing("dev", doing)
    }

    /// Names the identity in /etc/passwd and /etc/group where the host's files do not know it: programs from git to
    /// ssh refuse to work for a user without a name.
    fn account_files(&self) -> Result<()> {
        let Identity { uid, gid, name, home } = &self.spec.identity;
        let user = format!("{name}:x:{uid}:{gid}:{name}:{}:/bin/sh\n", home.display());
        let group = format!("{name}:x:{gid}:\n");
        for (file, id, line) in [("/etc/passwd", uid, user), ("/etc/group", gid, group)] {
            let Ok(content) = std::fs::read_to_string(file) else { continue };
            let known = |line: &str| line.split(':').nth(2) == Some(id.to_string().as_str());
            if content.lines().any(known) {
                continue;
            }
            let content = format!("{}\n{line}", content.trim_end());
            self.over(Path::new(file), |target| self.cover(target, &content))
                .doing("root", || format!("write {file}"))?;
        }
        Ok(())
    }

    /// Keeps what leads to these paths through the workspace where it is, directories and symbolic links. A mount
    /// point cannot be renamed or removed, but its parent can be, and another put in its place; a link can be replaced
    /// although what it led to is covered.
    fn pin<'p>(&self, paths: impl Iterator<Item = &'p PathBuf>) -> Result<()> {
        let workspace = &self.spec.workspace.path;
        let paths = paths.filter(|path| path.starts_with(workspace));
        let ways: BTreeSet<_> = paths.flat_map(|path| self.way(path)).collect();
        // In the order of a BTreeSet a directory comes before what it holds.
        for path in ways.iter().filter(|path| path.starts_with(workspace) && *path != workspace) {
            let doing = || format!("keep {} in its place", path.display());
            replaced(|| {
                let target = self.look(path)?;
                let tree = mount::clone_tree(target.as_fd(), true)?;
                mount::attach(tree.as_fd(), target.as_fd())
            })
            .doing("workspace", doing)?;
        }
        Ok(())
    }

    /// The directories and symbolic links that lead to `path`, without what they lead to; nothing where nothing is.
    fn way(&self, path: &Path) -> Vec<PathBuf> {
        let mut ahead: Vec<OsString> = names(path).collect();
        ahead.reverse();
        let (mut at, mut way, mut links) = (PathBuf::from("/"), Vec::new(), 0);
        while let Some(name) = ahead.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let Ok(found) = self.look(&next) else { return Vec::new() };
            if kind(&found).is_ok_and(|kind| kind == SFlag::S_IFLNK) {
                let Ok(target) = nix::fcntl::readlinkat(&found, "") else { return Vec::new() };
                links += 1;
                if links > MAX_LINKS {
                    return Vec::new();
                }
                let target = PathBuf::from(target);
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                let from = ahead.len();
                ahead.extend(names(&target));
                ahead[from..].reverse();
                way.push(next);
                continue;
            }
            if !ahead.is_empty() {
                way.push(next.clone());
            }
            at = next;
        }
        way
    }

    /// Makes `path` unchangeable, where it exists.
    fn freeze(&self, path: &Path) -> Result<()> {
        self.over(path, |target| {
            let tree = mount::clone_tree(target.as_fd(), true)?;
            mount::restrict(tree.as_fd(), SYSTEM, true)?;
            mount::attach(tree.as_fd(), target.as_fd())
        })
        .doing("workspace", || format!("make {} read-only", path.display()))
    }

    /// Shows nothing at `path`, where something exists.
    fn mask(&self, path: &Path) -> Result<()> {
        let mut failed = None;
        let hidden = self.over(path, |target| {
            if kind(target)? != SFlag::S_IFDIR {
                return self.cover(target, "");
            }
            let empty = tmpfs(self.spec, "4096", 0o555, false).map_err(|failure| {
                failed = Some(failure);
                Errno::EIO
            })?;
            mount::restrict(empty.as_fd(), SYSTEM, false)?;
            mount::attach(empty.as_fd(), target.as_fd())
        });
        failed.map_or_else(|| hidden.doing("root", || format!("hide {}", path.display())), Err)
    }

    /// Does something to what shows at `path`, where something does. A host goes on while a sandbox is built: a file that was
    /// found may have been replaced (as useradd does with /etc/gshadow) when it is to be covered, and is looked for again.
    fn over(&self, path: &Path, mut cover: impl FnMut(&OwnedFd) -> nix::Result<()>) -> nix::Result<()> {
        replaced(|| match self.find(path) {
            Ok(target) => cover(&target),
            Err(_) => Ok(()),
        })
    }

    /// Covers `target` with a read-only file of this content.
    fn cover(&self, target: &OwnedFd, content: &str) -> nix::Result<()> {
        let run = self.mount_point(Path::new("/run"), true)?;
        let name = Path::new(".execward");
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = nix::fcntl::openat(&run, name, flags, Mode::from_bits_truncate(0o444))?;
        let written = std::io::Write::write_all(&mut std::fs::File::from(file), content.as_bytes());
        let file = open(&run, name, OFlag::empty())?;
        let tree = mount::clone_tree(file.as_fd(), false)?;
        mount::restrict(tree.as_fd(), SYSTEM, false)?;
        let attached = mount::attach(tree.as_fd(), target.as_fd());
        // The mount keeps the file; a name in /run would be one more thing to explain.
        nix::unistd::unlinkat(&run, name, nix::unistd::UnlinkatFlags::NoRemoveDir)?;
        attached?;
        written.map_err(|_| Errno::ENOSPC)
    }

    /// Finds what shows at `path` in the new root, symbolic links resolved inside it.
    fn find(&self, path: &Path) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.top, path, how)
    }

    /// Finds what stands at `path` itself, a symbolic link included.
    fn look(&self, path: &Path) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.top, path, how)
    }

    fn reopen(&self) -> nix::Result<OwnedFd> {
        open(&self.top, Path::new("."), OFlag::O_DIRECTORY)
    }

    /// Closes the root to changes and enters it.
    fn finish(self) -> Result<()> {
        let doing = || "enter the private root".to_owned();
        if self.spec.workspace.path != Path::new("/") {
            mount::restrict(self.top.as_fd(), Attributes { read_only: true, ..WRITABLE }, false)
                .doing("root", doing)?;
        }
        nix::unistd::fchdir(&self.top).doing("root", doing)?;
        mount::enter_root().doing("root", doing)
    }

    /// Opens `path` in the new root; its parents and itself are made where they are missing.
    fn mount_point(&self, path: &Path, directory: bool) -> nix::Result<OwnedFd> {
        let home = &self.spec.identity.home;
        let owner = |path: &Path| path.starts_with(home).then_some(&self.spec.identity);
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        let Some((last, parents)) = names.split_last() else { return Err(Errno::EINVAL) };
        let mut at = self.reopen()?;
        let mut reached = PathBuf::from("/");
        for name in parents {
            reached.push(name);
            at = make_directory(&at, name, owner(&reached))?;
        }
        if directory {
            return make_directory(&at, last, owner(path));
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        match nix::fcntl::openat(&at, *last, flags, Mode::from_bits_truncate(0o444)) {
            Ok(_) | Err(Errno::EEXIST) => open(&at, last, OFlag::empty()),
            Err(error) => Err(error),
        }
    }
}

/// Tries again what failed because a file was replaced meanwhile: a mount on a file without a name is ENOENT. Whoever replaces it
/// without a pause makes the sandbox fail, and opens nothing.
fn replaced(mut attempt: impl FnMut() -> nix::Result<()>) -> nix::Result<()> {
    /// As many as a rename in a loop on another processor was not seen to outlast.
    const ATTEMPTS: usize = 1000;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
    }
    attempt()
}

/// The names in a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        _ => None,
    })
}

/// Opens a directory below `at`, making it where it is missing; a new one belongs to `owner`.
fn make_directory(at: &OwnedFd, name: &Path, owner: Option<&Identity>) -> nix::Result<OwnedFd> {
    match open(at, name, OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => {
            mkdirat(at, name, Mode::from_bits_truncate(0o755))?;
            if let Some(owner) = owner {
                let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                fchownat(at, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            }
            open(at, name, OFlag::O_DIRECTORY)
        }
        other => other,
    }
}
