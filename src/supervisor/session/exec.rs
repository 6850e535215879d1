//! One command of a session, from the moment that it is named until nobody asks for it any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::link::Orders;
use super::ring::{Gone, Ring, Share};
use crate::redact;
use crate::stage::Digest;
use crate::supervisor::relay::Captured;
use crate::wire::rpc::{self, Chunk, Collected, Data, ExecId, RequestId, StartExec, State};
use crate::wire::runner::{Ended, MAX_CHUNK, STDIN_WINDOW, Stream, ToRunner};

/// Writes that may wait until the command has room, and the bytes in them.
const WRITES: usize = 64;
const WRITTEN: usize = 1 << 20;

/// A command.
#[derive(Debug)]
pub(in crate::supervisor) struct Exec {
    pub(in crate::supervisor) id: ExecId,
    pub(in crate::supervisor) request_id: RequestId,
    /// Its number on the link to the runner.
    pub(super) number: u64,
    /// Of everything that was asked for, to know a repeated start from another one.
    pub(super) asked: Digest,
    /// On one line, with secrets masked, not all of it where it is long.
    display: String,
    background: bool,
    pub(super) stdin: rpc::Stdin,
    /// It has a terminal: all that it writes is one stream.
    terminal: bool,
    /// Which of 0, 1 and 2 its client has passed by descriptor.
    passed: [bool; 3],
    pub(super) started: Timestamp,
    /// The connection that it ends with; `None` for one in the background.
    pub(in crate::supervisor) bound_to: Option<u64>,
    /// Ends it politely, then for certain.
    pub(in crate::supervisor) cancel: CancellationToken,
    /// Ends it now.
    pub(in crate::supervisor) kill: CancellationToken,
    writes: mpsc::Sender<Write>,
    /// Bytes in them.
    written: AtomicUsize,
    share: Arc<Share>,
    orders: Orders,
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    sink: Sink,
    /// What goes to descriptors.
    passed: Ring,
    redact: [redact::Stream; 2],
    /// Redaction may hold something back for which a reader waits.
    partial: bool,
    masked: u64,
    /// The runner was told to leave the output in its pipes.
    held: bool,
    /// The output may no longer wait for anybody.
    unheld_for_good: bool,
    stdin_window: usize,
    ended: Option<Result<Ended, String>>,
    report: Option<Arc<rpc::Report>>,
    refused: Option<rpc::Error>,
    closed: bool,
}

/// Where output goes.
#[derive(Debug)]
enum Sink {
    /// To readers, in numbered chunks.
    Chunks(Ring),
    /// Into the result. What its principal has no memory for is left out.
    Collect { captured: [Captured; 2], share: Arc<Share> },
}

/// Standard input on its way.
#[derive(Debug)]
struct Write {
    data: Vec<u8>,
    end: bool,
    reply: oneshot::Sender<u64>,
}

/// Everything that a command is named with.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) request_id: RequestId,
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) display: String,
    pub(super) bound_to: Option<u64>,
    pub(super) redact: [redact::Stream; 2],
}

/// What a reader gets.
#[derive(Debug)]
pub(in crate::supervisor) struct Output {
    pub(in crate::supervisor) chunks: Vec<Chunk>,
    pub(in crate::supervisor) exited: bool,
    pub(in crate::supervisor) closed: bool,
}

impl Exec {
    /// Makes a command that nothing has been decided about, and the task that passes its standard input on.
    pub(super) fn new(
        asked: &StartExec,
        named: Named,
        orders: Orders,
        share: Arc<Share>,
    ) -> (Arc<Self>, impl Future<Output = ()> + use<>) {
        let Named { request_id, number, digest, display, bound_to, redact } = named;
        let sink = match asked.output {
            rpc::Output::Stream | rpc::Output::Poll => Sink::Chunks(Ring::new(Arc::clone(&share))),
            rpc::Output::Collect { head, tail } => {
                let captured = [(); 2].map(|()| Captured::bounded(head.size(), tail.size()));
                Sink::Collect { captured, share: Arc::clone(&share) }
            }
        };
        let passed = [rpc::Fd::Stdin, rpc::Fd::Stdout, rpc::Fd::Stderr].map(|fd| asked.fds.contains(&fd));
        let inner = Inner {
            state: State::Waiting,
            sink,
            passed: Ring::new(Arc::clone(&share)),
            redact,
            partial: false,
            masked: 0,
            held: false,
            unheld_for_good: false,
            stdin_window: STDIN_WINDOW,
            ended: None,
            report: None,
            refused: None,
            closed: false,
        };
        let (writes, receive) = mpsc::channel(WRITES);
        let exec = Arc::new(Self {
            id: asked.id.clone(),
            request_id,
            number,
            asked: digest,
            display,
            background: asked.background,
            stdin: if passed[0] { rpc::Stdin::Pipe } else { asked.stdin },
            passed,
            terminal: asked.pty.is_some(),
            share,
            started: Timestamp::now(),
            bound_to,
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
            writes,
            written: AtomicUsize::new(0),
            orders,
            inner: Mutex::new(inner),
            changed: watch::Sender::new(()),
        });
        (Arc::clone(&exec), feed(exec, receive))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and tells whoever waits.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner());
        self.changed.send_replace(());
        changed
    }

    /// Waits until `done` has something, which is asked for again whenever anything changes.
    async fn until<T>(&self, mut done: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(result) = done(&mut self.inner()) {
                return result;
            }
            // The sender is in `self`, so that this cannot fail.
            let _ = changes.changed().await;
        }
    }

    fn is_passed(&self, stream: Stream) -> bool {
        self.passed[1 + index(stream)]
    }

    fn push(&self, inner: &mut Inner, stream: Stream, data: Vec<u8>) {
        if self.is_passed(stream) {
            inner.passed.push(stream, data);
        } else {
            inner.sink.push(stream, data);
        }
    }

    // What the runner says.

    /// Takes output. Says whether redaction may hold something back.
    pub(super) fn output(&self, stream: Stream, data: &[u8]) -> bool {
        let hold = self.change(|inner| {
            let mut out = Vec::with_capacity(data.len() + 64);
            inner.redact[index(stream)].push(data, &mut out);
            inner.partial = self.is_passed(stream) || matches!(inner.sink, Sink::Chunks(_));
            self.push(inner, stream, out);
            inner.must_hold()
        });
        if hold {
            self.orders.send(ToRunner::Hold { id: self.number, held: true });
        }
        self.inner().partial
    }

    /// Nothing came for a while: lets out what redaction holds back but need not.
    pub(super) fn idle(&self) {
        self.change(|inner| {
            inner.partial = false;
            for stream in [Stream::Stdout, Stream::Stderr] {
                let mut out = Vec::new();
                inner.redact[index(stream)].flush_partial(&mut out);
                self.push(inner, stream, out);
            }
        });
    }

    /// The command has taken standard input.
    pub(super) fn credit(&self, bytes: usize) {
        // A runner that credits more than it was sent gains nothing.
        self.change(|inner| inner.stdin_window = inner.stdin_window.saturating_add(bytes).min(STDIN_WINDOW));
    }

    /// The command has ended and all of its output has come, or it was lost with its runner.
    pub(super) fn end(&self, ended: Result<Ended, String>) {
        self.change(|inner| {
            if inner.ended.is_some() {
                return;
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                let redact = &mut inner.redact[index(stream)];
                let mut out = Vec::new();
                redact.finish(&mut out);
                inner.masked += redact.masked();
                self.push(inner, stream, out);
            }
            inner.partial = false;
            inner.ended = Some(ended);
        });
    }

    // What the pipeline does.

    /// Masks these secrets in what will be written; nothing has been yet.
    pub(super) fn redact_with(&self, redactor: &redact::Redactor) {
        self.inner().redact = [redactor.stream(), redactor.stream()];
    }

    /// Waits for the end; says how it came and how many places were masked.
    pub(super) async fn ended(&self) -> (Result<Ended, String>, u64) {
        self.until(|inner| inner.ended.clone().map(|ended| (ended, inner.masked))).await
    }

    /// Output that waits for a reader need not wait any more: what is left of it is what the pipes hold.
    pub(super) fn unhold_for_good(&self) {
        let held = {
            let mut inner = self.inner();
            inner.unheld_for_good = true;
            std::mem::take(&mut inner.held)
        };
        if held {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
    }

    pub(super) fn running(&self) {
        self.change(|inner| inner.state = State::Running);
    }

    /// It is over, or never was.
    pub(super) fn over(&self, report: rpc::Report, refused: Option<rpc::Error>) {
        self.change(|inner| {
            inner.state = State::Ended;
            inner.report = Some(Arc::new(report));
            inner.refused = refused;
            inner.closed = true;
        });
        self.kill.cancel();
    }

    // What its principal asks.

    pub(in crate::supervisor) fn state(&self) -> State {
        self.inner().state
    }

    /// The refusal that a repeated start gets, too.
    pub(super) fn refused(&self) -> Option<rpc::Error> {
        self.inner().refused.clone()
    }

    /// Lets go of its output.
    pub(super) fn forget(&self) {
        self.change(|inner| inner.passed.clear());
        self.change(|inner| match &mut inner.sink {
            Sink::Chunks(ring) => ring.clear(),
            sink @ Sink::Collect { .. } => {
                let captured = [(); 2].map(|()| Captured::bounded(0, 0));
                *sink = Sink::Collect { captured, share: Arc::clone(&self.share) };
            }
        });
    }

    /// Output after chunk `after`; waits where there is none yet and none has ended.
    ///
    /// # Errors
    /// When it is not kept, or not in chunks.
    pub(in crate::supervisor) async fn read(&self, after: u64, most: usize) -> Result<Output, rpc::Error> {
        if self.passed[1] && (self.passed[2] || self.terminal) {
            let why = "the output of this command goes to descriptors";
            return Err(rpc::Error::new(rpc::Code::NotReadable, why).hint("leave `fds` out to read it here"));
        }
        let (output, unhold) = self
            .until(|inner| {
                let Sink::Chunks(ring) = &mut inner.sink else {
                    let why = "the output of this command is collected for its result";
                    let hint = "start it with output {\"mode\":\"stream\"} or {\"mode\":\"poll\"} to read it";
                    return Some(Err(rpc::Error::new(rpc::Code::NotReadable, why).hint(hint)));
                };
                let chunks = match ring.read(after, most) {
                    Ok(chunks) => chunks,
                    Err(Gone { first }) => {
                        let why = format!("the output after {after} is not kept any more");
                        let hint = format!("what is kept begins with {first}: read after {}", first - 1);
                        return Some(Err(rpc::Error::new(rpc::Code::Gone, why).hint(hint)));
                    }
                };
                let last = chunks.last().map_or(after, |chunk| chunk.seq);
                let exited = inner.report.is_some();
                let closed = inner.closed && last >= ring.last();
                if chunks.is_empty() && !closed {
                    return None;
                }
                let unhold = inner.held && !ring.is_full(true) && !inner.passed.is_full(true);
                inner.held &= !unhold;
                let chunks = chunks
                    .into_iter()
                    .map(|chunk| Chunk {
                        seq: chunk.seq,
                        stream: if self.terminal { rpc::Stream::Pty } else { chunk.stream.into() },
                        data: data(chunk.data),
                    })
                    .collect();
                Some(Ok((Output { chunks, exited, closed }, unhold)))
            })
            .await?;
        if unhold {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
        Ok(output)
    }

    /// Passes standard input on. The receiver hears how much was taken.
    ///
    /// # Errors
    /// When there is none, or too much waits already.
    pub(in crate::supervisor) fn write(
        &self,
        data: Vec<u8>,
        end: bool,
    ) -> Result<oneshot::Receiver<u64>, rpc::Error> {
        if self.passed[0] {
            let why = "the command's standard input comes from a descriptor";
            return Err(rpc::Error::new(rpc::Code::StdinClosed, why));
        }
        self.feed(data, end)
    }

    /// The next output for a descriptor; `None` when there will be none.
    pub(super) async fn for_descriptors(&self) -> Option<super::ring::Chunk> {
        let (chunk, unhold) = self
            .until(|inner| match inner.passed.pop() {
                None if inner.ended.is_some() => Some((None, false)),
                None => None,
                chunk => {
                    let full = matches!(&inner.sink, Sink::Chunks(ring) if ring.is_full(true));
                    let unhold = inner.held && !full && !inner.passed.is_full(true);
                    inner.held &= !unhold;
                    Some((chunk, unhold))
                }
            })
            .await;
        if unhold {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
        chunk
    }

    /// Passes standard input on, whoever has it.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn feed(&self, data: Vec<u8>, end: bool) -> Result<oneshot::Receiver<u64>, rpc::Error> {
        let closed =
            || rpc::Error::new(rpc::Code::StdinClosed, "the command has no standard input from here");
        if self.stdin == rpc::Stdin::None {
            return Err(closed().hint("start it with \"stdin\":\"pipe\""));
        }
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

    /// Sends a signal to its process group.
    ///
    /// # Errors
    /// When it does not run.
    pub(in crate::supervisor) async fn signal(&self, signal: i32) -> Result<(), rpc::Error> {
        if self.state() != State::Running {
            return Err(rpc::Error::new(rpc::Code::NotRunning, "the command does not run"));
        }
        self.orders.send_in_turn(ToRunner::Signal { id: self.number, signal }).await;
        Ok(())
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    /// When it has none, or does not run.
    pub(in crate::supervisor) async fn resize(&self, size: rpc::Size) -> Result<(), rpc::Error> {
        if !self.terminal {
            return Err(rpc::Error::new(rpc::Code::NoTerminal, "the command has no terminal")
                .hint("start it with `pty`"));
        }
        if self.state() != State::Running {
            return Err(rpc::Error::new(rpc::Code::NotRunning, "the command does not run"));
        }
        let resize = ToRunner::Resize { id: self.number, window: size.window() };
        self.orders.send_in_turn(resize).await;
        Ok(())
    }

    /// Waits for the report.
    pub(in crate::supervisor) async fn report(&self) -> Arc<rpc::Report> {
        self.until(|inner| inner.report.clone()).await
    }

    /// How far it has come and what it left, for `exec/wait`.
    pub(in crate::supervisor) fn waited(&self) -> rpc::Waited {
        let inner = self.inner();
        let collected = |index: usize| match &inner.sink {
            Sink::Collect { captured, .. } if inner.report.is_some() && !self.passed[1 + index] => {
                Some(collected(captured[index].clone()))
            }
            _ => None,
        };
        rpc::Waited {
            id: self.id.clone(),
            state: inner.state,
            report: inner.report.as_deref().cloned(),
            stdout: collected(0),
            stderr: collected(1),
        }
    }

    pub(in crate::supervisor) fn listed(&self) -> rpc::Exec {
        let inner = self.inner();
        rpc::Exec {
            id: self.id.clone(),
            request_id: self.request_id.clone(),
            command: self.display.clone(),
            state: inner.state,
            background: self.background,
            started: self.started.to_string(),
            last_seq: match &inner.sink {
                Sink::Chunks(ring) => ring.last(),
                Sink::Collect { .. } => 0,
            },
        }
    }
}

impl Inner {
    /// Whether the runner must be told now to leave the output where it is.
    fn must_hold(&mut self) -> bool {
        let full = matches!(&self.sink, Sink::Chunks(ring) if ring.is_full(false));
        let hold = !self.held && !self.unheld_for_good && (full || self.passed.is_full(false));
        self.held |= hold;
        hold
    }
}

impl Sink {
    fn push(&mut self, stream: Stream, data: Vec<u8>) {
        match self {
            Self::Chunks(ring) => ring.push(stream, data),
            Self::Collect { captured, share } => {
                let captured = &mut captured[index(stream)];
                let scarce = share.is_used_up();
                share.refund(captured.held());
                if scarce {
                    captured.skip(data.len());
                } else {
                    captured.push(&data);
                }
                share.charge(captured.held());
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::Collect { captured, share } = self {
            share.refund(captured.iter().map(Captured::held).sum());
        }
    }
}

/// Passes standard input on in its order, no faster than the command takes it, until the command is over.
async fn feed(exec: Arc<Exec>, mut writes: mpsc::Receiver<Write>) {
    let done = exec.kill.clone();
    let feeding = async {
        // What comes before the command runs waits.
        exec.until(|inner| (inner.state != State::Waiting).then_some(())).await;
        let id = exec.number;
        if exec.stdin == rpc::Stdin::None {
            return;
        }
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

/// How long an end may take beyond what it should before the runner is given up.
pub(super) const LATE: Duration = Duration::from_secs(10);

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// Bytes for JSON, without a copy where they are text.
fn data(bytes: Vec<u8>) -> Data {
    match String::from_utf8(bytes) {
        Ok(text) => Data::Text(text),
        Err(error) => Data::of(error.as_bytes()),
    }
}

/// A cut through a character must not make text into bytes: the pieces of the character are left out, too.
fn collected(captured: Captured) -> Collected {
    let (mut head, mut left_out, mut tail) = captured.into_parts();
    if left_out == 0 {
        return Collected { data: data(head), left_out, tail: None };
    }
    let end = head.utf8_chunks().last().filter(|last| last.invalid().len() < 4);
    let cut = end.map_or(0, |last| last.invalid().len());
    let start = tail.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    head.truncate(head.len() - cut);
    tail.drain(..start);
    left_out += (cut + start) as u64;
    Collected { data: data(head), left_out, tail: Some(data(tail)) }
}
