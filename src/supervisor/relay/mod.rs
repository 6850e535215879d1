//! Everything that goes to and fro while a command runs: its stdio, the signals meant for it, and its end.
//!
//! Two loops run side by side in one task. One receives from the runner and writes; when a reader stops, it waits, and
//! the command with it. The other sends standard input and signals, and never waits for a reader, so that Ctrl-C
//! arrives whatever is stuck. A command whose output nobody reads any more is ended, as a pipe would end it.

mod input;
mod output;
mod signals;

pub(super) use input::Input;
pub use output::Captured;
pub(super) use output::{Broken, Writer};
pub(super) use signals::Signals;

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use self::output::{Output, Redact};
use crate::redact::{Messages, Redactor};
use crate::sandbox::{Receiver, Sender};
use crate::stage::{Go, Outcome};
use crate::sys::terminal::{self, Raw};
use crate::wire::runner::{Cause, Ended, Failure, FromRunner, Stream, ToRunner, Window};

/// An output that is silent for this long lets out what redaction holds back but need not: a prompt has no newline.
const IDLE: Duration = Duration::from_millis(10);

/// How much later than it should a runner may report an end before it is given up. It then loses its supervisor, and
/// ends everything.
const LATE: Duration = Duration::from_secs(10);

/// The two outputs and the input of a command.
#[derive(Debug)]
pub(super) struct Stdio {
    input: Option<Input>,
    stdout: Output,
    stderr: Output,
    broken: mpsc::UnboundedReceiver<Broken>,
    /// The caller's terminal, where the command has one behind it.
    terminal: Option<Raw<std::io::Stdin>>,
}

impl Stdio {
    /// execward's own stdin, stdout and stderr. Nothing is read from stdin before this.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn pass(redactor: &Redactor) -> std::io::Result<Self> {
        let stdout = Redact::Text(redactor.stream());
        Self::over(redactor, stdout, std::io::stdin(), std::io::stdout(), std::io::stderr())
    }

    /// The same for a server, whose standard output is messages.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn messages(redactor: &Redactor) -> std::io::Result<Self> {
        let stdout = Redact::Messages(Messages::new(redactor));
        Self::over(redactor, stdout, std::io::stdin(), std::io::stdout(), std::io::stderr())
    }

    /// The terminal that execward's own stdin is, given up to one of the command's until this is dropped.
    ///
    /// # Errors
    /// When it is no terminal, or a thread cannot be started.
    pub(super) fn terminal(redactor: &Redactor) -> std::io::Result<Self> {
        let terminal = Some(Raw::enter(std::io::stdin())?);
        Ok(Self { terminal, ..Self::pass(redactor)? })
    }

    /// execward's own stdin; what the command writes is kept for the result.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn keep(redactor: &Redactor) -> std::io::Result<Self> {
        let (_, broken) = mpsc::unbounded_channel();
        Ok(Self {
            input: Some(Input::read(std::io::stdin())?),
            stdout: Output::keep(redactor.stream()),
            stderr: Output::keep(redactor.stream()),
            broken,
            terminal: None,
        })
    }

    fn over(
        redactor: &Redactor,
        redact: Redact,
        stdin: impl AsFd + Send + 'static,
        stdout: impl AsFd + Send + 'static,
        stderr: impl AsFd + Send + 'static,
    ) -> std::io::Result<Self> {
        let (tell, broken) = mpsc::unbounded_channel();
        Ok(Self {
            input: Some(Input::read(stdin)?),
            stdout: Output::write(redact, stdout, Stream::Stdout, tell.clone())?,
            stderr: Output::write(Redact::Text(redactor.stream()), stderr, Stream::Stderr, tell)?,
            broken,
            terminal: None,
        })
    }
}

/// How a command's time under relay came out.
#[derive(Debug)]
pub(super) struct Relayed {
    /// The end that the runner reported, or how it failed to.
    pub(super) ended: Result<Ended, Lost>,
    /// What stopped the command from outside, if anything did.
    pub(super) stopped: Option<Stopped>,
    /// Places masked in both outputs together.
    pub(super) masked: u64,
    /// What was kept of stdout, where it was.
    pub(super) stdout: Option<Captured>,
    /// What was kept of stderr, where it was.
    pub(super) stderr: Option<Captured>,
}

/// Why there is no end to report.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The runner said that it could not start the command.
    #[error(transparent)]
    Failed(Failure),
    /// The connection broke.
    #[error("the connection to the runner broke: {0}")]
    Broke(std::io::Error),
    /// The runner closed the connection without a word.
    #[error("the runner went away while the command ran")]
    Gone,
    /// The runner did not report an end that was due.
    #[error("the runner did not end the command in time")]
    Late,
}

/// What stopped a command from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// execward was given this signal twice.
    Signal(Signal),
    /// Its output could not be written.
    Output(Stream, Errno),
}

/// What was stopped from outside came out as that, unless it had an answer of its own.
pub(super) fn stopped_outcome(outcome: Outcome, stopped: Option<Stopped>) -> Outcome {
    match (stopped, outcome) {
        // Output that is lost, and nobody's to lose: a disk is full, a terminal went away.
        (Some(Stopped::Output(stream, errno)), _) if errno != Errno::EPIPE => Outcome::Failed {
            error: format!("cannot write the command's {}: {}", stream_name(stream), errno.desc()),
            hint: String::new(),
        },
        // Whoever read it has gone. As in a shell, that is a SIGPIPE; an answer other than success stands.
        (Some(Stopped::Output(..)), Outcome::Exited { code: 0 } | Outcome::Cancelled { .. }) => {
            Outcome::Cancelled { signal: Signal::SIGPIPE as i32 }
        }
        (Some(Stopped::Signal(signal)), Outcome::Cancelled { .. }) => {
            Outcome::Cancelled { signal: signal as i32 }
        }
        (_, outcome) => outcome,
    }
}

fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Lets a command go that was made ready, and stays with it until it has ended and all of its output has been written.
pub(super) async fn relay(
    going: Going,
    sender: Sender,
    receiver: &mut Receiver,
    stdio: Stdio,
    signals: &mut Signals,
) -> Relayed {
    let Stdio { input, stdout, stderr, mut broken, terminal } = stdio;
    let watch = Watch {
        id: going.id,
        grace: going.grace,
        limit: going.limit,
        ends_with_input: going.ends_with_input,
        ended: RefCell::default(),
        stopped: Cell::default(),
        terminal,
    };
    let credit = input.as_ref().map(Input::credit);
    let credit = move |bytes| {
        // The reading thread has gone when standard input has ended: nobody needs the credit.
        let _ = credit.as_ref().map(|credit| credit.send(bytes));
    };
    let received = tokio::select! {
        received = watch.receive(receiver, credit, stdout, stderr) => received,
        lost = watch.control(going.go, sender, input, signals, &mut broken) => Received { lost, ..Received::default() },
    };
    // The last of the output may have failed after the command had ended.
    if let (None, Ok(Broken { stream, errno })) = (watch.stopped.get(), broken.try_recv()) {
        watch.stopped.set(Some(Stopped::Output(stream, errno)));
    }
    let ended = match (watch.ended.into_inner(), received.lost) {
        (Some(ended), _) => Ok(ended),
        (None, lost) => Err(lost.unwrap_or(Lost::Gone)),
    };
    Relayed {
        ended,
        stopped: watch.stopped.get(),
        masked: received.masked,
        stdout: received.stdout,
        stderr: received.stderr,
    }
}

/// A command that waits at its gate.
#[derive(Debug)]
pub(super) struct Going {
    /// Its number on the link.
    pub(super) id: u64,
    /// Opens the gate.
    pub(super) go: Go,
    /// Its limit, and what it gets beyond it, as the runner knows them.
    pub(super) limit: Option<Duration>,
    pub(super) grace: Duration,
    /// It serves whoever writes to it: when that has gone, it has a grace to end by itself, and is then ended.
    pub(super) ends_with_input: bool,
}

/// What both loops know of the command.
#[derive(Debug)]
struct Watch {
    id: u64,
    grace: Duration,
    limit: Option<Duration>,
    ends_with_input: bool,
    ended: RefCell<Option<Ended>>,
    stopped: Cell<Option<Stopped>>,
    terminal: Option<Raw<std::io::Stdin>>,
}

/// What came from the runner.
#[derive(Debug, Default)]
struct Received {
    lost: Option<Lost>,
    masked: u64,
    stdout: Option<Captured>,
    stderr: Option<Captured>,
}

impl Watch {
    /// Receives until the command has ended, then until everything is written.
    async fn receive(
        &self,
        receiver: &mut Receiver,
        credit: impl Fn(usize),
        mut stdout: Output,
        mut stderr: Output,
    ) -> Received {
        let lost = loop {
            // Waiting for a frame is never given up half-way: a part of it may have been read.
            let mut next = pin!(receiver.recv());
            let frame = loop {
                tokio::select! {
                    frame = &mut next => break frame,
                    () = sleep(IDLE), if stdout.held || stderr.held => {
                        stdout.idle().await;
                        stderr.idle().await;
                    }
                }
            };
            match frame {
                Ok(Some(FromRunner::Output { id, stream, data })) if id == self.id => match stream {
                    Stream::Stdout => stdout.push(&data).await,
                    Stream::Stderr => stderr.push(&data).await,
                },
                Ok(Some(FromRunner::Credit { id, bytes })) if id == self.id => credit(bytes),
                Ok(Some(FromRunner::Exited(ended))) if ended.id == self.id => {
                    *self.ended.borrow_mut() = Some(ended);
                    break None;
                }
                Ok(Some(FromRunner::Failed(failure))) => break Some(Lost::Failed(failure)),
                // Of no command of ours, or nothing new: the runner is not trusted to make sense.
                Ok(Some(_)) => {}
                Ok(None) => break Some(Lost::Gone),
                Err(error) => break Some(Lost::Broke(error)),
            }
        };
        let (masked_out, stdout) = stdout.finish().await;
        let (masked_err, stderr) = stderr.finish().await;
        Received { lost, masked: masked_out.saturating_add(masked_err), stdout, stderr }
    }

    /// Sends what the command is to have. Returns only when there is no use in waiting for the other loop.
    async fn control(
        &self,
        go: Go,
        mut sender: Sender,
        mut input: Option<Input>,
        signals: &mut Signals,
        broken: &mut mpsc::UnboundedReceiver<Broken>,
    ) -> Option<Lost> {
        let id = self.id;
        if let Err(error) = sender.send(go.into()).await {
            return Some(Lost::Broke(error));
        }
        // The runner keeps the time limit; this is for one that does not.
        let mut late = self.limit.map(|limit| Instant::now() + limit + self.grace + LATE);
        let mut kill: Option<Instant> = None;
        // When a server whose client has gone is told to end.
        let mut unwanted: Option<Instant> = None;
        let mut writer = input.as_mut().filter(|_| self.ends_with_input).and_then(Input::left);
        let mut asked_to_end = false;
        loop {
            let sent = tokio::select! {
                chunk = next_chunk(&mut input), if input.is_some() => match chunk {
                    Some(data) => sender.send(ToRunner::Stdin { id, data }).await,
                    None => {
                        input = None;
                        if self.ends_with_input {
                            unwanted.get_or_insert(Instant::now() + self.grace);
                        }
                        sender.send(ToRunner::StdinEnd { id }).await
                    }
                },
                // It does not read what its client has left behind.
                has_left = left(&mut writer), if writer.is_some() => {
                    writer = None;
                    if has_left {
                        unwanted.get_or_insert(Instant::now() + self.grace);
                    }
                    Ok(())
                }
                () = sleep_until(unwanted.unwrap_or_else(Instant::now)), if unwanted.is_some() => {
                    unwanted = None;
                    kill.get_or_insert(Instant::now() + self.grace);
                    sender.send(ToRunner::Signal { id, signal: Signal::SIGTERM as i32 }).await
                }
                signal = signals.next() => {
                    let ends = matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM);
                    if ends && self.ended.borrow().is_some() {
                        // Nothing is left but output that nobody takes.
                        self.stopped.set(Some(Stopped::Signal(signal)));
                        return None;
                    }
                    if ends && asked_to_end {
                        self.stopped.set(Some(Stopped::Signal(signal)));
                        kill = Some(Instant::now());
                        Ok(())
                    } else {
                        asked_to_end |= ends;
                        self.forward(&mut sender, signal).await
                    }
                }
                Some(Broken { stream, errno }) = broken.recv() => {
                    self.stopped.set(Some(Stopped::Output(stream, errno)));
                    kill.get_or_insert(Instant::now() + self.grace);
                    let signal = if errno == Errno::EPIPE { Signal::SIGPIPE } else { Signal::SIGTERM };
                    sender.send(ToRunner::Signal { id, signal: signal as i32 }).await
                }
                () = sleep_until(kill.unwrap_or_else(Instant::now)), if kill.is_some() => {
                    kill = None;
                    late = Some(Instant::now() + LATE);
                    sender.send(ToRunner::Kill { id, cause: Cause::Cancelled }).await
                }
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    late = None;
                    if self.ended.borrow().is_none() {
                        return Some(Lost::Late);
                    }
                    Ok(())
                }
            };
            if sent.is_err() {
                // The other loop sees the end of the connection too, after everything that came before it.
                input = None;
            }
        }
    }

    /// Hands a signal on. Ctrl-Z stops both, and what wakes execward wakes the command; in a terminal of the command's
    /// own Ctrl-Z is the command's, and a stop from elsewhere gives the caller's terminal back for as long.
    async fn forward(&self, sender: &mut Sender, signal: Signal) -> std::io::Result<()> {
        let id = self.id;
        match signal {
            Signal::SIGWINCH if self.terminal.is_none() => Ok(()),
            Signal::SIGWINCH => sender.send(ToRunner::Resize { id, window: window() }).await,
            Signal::SIGTSTP => {
                sender.send(ToRunner::Signal { id, signal: Signal::SIGSTOP as i32 }).await?;
                self.terminal.iter().for_each(Raw::leave);
                raise(Signal::SIGSTOP)?;
                if let Some(terminal) = &self.terminal {
                    terminal.again()?;
                    sender.send(ToRunner::Resize { id, window: window() }).await?;
                }
                sender.send(ToRunner::Signal { id, signal: Signal::SIGCONT as i32 }).await
            }
            signal => sender.send(ToRunner::Signal { id, signal: signal as i32 }).await,
        }
    }
}

async fn next_chunk(input: &mut Option<Input>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.next().await,
        None => None,
    }
}

async fn left(writer: &mut Option<oneshot::Receiver<()>>) -> bool {
    match writer {
        Some(writer) => writer.await.is_ok(),
        None => std::future::pending().await,
    }
}

/// The size of a terminal, as far as it has one.
pub(super) fn window() -> Window {
    let (rows, cols) = terminal::window(std::io::stdin().as_fd()).unwrap_or((24, 80));
    Window::clamped(rows, cols)
}

#[cfg(test)]
mod tests;
