//! What a requester sees: a daemon gives nobody a directory that the requester itself does not have.
//!
//! An agent may live in a sandbox or a container of its own (`execward wrap`), with the user id of somebody who has much more.
//! It gets as a workspace what it sees, at the path at which it sees it, and where it can change it: otherwise the daemon would
//! be its way out.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::sys::mount::file_id;

/// Why a requester does not get a file or directory.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unseen {
    #[error("the process that connected has ended, or cannot be looked at: what it sees is not known")]
    Unknown,
    #[error("the requester sees nothing there: {0}")]
    Missing(Errno),
    #[error("the requester sees something else at this path")]
    Another,
    #[error("the requester sees it read-only")]
    ReadOnly,
}

/// Whether a process with this root directory sees at this path what `held` is, and no less of it. The path is absolute.
pub(super) fn by(root: Option<&OwnedFd>, held: impl AsFd, path: &Path) -> Result<(), Unseen> {
    let root = root.ok_or(Unseen::Unknown)?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let seen = openat2(root, path, how).map_err(Unseen::Missing)?;
    let id = |fd: &dyn AsFd| file_id(fd.as_fd()).map_err(Unseen::Missing);
    if id(&seen)? != id(&held)? {
        return Err(Unseen::Another);
    }
    let read_only = |fd: &dyn AsFd| {
        fstatvfs(fd.as_fd()).map(|about| about.flags().contains(FsFlags::ST_RDONLY)).map_err(Unseen::Missing)
    };
    if read_only(&seen)? && !read_only(&held)? { Err(Unseen::ReadOnly) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn another_root_has_another_world() {
        let directory = tempfile::tempdir().expect("a directory");
        let inside = directory.path().join("inside");
        std::fs::create_dir(&inside).expect("a directory");
        let open = |path: &Path| OwnedFd::from(File::open(path).expect("it is there"));
        let (root, jail, held) = (open(Path::new("/")), open(directory.path()), open(&inside));
        assert_eq!(by(Some(&root), &held, &inside), Ok(()));
        assert_eq!(by(None, &held, &inside), Err(Unseen::Unknown));
        assert_eq!(by(Some(&jail), &held, &inside), Err(Unseen::Missing(Errno::ENOENT)));
        assert_eq!(by(Some(&jail), &held, Path::new("/inside")), Ok(()));
        // No way up, and none by a link that means another root.
        std::os::unix::fs::symlink("/", directory.path().join("up")).expect("a link");
        assert_eq!(by(Some(&jail), &root, Path::new("/up")), Err(Unseen::Another));
        assert_eq!(by(Some(&jail), &root, Path::new("/../..")), Err(Unseen::Another));
    }
}
