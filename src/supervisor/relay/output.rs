//! Standard output and error: redacted, then written or kept.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use tokio::sync::{mpsc, oneshot};

use crate::redact;
use crate::wire::runner::Stream;

/// Chunks that may wait for a slow reader before the command is made to wait.
const QUEUE: usize = 16;

/// Bytes that are kept of each end of a captured stream.
const KEPT: usize = 512 << 10;

/// One output of a command.
#[derive(Debug)]
pub(super) struct Output {
    redact: Redact,
    sink: Sink,
    /// Something may be held back for which a person waits.
    pub(super) held: bool,
}

/// How an output is redacted.
#[derive(Debug)]
pub(super) enum Redact {
    /// All of it.
    Text(redact::Stream),
    /// As the messages of a server.
    Messages(redact::Messages),
}

impl Redact {
    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => text.push(input, out),
            Self::Messages(messages) => messages.push(input, out),
        }
    }

    fn flush_partial(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => text.flush_partial(out),
            Self::Messages(messages) => messages.flush_partial(out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => text.finish(out),
            Self::Messages(messages) => messages.finish(out),
        }
    }

    fn masked(&self) -> u64 {
        match self {
            Self::Text(text) => text.masked(),
            Self::Messages(messages) => messages.masked(),
        }
    }
}

#[derive(Debug)]
enum Sink {
    Write { writer: Writer, live: bool },
    Keep(Captured),
}

/// An output that could not be written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Broken {
    /// Which.
    pub(in crate::supervisor) stream: Stream,
    /// Of the write. EPIPE: whoever read it has gone.
    pub(in crate::supervisor) errno: Errno,
}

/// A descriptor that is written by a thread of its own: its flags are shared with whoever opened it, so that it cannot be
/// made non-blocking, and a reader who stops must stop nobody but the command.
#[derive(Debug)]
pub(in crate::supervisor) struct Writer {
    chunks: mpsc::Sender<Vec<u8>>,
    done: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the thread. It writes only where `before`, which it calls first, is well.
    pub(in crate::supervisor) fn start(
        target: impl AsFd + Send + 'static,
        stream: Stream,
        broken: mpsc::UnboundedSender<Broken>,
        before: impl FnOnce() -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (chunks, mut receive) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (tell_done, done) = oneshot::channel();
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut well = if before() { Ok(()) } else { Err(Errno::EPERM) };
            while well.is_ok() {
                let Some(chunk) = receive.blocking_recv() else { break };
                well = write_all(&target, &chunk);
            }
            if let Err(errno) = well {
                let _ = broken.send(Broken { stream, errno });
            }
            // Closed before anybody hears that all is written: whoever reads to the end must not wait for us.
            drop((receive, target));
            let _ = tell_done.send(());
        })?;
        Ok(Self { chunks, done })
    }

    /// Hands it bytes, and waits where many wait already. Where it cannot write any more it has said so, and what comes
    /// then is lost on purpose.
    pub(in crate::supervisor) async fn write(&mut self, bytes: Vec<u8>) {
        let _ = self.chunks.send(bytes).await;
    }

    fn is_closed(&self) -> bool {
        self.chunks.is_closed()
    }

    /// Waits until everything is written, or cannot be.
    pub(in crate::supervisor) async fn finish(self) {
        drop(self.chunks);
        // An error means that the thread has ended, too.
        let _ = self.done.await;
    }
}

impl Output {
    /// An output that is written to `target` as it comes.
    pub(super) fn write(
        redact: Redact,
        target: impl AsFd + Send + 'static,
        stream: Stream,
        broken: mpsc::UnboundedSender<Broken>,
    ) -> std::io::Result<Self> {
        // What goes into a file is the same every time; what somebody may be waiting for comes in time.
        let live = fstat(&target).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) != SFlag::S_IFREG);
        let writer = Writer::start(target, stream, broken, || true)?;
        Ok(Self { redact, sink: Sink::Write { writer, live }, held: false })
    }

    /// An output that is kept for the result.
    pub(super) fn keep(redact: redact::Stream) -> Self {
        Self { redact: Redact::Text(redact), sink: Sink::Keep(Captured::default()), held: false }
    }

    /// Takes what the command wrote.
    pub(super) async fn push(&mut self, data: &[u8]) {
        if let Sink::Write { writer, .. } = &self.sink
            && writer.is_closed()
        {
            // It cannot be written any more; the thread has said so.
            return;
        }
        let mut out = Vec::with_capacity(data.len() + 256);
        self.redact.push(data, &mut out);
        self.held = matches!(self.sink, Sink::Write { live: true, .. });
        self.send(out).await;
    }

    /// Nothing came for a while: lets out what redaction holds back but need not.
    pub(super) async fn idle(&mut self) {
        self.held = false;
        let mut out = Vec::new();
        self.redact.flush_partial(&mut out);
        self.send(out).await;
    }

    /// The command's output has ended: the rest leaves. Returns the number of masked places when all is written, and
    /// what was kept.
    pub(super) async fn finish(mut self) -> (u64, Option<Captured>) {
        let mut out = Vec::new();
        self.redact.finish(&mut out);
        self.send(out).await;
        let masked = self.redact.masked();
        match self.sink {
            Sink::Write { writer, .. } => {
                writer.finish().await;
                (masked, None)
            }
            Sink::Keep(captured) => (masked, Some(captured)),
        }
    }

    async fn send(&mut self, out: Vec<u8>) {
        match &mut self.sink {
            Sink::Write { writer, .. } if !out.is_empty() => writer.write(out).await,
            Sink::Write { .. } => {}
            Sink::Keep(captured) => captured.push(&out),
        }
    }
}

fn write_all(target: &impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(target, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut wait = [PollFd::new(target.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut wait, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The two ends of an output, whole where it was short enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    keep: (usize, usize),
}

impl Default for Captured {
    fn default() -> Self {
        Self::bounded(KEPT, KEPT)
    }
}

impl Captured {
    /// Keeps this many bytes of the beginning and of the end.
    pub(crate) fn bounded(head: usize, tail: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), left_out: 0, keep: (head, tail) }
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Bytes that can follow before something is left out.
    pub(crate) fn room(&self) -> usize {
        (self.keep.0 + self.keep.1).saturating_sub(self.held())
    }

    /// Everything, where nothing has been left out; else what is kept.
    pub(crate) fn all(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// Bytes that were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Leaves out what follows what was kept.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.left_out += (bytes + self.tail.len()) as u64;
        self.tail.clear();
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // What follows a gap is not part of the beginning.
        let room = if self.left_out > 0 { 0 } else { self.keep.0 - self.head.len() };
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.keep.1);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
    }

    /// The first bytes, how many were left out, and the last ones. A cut through a character must not make text into bytes:
    /// the pieces of the character are left out, too.
    pub fn into_text_parts(self) -> (Vec<u8>, u64, Vec<u8>) {
        let (mut head, mut left_out, mut tail) = self.into_parts();
        if left_out > 0 {
            let end = head.utf8_chunks().last().filter(|last| last.invalid().len() < 4);
            let cut = end.map_or(0, |last| last.invalid().len());
            let start = tail.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
            head.truncate(head.len() - cut);
            tail.drain(..start);
            left_out += (cut + start) as u64;
        }
        (head, left_out, tail)
    }

    /// The same, cut anywhere.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, u64, Vec<u8>) {
        if self.left_out == 0 {
            self.head.extend(self.tail.drain(..));
        }
        (self.head, self.left_out, self.tail.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_output_is_kept_whole_whatever_its_chunks() {
        let bytes: Vec<u8> = (0..KEPT * 2).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
        for size in [1000, 4096, KEPT, KEPT * 2] {
            let mut captured = Captured::default();
            bytes.chunks(size).for_each(|chunk| captured.push(chunk));
            let (head, left_out, tail) = captured.into_parts();
            assert_eq!((head.len(), left_out, tail.len()), (bytes.len(), 0, 0));
            assert!(head == bytes);
        }
    }

    #[test]
    fn a_long_output_keeps_both_ends() {
        let bytes: Vec<u8> = (0..KEPT * 3 + 5).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
        let mut captured = Captured::default();
        bytes.chunks(777).for_each(|chunk| captured.push(chunk));
        let (head, left_out, tail) = captured.into_parts();
        assert!(head == bytes[..KEPT]);
        assert!(tail == bytes[bytes.len() - KEPT..]);
        assert_eq!(left_out, (KEPT + 5) as u64);
    }

    #[test]
    fn a_full_device_is_an_error() {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        assert_eq!(write_all(&full, b"x"), Err(Errno::ENOSPC));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(write_all(&writer, b"x"), Err(Errno::EPIPE));
    }
}
