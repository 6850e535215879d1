//! The image of the runner: this very binary, which nobody who is confined by it may change.
//!
//! A runner that is executed from a file can be replaced under it, or overwritten through `/proc/PID/exe` by what it
//! runs (CVE-2019-5736). What is opened here is the file that is running, whatever its name leads to by now. Where only
//! root may write to it, that is enough: no command is root, nor the file's owner. Anywhere else, as in the build
//! directory of an ordinary user, commands may have the owner's rights: there it is copied into a sealed memfd
//! (memfd_create(2)), which nobody can change. The copy takes as long as everything else together.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

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
