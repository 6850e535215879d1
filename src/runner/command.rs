//! One command as its runner sees it: its init, its streams, its limits, and how it ended.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{pipe2, read, write};

use super::evidence::Counts;
use super::failure::{Doing, Result};
use super::init::{Hold, Init, Order, Said, Told};
use super::outlive::Kept;
use super::shell::State;
use super::streams::{Ends, Streams};
use crate::sys::process::Usage;
use crate::sys::spawn::{Step, Words};
use crate::sys::terminal;
use crate::wire::frame::{Frame, OUTPUT_HEADER, output_header};
use crate::wire::runner::{
    Aftermath, Cause, End, Ended, Failure, FromRunner, LimitName, MAX_CHUNK, Reached, SecretGiven, Spawn,
    Stream, Window,
};

/// A command from the moment that it is made ready until its end has been reported.
#[derive(Debug)]
pub(super) struct Command {
    id: u64,
    /// What was to be executed, for the one message that names it.
    program: String,
    cwd: String,
    init: Init,
    /// Its init may still say something.
    pub(super) listening: bool,
    /// Nothing of the command is left, and its init may serve another.
    pub(super) init_is_idle: bool,
    /// Its init shows it what no other command is to see.
    init_is_its_own: bool,
    /// Its init was killed, and something of the command may be left.
    pub(super) left: bool,
    /// Lets it be executed.
    gate: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pending: VecDeque<u8>,
    stdin_ended: bool,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// The command's end of its terminal. While it is open here, what the command closes and opens again is no end.
    terminal: Option<OwnedFd>,
    /// Nobody takes its output at present: it stays in the pipes.
    pub(super) held: bool,
    /// There is a new supervisor that has not said yet from where on it wants the output.
    pub(super) unclaimed: bool,
    started: Option<Instant>,
    time: Option<Duration>,
    deadline: Option<Instant>,
    idle: Option<Duration>,
    /// When it last wrote something.
    wrote: Option<Instant>,
    cpu_s: Option<u64>,
    grace: Duration,
    cause: Option<Cause>,
    end: Option<End>,
    failed: Option<Failure>,
    reaped: Option<(Instant, Usage)>,
    /// What the kernel had refused to the session before it.
    before: Counts,
    /// Where its shell says how it leaves.
    shell: Option<State>,
    /// What was said of its output and may have to be said again; `None` where its session ends with the supervisor.
    pub(super) kept: Option<Kept>,
}

impl Command {
    /// Makes a command ready, under its limits, with its streams. `init` gives one to serve it, with an instance of devpts
    /// of its own where there is a terminal and the command has namespaces; `ids` are the user's.
    pub(super) fn prepare(
        spawn: &Spawn,
        hold: Hold,
        ids: (u32, u32),
        before: Counts,
        mut init: impl FnMut(Option<&OwnedFd>) -> Result<Init>,
    ) -> Result<Self> {
        let doing = || "start the command".to_owned();
        let Streams { command, stdin, stdout, stderr, devpts } = match spawn.terminal {
            None => Streams::pipes(),
            Some(window) if hold == Hold::Namespace => Streams::terminal(window, ids),
            Some(window) => Streams::terminal_of_container(window, ids),
        }
        .doing("streams", doing)?;
        let (command_gate, gate) = pipe2(OFlag::O_CLOEXEC).doing("streams", doing)?;
        let words = words(spawn)?;
        let shell = spawn.persist.then(State::new).transpose().doing("streams", doing)?;
        let cwd_id = (spawn.cwd_id.dev, spawn.cwd_id.ino);
        let its_own = devpts.is_some() || spawn.last || !spawn.apart.is_empty();
        let init = loop {
            let init = init(devpts.as_ref())?;
            let stdio = match &command {
                Ends::Pipes(ends) => ends.each_ref().map(AsFd::as_fd),
                Ends::Terminal(terminal) => [terminal.as_fd(); 3],
            };
            let order = Order {
                words: &words,
                cwd_id,
                stdio,
                gate: command_gate.as_fd(),
                extra: shell.as_ref().map(AsFd::as_fd),
                cpu: (spawn.cpu_s.unwrap_or(0), spawn.grace_ms.div_ceil(1000).max(1)),
                terminal: spawn.terminal.is_some(),
                last: its_own,
            };
            match init.start(order) {
                Ok(()) => break init,
                // It has ended since it was seen: memory was short.
                Err(Errno::EPIPE | Errno::ECONNRESET) => init.destroy(),
                other => other.doing("init", doing)?,
            }
        };
        Ok(Self {
            id: spawn.id,
            program: spawn.argv.first().cloned().unwrap_or_default(),
            cwd: spawn.cwd.to_string_lossy().into_owned(),
            init,
            listening: true,
            init_is_idle: false,
            init_is_its_own: its_own,
            left: false,
            gate: Some(gate),
            stdin: Some(stdin),
            terminal: match command {
                Ends::Terminal(terminal) => Some(terminal),
                Ends::Pipes(_) => None,
            },
            pending: VecDeque::new(),
            stdin_ended: false,
            stdout: Some(stdout),
            stderr,
            held: false,
            unclaimed: false,
            started: None,
            time: spawn.timeout_ms.map(Duration::from_millis),
            deadline: None,
            idle: spawn.idle_ms.map(Duration::from_millis),
            wrote: None,
            cpu_s: spawn.cpu_s,
            grace: Duration::from_millis(spawn.grace_ms),
            cause: None,
            end: None,
            failed: None,
            reaped: None,
            before,
            shell,
            kept: None,
        })
    }

    /// Lets it be executed. Its time runs from here.
    pub(super) fn run(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        // One that has failed on its way to the gate is not behind it any more, and its init says so.
        let _ = write(&gate, &[1]);
        let now = Instant::now();
        self.started = Some(now);
        self.wrote = Some(now);
        self.deadline = self.time.map(|limit| now + limit);
    }

    /// The init that serves it.
    pub(super) fn init(&self) -> &Init {
        &self.init
    }

    /// Its init, to serve another.
    pub(super) fn into_init(self) -> Init {
        self.init
    }

    /// What its init says comes here.
    pub(super) fn control(&self) -> Option<&OwnedFd> {
        self.listening.then_some(&self.init.control)
    }

    /// Readable when init has ended.
    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.init.pidfd
    }

    /// Whether it was let go.
    pub(super) fn ran(&self) -> bool {
        self.started.is_some()
    }

    /// Its supervisor has gone, and the next one has not said anything of it.
    pub(super) fn let_go_of(&mut self) {
        (self.held, self.unclaimed) = (false, true);
    }

    /// Where more output of a stream may be read from now.
    pub(super) fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        let waits =
            self.held || self.unclaimed || self.kept.as_ref().is_some_and(|kept| kept.is_full(stream));
        let pipe = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        pipe.as_ref().filter(|_| !waits)
    }

    /// Whether nothing of it is left but what is to be reported.
    pub(super) fn is_over(&self) -> bool {
        self.reaped.is_some()
    }

    /// Whether standard input can be passed on or closed.
    pub(super) fn wants_stdin(&self) -> bool {
        self.stdin.is_some() && !self.pending.is_empty()
    }

    /// Takes standard input from the supervisor.
    pub(super) fn push_stdin(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.stdin.is_some() && !self.stdin_ended {
            self.pending.extend(data);
            self.pass_stdin(out);
        } else {
            self.credit(data.len(), out);
        }
    }

    /// Says that no more standard input will come.
    pub(super) fn end_stdin(&mut self) {
        /// What a person types for it: termios(3), VEOF.
        const END: u8 = 4;
        if self.terminal.is_some() && !self.stdin_ended {
            self.pending.push_back(END);
        }
        self.stdin_ended = true;
        if self.pending.is_empty() {
            self.stdin = None;
        }
    }

    /// Writes what the pipe takes, and gives the supervisor credit for it.
    pub(super) fn pass_stdin(&mut self, out: &mut Vec<u8>) {
        let mut taken = 0;
        while let (Some(stdin), false) = (&self.stdin, self.pending.is_empty()) {
            match write(stdin, self.pending.as_slices().0) {
                Ok(count) => {
                    self.pending.drain(..count);
                    taken += count;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // Nobody reads it any more, as when `head` has seen enough.
                Err(_) => {
                    taken += self.pending.len();
                    self.pending.clear();
                    self.stdin = None;
                }
            }
        }
        if self.stdin_ended && self.pending.is_empty() {
            self.stdin = None;
        }
        self.credit(taken, out);
    }

    fn credit(&self, bytes: usize, out: &mut Vec<u8>) {
        if bytes > 0 {
            FromRunner::Credit { id: self.id, bytes }.encode(out);
        }
    }

    /// Reads one chunk of output straight into its frame. Says whether there was any.
    pub(super) fn pass_output(&mut self, stream: Stream, out: &mut Vec<u8>) -> bool {
        let over = self.reaped.is_some();
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(fd) = pipe else { return false };
        let start = out.len();
        let data = start + OUTPUT_HEADER;
        out.resize(data + MAX_CHUNK, 0);
        match read(&*fd, &mut out[data..]) {
            Ok(count) if count > 0 => {
                out[start..data].copy_from_slice(&output_header(self.id, stream, count));
                out.truncate(data + count);
                if let Some(kept) = &mut self.kept {
                    kept.push(stream, &out[data..]);
                }
                if self.idle.is_some() {
                    self.wrote = Some(Instant::now());
                }
                return true;
            }
            Err(Errno::EINTR) => {}
            // Whatever the command wrote is there once it is over, and whoever else holds the pipe is another.
            Err(Errno::EAGAIN) if !over => {}
            Ok(_) | Err(_) => *pipe = None,
        }
        out.truncate(start);
        false
    }

    /// Hears what init has to say.
    pub(super) fn listen(&mut self, out: &mut Vec<u8>) {
        match self.init.listen() {
            Some(Said::Ended(status, usage)) => {
                self.end = Some(end_of(status));
                self.init_is_idle = !self.init_is_its_own;
                self.over(usage, out);
            }
            Some(Said::NotRun(step, errno)) => {
                if step == Step::Execute {
                    let program = self.program.clone();
                    self.end = Some(End::NotExecuted { errno: errno as i32, program });
                } else {
                    self.failed = Some(self.failure(step, errno));
                }
                self.listening = false;
                self.init.destroy();
            }
            None => self.listening = false,
        }
    }

    fn failure(&self, step: Step, errno: Errno) -> Failure {
        let cwd = &self.cwd;
        let (layer, what) = match step {
            Step::Cgroup => ("cgroup", "put the command under the session's limits".into()),
            Step::Proc => ("proc", "mount the command's /proc".into()),
            Step::Terminal => ("terminal", "give the command its terminal".into()),
            Step::Apart => ("apart", "set the command apart as it was approved".into()),
            Step::Init | Step::Clone => ("init", "make the command's process".into()),
            Step::Streams => ("streams", "put the command's streams in place".into()),
            Step::Ids => ("ids", "become the sandbox's user".into()),
            Step::Capabilities => ("capabilities", "drop all capabilities".into()),
            Step::Limits => ("rlimits", "limit the command's processor time".into()),
            Step::Directory => ("directory", format!("enter the directory {cwd}")),
            Step::Replaced => {
                ("directory", format!("enter the directory {cwd}, which is not the one checked"))
            }
            Step::Landlock => ("landlock", "restrict the file system".into()),
            Step::Seccomp => ("seccomp", "install the filter".into()),
            Step::Gate => ("init", "wait for the record of the decision".into()),
            Step::Execute => ("execute", format!("execute {}", self.program)),
        };
        let hint = match (step, errno) {
            (Step::Clone | Step::Init, Errno::EAGAIN) => {
                "the session has as many processes as its limit allows"
            }
            _ => "",
        };
        Failure {
            id: Some(self.id),
            layer: layer.into(),
            what,
            error: format!("{} ({errno:?})", errno.desc()),
            hint: hint.into(),
        }
    }

    /// Sends a signal to the command's process group.
    pub(super) fn signal(&self, signal: i32) {
        self.init.tell(Told::Signal(signal));
    }

    /// Gives its terminal another size, where it has one.
    pub(super) fn resize(&self, window: Window) {
        if let Some(terminal) = &self.terminal {
            // What can go wrong with a terminal of ours is its being gone.
            let _ = terminal::resize(terminal.as_fd(), window.size());
        }
    }

    /// Ends the whole tree at once. The first cause stands.
    pub(super) fn kill(&mut self, cause: Cause) {
        if self.reaped.is_some() {
            return;
        }
        if self.end.is_none() {
            self.cause.get_or_insert(cause);
        }
        // The end of a namespace's init is the end of all in it: pid_namespaces(7).
        self.init.destroy();
    }

    /// When this command must next be looked at although nothing has happened.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.reaped.is_some() {
            return None;
        }
        self.deadline.into_iter().chain(self.idle_deadline()).min()
    }

    /// When it will have written nothing for too long. Not once something has ended it.
    fn idle_deadline(&self) -> Option<Instant> {
        let waits = self.cause.is_none() && self.end.is_none();
        self.wrote.filter(|_| waits)?.checked_add(self.idle?)
    }

    /// Whether something that it wrote is still in its pipes, because nobody takes it.
    fn has_unread(&self) -> bool {
        let mut fds: Vec<PollFd<'_>> = [&self.stdout, &self.stderr]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut fds, PollTimeout::ZERO);
        fds.iter().any(|fd| fd.revents().is_some_and(|flags| flags.contains(PollFlags::POLLIN)))
    }

    /// Acts on a limit that has been reached: SIGTERM to all, and after the grace the end.
    pub(super) fn check_deadline(&mut self, now: Instant) {
        if self.reaped.is_some() {
            return;
        }
        let mut limit = Cause::Time;
        if self.idle_deadline().is_some_and(|deadline| deadline <= now) {
            if self.has_unread() {
                self.wrote = Some(now);
            } else {
                (limit, self.deadline) = (Cause::Idle, Some(now));
            }
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.cause.is_none() && self.end.is_none() && !self.grace.is_zero() {
            self.cause = Some(limit);
            self.deadline = Some(now + self.grace);
            self.init.tell(Told::SignalAll(Signal::SIGTERM as i32));
        } else {
            self.deadline = None;
            self.kill(limit);
        }
    }

    /// Reaps init if it has ended, and with it everything in its namespace.
    pub(super) fn reap(&mut self, out: &mut Vec<u8>) {
        if self.reaped.is_some() {
            return;
        }
        if let Some((usage, left)) = self.init.reap() {
            self.left = left;
            // What init said last may still be unread.
            while self.listening && self.reaped.is_none() {
                self.listen(out);
            }
            self.init_is_idle = false;
            self.over(usage, out);
        }
    }

    /// Nothing of the command is left.
    fn over(&mut self, usage: Usage, out: &mut Vec<u8>) {
        if self.reaped.is_some() {
            return;
        }
        self.reaped = Some((Instant::now(), usage));
        self.gate = None;
        let lost = self.pending.len();
        self.pending.clear();
        (self.stdin, self.terminal) = (None, None);
        self.credit(lost, out);
    }

    /// The end, once nothing of the command is left and all of its output has been read. `room` is how much
    /// output may wait for the supervisor; `look` says what the command left in the workspace, and `reached` which limits it
    /// ran into.
    pub(super) fn finish(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        look: impl FnOnce() -> Aftermath,
        reached: impl FnOnce(&End, Counts) -> Vec<Reached>,
    ) -> Option<FromRunner> {
        let (at, usage) = self.reaped?;
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.output(stream).is_some() && out.len() < room && self.pass_output(stream, out) {}
        }
        if self.stdout.is_some() || self.stderr.is_some() {
            return None;
        }
        if let Some(failure) = self.failed.take() {
            return Some(FromRunner::Failed(failure));
        }
        let end = match (self.cause, self.end.take()) {
            (_, Some(end @ End::NotExecuted { .. })) => end,
            (Some(cause), _) => End::Killed { cause },
            (None, Some(end)) => end,
            // Its init died of something that was not said: the kernel ran out of memory.
            (None, None) => End::Signal { signal: Signal::SIGKILL as i32 },
        };
        let mut reached = reached(&end, self.before);
        reached.extend(self.times(&end, usage));
        Some(FromRunner::Exited(Ended {
            id: self.id,
            end,
            wall_us: self.started.map_or(0, |started| {
                u64::try_from(at.duration_since(started).as_micros()).unwrap_or(u64::MAX)
            }),
            cpu_us: usage.cpu_us,
            max_rss_kib: usage.max_rss_kib,
            aftermath: look(),
            reached,
            shell: self.shell.as_ref().and_then(State::read),
        }))
    }
}

impl Command {
    /// The limits on time that it ran into.
    fn times(&self, end: &End, usage: Usage) -> Option<Reached> {
        let seconds = |limit: Option<Duration>| limit.unwrap_or_default().as_secs_f64();
        let grace = self.grace.as_secs_f64();
        let ended =
            |of: String| format!("{of}: SIGTERM to all of it, and SIGKILL {grace} s later to what was left");
        const EXCEEDED: i32 = Signal::SIGXCPU as i32;
        let cpu = match *end {
            End::Killed { cause: Cause::Time } => {
                let evidence = ended(format!("it ran for {} s", seconds(self.time)));
                return Some(Reached { limit: LimitName::Time, evidence });
            }
            End::Killed { cause: Cause::Idle } => {
                let evidence = ended(format!("it wrote nothing for {} s", seconds(self.idle)));
                return Some(Reached { limit: LimitName::Idle, evidence });
            }
            End::Signal { signal } => signal,
            // What a shell says of it.
            End::Code { code } => i32::from(code) - 128,
            _ => return None,
        };
        let limit = self.cpu_s?;
        let by = match cpu {
            EXCEEDED => "SIGXCPU",
            signal if signal == Signal::SIGKILL as i32 && usage.cpu_us / 1_000_000 >= limit => "SIGKILL",
            _ => return None,
        };
        let evidence = format!("{by}: a process used {limit} s of processor time");
        Some(Reached { limit: LimitName::Cpu, evidence })
    }
}

fn words(spawn: &Spawn) -> Result<Words> {
    let given: Vec<_> = spawn.apart.secrets.iter().filter_map(SecretGiven::variable).collect();
    let own = spawn.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let own = own.filter(|(name, _)| given.iter().all(|(given, _)| given != name));
    let env: Vec<_> = own.chain(given.iter().map(|(name, value)| (*name, value.as_str()))).collect();
    Words::new(spawn.cwd.as_os_str().as_encoded_bytes(), &programs(spawn), &spawn.argv, env.into_iter())
        .doing("execute", || "pass a word with a NUL byte to a program".into())
}

/// The paths that may be executed: as execvp(3), but only absolute directories of the command's own PATH.
fn programs(spawn: &Spawn) -> Vec<Vec<u8>> {
    let Some(program) = spawn.argv.first() else { return Vec::new() };
    if program.contains('/') {
        return vec![program.clone().into_bytes()];
    }
    let path = spawn.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let directories = path.split(':').filter(|directory| directory.starts_with('/') && !program.is_empty());
    directories.map(|directory| format!("{directory}/{program}").into_bytes()).collect()
}

fn end_of(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signal { signal: libc::WTERMSIG(status) }
    } else {
        End::Code { code: u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX) }
    }
}
