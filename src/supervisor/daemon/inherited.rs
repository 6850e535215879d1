//! Children of the daemon that executed this one in its own process: runners of sessions that go on, and of some that do not.
//!
//! Nobody here has started them, and so nobody waits for them: each would stay as a zombie until the daemon ends.

use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

const PAUSE: Duration = Duration::from_secs(1);

/// Sees to it that each of them is waited for. Called before anything is started, so that all that are there are meant.
pub(super) fn wait_for_inherited() {
    let mut left = children();
    if left.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        while !left.is_empty() {
            left.retain(|pid| {
                matches!(
                    waitpid(*pid, Some(WaitPidFlag::WNOHANG)),
                    Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)
                )
            });
            std::thread::sleep(PAUSE);
        }
    });
}

/// Those of this thread, the only one there is after execve(2), which gets all of the process: proc_pid_task(5).
fn children() -> Vec<Pid> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}
