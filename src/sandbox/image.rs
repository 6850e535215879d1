//! The image of the runner: this very binary, which nobody who is confined by it may change.
//!
//! A runner that is executed from a file can be replaced under it, or overwritten through `/proc/PID/exe` by what it
//! runs (CVE-2019-5736). What is opened here is the file that is running, whatever its name leads to by now. Where only
//! root may write to it, that is enough: no command is root, nor the file's owner. Anywhere else, as in the build
//! directory of an ordinary user, commands may have the owner's rights: there it is copied into a sealed memfd
//! (memfd_create(2)), which nobody can change. The copy takes as long as everything else together.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest as _, Sha256};

/// What the names of copies begin with.
const COPY: &str = "runner-";

/// The running binary, as nobody but root can change it; closed by exec.
pub(super) fn open() -> io::Result<OwnedFd> {
    const OTHERS_WRITE: u32 = 0o022;
    #[allow(clippy::disallowed_methods, reason = "the binary itself")]
    let own = File::open("/proc/self/exe")?;
    let about = own.metadata()?;
    if about.uid() == 0 && about.mode() & OTHERS_WRITE == 0 {
        return Ok(own.into());
    }
    sealed(own)
}

/// The running binary as others are to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// SHA-256, in hexadecimal.
    pub(super) digest: String,
    /// In bytes.
    pub(super) size: u64,
}

/// What it is. Read once for as long as it runs.
pub(super) fn about() -> io::Result<&'static Image> {
    static ABOUT: OnceLock<Image> = OnceLock::new();
    if let Some(known) = ABOUT.get() {
        return Ok(known);
    }
    let mut file = File::from(open()?);
    file.rewind()?;
    let mut hash = Sha256::new();
    let (mut size, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
    let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ABOUT.get_or_init(|| Image { digest, size }))
}

/// This very binary at a path at which nobody but this user and root can write.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) path: PathBuf,
    /// Held for as long as somebody is to find it there. None for a file that is not ours to remove.
    _held: Option<File>,
}

/// Places it: itself where it lies well, else a copy in `parent`, which is this user's alone.
pub(super) fn place(parent: &Path) -> io::Result<Placed> {
    let own = open()?;
    #[allow(clippy::disallowed_methods, reason = "the binary itself")]
    if let Ok(path) = fs::read_link("/proc/self/exe")
        && let (Ok(named), Ok(running)) = (fs::symlink_metadata(&path), nix::sys::stat::fstat(&own))
        && (named.dev(), named.ino()) == (running.st_dev, running.st_ino)
        && path.ancestors().skip(1).all(|parent| {
            fs::symlink_metadata(parent).is_ok_and(|about| about.uid() == 0 && about.mode() & 0o022 == 0)
        })
    {
        return Ok(Placed { path, _held: None });
    }
    let mut from = File::from(own);
    let about = fs::metadata("/proc/self/exe")?;
    let name = format!("{COPY}{:x}-{:x}-{:x}", about.dev(), about.ino(), about.mtime_nsec() ^ about.mtime());
    let path = parent.join(name);
    loop {
        if let Some(held) = hold(&path)? {
            return Ok(Placed { path, _held: Some(held) });
        }
        let mut making = tempfile::Builder::new()
            .prefix("making-")
            .permissions(fs::Permissions::from_mode(0o555))
            .tempfile_in(parent)?;
        from.rewind()?;
        io::copy(&mut from, making.as_file_mut())?;
        making.persist(&path)?;
        remove_others(parent, &path);
    }
}

/// Holds a copy, where it is there.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let copy = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        copy => copy?,
    };
    copy.lock_shared()?;
    // Another supervisor may have removed it, or put another one there, before it was held.
    let (held, named) = (copy.metadata()?, fs::symlink_metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())).then_some(copy))
}

/// Removes the copies of other versions, but those that another supervisor holds.
fn remove_others(parent: &Path, own: &Path) {
    let copies = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let others = copies.filter(|path| {
        path != own && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(COPY))
    });
    for other in others {
        if File::open(&other).is_ok_and(|copy| copy.try_lock().is_ok()) {
            let _ = fs::remove_file(&other);
        }
    }
}

/// A directory that is this user's alone.
pub(super) fn own_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|_| !path.is_dir()) {
        // Others may have business there.
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let about = fs::symlink_metadata(path)?;
    if about.uid() != nix::unistd::geteuid().as_raw() || !about.is_dir() {
        return Err(io::Error::other("it belongs to somebody else"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(passable()))
}

/// The mode of a directory that the runner goes through: it is root without the right to go past modes. Where that is
/// not this user, whoever answers at the socket is known by its process.
pub(super) fn passable() -> u32 {
    if nix::unistd::geteuid().is_root() { 0o700 } else { 0o711 }
}

/// A sealed copy of a file, closed by exec.
fn sealed(mut file: File) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // MFD_EXEC says what is meant; kernels before 6.3 do not know it and mean the same.
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let memfd = match memfd_create("execward-runner", executable) {
        Err(Errno::EINVAL) => memfd_create("execward-runner", flags)?,
        other => other?,
    };
    let mut image = File::from(memfd);
    // io::copy moves the bytes inside the kernel where it can.
    io::copy(&mut file, &mut image)?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&image, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(image.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_somebody_holds_stays_and_others_go() {
        let directory = tempfile::tempdir().unwrap();
        let copies = ["own", "held", "free"].map(|name| directory.path().join(format!("{COPY}{name}")));
        copies.iter().for_each(|copy| fs::write(copy, "").unwrap());
        let [own, held, free] = &copies;
        let another = hold(held).unwrap().expect("it is there");
        remove_others(directory.path(), own);
        assert!(own.exists() && held.exists() && !free.exists());
        drop(another);
        remove_others(directory.path(), own);
        assert!(!held.exists() && hold(held).unwrap().is_none());
    }
}
