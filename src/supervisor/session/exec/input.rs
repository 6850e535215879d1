//! What a command reads: in its order, no faster than it takes it, within bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::Exec;
use crate::wire::rpc::{self, State};
use crate::wire::runner::{MAX_CHUNK, STDIN_WINDOW, ToRunner};

/// Writes that may wait until the command has room, and the bytes in them.
pub(super) const WRITES: usize = 64;
const WRITTEN: usize = 1 << 20;

/// Standard input on its way.
#[derive(Debug)]
pub(super) struct Write {
    data: Vec<u8>,
    end: bool,
    reply: oneshot::Sender<u64>,
}

impl Exec {
    /// The command has taken standard input.
    pub(in crate::supervisor::session) fn credit(&self, bytes: usize) {
        // A runner that credits more than it was sent gains nothing.
        self.change(|inner| inner.stdin_window = inner.stdin_window.saturating_add(bytes).min(STDIN_WINDOW));
    }

    /// Passes standard input on, whether it came by the protocol or by a descriptor. The receiver hears how much was
    /// taken.
    ///
    /// # Errors
    /// When it has ended, or too much waits already.
    pub(in crate::supervisor) fn feed(
        &self,
        data: Vec<u8>,
        end: bool,
    ) -> Result<oneshot::Receiver<u64>, rpc::Error> {
        let closed =
            || rpc::Error::new(rpc::Code::StdinClosed, "the standard input of the command has ended");
        if self.state() == State::Ended {
            return Err(closed());
        }
        let busy = || {
            rpc::Error::new(rpc::Code::Busy, "earlier writes to this command still wait")
                .hint("wait for the reply of a write before many more")
        };
        let size = data.len();
        // One write of any size may wait; a second one only where both are small.
        let before = self.written.fetch_add(size, Ordering::Relaxed);
        if before > 0 && (before + size > WRITTEN || self.share.is_used_up()) {
            self.written.fetch_sub(size, Ordering::Relaxed);
            return Err(busy());
        }
        self.share.charge(size);
        let (reply, taken) = oneshot::channel();
        self.writes.try_send(Write { data, end, reply }).map_err(|error| {
            self.written.fetch_sub(size, Ordering::Relaxed);
            self.share.refund(size);
            match error {
                mpsc::error::TrySendError::Full(_) => busy(),
                mpsc::error::TrySendError::Closed(_) => closed(),
            }
        })?;
        Ok(taken)
    }
}

/// Passes standard input on in its order, no faster than the command takes it, until the command is over.
pub(super) async fn feed(exec: Arc<Exec>, mut writes: mpsc::Receiver<Write>) {
    let done = exec.kill.clone();
    let feeding = async {
        if exec.stdin == rpc::Stdin::None {
            return;
        }
        // What comes before the command runs waits.
        exec.until(|inner| (inner.state != State::Waiting).then_some(())).await;
        let id = exec.number;
        while let Some(Write { data, end, reply }) = writes.recv().await {
            for piece in data.chunks(MAX_CHUNK) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let room = exec
                        .until(|inner| {
                            let room = piece.len().min(inner.stdin_window);
                            inner.stdin_window -= room;
                            (room > 0).then_some(room)
                        })
                        .await;
                    let (now, later) = piece.split_at(room);
                    exec.orders.send(ToRunner::Stdin { id, data: now.to_vec() });
                    piece = later;
                }
            }
            if end {
                exec.orders.send(ToRunner::StdinEnd { id });
            }
            exec.written.fetch_sub(data.len(), Ordering::Relaxed);
            exec.share.refund(data.len());
            // Whoever wrote may have gone.
            let _ = reply.send(data.len() as u64);
            if end {
                return;
            }
        }
    };
    tokio::select! {
        () = feeding => {}
        () = done.cancelled() => {}
    }
    // What was not passed on is gone; the closed channel answers whoever wrote it, and whoever writes now.
    exec.share.refund(exec.written.swap(0, Ordering::Relaxed));
}
