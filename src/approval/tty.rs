//! A person at the terminal that execward was started from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::termios::{FlushArg, InputFlags, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout_at;

use super::prompt;
use crate::stage::{Agreed, DenialReason, Grant, Pending, Principal};

/// The terminal of this process, whatever stdin and stdout are.
const TTY: &str = "/dev/tty";

/// Longest answer that is read; a terminal gives no longer lines (termios(3)).
const MAX_ANSWER: usize = 4096;

/// An open terminal with somebody in front of it.
///
/// It has an open file description of its own, so that it can be non-blocking without changing the terminal for
/// anybody else.
#[derive(Debug)]
pub struct Terminal {
    tty: AsyncFd<File>,
}

/// Why nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPerson {
    /// The process has no terminal (ENXIO), or may not open it.
    #[error("execward was started without a terminal")]
    NoTerminal(Errno),
    /// Another job has the terminal; reading from it would stop execward.
    #[error("execward runs in the background of its terminal")]
    Background,
}

/// What a person said.
#[derive(Debug)]
pub enum Answer {
    /// Yes, to exactly this, once.
    Yes(Grant),
    /// No, or nothing.
    No(DenialReason),
}

impl Terminal {
    /// Opens the terminal of this process. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there is none, or when it is busy with another job.
    pub fn open() -> Result<Self, NoPerson> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let tty = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(TTY)
            .map_err(|error| NoPerson::NoTerminal(errno(&error)))?;
        match tcgetpgrp(&tty) {
            Ok(group) if group == getpgrp() => {}
            Ok(_) => return Err(NoPerson::Background),
            Err(errno) => return Err(NoPerson::NoTerminal(errno)),
        }
        Self::over(tty)
    }

    #[expect(
        deprecated,
        reason = "sound here: a File owns its descriptor, which the signature does not demand"
    )]
    fn over(tty: File) -> Result<Self, NoPerson> {
        let tty = AsyncFd::new(tty).map_err(|error| NoPerson::NoTerminal(errno(&error)))?;
        Ok(Self { tty })
    }

    /// Asks about one command, until `timeout` has passed. May be dropped at any time: the terminal is then as it was.
    pub async fn ask(&self, pending: &Pending, approver: Principal, timeout: Duration) -> Answer {
        let deadline = tokio::time::Instant::now() + timeout;
        let line = timeout_at(deadline, self.line(&prompt(pending, timeout))).await;
        match line {
            Ok(Ok(line)) => answer(&line, pending, approver),
            Ok(Err(error)) => Answer::No(DenialReason::Nobody(format!("{TTY}: {error}"))),
            Err(_) => {
                let _ = self.write("\nno answer: refused\n").await;
                Answer::No(DenialReason::NoAnswer(timeout))
            }
        }
    }

    /// Shows a question and reads one whole line. What was typed before the question was shown is no answer to it.
    async fn line(&self, question: &str) -> io::Result<Vec<u8>> {
        let _restore = Cooked::set(self.tty.get_ref())?;
        tcflush(self.tty.get_ref(), FlushArg::TCIFLUSH)?;
        self.write(question).await?;
        let mut line = Vec::new();
        let mut buffer = [0; 512];
        loop {
            let mut ready = self.tty.readable().await?;
            match ready.try_io(|tty| tty.get_ref().read(&mut buffer)) {
                Ok(Ok(0)) => return Ok(Vec::new()),
                Ok(Ok(length)) => {
                    line.extend_from_slice(&buffer[..length]);
                    if line.contains(&b'\n') {
                        return Ok(line);
                    }
                    if line.len() > MAX_ANSWER {
                        return Err(io::Error::other("the answer is too long"));
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    async fn write(&self, text: &str) -> io::Result<()> {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            let mut ready = self.tty.writable().await?;
            match ready.try_io(|tty| tty.get_ref().write(bytes)) {
                Ok(Ok(written)) => bytes = &bytes[written..],
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

/// Takes one line as an answer. Only `y` and `yes` are a yes; words after a no are for whoever asked.
fn answer(line: &[u8], pending: &Pending, approver: Principal) -> Answer {
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    if line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes") {
        return Answer::Yes(pending.grant(Agreed::Once { approver }));
    }
    let words = line.split_once([' ', ':', ',']).map(|(_, words)| words.trim());
    let words = words.filter(|words| !words.is_empty());
    Answer::No(DenialReason::Person(words.map(str::to_owned)))
}

/// A terminal that gives whole lines, shows what is typed, and turns Ctrl-C into a signal: however the last program
/// left it. Puts back what was there before.
#[derive(Debug)]
struct Cooked<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Cooked<'a> {
    fn set(tty: &'a File) -> io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut cooked = before.clone();
        cooked.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        cooked.input_flags |= InputFlags::ICRNL;
        tcsetattr(tty, SetArg::TCSAFLUSH, &cooked)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Cooked<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(self.tty, SetArg::TCSANOW, &self.before);
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::pty::openpty;

    use super::*;

    /// A terminal, and the hands and eyes of the person before it.
    fn pty() -> (Terminal, File) {
        let pty = openpty(None, None).expect("a pty");
        fcntl(&pty.slave, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a flag");
        (Terminal::over(File::from(pty.slave)).expect("a terminal"), File::from(pty.master))
    }

    /// Reads until the question mark of the question, then types.
    fn type_after_question(mut person: File, typed: &'static [u8]) -> std::thread::JoinHandle<File> {
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut byte = [0];
            while !seen.ends_with(b"? ") {
                person.read_exact(&mut byte).expect("the question comes");
                seen.push(byte[0]);
            }
            person.write_all(typed).expect("it can be typed");
            person
        })
    }

    async fn typed(bytes: &'static [u8]) -> Vec<u8> {
        let (terminal, person) = pty();
        let person = type_after_question(person, bytes);
        let line = terminal.line("Allow? ").await.expect("a line");
        person.join().expect("it typed");
        line
    }

    #[tokio::test]
    async fn a_whole_line_is_read() {
        assert_eq!(typed(b"y\n").await, b"y\n");
        assert_eq!(typed(b"yes\r").await, b"yes\n");
        assert_eq!(typed(b"x\x7fy\n").await, b"y\n");
        assert_eq!(typed(b"\x04").await, b"");
    }

    #[tokio::test]
    async fn what_was_typed_before_the_question_is_no_answer() {
        let (terminal, mut person) = pty();
        person.write_all(b"y\n").expect("it can be typed");
        std::thread::sleep(Duration::from_millis(50));
        let person = type_after_question(person, b"n\n");
        assert_eq!(terminal.line("Allow? ").await.expect("a line"), b"n\n");
        person.join().expect("it typed");
    }

    #[tokio::test]
    async fn the_terminal_is_left_as_it_was() {
        let (terminal, person) = pty();
        let mut raw = tcgetattr(terminal.tty.get_ref()).expect("a terminal");
        nix::sys::termios::cfmakeraw(&mut raw);
        tcsetattr(terminal.tty.get_ref(), SetArg::TCSANOW, &raw).expect("it can be set");
        let waiting = terminal.line("Allow? ");
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        let after = tcgetattr(terminal.tty.get_ref()).expect("a terminal");
        assert_eq!(after.local_flags, raw.local_flags);
        assert_eq!(after.input_flags, raw.input_flags);
        drop(person);
    }

    #[tokio::test]
    async fn a_terminal_that_goes_away_is_no_answer() {
        let (terminal, person) = pty();
        drop(person);
        let line = terminal.line("Allow? ").await;
        assert!(line.is_err() || line.is_ok_and(|line| line.is_empty()));
    }
}
