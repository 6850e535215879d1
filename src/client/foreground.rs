//! One command in the foreground: its stdio are the caller's, signals and the window's size go on to it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::relay::Relay;
use super::{Client, ClientError, PATIENCE};
use crate::gate::Command;
use crate::sys;
use crate::wire::rpc::{
    Bounded, Code, Collected, Done, Event, ExecId, Fd, OfSession, OpenSession, Output, PathText, Report,
    ResizeExec, SessionId, SignalExec, Size, StartExec, Started, State, Stdin, VarName, VarValue, WaitExec,
    Waited,
};

/// A command to run in a session of its own.
#[derive(Debug, Clone)]
pub struct Foreground {
    /// The session.
    pub open: OpenSession,
    /// The command.
    pub command: Command,
    /// Where it starts.
    pub cwd: Option<PathText>,
    /// Variables to add.
    pub env: BTreeMap<VarName, VarValue>,
    /// Wall-clock limit in milliseconds.
    pub timeout_ms: Option<Bounded<1, { 7 * 24 * 3600 * 1000 }>>,
    /// Its stdio.
    pub stdio: Stdio,
}

/// Where a foreground command's stdio are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// The caller's, passed on by descriptor.
    Passed,
    /// The caller's terminal, by way of one of its own.
    Terminal,
    /// It reads nothing, and what it writes comes with the result.
    Collected,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How it came out.
    pub report: Report,
    /// What it wrote to stdout, where that was collected.
    pub stdout: Option<Collected>,
    /// What it wrote to stderr, where that was collected.
    pub stderr: Option<Collected>,
}

/// What a person may want to be told on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// An operator is being asked.
    Waiting,
}

impl Foreground {
    /// Runs it to its end, in a session that ends with it.
    ///
    /// # Errors
    /// When the daemon refuses it or goes away. A command whose daemon goes away may have run: this is not retried.
    pub fn run(&self, client: &mut Client, watch: &mut dyn FnMut(Watch)) -> Result<Ran, ClientError> {
        let signals = Signals::take()?;
        let session = client.call(&self.open)?.session;
        let raw = (self.stdio == Stdio::Terminal).then(RawTerminal::enter).transpose()?;
        let ran = self.run_in(client, &session, &signals, watch);
        drop(raw);
        // The session ends with the connection in any case; its end is not worth an error.
        let closed: Result<Done, _> = client.ask("session/close", &OfSession { session: Some(session) });
        drop(closed);
        ran
    }

    fn run_in(
        &self,
        client: &mut Client,
        session: &SessionId,
        signals: &Signals,
        watch: &mut dyn FnMut(Watch),
    ) -> Result<Ran, ClientError> {
        let id =
            ExecId::try_from("run".to_owned()).map_err(|error| ClientError::Strange(error.to_string()))?;
        let (started, relay) = self.start(client, session, &id)?;
        if started.state == State::Waiting {
            watch(Watch::Waiting);
        }
        let report = follow(client, session, &id, signals, relay)?;
        let (mut stdout, mut stderr) = (None, None);
        if self.stdio == Stdio::Collected {
            let wait = WaitExec { session: Some(session.clone()), id, wait_ms: Bounded::clamped(10_000) };
            let waited: Waited = client.call(&wait)?;
            (stdout, stderr) = (waited.stdout, waited.stderr);
        }
        Ok(Ran { report, stdout, stderr })
    }

    /// Starts it with the caller's descriptors; where the daemon takes none, its stdio go through the protocol.
    fn start(
        &self,
        client: &mut Client,
        session: &SessionId,
        id: &ExecId,
    ) -> Result<(Started, Option<Relay>), ClientError> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let (fds, names): (Vec<BorrowedFd<'_>>, Vec<Fd>) = match self.stdio {
            Stdio::Passed => {
                (vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], vec![Fd::Stdin, Fd::Stdout, Fd::Stderr])
            }
            Stdio::Terminal => (vec![stdin.as_fd(), stdout.as_fd()], vec![Fd::Stdin, Fd::Stdout]),
            Stdio::Collected => (Vec::new(), Vec::new()),
        };
        let mut start = StartExec {
            session: Some(session.clone()),
            id: id.clone(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            timeout_ms: self.timeout_ms,
            background: false,
            pty: (self.stdio == Stdio::Terminal).then(window).flatten(),
            stdin: Stdin::None,
            output: if self.stdio == Stdio::Collected { Output::default() } else { Output::Stream },
            fds: names,
        };
        let sent = client.submit("exec/start", &start, &fds)?;
        match client.reply(sent, Some(PATIENCE)) {
            Err(ClientError::Refused(error)) if error.code == Code::Descriptors && !fds.is_empty() => {
                (start.stdin, start.fds) = (Stdin::Pipe, Vec::new());
                Ok((client.call(&start)?, Some(Relay::new(session, id))))
            }
            reply => Ok((reply?, None)),
        }
    }
}

/// Passes signals on, and stdio where they go through the protocol, until the command has ended and its output has been
/// written.
fn follow(
    client: &mut Client,
    session: &SessionId,
    id: &ExecId,
    signals: &Signals,
    mut relay: Option<Relay>,
) -> Result<Report, ClientError> {
    let stdin = std::io::stdin();
    let mut report = None;
    let mut closed = false;
    loop {
        while let Some(event) = client.event(Some(Duration::ZERO))? {
            match (event, &mut relay) {
                (Event::Output(output), Some(relay)) if output.id == *id => {
                    relay.show(output.chunk, client)?;
                }
                (Event::Exited(exited), _) if exited.id == *id => report = Some(exited.report),
                (Event::Closed(end), _) if end.id == *id => closed = true,
                _ => {}
            }
        }
        if let Some(relay) = &mut relay {
            relay.settle(client)?;
        }
        match (closed, report.take()) {
            (true, Some(report)) => return Ok(report),
            (_, kept) => report = kept,
        }
        let mut fds = vec![
            PollFd::new(client.connection.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
        ];
        let wanted = relay.as_ref().and_then(|relay| relay.wants(&stdin));
        fds.extend(wanted.map(|stdin| PollFd::new(stdin, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(ClientError::Terminal { what: "cannot wait", errno }),
        }
        let readable = fds.get(2).is_some_and(|fd| fd.any().unwrap_or(true));
        drop(fds);
        if let (true, Some(relay)) = (readable, &mut relay) {
            relay.feed(client)?;
        }
        while let Some(signal) = signals.next()? {
            pass_on(client, session, id, signal)?;
        }
    }
}

/// Passes one signal on. That the command has ended meanwhile is no error.
fn pass_on(client: &mut Client, session: &SessionId, id: &ExecId, signal: Signal) -> Result<(), ClientError> {
    let send = |client: &mut Client, signal: crate::wire::rpc::Signal| {
        let params = SignalExec { session: Some(session.clone()), id: id.clone(), signal };
        tolerate(client.call(&params))
    };
    match signal {
        Signal::SIGWINCH => {
            let Some(Size { rows, cols }) = window() else { return Ok(()) };
            tolerate(client.call(&ResizeExec { session: Some(session.clone()), id: id.clone(), rows, cols }))
        }
        Signal::SIGTSTP => {
            // The command is in a session of its own, and would go on running behind a stopped client.
            send(client, crate::wire::rpc::Signal::Stop)?;
            raise(Signal::SIGSTOP).map_err(|errno| ClientError::Terminal { what: "cannot stop", errno })?;
            send(client, crate::wire::rpc::Signal::Cont)
        }
        other => crate::wire::rpc::Signal::of(other as i32).map_or(Ok(()), |signal| send(client, signal)),
    }
}

fn tolerate(result: Result<Done, ClientError>) -> Result<(), ClientError> {
    match result {
        Ok(Done {}) | Err(ClientError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The signals of a person or a script, as they come. They are blocked for as long as this lives.
#[derive(Debug)]
struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Those that were ignored when execward was started stay ignored: `nohup` and a shell's background jobs rely on it.
    fn take() -> Result<Self, ClientError> {
        let failed = |errno| ClientError::Terminal { what: "cannot take signals", errno };
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGTSTP,
            Signal::SIGWINCH,
        ] {
            if !sys::signals::is_ignored(signal).map_err(failed)? {
                set.add(signal);
            }
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).map_err(failed)?;
        let fd =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { fd, before })
    }

    fn next(&self) -> Result<Option<Signal>, ClientError> {
        match self.fd.read_signal() {
            Ok(info) => Ok(info.and_then(|info| {
                i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
            })),
            Err(errno) => Err(ClientError::Terminal { what: "cannot read signals", errno }),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // There is nobody to tell, and what was blocked for a while was blocked only for this thread.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// The caller's terminal without its own ideas of lines and keys, until this is dropped.
#[derive(Debug)]
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self, ClientError> {
        let failed =
            |errno| ClientError::Terminal { what: "standard input is no terminal that can be used", errno };
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &raw).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// The size of the caller's terminal.
fn window() -> Option<Size> {
    let (rows, cols) = sys::signals::window(std::io::stdout().as_fd()).ok()?;
    Some(Size { rows: Bounded::clamped(rows.into()), cols: Bounded::clamped(cols.into()) })
}
