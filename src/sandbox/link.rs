//! The supervisor's end of the runner protocol.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::launcher::Complaints;
use super::{LaunchError, docker};
use crate::sys::{passing, peer};
use crate::wire::frame::{Decoder, Frame};
use crate::wire::runner::{FromRunner, Network, Present, Ready, Receipt, SandboxSpec, ToRunner};

/// How much is read from a runner at a time, at first and at most: a command that says little costs no memory for much.
const READ: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

/// How long a runner may take to end once nobody speaks to it; it has only to die.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a runner may take to say what it has to a supervisor that has just come.
const ADOPTION: Duration = Duration::from_secs(5);

/// How long a runner may take to hear that its session ends.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a container may say nothing until the engine is asked about it.
const SILENCE: Duration = Duration::from_secs(5);

/// A runner whose sandbox stands.
#[derive(Debug)]
pub struct Link {
    ready: Ready,
    listener: Option<OwnedFd>,
    sender: Sender,
    receiver: Receiver,
}

/// What a runner is to whoever has launched it. Its end is the end of the sandbox.
#[derive(Debug)]
pub(super) enum Runner {
    /// A process of this machine, or one that stands for a runner elsewhere.
    Process(Child),
    /// A process of this machine that an earlier supervisor has launched.
    Adopted(OwnedFd),
    /// The first process of a container.
    Container(docker::Running),
    /// A process of this machine that has reached one elsewhere.
    Far(Far),
}

/// Sockets that may have come before their frames are taken.
const PASSED: usize = 64;

/// What reaches a runner elsewhere.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) process: Child,
    pub(super) complaints: Complaints,
    /// It says something more often than this.
    pub(super) silence: Duration,
}

/// A runner that builds its sandbox. Dropped, it ends.
#[derive(Debug)]
pub struct Building {
    proxied: bool,
    told: io::Result<bool>,
    sender: Sender,
    receiver: Receiver,
}

impl Building {
    /// Opens the session on a runner that was just launched: it is told what to build, and nobody waits for it yet.
    pub(super) fn begin(
        stream: UnixStream,
        runner: Runner,
        spec: SandboxSpec,
        rendezvous: Option<&OwnedFd>,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        let mut sender = Sender::new(writer);
        let proxied = spec.network == Network::Proxy;
        let told = sender.offer_with(&ToRunner::Open(Box::new(spec)), rendezvous);
        Self { proxied, told, sender, receiver: Receiver::new(reader, runner) }
    }

    /// Waits until the sandbox stands.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn stands(self) -> Result<Link, LaunchError> {
        let Self { proxied, told, mut sender, mut receiver } = self;
        let told = match told {
            Ok(true) => Ok(()),
            Ok(false) => sender.drain().await,
            Err(error) => Err(error),
        };
        // A runner that refuses says why before it closes the stream.
        match (receiver.first().await, told) {
            (Ok((Some(FromRunner::Ready(ready)), listener)), Ok(())) if proxied == listener.is_some() => {
                Ok(Link { ready, listener, sender, receiver })
            }
            (Ok((Some(FromRunner::Failed(failure)), _)), _) => Err(LaunchError::Refused(failure)),
            (Err(error), _) | (_, Err(error)) => Err(LaunchError::Lost(error)),
            (Ok(_), Ok(())) => Err(LaunchError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

impl Link {
    /// Goes on with a runner that an earlier supervisor has left at this socket, in this container where it is in one. It says
    /// what it has; what is wanted of that is to be said to it. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`LaunchError`]: `Spawn` where nobody is there any more.
    pub async fn adopt(
        path: &Path,
        spec: &SandboxSpec,
        container: Option<(&docker::Engine, &docker::Kept)>,
    ) -> Result<Self, LaunchError> {
        let stream = UnixStream::connect(path).await.map_err(LaunchError::Spawn)?;
        let runner = match container {
            None => {
                let process = peer::pidfd(stream.as_fd());
                Runner::Adopted(process.map_err(|errno| LaunchError::Spawn(errno.into()))?)
            }
            Some((engine, kept)) => {
                // Of whoever has called listen(2): unix(7).
                let process = stream.peer_cred().map_err(LaunchError::Spawn)?.pid();
                Runner::Container(engine.adopt(kept, process.unwrap_or_default()).await?)
            }
        };
        let (reader, writer) = stream.into_split();
        let mut receiver = Receiver::new(reader, runner);
        let proxied = spec.network == Network::Proxy;
        let said = tokio::time::timeout(ADOPTION, receiver.first()).await;
        let why = match said {
            Ok(Ok((Some(FromRunner::Ready(ready)), listener))) if proxied == listener.is_some() => {
                return Ok(Self { ready, listener, sender: Sender::new(writer), receiver });
            }
            Ok(Ok(_)) => io::ErrorKind::InvalidData.into(),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        match receiver.runner.take() {
            // Removed with everything in it.
            Some(Runner::Container(running)) => {
                let _ = tokio::task::spawn_blocking(move || drop(running)).await;
            }
            // It ends by itself: one that hangs, in a file system of somebody's making, holds up nobody.
            runner => drop(runner),
        }
        Err(LaunchError::Lost(why))
    }

    /// What the next supervisor has to know of the container that it is in, where it is in one.
    pub fn container(&self) -> Option<docker::Kept> {
        match &self.receiver.runner {
            Some(Runner::Container(running)) => running.kept(),
            _ => None,
        }
    }

    /// The commands that an adopted runner has.
    pub fn commands(&self) -> &[Present] {
        &self.ready.commands
    }

    /// What confines the commands of this session.
    pub fn receipt(&self) -> &Receipt {
        &self.ready.receipt
    }

    /// Where the home of its commands is, where the runner had to choose another one.
    pub fn home(&self) -> Option<&Path> {
        self.ready.home.as_deref()
    }

    /// Where the sandbox has its bash, where it has programs of its own.
    pub fn bash(&self) -> Option<&str> {
        self.ready.bash.as_deref()
    }

    /// The socket on which the sandbox's proxy is to be served, where it has one: once.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Ends the session, and waits for that.
    pub fn close(mut self) {
        self.sender.close();
    }

    /// Both ends. The session ends when the receiver is dropped.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// Both ends of a link whose runner a test plays.
#[cfg(test)]
pub(crate) fn for_tests(stream: UnixStream, runner: Child) -> (Sender, Receiver) {
    let (reader, writer) = stream.into_split();
    (Sender::new(writer), Receiver::new(reader, Runner::Process(runner)))
}

/// Frames to the runner.
#[derive(Debug)]
pub struct Sender {
    writer: Arc<OwnedWriteHalf>,
    /// Not written yet, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
}

impl Sender {
    fn new(writer: OwnedWriteHalf) -> Self {
        Self { writer: Arc::new(writer), unsent: Vec::new(), sent: 0 }
    }

    /// Sends one frame. Waits while the runner does not read.
    pub async fn send(&mut self, frame: ToRunner) -> io::Result<()> {
        if self.offer(&frame)? { Ok(()) } else { self.drain().await }
    }

    /// Waits until the runner has taken everything that was offered.
    async fn drain(&mut self) -> io::Result<()> {
        loop {
            self.writer.writable().await?;
            if self.flush()? {
                return Ok(());
            }
        }
    }

    /// Sends the first frame, with this descriptor.
    fn offer_with(&mut self, frame: &ToRunner, fd: Option<&OwnedFd>) -> io::Result<bool> {
        frame.encode(&mut self.unsent);
        if let Some(fd) = fd {
            let socket: &UnixStream = self.writer.as_ref().as_ref();
            self.sent = passing::send(socket.as_fd(), &self.unsent, &[fd.as_fd()])?;
        }
        self.flush()
    }

    /// Has the runner end the session, and waits a little for it to take that in.
    pub fn close(&mut self) {
        let until = Instant::now() + CLOSING;
        let mut sent = self.offer(&ToRunner::Close);
        while let Ok(false) = sent {
            let left = until.saturating_duration_since(Instant::now());
            let socket: &UnixStream = self.writer.as_ref().as_ref();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if left.is_zero()
                || poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], timeout).is_err()
            {
                return;
            }
            sent = self.flush();
        }
    }

    /// Sends one frame after what was offered before, without waiting. `false` where the runner has not taken all of it
    /// yet: wait for [`Self::room`], then [`Self::flush`].
    pub fn offer(&mut self, frame: &ToRunner) -> io::Result<bool> {
        frame.encode(&mut self.unsent);
        self.flush()
    }

    /// Has one frame go with the next one that is sent.
    pub fn put_off(&mut self, frame: &ToRunner) {
        frame.encode(&mut self.unsent);
    }

    /// Writes what the runner takes without waiting. Whether that was everything.
    pub fn flush(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            // By the system first: tokio does not try before it has been told that there is room, which it never has been
            // of a stream that is new, and the runner would wait for the event loop.
            match send(
                self.writer.as_ref().as_ref().as_raw_fd(),
                rest,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            ) {
                Ok(count) => self.sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => match self.writer.try_write(rest) {
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                },
                Err(errno) => return Err(errno.into()),
            }
        }
        self.sent = 0;
        self.unsent.clear();
        // A large frame is rare, a session need not keep the room for one.
        self.unsent.shrink_to(*READ.end());
        Ok(true)
    }

    /// Where to wait until the runner takes more.
    pub fn room(&self) -> Arc<OwnedWriteHalf> {
        Arc::clone(&self.writer)
    }
}

/// Frames from the runner. Dropping it ends the session: every command is killed, and the runner is reaped.
#[derive(Debug)]
pub struct Receiver {
    reader: OwnedReadHalf,
    decoder: Decoder,
    /// How much is read next: twice as much after a read that took all of it.
    room: usize,
    /// Sockets that came, and whose frames have not been taken yet.
    passed: VecDeque<OwnedFd>,
    /// Until it is dropped.
    runner: Option<Runner>,
}

impl Receiver {
    fn new(reader: OwnedReadHalf, runner: Runner) -> Self {
        let (decoder, passed) = (Decoder::default(), VecDeque::new());
        Self { reader, decoder, room: *READ.start(), passed, runner: Some(runner) }
    }

    /// Reads what is there: how many bytes, 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        let Self { reader, decoder, room, .. } = self;
        let space = decoder.space(*room);
        let stream: &UnixStream = reader.as_ref();
        let received = stream
            .try_io(Interest::READABLE, || passing::receive(stream.as_fd(), space).map_err(io::Error::from));
        let count = received.as_ref().map_or(0, |received| received.bytes);
        self.decoder.filled(self.room, count);
        if count == self.room {
            self.room = (self.room * 2).min(*READ.end());
        }
        self.passed.extend(received?.fds);
        if self.passed.len() > PASSED {
            return Err(io::Error::other("the runner passes descriptors that nobody takes"));
        }
        Ok(count)
    }

    /// The socket that came with the frame that was received last, [`FromRunner::Ready`] or [`FromRunner::Proxied`]: once.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.passed.pop_front()
    }

    /// The first frame, and what came with it.
    async fn first(&mut self) -> io::Result<(Option<FromRunner>, Option<OwnedFd>)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok((Some(frame), self.take_listener()));
            }
            self.reader.readable().await?;
            match self.fill() {
                Ok(0) => return Ok((None, None)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to read. A container that says nothing is looked at now and then: one that somebody
    /// has paused would never say anything again.
    async fn readable(&self) -> io::Result<()> {
        let container = match &self.runner {
            Some(Runner::Container(container)) => container,
            Some(Runner::Far(Far { silence, complaints, .. })) => {
                let heard = tokio::time::timeout(*silence, self.reader.readable()).await;
                let after = silence.as_secs();
                return heard.unwrap_or_else(|_| {
                    let said = complaints.said();
                    Err(io::Error::other(format!(
                        "nothing has come from the launcher's side for {after} s{said}"
                    )))
                });
            }
            _ => return self.reader.readable().await,
        };
        let begun = Instant::now();
        loop {
            if let Ok(readable) = tokio::time::timeout(SILENCE, self.reader.readable()).await {
                return readable;
            }
            if let Some(most) = container.silence.filter(|most| begun.elapsed() >= *most) {
                let after = most.as_secs();
                return Err(io::Error::other(format!(
                    "nothing has come from the engine's side for {after} s"
                )));
            }
            if let Some(why) = container.why_silent().await {
                return Err(io::Error::other(why));
            }
        }
    }

    fn is_far(&self) -> bool {
        matches!(self.runner, Some(Runner::Far(_)))
    }

    /// The next frame; `None` when the runner has gone. Safe to cancel.
    pub async fn recv(&mut self) -> io::Result<Option<FromRunner>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            self.readable().await?;
            let count = match self.fill() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // It has gone with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && self.is_far() => 0,
                read => read?,
            };
            if count == 0 {
                if let Some(Runner::Container(container)) = &self.runner {
                    return Err(io::Error::other(container.why_gone().await));
                }
                if let Some(Runner::Far(far)) = &self.runner {
                    let said = far.complaints.said();
                    return Err(io::Error::other(format!("the launcher's side has gone{said}")));
                }
                let cut = self.decoder.is_mid_frame();
                return if cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
        }
    }
}

impl Receiver {
    /// Lets the session end: the runner ends every command, and itself. What it still says is not heard. Whoever has other
    /// things to do meanwhile says this before; whoever drops the receiver waits for it.
    pub fn end(&self) {
        let _ = shutdown(self.reader.as_ref().as_raw_fd(), Shutdown::Both);
    }
}

impl Receiver {
    /// Leaves the runner to the next supervisor, if it waits for one.
    pub fn leave(mut self) {
        match self.runner.take() {
            Some(Runner::Container(running)) => running.leave(),
            runner => drop(runner),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end();
        let until = Instant::now() + FAREWELL;
        let mut runner = match self.runner.take() {
            Some(Runner::Process(runner) | Runner::Far(Far { process: runner, .. })) => runner,
            Some(Runner::Adopted(process)) => {
                let timeout = PollTimeout::try_from(FAREWELL).unwrap_or(PollTimeout::MAX);
                if !matches!(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout), Ok(1)) {
                    let _ = crate::sys::process::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL);
                }
                return;
            }
            // A container goes when it is dropped.
            Some(Runner::Container(_)) | None => return,
        };
        // A child that was not waited for keeps its number, so this is the runner.
        let ended = peer::open_pid(runner.id().cast_signed());
        while matches!(runner.try_wait(), Ok(None)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _ = runner.kill();
                let _ = runner.wait();
                return;
            }
            match &ended {
                Ok(pidfd) => {
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout);
                }
                // As many descriptors as there may be.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}
