//! The inner runner: builds the session's root, then serves the protocol in one loop around poll(2).

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::cgroup::Joins;
use super::command::Command;
use super::evidence::{self, Counters};
use super::failure::{Doing, Hint, Result};
use super::init::{Hold, Init};
use super::later::Watch;
use super::outer::{Inside, Stream, refuse};
use super::outlive::{Kept, Rendezvous, Reported};
use super::standing::{Standing, set_up};
use super::{bare, container, far, namespaces, tree};
use crate::sys::spawn::Confinement;
use crate::sys::{passing, process, socket};
use crate::wire::frame::{Decoder, Frame};
use crate::wire::runner::{
    Apart, Cause, End, Failure, FromRunner, Ground, Present, Ready, SandboxSpec, Spawn, Stream as Output,
    ToRunner,
};

/// Output that may wait for the supervisor before the commands' pipes are left alone: back-pressure, not memory.
const BACKLOG: usize = 1 << 20;

/// Inits that wait for a command, at most. A session that runs more at once makes more, and ends them afterwards.
const SPARES: usize = 2;
/// How long the commands of a session that ends may take to end: they have only to die.
const FAREWELL: Duration = Duration::from_secs(2);

/// How much is read from the supervisor at a time.
const READ: usize = 64 << 10;

/// Runs the role; the result is the exit code of the process.
pub(super) fn main(stream: Stream, decoder: Decoder, mut inside: Inside<'_>) -> i32 {
    // On a host the outer runner is the parent. Elsewhere this is the process that was launched, and may have to outlive that.
    if inside.rendezvous.is_none() || inside.spec.ground == Ground::Host {
        let _ = process::die_with_parent();
    }
    let _ = nix::sys::prctl::set_dumpable(false);
    let Standing { confinement, watch, ready, listener, hold } = match set_up(&mut inside) {
        Ok(standing) => standing,
        Err(failure) => {
            refuse(stream, failure);
            return 1;
        }
    };
    let joins = inside.cgroup.take_joins();
    let mut server = Server {
        spec: inside.spec.clone(),
        far: inside.far.map(|every| Distant { every, said: Instant::now() }),
        stream,
        decoder,
        hold,
        out: Vec::new(),
        sent: 0,
        passed: VecDeque::new(),
        commands: BTreeMap::new(),
        spares: Vec::new(),
        ending: Vec::new(),
        confinement,
        joins,
        watch,
        counters: match hold {
            Hold::Namespace => inside.cgroup.take_counters(),
            Hold::Descent => container::counters(),
        },
        private: vec!["/tmp".into(), "/dev/shm".into(), inside.spec.identity.home.clone()],
        ready,
        listener,
        rendezvous: inside.rendezvous.take(),
        alone_until: None,
        reported: BTreeMap::new(),
    };
    if server.say_ready().is_err() {
        return 1;
    }
    let code = i32::from(server.run().is_err());
    server.end();
    code
}

struct Server {
    /// The supervisor is elsewhere: it cannot look at directories here, nor see that this process is there.
    far: Option<Distant>,
    spec: SandboxSpec,
    stream: Stream,
    decoder: Decoder,
    hold: Hold,
    out: Vec<u8>,
    /// How much of `out` has been written.
    sent: usize,
    /// Descriptors that go with the byte of `out` at this place.
    passed: VecDeque<(usize, OwnedFd)>,
    commands: BTreeMap<u64, Command>,
    /// Inits without a command.
    spares: Vec<Init>,
    /// Inits that were told to end, and have not been reaped.
    ending: Vec<Init>,
    confinement: Confinement,
    joins: Joins,
    watch: Option<Watch>,
    counters: Counters,
    /// The session's file systems in memory.
    private: Vec<PathBuf>,
    /// What every supervisor is told first.
    ready: Ready,
    /// Where the supervisor serves a proxy; kept only for the next one.
    listener: Option<OwnedFd>,
    /// Where the next supervisor comes, if the session is to outlive this one.
    rendezvous: Option<Rendezvous>,
    /// There is no supervisor, and until when one is waited for.
    alone_until: Option<Instant>,
    /// Ends that no supervisor has taken note of.
    reported: BTreeMap<u64, Reported>,
}

/// What a supervisor elsewhere has its runner do.
struct Distant {
    /// Something is said at least this often.
    every: Duration,
    said: Instant,
}

/// What came of reading from the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Frames,
    /// It closes the session.
    Close,
    /// It has gone.
    End,
}

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy)]
enum Source {
    Supervisor,
    Rendezvous,
    Writable,
    Control(u64),
    Init(u64),
    Stdin(u64),
    Output(u64, Output),
}

impl Server {
    /// Serves until the supervisor has gone, and no other has come.
    fn run(&mut self) -> std::io::Result<()> {
        // Said first: whoever asked for the session waits for it, and not for what comes next.
        self.flush_some()?;
        if let Ok(init) = Init::make(self.hold, &self.confinement, &self.joins, None, &Apart::default()) {
            self.spares.push(init);
        }
        // Frames may have come together with the one that opened the session.
        if !self.obey()? {
            return Ok(());
        }
        loop {
            self.say_alive();
            if let Err(error) = self.flush_some()
                && !self.lose(error)?
            {
                return Ok(());
            }
            let ready = self.wait()?;
            let now = Instant::now();
            if self.alone_until.is_some_and(|until| until <= now) {
                return Ok(());
            }
            for source in ready {
                match source {
                    Source::Supervisor => match self.read_supervisor() {
                        Ok(Read::Frames) => {}
                        Ok(Read::Close) => return Ok(()),
                        Ok(Read::End) if self.rendezvous.is_none() => return Ok(()),
                        Ok(Read::End) => self.wait_for_another(),
                        Err(error) => {
                            if !self.lose(error)? {
                                return Ok(());
                            }
                        }
                    },
                    Source::Rendezvous => self.meet(),
                    other => self.serve(other),
                }
            }
            self.finish(now);
        }
    }

    /// Says to a supervisor elsewhere that somebody is there, where nothing else says so.
    fn say_alive(&mut self) {
        let Some(Distant { every, said, .. }) = &mut self.far else { return };
        let now = Instant::now();
        if !self.out.is_empty() {
            *said = now;
        } else if now >= *said + *every {
            *said = now;
            FromRunner::Alive.encode(&mut self.out);
        }
    }

    /// Says to a supervisor that has just come what there is.
    fn say_ready(&mut self) -> std::io::Result<()> {
        for end in [&self.stream.from, &self.stream.to] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let listener = match &self.rendezvous {
            Some(_) => self.listener.as_ref().map(OwnedFd::try_clone).transpose()?,
            // Nothing of ours keeps the socket that nobody will be given again.
            None => self.listener.take(),
        };
        self.pass(&FromRunner::Ready(self.ready.clone()), listener);
        Ok(())
    }

    /// Says this, and passes a descriptor with the first byte of it.
    fn pass(&mut self, frame: &FromRunner, fd: Option<OwnedFd>) {
        self.passed.extend(fd.map(|fd| (self.out.len(), fd)));
        frame.encode(&mut self.out);
    }

    /// Says nothing of what was to be said.
    fn take_back(&mut self) {
        self.out.clear();
        self.passed.clear();
        self.sent = 0;
    }

    /// The stream broke: the supervisor has gone, and what it said last may not have been read. An error where no other is
    /// waited for; `false` where it had closed the session.
    fn lose(&mut self, error: std::io::Error) -> std::io::Result<bool> {
        if self.rendezvous.is_none() {
            return Err(error);
        }
        loop {
            match self.read_supervisor() {
                Ok(Read::Frames) => {}
                Ok(Read::Close) => return Ok(false),
                Ok(Read::End) | Err(_) => break,
            }
        }
        self.wait_for_another();
        Ok(true)
    }

    /// Nobody is there any more. What was to be said can be said again.
    fn wait_for_another(&mut self) {
        let patience = self.rendezvous.as_ref().map(|at| at.patience).unwrap_or_default();
        self.alone_until.get_or_insert(Instant::now() + patience);
        self.take_back();
    }

    /// Takes the next supervisor, and waits for what it says of each command.
    fn meet(&mut self) {
        let Some(Rendezvous { socket: at, .. }) = &self.rendezvous else { return };
        let Ok(stream) = socket::accept(at.as_fd()) else { return };
        let Ok(to) = stream.try_clone() else { return };
        self.stream = Stream { from: stream, to };
        self.decoder = Decoder::default();
        // Credit that came meanwhile: a supervisor begins with all of it.
        self.take_back();
        let running = self.commands.iter().map(|(&id, command)| Present { id, ran: command.ran() });
        let over = self.reported.keys().map(|&id| Present { id, ran: true });
        self.ready.commands = running.chain(over).collect();
        self.commands.values_mut().for_each(Command::let_go_of);
        if self.say_ready().is_ok() {
            self.alone_until = None;
        }
        self.ready.commands.clear();
    }

    /// A supervisor has come that wants a command's output from here on, and its end.
    fn resume(&mut self, id: u64, from: [u64; 2]) {
        let out = &mut self.out;
        if let Some(command) = self.commands.get_mut(&id) {
            command.unclaimed = false;
            command.kept.iter_mut().for_each(|kept| kept.say_again(id, from, out));
        } else if let Some(Reported { kept, end }) = self.reported.get_mut(&id) {
            kept.say_again(id, from, out);
            end.encode(out);
        }
    }

    /// Reports what has ended, and keeps the inits that can serve others.
    fn finish(&mut self, now: Instant) {
        self.sweep();
        let alone = self.alone_until.is_some();
        let Self { out, watch, spec, counters, private, reported, .. } = self;
        let mut over = Vec::new();
        for (&id, command) in &mut self.commands {
            command.check_deadline(now);
            if alone || command.unclaimed {
                continue;
            }
            let look = || watch.as_mut().map(Watch::look).unwrap_or_default();
            let reached =
                |end: &End, before| evidence::reached(end, &spec.limits, before, counters.read(), private);
            if let Some(end) = command.finish(out, self.sent + BACKLOG, look, reached) {
                report(reported, out, (id, end, command.kept.take()));
                over.push(id);
            }
        }
        for command in over.into_iter().filter_map(|id| self.commands.remove(&id)) {
            let idle = command.init_is_idle;
            let init = command.into_init();
            if idle && self.spares.len() < SPARES {
                self.spares.push(init);
            } else {
                init.destroy();
                self.ending.push(init);
            }
        }
        self.ending.retain(Init::is_alive);
    }

    /// Ends what inits that were killed have left: it has become this process's, which is the container's first.
    fn sweep(&mut self) {
        if !self.commands.values().any(|command| command.left) {
            return;
        }
        let inits = self.commands.values().map(Command::init).chain(&self.spares).chain(&self.ending);
        tree::end(&inits.map(|init| init.pid).collect::<Vec<_>>());
        self.commands.values_mut().for_each(|command| command.left = false);
    }

    /// Makes a command ready with an init that waits, or with a new one, and the socket on which its own proxy is to be served
    /// where it has one.
    fn prepare(&mut self, spawn: &Spawn) -> Result<(Command, Option<OwnedFd>)> {
        let mut spawn = Cow::Borrowed(spawn);
        if self.spec.ground == Ground::Bare {
            bare::at_home(&self.spec, spawn.to_mut());
        }
        if self.far.is_some() {
            spawn.to_mut().cwd_id = far::directory(&self.spec, &spawn.cwd)?;
        }
        let spawn = spawn.as_ref();
        if self.hold == Hold::Descent && !spawn.apart.is_empty() {
            return Err(container::cannot_set_apart());
        }
        let Self { spares, confinement, joins, counters, hold, rendezvous, .. } = self;
        let mut proxied = None;
        let mut command = Command::prepare(spawn, *hold, confinement.ids, counters.read(), |devpts| {
            while devpts.is_none()
                && spawn.apart.is_empty()
                && let Some(spare) = spares.pop()
            {
                if spare.is_alive() {
                    return Ok(spare);
                }
            }
            let make = || Init::make(*hold, confinement, joins, devpts, &spawn.apart);
            let made = if spawn.apart.is_proxied() {
                namespaces::with_own_network(make).map(|(init, listener)| {
                    proxied = Some(listener);
                    init
                })
            } else {
                make()
            };
            made.doing("namespaces", || "start the command".into())
                .hint(|| "the session, or the host, has as many processes as its limit allows".into())
        })?;
        command.kept = rendezvous.as_ref().map(|_| Kept::default());
        Ok((command, proxied))
    }

    /// Ends what still runs, and looks a last time at what it left. Nobody hears of it any more.
    fn end(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        let until = Instant::now() + FAREWELL;
        for command in self.commands.values_mut() {
            command.kill(Cause::Orphaned);
            let mut ended = [PollFd::new(command.pidfd().as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut ended, timeout(Some(until)));
        }
        drop(self.watch.as_mut().map(Watch::look));
    }

    /// Waits until something is ready, and says what.
    fn wait<'a>(&'a self) -> std::io::Result<Vec<Source>> {
        let unsent = self.out.len() - self.sent;
        let alone = self.alone_until.is_some();
        let mut polled = match &self.rendezvous {
            Some(Rendezvous { socket, .. }) if alone => {
                vec![(Source::Rendezvous, socket.as_fd(), PollFlags::POLLIN)]
            }
            _ => vec![(Source::Supervisor, self.stream.from.as_fd(), PollFlags::POLLIN)],
        };
        if unsent > 0 && !alone {
            polled.push((Source::Writable, self.stream.to.as_fd(), PollFlags::POLLOUT));
        }
        for (&id, command) in &self.commands {
            // The end of the socket comes before the end of the process.
            if command.control().is_none() && !command.is_over() {
                polled.push((Source::Init(id), command.pidfd().as_fd(), PollFlags::POLLIN));
            }
            let mut add = |source, fd: Option<BorrowedFd<'a>>, flags| {
                polled.extend(fd.map(|fd| (source, fd, flags)));
            };
            add(Source::Control(id), command.control().map(AsFd::as_fd), PollFlags::POLLIN);
            if command.wants_stdin() {
                add(Source::Stdin(id), command.stdin.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT);
            }
            if unsent < BACKLOG && !alone {
                for stream in [Output::Stdout, Output::Stderr] {
                    let pipe = command.output(stream).map(AsFd::as_fd);
                    add(Source::Output(id, stream), pipe, PollFlags::POLLIN);
                }
            }
        }
        let mut fds: Vec<PollFd<'_>> = polled.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let deadline = self.commands.values().filter_map(Command::next_deadline);
        let alive = self.far.as_ref().map(|far| far.said + far.every);
        let deadline = deadline.chain(self.alone_until).chain(alive).min();
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = fds.iter().zip(&polled).filter(|(fd, _)| fd.any().unwrap_or(true));
        Ok(ready.map(|(_, (source, ..))| *source).collect())
    }

    fn serve(&mut self, source: Source) {
        let out = &mut self.out;
        let (Source::Control(id) | Source::Init(id) | Source::Stdin(id) | Source::Output(id, _)) = source
        else {
            return;
        };
        let Some(command) = self.commands.get_mut(&id) else { return };
        match source {
            Source::Control(_) => command.listen(out),
            Source::Init(_) => command.reap(out),
            Source::Stdin(_) => command.pass_stdin(out),
            Source::Output(_, stream) => drop(command.pass_output(stream, out)),
            Source::Supervisor | Source::Rendezvous | Source::Writable => {}
        }
    }

    /// Reads what the supervisor has sent and does it.
    fn read_supervisor(&mut self) -> std::io::Result<Read> {
        match nix::unistd::read(&self.stream.from, self.decoder.space(READ)) {
            Ok(count) => {
                self.decoder.filled(READ, count);
                Ok(match (self.obey()?, count) {
                    (false, _) => Read::Close,
                    (true, 0) => Read::End,
                    (true, _) => Read::Frames,
                })
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                self.decoder.filled(READ, 0);
                Ok(Read::Frames)
            }
            Err(errno) => {
                self.decoder.filled(READ, 0);
                Err(errno.into())
            }
        }
    }

    /// Does what the supervisor said. `false` where it closed the session.
    fn obey(&mut self) -> std::io::Result<bool> {
        while let Some(message) = self.decoder.next_frame::<ToRunner>().map_err(std::io::Error::other)? {
            let out = &mut self.out;
            match message {
                ToRunner::Open(_) | ToRunner::Greet(_) => {
                    return Err(std::io::Error::other("a session is opened once"));
                }
                ToRunner::Prepare(spawn) if self.commands.contains_key(&spawn.id) => {
                    return Err(std::io::Error::other("two commands with one id"));
                }
                ToRunner::Prepare(spawn) => match self.prepare(&spawn) {
                    Ok((command, proxied)) => {
                        drop(self.commands.insert(spawn.id, command));
                        if proxied.is_some() {
                            self.pass(&FromRunner::Proxied { id: spawn.id }, proxied);
                        }
                    }
                    Err(failure) => {
                        let end = FromRunner::Failed(Failure { id: Some(spawn.id), ..failure });
                        let kept = self.rendezvous.as_ref().map(|_| Kept::default());
                        report(&mut self.reported, &mut self.out, (spawn.id, end, kept));
                    }
                },
                ToRunner::Run { id } => self.commands.get_mut(&id).into_iter().for_each(Command::run),
                ToRunner::Stdin { id, data } => match self.commands.get_mut(&id) {
                    Some(command) => command.push_stdin(&data, out),
                    None => FromRunner::Credit { id, bytes: data.len() }.encode(out),
                },
                ToRunner::StdinEnd { id } => {
                    self.commands.get_mut(&id).into_iter().for_each(Command::end_stdin);
                }
                ToRunner::Signal { id, signal } => {
                    self.commands.get(&id).into_iter().for_each(|command| command.signal(signal));
                }
                ToRunner::Hold { id, held } => {
                    self.commands.get_mut(&id).into_iter().for_each(|command| command.held = held);
                }
                ToRunner::Resize { id, window } => {
                    self.commands.get(&id).into_iter().for_each(|command| command.resize(window));
                }
                ToRunner::Kill { id, cause } => {
                    self.commands.get_mut(&id).into_iter().for_each(|command| command.kill(cause));
                }
                ToRunner::Taken { id, stream, upto } => {
                    let kept = self.commands.get_mut(&id).and_then(|command| command.kept.as_mut());
                    kept.into_iter().for_each(|kept| kept.taken(stream, upto));
                }
                ToRunner::Forget { id } => drop(self.reported.remove(&id)),
                ToRunner::Resume { id, from } => self.resume(id, from),
                ToRunner::Close => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Writes what the supervisor takes without waiting.
    fn flush_some(&mut self) -> std::io::Result<()> {
        while self.sent < self.out.len() {
            let passed = self.passed.front().map_or(self.out.len(), |(at, _)| *at);
            let written = match self.passed.front() {
                Some((at, fd)) if *at == self.sent => {
                    passing::send(self.stream.to.as_fd(), &self.out[self.sent..], &[fd.as_fd()])
                }
                // What comes before a descriptor goes by itself.
                _ => nix::unistd::write(&self.stream.to, &self.out[self.sent..passed]),
            };
            match written {
                Ok(count) => {
                    if passed == self.sent {
                        self.passed.pop_front();
                    }
                    self.sent += count;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if self.sent >= BACKLOG {
                        self.out.drain(..self.sent);
                        self.passed.iter_mut().for_each(|(at, _)| *at -= self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Says an end, and keeps it where another supervisor may have to hear it.
fn report(
    reported: &mut BTreeMap<u64, Reported>,
    out: &mut Vec<u8>,
    (id, end, kept): (u64, FromRunner, Option<Kept>),
) {
    end.encode(out);
    if let Some(kept) = kept {
        reported.insert(id, Reported { kept, end });
    }
}

fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    // Rounded up, so that the loop does not spin through the last millisecond.
    let wait = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
}
