//! The workspace as the runner reaches it: a mount of its own that nothing is mounted in and that leads nowhere else.
//!
//! Commands change it at the same time, so nothing here follows a symbolic link or waits for anybody: every path is
//! opened below the mount's root with openat2(2), and what a path is is asked of the descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::Result;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// How what was set aside is called. No tool that is known obeys a name that ends so.
const ASIDE: &str = ".execward-set-aside";

/// Whether a name is one that was given here.
pub(super) fn is_aside(name: &OsStr) -> bool {
    let name = String::from_utf8_lossy(name.as_bytes());
    let Some((_, number)) = name.rsplit_once(ASIDE) else { return false };
    let digits = number.strip_prefix('-').is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_digit()));
    number.is_empty() || digits
}

/// How many names are tried.
const TRIES: usize = 100;

#[derive(Debug)]
pub(super) struct Tree(OwnedFd);

/// What an entry of a directory is, as far as the directory says.
pub(super) type Entry = (OsString, Option<Type>);

/// When a file last changed, in whatever way: nobody but the clock can set it. With its inode, so that another file at
/// the same name is another stamp.
pub(super) type Stamp = (i64, i64, u64);

pub(super) fn stamp(stat: &FileStat) -> Stamp {
    (stat.st_ctime, stat.st_ctime_nsec, stat.st_ino)
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// What stands at `path`. A symbolic link on the way may lead it astray in this sandbox: a hint, no more.
    pub(super) fn stat(&self, path: &Path) -> Result<FileStat> {
        fstatat(&self.0, here(path), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// When it was made, in nanoseconds since the epoch, where the file system remembers.
    pub(super) fn born(&self, path: &Path) -> Option<(i64, i64)> {
        crate::sys::file::born(self.0.as_fd(), here(path))
    }

    fn open(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        let how = OpenHow::new().flags(OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | flags).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        openat2(&self.0, here(path), how)
    }

    /// A directory and where the kernel finds it by its descriptor, whatever its name has become.
    pub(super) fn directory(&self, path: &Path) -> Result<(OwnedFd, String)> {
        let fd = self.open(path, OFlag::O_DIRECTORY)?;
        let place = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok((fd, place))
    }

    /// The entries of a directory, at most `most`; whether that is all.
    pub(super) fn list(directory: OwnedFd, most: usize) -> (Vec<Entry>, bool) {
        let Ok(mut directory) = Dir::from_fd(directory) else { return (Vec::new(), false) };
        let mut entries = Vec::new();
        for entry in directory.iter() {
            let Ok(entry) = entry else { return (entries, false) };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entries.len() == most {
                return (entries, false);
            }
            entries.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
        (entries, true)
    }

    /// A regular file of at most `most` bytes, with what it is. Never waits for the other end of a pipe.
    pub(super) fn read(&self, path: &Path, most: u64) -> Result<(Vec<u8>, FileStat)> {
        let fd = self.open(path, OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        let stat = fstat(&fd)?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(Errno::EINVAL);
        }
        let mut bytes = Vec::new();
        File::from(fd).take(most + 1).read_to_end(&mut bytes).map_err(|_| Errno::EIO)?;
        if bytes.len() as u64 > most { Err(Errno::EFBIG) } else { Ok((bytes, stat)) }
    }

    /// Gives `path` a name beside it that nothing obeys.
    pub(super) fn set_aside(&self, path: &Path) -> Result<PathBuf> {
        let (parent, name) = self.parent(path)?;
        let rename = |to: &OsStr| renameat2(&parent, name, &parent, to, RenameFlags::RENAME_NOREPLACE);
        self.under_a_free_name(path, name, rename)
    }

    /// Puts `content` at `path` and what was there beside it, in one step.
    pub(super) fn replace(&self, path: &Path, content: &[u8], mode: u32) -> Result<PathBuf> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mode = Mode::from_bits_truncate(mode & 0o666);
        self.under_a_free_name(path, name, |to| {
            let file = nix::fcntl::openat(&parent, to, flags, mode)?;
            let written = File::from(file).write_all(content).map_err(|_| Errno::ENOSPC);
            let exchange = || renameat2(&parent, to, &parent, name, RenameFlags::RENAME_EXCHANGE);
            written.and_then(|()| exchange()).inspect_err(|_| {
                let _ = nix::unistd::unlinkat(&parent, to, nix::unistd::UnlinkatFlags::NoRemoveDir);
            })
        })
    }

    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let parent = self.open(path.parent().ok_or(Errno::EINVAL)?, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok((parent, name))
    }

    fn under_a_free_name(
        &self,
        path: &Path,
        name: &OsStr,
        mut act: impl FnMut(&OsStr) -> Result<()>,
    ) -> Result<PathBuf> {
        for number in 1..=TRIES {
            let suffix = if number == 1 { ASIDE.to_owned() } else { format!("{ASIDE}-{number}") };
            let room = 255_usize.saturating_sub(suffix.len());
            let mut to = name.as_bytes().get(..room).unwrap_or(name.as_bytes()).to_vec();
            to.extend(suffix.bytes());
            let to = OsString::from_vec(to);
            match act(&to) {
                Err(Errno::EEXIST) => {}
                other => return other.map(|()| path.with_file_name(to)),
            }
        }
        Err(Errno::EEXIST)
    }
}

fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
