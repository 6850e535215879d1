//! PID 1 of a command's pid namespace: starts the command, reaps what it leaves, passes signals on, and takes the whole
//! namespace with it when the command's first process ends.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use serde::{Deserialize, Serialize};

use super::confine::{self, NotRun};
use super::failure::{Doing, Result};
use super::root;
use crate::sys::process;
use crate::wire::runner::{Failure, SandboxSpec, Spawn};

/// Largest message between runner and init.
pub(super) const MAX_MESSAGE: usize = 16 << 10;

/// From the runner to an init.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToInit {
    /// The limits are on; start.
    Go,
    /// To the command's process group.
    Signal(i32),
    /// To every process of the command.
    SignalAll(i32),
}

/// From an init to its runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromInit {
    /// The command has been executed.
    Started,
    /// It has not, and nothing runs.
    NotRun(NotRun),
    /// Its first process has ended, with this wait status.
    Ended(i32),
}

/// What an init is born with.
pub(super) struct Birth<'a> {
    pub(super) spawn: &'a Spawn,
    pub(super) spec: &'a SandboxSpec,
    pub(super) privileged: bool,
    pub(super) control: OwnedFd,
    /// Descriptors 0, 1 and 2 of the command.
    pub(super) stdio: [OwnedFd; 3],
}

/// Runs the role. The process ends with it.
pub(super) fn main(birth: Birth<'_>) -> ! {
    let _ = process::die_with_parent();
    let control = birth.control.as_fd().try_clone_to_owned();
    if let (Err(failure), Ok(control)) = (live(birth), control) {
        send(&control, &FromInit::NotRun(NotRun::Unconfined(failure)));
    }
    process::exit_now(0)
}

fn live(birth: Birth<'_>) -> Result<()> {
    let doing = || "start the command".to_owned();
    let Birth { spawn, spec, privileged, control, stdio } = birth;
    let _ = nix::sys::prctl::set_dumpable(false);
    // The runner says when this process is under the command's limits; if it is gone, so are we.
    match receive(&control) {
        Some(ToInit::Go) => {}
        _ => return Ok(()),
    }
    root::enter_command()?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&children), None).doing("init", doing)?;
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .doing("init", doing)?;
    let (verdict, word) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("init", doing)?;
    // SAFETY: this process has one thread.
    #[allow(unsafe_code)]
    let command = match unsafe { fork() }.doing("init", doing)? {
        ForkResult::Child => become_command(spawn, spec, privileged, stdio, word),
        ForkResult::Parent { child } => child,
    };
    drop((stdio, word));
    if let Some(not_run) = read_verdict(verdict) {
        send(&control, &FromInit::NotRun(not_run));
        return Ok(());
    }
    drop_what_init_does_not_need();
    send(&control, &FromInit::Started);
    if let Some(status) = supervise(command, &control, &signals) {
        send(&control, &FromInit::Ended(status));
    }
    Ok(())
}

/// In the child: puts the streams in their places, confines itself, and becomes the command.
fn become_command(
    spawn: &Spawn,
    spec: &SandboxSpec,
    privileged: bool,
    stdio: [OwnedFd; 3],
    word: OwnedFd,
) -> ! {
    const WORD: i32 = 3;
    let placed = (|| {
        setsid()?;
        let [stdin, stdout, stderr] = &stdio;
        nix::unistd::dup2_stdin(stdin)?;
        nix::unistd::dup2_stdout(stdout)?;
        nix::unistd::dup2_stderr(stderr)?;
        process::duplicate_to(word.as_fd(), WORD)?;
        process::close_from(4)
    })();
    // Their numbers are closed or taken now.
    std::mem::forget((stdio, word));
    let not_run = match placed {
        Ok(()) => confine::execute(spawn, spec, privileged),
        Err(errno) => NotRun::NotExecuted { errno: errno as i32, program: "descriptors".into() },
    };
    // SAFETY: descriptor 3 was put there above and nothing else owns it.
    #[allow(unsafe_code)]
    let word = unsafe { process::inherited(WORD) };
    let message = serde_json::to_vec(&not_run).unwrap_or_default();
    let _ = nix::unistd::write(&word, &message);
    process::exit_now(127)
}

/// Reads why the command was not executed; an exec closes the pipe without a word.
fn read_verdict(verdict: OwnedFd) -> Option<NotRun> {
    let mut message = Vec::new();
    let _ = std::io::Read::read_to_end(&mut std::fs::File::from(verdict), &mut message);
    if message.is_empty() {
        return None;
    }
    Some(serde_json::from_slice(&message).unwrap_or_else(|error| {
        NotRun::Unconfined(Failure {
            id: None,
            layer: "init".into(),
            what: "read why the command was not executed".into(),
            error: error.to_string(),
            hint: String::new(),
        })
    }))
}

/// An init reaps and signals; of root's capabilities it keeps the one for signals.
fn drop_what_init_does_not_need() {
    let none = caps::CapsHashSet::new();
    let keep = caps::CapsHashSet::from([caps::Capability::CAP_KILL]);
    let _ = caps::set(None, caps::CapSet::Inheritable, &none);
    let _ = caps::set(None, caps::CapSet::Effective, &keep);
    let _ = caps::set(None, caps::CapSet::Permitted, &keep);
    let _ = nix::sys::prctl::set_no_new_privs();
    // Changing capabilities makes a process dumpable or not by other rules; say it again.
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Until the command's first process has ended: its wait status. `None` where the runner has gone.
fn supervise(command: Pid, control: &OwnedFd, signals: &SignalFd) -> Option<i32> {
    loop {
        let mut ready = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
        let [children, spoken] = ready.map(|fd| fd.any().unwrap_or(true));
        if children {
            while let Ok(Some(_)) = signals.read_signal() {}
            while let Ok(Some((pid, status, _))) = process::reap(Pid::from_raw(-1)) {
                if pid == command {
                    return Some(status);
                }
            }
        }
        if spoken {
            let (target, signal) = match receive(control)? {
                ToInit::Go => continue,
                ToInit::Signal(signal) => (Pid::from_raw(-command.as_raw()), signal),
                ToInit::SignalAll(signal) => (Pid::from_raw(-1), signal),
            };
            if let Ok(signal) = Signal::try_from(signal) {
                let _ = kill(target, signal);
            }
        }
    }
}

/// Sends one message; a runner that has gone takes this process with it.
pub(super) fn send(control: &OwnedFd, message: &impl Serialize) {
    let bytes = serde_json::to_vec(message).unwrap_or_default();
    let _ = nix::unistd::write(control, &bytes);
}

/// Receives one message; `None` where the other side has gone or is not understood.
pub(super) fn receive<M: for<'a> Deserialize<'a>>(control: &OwnedFd) -> Option<M> {
    let mut bytes = vec![0; MAX_MESSAGE];
    loop {
        match nix::unistd::read(control, &mut bytes) {
            Err(Errno::EINTR) => {}
            Ok(count) => return serde_json::from_slice(bytes.get(..count)?).ok(),
            Err(_) => return None,
        }
    }
}
