//! Lines over the socket: what is sent never waits for a daemon that itself waits to be read.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::ClientError;
use crate::sys::passing;
use crate::wire::lines::Lines;
use crate::wire::peer::Peer;

/// Longest line of a daemon, in bytes: two collected outputs, every byte of them escaped.
const MAX_LINE: usize = 32 << 20;

/// How long a daemon may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries to get into a queue that is full.
const REST: Duration = Duration::from_millis(10);

/// A connection, with what was received and not asked for yet.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    lines: Lines,
    ready: VecDeque<Vec<u8>>,
    ended: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing in time.
    Nothing,
    /// The end of the stream.
    End,
}

impl Connection {
    /// Connects. Whoever listens and takes nobody is waited for, and no longer than `patience`: the kernel would wait for
    /// ever.
    ///
    /// # Errors
    /// When nobody listens there, or the socket cannot be used.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, ClientError> {
        let refused = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoDaemon(path.to_owned()),
            _ => ClientError::Connect { path: path.to_owned(), error },
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(|errno| ClientError::Broken(errno.into()))?;
        let address = UnixAddr::new(path).map_err(|errno| refused(errno.into()))?;
        let deadline = Instant::now() + patience;
        loop {
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                // Its queue is full (unix(7) does not say so; connect(2) does).
                Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(REST),
                Err(Errno::EAGAIN) => return Err(ClientError::Silent(patience)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(refused(errno.into())),
            }
        }
        let stream = UnixStream::from(socket);
        Ok(Self { stream, lines: Lines::new(MAX_LINE), ready: VecDeque::new(), ended: false })
    }

    /// The user of the process that listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn peer_uid(&self) -> Result<u32, ClientError> {
        let peer = Peer::of(&self.stream);
        peer.map(|peer| peer.uid).map_err(|error| ClientError::Broken(std::io::Error::other(error)))
    }

    /// Sends bytes, and descriptors with the first of them.
    ///
    /// # Errors
    /// When the daemon has gone, or takes nothing.
    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        let (mut rest, mut fds) = (bytes, fds);
        while !rest.is_empty() {
            match passing::send(self.stream.as_fd(), rest, fds) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    fds = &[];
                }
                Err(Errno::EAGAIN) => {
                    let events =
                        PollFlags::POLLOUT | if self.ended { PollFlags::empty() } else { PollFlags::POLLIN };
                    let seen = self.poll(events, Some(Instant::now() + PATIENCE))?;
                    if seen.is_empty() {
                        return Err(ClientError::Silent(PATIENCE));
                    }
                    if !self.ended && seen.intersects(PollFlags::POLLIN) {
                        self.fill()?;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(ClientError::Closed),
                Err(errno) => return Err(ClientError::Broken(errno.into())),
            }
        }
        Ok(())
    }

    /// The next line. `deadline` is when to stop waiting; never where it is `None`.
    ///
    /// # Errors
    /// When the connection fails, or what came is no line.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Incoming, ClientError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Incoming::Line(line));
            }
            if self.ended {
                return Ok(Incoming::End);
            }
            self.fill()?;
            if self.ready.is_empty() && !self.ended && self.poll(PollFlags::POLLIN, deadline)?.is_empty() {
                return Ok(Incoming::Nothing);
            }
        }
    }

    /// Whether the next [`Self::receive`] has something without waiting, of which the socket says nothing any more.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || self.ended
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn finish(&self) -> Result<(), ClientError> {
        self.stream.shutdown(std::net::Shutdown::Write).map_err(ClientError::Broken)
    }

    /// Reads what is there.
    fn fill(&mut self) -> Result<(), ClientError> {
        let mut buffer = vec![0; 64 << 10];
        match passing::receive(self.stream.as_fd(), &mut buffer) {
            Ok(received) if received.bytes == 0 => self.ended = true,
            Ok(received) => {
                self.lines.push(buffer.get(..received.bytes).unwrap_or_default());
                loop {
                    match self.lines.next_line() {
                        Ok(Some(line)) => self.ready.push_back(line.bytes.to_vec()),
                        Ok(None) => break,
                        Err(error) => return Err(ClientError::Strange(error.to_string())),
                    }
                }
            }
            Err(Errno::ECONNRESET) => self.ended = true,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(ClientError::Broken(errno.into())),
        }
        Ok(())
    }

    /// Waits; what can be done, or nothing where the time is up.
    fn poll(&self, events: PollFlags, deadline: Option<Instant>) -> Result<PollFlags, ClientError> {
        loop {
            let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
                // Up to the next whole millisecond: a timeout of 0 would spin through the last one.
                let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = [PollFd::new(self.stream.as_fd(), events)];
            match poll(&mut fds, timeout) {
                Ok(0) => {
                    if deadline.is_none_or(|deadline| Instant::now() < deadline) {
                        continue;
                    }
                    return Ok(PollFlags::empty());
                }
                Ok(_) => {
                    let [fd] = fds;
                    let seen = fd.revents().unwrap_or(PollFlags::empty());
                    // A hang-up is read as an end, and written into as a broken pipe.
                    let both = PollFlags::POLLHUP | PollFlags::POLLERR;
                    return Ok(if seen.intersects(both) { seen | PollFlags::POLLIN } else { seen });
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(ClientError::Broken(errno.into())),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
