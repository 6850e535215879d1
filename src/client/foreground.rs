//! One command in the foreground: its stdio are the caller's, signals and the window's size go on to it.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::again::{again, come_back};
use super::relay::Relay;
use super::{Client, ClientError, PATIENCE, Sent};
use crate::gate::Command;
use crate::sys;
use crate::sys::terminal::{self, Raw};
use crate::wire::rpc::{
    Bounded, Chunk, Code, Collected, Done, Event, ExecId, Execs, Fd, OfExec, OfSession, OpenSession, Output,
    PathText, Read, ReadExec, Report, RequestId, ResizeExec, SessionId, SignalExec, Size, StartExec, Started,
    State, Stdin, VarName, VarValue, WaitExec, Waited,
};

/// A command to run while the caller waits.
#[derive(Debug, Clone)]
pub struct Foreground {
    /// Where.
    pub place: Where,
    /// What it is called, where that is said.
    pub id: Option<ExecId>,
    /// The command.
    pub command: Command,
    /// Where it starts.
    pub cwd: Option<PathText>,
    /// Variables to add.
    pub env: BTreeMap<VarName, VarValue>,
    /// Wall-clock limit in milliseconds.
    pub timeout_ms: Option<Bounded<1, { 7 * 24 * 3600 * 1000 }>>,
    /// Whether it goes on from the directory and the variables that the last such command left, and leaves its own.
    pub persist: bool,
    /// Its stdio.
    pub stdio: Stdio,
}

/// The session of a foreground command.
#[derive(Debug, Clone)]
pub enum Where {
    /// One of its own, which ends with it.
    New(OpenSession),
    /// One that is there.
    In(SessionId),
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
    /// The daemon has gone, and the next one is looked for.
    Gone,
    /// There is another daemon, which goes on with what runs.
    Back,
}

impl Foreground {
    /// Runs it to its end, in a session that ends with it. Where the daemon is restarted meanwhile, the next one goes on.
    ///
    /// # Errors
    /// When the daemon refuses it, or goes away and none comes after it. A command whose daemon goes away may have run: nothing is
    /// started twice.
    pub fn run(&self, client: &mut Client, watch: &mut dyn FnMut(Watch)) -> Result<Ran, ClientError> {
        let signals = Signals::take()?;
        match &self.place {
            Where::New(open) => {
                let session = again(client, &signals, watch, |client| client.call(open))?.session;
                let ran = self.run_in(client, &session, &signals, watch);
                // The session ends with the connection in any case: neither an error of its end nor the time that it takes to
                // be taken down, of which nothing of the command is left, is for whoever waits for the command.
                let _ = client.submit("session/close", &OfSession { session: Some(session) }, &[]);
                ran
            }
            Where::In(session) => self.run_in(client, session, &signals, watch),
        }
    }

    fn run_in(
        &self,
        client: &mut Client,
        session: &SessionId,
        signals: &Signals,
        watch: &mut dyn FnMut(Watch),
    ) -> Result<Ran, ClientError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                ExecId::try_from("run".to_owned()).map_err(|error| ClientError::Strange(error.to_string()))?
            }
        };
        let (started, relay) = self.start(client, session, &id, signals, watch)?;
        if started.state == State::Waiting {
            watch(Watch::Waiting);
        }
        let mut follow = Follow {
            client,
            session,
            id: &id,
            request: &started.request_id,
            signals,
            watch,
            passed_on: VecDeque::new(),
            relay,
            raw: None,
            wants_raw: self.stdio == Stdio::Terminal,
            report: None,
            closed: false,
            // A daemon tells of a command whoever started it, and this was another's: one that went before its reply came,
            // or that of whoever had named it before.
            asks: started.again.then_some(Asks::Nothing),
        };
        if started.state != State::Waiting {
            follow.enter()?;
        }
        let report = follow.finish()?;
        drop(follow);
        let (mut stdout, mut stderr) = (None, None);
        if self.stdio == Stdio::Collected {
            let wait = WaitExec { session: Some(session.clone()), id, wait_ms: Bounded::clamped(10_000) };
            let waited: Waited = again(client, signals, watch, |client| client.call(&wait))?;
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
        signals: &Signals,
        watch: &mut dyn FnMut(Watch),
    ) -> Result<(Started, Option<Relay>), ClientError> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        // A terminal is read and written by whoever sits at it: a daemon that waited for a key would take the next one
        // from the shell, and knows nothing of what is in the background.
        let (fds, names): (Vec<BorrowedFd<'_>>, Vec<Fd>) = match self.stdio {
            Stdio::Passed => {
                [(stdin.as_fd(), Fd::Stdin), (stdout.as_fd(), Fd::Stdout), (stderr.as_fd(), Fd::Stderr)]
                    .into_iter()
                    .filter(|(fd, _)| !nix::unistd::isatty(fd).unwrap_or(true))
                    .unzip()
            }
            Stdio::Terminal | Stdio::Collected => (Vec::new(), Vec::new()),
        };
        let mut start = StartExec {
            session: Some(session.clone()),
            id: id.clone(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            timeout_ms: self.timeout_ms,
            background: false,
            persist: self.persist,
            pty: (self.stdio == Stdio::Terminal).then(window),
            stdin: match self.stdio {
                Stdio::Terminal => Stdin::Pipe,
                Stdio::Passed if !names.contains(&Fd::Stdin) => Stdin::Pipe,
                Stdio::Passed | Stdio::Collected => Stdin::None,
            },
            output: if self.stdio == Stdio::Collected { Output::default() } else { Output::Stream },
            fds: names.clone(),
        };
        // Of the same name it is started once, whoever is asked how often. Descriptors end with the daemon that has them.
        if fds.is_empty() {
            let started = again(client, signals, watch, |client| client.call(&start))?;
            let relay = (self.stdio != Stdio::Collected).then(|| Relay::new(session, id, true));
            return Ok((started, relay));
        }
        let sent = client.submit("exec/start", &start, &fds)?;
        match client.reply(sent, Some(PATIENCE)) {
            Err(ClientError::Refused(error)) if error.code == Code::Descriptors => {
                (start.stdin, start.fds) = (Stdin::Pipe, Vec::new());
                let started = again(client, signals, watch, |client| client.call(&start))?;
                Ok((started, Some(Relay::new(session, id, true))))
            }
            reply => {
                let relayed = self.stdio != Stdio::Collected && names.len() < 3;
                let relay = relayed.then(|| Relay::new(session, id, !names.contains(&Fd::Stdin)));
                Ok((reply?, relay))
            }
        }
    }
}

/// A command that runs while the caller waits: signals go on to it, and stdio where they go through the protocol.
struct Follow<'a> {
    client: &'a mut Client,
    session: &'a SessionId,
    id: &'a ExecId,
    /// What the audit log calls it: by that it is known again.
    request: &'a RequestId,
    signals: &'a Signals,
    watch: &'a mut dyn FnMut(Watch),
    /// Signals that came and are to be passed on.
    passed_on: VecDeque<Signal>,
    relay: Option<Relay>,
    /// The caller's terminal, once the command has one behind it. Until then Ctrl-C is the caller's own.
    raw: Option<Raw<std::io::Stdin>>,
    wants_raw: bool,
    report: Option<Report>,
    /// Whether its output has ended.
    closed: bool,
    /// Whether it is asked how the command goes on, and the request that is awaited: another daemon tells only whoever asks.
    asks: Option<Asks>,
}

/// What a daemon is asked that did not start the command.
enum Asks {
    Nothing,
    Output(Sent),
    End(Sent),
}

impl Follow<'_> {
    /// Gives the caller's terminal up to the command's, where that has one.
    fn enter(&mut self) -> Result<(), ClientError> {
        if self.wants_raw && self.raw.is_none() {
            let what = "standard input is no terminal that can be used";
            self.raw =
                Some(Raw::enter(std::io::stdin()).map_err(|errno| ClientError::Terminal { what, errno })?);
        }
        Ok(())
    }

    /// Until the command has ended and its output has been written.
    fn finish(&mut self) -> Result<Report, ClientError> {
        loop {
            match self.follow() {
                Err(gone) if gone.is_gone() => self.come_back(gone)?,
                other => return other,
            }
        }
    }

    /// The same, by one connection.
    fn follow(&mut self) -> Result<Report, ClientError> {
        let stdin = std::io::stdin();
        loop {
            while let Some(event) = self.client.event(Some(Duration::ZERO))? {
                match event {
                    Event::Output(output) if output.id == *self.id => self.show(output.chunk)?,
                    Event::Exited(exited) if exited.id == *self.id => self.report = Some(exited.report),
                    Event::Closed(end) if end.id == *self.id => self.closed = true,
                    _ => {}
                }
            }
            self.pass_all_on()?;
            self.ask()?;
            if let Some(relay) = &mut self.relay {
                relay.settle(self.client)?;
            }
            if self.closed
                && let Some(report) = self.report.take()
            {
                return Ok(report);
            }
            if self.client.has_more() {
                // It came while a reply was waited for, and nothing may come after it.
                continue;
            }
            let mut fds = vec![
                PollFd::new(self.client.connection.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.fd.as_fd(), PollFlags::POLLIN),
            ];
            let wanted = self.relay.as_ref().and_then(|relay| relay.wants(&stdin));
            fds.extend(wanted.map(|stdin| PollFd::new(stdin, PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(ClientError::Terminal { what: "cannot wait", errno }),
            }
            let readable = fds.get(2).is_some_and(|fd| fd.any().unwrap_or(true));
            drop(fds);
            if let (true, Some(relay)) = (readable, &mut self.relay) {
                relay.feed(self.client)?;
            }
            while let Some(signal) = self.signals.next()? {
                self.passed_on.push_back(signal);
            }
        }
    }

    /// Passes on the signals that have come.
    fn pass_all_on(&mut self) -> Result<(), ClientError> {
        while let Some(signal) = self.passed_on.pop_front() {
            let passed = self.pass_on(signal);
            // What ends it may come twice; nothing else may.
            if passed.as_ref().is_err_and(ClientError::is_gone) && ends(signal) {
                self.passed_on.push_front(signal);
            }
            passed?;
        }
        Ok(())
    }

    fn show(&mut self, chunk: Chunk) -> Result<(), ClientError> {
        self.enter()?;
        match &mut self.relay {
            Some(relay) => relay.show(chunk, self.client),
            None => Ok(()),
        }
    }

    /// Asks a daemon that did not start the command how it goes on: its output first, from the first byte that was not shown,
    /// and then its end.
    fn ask(&mut self) -> Result<(), ClientError> {
        let came = match self.asks {
            None => return Ok(()),
            Some(Asks::Nothing) => true,
            Some(Asks::Output(sent)) => match self.client.try_reply::<Read>(sent) {
                None => false,
                Some(read) => {
                    let read = read?;
                    for chunk in read.chunks {
                        self.show(chunk)?;
                    }
                    self.closed = read.closed;
                    true
                }
            },
            Some(Asks::End(sent)) => match self.client.try_reply::<Waited>(sent) {
                None => false,
                Some(waited) => {
                    self.report = waited?.report;
                    true
                }
            },
        };
        if !came || (self.closed && self.report.is_some()) {
            return Ok(());
        }
        let (session, id) = (Some(self.session.clone()), self.id.clone());
        self.asks = Some(match &self.relay {
            Some(relay) if !self.closed => {
                let (after_seq, max_bytes) = (relay.last(), Bounded::MAX);
                let read = ReadExec { session, id, after_seq, max_bytes, wait_ms: Bounded::MAX };
                Asks::Output(self.client.submit("exec/read", &read, &[])?)
            }
            _ => {
                // Where its output is collected, or goes to descriptors, there is none to read.
                self.closed = true;
                let wait = WaitExec { session, id, wait_ms: Bounded::MAX };
                Asks::End(self.client.submit("exec/wait", &wait, &[])?)
            }
        });
        Ok(())
    }

    /// Goes on by another daemon.
    fn come_back(&mut self, gone: ClientError) -> Result<(), ClientError> {
        // Ctrl-C is the caller's own for as long as there is nobody to pass it on to.
        self.raw.iter().for_each(Raw::leave);
        come_back(self.client, self.signals, self.watch, gone)?;
        let all = OfSession { session: Some(self.session.clone()) };
        let listed = again(self.client, self.signals, self.watch, |client| client.ask("exec/list", &all));
        let listed: Execs = listed.map_err(|error| match error {
            ClientError::Refused(error) if error.code == Code::UnknownSession => {
                ClientError::Lost("the session of the command is over".to_owned())
            }
            other => other,
        })?;
        let known = listed.execs.iter().any(|it| it.id == *self.id && it.request_id == *self.request);
        if !known {
            return Err(ClientError::Lost("the next one does not know the command".to_owned()));
        }
        self.asks = Some(Asks::Nothing);
        let unsure = self.relay.as_mut().is_some_and(Relay::give_up);
        if unsure && !self.wants_raw {
            // Once more, or not at all: either could be wrong, and nobody would see it.
            let of = OfExec { session: Some(self.session.clone()), id: self.id.clone() };
            tolerate(again(self.client, self.signals, self.watch, |client| client.ask("exec/kill", &of)))?;
            let why = "a part of standard input was on its way, and whether it came is not known: the command was ended";
            return Err(ClientError::Lost(why.to_owned()));
        }
        if let Some(raw) = &self.raw {
            let failed = |errno| ClientError::Terminal { what: "cannot use the terminal again", errno };
            raw.again().map_err(failed)?;
            self.passed_on.push_back(Signal::SIGWINCH);
        }
        Ok(())
    }

    /// Passes one signal on. That the command has ended meanwhile is no error.
    fn pass_on(&mut self, signal: Signal) -> Result<(), ClientError> {
        match signal {
            Signal::SIGWINCH if !self.wants_raw => Ok(()),
            Signal::SIGWINCH => self.resize(),
            Signal::SIGTSTP => {
                // The command is in a session of its own, and would go on running behind a stopped client.
                self.send(crate::wire::rpc::Signal::Stop)?;
                self.raw.iter().for_each(Raw::leave);
                let failed = |errno| ClientError::Terminal { what: "cannot stop", errno };
                raise(Signal::SIGSTOP).map_err(failed)?;
                if let Some(raw) = &self.raw {
                    raw.again().map_err(failed)?;
                    self.resize()?;
                }
                self.send(crate::wire::rpc::Signal::Cont)
            }
            other => crate::wire::rpc::Signal::of(other as i32).map_or(Ok(()), |signal| self.send(signal)),
        }
    }

    fn resize(&mut self) -> Result<(), ClientError> {
        let Size { rows, cols } = window();
        let (session, id) = (Some(self.session.clone()), self.id.clone());
        tolerate(self.client.call(&ResizeExec { session, id, rows, cols }))
    }

    /// What would end a command that runs takes back one that waits for a person.
    fn send(&mut self, signal: crate::wire::rpc::Signal) -> Result<(), ClientError> {
        use crate::wire::rpc::Signal as S;
        let (session, id) = (Some(self.session.clone()), self.id.clone());
        match self.client.call(&SignalExec { session: session.clone(), id: id.clone(), signal }) {
            Err(ClientError::Refused(error))
                if error.code == Code::NotRunning
                    && matches!(signal, S::Hup | S::Int | S::Quit | S::Term) =>
            {
                tolerate(self.client.call(&OfExec { session, id }))
            }
            sent => tolerate(sent),
        }
    }
}

/// Whether a signal is there to end something.
pub(super) fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)
}

fn tolerate(result: Result<Done, ClientError>) -> Result<(), ClientError> {
    match result {
        Ok(Done {}) | Err(ClientError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The signals of a person or a script, as they come. They are blocked for as long as this lives.
#[derive(Debug)]
pub(super) struct Signals {
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

    pub(super) fn next(&self) -> Result<Option<Signal>, ClientError> {
        match self.fd.read_signal() {
            Ok(info) => Ok(info.and_then(|info| {
                i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
            })),
            Err(errno) => Err(ClientError::Terminal { what: "cannot read signals", errno }),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // There is nobody to tell, and what was blocked for a while was blocked only for this thread.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// The size of the caller's terminal.
fn window() -> Size {
    let (rows, cols) = terminal::window(std::io::stdin().as_fd()).unwrap_or((24, 80));
    Size { rows: Bounded::clamped(rows.into()), cols: Bounded::clamped(cols.into()) }
}
