//! Who is at the other end of a Unix socket, as the kernel says.
//!
//! The ids are those that the peer had when it connected (SO_PEERCRED, unix(7)); what it sends, and what it becomes
//! afterwards, changes nothing. A process id alone can be reused by the time it is looked at, so that the process is
//! held by a descriptor: the kernel's own of the socket (SO_PEERPIDFD, Linux 6.5), or one that was opened by number and
//! found to belong to the same user.
//!
//! A descriptor that was passed on keeps the credentials of the process that connected: who holds it acts as that user,
//! as with any descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::Mode;

use crate::sys;

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    /// Its effective user id when it connected.
    pub uid: u32,
    /// Its effective group id when it connected.
    pub gid: u32,
    /// Its supplementary groups when it connected.
    pub groups: Vec<u32>,
    /// Its process id when it connected; `None` where it is in a pid namespace that cannot be seen from here.
    pub pid: Option<i32>,
    /// The process; `None` where it has gone, or where this cannot be told for certain.
    pub process: Option<Process>,
}

/// A process that is held by descriptor: its number may be reused, this is not.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    /// How its identity is known.
    pub known: Known,
}

/// How it is known that a descriptor refers to the process that connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The kernel kept it with the socket.
    Kernel,
    /// Opened by number, and then found to belong to the same user: a kernel before 6.5. It is good enough to see when the
    /// peer ends; nothing is permitted by it.
    Checked,
}

/// Why nobody knows who is there. Such a connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell who is at the other end of the socket ({what}): {errno}")]
pub struct PeerError {
    what: &'static str,
    errno: Errno,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it does not say: the connection must not be served.
    pub fn of(socket: &impl AsFd) -> Result<Self, PeerError> {
        let credentials =
            getsockopt(socket, PeerCredentials).map_err(|errno| PeerError { what: "SO_PEERCRED", errno })?;
        let groups =
            sys::peer::groups(socket.as_fd()).map_err(|errno| PeerError { what: "SO_PEERGROUPS", errno })?;
        let pid = Some(credentials.pid()).filter(|&pid| pid > 0);
        let process = match sys::peer::pidfd(socket.as_fd()) {
            Ok(pidfd) => Some(Process { pidfd, known: Known::Kernel }),
            // The peer was reaped before anybody asked (ESRCH; EINVAL until 6.12).
            Err(Errno::ESRCH | Errno::EINVAL) => None,
            Err(Errno::ENOPROTOOPT) => pid.and_then(|pid| Process::by_number(pid, credentials.uid())),
            Err(errno) => return Err(PeerError { what: "SO_PEERPIDFD", errno }),
        };
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), groups, pid, process })
    }

    /// The root directory of the peer's process, which shows what it sees; `None` where the process has gone, or is not one that
    /// may be looked at (ptrace(2), "PTRACE_MODE_READ").
    pub fn root(&self) -> Option<OwnedFd> {
        let process = self.process.as_ref()?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(format!("/proc/{}/root", self.pid?).as_str(), flags, Mode::empty()).ok()?;
        // It was there all the while, so that the number was its own.
        process.is_alive().then_some(root)
    }

    /// Whether the peer is in a group, be it its own or a supplementary one.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

impl Process {
    /// Opens a process by its number and checks that it belongs to the user. The owner is read after the process is held
    /// and before it is seen to be alive still, so that it is the owner of that process.
    fn by_number(pid: i32, uid: u32) -> Option<Self> {
        let pidfd = sys::peer::open_pid(pid).ok()?;
        let owner = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let process = Self { pidfd, known: Known::Checked };
        (owner == uid && process.is_alive()).then_some(process)
    }

    /// Whether it runs still. One that has ended and was not reaped does not.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }
}

impl AsFd for Process {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use nix::unistd::{getegid, geteuid, getgroups, getpid};

    use super::*;

    #[test]
    fn the_kernel_says_who_this_process_is() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!((peer.uid, peer.gid), (geteuid().as_raw(), getegid().as_raw()));
        assert_eq!(peer.pid, Some(getpid().as_raw()));
        let root = peer.root().unwrap();
        let own = std::fs::File::open("/").unwrap();
        assert_eq!(sys::mount::file_id(root).unwrap(), sys::mount::file_id(own).unwrap());
        let mut groups: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut said = peer.groups.clone();
        groups.sort_unstable();
        said.sort_unstable();
        assert_eq!(said, groups);
        assert!(peer.is_in_group(getegid().as_raw()));
        assert!(peer.process.is_some_and(|process| process.is_alive()));
    }

    #[test]
    fn a_number_is_believed_only_with_its_user() {
        let (pid, uid) = (getpid().as_raw(), geteuid().as_raw());
        assert_eq!(Process::by_number(pid, uid).map(|process| process.known), Some(Known::Checked));
        assert!(Process::by_number(pid, uid.wrapping_add(1)).is_none());
        assert!(Process::by_number(i32::MAX, uid).is_none());
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let (read, _write) = nix::unistd::pipe().unwrap();
        assert!(Peer::of(&read).is_err());
    }
}
