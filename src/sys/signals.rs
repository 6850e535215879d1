//! What nix does not tell of signals and terminals.

use std::os::fd::{AsRawFd, BorrowedFd};

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

/// Lines and columns of a terminal: ioctl_tty(2), TIOCGWINSZ.
pub fn window(terminal: BorrowedFd<'_>) -> Result<(u16, u16)> {
    // SAFETY: a winsize is plain data for which all zeroes are a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request takes a pointer to a winsize, a local that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn rust_ignores_sigpipe_and_nothing_else() {
        assert!(is_ignored(Signal::SIGPIPE).unwrap());
        assert!(!is_ignored(Signal::SIGTERM).unwrap());
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let (read, _write) = nix::unistd::pipe().unwrap();
        assert_eq!(window(read.as_fd()), Err(Errno::ENOTTY));
    }
}
