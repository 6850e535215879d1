//! What nix does not tell of signals.

use nix::Result;
use nix::errno::Errno;
use nix::sys::signal::Signal;

/// Whether this process ignores a signal: sigaction(2) with nothing to set.
pub fn is_ignored(signal: Signal) -> Result<bool> {
    // SAFETY: a sigaction is plain data for which all zeroes are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and what is given back goes into a local that outlives the call.
    Errno::result(unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) })?;
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_ignores_sigpipe_and_nothing_else() {
        assert!(is_ignored(Signal::SIGPIPE).unwrap());
        assert!(!is_ignored(Signal::SIGTERM).unwrap());
    }
}
