//! One command as its runner sees it: its init, its streams, its limits, and how it ended.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, pipe2, read, write};

use super::confine::NotRun;
use super::failure::{Doing, Result};
use super::init::{self, Birth, FromInit, ToInit};
use super::namespaces;
use super::outer::Inside;
use crate::sys::process::{self, Side, Usage};
use crate::sys::socket;
use crate::wire::frame::{Frame, OUTPUT_HEADER, output_header};
use crate::wire::runner::{Cause, End, Ended, Failure, FromRunner, MAX_CHUNK, Spawn, Stream};

/// How much a pipe to or from a command holds: pipe(7). Fewer turns of the loop for the same bytes.
const PIPE_SIZE: i32 = 1 << 20;

/// A command from its start until its end has been reported.
#[derive(Debug)]
pub(super) struct Command {
    id: u64,
    init: Pid,
    pidfd: OwnedFd,
    pub(super) control: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pending: VecDeque<u8>,
    stdin_ended: bool,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    started: Instant,
    deadline: Option<Instant>,
    grace: Duration,
    cause: Option<Cause>,
    end: Option<End>,
    failed: Option<Failure>,
    reaped: Option<(Instant, Usage)>,
}

impl Command {
    /// Starts a command: its namespaces, its streams, its limits, then the word to go.
    pub(super) fn start(spawn: &Spawn, inside: &Inside<'_>) -> Result<Self> {
        let doing = || "start the command".to_owned();
        let pipe = || pipe2(OFlag::O_CLOEXEC).doing("streams", doing);
        let (command_in, stdin) = pipe()?;
        let (stdout, command_out) = pipe()?;
        let (stderr, command_err) = pipe()?;
        let (control, init_control) = socket::packet_pair().doing("streams", doing)?;
        // SAFETY: a runner has one thread.
        #[allow(unsafe_code)]
        let side = unsafe { process::clone(namespaces::of_command()) }.doing("namespaces", doing)?;
        let (init, pidfd) = match side {
            Side::Child => {
                drop((stdin, stdout, stderr, control));
                init::main(Birth {
                    spawn,
                    spec: inside.spec,
                    privileged: inside.privileged,
                    control: init_control,
                    stdio: [command_in, command_out, command_err],
                })
            }
            Side::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop((init_control, command_in, command_out, command_err));
        let now = Instant::now();
        let command = Self {
            id: spawn.id,
            init,
            pidfd,
            control: Some(control),
            stdin: Some(stdin),
            pending: VecDeque::new(),
            stdin_ended: false,
            stdout: Some(stdout),
            stderr: Some(stderr),
            started: now,
            deadline: spawn.timeout_ms.map(|limit| now + Duration::from_millis(limit)),
            grace: Duration::from_millis(spawn.grace_ms),
            cause: None,
            end: None,
            failed: None,
            reaped: None,
        };
        for fd in [&command.stdin, &command.stdout, &command.stderr].into_iter().flatten() {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing("streams", doing)?;
            // Not granted above /proc/sys/fs/pipe-max-size or the user's share; the default works as well.
            let _ = fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        if let Err(error) = inside.cgroup.join(init) {
            command.destroy();
            return Err(error).doing("cgroup", || "put the command under its limits".into());
        }
        if let Some(control) = &command.control {
            init::send(control, &ToInit::Go);
        }
        Ok(command)
    }

    /// Readable when init has ended.
    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
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

    /// Reads one chunk of output straight into its frame.
    pub(super) fn pass_output(&mut self, stream: Stream, out: &mut Vec<u8>) {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(fd) = pipe else { return };
        let start = out.len();
        let data = start + OUTPUT_HEADER;
        out.resize(data + MAX_CHUNK, 0);
        match read(&*fd, &mut out[data..]) {
            Ok(count) if count > 0 => {
                out[start..data].copy_from_slice(&output_header(self.id, stream, count));
                out.truncate(data + count);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => out.truncate(start),
            Ok(_) | Err(_) => {
                out.truncate(start);
                *pipe = None;
            }
        }
    }

    /// Hears what init has to say.
    pub(super) fn listen(&mut self, out: &mut Vec<u8>) {
        let Some(control) = &self.control else { return };
        match init::receive(control) {
            Some(FromInit::Started) => FromRunner::Started { id: self.id }.encode(out),
            Some(FromInit::Ended(status)) => self.end = Some(end_of(status)),
            Some(FromInit::NotRun(NotRun::NotExecuted { errno, program })) => {
                self.end = Some(End::NotExecuted { errno, program });
            }
            Some(FromInit::NotRun(NotRun::Unconfined(failure))) => {
                self.failed = Some(Failure { id: Some(self.id), ..failure });
            }
            None => self.control = None,
        }
    }

    /// Sends a signal to the command's process group.
    pub(super) fn signal(&self, signal: i32) {
        if let Some(control) = &self.control {
            init::send(control, &ToInit::Signal(signal));
        }
    }

    /// Ends the whole tree at once. The first cause stands.
    pub(super) fn kill(&mut self, cause: Cause) {
        if self.end.is_none() {
            self.cause.get_or_insert(cause);
        }
        self.destroy();
    }

    fn destroy(&self) {
        // The end of the namespace's init is the end of all in it: pid_namespaces(7).
        let _ = process::signal(self.pidfd.as_fd(), Signal::SIGKILL);
    }

    /// When this command must next be looked at although nothing has happened.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.reaped.is_some() { None } else { self.deadline }
    }

    /// Acts on a limit that has been reached: SIGTERM to all, and after the grace the end.
    pub(super) fn check_deadline(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.cause.is_none() && self.end.is_none() && !self.grace.is_zero() {
            self.cause = Some(Cause::Time);
            self.deadline = Some(now + self.grace);
            if let Some(control) = &self.control {
                init::send(control, &ToInit::SignalAll(Signal::SIGTERM as i32));
            }
        } else {
            self.deadline = None;
            self.kill(Cause::Time);
        }
    }

    /// Reaps init if it has ended.
    pub(super) fn reap(&mut self, out: &mut Vec<u8>) {
        if self.reaped.is_some() {
            return;
        }
        if let Ok(Some((_, _, usage))) = process::reap(self.init) {
            self.reaped = Some((Instant::now(), usage));
            // What init said last may still be unread.
            while self.control.is_some() {
                self.listen(out);
            }
            let lost = self.pending.len();
            self.pending.clear();
            self.stdin = None;
            self.credit(lost, out);
        }
    }

    /// Reports the end once nothing of the command is left and all of its output has been read.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((at, usage)) = self.reaped else { return false };
        if self.stdout.is_some() || self.stderr.is_some() {
            return false;
        }
        if let Some(failure) = self.failed.take() {
            FromRunner::Failed(failure).encode(out);
            return true;
        }
        let end = match (self.cause, self.end.take()) {
            (_, Some(end @ End::NotExecuted { .. })) => end,
            (Some(cause), _) => End::Killed { cause },
            (None, Some(end)) => end,
            // Its init died of something that was not said: the kernel ran out of memory.
            (None, None) => End::Signal { signal: Signal::SIGKILL as i32 },
        };
        FromRunner::Exited(Ended {
            id: self.id,
            end,
            wall_us: u64::try_from(at.duration_since(self.started).as_micros()).unwrap_or(u64::MAX),
            cpu_us: usage.cpu_us,
            max_rss_kib: usage.max_rss_kib,
        })
        .encode(out);
        true
    }
}

fn end_of(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signal { signal: libc::WTERMSIG(status) }
    } else {
        End::Code { code: u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX) }
    }
}
