//! The working directory: opened once, checked by descriptor, entered by descriptor.
//!
//! A path string says where something was a moment ago. Here a path is opened exactly once; what is checked, recorded
//! and entered afterwards is the descriptor, so that exchanging a directory for a link between the check and the
//! start of a command changes nothing.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, readlink};
use nix::sys::stat::fstat;

use crate::wire::runner::FileId;

mod breadth;

/// A directory that was opened and checked.
#[derive(Debug)]
pub struct Directory {
    /// Open with O_PATH.
    pub fd: OwnedFd,
    /// Absolute, UTF-8, without symbolic links: what the descriptor was when it was checked.
    pub path: PathBuf,
    /// Device and inode.
    pub id: FileId,
    /// Owner: uid, gid.
    pub owner: (u32, u32),
}

/// A directory below which commands may work, opened once.
#[derive(Debug)]
pub struct Root(Directory);

impl Root {
    /// Opens a root. Its own path may lead through symbolic links; what it is is fixed from here on.
    ///
    /// # Errors
    ///
    /// As [`open`], except for containment.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        Directory::open(path).map(Self)
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.0
    }

    /// Whether `directory` is this root or below it: it must be found again from the root's own descriptor, without
    /// links, and be the same.
    fn contains(&self, directory: &Directory) -> bool {
        let Ok(root) = path_of(self.0.fd.as_fd()) else { return false };
        let Ok(relative) = directory.path.strip_prefix(&root) else { return false };
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let how = how(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&self.0.fd, relative, how).and_then(identify).is_ok_and(|(id, _, _)| id == directory.id)
    }
}

impl From<Directory> for Root {
    fn from(directory: Directory) -> Self {
        Self(directory)
    }
}

/// Why a directory was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Nothing there.
    #[error("{}: no such directory", shown(path))]
    Missing {
        /// As asked for.
        path: PathBuf,
    },
    /// Something there is a file, a pipe, a device.
    #[error("{}: not a directory", shown(path))]
    NotADirectory {
        /// As asked for.
        path: PathBuf,
    },
    /// The path, or what it leads to, is not UTF-8: it could neither be judged nor shown.
    #[error("{}: a directory that commands work in must have a UTF-8 name", shown(path))]
    NotText {
        /// As asked for.
        path: PathBuf,
    },
    /// The path does not start at `/`.
    #[error("{}: not an absolute path", shown(path))]
    NotAbsolute {
        /// As asked for.
        path: PathBuf,
    },
    /// No root holds it.
    #[error("{}: outside of the workspace", shown(path))]
    Outside {
        /// As asked for.
        path: PathBuf,
    },
    /// It is named inside of a root, but a link or `..` leads out.
    #[error("{}: leads out of the workspace, to {}", shown(path), shown(to))]
    Leaves {
        /// As asked for.
        path: PathBuf,
        /// Where it ends.
        to: PathBuf,
    },
    /// It leads through a link of /proc that no path stands for, or through too many links.
    #[error("{}: leads through a magic link of /proc, or through too many links", shown(path))]
    Links {
        /// As asked for.
        path: PathBuf,
    },
    /// It was removed while it was looked at.
    #[error("{}: was removed", shown(path))]
    Removed {
        /// As asked for.
        path: PathBuf,
    },
    /// Too broad for a piece of work.
    #[error("{}: {why}; work in a directory of its own, or give --allow-broad-workspace", shown(path))]
    Broad {
        /// What it is.
        path: PathBuf,
        /// Why it is refused: `is a home directory`.
        why: &'static str,
    },
    /// A place that holds execward's own state or somebody's keys: no flag makes it a workspace.
    #[error("{}: {why} and is never a workspace", shown(path))]
    Forbidden {
        /// What it is.
        path: PathBuf,
        /// Why it is refused: `holds execward's own state`.
        why: &'static str,
    },
    /// The kernel has no openat2(2).
    #[error(
        "{}: the kernel has no openat2, or a filter forbids it (Linux 5.6 or newer is needed)",
        shown(path)
    )]
    Unsupported {
        /// As asked for.
        path: PathBuf,
    },
    /// Anything else that openat2(2) says.
    #[error("{}: {}", shown(path), errno.desc())]
    Open {
        /// As asked for.
        path: PathBuf,
        /// Of the call.
        errno: Errno,
    },
}

/// What a workspace must not be.
#[derive(Debug, Clone, Copy)]
pub struct WorkspaceRules<'a> {
    /// Home of the requester.
    pub home: &'a Path,
    /// execward's own directories (state, configuration, run): nothing in them is ever a workspace.
    pub state: &'a [PathBuf],
    /// `--allow-broad-workspace` was given.
    pub allow_broad: bool,
}

/// Opens the directory in which a command will start: absolute, below one of `roots` once all links are followed.
///
/// # Errors
///
/// See [`DirectoryError`].
pub fn open(path: &Path, roots: &[Root]) -> Result<Directory, DirectoryError> {
    let directory = Directory::open(path)?;
    if roots.iter().any(|root| root.contains(&directory)) {
        return Ok(directory);
    }
    let named_inside = roots.iter().any(|root| path.starts_with(&root.0.path));
    let path = path.to_owned();
    Err(if named_inside {
        DirectoryError::Leaves { path, to: directory.path }
    } else {
        DirectoryError::Outside { path }
    })
}

/// Opens a workspace, and refuses one that is broader than a piece of work: `/`, a home, `/tmp`, a system directory.
///
/// # Errors
///
/// See [`DirectoryError`].
pub fn workspace(path: &Path, rules: WorkspaceRules<'_>) -> Result<Directory, DirectoryError> {
    let directory = Directory::open(path)?;
    let homes = breadth::homes(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    breadth::check(&directory.path, rules, &homes)?;
    Ok(directory)
}

impl Directory {
    /// A directory of another machine, by its name alone: nothing of this one is below it, and nothing is ever opened there.
    ///
    /// # Errors
    /// When /dev/null cannot be opened, which stands for what is not here.
    pub fn elsewhere(path: PathBuf) -> nix::Result<Self> {
        let fd =
            nix::fcntl::open("/dev/null", OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
        Ok(Self { fd, path, id: FileId { dev: 0, ino: 0 }, owner: (u32::MAX, u32::MAX) })
    }

    /// Whether it has been removed since it was opened.
    pub fn is_removed(&self) -> bool {
        identify(&self.fd).map_or(true, |(_, _, links)| links == 0)
    }

    fn open(path: &Path) -> Result<Self, DirectoryError> {
        let owned = || path.to_owned();
        if path.to_str().is_none() {
            return Err(DirectoryError::NotText { path: owned() });
        }
        if !path.is_absolute() {
            return Err(DirectoryError::NotAbsolute { path: owned() });
        }
        let failed = |errno| match errno {
            Errno::ENOENT => DirectoryError::Missing { path: owned() },
            Errno::ENOTDIR => DirectoryError::NotADirectory { path: owned() },
            Errno::ELOOP => DirectoryError::Links { path: owned() },
            Errno::ENOSYS => DirectoryError::Unsupported { path: owned() },
            errno => DirectoryError::Open { path: owned(), errno },
        };
        let fd = openat2(AT_FDCWD, path, how(ResolveFlag::RESOLVE_NO_MAGICLINKS)).map_err(failed)?;
        let real = path_of(fd.as_fd()).map_err(failed)?;
        let (id, owner, links) = identify(&fd).map_err(failed)?;
        if links == 0 {
            return Err(DirectoryError::Removed { path: owned() });
        }
        if real.to_str().is_none() {
            return Err(DirectoryError::NotText { path: real });
        }
        Ok(Self { fd, path: real, id, owner })
    }
}

/// O_PATH never blocks, whatever is there, and O_DIRECTORY lets nothing but a directory be opened.
fn how(resolve: ResolveFlag) -> OpenHow {
    OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Identity, owner and link count: 0 links of a directory that was removed.
fn identify(fd: impl AsFd) -> nix::Result<(FileId, (u32, u32), u64)> {
    let stat = fstat(fd)?;
    Ok((FileId { dev: stat.st_dev, ino: stat.st_ino }, (stat.st_uid, stat.st_gid), stat.st_nlink))
}

/// The name that the kernel has for an open directory.
fn path_of(fd: BorrowedFd<'_>) -> nix::Result<PathBuf> {
    readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str()).map(PathBuf::from)
}

/// A path for a message: one line, whatever is in it.
fn shown(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|character| {
            let escape = character.is_control() || character == '\u{fffd}';
            let escaped = escape.then(|| character.escape_default());
            escaped.into_iter().flatten().chain((!escape).then_some(character))
        })
        .collect()
}

#[cfg(test)]
mod tests;
