//! What sets one command apart from its session, put in place by its init in namespaces of the command's own.
//!
//! A content that is held covers the file at its path for this command alone. Whoever changes the file meanwhile changes what
//! is beneath. Whoever replaces it (rename(2), unlink(2) from another mount namespace) takes the cover away with it: that the
//! kernel does not prevent. An interpreter that has opened it by then goes on reading what was approved.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::private;
use crate::sys::mount::{self, Attributes};
use crate::sys::process::FilesAs;
use crate::wire::runner::{Apart, Held};

/// Where the contents are for the moment in which they get their mounts: a directory that every sandbox has. In kernels before
/// 6.15 open_tree(2) copies nothing that is attached nowhere.
const SCAFFOLD: &str = "/run";

/// Nothing in it runs with more rights than its caller.
const HELD: Attributes = Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: false };

/// Sets the calling init's command apart. What is at a path is found as the files' owner `ids`, in the session's private root:
/// nothing of the host is there to be covered.
///
/// # Errors
/// Of the first thing that could not be done; the command must not run then.
pub(super) fn enter(apart: &Apart, ids: (u32, u32)) -> nix::Result<()> {
    // The network namespace is new already: nothing in it is up, or only what a proxy needs.
    let Apart { offline: _, hosts: _, read_only, held, secrets, private } = apart;
    let held = hold(held)?;
    if let Some(private) = private {
        private::enter(private, secrets, ids)?;
    }
    if let Some(directory) = read_only {
        let directory = find(directory, ids, OFlag::O_DIRECTORY)?;
        mount::restrict(directory.as_fd(), Attributes { read_only: true, ..Attributes::default() }, true)?;
    }
    for (path, content) in held {
        mount::attach(content.as_fd(), find(path, ids, OFlag::empty())?.as_fd())?;
    }
    Ok(())
}

/// A mount of each content, attached nowhere.
fn hold(held: &[Held]) -> nix::Result<Vec<(&Path, OwnedFd)>> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let options = [(c"mode", c"700")];
    let store = mount::new_filesystem(c"tmpfs", &options, Attributes { read_only: false, ..HELD })?;
    for (number, Held { content, executable, .. }) in held.iter().enumerate() {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(if *executable { 0o555 } else { 0o444 });
        let file = openat(&store, number.to_string().as_str(), flags, mode)?;
        nix::sys::stat::fchmod(&file, mode)?;
        File::from(file).write_all(content).map_err(|_| Errno::ENOSPC)?;
    }
    let scaffold = openat(AT_FDCWD, SCAFFOLD, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    mount::attach(store.as_fd(), scaffold.as_fd())?;
    let mut copies = Vec::new();
    for (number, held) in held.iter().enumerate() {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = openat(&store, number.to_string().as_str(), flags, Mode::empty())?;
        let copy = mount::clone_tree(file.as_fd(), false)?;
        mount::restrict(copy.as_fd(), HELD, false)?;
        copies.push((held.path.as_path(), copy));
    }
    umount2(SCAFFOLD, MntFlags::MNT_DETACH)?;
    Ok(copies)
}

/// Finds what shows at a path, links followed as the command would follow them.
fn find(path: &Path, (uid, gid): (u32, u32), flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let _as = FilesAs::enter(uid, gid)?;
    openat2(AT_FDCWD, path, how)
}
