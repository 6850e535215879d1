//! The other end of a Unix socket: socket options that nix lacks, and pidfd_open(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;

/// Most supplementary groups of a process (NGROUPS_MAX, credentials(7)).
const MOST_GROUPS: usize = 65_536;

/// The process that connected, as the kernel keeps it: getsockopt(2) with `SO_PEERPIDFD`, Linux 6.5. ENOPROTOOPT is an
/// older kernel; ESRCH (EINVAL until 6.12) is a process that has been reaped.
pub fn pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    /// asm-generic/socket.h; not in every libc yet.
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut pidfd: libc::c_int = -1;
    let mut length: libc::socklen_t = 4;
    // SAFETY: the value and its length are locals that outlive the call, and the length is the value's.
    Errno::result(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut pidfd).cast(),
            &raw mut length,
        )
    })?;
    if pidfd < 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: on success the kernel made a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// The supplementary groups of the process that connected: getsockopt(2) with `SO_PEERGROUPS`, Linux 4.13.
pub fn groups(socket: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut length =
            libc::socklen_t::try_from(groups.len() * size_of::<u32>()).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: the buffer holds `length` bytes and outlives the call; gid_t is u32 on Linux.
        let result = Errno::result(unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        });
        let count = usize::try_from(length).map_err(|_| Errno::EOVERFLOW)? / size_of::<u32>();
        match result {
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // The kernel has said how many there are.
            Err(Errno::ERANGE) if count > groups.len() && count <= MOST_GROUPS => groups.resize(count, 0),
            // No peer has credentials with this kernel or socket: there are none to speak of.
            Err(Errno::ENODATA) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    }
}

/// A descriptor of the process that has this number now: pidfd_open(2), Linux 5.3.
pub fn open_pid(pid: i32) -> Result<OwnedFd> {
    // SAFETY: both arguments are integers.
    let pidfd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let pidfd = i32::try_from(pidfd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel made a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}
