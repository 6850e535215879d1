//! The secrets beside the log: 32 random bytes each, made once, 0600, never replaced.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use zeroize::Zeroizing;

use super::{LogError, check_file, failed, io};

/// Reads a secret, or makes it where there is none. The log's lock is held.
pub(super) fn read_or_make(
    directory: &File,
    dir: &Path,
    name: &'static str,
) -> Result<Zeroizing<[u8; 32]>, LogError> {
    if let Some(bytes) = read(directory, dir, name)? {
        return Ok(bytes);
    }
    let path = dir.join(name);
    let new_name = format!("{name}.new");
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| failed("make", &path, Errno::EIO))?;
    // A leftover of a crash; made anew, so that nobody can have it open.
    let _ = unlinkat(directory, new_name.as_str(), UnlinkatFlags::NoRemoveDir);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let new = openat(directory, new_name.as_str(), flags, Mode::from_bits_truncate(0o600))
        .map_err(|errno| failed("create", &path, errno))?;
    let mut new = File::from(new);
    new.write_all(bytes.as_slice())
        .and_then(|()| new.sync_all())
        .map_err(|error| io("write", &path, &error))?;
    renameat(directory, new_name.as_str(), directory, name)
        .map_err(|errno| failed("create", &path, errno))?;
    directory.sync_all().map_err(|error| io("sync", dir, &error))?;
    Ok(bytes)
}

/// Reads a secret where there is one.
pub(super) fn read(
    directory: &File,
    dir: &Path,
    name: &'static str,
) -> Result<Option<Zeroizing<[u8; 32]>>, LogError> {
    let path = dir.join(name);
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut file = match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(failed("open", &path, errno)),
    };
    check_file(&file, &path)?;
    let mut bytes = Zeroizing::new([0; 32]);
    file.read_exact(bytes.as_mut_slice()).map_err(|error| io("read", &path, &error))?;
    Ok(Some(bytes))
}
