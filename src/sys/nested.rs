//! Files of credentials that lie deeper in a workspace than at its top: `apps/api/.env`.
//!
//! What is masked by a bare name is masked wherever a file of that name is found when the sandbox is built, within bounds: a large
//! workspace must not make its sessions wait. Directories of what others wrote are not looked into. It stands here since whoever builds
//! the sandbox looks: the runner of a jail, the supervisor of a container.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Deepest directory below the workspace, most directories, most entries, and the longest look.
const DEPTH: usize = 4;
const DIRECTORIES: usize = 512;
const ENTRIES: usize = 20_000;
const TIME: Duration = Duration::from_millis(20);

/// Most files that are masked so: each is a mount.
const MOST: usize = 64;

/// Where programs keep what others wrote.
const DEPENDENCIES: [&str; 7] = [".git", "node_modules", "target", "vendor", ".venv", "venv", "__pycache__"];

/// The files below `workspace`, and not in it, whose names are among `masked`, by their paths below it.
pub fn nested(workspace: impl AsFd, masked: &[PathBuf]) -> Vec<PathBuf> {
    nested_within(workspace.as_fd(), masked, TIME)
}

fn nested_within(workspace: BorrowedFd<'_>, masked: &[PathBuf], time: Duration) -> Vec<PathBuf> {
    let names: Vec<&OsStr> =
        masked.iter().filter(|path| path.components().count() == 1).map(|path| path.as_os_str()).collect();
    let (begun, mut entries, mut directories) = (Instant::now(), 0, 0);
    let (mut found, mut queue) = (Vec::new(), VecDeque::from([(PathBuf::new(), 0)]));
    while let Some((path, depth)) = queue.pop_front() {
        directories += 1;
        if directories > DIRECTORIES || entries > ENTRIES || found.len() >= MOST || begun.elapsed() > time {
            break;
        }
        let Some(mut directory) = read(workspace, &path) else { continue };
        for entry in directory.iter().flatten() {
            entries += 1;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            match entry.file_type() {
                Some(Type::Directory)
                    if depth < DEPTH
                        && !matches!(name.as_bytes(), b"." | b"..")
                        && !DEPENDENCIES.iter().any(|other| name == *other) =>
                {
                    queue.push_back((path.join(name), depth + 1));
                }
                Some(Type::File) if depth > 0 && names.contains(&name) => found.push(path.join(name)),
                _ => {}
            }
        }
    }
    found.truncate(MOST);
    found
}

fn read(workspace: BorrowedFd<'_>, path: &Path) -> Option<Dir> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    Dir::from_fd(openat2(workspace, path, how).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn they_are_found_within_bounds() {
        let place = tempfile::tempdir().unwrap();
        for path in [
            ".env",
            "apps/api/.env",
            "apps/.env.local",
            "a/b/c/d/.env",
            "a/b/c/d/e/.env",
            "node_modules/x/.env",
            "apps/env",
        ] {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "A=1").unwrap();
        }
        fs::create_dir_all(place.path().join("z/.env")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("apps/.env.production")).unwrap();
        let masked = [".env", ".env.local", ".env.production", ".config/gh"].map(PathBuf::from);
        let top = File::open(place.path()).unwrap();
        let mut found = nested_within(top.as_fd(), &masked, Duration::MAX);
        found.sort();
        assert_eq!(found, ["a/b/c/d/.env", "apps/.env.local", "apps/api/.env"].map(PathBuf::from));
        for number in 0..MOST + 8 {
            let directory = place.path().join(format!("many/{number}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(".env"), "A=1").unwrap();
        }
        assert_eq!(nested_within(top.as_fd(), &masked, Duration::MAX).len(), MOST);
    }
}
