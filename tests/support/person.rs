//! A person at a terminal: what is typed, what is seen, and a window that can change its size.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::Command;

/// How long a person waits to see something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody at a terminal of their own.
#[derive(Debug)]
pub struct Person {
    keys: File,
    slave: OwnedFd,
    seen: Vec<u8>,
    /// Up to where `seen` has been waited for.
    read: usize,
}

impl Person {
    /// Sits down at a terminal of this size.
    pub fn new(rows: u16, cols: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a pty");
        Self { keys: File::from(pty.master), slave: pty.slave, seen: Vec::new(), read: 0 }
    }

    fn end(&self) -> OwnedFd {
        self.slave.try_clone().expect("a descriptor")
    }

    /// Starts a command of the tests at this terminal.
    pub fn starts(&self, command: Command) -> Child {
        command
            .stdin_from(self.end())
            .stdout_to(self.end())
            .stderr_to(self.end())
            .terminal(self.end())
            .spawn()
    }

    /// Starts any command at this terminal.
    pub fn start(&self, mut command: std::process::Command) -> Child {
        let slave = self.slave.as_raw_fd();
        command.stdin(self.end()).stdout(self.end()).stderr(self.end());
        // SAFETY: two system calls and no allocation between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if libc::setsid() < 0 || libc::ioctl(slave, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command.spawn().expect("it starts")
    }

    pub fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("it can be typed");
    }

    /// Waits until `text` shows after what was waited for before; everything from there to its end.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let new = &self.seen[self.read..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                let end = self.read + at + text.len();
                let found = String::from_utf8_lossy(&self.seen[self.read..end]).into_owned();
                self.read = end;
                return found;
            }
            assert!(Instant::now() < until, "never seen: {text:?}\n{}", self.all());
            self.look(Duration::from_millis(200));
        }
    }

    fn look(&mut self, wait: Duration) {
        let mut fds = [PollFd::new(self.keys.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(wait).expect("short")).unwrap_or(0) > 0 {
            let mut bytes = [0; 4096];
            if let Ok(count) = std::io::Read::read(&mut self.keys, &mut bytes) {
                self.seen.extend_from_slice(&bytes[..count]);
            }
        }
    }

    /// Everything that showed so far.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub fn resizes(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request reads a winsize that outlives the call.
        let done = unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0);
    }

    pub fn window(&self) -> (u16, u16) {
        let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request writes a winsize that outlives the call.
        assert_eq!(unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }, 0);
        (size.ws_row, size.ws_col)
    }

    /// Whether the terminal itself echoes and reads lines, as it does for a shell.
    pub fn is_cooked(&self) -> bool {
        tcgetattr(&self.slave).expect("settings").local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON)
    }

    /// Waits for the end of what was started, looking on.
    #[track_caller]
    pub fn waits(&mut self, child: &mut Child) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.look(Duration::from_millis(20));
            if let Some(status) = child.try_wait().expect("it is a child") {
                return status.code();
            }
            if Instant::now() > until {
                let _ = child.kill();
                panic!("it does not end\n{}", self.all());
            }
        }
    }
}
