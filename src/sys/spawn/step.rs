//! The last steps of a command's process one by one, for a process that is no session's: `runner::control` takes all of them but
//! one. A session's takes all of them, in [`super::confine`].

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;
use nix::errno::Errno;

use super::{confine, program};

/// Empties the effective, permitted and inheritable set of capabilities: capset(2).
///
/// # Errors
/// Of capset(2).
pub fn drop_capabilities() -> Result<()> {
    // SAFETY: nothing but capabilities is lost.
    result(unsafe { confine::drop_capabilities() })
}

/// Enters a landlock domain: landlock_restrict_self(2).
///
/// # Errors
/// `EPERM` where no_new_privs is not set and there is no CAP_SYS_ADMIN.
pub fn restrict(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: nothing is lost but what the ruleset does not grant.
    result(unsafe { confine::restrict(ruleset.as_raw_fd()) })
}

/// Puts on a seccomp filter: seccomp(2).
///
/// # Errors
/// As [`restrict`].
pub fn filter(filter: &[seccompiler::sock_filter]) -> Result<()> {
    let program = program(filter)?;
    // SAFETY: the program is made of instructions, as many as it says, that outlive the call.
    result(unsafe { confine::filter(&program) })
}

fn result(done: std::result::Result<(), u32>) -> Result<()> {
    done.map_err(|errno| Errno::from_raw(errno.cast_signed()))
}
