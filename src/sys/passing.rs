//! Bytes with descriptors over a Unix stream socket: sendmsg(2), recvmsg(2), SCM_RIGHTS (unix(7)).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Most descriptors that are taken with one message; the kernel closes what is beyond it. An even number: the room for them is
/// rounded up to whole words, and what fits is taken.
pub const MOST: usize = 6;

/// Bytes of a control message with [`MOST`] descriptors.
// SAFETY: CMSG_SPACE only computes.
#[allow(clippy::cast_possible_truncation)]
const ROOM: usize = unsafe { libc::CMSG_SPACE((MOST * size_of::<RawFd>()) as libc::c_uint) } as usize;

/// Room for that message, aligned as the kernel wants it.
type Space = [u64; ROOM.div_ceil(8)];

/// What came with one read.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// The descriptors, closed by exec. They belong to the last of these bytes: the kernel ends a read at the message
    /// that carries descriptors.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more than [`MOST`], which are gone.
    pub cut: bool,
}

/// Reads what is there without waiting: EAGAIN where there is nothing. Not nix's, which leaves the descriptors open that
/// were installed when there are too many of them: a peer could fill the table.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received> {
    let mut space: Space = [0; ROOM.div_ceil(8)];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is plain data for which all zeroes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = ROOM;
    // SAFETY: the buffer and the space outlive the call, and their lengths are theirs.
    let bytes = Errno::result(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT)
    })?;
    let mut fds = Vec::new();
    // SAFETY: the kernel wrote the control messages of this msghdr into the space, which is alive still.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the space.
    while let Some(control) = unsafe { header.as_ref() } {
        if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN only computes.
            let length = control.cmsg_len.saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
            // SAFETY: the data of this header starts here.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            for index in 0..length / size_of::<RawFd>() {
                // SAFETY: within the length that the kernel wrote; the place need not be aligned.
                let number = unsafe { data.add(index).read_unaligned() };
                // SAFETY: the kernel has just installed it for us; nothing else knows it.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Received { bytes: usize::try_from(bytes).map_err(|_| Errno::EIO)?, fds, cut })
}

/// Waits for something to read, from a socket or a pipe, and reads it: how many bytes, and the first descriptor that came with
/// them. Others are closed.
pub fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut readable = [PollFd::new(from, PollFlags::POLLIN)];
    poll(&mut readable, PollTimeout::NONE)?;
    match receive(from, buffer) {
        Ok(received) => Ok((received.bytes, received.fds.into_iter().next())),
        Err(Errno::ENOTSOCK) => Ok((nix::unistd::read(from, buffer)?, None)),
        Err(Errno::EAGAIN) => Err(Errno::EINTR),
        Err(errno) => Err(errno),
    }
}

/// Sends bytes, and descriptors with the first of them. Says how many bytes went; the descriptors went if any did.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    if bytes.is_empty() {
        return Err(Errno::EINVAL);
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let rights = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, MsgFlags::MSG_NOSIGNAL, None)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/thread-self/fd").unwrap().count()
    }

    #[test]
    fn descriptors_end_a_read() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        send(theirs.as_fd(), b"one\n", &[]).unwrap();
        send(theirs.as_fd(), b"two\n", &[read.as_fd(), write.as_fd()]).unwrap();
        send(theirs.as_fd(), b"three\n", &[]).unwrap();
        let mut buffer = [0; 100];
        let first = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..first.bytes], b"one\ntwo\n");
        assert_eq!((first.fds.len(), first.cut), (2, false));
        let second = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..second.bytes], second.fds.len()), (&b"three\n"[..], 0));
        assert_eq!(receive(ours.as_fd(), &mut buffer).unwrap_err(), Errno::EAGAIN);
        drop(theirs);
        assert_eq!(receive(ours.as_fd(), &mut buffer).unwrap().bytes, 0);
    }

    /// In a process of its own (nextest) or not, no other test of this binary may count: it is allowed to be off by what
    /// others do meanwhile, and 253 descriptors a message are not.
    #[test]
    fn a_flood_of_descriptors_leaves_none_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let before = open_descriptors();
        let flood = [theirs.as_fd(); 253];
        for _ in 0..20 {
            send(theirs.as_fd(), b"x", &flood).unwrap();
            let mut buffer = [0; 100];
            let received = receive(ours.as_fd(), &mut buffer).unwrap();
            assert!(received.cut);
            assert!(received.fds.len() <= MOST);
        }
        assert!(open_descriptors() < before + 60, "{} from {before}", open_descriptors());
    }
}
