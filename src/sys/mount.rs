//! The mount API of Linux 5.2 and later: fsopen(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;

/// Attributes of a mount: mount_setattr(2), `MOUNT_ATTR_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing below can be written.
    pub read_only: bool,
    /// Set-user-id and set-group-id bits and file capabilities have no effect.
    pub no_suid: bool,
    /// Device nodes cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

impl Attributes {
    fn bits(self) -> u64 {
        let mut bits = 0;
        if self.read_only {
            bits |= libc::MOUNT_ATTR_RDONLY;
        }
        if self.no_suid {
            bits |= libc::MOUNT_ATTR_NOSUID;
        }
        if self.no_dev {
            bits |= libc::MOUNT_ATTR_NODEV;
        }
        if self.no_exec {
            bits |= libc::MOUNT_ATTR_NOEXEC;
        }
        bits
    }
}

/// Makes a new mount of a file system type, attached nowhere yet: fsopen(2), fsconfig(2), fsmount(2).
pub fn new_filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: Attributes) -> Result<OwnedFd> {
    // SAFETY: fsopen takes a NUL-terminated string and flags, and returns a new descriptor.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (key, value) in options {
        // SAFETY: FSCONFIG_SET_STRING reads two NUL-terminated strings that outlive the call; aux is 0.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
    }
    // SAFETY: FSCONFIG_CMD_CREATE takes no key, no value and aux 0.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            std::ptr::null::<u8>(),
            std::ptr::null::<u8>(),
            0,
        )
    })?;
    // SAFETY: fsmount takes a descriptor, flags and attribute bits, and returns a new descriptor.
    owned(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes.bits())
    })
}

/// Copies the mount at `source`, with what is mounted below it where `recursive`, into a mount that is attached
/// nowhere yet: open_tree(2) with `OPEN_TREE_CLONE`.
pub fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32 | recursive;
    // SAFETY: open_tree takes a descriptor, an empty NUL-terminated path and flags, and returns a new descriptor.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, source.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Adds attributes to a mount, and to all below it where `recursive`.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    set_attributes(mount, attributes.bits(), 0, None, recursive)
}

/// Shows the files of a mount that is attached nowhere yet with other owners, as the user namespace says:
/// mount_setattr(2), "ID-mapped mounts". EINVAL where the file system cannot.
pub fn map_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_IDMAP, 0, Some(user_namespace), recursive)
}

/// Keeps mounts made on either side from showing on the other: `MS_PRIVATE`.
pub fn make_private(mount: BorrowedFd<'_>) -> Result<()> {
    set_attributes(mount, 0, libc::MS_PRIVATE, None, true)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    propagation: u64,
    user_namespace: Option<BorrowedFd<'_>>,
    recursive: bool,
) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: user_namespace.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0)),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: mount_setattr reads a struct of the size given, which outlives the call, and an empty path.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Attaches a mount on the directory or file that `target` is: move_mount(2).
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: move_mount takes two descriptors with empty NUL-terminated paths, and flags.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// Makes the current directory the root of this mount namespace and detaches the old root: pivot_root(2), in the form
/// `pivot_root(".", ".")` that its page describes.
pub fn enter_root() -> Result<()> {
    // SAFETY: pivot_root takes two NUL-terminated paths.
    Errno::result(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")
}

/// Opens the user namespace of a process: /proc/PID/ns/user.
pub fn user_namespace(pid: nix::unistd::Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC;
    nix::fcntl::open(path.as_str(), flags, nix::sys::stat::Mode::empty())
}

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;

fn owned(returned: libc::c_long) -> Result<OwnedFd> {
    let raw = Errno::result(returned)?;
    let raw = RawFd::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the system call just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The device and inode of what a descriptor is.
pub fn file_id(fd: impl AsFd) -> Result<(u64, u64)> {
    let stat = nix::sys::stat::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}
