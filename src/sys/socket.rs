//! Sockets between our own processes.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, listen, socket, socketpair,
};

/// A pair of connected stream sockets.
pub fn stream_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
}

/// A pair of connected sockets that keep message boundaries.
pub fn packet_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// A stream socket of this name at which nobody listens yet. Nobody can connect before [`hearken`].
pub fn name(path: &Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let named = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(named.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(named)
}

/// Listens at a named socket. Who connects then sees this process as its peer: unix(7), `SO_PEERCRED`.
pub fn hearken(named: &OwnedFd) -> nix::Result<()> {
    listen(named, Backlog::new(4)?)
}

/// Takes one that has connected, without waiting. It does not wait either.
pub fn accept(listening: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let accepted = accept4(listening.as_raw_fd(), flags)?;
    // SAFETY: the kernel has just installed it for us; nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}
