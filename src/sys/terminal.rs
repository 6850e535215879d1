//! Terminals: pseudo-terminals for commands, and the settings of the one that a person sits at. ioctl_tty(2), pty(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// A new pseudo-terminal: the end that is written to like a keyboard and read like a screen, and the command's end.
#[derive(Debug)]
pub struct Pair {
    /// Ours. It does not wait: EAGAIN.
    pub master: OwnedFd,
    /// The command's.
    pub peer: OwnedFd,
}

/// Makes one in an instance of devpts, by its `ptmx`. The command's end is had by TIOCGPTPEER (Linux 4.13) and not by
/// its name, which may mean another terminal to whoever looks it up elsewhere.
pub fn open(devpts: BorrowedFd<'_>) -> Result<Pair> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let master = openat(devpts, "ptmx", flags, Mode::empty())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the request reads an int that outlives the call.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes open flags as a number.
    let peer = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the call has just returned this descriptor, and nothing else owns it.
    let peer = unsafe { OwnedFd::from_raw_fd(peer) };
    let mut settings = tcgetattr(&peer)?;
    // Without it the kernel erases half a character where the other half stays.
    settings.input_flags |= InputFlags::IUTF8;
    tcsetattr(&peer, SetArg::TCSANOW, &settings)?;
    Ok(Pair { master, peer })
}

/// Lines and columns of a terminal: TIOCGWINSZ.
pub fn window(terminal: BorrowedFd<'_>) -> Result<(u16, u16)> {
    // SAFETY: a winsize is plain data for which all zeroes are a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request takes a pointer to a winsize, a local that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// Sets them: TIOCSWINSZ. Where that is a change, what is in the foreground of the terminal gets SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, (rows, cols): (u16, u16)) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads a winsize that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// A person's terminal without its own ideas of lines, keys and echo: a terminal behind it has them. As it was when this
/// is dropped, by a return, an error or a panic. A signal must be taken, not left to end the process.
#[derive(Debug)]
pub struct Raw<T: AsFd> {
    terminal: T,
    before: Termios,
}

impl<T: AsFd> Raw<T> {
    /// Takes the terminal's own ideas away. ENOTTY where it is none.
    pub fn enter(terminal: T) -> Result<Self> {
        let before = tcgetattr(&terminal)?;
        let raw = Self { terminal, before };
        raw.again()?;
        Ok(raw)
    }

    /// Takes them away again, after [`Self::leave`].
    pub fn again(&self) -> Result<()> {
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.terminal, SetArg::TCSADRAIN, &raw)
    }

    /// Gives them back for a while, as before a stop.
    pub fn leave(&self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

impl<T: AsFd> Drop for Raw<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::termios::LocalFlags;

    use super::*;

    fn pair() -> Pair {
        let devpts = nix::fcntl::open("/dev/pts", OFlag::O_PATH, Mode::empty()).expect("devpts");
        open(devpts.as_fd()).expect("a terminal")
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let (read, _write) = nix::unistd::pipe().unwrap();
        assert_eq!(window(read.as_fd()), Err(Errno::ENOTTY));
        assert_eq!(Raw::enter(read).err(), Some(Errno::ENOTTY));
    }

    #[test]
    fn both_ends_are_one_terminal() {
        let Pair { master, peer } = pair();
        resize(master.as_fd(), (33, 99)).unwrap();
        assert_eq!(window(peer.as_fd()), Ok((33, 99)));
        nix::unistd::write(&peer, b"x").unwrap();
        let mut read = [0; 8];
        assert_eq!(nix::unistd::read(&master, &mut read), Ok(1));
        assert_eq!(nix::unistd::read(&master, &mut read), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_terminal_is_as_before_even_after_a_panic() {
        let Pair { master: _master, peer } = pair();
        let echoes = || tcgetattr(&peer).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON);
        assert!(echoes());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let raw = Raw::enter(peer.as_fd()).unwrap();
            assert!(!echoes());
            raw.leave();
            assert!(echoes());
            raw.again().unwrap();
            assert!(!echoes());
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err() && echoes());
    }
}
