//! Places of a command's own: an empty home, /tmp and /run in place of those that the commands of its session share, and its
//! secrets. What another command has left there (settings of programs, sockets, names that will be used) is not there for one
//! that holds what the other may not have.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};

use crate::sys::mount::{self, Attributes};
use crate::sys::process::FilesAs;
use crate::wire::runner::{Private, SECRETS, SecretGiven};

/// As the session's own.
const WRITABLE: Attributes = Attributes { read_only: false, no_suid: true, no_dev: true, no_exec: false };

/// Nothing in it is executed or changed.
const SECRET: Attributes = Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: true };

/// Bytes of all files of secrets of one command: a page for each, and their content.
const ROOM: &CStr = c"4194304";

/// Mounts them over the session's, where the calling init alone and what it starts see them.
pub(super) fn enter(private: &Private, secrets: &[SecretGiven], ids: (u32, u32)) -> nix::Result<()> {
    let Private { home, room, keep } = private;
    let places = [
        (home.as_path(), c"700"),
        (Path::new("/tmp"), c"1777"),
        (Path::new("/var/tmp"), c"1777"),
        (Path::new("/dev/shm"), c"1777"),
        (Path::new("/run"), c"755"),
    ];
    for (path, mode) in places {
        // A workspace that holds the place is the session's, and what is in it stays.
        if keep.iter().any(|kept| path.starts_with(kept)) {
            continue;
        }
        let below: Vec<&Path> = keep.iter().map(|kept| kept.as_path()).collect();
        renew(path, mode, *room, &topmost(below, path), ids)?;
    }
    show(secrets, ids)
}

/// Those below a place, without those below one of them.
fn topmost<'a>(mut all: Vec<&'a Path>, place: &Path) -> Vec<&'a Path> {
    all.retain(|path| path.starts_with(place) && *path != place);
    all.sort();
    all.dedup_by(|deeper, higher| deeper.starts_with(*higher));
    all
}

/// Covers a place with an empty one, in which what is kept shows as before.
fn renew(place: &Path, mode: &CStr, room: u64, keep: &[&Path], ids: (u32, u32)) -> nix::Result<()> {
    let covered = open(AT_FDCWD, place)?;
    let mut kept = Vec::new();
    for path in keep {
        let shown = {
            // A home is for its owner alone.
            let _as = FilesAs::enter(ids.0, ids.1)?;
            open(AT_FDCWD, path)
        };
        let shown = match shown {
            Ok(shown) => shown,
            // What is not there is not shown.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
            Err(errno) => return Err(errno),
        };
        // What is of the covered file system is of commands' making.
        if fstat(&shown)?.st_dev != fstat(&covered)?.st_dev {
            kept.push((path.strip_prefix(place).unwrap_or(path), mount::clone_tree(shown.as_fd(), true)?));
        }
    }
    let text = |number: u64| CString::new(number.to_string()).unwrap_or_default();
    let (size, inodes) = (text(room), text((room / 4096).max(1024)));
    let (uid, gid) = (text(ids.0.into()), text(ids.1.into()));
    let options = [
        (c"size", size.as_c_str()),
        (c"nr_inodes", inodes.as_c_str()),
        (c"mode", mode),
        (c"uid", uid.as_c_str()),
        (c"gid", gid.as_c_str()),
    ];
    let fresh = mount::new_filesystem(c"tmpfs", &options, WRITABLE)?;
    for (below, tree) in kept {
        let directory =
            SFlag::from_bits_truncate(fstat(&tree)?.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR;
        let target = make(&fresh, below, directory, ids)?;
        mount::attach(tree.as_fd(), target.as_fd())?;
    }
    mount::attach(fresh.as_fd(), covered.as_fd())
}

/// Makes a directory or an empty file in a file system that is attached nowhere, as the command's user.
fn make(root: &OwnedFd, below: &Path, directory: bool, (uid, gid): (u32, u32)) -> nix::Result<OwnedFd> {
    let _as = FilesAs::enter(uid, gid)?;
    let names: Vec<&OsStr> = below
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let mut at = root.try_clone().map_err(|_| Errno::EMFILE)?;
    for (index, name) in names.iter().enumerate() {
        if index + 1 == names.len() && !directory {
            let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            return openat(&at, *name, flags, Mode::from_bits_truncate(0o600));
        }
        match mkdirat(&at, *name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        at = openat(&at, *name, OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

/// Shows the secrets that are files, to the command's user alone.
fn show(secrets: &[SecretGiven], (uid, gid): (u32, u32)) -> nix::Result<()> {
    if secrets.iter().all(|secret| secret.file.is_none()) {
        return Ok(());
    }
    let text = |number: u32| CString::new(number.to_string()).unwrap_or_default();
    let (owner, group) = (text(uid), text(gid));
    let options =
        [(c"size", ROOM), (c"mode", c"700"), (c"uid", owner.as_c_str()), (c"gid", group.as_c_str())];
    let store = mount::new_filesystem(c"tmpfs", &options, Attributes { read_only: false, ..SECRET })?;
    {
        let _as = FilesAs::enter(uid, gid)?;
        for (name, secret) in secrets.iter().filter_map(|secret| Some((secret.file.as_deref()?, secret))) {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let file = openat(&store, name, flags, Mode::from_bits_truncate(0o400))?;
            File::from(file).write_all(secret.value.expose().as_bytes()).map_err(|_| Errno::ENOSPC)?;
        }
        fchmod(
            openat(&store, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?,
            Mode::from_bits_truncate(0o500),
        )?;
    }
    mount::restrict(store.as_fd(), SECRET, false)?;
    let run = open(AT_FDCWD, Path::new("/run"))?;
    let below = Path::new(SECRETS).strip_prefix("/run").unwrap_or(Path::new("secrets"));
    mount::attach(store.as_fd(), make(&run, below, true, (uid, gid))?.as_fd())
}

/// Opens through no link: what commands of the session have put there leads nowhere.
fn open(base: impl std::os::fd::AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(base, path, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_kept_the_topmost_is_enough() {
        let paths = ["/home/u/w", "/home/u/w/x", "/home/u", "/home/u/.cargo/bin", "/usr", "/home/u2/w"];
        let all = paths.map(Path::new).to_vec();
        let found = topmost(all, Path::new("/home/u"));
        assert_eq!(found, [Path::new("/home/u/.cargo/bin"), Path::new("/home/u/w")]);
    }
}
