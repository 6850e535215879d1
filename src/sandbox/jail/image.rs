//! The image of the runner: this very binary, copied into memory and sealed.
//!
//! A runner that is executed from a file can be replaced under it, or overwritten through `/proc/PID/exe` by what it
//! runs (CVE-2019-5736). A sealed memfd (memfd_create(2)) can be neither.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A sealed copy of the running binary, closed by exec.
pub(super) fn sealed() -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // MFD_EXEC says what is meant; kernels before 6.3 do not know it and mean the same.
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let memfd = match memfd_create("execward-runner", executable) {
        Err(Errno::EINVAL) => memfd_create("execward-runner", flags)?,
        other => other?,
    };
    let mut image = File::from(memfd);
    // io::copy moves the bytes inside the kernel where it can.
    #[allow(clippy::disallowed_methods, reason = "the binary itself")]
    io::copy(&mut File::open("/proc/self/exe")?, &mut image)?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&image, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(image.into())
}
