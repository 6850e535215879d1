//! Standard input: read no faster than the command takes it.

use std::os::fd::AsFd;
use std::sync::mpsc as blocking;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::{mpsc, oneshot};

use crate::wire::runner::{MAX_CHUNK, STDIN_WINDOW};

/// Chunks that may wait between the reading thread and the sender. They count against the window, too.
const QUEUE: usize = 2;

/// How often the reading thread looks whether it is still wanted, in milliseconds.
const LOOK: u16 = 200;

/// Standard input on its way to a command.
///
/// A thread reads it: a file cannot be polled, and the descriptor's flags are shared with whoever started execward,
/// so that it cannot be made non-blocking. The thread waits in poll(2), so that it takes nothing more when the command
/// has ended: what is typed then is the next program's. One that hangs in read(2) all the same dies with the process.
#[derive(Debug)]
pub(in crate::supervisor) struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    credit: blocking::Sender<usize>,
    left: Option<oneshot::Receiver<()>>,
}

impl Input {
    /// Starts to read `source`, at first as much as the window lets pass.
    pub(super) fn read(source: impl AsFd + Send + 'static) -> std::io::Result<Self> {
        Self::read_after(source, || true)
    }

    /// The same, where `before`, which the thread calls first, is well.
    pub(in crate::supervisor) fn read_after(
        source: impl AsFd + Send + 'static,
        before: impl FnOnce() -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (send_chunk, chunks) = mpsc::channel(QUEUE);
        let (credit, receive_credit) = blocking::channel();
        let (tell_left, left) = oneshot::channel();
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            if before() {
                pump(&source, &send_chunk, &receive_credit, tell_left);
            }
        })?;
        Ok(Self { chunks, credit, left: Some(left) })
    }

    /// The next bytes; `None` at the end. May be dropped and called again without loss.
    pub(in crate::supervisor) async fn next(&mut self) -> Option<Vec<u8>> {
        self.chunks.recv().await
    }

    /// Hears when whoever writes has gone while there is more than the command takes; it is closed without a word where
    /// the command takes everything, and [`Input::next`] sees the end. To be had once.
    pub(super) fn left(&mut self) -> Option<oneshot::Receiver<()>> {
        self.left.take()
    }

    /// A handle that says how much the command took.
    pub(in crate::supervisor) fn credit(&self) -> blocking::Sender<usize> {
        self.credit.clone()
    }
}

fn pump(
    source: &impl AsFd,
    chunks: &mpsc::Sender<Vec<u8>>,
    credit: &blocking::Receiver<usize>,
    left: oneshot::Sender<()>,
) {
    let mut window = STDIN_WINDOW;
    let mut left = Some(left);
    loop {
        while window == 0 {
            match credit.recv_timeout(Duration::from_millis(LOOK.into())) {
                Ok(bytes) => window = window.saturating_add(bytes),
                Err(blocking::RecvTimeoutError::Timeout) => {
                    if hung_up(source)
                        && let Some(left) = left.take()
                    {
                        let _ = left.send(());
                    }
                }
                Err(blocking::RecvTimeoutError::Disconnected) => return,
            }
        }
        while let Ok(bytes) = credit.try_recv() {
            window = window.saturating_add(bytes);
        }
        // A runner that credits more than it was sent gains nothing.
        window = window.min(STDIN_WINDOW);
        let mut wait = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        while matches!(poll(&mut wait, LOOK), Ok(0) | Err(Errno::EINTR)) {
            if chunks.is_closed() {
                return;
            }
        }
        let mut chunk = vec![0; window.min(MAX_CHUNK)];
        match nix::unistd::read(source, &mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                window -= length;
                if chunks.blocking_send(chunk).is_err() {
                    return;
                }
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                // Somebody else made the shared description non-blocking, and was faster.
            }
            // A terminal that went away (EIO), a directory (EISDIR), a write-only descriptor (EBADF): nothing more
            // can come, and the command sees the end.
            Err(_) => return,
        }
    }
}

/// Whether nobody can write any more. What was written may wait to be read all the same.
fn hung_up(source: &impl AsFd) -> bool {
    // libc has it for every Linux, nix does not.
    let shut = PollFlags::from_bits_retain(libc::POLLRDHUP);
    let mut look = [PollFd::new(source.as_fd(), shut)];
    poll(&mut look, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_whole_and_the_end_is_seen() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut input = Input::read(reader).expect("a thread");
        writer.write_all(b"one\0\xff").expect("it is written");
        drop(writer);
        assert_eq!(input.next().await.as_deref(), Some(&b"one\0\xff"[..]));
        assert_eq!(input.next().await, None);
    }

    #[tokio::test]
    async fn no_more_than_the_window_is_read_ahead() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut input = Input::read(reader).expect("a thread");
        std::thread::spawn(move || {
            let _ = writer.write_all(&vec![7; STDIN_WINDOW * 2]);
        });
        let mut got = 0;
        while let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_millis(200), input.next()).await {
            got += chunk.len();
        }
        assert_eq!(got, STDIN_WINDOW);
        input.credit().send(10).expect("the thread waits");
        let chunk = input.next().await.expect("there is credit again");
        assert_eq!(chunk.len(), 10);
    }

    #[tokio::test]
    async fn a_writer_that_has_gone_is_noticed_while_nothing_is_taken() {
        for socket in [false, true] {
            let (reader, mut writer): (std::os::fd::OwnedFd, std::fs::File) = if socket {
                let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
                (reader.into(), std::os::fd::OwnedFd::from(writer).into())
            } else {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                (reader.into(), std::os::fd::OwnedFd::from(writer).into())
            };
            let mut input = Input::read(reader).expect("a thread");
            let writing = std::thread::spawn(move || {
                writer.write_all(&vec![7; STDIN_WINDOW + 10]).expect("it is read, or fits");
                writer
            });
            let mut got = 0;
            while got < STDIN_WINDOW {
                got += input.next().await.expect("there is more").len();
            }
            let writer = writing.join().expect("it has written");
            let mut left = input.left().expect("it is there once");
            let early = tokio::time::timeout(Duration::from_millis(500), &mut left).await;
            assert!(early.is_err(), "the writer is there");
            drop(writer);
            left.await.expect("it is told");
            // What it left is still there for whoever takes it, and the end behind it.
            input.credit().send(11).expect("the thread waits");
            assert_eq!(input.next().await.map(|chunk| chunk.len()), Some(10));
            assert_eq!(input.next().await, None);
        }
    }
}
