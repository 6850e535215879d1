//! The tree of a command that has no pid namespace of its own: inside a container, where a runner may make none.
//!
//! All orphans of a command become children of its init, which is a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), and
//! no process can leave the tree below it: a parent is only ever replaced by an ancestor. So the tree is what
//! /proc says is below the init, and it is gone when the init has no child left (ECHILD) and not before.
//!
//! Signals reach a tree one process at a time, while it forks. Killing as one finds them would be a race: each that dies
//! makes room for another. So they are stopped first, which keeps their places under the limit on processes taken, until
//! none runs; then all are killed.

use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::process::{self, Usage};

/// Looks at the tree while it is being stopped. What still runs then is killed as it is found, again and again.
const LOOKS: usize = 64;
/// Between two tries to end what is left, at first and at last: what waits for a device cannot be killed at once.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A process, as /proc shows it: proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    state: u8,
    /// Since boot: another process with this pid has another.
    started: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: i32, stat: &[u8]) -> Option<Self> {
        // The name is the process's own choice and may hold anything; the last parenthesis ends it.
        let name = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, state, started: fields.nth(17)?.parse().ok()? })
    }

    fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Sends it a signal, and nobody else who may have got its pid by now.
    fn signal(self, signal: i32) {
        let Ok(pidfd) = process::open(Pid::from_raw(self.pid)) else { return };
        if Self::read(self.pid).is_some_and(|now| now.started == self.started) {
            let _ = process::signal_number(&pidfd, signal);
        }
    }
}

/// Everything alive below `top`, without it and without `spared` and what is below those.
fn below(top: Pid, spared: &[Pid]) -> Vec<Process> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = pids.filter_map(Process::read).collect();
    let mut found = vec![top.as_raw()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = all.iter().filter(|process| process.parent == parent).map(|process| process.pid);
        let children = children.filter(|pid| !spared.iter().any(|spared| spared.as_raw() == *pid));
        found.extend(children.collect::<Vec<_>>());
        next += 1;
    }
    all.into_iter()
        .filter(|process| process.pid != top.as_raw() && !process.is_dead() && found.contains(&process.pid))
        .collect()
}

/// Sends a signal to every process below this one.
pub(super) fn signal(signal: i32) {
    below(Pid::this(), &[]).into_iter().for_each(|process| process.signal(signal));
}

/// Ends everything below this process but `spared` and theirs; returns when nothing of it is left, with what it used.
pub(super) fn end(spared: &[Pid]) -> Usage {
    let mut usage = Usage::default();
    let mut rest = REST.0;
    loop {
        // Most commands leave nothing.
        match reap(spared, &mut usage) {
            Ok(0) => {}
            Ok(_) => continue,
            Err(_) => return usage,
        }
        let left = stop(spared);
        if left.is_empty() && !spared.is_empty() {
            return usage;
        }
        left.into_iter().for_each(|process| process.signal(libc::SIGKILL));
        std::thread::sleep(rest);
        rest = (rest * 2).min(REST.1);
    }
}

/// Stops everything, and says what there is.
fn stop(spared: &[Pid]) -> Vec<Process> {
    let mut quiet = false;
    let mut all = Vec::new();
    for _ in 0..LOOKS {
        all = below(Pid::this(), spared);
        let running: Vec<_> = all.iter().filter(|process| !process.is_stopped()).collect();
        match (running.is_empty(), quiet) {
            // One that was between two parents while /proc was read shows at the next look.
            (true, true) => break,
            (true, false) => quiet = true,
            (false, _) => {
                quiet = false;
                running.into_iter().for_each(|process| process.signal(libc::SIGSTOP));
            }
        }
    }
    all
}

/// Reaps what has died, as far as it is nobody else's; says how many. ECHILD where there is no child.
fn reap(spared: &[Pid], usage: &mut Usage) -> nix::Result<usize> {
    let mut count = 0;
    if spared.is_empty() {
        loop {
            match process::reap(Pid::from_raw(-1)) {
                Ok(Some((.., used))) => {
                    usage.add(used);
                    count += 1;
                }
                Ok(None) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    // One by one: those of others must stay for them to reap.
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for process in pids.filter_map(Process::read).filter(|process| process.is_dead()) {
        let pid = Pid::from_raw(process.pid);
        if process.parent == Pid::this().as_raw()
            && !spared.contains(&pid)
            && let Ok(Some((.., used))) = process::reap(pid)
        {
            usage.add(used);
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_the_fields_behind_it() {
        let stat = b"7 (a) S 1 (x) R 42 7 7 0 -1 4194304 91 0 0 0 0 0 0 0 20 0 1 0 31415 2662400 1";
        let process = Process { pid: 7, parent: 42, state: b'R', started: 31415 };
        assert_eq!(Process::parse(7, stat), Some(process));
        assert_eq!(Process::parse(7, b"7 (a"), None);
        assert_eq!(Process::parse(7, b""), None);
    }

    #[test]
    fn the_tree_is_what_is_below() {
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let Ok(mut child) = child else { return };
        let pid = i32::try_from(child.id()).unwrap();
        let found = |spared: &[Pid]| below(Pid::this(), spared).iter().any(|process| process.pid == pid);
        assert!(found(&[]));
        assert!(!found(&[Pid::from_raw(pid)]));
        Process::read(pid).unwrap().signal(libc::SIGKILL);
        child.wait().unwrap();
        assert!(!found(&[]));
    }
}
